"""The functions behind the layers: PyTorch's names, arguments and defaults.

The fused ones are operations of `ops/`; here their arguments are checked and brought into shape.
"""

import math
import warnings

from .. import ops
from ..autograd import in_place
from ..backends.dtypes import INT, bool_
from ..creation import arange, full
from ..ops.indexing import _check_positions
from ..random import draw_seed

# ---- layers --------------------------------------------------------------------------


def linear(input, weight, bias=None):
    """input weightᵀ + bias: (…, n) with weight (m, n) and bias (m) gives (…, m)."""
    return ops.linear(input, weight, bias)


def embedding(input, weight, padding_idx=None):
    """The rows of weight (n, d) at integer indices of any shape: (…, d).

    The row `padding_idx` gets no gradient. Raises IndexError for an index outside 0 … n − 1.
    """
    if input.dtype.rank != INT:
        raise RuntimeError(f"embedding: indices are integers, got {input.dtype}")
    if padding_idx is not None:
        padding_idx = _row(padding_idx, weight.shape[0])
    return ops.embedding(weight, input, padding_idx)


def _row(index, n):
    """A row counted from the front. Raises IndexError if there are only n."""
    if not -n <= index < n:
        raise IndexError(f"padding_idx {index} is out of range: there are {n} rows")
    return index % n


def dropout(input, p=0.5, training=True, inplace=False):
    """input with a random share p of its elements zero, the rest divided by 1 − p (1207.0580)."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p lies within 0 … 1, got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        return _changed(ops.mul, input, inplace, 0.0)
    return _changed(ops.dropout, input, inplace, p, draw_seed())


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """(x − mean) / √(var + eps) · weight + bias over the last dimensions (arXiv:1607.06450)."""
    rows, weight, bias = _rows_to_norm("layer_norm", input, normalized_shape, weight, bias)
    return _shaped(ops.layer_norm(rows, weight, bias, eps), input)


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """x / √(mean x² + eps) · weight over the last dimensions (arXiv:1910.07467).

    Without `eps`, the distance from 1 to the next number of the dtype.
    """
    if eps is None:
        eps = EPS[input.dtype.name]
    rows, weight, _ = _rows_to_norm("rms_norm", input, normalized_shape, weight, None)
    return _shaped(ops.rms_norm(rows, weight, eps), input)


EPS = {"float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}


def _rows_to_norm(name, input, shape, weight, bias):
    """The input with the dimensions that are normalized made one, and the affine part likewise."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    for what, have in (
        ("input", input.shape[input.ndim - len(shape) :] if shape else ()),
        ("weight", shape if weight is None else weight.shape),
        ("bias", shape if bias is None else bias.shape),
    ):
        if not shape or tuple(have) != shape:
            ending = "end in" if what == "input" else "be"
            have = input.shape if what == "input" else have
            raise RuntimeError(
                f"{name}: the shape of the {what} must {ending} the normalized shape {shape}, "
                f"got {tuple(have)}"
            )
    if len(shape) == 1:
        return input, weight, bias
    return (
        ops.flatten(input, -len(shape)),
        None if weight is None else ops.flatten(weight),
        None if bias is None else ops.flatten(bias),
    )


def _shaped(x, like):
    return x if x.shape == like.shape else ops.reshape(x, tuple(like.shape))


# ---- activations ---------------------------------------------------------------------


def _changed(op, input, inplace, *params):
    """The operation, or its form that changes the input in place."""
    if inplace:
        return in_place(input, op.op_name + "_", op, *params)
    return op(input, *params)


def relu(input, inplace=False):
    """max(x, 0)"""
    return _changed(ops.relu, input, inplace)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    """x where x > 0, else negative_slope·x"""
    return _changed(ops.leaky_relu, input, inplace, negative_slope)


def elu(input, alpha=1.0, inplace=False):
    """x where x > 0, else alpha (eˣ − 1) (arXiv:1511.07289)"""
    return _changed(ops.elu, input, inplace, alpha)


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


