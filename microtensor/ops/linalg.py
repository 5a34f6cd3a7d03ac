"""The functions of `mt.linalg`: norms, inverses, determinants, factorisations.

A is a matrix or, with dimensions in front, a batch of them; ᵀ transposes the last two dimensions.
Sources of the derivatives: Giles, An extended collection of matrix derivative results (2008);
Seeger et al., Auto-differentiating linear algebra (arXiv:1710.08717).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..autograd import TensorBase, op
from ..autograd.arguments import results
from ..autograd.errors import LinAlgError as LinAlgError
from ..autograd.errors import finite, one_dtype
from ..backends import backend_of, xp
from ..backends.dtypes import FLOAT, dtype_of, finfo
from ..typing import Dims, Dtype, Tensor, TensorLike
from .composite.arranging import diag_embed
from .composite.indexing import diagonal as _diagonal
from .composite.indexing import where
from .composite.linear_algebra import cross
from .composite.shapes import movedim, transpose
from .conversion import cast
from .elementwise import abs, maximum, mul, square, sub
from .linear_algebra import matmul
from .reductions import amax, amin, sum, vector_norm
from .shapes import _positive, reshape, tril, triu

__all__ = [
    "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "lstsq", "matmul",
    "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr",
    "slogdet", "solve", "solve_triangular", "svd", "svdvals", "vander", "vecdot", "vector_norm",
]  # fmt: skip


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


@op
def inv(A):
    """A⁻¹.    ∂A = −A⁻ᵀ g A⁻ᵀ"""
    _square(A)
    y = xp(A).linalg.inv(A)
    return y, lambda g: -(_T(y) @ g @ _T(y))


@op
def solve_(A, B):
    """The X of A X = B.    ∂B = A⁻ᵀ g,    ∂A = −∂B Xᵀ"""
    _square(A)
    X = xp(A).linalg.solve(A, B)
    return X, (
        lambda g: -(xp(g).linalg.solve(_T(A), g) @ _T(X)),
        lambda g: xp(g).linalg.solve(_T(A), g),
    )


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


@op
def det(A):
    """|A|.    ∂A = g |A| A⁻ᵀ, the cofactors of A, which a singular matrix has, too"""
    _square(A)

    def pull(g):
        found = cofactors(A) if isinstance(A, TensorBase) else cofactors.function(A)[0]
        return g[..., None, None] * found

    return xp(A).linalg.det(A), pull


@op
def cofactors(A):
    """|A| A⁻ᵀ without a division: r U diag(Πₖ sₖ, k ≠ i) Vᵀ of A = U diag(s) Vᵀ, r = |U Vᵀ| = ±1.

    ∂A = r U (diag(Σᵢ pᵢⱼ hᵢᵢ) − (p h)ᵀ) Vᵀ, with h = Uᵀ g V and pᵢⱼ = Πₖ sₖ, k ≠ i, k ≠ j
    """
    U, s, Vh = xp(A).linalg.svd(finite(A))
    r, line = xp(A).linalg.det(U @ Vh)[..., None, None], backend_of(s).count_along(s)
    own = line[:, None] == line[None, :]
    others = backend_of(s).where(own, 1.0, s[..., None, :])
    y = r * (U * xp(s).prod(others, axis=-1)[..., None, :]) @ Vh

    def pull(g):
        h = _T(U) @ g @ _T(Vh)
        others = backend_of(s).where(own[:, None, :] | own, 1.0, s[..., None, None, :])
        p = backend_of(s).where(own, 0.0, xp(s).prod(others, axis=-1))
        own_h = xp(h).sum(backend_of(h).where(own, h, 0.0), axis=-1)
        inner = _diagonals(xp(h).sum(p * own_h[..., None, :], axis=-1)) - _T(p * h)
        return r * (U @ inner @ Vh)

    return y, pull


@op(several=True)
def slogdet_(A):
    """The sign and the logarithm of |A|.    ∂A = g A⁻ᵀ, g of the logarithm"""
    _square(A)
    sign, log = xp(A).linalg.slogdet(A)
    return (sign, log), lambda g: g[1][..., None, None] * _T(xp(A).linalg.inv(A))


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


@op
def matrix_exp(A):
    """eᴬ = 1 + A + A²/2! + …    ∂A = the upper right quarter of exp [[Aᵀ, g], [0, Aᵀ]]"""
    _square(A)

    def pull(g):
        T = _T(A)
        above, below = xp(g).concat([T, g], axis=-1), xp(g).concat([g * 0, T], axis=-1)
        whole = _exponential(xp(g).concat([above, below], axis=-2))
        return whole[..., : A.shape[-1], A.shape[-1] :]

    return _exponential(A), pull


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


@op
def cholesky_(A):
    """The lower L of A = L Lᵀ.

    ∂A = ½ (S + Sᵀ), S = L⁻ᵀ Φ(Lᵀ g) L⁻¹, Φ being the lower half with half of the diagonal
    """
    _square(A)
    L = xp(A).linalg.cholesky(finite(A))

    def pull(g):
        m = xp(g).tril(_T(L) @ g)
        inverse = xp(g).linalg.inv(L)
        s = _T(inverse) @ (m - 0.5 * _on_diagonal(m)) @ inverse
        return 0.5 * (s + _T(s))

    return L, pull


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


@op(several=True)
def eigh_(A, /, upper):
    """w, V of the symmetric A = V diag(w) Vᵀ.    ∂A = V (diag(∂w) + Vᵀ∂V / (wⱼ − wᵢ)) Vᵀ"""
    _square(A)
    w, V = xp(A).linalg.eigh(finite(_T(A) if upper else A))  # of which the lower triangle is read

    def pull(gs):
        g_w, g_V = gs
        inner = (_T(V) @ g_V) * _gaps(w) + _diagonals(g_w)
        s = V @ inner @ _T(V)
        return 0.5 * (s + _T(s))

    return (w, V), pull


eigh_result = results("linalg_eigh", "eigenvalues", "eigenvectors")


def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors), rising, of symmetric A, of which only one triangle is read."""
    return eigh_result(*eigh_(A, UPLO.upper() == "U"))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric A, in rising order."""
    return eigh(A, UPLO).eigenvalues


@op(several=True)
def svd_(A, /, full):
    """U, s, Vᵀ of A = U diag(s) Vᵀ, s falling.

    ∂A = U (J s + s K + diag(∂s)) Vᵀ + (1 − U Uᵀ) ∂U Vᵀ / s + U ∂Vᵀ (1 − V Vᵀ) / s,
    J and K the antisymmetric parts of Uᵀ∂U and Vᵀ∂V, over sⱼ² − sᵢ²
    """
    result = xp(A).linalg.svd(finite(A), full_matrices=full)
    s, n = result[1], result[1].shape[-1]
    U, Vh = result[0][..., :n], result[2][..., :n, :]

    def pull(gs):
        g_U, g_s, g_V = gs[0][..., :n], gs[1], _T(gs[2][..., :n, :])
        V, row, column = _T(Vh), s[..., None, :], s[..., :, None]
        safe = backend_of(s).where(s == 0, 1.0, s)
        j, k = (_gaps(s * s) * (_T(x) @ g) for x, g in ((U, g_U), (V, g_V)))
        inner = (j + _T(j)) * row + column * (k + _T(k)) + _diagonals(g_s)
        dA = U @ inner @ Vh
        if A.shape[-2] > n:  # else 1 − U Uᵀ is 0, and rounding is not to be divided by s
            dA = dA + (g_U - U @ (_T(U) @ g_U)) / safe[..., None, :] @ Vh
        if A.shape[-1] > n:
            dA = dA + U @ _T((g_V - V @ (_T(V) @ g_V)) / safe[..., None, :])
        return dA

    return tuple(result), pull


svd_result = results("linalg_svd", "U", "S", "Vh")


def svd(A: Tensor, full_matrices: bool = True) -> Any:
    """(U, S, Vh): A = U diag(S) Vh with orthonormal U and Vh, S falling.

    The full U and Vh are square; what that adds to them has no derivative.
    """
    return svd_result(*svd_(A, full_matrices))


@op
def svdvals(A):
    """The singular values of A, falling.    ∂A = U diag(g) Vᵀ"""
    U, s, Vh = xp(A).linalg.svd(finite(A), full_matrices=False)
    return s, lambda g: (U * g[..., None, :]) @ Vh


@op(several=True)
def qr_(A):
    """Q, R of A = Q R.    ∂A = (∂Q + Q C) R⁻ᵀ, C = the lower half of R ∂Rᵀ − ∂Qᵀ Q, mirrored"""
    Q, R = xp(A).linalg.qr(A)

    def pull(gs):
        n = min(A.shape[-2:])  # columns of a wide A beyond the n-th are Q times those of R
        g_Q, g_R = gs[0] + A[..., n:] @ _T(gs[1][..., n:]), gs[1][..., :n]
        m = R[..., :n] @ _T(g_R) - _T(g_Q) @ Q
        mirrored = xp(m).tril(m) + _T(xp(m).tril(m, k=-1))
        first = _T(xp(m).linalg.solve(R[..., :n], _T(g_Q + Q @ mirrored)))
        return xp(m).concat([first, Q @ gs[1][..., n:]], axis=-1)

    return (Q, R), pull


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


@op
def pinv_(A, /, rtol):
    """A⁺.    ∂A = −A⁺ᵀ g A⁺ᵀ + (1 − A A⁺) gᵀ A⁺ A⁺ᵀ + A⁺ᵀ A⁺ gᵀ (1 − A⁺ A)

    (Golub and Pereyra, The differentiation of pseudo-inverses, 1973)
    """
    P = xp(A).linalg.pinv(finite(A), rtol=rtol)

    def pull(g):
        left, right = _T(g) @ P @ _T(P), _T(P) @ P @ _T(g)
        return -(_T(P) @ g @ _T(P)) + (left - A @ (P @ left)) + (right - (right @ P) @ A)

    return P, pull


def matrix_rank(A: Tensor, tol: TensorLike | None = None, hermitian: bool = False, *, atol:
                TensorLike | None = None, rtol: TensorLike | None = None) -> Tensor:  # fmt: skip
    """How many singular values are above max(atol, rtol·largest); `tol` is atol."""
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


def _T(x):
    return xp(x).matrix_transpose(x)


def _square(A):
    """Raise RuntimeError unless A is made of square matrices of floats."""
    if len(A.shape) < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError("square matrices are needed")
    if backend_of(A).dtype(A).rank != FLOAT:
        raise RuntimeError("a floating-point tensor is needed; convert with .float()")


def _identity(A):
    """The identity matrix like A."""
    return diag_embed(A.new_ones(A.shape[-1]))


def _exponential(A):
    """The series for A / 2ⁿ, which is small, squared n times."""
    if isinstance(A, TensorBase):
        return matrix_exp(A)
    if 0 in A.shape:
        return A
    size = float(xp(A).max(xp(A).sum(xp(A).abs(A), axis=-2)))  # no eigenvalue is larger
    halvings = max(0, math.frexp(size)[1] + 1) if math.isfinite(size) else 0
    small = A / 2.0**halvings
    term = y = _diagonals(xp(A).ones_like(A[..., 0]))
    for k in range(1, 18):  # 2⁻¹⁷ / 17! is less than any precision
        term = term @ small / k
        y = y + term
    for _ in range(halvings):
        y = y @ y
    return y


def _on_diagonal(m):
    """m with zeros off its diagonal."""
    return xp(m).tril(xp(m).triu(m))


def _gaps(a):
    """1 / (aⱼ − aᵢ), 0 on the diagonal."""
    gap = a[..., None, :] - a[..., :, None]
    return backend_of(a).where(gap == 0, 0.0, 1 / backend_of(a).where(gap == 0, 1.0, gap))


def _diagonals(a):
    """Matrices with a on their diagonals."""
    line = backend_of(a).count_along(a)
    return backend_of(a).where(line[:, None] == line[None, :], a[..., None], 0.0)


def _symmetric(A):
    """A with its lower triangle mirrored."""
    return tril(A) + transpose(tril(A, -1), -2, -1)


def _cut(A, s, atol, rtol):
    """Below which a singular value counts as 0: without any bounds by the dtype's precision."""
    if rtol is None:
        rtol = finfo(A.dtype).eps * max(A.shape[-2:]) if atol is None else 0.0
    top = amax(s.detach(), -1, True) if s.shape[-1] else s.detach()
    atol, rtol = (b[..., None] if hasattr(b, "ndim") else b for b in (atol, rtol))
    return top * rtol if atol is None else maximum(top * rtol, top * 0 + atol)
