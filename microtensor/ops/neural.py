"""The fused operations of neural networks; their kernels are in `backends/`.

What a kernel saves for its way back goes to the backend that saved it, whichever is in use then.
"""

from ..autograd import op
from ..backends import backend_of, xp
from ..backends.dtypes import INT
from .indexing import _outside
from .shapes import broadcast_shapes


@op
def linear(x, weight, bias):
    """x weightᵀ + bias.    ∂x = g weight,    ∂weight = gᵀ x,    ∂bias = Σ g"""
    backend = backend_of(x)
    if type(weight) is not type(x):  # a weight may be kept in a form of its own
        backend = backend_of(weight)
    if x.shape[-1:] != weight.shape[1:]:
        raise RuntimeError(
            f"the last size of the input must be the weight's {weight.shape[1]} input features"
        )
    if x.dtype != weight.dtype:
        raise RuntimeError("input and weight need one dtype; convert one of them with .to()")
    return backend.linear(x, weight, bias), (
        lambda g: backend_of(g).linear(g, weight.T, None),
        lambda g: backend_of(g).linear_backward_weight(g, x),
        lambda g: backend_of(g).sum_rows(g),
    )


@op
def embedding(weight, index, /, padding_idx=None, scale_grad_by_freq=False):
    """The rows of weight at an index.    ∂weight = the rows of g summed by it, but padding_idx

    With `scale_grad_by_freq` averaged instead of summed.
    """
    if len(weight.shape) != 2:
        raise RuntimeError(f"a weight (n, d) is needed, got {tuple(weight.shape)}")
    n, backend = weight.shape[0], backend_of(weight)
    if backend_of(index).dtype(index).rank != INT:
        raise RuntimeError(f"indices are integers, got {index.dtype}")
    _in_range(index, n)

    def pull(g):
        if padding_idx is not None:
            g = backend_of(g).where((index == padding_idx)[..., None], 0.0, g)
        if scale_grad_by_freq:
            counts = backend_of(g).embedding_backward(xp(g).ones_like(g[..., :1]), index, n)
            g = g / backend_of(g).embedding(counts, index)
        return backend_of(g).embedding_backward(g, index, n)

    return backend.embedding(weight, index), (pull, None)


@op
def softmax(x, /, dim: int, *, dtype=None):
    """y = eˣ / Σ eˣ.    ∂x = y (g − Σ g y)"""
    y = backend_of(x).softmax(x, dim) if 0 not in x.shape else xp(x).zeros_like(x)
    return y, lambda g: backend_of(g).softmax_backward(g, y, dim)


@op
def log_softmax(x, /, dim: int, *, dtype=None):
    """y = x − ln Σ eˣ.    ∂x = g − eʸ Σ g"""
    y = backend_of(x).log_softmax(x, dim) if 0 not in x.shape else xp(x).zeros_like(x)
    return y, lambda g: backend_of(g).log_softmax_backward(g, y, dim)


@op
def layer_norm(x, weight, bias, /, eps):
    """x̂ weight + bias, x̂ = (x − mean) / σ.

    ∂x = (h − mean h − x̂ mean(h x̂)) / σ, h = g weight,    ∂weight = Σ g x̂,    ∂bias = Σ g
    """
    row = x.shape[-1:]
    if not (weight is None or weight.shape == row) or not (bias is None or bias.shape == row):
        raise RuntimeError(f"weight and bias must have the shape {tuple(row)}")
    y, saved = backend_of(x).layer_norm(x, weight, bias, eps)
    backend = backend_of(y)
    return y, lambda g: backend.layer_norm_backward(g, x, saved, weight)


@op
def rms_norm(x, weight, /, eps):
    """x̂ weight, x̂ = x / rms.    ∂x = (h − x̂ mean(h x̂)) / rms, h = g weight,    ∂weight = Σ g x̂"""
    if not (weight is None or weight.shape == x.shape[-1:]):
        raise RuntimeError(f"the weight must have the shape {tuple(x.shape[-1:])}")
    y, saved = backend_of(x).rms_norm(x, weight, eps)
    backend = backend_of(y)
    return y, lambda g: backend.rms_norm_backward(g, x, saved, weight)


