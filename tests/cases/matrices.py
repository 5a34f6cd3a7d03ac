"""Inverses, determinants and factorisations."""

import math

import numpy as np

from microtensor.autograd import registry

from .table import case


def _definite(m, x):
    return x @ x.mT + m.eye(3, dtype=x.dtype, device=x.device)


def _numpy_definite(x):
    return x @ x.mT + np.eye(3)


case("norm", lambda x: np.linalg.norm(x, "nuc"), (3, 4), p="nuc").half = False
case("logdet", lambda x: np.linalg.slogdet(_numpy_definite(x))[1], (3, 3),
     call=lambda m, x: m.logdet(_definite(m, x))).half = False  # fmt: skip


def linear_algebra(name, reference, call, *shapes):
    """A row for a function of `linalg`, called with that namespace, and its operation."""
    case(name, reference, *shapes, call=lambda m, *xs: call(m, m.linalg, *xs)).half = False


linear_algebra("inv", lambda x: np.linalg.inv(_numpy_definite(x)),
               lambda m, l, x: l.inv(_definite(m, x)), (2, 3, 3))  # fmt: skip
linear_algebra("solve", lambda x, b: np.linalg.solve(_numpy_definite(x), b),
               lambda m, l, x, b: l.solve(_definite(m, x), b), (3, 3), (3, 2))  # fmt: skip
linear_algebra("solve", lambda x, b: np.linalg.solve(np.triu(_numpy_definite(x)), b),
               lambda m, l, x, b: l.solve_triangular(_definite(m, x), b, upper=True),
               (3, 3), (3, 2))  # fmt: skip
linear_algebra("det", lambda x: np.linalg.det(_numpy_definite(x)),
               lambda m, l, x: l.det(_definite(m, x)), (2, 3, 3))  # fmt: skip
case(
    "cofactors",
    lambda x: np.linalg.det(x)[:, None, None] * np.linalg.inv(x).mT,
    (2, 3, 3),
    call=lambda m, x: registry["cofactors"](x),
    torch=None,
).half = False
linear_algebra("slogdet", lambda x: np.linalg.slogdet(_numpy_definite(x))[1],
               lambda m, l, x: l.slogdet(_definite(m, x))[1], (2, 3, 3))  # fmt: skip
linear_algebra("cholesky", lambda x: np.linalg.cholesky(_numpy_definite(x)),
               lambda m, l, x: l.cholesky(_definite(m, x)), (2, 3, 3))  # fmt: skip
linear_algebra("eigh", lambda x: np.linalg.eigh(_numpy_definite(x))[0],
               lambda m, l, x: l.eigh(_definite(m, x))[0], (2, 3, 3))  # fmt: skip
linear_algebra("svd", lambda x: x,  # the product of the three again
               lambda m, l, x: (lambda u, s, v: (u * s) @ v)(*l.svd(x, full_matrices=False)),
               (3, 4))  # fmt: skip
linear_algebra("svdvals", np.linalg.svdvals, lambda m, l, x: l.svdvals(x), (3, 4))
linear_algebra("qr", lambda x: abs(np.linalg.qr(x)[0]),
               lambda m, l, x: m.abs(l.qr(x)[0]), (4, 3))  # fmt: skip
linear_algebra("matrix_exp", lambda x: sum(np.linalg.matrix_power(x, n) / math.factorial(n)
                                           for n in range(50)),
               lambda m, l, x: l.matrix_exp(x), (2, 3, 3))  # fmt: skip
linear_algebra("pinv", np.linalg.pinv, lambda m, l, x: l.pinv(x), (4, 3))
linear_algebra("pinv", lambda a, b: np.linalg.lstsq(a, b)[0],
               lambda m, l, a, b: l.lstsq(a, b)[0], (4, 3), (4, 2))  # fmt: skip


def _factors(m, x):
    return m.linalg.lu_factor(_definite(m, x))


case("lu_unpack", lambda x: np.eye(3) @ _numpy_definite(x), (2, 3, 3), torch=None,
     call=lambda m, x: (lambda P, L, U: P @ L @ U)(*m.lu_unpack(*_factors(m, x)))
     ).half = False  # fmt: skip
case("lu_solve", lambda b, x: np.linalg.solve(_numpy_definite(x), b), (3, 2), (3, 3), torch=None,
     call=lambda m, b, x: m.lu_solve(b, *_factors(m, x))).half = False  # fmt: skip
