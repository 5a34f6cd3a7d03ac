"""Reverse-mode automatic differentiation: the engine, and what stands beside it."""

from ..backends import xp
from .base import TensorBase, as_list, registry
from .engine import Node, _send, backward, grad, op, unbroadcast
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
