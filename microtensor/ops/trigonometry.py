"""Trigonometric and hyperbolic functions of each element, and their inverses."""

import math

from ..autograd import op
from ..backends import backend_of, xp


@op(promote="float")
def sin(x):
    """sin x.    ∂x = g cos x"""
    return xp(x).sin(x), lambda g: g * xp(x).cos(x)


@op(promote="float")
def cos(x):
    """cos x.    ∂x = −g sin x"""
    return xp(x).cos(x), lambda g: -g * xp(x).sin(x)


@op(promote="float")
def tan(x):
    """tan x.    ∂x = g (1 + tan² x)"""
    y = xp(x).tan(x)
    return y, lambda g: g * (1 + y * y)


@op(promote="float")
def sinc(x):
    """sin πx / πx, and 1 at 0.    ∂x = g (cos πx − y) / x, 0 at 0"""
    z = x * math.pi
    zero = x == 0
    safe = backend_of(x).where(zero, 1.0, z)
    y = backend_of(x).where(zero, 1.0, xp(x).sin(safe) / safe)
    return y, lambda g: backend_of(g).where(zero, 0.0, g * (xp(x).cos(z) - y) * math.pi / safe)


@op(promote="float")
def asin(x):
    """arcsin x.    ∂x = g / √(1 − x²)"""
    return xp(x).asin(x), lambda g: g / xp(x).sqrt(1 - x * x)


@op(promote="float")
def acos(x):
    """arccos x.    ∂x = −g / √(1 − x²)"""
    return xp(x).acos(x), lambda g: -g / xp(x).sqrt(1 - x * x)


@op(promote="float")
def atan(x):
    """arctan x.    ∂x = g / (1 + x²)"""
    return xp(x).atan(x), lambda g: g / (1 + x * x)


@op(promote="float")
def atan2(a, b):
    """The angle of (b, a).    ∂a = g b / r²,    ∂b = −g a / r²,    r² = a² + b²;    0 at r = 0"""

    def slope(g, x):
        square = a * a + b * b
        return g * x / backend_of(g).where(square == 0, 1.0, square)

    return xp(a).atan2(a, b), (lambda g: slope(g, b), lambda g: slope(-g, a))


@op(promote="float")
def sinh(x):
    """(eˣ − e⁻ˣ) / 2.    ∂x = g cosh x"""
    return xp(x).sinh(x), lambda g: g * xp(x).cosh(x)


@op(promote="float")
def cosh(x):
    """(eˣ + e⁻ˣ) / 2.    ∂x = g sinh x"""
    return xp(x).cosh(x), lambda g: g * xp(x).sinh(x)


@op(promote="float")
def tanh(x):
    """(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ).    ∂x = g (1 − tanh² x)"""
    y = xp(x).tanh(x)
    return y, lambda g: g * (1 - y * y)


@op(promote="float")
def asinh(x):
    """ln(x + √(x² + 1)).    ∂x = g / √(x² + 1)"""
    return xp(x).asinh(x), lambda g: g / xp(x).sqrt(x * x + 1)


@op(promote="float")
def acosh(x):
    """ln(x + √(x² − 1)).    ∂x = g / √(x² − 1)"""
    return xp(x).acosh(x), lambda g: g / xp(x).sqrt(x * x - 1)


@op(promote="float")
def atanh(x):
    """½ ln((1 + x) / (1 − x)).    ∂x = g / (1 − x²)"""
    return xp(x).atanh(x), lambda g: g / (1 - x * x)
