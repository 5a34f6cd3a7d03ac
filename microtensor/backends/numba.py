"""The CPU with numba installed: NumPy's kernels, with the hot loops compiled.

Each method prepares memory for the loop of the same name in `numba_kernels.py`, for float32; other
dtypes, and arrays too small to matter, take NumPy's way. What shapes a loop needs it says and
checks itself: see `preconditions.py`. Products stay with BLAS. numba is
imported, and the loops compiled or read from the disk cache, when the first large array comes.
"""

import functools
import importlib
import math
import pathlib
import sys
from functools import partial

import numpy as np

from .kernels import GELU_A, GELU_B, NORMAL
from .numpy import NumPyBackend
from .numpy_kernels import TAIL, TAIL_A, in_order_of
from .uninterrupted import uninterrupted
from .weights import FEW, FloatWeight, Int4Weight, Int8Weight

SMALL = 1 << 7  # elements below which NumPy is as fast
f32 = np.float32
FLOAT32 = np.dtype(f32)


@functools.cache
def kernels():
    """The compiled loops. Says so where they must be compiled first."""
    numba_kernels = uninterrupted(importlib.import_module, ".numba_kernels", __package__)
    folder = getattr(numba_kernels.gelu._cache, "folder", None)  # None without a cache
    if folder and not any(pathlib.Path(folder).glob("numba_kernels.*.nbi")):
        print("microtensor: compiling its loops for this machine, once …", file=sys.stderr)
    return numba_kernels


def _large(*arrays):
    """True if the compiled loops are worth calling, and can be."""
    if arrays[0].size < SMALL:
        return False
    for a in arrays:  # noqa: SIM110 — a plain loop takes half the time, at every operation
        if a is not None and (a.dtype is not FLOAT32 or not a.size):
            return False
    return True


@functools.cache
def weight_kernels():
    """The compiled products with the weights of `weights.py`."""
    return uninterrupted(importlib.import_module, ".numba_weights", __package__)


NOTHING = np.empty(0, f32)
_TAIL = f32(TAIL_A), np.array(TAIL, f32), f32(NORMAL)
_TANH = f32(2 * GELU_A), f32(GELU_B)


def _flat(x):
    return np.ascontiguousarray(x).reshape(-1)


