"""The functions behind the layers: PyTorch's names, arguments and defaults.

The fused ones are operations of `ops/`; here their arguments are checked and brought into shape.
"""

import functools
import math
import warnings

from .. import ops
from ..autograd import no_grad
from ..autograd.autocast import autocasting
from ..autograd.calls import public_names
from ..autograd.errors import one_dtype, warn
from ..autograd.in_place import in_place
from ..backends.dtypes import INT, bool_, float64
from ..ops.convolution import _batch, _count, _each, _padded, fold_, windows_
from ..ops.indexing import _check_positions
from ..tensor.creation import arange, as_tensor, full, full_like, triu_indices, zeros_like
from ..tensor.random import draw_seed, rand_like
from .reduction import takes_old_reduction
from .resampling import *  # noqa: F403

# ---- layers --------------------------------------------------------------------------


def linear(input, weight, bias=None):
    """input weightᵀ + bias: (…, n) with weight (m, n) and bias (m) gives (…, m).

    A weight (n) gives (…); a bias of another shape is broadcast.
    """
    if len(weight._data.shape) == 1:
        y = ops.matmul(input, weight)
    elif bias is None or len(bias._data.shape) == 1:
        return ops.linear(input, weight, bias)
    else:
        y = ops.linear(input, weight, None)
    return y if bias is None else y + bias


def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0,
              scale_grad_by_freq=False, sparse=False):  # fmt: skip
    """The rows of weight (n, d) at integer indices of any shape: (…, d).

    The row `padding_idx` gets no gradient. Rows whose `norm_type`-norm is above `max_norm` are
    first shortened to it, in the weight itself. `scale_grad_by_freq` divides the gradient of a row
    by how often it is asked for. Raises IndexError for an index outside 0 … n − 1.
    """
    _not_there("embedding", sparse=sparse)
    if padding_idx is not None:
        padding_idx = _row(padding_idx, weight.shape[0])
    if max_norm is not None:
        _shorten(weight, ops.unique(input), max_norm, norm_type)
    return ops.embedding(weight, input, padding_idx, scale_grad_by_freq)


@no_grad()
def _shorten(weight, index, max_norm, norm_type):
    """Scale the rows of weight at an index in place, so that no norm is above max_norm."""
    rows = ops.embedding(weight, index)
    norms = ops.norm(rows, norm_type, 1, True)
    weight[index] = rows * ops.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)


def _not_there(name, **options):
    """Raise NotImplementedError for an option of PyTorch's that was asked for and is not there."""
    for option, value in options.items():
        if value:
            raise NotImplementedError(f"{name}: {option} is not there, got {option}={value!r}")


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


def dropout1d(input, p=0.5, training=True, inplace=False):
    """`dropout` of whole channels of (N, C, L) or (C, L) (arXiv:1411.4280)."""
    return _channel_dropout("dropout1d", 1, input, p, training, inplace)


def dropout2d(input, p=0.5, training=True, inplace=False):
    """`dropout` of whole channels of images (N, C, H, W) or (C, H, W)."""
    return _channel_dropout("dropout2d", 2, input, p, training, inplace)


