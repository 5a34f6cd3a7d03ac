"""Muon: for the matrices of hidden layers, steps whose singular values are all about 1."""

from __future__ import annotations

import math
from typing import Any

from ..backends.dtypes import bfloat16, float32
from ..tensor import Tensor
from ..typing import ParameterGroups
from .rules import _Composed


class Muon(_Composed):
    """p ← p − lr · O, where O is the momentum made orthogonal: U Vᵀ of its U diag(s) Vᵀ.

    That is found by `ns_steps` steps of Newton and Schulz, which bring singular values near to 1,
    in bfloat16: X ← a X + (b X Xᵀ + c (X Xᵀ)²) X (Keller Jordan et al., "Muon", 2024).
    `adjust_lr_fn` "original" multiplies lr by √max(1, rows / columns), "match_rms_adamw" by
    0.2 √max(rows, columns), which gives steps as large as AdamW's (arXiv:2502.16982). Weight decay
    is AdamW's. Parameters have two dimensions; ValueError for others.
    """

    buffers = ("momentum_buffer",)
    _options = "lr weight_decay momentum nesterov ns_coefficients eps ns_steps adjust_lr_fn"

    def __init__(self, params: ParameterGroups, lr: float = 1e-3, weight_decay: float = 0.1,
                 momentum: float = 0.95, nesterov: bool = True,
                 ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
                 eps: float = 1e-7, ns_steps: int = 5,
                 adjust_lr_fn: str | None = None) -> None:  # fmt: skip
        super().__init__(params, locals())

    def check(self, options: Any) -> None:
        super().check(options)
        known = None, "original", "match_rms_adamw"
        chosen, steps = options["adjust_lr_fn"], options["ns_steps"]
        self.require(chosen in known, "adjust_lr_fn", f"one of {known}", chosen)
        self.require(0 <= steps < 100, "ns_steps", "within 0 … 99", steps)
        three = len(options["ns_coefficients"]) == 3
        self.require(three, "ns_coefficients", "three numbers", options["ns_coefficients"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p.ndim != 2:
                raise ValueError(
                    f"Muon: parameters of 2 dimensions are needed, got {tuple(p.shape)}"
                )

    def update(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any]) -> None:
        options = {**group, "maximize": False, "decoupled_weight_decay": True}
        super().update(p, grad, options, state)
        del state["step"]  # nothing depends on it, and PyTorch keeps none

    def rule(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any], lr: float,
             t: int) -> Any:  # fmt: skip
        buffer = state["momentum_buffer"]
        buffer.lerp_(grad, 1 - group["momentum"])
        step = grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
        rows, columns = p.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            lr = lr * 0.2 * math.sqrt(max(rows, columns))
        else:
            lr = lr * math.sqrt(max(1, rows / columns))
        orthogonal = _orthogonal(step, group["ns_coefficients"], group["ns_steps"], group["eps"])
        p.sub_(orthogonal.to(p.dtype), alpha=lr)


def _orthogonal(matrix, coefficients, steps, eps):
    """U Vᵀ of a matrix U diag(s) Vᵀ, roughly."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    rounded = lambda x: x.to(bfloat16).to(float32)  # as PyTorch does after each product
    x = rounded(matrix.mT if tall else matrix)
    x = rounded(x / rounded(x.norm()).clamp(min=eps))
    for _ in range(steps):
        square = rounded(x @ x.mT)
        x = rounded(a * x + rounded(b * square + c * (square @ square)) @ x)
    return x.mT if tall else x
