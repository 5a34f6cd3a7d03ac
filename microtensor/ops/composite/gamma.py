"""Relatives of the gamma function, made of operations."""

from ..gamma import polygamma_


def lgamma(x):
    """ln |Γ(x)|"""
    return polygamma_(x, -1)


def digamma(x):
    """The derivative of ln |Γ(x)|"""
    return polygamma_(x, 0)


def polygamma(n, x):
    """The derivative of ln |Γ(x)| of order n + 1."""
    if n < 0:
        raise RuntimeError(f"polygamma: n is at least 0, got {n}")
    return polygamma_(x, n)
