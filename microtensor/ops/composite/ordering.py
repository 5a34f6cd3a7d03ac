"""Sorting, ranks, medians and quantiles, made of operations."""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np

from ...autograd import TensorBase
from ...autograd.arguments import results
from ...backends.dtypes import int64
from ...typing import Tensor, ValuesIndices
from ..conversion import clone
from ..elementwise import ceil, floor, lerp, maximum, minimum, round, sub
from ..logic import eq
from ..ordering import argsort
from ..reductions import amax, amin, argmax, argmin, sum
from ..shapes import _positive, reshape
from .counting import _host, _there
from .elementwise import clamp
from .indexing import gather, narrow, where
from .shapes import movedim


def sort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesIndices:
    """(values, indices): x in order along `dim`."""
    order = argsort(x, dim, descending)
    return return_types.sort(gather(x, dim, order), order)


def topk(
    x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesIndices:
    """(values, indices): the k largest, or smallest, elements along `dim`, in order."""
    n = x.shape[_positive(dim, x.ndim)] if x.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: k = {k} is not within 0 … {n}, the size of dimension {dim}")
    if x.ndim and 0 < 4 * k < n:
        chosen = _first_ranks(_host(movedim(x.detach(), dim, -1)), k, largest)
        chosen = movedim(_there(chosen, x), -1, dim)
        order = argsort(gather(x.detach(), dim, chosen), dim, largest)
        order = gather(chosen, dim, order)
        return return_types.topk(gather(x, dim, order), order)
    order = argsort(x, dim, largest)
    if x.ndim:
        order = narrow(order, dim, 0, k)
    return return_types.topk(gather(x, dim, order), order)


def _first_ranks(x, k, largest):
    """The positions of the k largest, or smallest, elements of each row of x (…, n), rising.

    NaN is larger than any number; of equals the first are taken.
    """
    rank = x.shape[-1] - k if largest else k - 1
    last = np.partition(x, rank, -1)[..., rank, None]
    nan, last_nan = x != x, last != last
    before = (x > last) | nan & ~last_nan if largest else (x < last) | ~nan & last_nan
    equal = (x == last) | nan & last_nan
    room = k - np.count_nonzero(before, -1)[..., None]
    chosen = before | equal & (np.cumsum(equal, -1) <= room)
    return np.nonzero(chosen)[-1].reshape(*x.shape[:-1], k)


@overload
def max(x: Tensor) -> Tensor: ...
@overload
def max(x: Tensor, dim: int, keepdim: bool = False) -> ValuesIndices: ...
@overload
def max(x: Tensor, dim: Tensor) -> Tensor: ...
def max(x: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
    """The largest element; (values, indices) along `dim`; or the larger of two tensors."""
    return _extreme(x, dim, keepdim, amax, argmax, return_types.max)


@overload
def min(x: Tensor) -> Tensor: ...
@overload
def min(x: Tensor, dim: int, keepdim: bool = False) -> ValuesIndices: ...
@overload
def min(x: Tensor, dim: Tensor) -> Tensor: ...
def min(x: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
    """The smallest element; (values, indices) along `dim`; or the smaller of two tensors."""
    return _extreme(x, dim, keepdim, amin, argmin, return_types.min)


def _extreme(x, dim, keepdim, of_all, position, result):
    if isinstance(dim, TensorBase):
        return (maximum if of_all is amax else minimum)(x, dim)
    if dim is None:
        return of_all(x)
    index = position(x, dim, True)
    return result(*_without(gather(x, dim, index), index, dim, keepdim))


def aminmax(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """(min, max) of all elements, or along `dim`."""
    return return_types.aminmax(amin(x, dim, keepdim), amax(x, dim, keepdim))


# ---- the middle, and what is there most often ----------------------------------------


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """(values, indices): the k-th smallest element along `dim`, counted from 1; NaN is largest."""
    n = x.shape[_positive(dim, x.ndim)] if x.ndim else 1
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue: k = {k} is not within 1 … {n}, the size of dimension {dim}")
    return return_types.kthvalue(*_ranked(x, argsort(x, dim), k - 1, dim, keepdim))


def _ranked(x, order, rank, dim, keepdim):
    """(values, indices): what stands at a rank, a number or a tensor, of the order along `dim`."""
    if x.ndim:
        if isinstance(rank, TensorBase):
            order = gather(order, dim, rank)
        else:
            order = narrow(order, dim, rank, 1)
    return _without(gather(x, dim, order), order, dim, keepdim)


def _without(values, index, dim, keepdim):
    """Both without the dimension of size 1, unless it is kept."""
    if not keepdim and values.ndim:
        dim = _positive(dim, values.ndim)
        shape = tuple(n for d, n in enumerate(values.shape) if d != dim)
        values, index = reshape(values, shape), reshape(index, shape)
    return values, index


@overload
def median(x: Tensor) -> Tensor: ...
@overload
def median(x: Tensor, dim: int, keepdim: bool = False) -> ValuesIndices: ...
def median(x, dim=None, keepdim=False):
    """The middle element, the lower of two, NaN if there is one; (values, indices) along `dim`."""
    return _median(x, dim, keepdim, return_types.median, skip_nan=False)


@overload
def nanmedian(x: Tensor) -> Tensor: ...
@overload
def nanmedian(x: Tensor, dim: int, keepdim: bool = False) -> ValuesIndices: ...
def nanmedian(x, dim=None, keepdim=False):
    """The median of the elements that are not NaN."""
    return _median(x, dim, keepdim, return_types.nanmedian, skip_nan=True)


def _median(x, dim, keepdim, result, skip_nan):
    if dim is None:
        if not x.numel():
            return x.new_full((), math.nan)
        return _median(reshape(x, (-1,)), 0, False, result, skip_nan).values
    n = x.shape[_positive(dim, x.ndim)] if x.ndim else 1
    if not n:
        raise IndexError("median: there must be at least one element to choose from")
    numbers = sum(eq(x, x), dim, True)  # which stand before the NaN
    if skip_nan:
        rank = clamp(sub(numbers, 1), 0) // 2
    else:
        rank = where(eq(numbers, n), (n - 1) // 2, clamp(numbers, max=n - 1))
    return result(*_ranked(x, argsort(x, dim), rank, dim, keepdim))


def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """(values, indices): the element found most often along `dim`, the smallest of several."""
    dim = _positive(dim, x.ndim)
    last = movedim(x, dim, -1) if x.ndim else reshape(x, (1,))
    if not last.shape[-1]:
        raise IndexError(f"mode: dimension {dim} of {tuple(x.shape)} has nothing to choose from")
    index = _there(_most_frequent(_host(last.detach())), x)
    picked = gather(last, -1, index)
    if not x.ndim:
        return return_types.mode(reshape(picked, ()), reshape(index, ()))
    return return_types.mode(
        *_without(movedim(picked, -1, dim), movedim(index, -1, dim), dim, keepdim)
    )


def _most_frequent(x):
    """The last position of the most frequent element of each row of x (…, n): (…, 1).

    Of several the smallest. In order, equal elements are neighbours.
    """
    order = np.argsort(x, -1, kind="stable")
    line = np.take_along_axis(x, order, -1)
    place, new = np.arange(x.shape[-1]), np.ones(x.shape, bool)
    new[..., 1:] = line[..., 1:] != line[..., :-1]
    start = np.maximum.accumulate(np.where(new, place, 0), -1)
    return np.take_along_axis(order, np.argmax(place - start, -1)[..., None], -1)


def quantile(x: Tensor, q: Tensor | float, dim: int | None = None, keepdim: bool = False, *,
             interpolation: str = "linear") -> Tensor:  # fmt: skip
    """The q-th quantile, 0 ≤ q ≤ 1; for a row of q, one for each in a new dimension 0.

    Between two elements: "linear", "lower", "higher", "nearest" or "midpoint".
    """
    return _quantile(x, q, dim, keepdim, interpolation, skip_nan=False)


def nanquantile(x: Tensor, q: Tensor | float, dim: int | None = None, keepdim: bool = False, *,
                interpolation: str = "linear") -> Tensor:  # fmt: skip
    """The quantile of the elements that are not NaN."""
    return _quantile(x, q, dim, keepdim, interpolation, skip_nan=True)


def _quantile(x, q, dim, keepdim, interpolation, skip_nan):
    q = q if isinstance(q, TensorBase) else x.new_tensor(q)
    if q.ndim > 1 or bool(((q < 0) | (q > 1)).any()):
        raise RuntimeError(f"quantile: q lies within 0 … 1, alone or in a row, got {q!r}")
    kept = tuple(1 if dim is None or d == _positive(dim, x.ndim) else n
                 for d, n in enumerate(x.shape))  # fmt: skip
    line = reshape(x, (-1,)) if dim is None or not x.ndim else movedim(x, dim, -1)
    line = sort(line).values
    n = line.shape[-1]
    numbers = sum(eq(line, line), -1, True)
    rank = q.reshape(-1) * clamp(sub(numbers, 1), 0)  # (…, number of q)
    if not skip_nan:
        rank = where(eq(numbers, n), rank, n - 1.0)
    below, above = floor(rank), ceil(rank)
    if interpolation == "nearest":
        below = above = round(rank)
    share = {
        "linear": rank - below, "nearest": 0.0, "lower": 0.0, "higher": 1.0, "midpoint": 0.5
    }.get(interpolation)  # fmt: skip
    if share is None:
        raise RuntimeError(f"quantile: there is no interpolation {interpolation!r}")
    low, high = gather(line, -1, below.long()), gather(line, -1, above.long())
    if interpolation == "midpoint":
        share = (above > below).to(x.dtype) * 0.5
    y = low if interpolation in ("lower", "nearest") else lerp(low, high, share)
    y = movedim(y, -1, 0)
    y = reshape(y, (y.shape[0], *(kept if keepdim else y.shape[1:])))
    return y if q.ndim else y[0]


def cummax(x: Tensor, dim: int) -> ValuesIndices:
    """(values, indices): the largest element so far along `dim`, the last of equals."""
    return return_types.cummax(*_running(x, dim, np.maximum))


def cummin(x: Tensor, dim: int) -> ValuesIndices:
    """(values, indices): the smallest element so far along `dim`, the last of equals."""
    return return_types.cummin(*_running(x, dim, np.minimum))


def _running(x, dim, better):
    """(values, indices) of the best element so far, and where it was last met. NaN is the best."""
    if not x.ndim:
        return clone(x), x.new_zeros((), dtype=int64)
    line = _host(movedim(x.detach(), dim, -1))
    met = (line == better.accumulate(line, -1)) | (line != line)
    index = np.maximum.accumulate(np.where(met, np.arange(line.shape[-1]), 0), -1)
    index = movedim(_there(index, x), -1, dim)
    return gather(x, dim, index), index


def msort(x: Tensor) -> Tensor:
    """x in order along its first dimension."""
    return sort(x, 0).values


class return_types:
    """The types of operations with two results."""

    max, min, sort, topk, median, nanmedian, mode, kthvalue, cummax, cummin = (
        results(name, "values", "indices")
        for name in "max min sort topk median nanmedian mode kthvalue cummax cummin".split()
    )
    aminmax = results("aminmax", "min", "max")
