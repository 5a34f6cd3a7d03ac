"""LU factorisations of `mt.linalg`, and its functions that say how it went instead of raising.

A = P L U, with partial pivoting as LAPACK has it: the row of the largest element of a column comes
up. The order of the rows is found without a graph. For the derivatives the factors of the ordered
rows are then computed by blocks (Golub & Van Loan, Matrix Computations, 3.2), of which each step is
an operation: L and U of the first block, what they make of the blocks beside it, and the rest.
"""

from __future__ import annotations

import math
from typing import Any

from ...autograd.arguments import results
from ...autograd.errors import LinAlgError
from ...autograd.modes import no_grad
from ...typing import Tensor
from ..elementwise import abs
from ..matrices import inv
from ..reductions import argmax
from ..shapes import reshape, tril, triu
from .arranging import diag_embed
from .indexing import where
from .matrices import cholesky, solve, solve_triangular
from .shapes import cat, transpose

__all__ = ["lu_solve", "lu_unpack"]

lu_result = results("linalg_lu", "P", "L", "U")
lu_factor_result = results("linalg_lu_factor", "LU", "pivots")
lu_factor_ex_result = results("linalg_lu_factor_ex", "LU", "pivots", "info")
lu_unpack_result = results("lu_unpack", "P", "L", "U")
inv_ex_result = results("linalg_inv_ex", "inverse", "info")
cholesky_ex_result = results("linalg_cholesky_ex", "L", "info")
solve_ex_result = results("linalg_solve_ex", "result", "info")


# ---- factors -------------------------------------------------------------------------


def lu(A: Any, *, pivot: bool = True) -> Any:
    """(P, L, U): A = P L U with a permutation P, a lower L of ones on its diagonal, an upper U."""
    packed, pivots, _ = lu_factor_ex(A, pivot=pivot)
    return lu_result(*lu_unpack(packed, pivots))


def lu_factor(A: Any, *, pivot: bool = True) -> Any:
    """(LU, pivots): both factors in one matrix, and with which row each was exchanged, from 1."""
    return lu_factor_result(*lu_factor_ex(A, pivot=pivot)[:2])


def lu_factor_ex(A: Any, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """(LU, pivots, info): `lu_factor`, and which element of U's diagonal is the first 0, or 0.

    With `check_errors` a U that cannot be divided by raises LinAlgError.
    """
    _matrices("lu_factor", A)
    with no_grad():
        packed, pivots = _eliminated(A.detach().clone(), pivot)
        zero = packed.diagonal(dim1=-2, dim2=-1) == 0
        first = argmax(zero.to(packed.dtype), -1) + 1 if zero.shape[-1] else zero.sum(-1)
        info = where(zero.any(-1), first, 0).int()
    if check_errors and info.any():
        raise LinAlgError(f"lu_factor: U has zeros on its diagonal, the first at {info.tolist()}")
    if A.requires_grad:
        L, U = _by_blocks(A.gather(-2, _order(pivots, A.shape)[..., None].expand(A.shape)))
        packed = _side_by_side(L, U)
    return lu_factor_ex_result(packed, pivots, info)


def lu_method(A: Any, pivot: bool = True, get_infos: bool = False) -> Any:
    """`Tensor.lu`: (LU, pivots), and which pivot is 0 if asked for with `get_infos`."""
    found = lu_factor_ex(A, pivot=pivot)
    return tuple(found) if get_infos else tuple(found[:2])


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True,
              unpack_pivots: bool = True) -> Any:  # fmt: skip
    """(P, L, U) of what `lu_factor` gives; what is not asked for is an empty tensor."""
    _matrices("lu_unpack", LU_data)
    m, n = LU_data.shape[-2:]
    k = min(m, n)
    P = L = U = LU_data.new_empty(0)
    if unpack_data:
        L = tril(LU_data[..., :k], -1) + _ones_on_the_diagonal(LU_data, m, k)
        U = triu(LU_data[..., :k, :])
    if unpack_pivots:
        order = _order(LU_pivots, LU_data.shape)
        rows = LU_data.new_tensor(range(m)).to(order.dtype)
        P = (rows[:, None] == order[..., None, :]).to(LU_data.dtype)
    return lu_unpack_result(P, L, U)


def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """The X of A X = b, from `lu_factor(A)`: the older form of `linalg.lu_solve`."""
    return linalg_lu_solve(LU_data, LU_pivots, b)


def linalg_lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True,
                    adjoint: bool = False) -> Tensor:  # fmt: skip
    """The X of A X = B, or of Aᵀ X = B if `adjoint`, from `lu_factor(A)`.

    If not `left`, of X A = B or X Aᵀ = B.
    """
    if not left:
        X = linalg_lu_solve(LU, pivots, transpose(B, -2, -1), adjoint=not adjoint)
        return transpose(X, -2, -1)
    P, L, U = lu_unpack(LU, pivots)
    if adjoint:
        half = solve_triangular(transpose(U, -2, -1), B, upper=False)
        return P @ solve_triangular(transpose(L, -2, -1), half, upper=True, unitriangular=True)
    half = solve_triangular(L, transpose(P, -2, -1) @ B, upper=False, unitriangular=True)
    return solve_triangular(U, half, upper=True)


def _matrices(name, A):
    if A.ndim < 2 or not A.is_floating_point():
        raise RuntimeError(
            f"{name}: floating-point matrices are needed, got {A.dtype} of shape {tuple(A.shape)}"
        )


