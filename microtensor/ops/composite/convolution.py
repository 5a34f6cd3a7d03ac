"""Convolution, pooling and windows of signals and images, made of operations."""

from __future__ import annotations

import itertools
import math
from typing import Any

from ...autograd.errors import one_dtype
from ...autograd.fused import fused
from ...typing import Pair, Shape, Tensor
from ..convolution import fold_, max_pool_, windows_
from ..linear_algebra import matmul
from ..reductions import sum as sum_of
from ..shapes import reshape
from .indexing import gather
from .ordering import max as max_of
from .shapes import cat, flatten, squeeze, unsqueeze

# ---- what the functions below share --------------------------------------------------


def _each(value, n, name, what):
    """A number for each of n dimensions, from one for all or a sequence."""
    values = (value,) * n if isinstance(value, int) else tuple(value)
    values = values * n if len(values) == 1 else values
    if len(values) != n:
        raise RuntimeError(f"{name}: {what} is a number or {n} of them, got {value}")
    return values


def _batch(name, x, n):
    """The input with a batch dimension, and whether it had none."""
    if x.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}: an input (N, C, …) or (C, …) of {n + 2} or {n + 1} dimensions is needed, got "
            f"shape {tuple(x.shape)}"
        )
    return (unsqueeze(x, 0), True) if x.ndim == n + 1 else (x, False)


def _padded(x, pairs, value=0.0):
    """x with `value` before and after each dimension of S."""
    for dim, pair in enumerate(pairs, 2):
        if pair != (0, 0):
            shapes = [(*x.shape[:dim], n, *x.shape[dim + 1 :]) for n in pair]
            before, after = (x.new_full(s, value) for s in shapes)
            x = cat([before, x, after], dim)
    return x


# ---- convolution ---------------------------------------------------------------------


def _convolution(name, n, x, weight, bias, stride, padding, dilation, groups):
    """Windows times weights: one matrix product (O, C·K) (C·K, P) for each image and group."""
    x, alone = _batch(name, x, n)
    one_dtype(name, x, weight, bias)
    sizes, steps = tuple(weight.shape[2:]), _each(stride, n, name, "stride")
    spread = _each(dilation, n, name, "dilation")
    if padding == "same":
        if any(s != 1 for s in steps):
            raise RuntimeError(f'{name}: padding "same" needs a stride of 1, got {stride}')
        around = [d * (k - 1) for k, d in zip(sizes, spread)]
        pairs = [(total // 2, total - total // 2) for total in around]
    else:
        padding = 0 if padding == "valid" else padding
        pairs = [(p, p) for p in _each(padding, n, name, "padding")]
        if min(pairs) < (0, 0):
            raise RuntimeError(f"{name}: padding is at least 0, got {padding}")
    batch, channels, out = x.shape[0], x.shape[1], weight.shape[0]
    if weight.ndim != n + 2 or groups < 1 or out % groups:
        raise RuntimeError(
            f"{name}: a weight (O, C/groups, …) with O a multiple of {groups} groups is needed for "
            f"{channels} channels, got shape {tuple(weight.shape)}"
        )
    _fitting(name, weight, groups, weight.shape[1] * groups, channels)
    cut = windows_(_padded(x, pairs), sizes, steps, spread)
    positions = tuple(cut.shape[3:])
    columns = reshape(cut, (batch, groups, weight[0].numel(), math.prod(positions)))
    rows = reshape(weight, (groups, out // groups, weight[0].numel()))
    y = reshape(matmul(rows, columns), (batch, out, *positions))
    if bias is not None:
        y = y + reshape(bias, (-1,) + (1,) * n)
    return squeeze(y, 0) if alone else y


def _fitting(name, weight, groups, takes, channels):
    """Raise RuntimeError unless the input has the channels that a weight takes."""
    if takes != channels:
        raise RuntimeError(
            f"{name}: the weight {tuple(weight.shape)} takes {takes} channels with groups={groups},"
            f" the input has {channels}"
        )


def _transposed(name, n, x, weight, bias, stride, padding, output_padding, groups, dilation):
    """The derivative of the convolution with that weight: weights times x, folded."""
    x, alone = _batch(name, x, n)
    one_dtype(name, x, weight, bias)
    steps, spread = _each(stride, n, name, "stride"), _each(dilation, n, name, "dilation")
    cut = _each(padding, n, name, "padding")
    more = _each(output_padding, n, name, "output_padding")
    if any(m >= max(s, d) for m, s, d in zip(more, steps, spread)):
        raise RuntimeError(f"{name}: output_padding is less than stride or dilation, got {more}")
    sizes = tuple(weight.shape[2:])
    if weight.ndim != n + 2 or groups < 1 or weight.shape[0] % groups:
        raise RuntimeError(
            f"{name}: a weight (C, O/groups, …) with C a multiple of {groups} groups is needed for "
            f"{x.shape[1]} channels, got shape {tuple(weight.shape)}"
        )
    _fitting(name, weight, groups, weight.shape[0], x.shape[1])
    batch, channels, out = x.shape[0], x.shape[1] // groups, weight.shape[1] * groups
    rows = reshape(weight, (groups, channels, weight[0].numel()))
    columns = matmul(rows.mT, reshape(x, (batch, groups, channels, math.prod(x.shape[2:]))))
    columns = reshape(columns, (batch, out, math.prod(sizes), *x.shape[2:]))
    shape = [(s - 1) * step + d * (k - 1) + 1
             for s, step, d, k in zip(x.shape[2:], steps, spread, sizes)]  # fmt: skip
    y = fold_(columns, tuple(shape), sizes, steps, spread)
    y = _padded(y, [(0, m) for m in more])
    ends = [s + m - p for s, m, p in zip(shape, more, cut)]
    y = y[(..., *(slice(p, end) for p, end in zip(cut, ends)))]
    if bias is not None:
        y = y + reshape(bias, (-1,) + (1,) * n)
    return squeeze(y, 0) if alone else y


@fused
def conv1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Pair = 1,
           padding: Pair | str = 0, dilation: Pair = 1, groups: int = 1) -> Tensor:  # fmt: skip
    """Each weight (O, C/groups, k) slides over the input (N, C, L), summed over the channels.

    Gives (N, O, P). padding is a number of zeros on both sides, "valid" (none) or "same" (P = L).
    """
    return _convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@fused
def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Pair = 1,
           padding: Pair | str = 0, dilation: Pair = 1, groups: int = 1) -> Tensor:  # fmt: skip
    """`conv1d` for images (N, C, H, W) with weights (O, C/groups, kH, kW)."""
    return _convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@fused
def conv_transpose1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Pair = 1,
                     padding: Pair = 0, output_padding: Pair = 0, groups: int = 1,
                     dilation: Pair = 1) -> Tensor:  # fmt: skip
    """The derivative of conv1d as a layer: (N, C, P) with weight (C, O/groups, k) to (N, O, L)."""
    return _transposed("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding,
                       groups, dilation)  # fmt: skip


@fused
def conv_transpose2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Pair = 1,
                     padding: Pair = 0, output_padding: Pair = 0, groups: int = 1,
                     dilation: Pair = 1) -> Tensor:  # fmt: skip
    """`conv_transpose1d` for images."""
    return _transposed("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding,
                       groups, dilation)  # fmt: skip


