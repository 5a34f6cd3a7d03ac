"""Constrained weights: with a learned length, of norm 1, orthogonal."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...autograd import no_grad
from ...tensor.creation import eye
from ...typing import Tensor
from ..functional import normalize
from ..module import Module
from .parametrize import register_parametrization

# ---- length and direction ------------------------------------------------------------


def length(v: Tensor, dim: int) -> Tensor:
    """The norms of the slices of v along dim; of all of v for None."""
    if dim is None or dim == -1:
        return ops.sqrt(ops.square(v).sum())
    dim %= v.ndim
    return ops.sqrt(ops.square(v).sum([d for d in range(v.ndim) if d != dim], keepdim=True))


class _WeightNorm(Module):
    """g · v / |v|"""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return v * (g / length(v, self.dim))

    def right_inverse(self, weight: Tensor) -> Any:
        return length(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Let `module.<name>` be g · v / |v|; returns the module.

    g is its original0, v its original1; the length is that of each slice along `dim`, of the whole
    for None (arXiv:1602.07868).
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


# ---- the largest singular value ------------------------------------------------------


def outputs_of(module: Module) -> Any:
    """The dimension of the outputs in the weight of a module."""
    return 1 if getattr(module, "transposed", False) else 0


def channels_first(weight: Tensor, dim: int) -> Any:
    """The weight as a matrix whose rows are its slices along dim."""
    return ops.flatten(ops.movedim(weight, dim, 0), 1)


@no_grad()
def direction(matrix: Tensor, x: Tensor, y: Any, eps: float) -> Any:
    """Set y to matrix x / |matrix x|, in place: a step of the power iteration."""
    y.copy_(normalize(matrix @ x, dim=0, eps=eps))


class _SpectralNorm(Module):
    """weight / σ, with its largest singular value σ = uᵀ W v."""

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if n_power_iterations <= 0:
            raise ValueError(
                f"spectral_norm: n_power_iterations is above 0, got {n_power_iterations}"
            )
        self.dim, self.eps, self.n_power_iterations = dim, eps, n_power_iterations
        if weight.ndim > 1:
            matrix = channels_first(weight.detach(), dim)
            for name, size in zip(("_u", "_v"), matrix.shape):
                start = matrix.new_empty(size).normal_()
                self.register_buffer(name, normalize(start, dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _iterate(self, matrix, steps):
        for _ in range(steps):
            direction(matrix, self._v, self._u, self.eps)
            direction(matrix.T, self._u, self._v, self.eps)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = channels_first(weight, self.dim)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # copies, for the derivative
        return weight / ops.dot(u, matrix @ v)

    def right_inverse(self, value: Any) -> Any:
        return value


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1,
                  eps: float = 1e-12, dim: int | None = None) -> Module:  # fmt: skip
    """Let `module.<name>` be the original over its largest singular value; returns the module.

    The singular value is estimated by 15 power iterations at first, and `n_power_iterations`
    whenever the weight is read in training. The rows of the matrix are the slices along `dim`, by
    default that of the outputs (arXiv:1802.05957).
    """
    dim = outputs_of(module) if dim is None else dim
    norm = _SpectralNorm(getattr(module, name), n_power_iterations, dim, eps)
    return register_parametrization(module, name, norm)


# ---- orthogonal matrices -------------------------------------------------------------


def _flip(q, r):
    """Q with the signs of its columns such that the diagonal of R is positive."""
    return q * ops.sign(ops.diagonal(r, 0, -2, -1))[..., None, :]


class _Orthogonal(Module):
    """A matrix whose columns, or rows if these are fewer, are orthonormal."""

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        n, k = X.shape[-2:]
        X = X.mT if n < k else X
        Q = self._reflected(X) if self.orthogonal_map == "householder" else self._rotated(X)
        if self.use_trivialization:
            Q = self.base @ Q
        return Q.mT if n < k else Q

    def _rotated(self, X):
        """A rotation from the skew-symmetric A = L − Lᵀ: eᴬ, or (1 − A/2)⁻¹ (1 + A/2)."""
        n, k = X.shape[-2:]
        L = ops.tril(X)
        if n > k:
            L = ops.cat([L, L.new_zeros(*L.shape[:-1], n - k)], -1)
        A = L - L.mT
        if self.orthogonal_map == "matrix_exp":
            return ops.linalg.matrix_exp(A)[..., :k]
        one = eye(n, dtype=A.dtype, device=A.device)
        return ops.linalg.solve(one - A / 2, one + A / 2)[..., :k]

    @staticmethod
    def _reflected(X):
        """The product of the reflections 1 − 2 v vᵀ / vᵀ v for the columns v of 1 + tril(X, −1)."""
        n, k = X.shape[-2:]
        one = eye(n, k, dtype=X.dtype, device=X.device)
        Q, V = one, ops.tril(X, -1) + one
        for i in reversed(range(k)):
            v = V[..., i : i + 1]
            Q = Q - (2 / (v * v).sum(-2, keepdim=True)) * v @ (v.mT @ Q)
        return Q * ops.diagonal(X, 0, -2, -1).trunc()[..., None, :]

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Any:
        if Q.shape != self.shape:
            raise ValueError(
                f"orthogonal: a matrix of shape {tuple(self.shape)} is needed, got {tuple(Q.shape)}"
            )
        if not self.use_trivialization:
            raise NotImplementedError(
                "orthogonal: without trivialization there is no way from the matrix to the original"
            )
        A = Q.mT if Q.shape[-2] < Q.shape[-1] else Q
        n, k = A.shape[-2:]
        if n > k or not self._orthogonal(A):
            more = A.new_empty(*A.shape[:-1], n - k).normal_()
            A = _flip(*ops.linalg.qr(ops.cat([A, more], -1)))
        self.base = A.clone()
        return -eye(*Q.shape[-2:], dtype=Q.dtype, device=Q.device).expand(*Q.shape).clone()

    @staticmethod
    def _orthogonal(Q):
        near = 10 * Q.shape[-1] * ops.finfo(Q.dtype).eps
        return bool((Q.mT @ Q - eye(Q.shape[-1], dtype=Q.dtype)).abs().max() < near)


def orthogonal(module: Module, name: str = "weight", orthogonal_map: str | None = None, *,
               use_trivialization: bool = True) -> Module:  # fmt: skip
    """Let the matrix `module.<name>` be orthogonal, or have orthonormal columns or rows.

    The map is "matrix_exp" (arXiv:1901.08428), "cayley", or "householder", the default for matrices
    that are not square. With `use_trivialization` the map's result is multiplied with a fixed
    orthogonal matrix made from the first value (arXiv:1909.09501). Returns the module.
    """
    weight = getattr(module, name)
    if weight.ndim < 2:
        raise ValueError(f"orthogonal: a matrix is needed, got shape {tuple(weight.shape)}")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            'orthogonal: the map is "matrix_exp", "cayley" or "householder", got '
            f"{orthogonal_map!r}"
        )
    if orthogonal_map == "householder" and not use_trivialization:
        raise NotImplementedError("orthogonal: householder goes with use_trivialization here")
    form = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, form, unsafe=True)
