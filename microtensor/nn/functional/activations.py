"""Activations, and their forms that change the input in place."""

from __future__ import annotations

import functools
from typing import Any

from ... import ops
from ...autograd.errors import warn
from ...tensor.random import rand_like
from ...typing import Dtype, Tensor
from .arguments import _changed


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)"""
    return _changed(ops.relu, input, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope·x"""
    return _changed(ops.leaky_relu, input, inplace, negative_slope)


def rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
          inplace: bool = False) -> Tensor:  # fmt: skip
    """x where x > 0, else x times a number drawn from lower … upper; their mean in evaluation.

    (arXiv:1505.00853)
    """
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slope = lower + (upper - lower) * rand_like(input)
    return _changed(lambda x: ops.where(x > 0, x, x * slope), input, inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (eˣ − 1) (arXiv:1511.07289)"""
    return _changed(ops.elu, input, inplace, alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (e^(x/alpha) − 1) (arXiv:1704.07483)"""
    return _changed(ops.celu, input, inplace, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The ELU whose results keep mean 0 and variance 1 (arXiv:1706.02515)."""
    return _changed(ops.selu, input, inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight·x, with one weight or one for each channel (arXiv:1502.01852)."""
    return ops.prelu(input, weight)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x, but at least min_val and at most max_val"""
    return _changed(ops.hardtanh, input, inplace, min_val, max_val)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x, but at least 0 and at most 6"""
    return _changed(ops.relu6, input, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """A sigmoid of three straight lines: relu6(x + 3) / 6"""
    return _changed(ops.hardsigmoid, input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x) (arXiv:1905.02244)"""
    return _changed(ops.hardswish, input, inplace)


def threshold(input: Tensor, threshold: float, value: Any, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value"""
    return _changed(ops.threshold, input, inplace, threshold, value)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0"""
    return ops.hardshrink(input, lambd)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x − lambd where x > lambd, x + lambd where x < −lambd, else 0"""
    return ops.softshrink(input, lambd)


def tanhshrink(input: Tensor) -> Tensor:
    """x − tanh x"""
    return ops.tanhshrink(input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)"""
    return ops.softsign(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)) (arXiv:1908.08681)"""
    return _changed(ops.mish, input, inplace)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of x along `dim` times the sigmoid of the second (arXiv:1612.08083)."""
    return ops.glu(input, dim)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x σ(x), also called swish (arXiv:1606.08415)"""
    return _changed(ops.silu, input, inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Φ(x), Φ the normal distribution; "tanh" approximates it (arXiv:1606.08415)."""
    return ops.gelu(input, approximate)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """ln(1 + e^βx) / β, and x itself where βx > threshold"""
    return ops.softplus(input, beta, threshold)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ)"""
    return ops.sigmoid(input)


def logsigmoid(input: Tensor) -> Tensor:
    """ln(1 / (1 + e⁻ˣ))"""
    return ops.logsigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return ops.tanh(input)


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype | None = None
) -> Tensor:
    """eˣ / Σ eˣ along `dim`; `dtype` is converted to first."""
    x = input if dtype is None else input.to(dtype)
    return ops.softmax(x, _dim("softmax", x, dim))


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype | None = None
) -> Tensor:
    """softmax(−x)"""
    return softmax(-input, dim, _stacklevel, dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype | None = None
) -> Tensor:
    """x − ln Σ eˣ along `dim`; `dtype` is converted to first."""
    x = input if dtype is None else input.to(dtype)
    return ops.log_softmax(x, _dim("log_softmax", x, dim))


def _dim(name, x, dim):
    """The dimension that adds up to 1; the default of older programs where none is given."""
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
        message = f"{name}: state the dimension that adds up to 1, as in dim={dim}, which is taken"
        warn(message)
    return dim


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A random draw from softmax(logits), differentiable: softmax((logits + noise) / tau).

    `hard` gives one-hot vectors with the derivative of the soft ones (arXiv:1611.01144).
    """
    noise = -ops.log(-ops.log(rand_like(logits).clamp(1e-20, 1 - 1e-7)))
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    top = (soft == ops.amax(soft, dim, True)).to(soft.dtype)
    return top - soft.detach() + soft


# ---- in place ------------------------------------------------------------------------

relu_, leaky_relu_, elu_, celu_, selu_, hardtanh_, rrelu_, threshold_ = (
    functools.partial(function, inplace=True)
    for function in (relu, leaky_relu, elu, celu, selu, hardtanh, rrelu, threshold)
)