def softmax(input, dim, *, dtype=None):
    """eˣ / Σ eˣ along `dim`; `dtype` is converted to first."""
    return ops.softmax(input if dtype is None else input.to(dtype), dim)


def log_softmax(input, dim, *, dtype=None):
    """x − ln Σ eˣ along `dim`; `dtype` is converted to first."""
    return ops.log_softmax(input if dtype is None else input.to(dtype), dim)


# ---- losses --------------------------------------------------------------------------


def cross_entropy(
    input, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """−ln softmax(input)[target], for input (C), (N, C) or (N, C, d₁, …).

    `target` holds classes, in the shape of `input` without C, or probabilities, in the shape of
    `input`. `weight` (C) weighs the classes; the mean is taken over the weights of the targets that
    are not `ignore_index`, and is NaN if there are none. Label smoothing: arXiv:1512.00567.
    """
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(
            f"cross_entropy: label_smoothing lies within 0 … 1, got {label_smoothing}"
        )
    if target.is_floating_point():
        return _cross_entropy_of_shares(input, target, weight, reduction, label_smoothing)
    rows, target, shape = _classes_last("cross_entropy", input, target, weight)
    losses = ops.cross_entropy(rows, target, weight, ignore_index, label_smoothing)
    return _reduced_classes(losses, target, weight, ignore_index, reduction, shape)


def _cross_entropy_of_shares(input, target, weight, reduction, smoothing):
    """cross_entropy for targets that are probabilities."""
    if input.shape != target.shape:
        raise RuntimeError(
            f"cross_entropy: probabilities need the shape of the input, {tuple(input.shape)}, "
            f"got {tuple(target.shape)}"
        )
    dim = 1 if input.ndim > 1 else 0
    if smoothing:
        target = target * (1 - smoothing) + smoothing / input.shape[dim]
    cost = log_softmax(input, dim) * target
    if weight is not None:
        cost = cost * ops.reshape(weight, (-1,) + (1,) * (input.ndim - dim - 1))
    return _reduced(-ops.sum(cost, dim), reduction)


def nll_loss(input, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """−input[target]: `cross_entropy` of what are log-probabilities already."""
    rows, target, shape = _classes_last("nll_loss", input, target, weight)
    counted = target != ignore_index
    safe = ops.where(counted, target, 0)
    _check_positions("nll_loss", safe, rows.shape[1], IndexError)
    losses = -ops.gather(rows, 1, safe[:, None])[:, 0]
    if weight is not None:
        losses = losses * weight[safe]
    losses = ops.where(counted, losses, 0.0)
    return _reduced_classes(losses, target, weight, ignore_index, reduction, shape)


def _classes_last(name, input, target, weight):
    """Input (N, C, d₁, …) as rows (n, C), target (N, d₁, …) as (n), and the target's shape."""
    shape = tuple(target.shape)
    right = tuple(input.shape[:1]) + tuple(input.shape[2:]) if input.ndim > 1 else ()
    if input.ndim == 0 or shape != right:
        raise RuntimeError(
            f"{name}: an input (N, C, …) goes with targets (N, …); got {tuple(input.shape)} "
            f"with {shape}"
        )
    if target.dtype.rank != INT:
        raise RuntimeError(f"{name}: targets are integers, got {target.dtype}")
    classes = input.shape[1 if input.ndim > 1 else 0]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(f"{name}: {classes} class weights are needed, got {tuple(weight.shape)}")
    if input.ndim > 2:
        input = ops.movedim(input, 1, -1)
    rows = input if input.ndim == 2 else ops.reshape(input, (target.numel(), classes))
    return rows, ops.reshape(target, (target.numel(),)), shape


def _reduced_classes(losses, target, weight, ignore_index, reduction, shape):
    """`_reduced` with a mean over the weights of the targets that count."""
    if reduction != "mean":
        return _reduced(ops.reshape(losses, shape), reduction)
    counted = target != ignore_index
    weights = counted if weight is None else weight.detach()[target[counted]]
    total = weights.sum().item()
    # nothing to divide by gives NaN, but leaves the gradient zero, as in PyTorch
    return losses.sum() / total if total else losses.sum() + math.nan


def _reduced(losses, reduction):
    """The losses as they are, their sum, or their mean."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        return losses.mean() if losses.numel() else losses.sum() + math.nan
    raise ValueError(f'reduction is "none", "mean" or "sum", got {reduction!r}')


def _alike(name, input, target):
    """Warn of shapes that would be broadcast, which is seldom meant."""
    if input.shape != target.shape:
        warnings.warn(
            f"{name}: the target's shape {tuple(target.shape)} differs from the input's "
            f"{tuple(input.shape)} and is broadcast",
            stacklevel=3,
        )


def mse_loss(input, target, *, reduction="mean"):
    """(input − target)²"""
    _alike("mse_loss", input, target)
    return _reduced(ops.square(input - target), reduction)


def l1_loss(input, target, *, reduction="mean"):
    """|input − target|"""
    _alike("l1_loss", input, target)
    return _reduced(ops.abs(input - target), reduction)


def smooth_l1_loss(input, target, *, reduction="mean", beta=1.0):
    """d² / 2 beta where d = |input − target| < beta, else d − beta / 2 (arXiv:1504.08083)"""
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: beta is at least 0, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    _alike("smooth_l1_loss", input, target)
    return _reduced(_huber(input - target, beta) / beta, reduction)


def huber_loss(input, target, reduction="mean", delta=1.0):
    """d² / 2 where d = |input − target| < delta, else delta (d − delta / 2)"""
    if delta <= 0:
        raise RuntimeError(f"huber_loss: delta is above 0, got {delta}")
    _alike("huber_loss", input, target)
    return _reduced(_huber(input - target, delta), reduction)


def _huber(difference, delta):
    size = ops.abs(difference)
    near = ops.square(difference) * 0.5
    return ops.where(size < delta, near, delta * (size - 0.5 * delta))


def binary_cross_entropy(input, target, weight=None, *, reduction="mean"):
    """−t ln x − (1 − t) ln(1 − x), each logarithm at least −100, for probabilities x."""
    _same("binary_cross_entropy", input, target)
    if input.numel() and not bool(((input >= 0) & (input <= 1)).all()):
        raise RuntimeError("binary_cross_entropy: the input lies within 0 … 1")
    losses = ops.binary_cross_entropy(input, target)
    return _reduced(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input, target, weight=None, *, reduction="mean", pos_weight=None
):
    """−t ln σ(x) − (1 − t) ln σ(−x), safe for large |x|; `pos_weight` multiplies the first term."""
    _same("binary_cross_entropy_with_logits", input, target)
    share = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    losses = (1 - target) * input - share * ops.logsigmoid(input)
    return _reduced(losses if weight is None else losses * weight, reduction)


def _same(name, input, target):
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: input and target need one shape, got {tuple(input.shape)} and "
            f"{tuple(target.shape)}"
        )


def kl_div(input, target, *, reduction="mean", log_target=False):
    """t (ln t − input), for log-probabilities `input`; "batchmean" divides the sum by the batch."""
    if log_target:
        losses = ops.exp(target) * (target - input)
    else:
        some = target > 0
        losses = ops.where(some, target * (ops.log(ops.where(some, target, 1.0)) - input), 0.0)
    if reduction == "batchmean":
        return losses.sum() / input.shape[0]
    return _reduced(losses, reduction)


# ---- shapes and distances ------------------------------------------------------------


def one_hot(tensor, num_classes=-1):
    """Integers (…) as rows (…, num_classes) with a 1 at their place; as many as needed for −1."""
    if tensor.dtype.rank != INT:
        raise RuntimeError(f"one_hot: classes are integers, got {tensor.dtype}")
    if not tensor.numel() and num_classes <= 0:
        raise RuntimeError("one_hot: num_classes is needed for a tensor without elements")
    low, high = (int(tensor.min()), int(tensor.max())) if tensor.numel() else (0, -1)
    n = high + 1 if num_classes == -1 else num_classes
    if low < 0 or high >= n:
        raise RuntimeError(f"one_hot: class {low if low < 0 else high} is not among 0 … {n - 1}")
    return (tensor[..., None] == arange(n, device=tensor.device)).to("int64")


def pad(input, pad, mode="constant", value=None):
    """input with `value` (0) around it: pad = (left, right) of the last dimension, then the one
    before it, and so on. Negative numbers cut off."""
    if mode != "constant":
        raise NotImplementedError(f'pad: only the mode "constant" is there, got {mode!r}')
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise RuntimeError(
            f"pad: a pair for each of at most {input.ndim} dimensions, got {tuple(pad)}"
        )
    pairs = [(0, 0)] * (input.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2]))[::-1]
    for dim, (before, after) in enumerate(pairs):
        if -before - after > input.shape[dim]:
            raise RuntimeError(f"pad: {(before, after)} leaves nothing of size {input.shape[dim]}")
    kept = input[tuple(slice(max(-b, 0), n - max(-a, 0)) for (b, a), n in zip(pairs, input.shape))]
    shape = [n + b + a for (b, a), n in zip(pairs, input.shape)]
    out = full(shape, value or 0, dtype=input.dtype, device=input.device)
    out[tuple(slice(max(b, 0), n - max(a, 0)) for (b, a), n in zip(pairs, shape))] = kept
    return out


def normalize(input, p=2.0, dim=1, eps=1e-12):
    """input divided by its p-norm along `dim`, or by eps where that is larger."""
    return input / ops.clamp(ops.norm(input, p, dim, True), eps)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """x₁·x₂ / (|x₁| |x₂|) along `dim`, no norm counted below eps."""
    x1, x2 = ops.broadcast_tensors(x1, x2)
    norms = (ops.clamp(ops.norm(x, 2, dim), eps) for x in (x1, x2))
    return ops.sum(x1 * x2, dim) / math.prod(norms)


# ---- attention -----------------------------------------------------------------------


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    """softmax(query keyᵀ·scale + mask) value (arXiv:1706.03762).

    query (…, L, E), key (…, S, E), value (…, S, V) give (…, L, V). A boolean mask (…, L, S) is
    true where a query may see a key, a floating one is added. `is_causal` lets query i see keys
    0 … i. `scale` is 1/√E unless given. With `enable_gqa` groups of query heads share a head of
    key and value. A query that may see nothing gets zeros.
    """
    name = "scaled_dot_product_attention"
    if is_causal and attn_mask is not None:
        raise RuntimeError(f"{name}: is_causal is a mask already; leave attn_mask out")
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"{name}: dropout_p lies within 0 … 1, got {dropout_p}")
    if min(query.ndim, key.ndim, value.ndim) < 2 or not (
        query.shape[-1] == key.shape[-1] and key.shape[-2] == value.shape[-2]
    ):
        raise RuntimeError(
            f"{name}: query (…, L, E), key (…, S, E) and value (…, S, V) are needed, got "
            f"{tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
        )
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            f"{name}: query, key and value need one dtype, got {query.dtype}, {key.dtype} and "
            f"{value.dtype}"
        )
    if attn_mask is not None and attn_mask.dtype not in (query.dtype, bool_):
        raise RuntimeError(f"{name}: the mask is bool or {query.dtype}, got {attn_mask.dtype}")
    if enable_gqa:
        key, value = (_heads_shared(name, x, query.shape[-3]) for x in (key, value))
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    if dropout_p == 1:  # everything is dropped
        return 0.0 * ops.attention(query, key, value, attn_mask, is_causal, scale, 0.0, None)
    seed = draw_seed() if dropout_p else None
    return ops.attention(query, key, value, attn_mask, is_causal, scale, dropout_p, seed)


def _heads_shared(name, x, heads):
    """Keys or values (…, H, S, E) with each head repeated, to go with more heads of queries."""
    if heads % x.shape[-3]:
        raise RuntimeError(
            f"{name}: {heads} query heads cannot share {x.shape[-3]} heads of key and value evenly"
        )
    *batch, few, length, width = x.shape
    wide = ops.expand(x[..., None, :, :], (*batch, few, heads // few, length, width))
    return ops.reshape(wide, (*batch, heads, length, width))