@op
def attention(q, k, v, mask, /, causal, scale, p, seed):
    """y = w v, w = softmax(s), s = q kᵀ scale + mask.

    ∂v = wᵀ g,    ∂s = w (h − Σ h w), h = g vᵀ,    ∂q = ∂s k scale,    ∂k = ∂sᵀ q scale,
    ∂mask = ∂s
    """
    if mask is not None:
        _covers(mask.shape, q.shape, k.shape)
    if not 0 <= p < 1:
        raise RuntimeError(f"p lies within 0 … 1, and is not 1, got {p}")
    y, weights, keep = backend_of(q).attention(q, k, v, mask, causal, scale, p, seed)
    backend = backend_of(y)

    def pull(g):
        return backend.attention_backward(g, q, k, v, weights, keep, scale, p)

    return y, pull


@op
def dropout(x, /, p, seed):
    """x with a random share p of its elements zero, the rest over 1 − p.    ∂x = g, likewise"""
    if not 0 <= p < 1:
        raise RuntimeError(f"p lies within 0 … 1, and is not 1, got {p}")
    y, mask = backend_of(x).dropout(x, p, seed)
    backend = backend_of(y)
    return y, lambda g: backend.dropout_backward(g, mask, p)


@op
def cross_entropy(x, target, weight, /, ignore_index, smoothing, reduction="none"):
    """−ln softmax(x)[target] for each row.    ∂x = g (softmax(x) − one_hot(target))

    "sum" adds the rows up, "mean" also divides by the weights of the targets that count.
    """
    if len(x.shape) != 2 or target.shape != x.shape[:1]:
        raise RuntimeError("an input (n, classes) goes with targets (n)")
    if (dtype := backend_of(target).dtype(target)).rank != INT:
        raise RuntimeError(f"targets are integers, got {dtype}")
    backend, classes = backend_of(x), x.shape[-1]
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(f"{classes} class weights are needed")
    counted = share = None  # every row counts, and as much as any other
    if 0 <= ignore_index < classes or _outside(target, 0, classes) is not None:
        counted = target != ignore_index
        target = backend_of(target).where(counted, target, 0)
        _in_range(target, classes)
        share = xp(x).astype(counted, x.dtype)
    if weight is not None:
        picked = backend.embedding(weight[:, None], target)[:, 0]
        share = picked if share is None else share * picked
    losses, p, q = backend.cross_entropy(x, target, counted, share, weight, smoothing)
    rows, total = losses.shape, None
    if reduction == "mean":
        total = x.shape[0] if share is None else backend.sum(share)

    def pull(g):
        if share is None:
            g = g / (total or 1)
        elif total is not None:  # of nothing the mean is NaN, but its gradient zero, as in PyTorch
            g = g / backend_of(g).where(total == 0, 1.0, total)
        g = backend_of(g).broadcast_to(g, rows)
        return backend.cross_entropy_backward(g, p, q)

    if reduction != "none":
        losses = backend.sum(losses) if total is None else backend.sum(losses) / total
    return losses, (pull, None, None)


@op
def binary_cross_entropy(x, target):
    """−t ln x − (1 − t) ln(1 − x), no logarithm below −100.

    ∂x = g (x − t) / x (1 − x),    ∂t = g (ln(1 − x) − ln x)
    """
    yes, no = _log(x), _log(1 - x)

    def to_x(g):
        room = x * (1 - x)
        return g * (x - target) / backend_of(x).where(room < 1e-12, 1e-12, room)

    return -(target * yes + (1 - target) * no), (to_x, lambda g: g * (no - yes))


# ---- helpers -------------------------------------------------------------------------


def _in_range(index, n):
    """Raise IndexError if an array of positions goes outside 0 … n − 1."""
    wrong = _outside(index, 0, n)
    if wrong is not None:
        raise IndexError(f"index {wrong} is out of range: there are 0 to {n - 1}")


def _covers(mask, q, k):
    """Raise RuntimeError unless the shape of a mask broadcasts to that of the scores."""
    batch = q[:-2] if q[:-2] == k[:-2] else broadcast_shapes(q[:-2], k[:-2])
    scores = (*batch, q[-2], k[-2])
    spare = len(scores) - len(mask)
    if spare < 0 or any(n not in (1, m) for n, m in zip(mask, scores[spare:])):
        raise RuntimeError(f"the mask {tuple(mask)} does not broadcast to the scores {scores}")


def _log(x):
    """ln x, at least −100."""
    y = xp(x).log(backend_of(x).where(x == 0, 1.0, x))
    return backend_of(x).where((x == 0) | (y < -100), -100.0, y)
