"""Exchanges between GPUs by NVIDIA's NCCL, through CuPy.

Written from CuPy's reference and not tried yet: no machine with GPUs was there.

The methods are those of distributed/exchange.py: generators that change `out` in place; parts
have one row for each rank. MPI tells the ranks NCCL's number of the group.
"""

import numpy as np


def is_there():
    """True if CuPy has NCCL, and there is a GPU."""
    try:
        import cupy
        from cupy.cuda import nccl

        return bool(nccl.available and cupy.cuda.runtime.getDeviceCount())
    except Exception:  # no CuPy, no driver, no GPU: each has errors of its own
        return False


class OverNCCL:
    """NCCL's exchanges for CuPy arrays, on the current stream of the current GPU."""

    def __init__(self, comm):
        import cupy
        from cupy.cuda import nccl

        self.cupy, self.nccl, self.rank, self.size = cupy, nccl, comm.rank, comm.size
        number = np.array(nccl.get_unique_id() if comm.rank == 0 else [0] * 128, np.int8)
        comm.Bcast(number)
        self.nccl_comm = nccl.NcclCommunicator(comm.size, tuple(number.tolist()), comm.rank)
        names = {"f2": "FLOAT16", "f4": "FLOAT32", "f8": "FLOAT64", "i1": "INT8", "u1": "UINT8",
                 "i4": "INT32", "u4": "UINT32", "i8": "INT64", "u8": "UINT64"}  # fmt: skip
        self.dtypes = {key: getattr(nccl, f"NCCL_{name}") for key, name in names.items()}
        names = {"SUM": "SUM", "AVG": "SUM", "PRODUCT": "PROD", "MIN": "MIN", "MAX": "MAX"}
        self.operations = {op: getattr(nccl, f"NCCL_{name}") for op, name in names.items()}

    def _kind(self, array):
        return self.dtypes[array.dtype.str[1:]]

    def _operation(self, op):
        if op not in self.operations:
            raise RuntimeError(f"NCCL has no {op}; it has {', '.join(self.operations)}")
        return self.operations[op]

    def _stream(self):
        return self.cupy.cuda.get_current_stream().ptr

    def _done(self):
        self.cupy.cuda.get_current_stream().synchronize()

    def all_reduce(self, out, op):
        self.nccl_comm.allReduce(out.data.ptr, out.data.ptr, out.size, self._kind(out),
                                 self._operation(op), self._stream())  # fmt: skip
        self._done()
        yield from ()

    def reduce(self, out, op, dst):
        self.nccl_comm.reduce(out.data.ptr, out.data.ptr, out.size, self._kind(out),
                              self._operation(op), dst, self._stream())  # fmt: skip
        self._done()
        yield from ()

    def broadcast(self, out, src):
        self.nccl_comm.bcast(out.data.ptr, out.nbytes, self.nccl.NCCL_UINT8, src, self._stream())
        self._done()
        yield from ()

    def all_gather(self, parts, array):
        self.nccl_comm.allGather(array.data.ptr, parts.data.ptr, array.nbytes,
                                 self.nccl.NCCL_UINT8, self._stream())  # fmt: skip
        self._done()
        yield from ()

    def reduce_scatter(self, out, parts, op):
        self.nccl_comm.reduceScatter(parts.data.ptr, out.data.ptr, out.size, self._kind(out),
                                     self._operation(op), self._stream())  # fmt: skip
        self._done()
        yield from ()

    def _messages(self, sent, received):
        """Send rows to ranks and receive rows from them, all at once: [(rank, array)] each."""
        self.nccl.groupStart()
        for peer, array in sent:
            self.nccl_comm.send(array.data.ptr, array.nbytes, self.nccl.NCCL_UINT8, peer,
                                self._stream())  # fmt: skip
        for peer, array in received:
            self.nccl_comm.recv(array.data.ptr, array.nbytes, self.nccl.NCCL_UINT8, peer,
                                self._stream())  # fmt: skip
        self.nccl.groupEnd()
        self._done()

    def gather(self, parts, array, dst):
        self._messages([(dst, array)], enumerate(parts) if self.rank == dst else [])
        yield from ()

    def scatter(self, out, parts, src):
        self._messages(enumerate(parts) if self.rank == src else [], [(src, out)])
        yield from ()

    def all_to_all(self, out, parts):
        self._messages(enumerate(parts), enumerate(out))
        yield from ()
