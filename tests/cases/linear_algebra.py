"""Products of matrices."""

import numpy as np

from .table import case

case("trace", np.trace, (3, 4))
case("cov", np.cov, (3, 5))
case("corrcoef", lambda x: np.corrcoef(x)[0, 1:], (3, 5), call=lambda m, x: m.corrcoef(x)[0, 1:])
case("vander", np.vander, (4,), torch=None)  # PyTorch's has no derivative: it changes in place
for a, b in [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2)), ((5, 1, 2, 3), (4, 3, 2)),
    ((1, 2, 3), (4, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0,), (0,)),
    ((3, 2, 0), (3, 0, 2)),
]:  # fmt: skip
    case("matmul", np.matmul, a, b)
case("dot", np.dot, (3,), (3,))
case("mv", np.matmul, (2, 3), (3,))
case("mm", np.matmul, (2, 3), (3, 4))
case("bmm", np.matmul, (5, 2, 3), (5, 3, 4))
case("outer", np.outer, (3,), (4,))
for equation, *shapes in [
    ("ij->ji", (2, 3)), ("ij->", (2, 3)), ("ij->i", (2, 3)), ("ii->i", (3, 3)), ("ii", (3, 3)),
    ("iji->j", (2, 3, 2)), ("...ii->...i", (2, 3, 3)), ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)), ("ba,cb", (2, 3), (4, 2)), ("i,j->ij", (2,), (3,)),
    ("i,i", (3,), (3,)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)), ("ijk,jk->", (2, 3, 4), (3, 4)),
    ("...ij,...jk->...ik", (2, 2, 3), (3, 4)), ("i...,i...", (2, 3), (2, 1)),
    ("ij,k->i", (2, 3), (4,)),
    ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)), ("i,ij,j->", (2,), (2, 3), (3,)),
    ("ij,ij->ij", (2, 3), (2, 3)), (" i j -> j i ", (2, 3)), ("ij,jk->ik", (2, 0), (0, 4)),
]:  # fmt: skip
    case("einsum", lambda *x, e=equation: np.einsum(e, *x), *shapes,
         call=lambda m, *x, e=equation: m.einsum(e, *x))  # fmt: skip
case("einsum", lambda a, b: np.broadcast_to(a, (2, 3)) @ b, (2, 1), (3, 4),
     call=lambda m, *x: m.einsum("ij,jk->ik", *x))  # fmt: skip
case("vdot", np.dot, (3,), (3,))
case("inner", np.inner, (2, 3), (4, 3))
case("kron", np.kron, (2, 3), (4,))
case("cross", np.cross, (2, 3), (2, 3), torch=lambda m, a, b: m.linalg.cross(a, b))
case("tensordot", np.tensordot, (2, 3, 4), (3, 4, 5))
case("tensordot", lambda a, b: np.tensordot(a, b, ((2, 0), (1, 2))), (2, 3, 4), (5, 4, 2),
     dims=((2, 0), (1, 2)))  # fmt: skip
case("addmm", lambda x, a, b: 3 * x + 2 * a @ b, (4,), (2, 3), (3, 4), beta=3, alpha=2)
case("addmv", lambda x, a, b: x + a @ b, (2,), (2, 3), (3,))
case("addr", lambda x, a, b: x + np.outer(a, b), (2, 3), (2,), (3,))
case("baddbmm", lambda x, a, b: x + a @ b, (2, 4), (5, 2, 3), (5, 3, 4))
case("addbmm", lambda x, a, b: x + (a @ b).sum(0), (2, 4), (5, 2, 3), (5, 3, 4))
