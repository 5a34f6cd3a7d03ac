"""The readable definition of every fused kernel, its backward directly below.

The methods are written with the array namespace `xp` and operators alone, so they run on any array
library and on Tensors. `f_backward` takes the gradient of the result of `f`, and what `f` kept.
"""

import math

import numpy as np


class Kernels:
    """Every kernel, in portable array-API code; `base.Backend` has the arrays that they need."""

    # ---- elementwise -----------------------------------------------------------------

    def erf(self, x):
        """The error function, 2/√π ∫₀ˣ e^(−t²) dt, to the precision of the dtype."""
        # W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23, 1969
        xp, size, square = self.xp, self.xp.abs(x), x * x
        near = x * _ratio(square, *ERF_NEAR)
        far = xp.exp(-square) * _ratio(self.where(size > 6, 6.0, size), *ERF_FAR)
        return self.where(size <= 0.46875, near, xp.sign(x) * (1 - far))

    def sigmoid(self, x):
        """1 / (1 + e⁻ˣ), without overflow on either side."""
        e = self.xp.exp(-self.xp.abs(x))
        return self.where(x < 0, e, 1.0) / (1 + e)

    def sign(self, x):
        """−1, 0 or 1 in the dtype of x; 0 of a NaN."""
        return self.xp.astype(x > 0, x.dtype) - self.xp.astype(x < 0, x.dtype)

    def relu(self, x):
        """max(x, 0); NaN stays."""
        return self.xp.maximum(x, 0)

    def relu_backward(self, g, y):
        """g where y = relu(x) is not 0"""
        return self.where(y <= 0, 0.0, g)

    def gelu(self, x, tanh=False):
        """x Φ(x), with Φ the normal distribution, or its tanh approximation (arXiv:1606.08415).

        Also its slope, Φ(x) + x Φ'(x), which costs little more while Φ is at hand.
        """
        if tanh:
            t = self.xp.tanh(GELU_A * (x + GELU_B * (x * x * x)))
            bend = 0.5 * x * (1 - t * t) * (GELU_A * (1 + 3 * GELU_B * (x * x)))
            return 0.5 * x * (1 + t), 0.5 * (1 + t) + bend
        phi = 0.5 * (1 + self.erf(x * SQRT_HALF))
        return x * phi, phi + x * (self.xp.exp(-0.5 * (x * x)) * NORMAL)

    def gelu_backward(self, g, x, slope):
        return g * slope

    def keep_mask(self, x, p, seed):
        """Booleans of x's shape, each false with probability p; the same ones for the same seed."""
        random = np.random.Generator(np.random.SFC64(seed))
        return self.asarray(random.random(tuple(x.shape), dtype=np.float32) >= p)

    def dropout(self, x, p, seed):
        """x with a share p of its elements zero and the rest divided by 1 − p; and the mask."""
        mask = self.keep_mask(x, p, seed)
        return self.dropout_backward(x, mask, p), mask

    def dropout_backward(self, g, mask, p):
        return g * (self.xp.astype(mask, g.dtype) * (1 / (1 - p)))

    # ---- rows: softmax and normalisation ---------------------------------------------

    def softmax(self, x, axis):
        """eˣ / Σ eˣ, shifted by the largest x so that nothing overflows. Rows of −∞ give NaN."""
        e = self.xp.exp(x - self.xp.max(x, axis=axis, keepdims=True))
        return e / self.sum(e, axis, True)

    def softmax_backward(self, g, y, axis):
        """y (g − Σ g y)"""
        return y * (g - self.sum(g * y, axis, True))

    def log_softmax(self, x, axis):
        """x − log Σ eˣ"""
        x = x - self.xp.max(x, axis=axis, keepdims=True)
        return x - self.xp.log(self.sum(self.xp.exp(x), axis, True))

    def log_softmax_backward(self, g, y, axis):
        """g − eʸ Σ g"""
        return g - self.xp.exp(y) * self.sum(g, axis, True)

    def layer_norm(self, x, weight, bias, eps):
        """(x − mean) / √(var + eps) · weight + bias over the last axis; and x̂, 1/σ (1607.06450)."""
        centred = x - self.mean(x, -1, True)
        r = 1 / self.xp.sqrt(self.mean(centred * centred, -1, True) + eps)
        x_hat = centred * r
        y = x_hat if weight is None else x_hat * weight
        return y if bias is None else y + bias, (x_hat, r)

    def layer_norm_backward(self, g, x, saved, weight):
        """r (h − mean h − x̂ mean(h x̂)) with h = g·weight; and the sums for weight and bias."""
        x_hat, r = saved
        h = g if weight is None else g * weight
        mean = self.mean(h, -1, True)
        slope = self.mean(h * x_hat, -1, True)
        rows = tuple(range(len(g.shape) - 1))
        return (
            r * (h - mean - x_hat * slope),
            self.sum(g * x_hat, rows),
            self.sum(g, rows),
        )

    def rms_norm(self, x, weight, eps):
        """x / √(mean x² + eps) · weight over the last axis; and x̂, 1/rms (1910.07467)."""
        r = 1 / self.xp.sqrt(self.mean(x * x, -1, True) + eps)
        x_hat = x * r
        return x_hat if weight is None else x_hat * weight, (x_hat, r)

    def rms_norm_backward(self, g, x, saved, weight):
        """r (h − x̂ mean(h x̂)) with h = g·weight; and the sum for weight."""
        x_hat, r = saved
        h = g if weight is None else g * weight
        slope = self.mean(h * x_hat, -1, True)
        return r * (h - x_hat * slope), self.sum_rows(g * x_hat)

    # ---- products --------------------------------------------------------------------

    def einsum(self, equation, *arrays):
        """Σ of products over the letters that the result lacks; no letter twice in one term."""
        terms, result = equation.split("->")
        letters = result + "".join(sorted(set(terms) - set(result) - {","}))
        product = None
        for term, array in zip(terms.split(","), arrays, strict=True):
            order = sorted(range(len(term)), key=lambda i: letters.index(term[i]))
            array = self.xp.permute_dims(array, tuple(order))
            sizes = iter(array.shape)
            array = self.xp.reshape(array, tuple(next(sizes) if c in term else 1 for c in letters))
            product = array if product is None else product * array
        return self.sum(product, tuple(range(len(result), len(letters))))

    def linear(self, x, weight, bias):
        """x weightᵀ + bias, for x (…, n), weight (m, n), bias (m)."""
        y = x @ weight.T
        return y if bias is None else y + bias

    def stored_linear(self, x, weight, bias, y):
        """Write x weightᵀ + bias into y (r, m), for x (r, n) and one of `weights.py` (m, n)."""
        y[...] = self.linear(x, weight.wide(), bias)

    def linear_backward_weight(self, g, x):
        """gᵀ x, summed over every row: (m, n) from g (…, m) and x (…, n)."""
        rows = math.prod(g.shape[:-1])
        return self.xp.reshape(g, (rows, g.shape[-1])).T @ self.xp.reshape(x, (rows, x.shape[-1]))

    def sum_rows(self, g):
        """The sum over all axes but the last: a bias's gradient."""
        return self.sum(g, tuple(range(len(g.shape) - 1)))

    def attention(self, q, k, v, mask, causal, scale, p, seed):
        """softmax(q kᵀ·scale + mask) v over the last two axes (arXiv:1706.03762).

        `mask` is boolean (true: may be seen) or added to the scores; a query that may see nothing
        gets zeros. Returns the value, the weights, and the weights' dropout mask or None.
        """
        xp = self.xp
        scores = (q * scale) @ xp.matrix_transpose(k)
        if causal:
            seen = self.count_along(scores)[None, :] <= self.count_along(scores, -2)[:, None]
            scores = xp.where(seen, scores, -math.inf)
        if mask is not None:
            boolean = mask.dtype == xp.bool
            scores = xp.where(mask, scores, -math.inf) if boolean else scores + mask
        top = xp.max(scores, axis=-1, keepdims=True)
        e = xp.exp(scores - xp.where(top == -math.inf, 0.0, top))
        total = self.sum(e, -1, True)
        weights = e / xp.where(total == 0, 1.0, total)
        if not p:
            return weights @ v, weights, None
        kept, keep = self.dropout(weights, p, seed)
        return kept @ v, weights, keep

    def attention_backward(self, g, q, k, v, weights, keep, scale, p):
        """The gradients of q, k, v and of the scores (which a mask was added to)."""
        xp = self.xp
        used = weights if keep is None else self.dropout_backward(weights, keep, p)
        g_used = g @ xp.matrix_transpose(v)
        g_weights = g_used if keep is None else self.dropout_backward(g_used, keep, p)
        g_scores = self.softmax_backward(g_weights, weights, -1)
        return (
            g_scores @ k * scale,
            xp.matrix_transpose(g_scores) @ q * scale,
            xp.matrix_transpose(used) @ g,
            g_scores,
        )

    def cached_attention(self, q, k, v, keys, values, start, scale):
        """`attention` of new tokens to all so far; their keys and values are put with the others.

        q (B, T, H, D) are the new queries, k and v (B, T, G, D) the new keys and values, each for
        H / G queries; keys and values (B, G, length, D) hold those of `start` tokens. A token sees
        itself and all before it. Returns the value (B, T, H D) and the weights (B, H, T, S).
        """
        xp, (B, T, H, D), G = self.xp, q.shape, k.shape[2]
        S = start + T
        keys[:, :, start:S, :] = xp.permute_dims(k, (0, 2, 1, 3))
        values[:, :, start:S, :] = xp.permute_dims(v, (0, 2, 1, 3))
        q = xp.permute_dims(xp.reshape(q, (B, T, G, H // G, D)), (0, 2, 3, 1, 4))
        k, v = keys[:, :, None, :S, :], values[:, :, None, :S, :]  # (B, G, 1, S, D)
        seen = None
        if T > 1:
            seen = self.count_along(k, -2)[None, :] <= start + self.count_along(q, -2)[:, None]
        y, weights, _ = self.attention(q, k, v, seen, False, scale, 0.0, None)
        y = xp.reshape(xp.permute_dims(y, (0, 3, 1, 2, 4)), (B, T, H * D))
        return y, xp.reshape(weights, (B, H, T, S))

    def batch_attention(self, q, k, v, keys, values, rows, starts, scale):
        """`cached_attention` for texts of different lengths: (B, T, H D).

        Text i is row rows[i] of keys and values, which hold starts[i] of its tokens. Its result
        does not depend on the other texts.
        """
        found = []
        for i, (row, start) in enumerate(zip(rows.tolist(), starts.tolist())):
            new, kept = slice(i, i + 1), slice(row, row + 1)
            y, _ = self.cached_attention(
                q[new], k[new], v[new], keys[kept], values[kept], start, scale
            )
            found.append(y)
        return self.xp.concat(found)

    # ---- losses and tables -----------------------------------------------------------

    def cross_entropy(self, x, target, counted, share, weight, smoothing):
        """−log softmax(x)[target] of each row of x (n, c) times its share (n).

        With class weights w, and s the label smoothing, the loss of a row that is counted is
        (1−s)·share·(−log p[t]) + s/c·Σ w·(−log p). Without a share it is 1, without `counted` all
        rows are. Returns the losses (n), the probabilities (n, c) and the distribution (n, c) that
        each row was compared with, weights included.
        """
        xp = self.xp
        y = self.log_softmax(x, -1)
        q = xp.astype(target[:, None] == self.count_along(x)[None, :], x.dtype)
        if share is not None:
            q = q * share[:, None]
        if smoothing:
            even = xp.ones_like(q) if counted is None else xp.astype(counted, x.dtype)[:, None]
            even = even * (smoothing / x.shape[-1])
            q = q * (1 - smoothing) + (even if weight is None else even * weight)
        # −∞·0 counts as 0: a class ruled out by −∞ logits costs nothing unless it is the target
        cost = self.where(q == 0, 0.0, q * y)
        return -self.sum(cost, -1), xp.exp(y), q

    def cross_entropy_backward(self, g, probabilities, q):
        """g (p Σq − q) for each row."""
        return g[:, None] * (probabilities * self.sum(q, -1, True) - q)

    def embedding(self, weight, index):
        """The rows of weight (n, d) at an index of any shape: (…, d)."""
        rows = self.xp.take(weight, self.xp.reshape(index, (-1,)), axis=0)
        return self.xp.reshape(rows, (*index.shape, weight.shape[-1]))

    def embedding_backward(self, g, index, rows):
        """The rows of g (…, d) summed by their index, by a one-hot product: (rows, d)."""
        one_hot = self.xp.astype(self._table(index, rows), g.dtype)
        return one_hot @ self.xp.reshape(g, (math.prod(index.shape), g.shape[-1]))

    # ---- optimizers: one update of one parameter, in place ---------------------------

    def sgd(self, p, g, velocity, lr, momentum, dampening, weight_decay, nesterov, maximize):
        """p ← p − lr·v with v ← momentum·v + (1 − dampening)·g. Returns the velocity or None.

        Decay adds weight_decay·p to g; Nesterov's step is g + momentum·v.
        """
        g = -g if maximize else g
        if weight_decay:
            g = g + weight_decay * p
        if momentum:
            if velocity is None:
                velocity = self.xp.asarray(g, copy=True)
            else:
                velocity *= momentum
                velocity += (1 - dampening) * g
            g = g + momentum * velocity if nesterov else velocity
        p -= lr * g
        return velocity

    def adam(self, p, g, m, v, top, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize):
        """p ← p − lr·m̂ / (√v̂ + eps), with m and v running means of g and g² (arXiv:1412.6980).

        Decay is decoupled from g (AdamW, arXiv:1711.05101) or added to it (Adam). `top`, where
        given, keeps the largest v so far (AMSGrad).
        """
        g = -g if maximize else g
        if weight_decay and decoupled:
            p *= 1 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * p
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * (g * g)
        if top is not None:
            top[...] = self.xp.maximum(top, v)
        unbiased = self.xp.sqrt(v if top is None else top) / math.sqrt(1 - beta2**step)
        p -= (lr / (1 - beta1**step)) * (m / (unbiased + eps))


def _ratio(x, top, bottom):
    """Two polynomials of x, given by their coefficients from the highest power, divided."""
    above, below = top[0], bottom[0]
    for a, b in zip(top[1:], bottom[1:], strict=True):
        above, below = above * x + a, below * x + b
    return above / below


# fmt: off
ERF_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)
ERF_FAR = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
     1.23033935480374942e3),
)
# fmt: on
SQRT_HALF = math.sqrt(0.5)
NORMAL = 1 / math.sqrt(2 * math.pi)  # the height of the normal distribution
GELU_A = math.sqrt(2 / math.pi)
GELU_B = 0.044715
