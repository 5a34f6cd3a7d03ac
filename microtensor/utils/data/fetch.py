"""Fetching: what a sampler gives as samples, collated. The same in this process and in workers."""

from collections.abc import Callable, Iterator
from typing import Any

from .collate import default_collate
from .dataset import Dataset, IterableDataset, Subset, TensorDataset


class Fetcher:
    """Calling it with what an index sampler gives returns a batch, or one sample without batches.

    An iterable data set is iterated from its beginning by each new Fetcher: of the indices only
    how many there are counts, and StopIteration says that its samples are used up.
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
        """As many samples as there are indices, or what is left; StopIteration where that is none,
        or too few for `drop_last`.
        """
        batch = [sample for _, sample in zip(indices, self.samples)]
        if not batch or (self.drop_last and len(batch) < len(indices)):
            self.samples = iter(())
            raise StopIteration
        return batch

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
