"""Averages of a model's weights over a training: stochastic (arXiv:1803.05407) and exponential.

In a training:

    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    for batch in batches:
        ...
        optimizer.step()
        averaged.update_parameters(model)
    update_bn(batches, averaged)
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from ..autograd import no_grad
from ..nn.module import Module
from ..nn.normalization import _BatchNorm
from ..optim.optimizer import Optimizer
from ..tensor.creation import tensor
from ..typing import Device
from .lr_scheduler import LRScheduler
from .lr_scheduler.curves import _cosine, _line


def _new_share(decay):
    """The weight of the newest value in the exponential mean."""
    if not 0 <= decay <= 1:
        raise ValueError(f"an exponential mean decays by 0 … 1, got {decay}")
    return 1 - decay


def get_ema_avg_fn(decay: float = 0.999) -> Callable[..., Any]:
    """(average, now, count) to decay·average + (1 − decay)·now."""
    share = _new_share(decay)
    return no_grad()(lambda average, now, count: (1 - share) * average + share * now)


def get_swa_avg_fn() -> Callable[..., Any]:
    """(average of `count` values, now, count) to the average that includes `now`."""
    return no_grad()(lambda average, now, count: average + (now - average) / (count + 1))


def _of_lists(average):
    """Turn a function of single tensors into one of lists, which changes the first list."""

    @no_grad()
    def update(averages, values, count):
        for a, value in zip(averages, values, strict=True):
            a.copy_(average(a, value, count))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., Any]:
    """`get_ema_avg_fn` for lists of tensors, in place."""
    return _of_lists(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Callable[..., Any]:
    """`get_swa_avg_fn` for lists of tensors, in place."""
    # 1 / (count + 1) of a tensor is one of the default dtype, which PyTorch's rounding needs
    return _of_lists(lambda average, now, count: average + (now - average) * (1 / (count + 1)))


class AveragedModel(Module):
    """A copy of a model, as `module`, whose parameters are an average of the model's.

    The average is the mean of all values passed to `update_parameters`, unless `avg_fn`, of tensors
    (average, now, count), computes another, or `multi_avg_fn` updates lists of them in place. With
    `use_buffers` buffers are averaged, too; else they are copied from the model.
    """

    def __init__(self, model: Module, device: Device | None = None,
                 avg_fn: Callable[..., Any] | None = None,
                 multi_avg_fn: Callable[..., Any] | None = None,
                 use_buffers: bool = False) -> None:  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("AveragedModel: avg_fn or multi_avg_fn, not both")
        self.module = copy.deepcopy(model)
        self.module = self.module if device is None else self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def _averaged(self, model):
        buffers = model.buffers() if self.use_buffers else ()
        return [t.detach() for t in itertools.chain(model.parameters(), buffers)]

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Include the model's current parameters in the average; the first ones are copied."""
        own = self._averaged(self.module)
        theirs = [t.to(a.device) for a, t in zip(own, self._averaged(model), strict=True)]
        if self.n_averaged == 0:
            average = _of_lists(lambda average, now, count: now)
        else:
            average = self.multi_avg_fn or _of_lists(self.avg_fn or get_swa_avg_fn())
        average(own, theirs, self.n_averaged)
        if not self.use_buffers:
            for b, now in zip(self.module.buffers(), model.buffers(), strict=True):
                b.copy_(now.to(b.device))
        self.n_averaged += 1


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Device | None = None) -> None:
    """Set the running values of batch norms to the plain means over the batches of `loader`.

    Of a batch that is a list or tuple, the first item is the model's input.
    """
    momenta = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    for module in momenta:
        module.reset_running_stats()
        module.momentum = None
    model.train()
    for batch in loader:
        batch = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(batch if device is None else batch.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From a group's current rate to `swa_lr` in `anneal_epochs` steps, then constant."""

    def __init__(self, optimizer: Optimizer, swa_lr: float, anneal_epochs: int = 10,
                 anneal_strategy: str = "cos", last_epoch: int = -1) -> None:  # fmt: skip
        self._attach(optimizer)
        for group, lr in zip(optimizer.param_groups, self._for_each_group("swa_lr", swa_lr)):
            group["swa_lr"] = lr
        self._require(
            anneal_strategy in ("cos", "linear"),
            f"anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}",
        )
        self._require(
            isinstance(anneal_epochs, int) and anneal_epochs >= 0,
            f"anneal_epochs must be an int of at least 0, got {anneal_epochs!r}",
        )
        self.anneal_epochs, self.anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        curve = _cosine if self.anneal_strategy == "cos" else _line
        step = self._step_count - 1
        shares = (s / max(1, self.anneal_epochs) for s in (step - 1, step))
        before, now = (curve(0, 1, max(0, min(1, share))) for share in shares)
        if not self.anneal_epochs or before == 1:
            return [group["swa_lr"] for group in self.optimizer.param_groups]
        # another schedule may have changed the rate: continue from there
        left = (1 - now) / (1 - before)
        return [
            group["swa_lr"] + (group["lr"] - group["swa_lr"]) * left
            for group in self.optimizer.param_groups
        ]


__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip
