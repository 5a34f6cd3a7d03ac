"""The gamma function's logarithm and its derivatives: one rule for all of them.

Γ(n) = (n − 1)! for whole n. With ψ₋₁ = ln |Γ|, the digamma function ψ₀, the trigamma function ψ₁ …
each is the derivative of the one before. The formulas are those of the Digital Library of
Mathematical Functions, sections 5.5, 5.11 and 5.15.
"""

import math

import numpy as np

from ..autograd import TensorBase, op
from ..backends import backend_of, xp

BERNOULLI = 1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6  # B₂, B₄, …


@op(promote="float")
def polygamma_(x, /, n):
    """ψₙ(x): ln |Γ(x)| for n = −1, and its derivative of order n + 1.    ∂x = g ψₙ₊₁(x)"""
    return _psi(n, x), lambda g: g * _psi(n + 1, x)


def _psi(n, x):
    """ψₙ(x): by a series for large x, to which smaller and negative ones are led back."""
    if isinstance(x, TensorBase):
        return polygamma_(x, n)
    dtype, x = backend_of(x).dtype(x), xp(x).astype(x, xp(x).float64)
    mirrored = x < 0.5  # ψₙ(x) = (−1)ⁿ ψₙ(1 − x) − the derivative of order n of π / tan πx
    y = _psi_positive(n, backend_of(x).where(mirrored, 1 - x, x))
    y = backend_of(x).where(mirrored, (-1) ** n * y - _cotangent(n, x), y)
    if n == 0:  # at −0 and 0 it goes up and down, at other poles both ways
        y = backend_of(x).where(x == 0, -1 / x, y)
        y = backend_of(x).where((x < 0) & (x == xp(x).floor(x)), math.nan, y)
    if n < 0:
        y = backend_of(x).where(xp(x).isinf(x), math.inf, y)
    return backend_of(y).cast(y, dtype)


def _psi_positive(n, x):
    """ψₙ(x) for x ≥ ½: from ψₙ(x + 16) by ψₙ(z + 1) − ψₙ(z) = (−1)ⁿ n! / zⁿ⁺¹, or ln z."""
    small, sign = x < 16, (-1) ** (n + 1)
    z = backend_of(x).where(small, x + 16, x)
    if n < 0:
        y = (z - 0.5) * (xp(x).log(z) - 1) + (math.log(2 * math.pi) - 1) / 2
    else:
        y = -xp(x).log(z) if n == 0 else math.factorial(n - 1) / z**n
        y = y + math.factorial(n) / (2 * z ** (n + 1))
    for k, bernoulli in enumerate(BERNOULLI, 1):
        factor = math.factorial(2 * k + n - 1) / math.factorial(2 * k)
        y = y + bernoulli * factor / z ** (2 * k + n)
    steps = y
    for k in range(16):
        steps = steps + (-xp(x).log(x + k) if n < 0 else math.factorial(n) / (x + k) ** (n + 1))
    return sign * backend_of(x).where(small, steps, y)


def _cotangent(n, x):
    """The derivative of order n of π / tan πx; of order −1, its integral ln |sin πx| − ln π."""
    turn = math.pi * (x - xp(x).round(x))
    if n < 0:
        return xp(x).log(xp(x).abs(xp(x).sin(turn))) - math.log(math.pi)
    c, terms = 1 / xp(x).tan(turn), np.polynomial.Polynomial([0.0, math.pi])  # in powers of c
    for _ in range(n):
        terms = terms.deriv() * np.polynomial.Polynomial([-math.pi, 0.0, -math.pi])
    first, *others = (float(t) for t in reversed(terms.coef))
    y = xp(x).full_like(x, first)
    for t in others:
        y = y * c + t
    return y
