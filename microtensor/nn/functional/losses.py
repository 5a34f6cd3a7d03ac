"""Losses, each reduced to a mean or a sum, or left as it is."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from ... import ops
from ...autograd.errors import one_dtype, warn
from ...autograd.fused import fused
from ...backends.dtypes import INT
from ...ops.composite.indexing import _check_positions
from ...tensor.creation import full_like
from ...typing import Tensor
from ..reduction import takes_old_reduction
from .activations import log_softmax, logsigmoid, softplus
from .distances import pairwise_distance

# ---- losses --------------------------------------------------------------------------


@takes_old_reduction
def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, *,
                  ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Tensor:  # fmt: skip
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
        return _cross_entropy_of_probabilities(input, target, weight, reduction, label_smoothing)
    rows, target, shape = _classes_last("cross_entropy", input, target, weight)
    _check_reduction(reduction)
    losses = ops.cross_entropy(rows, target, weight, ignore_index, label_smoothing, reduction)
    return ops.reshape(losses, shape) if reduction == "none" and len(shape) != 1 else losses


def _cross_entropy_of_probabilities(input, target, weight, reduction, smoothing):
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
@fused
def nll_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, *,
             ignore_index: int = -100, reduction: str = "mean") -> Tensor:  # fmt: skip
    """−input[target]: `cross_entropy` for log-probabilities."""
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


def _check_reduction(reduction):
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f'reduction: "none", "mean" or "sum" is needed, got {reduction!r}')


def _reduced(losses, reduction):
    """The losses as they are, their sum, or their mean."""
    _check_reduction(reduction)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if losses.numel() else losses.sum() + math.nan


def _warn_of_broadcast(name, input, target):
    """Warn of shapes that would be broadcast, which is rarely intended."""
    if input.shape != target.shape:
        mine, wanted = tuple(target.shape), tuple(input.shape)
        what = f"{name}: the target's shape {mine} differs from the input's {wanted} and"
        try:
            ops.broadcast_shapes(wanted, mine)
        except RuntimeError:
            raise RuntimeError(f"{what} cannot be broadcast") from None
        warn(f"{what} is broadcast")


@takes_old_reduction
@fused
def mse_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """(input − target)². A `weight` like the input weighs the elements, and their mean."""
    _warn_of_broadcast("mse_loss", input, target)
    return _weighted("mse_loss", ops.square(input - target), weight, reduction)


@takes_old_reduction
@fused
def l1_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """|input − target|. A `weight` like the input weighs the elements, and their mean."""
    _warn_of_broadcast("l1_loss", input, target)
    return _weighted("l1_loss", ops.abs(input - target), weight, reduction)


def _weighted(name, losses, weight, reduction):
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
@fused
def smooth_l1_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """d² / 2 beta where d = |input − target| < beta, else d − beta / 2 (arXiv:1504.08083)"""
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: beta is at least 0, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    _warn_of_broadcast("smooth_l1_loss", input, target)
    return _reduced(_huber(input - target, beta) / beta, reduction)


@fused
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0,
               weight: Tensor | None = None) -> Tensor:  # fmt: skip
    """d² / 2 where d = |input − target| < delta, else delta (d − delta / 2), times `weight`."""
    if delta <= 0:
        raise RuntimeError(f"huber_loss: delta is above 0, got {delta}")
    _warn_of_broadcast("huber_loss", input, target)
    losses = _huber(input - target, delta)
    return _reduced(losses if weight is None else losses * weight, reduction)


def _huber(difference, delta):
    size = ops.abs(difference)
    far = size >= delta
    square = ops.square(ops.where(far, 0.0, difference))  # of no infinity, whose slope is one, too
    return ops.where(far, delta * (size - 0.5 * delta), square * 0.5)


@takes_old_reduction
@fused
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """−t ln x − (1 − t) ln(1 − x), each logarithm at least −100, for probabilities x."""
    _check_same_size("binary_cross_entropy", input, target)
    one_dtype("binary_cross_entropy", input, target)
    if input.numel() and not bool(((input >= 0) & (input <= 1)).all()):
        raise RuntimeError("binary_cross_entropy: the input lies within 0 … 1")
    losses = ops.binary_cross_entropy(input, target)
    return _reduced(losses if weight is None else losses * weight, reduction)


@takes_old_reduction
@fused
def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None, *,
                                     reduction: str = "mean",
                                     pos_weight: Tensor | None = None) -> Tensor:  # fmt: skip
    """−t ln σ(x) − (1 − t) ln σ(−x), safe for large |x|; `pos_weight` multiplies the first term."""
    _check_same_size("binary_cross_entropy_with_logits", input, target)
    share = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    losses = (1 - target) * input - share * ops.logsigmoid(input)
    return _reduced(losses if weight is None else losses * weight, reduction)


def _check_same_size(name, input, target):
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: input and target need one shape, got {tuple(input.shape)} and "
            f"{tuple(target.shape)}"
        )


@takes_old_reduction
@fused
def kl_div(
    input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """t (ln t − input), for log-probabilities `input`; "batchmean" divides the sum by the batch."""
    if log_target:
        losses = ops.exp(target) * (target - input)
    else:
        losses = ops.xlogy(target, target) - target * input
    if reduction == "batchmean":
        return losses.sum() / (len(input) if input.ndim else 1)
    return _reduced(losses, reduction)


@takes_old_reduction
@fused
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """max(0, −t (x₁ − x₂) + margin): x₁ is to be larger where t is 1, smaller where it is −1."""
    return _reduced(ops.clamp(-target * (input1 - input2) + float(margin), 0), reduction)


@takes_old_reduction
@fused
def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """x where t is 1, max(0, margin − x) where t is −1"""
    far = ops.where(target != 1, ops.clamp(margin - input, 0), 0.0)
    near = ops.where(target != -1, input, 0.0)
    return _reduced(far + near, reduction)


@takes_old_reduction
@fused
def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """ln(1 + e^(−t x)) for t of 1 and −1"""
    return _reduced(softplus(-target * input, 1.0, math.inf), reduction)


@takes_old_reduction
@fused
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """1 − cos(x₁, x₂) where t is 1, max(0, cos(x₁, x₂) − margin) where t is −1"""
    dim = input1.ndim - 1
    x, y = input1, input2
    lengths = ops.sqrt(((x * x).sum(dim) + 1e-12) * ((y * y).sum(dim) + 1e-12))
    cosine = (x * y).sum(dim) / lengths
    near = ops.where(target == 1, 1 - cosine, 0.0)
    far = ops.where(target == -1, ops.clamp(cosine - margin, 0), 0.0)
    return _reduced(near + far, reduction)


@takes_old_reduction
@fused
def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0,
                        p: float = 2, eps: float = 1e-6, swap: bool = False, *,
                        reduction: str = "mean") -> Tensor:  # fmt: skip
    """max(0, |anchor − positive| − |anchor − negative| + margin), in the p-norm.

    With `swap`, |positive − negative| where that is smaller than |anchor − negative|.
    """
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: the margin is above 0, got {margin}")
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, margin=margin, swap=swap, reduction=reduction,
        distance_function=functools.partial(pairwise_distance, p=p, eps=eps),
    )  # fmt: skip


def triplet_margin_with_distance_loss(
        anchor: Tensor, positive: Tensor, negative: Tensor, *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0,
        swap: bool = False, reduction: str = "mean") -> Tensor:  # fmt: skip
    """`triplet_margin_loss` with a distance of one's own in place of `pairwise_distance`."""
    if margin <= 0:
        raise ValueError(f"triplet_margin_with_distance_loss: margin is above 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return _reduced(ops.clamp(margin + near - far, 0), reduction)


@takes_old_reduction
@fused
def multi_margin_loss(input: Tensor, target: Tensor, p: float = 1, margin: float = 1.0,
                      weight: Tensor | None = None, *,
                      reduction: str = "mean") -> Tensor:  # fmt: skip
    """Σ max(0, margin − x[t] + x[j])ᵖ / C over the classes j ≠ t, for input (N, C) or (C)."""
    rows = input if input.ndim == 2 else input.reshape(1, -1)
    place = target.reshape(-1, 1)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p is 1 or 2, got {p}")
    if weight is not None and weight.ndim != 1:
        raise ValueError(f"multi_margin_loss: a weight (C) is needed, got {tuple(weight.shape)}")
    _check_reduction(reduction)
    if rows.shape != (target.numel(), rows.shape[1] or 1) or target.ndim > 1:
        raise RuntimeError(
            "multi_margin_loss: an input (N, C) with a target (N) is needed, or (C) with (), got "
            f"{tuple(input.shape)} and {tuple(target.shape)}"
        )
    losses = margin - ops.gather(rows, 1, place) + rows
    losses = ops.where(losses > 0, losses, 0.0) ** p  # a NaN costs nothing
    if weight is not None:
        losses = losses * weight[place]
    losses = ops.scatter(losses, 1, place, 0.0).sum(1) / rows.shape[1]
    return _reduced(losses if target.ndim else losses[0], reduction)


@takes_old_reduction
@fused
def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """The mean over the classes of −t ln σ(x) − (1 − t) ln σ(−x)."""
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    losses = losses if weight is None else losses * weight
    return _reduced(losses.mean(-1), reduction)


@takes_old_reduction
@fused
def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, *,
                     eps: float = 1e-8, reduction: str = "mean") -> Tensor:  # fmt: skip
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


@fused
def gaussian_nll_loss(input: Tensor, target: Tensor, var: Tensor | float, full: bool = False,
                      eps: float = 1e-6, reduction: str = "mean") -> Tensor:  # fmt: skip
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
