"""Schedules made of schedules, and ReduceLROnPlateau, which follows the loss."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ...typing import StateDict
from ..optimizer import Optimizer
from .scheduler import LRScheduler, _rates, _set


class SequentialLR(LRScheduler):
    """Schedules in sequence: number i + 1 begins, with its step 0, at milestones[i]."""

    def __init__(self, optimizer: Optimizer, schedulers: Any, milestones: Sequence[int]) -> None:
        self._attach(optimizer)
        self._require(len(schedulers) > 0, "at least one schedule is needed")
        for i, s in enumerate(schedulers):
            self._require(s.optimizer is optimizer, f"schedule {i} belongs to another optimizer")
            self._require(
                not isinstance(s, ReduceLROnPlateau), f"schedule {i} needs a loss at every step"
            )
        self._require(
            len(milestones) == len(schedulers) - 1,
            f"{len(schedulers)} schedules need {len(schedulers) - 1} milestones, "
            f"got {len(milestones)}",
        )
        self._require(
            list(milestones) == sorted(milestones),
            f"milestones must ascend, got {list(milestones)}",
        )
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        self._restart()

    def _restart(self):
        self.last_epoch = 0
        active = self._schedulers[bisect_right(self._milestones, 0)]
        active._restart()
        self._last_lr = active.get_last_lr()

    def step(self) -> None:
        self.last_epoch += 1
        active = self._schedulers[bisect_right(self._milestones, self.last_epoch)]
        if self.last_epoch in self._milestones:
            active._restart()
        else:
            active.step()
        self._last_lr = active.get_last_lr()

    def state_dict(self) -> StateDict:
        own = LRScheduler.state_dict(self)
        return {**own, "_schedulers": [s.state_dict() for s in self._schedulers]}

    def _verify(self, state_dict):
        LRScheduler._verify(self, state_dict)
        states = state_dict["_schedulers"]
        count = len(self._schedulers)
        self._require(len(states) == count, f"it has {count} schedules, the saved {len(states)}")
        for scheduler, state in zip(self._schedulers, states):
            scheduler._verify(state)

    def load_state_dict(self, state_dict: StateDict) -> None:
        schedulers = self._schedulers
        LRScheduler.load_state_dict(self, state_dict)
        self._schedulers = schedulers
        for scheduler, state in zip(schedulers, state_dict["_schedulers"]):
            scheduler.load_state_dict(state)


class ChainedScheduler(LRScheduler):
    """Schedules that all step at once: each changes the rate that the one before has set."""

    def __init__(self, schedulers: Any, optimizer: Optimizer | None = None) -> None:
        self._require(len(schedulers) > 0, "at least one schedule is needed")
        self._attach(optimizer or schedulers[0].optimizer)
        for i, s in enumerate(schedulers):
            self._require(
                s.optimizer is self.optimizer, f"schedule {i} belongs to another optimizer"
            )
        self._schedulers = list(schedulers)
        self._last_lr = _rates(self.optimizer.param_groups)

    def step(self) -> None:
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = _rates(self.optimizer.param_groups)

    state_dict, load_state_dict = SequentialLR.state_dict, SequentialLR.load_state_dict
    _verify = SequentialLR._verify


class ReduceLROnPlateau(LRScheduler):
    """lr ← max(lr · factor, min_lr) after more than `patience` steps that were no better.

    Better is below best · (1 − threshold) for mode "min", above best · (1 + threshold) for "max";
    with threshold_mode "abs", best ∓ threshold. After a reduction it waits for `cooldown` steps. A
    reduction by eps or less is not made.
    """

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1,
                 patience: int = 10, threshold: float = 1e-4, threshold_mode: str = "rel",
                 cooldown: int = 0, min_lr: int = 0, eps: float = 1e-8) -> None:  # fmt: skip
        self._attach(optimizer)
        self.mode, self.factor, self.patience, self.cooldown = mode, factor, patience, cooldown
        self.threshold, self.threshold_mode, self.eps = threshold, threshold_mode, eps
        self.check()
        self.min_lrs = self._for_each_group("min_lr", min_lr)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = _rates(optimizer.param_groups)

    def check(self) -> None:
        self._require(self.factor < 1, f"factor must be below 1, got {self.factor}")
        mode, kind = self.mode, self.threshold_mode
        self._require(mode in ("min", "max"), f"mode must be 'min' or 'max', got {mode!r:.100}")
        self._require(
            kind in ("rel", "abs"), f"threshold_mode must be 'rel' or 'abs', got {kind!r:.100}"
        )

    def _is_better(self, metrics):
        margin = -self.threshold if self.mode == "min" else self.threshold
        bound = self.best * (1 + margin) if self.threshold_mode == "rel" else self.best + margin
        return metrics < bound if self.mode == "min" else metrics > bound

    def step(self, metrics: Any, epoch: int | None = None) -> None:
        """Go one step further, given the loss (or score) that the schedule follows."""
        metrics = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(metrics):
            self.best, self.num_bad_epochs = metrics, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lr = max(group["lr"] * self.factor, lowest)
                if group["lr"] - lr > self.eps:
                    _set(group, lr)
        self._last_lr = _rates(self.optimizer.param_groups)
