"""Arrangements of tensors that are made of other operations: no derivative of their own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...autograd import TensorBase
from ...autograd.errors import OutOfMemory
from ...backends import backend_of
from ...typing import Dims, Shape, Tensor, Tensors
from ..conversion import clone
from ..indexing import put_at, unfold_
from ..shapes import _positive, expand, reshape
from .indexing import diagonal, index_select, narrow
from .shapes import _some, broadcast_tensors, cat, flip, movedim, split, stack, transpose


def _positions(x, numbers):
    """Positions that NumPy has worked out, as a tensor where x is."""
    return x._wrap(backend_of(x._data).asarray(np.asarray(numbers, np.int64)))


def _with_dims(name, x, n):
    """x, which has at least n dimensions."""
    if x.ndim < n:
        raise RuntimeError(f"{name}: at least {n} dimensions are needed, got {tuple(x.shape)}")
    return x


# ---- one shape for another -----------------------------------------------------------


def conj(x: Tensor) -> Tensor:
    """x itself: nothing here is complex."""
    return x


def real(x: Tensor) -> Tensor:
    """x itself: nothing here is complex."""
    return x


def ravel(x: Tensor) -> Tensor:
    """All elements in one row."""
    return reshape(x, (-1,))


def broadcast_to(x: Tensor, size: Shape) -> Tensor:
    """x expanded to the shape `size`."""
    return expand(x, tuple(size))


def _each(function):
    """A function of one tensor that also takes several, or a sequence of them."""

    def of_each(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], TensorBase):
            return function(tensors[0])
        tensors = tensors[0] if len(tensors) == 1 else tensors
        return tuple(map(function, tensors))

    of_each.__name__, of_each.__doc__ = function.__name__, function.__doc__
    return of_each


@_each
def atleast_1d(x: Tensor) -> Any:
    """x, a single number as a row of one. Several tensors give a tuple."""
    return x if x.ndim else reshape(x, (1,))


@_each
def atleast_2d(x: Tensor) -> Any:
    """x, with dimensions of size 1 in front until there are two. Several tensors give a tuple."""
    return x if x.ndim > 1 else reshape(x, (1, -1))


@_each
def atleast_3d(x: Tensor) -> Any:
    """x, a matrix with a third dimension, a row with one on either side. Several give a tuple."""
    return x if x.ndim > 2 else reshape(x, (*x.shape, 1) if x.ndim == 2 else (1, -1, 1))


# ---- joining and taking apart --------------------------------------------------------


def hstack(tensors: Any) -> Tensor:
    """Side by side: along the second dimension, rows along their only one."""
    tensors = [atleast_1d(t) for t in _some("hstack", tensors)]
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1)


def vstack(tensors: Any) -> Tensor:
    """One below the other: along the first dimension; rows become matrices of one row."""
    return cat([atleast_2d(t) for t in _some("vstack", tensors)], 0)


def dstack(tensors: Any) -> Tensor:
    """One behind the other: along the third dimension."""
    return cat([atleast_3d(t) for t in _some("dstack", tensors)], 2)


def column_stack(tensors: Any) -> Tensor:
    """Side by side, rows as columns."""
    columns = [t if t.ndim > 1 else reshape(t, (-1, 1)) for t in _some("column_stack", tensors)]
    return cat(columns, 1)


def block_diag(*tensors: Any) -> Tensor:
    """Matrices along the diagonal of a larger one, zeros elsewhere."""
    tensors = [atleast_2d(t) for t in tensors]
    width, left, rows = sum(t.shape[1] for t in tensors), 0, []
    for t in tensors:
        height, n = t.shape
        right = width - left - n
        rows.append(cat([t.new_zeros(height, left), t, t.new_zeros(height, right)], 1))
        left += n
    return cat(rows, 0)


def split_with_sizes(x: Tensor, split_sizes: Sequence[int], dim: int = 0) -> Tensors:
    """Consecutive parts of x along `dim`, of these lengths."""
    return split(x, list(split_sizes), dim)


def tensor_split(
    x: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0
) -> Tensors:
    """Parts of x along `dim`: as many as said and of about one length, or cut at these places."""
    n, cuts = _with_dims("tensor_split", x, 1).shape[_positive(dim, x.ndim)], indices_or_sections
    if isinstance(cuts, TensorBase):
        cuts = cuts.tolist()
    if isinstance(cuts, int):
        if cuts < 1:
            raise RuntimeError(f"tensor_split: at least one part is needed, got {cuts}")
        if cuts >> 32:
            raise OutOfMemory(f"tensor_split: there is not enough memory for {cuts} parts")
        cuts = np.cumsum([n // cuts + (i < n % cuts) for i in range(cuts - 1)], dtype=int).tolist()
    cuts = [slice(*ends).indices(n) for ends in itertools.pairwise([0, *cuts, n])]
    return tuple(narrow(x, dim, start, max(stop - start, 0)) for start, stop, _ in cuts)


def _equal_parts(name, x, cuts, dim):
    """`tensor_split`, but where it is told how many parts, they must be of one length."""
    if isinstance(cuts, int) and (cuts < 1 or x.shape[dim] % cuts):
        raise RuntimeError(f"{name}: a size of {x.shape[dim]} has no {cuts} equal parts")
    return tensor_split(x, cuts, dim)


def hsplit(x: Tensor, indices_or_sections: int | Sequence[int]) -> Tensors:
    """Equal parts along the second dimension, of a row along its only one, or cut at places."""
    x = _with_dims("hsplit", x, 1)
    return _equal_parts("hsplit", x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(x: Tensor, indices_or_sections: int | Sequence[int]) -> Tensors:
    """Equal parts along the first dimension, or cut at places."""
    return _equal_parts("vsplit", _with_dims("vsplit", x, 2), indices_or_sections, 0)


def dsplit(x: Tensor, indices_or_sections: int | Sequence[int]) -> Tensors:
    """Equal parts along the third dimension, or cut at places."""
    return _equal_parts("dsplit", _with_dims("dsplit", x, 3), indices_or_sections, 2)


# ---- every one with every other ------------------------------------------------------


def meshgrid(*tensors: Any, indexing: str = "ij") -> Tensors:
    """For each row the grid of all rows that varies with it; "xy" exchanges the first two sizes."""
    tensors = (
        tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], TensorBase) else tensors
    )
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'meshgrid: indexing is "ij" or "xy", got {indexing!r}')
    n = len(tensors)
    across = [reshape(t, (1,) * i + (-1,) + (1,) * (n - i - 1)) for i, t in enumerate(tensors)]
    grids = broadcast_tensors(*across)
    swap = indexing == "xy" and n > 1
    return tuple(transpose(g, 0, 1) for g in grids) if swap else grids


def cartesian_prod(*tensors: Any) -> Tensor:
    """Every choice of one element from each row: (choices, number of rows)."""
    if len(tensors) == 1:
        return tensors[0]
    return stack([ravel(grid) for grid in meshgrid(*tensors)], 1)


def combinations(x: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Every choice of r elements of a row, in their order: (choices, r)."""
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    chosen = list(choose(range(len(x)), r))
    if not r:
        return x[:0]
    return x[_positions(x, np.reshape(chosen, (len(chosen), r)))]


