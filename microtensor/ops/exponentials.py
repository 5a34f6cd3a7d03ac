"""Exponentials and logarithms of each element."""

import math

from ..autograd import op
from ..backends import backend_of, xp
from .elementwise import _like

LN2 = math.log(2)
LN10 = math.log(10)


@op(promote="float")
def exp(x):
    """eˣ.    ∂x = g eˣ"""
    y = xp(x).exp(x)
    return y, lambda g: g * y


@op(promote="float")
def exp2(x):
    """2ˣ.    ∂x = g 2ˣ ln 2"""
    y = 2.0**x
    return y, lambda g: g * y * LN2


@op(promote="float")
def expm1(x):
    """eˣ − 1, exact near zero.    ∂x = g eˣ"""
    y = xp(x).expm1(x)
    return y, lambda g: g * (y + 1)


@op(promote="float")
def log(x):
    """ln x.    ∂x = g / x"""
    return xp(x).log(x), lambda g: g / x


@op(promote="float")
def log2(x):
    """log₂ x.    ∂x = g / (x ln 2)"""
    return xp(x).log2(x), lambda g: g / (x * LN2)


@op(promote="float")
def log10(x):
    """log₁₀ x.    ∂x = g / (x ln 10)"""
    return xp(x).log10(x), lambda g: g / (x * LN10)


@op(promote="float")
def log1p(x):
    """ln(1 + x), exact near zero.    ∂x = g / (1 + x)"""
    return xp(x).log1p(x), lambda g: g / (1 + x)


@op(promote="float")
def logaddexp(a, b):
    """ln(eᵃ + eᵇ).    ∂a = g σ(a − b),    ∂b = g σ(b − a)"""
    return xp(a).logaddexp(a, b), (
        lambda g: g * backend_of(g).sigmoid(a - b),
        lambda g: g * backend_of(g).sigmoid(b - a),
    )


@op(promote="float")
def xlogy(x, y):
    """x ln y, and 0 where x = 0.    ∂x = g ln y, 0 where x = 0 ≥ y,    ∂y = g x / y"""
    x, y = _like(x, y), _like(y, x)
    none = (x == 0) & ~xp(y).isnan(y)
    logs = xp(y).log(backend_of(y).where(none, 1.0, y))
    slope = xp(y).log(backend_of(y).where((x == 0) & (y <= 0), 1.0, y))
    return x * logs, (lambda g: g * slope, lambda g: g * x / y)


@op(promote="float")
def logit_(x, /, eps=None):
    """ln(x / (1 − x)), of x kept within eps … 1 − eps: σ's inverse.    ∂x = g / x (1 − x)

    Outside of the bounds ∂x is 0, and without an eps NaN, as the value is.
    """
    low, high = (0.0, 1.0) if eps is None else (eps, 1 - eps)
    outside, where = (x < low) | (x > high), backend_of(x).where
    z = x if eps is None else where(x < low, low, where(x > high, high, x))

    def pull(g):
        return backend_of(g).where(outside, math.nan if eps is None else 0.0, g / (x * (1 - x)))

    return xp(x).log(z / (1 - z)), pull
