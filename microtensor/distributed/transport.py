"""Messages over MPI between the processes of a group: never mixed up, never awaited for ever.

A collective is a generator: it yields the MPI requests that it waits for and goes on when all are
done. `Queue` runs the collectives of a group one after the other. Each begins by telling all
others what it is, in a few bytes: an operation, its dtype and its shape. So ranks that call
different things get an error that names them before any number is exchanged, and one that does
not come is known by name.

MPI's own waiting takes all of a core. Here requests are tested, more and more seldom, which
leaves the core to others and lets a wait end after `timeout`.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import Any

import numpy as np

from ..backends.installed import how_to_install
from . import worker

TELLING = 512  # bytes that say what a collective is
TELL, ENDED, FIRST_TAG = 0, 1, 2  # tags of messages; a program's own come after these
EAGER, LONGEST = 2e-4, 1e-3  # seconds of testing without a pause, and of the longest pause


class DistBackendError(RuntimeError):
    """An error of communication between processes (PyTorch's name)."""


class RankEnded(DistBackendError):
    """Another rank's program has ended, so that what this one waits for will not come."""


def open_mpi():
    """mpi4py's MPI, started. RuntimeError, which says what to install, where it is missing."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        found = "mpi4py is not installed" if "mpi4py" in str(error) else f"MPI fails ({error})"
        raise RuntimeError(
            f"several processes need mpi4py and an MPI, and {found}: "
            f"{how_to_install('distributed')}"
        ) from None
    except RuntimeError as error:  # no library of MPI
        raise RuntimeError(
            f"several processes need an MPI ({str(error).splitlines()[0]}): "
            f"{how_to_install('distributed')}"
        ) from None
    return MPI


class Queue:
    """The collectives of one group, in the order in which they were called."""

    def __init__(self) -> None:
        self.waiting: deque[Task] = deque()

    def add(self, task: Task) -> None:
        self.waiting.append(task)
        self.advance()

    def advance(self) -> bool:
        """Go as far as is possible without waiting. Returns whether anything moved."""
        moved = False
        while self.waiting and self.waiting[0].advance():
            moved = True
            if self.waiting[0].done:
                self.waiting.popleft()
        return moved


class Task:
    """A collective or a message under way: `steps` yields (requests, what it waits for)."""

    def __init__(self, steps: Any, name: str, timeout: float) -> None:
        self.steps, self.name, self.timeout = steps, name, timeout
        self.requests: list = []
        self.reason = lambda: ""  # whom it waits for, in words
        self.check = lambda: None  # raises where that cannot come any more
        self.active = False  # whether all ranks are there, so that it is over soon
        self.done, self.error = False, None

    def advance(self) -> bool:
        """Go on if what was waited for is there. Returns whether it was."""
        if self.done:
            return True
        try:
            for request in self.requests:
                if not request.Test():
                    return False
            self.requests, self.reason, self.check, self.active = next(self.steps)
        except StopIteration:
            self.done = True
        except BaseException as error:
            self.done, self.error = True, error
        return True


def finish(task: Task, queue: Queue | None = None) -> None:
    """Wait for a task, and for those before it. RuntimeError where one fails, or takes too long."""
    advance = queue.advance if queue else task.advance
    deadline = looked = None
    pause, moved_at = 0.0, time.perf_counter()
    while not task.done:
        if advance():
            pause, moved_at = 0.0, time.perf_counter()
            continue
        now = time.perf_counter()
        first = queue.waiting[0] if queue and queue.waiting else task
        if now - moved_at > (0.05 if first.active else EAGER):  # others may want this core
            pause = min(LONGEST, pause + 5e-5)
            time.sleep(pause)
            deadline = deadline or moved_at + first.timeout
            if looked is None or now - looked > 0.05:
                looked = now
                first.check()
            if now > moved_at + first.timeout:
                raise DistBackendError(
                    f"{first.name}: waited for more than {first.timeout:g} s{first.reason()}"
                )
        else:
            yield_core()
    if task.error:
        raise task.error


yield_core = getattr(os, "sched_yield", lambda: time.sleep(0))


class Channel:
    """The exchange of bytes of one process with the others of its group, by two communicators."""

    def __init__(self, mpi: Any, comm: Any, ranks: list[int], world: Any = None) -> None:
        self.mpi, self.comm, self.ranks = mpi, comm, ranks  # ranks: those in the whole job
        self.talk = comm.Dup()
        self.rank, self.size = comm.rank, comm.size
        self.world = world or self.talk  # where the end of a rank is told
        self.count = 0  # of collectives

    def close(self) -> None:
        self.talk.Free()
        self.comm.Free()

    # ---- what all begin with -----------------------------------------------------------------

    def agreed(self, what: str) -> Any:
        """Exchange the names of calls with all ranks. RuntimeError unless they are the same."""
        self.count += 1
        mine = np.zeros(TELLING, np.uint8)
        text = what.encode()[:TELLING]
        mine[: len(text)] = np.frombuffer(text, np.uint8)
        calls = np.zeros((self.size, TELLING), np.uint8)
        peers = [r for r in range(self.size) if r != self.rank]
        sent = [self.talk.Isend(mine, peer, TELL) for peer in peers]
        receives = {peer: self.talk.Irecv(calls[peer], peer, TELL) for peer in peers}

        def missing():
            return [peer for peer, request in receives.items() if not request.Test()]

        def reason():
            return f" for {named(self.ranks[peer] for peer in missing())}, which did not call it"

        yield list(receives.values()), reason, lambda: self.check_ended(what, missing), False
        calls[self.rank] = mine
        if (calls != mine).any():
            raise DistBackendError(self.difference(calls))
        yield sent, lambda: "", lambda: None, True

    def check_ended(self, what, missing):
        """RankEnded if one that is missing has ended its program."""
        for peer in missing():
            if self.world.Iprobe(self.ranks[peer], ENDED):
                time.sleep(0.05)  # what it had sent before may be still under way
                if peer in missing():
                    raise RankEnded(
                        f"{what}: rank {self.ranks[peer]} has ended its program and did not call it"
                    )

    def difference(self, calls):
        """A sentence that says which ranks do what."""
        groups = {}
        for rank, line in zip(self.ranks, calls):
            text = bytes(line).rstrip(b"\0").decode(errors="replace")
            groups.setdefault(text, []).append(rank)
        parts = [f"{named(ranks)} called {text}" for text, ranks in groups.items()]
        return f"the ranks do not call the same (call {self.count} of their group): " + "; ".join(
            parts
        )

    def under_way(self, request: Any) -> Any:
        """Wait for a collective of MPI, to which all ranks have come."""
        return [request], lambda: ", though all ranks came: one has stopped", lambda: None, True

    def over(self, what: str) -> str:
        return what


class EndNotice:
    """Tells the other ranks when this one's program ends, so that nobody waits for it."""

    def __init__(self, channel: Channel) -> None:
        self.channel, self.process = channel, os.getpid()
        self.before, sys.excepthook = sys.excepthook, self.failed

    def failed(self, kind: type, error: BaseException, traceback: Any) -> None:
        """End all ranks after showing this one's traceback: MPI alone leaves the others waiting."""
        self.before(kind, error, traceback)
        if os.getpid() == self.process:
            worker.end_all(130 if issubclass(kind, KeyboardInterrupt) else 1)

    def ended(self) -> None:
        if os.getpid() != self.process or self.channel.mpi.Is_finalized():
            return
        nothing = np.zeros(0, np.uint8)
        for peer in range(self.channel.size):
            if peer != self.channel.rank:
                self.channel.talk.Isend(nothing, peer, ENDED).Free()


def named(ranks: Any) -> str:
    """ "rank 1", "ranks 1, 2 and 3"."""
    ranks = [str(r) for r in ranks]
    if len(ranks) < 2:
        return f"rank {''.join(ranks) or '?'}"
    return f"ranks {', '.join(ranks[:-1])} and {ranks[-1]}"
