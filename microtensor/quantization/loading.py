"""Reading a state that was saved from a quantized model.

Its `state_dict()` holds ordinary tensors: for `mlp.weight`, which was quantized, `mlp.weight.int8`
or `mlp.weight.int4`, and `mlp.weight.scale`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.weights import HALF_BLOCK, Int4Weight, Int8Weight
from ..nn import Module
from ..typing import StateDict
from .quantize import QuantizedParameter, quantizable, replace


def load_quantized(model: Module, state_dict: StateDict, strict: bool = True) -> Any:
    """Load the `state_dict()` of a quantized model into a model of the same sizes, of floats.

    Each weight that the state holds quantized is quantized in the model, too; then the state is
    loaded: see `Module.load_state_dict`, whose value it returns. RuntimeError, and nothing changes,
    if they do not fit.
    """
    places, made, old = [], {}, {}
    for path, module, name in quantizable(model):
        kinds = [kind for kind in ("int8", "int4") if f"{path}.{kind}" in state_dict]
        if kinds:
            parameter = module._parameters[name]
            places.append((path, module, name))
            old[id(parameter)] = parameter
            stored = _empty(path, kinds[0], tuple(parameter.shape), state_dict)
            made.setdefault(id(parameter), QuantizedParameter(stored))
    before = [(path, module, name, module._parameters[name]) for path, module, name in places]
    replace(places, made)
    try:
        return model.load_state_dict(state_dict, strict)
    except Exception:
        for _, module, name, parameter in before:
            setattr(module, name, parameter)
        raise


def _empty(path, kind, shape, state):
    """A quantized weight of a shape, for a state's own tensors. RuntimeError if they do not fit."""
    codes, scale = (state.get(f"{path}.{part}") for part in (kind, "scale"))
    m, n = shape
    wanted = f"(m, n) of int8 and scales (m), for {shape}"
    if kind == "int8":
        fits = _is(codes, "int8", (m, n)) and _is(scale, "float32", (m,))
        if fits:
            return Int8Weight(shape, int8=np.zeros((m, n), np.int8), scale=np.zeros(m, np.float32))
    else:
        wanted = f"(m, n / 2) of uint8 and scales (m, groups), for {shape}"
        groups = scale.shape[1] if getattr(scale, "ndim", 0) == 2 else 0
        size = codes.shape[1] if getattr(codes, "ndim", 0) == 2 else 0
        per = size // groups if groups and size % groups == 0 else 0
        if (
            per and per % HALF_BLOCK == 0 and groups == -(-n // (2 * per))
            and _is(codes, "uint8", (m, size)) and _is(scale, "float32", (m, groups))
        ):  # fmt: skip
            return Int4Weight(
                shape, int4=np.zeros((m, size), np.uint8), scale=np.zeros((m, groups), np.float32)
            )
    found = " and ".join(
        "nothing" if t is None else f"{tuple(getattr(t, 'shape', ()))}" for t in (codes, scale)
    )
    raise RuntimeError(f"load_quantized: {path}.{kind} should be {wanted}; got {found}")


def _is(tensor, dtype, shape):
    """True if it is a tensor of a dtype and a shape."""
    name = getattr(getattr(tensor, "dtype", None), "name", None)
    return name == dtype and tuple(tensor.shape) == shape
