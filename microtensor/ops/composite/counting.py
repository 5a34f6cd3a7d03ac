"""Counting and looking up: which values there are, how often, and where one would stand.

Nothing here has a derivative. The work is NumPy's, on any device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd import TensorBase
from ...autograd.arguments import results
from ...backends import backend_of
from ...backends.dtypes import FLOAT, int32, int64
from ...typing import Shape, Tensor, TensorLike, Tensors
from ..indexing import put_at
from ..shapes import _positive


def _host(x):
    """A tensor as a NumPy array."""
    return backend_of(x._data).to_numpy(x._data)


def _there(array, like):
    """A NumPy array as a tensor where another one is."""
    return like._wrap(backend_of(like._data).asarray(np.asarray(array)))


def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """The number of times that each of 0, 1, 2 … occurs; with weights, their sums."""
    if x.ndim != 1 or x.dtype.rank == FLOAT or bool((x < 0).any()):
        raise RuntimeError("bincount: a row of whole numbers that are not negative is needed")
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength is at least 0, got {minlength}")
    n = max(minlength, int(x.max()) + 1 if x.numel() else 0)
    if weights is None:
        weights = x.new_ones(x.numel(), dtype=int64)
    elif weights.dtype.rank != FLOAT:
        weights = weights.double()
    return put_at(weights.detach(), (n,), (x.long()._data,))


def searchsorted(sorted_sequence: Tensor, values: TensorLike, *, out_int32: bool = False,
                 right: bool = False, side: str | None = None,
                 sorter: Tensor | None = None) -> Tensor:  # fmt: skip
    """The indices at which values fit into rising rows: before equal ones, or behind if `right`."""
    if side is not None:
        right = side == "right"
    rows, v = _host(sorted_sequence), np.asarray(_host(values) if _is(values) else values)
    if sorter is not None:
        rows = np.take_along_axis(rows, _host(sorter).copy(), -1)
    if rows.ndim > 1 and rows.shape[:-1] != v.shape[:-1]:
        raise RuntimeError(
            f"searchsorted: rows {rows.shape} and values {v.shape} must agree but for the last size"
        )
    side = "right" if right else "left"
    if rows.ndim == 1:
        found = np.searchsorted(rows, v, side)
    else:
        found = np.empty(v.shape, np.int64)
        for i in np.ndindex(rows.shape[:-1]):
            found[i] = np.searchsorted(rows[i], v[i], side)
    return _there(found, sorted_sequence).to(int32 if out_int32 else int64)


def _is(value):
    return isinstance(value, TensorBase)


def bucketize(
    x: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """The bucket between rising boundaries that each element falls in."""
    return searchsorted(boundaries, x, out_int32=out_int32, right=right)


def isin(elements: TensorLike, test_elements: TensorLike, *, assume_unique: bool = False,
         invert: bool = False) -> Tensor:  # fmt: skip
    """True for each element that is among the test elements."""
    like = elements if _is(elements) else test_elements
    a, b = (_host(e) if _is(e) else e for e in (elements, test_elements))
    return _there(np.isin(a, b, invert=invert), like)


def unique(x: Tensor, sorted: bool = True, return_inverse: bool = False,
           return_counts: bool = False, dim: int | None = None) -> Any:  # fmt: skip
    """The different elements, or slices along `dim`, in order; where each went; how often it came.

    They are in order whether `sorted` or not.
    """
    array = _host(x)
    if dim is not None:
        dim = _positive(dim, x.ndim)
    values, inverse, counts = np.unique(
        array, return_inverse=True, return_counts=True, axis=dim, equal_nan=False
    )
    inverse = inverse.reshape(array.shape if dim is None else (array.shape[dim],))
    return _chosen(x, values, inverse, counts, return_inverse, return_counts)


def unique_consecutive(
    x: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements, or slices along `dim`, without repetitions one after the other."""
    array = _host(x)
    rows = array.reshape(-1) if dim is None else np.moveaxis(array, dim, 0)
    changed = np.any(rows[1:] != rows[:-1], axis=tuple(range(1, rows.ndim)))
    new = np.concatenate([np.ones(min(len(rows), 1), bool), changed])
    starts = np.flatnonzero(new)
    values = rows[starts] if dim is None else np.moveaxis(rows[starts], 0, dim)
    inverse = (np.cumsum(new) - 1).reshape(array.shape if dim is None else -1)
    counts = np.diff(starts, append=len(rows))
    return _chosen(x, values, inverse, counts, return_inverse, return_counts)


def _chosen(x, values, inverse, counts, return_inverse, return_counts):
    """The requested results: a tensor, or a tuple of two or three."""
    out = [values] + [inverse] * return_inverse + [counts] * return_counts
    out = tuple(_there(o, x) for o in out)
    return out if len(out) > 1 else out[0]


def unravel_index(indices: Tensor, shape: Shape) -> Tensors:
    """Positions that count in row-major order as one index for each dimension."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return tuple(_there(i, indices) for i in np.unravel_index(_host(indices), shape))


def histc(x: Tensor, bins: int = 100, min: Any = 0, max: Any = 0) -> Tensor:
    """The number of elements in each of `bins` equal parts of min … max, or of their own range."""
    array = _host(x)
    if min == max:
        min, max = (array.min(), array.max()) if array.size else (0, 1)
    if min == max:
        min, max = min - 1, max + 1
    counts, _ = np.histogram(array[(array >= min) & (array <= max)], int(bins), (min, max))
    return _there(counts, x).to(x.dtype)


def histogram(x: Tensor, bins: int = 100, *, range: Any = None, weight: Tensor | None = None,
              density: bool = False) -> Any:  # fmt: skip
    """(hist, bin_edges): how many elements, or how much weight, is in each bin.

    `bins` is a number of equal bins over `range`, or their edges.
    """
    array = _host(x).reshape(-1)
    weights = None if weight is None else _host(weight).reshape(-1)
    if not _is(bins):
        low, high = range or ((array.min(), array.max()) if array.size else (0, 1))
        edges = np.linspace(low, high, int(bins) + 1) if low < high else int(bins)
    else:
        edges = _host(bins)
    with np.errstate(all="ignore"):  # the density of nothing is NaN
        counts, edges = np.histogram(array, edges, weights=weights, density=density)
    return histogram_result(_there(counts, x).to(x.dtype), _there(edges, x).to(x.dtype))


histogram_result = results("histogram", "hist", "bin_edges")
