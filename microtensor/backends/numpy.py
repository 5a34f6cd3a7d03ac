"""The CPU: NumPy's arrays. Its kernels stand in `numpy_kernels.py`."""

import math

import numpy as np

from .bfloat16 import BFloat16Array, BFloat16Backend
from .dtypes import PYTHON, fitting
from .numpy_kernels import BLOCK, HALF, NumPyKernels
from .quiet import quiet
from .strides import is_dense, repeats, writable
from .sums import COLUMN, summed


class NumPyBackend(NumPyKernels):
    """Every kernel for NumPy arrays."""

    xp = np
    array_types = (np.ndarray, np.generic)

    # ---- arrays ----------------------------------------------------------------------

    _as_key = staticmethod(np.dtype)

    def device(self, array):
        return "cpu"

    @quiet
    def asarray(self, data, dtype=None, copy=None):
        try:
            return np.array(data, dtype=dtype and self._native[dtype], copy=copy)
        except KeyError:  # bfloat16, which NumPy lacks
            return BFloat16Backend(self).asarray(data, dtype, copy)

    @quiet
    def cast(self, array, dtype):
        try:
            return array.astype(self._native[dtype], copy=False)
        except KeyError:
            return BFloat16Backend(self).asarray(array, dtype)

    @quiet
    def full(self, shape, value, dtype):
        try:
            return np.full(shape, fitting(value, dtype), self._native[dtype])
        except KeyError:
            return BFloat16Backend(self).full(shape, value, dtype)

    def array(self, value):
        return np.asarray(value)

    def memory(self, array):
        owner, base = array, array.base
        while base is not None:  # between two arrays may stand an object of as_strided's
            owner = base if isinstance(base, np.ndarray) else owner
            base = getattr(base, "base", None)
        return owner

    def overlap(self, a, b, alike=False):
        if not (a.size and b.size and is_dense(a) and is_dense(b)):
            return False
        start, other = (x.__array_interface__["data"][0] for x in (a, b))
        if start == other and a.nbytes == b.nbytes and (a.shape, a.strides) == (b.shape, b.strides):
            return alike
        return start < other + b.nbytes and other < start + a.nbytes

    def place(self, array):
        if type(array) is not np.ndarray:
            return None
        memory = self.memory(array)
        (start, end), (low, high) = map(np.lib.array_utils.byte_bounds, (array, memory))
        plain = type(memory) is np.ndarray and memory.flags.forc and memory.dtype.isnative
        if not plain or start < low or end > high or any(step < 0 for step in array.strides):
            return None
        return memory, start - low

    def copied(self, array, memo):
        place = self.place(array)
        if place is None:
            return self.asarray(array, copy=True)
        memory, start = place
        if id(memory) not in memo:
            memo[id(memory)] = memory.copy(order="K")
            memo.setdefault(id(memo), []).append(memory)  # keeps it alive, and its id its own
        whole = memo[id(memory)]
        copy = np.ndarray(array.shape, array.dtype, whole, start, array.strides)
        copy.flags.writeable = all(step for n, step in zip(copy.shape, copy.strides) if n > 1)
        return copy

    def read_as(self, array, dtype):
        try:
            return array.view(self._native[dtype])
        except KeyError:
            return BFloat16Array.of_halves(array.view(np.uint16))

    def contiguous(self, array):
        return np.require(array, requirements="C")

    def is_contiguous(self, array):
        return array.flags.c_contiguous

    def strides(self, array):
        return tuple(n // array.itemsize for n in array.strides)

    # ---- what the array API lacks ----------------------------------------------------

    def get_at(self, x, index):
        part = x[_copied_index(index)]
        if isinstance(part, np.generic):  # one element: a view of it, not a copy
            part = x[(*index, ...) if isinstance(index, tuple) else (index, ...)]
        return part

    def reshape(self, x, shape):
        return x.reshape(shape)  # sooner than np.reshape

    def broadcast_to(self, x, shape):
        if math.prod(shape) > BLOCK:
            return np.broadcast_to(x, shape)
        out = np.empty(shape, x.dtype)  # a small copy takes less time than a view
        out[...] = x
        return out

    def one(self, x):
        return np.array(1, x.dtype, ndmin=x.ndim)  # sooner than np.ones

    def sum(self, x, axis=None, keepdims=False):
        if x.size > COLUMN and x.dtype.kind == "f" or x.dtype is HALF:
            return summed(x, axis, keepdims)
        return np.add.reduce(x, axis, x.dtype, None, keepdims)  # what np.sum comes to

    def cumulative_sum(self, x, axis):
        return _running(np.add, x, axis)

    def cumulative_prod(self, x, axis):
        return _running(np.multiply, x, axis)

    def where(self, mask, a, b):
        like = a if isinstance(a, np.ndarray) else b
        if mask.size < 1 << 12 or mask.dtype != bool or not _of_one_float(like, a, b):
            return np.where(mask, a, b)
        # NumPy goes one way or the other for each element, and where it cannot tell which comes
        # next, that takes fifteen times as long as arithmetic with the bits: b ^ (a ^ b) · mask.
        bits = np.dtype(f"i{like.itemsize}")
        a, b = (np.asarray(v, like.dtype).view(bits) for v in (a, b))
        chosen = a ^ b
        out = chosen if chosen.shape == mask.shape else None  # memory of its own: fresh pages cost
        chosen = np.multiply(chosen, mask, out=out, dtype=bits)
        return np.bitwise_xor(chosen, b, out=out).view(like.dtype)

    def bounds(self, x):
        return int(np.minimum.reduce(x, None)), int(np.maximum.reduce(x, None))

    @quiet
    def assign(self, array, index, value):
        try:
            array[_copied_index(index)] = self._fitting(array, value)
        except ValueError:
            if array.flags.writeable:
                raise
            target = writable(array, _copied_index(index), self.memory(array))
            filled = index is ... and not np.ndim(value)
            if target is None or repeats(target) and not filled:
                raise
            target[...] = self._fitting(array, value)

    def _fitting(self, array, value):
        kind = array.dtype.kind
        return (
            fitting(value, self.dtype(array)) if kind in "iu" and type(value) in PYTHON else value
        )

    def diagonal(self, x):
        return np.einsum("...ii->...i", x)  # unlike np.diagonal a view that can be written

    def write(self, array, value, view):
        copy = array.copy()
        copy.reshape(-1)[view(np.arange(copy.size).reshape(copy.shape))] = value
        return copy

    def set_at(self, array, value, index):
        copy = array.copy()
        copy[_copied_index(index)] = self._fitting(array, value)
        return copy

    def set_along_axis(self, array, values, index, axis):
        copy = array.copy()
        copy[_along(index, axis)] = values
        return copy

    def put(self, values, shape, index):
        index, out = _copied_index(index), np.zeros(shape, values.dtype)
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(i, np.ndarray) and i.dtype != bool for i in parts):
            np.add.at(out, index, values)  # an element may be meant more than once
        else:
            out[index] = values
        return out

    def multiply_along_axis(self, array, values, index, axis):
        copy = array.copy()
        np.multiply.at(copy, _along(index, axis), values)
        return copy

    def unfold(self, x, dim, size, step):
        count = (x.shape[dim] - size) // step + 1
        shape = (*x.shape[:dim], count, *x.shape[dim + 1 :], size)
        strides = [*x.strides, x.strides[dim]]
        strides[dim] *= step
        write = x.flags.writeable
        return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=write)

    def unfold_backward(self, g, shape, dim, size, step):
        out, before, count = np.zeros(shape, g.dtype), (slice(None),) * dim, g.shape[dim]
        for k in range(min(size, count)):
            if size <= count:  # one place of all windows after the other, else whole windows
                out[(*before, slice(k, k + (count - 1) * step + 1, step))] += g[..., k]
            else:
                part = np.moveaxis(g[(*before, k)], -1, dim)
                out[(*before, slice(k * step, k * step + size))] += part
        return out

    def put_along_axis(self, values, shape, index, axis):
        out = np.zeros(shape, values.dtype)
        np.add.at(out, _along(index, axis), values)
        return out


def _of_one_float(like, *values):
    """True if values are arrays of the floating dtype of `like`, or Python numbers beside them."""
    if not isinstance(like, np.ndarray) or like.dtype.kind != "f" or like.itemsize > 8:
        return False
    return all(type(v) in PYTHON or getattr(v, "dtype", None) == like.dtype for v in values)


def _running(function, x, axis):
    """The running results of a ufunc along an axis: of float32 in float64, as in PyTorch."""
    exact = x.dtype.kind != "f" or x.dtype.itemsize > 4
    y = function.accumulate(x, axis, x.dtype if exact else np.float64)
    return y.astype(x.dtype, copy=False)


def _copied_index(index):
    """An index with copies of its arrays.

    NumPy first checks the positions and then uses them. Another thread that writes to the array
    in between would have it read or write outside of its own.
    """
    if isinstance(index, tuple):
        return tuple(i.copy() if isinstance(i, np.ndarray) else i for i in index)
    return index.copy() if isinstance(index, np.ndarray) else index


def _along(index, axis):
    """The whole index that `index` along one axis stands for, with a copy of `index`."""
    where = list(np.ogrid[tuple(map(slice, index.shape))])
    where[axis : axis + 1] = [index.copy()] if where else []
    return tuple(where)
