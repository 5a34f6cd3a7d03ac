"""Class Tensor, and what makes, draws and prints tensors.

Read `tensor` first, a table of contents; then `creation`, `random`, `printing`.
"""

from .tensor import (
    ALIASES, FUNCTIONAL, LINALG, Handle, Size, Tensor, TensorBackend, _rebuild, transfer,
)  # fmt: skip

for _class in (Handle, Size, Tensor, TensorBackend):  # their home for users, and in pickles
    _class.__module__ = __name__
