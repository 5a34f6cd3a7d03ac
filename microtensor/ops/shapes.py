"""Operations that only move elements: their derivatives move the gradient back.

Those that are made of others (squeeze, flatten, chunk …) need no derivative of their own.
"""

import math
import operator

from ..autograd import TensorBase, op
from ..autograd.errors import describe
from ..backends import backend_of, xp
from .elementwise import clone

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


def _positive(dim, n):
    """A dimension counted from the front, −1 being the last of n."""
    room = n or 1
    if not -room <= dim < room:
        raise IndexError(f"dimension {dim} is out of range: a tensor of {n} has {-n} to {n - 1}")
    return dim % room


def sizes(args):
    """Sizes given one by one, or as one sequence."""
    if len(args) == 1 and not isinstance(args[0], int):
        args = args[0] if isinstance(args[0], (tuple, list)) else (args[0],)
    return tuple(map(operator.index, args))


def transpose(x, dim0, dim1):
    """x with two dimensions exchanged."""
    n = x.ndim
    dims = list(range(n))
    dim0, dim1 = _positive(dim0, n), _positive(dim1, n)
    if dims:
        dims[dim0], dims[dim1] = dim1, dim0
    return permute(x, tuple(dims))


def movedim(x, source, destination):
    """x with the dimensions `source` moved to the places `destination`."""
    source, destination = (
        [_positive(d, x.ndim) for d in ((dims,) if isinstance(dims, int) else dims)]
        for dims in (source, destination)
    )
    if len({*source}) != len(destination) or len({*destination}) != len(source):
        raise RuntimeError(
            f"movedim: as many places as dimensions are needed, none of them twice, got {source} "
            f"and {destination}"
        )
    moved = dict(zip(destination, source))
    rest = iter(d for d in range(x.ndim) if d not in source)
    return permute(x, tuple(moved[d] if d in moved else next(rest) for d in range(x.ndim)))


def squeeze(x, dim=None):
    """x without its dimensions of size 1, or without those of `dim` that have size 1."""
    if dim is None:
        dims = range(x.ndim)
    else:
        dims = [_positive(d, x.ndim) for d in ((dim,) if isinstance(dim, int) else dim)]
    return reshape(x, tuple(n for d, n in enumerate(x.shape) if n != 1 or d not in dims))


def unsqueeze(x, dim):
    """x with a new dimension of size 1 at `dim`."""
    dim = _positive(dim, x.ndim + 1)
    return reshape(x, (*x.shape[:dim], 1, *x.shape[dim:]))


def flatten(x, start_dim=0, end_dim=-1):
    """x with the dimensions from start_dim to end_dim made one."""
    start, end = _positive(start_dim, x.ndim), _positive(end_dim, x.ndim)
    if start > end:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    size = math.prod(x.shape[start : end + 1])
    return reshape(x, (*x.shape[:start], size, *x.shape[end + 1 :]))


