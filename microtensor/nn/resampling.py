"""Images sampled at other places than their own pixels: resized, rotated, distorted."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import ops
from ..autograd.errors import warn
from ..ops.composite.convolution import _each
from ..tensor.creation import arange
from ..typing import Pair, Shape, Tensor

__all__ = [
    "affine_grid", "grid_sample", "interpolate", "max_unpool1d", "max_unpool2d", "upsample",
    "upsample_bilinear", "upsample_nearest",
]  # fmt: skip

# ---- other sizes ---------------------------------------------------------------------


def interpolate(input: Tensor, size: Shape | None = None,
                scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
                align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
                antialias: bool = False) -> Tensor:  # fmt: skip
    """(N, C, *S) resized to `size`, or by `scale_factor`.

    "nearest" repeats elements, "linear" and "bilinear" interpolate between two along each
    dimension, "bicubic" between four, "area" takes means. `recompute_scale_factor` steps by the
    ratio of the (integer) sizes instead of the factor. `align_corners` keeps the first and last.
    With `antialias`, "bilinear" and "bicubic" weigh all elements that fall upon a smaller one.
    """
    n = input.ndim - 2
    if antialias and (n != 2 or mode not in ("bilinear", "bicubic")):
        raise ValueError(
            'interpolate: antialias goes with "bilinear" and "bicubic" of (N, C, H, W), got '
            f"{mode!r} of {tuple(input.shape)}"
        )
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: either size or scale_factor is needed")
    if size is None:
        factors = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * n
        size = [int(s * f) for s, f in zip(input.shape[2:], factors, strict=True)]
    else:
        size = _each(size, n, "interpolate", "size")
    if 0 in size or 0 in input.shape[2:]:
        raise RuntimeError(
            f"interpolate: sizes are above 0, got {tuple(input.shape[2:])} to {tuple(size)}"
        )
    if scale_factor is None or recompute_scale_factor:
        factors = [None] * n
    if mode == "area" and n <= 2:
        return (ops.adaptive_avg_pool1d, ops.adaptive_avg_pool2d)[n - 1](input, size)
    known = ("linear", 1), ("bilinear", 2), ("bicubic", 2)
    if not mode.startswith("nearest") and (mode, n) not in known:
        raise NotImplementedError(f"interpolate: there is no mode {mode!r} for {n} dimensions")
    for dim, (count, factor) in enumerate(zip(size, factors), 2):
        length = input.shape[dim]
        step = 1 / factor if factor else length / count
        if antialias:
            weights = _filter(length, count, factor, mode, align_corners).to(input)
            input = ops.transpose(ops.transpose(input, dim, -1) @ weights.mT, dim, -1)
            continue
        resize = _repeated if mode.startswith("nearest") else _interpolated
        input = resize(input, dim, count, step, mode, align_corners)
    return input


def _repeated(x, dim, count, step, mode, align_corners):
    """x with `count` elements along `dim`, each the nearest one; the places are `step` apart."""
    place = (arange(count, dtype="float64") + (0.5 if mode == "nearest-exact" else 0)) * step
    return ops.index_select(x, dim, place.long().clamp(max=x.shape[dim] - 1))


def _interpolated(x, dim, count, step, mode, align_corners):
    """x with `count` elements along `dim`, each a weighted sum of the two or four nearest ones."""
    place, length = arange(count, dtype="float64"), x.shape[dim]
    if align_corners:
        place = place * ((length - 1) / (count - 1) if count > 1 else 0)
    else:
        place = (place + 0.5) * step - 0.5
    if mode != "bicubic":
        place = place.clamp(0)
    low = place.floor().long().clamp(max=length - 1)
    share = (place - low).to(x.dtype).reshape((-1,) + (1,) * (x.ndim - dim - 1))
    near = [
        ops.index_select(x, dim, (low + i).clamp(0, length - 1))
        for i in ((-1, 0, 1, 2) if mode == "bicubic" else (0, 1))
    ]
    if mode != "bicubic":
        return near[0] + (near[1] - near[0]) * share
    weights = _cubic(share + 1), _cubic(share), _cubic(1 - share), _cubic(2 - share)
    return sum(x * w for x, w in zip(near, weights))


def _filter(length, count, factor, mode, align_corners):
    """The weights (count, length) of all elements in each of another number of elements: the
    kernel of `mode`, as wide as the step from one to the next, if that is above 1.
    """
    if align_corners:
        step = (length - 1) / (count - 1) if count > 1 else 0.0
    else:
        step = 1 / factor if factor else length / count
    width = max(step, 1.0)
    reach = width * (2 if mode == "bicubic" else 1)
    # PyTorch takes the first and last elements within reach of a middle, half an element off
    middles = (arange(count, dtype="float64")[:, None] + 0.5) * step
    first = (middles - reach + 0.5).trunc().clamp(0)
    last = (middles + reach + 0.5).trunc().clamp(max=length)
    place = arange(length, dtype="float64")
    away = ((place + 0.5 - middles) / width).abs()
    weights = _cubic(away, -0.5) * (away < 2) if mode == "bicubic" else (1 - away).clamp(0)
    weights = weights * ((place >= first) & (place < last))
    return weights / weights.sum(1, keepdim=True)


def _cubic(d, a=-0.75):
    """The weight of an element at distance d ≥ 0 (Keys, 1981)."""
    inner = ((a + 2) * d - (a + 3)) * d * d + 1
    outer = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return ops.where(d <= 1, inner, outer)


def _older(name):
    warn(f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.")


def upsample(input: Tensor, size: Shape | None = None,
             scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
             align_corners: bool | None = None) -> Tensor:  # fmt: skip
    """`interpolate`, by its older name."""
    _older("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor, size: Shape | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """`interpolate` with "nearest", by its older name."""
    _older("upsample_nearest")
    return interpolate(input, size, scale_factor)


def upsample_bilinear(
    input: Tensor, size: Shape | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """`interpolate` with "bilinear" and aligned corners, by its older name."""
    _older("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)


# ---- other places --------------------------------------------------------------------


def affine_grid(theta: Tensor, size: Shape, align_corners: bool | None = None) -> Tensor:
    """The place (x, y) in another image for each pixel of an image (N, C, H, W): (N, H, W, 2).

    `theta` (N, 2, 3) holds the matrices that (x, y, 1) is multiplied with. Coordinates go from −1
    to 1, from edge to edge of the image, or with `align_corners` between the middles of the
    outermost pixels.
    """
    _warn_of_align_corners("affine_grid", align_corners)
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (2, 3) or len(size) != 4:
        raise NotImplementedError(
            "affine_grid: theta (N, 2, 3) and a size (N, C, H, W) are needed, got "
            f"{tuple(theta.shape)} and {tuple(size)}"
        )
    lines = []
    for n in size[2:]:
        line = arange(n, dtype=theta.dtype, device=theta.device)
        span = max(n - 1, 1) if align_corners else n
        line = (2 * line + 1 - n) / span
        lines.append(line)
    y, x = ops.meshgrid(*lines, indexing="ij")
    places = ops.stack([x, y, x * 0 + 1], -1)  # (H, W, 3)
    return places.reshape(1, -1, 3).matmul(theta.mT).reshape(size[0], *size[2:], 2)


def grid_sample(input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
                align_corners: bool | None = None) -> Tensor:  # fmt: skip
    """Sample an image (N, C, H, W) at the places (x, y) of grid (N, H′, W′, 2): (N, C, H′, W′).

    Coordinates are those of `affine_grid`. "bilinear" weighs the four pixels around a place,
    "nearest" takes one, "bicubic" weighs sixteen. Outside are "zeros", the pixels of the "border",
    or a "reflection" (Spatial transformer networks, arXiv:1506.02025).
    """
    _warn_of_align_corners("grid_sample", align_corners)
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f'grid_sample: the mode is "bilinear", "nearest" or "bicubic", got {mode!r}'
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            'grid_sample: the padding_mode is "zeros", "border" or "reflection", got '
            f"{padding_mode!r}"
        )
    if input.ndim != 4 or grid.ndim != 4 or grid.shape[-1] != 2 or len(input) != len(grid):
        raise RuntimeError(
            "grid_sample: an input (N, C, H, W) and a grid (N, H′, W′, 2) are needed, got "
            f"{tuple(input.shape)} and {tuple(grid.shape)}"
        )
    sizes = input.shape[:1:-1]  # W, H
    if mode == "bicubic":
        return _by_curves(input, grid, padding_mode, align_corners)
    x, y = (
        _coordinates(
            _pixel(ops.select(grid, -1, i), n, align_corners), n, padding_mode, align_corners
        )
        for i, n in enumerate(sizes)
    )
    if mode == "nearest":
        return _pixels_at(input, ops.round(x), ops.round(y))
    left, top = ops.floor(x).detach(), ops.floor(y).detach()
    out = 0
    for column, weight_x in ((left, left + 1 - x), (left + 1, x - left)):
        for row, weight_y in ((top, top + 1 - y), (top + 1, y - top)):
            out = out + _pixels_at(input, column, row) * (weight_x * weight_y)[:, None]
    return out


def _warn_of_align_corners(name, align_corners):
    if align_corners is None:
        warn(f"{name}: align_corners is False unless given, since PyTorch 1.3")


def _by_curves(input, grid, padding_mode, align_corners):
    """`grid_sample` with "bicubic": each of the sixteen pixels is led back by itself."""
    lines = []  # along x and y: four times the number of a pixel and its weight
    for i, n in enumerate(input.shape[:1:-1]):
        x = _pixel(ops.select(grid, -1, i), n, align_corners)
        low = ops.floor(x).detach()
        share = x - low
        weights = _cubic(share + 1), _cubic(share), _cubic(1 - share), _cubic(2 - share)
        places = [
            ops.round(_coordinates(low + k, n, padding_mode, align_corners)) for k in (-1, 0, 1, 2)
        ]
        lines.append(list(zip(places, weights)))
    return sum(
        _pixels_at(input, column, row) * (weight_x * weight_y)[:, None]
        for column, weight_x in lines[0]
        for row, weight_y in lines[1]
    )


def _pixel(x, n, align_corners):
    """Coordinates from −1 to 1 as numbers of pixels."""
    return (x + 1) * ((n - 1) / 2) if align_corners else ((x + 1) * n - 1) / 2


def _coordinates(x, n, padding_mode, align_corners):
    """Numbers of pixels, moved into 0 … n − 1 unless there are "zeros" outside."""
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        low, span = (0, n - 1) if align_corners else (-0.5, n)
        if not span:
            return x * 0
        x = ops.abs(x - low)
        turns = ops.floor(x / span).detach()
        rest = x - turns * span
        x = ops.where(turns % 2 == 0, rest, span - rest) + low
    return ops.clamp(x, 0, n - 1)


def _pixels_at(input, x, y):
    """The pixels of input (N, C, H, W) at whole x and y (N, H′, W′), zeros outside of it."""
    n, c, h, w = input.shape
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    place = ops.where(inside, y * w + x, 0.0).long().reshape(n, 1, -1)
    pixels = ops.gather(input.reshape(n, c, h * w), 2, place.expand(n, c, place.shape[2]))
    return ops.where(inside[:, None], pixels.reshape(n, c, *x.shape[1:]), 0.0)


# ---- unpooling -----------------------------------------------------------------------


def max_unpool1d(input: Tensor, indices: Tensor, kernel_size: Pair, stride: Pair | None = None,
                 padding: Pair = 0, output_size: Shape | None = None) -> Tensor:  # fmt: skip
    """The partial inverse of `max_pool1d`: each element at its place in `indices`, else zeros."""
    return _unpooled("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input: Tensor, indices: Tensor, kernel_size: Pair, stride: Pair | None = None,
                 padding: Pair = 0, output_size: Shape | None = None) -> Tensor:  # fmt: skip
    """The partial inverse of `max_pool2d`: each element at its place in `indices`, else zeros."""
    return _unpooled("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def _unpooled(name, n, input, indices, kernel_size, stride, padding, output_size):
    if indices.shape != input.shape:
        raise RuntimeError(
            f"{name}: indices like the input {tuple(input.shape)} are needed, got "
            f"{tuple(indices.shape)}"
        )
    window, step, around = (
        _each(v, n, name, "kernel_size, stride or padding")
        for v in (kernel_size, kernel_size if stride is None else stride, padding)
    )
    before, sizes = input.shape[:-n], input.shape[-n:]
    usual = [(s - 1) * b - 2 * p + k for s, k, b, p in zip(sizes, window, step, around)]
    wanted = usual if output_size is None else list(output_size)[-n:]
    if any(not u - b < w < u + b for w, u, b in zip(wanted, usual, step)):
        raise ValueError(f"{name}: an output of {wanted} cannot come back, only one near {usual}")
    flat = [ops.reshape(x, (*before, math.prod(sizes))) for x in (input, indices)]
    zeros = input.new_zeros(*before, math.prod(wanted))
    return ops.reshape(ops.scatter(zeros, -1, flat[1], flat[0]), (*before, *wanted))
