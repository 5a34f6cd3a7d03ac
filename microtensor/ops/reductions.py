"""Operations that make one number of many: sums, extremes, norms, running totals.

`dim` is a dimension, several, or None for all; `keepdim` keeps the reduced ones with size 1.
"""

import math

from ..autograd import TensorBase, op
from ..backends import backend_of, xp
from ..backends.dtypes import FLOAT, int64
from ..backends.promotion import is_float
from .logic import _truth
from .shapes import _positive

# ---- sums and means ------------------------------------------------------------------


@op
def sum(x, /, dim=None, keepdim=False, *, dtype=None):
    """Σ x.    ∂x = g, the same for every element that was added"""
    dim = _dim(x, dim)
    x = _summed(x, dtype)
    y = backend_of(x).sum(x, dim, keepdim)
    shape = x.shape  # all that the pullback needs of x
    return y, lambda g: backend_of(g).broadcast_to(_spread(g, shape, dim), shape)


@op
def mean(x, /, dim=None, keepdim=False, *, dtype=None):
    """Σ x / n.    ∂x = g / n"""
    _floating(x)
    dim = _dim(x, dim)
    shape, n = x.shape, _count(x.shape, dim)

    def pull(g):
        return backend_of(g).broadcast_to(_spread(g / n, shape, dim), shape)

    total = backend_of(x).sum(x, dim, keepdim)
    return total / n if n else total * math.nan, pull


@op
def var_(x, /, dim, correction, keepdim):
    """Σ (x − mean)² / (n − correction).    ∂x = 2 g (x − mean) / (n − correction)"""
    _floating(x)
    d, n = _centred(x, _dim(x, dim), correction)
    y = backend_of(x).sum(d * d, _dim(x, dim), keepdim) / n
    return y, lambda g: _spread(g, d.shape, dim) * d * (2 / n if n else math.inf)


@op
def std_(x, /, dim, correction, keepdim):
    """√var.    ∂x = g (x − mean) / ((n − correction) std), 0 where std = 0"""
    _floating(x)
    d, n = _centred(x, _dim(x, dim), correction)
    y = xp(x).sqrt(backend_of(x).sum(d * d, _dim(x, dim), keepdim) / n)

    def pull(g):
        slope = backend_of(g).where(y == 0, 0.0, g / (n * backend_of(g).where(y == 0, 1.0, y)))
        return _spread(slope, d.shape, dim) * d

    return y, pull


@op
def prod(x, /, dim=None, keepdim=False, *, dtype=None):
    """Π x.    ∂xᵢ = g Π of the other x, zeros among them or not"""
    x = _summed(x, dtype)
    n, y = len(x.shape), xp(x).prod(x, axis=_dim(x, dim), keepdims=keepdim, dtype=x.dtype)

    def pull(g):
        line = xp(x).reshape(x, (-1,)) if dim is None else x
        axis = 0 if dim is None else dim % max(n, 1)
        if not n or 0 in x.shape:
            return _spread(g, x.shape, dim) * xp(x).ones_like(x)
        others = xp(x).reshape(_product_of_others(line, axis), x.shape)
        return _spread(g, x.shape, dim) * others

    return y, pull


# ---- extremes ------------------------------------------------------------------------


@op
def amax(x, /, dim=None, keepdim=False):
    """The largest x.    ∂x = g shared evenly by the elements that are the largest"""
    dim = _dim(x, dim)
    _some(x, dim)
    y = xp(x).max(x, axis=dim, keepdims=keepdim)
    return y, _to_equals(x, y, dim)


@op
def amin(x, /, dim=None, keepdim=False):
    """The smallest x.    ∂x = g shared evenly by the elements that are the smallest"""
    dim = _dim(x, dim)
    _some(x, dim)
    y = xp(x).min(x, axis=dim, keepdims=keepdim)
    return y, _to_equals(x, y, dim)


@op
def argmax(x, /, dim=None, keepdim=False):
    """The index of the largest x, the first of equals.    No derivative: positions."""
    _some(x, dim)
    return xp(x).argmax(x, axis=dim, keepdims=keepdim), None


@op
def argmin(x, /, dim=None, keepdim=False):
    """The index of the smallest x, the first of equals.    No derivative: positions."""
    _some(x, dim)
    return xp(x).argmin(x, axis=dim, keepdims=keepdim), None


# ---- norms and exponentials ----------------------------------------------------------


