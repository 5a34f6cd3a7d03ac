"""The compiled loops of `numba.py`: each computes what `kernels.py` says under the same name.

The loops are written so that the compiler can vectorise them: one row at a time, an exponential
made of a polynomial and the bits of the exponent, and random numbers that depend on the position
alone. They release the interpreter lock and start no threads of their own, so that they are safe
in a user's threads and never compete with BLAS for the cores: one core already moves these arrays
as fast as memory can.
"""

import numpy as np
import numpy.ma  # noqa: F401, numba asks for it at the first call, when a fork no longer waits
from numba import types
from numba.extending import intrinsic

from .numba_cache import REORDER, compiled, inlined, kernel
from .preconditions import needs

f32, i32, u32 = np.float32, np.int32, np.uint32


@intrinsic
def _float_of_bits(context, bits):
    """The float32 with these 32 bits."""

    def build(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.int32), build


@inlined
def _exp(x):
    """eˣ = 2ⁿ eʳ, n = ⌊x log₂e⌉, |r| ≤ ½ ln 2, eʳ a polynomial (as in Cephes' expf).

    0 below −87.3, where float32 has no normal numbers left.
    """
    n = np.floor(x * f32(1.4426950408889634) + f32(0.5))
    n = min(max(n, f32(-127)), f32(128))
    r = x - n * f32(0.693359375) + n * f32(2.12194440e-4)
    p = f32(1.9875691500e-4) * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    p = p * r * r + r + f32(1)
    power = _float_of_bits((i32(n) + i32(127)) << i32(23))
    return p * power if x >= f32(-87.3) else (f32(0) if x < f32(-87.3) else x)


@inlined
def _random(i, seed):
    """32 random bits for position i: a counter mixed twice (after C. Wellons' lowbias32)."""
    x = u32(u32(i) * u32(0x9E3779B9)) ^ u32(seed)
    x = u32((x ^ (x >> u32(16))) * u32(0x21F0AAAD))
    x = u32((x ^ (x >> u32(15))) * u32(0xD35A2D97))
    return x ^ (x >> u32(15))


# ---- elementwise ---------------------------------------------------------------------


@inlined
def _sigmoid(x):
    """1 / (1 + e⁻ˣ), without overflow on either side."""
    e = _exp(-abs(x))
    return (e if x < 0 else f32(1)) / (f32(1) + e)


@kernel
def relu(x, y):
    needs("relu: x (n) -> y (n)", x, y)
    for i in range(x.size):
        y[i] = f32(0) if x[i] <= 0 else x[i]


@kernel
def relu_backward(g, y, out):
    needs("relu_backward: g (n), y (n) -> out (n)", g, y, out)
    for i in range(g.size):
        out[i] = f32(0) if y[i] <= 0 else g[i]


@kernel
def sigmoid(x, y):
    needs("sigmoid: x (n) -> y (n)", x, y)
    for i in range(x.size):
        y[i] = _sigmoid(x[i])


@inlined
def _normal(v, a, tail):
    """Φ(v), by the form of NumPy's kernel, and e^(−v²/2)."""
    c1, c2, c3, c4, c5, c6 = tail[5], tail[4], tail[3], tail[2], tail[1], tail[0]
    t = f32(1) / (f32(1) + a * abs(v))
    e = _exp(f32(-0.5) * v * v)
    q = ((((((c6 * t + c5) * t + c4) * t + c3) * t + c2) * t) + c1) * t * e
    return f32(1) - q if v > 0 else q, e


@kernel
def gelu(x, y, a, tail, height):
    needs("gelu: x (n), tail (6) -> y (n)", x, tail, y)
    for i in range(x.size):
        phi, _ = _normal(x[i], a, tail)
        y[i] = x[i] * phi


@kernel
def gelu_backward(g, x, out, a, tail, height):
    needs("gelu_backward: g (n), x (n), tail (6) -> out (n)", g, x, tail, out)
    for i in range(x.size):
        phi, e = _normal(x[i], a, tail)
        out[i] = g[i] * (phi + x[i] * e * height)


# By tanh: ½ (1 + tanh u) is the sigmoid of 2 u = a (x + b x³).


@kernel
def gelu_tanh(x, y, a, b):
    needs("gelu_tanh: x (n) -> y (n)", x, y)
    for i in range(x.size):
        v = x[i]
        y[i] = v * _sigmoid(a * (v + b * v * v * v))


@kernel
def gelu_tanh_backward(g, x, out, a, b):
    needs("gelu_tanh_backward: g (n), x (n) -> out (n)", g, x, out)
    for i in range(x.size):
        v = x[i]
        s = _sigmoid(a * (v + b * v * v * v))
        v = min(max(v, f32(-12)), f32(12))  # beyond, s is 0 or 1, and v² might be too large
        out[i] = g[i] * (s + v * s * (f32(1) - s) * a * (f32(1) + f32(3) * b * v * v))


