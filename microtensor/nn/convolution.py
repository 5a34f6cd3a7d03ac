"""Convolutions and pools of signals (1d) and images (2d): formulas in `ops/convolution.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..tensor.creation import empty
from ..typing import Device, Dtype, Pair, Shape, Tensor
from . import functional as F
from . import init
from .module import Module, Parameter

# ---- convolutions --------------------------------------------------------------------


class _ConvNd(Module):
    """Weights that slide over (N, in_channels, …) and give (N, out_channels, …).

    Weight and bias start uniform in ±1/√fan_in, the fan in being the numbers that one output is
    computed from. `padding_mode` "reflect", "replicate" or "circular" extends the input instead
    of padding it with zeros.
    """

    transposed = False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Pair, stride: Pair = 1,
                 padding: Any = 0, dilation: Pair = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        name, n = type(self).__name__, self.dimensions
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: {groups} groups cannot share {in_channels} input and {out_channels} "
                "output channels"
            )
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(f"{name}: there is no padding_mode {padding_mode!r}")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f'{name}: padding is numbers, "same" or "valid", got {padding!r}')
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = F._each(kernel_size, n, name, "kernel_size")
        self.stride, self.dilation = (F._each(v, n, name, "stride") for v in (stride, dilation))
        self.padding = padding if isinstance(padding, str) else F._each(padding, n, name, "padding")
        self.padding_mode = padding_mode
        first, second = in_channels, out_channels
        if not self.transposed:
            first, second = second, first
        shape = first, second // groups, *self.kernel_size
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input, weight, bias):
        """The layer with another weight and bias, for subclasses that change them."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._around(), self.padding_mode), 0
        return self.function(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def _around(self):
        """The padding as F.pad takes it: the last dimension first."""
        if self.padding == "valid":
            return (0, 0) * self.dimensions
        if self.padding == "same":
            total = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation)]
            return [part for t in reversed(total) for part in (t // 2, t - t // 2)]
        return [part for p in reversed(self.padding) for part in (p, p)]

    def extra_repr(self) -> str:
        n = self.dimensions
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
                 f"stride={self.stride}"]  # fmt: skip
        usual = {"padding": (0,) * n, "dilation": (1,) * n, "output_padding": (0,) * n, "groups": 1}
        for name, value in usual.items():
            if getattr(self, name, value) != value:
                parts.append(f"{name}={getattr(self, name)}")
        parts += ["bias=False"] if self.bias is None else []
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class Conv1d(_ConvNd):
    __doc__ = _ConvNd.__doc__
    dimensions, function = 1, staticmethod(F.conv1d)


class Conv2d(_ConvNd):
    __doc__ = _ConvNd.__doc__
    dimensions, function = 2, staticmethod(F.conv2d)


class _Transposed(_ConvNd):
    """The derivative of a convolution as a layer: the stride enlarges (N, in_channels, …)."""

    transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Pair, stride: Pair = 1,
                 padding: Any = 0, output_padding: Pair = 0, groups: int = 1, bias: bool = True,
                 dilation: Pair = 1, padding_mode: str = "zeros", device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        if padding_mode != "zeros" or isinstance(padding, str):
            raise ValueError(f"{type(self).__name__}: only zeros can be padded, a number of them")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, padding_mode, device, dtype)  # fmt: skip
        self.output_padding = F._each(
            output_padding, self.dimensions, type(self).__name__, "output_padding"
        )

    def forward(self, input: Tensor, output_size: Shape | None = None) -> Tensor:
        """`output_size` (sizes, or the whole shape) chooses the output_padding."""
        more = self.output_padding
        if output_size is not None:
            sizes = output_size[-self.dimensions :]
            more = tuple(
                want - ((n - 1) * s - 2 * p + d * (k - 1) + 1)
                for want, n, s, p, d, k in zip(
                    sizes, input.shape[-self.dimensions :], self.stride, self.padding,
                    self.dilation, self.kernel_size,
                )
            )  # fmt: skip
            if any(not 0 <= m < s for m, s in zip(more, self.stride)):
                raise ValueError(
                    f"{type(self).__name__}: an output of {tuple(sizes)} cannot come from an input "
                    f"of shape {tuple(input.shape)}"
                )
        return self.function(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups,
            self.dilation,
        )  # fmt: skip


class ConvTranspose1d(_Transposed):
    __doc__ = _Transposed.__doc__
    dimensions, function = 1, staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_Transposed):
    __doc__ = _Transposed.__doc__
    dimensions, function = 2, staticmethod(F.conv_transpose2d)


# ---- pools ---------------------------------------------------------------------------


