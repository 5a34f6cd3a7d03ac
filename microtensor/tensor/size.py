"""The shape of a tensor."""

import math

from ..backends.naming import PACKAGE, Shown


class Size(tuple, metaclass=Shown):
    """The shape of a tensor: a tuple that can count its elements."""

    def numel(self):
        return math.prod(self)

    def __getitem__(self, index):
        found = tuple.__getitem__(self, index)
        return Size(found) if type(found) is tuple else found

    def __add__(self, other):
        return Size(tuple.__add__(self, other))

    def __radd__(self, other):
        return Size(tuple(other) + tuple(self))

    def __mul__(self, n):
        return Size(tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __repr__(self):
        return f"{PACKAGE[0]}.Size({list(self)})"
