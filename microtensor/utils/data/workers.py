"""Worker processes that load samples: each has a pipe for indices and for batches.

A worker has three threads. The main one fetches the requested samples, in order. One reads the pipe
all the time, so that the parent never waits to send a request, and ends the process if the parent
has ended. One sends finished batches, so that the next is begun before the last one is received.

Workers are made with the start method that `multiprocessing` has on the platform, as in PyTorch:
by fork on Linux before Python 3.14, where data sets and functions need not be picklable. Forking is
safe for this library: its compiled loops have no threads, and BLAS ends its threads before a fork.
A program whose own threads hold locks, or that has used a GPU, passes
`multiprocessing_context="forkserver"` or "spawn".
"""

import contextlib
import io
import os
import pickle
import queue
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...backends.threads import get_num_threads, set_num_threads
from ...tensor import Tensor
from ...tensor.random import manual_seed
from .dataset import Dataset, IterableDataset
from .fetch import Fetcher

GRACE = 5.0  # seconds that a worker has to finish
LOOK = 1.0  # seconds between two checks whether the other process is alive
LARGE = 1 << 16  # arrays of more bytes are sent as they are, outside of the pickle


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker's number `id` of `num_workers`, the `seed` of its random numbers, and its own copy
    of the data set.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Dataset


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The `WorkerInfo` of this process; None in the process that iterates over the loader."""
    return _worker_info


def _wait(connections, timeout):
    """Wait until some connections have something to read, and return these."""
    from multiprocessing.connection import wait

    return wait(connections, timeout)


class CannotStart(Exception):
    """The platform does not allow processes to be started."""


class TimedOut(RuntimeError):
    """No batch arrived in time."""


class ExceptionWrapper:
    """The exception that is being handled, in a form that another process can raise again."""

    def __init__(self, where: str = "in background"):
        self.exc_type, error, _ = sys.exc_info()
        self.exc_msg, self.where = "".join(traceback.format_exception(error)), where
        try:
            pickle.dumps(self.exc_type)
        except (
            Exception
        ):  # a class inside a function cannot be pickled: the message still has its name
            self.where = f"of class {self.exc_type.__name__} {where}"
            self.exc_type = RuntimeError

    def reraise(self) -> None:
        """Raise an exception of the same class whose message holds the first one's traceback.

        RuntimeError if the class cannot be created from one message.
        """
        message = f"Caught {self.exc_type.__name__} {self.where}.\nOriginal {self.exc_msg}"
        if self.exc_type is KeyError:  # KeyError shows the repr of its argument
            message = _Unquoted(message)
        try:
            error = self.exc_type(message)
        except Exception:
            raise RuntimeError(message) from None
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame, and so to the workers


class _Unquoted(str):
    """A text that is its own repr."""

    __repr__ = str.__str__


@dataclass(frozen=True)
class Job:
    """The data set and options that all workers of a loader receive at the start."""

    dataset: Dataset
    batched: bool
    collate_fn: Callable
    drop_last: bool
    init_fn: Callable | None
    num_workers: int


class End:
    """Sent by a worker when its iterable data set is used up."""


# ---- messages --------------------------------------------------------------------------


class _Pickler(pickle.Pickler):
    """Pickles the messages of a worker; tensors with a gradient's history are refused."""

    def reducer_override(self, value):
        if isinstance(value, Tensor) and value.grad_fn is not None:
            raise RuntimeError(
                f"DataLoader: a tensor of shape {tuple(value.shape)} that requires grad by its "
                "history cannot leave its worker; load under no_grad() or detach() it"
            )
        return NotImplemented


def packed(message: Any) -> tuple[bytes, list[bytes]]:
    """A message as (pickle, copies of its large arrays, which the pickle refers to)."""
    arrays, file = [], io.BytesIO()

    def inside(array):
        raw = array.raw()
        if raw.nbytes < LARGE:
            return True
        arrays.append(bytes(raw))
        return False

    _Pickler(file, 5, buffer_callback=inside).dump(message)
    return file.getvalue(), arrays


