"""Schedules that multiply the base rate by a factor of the number of steps."""

from __future__ import annotations

import types
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ...typing import StateDict
from ..optimizer import Optimizer, shown
from .scheduler import LRScheduler, power_of


class FactorLR(LRScheduler):
    """lr = base · factor(epoch)"""

    def factor_at(self, epoch: int) -> float:
        """The factor of the base rate after `epoch` steps."""
        raise NotImplementedError

    def lr_at(self, epoch: int) -> list[float]:
        factor = self.factor_at(epoch)
        return [base * factor for base in self.base_lrs]


class ExponentialLR(FactorLR):
    """lr = base · gamma^epoch"""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        return power_of(self.gamma, epoch)


class StepLR(FactorLR):
    """lr = base · gamma^⌊epoch / step_size⌋"""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def check(self) -> None:
        self._require(self.step_size > 0, f"step_size must be above 0, got {self.step_size}")

    def factor_at(self, epoch: int) -> float:
        return power_of(self.gamma, epoch // self.step_size)


class MultiStepLR(FactorLR):
    """lr = base · gamma^(number of milestones reached)"""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1,
                 last_epoch: int = -1) -> None:  # fmt: skip
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        return power_of(self.gamma, bisect_right(self.milestones, epoch))


class ConstantLR(FactorLR):
    """lr = base · factor before step `total_iters`, then base."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5,
                 last_epoch: int = -1) -> None:  # fmt: skip
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def check(self) -> None:
        self._require(0 <= self.factor <= 1, f"factor must be within 0 … 1, got {self.factor}")

    def factor_at(self, epoch: int) -> float:
        return self.factor if epoch < self.total_iters else 1.0


class LinearLR(FactorLR):
    """lr = base · a line from start_factor at step 0 to end_factor at step `total_iters`."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0,
                 total_iters: int = 5, last_epoch: int = -1) -> None:  # fmt: skip
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def check(self) -> None:
        start, end = self.start_factor, self.end_factor
        self._require(0 < start <= 1, f"start_factor must be within 0 … 1, got {start}")
        self._require(0 <= end <= 1, f"end_factor must be within 0 … 1, got {end}")

    def factor_at(self, epoch: int) -> float:
        if epoch >= self.total_iters:
            return self.end_factor
        return self.start_factor + (self.end_factor - self.start_factor) * epoch / self.total_iters


class PolynomialLR(FactorLR):
    """lr = base · (1 − epoch / total_iters)^power, and 0 from step `total_iters` on."""

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch: int) -> float:
        return power_of(1 - min(epoch, self.total_iters) / self.total_iters, self.power)


class LambdaLR(LRScheduler):
    """lr = base · f(epoch), with one function for all groups or one for each.

    Its state keeps the attributes of callable objects; plain functions are not part of it.
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        self._attach(optimizer)
        self.lr_lambdas = self._for_each_group("lr_lambda", lr_lambda)
        wrong = [f for f in self.lr_lambdas if not callable(f)]
        if wrong:
            raise TypeError(f"{self._name}: lr_lambda must be a function, got {wrong[0]!r}")
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int) -> list[float]:
        return [base * f(epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]

    def get_lr(self) -> list[float]:
        return self.lr_at(self.last_epoch)  # the user's function decides, as in PyTorch

    def state_dict(self) -> StateDict:
        plain = types.FunctionType, types.BuiltinFunctionType
        kept = [None if isinstance(f, plain) else dict(vars(f)) for f in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": kept}

    def _verify(self, state_dict):
        super()._verify(state_dict)
        kept = state_dict["lr_lambdas"]
        own = self.state_dict()["lr_lambdas"]
        fits = len(kept) == len(own) and all(
            theirs is None or type(theirs) is dict and ours is not None
            for ours, theirs in zip(own, kept)
        )
        self._require(fits, f"the saved lr_lambdas are {shown(kept)}, not like {shown(own)}")

    def load_state_dict(self, state_dict: StateDict) -> None:
        functions = self.lr_lambdas
        super().load_state_dict(state_dict)
        for f, kept in zip(functions, self.lr_lambdas, strict=True):
            if kept is not None:
                vars(f).update(kept)
        self.lr_lambdas = functions


class MultiplicativeLR(LambdaLR):
    """lr ← lr · f(epoch) at every step but the first."""

    def get_lr(self) -> list[float]:
        lrs = [group["lr"] for group in self.optimizer.param_groups]
        if not self.last_epoch:
            return lrs
        return [lr * f(self.last_epoch) for lr, f in zip(lrs, self.lr_lambdas)]