@kernel
def dropout(x, y, keep, threshold, scale, seed):
    needs("dropout: x (n) -> y (n), keep (n) of booleans", x, y, keep)
    for i in range(x.size):
        kept = _random(i, seed) >= threshold
        keep[i] = kept
        y[i] = x[i] * scale if kept else f32(0)


@kernel
def dropout_backward(g, keep, out, scale):
    needs("dropout_backward: g (n), keep (n) of booleans -> out (n)", g, keep, out)
    for i in range(g.size):
        out[i] = g[i] * scale if keep[i] else f32(0)


# ---- rows: softmax and normalisation -------------------------------------------------


@compiled(fastmath=REORDER | {"nnan"})
def _top(x):
    """The largest of a row; a NaN may be overlooked, and is met again in the sum."""
    top = f32(-np.inf)
    for j in range(x.size):
        top = x[j] if x[j] > top else top
    return top


@inlined
def _softmax_row(x, y):
    """y = eˣ⁻ᵗᵒᵖ of one row, its largest element and the sum of y; zeros where every x is −∞."""
    top = _top(x)
    shift = top if top > f32(-np.inf) else f32(0)
    total = f32(0)
    for j in range(x.size):
        e = _exp(x[j] - shift)
        y[j] = e
        total += e
    return top, total


@kernel
def softmax(x, y):
    needs("softmax: x (n, k) -> y (n, k)", x, y)
    for i in range(x.shape[0]):
        _, total = _softmax_row(x[i], y[i])
        scale = f32(1) / total
        for j in range(x.shape[1]):
            y[i, j] *= scale


@kernel
def softmax_backward(g, y, out):
    needs("softmax_backward: g (n, k), y (n, k) -> out (n, k)", g, y, out)
    for i in range(g.shape[0]):
        total = f32(0)
        for j in range(g.shape[1]):
            total += g[i, j] * y[i, j]
        for j in range(g.shape[1]):
            out[i, j] = y[i, j] * (g[i, j] - total)


@kernel
def log_softmax(x, y):
    needs("log_softmax: x (n, k) -> y (n, k)", x, y)
    for i in range(x.shape[0]):
        top, total = _softmax_row(x[i], y[i])
        shift = top + np.log(total)
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] - shift


@kernel
def log_softmax_backward(g, y, out):
    needs("log_softmax_backward: g (n, k), y (n, k) -> out (n, k)", g, y, out)
    for i in range(g.shape[0]):
        total = f32(0)
        for j in range(g.shape[1]):
            total += g[i, j]
        for j in range(g.shape[1]):
            out[i, j] = g[i, j] - _exp(y[i, j]) * total


@inlined
def _inverse_root(square, n, eps):
    """1 / √(square / n + eps): in float32 the compiler would estimate it, which makes NaN of ∞."""
    return f32(1.0 / np.sqrt(np.float64(square) / n + eps))


@inlined
def _moments(x, eps):
    """The mean of a row, and 1 / σ."""
    total, square = f32(0), f32(0)
    for j in range(x.size):
        total += x[j]
    mean = total / f32(x.size)
    for j in range(x.size):
        d = x[j] - mean
        square += d * d
    return mean, _inverse_root(square, x.size, eps)


@kernel
def layer_norm(x, weight, bias, eps, y):
    needs("layer_norm: x (n, k), weight (k), bias (k) -> y (n, k)", x, weight, bias, y)
    for i in range(x.shape[0]):
        mean, r = _moments(x[i], eps)
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - mean) * r * weight[j] + bias[j]


@kernel
def layer_norm_backward(g, x, weight, eps, g_x, g_weight, g_bias):
    needs("layer_norm_backward: g (n, k), x (n, k), weight (k) "
          "-> g_x (n, k), g_weight (k), g_bias (k)",
          g, x, weight, g_x, g_weight, g_bias)  # fmt: skip
    n = f32(g.shape[1])
    for i in range(g.shape[0]):
        mean, r = _moments(x[i], eps)
        total, slope = f32(0), f32(0)
        for j in range(g.shape[1]):
            h = g[i, j] * weight[j]
            total += h
            slope += h * ((x[i, j] - mean) * r)
        total, slope = total / n, slope / n
        for j in range(g.shape[1]):
            x_hat = (x[i, j] - mean) * r
            g_x[i, j] = r * (g[i, j] * weight[j] - total - x_hat * slope)
            g_weight[j] += g[i, j] * x_hat
            g_bias[j] += g[i, j]