# ---- turning and repeating -----------------------------------------------------------


def fliplr(x: Tensor) -> Tensor:
    """x with its second dimension reversed."""
    return flip(_with_dims("fliplr", x, 2), 1)


def flipud(x: Tensor) -> Tensor:
    """x with its first dimension reversed."""
    return flip(_with_dims("flipud", x, 1), 0)


def rot90(x: Tensor, k: int = 1, dims: Dims = (0, 1)) -> Tensor:
    """x turned by k quarters from the first of `dims` towards the second."""
    if len({*dims}) != 2 or len(dims) != 2:
        raise RuntimeError(f"rot90: two different dimensions are needed, got {dims}")
    a, b = (_positive(d, _with_dims("rot90", x, 2).ndim) for d in dims)
    if k % 4 == 0:
        return clone(x)
    if k % 4 == 2:
        return flip(x, (a, b))
    turned = transpose(x, a, b)
    return flip(turned, a if k % 4 == 1 else b)


def repeat_interleave(
    x: Tensor, repeats: Tensor | int, dim: int | None = None, *, output_size: Shape | None = None
) -> Tensor:
    """Each slice along `dim` repeated, all as often or each as often as is said for it.

    Without `dim` it is the elements in one row that are repeated.
    """
    if dim is None:
        x, dim = ravel(x), 0
    n = x.shape[_positive(dim, x.ndim)]
    repeats = repeats.tolist() if isinstance(repeats, TensorBase) else repeats
    return index_select(x, dim, _positions(x, np.repeat(np.arange(n), repeats)))


# ---- diagonals and windows -----------------------------------------------------------


def diag_embed(x: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices in dimensions dim1 and dim2 with the rows of x on a diagonal, zeros elsewhere."""
    n = x.shape[-1] + abs(offset)
    line = _positions(x, np.arange(x.shape[-1]))._data
    index = (..., line + max(-offset, 0), line + max(offset, 0))
    return movedim(put_at(x, (*x.shape[:-1], n, n), index), (-2, -1), (dim1, dim2))


def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix with a row on a diagonal; of a matrix, its diagonal."""
    if x.ndim not in (1, 2):
        raise RuntimeError(f"diag: a row or a matrix is needed, got shape {tuple(x.shape)}")
    return diag_embed(x, diagonal) if x.ndim == 1 else clone(_diagonal(x, diagonal))


_diagonal = diagonal


def diagflat(x: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of x on a diagonal."""
    return diag_embed(ravel(x), offset)


def unfold(x: Tensor, dimension: int, size: Shape, step: int) -> Tensor:
    """All windows of `size` elements along a dimension, `step` apart, as a new last dimension."""
    dim = _positive(dimension, x.ndim)
    if not x.ndim:
        return unfold(reshape(x, (1,)), 0, size, step)[0]
    if not 0 <= size <= x.shape[dim] or step < 1:
        raise RuntimeError(
            f"unfold: windows of {size}, {step} apart, do not fit a size of {x.shape[dim]}"
        )
    return unfold_(x, dim, size, step)
