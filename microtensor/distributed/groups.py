"""Groups of processes: started, asked for their ranks, and ended."""

from __future__ import annotations

import atexit
import os
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from ..backends import gpu_count
from . import worker
from .exchange import OverMPI, SingleProcess
from .transport import Channel, EndNotice, Queue, Task, finish, named, open_mpi

BACKENDS = "mpi", "gloo", "nccl"
default_pg_timeout = timedelta(minutes=30)


class Backend(str):
    """The name of a backend. "gloo" is MPI, too: there is one way between CPUs here."""

    UNDEFINED, GLOO, NCCL, MPI = "undefined", "gloo", "nccl", "mpi"

    def __new__(cls, name: str) -> Backend:
        names = name.lower().split(",") if isinstance(name, str) else []
        found = [n.rpartition(":")[2] for n in names]  # "cpu:gloo,cuda:nccl"
        if not found or not set(found) <= set(BACKENDS):
            raise ValueError(
                f"init_process_group: backends are {', '.join(BACKENDS)}; got {name!r}"
            )
        return super().__new__(cls, "nccl" if "nccl" in found else found[0])


class ProcessGroup:
    """Processes that exchange tensors. `ranks` are their numbers in the whole job, in order."""

    def __init__(
        self, ranks: Sequence[int], rank: int, channel: Any, backend: Backend, timeout: float
    ) -> None:
        self.ranks, self._rank, self.channel = list(ranks), rank, channel
        self.backend, self.timeout, self.queue = backend, timeout, Queue()
        self.process = os.getpid()
        self.exchange = OverMPI(channel) if channel else SingleProcess()
        self._nccl: Any = None

    def rank(self) -> int:
        """The number of this process in the group; -1 if it is not in it."""
        return self._rank

    def size(self) -> int:
        """The number of processes; -1 if this one is not among them."""
        return len(self.ranks) if self._rank >= 0 else -1

    def name(self) -> str:
        return str(self.backend)

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.backend}: {named(self.ranks)}>"

    def of_gpu(self) -> Any:
        """The exchanges of arrays on a GPU by NCCL; None where they go through the CPU."""
        if self.backend != "nccl" or self.channel is None:
            return None
        if self._nccl is None:
            from ..backends.nccl import OverNCCL

            self._nccl = OverNCCL(self.channel.comm)
        return self._nccl

    def position(self, call: str, what: str, rank: int | None, within: int | None = None,
                 usual: int | None = None) -> int:  # fmt: skip
        """The place in the group of a rank of the whole job, or `within` checked as it is.

        Where neither is given, rank `usual` of the whole job is meant.
        """
        if rank is None and within is None:
            rank = usual
        if within is not None:
            rank, known = within, range(len(self.ranks))
        else:
            known = self.ranks
        if rank not in known:
            raise ValueError(f"{call}: {what} {rank} is not in the group of {named(self.ranks)}")
        return known.index(rank)

    def start(self, what: str, steps: Any, timeout: float | None = None) -> Work:
        """Begin a collective: all ranks agree on `what`, then do the `steps`."""
        if os.getpid() != self.process:
            raise RuntimeError(
                f"{what}: this is a child process of rank {self.ranks[self._rank]} (a worker of a "
                "DataLoader?); only the ranks themselves exchange"
            )

        def agreed_steps():
            if self.channel:
                yield from self.channel.agreed(what)
            yield from steps

        task = Task(agreed_steps(), what, timeout or self.timeout)
        self.queue.add(task)
        return Work(task, self.queue)


