"""The older form of `parametrizations`: a weight computed before every forward of its module."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...nn.module import Module
from ...typing import Tensor
from ..functional import normalize
from ..module import Parameter
from .parametrizations import channels_first, direction, length, outputs_of


class _Hook:
    """Computes a module's tensor from others before every forward.

    `take` adds those others to the module, and returns the tensor's value until the first forward.
    """

    def __init__(self, module: Module, name: str) -> None:
        weight = module._parameters.get(name)
        if weight is None:
            raise ValueError(f"{self.said}: {module} has no parameter {name!r}")
        if name in _hooks_of(module):
            raise RuntimeError(f"{self.said}: {name!r} of {module} has such a hook already")
        del module._parameters[name]
        self.name = name
        self.set(module, self.take(module, weight))
        self.handle = module.register_forward_pre_hook(self)
        _hooks_of(module)[name] = self

    @classmethod
    def apply(cls, module: Module, *args: Any, **options: Any) -> Any:
        """Add the hook to a module and return it, as PyTorch's `apply`."""
        return cls(module, *args, **options)

    def set(self, module: Module, weight: Tensor) -> Any:
        object.__setattr__(module, self.name, weight)

    def __call__(self, module: Module, args: Any) -> None:
        self.set(module, self.computed(module, module.training))

    def remove(self, module: Module) -> None:
        """Make the tensor an ordinary parameter again."""
        weight = self.computed(module, False).detach()
        self.handle.remove()
        del module.__dict__[self.name], _hooks_of(module)[self.name]
        for end in self.ends:
            delattr(module, self.name + end)
        module.register_parameter(self.name, Parameter(weight))


def _hooks_of(module):
    return module.__dict__.setdefault("_weight_hooks", {})


def _removed(kind, module, name):
    hook = _hooks_of(module).get(name)
    if not isinstance(hook, kind):
        raise ValueError(f"remove_{kind.said}: {name!r} of {module} has no {kind.said}")
    hook.remove(module)
    return module


class WeightNorm(_Hook):
    said, ends = "weight_norm", ("_g", "_v")

    def __init__(self, module: Module, name: str, dim: int) -> None:
        self.dim = dim
        super().__init__(module, name)

    def take(self, module: Module, weight: Tensor) -> Any:
        setattr(module, self.name + "_g", Parameter(length(weight.detach(), self.dim)))
        setattr(module, self.name + "_v", Parameter(weight.detach()))
        return self.computed(module, False)

    def computed(self, module: Module, training: bool) -> Any:
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / length(v, self.dim))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Let `module.<name>` be g · v / |v|, with parameters `<name>_g`, `<name>_v`; returns module.

    The length is that of each slice along `dim`; of the whole for None (arXiv:1602.07868).
    """
    WeightNorm(module, name, dim)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make `module.<name>` an ordinary parameter again; returns the module."""
    return _removed(WeightNorm, module, name)


class SpectralNorm(_Hook):
    said, ends = "spectral_norm", ("_orig", "_u", "_v")

    def __init__(
        self, module: Module, name: str, n_power_iterations: int, dim: int, eps: float
    ) -> None:
        self.n_power_iterations, self.dim, self.eps = n_power_iterations, dim, eps
        super().__init__(module, name)

    def take(self, module: Module, weight: Tensor) -> Any:
        module.register_parameter(self.name + "_orig", weight)
        matrix = channels_first(weight.detach(), self.dim)
        for end, size in zip(("_u", "_v"), matrix.shape):
            start = normalize(matrix.new_empty(size).normal_(), dim=0, eps=self.eps)
            module.register_buffer(self.name + end, start)
        return weight.detach()  # until the first forward

    def computed(self, module: Module, training: bool) -> Any:
        weight, u, v = (getattr(module, self.name + end) for end in self.ends)
        matrix = channels_first(weight, self.dim)
        if training:
            for _ in range(self.n_power_iterations):
                direction(matrix.T, u, v, self.eps)
                direction(matrix, v, u, self.eps)
            u, v = u.clone(), v.clone()  # copies, for the derivative
        return weight / ops.dot(u, matrix @ v)


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1,
                  eps: float = 1e-12, dim: int | None = None) -> Module:  # fmt: skip
    """Let `module.<name>` be `<name>_orig` over its largest singular value; returns the module.

    The singular value is estimated by `n_power_iterations` before every forward in training, which
    continue with the buffers `<name>_u`, `<name>_v`. The rows of the matrix are the slices along
    `dim`, by default that of the outputs (arXiv:1802.05957).
    """
    SpectralNorm(module, name, n_power_iterations, outputs_of(module) if dim is None else dim, eps)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make `module.<name>` an ordinary parameter again; returns the module."""
    return _removed(SpectralNorm, module, name)
