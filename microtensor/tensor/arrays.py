"""Arrays from Python data or one number: helpers of the constructors of tensors."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import TensorBase
from ..autograd.arguments import into
from ..autograd.calls import call_error, check, names
from ..autograd.hints import Parameters
from ..autograd.modes import mode
from ..backends import backend_for, backend_of
from ..backends.device import get_default_device
from ..backends.dtypes import dtype_of, dtype_of_number, fitting, get_default_dtype
from ..backends.layouts import strided
from ..typing import Device, Dtype, Shape, T

NUMBERS = frozenset({bool, int, float})


def constructor(function: Callable[..., T]) -> Callable[..., T]:
    """A constructor of tensors that also takes `out=` and PyTorch's options of memory layout.

    The layout options change nothing: see `backends/layouts.py`.
    """

    known = Parameters(function)

    @functools.wraps(function)
    def construct(*args, layout=strided, memory_format=None, pin_memory=False, out=None, **options):
        try:
            check(known, args, options)
            made = function(*args, **options)
            if out is not None:
                return into(out, made)
            if mode.inference:
                made._inference = True
            return made
        except Exception as error:
            raise call_error(function.__name__, function, args, options, error)  # noqa: B904

    names.add(function.__name__)
    return construct


def array_of(
    data: Any, dtype: Dtype | None = None, device: Device | None = None, copy: bool | None = True
) -> Any:
    """The array of a number, nested lists, an array or a tensor, which is copied if `copy`.

    `copy=None` shares its memory where dtype and device allow it.
    """
    if device is None:
        device = data.device if isinstance(data, TensorBase) else get_default_device()
    backend = backend_for(device)
    if isinstance(data, TensorBase):
        dtype, data = dtype or data.dtype, data._data
    if not hasattr(data, "dtype"):
        data = _plain(data)
        try:
            array = np.array(data)
        except ValueError:
            raise ValueError("tensor: lists within a list need to have one length") from None
        if dtype is None and array.dtype == np.float64 and not _holds_float64(data):
            dtype = get_default_dtype()
        if array.dtype.kind not in "biuf":
            given = np.array(data, dtype=object).ravel().tolist()
            wrong = next(v for v in given if np.asarray(v).dtype.kind not in "biuf")
            raise TypeError(f"tensor: numbers are needed, got {wrong!r}")
        if dtype is not None and array.size:
            dtype = dtype_of(dtype)
            for bound in (array.min(), array.max()):
                fitting(bound.item(), dtype)
        data, copy = array, None
    if type(data) not in backend.array_types:
        data = backend_of(data).to_numpy(data)
    array = backend.asarray(data, dtype=dtype and dtype_of(dtype), copy=copy)
    backend_of(array).dtype(array)  # raises TypeError for a dtype that we do not have
    return array


def filled(
    size: Shape, value: Any, dtype: Dtype | None = None, device: Device | None = None
) -> Any:
    """An array of a shape, filled with one number."""
    dtype = dtype_of_number(value) if dtype is None else dtype_of(dtype)
    backend = backend_for(get_default_device() if device is None else device)
    return backend.full(size, value.item() if isinstance(value, TensorBase) else value, dtype)


def _plain(data):
    """Nested lists with their tensors, and what only describes its memory, replaced by arrays."""
    if type(data) in NUMBERS:
        return data
    if isinstance(data, TensorBase):
        return data._as_numpy()
    if isinstance(data, (list, tuple)):
        return [_plain(d) for d in data]
    if hasattr(data, "__array_interface__") and not isinstance(data, np.ndarray | np.generic):
        return _described(data.__array_interface__)
    return data


def _described(interface):
    """The array of a dict in NumPy's array interface, which NumPy itself would believe unseen.

    TypeError if it gives an address, or steps, in place of its bytes; ValueError if they are not
    as many as it says.
    """
    memory = interface.get("data")
    if not isinstance(memory, bytes | bytearray | memoryview | np.ndarray):
        raise TypeError("tensor: an __array_interface__ needs its bytes as data, not an address")
    if interface.get("strides") is not None or interface.get("offset"):
        raise TypeError("tensor: an __array_interface__ with strides or an offset is not taken")
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    found = np.frombuffer(memory, np.uint8)
    if any(type(n) is not int or n < 0 for n in shape):
        raise TypeError(f"tensor: an __array_interface__ of shape {shape!r:.80}")
    if found.size != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"tensor: {found.size} bytes are not the numbers of shape {shape!r:.80}")
    return found.view(dtype).reshape(shape)


def _holds_float64(data):
    """True if nested lists contain a float64 array or NumPy number."""
    level = [data]
    while set(map(type, level)) == {list}:
        level = list(itertools.chain.from_iterable(level))
    kinds = set(map(type, level))
    if np.float64 in kinds:
        return True
    return any(getattr(kind, "dtype", None) for kind in kinds) and any(
        getattr(x, "dtype", None) == np.float64 for x in level
    )