class _Pool(Module):
    """forward(input) = function(input, …) with the settings of the constructor."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        vars(self).update(settings)
        self._settings = tuple(settings)

    def forward(self, input: Tensor) -> Tensor:
        return self.function(input, **{name: getattr(self, name) for name in self._settings})

    def extra_repr(self) -> str:
        shown = self._settings[:4] if "dilation" in self._settings else self._settings[:3]
        parts = [f"{name}={getattr(self, name)}" for name in shown]
        if "ceil_mode" in self._settings and "dilation" in self._settings:
            parts.append(f"ceil_mode={self.ceil_mode}")
        return ", ".join(parts)


class _MaxPool(_Pool):
    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Any = 0,
                 dilation: Pair = 1, return_indices: bool = False,
                 ceil_mode: bool = False) -> None:  # fmt: skip
        super().__init__(
            kernel_size=kernel_size, stride=stride if stride is not None else kernel_size,
            padding=padding, dilation=dilation, return_indices=return_indices, ceil_mode=ceil_mode,
        )  # fmt: skip


class MaxPool1d(_MaxPool):
    __doc__ = F.max_pool1d.__doc__
    function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    __doc__ = F.max_pool2d.__doc__
    function = staticmethod(F.max_pool2d)


class AvgPool1d(_Pool):
    __doc__ = F.avg_pool1d.__doc__
    function = staticmethod(F.avg_pool1d)

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Any = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True) -> None:  # fmt: skip
        kernel_size, stride, padding = (
            F._each(v, 1, "AvgPool1d", "kernel_size, stride or padding")
            for v in (kernel_size, kernel_size if stride is None else stride, padding)
        )
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding,
                         ceil_mode=ceil_mode, count_include_pad=count_include_pad)  # fmt: skip


class AvgPool2d(_Pool):
    __doc__ = F.avg_pool2d.__doc__
    function = staticmethod(F.avg_pool2d)

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Any = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True,
                 divisor_override: int | None = None) -> None:  # fmt: skip
        super().__init__(
            kernel_size=kernel_size, stride=stride if stride is not None else kernel_size,
            padding=padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )  # fmt: skip


class _MaxUnpool(_Pool):
    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Any = 0) -> None:
        name, n = type(self).__name__, self.dimensions
        kernel_size, stride, padding = (
            F._each(v, n, name, "kernel_size, stride or padding")
            for v in (kernel_size, kernel_size if stride is None else stride, padding)
        )
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding)

    def forward(self, input: Tensor, indices: Tensor, output_size: Shape | None = None) -> Tensor:
        return self.function(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )


class MaxUnpool1d(_MaxUnpool):
    __doc__ = F.max_unpool1d.__doc__
    dimensions, function = 1, staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    __doc__ = F.max_unpool2d.__doc__
    dimensions, function = 2, staticmethod(F.max_unpool2d)


class AdaptiveAvgPool1d(_Pool):
    __doc__ = F.adaptive_avg_pool1d.__doc__
    function = staticmethod(F.adaptive_avg_pool1d)

    def __init__(self, output_size: Shape) -> None:
        super().__init__(output_size=output_size)


class AdaptiveAvgPool2d(AdaptiveAvgPool1d):
    __doc__ = F.adaptive_avg_pool2d.__doc__
    function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveMaxPool1d(_Pool):
    __doc__ = F.adaptive_max_pool1d.__doc__
    function = staticmethod(F.adaptive_max_pool1d)

    def __init__(self, output_size: Shape, return_indices: bool = False) -> None:
        super().__init__(output_size=output_size, return_indices=return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(AdaptiveMaxPool1d):
    __doc__ = F.adaptive_max_pool2d.__doc__
    function = staticmethod(F.adaptive_max_pool2d)


# ---- padding, and images that grow ---------------------------------------------------


class _Pad(Module):
    """`functional.pad` with a number on every side, or (left, right, top, bottom)."""

    mode, value = "constant", 0.0

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = F._each(padding, 2 * self.dimensions, type(self).__name__, "padding")

    def forward(self, input: Tensor) -> Tensor:
        if self.mode == "circular" and input.ndim - self.dimensions not in (1, 2):
            raise ValueError(
                f"{type(self).__name__}: an input (N, C, …) or (C, …) of {self.dimensions + 2} or "
                f"{self.dimensions + 1} dimensions is needed, got shape {tuple(input.shape)}"
            )
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_Pad):
    __doc__ = _Pad.__doc__
    dimensions = 1

    def __init__(self, padding: Any, value: Any) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad1d):
    __doc__ = _Pad.__doc__
    dimensions = 2


class ZeroPad1d(_Pad):
    __doc__ = _Pad.__doc__
    dimensions = 1


class ZeroPad2d(_Pad):
    __doc__ = _Pad.__doc__
    dimensions = 2


class ReflectionPad1d(_Pad):
    __doc__ = _Pad.__doc__
    dimensions, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    __doc__ = _Pad.__doc__
    dimensions, mode = 2, "reflect"


class ReplicationPad1d(_Pad):
    __doc__ = _Pad.__doc__
    dimensions, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    __doc__ = _Pad.__doc__
    dimensions, mode = 2, "replicate"


class CircularPad1d(_Pad):
    __doc__ = _Pad.__doc__
    dimensions, mode = 1, "circular"


class CircularPad2d(_Pad):
    __doc__ = _Pad.__doc__
    dimensions, mode = 2, "circular"


class Upsample(Module):
    __doc__ = F.interpolate.__doc__

    def __init__(self, size: Shape | None = None,
                 scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
                 align_corners: bool | None = None,
                 recompute_scale_factor: bool | None = None) -> None:  # fmt: skip
        super().__init__()
        if isinstance(scale_factor, (tuple, list)):
            scale_factor = tuple(map(float, scale_factor))
        elif scale_factor is not None:
            scale_factor = float(scale_factor)
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners,
                             self.recompute_scale_factor)  # fmt: skip

    def extra_repr(self) -> str:
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of images with "nearest"."""

    def __init__(
        self, size: Shape | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of images with "bilinear" and aligned corners."""

    def __init__(
        self, size: Shape | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Module):
    __doc__ = F.pixel_shuffle.__doc__

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    __doc__ = F.pixel_unshuffle.__doc__

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class Unfold(Module):
    __doc__ = F.unfold.__doc__

    def __init__(
        self, kernel_size: Pair, dilation: Pair = 1, padding: Any = 0, stride: Pair = 1
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    __doc__ = F.fold.__doc__

    def __init__(self, output_size: Shape, kernel_size: Pair, dilation: Pair = 1, padding: Any = 0,
                 stride: Pair = 1) -> None:  # fmt: skip
        super().__init__()
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding,
                      self.stride)  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
