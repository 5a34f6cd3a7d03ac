"""Schedules of the learning rate, each a formula of the number of steps.

    scheduler = CosineAnnealingLR(optimizer, T_max=1000)
    for batch in batches:
        ...
        optimizer.step()
        scheduler.step()

`base` is a group's learning rate when its first schedule was made. Schedules on one optimizer
multiply, as in PyTorch; `SequentialLR` puts one after the other.
"""

import copy
import math
import types
from bisect import bisect_right
from collections.abc import Mapping

from ..tensor import Tensor
from .optimizer import NONSENSE, RATES, Optimizer, alike, shown

STEPS = 2**53  # more than anybody makes, and exact as a float
COUNTS = "_step_count", "num_bad_epochs", "cooldown_counter"


class LRScheduler:
    """Sets the learning rate of each group of an optimizer: when it is made, and at every step.

    A subclass states `lr_at(epoch)`, the rates after that many steps; or, as in PyTorch,
    `get_lr()`, the rates to set now. `last_epoch` counts the steps; to continue, load a
    `state_dict()`.
    """

    _get_lr_called_within_step = True  # asked by get_lr() of older programs, which else warn

    def __init__(self, optimizer, last_epoch=-1):
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

    def lr_at(self, epoch):
        """The learning rate of each group after `epoch` steps."""
        raise NotImplementedError(f"{self._name} defines neither lr_at nor get_lr")

    def get_lr(self):
        """The learning rates to set now. A rate that someone else has changed keeps that change."""
        now = self.lr_at(self.last_epoch)
        if self._last_lr is None and self.last_epoch:  # goes on from a checkpoint
            return now
        before = self.lr_at(self.last_epoch - 1) if self.last_epoch else self.base_lrs
        return [
            new if group["lr"] == old or not old else group["lr"] * new / old
            for group, old, new in zip(self.optimizer.param_groups, before, now, strict=True)
        ]

    def get_last_lr(self):
        """The learning rate of each group, as this schedule last set it."""
        return list(self._last_lr)

    def step(self, epoch=None):
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
        """The learning rates at `last_epoch`, whatever they were before."""
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

    def state_dict(self):
        """What `load_state_dict` needs to continue: everything but the optimizer."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict):
        """Continue from a `state_dict()`. The learning rates themselves are the optimizer's state.

        Raises ValueError, and changes nothing, for the state of a schedule that knows less, for a
        value of another kind or that the constructor would refuse, and for one in place of the
        optimizer or of a method; TypeError if it is no dict.
        """
        if not isinstance(state_dict, Mapping):
            kind = type(state_dict).__name__
            raise TypeError(f"{self._name}: load_state_dict needs a dict, got {kind}")
        try:
            self._verify(state_dict)
        except NONSENSE as error:
            raise ValueError(f"{self._name}: its saved state makes no sense ({error})") from error
        vars(self).update(state_dict)

    def check(self):
        """Raise ValueError where the attributes of the schedule make no sense."""

    def _verify(self, state_dict):
        """Raise ValueError, or what a value of the wrong kind gives, where a state is none."""
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
    """Give a group its rate: a rate that is a tensor stays that tensor."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(float(lr))
    else:
        group["lr"] = lr


def _rates(groups):
    return [lr.clone() if isinstance(lr, Tensor) else lr for lr in (g["lr"] for g in groups)]


def _form(value):
    """How many lists there are in a value, and of which lengths."""
    return [_form(inner) for inner in value] if isinstance(value, (list, tuple)) else None


def _power(base, exponent):
    """base ** exponent as a float, which for what is too large is infinite."""
    try:
        return float(base) ** exponent
    except OverflowError:
        return math.inf


# ---- base · factor(epoch) ---------------------------------------------------------


class FactorLR(LRScheduler):
    """lr = base · factor(epoch)"""

    def factor_at(self, epoch):
        """What the base is multiplied with after `epoch` steps."""
        raise NotImplementedError

    def lr_at(self, epoch):
        factor = self.factor_at(epoch)
        return [base * factor for base in self.base_lrs]


class ExponentialLR(FactorLR):
    """lr = base · gamma^epoch"""

    def __init__(self, optimizer, gamma, last_epoch=-1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch):
        return _power(self.gamma, epoch)


