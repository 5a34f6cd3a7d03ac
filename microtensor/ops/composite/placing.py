"""Elements by position under PyTorch's many names; made of getitem, setitem and put_at."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...autograd import TensorBase
from ...autograd.errors import one_dtype
from ...autograd.fused import fused
from ...backends.dtypes import bool_, int64
from ...typing import Pair, Shape, T, Tensor
from ..elementwise import add, mul
from ..indexing import _outside, put_at, setitem
from ..shapes import _positive, expand, reshape
from .arranging import ravel
from .indexing import _check_integers, masked_fill, plain_index


def _check(name, index, n):
    """Raise an error unless an index is made of integers in −n … n − 1."""
    _check_integers(name, index)
    wrong = _outside(index._data, -n, n)
    if wrong is not None:
        raise IndexError(f"{name}: index {wrong} is out of range: there are {-n} to {n - 1}")


def take(x: Tensor, index: Tensor) -> Tensor:
    """The elements of x, counted in row-major order, at an index of any shape."""
    _check("take", index, x.numel())
    return ravel(x)[index]


def as_strided(x: Tensor, size: Shape, stride: Pair, storage_offset: int = 0) -> Tensor:
    """At [i, j, …] the element storage_offset + i·stride[0] + j·stride[1] … of x's memory: a copy.

    x lies in memory in row-major order, without gaps.
    """
    if len(size) != len(stride) or not x.is_contiguous():
        raise RuntimeError(
            f"as_strided: a contiguous tensor and as many strides as sizes are needed, got strides "
            f"{x.stride()}, and {tuple(size)} by {tuple(stride)}"
        )
    size, stride = (tuple(map(operator.index, numbers)) for numbers in (size, stride))
    start = operator.index(storage_offset)
    if min((*size, *stride, start)) < 0:
        raise RuntimeError(
            f"as_strided: sizes, strides and offset are at least 0, got {size}, {stride}, {start}"
        )
    last = start + sum((n - 1) * step for n, step in zip(size, stride))
    if 0 not in size and last >= x.numel():
        raise RuntimeError(f"as_strided: element {last} is asked for, of {x.numel()}")
    if 0 in size:
        return x.new_empty(size)
    place = np.array(start)
    for n, step in zip(size, stride):
        place = place[..., None] + np.arange(n) * step
    return take(x, x.new_tensor(place, dtype=int64))


def put(x: Tensor, index: Any, source: Tensor, accumulate: bool = False) -> Tensor:
    """x with source put, or added, at an index that counts in row-major order."""
    _check("put", index, x.numel())
    flat = index_put(ravel(x), (ravel(index),), ravel(source), accumulate)
    return reshape(flat, tuple(x.shape))


@fused
def index_put(
    x: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False
) -> Tensor:
    """x with x[indices] = values, or += values, which then add up where a place comes twice."""
    one_dtype("index_put", x, values)
    index = plain_index(tuple(indices), x)
    if not accumulate:
        return setitem(x, values, index)
    shape = x.detach()[tuple(indices)].shape
    return add(x, put_at(expand(values, tuple(shape)), tuple(x.shape), index))


def _along(x, dim, index, name):
    """The index of x that an index along one dimension stands for."""
    dim = _positive(dim, x.ndim)
    index = index if index.ndim else reshape(index, (1,))
    n = x.shape[dim] if x.ndim else 1
    if index.ndim != 1:
        raise IndexError(f"{name}: a 1-d index is needed, got shape {tuple(index.shape)}")
    _check(name, index, n)
    return (slice(None),) * dim + (index._data,)


def _whole(function: T) -> T:
    """A function of x with dimensions, for a single number too: as a row of one."""

    def of_any(x: Tensor, dim: int, index: Tensor, source: Any = None, *, value: Any = None,
               **options: Any) -> Tensor:  # fmt: skip
        value = value if source is None else source
        if x.ndim:
            return function(x, dim, index, value, **options)
        value = (
            reshape(value, (-1,)) if isinstance(value, TensorBase) and value.ndim == 0 else value
        )
        return reshape(function(reshape(x, (1,)), dim, index, value, **options), ())

    of_any.__name__, of_any.__doc__ = function.__name__, function.__doc__
    return of_any


def _slices(name, x, dim, index, source, kind=RuntimeError):
    """The positions in x of the slices of source: as many as the index has, of x's other sizes."""
    index, dim = _along(x, dim, index, name), _positive(dim, x.ndim)
    shape = (*x.shape[:dim], index[-1].shape[0], *x.shape[dim + 1 :])
    if tuple(source.shape) != shape:
        raise kind(f"{name}: a source of shape {shape} is needed, got {tuple(source.shape)}")
    one_dtype(name, x, source)
    return index


@_whole
@fused
def index_add(x: Tensor, dim: int, index: Any, source: Tensor, *, alpha: float = 1) -> Tensor:
    """x with the slices of alpha·source added at positions along `dim`."""
    index = _slices("index_add", x, dim, index, source)
    source = source if alpha == 1 else mul(source, alpha)
    return add(x, put_at(source, tuple(x.shape), index))


@_whole
def index_copy(x: Tensor, dim: int, index: Any, source: Tensor) -> Tensor:
    """x with the slices of source put at positions along `dim`."""
    return setitem(x, source, _slices("index_copy", x, dim, index, source, IndexError))


@_whole
def index_fill(x: Tensor, dim: int, index: Any, value: Any) -> Tensor:
    """x with the slices at positions along `dim` filled with a number."""
    dim = _positive(dim, x.ndim)
    (*_, places) = _along(x, dim, index, "index_fill")
    value = reshape(value, ()) if isinstance(value, TensorBase) else value
    filled = put_at(x.new_ones(places.shape[0], dtype=int64), (x.shape[dim],), (places,)) > 0
    return masked_fill(x, reshape(filled, (-1,) + (1,) * (x.ndim - dim - 1)), value)


def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """x with the elements where mask is true taken from source, one after the other."""
    if mask.dtype is not bool_:
        raise RuntimeError(f"masked_scatter: a mask of booleans is needed, got {mask.dtype}")
    one_dtype("masked_scatter", x, source)
    shape = np.broadcast_shapes(tuple(x.shape), tuple(mask.shape))
    x, mask = expand(x, shape), expand(mask, shape)
    n = int(mask.sum())
    if n > source.numel():
        raise RuntimeError(f"masked_scatter: {n} elements are needed, got {source.numel()}")
    return setitem(x, ravel(source)[:n], mask._data)
