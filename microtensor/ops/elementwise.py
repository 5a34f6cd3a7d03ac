"""Operations on each element, from arithmetic to activations.

g is the gradient of the value. Broadcasting is undone by the engine.
"""

import math

from ..autograd import op
from ..backends import backend_of, xp
from ..backends.dtypes import FLOAT

# ---- arithmetic ----------------------------------------------------------------------


@op(promote="same")
def add(a, b, /, *, alpha=1):
    """a + b, or a + alpha·b.    ∂a = g,    ∂b = alpha·g"""
    if alpha == 1:
        return a + b, (lambda g: g, lambda g: g)
    return a + alpha * b, (lambda g: g, lambda g: g * alpha)


@op(promote="same")
def sub(a, b, /, *, alpha=1):
    """a − b, or a − alpha·b.    ∂a = g,    ∂b = −alpha·g"""
    if alpha == 1:
        return a - b, (lambda g: g, lambda g: -g)
    return a - alpha * b, (lambda g: g, lambda g: g * -alpha)


@op(promote="same")
def mul(a, b):
    """a b.    ∂a = g b,    ∂b = g a"""
    return a * b, (lambda g: g * b, lambda g: g * a)


@op(promote="float")
def div(a, b):
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
        return g * xp(b).where(b == 0, 0.0, b * a ** xp(b).where(b == 0, 1.0, b - 1))

    def to_b(g):
        zero = (a == 0) & (b >= 0)
        base = xp(b).where(zero, 1.0, a)
        return xp(b).where(zero, 0.0, g * y * xp(b).log(base))

    return y, (to_a, to_b)


@op(promote="float")
def reciprocal(x):
    """1 / x.    ∂x = −g / x²"""
    y = 1 / x
    return y, lambda g: -g * (y * y)


@op
def square(x):
    """x².    ∂x = 2 g x"""
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
    """−1, 0 or 1.    ∂x = 0"""
    return xp(x).sign(x), lambda g: g * 0


@op(promote="same")
def maximum(a, b):
    """The larger of a and b.    ∂a = g where a > b,    ∂b = g where b > a,    half where equal"""
    return xp(a).maximum(a, b), _larger(a, b)


@op(promote="same")
def minimum(a, b):
    """The smaller of a and b.    ∂a = g where a < b,    ∂b = g where b < a,    half where equal"""
    return xp(a).minimum(a, b), _larger(b, a)


def _larger(a, b):
    """The pullbacks of maximum: g goes to the larger, half to each of equals."""

    def share(g, more, less):
        return g * (xp(g).astype(more > less, g.dtype) + 0.5 * xp(g).astype(more == less, g.dtype))

    return lambda g: share(g, a, b), lambda g: share(g, b, a)


@op(promote="same")
def clamp_(x, min, max):
    """x, but at least min and at most max.    ∂x = g where it is so; the bounds get the rest"""
    raised = x if min is None else xp(x).maximum(x, min)
    y = raised if max is None else xp(x).minimum(raised, max)

    def to_x(g):
        g = g if min is None else xp(g).where(x >= min, g, 0.0)
        return g if max is None else xp(g).where(raised <= max, g, 0.0)

    def to_min(g):
        g = xp(g).where(x < min, g, 0.0)
        return g if max is None else xp(g).where(raised > max, 0.0, g)

    return y, (to_x, to_min, lambda g: xp(g).where(raised > max, g, 0.0))


def clamp(x, min=None, max=None):
    """x, but at least `min` and at most `max`: numbers or tensors. Where min > max it is max."""
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max is needed")
    return clamp_(x, min, max)


def _like(value, x):
    """A number as an array like x."""
    return value if hasattr(value, "dtype") else xp(x).full_like(x, value)


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
    whole = a // b
    return a % b, (lambda g: g, lambda g: -g * whole)


@op(promote="same")
def fmod(a, b):
    """a − b trunc(a/b): the sign is a's.    ∂a = g,    ∂b = −g trunc(a/b)"""
    _refuse_zero(a, b)
    a, b = _like(a, b), _like(b, a)
    r = xp(a).abs(a) % xp(b).abs(b)
    y = xp(a).where(a < 0, -r, r)
    return y, (lambda g: g, lambda g: -g * xp(g).trunc(a / b))


@op(promote="same")
def floor_divide(a, b):
    """⌊a / b⌋.    No derivative: the steps are flat."""
    _refuse_zero(a, b)
    return a // b, None


def _refuse_zero(a, b):
    """Raise RuntimeError for whole numbers divided by zero, which floats answer with ∞ or NaN."""
    x = b if hasattr(b, "dtype") else a
    if backend_of(x).dtype(x).rank != FLOAT and (xp(x).any(b == 0) if x is b else b == 0):
        raise RuntimeError("whole numbers cannot be divided by zero")


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


# ---- exponentials and logarithms -----------------------------------------------------


@op(promote="float")
def exp(x):
    """eˣ.    ∂x = g eˣ"""
    y = xp(x).exp(x)
    return y, lambda g: g * y


@op(promote="float")
def exp2(x):
    """2ˣ.    ∂x = g 2ˣ ln 2"""
    y = xp(x).exp(x * LN2)
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


# ---- trigonometry --------------------------------------------------------------------


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
        return g * x / xp(g).where(square == 0, 1.0, square)

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


# ---- activations ---------------------------------------------------------------------


@op
def relu(x):
    """max(x, 0).    ∂x = g where x > 0"""
    y = xp(x).maximum(x, xp(x).zeros_like(x))
    return y, lambda g: xp(g).where(y <= 0, 0.0, g)