def _channel_dropout(name, n, input, p, training, inplace):
    x, alone = _batch(name, input, n)
    keep = dropout(x.new_ones(x.shape[:2] + (1,) * n), p, training)
    return _changed(ops.mul, input, inplace, keep[0] if alone else keep)


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """`dropout` that keeps mean 0 and variance 1, for use with `selu` (arXiv:1706.02515)."""
    if not 0 <= p <= 1:
        raise ValueError(f"alpha_dropout: p lies within 0 … 1, got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        return _changed(ops.mul, input, inplace, 0.0)
    low = -1.7580993408473766  # where selu ends for x → −∞
    keep = (rand_like(input) >= p).to(input.dtype)
    scale = 1 / math.sqrt((1 - p) * (1 + p * low**2))
    shift = ((1 - keep) - p) * (low * scale)
    return _changed(lambda x: x * (keep * scale) + shift, input, inplace)


def embedding_bag(input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False,
                  mode="mean", sparse=False, per_sample_weights=None, include_last_offset=False,
                  padding_idx=None):  # fmt: skip
    """The sum, mean or largest of the rows of weight for each bag of indices.

    `input` (N, L) holds N bags of L; a row of indices is cut into bags that begin at `offsets`.
    `per_sample_weights`, like `input`, weighs the rows of a sum. `padding_idx` does not count. With
    `include_last_offset` the last offset is where the last bag ends. For the rest see `embedding`.
    """
    _not_there("embedding_bag", sparse=sparse)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f'embedding_bag: the mode is "sum", "mean" or "max", got {mode!r}')
    if scale_grad_by_freq and mode == "max":
        raise ValueError("embedding_bag: scale_grad_by_freq goes with a sum or a mean")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(f'embedding_bag: weights go with the mode "sum", not {mode!r}')
    if input.ndim == 1 and offsets is None or input.ndim == 2 and offsets is not None:
        raise ValueError("embedding_bag: offsets go with a row of indices, not with a matrix")
    if input.ndim == 2:
        ends = [input.shape[1] * (i + 1) for i in range(len(input))]
    else:
        ends = [*offsets.tolist()[1:], *([] if include_last_offset else [len(input)])]
    rows = embedding(input.reshape(-1), weight, padding_idx, max_norm, norm_type,
                     scale_grad_by_freq)  # fmt: skip
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    counts = input.reshape(-1) != (-1 if padding_idx is None else _row(padding_idx, len(weight)))
    bags, start = [], 0
    for end in ends:
        bag = rows[start:end][counts[start:end]]
        empty = not len(bag)
        bags.append(bag.sum(0) if empty or mode == "sum" else
                    bag.mean(0) if mode == "mean" else bag.max(0).values)  # fmt: skip
        start = end
    return ops.stack(bags) if bags else weight[:0]


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """(x − mean) / √(var + eps) · weight + bias over the last dimensions (arXiv:1607.06450)."""
    rows, weight, bias = _rows_to_norm("layer_norm", input, normalized_shape, weight, bias)
    y = ops.layer_norm(rows, weight, bias, eps)
    return y if rows is input else ops.reshape(y, tuple(input.shape))


def bilinear(input1, input2, weight, bias=None):
    """x₁ᵀ weight[o] x₂ + bias for every output o: (…, n), (…, m), (out, n, m) to (…, out)."""
    one_dtype("bilinear", input1, input2, weight, bias)
    y = ops.einsum("...n,onm,...m->...o", input1, weight, input2)
    return y if bias is None else y + bias


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """x / √(mean x² + eps) · weight over the last dimensions (arXiv:1910.07467).

    Without `eps`, the distance from 1 to the next number of the dtype it is computed in: float32
    for half precision.
    """
    if eps is None:
        eps = 2.0**-52 if input.dtype is float64 else 2.0**-23
    rows, weight, _ = _rows_to_norm("rms_norm", input, normalized_shape, weight, None)
    y = ops.rms_norm(rows, weight, eps)
    return y if rows is input else ops.reshape(y, tuple(input.shape))


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """layer_norm over the channels of each group and all positions of (N, C, …) (1803.08494).

    `weight` and `bias` (C) follow.
    """
    if input.ndim < 2:
        raise RuntimeError(f"group_norm: an input (N, C, …) is needed, got {tuple(input.shape)}")
    batch, channels = input.shape[:2]
    if num_groups < 1 or channels % num_groups:
        raise RuntimeError(f"group_norm: {num_groups} groups cannot share {channels} channels")
    size = math.prod(input.shape[1:]) // num_groups
    rows = ops.reshape(input, (batch, num_groups, size))
    y = ops.reshape(ops.layer_norm(rows, None, None, eps), tuple(input.shape))
    return _in_dtype_of(input, _scaled(y, weight, bias))


def _scaled(x, weight, bias):
    """x (N, C, …) · weight (C) + bias (C)."""
    shape = (-1,) + (1,) * (x.ndim - 2)
    x = x if weight is None else x * ops.reshape(weight, shape)
    return x if bias is None else x + ops.reshape(bias, shape)


