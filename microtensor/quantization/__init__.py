"""Weights in fewer bits: `quantize_(model, Int8WeightOnlyConfig())`, as in torchao."""

from ..autograd.calls import public_names
from .configs import Int4WeightOnlyConfig, Int8WeightOnlyConfig
from .loading import load_quantized
from .quantize import QuantizedParameter, is_quantized, quantize_, weight_bytes

__all__ = [
    "Int4WeightOnlyConfig",
    "Int8WeightOnlyConfig",
    "QuantizedParameter",
    "is_quantized",
    "load_quantized",
    "quantize_",
    "weight_bytes",
]
public_names(globals(), "load_quantized quantize_ weight_bytes".split())
