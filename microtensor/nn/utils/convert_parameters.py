"""All parameters as one vector, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ... import ops
from ...autograd import no_grad
from ...typing import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters in one row."""
    return ops.cat([ops.reshape(p, (-1,)) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters, in place, the elements of one row."""
    parameters = list(parameters)
    needed = sum(math.prod(p.shape) for p in parameters)
    if vec.ndim != 1 or len(vec) != needed:
        raise RuntimeError(
            f"vector_to_parameters: a vector of {needed} elements is needed, got shape "
            f"{tuple(vec.shape)}"
        )
    start = 0
    with no_grad():
        for p in parameters:
            p.copy_(ops.reshape(vec[start : start + p.numel()], tuple(p.shape)))
            start += p.numel()
