"""Data sets: samples by index, or from an iterator."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

from ...tensor import Tensor
from ...tensor.random import Generator, randperm

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Samples by index. A subclass defines `__getitem__(index)` and `__len__()`.

    It may define `__getitems__(indices)`, which returns the samples of a batch as a list.
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Samples from an iterator. A subclass defines `__iter__()`, and `__len__()` if it is known."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__")

    def __add__(self, other: Dataset) -> Any:
        raise TypeError("an iterable dataset cannot be added to another; use itertools.chain")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample i is the tuple of element i of each tensor."""

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ValueError("TensorDataset: at least one tensor is needed")
        for t in tensors:
            if not hasattr(t, "shape"):
                raise TypeError(f"TensorDataset: tensors are needed, got {t!r}")
        sizes = [len(t) for t in tensors]
        if len(set(sizes)) > 1:
            raise ValueError(f"TensorDataset: the tensors have different lengths: {sizes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset[T]):
    """The samples of a data set at the given indices."""

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> T:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[T]):
    """Several data sets in sequence."""

    def __init__(self, datasets: Iterable[Dataset[T]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: at least one dataset is needed")
        self.cumulative_sizes = list(accumulate(map(len, self.datasets)))

    def __getitem__(self, index: int) -> T:
        start = index + len(self) if index < 0 else index
        if not 0 <= start < len(self):
            raise IndexError(f"there is no sample {index} among {len(self)}")
        which = bisect_right(self.cumulative_sizes, start)
        return self.datasets[which][start - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(
    dataset: Dataset[T], lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset[T]]:
    """Split a data set at random into subsets of the given lengths, or fractions of it.

    Samples left over by rounding fractions go to the first subsets, one each. Raises
    ValueError if the lengths do not add up to the data set's, or the fractions to 1.
    """
    n = len(dataset)
    if any(length < 0 for length in lengths):
        raise ValueError(f"random_split: lengths cannot be negative, got {list(lengths)}")
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        shares, lengths = lengths, [math.floor(n * share) for share in lengths]
        if shares:
            for i in range(n - sum(lengths)):
                lengths[i % len(lengths)] += 1
    if sum(lengths) != n:
        raise ValueError(
            f"random_split: {list(lengths)} add up neither to 1 nor to the {n} samples"
        )
    order, ends = randperm(n, generator=generator).tolist(), list(accumulate(lengths))
    return [Subset(dataset, order[end - length : end]) for length, end in zip(lengths, ends)]
