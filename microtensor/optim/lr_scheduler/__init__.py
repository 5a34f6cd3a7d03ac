"""Schedules of the learning rate, each a formula of the number of steps.

    scheduler = CosineAnnealingLR(optimizer, T_max=1000)
    for batch in batches:
        ...
        optimizer.step()
        scheduler.step()

`base` is a group's learning rate when its first schedule was made. Schedules on one optimizer
multiply, as in PyTorch; `SequentialLR` puts one after the other.
"""

from .composed import ChainedScheduler, ReduceLROnPlateau, SequentialLR
from .curves import CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from .factors import (
    ConstantLR, ExponentialLR, FactorLR, LambdaLR, LinearLR, MultiplicativeLR, MultiStepLR,
    PolynomialLR, StepLR,
)  # fmt: skip
from .scheduler import LRScheduler, power_of

_LRScheduler = LRScheduler  # its name in older programs

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip
