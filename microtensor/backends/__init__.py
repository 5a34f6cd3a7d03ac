"""Backends: the libraries that arrays belong to, and the loops that run on them.

`backend_of(array)` finds the backend of an array by its type, `backend_for("cuda")` that of a
device by its name. Nothing outside this folder knows which array library is at work.
"""

import importlib.util
import os

from . import allocator
from .base import Backend
from .bfloat16 import BFloat16Backend
from .device import CUDA_IS_CPU, TYPES, device
from .dtypes import dtype
from .installed import how_to_install
from .numba import NumbaBackend
from .numpy import NumPyBackend
from .quiet import quiet
from .weights import StoredWeightBackend

_by_array = {}
_by_device = {}


def register(backend, device_type, *array_types):
    """Make `backend` answer for a device name and for its types of arrays."""
    for array_type in array_types:
        _by_array[array_type] = backend
    if device_type:
        TYPES.add(device_type)
        _by_device[device_type] = backend


def backend_of(array):
    """The backend that owns `array`."""
    try:
        return _by_array[type(array)]
    except KeyError:
        return backend_of_type(type(array))


def backend_of_type(kind):
    """The backend that owns arrays of a type."""
    for base in kind.__mro__:
        if base in _by_array:
            return _by_array.setdefault(kind, _by_array[base])
    raise TypeError(f"a Tensor or an array is needed, not {kind.__name__}")


def backend_for(where):
    """The backend of a device, given as a name or as an `mt.device`.

    "meta", where PyTorch makes tensors without memory, is the CPU: here they have memory.
    """
    where = device(where)
    if where.type == "meta":
        where = device("cpu")
    if where.type not in _by_device:
        if where.type != "cuda":
            known = ", ".join(sorted({*_by_device, "cuda"}))
            raise RuntimeError(f"unknown device {where.type!r}; there are {known}")
        from .cupy import open_cuda  # imported where a GPU is first asked for

        backend, array_type = open_cuda()
        register(backend, "cuda", array_type)
    return _by_device[where.type]


def gpu_count():
    """The number of GPUs; 0 without CuPy."""
    if CUDA_IS_CPU:
        return CUDA_IS_CPU
    try:
        return backend_for("cuda").device_count()
    except RuntimeError:
        return 0


def xp(array):
    """The array namespace (NumPy, CuPy, microtensor itself …) that `array` belongs to."""
    return backend_of(array).xp


def use(name=None):
    """Run the loops of the CPU with "numpy" or with "numba"; None: numba where it is installed.

    The environment variable MICROTENSOR_BACKEND chooses at the start.
    """
    installed = importlib.util.find_spec("numba") is not None
    name = name or ("numba" if installed else "numpy")
    if name not in CPU_BACKENDS:
        raise ValueError(f"use: the CPU has {' and '.join(CPU_BACKENDS)}, not {name!r}")
    if name == "numba" and not installed:
        raise RuntimeError(f"use: numba is not installed; {how_to_install('fast')}")
    backend = CPU_BACKENDS[name]()
    known = [t for t, b in _by_array.items() if isinstance(b, NumPyBackend)]  # subclasses, too
    register(backend, "cpu", *NumPyBackend.array_types, *known)
    for kind in BFloat16Backend, StoredWeightBackend:
        register(kind(backend), None, *kind.array_types)


def show():
    """Print which libraries run on which device, and what becomes of freed memory."""
    for place, backend in sorted(_by_device.items()):
        print(f"{place}: {backend}")
    print(f"freed memory: {allocator.state}")


CPU_BACKENDS = {"numpy": NumPyBackend, "numba": NumbaBackend}
allocator.keep_memory()
use(os.environ.get("MICROTENSOR_BACKEND"))

__all__ = [
    "Backend",
    "NumPyBackend",
    "backend_for",
    "backend_of",
    "device",
    "dtype",
    "gpu_count",
    "quiet",
    "register",
    "show",
    "use",
    "xp",
]