# ---- pooling -------------------------------------------------------------------------


def _pool(name, n, x, kernel_size, stride, padding, dilation, ceil_mode):
    """The beginning of all pools: x in a batch, the numbers for each dimension, the padding."""
    x, alone = _batch(name, x, n)
    if 0 in x.shape[1:]:
        raise RuntimeError(f"{name}: only the batch may be empty, got shape {tuple(x.shape)}")
    sizes = _each(kernel_size, n, name, "kernel_size")
    steps = _each(stride if stride or stride == 0 else kernel_size, n, name, "stride")
    pad, spread = _each(padding, n, name, "padding"), _each(dilation, n, name, "dilation")
    if any(not 0 <= 2 * p <= k for p, k in zip(pad, sizes)):
        raise RuntimeError(
            f"{name}: padding is at most half of the window, got {padding} for {kernel_size}"
        )
    if any(s < 1 for s in (*steps, *spread)):
        raise RuntimeError(f"{name}: stride and dilation are above 0, got {stride} and {dilation}")
    ends = []
    for s, k, step, p, far in zip(x.shape[2:], sizes, steps, pad, spread):
        rest = (s + 2 * p - far * (k - 1) - 1) % step
        whole = s + 2 * p - rest  # the last window ends here; with ceil_mode one more may begin
        more = ceil_mode and rest and whole - far * (k - 1) - 1 + step < s + p
        ends.append(p + step - rest if more else p)
    return x, alone, sizes, steps, spread, list(zip(pad, ends))


def _max_pool(name, n, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    x, alone, sizes, steps, spread, pairs = _pool(
        name, n, x, kernel_size, stride, padding, dilation, ceil_mode
    )
    lowest = -math.inf if x.is_floating_point() else -(1 << 8 * x.itemsize - 1)
    y, which = max_pool_(_padded(x, pairs, lowest), sizes, steps, spread)
    y = squeeze(y, 0) if alone else y
    if not return_indices:
        return y
    flat = 0  # the position in the input, counted over all its dimensions
    for dim in range(n):
        inner = math.prod(sizes[dim + 1 :])
        start = _line(which, dim + 2) * steps[dim] - pairs[dim][0]
        flat = flat * x.shape[dim + 2] + start + which // inner % sizes[dim] * spread[dim]
    return y, squeeze(flat, 0) if alone else flat


def _line(x, dim):
    """0, 1, 2, … along one dimension of a tensor of integers like x, the others of size 1."""
    line = x.new_tensor(list(range(x.shape[dim])))
    return reshape(line, (-1,) + (1,) * (x.ndim - dim - 1))


def max_pool1d(input: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0,
               dilation: Pair = 1, ceil_mode: bool = False,
               return_indices: bool = False) -> Any:  # fmt: skip
    """The largest of each window of (N, C, L), which moves by its own size unless told `stride`.

    `return_indices`: also where they stand. With `ceil_mode` the last window may reach over the
    end.
    """
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode,
                     return_indices)  # fmt: skip