@op
def vector_norm(x, /, ord=2, dim=None, keepdim=False, *, dtype=None):
    """(Σ |x|ᵖ)^(1/p), p = ord.    ∂x = g sign x (|x| / norm)ᵖ⁻¹, 0 where norm = 0"""
    _floating(x)
    return _norm(x, ord, _dim(x, dim), keepdim)


def _norm(x, ord, dim, keepdim):
    size = x if ord == 2 else xp(x).abs(x)  # a square has no sign
    if ord == 0:
        counted = xp(x).astype(x != 0, x.dtype)
        return backend_of(x).sum(counted, dim, keepdim), lambda g: x * 0
    if ord in (math.inf, -math.inf):
        pick = xp(x).max if ord > 0 else xp(x).min
        y = pick(size, axis=dim, keepdims=keepdim)
        to_equals = _to_equals(size, y, dim)
        return y, lambda g: to_equals(g) * xp(x).sign(x)
    if ord == 1:
        y = backend_of(x).sum(size, dim, keepdim)
        return y, lambda g: _spread(g, x.shape, dim) * xp(x).sign(x)
    if ord == 2:
        y = xp(x).sqrt(backend_of(x).sum(x * x, dim, keepdim))
    else:
        total = backend_of(x).sum(size**ord, dim, keepdim)
        root = backend_of(x).where(total == 0, 1.0, total) ** (1 / ord)
        y = backend_of(x).where(total == 0, 0.0, root)

    def pull(g):
        norm = _spread(y, x.shape, dim)
        ratio = x / backend_of(x).where(norm == 0, 1.0, norm)
        if ord != 2:
            small, where = xp(x).abs(ratio), backend_of(x).where
            small = where(small == 0, 0.0, where(small == 0, 1.0, small) ** (ord - 1))
            ratio = xp(x).sign(x) * small
        return _spread(g, x.shape, dim) * backend_of(x).where(norm == 0, 0.0, ratio)

    return y, pull


@op(promote="float")
def logsumexp(x, /, dim=None, keepdim=False):
    """ln Σ eˣ, shifted by the largest x so that nothing overflows.    ∂x = g eˣ⁻ʸ, the softmax"""
    dim = _dim(x, dim)
    top = (
        xp(x).max(x, axis=dim, keepdims=True)
        if _count(x.shape, dim)
        else backend_of(x).sum(x, dim, True)
    )
    top = backend_of(x).where(xp(x).isfinite(top), top, 0.0)
    y = xp(x).log(backend_of(x).sum(xp(x).exp(x - top), dim, True)) + top
    result = y if keepdim else xp(x).reshape(y, _dropped(x, dim))
    return result, lambda g: _spread(g, x.shape, dim) * xp(x).exp(x - y)


# ---- running totals ------------------------------------------------------------------


@op
def cumsum(x, /, dim, *, dtype=None):
    """Σ of the elements up to each one.    ∂x = Σ of g from each one on"""
    x = _summed(x, dtype)
    if not x.shape:
        return xp(x).asarray(x, copy=True), lambda g: g

    def backwards(g):
        return _summed_backwards(g, dim)

    return backend_of(x).cumulative_sum(x, dim), backwards


@op
def cumprod(x, /, dim, *, dtype=None):
    """Π of the elements up to each one.    ∂xᵢ = Σⱼ gⱼ Π of the xₖ, k ≤ j and k ≠ i"""
    x = _summed(x, dtype)
    if not x.shape:
        return xp(x).asarray(x, copy=True), lambda g: g
    dim = _positive(dim, len(x.shape))
    y = backend_of(x).cumulative_prod(x, dim)

    def pull(g):
        zero = x == 0
        if isinstance(x, TensorBase) and bool(xp(x).any(zero)):
            return _each_product(x, g, dim)
        # without zeros xᵢ divides all yⱼ from its own on; behind the first zero they are all 0
        where = backend_of(x).where
        slope = _summed_backwards(g * y, dim) / where(zero, 1.0, x)
        seen = backend_of(x).cumulative_sum(backend_of(x).cast(zero, int64), dim)
        first = zero & (seen == 1)
        others = backend_of(x).cumulative_prod(where(first, 1.0, x), dim)
        at_zero = _summed_backwards(where(seen == 0, 0.0, g * others), dim)
        return where(first, at_zero, where(seen == 0, slope, 0.0))

    return y, pull


def _summed_backwards(g, dim):
    """Σ of g from each element on."""
    return xp(g).flip(backend_of(g).cumulative_sum(xp(g).flip(g, axis=dim), dim), axis=dim)


