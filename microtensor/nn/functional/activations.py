"""Activations, and their forms that change the input in place."""

import functools
import warnings

from ... import ops
from ...tensor.random import rand_like
from .arguments import _changed


def relu(input, inplace=False):
    """max(x, 0)"""
    return _changed(ops.relu, input, inplace)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    """x where x > 0, else negative_slope·x"""
    return _changed(ops.leaky_relu, input, inplace, negative_slope)


def rrelu(input, lower=1 / 8, upper=1 / 3, training=False, inplace=False):
    """x where x > 0, else x times a number drawn from lower … upper; their mean in evaluation.

    (arXiv:1505.00853)
    """
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slope = lower + (upper - lower) * rand_like(input)
    return _changed(lambda x: ops.where(x > 0, x, x * slope), input, inplace)


def elu(input, alpha=1.0, inplace=False):
    """x where x > 0, else alpha (eˣ − 1) (arXiv:1511.07289)"""
    return _changed(ops.elu, input, inplace, alpha)


def celu(input, alpha=1.0, inplace=False):
    """x where x > 0, else alpha (e^(x/alpha) − 1) (arXiv:1704.07483)"""
    return _changed(ops.celu, input, inplace, alpha)


def selu(input, inplace=False):
    """The ELU whose results keep mean 0 and variance 1 (arXiv:1706.02515)."""
    return _changed(ops.selu, input, inplace)


def prelu(input, weight):
    """x where x > 0, else weight·x, with one weight or one for each channel (arXiv:1502.01852)."""
    return ops.prelu(input, weight)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """x within min_val … max_val, else the nearer of them"""
    return _changed(ops.hardtanh, input, inplace, min_val, max_val)


def relu6(input, inplace=False):
    """x within 0 … 6, else the nearer of them"""
    return _changed(ops.relu6, input, inplace)


def hardsigmoid(input, inplace=False):
    """A sigmoid of three straight lines: relu6(x + 3) / 6"""
    return _changed(ops.hardsigmoid, input, inplace)


def hardswish(input, inplace=False):
    """x hardsigmoid(x) (arXiv:1905.02244)"""
    return _changed(ops.hardswish, input, inplace)


def threshold(input, threshold, value, inplace=False):
    """x where x > threshold, else value"""
    return _changed(ops.threshold, input, inplace, threshold, value)


def hardshrink(input, lambd=0.5):
    """x where |x| > lambd, else 0"""
    return ops.hardshrink(input, lambd)


def softshrink(input, lambd=0.5):
    """x brought nearer to 0 by lambd; 0 where |x| ≤ lambd"""
    return ops.softshrink(input, lambd)


def tanhshrink(input):
    """x − tanh x"""
    return ops.tanhshrink(input)


def softsign(input):
    """x / (1 + |x|)"""
    return ops.softsign(input)


def mish(input, inplace=False):
    """x tanh(softplus(x)) (arXiv:1908.08681)"""
    return _changed(ops.mish, input, inplace)


def glu(input, dim=-1):
    """The first half of x along `dim` times the sigmoid of the second (arXiv:1612.08083)."""
    return ops.glu(input, dim)


def silu(input, inplace=False):
    """x σ(x), also called swish (arXiv:1606.08415)"""
    return _changed(ops.silu, input, inplace)


def gelu(input, approximate="none"):
    """x Φ(x), Φ the normal distribution; "tanh" approximates it (arXiv:1606.08415)."""
    return ops.gelu(input, approximate)


def softplus(input, beta=1.0, threshold=20.0):
    """ln(1 + e^βx) / β, and x itself where βx > threshold"""
    return ops.softplus(input, beta, threshold)


def sigmoid(input):
    """1 / (1 + e⁻ˣ)"""
    return ops.sigmoid(input)


def logsigmoid(input):
    """ln(1 / (1 + e⁻ˣ))"""
    return ops.logsigmoid(input)


def tanh(input):
    """The hyperbolic tangent."""
    return ops.tanh(input)


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """eˣ / Σ eˣ along `dim`; `dtype` is converted to first."""
    x = input if dtype is None else input.to(dtype)
    return ops.softmax(x, _dim("softmax", x, dim, _stacklevel))


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """softmax(−x)"""
    return softmax(-input, dim, _stacklevel + 1, dtype)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """x − ln Σ eˣ along `dim`; `dtype` is converted to first."""
    x = input if dtype is None else input.to(dtype)
    return ops.log_softmax(x, _dim("log_softmax", x, dim, _stacklevel))


def _dim(name, x, dim, stacklevel):
    """The dimension that adds up to 1; where none is stated, the one that old programs meant."""
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
        message = f"{name}: state the dimension that adds up to 1, as in dim={dim}, which is taken"
        warnings.warn(message, UserWarning, stacklevel)
    return dim


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
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
