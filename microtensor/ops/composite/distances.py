"""Norms of tensors, and how far apart they are."""

from __future__ import annotations

from typing import Any

from ...autograd.fused import fused
from ...typing import Dims, Dtype, Tensor
from .. import linalg
from ..elementwise import sub
from ..reductions import vector_norm
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
    return vector_norm(sub(a[..., :, None, :], b[..., None, :, :]), p, -1)


def logdet(A: Any) -> Tensor:
    """ln |A|; NaN where |A| < 0."""
    sign, size = linalg.slogdet(A)
    return where(sign < 0, float("nan"), size)
