"""Schedules that follow a curve: cosines, one cycle, many cycles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..optimizer import Optimizer
from .scheduler import LRScheduler, _set, power_of


def _cosine(start, end, share):
    """The value at `share` (0 to 1) of half a cosine wave from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _line(start, end, share):
    return start + (end - start) * share


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (base − eta_min) (1 + cos(π epoch / T_max)) / 2  (arXiv:1608.03983)"""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def check(self) -> None:
        self._require(self.T_max > 0, f"T_max must be above 0, got {self.T_max}")

    def lr_at(self, epoch: int) -> list[float]:
        return [_cosine(base, self.eta_min, epoch / self.T_max) for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """CosineAnnealingLR again and again: over T_0 steps, then T_mult times as many, and so on.

    `step(epoch)` takes any number, also between two epochs (arXiv:1608.03983).
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0,
                 last_epoch: int = -1) -> None:  # fmt: skip
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def check(self) -> None:
        first, more = self.T_0, self.T_mult
        self._require(first > 0 and isinstance(first, int), f"T_0 is an int above 0, got {first}")
        self._require(more >= 1 and isinstance(more, int), f"T_mult is 1, 2, …, got {more}")

    def lr_at(self, epoch: int) -> list[float]:
        length = self.T_0
        while epoch >= length and self.T_mult > 1:
            epoch, length = epoch - length, length * self.T_mult
        return [_cosine(base, self.eta_min, epoch % length / length) for base in self.base_lrs]

    def get_lr(self) -> list[float]:
        return self.lr_at(self.last_epoch)

    def step(self, epoch: int | None = None) -> None:
        """Go one step further, or to `epoch`."""
        if epoch is None:
            return super().step()
        self._require(epoch >= 0, f"an epoch of at least 0 is needed, got {epoch}")
        self.last_epoch = math.floor(epoch)
        self._last_lr = self.lr_at(epoch)
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            _set(group, lr)
        return None


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to that first rate / final_div_factor.

    The way up takes `pct_start` of `total_steps` (or of epochs · steps_per_epoch); with
    `three_phase` the way back to the first rate takes as long, and the rest goes on down. Momentum
    (or β₁) moves the other way. Raises ValueError after the last step. arXiv:1708.07120
    """

    def __init__(self, optimizer: Optimizer, max_lr: float | Sequence[float],
                 total_steps: int | None = None, epochs: int | None = None,
                 steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True,
                 base_momentum: float = 0.85, max_momentum: float = 0.95, div_factor: float = 25.0,
                 final_div_factor: float = 1e4, three_phase: bool = False,
                 last_epoch: int = -1) -> None:  # fmt: skip
        self._attach(optimizer)
        if total_steps is None:
            known = epochs is not None and steps_per_epoch is not None
            self._require(known, "total_steps is needed, or both epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        self._require(0 <= pct_start <= 1, f"pct_start must be within 0 … 1, got {pct_start}")
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.check()
        self.max_lrs = self._for_each_group("max_lr", max_lr)
        first = [lr / div_factor for lr in self.max_lrs]
        last = [lr / final_div_factor for lr in first]
        high = self._for_each_group("max_momentum", max_momentum)
        low = self._for_each_group("base_momentum", base_momentum)
        up = pct_start * total_steps - 1
        # where each phase ends, with which rates and which momenta
        self.phases = [[up, self.max_lrs, low], [total_steps - 1, last, high]]
        if three_phase:
            self.phases.insert(1, [2 * up, first, high])
        self.start = [0, first, high]
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, first):
                group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)

    def check(self) -> None:
        steps, curve = self.total_steps, self.anneal_strategy
        whole = isinstance(steps, int) and steps > 0
        self._require(whole, f"total_steps must be above 0 and whole, got {steps}")
        self._require(
            curve in ("cos", "linear"), f"anneal_strategy must be 'cos' or 'linear', got {curve!r}"
        )
        _require_momentum(self)

    def _at(self, epoch, which):
        """The rates (1) or momenta (2) of each group, on the way through the phase of `epoch`."""
        start = self.start
        for end in self.phases[:-1]:
            if epoch <= end[0]:
                break
            start = end
        else:
            end = self.phases[-1]
        length = end[0] - start[0]
        share = (epoch - start[0]) / length if length else 1.0
        curve = _cosine if self.anneal_strategy == "cos" else _line
        return [curve(a, b, share) for a, b in zip(start[which], end[which])]

    def lr_at(self, epoch: int) -> list[float]:
        return self._at(epoch, 1)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {self.last_epoch} of a schedule of {self.total_steps} steps"
            )
        if self.cycle_momentum:
            for group, momentum in zip(self.optimizer.param_groups, self._at(self.last_epoch, 2)):
                _set_momentum(group, momentum)
        return self.lr_at(self.last_epoch)


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr in step_size_up steps, down in step_size_down, and again.

    (arXiv:1506.01186). The height is multiplied by 1 in mode "triangular", by ½ after each cycle in
    "triangular2", and by gammaᵉᵖᵒᶜʰ in "exp_range"; or by scale_fn of the number of the cycle, or
    with scale_mode "iterations" of the epoch. Momentum moves the other way, with `cycle_momentum`.
    """

    def __init__(self, optimizer: Optimizer, base_lr: float | Sequence[float],
                 max_lr: float | Sequence[float], step_size_up: int = 2000,
                 step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
                 scale_fn: Any = None, scale_mode: str = "cycle", cycle_momentum: bool = True,
                 base_momentum: float = 0.8, max_momentum: float = 0.9,
                 last_epoch: int = -1) -> None:  # fmt: skip
        self._attach(optimizer)
        self.step_size_up = float(step_size_up)
        self.step_size_down = float(step_size_down or step_size_up)
        self.mode, self.gamma, self.scale_fn = mode, gamma, scale_fn
        self.scale_mode = scale_mode if scale_fn or mode != "exp_range" else "iterations"
        self.max_lrs = self._for_each_group("max_lr", max_lr)
        self.cycle_momentum = cycle_momentum
        self.check()
        self.base_momentums = self._for_each_group("base_momentum", base_momentum)
        self.max_momentums = self._for_each_group("max_momentum", max_momentum)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, self._for_each_group("base_lr", base_lr)):
                group["initial_lr"] = lr
                _set(group, lr)
        super().__init__(optimizer, last_epoch)

    def check(self) -> None:
        modes, mode, by = ("triangular", "triangular2", "exp_range"), self.mode, self.scale_fn
        self._require(by or mode in modes, f"the mode is one of {modes}, got {mode!r:.100}")
        self._require(by is None or callable(by), f"scale_fn must be a function, got {by!r:.100}")
        _require_momentum(self)
        for name in ("step_size_up", "step_size_down"):
            size = getattr(self, name)
            self._require(size > 0, f"{name} must be above 0, got {size}")

    def _height(self, epoch):
        """The share of the way from base_lr to max_lr at `epoch`."""
        length = self.step_size_up + self.step_size_down
        cycle, step = divmod(epoch, length)
        up = step <= self.step_size_up
        share = step / self.step_size_up if up else (length - step) / self.step_size_down
        number = cycle + 1 if self.scale_mode == "cycle" else epoch
        if self.scale_fn:
            return share * self.scale_fn(number)
        return share * {
            "triangular": 1.0,
            "triangular2": power_of(0.5, number - 1),
            "exp_range": power_of(self.gamma, number),
        }[self.mode]  # fmt: skip

    def lr_at(self, epoch: int) -> list[float]:
        height = self._height(epoch)
        return [low + (top - low) * height for low, top in zip(self.base_lrs, self.max_lrs)]

    def get_lr(self) -> list[float]:
        if self.cycle_momentum:
            height = self._height(self.last_epoch)
            for group, low, top in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums
            ):
                _set_momentum(group, top - (top - low) * height)
        return self.lr_at(self.last_epoch)


def _set_momentum(group, momentum):
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _require_momentum(schedule):
    schedule._require(
        not schedule.cycle_momentum or {"momentum", "betas"} & schedule.optimizer.defaults.keys(),
        "the optimizer has neither momentum nor betas; pass cycle_momentum=False",
    )
