"""A weight as its length times its direction (arXiv:1602.07868)."""

from .. import ops
from .module import Parameter


def _length(v, dim):
    """The norms of the slices of v along dim; of all of v for None."""
    if dim is None or dim == -1:
        return ops.sqrt(ops.square(v).sum())
    return ops.sqrt(ops.square(v).sum([d for d in range(v.ndim) if d != dim], keepdim=True))


class _WeightNorm:
    """Computes a module's weight from its g and v before every forward."""

    def __init__(self, name, dim):
        self.name, self.dim = name, dim

    def __call__(self, module, args=None):
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        object.__setattr__(module, self.name, v * (g / _length(v, self.dim)))


def weight_norm(module, name="weight", dim=0):
    """Let `module.<name>` be g · v / |v|, with parameters <name>_g and <name>_v; returns module.

    The length is that of each slice along `dim`; of the whole for None.
    """
    weight = module._parameters.pop(name)
    setattr(module, name + "_g", Parameter(_length(weight.detach(), dim)))
    setattr(module, name + "_v", Parameter(weight.detach()))
    norm = _WeightNorm(name, dim)
    norm(module)
    norm.handle = module.register_forward_pre_hook(norm)
    module.__dict__.setdefault("_weight_norms", {})[name] = norm
    return module


def remove_weight_norm(module, name="weight"):
    """Make `module.<name>` an ordinary parameter again; returns the module."""
    norms = module.__dict__.get("_weight_norms", {})
    if name not in norms:
        raise ValueError(f"remove_weight_norm: {name!r} of {module} has no weight_norm")
    norm = norms.pop(name)
    norm(module)
    norm.handle.remove()
    weight = module.__dict__.pop(name).detach()
    del module._parameters[name + "_g"], module._parameters[name + "_v"]
    module.register_parameter(name, Parameter(weight))
    return module
