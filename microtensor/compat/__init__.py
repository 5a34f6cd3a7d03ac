"""The PyTorch surface: what programs written for PyTorch call besides the core.

The core (tensors, operations, modules, optimizers) never imports it. Each file stands for one of
PyTorch's (`amp`, `cuda`, `distributions`, `func`, `hub` …); `paths` says under which import paths
they are found, and `as_torch` lets `import torch` find microtensor.
"""

from . import pytorch
from .pytorch import *  # noqa: F403
from .pytorch import __all__, as_torch

globals().update({name: value for name, value in vars(pytorch).items() if name[0] != "_"})