@inlined
def _rms(x, eps):
    """1 / √(mean x² + eps) of a row."""
    square = f32(0)
    for j in range(x.size):
        square += x[j] * x[j]
    return _inverse_root(square, x.size, eps)


@kernel
def rms_norm(x, weight, eps, y):
    needs("rms_norm: x (n, k), weight (k) -> y (n, k)", x, weight, y)
    for i in range(x.shape[0]):
        r = _rms(x[i], eps)
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] * r * weight[j]


@kernel
def rms_norm_backward(g, x, weight, eps, g_x, g_weight):
    """The gradient of the weight comes as b parts, each of n // b + 1 rows."""
    needs("rms_norm_backward: g (n, k), x (n, k), weight (k) -> g_x (n, k), g_weight (b, k)",
          g, x, weight, g_x, g_weight)  # fmt: skip
    block = g.shape[0] // max(g_weight.shape[0], 1) + 1
    n = f32(g.shape[1])
    for i in range(min(g.shape[0], block * g_weight.shape[0])):
        r, slope, part = _rms(x[i], eps), f32(0), g_weight[i // block]
        for j in range(g.shape[1]):
            slope += g[i, j] * weight[j] * (x[i, j] * r)
        slope = slope / n
        for j in range(g.shape[1]):
            x_hat = x[i, j] * r
            g_x[i, j] = r * (g[i, j] * weight[j] - x_hat * slope)
            part[j] += g[i, j] * x_hat


# ---- attention: what happens between the products ------------------------------------


@kernel
def add_bias(y, bias):
    needs("add_bias: bias (k) -> y (n, k)", bias, y)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] += bias[j]


@kernel
def linear(x, weight, bias, y):
    """Of one row: all sizes of x and y but the last are 1. The bias may be None."""
    needs("linear: x [k], weight (m, k), bias? (m) -> y [m]", x, weight, bias, y)
    row, out = x.reshape(-1), y.reshape(-1)
    for i in range(out.size):
        total = f32(0) if bias is None else bias[i]
        for j in range(row.size):
            total += weight[i, j] * row[j]
        out[i] = total


@kernel
def attention_weights(scores, mask, causal, scale, p, seed, weights, kept, keep):
    """Rows (heads, queries, keys) of scores to weights, and to weights with dropout."""
    needs("attention_weights: scores (h, n, m), mask (1, r, m) "
          "-> weights (h, n, m), kept (h, n, m), keep (c, d, e) of booleans",
          scores, mask, weights, kept, keep)  # fmt: skip
    heads, n, m = scores.shape
    rows = mask.shape[1]
    if rows not in (1, n):
        raise RuntimeError("attention: the mask must have one row, or one for each query")
    if p > 0 and keep.shape != scores.shape:
        raise RuntimeError("attention: the dropout's mask must have the shape of the scores")
    threshold, over = u32(p * 4294967296.0), f32(1 / (1 - p))
    for h in range(heads):
        for i in range(n):
            row, out = scores[h, i], weights[h, i]
            seen = min(m, i + 1) if causal else m
            extra = mask[0, i if rows > 1 else 0]
            for j in range(seen):
                out[j] = row[j] * scale + extra[j]
            _, total = _softmax_row(out[:seen], out[:seen])
            share = f32(1) / total if total > 0 else f32(0)
            for j in range(seen):
                out[j] *= share
            for j in range(seen, m):
                out[j] = f32(0)
            if p > 0:
                start = (h * n + i) * m
                for j in range(m):
                    on = _random(start + j, seed) >= threshold
                    keep[h, i, j] = on
                    kept[h, i, j] = out[j] * over if on else f32(0)


@kernel
def attention_scores_backward(g_kept, weights, keep, p, out):
    """The gradient of the scores from that of the weights with dropout, in place."""
    needs("attention_scores_backward: g_kept (h, n, m), weights (h, n, m), "
          "keep (c, d, e) of booleans -> out (h, n, m)", g_kept, weights, keep, out)  # fmt: skip
    heads, n, m = weights.shape
    if p > 0 and keep.shape != weights.shape:
        raise RuntimeError("attention: the dropout's mask must have the shape of the weights")
    over = f32(1 / (1 - p))
    for h in range(heads):
        for i in range(n):
            g, w, o = g_kept[h, i], weights[h, i], out[h, i]
            if p > 0:
                for j in range(m):
                    o[j] = g[j] * over if keep[h, i, j] else f32(0)
            else:
                for j in range(m):
                    o[j] = g[j]
            total = f32(0)
            for j in range(m):
                total += o[j] * w[j]
            for j in range(m):
                o[j] = w[j] * (o[j] - total)