def _each_product(x, g, dim):
    """The gradient of cumprod without a division, one product for each element: n² of them."""
    n, parts = x.shape[dim], []
    for i in range(n):
        # with x[i] = 1 the running product is what each gⱼ, j ≥ i, is multiplied by
        one = xp(x).ones_like(_part(x, dim, i, i + 1))
        line = xp(x).concat([_part(x, dim, 0, i), one, _part(x, dim, i + 1, n)], axis=dim)
        run = _part(backend_of(x).cumulative_prod(line, dim) * g, dim, i, n)
        parts.append(backend_of(x).sum(run, dim, True))
    return xp(x).concat(parts, axis=dim)


# ---- logic ---------------------------------------------------------------------------


@op
def any(x, /, dim=None, keepdim=False):
    """True if some element is not zero.    No derivative: booleans."""
    return xp(x).any(x, axis=_dim(x, dim), keepdims=keepdim), None


@op
def all(x, /, dim=None, keepdim=False):
    """True if no element is zero.    No derivative: booleans."""
    return xp(x).all(x, axis=_dim(x, dim), keepdims=keepdim), None


@op
def count_nonzero(x, /, dim=None):
    """The number of elements that are not zero.    No derivative: a count."""
    return backend_of(x).sum(backend_of(x).cast(_truth(x), int64), _dim(x, dim)), None


# ---- helpers -------------------------------------------------------------------------


def _kept(shape, dim):
    """The shape that a reduction leaves with keepdim."""
    if dim is None:
        return (1,) * len(shape)
    dims = {d % len(shape) if shape else d for d in ((dim,) if isinstance(dim, int) else dim)}
    return tuple(1 if d in dims else n for d, n in enumerate(shape))


def _count(shape, dim):
    """The number of elements that each one of the result is made from."""
    return math.prod(n for n, k in zip(shape, _kept(shape, dim)) if k == 1)


def _spread(g, shape, dim):
    """The result of a reduction over `dim`, in a shape that broadcasts against the input's."""
    return g if dim is None else xp(g).reshape(g, _kept(shape, dim))


def _dim(x, dim):
    """Several dimensions as a tuple; none of them, and the first of a 0-d x, means all."""
    dim = tuple(dim) or None if isinstance(dim, (tuple, list)) else dim
    return None if not x.shape and dim in (0, -1, (0,), (-1,)) else dim


def _summed(x, dtype):
    """x, in the dtype that was asked for already; else integers and booleans count as int64."""
    return x if dtype is not None or is_float(x) else backend_of(x).cast(x, int64)


def _floating(x):
    if backend_of(x).dtype(x).rank != FLOAT:
        raise RuntimeError("a floating-point tensor is needed; convert with .float()")


def _centred(x, dim, correction):
    """x − mean, and n − correction, at least 0."""
    n = _count(x.shape, dim)
    if n:
        x = x - backend_of(x).sum(x, dim, True) / n
        x = x - backend_of(x).sum(x, dim, True) / n  # the mean was rounded: what is left of it
    return x, max(n - correction, 0)


def _product_of_others(x, axis):
    """For each element the product of all others along an axis: left of it times right of it."""
    one = xp(x).ones_like(_part(x, axis, 0, 1))

    def before(x):
        return xp(x).concat(
            [one, _part(backend_of(x).cumulative_prod(x, axis), axis, 0, -1)], axis=axis
        )

    return before(x) * xp(x).flip(before(xp(x).flip(x, axis=axis)), axis=axis)


def _part(x, axis, start, stop):
    return x[(slice(None),) * axis + (slice(start, stop), ...)]


def _some(x, dim):
    """Raise an error if there is nothing to choose from."""
    if 0 in x.shape and not _count(x.shape, dim):
        kind = RuntimeError if dim is None else IndexError  # as in PyTorch
        raise kind("there must be at least one element to choose from")


def _to_equals(x, y, dim):
    """The pullback that shares g among the elements of x that are equal to the result."""

    def pull(g):
        equal = xp(g).astype(x == _spread(y, x.shape, dim), g.dtype)
        return _spread(g, x.shape, dim) * equal / backend_of(g).sum(equal, dim, True)

    return pull


def _dropped(x, dim):
    """The shape that a reduction of x leaves without keepdim."""
    if dim is None:
        return ()
    dims = {d % len(x.shape) if x.shape else d for d in ((dim,) if isinstance(dim, int) else dim)}
    return tuple(n for d, n in enumerate(x.shape) if d not in dims)
