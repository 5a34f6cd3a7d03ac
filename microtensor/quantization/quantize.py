"""Quantization of weights: they take a quarter of the memory, and activations stay as they are.

A module stays what it is, an nn.Linear or a class of one's own; its weight becomes a
`QuantizedParameter`, whose numbers are kept as integers with scales (see `backends/weights.py`).
Products and look-ups read the integers; whatever else is done with the weight sees float32 numbers.
With the extra `fast`, a product with up to eight rows reads a quarter of the memory, which is what
it waits for, and takes a third of the time. With NumPy alone the numbers are made anew for each
product: that saves memory, not time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backends.weights import StoredWeight
from ..nn import Embedding, Linear, Module, MultiheadAttention, Parameter
from .configs import Int4WeightOnlyConfig, Int8WeightOnlyConfig

WEIGHTS = {  # the matrices of each kind of module
    Linear: ("weight",),
    Embedding: ("weight",),
    MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
}
CONFIGS = Int8WeightOnlyConfig, Int4WeightOnlyConfig
NOT_TRAINED = (
    "a quantized weight is not trained: train first, and quantize afterwards, or train adapters "
    "beside it"
)


class QuantizedParameter(Parameter):
    """A weight whose numbers are kept as integers and scales. It is not trained."""

    def __init__(self, stored: StoredWeight) -> None:
        self._data = stored

    @property
    def requires_grad(self) -> bool:
        """True if gradients flow to it: never while it is quantized."""
        return bool(self._needs_grad)

    @requires_grad.setter
    def requires_grad(self, value: Any) -> None:
        if value and isinstance(self._data, StoredWeight):
            raise RuntimeError(f"requires_grad: {NOT_TRAINED}")
        self._needs_grad = bool(value)


def is_quantized(tensor: Any) -> bool:
    """True if a tensor's numbers are kept as integers and scales."""
    stored = getattr(tensor, "_data", None)
    return isinstance(stored, StoredWeight) and stored.parts is not None


def quantizable(model: Module, filter_fn: Callable[[Module, str], Any] | None = None
                ) -> Iterator[tuple[str, Module, str]]:  # fmt: skip
    """(path, module, name) for each matrix that can be quantized.

    Those of Linear, of Embedding, and the input projections of MultiheadAttention, and of classes
    made from these; only modules for which `filter_fn(module, path)` is true.
    """
    for path, module in model.named_modules():
        names = [name for kind in WEIGHTS if isinstance(module, kind) for name in WEIGHTS[kind]]
        if names and (filter_fn is None or filter_fn(module, path)):
            for name in names:
                if module._parameters.get(name) is not None:
                    yield (f"{path}.{name}" if path else name), module, name


def quantize_(
    model: Module, config: Any, filter_fn: Callable[[Module, str], Any] | None = None
) -> None:
    """Quantize the weights of a model's linear layers and tables, in place.

    `config` is an `Int8WeightOnlyConfig()` or an `Int4WeightOnlyConfig()`. Only modules for which
    `filter_fn(module, path)` is true are changed, without it all Linear, Embedding and
    MultiheadAttention. A weight that two modules share stays shared. Biases and norms stay float32.
    Nothing changes if something is wrong: TypeError for another model, config or dtype than
    float32, ValueError for numbers that are not finite.
    """
    if not isinstance(model, Module):
        raise TypeError(f"quantize_: a Module is needed, got {type(model).__name__}")
    if not isinstance(config, CONFIGS):
        wanted = " or ".join(f"{kind.__name__}()" for kind in CONFIGS)
        raise TypeError(f"quantize_: the config must be {wanted}, got {config!r:.60}")
    if filter_fn is not None and not callable(filter_fn):
        raise TypeError("quantize_: filter_fn must be a function of a module and its path")
    made: dict[int, QuantizedParameter] = {}
    places = list(quantizable(model, filter_fn))
    for path, module, name in places:
        parameter = module._parameters[name]
        if id(parameter) not in made:
            made[id(parameter)] = QuantizedParameter(config.stored(_numbers(parameter, path)))
    replace(places, made)


def replace(places: Any, made: dict[int, QuantizedParameter]) -> None:
    """Put each new parameter where the one was whose id it has."""
    for _, module, name in places:
        setattr(module, name, made[id(module._parameters[name])])


def _numbers(parameter, path):
    """The numbers of a parameter, which can be quantized."""
    if parameter.dtype.name != "float32" or parameter.device.type != "cpu":
        raise TypeError(
            f"quantize_: {path} is {parameter.dtype} on {parameter.device}; float32 on the CPU is "
            "needed: model.float().cpu()"
        )
    numbers = np.asarray(parameter._data)
    if numbers.ndim != 2:
        raise TypeError(f"quantize_: {path} has shape {numbers.shape}; a matrix is needed")
    if not np.isfinite(numbers).all():
        raise ValueError(f"quantize_: {path} has numbers that are not finite")
    return numbers


def weight_bytes(model: Module) -> int:
    """The size in bytes of a model's parameters; what two modules share counts once."""
    return sum(
        p._data.nbytes if isinstance(p._data, StoredWeight) else p.nbytes
        for p in model.parameters()
    )
