"""Half precision: inside an operation it is computed in float32, and rounded once, as in PyTorch.

float16 and bfloat16 can hold what an operation is given and what it gives, but seldom what leads
from one to the other.
"""

import functools

import numpy as np

from . import backend_of
from .bfloat16 import rounded as to_bfloat16
from .dtypes import FLOAT, bfloat16, dtype_of, float16, float32

HALVES = frozenset({np.dtype(np.float16), float16, bfloat16})  # dtypes of arrays, and of tensors
ROUNDING = frozenset("add sub pow remainder fmod".split())
"""Operations that round a Python number beside half precision to its dtype, as PyTorch does."""
USUAL = np.dtype(np.float32)  # asked for first, by identity: a look-up of a dtype takes longer


def in_float32(function, exact=False, several=False):
    """The body of an operation, for the dtypes of half precision, too.

    It computes in float32, and its pullbacks, too; what is float32 of its value is rounded to the
    dtype that came in. One that is `exact` (it moves numbers, or compares them) is given them as
    they are. Where the parameter `dtype` is given, the first input is converted to it.
    """

    @functools.wraps(function)
    def compute(*inputs, **params):
        if params.get("dtype") is not None and not exact:
            x = backend_of(inputs[0]).cast(inputs[0], dtype_of(params["dtype"]))
            inputs = (x, *inputs[1:])
        kind = _half(inputs)
        if kind is None:
            return function(*inputs, **params)
        if function.__name__.rstrip("_") in ROUNDING:
            inputs = [_of_kind(a, kind) if type(a) is float else a for a in inputs]
        returned = function(*(inputs if exact else map(wide, inputs)), **params)
        if type(returned) is not tuple or len(returned) != 2:
            return returned  # which the engine refuses
        value, pull = returned
        if not exact:
            value = rounded(value, kind)
        return value, pull if exact and several else each_pullback(_wide_pull, pull)

    return compute


def _of_kind(number, kind):
    """The number of half precision that is next to a Python number."""
    with np.errstate(over="ignore"):
        if kind is float16:
            return float(np.float16(number))
        return float(to_bfloat16(np.full(1, number, np.float32))[0])


def each_pullback(change, pulls):
    """The pullback of an operation, or each of several, changed by `change`; None stays."""
    if pulls is None or callable(pulls):
        return pulls and change(pulls)
    return [pull and change(pull) for pull in pulls]


def _wide_pull(pull):
    return lambda g: pull(tuple(map(wide, g)) if type(g) is tuple else wide(g))


def _half(inputs):
    """The dtype of half precision that all floating inputs have; None if they have another."""
    kinds = set()
    for a in inputs:
        if hasattr(a, "dtype"):
            kind = backend_of(a).dtype(a)
            if kind.rank == FLOAT:
                kinds.add(kind)
    return kinds.pop() if len(kinds) == 1 and not kinds.isdisjoint(HALVES) else None


def wide(value):
    """An array or tensor of half precision in float32; anything else as it is."""
    if getattr(value, "dtype", None) in HALVES:
        return backend_of(value).wide(value)
    return value


def rounded(value, kind):
    """A value, or several, with those of float32 rounded to the dtype `kind`; None stays."""
    if value is None:
        return None
    if type(value) in (tuple, list):
        return tuple([rounded(v, kind) for v in value])
    backend = backend_of(value)
    return backend.cast(value, kind) if backend.dtype(value) is float32 else value
