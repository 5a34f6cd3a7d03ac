"""The array API's names for the operations of this package.

An operation's body is written in this vocabulary. Run on arrays it calls NumPy's or CuPy's
functions; run on Tensors it calls these, and so its pullbacks can be differentiated in turn.
"""

from .. import ops
from ..backends.dtypes import DTYPES
from . import creation

globals().update({name: dtype for name, dtype in DTYPES.items() if name != "bool"})
bool = DTYPES["bool"]

abs, acos, acosh, asin, asinh, atan, atan2, atanh = (
    ops.abs, ops.acos, ops.acosh, ops.asin, ops.asinh, ops.atan, ops.atan2, ops.atanh
)  # fmt: skip
ceil, cos, cosh, exp, expm1, floor, log, log10, log1p, log2, logaddexp = (
    ops.ceil, ops.cos, ops.cosh, ops.exp, ops.expm1, ops.floor, ops.log, ops.log10, ops.log1p,
    ops.log2, ops.logaddexp,
)  # fmt: skip
copysign, hypot = ops.copysign, ops.hypot
isfinite, isinf, isnan, round, sign, sin, sinh, sqrt, tan, tanh, trunc = (
    ops.isfinite, ops.isinf, ops.isnan, ops.round, ops.sign, ops.sin, ops.sinh, ops.sqrt, ops.tan,
    ops.tanh, ops.trunc,
)  # fmt: skip
linalg = ops.linalg
mean, any, all, argmax, argmin, argsort = (
    ops.mean, ops.any, ops.all, ops.argmax, ops.argmin, ops.argsort
)  # fmt: skip
max, min = ops.amax, ops.amin
permute_dims, reshape, where = ops.permute, ops.reshape, ops.where


def maximum(x, y):
    return ops.maximum(x, y if hasattr(y, "shape") else x.new_full((), y))


def minimum(x, y):
    return ops.minimum(x, y if hasattr(y, "shape") else x.new_full((), y))


def sum(x, axis=None, keepdims=False, dtype=None):
    return ops.sum(x, axis, keepdims) if axis != () else x  # where PyTorch's () means all


def prod(x, axis=None, keepdims=False, dtype=None):
    return ops.prod(x, axis, keepdims)


def cumulative_sum(x, axis=None, dtype=None):
    return ops.cumsum(x, axis)


def cumulative_prod(x, axis=None, dtype=None):
    return ops.cumprod(x, axis)


def astype(x, dtype, copy=True):
    return x.to(dtype)


def asarray(x, dtype=None, copy=None):
    x = creation.as_tensor(x, dtype=dtype)
    return ops.clone(x) if copy else x


def broadcast_to(x, shape):
    return ops.expand(x, tuple(shape))


def matrix_transpose(x):
    return ops.transpose(x, -2, -1)


def concat(tensors, axis=0):
    return ops.cat(tensors, axis)


def stack(tensors, axis=0):
    return ops.stack(tensors, axis)


def flip(x, axis):
    return ops.flip(x, axis)


def roll(x, shift, axis):
    return ops.roll(x, shift, axis)


def tril(x, k=0):
    return ops.tril(x, k)


def triu(x, k=0):
    return ops.triu(x, k)


def take_along_axis(x, index, axis):
    return ops.gather_(x, index, axis)


def nonzero(x):
    return ops.nonzero(x, as_tuple=True)


def zeros(shape, dtype=None):
    return creation.zeros(shape, dtype=dtype)


def full(shape, value, dtype=None):
    return creation.full(shape, value, dtype=dtype)


def full_like(x, value):
    return x.new_full(x.shape, value)


def zeros_like(x):
    return x.new_zeros(x.shape)


def ones_like(x):
    return x.new_ones(x.shape)


def arange(start, stop=None, step=1, dtype=None):
    return creation.arange(start, stop, step, dtype=dtype)
