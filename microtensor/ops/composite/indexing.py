"""Elements by index, mask and position: arguments in PyTorch's forms, brought to operations."""

from __future__ import annotations

import math
from typing import Any, overload

from ...autograd import TensorBase
from ...autograd.errors import describe, warn
from ...autograd.fused import fused
from ...backends import backend_of
from ...backends.dtypes import BOOL, FLOAT, INT, iinfo, int64
from ...typing import Tensor, TensorLike, Tensors
from ..conversion import clone
from ..indexing import (
    _outside,
    diagonal_,
    gather_,
    masked_fill_,
    nonzero_,
    scatter_,
    scatter_add_,
    scatter_amax_,
    scatter_multiply_,
    where_,
)
from ..shapes import _positive, broadcast_shapes, expand, reshape
from .shapes import movedim


def plain_index(index: Any, x: Tensor) -> Any:
    """An index with its tensors and lists as arrays. Raises IndexError where it does not fit."""
    if type(index) is list and len(index) < LONG and any(map(_is_no_number, index)):
        index = tuple(index)
    parts = index if isinstance(index, tuple) else (index,)
    if BASIC.issuperset(map(type, parts)):
        return index  # the array library itself says where it does not fit
    parts = [_mask_of_bytes(p) for p in parts]
    plain, dim, used = [], 0, sum(map(_width, parts))
    for part in parts:
        part, width = _plain_part(part, x, dim)
        dim += x.ndim - used if part is Ellipsis else width
        plain.append(part)
    if dim > x.ndim:
        raise IndexError(f"getitem: {dim} indices for a tensor of {x.ndim} dimensions")
    return tuple(plain) if isinstance(index, tuple) else plain[0]


LONG = 32  # PyTorch takes a list of so many for one index, whatever is in it


def _is_no_number(part):
    """Whether a list that has this part is a tuple of indices, as in PyTorch: [[0, 1], [1, 2]]."""
    return part is None or part is ... or isinstance(part, slice) or hasattr(part, "__len__")


def _plain_part(part, x, dim):
    """The part of an index at dimension `dim` of x, and how many dimensions it uses up.

    A tensor, list or bool becomes an array, a single integer an int.
    """
    if isinstance(part, TensorBase):
        part = part._data
    elif isinstance(part, (list, range)):
        part = backend_of(x._data).asarray(list(part), *(() if part else (int64,)))
    elif isinstance(part, bool) or _is_foreign(part, x):
        part = backend_of(x._data).asarray(part)
    if hasattr(part, "dtype"):
        rank = backend_of(part).dtype(part).rank
        if rank == BOOL:
            return part, part.ndim
        if rank != INT:
            raise IndexError(f"getitem: an index is made of integers or booleans, got {part.dtype}")
        part = part if part.ndim else int(part)
        _in_range(part, x, dim)
    elif isinstance(part, int):
        _in_range(part, x, dim)
    return part, int(part is not None)


def _is_foreign(part, x):
    """True if a part of an index is an array of another library than x."""
    if not hasattr(part, "__array__") or not getattr(part, "ndim", 0):
        return False
    return type(part) is not type(x._data)


BASIC = {int, slice, type(None), type(Ellipsis)}  # the parts of an index that make a view


def in_steps(index: Any) -> Any:
    """A plain index as one or two in turn: PyTorch picks by integers before it picks by arrays."""
    parts = index if isinstance(index, tuple) else (index,)
    if int not in map(type, parts) or not any(hasattr(p, "dtype") for p in parts):
        return (index,)
    first, then = [], []
    for part in parts:
        if type(part) is int:
            first.append(part)
            continue
        then.append(part)
        if part is Ellipsis:
            first.append(part)
        elif part is not None:
            first += [slice(None)] * _width(part)
    return tuple(first), tuple(then)


def _mask_of_bytes(part):
    """Bytes are a mask, as they were before there were booleans; other parts as they are."""
    if not str(getattr(part, "dtype", "")).endswith("uint8"):
        return part
    if not (part.ndim or isinstance(part, TensorBase)):  # a number of NumPy
        return part
    warn("a mask of uint8 is deprecated: use bool")
    return part != 0


