"""One-hot rows, norms and distances."""

from __future__ import annotations

import math

from ... import ops
from ...autograd.fused import fused
from ...backends.dtypes import INT
from ...ops.composite.distances import _length
from ...tensor.creation import arange, triu_indices
from ...typing import Tensor

# ---- shapes and distances ------------------------------------------------------------


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers (…) as rows (…, num_classes) with a 1 at their place; as many as needed for −1."""
    if tensor.dtype.rank != INT:
        raise RuntimeError(f"one_hot: classes are integers, got {tensor.dtype}")
    if not tensor.numel() and num_classes <= 0:
        raise RuntimeError("one_hot: num_classes is needed for a tensor without elements")
    low, high = (int(tensor.min()), int(tensor.max())) if tensor.numel() else (0, -1)
    n = high + 1 if num_classes == -1 else num_classes
    if low < 0 or high >= n:
        raise RuntimeError(f"one_hot: class {low if low < 0 else high} is not among 0 … {n - 1}")
    return (tensor[..., None] == arange(n, device=tensor.device)).to("int64")


@fused
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """input divided by its p-norm along `dim`, or by eps where that is larger."""
    return input / ops.clamp(ops.norm(input, p, dim, True), eps)


@fused
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x₁·x₂ / (|x₁| |x₂|) along `dim`, no norm counted below eps."""
    x1, x2 = ops.broadcast_tensors(x1, x2)
    norms = (ops.clamp(ops.norm(x, 2, dim), eps) for x in (x1, x2))
    return ops.sum(x1 * x2, dim) / math.prod(norms)


@fused
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances of each row of (N, D) to each one below it: N (N − 1) / 2 numbers."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist: rows (N, D) are needed, got shape {tuple(input.shape)}")
    rows, below = triu_indices(len(input), len(input), 1, device=input.device)
    return _length(input[rows] - input[below], p)


@fused
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x₁ − x₂ + eps along the last dimension."""
    return ops.norm(x1 - x2 + eps, p, -1, keepdim)
