"""Initial values of parameters. Each function fills a tensor in place and returns it."""

from __future__ import annotations

import math

from .. import ops
from ..autograd import no_grad
from ..autograd.calls import public_names
from ..tensor import creation
from ..tensor.random import Generator, rand, randn, randperm
from ..typing import Tensor

no_grad_ = no_grad()


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor for weights before a nonlinearity that keeps the variance of the activations."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    gains = {"relu": math.sqrt(2), "tanh": 5 / 3, "selu": 3 / 4, "linear": 1.0, "sigmoid": 1.0}
    gains |= dict.fromkeys(("conv1d", "conv2d", "conv3d"), 1.0)
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: {nonlinearity!r} is not among {[*gains, 'leaky_relu']}")
    return gains[nonlinearity]


@no_grad_
def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill from the uniform distribution over [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad_
def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill from the normal distribution."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad_
def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0,
                  b: float = 2.0, generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Fill from the normal distribution, cut off outside [a, b]."""
    below, above = (math.erf((bound - mean) / std * math.sqrt(0.5)) for bound in (a, b))
    share = rand(*tensor.shape, dtype="float64", device=tensor.device, generator=generator)
    drawn = ops.erfinv(below + (above - below) * share)
    return tensor.copy_((mean + std * math.sqrt(2) * drawn).clamp(a, b))


@no_grad_
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


@no_grad_
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on the diagonal and zeros elsewhere."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: a matrix is needed, got shape {tuple(tensor.shape)}")
    return tensor.copy_(creation.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


@no_grad_
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution's weight so that each channel passes unchanged: 1 in its own centre.

    Output channels beyond the number of inputs are 0; `groups` are those of the convolution.
    """
    if not 3 <= tensor.ndim <= 5:
        raise ValueError(f"dirac_: 3, 4 or 5 dimensions are needed, got {tuple(tensor.shape)}")
    if tensor.shape[0] % groups:
        raise ValueError(f"dirac_: {tensor.shape[0]} channels do not divide into {groups} groups")
    middle = tuple(n // 2 for n in tensor.shape[2:])
    tensor.zero_()
    for group in tensor.view(groups, -1, *tensor.shape[1:]):
        for channel in range(min(group.shape[:2])):
            group[(channel, channel, *middle)] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor):
    """(the inputs that each output is computed from, the outputs that each input is used in)."""
    if tensor.ndim < 2:
        raise ValueError(
            f"fan in and fan out need two dimensions or more, got shape {tuple(tensor.shape)}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform in ±gain √(6 / (fan in + fan out)) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with deviation gain √(2 / (fan in + fan out)) (Glorot and Bengio 2010)."""
    std = gain * math.sqrt(2 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return normal_(tensor, 0.0, std, generator)


def _calculate_correct_fan(tensor, mode):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'the mode must be "fan_in" or "fan_out", got {mode!r}')
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def _kaiming_std(tensor, a, mode, nonlinearity):
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in",
                     nonlinearity: str = "leaky_relu",
                     generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Uniform in ±gain √(3 / fan) (arXiv:1502.01852); `a` is the slope of the leaky ReLU."""
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in",
                    nonlinearity: str = "leaky_relu",
                    generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Normal with deviation gain / √fan (arXiv:1502.01852); `a` is the slope of the leaky ReLU."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


@no_grad_
def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Normal with deviation std, and zeros in that share of each column, at random."""
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: a matrix is needed, got shape {tuple(tensor.shape)}")
    tensor.normal_(0.0, std, generator=generator)
    zeros = math.ceil(sparsity * tensor.shape[0])
    for column in range(tensor.shape[1]):
        tensor[randperm(tensor.shape[0], generator=generator)[:zeros], column] = 0
    return tensor


@no_grad_
def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with gain times a random matrix of orthonormal rows or columns (arXiv:1312.6120).

    Dimensions beyond the first count as columns.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: a matrix is needed, got shape {tuple(tensor.shape)}")
    if not tensor.numel():
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    tall = randn(max(rows, columns), min(rows, columns), dtype="float64", generator=generator)
    q = _orthonormal(tall)
    q = q if rows >= columns else q.T
    return tensor.copy_(gain * q.reshape(*tensor.shape))


def _orthonormal(a):
    """The columns of a, made orthonormal by QR; uniformly distributed if a is normal."""
    import numpy as np

    from ..tensor.creation import from_numpy

    q, r = np.linalg.qr(a.numpy())
    return from_numpy(q * np.sign(np.diag(r)))


public_names(
    globals(),
    "calculate_gain constant_ dirac_ eye_ kaiming_normal_ kaiming_uniform_ normal_ ones_ "
    "orthogonal_ sparse_ trunc_normal_ uniform_ xavier_normal_ xavier_uniform_ zeros_".split(),
)