class StepLR(FactorLR):
    """lr = base · gamma^⌊epoch / step_size⌋"""

    def __init__(self, optimizer, step_size, gamma=0.1, last_epoch=-1):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def check(self):
        self._require(self.step_size > 0, f"step_size must be above 0, got {self.step_size}")

    def factor_at(self, epoch):
        return _power(self.gamma, epoch // self.step_size)


class MultiStepLR(FactorLR):
    """lr = base · gamma^(how many milestones have been reached)"""

    def __init__(self, optimizer, milestones, gamma=0.1, last_epoch=-1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch):
        return _power(self.gamma, bisect_right(self.milestones, epoch))


class ConstantLR(FactorLR):
    """lr = base · factor before step `total_iters`, then base."""

    def __init__(self, optimizer, factor=1 / 3, total_iters=5, last_epoch=-1):
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def check(self):
        self._require(0 <= self.factor <= 1, f"factor must be within 0 … 1, got {self.factor}")

    def factor_at(self, epoch):
        return self.factor if epoch < self.total_iters else 1.0


class LinearLR(FactorLR):
    """lr = base · a line from start_factor at step 0 to end_factor at step `total_iters`."""

    def __init__(self, optimizer, start_factor=1 / 3, end_factor=1.0, total_iters=5, last_epoch=-1):
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def check(self):
        start, end = self.start_factor, self.end_factor
        self._require(0 < start <= 1, f"start_factor must be within 0 … 1, got {start}")
        self._require(0 <= end <= 1, f"end_factor must be within 0 … 1, got {end}")

    def factor_at(self, epoch):
        if epoch >= self.total_iters:
            return self.end_factor
        return self.start_factor + (self.end_factor - self.start_factor) * epoch / self.total_iters


class PolynomialLR(FactorLR):
    """lr = base · (1 − epoch / total_iters)^power, and 0 from step `total_iters` on."""

    def __init__(self, optimizer, total_iters=5, power=1.0, last_epoch=-1):
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def factor_at(self, epoch):
        return _power(1 - min(epoch, self.total_iters) / self.total_iters, self.power)


class LambdaLR(LRScheduler):
    """lr = base · f(epoch), with one function for all groups or one for each.

    Its state keeps the attributes of callable objects; plain functions are not part of it.
    """

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        self._attach(optimizer)
        self.lr_lambdas = self._for_each_group("lr_lambda", lr_lambda)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch):
        return [base * f(epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]

    def get_lr(self):
        return self.lr_at(self.last_epoch)  # a user's function has the last word, as in PyTorch

    def state_dict(self):
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

    def load_state_dict(self, state_dict):
        functions = self.lr_lambdas
        super().load_state_dict(state_dict)
        for f, kept in zip(functions, self.lr_lambdas, strict=True):
            if kept is not None:
                vars(f).update(kept)
        self.lr_lambdas = functions


class MultiplicativeLR(LambdaLR):
    """lr ← lr · f(epoch) at every step but the first."""

    def get_lr(self):
        lrs = [group["lr"] for group in self.optimizer.param_groups]
        if not self.last_epoch:
            return lrs
        return [lr * f(self.last_epoch) for lr, f in zip(lrs, self.lr_lambdas)]


# ---- curves -----------------------------------------------------------------------


def _cosine(start, end, share):
    """From `start` to `end` along half a cosine wave, `share` from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _line(start, end, share):
    return start + (end - start) * share


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (base − eta_min) (1 + cos(π epoch / T_max)) / 2  (arXiv:1608.03983)"""

    def __init__(self, optimizer, T_max, eta_min=0.0, last_epoch=-1):
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def check(self):
        self._require(self.T_max > 0, f"T_max must be above 0, got {self.T_max}")

    def lr_at(self, epoch):
        return [_cosine(base, self.eta_min, epoch / self.T_max) for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """CosineAnnealingLR again and again: over T_0 steps, then T_mult times as many, and so on.

    `step(epoch)` goes to any place, also between two epochs (arXiv:1608.03983).
    """

    def __init__(self, optimizer, T_0, T_mult=1, eta_min=0.0, last_epoch=-1):
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def check(self):
        first, more = self.T_0, self.T_mult
        self._require(first > 0 and isinstance(first, int), f"T_0 is an int above 0, got {first}")
        self._require(more >= 1 and isinstance(more, int), f"T_mult is 1, 2, …, got {more}")

    def lr_at(self, epoch):
        length = self.T_0
        while epoch >= length and self.T_mult > 1:
            epoch, length = epoch - length, length * self.T_mult
        return [_cosine(base, self.eta_min, epoch % length / length) for base in self.base_lrs]

    def get_lr(self):
        return self.lr_at(self.last_epoch)

    def step(self, epoch=None):
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

    def __init__(
        self, optimizer, max_lr, total_steps=None, epochs=None, steps_per_epoch=None, pct_start=0.3,
        anneal_strategy="cos", cycle_momentum=True, base_momentum=0.85, max_momentum=0.95,
        div_factor=25.0, final_div_factor=1e4, three_phase=False, last_epoch=-1,
    ):  # fmt: skip
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

    def check(self):
        steps, curve = self.total_steps, self.anneal_strategy
        self._require(steps > 0, f"total_steps must be above 0, got {steps}")
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

    def lr_at(self, epoch):
        return self._at(epoch, 1)

    def get_lr(self):
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
    with scale_mode "iterations" of the epoch. Momentum goes the other way, unless told not to.
    """

    def __init__(
        self, optimizer, base_lr, max_lr, step_size_up=2000, step_size_down=None,
        mode="triangular", gamma=1.0, scale_fn=None, scale_mode="cycle", cycle_momentum=True,
        base_momentum=0.8, max_momentum=0.9, last_epoch=-1,
    ):  # fmt: skip
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

    def check(self):
        modes, mode, by = ("triangular", "triangular2", "exp_range"), self.mode, self.scale_fn
        self._require(by or mode in modes, f"the mode is one of {modes}, got {mode!r:.100}")
        self._require(by is None or callable(by), f"scale_fn must be a function, got {by!r:.100}")
        _require_momentum(self)
        for name in ("step_size_up", "step_size_down"):
            size = getattr(self, name)
            self._require(size > 0, f"{name} must be above 0, got {size}")

    def _height(self, epoch):
        """How far up from base_lr to max_lr."""
        length = self.step_size_up + self.step_size_down
        cycle, step = divmod(epoch, length)
        up = step <= self.step_size_up
        share = step / self.step_size_up if up else (length - step) / self.step_size_down
        number = cycle + 1 if self.scale_mode == "cycle" else epoch
        if self.scale_fn:
            return share * self.scale_fn(number)
        return share * {
            "triangular": 1.0,
            "triangular2": _power(0.5, number - 1),
            "exp_range": _power(self.gamma, number),
        }[self.mode]  # fmt: skip

    def lr_at(self, epoch):
        height = self._height(epoch)
        return [low + (top - low) * height for low, top in zip(self.base_lrs, self.max_lrs)]

    def get_lr(self):
        if self.cycle_momentum:
            height = self._height(self.last_epoch)
            for group, low, top in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums
            ):
                _set_momentum(group, top - (top - low) * height)
        return self.lr_at(self.last_epoch)


def _require_momentum(schedule):
    schedule._require(
        not schedule.cycle_momentum or {"momentum", "betas"} & schedule.optimizer.defaults.keys(),
        "the optimizer has neither momentum nor betas; pass cycle_momentum=False",
    )


def _set_momentum(group, momentum):
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


# ---- schedules of schedules, and of the loss --------------------------------------


class SequentialLR(LRScheduler):
    """Schedules one after the other: number i + 1 begins, with its step 0, at milestones[i]."""

    def __init__(self, optimizer, schedulers, milestones):
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

    def step(self):
        self.last_epoch += 1
        active = self._schedulers[bisect_right(self._milestones, self.last_epoch)]
        if self.last_epoch in self._milestones:
            active._restart()
        else:
            active.step()
        self._last_lr = active.get_last_lr()

    def state_dict(self):
        own = LRScheduler.state_dict(self)
        return {**own, "_schedulers": [s.state_dict() for s in self._schedulers]}

    def _verify(self, state_dict):
        LRScheduler._verify(self, state_dict)
        states = state_dict["_schedulers"]
        count = len(self._schedulers)
        self._require(len(states) == count, f"it has {count} schedules, the saved {len(states)}")
        for scheduler, state in zip(self._schedulers, states):
            scheduler._verify(state)

    def load_state_dict(self, state_dict):
        schedulers = self._schedulers
        LRScheduler.load_state_dict(self, state_dict)
        self._schedulers = schedulers
        for scheduler, state in zip(schedulers, state_dict["_schedulers"]):
            scheduler.load_state_dict(state)


class ChainedScheduler(LRScheduler):
    """Schedules that all make their step at once: each changes what the one before has set."""

    def __init__(self, schedulers, optimizer=None):
        self._require(len(schedulers) > 0, "at least one schedule is needed")
        self._attach(optimizer or schedulers[0].optimizer)
        for i, s in enumerate(schedulers):
            self._require(
                s.optimizer is self.optimizer, f"schedule {i} belongs to another optimizer"
            )
        self._schedulers = list(schedulers)
        self._last_lr = _rates(self.optimizer.param_groups)

    def step(self):
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

    def __init__(
        self, optimizer, mode="min", factor=0.1, patience=10, threshold=1e-4, threshold_mode="rel",
        cooldown=0, min_lr=0, eps=1e-8,
    ):  # fmt: skip
        self._attach(optimizer)
        self.mode, self.factor, self.patience, self.cooldown = mode, factor, patience, cooldown
        self.threshold, self.threshold_mode, self.eps = threshold, threshold_mode, eps
        self.check()
        self.min_lrs = self._for_each_group("min_lr", min_lr)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = _rates(optimizer.param_groups)

    def check(self):
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

    def step(self, metrics, epoch=None):
        """Go one step further, with the loss (or score) that the schedule watches."""
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


_LRScheduler = LRScheduler  # its name in older programs

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip
