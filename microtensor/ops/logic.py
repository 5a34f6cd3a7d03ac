"""Comparisons, logic and bits of each element: nothing to differentiate."""

from ..autograd import op
from ..backends import backend_of, xp
from ..backends.dtypes import FLOAT, bool_, float64

# ---- comparisons ---------------------------------------------------------------------


@op(promote="same", exact=True)
def eq(a, b):
    """a = b.    No derivative: booleans."""
    return a == b, None


@op(promote="same", exact=True)
def ne(a, b):
    """a ≠ b.    No derivative: booleans."""
    return a != b, None


@op(promote="same", exact=True)
def lt(a, b):
    """a < b.    No derivative: booleans."""
    return a < b, None


@op(promote="same", exact=True)
def le(a, b):
    """a ≤ b.    No derivative: booleans."""
    return a <= b, None


@op(promote="same", exact=True)
def gt(a, b):
    """a > b.    No derivative: booleans."""
    return a > b, None


@op(promote="same", exact=True)
def ge(a, b):
    """a ≥ b.    No derivative: booleans."""
    return a >= b, None


@op(exact=True)
def isnan(x):
    """x is not a number.    No derivative: booleans."""
    return xp(x).isnan(x), None


@op(exact=True)
def isinf(x):
    """x is ∞ or −∞.    No derivative: booleans."""
    return xp(x).isinf(x), None


@op(exact=True)
def isfinite(x):
    """x is a number and finite.    No derivative: booleans."""
    return xp(x).isfinite(x), None


@op(exact=True)
def isposinf(x):
    """x is ∞.    No derivative: booleans."""
    return _infinite(x) & (x > 0), None


@op(exact=True)
def isneginf(x):
    """x is −∞.    No derivative: booleans."""
    return _infinite(x) & (x < 0), None


@op
def isreal(x):
    """x is a real number, as everything here is.    No derivative: booleans."""
    return x == x if backend_of(x).dtype(x).rank != FLOAT else (x == x) | (x != x), None


@op(exact=True)
def signbit(x):
    """x is negative, or −0.    No derivative: booleans."""
    return xp(x).signbit(x) if backend_of(x).dtype(x).rank == FLOAT else x < 0, None


@op
def isclose(a, b, /, rtol=1e-5, atol=1e-8, equal_nan=False):
    """|a − b| ≤ atol + rtol·|b|, or a = b.    No derivative: booleans."""
    if a.dtype != b.dtype:
        raise RuntimeError("both need one dtype")
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"rtol and atol are at least 0, got {rtol} and {atol}")
    near = a == b
    if backend_of(a).dtype(a) is not bool_:
        wide, other = (backend_of(a).cast(x, float64) for x in (a, b))
        gap = xp(a).abs(wide - other)
        near = near | (xp(a).isfinite(gap) & (gap <= atol + rtol * xp(a).abs(other)))
    return near | ((a != a) & (b != b)) if equal_nan else near, None


@op(promote="same")
def heaviside(x, values):
    """0 where x < 0, 1 where x > 0, values where x = 0.    No derivative: a step."""
    return backend_of(x).where(x == 0, values, xp(x).astype(x > 0, x.dtype)), None


# ---- logic and bits ------------------------------------------------------------------


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
    if backend_of(x).dtype(x).rank == FLOAT:
        raise TypeError("whole numbers or booleans are needed")
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


@op(promote="same")
def bitwise_left_shift(a, b):
    """a 2ᵇ: the bits b places up.    No derivative: integers."""
    return a << b, None


@op(promote="same")
def bitwise_right_shift(a, b):
    """⌊a / 2ᵇ⌋: the bits b places down.    No derivative: integers."""
    return a >> b, None


# ---- helpers -------------------------------------------------------------------------


def _infinite(x):
    """True if x is infinite, which only floats can be."""
    return xp(x).isinf(x) if backend_of(x).dtype(x).rank == FLOAT else xp(x).zeros_like(x) != 0


def _truth(x):
    """x ≠ 0, also for booleans."""
    return xp(x).astype(x, xp(x).bool, copy=False) if hasattr(x, "dtype") else bool(x)