@kernel
def cached_attention(q, k, v, keys, values, scale, weights, out):
    """One query for each head (B, 1, H, D), to as many keys as there are weights (B, H, 1, S)."""
    needs("cached_attention: q (B, 1, H, D), k (B, 1, G, D), v (B, 1, G, D) "
          "-> keys (B, G, L, D), values (B, G, L, D), weights (B, H, 1, S), out (B, H, D)",
          q, k, v, keys, values, weights, out)  # fmt: skip
    B, H, _, S = weights.shape
    G, D = keys.shape[1], q.shape[3]
    if G == 0 or H % G != 0:
        raise RuntimeError("attention: the heads of queries must share those of keys evenly")
    if not 1 <= S <= keys.shape[2]:
        raise RuntimeError("attention: the token lies outside the room of the cache")
    group = H // G
    for b in range(B):
        for h in range(G):
            keys[b, h, S - 1], values[b, h, S - 1] = k[b, 0, h], v[b, 0, h]
        for h in range(H):
            one, row, total = q[b, 0, h], weights[b, h, 0], out[b, h]
            key, value = keys[b, h // group], values[b, h // group]
            for j in range(S):
                score = f32(0)
                for d in range(D):
                    score += one[d] * key[j, d]
                row[j] = score * f32(scale)
            _, mass = _softmax_row(row, row)
            total[:] = f32(0)
            for j in range(S):
                row[j] /= mass
                for d in range(D):
                    total[d] += row[j] * value[j, d]


# ---- losses and tables ---------------------------------------------------------------


@kernel
def cross_entropy(x, target, share, losses, p):
    needs("cross_entropy: x (n, k), target (n) of integers, share? (n) -> losses (n), p (n, k)",
          x, target, share, losses, p)  # fmt: skip
    for i in range(x.shape[0]):
        top, total = _softmax_row(x[i], p[i])
        scale = f32(1) / total
        for j in range(x.shape[1]):
            p[i, j] *= scale
        part = f32(1) if share is None else share[i]
        losses[i] = f32(0)
        if part != 0:
            t = target[i]
            if not 0 <= t < x.shape[1]:
                raise IndexError("cross_entropy: a target is none of the classes")
            losses[i] = part * (np.log(total) - (x[i, t] - top))


@kernel
def cross_entropy_backward(g, p, target, share, out):
    needs("cross_entropy_backward: g (n), p (n, k), target (n) of integers, share? (n) "
          "-> out (n, k)", g, p, target, share, out)  # fmt: skip
    for i in range(p.shape[0]):
        gi = g[i] if share is None else g[i] * share[i]
        for j in range(p.shape[1]):
            out[i, j] = p[i, j] * gi
        t = target[i]
        if not 0 <= t < p.shape[1]:
            raise IndexError("cross_entropy: a target, changed since, is none of the classes")
        out[i, t] -= gi


@kernel
def embedding_backward(g, index, out):
    needs("embedding_backward: g (n, d), index (n) of integers -> out (rows, d)", g, index, out)
    for i in range(index.size):
        at = index[i]
        if not 0 <= at < out.shape[0]:
            raise IndexError("embedding: an index, changed since, is none of the rows")
        row, add = out[at], g[i]
        for j in range(add.size):
            row[j] += add[j]


# ---- optimizers ----------------------------------------------------------------------


@inlined
def _with_decay(g, decay, p):
    """g + decay p, without making NaN of a p that is infinite where there is no decay."""
    return g + decay * p if decay != 0 else g


@kernel
def sgd(p, g, velocity, lr, momentum, fresh, decay, nesterov, sign):
    needs("sgd: g (n) -> p (n), velocity (m)", g, p, velocity)
    if velocity.size not in (0, p.size):
        raise RuntimeError("sgd: the velocity must have the parameter's size")
    if velocity.size == 0:
        for i in range(p.size):
            p[i] -= lr * _with_decay(sign * g[i], decay, p[i])
    else:
        for i in range(p.size):
            gi = _with_decay(sign * g[i], decay, p[i])
            vi = velocity[i] * momentum + fresh * gi
            velocity[i] = vi
            p[i] -= lr * (gi + momentum * vi if nesterov else vi)


@kernel
def adam(p, g, m, v, sign, decay, mixed_decay, beta1, beta2, rate, root, eps):
    needs("adam: g (n) -> p (n), m (n), v (n)", g, p, m, v)
    for i in range(p.size):
        w = p[i] * decay
        gi = _with_decay(sign * g[i], mixed_decay, p[i])
        mi = m[i] + (f32(1) - beta1) * (gi - m[i])
        vi = v[i] * beta2 + (f32(1) - beta2) * gi * gi
        m[i], v[i] = mi, vi
        p[i] = w - rate * mi / (np.sqrt(vi) * root + eps)
