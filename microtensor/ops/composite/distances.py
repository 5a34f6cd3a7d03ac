"""Norms of tensors, and how far apart they are."""

from __future__ import annotations

import math
from typing import Any

from ...autograd.fused import fused
from ...typing import Dims, Dtype, Tensor
from .. import linalg
from ..elementwise import abs, add, sub
from ..logic import isfinite
from ..reductions import amax, sum, vector_norm
from ..shapes import reshape
from .indexing import where


def norm(x: Tensor, p: Any = "fro", dim: Dims | None = None, keepdim: bool = False,
         dtype: Dtype | None = None) -> Tensor:  # fmt: skip
    """The p-norm of all elements, or along `dim`; "fro" means p = 2, "nuc" is a matrix norm."""
    if p == "nuc":
        return linalg.matrix_norm(x, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(x, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@fused
def dist(a: Tensor, b: Tensor, p: float = 2) -> Tensor:
    """The p-norm of a − b."""
    return vector_norm(sub(a, b), p)


@fused
def cdist(a: Tensor, b: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """Distances by the p-norm of the rows of a (…, n, d) and those of b (…, m, d): (…, n, m)."""
    if not p >= 0:
        raise RuntimeError(f"cdist: p is at least 0, got {p}")
    return _length(sub(a[..., :, None, :], b[..., None, :, :]), p)


def _length(d: Tensor, p: float) -> Tensor:
    """The p-norms along the last dimension. At p = ∞ each of equals gets the whole gradient.

    So do PyTorch's cdist and pdist; its norms share it.
    """
    if p != math.inf or not d.shape[-1]:
        return vector_norm(d, p, -1)
    size = abs(d)
    top = amax(size.detach(), -1, True)
    over = where((size == top) & isfinite(top), sub(size, top), 0.0)  # 0 with a slope
    return add(reshape(top, tuple(d.shape[:-1])), sum(over, -1))


def logdet(A: Any) -> Tensor:
    """ln |A|; NaN where |A| < 0."""
    sign, size = linalg.slogdet(A)
    return where(sign < 0, float("nan"), size)
