"""Optimizers, from simple to hard, and schedules of the learning rate."""

from . import lr_scheduler
from .optimizer import Optimizer
from .rules import SGD, Adam, AdamW

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
