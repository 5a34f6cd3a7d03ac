"""Tools for the parameters of a module, and for sequences of different lengths."""

import inspect

from ...autograd.calls import public_names
from . import clip_grad, convert_parameters, fusion, parametrizations, parametrize, prune, rnn
from .clip_grad import clip_grad_norm_, clip_grad_value_, get_total_norm
from .convert_parameters import parameters_to_vector, vector_to_parameters
from .fusion import fuse_conv_bn_eval, fuse_conv_bn_weights
from .weight_hooks import (
    remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm,
)  # fmt: skip

for _place in (globals(), vars(rnn), vars(prune), vars(parametrize), vars(parametrizations)):
    public_names(
        _place,
        [
            name
            for name, value in _place.items()
            if not name.startswith("_")
            and inspect.isfunction(value)
            and value.__module__.startswith(__name__)
        ],
    )

__all__ = [
    "clip_grad", "clip_grad_norm_", "clip_grad_value_", "convert_parameters", "fuse_conv_bn_eval",
    "fuse_conv_bn_weights", "fusion", "get_total_norm", "parameters_to_vector", "parametrizations",
    "parametrize", "prune", "remove_spectral_norm", "remove_weight_norm", "rnn", "spectral_norm",
    "vector_to_parameters", "weight_norm",
]  # fmt: skip
