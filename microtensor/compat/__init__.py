"""The PyTorch surface: what programs written for PyTorch call besides the core.

The core (tensors, operations, modules, optimizers) never imports it. Each file stands for one of
PyTorch's (`amp`, `cuda`, `distributions`, `func`, `hub` …); `paths` says under which import paths
they are found, and `as_torch` lets `import torch` find microtensor.
"""

from .. import autograd, nn
from ..tensor import Tensor
from . import additions, amp, cuda, func, functions, hub, old_names, paths, shims, storage
from .attention import SDPBackend, sdp_kernel, sdpa_kernel
from .cuda import OutOfMemoryError
from .derivatives import hessian, jacobian, vjp
from .functions import *  # noqa: F403
from .functions import FOREACH, INPLACE, checkpoint, get_device_states, set_device_states
from .import_torch import as_torch
from .old_names import *  # noqa: F403
from .old_names import Variable, inclusive_range, triangular_solved
from .shims import SPOKEN

__all__ = [*functions.__all__, *old_names.__all__, "OutOfMemoryError"]
