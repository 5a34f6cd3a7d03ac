"""Normalization of the channels of (N, C, …): over the batch, in groups, or each by itself."""

from __future__ import annotations

from ..autograd import no_grad
from ..tensor.creation import ones, tensor, zeros
from ..typing import Device, Dtype, Tensor
from . import functional as F
from . import init
from .module import Module, Parameter


class _Norm(Module):
    """A weight that starts 1 and a bias that starts 0 for each channel, or neither."""

    def _add_affine(self, channels, affine, bias, where):
        weight = Parameter(ones(channels, **where)) if affine else None
        self.register_parameter("weight", weight)
        bias = Parameter(zeros(channels, **where)) if affine and bias else None
        self.register_parameter("bias", bias)

    def reset_parameters(self) -> None:
        """Make the weight 1 and the bias 0 again."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class GroupNorm(_Norm):
    __doc__ = F.group_norm.__doc__

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
                 device: Device | None = None, dtype: Dtype | None = None, *,
                 bias: bool = True) -> None:  # fmt: skip
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: {num_groups} groups cannot share {num_channels} channels evenly"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.affine = affine
        self._add_affine(num_channels, affine, bias, {"device": device, "dtype": dtype})

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _RunningNorm(_Norm):
    """Base of layers that keep running means and variances, of shape (C), for evaluation.

    In training they are updated with those of the batch by the share `momentum`; with None they are
    the plain means over the batches so far.
    """

    dimensions = ()  # the numbers of dimensions that an input may have

    def _set(self, num_features, eps, momentum, affine, track, bias, device, dtype):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track
        where = {"device": device, "dtype": dtype}
        self._add_affine(num_features, affine, bias, where)
        self.register_buffer("running_mean", zeros(num_features, **where) if track else None)
        self.register_buffer("running_var", ones(num_features, **where) if track else None)
        self.register_buffer("num_batches_tracked", tensor(0, device=device) if track else None)

    def reset_running_stats(self) -> None:
        """Make the running mean 0 and the running variance 1 again."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Reset the parameters and running values."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check(self, input):
        if input.ndim not in self.dimensions:
            wanted = " or ".join(map(str, self.dimensions))
            raise ValueError(
                f"{type(self).__name__}: an input of {wanted} dimensions is needed, got shape "
                f"{tuple(input.shape)}"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_RunningNorm):
    __doc__ = F.batch_norm.__doc__

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = True, track_running_stats: bool = True,
                 device: Device | None = None, dtype: Dtype | None = None, *,
                 bias: bool = True) -> None:  # fmt: skip
        super().__init__()
        self._set(num_features, eps, momentum, affine, track_running_stats, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        momentum = self.momentum
        if self.training and self.track_running_stats:
            with no_grad():
                self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1 / self.num_batches_tracked.item()
        by_batch = self.training or self.running_mean is None
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(input, mean, var, self.weight, self.bias, by_batch, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    __doc__ = F.batch_norm.__doc__
    dimensions = 2, 3


class BatchNorm2d(_BatchNorm):
    __doc__ = F.batch_norm.__doc__
    dimensions = (4,)


class _InstanceNorm(_RunningNorm):
    __doc__ = F.instance_norm.__doc__

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = False, track_running_stats: bool = False,
                 device: Device | None = None, dtype: Dtype | None = None, *,
                 bias: bool = True) -> None:  # fmt: skip
        super().__init__()
        self._set(num_features, eps, momentum, affine, track_running_stats, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        alone = input.ndim < self.dimensions[1]
        y = F.instance_norm(
            input[None] if alone else input, self.running_mean, self.running_var, self.weight,
            self.bias, self.training or not self.track_running_stats, self.momentum, self.eps,
        )  # fmt: skip
        return y[0] if alone else y


class InstanceNorm1d(_InstanceNorm):
    __doc__ = F.instance_norm.__doc__
    dimensions = 2, 3


class InstanceNorm2d(_InstanceNorm):
    __doc__ = F.instance_norm.__doc__
    dimensions = 3, 4


class LocalResponseNorm(Module):
    __doc__ = F.local_response_norm.__doc__

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
