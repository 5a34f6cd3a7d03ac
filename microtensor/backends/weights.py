"""Weights that are kept in another form than as an array of float32 numbers, and their backend.

    Int8Weight   a byte for each number, and a scale for each row
    Int4Weight   half a byte for each number, and a scale for each group of a row
    FloatWeight  the float32 numbers themselves

What multiplies with them computes each row of its input by itself, as long as there are few rows,
so that a row's result does not depend on the others: a server that lets texts join and leave gives
each of them the numbers that it would get alone. Whatever else is asked of such a weight is
answered with its float32 numbers, made for the purpose. Nothing writes to it.
"""

import functools

import numpy as np

from .base import Backend
from .dtypes import float32
from .kernels import Kernels

FEW = 8  # rows that are computed one by one; more are a product by BLAS
BLOCK = 1 << 18  # numbers that are made of a weight at a time
HALF_BLOCK = 16  # bytes of int4: their lower halves are 16 numbers, their upper ones the next 16


class StoredWeight(np.lib.mixins.NDArrayOperatorsMixin):
    """A matrix (m, n) of float32 numbers in another form."""

    __slots__ = ("__weakref__", "parts", "shape")
    base, ndim, dtype = None, 2, np.dtype(np.float32)

    def __init__(self, shape, **parts):
        self.shape, self.parts = tuple(shape), parts

    @property
    def size(self):
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self):
        """The bytes that it takes."""
        return sum(part.nbytes for part in self.parts.values())

    def copy(self):
        parts = {name: part.copy() for name, part in self.parts.items()}
        return type(self)(self.shape, **parts)

    def rows(self, index):
        """The float32 rows at a slice or at an array of integers: (…, n)."""
        raise NotImplementedError

    def wide(self):
        """All of its numbers, to be read only."""
        numbers = self.rows(slice(None))
        if numbers.flags.owndata:
            numbers.flags.writeable = False
        return numbers

    def __array__(self, dtype=None, copy=None):
        return np.array(self.wide(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if any(isinstance(out, StoredWeight) for out in options.get("out", ())):
            raise RuntimeError(READ_ONLY)
        return getattr(ufunc, method)(*map(_wide, inputs), **options)

    def __array_function__(self, function, types, args, options):
        return function(*_wide(args), **{name: _wide(v) for name, v in options.items()})

    def __getattr__(self, name):  # asked for what an array has besides
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.wide(), name)

    def __getitem__(self, index):
        return self.wide()[index]

    def __setitem__(self, index, value):
        raise RuntimeError(READ_ONLY)

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        return f"{type(self).__name__}{self.shape}"


READ_ONLY = (
    "a quantized weight cannot be changed in place: change the float32 numbers, and quantize them "
    "afterwards"
)


class Int8Weight(StoredWeight):
    """code · scale[row]: codes (m, n) from −127 to 127, scales (m)."""

    __slots__ = ()

    @classmethod
    def of(cls, x):
        """The nearest to float32 numbers (m, n)."""
        scale = np.abs(x).max(1, initial=0) / np.float32(127)
        codes = np.rint(x / np.where(scale > 0, scale, 1)[:, None])
        return cls(x.shape, int8=codes.clip(-127, 127).astype(np.int8), scale=scale)

    def rows(self, index):
        return self.parts["int8"][index] * self.parts["scale"][index][..., None]


class Int4Weight(StoredWeight):
    """(code − 8) · scale[row, group]: codes of 4 bits, two in a byte, scales (m, groups).

    The last group of a row is filled up with zeros. The bytes of a row are in blocks of 16, which
    hold 32 numbers: byte i of a block has number i in its lower half and number 16 + i above it.
    """

    __slots__ = ()

    @classmethod
    def of(cls, x, group_size):
        """The nearest to float32 numbers (m, n), in groups of a multiple of 32."""
        m, n = x.shape
        groups = -(-n // group_size)
        padded = np.zeros((m, groups * group_size), np.float32)
        padded[:, :n] = x
        padded = padded.reshape(m, groups, group_size)
        # the number furthest from 0 becomes −8, which has no counterpart above: 16 steps, not 15
        furthest = np.abs(padded).argmax(2)[..., None]
        scale = np.take_along_axis(padded, furthest, 2)[..., 0] / np.float32(-8)
        codes = np.rint(padded / np.where(scale == 0, 1, scale)[..., None]).clip(-8, 7) + 8
        codes = codes.astype(np.uint8).reshape(m, -1, 2, HALF_BLOCK)
        packed = (codes[:, :, 0] | codes[:, :, 1] << 4).reshape(m, -1)
        return cls(x.shape, int4=packed, scale=scale)

    def rows(self, index):
        packed, scale = self.parts["int4"][index], self.parts["scale"][index]
        blocks = packed.reshape(*packed.shape[:-1], -1, 1, HALF_BLOCK)
        codes = np.concatenate([blocks & 15, blocks >> 4], -2).reshape(*scale.shape, -1)
        numbers = (codes.astype(np.float32) - 8) * scale[..., None]
        return numbers.reshape(*packed.shape[:-1], -1)[..., : self.shape[1]]

    @property
    def group_size(self):
        """The number of elements that share a scale."""
        return 2 * self.parts["int4"].shape[1] // self.parts["scale"].shape[1]


class FloatWeight(StoredWeight):
    """The numbers themselves, which a product takes row by row."""

    __slots__ = ("numbers",)

    def __init__(self, numbers):
        self.shape, self.numbers, self.parts = numbers.shape, numbers, None

    @property
    def nbytes(self):
        return self.numbers.nbytes

    def copy(self):
        return FloatWeight(self.numbers.copy())

    def rows(self, index):
        return self.numbers[index]

    def wide(self):
        return self.numbers


def _wide(value):
    """A value, or what lists and tuples hold, with float32 arrays in place of stored weights."""
    if isinstance(value, StoredWeight):
        return value.wide()
    if type(value) in (tuple, list):
        return type(value)([_wide(v) for v in value])
    return value


class StoredWeightBackend(Backend):
    """Every kernel for such weights: that of the CPU, for their float32 numbers."""

    xp = np
    array_types = (StoredWeight, Int8Weight, Int4Weight, FloatWeight)
    _as_key = staticmethod(np.dtype)

    def __init__(self, home):
        super().__init__()
        self.home = home

    def dtype(self, array):
        return float32 if isinstance(array, StoredWeight) else self.home.dtype(array)

    def device(self, array):
        return "cpu"

    def asarray(self, data, dtype=None, copy=None):
        if isinstance(data, StoredWeight) and dtype in (None, float32):
            return data.copy() if copy else data
        return self.home.asarray(_wide(data), dtype, copy)

    def cast(self, array, dtype):
        return self.asarray(array, dtype)

    def array(self, value):
        return value

    def contiguous(self, array):
        return array

    def is_contiguous(self, array):
        return True

    def memory(self, array):
        return array

    def assign(self, array, index, value):
        raise RuntimeError(READ_ONLY)

    def sgd(self, *args):
        raise RuntimeError(READ_ONLY)

    adam = sgd

    def planned(self, name, inputs, value, args, params):
        return None

    def linear(self, x, weight, bias):
        if not isinstance(weight, StoredWeight) or type(x) is not np.ndarray:
            return self.home.linear(*map(_wide, (x, weight, bias)))
        y = np.empty((*x.shape[:-1], weight.shape[0]), np.float32)
        self.home.stored_linear(_matrix(x), weight, bias, _matrix(y))
        return y

    def embedding(self, weight, index):
        if not isinstance(weight, StoredWeight):
            return self.home.embedding(weight, _wide(index))
        return weight.rows(index.copy())  # a copy: see numpy.py's `_own`


def _matrix(x):
    """x in row-major order as rows along its last axis, (r, n)."""
    x = np.require(x, requirements="C")
    return x.reshape(-1, x.shape[-1]) if x.size else x.reshape(0, x.shape[-1])


def _kernel(name):
    """A kernel of the CPU for the float32 numbers."""

    @functools.wraps(getattr(Backend, name))
    def kernel(self, *args, **params):
        return getattr(self.home, name)(*_wide(args), **params)

    return kernel


for _name in {*vars(Backend), *vars(Kernels)} - vars(StoredWeightBackend).keys():
    if not _name.startswith("_") and callable(getattr(Backend, _name)):
        setattr(StoredWeightBackend, _name, _kernel(_name))
