"""Functions of the package that a CPU library need not have: compilers, settings, checkpoints.

A function says in its docstring what it does not do; a setting can be read and written and changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..autograd.calls import public, public_names
from ..nn.module import Module
from ..tensor import Size, Tensor
from ..tensor.creation import as_tensor
from . import func

WAYS = "flash", "mem_efficient", "math", "cudnn"  # of computing attention
settings = {"precision": "highest", "deterministic": False, **dict.fromkeys(WAYS, True)}
newaxis = None
vmap = func.vmap
asarray = public(as_tensor, "asarray")


def compile(model: Module | None = None, *, fullgraph: bool = False, dynamic: Any = None,
            backend: str = "inductor", mode: Any = None, options: Any = None,
            disable: bool = False) -> Any:  # fmt: skip
    """The model or function as it is: nothing is compiled. Also a decorator.

    Its `_orig_mod`, in PyTorch the model that was wrapped, is the model too.
    """
    return (lambda function: function) if model is None else model


def as_it_is(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """The function or module as it is. Also a decorator with options."""
    return (lambda function: function) if function is None else function


def set_float32_matmul_precision(precision: str) -> None:
    """Take "highest", "high" or "medium"; products are computed in full precision always."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            'set_float32_matmul_precision: "highest", "high" or "medium" is needed, got '
            f"{precision!r}"
        )
    settings["precision"] = precision


def set_flush_denormal(mode: Any) -> Any:
    """Returns False: subnormal numbers cannot be set to become 0 here."""
    return False


def get_float32_matmul_precision() -> str:
    """The precision that was last set; "highest" at first."""
    return settings["precision"]


def use_deterministic_algorithms(mode: Any, *, warn_only: bool = False) -> None:
    """Remember the wish: every operation here is deterministic on the CPU anyway."""
    settings["deterministic"] = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """The value that `use_deterministic_algorithms` was last called with."""
    return settings["deterministic"]


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """False: nothing here is not deterministic, and nothing warns."""
    return False


def checkpoint(function: Callable[..., Any], *args: Any, use_reentrant: Any = None,
               preserve_rng_state: bool = True, context_fn: Any = None,
               determinism_check: str = "default", debug: bool = False, early_stop: bool = True,
               **kwargs: Any) -> Any:  # fmt: skip
    """function(*args): the activations are kept, not computed again as PyTorch does."""
    return function(*args, **kwargs)


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: Any = None,
                          preserve_rng_state: bool = True, **kwargs: Any) -> Any:  # fmt: skip
    """Each of the functions, or of a Sequential's modules, applied to what the one before gave.

    The activations are kept, as by `checkpoint`, so that the segments change nothing.
    """
    if kwargs:
        raise ValueError(f"checkpoint_sequential: unexpected arguments: {', '.join(kwargs)}")
    for function in functions:
        input = function(input)
    return input


def get_device_states(*args: Any) -> Any:
    """The numbers of the GPUs that hold these tensors, and their generators' states: none."""
    return [], []


def set_device_states(devices: Any, states: Any) -> Any:
    """Nothing: one stream of random numbers serves all devices."""


def broadcast_shapes(*shapes: Any) -> Size:
    """The Size that tensors of these shapes broadcast to."""
    return Size(ops.broadcast_shapes(*shapes))


def t(input: Tensor) -> Tensor:
    """A matrix transposed."""
    return input.t()


def typename(value: Any) -> str:
    """The name of a tensor's type, or of another value's."""
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _assert(condition, message):
    """`assert`, as a function."""
    assert condition, message


_assert_async = _assert


def is_nonzero(input: Tensor) -> bool:
    """True if the one element is not 0."""
    return input.is_nonzero()


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The `pow`-norms of the slices of v along dim; of all of v for −1."""
    if dim == -1:
        return ops.norm(v, pow)
    return ops.norm(v, pow, [d for d in range(v.ndim) if d != dim % v.ndim], keepdim=True)


def _for_each(name):
    """The function of lists of tensors that applies one operation to each of them."""
    operation = getattr(Tensor, name, None) or getattr(ops, name.removesuffix("_"))

    def apply(tensors, *others, **options):
        """The operation's results for each tensor; other arguments are lists, too, or serve all."""
        lists = [o if isinstance(o, (list, tuple)) else [o] * len(tensors) for o in others]
        results = tuple(operation(*row, **options) for row in zip(tensors, *lists, strict=True))
        if name.endswith("_") and not hasattr(Tensor, name):
            return tuple(t.copy_(result) for t, result in zip(tensors, results))
        return results

    apply.__name__ = f"_foreach_{name}"
    return apply