def _width(part):
    """The number of dimensions that a part of an index uses up."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    is_mask = hasattr(part, "dtype") and "bool" in str(part.dtype)
    return part.ndim if is_mask else 1


def _in_range(part, x, dim):
    """Raise IndexError if an integer or an array of them points outside dimension dim of x."""
    if dim >= x.ndim:
        return
    n = x.shape[dim]
    part = backend_of(x._data).asarray(part) if isinstance(part, int) else part
    wrong = _outside(part, -n, n)
    if wrong is not None:
        raise IndexError(f"index {wrong} is out of range for dimension {dim} of size {n}")


def select(x: Tensor, dim: int, index: Any) -> Tensor:
    """x[index] along dimension `dim`, which is dropped."""
    return x[(slice(None),) * _positive(dim, x.ndim) + (index,)]


def narrow(x: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """`length` elements of x from `start` along dimension `dim`."""
    if not x.ndim:
        raise RuntimeError("narrow: a single number has no dimension to be cut")
    dim = _positive(dim, x.ndim)
    n = x.shape[dim]
    if isinstance(start, TensorBase) and (start.ndim or start.dtype.rank != INT):
        raise RuntimeError(f"narrow: the start is one whole number, got {describe([start])}")
    if not -n <= start <= n:
        raise IndexError(f"narrow: the start lies within {-n} … {n}, got {start}")
    start = start + n if start < 0 else start
    if not start <= start + length <= n:
        raise RuntimeError(f"narrow: {length} elements from {start} are not within a size of {n}")
    return x[(slice(None),) * dim + (slice(start, start + length),)]


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of x at the positions `index` (1-d) along dimension `dim`."""
    dim, index = _positive(dim, x.ndim), index if index.ndim else reshape(index, (1,))
    if index.ndim > 1:
        raise IndexError(f"index_select: a 1-d index is needed, got shape {tuple(index.shape)}")
    _check_positions("index_select", index, x.shape[dim] if x.ndim else 1, IndexError)
    return x[(slice(None),) * dim + (index,)] if x.ndim else x


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements of x where mask is true, as one row."""
    shape = _broadcast(x, mask)
    return expand(x, shape)[expand(mask, shape)]


def _broadcast(*tensors):
    return broadcast_shapes(*(t.shape for t in tensors))


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonals of the matrices in dimensions dim1 and dim2, as a new last dimension."""
    x = movedim(x, (dim1, dim2), (-2, -1))
    rows, columns = x.shape[-2:]
    down, up = max(-offset, 0), max(offset, 0)
    n = max(0, min(rows - down, columns - up))
    return diagonal_(x[..., down : down + n, up : up + n])


def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = x[index[i][j]][j] for dim = 0: x picked along `dim` by an index of its rank."""
    if not x.ndim and index.ndim == 1:
        x = reshape(x, (1,))
    if not index.numel():  # which fits any tensor
        return reshape(x, (-1,))[:0].reshape(index.shape)
    if x.ndim == 1 and not index.ndim:
        return reshape(gather(x, dim, reshape(index, (1,))), ())
    _check_along("gather", x, dim, index)
    return gather_(x, index, dim)


def _as_rows(x, *others):
    """The others; where x is a row, single numbers among them as rows of one, as in PyTorch."""
    return [
        reshape(t, (1,)) if isinstance(t, TensorBase) and x.ndim == 1 and not t.ndim else t
        for t in others
    ]


def _check_along(name, x, dim, index, source=None):
    """Raise RuntimeError unless an index along `dim` fits x, and the source fits the index."""
    dim = _positive(dim, x.ndim)
    for fits, where in ((x, dim), (source, None)):
        if (
            isinstance(fits, TensorBase)
            and index.numel()
            and (
                fits.ndim != index.ndim
                or any(
                    n > m and d != where for d, (n, m) in enumerate(zip(index.shape, fits.shape))
                )
            )
        ):
            raise RuntimeError(
                f"{name}: an index of shape {tuple(index.shape)} does not fit a tensor of shape "
                f"{tuple(fits.shape)}: as many dimensions, none of them larger, are needed"
            )
    if isinstance(source, TensorBase) and source.dtype is not x.dtype:
        raise RuntimeError(f"{name}: the source is {source.dtype}, the tensor {x.dtype}")
    _check_positions(name, index, x.shape[dim] if x.ndim else 1, RuntimeError)


def _check_positions(name, index, n, kind):
    """Raise RuntimeError for an index that is not of integers, `kind` for one outside 0 … n − 1."""
    _check_integers(name, index)
    wrong = _outside(index._data, 0, n)
    if wrong is not None:
        raise kind(f"{name}: index {wrong} is out of range: there are 0 to {n - 1}")


def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` with broadcasting; without dim, of all elements in a row."""
    if dim is None:
        return take_along_dim(reshape(x, (-1,)), reshape(indices, (-1,)), 0)
    dim = _positive(dim, x.ndim)
    shape = list(_broadcast(x[(slice(None),) * dim + (slice(0, 1),)],
                            indices[(slice(None),) * dim + (slice(0, 1),)]))  # fmt: skip
    shape[dim] = x.shape[dim]
    x = expand(x, tuple(shape))
    indices = where(indices < 0, indices + shape[dim], indices)
    shape[dim] = indices.shape[dim]
    return gather(x, dim, expand(indices, tuple(shape)))


def _check_integers(name, index):
    if index.dtype.rank != INT:
        raise RuntimeError(f"{name}: an index is made of integers, got {index.dtype}")


