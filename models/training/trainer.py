"""Teaching a language model: the loop, its schedule, its exam and its checkpoints."""

import math
import time
from dataclasses import asdict, dataclass

import microtensor as mt
from microtensor import nn
from microtensor.optim.lr_scheduler import LambdaLR

from ..generation.sampling import evaluating
from ..ladder.training_config import OPTIMIZERS, TrainingConfig
from ..text.tokenizers import tokenizer_from
from . import together
from .architectures import ARCHITECTURES, architecture, register
from .checkpoints import Checkpoints, load_checkpoint, load_newest
from .schema import FORMAT, check_checkpoint, insist, made


@dataclass(frozen=True)
class Record:
    """The record of a step. `loss` is None before the first, `validation` mostly."""

    step: int
    loss: float | None
    validation: float | None
    lr: float
    seconds: float  # of the step alone


class NonFiniteLoss(FloatingPointError):
    """Training has diverged: a loss or a gradient is not a number any more."""


class Trainer:
    """Trains `model` on `train` and examines it on `held_out` (both `TextWindows`).

    `model(idx, targets)` gives logits and loss; what made it is `model.config`, a dataclass.
    In several processes (`together`) each learns from its share of every batch.
    `checkpoint` is the file to save to at every evaluation, or None; the `keep` newest are kept,
    and the best: see `checkpoints`. `about` is kept in it: plain JSON values that say what was
    trained, and on what.
    """

    share = 1.0  # of the batch that this process takes

    def __init__(
        self, model, tokenizer, train, held_out, config=None, checkpoint=None, about=None, keep=2
    ):  # fmt: skip
        self.model, self.tokenizer, self.train, self.held_out = model, tokenizer, train, held_out
        self.config = config or TrainingConfig()
        self.checkpoint, self.about = checkpoint, about or {}
        self.checkpoints = checkpoint and Checkpoints(checkpoint, keep)
        self.optimizer = OPTIMIZERS[self.config.optimizer](
            model.parameters(), lr=self.config.lr, weight_decay=self.config.weight_decay
        )
        self.schedule = LambdaLR(self.optimizer, self.config.lr_factor)
        # The order of the batches has a stream of random numbers of its own; dropout uses the
        # default one.
        self.generator = mt.Generator().manual_seed(self.config.seed)
        self.step, self.saved_step = 0, None
        together.begin(model)
        if together.rank():  # random numbers of its own: each rank drops out others
            mt.manual_seed(self.config.seed + 1_000_003 * together.rank())
        self.losses = []  # one for each step
        self.validation = []  # [step, loss]

    # ---- the loop ------------------------------------------------------------------------------

    def run(self):
        """Train to the last step: an iterator of a `Record` before the first step and after each.

        Stop whenever you like; `run` again goes on. NonFiniteLoss if training diverges: the last
        checkpoint then stays as it was, from before.
        """
        if not self.validation:
            self.examine()
            yield self.record()
        while self.step < self.config.steps:
            start = time.perf_counter()
            self.train_step()
            seconds = time.perf_counter() - start
            if self.step % self.config.eval_every == 0 or self.step == self.config.steps:
                self.examine()
            yield self.record(seconds)

    def train_step(self):
        """One step of learning, from one batch."""
        self.model.train()
        value = self.update(self.loss())
        self.schedule.step()
        self.losses.append(value)
        self.step += 1

    def loss(self):
        """The loss of the next batch, or of this process' part of it; others may replace it."""
        idx, targets = self.train.random_batch(self.config.batch_size, self.generator)
        mine = together.own_part(len(idx))
        self.share = (mine.stop - mine.start) / len(idx)
        return self.model(idx[mine], targets[mine])[1]

    def update(self, loss):
        """Change the parameters by the gradients of a loss. Returns it, of all processes.

        NonFiniteLoss if it, or a gradient, is no number.
        """
        (value,) = together.summed(loss.item() * self.share)
        self.check_finite("loss", value)
        self.optimizer.zero_grad()
        (loss * (self.share * together.size()) if together.size() > 1 else loss).backward()
        together.average(self.model.parameters())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.check_finite("norm of the gradients", norm.item())
        self.optimizer.step()
        return value

    def held_out_loss(self):
        """The loss that every evaluation measures: the lower, the better."""
        config = self.config
        return evaluate(self.model, self.held_out, config.eval_batches, config.eval_batch_size)

    def examine(self):
        """Measure the loss on the held-out text, and save if it is a number."""
        loss = self.held_out_loss()
        self.check_finite("validation loss", loss)
        self.validation.append([self.step, loss])
        if self.checkpoint is not None:
            self.save()

    def check_finite(self, name, value):
        if not math.isfinite(value):
            step = self.step if name == "validation loss" else self.step + 1
            saved = self.saved_step
            kept = "" if saved is None else f"; the checkpoint of step {saved:,} is kept"
            raise NonFiniteLoss(f"the {name} at step {step:,} is {value}{kept}")

    def record(self, seconds=0.0):
        step, validation = self.validation[-1]
        return Record(
            self.step,
            self.losses[-1] if self.losses else None,
            validation if step == self.step else None,
            self.schedule.get_last_lr()[0],
            seconds,
        )

    # ---- checkpoints ---------------------------------------------------------------------------

    def save(self):
        """Write everything that it takes to go on exactly as if nothing had happened."""
        examined = self.validation and self.validation[-1][0] == self.step
        best = examined and all(self.validation[-1][1] < loss for _, loss in self.validation[:-1])
        state = self.state_dict()
        if together.rank() == 0:
            self.checkpoints.save(state, best)
        self.saved_step = self.step

    def state_dict(self):
        return {
            "format": FORMAT,
            "architecture": type(self.model).__name__,
            "config": asdict(self.model.config),
            "tokenizer": self.tokenizer.settings(),
            "training": asdict(self.config),
            "about": self.about,
            "step": self.step,
            "losses": mt.tensor(self.losses, dtype=mt.float64),
            "validation": self.validation,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": {"batches": self.generator.get_state(), **together.random_states()},
            # where a `ShardedWindows` stands; other windows have no order of their own
            "data": self.train.state_dict() if hasattr(self.train, "state_dict") else None,
        }

    def load_state_dict(self, state):
        """Go on where a checkpoint was written. ValueError if another model or training did."""
        check_checkpoint(state)
        ours = self.state_dict()
        for part in ("architecture", "config", "tokenizer"):
            if state[part] != ours[part]:
                raise ValueError(
                    f"the checkpoint has another {part}: {differences(state[part], ours[part])}"
                )
        self.check_optimizer(state["optimizer"], ours["optimizer"])
        self.check_schedule(state, ours["schedule"])
        place = state.get("data")
        if place is not None and not hasattr(self.train, "load_state_dict"):
            raise ValueError("the checkpoint is of a training on shards of a file of tokens")
        if place is not None:
            self.train.load_state_dict(place)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["random"]["batches"])
        together.set_random_state(state["random"], self.config.seed + state["step"])
        self.step = self.saved_step = state["step"]
        if self.checkpoints:
            self.checkpoints.go_on()
        self.losses = state["losses"].tolist()
        self.validation = [list(entry) for entry in state["validation"]]

    def check_optimizer(self, theirs, ours):
        """ValueError unless an optimizer's state is one of our parameters and our options."""
        groups, own = theirs["param_groups"], ours["param_groups"]
        insist(len(groups) == len(own), "optimizer", groups, f"{len(own)} group of parameters")
        for group, mine in zip(groups, own):
            for name, value in group.items():
                same = name in mine and type(value) is type(mine[name]) and value == mine[name]
                insist(name == "lr" or same, f"optimizer: {name}", value, f"{mine.get(name)}")
        parameters = list(self.model.parameters())
        for i, moments in theirs["state"].items():
            insist(i < len(parameters), "optimizer", i, f"one of {len(parameters)} parameters")
            for name in moments.keys() - {"step"}:
                shape = tuple(parameters[i].shape)
                fits = moments[name] is None or tuple(moments[name].shape) == shape
                insist(fits, f"optimizer: {name} of parameter {i}", moments[name], f"of {shape}")

    def check_schedule(self, state, ours):
        """ValueError unless a schedule's state is ours, after the checkpoint's steps."""
        theirs, step = state["schedule"], state["step"]
        wanted = {**ours, "last_epoch": step, "_step_count": step + 1}
        wanted["_last_lr"] = theirs["_last_lr"][: len(ours["_last_lr"])]
        insist(theirs == wanted, "schedule", theirs, f"{wanted}")


