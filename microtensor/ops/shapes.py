"""Operations that only move elements: their derivatives move the gradient back.

Those that are made of others (squeeze, flatten, chunk …) need no derivative of their own.
"""

import math

from ..autograd import op
from ..backends import backend_of, xp

# ---- the same elements under another shape -------------------------------------------


@op(view=True)
def reshape(x, /, shape):
    """The elements of x in another shape; one size may be −1.    ∂x = g, in x's shape"""
    old = x.shape
    if min(shape, default=0) < -1:
        raise RuntimeError(f"a size cannot be negative, got shape {tuple(shape)}")
    try:
        y = backend_of(x).reshape(x, shape)
    except ValueError:
        if tuple(shape).count(-1) > 1:
            raise RuntimeError(f"only one size may be −1, got shape {tuple(shape)}") from None
        count = math.prod(old)
        raise RuntimeError(f"{count} elements do not fit shape {tuple(shape)}") from None
    return y, lambda g: xp(g).reshape(g, old)


@op(view=True)
def permute(x, /, dims):
    """The dimensions of x in another order.    ∂x = g, in the order that undoes it"""
    dims = tuple([_positive(d, len(x.shape)) for d in dims])

    def pull(g):
        return xp(g).permute_dims(g, tuple(dims.index(i) for i in range(len(dims))))

    return xp(x).permute_dims(x, dims), pull


@op(view=True)
def expand(x, /, shape):
    """x repeated without copying; −1 keeps a size.    ∂x = Σ g over the repetitions"""
    new = len(shape) - len(x.shape)
    if -1 in shape[: max(new, 0)]:
        raise RuntimeError(f"−1 keeps a size, but the first {new} of {tuple(shape)} are new")
    old = (1,) * new + tuple(x.shape)
    shape = tuple(o if n == -1 else n for o, n in zip(old, shape, strict=True))
    if shape == old:  # nothing is repeated, so that the result can be written
        return xp(x).reshape(x, shape), lambda g: g
    return xp(x).broadcast_to(x, shape), lambda g: g  # the engine sums g to x's shape


def broadcast_shapes(*shapes):
    """The shape that arrays of these shapes broadcast to. Raises RuntimeError if there is none."""
    shapes = [(s,) if isinstance(s, int) else s for s in shapes]
    n = max(map(len, shapes), default=0)
    columns = list(zip(*((1,) * (n - len(s)) + tuple(s) for s in shapes)))
    if any(len({*c} - {1}) > 1 for c in columns):
        raise RuntimeError(
            f"broadcast_shapes: the sizes must be equal or 1, counted from the last, got {shapes}"
        )
    return tuple(next((k for k in c if k != 1), 1) for c in columns)


# ---- joining and taking apart --------------------------------------------------------


@op(promote="same", exact=True)
def cat_(*tensors, dim=0):
    """The tensors one after the other along dim.    ∂xᵢ = the part of g that came from xᵢ"""
    wide = [
        t for t in tensors if tuple(t.shape) != (0,)
    ] or tensors  # PyTorch lets (0,) join anything
    axis, shapes = _positive(dim, len(wide[0].shape)), [tuple(t.shape) for t in tensors]

    def pull(g):
        parts, start = [], 0
        for shape in shapes:
            stop = start + (shape[axis] if len(shape) > axis else 0)
            part = g[(slice(None),) * axis + (slice(start, stop), ...)]
            parts.append(xp(g).reshape(part, shape))
            start = stop
        return parts

    return xp(wide[0]).concat(list(wide), axis=axis), pull


@op(promote="same", exact=True)
def stack_(*tensors, dim=0):
    """The tensors along a new dimension.    ∂xᵢ = g[i]"""
    axis, n = _positive(dim, len(tensors[0].shape) + 1), len(tensors)

    def pull(g):
        return [g[(slice(None),) * axis + (i, ...)] for i in range(n)]

    try:
        return xp(tensors[0]).stack(list(tensors), axis=axis), pull
    except ValueError:
        raise RuntimeError("only tensors of one shape can be stacked") from None


@op(view=True, several=True)
def split_(x, /, lengths, dim):
    """Consecutive parts of x along dim, of the given lengths.    ∂x = the parts of g joined"""
    axis, parts, start = _positive(dim, len(x.shape)), [], 0
    for n in lengths:
        parts.append(x[(slice(None),) * axis + (slice(start, start + n), ...)])
        start += n
    return tuple(parts), lambda g: xp(g[0]).concat(list(g), axis=axis)


@op(view=True)
def unbind_(x, /, dim):
    """The slices of x along dim, without that dimension.    ∂x = the gradients stacked"""
    axis = _positive(dim, len(x.shape))
    before = (slice(None),) * axis
    parts = tuple([x[(*before, i, ...)] for i in range(x.shape[axis])])
    return parts, lambda g: xp(g[0]).stack(list(g), axis=axis)


@op(exact=True)
def roll_(x, /, shifts, dims):
    """x with its elements moved round.    ∂x = g moved back"""
    back = tuple(-s for s in shifts)
    return xp(x).roll(x, shifts, axis=dims), lambda g: xp(g).roll(g, back, axis=dims)


@op(exact=True)
def flip_(x, /, dims):
    """x with dimensions reversed.    ∂x = g reversed"""
    y = xp(x).asarray(xp(x).flip(x, axis=dims), copy=True)  # NumPy shows the same memory
    return y, lambda g: xp(g).flip(g, axis=dims)


@op(exact=True)
def tril(x, /, diagonal=0):
    """The part of each matrix on and below a diagonal, zeros above.    ∂x = that part of g"""
    _matrices(x)
    return xp(x).tril(x, k=diagonal), lambda g: xp(g).tril(g, k=diagonal)


@op(exact=True)
def triu(x, /, diagonal=0):
    """The part of each matrix on and above a diagonal, zeros below.    ∂x = that part of g"""
    _matrices(x)
    return xp(x).triu(x, k=diagonal), lambda g: xp(g).triu(g, k=diagonal)


# ---- helpers -------------------------------------------------------------------------


def _positive(dim, n):
    """A dimension counted from the front, −1 being the last of n."""
    room = n or 1
    if not -room <= dim < room:
        raise IndexError(f"dimension {dim} is out of range: a tensor of {n} has {-n} to {n - 1}")
    return dim % room


def _matrices(x):
    if len(x.shape) < 2:
        raise RuntimeError("a matrix or several are needed")
