"""Signals (N, C, L) and images (N, C, H, W): convolution, pooling, padding, windows, pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ... import ops
from ...ops.composite.convolution import _batch, _each, _padded
from ...ops.convolution import _count, fold_, windows_
from ...tensor.creation import arange, full
from ...typing import Pair, Shape, Tensor


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """input with `value` (0) around it: pad = (left, right) of the last dimension, then the one
    before it, and so on. Negative numbers cut off.

    The modes "reflect", "replicate" and "circular" extend the input instead.
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
        return _extended(kept, [(max(b, 0), max(a, 0)) for b, a in pairs], mode)
    if mode != "constant":
        return _extended(input, pairs, mode)
    shape = [n + b + a for (b, a), n in zip(pairs, input.shape)]
    out = full(shape, value or 0, dtype=input.dtype, device=input.device)
    out[tuple(slice(max(b, 0), n - max(a, 0)) for (b, a), n in zip(pairs, shape))] = kept
    return out


def _extended(x, pairs, mode):
    """x extended past its ends: by its reflection, by its edge, or periodically."""
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


# ---- signals and images --------------------------------------------------------------

conv1d, conv2d = ops.conv1d, ops.conv2d
conv_transpose1d, conv_transpose2d = ops.conv_transpose1d, ops.conv_transpose2d
max_pool1d, max_pool2d = ops.max_pool1d, ops.max_pool2d
avg_pool1d, avg_pool2d = ops.avg_pool1d, ops.avg_pool2d
adaptive_avg_pool1d, adaptive_avg_pool2d = ops.adaptive_avg_pool1d, ops.adaptive_avg_pool2d
adaptive_max_pool1d, adaptive_max_pool2d = ops.adaptive_max_pool1d, ops.adaptive_max_pool2d


def unfold(
    input: Tensor, kernel_size: Pair, dilation: Pair = 1, padding: Any = 0, stride: Pair = 1
) -> Tensor:
    """The windows of images (N, C, H, W) as columns: (N, C·K, P)."""
    x, alone = _batch("unfold", input, 2)
    sizes, spread, pad, steps = (
        _each(v, 2, "unfold", "kernel_size, dilation, padding or stride")
        for v in (kernel_size, dilation, padding, stride)
    )
    cut = windows_(_padded(x, [(p, p) for p in pad]), sizes, steps, spread)
    y = ops.reshape(cut, (x.shape[0], x.shape[1] * math.prod(sizes), math.prod(cut.shape[3:])))
    return ops.squeeze(y, 0) if alone else y


def fold(input: Tensor, output_size: Shape, kernel_size: Pair, dilation: Pair = 1, padding: Any = 0,
         stride: Pair = 1) -> Tensor:  # fmt: skip
    """Columns (N, C·K, P) added up to images (N, C, H, W): the adjoint of `unfold`."""
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


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(…, C·r², H, W) to (…, C, H·r, W·r): channels become r × r pixels (arXiv:1609.05158)."""
    *batch, c, h, w = input.shape
    r = upscale_factor
    x = ops.reshape(input, (math.prod(batch), c // r**2, r, r, h, w))
    return ops.reshape(ops.permute(x, (0, 1, 4, 2, 5, 3)), (*batch, c // r**2, h * r, w * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(…, C, H·r, W·r) to (…, C·r², H, W): the inverse of `pixel_shuffle`."""
    *batch, c, h, w = input.shape
    r = downscale_factor
    x = ops.reshape(input, (math.prod(batch), c, h // r, r, w // r, r))
    return ops.reshape(ops.permute(x, (0, 1, 3, 5, 2, 4)), (*batch, c * r**2, h // r, w // r))
