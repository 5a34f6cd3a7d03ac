"""microtensor: a small tensor library with automatic differentiation, in PyTorch's words.

import microtensor as mt

x = mt.tensor([1.0, 2.0], requires_grad=True)
(x**2).sum().backward()
x.grad  # tensor([2., 4.], shape=(2,), dtype=float32)
"""

__version__ = "0.1.0"

from importlib import import_module
from math import e, inf, nan, pi

from . import autograd, backends, ops
from .tensor import random
from .autograd import (
    enable_grad, grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, op,
    set_grad_enabled, xp,
)  # fmt: skip
from .backends.device import device, get_default_device, set_default_device
from .backends.dtypes import (
    DTYPES, NAMED, bfloat16, dtype, finfo, get_default_dtype, iinfo, promote_types,
    set_default_dtype,
)  # fmt: skip
from .backends.layouts import (
    channels_last, contiguous_format, memory_format, preserve_format, strided,
)  # fmt: skip
from .backends.threads import (
    get_num_interop_threads,
    get_num_threads,
    set_num_interop_threads,
    set_num_threads,
)
from .checking import gradcheck, gradgradcheck
from .tensor.creation import *  # noqa: F403
from .function import Function
from .ops import *  # noqa: F403
from .ops import linalg
from .tensor.random import *  # noqa: F403
from .tensor.printing import set_printoptions
from .tensor import ALIASES, FUNCTIONAL, LINALG, Size, Tensor

from . import nn, optim, utils  # isort: skip  (the floor above)
from .serialization import load, save  # isort: skip
from . import compat  # isort: skip
from .compat import amp, cuda  # isort: skip
from .compat.storage import Storage  # isort: skip
from .compat.amp import autocast, get_autocast_dtype, is_autocast_enabled  # isort: skip
from .compat import *  # noqa: F403  # isort: skip

bool, uint8, int8, int16, int32, int64 = (
    DTYPES[name] for name in ("bool", "uint8", "int8", "int16", "int32", "int64")
)
float16, float32, float64 = (DTYPES[name] for name in ("float16", "float32", "float64"))
range = compat.inclusive_range
globals().update(NAMED, UntypedStorage=Storage)
short, int, long, half, float, double = int16, int32, int64, float16, float32, float64
globals().update(compat.FOREACH | compat.INPLACE)
globals().update({alias: getattr(linalg, name) for alias, name in LINALG.items()})
globals().update({name: getattr(nn.functional, name) for name in FUNCTIONAL})
globals().update({alias: globals()[name] for alias, name in ALIASES.items() if name in globals()})

compat.paths.install()
LATE = {"explain": "graph.explain", "diagnose": "debug.diagnosis", "Recorder": "debug.recorder"}


def __getattr__(name):
    if name in ("graph", "debug"):  # loaded when they are used: drawing needs graphviz
        return import_module(f".{name}", __name__)
    if name in LATE:
        return getattr(import_module(f".{LATE[name]}", __name__), name)
    return compat.paths.attribute(__name__)(name)
