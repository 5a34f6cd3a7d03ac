"""Products of vectors and matrices, made of operations."""

from __future__ import annotations

import math
import string
from typing import Any

from ...autograd.fused import fused
from ...backends.dtypes import get_default_dtype, int64
from ...typing import Tensor
from ..elementwise import add, mul, sqrt, sub
from ..linear_algebra import einsum_, matmul
from ..reductions import cumprod, sum
from ..shapes import _positive, broadcast_shapes, expand, permute, reshape
from .elementwise import clamp, clamp_min
from .indexing import diagonal
from .shapes import flip, roll, stack, transpose


def einsum(equation: str | Tensor, *operands: Any) -> Tensor:
    """Σ of products of tensors, by Einstein's notation: einsum("bij,bjk->bik", a, b).

    Or with numbers for letters: einsum(a, [0, 1, 2], b, [0, 2, 3], [0, 1, 3]).
    """
    if not isinstance(equation, str):
        equation, operands = _in_letters(equation, *operands)
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = operands[0]
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms, operands = left.split(","), list(operands)
    if len(terms) != len(operands):
        raise RuntimeError(
            f"einsum: {equation!r} has {len(terms)} terms, got {len(operands)} tensors"
        )
    spare = iter(c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in equation)
    dots = max(
        (x.ndim - len(t.replace("...", "")) for t, x in zip(terms, operands) if "..." in t),
        default=0,
    )
    dots = "".join(next(spare) for _ in range(dots))
    for i, (term, x) in enumerate(zip(terms, operands)):
        extra = x.ndim - len(term.replace("...", ""))
        term = term.replace("...", dots[len(dots) - extra :] if extra else "")
        if len(term) != x.ndim:
            raise RuntimeError(
                f"einsum: the term {terms[i]!r} of {equation!r} does not fit shape {tuple(x.shape)}"
            )
        for letter in sorted(set(term)):
            while term.count(letter) > 1:  # a letter twice in one term means the diagonal
                first, second = term.index(letter), term.rindex(letter)
                x = diagonal(x, 0, first, second)
                term = "".join(c for k, c in enumerate(term) if k not in (first, second)) + letter
        terms[i], operands[i] = term, x
    if not arrow:
        once = sorted(c for c in set(left) - set(",.") if left.count(c) == 1)
        result = "..." + "".join(once) if dots or "..." in left else "".join(once)
    result = result.replace("...", dots)
    unknown = set(result) - set("".join(terms))
    if unknown:
        raise RuntimeError(f"einsum: {equation!r} asks for {sorted(unknown)}, which no term has")
    return einsum_(*operands, equation=",".join(terms) + "->" + result)


