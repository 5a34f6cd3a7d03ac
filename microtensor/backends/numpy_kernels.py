"""The kernels of `kernels.py` again for NumPy's arrays, in place and without temporaries."""

import math
from functools import partial

import numpy as np

from .base import Backend
from .dtypes import PYTHON
from .kernels import NORMAL
from .quiet import quiet
from .sums import ONES, sum_along
from .weights import BLOCK as OF_WEIGHT
from .weights import FEW, StoredWeight, _matrix

HALF = np.dtype(np.float16)
BLOCK = 1 << 15  # elements that stay in a core's cache while several passes go over them


class NumPyKernels(Backend):
    """Every kernel for NumPy arrays."""

    # ---- elementwise -----------------------------------------------------------------

    def erf(self, x):
        return _in_blocks(super().erf, x)

    def sigmoid(self, x):
        e = np.asarray(np.abs(x))
        np.negative(e, out=e)
        np.exp(e, out=e)
        y = np.asarray(np.maximum(e, x >= 0))  # e where x < 0, else 1
        e += 1
        y /= e
        return y

    def gelu(self, x, tanh=False):
        if tanh or x.dtype != np.float32:
            return _in_blocks(lambda x: Backend.gelu(self, x, tanh), x)
        flat = x.reshape(-1)
        y, slope = np.empty_like(flat), np.empty_like(flat)
        _gelu_float32(flat, y, slope, np.empty(min(BLOCK, len(flat)), x.dtype))
        return y.reshape(x.shape), slope.reshape(x.shape)

    def dropout_backward(self, g, mask, p):
        out = g * mask
        out *= 1 / (1 - p)
        return out

    # ---- rows: softmax and normalisation ---------------------------------------------

    def softmax(self, x, axis):
        y = np.asarray(x - x.max(axis, keepdims=True))
        np.exp(y, out=y)
        y /= self.sum(y, axis, True)
        return y

    def softmax_backward(self, g, y, axis):
        out = np.asarray(g * y)
        total = self.sum(out, axis, True)
        np.subtract(g, total, out=out)
        out *= y
        return out

    def log_softmax(self, x, axis):
        y = np.asarray(x - x.max(axis, keepdims=True))
        y -= np.log(self.sum(np.exp(y), axis, True))
        return y

    def log_softmax_backward(self, g, y, axis):
        out = np.asarray(np.exp(y))
        out *= self.sum(g, axis, True)
        return np.subtract(g, out, out=out)

    def layer_norm(self, x, weight, bias, eps):
        return _norm(_normalised, x, weight, bias, eps)

    def layer_norm_backward(self, g, x, saved, weight):
        x_hat, sigma = saved
        n = g.shape[-1] or 1
        g_x = g.copy() if weight is None else g * weight
        mean = g_x.sum(-1, keepdims=True) / n
        slope = _dot_rows(g_x, x_hat) / n
        g_x -= mean
        scratch = x_hat * slope
        g_x -= scratch
        g_x /= sigma
        np.multiply(g, x_hat, out=scratch)
        return g_x, self.sum_rows(scratch), self.sum_rows(g)

    def rms_norm(self, x, weight, eps):
        return _norm(_scaled, x, weight, eps)

    # ---- products --------------------------------------------------------------------

    def einsum(self, equation, *arrays):
        if len(arrays) == 1:
            term, result = equation.split("->")
            gone = tuple(i for i, c in enumerate(term) if c not in result)
            y, left = self.sum(arrays[0], gone), [c for c in term if c in result]
            return y.transpose([left.index(c) for c in result])
        return np.einsum(equation, *arrays, optimize=True)

    def linear(self, x, weight, bias):
        y = _affine(_rows_or_one(x) if bias is None or bias.ndim == 1 else _rows(x), weight.T, bias)
        return y if x.ndim == 2 == y.ndim else y.reshape(*x.shape[:-1], len(weight))

    def stored_linear(self, x, weight, bias, y):
        """Block by block, so that the numbers are never all there at once."""
        m, n = weight.shape
        step = max(1, OF_WEIGHT // max(n, 1))
        for start in range(0, m, step):
            block, end = weight.rows(slice(start, start + step)), start + step
            if len(x) > FEW:
                y[:, start:end] = x @ block.T
            else:  # each row as it would be alone
                for row, out in zip(x, y):
                    out[start:end] = block.dot(row)
        if bias is not None:
            y += bias

    def linear_backward_weight(self, g, x):
        return _rows(g).T @ _rows(x)

    def sum_rows(self, g):
        rows = _rows(g)
        return sum_along(rows, 0) if rows.dtype in ONES else self.sum(rows, 0)

    # NumPy reduces over the last but one axis far faster than over short rows, so the scores are
    # kept transposed, (…, keys, queries), and shown as (…, queries, keys)

    def attention(self, q, k, v, mask, causal, scale, p, seed):
        scores = k @ (q * scale).mT
        if causal:
            m, n = scores.shape[-2:]
            scores += np.tril(np.full((m, n), -np.inf, scores.dtype), -1)
        if mask is not None:
            if mask.dtype == bool:
                mask = np.where(mask, scores.dtype.type(0), -np.inf)
            scores = _plus(
                scores,
                np.broadcast_to(mask, (*mask.shape[:-2], *q.shape[-2:-1], *k.shape[-2:-1])).mT,
            )
        top = scores.max(-2, keepdims=True, initial=-np.inf)
        top[top == -np.inf] = 0
        scores -= top
        weights = np.exp(scores, out=scores)
        total = self.sum(weights, -2, True)
        total[total == 0] = 1
        weights /= total
        if not p:
            return in_order_of(q, weights.mT, v), weights.mT, None
        kept, keep = self.dropout(weights, p, seed)
        return kept.mT @ v, weights.mT, keep.mT

    def attention_backward(self, g, q, k, v, weights, keep, scale, p):
        weights, keep = weights.mT, keep if keep is None else keep.mT
        used = weights if keep is None else self.dropout_backward(weights, keep, p)
        g_v = used @ g
        g_scores = v @ g.mT
        if keep is not None:
            g_scores *= keep
            g_scores *= 1 / (1 - p)
        g_scores *= weights
        total = self.sum(g_scores, -2, True)
        g_scores -= np.multiply(weights, total, out=used if keep is not None else None)
        g_q, g_k = g_scores.mT @ k, g_scores @ q
        g_q *= scale
        g_k *= scale
        return g_q, g_k, g_v, g_scores.mT

    def cached_attention(self, q, k, v, keys, values, start, scale):
        B, T, H, D = q.shape
        if T > 1:
            return super().cached_attention(q, k, v, keys, values, start, scale)
        G, S = k.shape[2], start + 1
        keys[:, :, start], values[:, :, start] = k[:, 0], v[:, 0]
        scores = (q * scale).reshape(B, G, H // G, D) @ keys[:, :, :S].mT  # (B, G, H / G, S)
        weights = self.softmax(scores, -1)
        y = weights @ values[:, :, :S]  # (B, G, H / G, D)
        return y.reshape(B, 1, H * D), weights.reshape(B, H, 1, S)

    # ---- losses and tables -----------------------------------------------------------

    def cross_entropy(self, x, target, counted, share, weight, smoothing):
        if smoothing:
            return super().cross_entropy(x, target, counted, share, weight, smoothing)
        target = target.copy()  # NumPy checks it before it uses it: see numpy.py's `_own`
        # each row is compared with one class: keep its share, not a whole row of zeros
        p = x - x.max(-1, keepdims=True)
        picked = p[np.arange(len(x)), target]
        np.exp(p, out=p)
        total = p.sum(-1)
        p /= total[:, None]
        losses = np.log(total)
        losses -= picked
        if share is not None:
            losses *= share
            losses[share == 0] = 0  # also where it is infinite
        return losses, p, (share, target)

    def cross_entropy_backward(self, g, probabilities, q):
        if not isinstance(q, tuple):
            return super().cross_entropy_backward(g, probabilities, q)
        share, target = q
        if share is not None:
            g = g * share
        out = probabilities * g[:, None]
        out[np.arange(len(out)), target] -= g
        return out

    def embedding(self, weight, index):
        return weight.take(index, 0)

    def embedding_backward(self, g, index, rows):
        g, index = _rows(g), index.flatten()  # a copy: see numpy.py's `_own`
        if rows <= 1024:  # for a small table a one-hot product beats indexed addition many times
            one_hot = np.zeros((rows, len(index)), g.dtype)
            one_hot[index, np.arange(len(index))] = 1
            return one_hot @ g
        out = np.zeros((rows, g.shape[-1]), g.dtype)
        if len(index):
            order = np.argsort(index, kind="stable")
            index = index[order]
            starts = np.flatnonzero(np.diff(index, prepend=-1))
            out[index[starts]] = np.add.reduceat(g[order], starts)
        return out

    # ---- optimizers ------------------------------------------------------------------

    @quiet
    def sgd(self, p, g, velocity, lr, momentum, dampening, weight_decay, nesterov, maximize):
        if weight_decay:
            decay = p * weight_decay
            g = decay - g if maximize else decay + g
        elif maximize:
            g = -g
        if momentum:
            if velocity is None:
                velocity = np.array(g)
            else:
                velocity *= momentum
                velocity += g * (1 - dampening) if dampening else g
            g = g + velocity * momentum if nesterov else velocity
        p -= g * lr
        return velocity

    @quiet
    def adam(self, p, g, m, v, top, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize):
        if maximize:
            g = -g
        if weight_decay and decoupled:
            p *= 1 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * p
        scratch = np.subtract(g, m, out=np.empty_like(m))
        scratch *= 1 - beta1
        m += scratch
        np.multiply(g, g, out=scratch)
        scratch -= v
        scratch *= 1 - beta2
        v += scratch
        if top is not None:
            v = np.maximum(top, v, out=top)
        # m̂ / (√v̂ + eps) is r m / (√v + eps r) / (1 − β₁ᵗ) with r = √(1 − β₂ᵗ): one pass less
        r = math.sqrt(1 - beta2**step)
        np.sqrt(v, out=scratch)
        scratch += eps * r
        np.divide(m, scratch, out=scratch)
        scratch *= lr * r / (1 - beta1**step)
        p -= scratch

    # ---- kernels that write where they wrote before: see nn.Replay -------------------

    def planned(self, name, inputs, value, args, params):
        if name == "linear" and isinstance(inputs[1], StoredWeight):
            return self._plan_stored_linear(*inputs, value)
        arrays = [a for a in (*inputs, value) if a is not None and type(a) not in PYTHON]
        if value.dtype is HALF or any(
            type(a) is not np.ndarray or a.dtype != value.dtype for a in arrays
        ):
            return None
        if name in ONE_UFUNC:
            return None if args or params else partial(ONE_UFUNC[name], *inputs, value)
        plan = getattr(self, f"_plan_{name}", None)
        if plan is None or not all(a.flags.c_contiguous and a.size for a in arrays):
            return None
        return plan(*inputs, value, *args, **params)

    def _plan_gelu(self, x, y, approximate="none"):
        if approximate != "none" or x.dtype != np.float32:
            return None
        scratch = np.empty((2, x.size), x.dtype)
        return partial(_gelu_float32, x.reshape(-1), y.reshape(-1), *scratch)

    def _plan_layer_norm(self, x, weight, bias, y, eps):
        return _planned_norm(_normalised, x, y, weight, bias, eps)

    def _plan_rms_norm(self, x, weight, y, eps):
        return _planned_norm(_scaled, x, y, weight, eps)

    def _plan_linear(self, x, weight, bias, y):
        if bias is not None and bias.ndim != 1:
            return None
        return partial(_affine, _rows_or_one(x), weight.T, bias, _rows_or_one(y))

    def _plan_stored_linear(self, x, weight, bias, y):
        if type(x) is not np.ndarray or not x.flags.c_contiguous:
            return None
        return partial(self.stored_linear, _matrix(x), weight, bias, _matrix(y))


# operations that are one function of NumPy's
ONE_UFUNC = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


def _rows(x):
    """x as a matrix of rows along its last axis."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _is_row(x):
    """True if x is a single row along its last axis, as in writing a text."""
    return x.size == x.shape[-1] > 0


def _rows_or_one(x):
    """`_rows`, which multiply faster than one sequence after the other; one row as a vector."""
    return x.reshape(-1) if _is_row(x) else _rows(x)


def _affine(x, weight, bias, y=None):
    """x weight + bias, written into y."""
    y = x.dot(weight, y)
    if bias is not None:
        y += bias
    return y


def _norm(kernel, x, *args):
    """A norm of each row; of a single one without broadcasting."""
    if not _is_row(x):
        return kernel(x, *args)
    y, (x_hat, scale) = kernel(x.reshape(-1), *args)
    return y.reshape(x.shape), (x_hat.reshape(x.shape), scale)


def _planned_norm(kernel, x, y, weight, *args):
    """The norm of a single row, written into y; None for others."""
    if not _is_row(x) or weight is None:
        return None
    x, y = x.reshape(-1), y.reshape(-1)
    return partial(kernel, x, weight, *args, np.empty_like(x), y)


def _normalised(x, weight, bias, eps, x_hat=None, y=None):
    """Layer norm, written into y and x_hat; y, and x_hat and σ."""
    n = x.shape[-1] or 1
    mean = np.add.reduce(x, -1, x.dtype, None, x.ndim > 1) / n
    x_hat = np.subtract(x, np.asarray(mean), x_hat)
    sigma = np.asarray(np.sqrt(_dot_rows(x_hat, x_hat) / n + eps))
    x_hat /= sigma
    y = x_hat.copy() if weight is None else np.multiply(x_hat, weight, y)
    if bias is not None:
        y += bias
    return y, (x_hat, sigma)


def _scaled(x, weight, eps, x_hat=None, y=None):
    """RMS norm, written into y and x_hat; y, and x_hat and 1 / rms."""
    r = np.asarray(1 / np.sqrt(_dot_rows(x, x) / (x.shape[-1] or 1) + eps))
    x_hat = np.multiply(x, r, x_hat)
    return x_hat if weight is None else np.multiply(x_hat, weight, y), (x_hat, r)


def in_order_of(q, weights, v):
    """weights @ v, laid out in memory as q is, so that heads are merged without a copy if q's are.

    PyTorch does so, and programs rely on it: they merge them with view().
    """
    if q.ndim != 4 or q.shape[:2] != v.shape[:2] or q.shape[-1] != v.shape[-1]:
        return weights @ v
    return np.matmul(weights, v, out=np.empty_like(q))


def _plus(a, b):
    """a + b, in place where a has the result's shape."""
    return np.add(a, b, out=a if a.shape == np.broadcast_shapes(a.shape, b.shape) else None)


def _dot_rows(a, b):
    """Σ a b over the last axis, kept as an axis of one where there are others."""
    return a.dot(b) if a.ndim == 1 else np.vecdot(a, b)[..., None]


def _in_blocks(function, x):
    """An elementwise function of one or more results, one cache-sized block after the other."""
    if x.size <= BLOCK:
        return function(x)
    flat = x.reshape(-1)
    outs = None
    for i in range(0, len(flat), BLOCK):
        part = function(flat[i : i + BLOCK])
        parts = part if isinstance(part, tuple) else (part,)
        outs = outs or [np.empty_like(flat) for _ in parts]
        for out, p in zip(outs, parts):
            out[i : i + BLOCK] = p
    outs = tuple(out.reshape(x.shape) for out in outs)
    return outs if isinstance(part, tuple) else outs[0]


def _gelu_float32(x, y, slope, scratch):
    """Write GELU and its slope. Φ(−x) = e^(−x²/2) t (c₁ + c₂ t + …), t = 1 / (1 + a x), for x ≥ 0.

    The form is that of Hastings (Approximations for Digital Computers, 1955); the coefficients are
    a minimax fit of ours, off by at most 5e-9, where float32 resolves 6e-8.
    """
    a, one, half, minus_half, height, last, *others = GELU_NUMBERS
    for i in range(0, len(x), BLOCK):
        x_, phi, e = x[i : i + BLOCK], y[i : i + BLOCK], slope[i : i + BLOCK]
        t = np.abs(x_, out=scratch[: len(x_)])
        t *= a
        t += one
        np.reciprocal(t, out=t)
        np.multiply(t, last, out=phi)
        for c in others:
            phi += c
            phi *= t
        np.multiply(x_, x_, out=e)
        e *= minus_half
        np.exp(e, out=e)
        phi *= e  # Φ(−|x|)
        np.subtract(half, phi, out=phi)
        np.copysign(phi, x_, out=phi)
        phi += half
        e *= x_
        e *= height
        e += phi
        phi *= x_


TAIL_A = 0.275
TAIL = (
    -0.11485978919508785, 0.4520047596840659, -0.33100336548790077, 0.333940443941416,
    0.042108167597624147, 0.11780978821927036,
)  # fmt: skip

# As arrays of the right dtype: with a Python number NumPy takes twice as long for a small array.
GELU_NUMBERS = [np.array(c, np.float32) for c in (TAIL_A, 1, 0.5, -0.5, NORMAL, *TAIL)]
