"""Arithmetic and rounding of each element.

g is the gradient of the value. Broadcasting is undone by the engine.
"""

from ..autograd import op
from ..backends import backend_of, xp
from ..backends.dtypes import FLOAT, bool_, finfo, int64
from ..backends.promotion import is_float


@op(promote="same")
def add(a, b, /, *, alpha=1):
    """a + b, or a + alpha·b.    ∂a = g,    ∂b = alpha·g"""
    if alpha == 1:
        return a + b, (lambda g: g, lambda g: g)
    alpha = _factor(alpha, a, b)
    return a + alpha * b, (lambda g: g, lambda g: g * alpha)


@op(promote="same")
def sub(a, b, /, *, alpha=1):
    """a − b, or a − alpha·b.    ∂a = g,    ∂b = −alpha·g"""
    if alpha == 1:
        return a - b, (lambda g: g, lambda g: -g)
    alpha = _factor(alpha, a, b)
    return a - alpha * b, (lambda g: g, lambda g: g * -alpha)


@op(promote="same")
def mul(a, b):
    """a b.    ∂a = g b,    ∂b = g a"""
    return a * b, (lambda g: g * b, lambda g: g * a)


@op(promote="float")
def div_(a, b):
    """a / b.    ∂a = g / b,    ∂b = −g a / b²"""
    return a / b, (lambda g: g / b, lambda g: -g * (a / b / b))


@op
def neg(x):
    """−x.    ∂x = −g"""
    return -x, lambda g: -g


@op(promote="same")
def pow(a, b):
    """aᵇ.    ∂a = g b aᵇ⁻¹,    ∂b = g aᵇ ln a  (0 where a = 0 and b ≥ 0)"""
    if isinstance(b, (int, float)):  # the usual squares and roots, without a logarithm
        if b == 2:
            return a * a, (lambda g: g * a * 2, None)
        if b == 0.5:
            y = xp(a).sqrt(a)
            return y, (lambda g: g * 0.5 / y, None)
        slope = (lambda g: g * 0) if b == 0 else (lambda g: g * (b * a ** (b - 1)))
        return a**b, (slope, None)
    a = _like(a, b)
    y = a**b

    def to_a(g):
        where = backend_of(b).where
        return g * where(b == 0, 0.0, b * a ** where(b == 0, 1.0, b - 1))

    def to_b(g):
        zero = (a == 0) & (b >= 0)
        base = backend_of(b).where(zero, 1.0, a)
        return backend_of(b).where(zero, 0.0, g * y * xp(b).log(base))

    return y, (to_a, to_b)


@op(promote="float")
def hypot(a, b):
    """√(a² + b²), without overflow.    ∂a = g a / y,    ∂b = g b / y"""
    y = xp(a).hypot(a, b)
    return y, (lambda g: g * (a / y), lambda g: g * (b / y))


@op(promote="float")
def reciprocal(x):
    """1 / x.    ∂x = −g / x²"""
    y = 1 / x
    return y, lambda g: -g * (y * y)


@op
def square(x):
    """x².    ∂x = 2 g x"""
    x = backend_of(x).cast(x, int64) if backend_of(x).dtype(x) is bool_ else x
    return x * x, lambda g: g * x * 2


@op(promote="float")
def sqrt(x):
    """√x.    ∂x = g / 2√x"""
    y = xp(x).sqrt(x)
    return y, lambda g: g * 0.5 / y


@op(promote="float")
def rsqrt(x):
    """1 / √x.    ∂x = −g / 2x√x"""
    y = 1 / xp(x).sqrt(x)
    return y, lambda g: g * (-0.5) * (y * y * y)


@op
def abs(x):
    """|x|.    ∂x = g sign x"""
    return xp(x).abs(x), lambda g: g * xp(x).sign(x)