@mt.no_grad()
def evaluate(model, data, batches=40, batch_size=64):
    """The mean loss over `batches` × `batch_size` windows spread evenly over `data`.

    Several processes take the batches in turns, and all of them get the mean.
    """
    total = windows = 0
    with evaluating(model):
        for i, (idx, targets) in enumerate(data.spread(batches, batch_size)):
            if i % together.size() != together.rank():
                continue
            _, loss = model(idx, targets)
            total += loss.item() * len(idx)
            windows += len(idx)
    total, windows = together.summed(total, windows)
    return total / windows


def model_from(state, device=None):
    """The trained model and its tokenizer, from what `load_checkpoint` gave.

    ValueError if nobody has registered such a model, or it is not what its config says.
    """
    model_class, config_class = architecture(state["architecture"])
    check_checkpoint(state)
    model = model_class(made("config", config_class, state["config"]))
    model.load_state_dict(state["model"])
    return model.to(device or "cpu"), tokenizer_from(state["tokenizer"])


def differences(theirs, ours):
    """The differences of two settings: "d_model 128, not 256"."""
    if not isinstance(theirs, dict):
        return f"{theirs}, not {ours}"
    names = [n for n in {**theirs, **ours} if theirs.get(n) != ours.get(n)]
    return ", ".join(f"{n} {theirs.get(n)!r:.40}, not {ours.get(n)!r:.40}" for n in names)


__all__ = [
    "ARCHITECTURES", "NonFiniteLoss", "Record", "Trainer", "TrainingConfig", "architecture",
    "evaluate", "load_checkpoint", "load_newest", "model_from", "register",
]  # fmt: skip
