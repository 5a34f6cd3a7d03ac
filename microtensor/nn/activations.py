"""Activations as modules: what they keep are the settings of a function in `functional`."""

from . import functional as F
from .module import Module


class _Activation(Module):
    """forward(input) = _function(input, **settings); the settings are public attributes."""

    def __init__(self, **settings):
        super().__init__()
        self._settings = tuple(settings)
        vars(self).update(settings)

    def forward(self, input):
        return type(self)._function(input, **{name: getattr(self, name) for name in self._settings})

    def extra_repr(self):
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._settings)


class _InPlace(_Activation):
    """One that may change its input; repr() says so only if it does, as in PyTorch."""

    def extra_repr(self):
        shown = [name for name in self._settings if name != "inplace" or self.inplace]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)


class ReLU(_InPlace):
    __doc__ = F.relu.__doc__
    _function = F.relu

    def __init__(self, inplace=False):
        super().__init__(inplace=inplace)


class LeakyReLU(_InPlace):
    __doc__ = F.leaky_relu.__doc__
    _function = F.leaky_relu

    def __init__(self, negative_slope=0.01, inplace=False):
        super().__init__(negative_slope=negative_slope, inplace=inplace)


class ELU(_InPlace):
    __doc__ = F.elu.__doc__
    _function = F.elu

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__(alpha=alpha, inplace=inplace)


class SiLU(_InPlace):
    __doc__ = F.silu.__doc__
    _function = F.silu

    def __init__(self, inplace=False):
        super().__init__(inplace=inplace)


class GELU(_Activation):
    __doc__ = F.gelu.__doc__
    _function = F.gelu

    def __init__(self, approximate="none"):
        super().__init__(approximate=approximate)


class Softplus(_Activation):
    __doc__ = F.softplus.__doc__
    _function = F.softplus

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__(beta=beta, threshold=threshold)


class Sigmoid(_Activation):
    __doc__ = F.sigmoid.__doc__
    _function = F.sigmoid


class LogSigmoid(_Activation):
    __doc__ = F.logsigmoid.__doc__
    _function = F.logsigmoid


class Tanh(_Activation):
    __doc__ = F.tanh.__doc__
    _function = F.tanh


class Softmax(_Activation):
    __doc__ = F.softmax.__doc__
    _function = F.softmax

    def __init__(self, dim):
        super().__init__(dim=dim)


class LogSoftmax(_Activation):
    __doc__ = F.log_softmax.__doc__
    _function = F.log_softmax

    def __init__(self, dim):
        super().__init__(dim=dim)
