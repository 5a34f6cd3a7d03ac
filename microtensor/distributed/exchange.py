"""The exchanges of which collectives are made: of NumPy's arrays, by MPI or in a group of one.

Each is a generator of what it waits for (see `transport`), changes the array `out` in place, and
takes for granted that all ranks called the same with arrays of the same kind. Arrays are
contiguous; `parts` has one row for each rank. backends/nccl.py has the same exchanges for arrays
of a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

OPERATIONS = {
    "SUM": "SUM", "AVG": "SUM", "PRODUCT": "PROD", "MIN": "MIN", "MAX": "MAX", "BAND": "BAND",
    "BOR": "BOR", "BXOR": "BXOR",
}  # fmt: skip


class SingleProcess:
    """The exchanges of one process with itself: what comes out is what went in."""

    def all_reduce(self, out: Any, op: str) -> Any:
        yield from ()

    def reduce(self, out: Any, op: str, dst: int) -> Any:
        yield from ()

    def broadcast(self, out: Any, src: int) -> Any:
        yield from ()

    def all_gather(self, parts: Any, array: Any) -> Any:
        parts[0] = array
        yield from ()

    def gather(self, parts: Any, array: Any, dst: int) -> Any:
        parts[0] = array
        yield from ()

    def scatter(self, out: Any, parts: Any, src: int) -> Any:
        out[...] = parts[0]
        yield from ()

    def reduce_scatter(self, out: Any, parts: Any, op: str) -> Any:
        out[...] = parts[0]
        yield from ()

    def all_to_all(self, out: Any, parts: Any) -> Any:
        out[...] = parts
        yield from ()


class OverMPI:
    """The exchanges between the processes of a `Channel`."""

    def __init__(self, channel: Any) -> None:
        self.channel, self.comm, self.mpi = channel, channel.comm, channel.mpi

    def _operation(self, op):
        return getattr(self.mpi, OPERATIONS[op])

    def all_reduce(self, out: Any, op: str) -> Any:
        request = self.comm.Iallreduce(self.mpi.IN_PLACE, out, self._operation(op))
        yield self.channel.under_way(request)

    def reduce(self, out: Any, op: str, dst: int) -> Any:
        here = self.channel.rank == dst
        sent, received = (self.mpi.IN_PLACE, out) if here else (out, None)
        yield self.channel.under_way(self.comm.Ireduce(sent, received, self._operation(op), dst))

    def broadcast(self, out: Any, src: int) -> Any:
        yield self.channel.under_way(self.comm.Ibcast(octets(out), src))

    def all_gather(self, parts: Any, array: Any) -> Any:
        yield self.channel.under_way(self.comm.Iallgather(octets(array), octets(parts)))

    def gather(self, parts: Any, array: Any, dst: int) -> Any:
        received = octets(parts) if self.channel.rank == dst else None
        yield self.channel.under_way(self.comm.Igather(octets(array), received, dst))

    def scatter(self, out: Any, parts: Any, src: int) -> Any:
        sent = octets(parts) if self.channel.rank == src else None
        yield self.channel.under_way(self.comm.Iscatter(sent, octets(out), src))

    def reduce_scatter(self, out: Any, parts: Any, op: str) -> Any:
        request = self.comm.Ireduce_scatter_block(parts, out, self._operation(op))
        yield self.channel.under_way(request)

    def all_to_all(self, out: Any, parts: Any) -> Any:
        yield self.channel.under_way(self.comm.Ialltoall(octets(parts), octets(out)))


def octets(array):
    """The bytes of a contiguous array, in its own memory: MPI moves any dtype so."""
    return array.reshape(-1).view(np.uint8)
