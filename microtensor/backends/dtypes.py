"""Data types by name, and PyTorch's rules for mixing them."""

import numpy as np

from .naming import PACKAGE, Shown


class dtype(metaclass=Shown):
    """A data type: `mt.float32`, `mt.int64`, … The same object on every device."""

    __slots__ = ("name", "rank", "itemsize")

    def __init__(self, name, rank, itemsize):
        self.name, self.rank, self.itemsize = name, rank, itemsize

    is_floating_point = property(lambda self: self.rank == FLOAT)
    is_complex = property(lambda self: False)
    is_signed = property(lambda self: self.rank == FLOAT or self.name.startswith("int"))

    def __repr__(self):
        return f"{PACKAGE[0]}.{self.name}"

    def __reduce__(self):
        return (dtype_of, (self.name,))


class Named(dtype):
    """A data type of PyTorch's that no tensor here has. Programs ask whether a tensor has it."""

    __slots__ = ()
    is_absent = True
    is_complex = property(lambda self: self.name.startswith("complex"))


BOOL, INT, FLOAT = range(3)  # a wider rank always wins: int64 + float16 is float16

bool_ = dtype("bool", BOOL, 1)
uint8 = dtype("uint8", INT, 1)
int8, int16, int32, int64 = (dtype(f"int{8 * n}", INT, n) for n in (1, 2, 4, 8))
float16, float32, float64 = (dtype(f"float{8 * n}", FLOAT, n) for n in (2, 4, 8))
bfloat16 = dtype("bfloat16", FLOAT, 2)

DTYPES = {
    d.name: d
    for d in (bool_, uint8, int8, int16, int32, int64, bfloat16, float16, float32, float64)
}
NAMED = {
    **{f"complex{8 * n}": Named(f"complex{8 * n}", None, n) for n in (8, 16)},
    **{f"uint{8 * n}": Named(f"uint{8 * n}", INT, n) for n in (2, 4, 8)},
    **{name: Named(name, FLOAT, 1) for name in ("float8_e4m3fn", "float8_e5m2")},
}
complex64, complex128, uint16, uint32, uint64, float8_e4m3fn, float8_e5m2 = NAMED.values()
TYPES = {  # PyTorch's older names for tensors of one dtype
    "FloatTensor": float32, "DoubleTensor": float64, "HalfTensor": float16, "LongTensor": int64,
    "IntTensor": int32, "ShortTensor": int16, "CharTensor": int8, "ByteTensor": uint8,
    "BoolTensor": bool_, "BFloat16Tensor": bfloat16,
}  # fmt: skip
PYTHON = {bool: BOOL, int: INT, float: FLOAT}

_default = [float32]


def get_default_dtype():
    """The data type of Python floats and of new tensors."""
    return _default[0]


def set_default_dtype(dtype):
    """Make `dtype`, a floating one, the data type of Python floats and of new tensors."""
    dtype = dtype_of(dtype)
    if dtype.rank != FLOAT:
        raise TypeError(f"set_default_dtype: a floating-point dtype is needed, got {dtype}")
    _default[0] = dtype


def dtype_of(kind):
    """The dtype that `kind` means: a dtype, a name, a Python type, a NumPy dtype, FloatTensor …"""
    if type(kind) is dtype:
        return kind
    if isinstance(kind, type) and kind in PYTHON:
        return (bool_, int64, float64)[PYTHON[kind]]
    name = (
        kind
        if isinstance(kind, str)
        else getattr(kind, "name", None) or getattr(kind, "__name__", "")
    )
    name = name if isinstance(name, str) else ""
    found = DTYPES.get(name.removesuffix("_")) or TYPES.get(name.removeprefix("torch."))
    if found is None:
        known = ", ".join(DTYPES)
        raise TypeError(f"{kind!r} is not a dtype of microtensor; there are {known}")
    return found