class Work:
    """A collective or a message under way, which `async_op=True` gives."""

    def __init__(self, task: Task, queue: Queue | None = None, result: Any = None) -> None:
        self._task, self._queue, self._result = task, queue, result

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Wait until it, and those before it, are done. RuntimeError if that takes too long."""
        if timeout is not None:
            self._task.timeout = seconds(timeout)
        finish(self._task, self._queue)
        return True

    def is_completed(self) -> bool:
        """True if it is done; goes on with it as far as is possible at once."""
        (self._queue or self._task).advance()
        return self._task.done

    def is_success(self) -> bool:
        return self._task.done and self._task.error is None

    def exception(self) -> BaseException | None:
        return self._task.error

    def result(self) -> Any:
        """The tensors that it has changed."""
        return self._result

    synchronize = wait


def seconds(timeout):
    if timeout is None:
        return default_pg_timeout.total_seconds()
    if not isinstance(timeout, timedelta):
        raise TypeError(f"timeout must be a datetime.timedelta, got {timeout!r}")
    return timeout.total_seconds()


class _World(SimpleNamespace):
    """The state of the whole job, while it is initialized."""

    group: ProcessGroup | None = None
    end_notice: EndNotice | None = None


_world = _World(group=None, end_notice=None)


class _Group:
    """`dist.group.WORLD`: the group of all processes."""

    @property
    def WORLD(self) -> ProcessGroup | None:  # noqa: N802 (PyTorch's name)
        return _world.group


group = _Group()


class GroupMember:
    """PyTorch's name for what `new_group` gives to ranks that are not in the group."""

    NON_GROUP_MEMBER = -100


def chosen(call: str, group: ProcessGroup | None = None) -> ProcessGroup | None:
    """The group that a call is of: all processes unless one is given; None outside of it."""
    if _world.group is None:
        raise ValueError(
            f"{call}: Default process group has not been initialized, please make sure to call "
            "init_process_group."
        )
    if group is None:
        return _world.group
    if group is GroupMember.NON_GROUP_MEMBER:
        return None
    if not isinstance(group, ProcessGroup):
        raise TypeError(f"{call}: group is a ProcessGroup or None, got {type(group).__name__}")
    return group if group._rank >= 0 else None


# ---- start and end -------------------------------------------------------------------------------


def is_available() -> bool:
    """True: a process may always be a group of one; several need the extra `distributed`."""
    return True


def is_mpi_available() -> bool:
    """True if mpi4py and an MPI are installed."""
    try:
        open_mpi()
    except RuntimeError:
        return False
    return True


is_gloo_available = is_mpi_available


def is_nccl_available() -> bool:
    """True if there are a GPU and CuPy's NCCL."""
    from ..backends.nccl import is_there

    return is_there()


def is_torchelastic_launched() -> bool:
    """True if `microtensor.distributed.run` started this process."""
    return worker.FOLDER in os.environ


def is_initialized() -> bool:
    """True if `init_process_group` was called."""
    return _world.group is not None


