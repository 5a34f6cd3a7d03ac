"""Activations made of operations."""

from __future__ import annotations

import math

from ...autograd.fused import fused
from ...typing import Tensor
from ..activations import elu, hardtanh_, sigmoid, softplus
from ..elementwise import abs, mul, sub
from ..indexing import where_
from ..shapes import _positive, reshape
from ..trigonometry import tanh
from .elementwise import div
from .shapes import chunk


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (e^(x/alpha) − 1) (arXiv:1704.07483)"""
    return elu(x, alpha, 1.0, 1 / alpha)


def selu(x: Tensor) -> Tensor:
    """The ELU whose results keep mean 0 and variance 1 (arXiv:1706.02515)."""
    return elu(x, 1.6732632423543772, 1.0507009873554805)


@fused
def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight·x, with one weight or one for each channel (arXiv:1502.01852)."""
    if weight.ndim > 1 or weight.numel() not in (1, x.shape[1] if x.ndim > 1 else 1):
        raise RuntimeError(
            f"prelu: one weight, or one for each channel of {tuple(x.shape)}, is needed, "
            f"got shape {tuple(weight.shape)}"
        )
    weight = reshape(weight, (-1,) + (1,) * max(x.ndim - 2, 0) if x.ndim else ())
    return where_(x, mul(weight, x), (x > 0)._data)


def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x within min_val … max_val, else the nearer of them."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} is above max_val {max_val}")
    return hardtanh_(x, min_val, max_val)


def relu6(x: Tensor) -> Tensor:
    """x within 0 … 6, else the nearer of them."""
    return hardtanh_(x, 0, 6)


@fused
def hardsigmoid(x: Tensor) -> Tensor:
    """A sigmoid of three straight lines: relu6(x + 3) / 6."""
    return div(relu6(x + 3), 6)


@fused
def hardswish(x: Tensor) -> Tensor:
    """x hardsigmoid(x) (arXiv:1905.02244)."""
    return mul(x, hardsigmoid(x))


@fused
def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)"""
    return div(x, abs(x) + 1)


@fused
def tanhshrink(x: Tensor) -> Tensor:
    """x − tanh x"""
    return sub(x, tanh(x))


@fused
def mish(x: Tensor) -> Tensor:
    """x tanh(ln(1 + eˣ)) (arXiv:1908.08681)"""
    return mul(x, tanh(softplus(x, threshold=math.inf)))


@fused
def glu(x: Tensor, dim: int = -1) -> Tensor:
    """The first half of x along `dim` times the sigmoid of the second (arXiv:1612.08083)."""
    if x.shape[_positive(dim, x.ndim)] % 2:
        raise RuntimeError(f"glu: the size of dimension {dim} must be even, got {tuple(x.shape)}")
    a, b = chunk(x, 2, dim)
    return mul(a, sigmoid(b))
