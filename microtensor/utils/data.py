"""Data sets, the order to go through them, and batches.

Everything that is random takes a `generator`: two loaders with generators of one seed go through
their data in the same order, and every further pass is in a new order.
"""

import math
import types
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, islice

import numpy as np

from ..backends.dtypes import float64
from ..calls import public_names
from ..creation import as_tensor, tensor
from ..ops import stack
from ..random import multinomial, randint, randperm
from ..tensor import Tensor

# ---- data sets --------------------------------------------------------------------


class Dataset:
    """Samples by number. A subclass defines `__getitem__(index)` and `__len__()`.

    With `__getitems__(indices)` it gives the samples of a batch as a list, all at once.
    """

    __class_getitem__ = classmethod(types.GenericAlias)  # Dataset[int], for annotations

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__")

    def __add__(self, other):
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Samples as they come. A subclass defines `__iter__()`, and `__len__()` if it is known."""

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__")

    def __add__(self, other):
        raise TypeError("an iterable dataset cannot be added to another; use itertools.chain")


class TensorDataset(Dataset):
    """Sample i is the tuple of element i of each tensor."""

    def __init__(self, *tensors):
        if not tensors:
            raise ValueError("TensorDataset: at least one tensor is needed")
        sizes = [len(t) for t in tensors]
        if len(set(sizes)) > 1:
            raise ValueError(f"TensorDataset: the tensors have different lengths: {sizes}")
        self.tensors = tensors

    def __getitem__(self, index):
        return tuple(t[index] for t in self.tensors)

    def __len__(self):
        return len(self.tensors[0])


class Subset(Dataset):
    """The samples of a data set with these numbers."""

    def __init__(self, dataset, indices):
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index):
        return self.dataset[self.indices[index]]

    def __len__(self):
        return len(self.indices)


class ConcatDataset(Dataset):
    """Data sets one after the other."""

    def __init__(self, datasets):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: at least one dataset is needed")
        self.cumulative_sizes = list(accumulate(map(len, self.datasets)))

    def __getitem__(self, index):
        start = index + len(self) if index < 0 else index
        if not 0 <= start < len(self):
            raise IndexError(f"there is no sample {index} among {len(self)}")
        which = bisect_right(self.cumulative_sizes, start)
        return self.datasets[which][start - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self):
        return self.cumulative_sizes[-1]


def random_split(dataset, lengths, generator=None):
    """A data set cut at random into subsets of these lengths, or of these fractions of it.

    What fractions leave over by rounding goes to the first subsets, one sample each. Raises
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


# ---- orders -----------------------------------------------------------------------


class Sampler:
    """An order: iterating gives the numbers of samples. A subclass defines `__iter__()`."""

    __class_getitem__ = classmethod(types.GenericAlias)

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__")


class SequentialSampler(Sampler):
    """0, 1, 2 …"""

    def __init__(self, data_source):
        self.data_source = data_source

    def __iter__(self):
        return iter(range(len(self.data_source)))

    def __len__(self):
        return len(self.data_source)


class RandomSampler(Sampler):
    """All numbers in random order, or `num_samples` of them, with or without `replacement`.

    More samples than there are data, without replacement, go through the data again in a new order.
    """

    def __init__(self, data_source, replacement=False, num_samples=None, generator=None):
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self._num_samples = num_samples
        if self.num_samples < 1:
            raise ValueError(f"RandomSampler: nothing to choose: {self.num_samples} samples")

    @property
    def num_samples(self):
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self):
        n, left = len(self.data_source), self.num_samples
        while left > 0:
            if self.replacement:  # a few at a time: programs ask for 10¹⁰ to never run out
                order = randint(n, (min(left, 32),), generator=self.generator)
            else:
                order = randperm(n, generator=self.generator)[:left]
            yield from order.tolist()
            left -= len(order)

    def __len__(self):
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given numbers in random order."""

    def __init__(self, indices, generator=None):
        self.indices, self.generator = indices, generator

    def __iter__(self):
        order = randperm(len(self.indices), generator=self.generator)
        return iter([self.indices[i] for i in order.tolist()])

    def __len__(self):
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """`num_samples` numbers, each drawn with a probability in proportion to its weight."""

    def __init__(self, weights, num_samples, replacement=True, generator=None):
        self.weights = as_tensor(weights, dtype=float64)
        self.num_samples, self.replacement, self.generator = num_samples, replacement, generator

    def __iter__(self):
        drawn = multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )
        return iter(drawn.tolist())

    def __len__(self):
        return self.num_samples


def get_worker_info():
    """None: samples are loaded in the main process."""


class BatchSampler(Sampler):
    """Lists of `batch_size` numbers from another sampler; `drop_last` omits a shorter last one."""

    def __init__(self, sampler, batch_size, drop_last):
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number above 0, got {batch_size!r}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self):
        return _batches(self.sampler, self.batch_size, self.drop_last)

    def __len__(self):
        return _count(len(self.sampler), self.batch_size, self.drop_last)


def _batches(items, size, drop_last):
    items = iter(items)
    while batch := list(islice(items, size)):
        if len(batch) == size or not drop_last:
            yield batch


def _count(n, size, drop_last):
    return n // size if drop_last else -(-n // size)


# ---- batches ----------------------------------------------------------------------


def default_collate(batch):
    """A list of samples as one batch: numbers, arrays and tensors stacked along a new first axis.

    In tuples, named tuples, lists and dicts each field is collated by itself (a tuple becomes a
    list, as in PyTorch); strings stay as they are. Python floats become float64. Raises TypeError
    for other types, RuntimeError for samples of different sizes.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(batch)
    if isinstance(first, (np.ndarray, np.generic)):
        return stack([as_tensor(sample) for sample in batch])
    if isinstance(first, float):
        return tensor(batch, dtype="float64")
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError(f"samples of different lengths: {[len(sample) for sample in batch]}")
        fields = [default_collate(field) for field in zip(*batch)]
        return type(first)(*fields) if hasattr(first, "_fields") else fields
    raise TypeError(
        "a batch is made of tensors, arrays, numbers, strings, tuples, lists and dicts, not of "
        f"{type(first).__name__}; pass a collate_fn"
    )


