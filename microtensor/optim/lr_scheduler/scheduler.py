"""The base of all schedules."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

from ...tensor import Tensor
from ...typing import StateDict
from ..optimizer import NONSENSE, RATES, Optimizer, alike, shown

STEPS = 2**53  # more than any training makes, and exact as a float
COUNTS = "_step_count", "num_bad_epochs", "cooldown_counter"


class LRScheduler:
    """Sets the learning rate of each group of an optimizer: when it is made, and at every step.

    A subclass states `lr_at(epoch)`, the rates after that many steps; or, as in PyTorch,
    `get_lr()`, the rates to set now. `last_epoch` counts the steps; to continue, load a
    `state_dict()`.
    """

    _get_lr_called_within_step = (
        True  # read by get_lr() of older programs, which warn if it is False
    )

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._attach(optimizer)
        self.check()
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch != -1 and "initial_lr" not in group:
                raise KeyError(
                    f"{self._name}: group {i} has no 'initial_lr'; to go on from epoch "
                    f"{last_epoch}, load the optimizer's state first"
                )
        self.base_lrs, self.last_epoch, self._last_lr, self._step_count = [], last_epoch, None, 0
        self._note_new_groups()
        self.step()

    _name = property(lambda self: type(self).__name__)

    def _attach(self, optimizer):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{self._name}: an optimizer is needed, got {type(optimizer).__name__}")
        self.optimizer = optimizer

    def lr_at(self, epoch: int) -> list[float]:
        """The learning rate of each group after `epoch` steps."""
        raise NotImplementedError(f"{self._name} defines neither lr_at nor get_lr")

    def get_lr(self) -> list[float]:
        """The learning rates to set now. A rate that was changed by others keeps that change."""
        now = self.lr_at(self.last_epoch)
        if self._last_lr is None and self.last_epoch:  # goes on from a checkpoint
            return now
        before = self.lr_at(self.last_epoch - 1) if self.last_epoch else self.base_lrs
        return [
            new if group["lr"] == old or not old else group["lr"] * new / old
            for group, old, new in zip(self.optimizer.param_groups, before, now, strict=True)
        ]

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group, as this schedule last set it."""
        return list(self._last_lr)

    def step(self, epoch: int | None = None) -> None:
        """Go one step further, or to a given epoch. Call it after the optimizer's step."""
        groups = self.optimizer.param_groups
        self._note_new_groups()
        self._step_count += 1
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        lrs = self.get_lr() if epoch is None else self._get_closed_form_lr()
        for group, lr in zip(groups, lrs, strict=True):
            _set(group, lr)
        self._last_lr = _rates(groups)

    def _get_closed_form_lr(self):
        """The learning rates at `last_epoch`, independent of the current ones."""
        ours = type(self).get_lr is LRScheduler.get_lr
        return self.lr_at(self.last_epoch) if ours else self.get_lr()

    def _note_new_groups(self):
        """Take the rates of the optimizer's groups as bases: at first of all, later of new ones."""
        new = self.optimizer.param_groups[len(self.base_lrs) :]
        new = [g.setdefault("initial_lr", float(g["lr"])) for g in new]
        self.base_lrs = [*self.base_lrs, *new]

    def _restart(self):
        """Begin again at step 0."""
        for group in self.optimizer.param_groups:
            _set(group, group["initial_lr"])
        self.last_epoch = -1
        self.step()

    def state_dict(self) -> StateDict:
        """The state that `load_state_dict` continues from: everything but the optimizer."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Continue from a `state_dict()`. The learning rates themselves are the optimizer's state.

        Raises ValueError, and changes nothing, if an attribute is missing, a value has another type
        or would be refused by the constructor, or one replaces the optimizer or a method; TypeError
        if it is no dict.
        """
        if not isinstance(state_dict, Mapping):
            kind = type(state_dict).__name__
            raise TypeError(f"{self._name}: load_state_dict needs a dict, got {kind}")
        try:
            self._verify(state_dict)
        except NONSENSE as error:
            raise ValueError(f"{self._name}: its saved state makes no sense ({error})") from error
        vars(self).update(state_dict)

    def check(self) -> None:
        """Raise ValueError where the attributes of the schedule make no sense."""

    def _verify(self, state_dict):
        """Raise ValueError, or the error of a value of the wrong type, for an invalid state."""
        for name in state_dict:
            if name == "optimizer" or callable(getattr(type(self), str(name), None)):
                raise ValueError(f"{self._name}: the state of no schedule has {name!r:.80}")
        own = self.state_dict()
        if not state_dict.keys() >= own.keys():
            raise ValueError(
                f"{self._name}: the state of this schedule has {sorted(own)}, "
                f"got {sorted(map(str, state_dict))}"
            )
        for name, ours in own.items():
            value = state_dict[name]
            if name in RATES:
                few = len(value) <= len(self.optimizer.param_groups)
            else:
                few = name == "milestones" or _form(ours) == _form(value)
            large = name in COUNTS and not (isinstance(value, int) and -1 <= value <= STEPS)
            if not alike(ours, value, name in RATES) or not few or large:
                raise ValueError(
                    f"{self._name}: the saved {name} is {shown(value)}, where this schedule has "
                    f"{shown(ours)}"
                )
        trial = copy.copy(self)
        vars(trial).update(state_dict)
        trial.check()

    def _require(self, holds, message):
        if not holds:
            raise ValueError(f"{self._name}: {message}")

    def _for_each_group(self, name, value):
        """One value for each group, from one for all or a list."""
        count = len(self.optimizer.param_groups)
        if not isinstance(value, (list, tuple)):
            return [value] * count
        self._require(len(value) == count, f"{len(value)} of {name} for {count} groups")
        return list(value)


def _set(group, lr):
    """Set the rate of a group; a rate that is a tensor stays the same tensor."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(float(lr))
    else:
        group["lr"] = lr


def _rates(groups):
    return [lr.clone() if isinstance(lr, Tensor) else lr for lr in (g["lr"] for g in groups)]


def _form(value):
    """The nesting of lists in a value, with their lengths."""
    return [_form(inner) for inner in value] if isinstance(value, (list, tuple)) else None


def power_of(base, exponent):
    """base ** exponent as a float; infinite if it is too large."""
    try:
        return float(base) ** exponent
    except OverflowError:
        return math.inf
