"""Shapes and joins under PyTorch's forms, brought to operations."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from ...autograd import TensorBase
from ...autograd.errors import describe
from ...autograd.views import shares_memory
from ...typing import Dims, Tensor, Tensors
from ..conversion import clone
from ..shapes import (
    _positive,
    broadcast_shapes,
    cat_,
    expand,
    flip_,
    permute,
    reshape,
    roll_,
    split_,
    stack_,
    unbind_,
)


def sizes(args: Any) -> tuple[int, ...]:
    """Sizes given one by one, or as one sequence."""
    if len(args) == 1 and not isinstance(args[0], int):
        args = args[0] if isinstance(args[0], (tuple, list)) else (args[0],)
    return tuple(map(operator.index, args))


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """x with two dimensions exchanged."""
    n = x.ndim
    dims = list(range(n))
    dim0, dim1 = _positive(dim0, n), _positive(dim1, n)
    if dims:
        dims[dim0], dims[dim1] = dim1, dim0
    return permute(x, tuple(dims))


def movedim(x: Tensor, source: Dims, destination: Dims) -> Tensor:
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


def squeeze(x: Tensor, dim: Dims | None = None) -> Tensor:
    """x without its dimensions of size 1, or without those of `dim` that have size 1."""
    if dim is None:
        dims = range(x.ndim)
    else:
        dims = [_positive(d, x.ndim) for d in ((dim,) if isinstance(dim, int) else dim)]
    return reshape(x, tuple(n for d, n in enumerate(x.shape) if n != 1 or d not in dims))


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """x with a new dimension of size 1 at `dim`."""
    dim = _positive(dim, x.ndim + 1)
    return reshape(x, (*x.shape[:dim], 1, *x.shape[dim:]))


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """x with the dimensions from start_dim to end_dim made one."""
    start, end = _positive(start_dim, x.ndim), _positive(end_dim, x.ndim)
    if start > end:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    size = math.prod(x.shape[start : end + 1])
    return reshape(x, (*x.shape[:start], size, *x.shape[end + 1 :]))


def unflatten(x: Tensor, dim: int, sizes: Any) -> Tensor:
    """x with one dimension split into several; one size may be −1."""
    dim = _positive(dim, x.ndim)
    known = math.prod(n for n in sizes if n != -1)
    sizes = tuple(x.shape[dim] // max(known, 1) if n == -1 else n for n in sizes)
    return reshape(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


def broadcast_tensors(*tensors: Tensor) -> Tensors:
    """All tensors expanded to the shape that they broadcast to."""
    shape = broadcast_shapes(*(t.shape for t in tensors))
    return tuple(expand(t, shape) for t in tensors)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along `dim`; their other sizes are equal."""
    return cat_(*_some("cat", tensors, ValueError), dim=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors, all of one shape, along a new dimension `dim`."""
    return stack_(*_some("stack", tensors), dim=dim)


def _some(name, tensors, kind=RuntimeError):
    tensors = tuple(tensors)
    if not all(isinstance(t, TensorBase) for t in tensors):
        raise TypeError(f"{name}: tensors are needed, got {describe(tensors)}")
    if not tensors:
        raise kind(f"{name}: at least one tensor is needed, got none")
    return tensors


def split(x: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> Tensors:
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


def chunk(x: Tensor, chunks: int, dim: int = 0) -> Tensors:
    """At most `chunks` parts of x along `dim`, all of one length but for the last."""
    n = x.shape[_positive(dim, x.ndim)]
    if chunks < 1:
        raise RuntimeError(f"chunk: at least one part is needed, got {chunks}")
    return split(x, max(1, -(-n // chunks)), dim)


def unbind(x: Tensor, dim: int = 0) -> Tensors:
    """The slices of x along `dim`, without that dimension, as a tuple."""
    if not x.ndim:
        raise IndexError("unbind: a single number has no dimension to be taken apart")
    return unbind_(x, dim) if x.shape[_positive(dim, x.ndim)] else ()


# ---- repeating, turning, cutting -----------------------------------------------------


def repeat(x: Tensor, *repeats: Any) -> Tensor:
    """x laid side by side: repeats[i] times along dimension i, new ones in front."""
    repeats = sizes(repeats)
    if len(repeats) < x.ndim:
        raise RuntimeError(f"repeat: {x.ndim} dimensions need as many numbers, got {repeats}")
    shape = (1,) * (len(repeats) - x.ndim) + tuple(x.shape)
    apart = [n for size in shape for n in (1, size)]  # (a, b) -> (1, a, 1, b)
    wide = [n for r, size in zip(repeats, shape) for n in (r, size)]
    whole = expand(reshape(x, tuple(apart)), tuple(wide))
    out = reshape(whole, tuple(r * size for r, size in zip(repeats, shape)))
    return clone(out) if shares_memory(out, x) else out  # memory of its own, as in PyTorch


def tile(x: Tensor, *dims: Any) -> Tensor:
    """`repeat` that takes fewer numbers than x has dimensions; the first count 1."""
    dims = sizes(dims)
    return repeat(x, (1,) * (x.ndim - len(dims)) + dims)


def roll(x: Tensor, shifts: Dims, dims: Dims | None = None) -> Tensor:
    """x with its elements moved by `shifts` along `dims`; what falls off comes back in front."""
    if dims is None:
        return reshape(roll(reshape(x, (-1,)), shifts, 0), tuple(x.shape))
    shifts, dims = sizes((shifts,)), sizes((dims,))
    if not shifts or len(shifts) != len(dims):
        raise RuntimeError(f"roll: as many shifts as dims are needed, got {shifts} and {dims}")
    return roll_(x, shifts, dims)


def flip(x: Tensor, dims: Dims) -> Tensor:
    """x with the dimensions `dims` reversed."""
    return flip_(x, sizes((dims,))) if x.ndim else clone(x)