def send(connection, message: tuple[bytes, list[bytes]]) -> None:
    """Send the result of `packed`."""
    pickled, arrays = message
    connection.send([len(array) for array in arrays])
    connection.send_bytes(pickled)
    for array in arrays:
        if os.name == "posix":  # from memory to memory, without another copy
            rest = memoryview(array)
            while rest:
                rest = rest[os.write(connection.fileno(), rest) :]
        else:
            connection.send_bytes(array)


def receive(connection) -> Any:
    """Receive a message of `send`. Raises EOFError or OSError if the sender has ended."""
    sizes = connection.recv()
    pickled = connection.recv_bytes()
    arrays = [np.empty(size, np.uint8) for size in sizes]
    for array in arrays:
        if os.name == "posix":
            rest = memoryview(array)
            while rest:
                read = os.readv(connection.fileno(), [rest])
                if not read:
                    raise EOFError
                rest = rest[read:]
        else:
            connection.recv_bytes_into(array)
    return pickle.loads(pickled, buffers=arrays)


# ---- in the worker ---------------------------------------------------------------------


def worker_loop(job: Job, worker_id: int, connection) -> None:
    """The main function of a worker, until the parent sends None or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # replaces a handler copied by fork
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    tasks, results = queue.SimpleQueue(), queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    threading.Thread(target=_deliver, args=(connection, results), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        _work(job, worker_id, tasks, results)


def _listen(connection, tasks):
    """Put the parent's messages in a queue, and end the process if the parent has ended."""
    from multiprocessing import parent_process

    sentinel, parent = parent_process().sentinel, os.getppid()
    with contextlib.suppress(EOFError, OSError):
        while os.getppid() == parent:
            ready = _wait([connection, sentinel], LOOK)
            if connection in ready:
                tasks.put(connection.recv_bytes())
            elif sentinel in ready:
                break
    os._exit(1)


def _deliver(connection, results):
    """Send the messages of a queue."""
    with contextlib.suppress(OSError):  # the parent has ended: `_listen` handles it
        while True:
            send(connection, results.get())


def _work(job, worker_id, tasks, results):
    """Handle the requests (number of the pass, index). The first message is the base seed."""
    where = f"in DataLoader worker process {worker_id}"
    seed = pickle.loads(tasks.get())
    if seed is None:
        return
    failed = fetch = current = None
    try:
        _prepare(job, worker_id, seed)
    except Exception:
        failed = ExceptionWrapper(where)
    while (task := pickle.loads(tasks.get())) is not None:
        number, index = task
        try:
            if failed is None and number != current:
                fetch = Fetcher(job.dataset, job.batched, job.collate_fn, job.drop_last)
                current = number
            message = packed((number, failed or fetch(index)))
        except Exception as error:
            ended = isinstance(error, StopIteration) and isinstance(job.dataset, IterableDataset)
            message = packed((number, End() if ended else ExceptionWrapper(where)))
        results.put(message)
        del task, index, message  # memory


def _prepare(job, worker_id, base_seed):
    """Seed all generators of random numbers, and call the user's `worker_init_fn`."""
    global _worker_info
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without threadpoolctl nothing changes
        set_num_threads(1)
    seed = base_seed + worker_id
    random.seed(seed)
    manual_seed(seed)
    halves = base_seed & 0xFFFFFFFF, base_seed >> 32
    np.random.seed(np.random.SeedSequence([worker_id, *halves, 0]).generate_state(4))
    _worker_info = WorkerInfo(worker_id, job.num_workers, seed, job.dataset)
    if job.init_fn is not None:
        job.init_fn(worker_id)


# ---- in the parent ---------------------------------------------------------------------


