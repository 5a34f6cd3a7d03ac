"""The error function, an integral of the normal distribution, and its inverse."""

import math

from ..autograd import TensorBase, op
from ..backends import backend_of, xp

TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


# ---- the normal distribution's integral ----------------------------------------------


@op(promote="float")
def erf(x):
    """The error function, 2/√π ∫₀ˣ e^(−t²) dt.    ∂x = 2 g e^(−x²) / √π"""
    return backend_of(x).erf(x), lambda g: g * (TWO_OVER_ROOT_PI * xp(x).exp(-(x * x)))


@op(promote="float")
def erfc(x):
    """1 − erf x, without the loss of digits that the difference has.    ∂x = −2 g e^(−x²) / √π"""
    return _erfc(x), lambda g: g * (-TWO_OVER_ROOT_PI * xp(x).exp(-(x * x)))


def _erfc(x):
    where = backend_of(x).where
    above = where(x > 30, 30.0, where(x < 1, 1.0, x))  # from 30 on it is 0
    return where(x < 1, 1 - backend_of(x).erf(x), _erfc_above(above))


def _erfc_above(x):
    """erfc x for x ≥ 1: an integral by the trapezoidal rule (Chiarella and Reichel 1968)."""
    h, total = 0.5, 1 / (2 * x * x)
    for n in range(1, 14):
        total = total + math.exp(-((n * h) ** 2)) / ((n * h) ** 2 + x * x)
    pole = backend_of(x).where(x < math.pi / h, 2 / xp(x).expm1(2 * math.pi / h * x), 0.0)
    return 2 * h / math.pi * x * xp(x).exp(-(x * x)) * total - pole


@op(promote="float")
def erfinv(x):
    """The y of which x is the error function; ±∞ at ±1.    ∂x = ½ √π g e^(y²)"""
    y = _erfinv(x)
    return y, lambda g: g * (xp(x).exp(y * y) / TWO_OVER_ROOT_PI)


def _erfinv(x):
    """erfinv x: a guess (Winitzki 2008), and then Halley's steps to where erf y − x is 0."""
    if isinstance(x, TensorBase):
        return erfinv(x)
    dtype, x = backend_of(x).dtype(x), xp(x).astype(x, xp(x).float64)
    z = xp(x).abs(x)
    log = xp(x).log(1 - z) + xp(x).log1p(z)
    half = 2 / (math.pi * 0.147) + log / 2
    y = xp(x).sqrt(xp(x).sqrt(half * half - log / 0.147) - half)
    for _ in range(3):
        error = backend_of(x).where(z < 0.5, backend_of(x).erf(y) - z, 1 - z - _erfc(y))
        step = error / (TWO_OVER_ROOT_PI * xp(x).exp(-(y * y)))
        y = y - step / (1 + y * step)
    y = xp(x).copysign(backend_of(x).where(z == 1, math.inf, y), x)
    return backend_of(y).cast(y, dtype)