def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False,
               momentum=0.1, eps=1e-5):  # fmt: skip
    """(x − mean) / √(var + eps) · weight + bias for each channel of (N, C, …) (arXiv:1502.03167).

    In training mean and variance are those of the batch, and the running ones, if given, move
    towards them by `momentum`; else they are the running ones.
    """
    channels = input.shape[1]
    for t in (running_mean, running_var, weight, bias):
        if t is not None and t.shape != (channels,):
            raise RuntimeError(
                f"batch_norm: the input {tuple(input.shape)} has {channels} channels, which do not "
                f"fit a mean, variance, weight or bias of shape {tuple(t.shape)}"
            )
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("batch_norm: a running mean and variance are needed for evaluation")
        scale = ops.rsqrt(running_var + eps)
        y = _scaled(_scaled(input, None, -running_mean), scale, None)
        return _in_dtype_of(input, _scaled(y, weight, bias))
    if eps <= 0:
        raise ValueError(f"batch_norm: eps is above 0 in training, got {eps}")
    rows = ops.flatten(ops.movedim(input, 1, 0), 1)  # (C, everything else)
    if rows.shape[1] == 1:
        raise ValueError(
            "batch_norm: more than one value for each channel is needed in training, got shape "
            f"{tuple(input.shape)}"
        )
    with no_grad():
        for running, batch in ((running_mean, ops.mean), (running_var, ops.var)):
            if running is not None and input.numel():
                running.lerp_(batch(rows, 1).to(running.dtype), momentum)
    y = ops.reshape(ops.layer_norm(rows, None, None, eps), (channels, input.shape[0],
                                                           *input.shape[2:]))  # fmt: skip
    return _in_dtype_of(input, _scaled(ops.movedim(y, 0, 1), weight, bias))


def _in_dtype_of(input, y):
    """y in the dtype of the input, which half precision leaves for that of its weights."""
    return y if y._data.dtype is input._data.dtype else y.type_as(input)


def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None,
                  use_input_stats=True, momentum=0.1, eps=1e-5):  # fmt: skip
    """batch_norm of each element of the batch by itself (arXiv:1607.08022)."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    flat = ops.flatten(input, 2)
    if flat.shape[2] == 1:
        raise ValueError(
            "instance_norm: more than one place of each channel is needed in training, got shape "
            f"{tuple(input.shape)}"
        )
    with no_grad():
        for running, own in ((running_mean, ops.mean), (running_var, ops.var)):
            if running is not None:
                running.lerp_(own(flat, 2).mean(0).to(running.dtype), momentum)
    return group_norm(input, input.shape[1], weight, bias, eps)


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """x / (k + alpha·mean x²)^beta, the mean over `size` neighbouring channels of (N, C, …)."""
    if input.ndim < 3:
        raise ValueError(f"local_response_norm: (N, C, …) is needed, got {tuple(input.shape)}")
    if not input.numel():
        return input
    squares = ops.flatten(ops.square(input), 2)  # (N, C, all positions)
    near = pad(squares, (0, 0, size // 2, (size - 1) // 2)).transpose(1, 2)
    mean = avg_pool1d(near, size, 1).transpose(1, 2)
    return input / (k + alpha * ops.reshape(mean, tuple(input.shape))) ** beta


def _rows_to_norm(name, input, shape, weight, bias):
    """The input with the dimensions that are normalized made one, and the affine part likewise."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    same = (weight is None or weight._data.shape == shape) and (
        bias is None or bias._data.shape == shape
    )
    if same and len(shape) == 1 and input._data.shape[-1:] == shape:  # by far the most common case
        return input, weight, bias
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


# ---- activations ---------------------------------------------------------------------


def _changed(op, input, inplace, *params):
    """The operation, or its form that changes the input in place."""
    if inplace:
        return in_place(input, getattr(op, "op_name", op.__name__) + "_", op, *params)
    return op(input, *params)


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


# ---- losses --------------------------------------------------------------------------


@takes_old_reduction
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
        if ignore_index >= 0:
            raise RuntimeError(
                f"cross_entropy: ignore_index {ignore_index} is a class, and targets that are "
                "probabilities have none"
            )
        return _cross_entropy_of_shares(input, target, weight, reduction, label_smoothing)
    rows, target, shape = _classes_last("cross_entropy", input, target, weight)
    _known(reduction)
    losses = ops.cross_entropy(rows, target, weight, ignore_index, label_smoothing, reduction)
    return ops.reshape(losses, shape) if reduction == "none" and len(shape) != 1 else losses


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


