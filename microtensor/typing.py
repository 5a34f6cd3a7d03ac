"""Types that signatures name. They are for people, editors and type checkers: nothing here runs.

This is the only file that looks up to higher floors, and only where a type checker reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType as FunctionType
from typing import (
    IO,
    TYPE_CHECKING,
    Any,
    Concatenate,
    NamedTuple,
    ParamSpec,
    TypeAlias,
    TypeVar,
)

if TYPE_CHECKING:
    from .backends.device import device
    from .backends.dtypes import dtype
    from .tensor.tensor import Tensor

    class ValuesIndices(NamedTuple):
        """The result of `max(dim)`, `sort`, `topk` and their like."""

        values: Tensor
        indices: Tensor
else:  # a lower floor is loaded before these are there
    device = dtype = Tensor = ValuesIndices = Any


P = ParamSpec("P")
T = TypeVar("T")

# ---- numbers, and what stands for a tensor -------------------------------------------

Scalar: TypeAlias = "bool | int | float"
TensorLike: TypeAlias = "Tensor | Scalar"  # what an operation takes as an input
Tensors: TypeAlias = "tuple[Tensor, ...]"
TensorOrTensors: TypeAlias = "Tensor | Sequence[Tensor]"

# ---- shapes, dtypes, devices ---------------------------------------------------------

Shape: TypeAlias = "int | Sequence[int]"
Dims: TypeAlias = "int | Sequence[int]"  # one dimension or several, counted from either end
Dtype: TypeAlias = "dtype | str | type"  # mt.float32, "float32", float, np.float32
Device: TypeAlias = "device | str | int"  # "cpu", "cuda:1", 1, mt.device("cuda", 1)
Pair: TypeAlias = "int | tuple[int, int]"  # height and width, or one number for both

# ---- files, parameters ---------------------------------------------------------------

Path: TypeAlias = "str | os.PathLike[str]"
File: TypeAlias = "Path | IO[bytes]"
StateDict: TypeAlias = "dict[str, Any]"
Parameters: TypeAlias = "Tensor | Iterable[Tensor]"
ParameterGroups: TypeAlias = (
    "Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]"
)

Hook: TypeAlias = Callable[..., Any]

# ---- builtins, for classes that have methods of these names --------------------------

Bool: TypeAlias = bool
Int: TypeAlias = int
Float: TypeAlias = float

# ---- operations ----------------------------------------------------------------------

# An editor shows an operation's signature once if one overload of `op` fits. To jedi a function is
# no Callable, but a FunctionType, and True fits no hint but a TypeVar.
Rule: TypeAlias = Callable[Concatenate[Any, P], object]  # takes arrays; its arguments bear no hints
Flag = TypeVar("Flag", bound=bool)