def default_convert(sample):
    """A sample with its arrays as tensors: what a loader without batches gives."""
    if isinstance(sample, (np.ndarray, np.generic)):
        return as_tensor(sample)
    if isinstance(sample, Mapping):
        return {key: default_convert(value) for key, value in sample.items()}
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*map(default_convert, sample))
    if isinstance(sample, (list, tuple)):
        return [default_convert(value) for value in sample]
    return sample


class DataLoader:
    """Batches of a data set: `for batch in loader`, once through the data.

    The order is that of `sampler`, or random with `shuffle`, or `batch_sampler` gives whole lists
    of numbers. `batch_size=None` gives the samples one by one, unbatched. `collate_fn` makes a
    batch of a list of samples.

    Samples are always loaded in this process, in order, when they are asked for, as in PyTorch
    without workers. `num_workers` and what is said of workers, and `pin_memory`, change in PyTorch
    how fast batches come; they are accepted and have no effect.
    """

    __class_getitem__ = classmethod(types.GenericAlias)

    def __init__(
        self, dataset, batch_size=1, shuffle=False, sampler=None, batch_sampler=None, num_workers=0,
        collate_fn=None, pin_memory=False, drop_last=False, timeout=0, worker_init_fn=None,
        multiprocessing_context=None, generator=None, *, prefetch_factor=None,
        persistent_workers=False, pin_memory_device="", in_order=True,
    ):  # fmt: skip
        if num_workers < 0:
            raise ValueError(f"DataLoader: num_workers cannot be negative, got {num_workers}")
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader: an iterable dataset has its own order; pass no other")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler and shuffle both give an order; pass one of them")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "DataLoader: batch_sampler makes the batches; it excludes batch_size, shuffle, "
                    "sampler and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("DataLoader: drop_last needs a batch_size")
        elif sampler is None and not iterable:
            sampler = (
                RandomSampler(dataset, generator=generator)
                if shuffle
                else SequentialSampler(dataset)
            )
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.num_workers, self.pin_memory = num_workers, pin_memory
        batched = batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)

    def __iter__(self):
        if isinstance(self.dataset, IterableDataset):
            if self.batch_size is None:
                yield from map(self.collate_fn, self.dataset)
            else:
                yield from map(
                    self.collate_fn, _batches(self.dataset, self.batch_size, self.drop_last)
                )
        else:
            batched = self._auto_collation
            for index in self._index_sampler:
                yield self._batch(index) if batched else self.collate_fn(self.dataset[index])

    # by their names in PyTorch: a subclass whose data set takes a whole batch at a time has its own
    _auto_collation = property(lambda self: self.batch_sampler is not None)
    _index_sampler = property(
        lambda self: self.batch_sampler if self._auto_collation else self.sampler
    )

    def _batch(self, indices):
        """The batch of these samples; of plain tensors with one indexing instead of many."""
        dataset, numbers = self.dataset, indices
        if self.collate_fn is default_collate and all(type(i) is int for i in indices) and indices:
            while type(dataset) is Subset:
                dataset, numbers = dataset.dataset, [dataset.indices[i] for i in numbers]
            if type(dataset) is TensorDataset and all(type(i) is int for i in numbers):
                return [t[numbers] for t in dataset.tensors]
        several = getattr(self.dataset, "__getitems__", None)
        return self.collate_fn(several(indices) if several else [self.dataset[i] for i in indices])

    def __len__(self):
        if self.batch_sampler is None:
            return len(self.dataset if self.sampler is None else self.sampler)
        if isinstance(self.dataset, IterableDataset):
            return _count(len(self.dataset), self.batch_size, self.drop_last)
        return len(self.batch_sampler)


__all__ = [
    "BatchSampler", "ConcatDataset", "DataLoader", "Dataset", "IterableDataset", "RandomSampler",
    "Sampler", "SequentialSampler", "Subset", "SubsetRandomSampler", "TensorDataset",
    "WeightedRandomSampler", "default_collate", "default_convert", "get_worker_info",
    "random_split",
]  # fmt: skip

public_names(globals(), __all__)
