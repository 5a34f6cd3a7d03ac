"""Optimizers, from simple to hard, and schedules of the learning rate."""

from ..autograd.calls import public_methods, public_names
from . import lr_scheduler, swa_utils
from .lbfgs import LBFGS
from .muon import Muon
from .optimizer import Optimizer
from .rules import (
    ASGD, SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop,
)  # fmt: skip

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "lr_scheduler", "swa_utils",
]  # fmt: skip

public_names(globals(), set(__all__) - {"lr_scheduler", "swa_utils"})
public_names(vars(lr_scheduler), lr_scheduler.__all__)
public_names(vars(swa_utils), ["AveragedModel", "SWALR", "update_bn"])
public_methods(Optimizer, "add_param_group load_state_dict")
public_methods(lr_scheduler.LRScheduler, "step load_state_dict")
public_methods(lr_scheduler.ReduceLROnPlateau, "step")
