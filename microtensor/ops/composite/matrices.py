"""Functions of `mt.linalg` that are made of operations: norms, solutions, least squares.

A is a matrix or, with dimensions in front, a batch of them; ᵀ transposes the last two dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...autograd.arguments import results
from ...autograd.errors import one_dtype
from ...backends.dtypes import dtype_of, finfo
from ...typing import Dims, Dtype, Tensor, TensorLike
from ..conversion import cast
from ..elementwise import abs, maximum, mul, square, sub
from ..linear_algebra import matmul
from ..matrices import cholesky_, eigh_, inv, pinv_, qr_, slogdet_, solve_, svd_, svdvals
from ..reductions import amax, amin, sum, vector_norm
from ..shapes import _positive, reshape, tril, triu
from .arranging import diag_embed
from .indexing import diagonal as _diagonal
from .indexing import where
from .shapes import movedim, transpose

# ---- norms ---------------------------------------------------------------------------


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *,
         dtype: Dtype | None = None) -> Tensor:  # fmt: skip
    """A vector norm along one dimension, a matrix norm of two; without `ord` the 2-norm of all."""
    dims = (dim,) if isinstance(dim, int) else dim
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dims is None:
        dims = tuple(range(A.ndim))
        if len(dims) not in (1, 2):
            raise RuntimeError(f"norm: with ord, vectors or matrices are needed, or dim; got {A!r}")
    if len(dims) == 1:
        return vector_norm(A, ord, dims, keepdim, dtype=dtype)
    return matrix_norm(A, ord, dims, keepdim, dtype=dtype)


def matrix_norm(A: Tensor, ord: Any = "fro", dim: Dims = (-2, -1), keepdim: bool = False, *,
                dtype: Dtype | None = None) -> Tensor:  # fmt: skip
    """ "fro": √Σ a²; "nuc": Σ of the singular values; ±2: the largest or smallest of them;

    ±1 and ±inf: the largest or smallest Σ |a| of the columns and of the rows.
    """
    A = A if dtype is None else cast(A, dtype_of(dtype))
    rows, columns = (_positive(d, A.ndim) for d in dim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    if ord not in ("nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise RuntimeError(f"matrix_norm: there is no norm {ord!r}")
    A = movedim(A, (rows, columns), (-2, -1))
    if ord == "nuc":
        y = sum(svdvals(A), -1)
    else:
        along = svdvals(A) if ord in (2, -2) else sum(abs(A), -2 if ord in (1, -1) else -1)
        y = (amax if ord > 0 else amin)(along, -1) if along.shape[-1] or ord < 0 else sum(along, -1)
    if keepdim:
        for d in sorted((rows, columns)):
            y = reshape(y, (*y.shape[:d], 1, *y.shape[d:]))
    return y


# ---- inverses and determinants -------------------------------------------------------


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X of A X = B, or of X A = B if not `left`. B holds matrices, or vectors."""
    if not left:
        return transpose(solve(transpose(A, -2, -1), transpose(B, -2, -1)), -2, -1)
    one_dtype("solve", A, B)
    vectors = B.ndim == 1 or B.ndim == A.ndim - 1 and tuple(B.shape) == tuple(A.shape[:-1])
    if not vectors:
        return solve_(A, B)
    return solve_(A, B[..., None])[..., 0]


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True,
                     unitriangular: bool = False) -> Tensor:  # fmt: skip
    """The X of A X = B (X A = B if not `left`), reading only the upper or lower triangle of A."""
    A = triu(A, int(unitriangular)) if upper else tril(A, -int(unitriangular))
    return solve(A + _identity(A) if unitriangular else A, B, left=left)


slogdet_result = results("linalg_slogdet", "sign", "logabsdet")


def slogdet(A: Tensor) -> Any:
    """(sign, logabsdet): |A| = sign · e^logabsdet, which does not overflow."""
    return slogdet_result(*slogdet_(A))


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied with itself: n times, of the inverse if n < 0."""
    if not -(2**63) <= n < 2**63:
        raise RuntimeError(f"matrix_power: n must fit 64 bits, got {n}")
    A = inv(A) if n < 0 else A
    power, n = None, -n if n < 0 else n
    while n:  # by the binary digits of n
        if n % 2:
            power = A if power is None else matmul(power, A)
        n //= 2
        A = matmul(A, A) if n else A
    return A * 0 + _identity(A) if power is None else power


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices, multiplied in the order that costs least."""
    tensors = list(tensors)
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot: at least two tensors are needed, got {len(tensors)}")
    while len(tensors) > 1:  # first the product over the largest dimension: it is gone at once
        i = max(range(len(tensors) - 1), key=lambda i: tensors[i].shape[-1])
        tensors[i : i + 2] = [matmul(tensors[i], tensors[i + 1])]
    return tensors[0]


