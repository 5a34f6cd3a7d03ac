"""Reverse-mode automatic differentiation.

To be read in this order: `engine` (operations, the graph, backward), then what it calls where
tensors are changed in place or hooks are registered: `views`, `saved`, `in_place`, `hooks`. Beside
it: `base` (what the engine knows of a tensor), `arguments`, `modes`, `errors`; and above it
`function` (derivatives written by hand), `gradcheck` and `autocast`.
"""

from ..backends import xp
from .base import TensorBase, as_list, registry
from .engine import Node, backward, grad, op, unbroadcast
from .function import Function
from .gradcheck import gradcheck, gradgradcheck
from .modes import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)

__all__ = [
    "Function", "Node", "TensorBase", "backward", "detect_anomaly", "enable_grad", "grad",
    "gradcheck", "gradgradcheck", "inference_mode", "is_grad_enabled",
    "is_inference_mode_enabled", "no_grad", "op", "registry", "set_detect_anomaly",
    "set_grad_enabled", "xp",
]  # fmt: skip
