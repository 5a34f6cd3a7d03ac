"""Normalization over the last dimensions, groups of channels, or the batch."""

from __future__ import annotations

import math

from ... import ops
from ...autograd import no_grad
from ...autograd.fused import fused
from ...backends.dtypes import float64
from ...typing import Shape, Tensor
from .images import avg_pool1d, pad


def layer_norm(input: Tensor, normalized_shape: Shape, weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:  # fmt: skip
    """(x − mean) / √(var + eps) · weight + bias over the last dimensions (arXiv:1607.06450)."""
    rows, weight, bias = _rows_to_norm("layer_norm", input, normalized_shape, weight, bias)
    y = ops.layer_norm(rows, weight, bias, eps)
    return y if rows is input else ops.reshape(y, tuple(input.shape))


def rms_norm(
    input: Tensor, normalized_shape: Shape, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / √(mean x² + eps) · weight over the last dimensions (arXiv:1910.07467).

    Without `eps`, the distance from 1 to the next number of the dtype it is computed in: float32
    for half precision.
    """
    if eps is None:
        eps = 2.0**-52 if input.dtype is float64 else 2.0**-23
    rows, weight, _ = _rows_to_norm("rms_norm", input, normalized_shape, weight, None)
    y = ops.rms_norm(rows, weight, eps)
    return y if rows is input else ops.reshape(y, tuple(input.shape))


@fused
def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:  # fmt: skip
    """layer_norm over the channels of each group and all positions of (N, C, …) (1803.08494).

    The result is then scaled by `weight` (C) and shifted by `bias` (C).
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


def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
               weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False,
               momentum: float | None = 0.1, eps: float = 1e-5) -> Tensor:  # fmt: skip
    """(x − mean) / √(var + eps) · weight + bias for each channel of (N, C, …) (arXiv:1502.03167).

    In training the mean and variance are those of the batch, and the running ones, if given, are
    updated by the share `momentum`; in evaluation they are the running ones.
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
    """y cast to the dtype of the input: half precision is computed in the dtype of the weights."""
    return y if y._data.dtype is input._data.dtype else y.type_as(input)


def instance_norm(input: Tensor, running_mean: Tensor | None = None,
                  running_var: Tensor | None = None, weight: Tensor | None = None,
                  bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1,
                  eps: float = 1e-5) -> Tensor:  # fmt: skip
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


@fused
def local_response_norm(
    input: Tensor, size: Shape, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
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
    """The input with the normalized dimensions flattened into one, and weight and bias likewise."""
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
