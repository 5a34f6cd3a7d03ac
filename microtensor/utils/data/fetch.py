"""Fetcher: loads and collates samples by a sampler's indices, in this process and in workers."""

from collections.abc import Callable, Iterator
from typing import Any

from .collate import default_collate
from .dataset import Dataset, IterableDataset, Subset, TensorDataset


class Fetcher:
    """A callable: from the indices of a batch to the batch, or from one index to a sample.

    Each new Fetcher iterates over an iterable data set from its beginning: only the number of
    indices counts, and StopIteration is raised when its samples are used up.
    """

    def __init__(
        self,
        dataset: Dataset,
        batched: bool,
        collate_fn: Callable[[Any], Any],
        drop_last: bool,
    ):
        self.dataset, self.batched = dataset, batched
        self.collate_fn, self.drop_last = collate_fn, drop_last
        self.samples: Iterator | None = (
            iter(dataset) if isinstance(dataset, IterableDataset) else None
        )

    def __call__(self, index: Any) -> Any:
        if self.samples is not None:
            return self.collate_fn(self._next(index) if self.batched else next(self.samples))
        return self._batch(index) if self.batched else self.collate_fn(self.dataset[index])

    def _next(self, indices):
        """As many samples as there are indices, or the rest; StopIteration if there is no rest, or
        too little for `drop_last`.
        """
        batch = [sample for _, sample in zip(indices, self.samples)]
        if not batch or (self.drop_last and len(batch) < len(indices)):
            self.samples = iter(())
            raise StopIteration
        return batch

    def _batch(self, indices):
        """The batch of these samples; data sets of tensors are indexed once for all of them."""
        dataset, numbers = self.dataset, indices
        if self.collate_fn is default_collate and all(type(i) is int for i in indices) and indices:
            while type(dataset) is Subset:
                dataset, numbers = dataset.dataset, [dataset.indices[i] for i in numbers]
            if type(dataset) is TensorDataset and all(type(i) is int for i in numbers):
                return [t[numbers] for t in dataset.tensors]
        several = getattr(self.dataset, "__getitems__", None)
        return self.collate_fn(several(indices) if several else [self.dataset[i] for i in indices])
