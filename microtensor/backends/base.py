"""The base of all backends: what one does with arrays, in portable array-API code.

A backend owns one kind of array. `xp` is its array namespace; the methods below are written with
`xp` and operators alone, so they run on any array library and, because Tensors have a backend
too, on Tensors: that is how a fused kernel gets derivatives of every order. A faster device
overrides a method; nothing else knows. The fused kernels stand in `kernels.py`.
"""

import math

import numpy as np

from .dtypes import DTYPES, dtype_of, float32
from .kernels import Kernels


class Backend(Kernels):
    """Arrays, and every kernel, in portable array-API code."""

    def __init__(self, xp=None):
        if xp is not None:
            self.xp = xp
        natives = {name: getattr(self.xp, name) for name in DTYPES if hasattr(self.xp, name)}
        self._native = {DTYPES[name]: self._as_key(native) for name, native in natives.items()}
        self._ours = {native: ours for ours, native in self._native.items()}

    def __repr__(self):
        return f"{type(self).__name__}, {self.xp.__name__} {getattr(self.xp, '__version__', '')}"

    # ---- arrays ----------------------------------------------------------------------

    @staticmethod
    def _as_key(native):
        return native

    def native(self, dtype):
        """The array library's own object for an `mt.dtype`."""
        try:
            return self._native[dtype]
        except KeyError:
            raise TypeError(f"{self.xp.__name__} has no {dtype}") from None

    def dtype(self, array):
        """The `mt.dtype` of an array."""
        try:
            return self._ours[array.dtype]
        except KeyError:
            return dtype_of(str(array.dtype))

    def device(self, array):
        """The name of the device that holds an array."""
        raise NotImplementedError

    def asarray(self, data, dtype=None, copy=None):
        """`data` (numbers, nested lists, a NumPy array or an array of this kind) as an array."""
        return self.xp.asarray(data, dtype=dtype and self.native(dtype), copy=copy)

    def full(self, shape, value, dtype):
        """An array of one number."""
        return self.xp.full(shape, value, dtype=self.native(dtype))

    def array(self, value):
        """An array again where the library has made a number of an array without dimensions."""
        return value

    def to_numpy(self, array):
        """The array as a NumPy array; on the CPU it shares memory."""
        return np.asarray(array)

    def cast(self, array, dtype):
        """The array with the elements of another `mt.dtype`; itself where nothing changes."""
        return self.xp.astype(array, self.native(dtype), copy=False)

    def wide(self, array):
        """An array of half precision in float32; it may share memory."""
        return self.cast(array, float32)

    def contiguous(self, array):
        """The array in one block of memory, in row-major order; itself where it is so already."""
        return array

    def is_contiguous(self, array):
        """True if the elements are in row-major order without gaps; nothing is copied."""
        return True

    def strides(self, array):
        """Elements to step over in memory for each axis."""
        raise NotImplementedError(f"{self.xp.__name__} arrays have no strides")

    def memory(self, array):
        """The array that owns the memory that `array` shows: itself, or what it is a view of."""
        while hasattr(getattr(array, "base", None), "dtype"):
            array = array.base
        return array

    def overlap(self, a, b, alike=False):
        """True if two arrays that lie densely in one memory share elements.

        The very same elements in the same order do not count, unless `alike`.
        """
        return False

    def place(self, array):
        """(`memory(array)`, the byte of it where the array begins); None where that is unknown."""

    def copied(self, array, memo):
        """A copy of the array that lies in a copy of its memory.

        `memo` keeps the copies by the id of what was copied, so that arrays that share memory are
        copied to arrays that do.
        """
        return self.asarray(array, copy=True)

    def read_as(self, array, dtype):
        """The bytes of an array as elements of another dtype."""
        return array.view(self.native(dtype))

    def planned(self, name, inputs, value, args, params):
        """A function that computes an operation's value again, from and into the same arrays.

        A function without arguments, or None where there is nothing quicker than the operation.
        """

    def synchronize(self):
        """Wait until everything that was asked of the device is done."""

    # ---- what the array API lacks ----------------------------------------------------

    def reshape(self, x, shape):
        """The elements of x in another shape, a view where it can be one."""
        return self.xp.reshape(x, shape)

    def broadcast_to(self, x, shape):
        """x repeated to fill a shape: to be read, not to be written."""
        return self.xp.broadcast_to(x, shape)

    def one(self, x):
        """1 in the shape and dtype of x, which has one element."""
        return self.xp.ones(x.shape, dtype=x.dtype)

    def sum(self, x, axis=None, keepdims=False):
        """Σ x, in the dtype of x."""
        return self.xp.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)

    def mean(self, x, axis=None, keepdims=False):
        """The mean of x; NaN of nothing."""
        total = self.sum(x, axis, keepdims)
        count = math.prod(x.shape) / (math.prod(total.shape) or 1)
        return total / count if count else total * math.nan

    def cumulative_sum(self, x, axis):
        """The sums of x up to each element along an axis, in the dtype of x."""
        return self.xp.cumulative_sum(x, axis=axis, dtype=x.dtype)

    def cumulative_prod(self, x, axis):
        """The products of x up to each element along an axis, in the dtype of x."""
        return self.xp.cumulative_prod(x, axis=axis, dtype=x.dtype)

    def where(self, mask, a, b):
        """a where the mask is true, else b."""
        return self.xp.where(mask, a, b)

    def bounds(self, x):
        """The least and the largest of integers, which are not empty, as Python numbers."""
        if math.prod(x.shape) == 1:
            return (int(self.xp.reshape(x, ())),) * 2
        return int(self.xp.min(x)), int(self.xp.max(x))

    def get_at(self, x, index):
        """x[index], for every kind of index that NumPy has."""
        if _is_basic(index):
            return x[_spelled_out(index, x.shape)]
        position = self.asarray(_positions(x.shape, index, self))
        return self._taken(self.xp.reshape(x, (-1,)), position)

    def set_at(self, array, value, index):
        """A copy of `array` with array[index] = value."""
        position = self.asarray(_positions(array.shape, index, self))
        value = self.xp.astype(self.asarray(value), array.dtype)
        return self._replaced(array, self.xp.broadcast_to(value, position.shape), position)

    def assign(self, array, index, value):
        """array[index] = value, in place."""
        parts = index if isinstance(index, tuple) else (index,)
        value = self.asarray(value)
        while value.shape[:1] == (1,):  # leading ones are dropped, as NumPy does
            value = value[0, ...]
        if _is_basic(parts) and None not in parts:
            array[_spelled_out(parts, array.shape)] = self.xp.astype(value, array.dtype)
        else:  # the array API has no such indices on the left
            array[...] = self.set_at(array, value, index)

    def put(self, values, shape, index):
        """Zeros of `shape` with `values` added at `index`: the transpose of `x[index]`."""
        return self._added(values, self.asarray(_positions(shape, index, self)), shape)

    def count_along(self, x, axis=-1):
        """0, 1, 2, … for the positions along an axis of x."""
        return self.xp.arange(x.shape[axis])

    def write(self, array, value, view):
        """A copy of `array` in which the part that `view` shows is `value`."""
        position = self.xp.reshape(self.xp.arange(math.prod(array.shape)), array.shape)
        position = view(position)  # which may be a copy: a transposed array has no flat view
        value = self.xp.astype(self.asarray(value), array.dtype)
        return self._replaced(array, self.xp.broadcast_to(value, position.shape), position)

    def diagonal(self, x):
        """The diagonals of square matrices, a view if x is contiguous: (…, n, n) to (…, n)."""
        n = x.shape[-1]
        return self.xp.reshape(x, (*x.shape[:-2], n * n))[..., :: n + 1]

    def set_along_axis(self, array, values, index, axis):
        """A copy of `array` with `values` put at `index` along `axis`: PyTorch's `scatter`."""
        values = self.xp.astype(self.asarray(values), array.dtype)
        values = self.xp.broadcast_to(values, index.shape)
        return self._replaced(array, values, self._along(array.shape, index, axis))

    def put_along_axis(self, values, shape, index, axis):
        """Zeros of `shape` with `values` added at `index` along `axis`: PyTorch's `scatter_add`."""
        return self._added(values, self._along(shape, index, axis), shape)

    def multiply_along_axis(self, array, values, index, axis):
        """A copy of `array` multiplied by `values` at `index` along `axis`."""
        xp, row = self.xp, self.xp.reshape(values, (1, -1))
        table = self._table(self._along(array.shape, index, axis), math.prod(array.shape))
        factors = xp.prod(xp.where(table, row, xp.ones_like(row)), axis=1, dtype=array.dtype)
        return array * xp.reshape(factors, array.shape)

    def unfold(self, x, dim, size, step):
        """All windows of `size` elements along `dim`, `step` apart, as a new last axis: a view."""
        windows = self.get_at(x, self._windows(x.shape, dim, size, step))
        return self.xp.moveaxis(windows, dim + 1, -1)

    def unfold_backward(self, g, shape, dim, size, step):
        """Windows added up to an array of a shape, each where `unfold` has it from."""
        g = self.xp.moveaxis(g, -1, dim + 1)
        return self.put(g, tuple(shape), self._windows(shape, dim, size, step))

    def _windows(self, shape, dim, size, step):
        starts = np.arange(0, shape[dim] - size + 1, step)
        index = self.asarray(starts[:, None] + np.arange(size))
        return (slice(None),) * dim + (index,)

    def _along(self, shape, index, axis):
        """The row-major positions in an array of `shape` to which `index` along `axis` points."""
        xp, position, stride = self.xp, self.xp.zeros_like(index), 1
        for d in reversed(range(len(shape))):
            across = tuple(-1 if i == d else 1 for i in range(len(shape)))
            line = xp.reshape(xp.arange(index.shape[d], dtype=index.dtype), across)
            position = position + stride * (index if d == axis else line)
            stride *= shape[d]
        return position

    def _taken(self, flat, position):
        taken = self.xp.take(flat, self.xp.reshape(position, (-1,)))
        return self.xp.reshape(taken, position.shape)

    def _added(self, values, position, shape):
        """Zeros with the values added at the positions: a sum over a table of which goes where."""
        xp, row = self.xp, self.xp.reshape(values, (1, -1))
        part = xp.where(self._table(position, math.prod(shape)), row, xp.zeros_like(row))
        return xp.reshape(self.sum(part, 1), shape)

    def _replaced(self, array, values, position):
        """The array with the values at the positions, the last of those that share one."""
        xp, n = self.xp, math.prod(values.shape)
        if n == 0:
            return xp.asarray(array, copy=True)
        table = self._table(position, math.prod(array.shape))
        last = n - 1 - xp.argmax(xp.astype(xp.flip(table, axis=1), xp.int8), axis=1)
        new = xp.take(xp.reshape(values, (-1,)), last)
        flat = xp.where(xp.any(table, axis=1), new, xp.reshape(array, (-1,)))
        return xp.reshape(flat, array.shape)

    def _table(self, position, size):
        """Booleans (size, n): whether the n-th position is the row's."""
        return self.xp.arange(size)[:, None] == self.xp.reshape(position, (1, -1))


def _is_basic(index):
    """True if an index has no arrays, so that it makes a view."""
    return not any(hasattr(i, "dtype") for i in (index if isinstance(index, tuple) else (index,)))


def _spelled_out(index, shape):
    """A basic index as the array API wants it: slices that end within, an ellipsis at the end."""
    parts = index if isinstance(index, tuple) else (index,)
    parts = parts if Ellipsis in parts else (*parts, Ellipsis)
    used, out, dim = sum(i is not None and i is not Ellipsis for i in parts), [], 0
    for i in parts:
        if i is Ellipsis:
            dim += len(shape) - used
        elif i is not None:
            if isinstance(i, slice):
                start, stop, step = i.indices(shape[dim])
                i = slice(start, None if stop < 0 else stop, step) if start >= 0 else slice(0, 0)
            dim += 1
        out.append(i)
    return tuple(out)


def _positions(shape, index, backend):
    """The row-major positions in an array of `shape` to which `index` points, by NumPy."""
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(backend.to_numpy(i) if hasattr(i, "dtype") else i for i in parts)
    return np.asarray(np.arange(math.prod(shape)).reshape(shape)[parts])
