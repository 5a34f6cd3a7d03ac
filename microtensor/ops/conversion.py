"""Copies of a tensor: of another dtype, in another order in memory, without its history."""

from ..autograd import op
from ..backends import backend_of, xp


@op(exact=True)
def cast(x, /, dtype):
    """x in another dtype.    ∂x = g, in x's dtype"""
    return backend_of(x).cast(x, dtype), lambda g: g


@op(exact=True)
def clone(x, memory_format=None):
    """A copy of x.    ∂x = g"""
    return xp(x).asarray(x, copy=True), lambda g: g


@op(exact=True)
def contiguous_(x):
    """x in one block of memory, in row-major order.    ∂x = g"""
    return backend_of(x).contiguous(x), lambda g: g


@op(exact=True)
def detach(x):
    """x without its history.    No derivative: that is its purpose."""
    return x, None