def init_process_group(
    backend: str | None = None, init_method: str | None = None, timeout: timedelta | None = None,
    world_size: int = -1, rank: int = -1, store: Any = None, group_name: str = "",
    pg_options: Any = None, device_id: Any = None,
) -> None:  # fmt: skip
    """Join the processes that were started together; without a launcher, be a group of one.

    `python -m microtensor.distributed.run`, `mpiexec` and `srun` start several; they know who is
    which rank, so `init_method` and `store` are not used, and `rank` and `world_size` must agree
    with them. "mpi" and "gloo" are MPI on CPUs; "nccl" exchanges tensors of GPUs by NCCL, others
    by MPI. `timeout` (30 minutes) is how long a collective waits for other ranks before it
    raises.
    """
    if _world.group is not None:
        raise ValueError("trying to initialize the default process group twice!")
    backend = Backend(backend or ("nccl" if gpu_count() else "mpi"))
    limit = seconds(timeout)
    found = worker.started_by_mpi()
    size = found.get("WORLD_SIZE", 1)
    wanted = int(os.environ.get("WORLD_SIZE", size)) if world_size in (-1, None) else world_size
    if wanted != size:
        raise ValueError(
            f"init_process_group: {wanted} processes are expected, and {size} started here: start "
            f"it by python -m microtensor.distributed.run --nproc_per_node {wanted}, or mpiexec"
        )
    channel = None
    if size > 1:
        mpi = open_mpi()
        if size != mpi.COMM_WORLD.size:
            raise RuntimeError(
                f"init_process_group: {size} processes were started, and mpi4py's MPI finds "
                f"{mpi.COMM_WORLD.size}: the launcher is that of another MPI"
            )
        channel = Channel(mpi, mpi.COMM_WORLD.Dup(), list(range(size)))
        worker.set_variables()
        if _world.end_notice is None:  # once, however often it is initialized again
            _world.end_notice = EndNotice(channel)
            atexit.register(lambda: _world.end_notice.ended())
        _world.end_notice.channel = channel
    here = channel.rank if channel else 0
    if rank not in (-1, None, here):
        raise ValueError(f"init_process_group: this is rank {here}, not {rank}")
    _world.group = ProcessGroup(range(size), here, channel, backend, limit)


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Forget a group, or all of them; `init_process_group` may be called again."""
    found = chosen("destroy_process_group", group)
    if found is _world.group:
        _world.group = None
    elif found is not None and found.channel:
        found.queue.advance()
        found._rank = -1


def new_group(
    ranks: Sequence[int] | None = None, timeout: timedelta | None = None,
    backend: str | None = None, pg_options: Any = None,
    use_local_synchronization: bool = False, group_desc: str | None = None, device_id: Any = None,
) -> Any:  # fmt: skip
    """A group of some processes (all of them). Every process calls it, with the same ranks.

    Those that are not in it get `GroupMember.NON_GROUP_MEMBER`.
    """
    world = chosen("new_group")
    ranks = list(world.ranks) if ranks is None else sorted(ranks)
    strangers = set(ranks) - set(world.ranks)
    if strangers or len(set(ranks)) < len(ranks) or not ranks:
        raise ValueError(
            f"new_group: different ranks below {len(world.ranks)} are needed, got {ranks}"
        )
    limit = world.timeout if timeout is None else seconds(timeout)
    world.start(f"new_group({ranks})", iter(())).wait()
    if world._rank not in ranks:
        return GroupMember.NON_GROUP_MEMBER
    channel = None
    if len(ranks) > 1:
        mpi, comm = world.channel.mpi, world.channel.comm
        of_ranks = comm.Get_group().Incl(ranks)
        channel = Channel(mpi, comm.Create_group(of_ranks), ranks, world.channel.talk)
    backend = world.backend if backend is None else Backend(backend)
    return ProcessGroup(ranks, ranks.index(world._rank), channel, backend, limit)


def spawn(fn: Callable[..., Any], args: tuple = (), nprocs: int = 1, join: bool = True,
          daemon: bool = False, start_method: str = "spawn") -> None:  # fmt: skip
    """`torch.multiprocessing.spawn`: fn(rank, *args) in each process that the launcher has started.

    It starts none itself: RuntimeError unless `nprocs` are there, which says how to start them.
    """
    found = worker.started_by_mpi()
    if found.get("WORLD_SIZE", 1) != nprocs:
        raise RuntimeError(
            f"spawn: {nprocs} processes are asked for: start the program with "
            f"python -m microtensor.distributed.run --nproc_per_node {nprocs}"
        )
    fn(found.get("RANK", 0), *args)


# ---- questions -----------------------------------------------------------------------------------


def get_rank(group: ProcessGroup | None = None) -> int:
    """The number of this process in the group; -1 if it is not in it."""
    found = chosen("get_rank", group)
    return -1 if found is None else found._rank


def get_world_size(group: ProcessGroup | None = None) -> int:
    """The number of processes in the group; -1 if this one is not among them."""
    found = chosen("get_world_size", group)
    return -1 if found is None else len(found.ranks)


def get_backend(group: ProcessGroup | None = None) -> Any:
    """The name of the group's backend."""
    found = chosen("get_backend", group)
    if found is None:
        raise ValueError("get_backend: this process is not in the group")
    return found.backend


def get_process_group_ranks(group: ProcessGroup | None = None) -> list[int]:
    """The ranks, in the whole job, of a group's processes."""
    found = chosen("get_process_group_ranks", group)
    return [] if found is None else list(found.ranks)


def get_group_rank(group: ProcessGroup, global_rank: int) -> int:
    """The number in the group of a rank of the whole job."""
    return chosen("get_group_rank", group).position("get_group_rank", "rank", global_rank)


def get_global_rank(group: ProcessGroup, group_rank: int) -> int:
    """The rank in the whole job of a group's process."""
    found = chosen("get_global_rank", group)
    return found.ranks[found.position("get_global_rank", "group rank", None, group_rank)]


def outside(call: str) -> Any:
    """Warn that a process called a collective of a group in which it is not."""
    warnings.warn(f"{call}: this process is not in the group: nothing is done", stacklevel=3)