@takes_old_reduction
def nll_loss(input, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """−input[target]: `cross_entropy` of what are log-probabilities already."""
    rows, target, shape = _classes_last("nll_loss", input, target, weight)
    if target.dtype.rank != INT:
        raise RuntimeError(f"nll_loss: targets are integers, got {target.dtype}")
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
    shape, sizes = tuple(target.shape), tuple(input.shape)
    right = sizes[:1] + sizes[2:] if len(sizes) > 1 else ()
    if not sizes or shape != right:
        kind = RuntimeError if shape[:1] == right[:1] else ValueError
        raise kind(f"{name}: an input (N, C, …) goes with targets (N, …); got {sizes} with {shape}")
    classes = sizes[1 if len(sizes) > 1 else 0]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(f"{name}: {classes} class weights are needed, got {tuple(weight.shape)}")
    one_dtype(name, input, weight)
    if len(sizes) == 2:
        return input, target, shape
    if len(sizes) > 2:
        input = ops.movedim(input, 1, -1)
    n = math.prod(shape)
    return ops.reshape(input, (n, classes)), ops.reshape(target, (n,)), shape


def _reduced_classes(losses, target, weight, ignore_index, reduction, shape):
    """`_reduced` with a mean over the weights of the targets that count."""
    if reduction != "mean":
        return _reduced(ops.reshape(losses, shape), reduction)
    counted = target != ignore_index
    weights = counted if weight is None else weight.detach()[target[counted]]
    total = weights.sum().item()
    # nothing to divide by gives NaN, but leaves the gradient zero, as in PyTorch
    return losses.sum() / total if total else losses.sum() + math.nan


def _known(reduction):
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f'reduction: "none", "mean" or "sum" is needed, got {reduction!r}')


def _reduced(losses, reduction):
    """The losses as they are, their sum, or their mean."""
    _known(reduction)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if losses.numel() else losses.sum() + math.nan


def _alike(name, input, target):
    """Warn of shapes that would be broadcast, which is seldom meant."""
    if input.shape != target.shape:
        mine, wanted = tuple(target.shape), tuple(input.shape)
        what = f"{name}: the target's shape {mine} differs from the input's {wanted} and"
        try:
            ops.broadcast_shapes(wanted, mine)
        except RuntimeError:
            raise RuntimeError(f"{what} cannot be broadcast") from None
        warn(f"{what} is broadcast")


@takes_old_reduction
def mse_loss(input, target, *, reduction="mean", weight=None):
    """(input − target)². A `weight` like the input weighs the elements, and their mean."""
    _alike("mse_loss", input, target)
    return _weighed("mse_loss", ops.square(input - target), weight, reduction)


@takes_old_reduction
def l1_loss(input, target, *, reduction="mean", weight=None):
    """|input − target|. A `weight` like the input weighs the elements, and their mean."""
    _alike("l1_loss", input, target)
    return _weighed("l1_loss", ops.abs(input - target), weight, reduction)


def _weighed(name, losses, weight, reduction):
    """`_reduced`, with a mean over the weights."""
    if weight is None:
        return _reduced(losses, reduction)
    if weight.shape != losses.shape:
        raise ValueError(
            f"{name}: a weight of shape {tuple(losses.shape)} is needed, got {tuple(weight.shape)}"
        )
    if reduction == "mean":
        return ops.sum(losses * weight) / ops.sum(weight)
    return _reduced(losses * weight, reduction)


@takes_old_reduction
def smooth_l1_loss(input, target, *, reduction="mean", beta=1.0):
    """d² / 2 beta where d = |input − target| < beta, else d − beta / 2 (arXiv:1504.08083)"""
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: beta is at least 0, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    _alike("smooth_l1_loss", input, target)
    return _reduced(_huber(input - target, beta) / beta, reduction)


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """d² / 2 where d = |input − target| < delta, else delta (d − delta / 2), times `weight`."""
    if delta <= 0:
        raise RuntimeError(f"huber_loss: delta is above 0, got {delta}")
    _alike("huber_loss", input, target)
    losses = _huber(input - target, delta)
    return _reduced(losses if weight is None else losses * weight, reduction)


def _huber(difference, delta):
    size = ops.abs(difference)
    near = ops.square(difference) * 0.5
    return ops.where(size < delta, near, delta * (size - 0.5 * delta))