# ---- factorisations ------------------------------------------------------------------


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower L of A = L Lᵀ, or the upper one of A = Lᵀ L, for a positive definite A."""
    L = cholesky_(A)
    return transpose(L, -2, -1) if upper else L


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0 … N − 1 of each element of x (…, n), as a last dimension."""
    x = x if x.ndim else reshape(x, (1,))
    N = x.shape[-1] if N is None else N
    if N < 2:
        raise RuntimeError(f"vander: N is at least 2, got {N}")
    return x[..., None] ** x.new_tensor(range(N))


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X of A X = B, where A = L Lᵀ, or Lᵀ L for an upper L."""
    L = transpose(triu(L), -2, -1) if upper else tril(L)
    half = solve_triangular(L, B, upper=False)
    return solve_triangular(transpose(L, -2, -1), half, upper=True)


eigh_result = results("linalg_eigh", "eigenvalues", "eigenvectors")


def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors), rising, of symmetric A, of which only one triangle is read."""
    return eigh_result(*eigh_(A, UPLO.upper() == "U"))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric A, in rising order."""
    return eigh(A, UPLO).eigenvalues


svd_result = results("linalg_svd", "U", "S", "Vh")


def svd(A: Tensor, full_matrices: bool = True) -> Any:
    """(U, S, Vh): A = U diag(S) Vh with orthonormal U and Vh, S falling.

    The full U and Vh are square; what that adds to them has no derivative.
    """
    return svd_result(*svd_(A, full_matrices))


qr_result = results("linalg_qr", "Q", "R")


def qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R): A = Q R with orthonormal columns of Q and an upper R."""
    if mode != "reduced":
        raise RuntimeError(f'qr: only the mode "reduced" is there, got {mode!r}')
    return qr_result(*qr_(A))


# ---- least squares -------------------------------------------------------------------


def pinv(A: Tensor, rcond: TensorLike | None = None, hermitian: bool = False, *,
         atol: TensorLike | None = None, rtol: TensorLike | None = None) -> Tensor:  # fmt: skip
    """The pseudo-inverse V diag(1 / s) Uᵀ; singular values up to max(atol, rtol·largest) count 0.

    `rcond` is rtol; of a hermitian A only the lower triangle is read.
    """
    A, rtol = _symmetric(A) if hermitian else A, rcond if rtol is None else rtol
    s = svdvals(A.detach())
    if not s.numel():
        return transpose(A, -2, -1) * 0
    top = amax(s, -1)
    return pinv_(A, where(top > 0, _cut(A, s, atol, rtol)[..., 0] / top, 0.0)._data)


def matrix_rank(A: Tensor, tol: TensorLike | None = None, hermitian: bool = False, *, atol:
                TensorLike | None = None, rtol: TensorLike | None = None) -> Tensor:  # fmt: skip
    """The number of singular values above max(atol, rtol·largest); `tol` is atol."""
    atol = tol if atol is None else atol
    s = svdvals((_symmetric(A) if hermitian else A).detach())
    return sum(s > _cut(A, s, atol, rtol), -1)


lstsq_result = results("linalg_lstsq", "solution", "residuals", "rank", "singular_values")


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values): the smallest X of those of least |A X − B|².

    As in PyTorch the residuals are there for a tall A of full rank unless the driver is "gelsy",
    as it is by default, the rank unless it is "gels", the singular values if it is "gelsd" or
    "gelss". One algorithm stands for all drivers.
    """
    vectors = B.ndim == A.ndim - 1
    columns = B[..., None] if vectors else B
    X = matmul(pinv(A, rcond), columns)
    rows, n = A.shape[-2:]
    rank, s = matrix_rank(A, rtol=rcond), svdvals(A.detach())
    residuals = s.new_zeros(0)
    if driver not in (None, "gelsy") and rows > n and bool((rank == n).all()):
        residuals = sum(square(sub(matmul(A, X), columns)), -2)
    return lstsq_result(
        X[..., 0] if vectors else X,
        residuals,
        rank.new_zeros(0) if driver == "gels" else rank,
        s if driver in ("gelsd", "gelss") else s.new_zeros(0),
    )


# ---- by other names ------------------------------------------------------------------


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, as a new last dimension."""
    return _diagonal(A, offset, dim1, dim2)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Σ x y along `dim`."""
    return sum(mul(x, y), dim)


# ---- helpers -------------------------------------------------------------------------


def _identity(A):
    """The identity matrix like A."""
    return diag_embed(A.new_ones(A.shape[-1]))


def _symmetric(A):
    """A with its lower triangle mirrored."""
    return tril(A) + transpose(tril(A, -1), -2, -1)


def _cut(A, s, atol, rtol):
    """The bound up to which singular values count as 0; by default by the dtype's precision."""
    if rtol is None:
        rtol = finfo(A.dtype).eps * max(A.shape[-2:]) if atol is None else 0.0
    top = amax(s.detach(), -1, True) if s.shape[-1] else s.detach()
    atol, rtol = (b[..., None] if hasattr(b, "ndim") else b for b in (atol, rtol))
    return top * rtol if atol is None else maximum(top * rtol, top * 0 + atol)
