"""The names of `mt.linalg`: norms, inverses, determinants, factorisations."""

from ..autograd.errors import LinAlgError as LinAlgError
from .composite.linear_algebra import cross
from .composite.lu import cholesky_ex, inv_ex, lu, lu_factor, lu_factor_ex, solve_ex
from .composite.lu import linalg_lu_solve as lu_solve
from .composite.matrices import (
    cholesky,
    diagonal,
    eigh,
    eigvalsh,
    lstsq,
    matrix_norm,
    matrix_power,
    matrix_rank,
    multi_dot,
    norm,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
    svd,
    vander,
    vecdot,
)
from .composite.matrices import cholesky_solve as cholesky_solve  # PyTorch has it beside `linalg`
from .linear_algebra import matmul
from .matrices import det, inv, matrix_exp, svdvals
from .reductions import vector_norm

__all__ = [
    "cholesky", "cholesky_ex", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "inv_ex",
    "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm",
    "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve",
    "solve_ex", "solve_triangular", "svd", "svdvals", "vander", "vecdot", "vector_norm",
]  # fmt: skip
