"""Activations as modules; the formulas are in `functional`."""

from . import functional as F
from .module import Module


class _Activation(Module):
    """forward(input) = function(input, …) with the settings that the constructor was given."""

    def __init__(self, **settings):
        super().__init__()
        vars(self).update(settings)
        self._settings = tuple(settings)

    def forward(self, input):
        return self.function(input, *(getattr(self, name) for name in self._settings))

    def extra_repr(self):
        shown = (n for n in self._settings if n != "inplace" or self.inplace)  # as in PyTorch
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)


class ReLU(_Activation):
    __doc__ = F.relu.__doc__
    function = staticmethod(F.relu)

    def __init__(self, inplace=False):
        super().__init__(inplace=inplace)


class LeakyReLU(_Activation):
    __doc__ = F.leaky_relu.__doc__
    function = staticmethod(F.leaky_relu)

    def __init__(self, negative_slope=0.01, inplace=False):
        super().__init__(negative_slope=negative_slope, inplace=inplace)


class ELU(_Activation):
    __doc__ = F.elu.__doc__
    function = staticmethod(F.elu)

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__(alpha=alpha, inplace=inplace)


class SiLU(_Activation):
    __doc__ = F.silu.__doc__
    function = staticmethod(F.silu)

    def __init__(self, inplace=False):
        super().__init__(inplace=inplace)


class GELU(_Activation):
    __doc__ = F.gelu.__doc__
    function = staticmethod(F.gelu)

    def __init__(self, approximate="none"):
        super().__init__(approximate=approximate)


class Softplus(_Activation):
    __doc__ = F.softplus.__doc__
    function = staticmethod(F.softplus)

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__(beta=beta, threshold=threshold)


class Sigmoid(_Activation):
    __doc__ = F.sigmoid.__doc__
    function = staticmethod(F.sigmoid)

    def __init__(self):
        super().__init__()


class LogSigmoid(_Activation):
    __doc__ = F.logsigmoid.__doc__
    function = staticmethod(F.logsigmoid)

    def __init__(self):
        super().__init__()


class Tanh(_Activation):
    __doc__ = F.tanh.__doc__
    function = staticmethod(F.tanh)

    def __init__(self):
        super().__init__()


class Softmax(_Activation):
    __doc__ = F.softmax.__doc__
    function = staticmethod(F.softmax)

    def __init__(self, dim):
        super().__init__(dim=dim)


class LogSoftmax(_Activation):
    __doc__ = F.log_softmax.__doc__
    function = staticmethod(F.log_softmax)

    def __init__(self, dim):
        super().__init__(dim=dim)