# what optimizers call that step all parameters at once: _foreach_add(tensors, 1) …
FOREACH = {
    f"_foreach_{name}{end}": _for_each(name + end)
    for name in (
        "abs add addcdiv addcmul clamp_max clamp_min div exp lerp log maximum minimum mul neg pow "
        "reciprocal sign sqrt sub"
    ).split()
    for end in ("", "_")
} | {f"_foreach_{name}": _for_each(name) for name in ("copy_", "norm", "zero_")}

# the methods in place that are functions, too
abs_ = Tensor.abs_
acos_ = Tensor.acos_
acosh_ = Tensor.acosh_
addmv_ = Tensor.addmv_
arccos_ = Tensor.arccos_
arccosh_ = Tensor.arccosh_
arcsin_ = Tensor.arcsin_
arcsinh_ = Tensor.arcsinh_
arctan_ = Tensor.arctan_
arctanh_ = Tensor.arctanh_
asin_ = Tensor.asin_
asinh_ = Tensor.asinh_
atan_ = Tensor.atan_
atanh_ = Tensor.atanh_
ceil_ = Tensor.ceil_
clamp_ = Tensor.clamp_
clamp_max_ = Tensor.clamp_max_
clamp_min_ = Tensor.clamp_min_
clip_ = Tensor.clip_
cos_ = Tensor.cos_
cosh_ = Tensor.cosh_
deg2rad_ = Tensor.deg2rad_
detach_ = Tensor.detach_
erf_ = Tensor.erf_
erfc_ = Tensor.erfc_
exp2_ = Tensor.exp2_
exp_ = Tensor.exp_
expm1_ = Tensor.expm1_
fill_ = Tensor.fill_
fix_ = Tensor.fix_
floor_ = Tensor.floor_
frac_ = Tensor.frac_
index_put_ = Tensor.index_put_
ldexp_ = Tensor.ldexp_
log10_ = Tensor.log10_
log1p_ = Tensor.log1p_
log2_ = Tensor.log2_
log_ = Tensor.log_
logit_ = Tensor.logit_
nan_to_num_ = Tensor.nan_to_num_
neg_ = Tensor.neg_
negative_ = Tensor.negative_
rad2deg_ = Tensor.rad2deg_
reciprocal_ = Tensor.reciprocal_
relu_ = Tensor.relu_
resize_as_ = Tensor.resize_as_
round_ = Tensor.round_
rsqrt_ = Tensor.rsqrt_
sigmoid_ = Tensor.sigmoid_
sin_ = Tensor.sin_
sinc_ = Tensor.sinc_
sinh_ = Tensor.sinh_
sqrt_ = Tensor.sqrt_
square_ = Tensor.square_
tan_ = Tensor.tan_
tanh_ = Tensor.tanh_
trunc_ = Tensor.trunc_
xlogy_ = Tensor.xlogy_
zero_ = Tensor.zero_

public_names(globals(), ["broadcast_shapes", "is_nonzero", "norm_except_dim", "t"], strict=True)
INPLACE = {name: f for name, f in vars().items() if name[0] != "_" and name[-1] == "_"}

__all__ = [
    "_assert", "_assert_async", "abs_", "acos_", "acosh_", "addmv_", "arccos_", "arccosh_",
    "arcsin_", "arcsinh_", "arctan_", "arctanh_",
    "are_deterministic_algorithms_enabled", "asarray", "asin_", "asinh_",
    "atan_", "atanh_", "broadcast_shapes", "ceil_", "clamp_", "clamp_max_", "clamp_min_", "clip_",
    "compile", "cos_", "cosh_", "deg2rad_", "detach_", "erf_", "erfc_", "exp2_", "exp_", "expm1_",
    "fill_", "fix_", "floor_", "frac_", "get_float32_matmul_precision", "index_put_",
    "is_deterministic_algorithms_warn_only_enabled",
    "is_nonzero",
    "ldexp_", "log10_", "log1p_", "log2_", "log_", "logit_", "nan_to_num_", "neg_", "negative_",
    "newaxis", "norm_except_dim", "rad2deg_", "reciprocal_", "relu_", "resize_as_", "round_",
    "rsqrt_", "set_float32_matmul_precision", "set_flush_denormal", "sigmoid_", "sin_", "sinc_",
    "sinh_", "sqrt_", "square_", "t", "tan_", "tanh_", "trunc_", "typename",
    "use_deterministic_algorithms", "vmap", "xlogy_", "zero_",
]  # fmt: skip
