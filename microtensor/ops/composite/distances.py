"""Norms of tensors, and how far apart they are."""

from .. import linalg
from ..elementwise import sub
from ..reductions import vector_norm
from .indexing import where


def norm(x, p="fro", dim=None, keepdim=False, dtype=None):
    """The p-norm of all elements, or along `dim`; "fro" means p = 2, "nuc" is a matrix norm."""
    if p == "nuc":
        return linalg.matrix_norm(x, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(x, 2 if p in ("fro", None) else p, dim, keepdim, dtype)


def dist(a, b, p=2):
    """The p-norm of a − b."""
    return vector_norm(sub(a, b), p)


def cdist(a, b, p=2.0, compute_mode=None):
    """How far each row of a (…, n, d) is from each row of b (…, m, d), by the p-norm: (…, n, m)."""
    return vector_norm(sub(a[..., :, None, :], b[..., None, :, :]), p, -1)


def logdet(A):
    """ln |A|; NaN where |A| < 0."""
    sign, size = linalg.slogdet(A)
    return where(sign < 0, float("nan"), size)
