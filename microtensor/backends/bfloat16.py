"""bfloat16, which NumPy lacks: numbers of float32's range that keep 8 of its 24 bits.

They are held in float32 memory, rounded. Every function and every kernel computes in float32 and
rounds its result once, as PyTorch does on a CPU, so that the numbers are PyTorch's; an operation
does as a whole: see `half.py`. It saves no memory and no time: it is there to run what was written
for it.
"""

import functools
import operator

import numpy as np

from .base import Backend
from .dtypes import bfloat16
from .kernels import Kernels

MOVING = {  # functions whose results, maybe views, are numbers that they were given, 0 or 1
    "broadcast_to", "concat", "empty_like", "expand_dims", "flip", "matrix_transpose", "max", "min",
    "moveaxis", "ones", "ones_like", "permute_dims", "repeat", "reshape", "roll", "sort", "squeeze",
    "stack", "take", "take_along_axis", "tile", "tril", "triu", "zeros", "zeros_like",
}  # fmt: skip


def rounded(x):
    """float32 numbers, in their own memory, to the nearest that bfloat16 has; ties to even.

    Infinities stay, and NaNs are NaNs.
    """
    nan = np.isnan(x)
    bits = x.view(np.uint32)
    lowest = bits >> 16
    lowest &= 1
    lowest += 0x7FFF
    bits += lowest
    bits &= 0xFFFF0000
    if nan.any():  # of whose bits the sum may have made a number
        x[nan] = np.nan
    return x


class BFloat16Array:
    """An array of bfloat16 numbers; `wide` is the float32 array that holds them."""

    __slots__ = ("wide",)
    __array_ufunc__ = None  # array + this is left to __radd__
    dtype = bfloat16

    shape = property(lambda self: self.wide.shape)
    ndim = property(lambda self: self.wide.ndim)
    size = property(lambda self: self.wide.size)
    base = property(lambda self: self.wide.base)
    T = property(lambda self: BFloat16Array(self.wide.T))
    mT = property(lambda self: BFloat16Array(self.wide.mT))

    def __init__(self, wide):
        self.wide = wide

    @staticmethod
    def of_halves(halves):
        """The array of numbers whose bits, the upper halves of float32, are given as uint16."""
        return BFloat16Array((halves.astype(np.uint32) << 16).view(np.float32))

    def halves(self):
        """The bits, as uint16."""
        return (np.require(self.wide, requirements="C").view(np.uint32) >> 16).astype(np.uint16)

    def __getitem__(self, index):
        part = self.wide[_wide(index)]
        if isinstance(part, np.generic):  # one element: a view of it, not a copy
            index = index if isinstance(index, tuple) else (index,)
            part = self.wide[(*_wide(index), ...)]
        return BFloat16Array(part)

    def __setitem__(self, index, value):
        value = value if type(value) is BFloat16Array else _held(value)
        self.wide[_wide(index)] = value.wide

    def __array__(self, dtype=None, copy=None):
        return np.array(self.wide, dtype=dtype, copy=copy)

    def __repr__(self):
        return f"BFloat16Array({self.wide})"

    def __len__(self):
        return len(self.wide)

    def __bool__(self):
        return bool(self.wide)

    def __float__(self):
        return float(self.wide)

    def __int__(self):
        return int(self.wide)


def _operator(function, reflected=False):
    def compute(self, other):
        pair = (_wide(other), self.wide) if reflected else (self.wide, _wide(other))
        return _narrow(function(*pair))

    return compute


def _comparison(function):
    def compute(self, other):  # a number counts as what bfloat16 makes of it, as in PyTorch
        return function(self.wide, _wide(_held(other) if type(other) is float else other))

    return compute


def _in_place(function):
    def compute(self, other):
        self[...] = function(self.wide, _wide(other))
        return self

    return compute


for _name in "add sub mul truediv floordiv mod pow matmul".split():
    _function = getattr(operator, _name)
    setattr(BFloat16Array, f"__{_name}__", _operator(_function))
    setattr(BFloat16Array, f"__r{_name}__", _operator(_function, reflected=True))
    setattr(BFloat16Array, f"__i{_name}__", _in_place(_function))
for _name in "eq ne lt le gt ge".split():
    setattr(BFloat16Array, f"__{_name}__", _comparison(getattr(operator, _name)))
BFloat16Array.__neg__ = lambda self: BFloat16Array(-self.wide)
BFloat16Array.__pos__ = lambda self: BFloat16Array(+self.wide)
BFloat16Array.__abs__ = lambda self: BFloat16Array(abs(self.wide))
BFloat16Array.__hash__ = None


def _wide(value):
    """A value, or what lists and tuples hold, with float32 in place of bfloat16."""
    if type(value) is BFloat16Array:
        return value.wide
    if type(value) in (tuple, list):
        return type(value)([_wide(v) for v in value])
    return np.float32 if value is bfloat16 else value


