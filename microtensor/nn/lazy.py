"""Layers that take the size of their input from the first one, and then become ordinary layers."""

from __future__ import annotations

import inspect
from typing import Any

from ..tensor import Tensor
from .convolution import Conv1d, Conv2d
from .layers import Linear
from .normalization import BatchNorm1d, BatchNorm2d


def _lazy(kind, axis):
    """A class that becomes `kind`, whose first argument is the input's size along an axis."""
    size_name, *names = parameters = inspect.signature(kind).parameters

    class Lazy(kind):
        def __init__(self, *args: Any, **options: Any) -> None:
            self.options = {**dict(zip(names, args)), **options}
            super().__init__(0, **self.options)

        def reset_parameters(self) -> None:
            """Does nothing: there are no weights yet."""

        def forward(self, input: Tensor) -> Tensor:
            ready = kind(input.shape[axis], **self.options)
            self.__class__ = kind
            for name, tensor in ready.state_dict().items():
                own = getattr(self, name)  # the same object: an optimizer may hold it
                own.data = tensor.to(own.device, own.dtype)
            setattr(self, size_name, input.shape[axis])
            return self.forward(input)

    Lazy.__name__ = Lazy.__qualname__ = f"Lazy{kind.__name__}"
    Lazy.__module__ = __name__
    own = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    Lazy.__init__.__signature__ = inspect.Signature(
        own + [parameters[name] for name in names], return_annotation="None"
    )
    Lazy.__doc__ = (
        f"{kind.__name__} without its first argument, {size_name}: the first input tells it.\n\n"
        "Until then its parameters are empty; it cannot load a state before."
    )
    return Lazy


LazyLinear = _lazy(Linear, -1)
LazyConv1d, LazyConv2d = _lazy(Conv1d, -2), _lazy(Conv2d, -3)
LazyBatchNorm1d, LazyBatchNorm2d = _lazy(BatchNorm1d, 1), _lazy(BatchNorm2d, 1)
