"""Reductions made of operations."""

from __future__ import annotations

from typing import Any

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


def trace(x: Tensor) -> Tensor:
    """Σ of the diagonal of a matrix."""
    if x.ndim != 2:
        raise RuntimeError(f"trace: a matrix is needed, got shape {tuple(x.shape)}")
    return sum(diagonal(x))