@op
def sign(x):
    """−1, 0 or 1; 0 of a NaN.    ∂x = 0"""
    if backend_of(x).dtype(x) is bool_:
        return xp(x).asarray(x, copy=True), None
    above, below = (xp(x).astype(side, x.dtype) for side in (x > 0, x < 0))
    return above - below, lambda g: g * 0


@op(promote="float")
def copysign(a, b):
    """a with the sign of b.    ∂a = g where the sign stayed, else −g; 0 at a = 0,    ∂b = 0"""
    y = xp(a).copysign(a, _like(b, a))
    return y, (lambda g: g * xp(a).sign(a) * xp(y).sign(y), lambda g: g * 0)


@op(promote="same", exact=True)
def nextafter(a, b):
    """The number beside a in its dtype, on the way to b.    No derivative."""
    return xp(a).nextafter(a, _like(b, a)), None


@op(promote="same")
def maximum(a, b):
    """The larger of a and b.    ∂a = g where a > b,    ∂b = g where b > a,    half where equal"""
    return xp(a).maximum(a, b), _larger(a, b)


@op(promote="same")
def minimum(a, b):
    """The smaller of a and b.    ∂a = g where a < b,    ∂b = g where b < a,    half where equal"""
    return xp(a).minimum(a, b), _larger(b, a)


@op(promote="same")
def fmax(a, b):
    """The larger of a and b, a number rather than NaN.    ∂a = g where it is a,    ∂b = else g"""
    first = (a >= b) | xp(b).isnan(b)
    return backend_of(a).where(first, a, b), _chosen(first)


@op(promote="same")
def fmin(a, b):
    """The smaller of a and b, a number rather than NaN.    ∂a = g where it is a,    ∂b = else g"""
    first = (a <= b) | xp(b).isnan(b)
    return backend_of(a).where(first, a, b), _chosen(first)


@op(promote="same")
def clamp_(x, min, max):
    """x, but at least min and at most max.    ∂x = g where it is so; the bounds get the rest"""
    raised = x if min is None else xp(x).maximum(x, min)
    y = raised if max is None else xp(x).minimum(raised, max)

    def to_x(g):
        g = g if min is None else backend_of(g).where(x >= min, g, 0.0)
        return g if max is None else backend_of(g).where(raised <= max, g, 0.0)

    def to_min(g):
        g = backend_of(g).where(x < min, g, 0.0)
        return g if max is None else backend_of(g).where(raised > max, 0.0, g)

    return y, (to_x, to_min, lambda g: backend_of(g).where(raised > max, g, 0.0))


@op(exact=True)
def nan_to_num(x, /, nan=0.0, posinf=None, neginf=None):
    """x with numbers for NaN, ∞ and −∞: 0 and the largest.    ∂x = g where x is finite"""
    dtype = backend_of(x).dtype(x)
    if dtype.rank != FLOAT:
        return xp(x).asarray(x, copy=True), None
    top, bottom = (finfo(dtype).max if n is None else n for n in (posinf, neginf))
    bottom = -bottom if neginf is None else bottom
    finite, where = xp(x).isfinite(x), backend_of(x).where
    infinite = where(x > 0, xp(x).full_like(x, top), bottom)
    y = where(xp(x).isnan(x), float(nan or 0), infinite)
    y = where(finite, x, xp(x).astype(y, x.dtype))
    return y, lambda g: backend_of(g).where(finite, g, 0.0)


@op(promote="same")
def lerp(start, end, weight):
    """start + weight·(end − start).

    ∂start = g (1 − weight),    ∂end = g weight,    ∂weight = g (end − start)
    """
    step = end - start
    return start + weight * step, (
        lambda g: g * (1 - weight),
        lambda g: g * weight,
        lambda g: g * step,
    )


@op(promote="same")
def remainder(a, b):
    """a − b ⌊a/b⌋: the sign is b's.    ∂a = g,    ∂b = −g ⌊a/b⌋"""
    _refuse_zero(a, b)
    if isinstance(b, (int, float)):
        return a % b, (lambda g: g, None)
    whole = a // b
    return a % b, (lambda g: g, lambda g: -g * whole)


