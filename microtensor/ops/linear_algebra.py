"""Products of vectors, matrices and anything."""

from ..autograd import op
from ..backends import backend_of, xp


@op
def matmul(a, b):
    """Matrix product over the last two dimensions.    ∂a = g bᵀ,    ∂b = aᵀ g"""
    if not getattr(a, "shape", ()) or not getattr(b, "shape", ()):
        numbers = [n for n in (a, b) if not hasattr(n, "shape")]
        raise (TypeError if numbers else RuntimeError)("both need at least one dimension")
    if a.dtype != b.dtype:
        raise RuntimeError("both need one dtype; convert one of them with .to()")
    if a.shape[-1] != b.shape[-2 if len(b.shape) > 1 else 0]:
        raise RuntimeError(
            f"the last size of a, {a.shape[-1]}, and the one of b that it is multiplied with, "
            f"{b.shape[-2 if len(b.shape) > 1 else 0]}, must be equal"
        )
    dims_a, dims_b = len(a.shape), len(b.shape)
    row = a if dims_a > 1 else a[None, :]  # a vector is a row on the left,
    column = b if dims_b > 1 else b[:, None]  # a column on the right

    def matrix(g):
        g = g if dims_b > 1 else g[..., None]
        return g if dims_a > 1 else g[..., None, :]

    def to_a(g):
        return matrix(g) @ xp(g).matrix_transpose(column)

    def to_b(g):
        if dims_a > 2 and dims_b == 2:  # one tall product, not many that are summed
            return backend_of(g).linear_backward_weight(row, g)
        out = xp(g).matrix_transpose(row) @ matrix(g)
        return out if dims_b > 1 else out[..., 0]

    return a @ b, (to_a, to_b)


@op(promote="same")
def einsum_(*tensors, equation):
    """Σ of products, by Einstein's notation.    ∂xᵢ = Σ of the products of g and the others"""
    terms, result = equation.split("->")
    terms = terms.split(",")

    def pullback(i):
        term, shape = terms[i], tensors[i].shape
        others, arrays = terms[:i] + terms[i + 1 :], tensors[:i] + tensors[i + 1 :]
        found = "".join(c for c in term if any(c in other for other in (result, *others)))
        product = ",".join([result, *others]) + "->" + found

        def pull(g):
            part = backend_of(g).einsum(product, g, *arrays)
            sizes = iter(part.shape)
            part = xp(g).reshape(part, tuple(next(sizes) if c in found else 1 for c in term))
            # a letter that only xᵢ has was summed away: its gradient is the same all along
            return xp(g).broadcast_to(
                part, tuple(m if n == 1 else n for n, m in zip(part.shape, shape))
            )

        return pull

    return backend_of(tensors[0]).einsum(equation, *tensors), [*map(pullback, range(len(terms)))]
