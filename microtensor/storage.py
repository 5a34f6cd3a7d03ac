"""The memory behind a tensor, for programs that ask where its numbers lie."""

import numpy as np

from .backends.dtypes import uint8


class Storage:
    """The memory that a tensor shows all or a part of: `numbers`, a tensor of one dimension."""

    def __init__(self, numbers):
        self.numbers, self.dtype, self.device = numbers, numbers.dtype, numbers.device

    @classmethod
    def from_file(cls, filename, shared=False, nbytes=0):
        """The first bytes of a file, read when they are asked for; changes go to it if `shared`."""
        from .tensor import Tensor

        mapped = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(nbytes,))
        return cls(Tensor._wrap(np.asarray(mapped)))

    def untyped(self):
        """The same memory as bytes."""
        return Storage(self.numbers.view(uint8))

    def data_ptr(self):
        """Its address."""
        return self.numbers.data_ptr()

    def size(self):
        """How many numbers there are."""
        return self.numbers.numel()

    __len__ = size

    def nbytes(self):
        """How many bytes they take."""
        return self.numbers.nbytes

    def tolist(self):
        """The numbers."""
        return self.numbers.tolist()

    def __getitem__(self, index):
        found = self.numbers[index]
        return Storage(found) if isinstance(index, slice) else found.item()

    def __setitem__(self, index, value):
        self.numbers[index] = value

    def __iter__(self):
        return iter(self.tolist())
