"""Functions of each element that are made of operations."""

from __future__ import annotations

import math
from typing import Any

from ...autograd import TensorBase
from ...autograd.fused import fused
from ...backends.dtypes import float64
from ...typing import Tensor, TensorLike
from ..conversion import cast
from ..elementwise import (
    add,
    clamp_,
    div_,
    mul,
    pow,
    rounded_quotient_,
    sub,
)
from ..exponentials import LN2, logaddexp, logit_


def div(a: TensorLike, b: TensorLike, *, rounding_mode: str | None = None) -> Tensor:
    """a / b; with the mode "floor" or "trunc" the whole number below it, or towards zero."""
    if rounding_mode is None:
        return div_(a, b)
    if rounding_mode not in ("floor", "trunc"):
        raise RuntimeError(
            f'div: rounding_mode must be None, "floor" or "trunc", got {rounding_mode!r}'
        )
    return rounded_quotient_(a, b, rounding_mode)


def rsub(x: TensorLike, other: TensorLike, *, alpha: float = 1) -> Tensor:
    """other − alpha·x"""
    return sub(other, x, alpha=alpha)


@fused
def addcmul(x: TensorLike, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """x + value·tensor1·tensor2"""
    return add(x, mul(tensor1, tensor2), alpha=value)


@fused
def addcdiv(x: TensorLike, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """x + value·tensor1 / tensor2"""
    return add(x, div_(tensor1, tensor2), alpha=value)


def positive(x: TensorLike) -> Tensor:
    """x itself."""
    return x


def float_power(a: TensorLike, b: TensorLike) -> Tensor:
    """aᵇ in float64."""
    return pow(*(cast(x, float64) if isinstance(x, TensorBase) else float(x) for x in (a, b)))


@fused
def ldexp(a: TensorLike, b: TensorLike) -> Tensor:
    """a 2ᵇ"""
    return mul(a, pow(2.0, b))


def clamp(x: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
    """x, but at least `min` and at most `max`: numbers or tensors. Where min > max it is max."""
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max is needed")
    return clamp_(x, min, max)


def clamp_min(x: TensorLike, min: Any) -> Tensor:
    """x, but at least min."""
    return clamp(x, min)


def clamp_max(x: TensorLike, max: Any) -> Tensor:
    """x, but at most max."""
    return clamp(x, max=max)


@fused
def logaddexp2(a: TensorLike, b: TensorLike) -> Tensor:
    """log₂(2ᵃ + 2ᵇ)"""
    return logaddexp(a * LN2, b * LN2) / LN2


@fused
def logit(x: TensorLike, eps: float | None = None) -> Tensor:
    """ln(x / (1 − x)), of an x that is kept within eps … 1 − eps."""
    return logit_(x, eps)


def deg2rad(x: TensorLike) -> Tensor:
    """Degrees in radians."""
    return mul(x, math.pi / 180)


def rad2deg(x: TensorLike) -> Tensor:
    """Radians in degrees."""
    return mul(x, 180 / math.pi)
