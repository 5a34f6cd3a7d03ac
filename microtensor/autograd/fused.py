"""Functions that are made of operations here, but are one in PyTorch: half precision in float32."""

import functools

from ..backends.dtypes import float32
from ..backends.half import HALVES
from ..typing import T
from .base import TensorBase, registry


def fused(function: T) -> T:
    """A function of tensors that computes half precision in float32, and rounds once, at its end.

    Where its floating tensors have more than one dtype, it is left to itself.
    """

    @functools.wraps(function)
    def call(*args, **params):
        for a in args:
            if isinstance(a, TensorBase) and a._data.dtype in HALVES:
                return _in_float32(function, a.dtype, args, params)
        return function(*args, **params)

    return call


def _in_float32(function, kind, args, params):
    given = [a for a in (*args, *params.values()) if isinstance(a, TensorBase)]
    if any(a.is_floating_point() and a.dtype is not kind for a in given):
        return function(*args, **params)
    wide = [_cast(a, kind, float32) for a in args]
    named = {name: _cast(a, kind, float32) for name, a in params.items()}
    value = function(*wide, **named)
    if isinstance(value, tuple):
        return tuple(_cast(v, float32, kind) for v in value)
    return _cast(value, float32, kind)


def _cast(value, old, new):
    if isinstance(value, TensorBase) and value.dtype is old:
        return registry["cast"](value, new)
    return value
