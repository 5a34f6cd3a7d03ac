"""`nn.SyncBatchNorm`: batch normalization over the batches of all processes together."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..autograd import no_grad
from ..autograd.function import Function
from ..nn.module import Module
from ..nn.normalization import _BatchNorm
from ..tensor import Tensor
from ..tensor.creation import tensor
from .collectives import all_reduce
from .groups import ProcessGroup, chosen, is_initialized


class _Normalized(Function):
    """(x − mean) rstd, with mean and rstd over all processes.

    ∂x = rstd (g − mean(g) − y mean(g y)), where these means are over all processes, too.
    """

    @staticmethod
    def forward(ctx, x, mean, rstd, count, group):
        y = (x - mean) * rstd
        ctx.save_for_backward(y, rstd)
        ctx.count, ctx.group = count, group
        return y

    @staticmethod
    def backward(ctx, g):
        y, rstd = ctx.saved_tensors
        axes = _axes(y)
        sums = ops.stack([g.sum(axes), (g * y).sum(axes)])  # (2, C)
        all_reduce(sums, group=ctx.group)
        shape = [1, -1, *[1] * (y.ndim - 2)]
        means = sums / ctx.count
        part = g - means[0].reshape(shape) - y * means[1].reshape(shape)
        return part * rstd, None, None, None, None


def _axes(x):
    """All axes but that of the channels."""
    return tuple(i for i in range(x.ndim) if i != 1)


class SyncBatchNorm(_BatchNorm):
    """`BatchNorm` of (N, C, …) whose means and variances are those of all processes' batches.

    The batches may differ in size. In evaluation, in one process, or before `init_process_group`,
    it is the ordinary one. `convert_sync_batchnorm(module)` puts it in place of each `BatchNorm`.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = True, track_running_stats: bool = True,
                 process_group: ProcessGroup | None = None, device: Any = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.process_group = process_group

    def _check(self, input):
        if input.ndim < 2:
            raise ValueError(
                f"SyncBatchNorm: at least 2 dimensions are needed, got shape {tuple(input.shape)}"
            )

    def forward(self, input: Tensor) -> Tensor:
        by_batch = self.training or self.running_mean is None
        group = chosen("SyncBatchNorm", self.process_group) if is_initialized() else None
        if not by_batch or group is None or len(group.ranks) == 1:
            return super().forward(input)
        self._check(input)
        shape = [1, -1, *[1] * (input.ndim - 2)]
        mean, var, count = self._moments(input.detach(), group)
        if self.training and self.track_running_stats:
            self._note(mean, var, count)
        rstd = (var + self.eps).rsqrt()
        y = _Normalized.apply(input, mean.reshape(shape), rstd.reshape(shape), count, group)
        if self.weight is not None:
            y = y * self.weight.reshape(shape)
        return y if self.bias is None else y + self.bias.reshape(shape)

    @no_grad()
    def _moments(self, x, group):
        """Mean and variance of each channel over all processes, (C) both, and how many they are of.

        Two exchanges: that of the mean, then of the squares of what differs from it.
        """
        axes = _axes(x)
        count = tensor([float(x.numel() // x.shape[1])], dtype=x.dtype)
        sums = ops.cat([x.sum(axes), count])
        all_reduce(sums, group=group)
        total = sums[-1].item()
        mean = sums[:-1] / total
        squares = ((x - mean.reshape([1, -1, *[1] * (x.ndim - 2)])) ** 2).sum(axes)
        all_reduce(squares, group=group)
        return mean, squares / total, total

    @no_grad()
    def _note(self, mean, var, count):
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / self.num_batches_tracked.item()
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(var * (count / max(count - 1, 1)), momentum)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with a SyncBatchNorm, with the same parameters, for each BatchNorm in it."""
        if isinstance(module, _BatchNorm) and not isinstance(module, cls):
            new = cls(module.num_features, module.eps, module.momentum, module.affine,
                      module.track_running_stats, process_group)  # fmt: skip
            new.weight, new.bias, new.training = module.weight, module.bias, module.training
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(new, name, getattr(module, name))
            return new
        for name, child in module.named_children():
            new = cls.convert_sync_batchnorm(child, process_group)
            if new is not child:
                setattr(module, name, new)
        return module
