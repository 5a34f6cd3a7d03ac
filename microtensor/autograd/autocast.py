"""The operations that `autocast` casts, by PyTorch's lists for the CPU; others stay as they are.

Who never enters an autocast pays nothing for it: products get a body that casts when the first
autocast is entered, and only the functions named below, none of them small, ask if one is on.
"""

import functools

from ..backends import backend_of
from ..backends.dtypes import FLOAT, float32, float64
from ..backends.half import each_pullback, in_float32, rounded
from .base import TensorBase, registry
from .modes import mode

LOWER = "matmul linear einsum attention rnn lstm".split()  # operations in autocast's dtype
LOWER_WHOLE = frozenset(  # functions, made of several operations, in autocast's dtype
    "addmm addbmm baddbmm vecdot prelu conv1d conv2d conv_transpose1d conv_transpose2d "
    "scaled_dot_product_attention".split()
)
FULL = frozenset(  # functions in float32
    "prod trace quantile nanquantile cdist cholesky cholesky_solve inv pinv solve solve_triangular "
    "lstsq svd svdvals qr eigh eigvalsh cross_entropy nll_loss mse_loss l1_loss smooth_l1_loss "
    "huber_loss binary_cross_entropy binary_cross_entropy_with_logits kl_div poisson_nll_loss "
    "hinge_embedding_loss margin_ranking_loss soft_margin_loss multi_margin_loss "
    "cosine_embedding_loss triplet_margin_loss gru_".split()
)
KEPT = frozenset("mv dot vdot addmv bilinear".split())  # products that are not cast


def autocasting(functions):
    """Let those of a dict of functions that are in the lists cast their inputs in an autocast."""
    for name in functions.keys() & (LOWER_WHOLE | FULL | KEPT):
        functions[name] = _whole(name, functions[name])


def _whole(name, function):
    @functools.wraps(function)
    def call(*args, **params):
        if mode.autocast is None:
            return function(*args, **params)
        dtype = None if name in KEPT else float32 if name in FULL else mode.autocast
        now = mode.autocast
        try:  # see backends/restoring.py
            mode.autocast = None
            args = [_cast_tensor(a, dtype) for a in args]
            return function(*args, **{k: _cast_tensor(v, dtype) for k, v in params.items()})
        finally:
            mode.autocast = now

    return call


def _cast_tensor(value, dtype):
    if isinstance(value, TensorBase) and dtype and _is_cast(value._data, dtype):
        return registry["cast"](value, dtype)
    return value


@functools.cache
def install():
    """Give the operations of the list `LOWER` bodies that cast arrays while an autocast is on.

    The gradient that a pullback gives is cast back by the engine, as any other is. A body that is
    run on tensors, for derivatives of higher order, learns from the gradient what it was cast to.
    """
    for name in LOWER:
        registry[name].replace_body(_lowered(registry[name].function))


def _lowered(body):
    @functools.wraps(body)
    def run(*inputs, **params):
        def lowered(dtype):
            value, pulls = in_float32(body)(*[_cast(a, dtype) for a in inputs], **params)
            # gradients are rounded to the dtype that the inputs were cast to
            rounding = lambda pull: lambda g: rounded(pull(g), dtype)
            return value, each_pullback(rounding, pulls)

        def pullback(g):
            pulls = lowered((g[0] if isinstance(g, tuple) else g).dtype)[1]
            return pulls(g) if callable(pulls) else tuple([pull and pull(g) for pull in pulls])

        if isinstance(inputs[0], TensorBase):  # differentiated again: only the pullback is needed
            return None, pullback
        if mode.autocast is None or not _is_product(**params):
            return body(*inputs, **params)
        return lowered(mode.autocast)

    return run


def _cast(array, dtype):
    cast = hasattr(array, "dtype") and _is_cast(array, dtype)
    return backend_of(array).cast(array, dtype) if cast else array


def _is_product(equation=None, **params):
    """True if an einsum sums over a letter that two terms share: it is a product of matrices."""
    if equation is None:
        return True
    terms, result = equation.split("->")
    return any(terms.count(c) > 1 for c in set(terms) - set(result) - {","})


def _is_cast(array, dtype):
    """True if these are floats other than float64 and not yet in a dtype."""
    have = backend_of(array).dtype(array)
    return have.rank == FLOAT and have is not float64 and have is not dtype
