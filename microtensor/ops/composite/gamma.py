"""Relatives of the gamma function, made of operations."""

from __future__ import annotations

from ...typing import Tensor
from ..gamma import polygamma_


def lgamma(x: Tensor) -> Tensor:
    """ln |Γ(x)|"""
    return polygamma_(x, -1)


def digamma(x: Tensor) -> Tensor:
    """The derivative of ln |Γ(x)|"""
    return polygamma_(x, 0)


def polygamma(n: int, x: Tensor) -> Tensor:
    """The derivative of ln |Γ(x)| of order n + 1."""
    if not 0 <= n <= 170:  # of which n! is the largest that float64 holds
        raise RuntimeError(f"polygamma: n is within 0 … 170, got {n}")
    return polygamma_(x, n)
