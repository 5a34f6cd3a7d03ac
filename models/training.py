"""Teaching a language model: the loop, its schedule, its exam and its checkpoints."""

import math
import time
from dataclasses import asdict, dataclass
from importlib import import_module

import microtensor as mt
from microtensor import nn
from microtensor.optim import SGD, AdamW
from microtensor.optim.lr_scheduler import LambdaLR

from . import MODELS
from .checkpoints import FORMAT, Checkpoints, load_checkpoint, load_newest
from .sampling import evaluating
from .tokenizers import tokenizer_from

OPTIMIZERS = {"adamw": AdamW, "sgd": SGD}


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. ValueError for numbers that cannot be meant."""

    steps: int = 3000
    batch_size: int = 32  # windows of text in a step
    optimizer: str = "adamw"  # or "sgd"
    lr: float = 2e-3  # the learning rate at its peak
    warmup: int = 100  # steps until that peak
    final_lr: float = 0.1  # the learning rate at the end, as a share of the peak
    weight_decay: float = 0.01
    clip: float = 1.0  # the largest norm of all gradients together
    eval_every: int = 250  # steps from one evaluation, and checkpoint, to the next
    eval_batches: int = 40
    eval_batch_size: int = 64
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch_size", "eval_every", "eval_batches", "eval_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be {' or '.join(OPTIMIZERS)}, got {self.optimizer}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be a positive number, got {self.lr}")
        if not self.clip > 0:
            raise ValueError(f"clip must be above 0 (inf: no clipping), got {self.clip}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(
                f"weight_decay must be 0 or a positive number, got {self.weight_decay}"
            )
        if not 0 <= self.final_lr <= 1:
            raise ValueError(f"final_lr must be a share from 0 to 1, got {self.final_lr}")
        if self.warmup < 0:
            raise ValueError(f"warmup must not be negative, got {self.warmup}")

    def lr_factor(self, step):
        """The share of the peak learning rate: a line up, then half a cosine down to final_lr."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = min(1, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.final_lr + (1 - self.final_lr) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Record:
    """What there is to say after a step. `loss` is None before the first, `validation` mostly."""

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
    `checkpoint` is the file to save to at every evaluation, or None; the `keep` newest are kept,
    and the best: see `checkpoints`. `about` is kept in it: plain JSON values that say what was
    trained, and on what.
    """

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
        idx, targets = self.train.random_batch(self.config.batch_size, self.generator)
        _, loss = self.model(idx, targets)
        self.check_finite("loss", loss.item())
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.check_finite("norm of the gradients", norm.item())
        self.optimizer.step()
        self.schedule.step()
        self.losses.append(loss.item())
        self.step += 1

    def examine(self):
        """Measure the loss on the held-out text, and save if it is a number."""
        config = self.config
        loss = evaluate(self.model, self.held_out, config.eval_batches, config.eval_batch_size)
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
        self.checkpoints.save(self.state_dict(), best)
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
            "random": {"batches": self.generator.get_state(), "default": mt.get_rng_state()},
            # where a `ShardedWindows` stands; other windows have no order of their own
            "data": self.train.state_dict() if hasattr(self.train, "state_dict") else None,
        }

    def load_state_dict(self, state):
        """Go on where a checkpoint was written. ValueError if it is of another model."""
        ours = self.state_dict()
        for part in ("architecture", "config", "tokenizer"):
            if state[part] != ours[part]:
                raise ValueError(
                    f"the checkpoint has another {part}: {differences(state[part], ours[part])}"
                )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["random"]["batches"])
        mt.set_rng_state(state["random"]["default"])
        if state.get("data") is not None:
            self.train.load_state_dict(state["data"])
        self.step = self.saved_step = state["step"]
        if self.checkpoints:
            self.checkpoints.go_on()
        self.losses, self.validation = state["losses"].tolist(), list(state["validation"])


@mt.no_grad()
def evaluate(model, data, batches=40, batch_size=64):
    """The mean loss over `batches` × `batch_size` windows spread evenly over `data`."""
    total = windows = 0
    with evaluating(model):
        for idx, targets in data.spread(batches, batch_size):
            _, loss = model(idx, targets)
            total += loss.item() * len(idx)
            windows += len(idx)
    return total / windows


ARCHITECTURES = {}  # models that are not in this package: class name -> (class, its config)


def register(model_class, config_class):
    """Let `model_from` make a model of your own: `model_class(config_class(**settings))`."""
    ARCHITECTURES[model_class.__name__] = model_class, config_class


def architecture(name):
    """A class of models and that of its config, by name. ValueError if there is none."""
    if name in MODELS and name != "LookupTable":  # a table has no config, and no checkpoints
        module = import_module(f".{MODELS[name]}", __package__)
        return getattr(module, name), getattr(module, f"{name}Config")
    if name not in ARCHITECTURES:
        raise ValueError(
            f"the checkpoint holds a {name!r:.80}, which is not among {', '.join(MODELS)}; "
            "models.training.register makes it known"
        )
    return ARCHITECTURES[name]


def model_from(state, device=None):
    """The trained model and its tokenizer, from what `load_checkpoint` gave.

    ValueError if nobody has registered such a model.
    """
    model_class, config_class = architecture(state["architecture"])
    model = model_class(config_class(**state["config"]))
    model.load_state_dict(state["model"])
    return model.to(device or "cpu"), tokenizer_from(state["tokenizer"])


def differences(theirs, ours):
    """Where two settings differ: "d_model 128, not 256"."""
    if not isinstance(theirs, dict):
        return f"{theirs}, not {ours}"
    names = [n for n in {**theirs, **ours} if theirs.get(n) != ours.get(n)]
    return ", ".join(f"{n} {theirs.get(n)!r:.40}, not {ours.get(n)!r:.40}" for n in names)


__all__ = [
    "NonFiniteLoss", "Record", "Trainer", "TrainingConfig", "architecture", "evaluate",
    "load_checkpoint", "load_newest", "model_from", "register",
]  # fmt: skip