def scatter(x: Tensor, dim: int, index: Any, src: TensorLike | None = None, *, value: Any = None,
            reduce: str | None = None) -> Tensor:  # fmt: skip
    """x with out[index[i][j]][j] = src[i][j] for dim = 0; src may be a number.

    With reduce="add" it is added to what is there, and with "multiply" multiplied.
    """
    index, src = _as_rows(x, index, value if src is None else src)
    if reduce is None:
        _check_along("scatter", x, dim, index, src)
        return scatter_(x, index, _as_large(src, index), dim)
    if reduce not in ("add", "multiply"):
        raise RuntimeError(f'scatter: reduce is "add" or "multiply", got {reduce!r}')
    if not isinstance(src, TensorBase):
        src = x.new_full(tuple(index.shape), src)
    if reduce == "add":
        return scatter_add(x, dim, index, src)
    _check_along("scatter", x, dim, index, src)
    if not index.numel():
        return clone(x)
    return scatter_multiply_(x, index, _as_large(src, index), dim)


def _as_large(src, index):
    """The part of src that an index of smaller sizes uses."""
    if isinstance(src, TensorBase) and src.shape != index.shape:
        return src[tuple(slice(0, n) for n in index.shape)]
    return src


def scatter_add(x: Tensor, dim: int, index: Any, src: TensorLike) -> Tensor:
    """x with out[index[i][j]][j] += src[i][j] for dim = 0."""
    index, src = _as_rows(x, index, src)
    _check_along("scatter_add", x, dim, index, src)
    return scatter_add_(x, index, _as_large(src, index), dim)


@fused
def scatter_reduce(
    x: Tensor, dim: int, index: Any, src: TensorLike, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The sum, prod, mean, amax or amin of x and of what src[i][j] has for place index[i][j].

    Without `include_self` x does not count where there is something else.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"scatter_reduce: sum, prod, mean, amax or amin, got {reduce!r}")
    index, src = _as_rows(x, index, src)
    _check_along("scatter_reduce", x, dim, index, src)
    if not x.ndim:
        x, index, src = (reshape(t, (1,)) for t in (x, index, src))
        return reshape(scatter_reduce(x, 0, index, src, reduce, include_self=include_self), ())
    src, down = _as_large(src, index), reduce == "amin"
    if down:
        x, src = _descending(x), _descending(src)
    if not include_self:
        nothing = {"sum": 0, "mean": 0, "prod": 1}.get(reduce, _lowest(x.dtype))
        x = scatter_(x, index, x.new_full(tuple(index.shape), nothing), dim)
    if reduce == "prod":
        return scatter(x, dim, index, src, reduce="multiply")
    if reduce in ("amax", "amin"):
        y = scatter_amax_(x, index, src, dim) if index.numel() else x * 1
        return _descending(y) if down else y
    y = scatter_add_(x, index, src, dim)
    if reduce == "sum":
        return y
    start = x.new_ones(tuple(x.shape)) if include_self else x.new_zeros(tuple(x.shape))
    count = scatter_add_(start, index, src.new_ones(tuple(index.shape)), dim)
    count = where(count == 0, 1, count)
    return y / count if x.is_floating_point() else y // count


def _descending(x):
    """x with its order turned round: −x, or for whole numbers and booleans, which it fits, ~x."""
    return -x if x.is_floating_point() else ~x


def _lowest(dtype):
    """The lowest value of a dtype."""
    return False if dtype.rank == BOOL else -math.inf if dtype.rank == FLOAT else iinfo(dtype).min


@overload
def where(condition: Tensor) -> Tensors: ...
@overload
def where(condition: Tensor, a: TensorLike, b: TensorLike) -> Tensor: ...
def where(condition, a=None, b=None):
    """a where the boolean condition holds, else b; of a condition alone, where it holds."""
    if a is None and b is None:
        return tuple(unbind_columns(nonzero(condition)))
    condition = _mask_of_bytes(condition)
    if isinstance(condition, TensorBase):
        if not isinstance(a, TensorBase) and not isinstance(b, TensorBase):
            a = condition._full_like(a)
        if condition.dtype.rank != BOOL:
            raise RuntimeError(f"where: the condition is made of booleans, got {condition.dtype}")
        condition = condition._data
    return where_(a, b, condition)


def masked_fill(x: Tensor, mask: Tensor, value: TensorLike) -> Tensor:
    """x with `value` (a number or a 0-d tensor) where the boolean mask holds."""
    if mask.dtype.rank != BOOL:
        raise RuntimeError(f"masked_fill: the mask is made of booleans, got {mask.dtype}")
    if not isinstance(value, TensorBase):
        value = (bool, int, float)[x.dtype.rank](value)
    elif value.ndim or value.dtype.rank > x.dtype.rank:
        raise RuntimeError(f"masked_fill: {value!r} is not one element for a tensor of {x.dtype}")
    return masked_fill_(x, value, mask._data)


def nonzero(x: Tensor, *, as_tuple: bool = False) -> Any:
    """The positions (n, d) of the elements that are not zero, or a tuple of d columns."""
    positions = nonzero_(x if x.ndim else reshape(x, (1,)))
    if as_tuple:  # here, and only here, a single number counts as a row of one
        return unbind_columns(positions)
    return positions if x.ndim else positions[:, :0]


def argwhere(x: Tensor) -> Tensor:
    """The positions (n, d) of the elements that are not zero."""
    return nonzero(x)


def unbind_columns(positions) -> Any:
    return tuple(positions[:, i] for i in range(positions.shape[1]))
