"""Operations on matrices: inverses, determinants, factorisations.

A is a matrix or, with dimensions in front, a batch of them; ᵀ transposes the last two dimensions.
Sources of the derivatives: Giles, An extended collection of matrix derivative results (2008);
Seeger et al., Auto-differentiating linear algebra (arXiv:1710.08717).
"""

import math

from ..autograd import TensorBase, op
from ..autograd.errors import finite
from ..backends import backend_of, xp
from ..backends.dtypes import FLOAT

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


# ---- helpers -------------------------------------------------------------------------


def _T(x):
    return xp(x).matrix_transpose(x)


def _square(A):
    """Raise RuntimeError unless A is made of square matrices of floats."""
    if len(A.shape) < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError("square matrices are needed")
    if backend_of(A).dtype(A).rank != FLOAT:
        raise RuntimeError("a floating-point tensor is needed; convert with .float()")


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
