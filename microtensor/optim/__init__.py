"""Optimizers, from simple to hard, and schedules of the learning rate."""

from . import lr_scheduler
from .optimizer import Optimizer
from .rules import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler",
]  # fmt: skip
