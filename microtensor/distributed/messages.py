"""Messages between two processes: `send`, `recv`, and their kin that do not wait.

Before its numbers a message tells dtype and shape, so that a receiver with other room gets an
error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Tensor
from .collectives import _Held, _kind
from .exchange import octets
from .groups import Work, chosen, outside
from .transport import ENDED, FIRST_TAG, TELLING, DistBackendError, RankEnded, Task


def isend(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0,
          group_dst: int | None = None) -> Work | None:  # fmt: skip
    """Begin to send a tensor to rank `dst`; `Work.wait()` until it is on its way."""
    found = chosen("send", group)
    if found is None:
        return outside("send")
    to = _other(found, "send", "dst", dst, group_dst)
    held, channel = _Held("send", tensor, found), found.channel
    header = np.zeros(TELLING, np.uint8)
    text = size_and_dtype(tensor).encode()
    header[: len(text)] = np.frombuffer(text, np.uint8)

    def steps():
        requests = [
            channel.talk.Isend(array, to, FIRST_TAG + tag) for array in (header, octets(held.array))
        ]
        yield requests, lambda: f" for rank {found.ranks[to]} to receive it", lambda: None, False

    task = Task(steps(), f"send of {_kind(tensor)}", found.timeout)
    task.advance()
    return Work(task, None, [tensor])


def irecv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0,
          group_src: int | None = None) -> Work | None:  # fmt: skip
    """Begin to receive a tensor from rank `src`, or anyone; `Work.wait()` until it is there."""
    found = chosen("recv", group)
    if found is None:
        return outside("recv")
    anyone = src is None and group_src is None
    source = None if anyone else _other(found, "recv", "src", src, group_src)
    held, channel = _Held("recv", tensor, found), found.channel
    what = f"recv of {_kind(tensor)}"
    if anyone and channel is None:
        raise ValueError("recv: there is no other process in the group to receive from")
    work = Work(None, None, [tensor])

    def steps():
        mpi, header = channel.mpi, np.zeros(TELLING, np.uint8)
        place = mpi.ANY_SOURCE if anyone else source
        first = _Receiving(channel.talk.Irecv(header, place, FIRST_TAG + tag), mpi.Status())
        whom = "any rank" if anyone else f"rank {found.ranks[source]}"

        def check():
            if not anyone and channel.world.Iprobe(found.ranks[source], ENDED):
                time.sleep(0.05)  # what it had sent before may be still under way
                if not first.Test():
                    raise RankEnded(f"{what}: {whom} has ended its program and sent nothing")

        yield [first], lambda: f" for {whom} to send it", check, False
        work._source = first.source
        text = bytes(header).rstrip(b"\0").decode(errors="replace")
        if text != size_and_dtype(tensor):
            sender = found.ranks[work._source]
            raise DistBackendError(f"{what}: rank {sender} sent {text} instead")
        request = channel.talk.Irecv(octets(held.array), work._source, FIRST_TAG + tag)
        yield [request], lambda: f" for the rest of what {whom} sends", lambda: None, True
        held.write_back()

    work._task = Task(steps(), what, found.timeout)
    work._task.advance()
    return work


def send(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0,
         group_dst: int | None = None) -> None:  # fmt: skip
    """Send a tensor to rank `dst`, which calls `recv`."""
    work = isend(tensor, dst, group, tag, group_dst)
    if work is not None:
        work.wait()


def recv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0,
         group_src: int | None = None) -> int:  # fmt: skip
    """Receive a tensor from rank `src`, or from anyone, in place. Returns the sender's rank."""
    work = irecv(tensor, src, group, tag, group_src)
    if work is None:
        return -1
    work.wait()
    return chosen("recv", group).ranks[work._source]


def _other(group, call, what, rank, within):
    """The place in the group of another process."""
    place = group.position(call, what, rank, within)
    if place == group._rank:
        raise ValueError(f"{call}: {what} {group.ranks[place]} is this process itself")
    return place


def size_and_dtype(tensor):
    """The size and dtype of a message, which both ends compare: PyTorch lets shapes differ."""
    return f"{tensor.numel():,} elements of {tensor.dtype.name}"


class _Receiving:
    """A request for a message, and who sent it."""

    def __init__(self, request, status):
        self.request, self.status, self.source = request, status, None

    def Test(self):  # noqa: N802 (MPI's name)
        if self.source is None and self.request.Test(self.status):
            self.source = self.status.source
        return self.source is not None


class P2POp:
    """A message for `batch_isend_irecv`: `op` is `isend` or `irecv`."""

    def __init__(self, op: Callable, tensor: Tensor, peer: int | None = None, group: Any = None,
                 tag: int = 0, group_peer: int | None = None) -> None:  # fmt: skip
        if op not in (isend, irecv):
            raise ValueError("P2POp: op is isend or irecv")
        self.op, self.tensor, self.peer, self.group = op, tensor, peer, group
        self.tag, self.group_peer = tag, group_peer


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """Begin several messages."""
    if not p2p_op_list:
        raise ValueError("batch_isend_irecv: the list is empty")
    return [p.op(p.tensor, p.peer, p.group, p.tag, p.group_peer) for p in p2p_op_list]
