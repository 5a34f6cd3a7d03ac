"""The loader: batches of a data set, once through the data in a sampler's order."""

import types

from .collate import default_collate, default_convert
from .dataset import IterableDataset, Subset, TensorDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler, _batches, _count


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