@op(promote="float")
def leaky_relu(x, /, negative_slope=0.01):
    """x where x > 0, else slope·x.    ∂x = g where x > 0, else slope·g"""
    return xp(x).where(x > 0, x, x * negative_slope), lambda g: xp(g).where(
        x > 0, g, g * negative_slope
    )


@op(promote="float")
def elu(x, /, alpha=1.0):
    """x where x > 0, else alpha (eˣ − 1).    ∂x = g where x > 0, else g alpha eˣ"""
    low = alpha * xp(x).expm1(xp(x).where(x > 0, 0.0, x))
    return xp(x).where(x > 0, x, low), lambda g: xp(g).where(x > 0, g, g * (low + alpha))


@op(promote="float")
def sigmoid(x):
    """σ(x) = 1 / (1 + e⁻ˣ).    ∂x = g σ (1 − σ)"""
    y = backend_of(x).sigmoid(x)
    return y, lambda g: g * (y * (1 - y))


@op(promote="float")
def logsigmoid(x):
    """ln σ(x) = min(x, 0) − ln(1 + e^−|x|).    ∂x = g σ(−x)"""
    y = xp(x).where(x < 0, x, 0.0) - xp(x).log1p(xp(x).exp(-xp(x).abs(x)))
    return y, lambda g: g * backend_of(x).sigmoid(-x)


@op(promote="float")
def silu(x):
    """x σ(x), also called swish (arXiv:1606.08415).    ∂x = g σ (1 + x (1 − σ))"""
    s = backend_of(x).sigmoid(x)
    return x * s, lambda g: g * (s * (1 + x * (1 - s)))


@op(promote="float")
def softplus(x, /, beta=1.0, threshold=20.0):
    """ln(1 + e^βx) / β, and x itself where βx > threshold.    ∂x = g σ(βx)"""
    z = x * beta
    smooth = xp(x).where(z > 0, z, 0.0) + xp(x).log1p(xp(x).exp(-xp(x).abs(z)))
    line = z > threshold

    y = xp(x).where(line, x, smooth / beta)
    return y, lambda g: xp(g).where(line, g, g * backend_of(z).sigmoid(z))


@op(promote="float")
def erf(x):
    """The error function, 2/√π ∫₀ˣ e^(−t²) dt.    ∂x = g 2/√π e^(−x²)"""
    return backend_of(x).erf(x), lambda g: g * (TWO_OVER_ROOT_PI * xp(x).exp(-(x * x)))


@op(promote="float")
def gelu(x, /, approximate="none"):
    """x Φ(x), Φ the normal distribution (arXiv:1606.08415).    ∂x = g (Φ(x) + x Φ'(x))"""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f'approximate must be "none" or "tanh", got {approximate!r}')
    y, slope = backend_of(x).gelu(x, approximate == "tanh")
    return y, lambda g: g * slope


# ---- comparisons, logic and bits: nothing to differentiate ---------------------------


@op(promote="same")
def eq(a, b):
    """a = b.    No derivative: booleans."""
    return a == b, None


@op(promote="same")
def ne(a, b):
    """a ≠ b.    No derivative: booleans."""
    return a != b, None


@op(promote="same")
def lt(a, b):
    """a < b.    No derivative: booleans."""
    return a < b, None


@op(promote="same")
def le(a, b):
    """a ≤ b.    No derivative: booleans."""
    return a <= b, None


@op(promote="same")
def gt(a, b):
    """a > b.    No derivative: booleans."""
    return a > b, None


@op(promote="same")
def ge(a, b):
    """a ≥ b.    No derivative: booleans."""
    return a >= b, None


@op
def isnan(x):
    """x is not a number.    No derivative: booleans."""
    return xp(x).isnan(x), None


@op
def isinf(x):
    """x is ∞ or −∞.    No derivative: booleans."""
    return xp(x).isinf(x), None


@op
def isfinite(x):
    """x is a number and finite.    No derivative: booleans."""
    return xp(x).isfinite(x), None


def _truth(x):
    """x ≠ 0, also for booleans."""
    return xp(x).astype(x, xp(x).bool, copy=False) if hasattr(x, "dtype") else bool(x)


@op
def logical_not(x):
    """x = 0.    No derivative: booleans."""
    return ~_truth(x), None


@op
def logical_and(a, b):
    """a ≠ 0 and b ≠ 0.    No derivative: booleans."""
    return _truth(a) & _truth(b), None


@op
def logical_or(a, b):
    """a ≠ 0 or b ≠ 0.    No derivative: booleans."""
    return _truth(a) | _truth(b), None


@op
def logical_xor(a, b):
    """Exactly one of a and b ≠ 0.    No derivative: booleans."""
    return _truth(a) ^ _truth(b), None


@op
def bitwise_not(x):
    """Each bit the other way.    No derivative: integers."""
    return ~x, None


@op(promote="same")
def bitwise_and(a, b):
    """The bits set in both.    No derivative: integers."""
    return a & b, None


@op(promote="same")
def bitwise_or(a, b):
    """The bits set in either.    No derivative: integers."""
    return a | b, None


@op(promote="same")
def bitwise_xor(a, b):
    """The bits set in exactly one.    No derivative: integers."""
    return a ^ b, None


# ---- conversion ----------------------------------------------------------------------


@op
def cast(x, /, dtype):
    """x in another dtype.    ∂x = g, in x's dtype"""
    return backend_of(x).cast(x, dtype), lambda g: g


@op
def clone(x):
    """A copy of x.    ∂x = g"""
    return xp(x).asarray(x, copy=True), lambda g: g


@op
def detach(x):
    """x without its history.    No derivative: that is its purpose."""
    return x, None


LN2 = math.log(2)
LN10 = math.log(10)
TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
