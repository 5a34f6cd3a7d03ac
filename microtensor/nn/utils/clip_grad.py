"""Clip gradients, so that they do not grow too large."""

from __future__ import annotations

from collections.abc import Sequence

from ... import ops
from ...autograd import no_grad
from ...tensor import Tensor
from ...tensor.creation import tensor
from ...typing import Parameters


@no_grad()
def get_total_norm(tensors: Sequence[Tensor], norm_type: float = 2.0,
                   error_if_nonfinite: bool = False,
                   foreach: bool | None = None) -> Tensor:  # fmt: skip
    """The p-norm of the elements of all tensors together, as a 0-d tensor.

    Raises RuntimeError if it is not finite and `error_if_nonfinite`. PyTorch's `foreach`, here and
    below, chooses among implementations; there is only one here.
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not tensors:
        return tensor(0.0)
    total = ops.norm(ops.stack([ops.norm(t, norm_type) for t in tensors]), norm_type)
    if error_if_nonfinite and not bool(ops.isfinite(total)):
        raise RuntimeError(
            f"the norm of the gradients is {total.item()}, so they cannot be clipped; pass "
            "error_if_nonfinite=False to go on nevertheless"
        )
    return total


@no_grad()
def clip_grad_norm_(parameters: Parameters, max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False,
                    foreach: bool | None = None) -> Tensor:  # fmt: skip
    """Scale the gradients in place so that their p-norm, all together, is at most `max_norm`.

    Returns the norm that they had (arXiv:1211.5063).
    """
    grads = _grads(parameters)
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    scale = float(max_norm) / (total.item() + 1e-6)
    if not scale >= 1:  # also where it is NaN
        for g in grads:
            g.mul_(scale)
    return total


@no_grad()
def clip_grad_value_(
    parameters: Parameters, clip_value: float, foreach: bool | None = None
) -> None:
    """Bring every element of the gradients, in place, into ±clip_value."""
    for g in _grads(parameters):
        g.clamp_(-float(clip_value), float(clip_value))


def _grads(parameters):
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in parameters if p.grad is not None]
