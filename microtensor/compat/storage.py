"""The memory behind a tensor, for programs that ask where its numbers lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd.views import memory_of
from ..backends.dtypes import uint8
from ..tensor import Tensor
from ..typing import Path


class Storage:
    """The memory that a tensor shows all or a part of: `numbers`, a tensor of one dimension."""

    def __init__(self, numbers: Any) -> None:
        self.numbers, self.dtype, self.device = numbers, numbers.dtype, numbers.device

    @classmethod
    def from_file(cls, filename: Path, shared: bool = False, nbytes: int = 0) -> Any:
        """The first bytes of a file, read when they are asked for; changes go to it if `shared`."""
        mapped = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(nbytes,))
        return cls(Tensor._wrap(np.asarray(mapped)))

    def _as_tensor(self):
        """The numbers, for `as_tensor`."""
        return self.numbers

    def untyped(self) -> Storage:
        """The same memory as bytes."""
        return Storage(self.numbers.view(uint8))

    def data_ptr(self) -> int:
        """Its address."""
        return self.numbers.data_ptr()

    def size(self) -> int:
        """The number of elements."""
        return self.numbers.numel()

    __len__ = size

    def nbytes(self) -> int:
        """The size in bytes."""
        return self.numbers.nbytes

    def tolist(self) -> Any:
        """The numbers."""
        return self.numbers.tolist()

    def __getitem__(self, index: Any) -> Any:
        found = self.numbers[index]
        return Storage(found) if isinstance(index, slice) else found.item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self.numbers[index] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())


# ---- methods of Tensor, which `additions` gives it -----------------------------------


def storage(self: Tensor) -> Storage:
    """The memory that the tensor and its views show, number by number."""
    return Storage(self._wrap(memory_of(self._data).ravel(order="K")).view(self.dtype))


def untyped_storage(self: Tensor) -> Storage:
    """That memory as bytes."""
    return self.storage().untyped()


def storage_offset(self: Tensor) -> int:
    """Elements from the beginning of that memory to the first of the tensor."""
    return (self.data_ptr() - self.storage().data_ptr()) // self.itemsize