def _narrow(value):
    """A result of float32, or several, with bfloat16 in place of floating numbers."""
    if isinstance(value, tuple):
        parts = [_narrow(v) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [_narrow(v) for v in value]
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind != "f":
        return value
    fresh = type(value) is np.ndarray and value.base is None and value.flags.writeable
    return _held(value, copy=not (fresh and value.dtype == np.float32))


def _held(numbers, copy=True):
    """Numbers, of any kind, as an array of bfloat16; without a copy they are rounded in place."""
    return BFloat16Array(rounded(np.array(numbers, np.float32) if copy else numbers))


class _Namespace:
    """A module of NumPy's functions, for arrays of bfloat16."""

    def __init__(self, module):
        self._module, self.__name__ = module, module.__name__

    def __getattr__(self, name):
        found = getattr(self._module, name)
        if isinstance(found, type(np)):
            found = _Namespace(found)
        elif callable(found) and not isinstance(found, type):
            found = _function_of_bfloat16(found, name in MOVING)
        setattr(self, name, found)
        return found

    def astype(self, x, dtype, copy=True):
        return _held(_wide(x)) if dtype is bfloat16 else _wide(x).astype(dtype)


def _function_of_bfloat16(function, moves):
    @functools.wraps(function)
    def compute(*args, **params):
        value = function(*_wide(args), **{k: _wide(v) for k, v in params.items()})
        if params.get("dtype") not in (None, bfloat16):
            return value
        if moves and type(value) is np.ndarray and value.dtype == np.float32:
            return BFloat16Array(value)
        return _narrow(value)

    return compute


class BFloat16Backend(Backend):
    """Every kernel for arrays of bfloat16: that of the CPU, in float32, and its values rounded."""

    xp = _Namespace(np)
    array_types = (BFloat16Array,)

    def __init__(self, home):
        self.home = home

    def dtype(self, array):
        return bfloat16

    def native(self, dtype):
        return bfloat16 if dtype is bfloat16 else self.home.native(dtype)

    def device(self, array):
        return "cpu"

    def asarray(self, data, dtype=None, copy=None):
        """`data` in the dtype that is asked for; without one, floating numbers in bfloat16."""
        if dtype not in (None, bfloat16):
            return self.home.asarray(_wide(data), dtype, copy=copy)
        if type(data) is BFloat16Array:
            return BFloat16Array(data.wide.copy()) if copy else data
        array = self.home.asarray(data, copy=copy)
        return _held(array) if dtype or array.dtype.kind == "f" else array

    def array(self, value):
        return value if type(value) is BFloat16Array else self.home.array(value)

    def to_numpy(self, array):
        return array.wide

    def cast(self, array, dtype):
        if type(array) is not BFloat16Array:
            return self.home.cast(array, dtype)
        return array if dtype is bfloat16 else self.home.asarray(array.wide, dtype, copy=True)

    def wide(self, array):
        return array.wide

    def contiguous(self, array):
        wide = self.home.contiguous(array.wide)
        return array if wide is array.wide else BFloat16Array(wide)

    def is_contiguous(self, array):
        return self.home.is_contiguous(array.wide)

    def strides(self, array):
        return self.home.strides(array.wide)

    def memory(self, array):
        return self.home.memory(array.wide)

    def overlap(self, a, b, alike=False):
        return self.home.overlap(a.wide, b.wide, alike)

    def place(self, array):
        return self.home.place(array.wide)

    def copied(self, array, memo):
        return BFloat16Array(self.home.copied(array.wide, memo))

    def read_as(self, array, dtype):
        return self.home.read_as(array.halves(), dtype)

    def reshape(self, x, shape):
        return BFloat16Array(self.home.reshape(x.wide, shape))

    def broadcast_to(self, x, shape):
        return BFloat16Array(self.home.broadcast_to(x.wide, shape))

    def unfold(self, x, dim, size, step):
        return BFloat16Array(self.home.unfold(x.wide, dim, size, step))

    def get_at(self, x, index):
        return BFloat16Array(self.home.get_at(x.wide, _wide(index)))

    def diagonal(self, x):
        return BFloat16Array(self.home.diagonal(x.wide))

    def assign(self, array, index, value):
        array[index] = value

    def write(self, array, value, view):
        return BFloat16Array(self.home.write(array.wide, _wide(value), view))

    def count_along(self, x, axis=-1):
        return self.home.count_along(x.wide, axis)

    def keep_mask(self, x, p, seed):
        return self.home.keep_mask(x.wide, p, seed)


def _kernel(name):
    """A kernel of the CPU for bfloat16. What it keeps for its backward pass stays in float32."""

    @functools.wraps(getattr(Backend, name))
    def kernel(self, *args, **params):
        value = getattr(self.home, name)(*_wide(args), **params)
        if type(value) is tuple and not name.endswith("_backward"):
            return _narrow(value[0]), *value[1:]
        return _narrow(value)

    return kernel


def _update(name):
    """A kernel that changes arrays in place: they are rounded afterwards."""

    @functools.wraps(getattr(Backend, name))
    def kernel(self, *args):
        value = getattr(self.home, name)(*_wide(args))
        for a in args:
            if type(a) is BFloat16Array and a.wide.flags.writeable:
                rounded(a.wide)
        return _narrow(value)

    return kernel


NOT_KERNELS = {"synchronize", "full", "planned"}
for _name in {*vars(Backend), *vars(Kernels)} - vars(BFloat16Backend).keys() - NOT_KERNELS:
    if not _name.startswith("_"):
        _make = _update if _name in ("sgd", "adam", "cached_attention") else _kernel
        setattr(BFloat16Backend, _name, _make(_name))