def unflatten(x, dim, sizes):
    """x with one dimension split into several; one size may be −1."""
    dim = _positive(dim, x.ndim)
    known = math.prod(n for n in sizes if n != -1)
    sizes = tuple(x.shape[dim] // max(known, 1) if n == -1 else n for n in sizes)
    return reshape(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


def broadcast_tensors(*tensors):
    """All tensors expanded to the shape that they broadcast to."""
    shape = broadcast_shapes(*(t.shape for t in tensors))
    return tuple(expand(t, shape) for t in tensors)


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


@op(promote="same")
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


def cat(tensors, dim=0):
    """The tensors one after the other along `dim`; their other sizes are equal."""
    return cat_(*_some("cat", tensors, ValueError), dim=dim)


@op(promote="same")
def stack_(*tensors, dim=0):
    """The tensors along a new dimension.    ∂xᵢ = g[i]"""
    axis, n = _positive(dim, len(tensors[0].shape) + 1), len(tensors)

    def pull(g):
        return [g[(slice(None),) * axis + (i, ...)] for i in range(n)]

    try:
        return xp(tensors[0]).stack(list(tensors), axis=axis), pull
    except ValueError:
        raise RuntimeError("only tensors of one shape can be stacked") from None


def stack(tensors, dim=0):
    """The tensors, all of one shape, along a new dimension `dim`."""
    return stack_(*_some("stack", tensors), dim=dim)


def _some(name, tensors, kind=RuntimeError):
    tensors = tuple(tensors)
    if not all(isinstance(t, TensorBase) for t in tensors):
        raise TypeError(f"{name}: tensors are needed, got {describe(tensors)}")
    if not tensors:
        raise kind(f"{name}: at least one tensor is needed, got none")
    return tensors


@op(view=True)
def split_(x, /, lengths, dim):
    """Consecutive parts of x along dim, of the given lengths.    ∂x = the parts of g joined"""
    axis, parts, start = _positive(dim, len(x.shape)), [], 0
    for n in lengths:
        parts.append(x[(slice(None),) * axis + (slice(start, start + n), ...)])
        start += n
    return tuple(parts), lambda g: xp(g[0]).concat(list(g), axis=axis)


def split(x, split_size_or_sections, dim=0):
    """Consecutive parts of x along `dim`: of one length (the last may be shorter) or of several."""
    n = x.shape[_positive(dim, x.ndim)]
    lengths = split_size_or_sections
    if isinstance(lengths, int):
        if lengths <= 0:
            raise RuntimeError(f"split: the parts need a length above 0, got {lengths}")
        lengths = [min(lengths, n - start) for start in range(0, n, lengths)] or [0]
    if sum(lengths) != n:
        raise RuntimeError(f"split: the lengths {list(lengths)} must add up to the size {n}")
    return split_(x, tuple(lengths), dim)


def chunk(x, chunks, dim=0):
    """At most `chunks` parts of x along `dim`, all of one length but for the last."""
    n = x.shape[_positive(dim, x.ndim)]
    if chunks < 1:
        raise RuntimeError(f"chunk: at least one part is needed, got {chunks}")
    return split(x, max(1, -(-n // chunks)), dim)


@op(view=True)
def unbind_(x, /, dim):
    """The slices of x along dim, without that dimension.    ∂x = the gradients stacked"""
    axis = _positive(dim, len(x.shape))
    before = (slice(None),) * axis
    parts = tuple([x[(*before, i, ...)] for i in range(x.shape[axis])])
    return parts, lambda g: xp(g[0]).stack(list(g), axis=axis)


def unbind(x, dim=0):
    """The slices of x along `dim`, without that dimension, as a tuple."""
    if not x.ndim:
        raise IndexError("unbind: a single number has no dimension to be taken apart")
    return unbind_(x, dim) if x.shape[_positive(dim, x.ndim)] else ()


# ---- repeating, turning, cutting -----------------------------------------------------


def repeat(x, *repeats):
    """x laid side by side: repeats[i] times along dimension i, new ones in front."""
    repeats = sizes(repeats)
    if len(repeats) < x.ndim:
        raise RuntimeError(f"repeat: {x.ndim} dimensions need as many numbers, got {repeats}")
    shape = (1,) * (len(repeats) - x.ndim) + tuple(x.shape)
    apart = [n for size in shape for n in (1, size)]  # (a, b) -> (1, a, 1, b)
    wide = [n for r, size in zip(repeats, shape) for n in (r, size)]
    return reshape(
        expand(reshape(x, tuple(apart)), tuple(wide)),
        tuple(r * size for r, size in zip(repeats, shape)),
    )


def tile(x, *dims):
    """`repeat` that takes fewer numbers than x has dimensions; the first count 1."""
    dims = sizes(dims)
    return repeat(x, (1,) * (x.ndim - len(dims)) + dims)


@op
def roll_(x, /, shifts, dims):
    """x with its elements moved round.    ∂x = g moved back"""
    back = tuple(-s for s in shifts)
    return xp(x).roll(x, shifts, axis=dims), lambda g: xp(g).roll(g, back, axis=dims)


def roll(x, shifts, dims=None):
    """x with its elements moved by `shifts` along `dims`; what falls off comes back in front."""
    if dims is None:
        return reshape(roll(reshape(x, (-1,)), shifts, 0), tuple(x.shape))
    shifts, dims = sizes((shifts,)), sizes((dims,))
    if not shifts or len(shifts) != len(dims):
        raise RuntimeError(f"roll: as many shifts as dims are needed, got {shifts} and {dims}")
    return roll_(x, shifts, dims)


@op
def flip_(x, /, dims):
    """x with dimensions reversed.    ∂x = g reversed"""
    y = xp(x).asarray(xp(x).flip(x, axis=dims), copy=True)  # NumPy shows the same memory
    return y, lambda g: xp(g).flip(g, axis=dims)


def flip(x, dims):
    """x with the dimensions `dims` reversed."""
    return flip_(x, sizes((dims,))) if x.ndim else clone(x)


@op
def tril(x, /, diagonal=0):
    """The part of each matrix on and below a diagonal, zeros above.    ∂x = that part of g"""
    _matrices(x)
    return xp(x).tril(x, k=diagonal), lambda g: xp(g).tril(g, k=diagonal)


@op
def triu(x, /, diagonal=0):
    """The part of each matrix on and above a diagonal, zeros below.    ∂x = that part of g"""
    _matrices(x)
    return xp(x).triu(x, k=diagonal), lambda g: xp(g).triu(g, k=diagonal)


def _matrices(x):
    if len(x.shape) < 2:
        raise RuntimeError("a matrix or several are needed")