@takes_old_reduction
def binary_cross_entropy(input, target, weight=None, *, reduction="mean"):
    """−t ln x − (1 − t) ln(1 − x), each logarithm at least −100, for probabilities x."""
    _same("binary_cross_entropy", input, target)
    one_dtype("binary_cross_entropy", input, target)
    if input.numel() and not bool(((input >= 0) & (input <= 1)).all()):
        raise RuntimeError("binary_cross_entropy: the input lies within 0 … 1")
    losses = ops.binary_cross_entropy(input, target)
    return _reduced(losses if weight is None else losses * weight, reduction)


@takes_old_reduction
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


@takes_old_reduction
def kl_div(input, target, *, reduction="mean", log_target=False):
    """t (ln t − input), for log-probabilities `input`; "batchmean" divides the sum by the batch."""
    if log_target:
        losses = ops.exp(target) * (target - input)
    else:
        losses = ops.xlogy(target, target) - target * input
    if reduction == "batchmean":
        return losses.sum() / (len(input) if input.ndim else 1)
    return _reduced(losses, reduction)


@takes_old_reduction
def margin_ranking_loss(input1, input2, target, margin=0, *, reduction="mean"):
    """max(0, −t (x₁ − x₂) + margin): x₁ is to be larger where t is 1, smaller where it is −1."""
    return _reduced(ops.relu(-target * (input1 - input2) + float(margin)), reduction)


@takes_old_reduction
def hinge_embedding_loss(input, target, margin=1.0, *, reduction="mean"):
    """x where t is 1, max(0, margin − x) where t is −1"""
    far = ops.where(target != 1, ops.relu(margin - input), 0.0)
    near = ops.where(target != -1, input, 0.0)
    return _reduced(far + near, reduction)


@takes_old_reduction
def soft_margin_loss(input, target, *, reduction="mean"):
    """ln(1 + e^(−t x)) for t of 1 and −1"""
    return _reduced(softplus(-target * input, 1.0, math.inf), reduction)


@takes_old_reduction
def cosine_embedding_loss(input1, input2, target, margin=0, *, reduction="mean"):
    """1 − cos(x₁, x₂) where t is 1, max(0, cos(x₁, x₂) − margin) where t is −1"""
    dim = input1.ndim - 1
    x, y = input1, input2
    lengths = ops.sqrt(((x * x).sum(dim) + 1e-12) * ((y * y).sum(dim) + 1e-12))
    cosine = (x * y).sum(dim) / lengths
    near = ops.where(target == 1, 1 - cosine, 0.0)
    far = ops.where(target == -1, ops.relu(cosine - margin), 0.0)
    return _reduced(near + far, reduction)


@takes_old_reduction
def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, *,
                        reduction="mean"):  # fmt: skip
    """max(0, |anchor − positive| − |anchor − negative| + margin), in the p-norm.

    With `swap`, |positive − negative| where that is smaller than |anchor − negative|.
    """
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: the margin is above 0, got {margin}")
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, margin=margin, swap=swap, reduction=reduction,
        distance_function=functools.partial(pairwise_distance, p=p, eps=eps),
    )  # fmt: skip


def triplet_margin_with_distance_loss(anchor, positive, negative, *, distance_function=None,
                                      margin=1.0, swap=False, reduction="mean"):  # fmt: skip
    """`triplet_margin_loss` with a distance of one's own in place of `pairwise_distance`."""
    if margin <= 0:
        raise ValueError(f"triplet_margin_with_distance_loss: margin is above 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return _reduced(ops.relu(margin + near - far), reduction)


@takes_old_reduction
def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, *, reduction="mean"):
    """Σ max(0, margin − x[t] + x[j])ᵖ / C over the classes j ≠ t, for input (N, C) or (C)."""
    rows = input if input.ndim == 2 else input.reshape(1, -1)
    place = target.reshape(-1, 1)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p is 1 or 2, got {p}")
    if weight is not None and weight.ndim != 1:
        raise ValueError(f"multi_margin_loss: a weight (C) is needed, got {tuple(weight.shape)}")
    _known(reduction)
    if rows.shape != (target.numel(), rows.shape[1] or 1) or target.ndim > 1:
        raise RuntimeError(
            "multi_margin_loss: an input (N, C) with a target (N) is needed, or (C) with (), got "
            f"{tuple(input.shape)} and {tuple(target.shape)}"
        )
    losses = ops.relu(margin - ops.gather(rows, 1, place) + rows) ** p
    if weight is not None:
        losses = losses * weight[place]
    losses = ops.scatter(losses, 1, place, 0.0).sum(1) / rows.shape[1]
    return _reduced(losses if target.ndim else losses[0], reduction)


