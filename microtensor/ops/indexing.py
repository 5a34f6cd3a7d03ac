"""Operations that pick elements by position, and those that put them there.

Each is the transpose of another: the derivative of picking is putting.
"""

from ..autograd import op
from ..backends import backend_of, xp
from .shapes import _positive

# ---- x[index] ------------------------------------------------------------------------


@op(view=True)
def getitem(x, /, index):
    """x[index].    ∂x = zeros with g added at index"""
    shape = tuple(x.shape)
    return backend_of(x).get_at(x, index), lambda g: backend_of(g).put(g, shape, index)


@op
def put_at(values, /, shape, index):
    """Zeros of a shape with values added at index.    ∂values = g[index]"""
    y = backend_of(values).put(values, shape, index)
    return y, lambda g: backend_of(g).get_at(g, index)


@op
def setitem(x, value, /, index):
    """x with x[index] = value.    ∂x = g with zeros at index,    ∂value = g[index]"""
    return backend_of(x).set_at(x, value, index), (
        lambda g: backend_of(g).set_at(g, 0.0, index),
        lambda g: backend_of(g).get_at(g, index),
    )


@op
def write(x, value, /, view):
    """x with the part that view shows replaced.    ∂x = g with zeros there,    ∂value = view(g)"""
    return backend_of(x).write(x, value, view), (
        lambda g: backend_of(g).write(g, 0.0, view),
        lambda g: view(g),
    )


@op(view=True)
def diagonal_(x):
    """The diagonals of square matrices: (…, n, n) to (…, n).    ∂x = g there, zeros elsewhere"""
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise RuntimeError("square matrices are needed")

    def pull(g):
        line = backend_of(g).count_along(g)
        return backend_of(g).where(line[:, None] == line[None, :], g[..., None], 0.0)

    return backend_of(x).diagonal(x), pull


@op(view=True)
def unfold_(x, /, dim, size, step):
    """Windows along dim, one for every step-th place, as a last dimension.    ∂x = g added back"""
    shape = tuple(x.shape)
    y = backend_of(x).unfold(x, dim, size, step)
    return y, lambda g: backend_of(g).unfold_backward(g, shape, dim, size, step)


@op
def fold_windows_(w, /, shape, dim, size, step):
    """The transpose of unfold_: windows added up where they come from.    ∂w = the windows of g"""
    y = backend_of(w).unfold_backward(w, shape, dim, size, step)
    return y, lambda g: backend_of(g).unfold(g, dim, size, step)


# ---- along one dimension -------------------------------------------------------------


@op(exact=True)
def gather_(x, index, /, dim):
    """x at an index along dim.    ∂x = zeros with g added there"""
    axis, shape = _positive(dim, len(x.shape)), tuple(x.shape)

    def pull(g):
        return backend_of(g).put_along_axis(g, shape, index, axis)

    return _taken(x, index, axis), (pull, None)


@op
def scatter_(x, index, source, /, dim):
    """x with source put at an index along dim.    ∂x = g with zeros there,    ∂source = g there"""
    axis = _positive(dim, len(x.shape))
    return backend_of(x).set_along_axis(x, source, index, axis), (
        lambda g: backend_of(g).set_along_axis(g, 0.0, index, axis),
        None,
        lambda g: _taken(g, index, axis),
    )


@op
def scatter_add_(x, index, source, /, dim):
    """x with source added at an index along dim.    ∂x = g,    ∂source = g there"""
    axis = _positive(dim, len(x.shape))
    y = x + backend_of(x).put_along_axis(source, tuple(x.shape), index, axis)
    return y, (lambda g: g, None, lambda g: _taken(g, index, axis))


@op
def scatter_multiply_(x, index, source, /, dim):
    """x multiplied by source at an index along dim.

    ∂x = g times the factors at its place,    ∂source = g times x and the other factors there
    """
    axis, shape = _positive(dim, len(x.shape)), tuple(x.shape)
    backend = backend_of(x)
    y = backend.multiply_along_axis(x, source, index, axis)

    def pull(g):
        # the product of all but the zeros, and how many these are
        where, none, nil = backend_of(g).where, x == 0, source == 0
        factors = where(nil, 1.0, source)
        rest = backend.multiply_along_axis(where(none, 1.0, x), factors, index, axis)
        zeros = xp(g).astype(nil, g.dtype)
        zeros = xp(g).astype(none, g.dtype) + backend.put_along_axis(zeros, shape, index, axis)

        def others(value, zero, rest, zeros):
            one = where(zero, where(zeros == 1, rest, 0.0), 0.0)
            return where(zeros == 0, rest / where(zero, 1.0, value), one)

        there = _taken(rest, index, axis), _taken(zeros, index, axis)
        to_source = _taken(g, index, axis) * others(source, nil, *there)
        return g * others(x, none, rest, zeros), None, to_source

    return y, pull


@op
def scatter_amax_(x, index, source, /, dim):
    """The largest of x and of what source has for its places at an index along dim.

    g is shared by equals.    ∂x = g / count where x is it,    ∂source = so, too
    """
    axis, shape = _positive(dim, len(x.shape)), tuple(x.shape)
    order = xp(x).argsort(source, axis=axis)  # in ascending order the largest is put last
    line, where_to = (xp(x).take_along_axis(a, order, axis=axis) for a in (source, index))
    y = xp(x).maximum(x, backend_of(x).set_along_axis(x, line, where_to, axis))

    def pull(g):
        mine = xp(g).astype(x == y, g.dtype)
        theirs = xp(g).astype(source == _taken(y, index, axis), g.dtype)
        g = g / (mine + backend_of(g).put_along_axis(theirs, shape, index, axis))
        return g * mine, None, _taken(g, index, axis) * theirs

    return y, pull


# ---- by a condition ------------------------------------------------------------------


@op(promote="same", exact=True)
def where_(a, b, /, condition):
    """a where the condition holds, else b.    ∂a = g where it holds,    ∂b = g where it does not"""
    return backend_of(a if hasattr(a, "dtype") else b).where(condition, a, b), (
        lambda g: backend_of(g).where(condition, g, 0.0),
        lambda g: backend_of(g).where(condition, 0.0, g),
    )


@op(promote="same", exact=True)
def masked_fill_(x, value, /, mask):
    """x with value where the mask holds.    ∂x = g elsewhere,    ∂value = Σ g where it holds"""
    return backend_of(x).where(mask, value, x), (
        lambda g: backend_of(g).where(mask, 0.0, g),
        lambda g: backend_of(g).where(mask, g, 0.0),
    )


@op(exact=True)
def nonzero_(x):
    """The positions (n, d) of the elements that are not zero.    No derivative: positions."""
    own = x != xp(x).zeros_like(x)  # counted, then written: another thread may change x
    return xp(x).stack(list(xp(x).nonzero(own)), axis=1), None


# ---- helpers -------------------------------------------------------------------------


def _outside(index, start, stop):
    """An element of an array of integers that is not in start … stop − 1; None if all are."""
    if 0 in index.shape:
        return None
    low, high = backend_of(index).bounds(index)
    return low if low < start else high if high >= stop else None


def _taken(x, index, axis):
    """x at an index along an axis; along the others the index may be smaller than x."""
    part = tuple(slice(None) if d == axis else slice(0, n) for d, n in enumerate(index.shape))
    if not part:
        return xp(x).asarray(x, copy=True)
    index = backend_of(index).asarray(index, copy=True)  # NumPy checks it before it uses it
    return xp(x).take_along_axis(x[part], index, axis=axis)
