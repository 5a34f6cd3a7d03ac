"""The dtype that an operation computes in, by PyTorch's rules."""

import functools

from . import backend_of
from .dtypes import FLOAT, INT, PYTHON, get_default_dtype, result_type, wrapped
from .half import in_float32 as rounded_once  # noqa: F401, its name before

_floats = {}  # {an array library's dtype: whether it is a floating one}


def is_float(array):
    kind = _floats.get(array.dtype)
    if kind is None:
        kind = _floats[array.dtype] = backend_of(array).dtype(array).rank == FLOAT
    return kind


def promoted(values, mode):
    """The inputs of an operation with one dtype, by PyTorch's rules."""
    kind = getattr(values[0], "dtype", None)
    if mode == "same" and kind and all(getattr(v, "dtype", None) is kind for v in values):
        return values  # whole numbers mostly: batches of them are stacked from many
    arrays = [v for v in values if v is not None and type(v) not in PYTHON]
    dtype = result_type(
        [backend_of(v).dtype(v) for v in arrays if v.ndim],
        [backend_of(v).dtype(v) for v in arrays if not v.ndim],
        [v for v in values if type(v) in PYTHON],
    )
    if mode == "float" and dtype.rank != FLOAT:
        dtype = get_default_dtype()
    number = float if dtype.rank == FLOAT else bool
    if dtype.rank == INT:
        number = functools.partial(_whole, dtype=dtype)
    return [
        v if v is None else number(v) if type(v) in PYTHON else backend_of(v).cast(v, dtype)
        for v in values
    ]


def _whole(number, dtype):
    return wrapped(int(number), dtype)