@takes_old_reduction
def multilabel_soft_margin_loss(input, target, weight=None, *, reduction="mean"):
    """The mean over the classes of −t ln σ(x) − (1 − t) ln σ(−x)."""
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    losses = losses if weight is None else losses * weight
    return _reduced(losses.mean(-1), reduction)


@takes_old_reduction
def poisson_nll_loss(input, target, log_input=True, full=False, *, eps=1e-8, reduction="mean"):
    """eˣ − t x, or x − t ln(x + eps) for a rate that is no logarithm.

    `full` adds Stirling's approximation of ln t! where t > 1.
    """
    rate, log_rate = (ops.exp(input), input) if log_input else (input, ops.log(input + eps))
    losses = rate - target * log_rate
    if full:
        some = ops.where(target > 1, target, 1.0)
        stirling = some * ops.log(some) - some + 0.5 * ops.log(2 * math.pi * some)
        losses = losses + ops.where(target > 1, stirling, 0.0)
    return _reduced(losses, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """(ln v + (x − t)² / v) / 2, with v = var, at least eps; `full` adds ln(2π) / 2."""
    if not isinstance(var, (int, float)) and bool((var < 0).any()) or var is None:
        raise ValueError("gaussian_nll_loss: the variance is at least 0")
    var = full_like(input, var) if isinstance(var, (int, float)) else var
    if var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = var[..., None]
        elif var.ndim != input.ndim or [n for n, m in zip(var.shape, input.shape) if n != m] != [1]:
            raise ValueError(
                f"gaussian_nll_loss: a variance like the input {tuple(input.shape)}, or of size 1 "
                f"in one dimension, is needed, got {tuple(var.shape)}"
            )
    bounded = var + (ops.clamp(var, eps) - var).detach()
    losses = 0.5 * (ops.log(bounded) + ops.square(input - target) / bounded)
    return _reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean",
             zero_infinity=False):  # fmt: skip
    """−ln P(targets), whichever of the steps say them (Graves et al., 2006).

    `log_probs` (T, N, C), or (T, C), holds ln P of each class at each step; `targets` (N, S), or
    all in one row, the classes that are to be said in order. A step may also say `blank`, or again
    what the step before said. Lengths are tensors or sequences (N). The mean is taken of the losses
    divided by the target lengths. Where there are too few steps the loss is infinite, or 0 with
    `zero_infinity`. PyTorch's gradient for `log_probs` has an e^log_probs more, of which nothing
    comes through a log_softmax.
    """
    alone = log_probs.ndim == 2
    x = log_probs[:, None] if alone else log_probs
    (steps, n, _), device = x.shape, x.device
    lengths, sizes = (
        as_tensor(v, dtype="int64", device=device).reshape(-1)
        for v in (input_lengths, target_lengths)
    )
    _check_ctc(x, lengths, sizes, blank)
    longest, rows = int(sizes.max()), targets.to("int64")
    if rows.ndim == 1 and not alone:
        starts = ops.cumsum(sizes, 0) - sizes
        rows = ops.cat([rows, rows.new_full((longest,), blank)])
        rows = rows[starts[:, None] + arange(longest, device=device)]
    said = arange(longest, device=device) < sizes[:, None]
    path = full((n, 2 * longest + 1), blank, dtype="int64", device=device)  # – c – a – t –
    path[:, 1::2] = ops.where(said, rows.reshape(n, -1)[:, :longest], blank)
    may_skip = zeros_like(path).bool()  # the blank between two classes that differ
    may_skip[:, 2:] = (path[:, 2:] != blank) & (path[:, 2:] != path[:, :-2])
    x = ops.gather(x, 2, ops.expand(path, (steps, *path.shape)))  # (T, N, 2S + 1)

    # ln P of all that leads to a place of the path; "never" is finite, so that its slope is, too
    never = -1e30
    edge = full((n, 2), never, dtype=x.dtype, device=device)
    at = ops.where(arange(path.shape[1], device=device) == 0, zeros_like(x[0]), never)
    for t, now in enumerate(ops.unbind(x)):
        wide = ops.cat([edge, at], 1)
        ways = ops.stack([at, wide[:, 1:-1], ops.where(may_skip, wide[:, :-2], never)])
        at = ops.where((t < lengths)[:, None], ops.logsumexp(ways, 0) + now, at)
    last = ops.stack([2 * sizes, ops.clamp(2 * sizes - 1, 0)], 1)  # the last blank or class
    ends = ops.gather(at, 1, last)
    losses = -ops.where(sizes > 0, ops.logsumexp(ends, 1), ends[:, 0])
    losses = ops.where(losses < -never / 2, losses, 0.0 if zero_infinity else math.inf)
    if reduction == "mean":
        losses = losses / ops.clamp(sizes, 1)
    return _reduced(losses[0] if alone else losses, reduction)


