"""Reductions made of operations."""

from __future__ import annotations

from typing import Any

from ...autograd import TensorBase
from ...autograd.fused import fused
from ...backends.dtypes import bool_
from ...typing import Dims, Dtype, Tensor, Tensors
from ..conversion import clone
from ..elementwise import sub
from ..exponentials import logaddexp
from ..indexing import where_
from ..logic import logical_xor
from ..reductions import cumsum, mean, std_, sum, var_
from ..shapes import _positive, reshape
from .elementwise import div
from .indexing import diagonal, narrow
from .shapes import cat, sizes


def sum_to_size(x: Tensor, *size: Any) -> Tensor:
    """x summed to a size that expands to x's: over what an expansion repeats."""
    size = sizes(size)
    new = x.ndim - len(size)
    dims = [i for i, n in enumerate(x.shape) if i < new or n != size[i - new]]
    if new < 0 or [i for i in dims if i >= new and size[i - new] != 1]:
        raise RuntimeError(f"sum_to_size: {size} does not expand to {tuple(x.shape)}")
    return reshape(sum(x, dims, True), size) if dims or not size else x


def nansum(
    x: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: Dtype | None = None
) -> Tensor:
    """Σ x, NaN counting 0."""
    return sum(where_(x, 0, (x == x)._data), dim, keepdim, dtype=dtype)


@fused
def nanmean(
    x: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: Dtype | None = None
) -> Tensor:
    """The mean of those elements that are not NaN."""
    total = nansum(x, dim, keepdim, dtype=dtype)
    return div(total, sum(x == x, dim, keepdim))


def var(x: Tensor, dim: Dims | bool | None = None, unbiased: bool | None = None,
        keepdim: bool = False, *, correction: float | None = 1) -> Tensor:  # fmt: skip
    """Σ (x − mean)² / (n − correction), the variance. unbiased=False stands for correction=0."""
    return var_(x, *_correction(dim, unbiased, correction), keepdim)


def std(x: Tensor, dim: Dims | bool | None = None, unbiased: bool | None = None,
        keepdim: bool = False, *, correction: float | None = 1) -> Tensor:  # fmt: skip
    """√var, the standard deviation. unbiased=False stands for correction=0."""
    return std_(x, *_correction(dim, unbiased, correction), keepdim)


def var_mean(x: Tensor, dim: Dims | bool | None = None, unbiased: bool | None = None,
             keepdim: bool = False, *, correction: float | None = 1) -> Tensors:  # fmt: skip
    """(var, mean)"""
    dim, correction = _correction(dim, unbiased, correction)
    return var_(x, dim, correction, keepdim), mean(x, dim, keepdim)


def std_mean(x: Tensor, dim: Dims | bool | None = None, unbiased: bool | None = None,
             keepdim: bool = False, *, correction: float | None = 1) -> Tensors:  # fmt: skip
    """(std, mean)"""
    dim, correction = _correction(dim, unbiased, correction)
    return std_(x, dim, correction, keepdim), mean(x, dim, keepdim)