def _lines(x):
    """x, which is not empty, as contiguous rows along its last axis."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def _each(kernel, *arrays, numbers=()):
    """The result of a compiled loop over the elements of arrays of one shape."""
    out = np.empty(arrays[0].shape, f32)
    kernel(*map(_flat, arrays), out.reshape(-1), *numbers)
    return out


def _gelu(tanh):
    """The loops of GELU forth and back, and the numbers that they take."""
    k = kernels()
    return (k.gelu_tanh, k.gelu_tanh_backward, _TANH) if tanh else (k.gelu, k.gelu_backward, _TAIL)


def _large_rows(axis, *arrays):
    """`_large`, where the rows lie along the last axis."""
    return _large(*arrays) and axis in (-1, arrays[0].ndim - 1)


def _by_rows(kernel, *arrays):
    """The result of a compiled loop over the rows of arrays of one shape."""
    out = np.empty(arrays[0].shape, f32)
    kernel(*map(_lines, arrays), _lines(out))
    return out


def _of_rows(x, weight, *bias):
    """Rows to be normalised, and the weight and bias, where there are none ones and zeros."""
    n = x.shape[-1]
    weight = np.ones(n, f32) if weight is None else np.ascontiguousarray(weight)
    bias = [np.zeros(n, f32) if b is None else np.ascontiguousarray(b) for b in bias]
    return _lines(x), weight, *bias


def _fits(x, weight, bias):
    """True if the bias has one number for each output, and the compiled loops can be called."""
    return (bias is None or bias.shape == weight.shape[:1]) and _large(x, weight, bias)


class NumbaBackend(NumPyBackend):
    """Every kernel for NumPy arrays, the hot ones compiled."""

    # ---- loops that write where they wrote before: see nn.Replay ---------------------

    def _plan_gelu(self, x, y, approximate="none"):
        if not _large(x):
            return super()._plan_gelu(x, y, approximate)
        loop, _, numbers = _gelu(approximate == "tanh")
        return partial(loop, _flat(x), _flat(y), *numbers)

    def _plan_layer_norm(self, x, weight, bias, y, eps):
        if not _large(x, weight, bias):
            return super()._plan_layer_norm(x, weight, bias, y, eps)
        return partial(kernels().layer_norm, *_of_rows(x, weight, bias), eps, _lines(y))

    def _plan_rms_norm(self, x, weight, y, eps):
        if not _large(x, weight):
            return None
        return partial(kernels().rms_norm, *_of_rows(x, weight), eps, _lines(y))

    def _plan_linear(self, x, weight, bias, y):
        if not _fits(x, weight, bias) or x.size != x.shape[-1]:
            return super()._plan_linear(x, weight, bias, y)
        return partial(kernels().linear, x, weight, bias, y)

    # ---- elementwise -----------------------------------------------------------------

    def relu(self, x):
        return _each(kernels().relu, x) if _large(x) else super().relu(x)

    def relu_backward(self, g, y):
        if not _large(g, y):
            return super().relu_backward(g, y)
        return _each(kernels().relu_backward, g, y)

    def sigmoid(self, x):
        return _each(kernels().sigmoid, x) if _large(x) else super().sigmoid(x)

    # What these loops save is less than NumPy's kernels do: what their way back can compute again.

    def gelu(self, x, tanh=False):
        if not _large(x):
            return super().gelu(x, tanh)
        loop, _, numbers = _gelu(tanh)
        return _each(loop, x, numbers=numbers), tanh

    def gelu_backward(self, g, x, slope):
        if not isinstance(slope, bool):
            return super().gelu_backward(g, x, slope)
        _, loop, numbers = _gelu(tanh=slope)
        return _each(loop, g, x, numbers=numbers)

    def dropout(self, x, p, seed):
        if not _large(x) or not 0 < p < 1:
            return super().dropout(x, p, seed)
        y, keep = np.empty(x.shape, f32), np.empty(x.shape, bool)
        kernels().dropout(
            _flat(x), y.reshape(-1), keep.reshape(-1), _threshold(p), f32(1 / (1 - p)), _bits(seed)
        )
        return y, keep

    def dropout_backward(self, g, mask, p):
        if not _large(g) or not p < 1:
            return super().dropout_backward(g, mask, p)
        out = np.empty(g.shape, f32)
        kernels().dropout_backward(_flat(g), _flat(mask), out.reshape(-1), f32(1 / (1 - p)))
        return out

    # ---- rows: softmax and normalisation ---------------------------------------------

    def softmax(self, x, axis):
        if not _large_rows(axis, x):
            return super().softmax(x, axis)
        return _by_rows(kernels().softmax, x)

    def softmax_backward(self, g, y, axis):
        if not _large_rows(axis, g, y):
            return super().softmax_backward(g, y, axis)
        return _by_rows(kernels().softmax_backward, g, y)

    def log_softmax(self, x, axis):
        if not _large_rows(axis, x):
            return super().log_softmax(x, axis)
        return _by_rows(kernels().log_softmax, x)

    def log_softmax_backward(self, g, y, axis):
        if not _large_rows(axis, g, y):
            return super().log_softmax_backward(g, y, axis)
        return _by_rows(kernels().log_softmax_backward, g, y)

    def layer_norm(self, x, weight, bias, eps):
        if not _large(x, weight, bias):
            return super().layer_norm(x, weight, bias, eps)
        y = np.empty(x.shape, f32)
        kernels().layer_norm(*_of_rows(x, weight, bias), eps, _lines(y))
        return y, eps

    def layer_norm_backward(self, g, x, saved, weight):
        if isinstance(saved, tuple):
            return super().layer_norm_backward(g, x, saved, weight)
        n = g.shape[-1]
        g_x, g_weight, g_bias = np.empty(g.shape, f32), np.zeros(n, f32), np.zeros(n, f32)
        kernels().layer_norm_backward(
            _lines(g), *_of_rows(x, weight), saved, _lines(g_x), g_weight, g_bias
        )
        return g_x, g_weight, g_bias

    def rms_norm(self, x, weight, eps):
        if not _large(x, weight):
            return super().rms_norm(x, weight, eps)
        y = np.empty(x.shape, f32)
        kernels().rms_norm(*_of_rows(x, weight), eps, _lines(y))
        return y, eps

    def rms_norm_backward(self, g, x, saved, weight):
        if isinstance(saved, tuple):
            return super().rms_norm_backward(g, x, saved, weight)
        g_x, g_weight = np.empty(g.shape, f32), np.zeros(g.shape[-1], f32)
        kernels().rms_norm_backward(_lines(g), *_of_rows(x, weight), saved, _lines(g_x), g_weight)
        return g_x, g_weight

    # ---- products --------------------------------------------------------------------

    def linear(self, x, weight, bias):
        if not _fits(x, weight, bias) or not weight.flags.c_contiguous:
            return super().linear(x, weight, bias)
        if x.size != x.shape[-1]:
            y = super().linear(x, weight, None)
            if bias is not None:
                kernels().add_bias(_lines(y), np.ascontiguousarray(bias))
            return y
        y = np.empty(x.shape[:-1] + weight.shape[:1], FLOAT32)  # one row, as in writing a text
        kernels().linear(np.ascontiguousarray(x), weight, bias, y)
        return y

    def stored_linear(self, x, weight, bias, y):
        if not 0 < len(x) <= FEW or x.dtype is not FLOAT32 or not weight.size:
            super().stored_linear(x, weight, bias, y)
        elif type(weight) is Int8Weight:
            weight_kernels().int8_linear(x, *weight.parts.values(), bias, y)
        elif type(weight) is FloatWeight:
            weight_kernels().float_linear(x, weight.numbers, bias, y)
        elif type(weight) is Int4Weight:
            packed, scale = weight.parts.values()
            padded = np.zeros((len(x), 2 * packed.shape[1]), f32)
            padded[:, : x.shape[1]] = x
            weight_kernels().int4_linear(padded, packed, scale, bias, y)

    def attention(self, q, k, v, mask, causal, scale, p, seed):
        heads = q.shape[:-2]
        plain = k.shape[:-2] == heads == v.shape[:-2] and (mask is None or mask.ndim == 2)
        if not plain or not _large(q, k, v) or not 0 <= p < 1:
            return super().attention(q, k, v, mask, causal, scale, p, seed)
        n, m = q.shape[-2], k.shape[-2]
        scores = (q @ k.mT).reshape(math.prod(heads), n, m)
        if mask is None:
            extra = np.zeros((1, 1, m), f32)
        else:
            extra = np.where(mask, f32(0), f32(-np.inf)) if mask.dtype == bool else mask.astype(f32)
            extra = np.ascontiguousarray(np.broadcast_to(extra, (*extra.shape[:-1], m)))[None]
        weights = scores  # each row is read before it is written
        kept = np.empty_like(scores) if p else scores
        keep = np.empty(scores.shape if p else (0, 0, 0), bool)
        kernels().attention_weights(
            scores, extra, causal, f32(scale), p, _bits(seed), weights, kept, keep
        )
        weights, kept = weights.reshape(*heads, n, m), kept.reshape(*heads, n, m)
        if not p:
            return in_order_of(q, weights, v), weights, None
        return kept @ v, weights, keep.reshape(*heads, n, m)

    def attention_backward(self, g, q, k, v, weights, keep, scale, p):
        if not _large(q, k, v, g, weights) or g.shape[:-2] != weights.shape[:-2]:
            return super().attention_backward(g, q, k, v, weights, keep, scale, p)
        used = weights if keep is None else self.dropout_backward(weights, keep, p)
        g_v = used.mT @ g
        g_scores = np.ascontiguousarray(g @ v.mT)  # which is written to
        lines = (-1, *g_scores.shape[-2:])
        kept = np.empty((0, 0, 0), bool)
        if keep is not None:
            kept = np.ascontiguousarray(keep).reshape(lines)
        kernels().attention_scores_backward(
            g_scores.reshape(lines),
            np.ascontiguousarray(weights).reshape(lines),
            kept,
            0.0 if keep is None else p,
            g_scores.reshape(lines),
        )
        g_q, g_k = g_scores @ k, g_scores.mT @ q
        g_q *= scale
        g_k *= scale
        return g_q, g_k, g_v, g_scores

    def cached_attention(self, q, k, v, keys, values, start, scale):
        B, T, H, D = q.shape
        if T > 1 or not _large(q, k, v, keys, values):
            return super().cached_attention(q, k, v, keys, values, start, scale)
        out, weights = np.empty((B, 1, H * D), f32), np.empty((B, H, 1, start + 1), f32)
        new = map(np.ascontiguousarray, (q, k, v))
        kernels().cached_attention(*new, keys, values, scale, weights, out.reshape(B, H, D))
        return out, weights

    def batch_attention(self, q, k, v, keys, values, rows, starts, scale):
        B, T, H, D = q.shape
        if T > 1 or not B or keys.dtype is not FLOAT32 or not keys.size:
            return super().batch_attention(q, k, v, keys, values, rows, starts, scale)
        out, scores = np.empty((B, H, D), f32), np.empty(keys.shape[2], f32)
        new = map(np.ascontiguousarray, (q, k, v))
        weight_kernels().batch_attention(*new, rows, starts, scale, keys, values, scores, out)
        return out.reshape(B, 1, H * D)

    # ---- losses and tables -----------------------------------------------------------

    def cross_entropy(self, x, target, counted, share, weight, smoothing):
        if smoothing or not _large(x, share):
            return super().cross_entropy(x, target, counted, share, weight, smoothing)
        losses, p = np.empty(len(x), f32), np.empty(x.shape, f32)
        target, share = _flat(target), share if share is None else _flat(share)
        kernels().cross_entropy(_lines(x), target, share, losses, p)
        return losses, p, (share, target)

    def cross_entropy_backward(self, g, probabilities, q):
        if not isinstance(q, tuple) or not _large(probabilities):
            return super().cross_entropy_backward(g, probabilities, q)
        out = np.empty(probabilities.shape, f32)
        kernels().cross_entropy_backward(np.ascontiguousarray(g), probabilities, q[1], q[0], out)
        return out

    def embedding_backward(self, g, index, rows):
        if not _large(g):
            return super().embedding_backward(g, index, rows)
        out = np.zeros((rows, g.shape[-1]), f32)
        kernels().embedding_backward(_lines(g), _flat(index), out)
        return out

    # ---- optimizers ------------------------------------------------------------------

    def sgd(self, p, g, velocity, lr, momentum, dampening, weight_decay, nesterov, maximize):
        options = (lr, momentum, dampening, weight_decay, nesterov, maximize)
        few = p.size < 1 << 14  # NumPy's two or three passes over them are as fast
        if few or not (
            _large(p, g, velocity) and all(a is None or a.flags.c_contiguous for a in (p, velocity))
        ):
            return super().sgd(p, g, velocity, *options)
        if not momentum:
            velocity = None
        elif velocity is None:  # the first one is g, whatever the dampening
            velocity, dampening = np.zeros(p.shape, f32), 0
        kernels().sgd(
            p.reshape(-1),
            _flat(g),
            NOTHING if velocity is None else velocity.reshape(-1),
            f32(lr),
            f32(momentum),
            f32(1 - dampening),
            f32(weight_decay),
            nesterov,
            f32(-1 if maximize else 1),
        )
        return velocity

    def adam(self, p, g, m, v, top, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize):
        in_place = all(a.flags.c_contiguous for a in (p, m, v))
        if top is not None or not in_place or not _large(p, g, m, v):
            args = (top, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize)
            super().adam(p, g, m, v, *args)
            return
        kernels().adam(
            p.reshape(-1),
            _flat(g),
            m.reshape(-1),
            v.reshape(-1),
            f32(-1 if maximize else 1),
            f32(1 - lr * weight_decay if decoupled else 1),
            f32(0 if decoupled else weight_decay),
            f32(beta1),
            f32(beta2),
            f32(lr / (1 - beta1**step)),
            f32(1 / math.sqrt(1 - beta2**step)),
            f32(eps),
        )


def _threshold(p):
    """Of 32 random bits, the number below which a share p of them lies."""
    return np.uint32(int(p * 2**32))


def _bits(seed):
    """32 bits of a seed; it is None where nothing is dropped."""
    seed = seed or 0
    return np.uint32((seed ^ seed >> 32) & 0xFFFFFFFF if seed else 0)
