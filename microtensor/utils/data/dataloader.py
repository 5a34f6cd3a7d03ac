"""DataLoader: iterates over the batches of a data set in a sampler's order.

`multiprocessing` is imported only for workers: it costs a tenth of microtensor's import time.
"""

from __future__ import annotations

import functools
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...autograd.errors import describe, warn
from ...tensor.random import Generator, draw_seed
from . import workers
from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .fetch import Fetcher
from .sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    _count,
    _InfiniteConstantSampler,
)

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

T = TypeVar("T", covariant=True)


class DataLoader(Generic[T]):
    """Batches of a data set: `for batch in loader`, once through the data.

    The order is that of `sampler`, or random with `shuffle`, or `batch_sampler` yields whole lists
    of indices. `batch_size=None` yields single samples, unbatched. `collate_fn` makes a batch from
    a list of samples.

    With `num_workers` processes, batch i is loaded by worker i mod num_workers, each of which works
    ahead by `prefetch_factor` batches (default 2). The batches, the same as without workers, come
    in order (with `in_order=False` as soon as they are ready). An iterable data set is copied to
    each worker and iterated there: `get_worker_info()` tells the copies apart. Worker w first calls
    `worker_init_fn(w)`, with the generators of this library, of Python and of NumPy seeded by
    base_seed + w; each pass draws base_seed from `generator`, or from the default one.
    `persistent_workers` are kept for the next pass, with their copies of the data set.

    An exception in a worker is raised here as one of the same class, with the worker's traceback in
    its message; a worker that ends otherwise, or no batch within `timeout` seconds (0: no limit),
    is a RuntimeError. Workers end with the pass, with its iterator, and with this process.
    `workers.py` explains how they start; `multiprocessing_context` is a start method's name or a
    context. Where no process can be started, a warning says so and samples are loaded here.

    `pin_memory` and `pin_memory_device` are accepted and have no effect.
    """

    _DataLoader__initialized = False  # PyTorch's name; when True, attributes are fixed

    def __init__(self, dataset: Dataset[T], batch_size: int | None = 1, shuffle: bool | None = None,
                 sampler: Sampler | Iterable | None = None,
                 batch_sampler: Sampler[list] | Iterable[list] | None = None, num_workers: int = 0,
                 collate_fn: Callable[[list[T]], Any] | None = None, pin_memory: bool = False,
                 drop_last: bool = False, timeout: float = 0,
                 worker_init_fn: Callable[[int], Any] | None = None,
                 multiprocessing_context: str | BaseContext | None = None,
                 generator: Generator | None = None, *, prefetch_factor: int | None = None,
                 persistent_workers: bool = False, pin_memory_device: str = "",
                 in_order: bool = True) -> None:  # fmt: skip
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        iterable = _is_iterable(dataset)
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
        if sampler is None:
            if iterable:
                sampler = _InfiniteConstantSampler()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.num_workers, self.timeout, self.worker_init_fn = num_workers, timeout, worker_init_fn
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers, self.in_order = persistent_workers, in_order
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.multiprocessing_context = multiprocessing_context
        batched = batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self._iterator: _BaseDataLoaderIter | None = None
        self._IterableDataset_len_called: int | None = None  # len(dataset), once it was computed
        self._DataLoader__initialized = True
        self.check_worker_number_rationality()

    def __setattr__(self, name: str, value: Any) -> None:
        if self._DataLoader__initialized and name in (
            "batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"
        ):  # fmt: skip
            raise ValueError(f"{type(self).__name__}: {name} is set by the constructor only")
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self) -> BaseContext | None:
        """The context of `multiprocessing` that starts workers; None for the platform's default."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: str | BaseContext | None) -> None:
        if context is not None and not self.num_workers:
            raise ValueError(
                f"DataLoader: multiprocessing_context={context!r} needs num_workers above 0"
            )
        if context is not None:
            import multiprocessing

            base = multiprocessing.context.BaseContext
        if isinstance(context, str):
            known = multiprocessing.get_all_start_methods()
            if context not in known:
                raise ValueError(
                    f"DataLoader: multiprocessing_context is one of {known}, got {context!r}"
                )
            context = multiprocessing.get_context(context)
        if context is not None and not isinstance(context, base):
            raise TypeError(
                "DataLoader: multiprocessing_context is a start method's name or a context, got "
                f"{type(context).__name__}"
            )
        self._context = context

    def __iter__(self) -> _BaseDataLoaderIter:
        if not self.persistent_workers:
            return self._get_iterator()
        if self._iterator is None or self._iterator.closed:
            self._iterator = self._get_iterator()
        else:
            self._iterator._reset(self)
        return self._iterator

    def _get_iterator(self):
        if not self.num_workers:
            return _SingleProcessDataLoaderIter(self)
        import multiprocessing

        try:
            job = workers.Job(
                self.dataset, self._auto_collation, self.collate_fn, self.drop_last,
                self.worker_init_fn, self.num_workers,
            )  # fmt: skip
            started = workers.start(self._context or multiprocessing.get_context(), job)
        except workers.CannotStart as error:
            _warn_once(str(error))
            return _SingleProcessDataLoaderIter(self)
        try:
            return _MultiProcessingDataLoaderIter(self, started)
        except BaseException:
            workers.stop(started)
            raise

    # PyTorch's names: a subclass whose data set takes a whole batch at a time has its own
    _auto_collation = property(lambda self: self.batch_sampler is not None)
    _index_sampler = property(
        lambda self: self.batch_sampler if self._auto_collation else self.sampler
    )

    def __len__(self) -> int:
        """The number of batches, or of samples without batches.

        For an iterable data set it follows from its own length, whatever its copies in workers do;
        TypeError if it has no length.
        """
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        length = self._IterableDataset_len_called = len(self.dataset)
        if self.batch_size is None:
            return length
        return _count(length, self.batch_size, self.drop_last)

    def check_worker_number_rationality(self) -> None:
        """Warn if there are more workers than this process may use cores."""
        affinity = getattr(os, "sched_getaffinity", None)
        cores = len(affinity(0)) if affinity else os.cpu_count()
        if self.num_workers and (cores is None or self.num_workers > cores):
            warn(
                f"This DataLoader will create {self.num_workers} worker processes, more than the "
                f"{cores} cores that this process may use: that helps where they wait, not where "
                "they compute"
            )


def _is_iterable(dataset):
    """True for an IterableDataset, False for one with samples by index. TypeError for others."""
    if isinstance(dataset, IterableDataset):
        return True
    if not (hasattr(dataset, "__getitem__") or hasattr(dataset, "__getitems__")):
        raise TypeError(
            "DataLoader: a data set with __getitem__ and __len__, or an IterableDataset, is "
            f"needed, got {describe([dataset])}"
        )
    return False


def _check_workers(num_workers, timeout, prefetch_factor, persistent_workers):
    """Raise ValueError for invalid options of workers."""
    if num_workers < 0:
        raise ValueError(f"DataLoader: num_workers cannot be negative, got {num_workers}")
    if timeout < 0:
        raise ValueError(f"DataLoader: timeout cannot be negative, got {timeout}")
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ValueError(f"DataLoader: prefetch_factor is at least 1, got {prefetch_factor}")
    if not num_workers:
        for name, value in (
            ("prefetch_factor", prefetch_factor is not None),
            ("persistent_workers", persistent_workers),
            ("timeout", timeout),
        ):
            if value:
                raise ValueError(f"DataLoader: {name} needs num_workers above 0")


@functools.cache  # once for each reason
def _warn_once(reason):
    warn(f"DataLoader: no process can be started here ({reason}); samples are loaded in this one")


# ---- one pass through the data ---------------------------------------------------------


class _BaseDataLoaderIter:
    """One pass through a loader's data."""

    closed = False

    def __init__(self, loader: Any) -> None:
        self._dataset, self._generator = loader.dataset, loader.generator
        self._index_sampler = loader._index_sampler
        self._sampler_iter = iter(self._index_sampler)
        # always drawn, so that orders do not depend on the number of workers
        self._base_seed = draw_seed(loader.generator)
        self._num_workers = loader.num_workers
        self._set_length(loader)

    def _set_length(self, loader):
        self._num_yielded, self._announced = 0, loader._IterableDataset_len_called

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        data = self._next_data()
        self._num_yielded += 1
        if self._announced is not None and self._num_yielded > self._announced:
            copies = "; each worker has a copy: see get_worker_info()" if self._num_workers else ""
            warn(
                f"the length of {type(self._dataset).__name__} was said to be {self._announced}, "
                f"but more samples have come{copies}"
            )
            self._announced = None  # once in a pass
        return data

    def _next_data(self):
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __getstate__(self):
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """A pass whose samples are loaded in this process."""

    closed = True  # no workers to reuse

    def __init__(self, loader: Any) -> None:
        super().__init__(loader)
        self._fetch = Fetcher(
            loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last
        )

    def _next_data(self):
        return self._fetch(next(self._sampler_iter))


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """A pass, or with persistent workers several in turn, whose samples workers load.

    `_pending` holds a worker for each batch that was requested and has not arrived.
    """

    def __init__(self, loader: Any, started: Any) -> None:
        super().__init__(loader)
        self._timeout, self._in_order = loader.timeout, loader.in_order
        self._prefetch_factor, self._persistent = loader.prefetch_factor, loader.persistent_workers
        self._workers, self._pass = started, 0
        self._finalizer = weakref.finalize(self, workers.stop, started)
        self._finalizer.atexit = False  # at exit, multiprocessing ends them
        for worker in started:
            worker.send(self._base_seed)
        self._request_all()

    def _reset(self, loader):
        """Begin the next pass with the same workers; the rest of the last one is dropped."""
        self._sampler_iter = iter(self._index_sampler)
        self._set_length(loader)
        self._pass += 1
        self._request_all()

    def _request_all(self):
        self._pending = deque()
        for _ in range(self._prefetch_factor):
            for worker in self._workers:
                self._request(worker)

    def _request(self, worker):
        """Request the next batch from a worker, if there is one."""
        for index in self._sampler_iter:
            try:
                worker.send((self._pass, index))
            except RuntimeError:
                self._close()
                raise
            self._pending.append(worker)
            return

    def _next_data(self):
        while self._pending:
            worker = self._pending[0] if self._in_order else self._first_ready()
            data = self._receive(worker)
            self._pending.remove(worker)  # the first occurrence
            if isinstance(data, workers.End):
                self._pending = deque(w for w in self._pending if w is not worker)
                continue
            self._request(worker)
            if isinstance(data, workers.ExceptionWrapper):
                data.reraise()
            return data
        if not self._persistent:
            self._close()
        raise StopIteration

    def _receive(self, worker):
        """The worker's next message of this pass. If that is interrupted, all workers end."""
        try:
            number = None
            while number != self._pass:
                number, data = worker.receive(self._timeout)
            return data
        except workers.TimedOut:  # the caller may try again
            raise
        except BaseException:
            self._close()
            raise

    def _first_ready(self):
        """A worker that has sent something or has ended; after the timeout any of them."""
        asked = list(dict.fromkeys(self._pending))
        return workers.first_ready(asked, self._timeout)

    def _close(self):
        self.closed = True
        self._pending.clear()
        self._finalizer()
