"""The class Tensor, and the functions that create, randomly draw and print tensors.

Read `tensor` first, a table of contents; then `creation`, `random`, `printing`.
"""

from .backend import TensorBackend
from .conversion import _rebuild, transfer
from .history import Handle
from .size import Size
from .tensor import Tensor

for _it in (Handle, Size, Tensor, TensorBackend, _rebuild):  # their home for users, and in pickles
    _it.__module__ = __name__
