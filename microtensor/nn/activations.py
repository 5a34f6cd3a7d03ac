"""Activations as modules; the formulas are in `functional`."""

from __future__ import annotations

from typing import Any

from ..tensor.creation import full
from ..typing import Device, Dtype, Tensor
from . import functional as F
from .init import constant_
from .module import Module, Parameter


class _Activation(Module):
    """forward(input) = function(input, …) with the settings of the constructor."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        vars(self).update(settings)
        self._settings = tuple(settings)

    def forward(self, input: Tensor) -> Tensor:
        return self.function(input, *(getattr(self, name) for name in self._settings))

    def extra_repr(self) -> str:
        shown = (n for n in self._settings if n != "inplace" or self.inplace)  # as in PyTorch
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)


class ReLU(_Activation):
    __doc__ = F.relu.__doc__
    function = staticmethod(F.relu)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class LeakyReLU(_Activation):
    __doc__ = F.leaky_relu.__doc__
    function = staticmethod(F.leaky_relu)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(negative_slope=negative_slope, inplace=inplace)


class RReLU(_Activation):
    __doc__ = F.rrelu.__doc__
    function = staticmethod(F.rrelu)

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__(lower=lower, upper=upper, inplace=inplace)

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class ELU(_Activation):
    __doc__ = F.elu.__doc__
    function = staticmethod(F.elu)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)


class CELU(_Activation):
    __doc__ = F.celu.__doc__
    function = staticmethod(F.celu)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)


class SELU(ReLU):
    __doc__ = F.selu.__doc__
    function = staticmethod(F.selu)


class PReLU(Module):
    """x where x > 0, else weight·x: learned slopes, one or one for each channel (1502.01852).

    They start at `init`.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(full((num_parameters,), init, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Make the slopes `init` again."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Hardtanh(_Activation):
    __doc__ = F.hardtanh.__doc__
    function = staticmethod(F.hardtanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(min_val=min_val, max_val=max_val, inplace=inplace)


class ReLU6(ReLU):
    __doc__ = F.relu6.__doc__
    function = staticmethod(F.relu6)


class Hardsigmoid(ReLU):
    __doc__ = F.hardsigmoid.__doc__
    function = staticmethod(F.hardsigmoid)
    extra_repr = Module.extra_repr  # PyTorch does not show `inplace` here


class Hardswish(ReLU):
    __doc__ = F.hardswish.__doc__
    function = staticmethod(F.hardswish)
    extra_repr = Module.extra_repr  # PyTorch does not show `inplace` here


class Threshold(_Activation):
    __doc__ = F.threshold.__doc__
    function = staticmethod(F.threshold)

    def __init__(self, threshold: float, value: Any, inplace: bool = False) -> None:
        super().__init__(threshold=threshold, value=value, inplace=inplace)


class Hardshrink(_Activation):
    __doc__ = F.hardshrink.__doc__
    function = staticmethod(F.hardshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(Hardshrink):
    __doc__ = F.softshrink.__doc__
    function = staticmethod(F.softshrink)


class Mish(ReLU):
    __doc__ = F.mish.__doc__
    function = staticmethod(F.mish)


class SiLU(_Activation):
    __doc__ = F.silu.__doc__
    function = staticmethod(F.silu)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class GELU(_Activation):
    __doc__ = F.gelu.__doc__
    function = staticmethod(F.gelu)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)


class Softplus(_Activation):
    __doc__ = F.softplus.__doc__
    function = staticmethod(F.softplus)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)


class Sigmoid(_Activation):
    __doc__ = F.sigmoid.__doc__
    function = staticmethod(F.sigmoid)

    def __init__(self) -> None:
        super().__init__()


class LogSigmoid(_Activation):
    __doc__ = F.logsigmoid.__doc__
    function = staticmethod(F.logsigmoid)

    def __init__(self) -> None:
        super().__init__()


class Tanh(_Activation):
    __doc__ = F.tanh.__doc__
    function = staticmethod(F.tanh)

    def __init__(self) -> None:
        super().__init__()


class Softmax(_Activation):
    __doc__ = F.softmax.__doc__
    function = staticmethod(F.softmax)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__(dim=dim)


class Softmax2d(Tanh):
    """The softmax over the channels of each place of an image, (N, C, H, W) or (C, H, W)."""

    @staticmethod
    def function(input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: 3 or 4 dimensions are needed, got {tuple(input.shape)}")
        return F.softmax(input, -3)


class LogSoftmax(Softmax):
    __doc__ = F.log_softmax.__doc__
    function = staticmethod(F.log_softmax)


class Tanhshrink(Tanh):
    __doc__ = F.tanhshrink.__doc__
    function = staticmethod(F.tanhshrink)


class Softsign(Tanh):
    __doc__ = F.softsign.__doc__
    function = staticmethod(F.softsign)


class Softmin(Softmax):
    __doc__ = F.softmin.__doc__
    function = staticmethod(F.softmin)


class GLU(_Activation):
    __doc__ = F.glu.__doc__
    function = staticmethod(F.glu)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)