@op(promote="same")
def fmod(a, b):
    """a − b trunc(a/b): the sign is a's.    ∂a = g,    ∂b = −g trunc(a/b)"""
    _refuse_zero(a, b)
    if isinstance(b, (int, float)):
        return _fmod(a, b), (lambda g: g, None)
    a, b = _like(a, b), _like(b, a)
    return _fmod(a, b), (lambda g: g, lambda g: -g * xp(g).trunc(a / b))


@op(promote="same")
def floor_divide(a, b):
    """⌊a / b⌋.    No derivative: the steps are flat."""
    _refuse_zero(a, b)
    return a // b, None


@op(promote="same")
def rounded_quotient_(a, b, /, mode):
    """The whole number below a / b, or between it and 0.    ∂a = 0,    ∂b = 0"""
    _refuse_zero(a, b)
    a, b = _like(a, b), _like(b, a)
    if mode == "floor":
        whole = a // b
    else:
        whole = xp(a).trunc(a / b) if is_float(a) else (a - _fmod(a, b)) // b
    return whole, (lambda g: g * 0, lambda g: g * 0)


@op
def floor(x):
    """⌊x⌋, the integer below.    ∂x = 0"""
    return xp(x).floor(x), lambda g: g * 0


@op
def ceil(x):
    """⌈x⌉, the integer above.    ∂x = 0"""
    return xp(x).ceil(x), lambda g: g * 0


@op
def round(x, /, decimals=0):
    """The nearest integer, halves to the even one.    ∂x = 0"""
    if decimals and not is_float(x):
        raise RuntimeError(f"decimals={decimals} is for floating numbers")
    scale = 10.0**decimals
    return xp(x).round(x * scale) / scale if decimals else xp(x).round(x), lambda g: g * 0


@op
def trunc(x):
    """x without its fraction.    ∂x = 0"""
    return xp(x).trunc(x), lambda g: g * 0


@op
def frac(x):
    """The fraction of x, with its sign.    ∂x = g"""
    return x - xp(x).trunc(x), lambda g: g


# ---- helpers -------------------------------------------------------------------------


def _factor(alpha, a, b):
    """alpha as a Python number, which programs also give as a tensor of one element."""
    alpha = alpha.item() if hasattr(alpha, "item") else alpha
    if isinstance(alpha, float) and not any(is_float(t) for t in (a, b) if hasattr(t, "dtype")):
        raise RuntimeError(f"alpha must be an integer where a and b are, got {alpha}")
    return alpha


def _larger(a, b):
    """The pullbacks of maximum: g goes to the larger, half to each of equals."""

    def share(g, more, less):
        return g * (xp(g).astype(more > less, g.dtype) + 0.5 * xp(g).astype(more == less, g.dtype))

    return lambda g: share(g, a, b), lambda g: share(g, b, a)


def _chosen(first):
    return (
        lambda g: backend_of(g).where(first, g, 0.0),
        lambda g: backend_of(g).where(first, 0.0, g),
    )


def _like(value, x):
    """A number as an array like x."""
    return value if hasattr(value, "dtype") else xp(x).full_like(x, value)


def _fmod(a, b):
    """The remainder a − b · trunc(a / b)."""
    a, b = _like(a, b), _like(b, a)
    r = xp(a).abs(a) % xp(b).abs(b)
    return backend_of(a).where(a < 0, -r, r)


def _refuse_zero(a, b):
    """Raise RuntimeError for whole numbers divided by zero, which floats answer with ∞ or NaN."""
    x = b if hasattr(b, "dtype") else a
    if backend_of(x).dtype(x).rank != FLOAT and (xp(x).any(b == 0) if x is b else b == 0):
        raise RuntimeError("whole numbers cannot be divided by zero")