def _in_letters(*parts):
    """The equation and the operands of tensors and lists of numbers that take turns."""
    letters = string.ascii_letters  # as many dimensions as PyTorch can name: 0 … 51

    def term(numbers):
        return "".join("..." if n is ... else letters[n] for n in numbers)

    operands, terms = parts[: len(parts) // 2 * 2 : 2], parts[1::2]
    result = "->" + term(parts[-1]) if len(parts) % 2 else ""
    return ",".join(map(term, terms)) + result, operands


# ---- the special cases by name -------------------------------------------------------


def _product(name, a, b, *dims):
    if (a.ndim, b.ndim) != dims:
        raise RuntimeError(
            f"{name}: tensors of {dims[0]} and {dims[1]} dimensions are needed, got shapes "
            f"{tuple(a.shape)} and {tuple(b.shape)}"
        )
    return matmul(a, b)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ a b of two vectors."""
    return _product("dot", a, b, 1, 1)


def mv(a: Tensor, b: Tensor) -> Tensor:
    """A matrix times a vector."""
    return _product("mv", a, b, 2, 1)


def mm(a: Tensor, b: Tensor) -> Tensor:
    """A matrix times a matrix."""
    return _product("mm", a, b, 2, 2)


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """Each matrix of a batch times its own: (n, i, j) and (n, j, k) give (n, i, k)."""
    if a.ndim == b.ndim == 3 and a.shape[0] != b.shape[0]:
        raise RuntimeError(f"bmm: the batches differ, {a.shape[0]} and {b.shape[0]}")
    return _product("bmm", a, b, 3, 3)


def outer(a: Tensor, b: Tensor) -> Tensor:
    """The products of each element of a vector with each of another: (n), (m) give (n, m)."""
    if a.ndim != 1 or b.ndim != 1:
        raise RuntimeError(
            f"outer: two vectors are needed, got shapes {tuple(a.shape)} and {tuple(b.shape)}"
        )
    return reshape(a, (-1, 1)) * b


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Σ over the last dimensions of both; with a single number, the product."""
    return mul(a, b) if not a.ndim or not b.ndim else tensordot(a, b, ([-1], [-1]))


def vdot(a: Tensor, b: Tensor) -> Tensor:
    """Σ a b of two vectors."""
    return dot(a, b)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Σ over dimensions of a and of b: the last and the first `dims`, or two lists of them."""
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot: dims must be at least 0, got {dims}")
        dims = range(a.ndim - dims, a.ndim), range(dims)
    ours, theirs = ([_positive(d, x.ndim) for d in ds] for x, ds in zip((a, b), dims))
    a, b = (  # a size of 1 stands for as many as the other has
        expand(x, tuple(dict(zip(d_x, (y.shape[d] for d in d_y))).get(i, n) if n == 1 else n
                        for i, n in enumerate(x.shape)))
        for x, y, d_x, d_y in ((a, b, ours, theirs), (b, a, theirs, ours))
    )  # fmt: skip
    left = [d for d in range(a.ndim) if d not in ours]
    right = [d for d in range(b.ndim) if d not in theirs]
    n = math.prod(a.shape[d] for d in ours)
    shape = tuple(a.shape[d] for d in left) + tuple(b.shape[d] for d in right)
    rows = reshape(permute(a, (*left, *ours)), (math.prod(a.shape[d] for d in left), n))
    columns = reshape(permute(b, (*theirs, *right)), (n, math.prod(b.shape[d] for d in right)))
    return reshape(matmul(rows, columns), shape)


def kron(a: Tensor, b: Tensor) -> Tensor:
    """Every element of a times all of b, block by block."""
    n = max(a.ndim, b.ndim)
    a, b = (reshape(x, (1,) * (n - x.ndim) + tuple(x.shape)) for x in (a, b))
    apart = [k for size in a.shape for k in (size, 1)], [k for size in b.shape for k in (1, size)]
    product = mul(reshape(a, tuple(apart[0])), reshape(b, tuple(apart[1])))
    return reshape(product, tuple(k * m for k, m in zip(a.shape, b.shape)))


def cross(a: Tensor, b: Tensor, dim: int = -1) -> Tensor:
    """The vector at right angles to a and b, both of size 3 along `dim`."""
    dim = _positive(dim, a.ndim)
    if a.ndim != b.ndim or a.shape[dim] != 3 or b.shape[dim] != 3:
        raise RuntimeError(
            f"cross: as many dimensions, and a size of 3 in one, are needed, got {tuple(a.shape)} "
            f"and {tuple(b.shape)}"
        )
    return sub(mul(roll(a, -1, dim), roll(b, -2, dim)), mul(roll(a, -2, dim), roll(b, -1, dim)))


def cov(x: Tensor, *, correction: int = 1, fweights: Tensor | None = None,
        aweights: Tensor | None = None) -> Tensor:  # fmt: skip
    """The covariances (m, m) of m variables, the rows of x (m, n), from n observations.

    `fweights` says how often each observation was made, `aweights` how much it counts.
    """
    if x.ndim > 2:
        raise RuntimeError(f"cov: at most two dimensions are expected, got {tuple(x.shape)}")
    x = reshape(x, (1, -1)) if x.ndim < 2 else x
    x = x if x.is_floating_point() else x.to(get_default_dtype())
    for name, w in ("fweights", fweights), ("aweights", aweights):
        if w is not None and (tuple(w.shape) != tuple(x.shape[1:]) or (w < 0).any()):
            raise RuntimeError(
                f"cov: {name} are {x.shape[1]} numbers, none below 0, got {w.tolist()}"
            )
    if fweights is not None and fweights.is_floating_point():
        raise RuntimeError(f"cov: fweights are whole numbers, got {fweights.dtype}")
    weights = x.new_ones(x.shape[1]) if fweights is None else fweights
    weights, share = (weights, 1) if aweights is None else (weights * aweights, aweights)
    total = sum(weights)
    centered = x - sum(x * weights, 1, keepdim=True) / total
    count = clamp_min(total - correction * sum(weights * share) / total, 0)
    found = matmul(centered * weights, transpose(centered, 0, 1)) / count
    return found if len(x) != 1 else reshape(found, ())


def corrcoef(x: Tensor) -> Tensor:
    """The correlations, from −1 to 1, of the rows of x."""
    c = cov(x)
    if not c.ndim:
        return c / c
    s = sqrt(diagonal(c))
    return clamp(c / reshape(s, (-1, 1)) / s, -1, 1)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of a vector, (n, N): the highest first, unless `increasing`."""
    if x.ndim != 1:
        raise RuntimeError(f"vander: a vector is needed, got shape {tuple(x.shape)}")
    N = len(x) if N is None else N
    if N < 0:
        raise RuntimeError(f"vander: N is at least 0, got {N}")
    if not N:
        return x.new_zeros((len(x), 0))
    powers = [x.new_ones(len(x)), *[x] * (N - 1)]
    powers = cumprod(stack(powers, 1), 1, dtype=x.dtype if x.is_floating_point() else int64)
    return powers if increasing else flip(powers, (1,))


# ---- a product added to something ----------------------------------------------------


def _plus(x, product, beta, alpha):
    """beta·x + alpha·product; with beta = 0 x does not count, whatever it holds."""
    number = (bool, int, float)[product.dtype.rank]  # PyTorch cuts 0.5 to 0 for whole numbers
    beta, alpha = number(beta), number(alpha)
    product = product if alpha == 1 else mul(product, alpha)
    if beta == 0:
        return expand(product, broadcast_shapes(x.shape, product.shape))
    return add(product, x if beta == 1 else mul(x, beta))


@fused
def addmm(x: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·x + alpha·(a matrix times a matrix)"""
    return _plus(x, mm(mat1, mat2), beta, alpha)


@fused
def addmv(x: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·x + alpha·(a matrix times a vector)"""
    return _plus(x, mv(mat, vec), beta, alpha)


@fused
def addr(x: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·x + alpha·(the outer product of two vectors)"""
    return _plus(x, outer(vec1, vec2), beta, alpha)


@fused
def baddbmm(
    x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta·x + alpha·(each matrix of a batch times its own)"""
    return _plus(x, bmm(batch1, batch2), beta, alpha)


@fused
def addbmm(
    x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta·x + alpha·Σ over a batch of products of matrices"""
    products = bmm(batch1, batch2)
    return _plus(x, sum(products, 0, dtype=products.dtype), beta, alpha)