def _eliminated(a, pivot):
    """L below the diagonal and U, in the place of a, and the pivots (…, min(m, n))."""
    m, n = a.shape[-2:]
    before, a = a.shape[:-2], reshape(a, (math.prod(a.shape[:-2]), m, n))
    each = a.new_tensor(range(len(a))).long()
    pivots = a.new_zeros(len(a), min(m, n)).int()
    for k in range(min(m, n)):
        row = argmax(abs(a[:, k:, k]), 1) + k if pivot else each * 0 + k
        pivots[:, k] = row.int() + 1
        above, found = a[:, k].clone(), a[each, row].clone()
        a[each, row] = above
        a[:, k] = found
        head = a[:, k : k + 1, k]
        a[:, k + 1 :, k] /= where(head == 0, 1.0, head)  # below a pivot of 0 all is 0
        a[:, k + 1 :, k + 1 :] -= a[:, k + 1 :, k : k + 1] * a[:, k : k + 1, k + 1 :]
    return reshape(a, (*before, m, n)), reshape(pivots, (*before, min(m, n)))


def _order(pivots, shape):
    """The order of A's rows in L U (…, m), which the exchanges of `pivots` lead to one by one."""
    flat = reshape(pivots, (math.prod(pivots.shape[:-1]), pivots.shape[-1])).tolist()
    orders = []
    for exchanged in flat:
        order = list(range(shape[-2]))
        for k, row in enumerate(exchanged):
            order[k], order[row - 1] = order[row - 1], order[k]
        orders.append(order)
    return reshape(pivots.new_tensor(orders).long(), (*shape[:-2], shape[-2]))


def _by_blocks(A):
    """L and U of A = L U, by operations."""
    m, n = A.shape[-2:]
    k = min(m, n)
    if k <= 1:
        head = A[..., :k, :k]
        rest = A[..., k:, :k] / head if k else A[..., k:, :k]
        return cat([head * 0 + 1, rest], -2), A[..., :k, :]
    half = k // 2
    L, U = _by_blocks(A[..., :half, :half])
    right = solve_triangular(L, A[..., :half, half:], upper=False, unitriangular=True)
    below = solve_triangular(U, A[..., half:, :half], upper=True, left=False)
    last_L, last_U = _by_blocks(A[..., half:, half:] - below @ right)
    right_of_L = (last_L[..., :1, :] * 0).expand(*L.shape[:-1], k - half)
    below_U = (last_U[..., :1] * 0).expand(*last_U.shape[:-1], half)
    L = cat([cat([L, right_of_L], -1), cat([below, last_L], -1)], -2)
    U = cat([cat([U, right], -1), cat([below_U, last_U], -1)], -2)
    return L, U


def _side_by_side(L, U):
    """L below the diagonal and U, in one matrix (m, n)."""
    m, n = L.shape[-2], U.shape[-1]
    below, above = tril(L, -1), triu(U)
    if m > n:
        above = cat([above, above.new_zeros(*above.shape[:-2], m - n, n)], -2)
    elif n > m:
        below = cat([below, below.new_zeros(*below.shape[:-1], n - m)], -1)
    return below + above


def _ones_on_the_diagonal(like, m, k):
    ones = diag_embed(like.new_ones(k))
    return cat([ones, like.new_zeros(m - k, k)], 0) if m > k else ones


# ---- how it went ---------------------------------------------------------------------


def inv_ex(A: Any, *, check_errors: bool = False) -> Any:
    """(inverse, info): A⁻¹ and 0, or infinities and which pivot is 0 where A is singular.

    With `check_errors` that raises LinAlgError.
    """
    info = _singular("inv", A, check_errors)
    regular = info == 0
    inverse = inv(where(regular[..., None, None], A, diag_embed(A.new_ones(A.shape[-1]))))
    return inv_ex_result(where(regular[..., None, None], inverse, math.inf), info)


def solve_ex(A: Any, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info): `solve` and 0, or infinities and which pivot is 0 where A is singular."""
    info = _singular("solve", A, check_errors)
    regular = (info == 0)[..., None, None]
    X = solve(where(regular, A, diag_embed(A.new_ones(A.shape[-1]))), B, left=left)
    if X.ndim < A.ndim:
        regular = regular[..., 0]
    return solve_ex_result(where(regular, X, math.inf), info)


def _singular(name, A, check_errors):
    """The first pivot of each matrix that is 0, counted from 1; 0 for none."""
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"{name}: square matrices are needed, got {tuple(A.shape)}")
    info = lu_factor_ex(A.detach()).info
    if check_errors and info.any():
        raise LinAlgError(f"{name}: the matrix is singular, its pivot {info.tolist()} is 0")
    return info


def cholesky_ex(A: Any, *, upper: bool = False, check_errors: bool = False) -> Any:
    """(L, info): `cholesky` and 0, or NaN and the order of the first leading minor that is not
    positive definite.

    With `check_errors` that raises LinAlgError.
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"cholesky: square matrices are needed, got {tuple(A.shape)}")
    flat = reshape(A.detach(), (math.prod(A.shape[:-2]), *A.shape[-2:]))
    orders = [_first_not_positive(matrix) for matrix in flat]
    info = reshape(A.detach().new_tensor(orders).int(), A.shape[:-2])
    if check_errors and info.any():
        raise LinAlgError(f"cholesky: the leading minor {info.tolist()} is not positive definite")
    positive = (info == 0)[..., None, None]
    L = cholesky(where(positive, A, diag_embed(A.new_ones(A.shape[-1]))), upper=upper)
    return cholesky_ex_result(where(positive, L, math.nan), info)


def _first_not_positive(A):
    """The order of the first leading minor of A that has no Cholesky factor; 0 for none."""

    def has_factor(order):
        try:
            return bool(cholesky(A[:order, :order]).isfinite().all())
        except LinAlgError:
            return False

    n = A.shape[-1]
    if has_factor(n):
        return 0
    return next(order for order in range(1, n + 1) if not has_factor(order))
