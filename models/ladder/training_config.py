"""The settings of a language model's training."""

import math
from dataclasses import dataclass

from microtensor.optim import SGD, AdamW

from .base import check_kinds

OPTIMIZERS = {"adamw": AdamW, "sgd": SGD}


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of a training. ValueError for numbers that cannot be meant."""

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
        check_kinds(self)
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
        for name in ("warmup", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def lr_factor(self, step):
        """The share of the peak learning rate: a line up, then half a cosine down to final_lr."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = min(1, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.final_lr + (1 - self.final_lr) * (1 + math.cos(math.pi * progress)) / 2