def _check_ctc(x, lengths, sizes, blank):
    """Raise RuntimeError for lengths and a blank that do not go with the input (T, N, C)."""
    steps, n, classes = x.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"ctc_loss: blank is one of {classes} classes, got {blank}")
    for name, given, most in (("input", lengths, steps), ("target", sizes, math.inf)):
        if len(given) != n:
            raise RuntimeError(f"ctc_loss: {n} {name}_lengths are needed, got {len(given)}")
        if not all(0 <= v <= most for v in given.tolist()):
            raise RuntimeError(
                f"ctc_loss: {name}_lengths lie within 0 … {most}, got {given.tolist()}"
            )


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
    before it, and so on. Negative numbers cut off.

    The modes "reflect", "replicate" and "circular" continue the input instead.
    """
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise RuntimeError(
            f"pad: a pair for each of at most {input.ndim} dimensions, got {tuple(pad)}"
        )
    pairs = [(0, 0)] * (input.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2]))[::-1]
    for dim, (before, after) in enumerate(pairs):
        if -before - after > input.shape[dim]:
            raise RuntimeError(f"pad: {(before, after)} leaves nothing of size {input.shape[dim]}")
    kept = input[tuple(slice(max(-b, 0), n - max(-a, 0)) for (b, a), n in zip(pairs, input.shape))]
    if mode == "circular":  # goes round in what is left
        return _continued(kept, [(max(b, 0), max(a, 0)) for b, a in pairs], mode)
    if mode != "constant":
        return _continued(input, pairs, mode)
    shape = [n + b + a for (b, a), n in zip(pairs, input.shape)]
    out = full(shape, value or 0, dtype=input.dtype, device=input.device)
    out[tuple(slice(max(b, 0), n - max(a, 0)) for (b, a), n in zip(pairs, shape))] = kept
    return out


def _continued(x, pairs, mode):
    """x continued over its ends: as in a mirror, by its last elements, or from the other end."""
    for dim, (before, after) in enumerate(pairs):
        n, most = x.shape[dim], max(before, after)
        if (before, after) == (0, 0):
            continue
        if mode in ("reflect", "circular") and most > n - (mode == "reflect"):
            raise RuntimeError(f"pad: {mode} by {most} needs more than a size of {n}")
        line = arange(-before, n + after)
        if mode == "reflect":
            line = n - 1 - (n - 1 - line.abs()).abs()
        elif mode == "replicate":
            line = line.clamp(0, n - 1)
        elif mode == "circular":
            line = line % n
        else:
            raise NotImplementedError(f"pad: there is no mode {mode!r}")
        x = ops.index_select(x, dim, line.to(x.device))
    return x


def normalize(input, p=2.0, dim=1, eps=1e-12):
    """input divided by its p-norm along `dim`, or by eps where that is larger."""
    return input / ops.clamp(ops.norm(input, p, dim, True), eps)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """x₁·x₂ / (|x₁| |x₂|) along `dim`, no norm counted below eps."""
    x1, x2 = ops.broadcast_tensors(x1, x2)
    norms = (ops.clamp(ops.norm(x, 2, dim), eps) for x in (x1, x2))
    return ops.sum(x1 * x2, dim) / math.prod(norms)


def pdist(input, p=2.0):
    """How far each row of (N, D) is from each below it, by the p-norm: N (N − 1) / 2 numbers."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist: rows (N, D) are needed, got shape {tuple(input.shape)}")
    rows, below = triu_indices(len(input), len(input), 1, device=input.device)
    return ops.vector_norm(input[rows] - input[below], p, -1)


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x₁ − x₂ + eps along the last dimension."""
    return ops.norm(x1 - x2 + eps, p, -1, keepdim)


# ---- signals and images --------------------------------------------------------------

conv1d, conv2d = ops.conv1d, ops.conv2d
conv_transpose1d, conv_transpose2d = ops.conv_transpose1d, ops.conv_transpose2d
max_pool1d, max_pool2d = ops.max_pool1d, ops.max_pool2d
avg_pool1d, avg_pool2d = ops.avg_pool1d, ops.avg_pool2d
adaptive_avg_pool1d, adaptive_avg_pool2d = ops.adaptive_avg_pool1d, ops.adaptive_avg_pool2d
adaptive_max_pool1d, adaptive_max_pool2d = ops.adaptive_max_pool1d, ops.adaptive_max_pool2d


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """The windows of images (N, C, H, W) as columns: (N, C·K, P)."""
    x, alone = _batch("unfold", input, 2)
    sizes, spread, pad, steps = (
        _each(v, 2, "unfold", "kernel_size, dilation, padding or stride")
        for v in (kernel_size, dilation, padding, stride)
    )
    cut = windows_(_padded(x, [(p, p) for p in pad]), sizes, steps, spread)
    y = ops.reshape(cut, (x.shape[0], x.shape[1] * math.prod(sizes), math.prod(cut.shape[3:])))
    return ops.squeeze(y, 0) if alone else y


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Columns (N, C·K, P) added up to images (N, C, H, W): what `unfold` took apart."""
    x, alone = (ops.unsqueeze(input, 0), True) if input.ndim == 2 else (input, False)
    shape, sizes, spread, pad, steps = (
        _each(v, 2, "fold", "output_size, kernel_size, dilation, padding or stride")
        for v in (output_size, kernel_size, dilation, padding, stride)
    )
    wide = tuple(s + 2 * p for s, p in zip(shape, pad))
    positions = [_count(n, k, s, d) for n, k, s, d in zip(wide, sizes, steps, spread)]
    if x.ndim != 3 or x.shape[1] % math.prod(sizes) or x.shape[2] != math.prod(positions):
        raise RuntimeError(
            f"fold: {math.prod(sizes)} rows for each channel and {math.prod(positions)} columns "
            f"are needed, got shape {tuple(input.shape)}"
        )
    w = ops.reshape(x, (x.shape[0], x.shape[1] // math.prod(sizes), math.prod(sizes), *positions))
    y = fold_(w, wide, sizes, steps, spread)
    y = y[(..., *(slice(p, p + s) for p, s in zip(pad, shape)))]
    return ops.squeeze(y, 0) if alone else y


def pixel_shuffle(input, upscale_factor):
    """(…, C·r², H, W) to (…, C, H·r, W·r): channels become r × r pixels (arXiv:1609.05158)."""
    *batch, c, h, w = input.shape
    r = upscale_factor
    x = ops.reshape(input, (math.prod(batch), c // r**2, r, r, h, w))
    return ops.reshape(ops.permute(x, (0, 1, 4, 2, 5, 3)), (*batch, c // r**2, h * r, w * r))


def pixel_unshuffle(input, downscale_factor):
    """What undoes `pixel_shuffle`."""
    *batch, c, h, w = input.shape
    r = downscale_factor
    x = ops.reshape(input, (math.prod(batch), c, h // r, r, w // r, r))
    return ops.reshape(ops.permute(x, (0, 1, 3, 5, 2, 4)), (*batch, c * r**2, h // r, w // r))


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


# ---- in place ------------------------------------------------------------------------

relu_, leaky_relu_, elu_, celu_, selu_, hardtanh_, rrelu_, threshold_ = (
    functools.partial(function, inplace=True)
    for function in (relu, leaky_relu, elu, celu, selu, hardtanh, rrelu, threshold)
)

public_names(
    globals(),
    [
        name
        for name, value in globals().items()
        if callable(value)
        and not name.startswith("_")
        and not name.endswith("windows_")
        and (
            isinstance(value, functools.partial)
            or getattr(value, "__module__", "") in (__name__, f"{__package__}.resampling")
        )
    ],
)
autocasting(globals())
