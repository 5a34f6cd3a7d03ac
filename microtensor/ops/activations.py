"""Activation functions, which make a network more than one linear map, from simple to smooth.

In their docstrings g is the gradient of the value, σ(x) = 1 / (1 + e⁻ˣ).
"""

from ..autograd import op
from ..backends import backend_of, xp


@op
def relu(x):
    """max(x, 0).    ∂x = g where x > 0"""
    y = backend_of(x).relu(x)
    return y, lambda g: backend_of(g).relu_backward(g, y)


@op(promote="float")
def leaky_relu(x, /, negative_slope=0.01):
    """x where x > 0, else slope·x.    ∂x = g where x > 0, else slope·g"""
    return backend_of(x).where(x > 0, x, x * negative_slope), lambda g: backend_of(g).where(
        x > 0, g, g * negative_slope
    )


@op(promote="float")
def elu(x, /, alpha=1.0, scale=1.0, input_scale=1.0):
    """scale·x where x > 0, else scale·alpha (eᶻ − 1), z = input_scale·x.

    ∂x = g scale where x > 0, else g scale·alpha·input_scale eᶻ  (arXiv:1511.07289)
    """
    z = backend_of(x).where(x > 0, 0.0, x * input_scale)
    low, high = alpha * scale, scale
    y = backend_of(x).where(x > 0, x * high, low * xp(x).expm1(z))
    return y, lambda g: backend_of(g).where(x > 0, g * high, g * (low * input_scale * xp(x).exp(z)))


@op(promote="same")
def hardtanh_(x, /, low, high):
    """x within low … high, else the nearer of them.    ∂x = g where low < x < high"""
    inside = (x > low) & (x < high)
    y = xp(x).minimum(xp(x).maximum(x, xp(x).full_like(x, low)), xp(x).full_like(x, high))
    return y, lambda g: backend_of(g).where(inside, g, 0.0)


@op
def threshold(x, /, threshold, value):
    """x where x > threshold, else value.    ∂x = g where x > threshold"""
    on = (x > threshold) | (x != x)  # a NaN stays one
    y = backend_of(x).where(on, x, xp(x).full_like(x, value))
    return y, lambda g: backend_of(g).where(on, g, 0.0)


@op
def hardshrink(x, /, lambd=0.5):
    """x, but 0 where |x| ≤ lambd.    ∂x = g where |x| > lambd"""
    on = (xp(x).abs(x) > lambd) | (x != x)  # a NaN stays one
    return backend_of(x).where(on, x, 0.0), lambda g: backend_of(g).where(on, g, 0.0)


@op
def softshrink(x, /, lambd=0.5):
    """x brought nearer to 0 by lambd, 0 where |x| ≤ lambd.    ∂x = g where |x| > lambd"""
    if lambd < 0:
        raise RuntimeError(f"lambd is at least 0, got {lambd}")
    on = (xp(x).abs(x) > lambd) | (x != x)
    y = backend_of(x).where(on, x - lambd * xp(x).sign(x), 0.0)
    return y, lambda g: backend_of(g).where(on, g, 0.0)


@op(promote="float")
def sigmoid(x):
    """σ(x) = 1 / (1 + e⁻ˣ).    ∂x = g σ (1 − σ)"""
    y = backend_of(x).sigmoid(x)
    return y, lambda g: g * (y * (1 - y))


@op(promote="float")
def logsigmoid(x):
    """ln σ(x) = min(x, 0) − ln(1 + e^−|x|).    ∂x = g σ(−x)"""
    y = backend_of(x).where(x < 0, x, 0.0) - xp(x).log1p(xp(x).exp(-xp(x).abs(x)))
    return y, lambda g: g * backend_of(x).sigmoid(-x)


@op(promote="float")
def silu(x):
    """x σ(x), also called swish (arXiv:1606.08415).    ∂x = g σ (1 + x (1 − σ))"""
    s = backend_of(x).sigmoid(x)
    return x * s, lambda g: g * (s * (1 + x * (1 - s)))


@op(promote="float")
def softplus(x, /, beta=1.0, threshold=20.0):
    """ln(1 + e^βx) / β, and x itself where βx > threshold.    ∂x = g σ(βx)"""
    z = x * beta
    smooth = backend_of(x).where(z > 0, z, 0.0) + xp(x).log1p(xp(x).exp(-xp(x).abs(z)))
    line = z > threshold

    y = backend_of(x).where(line, x, smooth / beta)
    return y, lambda g: backend_of(g).where(line, g, g * backend_of(z).sigmoid(z))


@op(promote="float")
def gelu(x, /, approximate="none"):
    """x Φ(x), Φ the normal distribution (arXiv:1606.08415).    ∂x = g (Φ(x) + x Φ'(x))"""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f'approximate must be "none" or "tanh", got {approximate!r}')
    y, saved = backend_of(x).gelu(x, approximate == "tanh")
    backend = backend_of(y)  # which knows what it saved, whichever is in use later
    return y, lambda g: backend.gelu_backward(g, x, saved)