def max_pool2d(input: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0,
               dilation: Pair = 1, ceil_mode: bool = False,
               return_indices: bool = False) -> Any:  # fmt: skip
    """`max_pool1d` for images (N, C, H, W)."""
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode,
                     return_indices)  # fmt: skip


def _avg_pool(name, n, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor):
    x, alone, sizes, steps, spread, pairs = _pool(
        name, n, x, kernel_size, stride, padding, 1, ceil_mode
    )
    total = sum_of(windows_(_padded(x, pairs), sizes, steps, spread), 2)
    if divisor is None:
        counted = x.detach()[:1, :1] * 0 + 1
        own = [(p, p) for p, _ in pairs]
        counted = _padded(counted, own, 1.0 if count_include_pad else 0.0)
        counted = _padded(counted, [(0, end - p) for p, end in pairs])
        divisor = sum_of(windows_(counted, sizes, steps, spread), 2)
    y = (total / divisor).to(x.dtype)
    return squeeze(y, 0) if alone else y


@fused
def avg_pool1d(input: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:  # fmt: skip
    """The mean of each window of (N, C, L); zeros around it count if count_include_pad."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode,
                     count_include_pad, None)  # fmt: skip


@fused
def avg_pool2d(input: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0,
               ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: int | None = None) -> Tensor:  # fmt: skip
    """`avg_pool1d` for images; `divisor_override` is what the sums are divided by."""
    if divisor_override == 0:
        raise RuntimeError("avg_pool2d: the divisor is not 0")
    return _avg_pool("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode,
                     count_include_pad, divisor_override)  # fmt: skip


def _parts(x, dim, count):
    """For each of `count` parts of a dimension, all nearly alike, where it begins and ends."""
    n = x.shape[dim]
    return [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]


def _adaptive(name, n, x, output_size):
    x, alone = _batch(name, x, n)
    wanted = _each(output_size, n, name, "output_size")
    wanted = [s if w is None else w for w, s in zip(wanted, x.shape[2:])]
    if min(wanted) < 0:
        raise RuntimeError(f"{name}: a size cannot be negative, got {output_size}")
    return x, alone, wanted


def _adaptive_avg_pool(name, n, x, output_size):
    x, alone, wanted = _adaptive(name, n, x, output_size)
    for dim, count in enumerate(wanted, 2):  # the mean of a box is the mean of means
        cuts = [(slice(None),) * dim + (slice(a, b),) for a, b in _parts(x, dim, count)]
        x = cat([x[c].mean(dim, keepdim=True) for c in cuts] or [x.narrow(dim, 0, 0)], dim)
    return squeeze(x, 0) if alone else x


@fused
def adaptive_avg_pool1d(input: Tensor, output_size: Shape) -> Tensor:
    """The means of `output_size` parts of (N, C, L), nearly of one length."""
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


@fused
def adaptive_avg_pool2d(input: Tensor, output_size: Shape) -> Tensor:
    """`adaptive_avg_pool1d` for images; a size of None stays as it is."""
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def _adaptive_max_pool(name, n, x, output_size, return_indices):
    x, alone, wanted = _adaptive(name, n, x, output_size)
    where_from = reshape(x.new_tensor(list(range(math.prod(x.shape[2:]))), dtype="int64"),
                         (1, 1, *x.shape[2:])).expand(tuple(x.shape))  # fmt: skip
    boxes = itertools.product(*(_parts(x, d, count) for d, count in enumerate(wanted, 2)))
    values, indices = [], []
    for box in boxes:
        cut = (..., *(slice(a, b) for a, b in box))
        value, place = max_of(flatten(x[cut], 2), 2, True)
        values.append(value)
        indices.append(gather(flatten(where_from[cut], 2), 2, place))
    shape = (*x.shape[1 if alone else 0 : 2], *wanted)
    if not values:
        empty = x.new_zeros(shape)
        return (empty, empty.long()) if return_indices else empty
    y = reshape(cat(values, 2), shape)
    return (y, reshape(cat(indices, 2), shape)) if return_indices else y


def adaptive_max_pool1d(input: Tensor, output_size: Shape, return_indices: bool = False) -> Any:
    """The largest of `output_size` parts of (N, C, L), nearly of one length."""
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Shape, return_indices: bool = False) -> Any:
    """`adaptive_max_pool1d` for images; a size of None stays as it is."""
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)
