"""Samplers: the order in which a loader reads a data set, and its division into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice, repeat
from typing import Any, Generic, TypeVar

from ...backends.dtypes import float64
from ...tensor import Tensor
from ...tensor.creation import as_tensor
from ...tensor.random import Generator, multinomial, randint, randperm

T = TypeVar("T", covariant=True)


class Sampler(Generic[T]):
    """An order: iterating yields the indices of samples. A subclass defines `__iter__()`."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__")


class SequentialSampler(Sampler[int]):
    """0, 1, 2 …"""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """All indices in random order, or `num_samples` of them, with or without `replacement`.

    Beyond the length of the data, without replacement, the data are repeated in a new order.
    """

    def __init__(self, data_source: Sized, replacement: bool = False,
                 num_samples: int | None = None,
                 generator: Generator | None = None) -> None:  # fmt: skip
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self._num_samples = num_samples
        _check_flag("RandomSampler", "replacement", replacement, TypeError)
        _check_count("RandomSampler", "num_samples", self.num_samples)
        if self.num_samples < 1:
            raise ValueError(f"RandomSampler: nothing to choose: {self.num_samples} samples")

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, left = len(self.data_source), self.num_samples
        while left > 0:
            if self.replacement:  # in small pieces: programs pass 10¹⁰ to never run out
                order = randint(n, (min(left, 32),), generator=self.generator)
            else:
                order = randperm(n, generator=self.generator)[:left]
            yield from order.tolist()
            left -= len(order)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        order = randperm(len(self.indices), generator=self.generator)
        return iter([self.indices[i] for i in order.tolist()])

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """`num_samples` indices, each drawn with a probability in proportion to its weight."""

    def __init__(self, weights: Sequence[float] | Tensor, num_samples: int,
                 replacement: bool = True,
                 generator: Generator | None = None) -> None:  # fmt: skip
        self.weights = as_tensor(weights, dtype=float64)
        if self.weights.ndim != 1:
            shape = tuple(self.weights.shape)
            raise ValueError(f"WeightedRandomSampler: one row of weights is needed, got {shape}")
        _check_count("WeightedRandomSampler", "num_samples", num_samples, least=1)
        _check_flag("WeightedRandomSampler", "replacement", replacement)
        self.num_samples, self.replacement, self.generator = num_samples, replacement, generator

    def __iter__(self) -> Iterator[int]:
        drawn = multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` indices from another sampler; `drop_last` omits a shorter last one."""

    def __init__(
        self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool
    ) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number above 0, got {batch_size!r}")
        _check_flag("BatchSampler", "drop_last", drop_last)
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        return _batches(self.sampler, self.batch_size, self.drop_last)

    def __len__(self) -> int:
        return _count(len(self.sampler), self.batch_size, self.drop_last)


class _InfiniteConstantSampler(Sampler[None]):
    """Yields None for ever: an iterable data set has its own order."""

    def __iter__(self) -> Iterator[Any]:
        return repeat(None)


def _batches(items, size, drop_last):
    items = iter(items)
    while batch := list(islice(items, size)):
        if len(batch) == size or not drop_last:
            yield batch


def _count(n, size, drop_last):
    return n // size if drop_last else -(-n // size)


def _check_flag(name, what, value, kind=ValueError):
    if not isinstance(value, bool):
        raise kind(f"{name}: {what} must be True or False, got {value!r}")


def _check_count(name, what, value, least=0):
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: {what} must be a whole number from {least} on, got {value!r}")