def _correction(dim, unbiased, correction):
    """(dim, correction): a boolean may stand in the place of dim and means unbiased."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = int(unbiased)
    return dim, 1 if correction is None else correction


@fused
def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """ln Σ eˣ of the elements up to each one."""
    if not x.ndim:
        return clone(x)
    dim, n, span = _positive(dim, x.ndim), x.shape[dim] if x.ndim else 1, 1
    while span < n:  # each element has the span before it; now twice that (Hillis and Steele 1986)
        more = logaddexp(narrow(x, dim, span, n - span), narrow(x, dim, 0, n - span))
        x, span = cat([narrow(x, dim, 0, span), more], dim), 2 * span
    return x if span > 1 else clone(x)


@fused
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: Dims = -1) -> Tensor:
    """The area under points y, which are dx apart or stand at x: Σ width · ½ (left + right)."""
    return sum(_trapezoids(y, x, dx, dim), dim)


@fused
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: Dims = -1
) -> Tensor:
    """The area under points y up to each but the first; see `trapezoid`."""
    return cumsum(_trapezoids(y, x, dx, dim), dim)


def _trapezoids(y, x, dx, dim):
    dim = _positive(dim, y.ndim)
    n = y.shape[dim] - 1
    if n < 0:
        return y * 1.0
    if x is not None and x.ndim == 1 and y.ndim != 1:
        x = reshape(x, (-1,) + (1,) * (y.ndim - dim - 1))
    wide = dx if x is None else diff(x, dim=dim - y.ndim)
    return (narrow(y, dim, 0, n) + narrow(y, dim, 1, n)) * wide / 2.0


def diff(x: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None,
         append: Tensor | None = None) -> Tensor:  # fmt: skip
    """x[i + 1] − x[i] along `dim`, n times, of x with what is put before and after it."""
    if n < 0:
        raise RuntimeError(f"diff: n is at least 0, got {n}")
    dim = _positive(dim, x.ndim)
    x = cat([part for part in (prepend, x, append) if part is not None], dim) if n else x
    for _ in range(min(n, x.shape[dim])):
        later, earlier = narrow(x, dim, 1, x.shape[dim] - 1), narrow(x, dim, 0, x.shape[dim] - 1)
        x = logical_xor(later, earlier) if x.dtype is bool_ else sub(later, earlier)
    return x


def gradient(input: Tensor, *, spacing: Any = 1, dim: Dims | None = None,
             edge_order: int = 1) -> Tensors:  # fmt: skip
    """The slopes of sampled values along each of `dim`, or all, as a tuple.

    Within by central differences, exact for parabolas; at both ends exact for lines, with
    `edge_order=2` for parabolas, too (Fornberg 1988). `spacing` is the distance of neighbours, or
    one for each dim, or the coordinates along each dim, as tensors.
    """
    if edge_order not in (1, 2):
        raise RuntimeError(f"gradient: edge_order is 1 or 2, got {edge_order!r}")
    dims = range(input.ndim) if dim is None else sizes((dim,))
    dims = [_positive(d, input.ndim) for d in dims]
    several = isinstance(spacing, (list, tuple))
    if several and len(spacing) != len(dims):
        raise RuntimeError(f"gradient: {len(spacing)} spacings were given for {len(dims)} dims")
    steps = spacing if several else [spacing] * len(dims)
    return tuple(_slopes(input, d, step, edge_order) for d, step in zip(dims, steps))


def _slopes(f, dim, step, edge_order):
    n = f.shape[dim]
    if n <= edge_order:
        raise RuntimeError(
            f"gradient: {edge_order + 1} values are needed along dim {dim}, got {tuple(f.shape)}"
        )
    if isinstance(step, TensorBase) and step.ndim:
        if tuple(step.shape) != (n,):
            raise RuntimeError(
                f"gradient: {n} coordinates are needed along dim {dim}, got {tuple(step.shape)}"
            )
        step = reshape(diff(step), (-1, *(1,) * (f.ndim - 1 - dim)))
    rise = div(diff(f, dim=dim), step)  # the slope of each line between two neighbours
    if n == 2:
        return cat([rise, rise], dim)

    def part(x, start, length):  # of x, or the one number that it is
        return narrow(x, -f.ndim + dim, start, length) if isinstance(x, TensorBase) else x

    left, right = part(step, 0, n - 2), part(step, 1, n - 2)
    lower, upper = narrow(rise, dim, 0, n - 2), narrow(rise, dim, 1, n - 2)
    if isinstance(step, TensorBase):
        within = (right * lower + left * upper) / (left + right)
    else:  # the value in the middle counts for nothing
        within = div(sub(narrow(f, dim, 2, n - 2), narrow(f, dim, 0, n - 2)), 2 * step)
    ends = narrow(rise, dim, 0, 1), narrow(rise, dim, n - 2, 1)
    if edge_order == 2:  # the lines' slopes are those in their middles: half a step further
        bend = (upper - lower) / (left + right)
        first, last = narrow(bend, dim, 0, 1), narrow(bend, dim, n - 3, 1)
        ends = ends[0] - part(step, 0, 1) * first, ends[1] + part(step, n - 2, 1) * last
    return cat([ends[0], within, ends[1]], dim)


def trace(x: Tensor) -> Tensor:
    """Σ of the diagonal of a matrix."""
    if x.ndim != 2:
        raise RuntimeError(f"trace: a matrix is needed, got shape {tuple(x.shape)}")
    return sum(diagonal(x))
