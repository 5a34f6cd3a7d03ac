"""The shape of a tensor."""

from __future__ import annotations

import math
from typing import Any

from ..backends.naming import PACKAGE, Shown
from ..typing import Tensor


class Size(tuple, metaclass=Shown):
    """The shape of a tensor: a tuple that can count its elements."""

    def numel(self) -> int:
        return math.prod(self)

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if type(found) is tuple else found

    def __add__(self, other: Tensor) -> Size:
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Tensor) -> Size:
        return Size(tuple(other) + tuple(self))

    def __mul__(self, n: int) -> Size:
        return Size(tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"{PACKAGE[0]}.Size({list(self)})"