def dtype_of_number(number):
    """The dtype of a tensor that is made of a Python number: a float has the default one."""
    return _default[0] if type(number) is float else dtype_of(type(number))


def wrapped(number, dtype):
    """A whole number in as many bits as an integer dtype has, as in C: 300 is 44 in uint8."""
    low = -(2 ** (8 * dtype.itemsize - 1)) if dtype.is_signed else 0
    return (number - low) % 2 ** (8 * dtype.itemsize) + low


def fitting(number, dtype):
    """A number as an element of an integer dtype. Raises RuntimeError where it is too large.

    As in PyTorch uint8 takes negative numbers, whose bits it keeps.
    """
    if dtype.rank != INT or type(number) not in (int, float):
        return number
    limits = iinfo(dtype)
    low = limits.min if dtype.is_signed else -limits.max
    if not low <= number <= limits.max:  # NaN, too
        raise RuntimeError(
            f"the value {number} does not fit {dtype}, which has {limits.min} to {limits.max}"
        )
    return wrapped(int(number), dtype)


def promote_types(a, b):
    """The smallest dtype that holds both, as in PyTorch."""
    for kind in (a, b):
        if not isinstance(kind, dtype):
            raise TypeError(f"promote_types: a dtype is needed, got {kind!r}")
    if a.rank != b.rank:
        return max(a, b, key=lambda d: d.rank)
    if a.rank == INT and a.is_signed != b.is_signed:  # uint8 fits in every signed type but int8
        signed = a if a.is_signed else b
        return int16 if signed is int8 else signed
    if {a, b} == {float16, bfloat16}:  # neither holds the other
        return float32
    return max(a, b, key=lambda d: d.itemsize)


def result_type(arrays=(), scalars=(), numbers=()):
    """PyTorch's promotion of dtypes in three tiers: arrays, 0-d arrays, Python numbers.

    A lower tier counts only where its rank is above that of the tiers over it.
    """
    result = None
    for tier in (arrays, scalars, [(bool_, int64, _default[0])[PYTHON[type(n)]] for n in numbers]):
        lower = None
        for d in tier:
            lower = d if lower is None else promote_types(lower, d)
        if result is None or lower is not None and lower.rank > result.rank:
            result = lower
    return result


FLOAT8 = {  # largest number, distance from 1 to the next, smallest normal number
    NAMED["float8_e4m3fn"]: (448.0, 2.0**-3, 2.0**-6),
    NAMED["float8_e5m2"]: (57344.0, 2.0**-2, 2.0**-14),
}


class finfo:
    """The limits of a floating dtype: max, min, eps, tiny, smallest_normal, resolution, bits."""

    def __init__(self, dtype=None):
        if dtype in FLOAT8:
            self.dtype, self.bits, self.resolution = dtype.name, 8, 1.0
            self.max, self.eps, self.tiny = FLOAT8[dtype]
            self.min, self.smallest_normal = -self.max, self.tiny
            return
        self.dtype = str(dtype_of(dtype or get_default_dtype()).name)
        if self.dtype == "bfloat16":  # the range of float32, and 8 bits to tell numbers apart
            limits = np.finfo(np.float32)
            self.bits, self.eps, self.resolution = 16, 2.0**-7, 0.01
            self.max, self.min = (2 - 2.0**-7) * 2.0**127, -(2 - 2.0**-7) * 2.0**127
        else:
            limits = np.finfo(self.dtype)
            self.bits = limits.bits
            self.eps, self.resolution = float(limits.eps), float(limits.resolution)
            self.max, self.min = float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.tiny)

    def __repr__(self):
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        limits = ", ".join(f"{n}={getattr(self, n):g}" for n in names)
        return f"finfo({limits}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype: max, min, bits."""

    def __init__(self, dtype):
        self.dtype = dtype_of(dtype).name
        limits = np.iinfo(self.dtype)
        self.bits, self.max, self.min = limits.bits, int(limits.max), int(limits.min)

    def __repr__(self):
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