class Worker:
    """The parent's side of a worker."""

    def __init__(self, context, job: Job, worker_id: int):
        self.id, self.owner = worker_id, os.getpid()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=worker_loop, args=(job, worker_id, theirs), daemon=True
        )
        try:
            with _uninterrupted(context):
                self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()

    def send(self, message: Any) -> None:
        """Send a small message: the base seed, a request, or None for the end."""
        try:
            self.connection.send(message)
        except OSError:
            raise self.death() from None

    def receive(self, timeout: float = 0) -> Any:
        """The next message. RuntimeError if the worker has ended, or after `timeout` seconds."""
        until = time.monotonic() + timeout if timeout else float("inf")
        while True:
            left = min(LOOK, max(0, until - time.monotonic()))
            ready = _wait([self.connection, self.process.sentinel], left)
            if self.connection in ready or self.connection.poll():
                try:
                    return receive(self.connection)
                except (EOFError, OSError):
                    raise self.death() from None
            if ready or not self.process.is_alive():
                raise self.death()
            if time.monotonic() >= until:
                raise TimedOut(f"DataLoader timed out after {timeout} seconds")

    def death(self) -> RuntimeError:
        """The error that says how the worker ended."""
        self.process.join(LOOK)
        code, name = self.process.exitcode, f"DataLoader worker {self.id} (pid {self.process.pid})"
        if code is None:
            return RuntimeError(f"{name} closed its pipe")
        if code < 0:
            with contextlib.suppress(ValueError):
                code = f"{code} ({signal.Signals(-code).name})"
            return RuntimeError(f"{name} was killed by a signal: exit code {code}")
        return RuntimeError(f"{name} exited unexpectedly with exit code {code}")


def first_ready(workers: list[Worker], timeout: float = 0) -> Worker:
    """The first of some workers that has sent something or ended; after `timeout` any of them."""
    by_what = {w.connection: w for w in workers} | {w.process.sentinel: w for w in workers}
    return by_what[next(iter(_wait(list(by_what), timeout or None)), workers[0].connection)]


@contextlib.contextmanager
def _uninterrupted(context):
    """A context that blocks Ctrl-C: a worker inherits this, until it ignores Ctrl-C itself."""
    masked = hasattr(signal, "pthread_sigmask")
    if not masked or context.get_start_method() == "forkserver":  # whose other children inherit it
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(context, job: Job) -> list[Worker]:
    """Start the workers of a job: all of them, or none and an error.

    Raises CannotStart where the platform refuses; objects that cannot be pickled raise their error.
    """
    # preload these modules once instead of importing them in each worker
    get_num_threads(), np.random.SeedSequence(0)
    workers = []
    try:
        for i in range(job.num_workers):
            workers.append(Worker(context, job, i))
    except (ImportError, NotImplementedError, OSError) as error:
        stop(workers)
        raise CannotStart(str(error)) from error
    except BaseException as error:
        stop(workers)
        if isinstance(error, (AttributeError, TypeError, pickle.PicklingError)):
            error.add_note(
                f"DataLoader: the start method {context.get_start_method()!r} pickles the data "
                "set, collate_fn and worker_init_fn; define them at the top of a module, or pass "
                'multiprocessing_context="fork" where there is one'
            )
        raise
    return workers


def stop(workers: list[Worker]) -> None:
    """End workers and wait for them: by a message, and after a delay by force."""
    workers = [
        w for w in workers if w.owner == os.getpid()
    ]  # a forked copy does not own the workers
    try:
        for worker in workers:
            with contextlib.suppress(OSError):
                worker.connection.send(None)
        until = time.monotonic() + GRACE
        for worker in workers:
            worker.process.join(max(0, until - time.monotonic()))
    finally:
        for force in ("terminate", "kill"):
            for worker in workers:
                if worker.process.is_alive():
                    getattr(worker.process, force)()
            for worker in workers:
                worker.process.join(LOOK)
        for worker in workers:
            worker.connection.close()
