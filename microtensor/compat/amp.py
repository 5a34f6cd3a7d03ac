"""Automatic mixed precision: products in bfloat16 (or float16), what needs its digits in float32.

On a CPU it saves no time here, because bfloat16 is computed in float32 and rounded; it is there so
that a program which asks for it gets the numbers that it gets from PyTorch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from .. import ops
from ..autograd import no_grad
from ..autograd.autocast import install
from ..autograd.errors import warn
from ..autograd.modes import Switch, mode
from ..backends.dtypes import bfloat16, dtype_of, float16, float32
from ..optim.optimizer import Optimizer, is_number, shown
from ..tensor import Tensor
from ..tensor.creation import full
from ..typing import Device, Dtype, StateDict, dtype
from . import cuda

DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "xla", "mtia")  # that programs may ask for


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """True if an `autocast` of this device is on in this thread."""
    return device_type == "cpu" and mode.autocast is not None


def get_autocast_dtype(device_type: str) -> dtype:
    """The dtype to which an `autocast` of this device casts: on the CPU at first bfloat16."""
    if device_type != "cpu":
        return float16
    return bfloat16 if mode.autocast is None else mode.autocast


def is_autocast_available(device_type: str) -> bool:
    """True if `autocast` does anything on this device: on the CPU."""
    return device_type == "cpu"


class autocast(Switch):
    """A context, or a decorator, in which products are computed in `dtype`, losses in float32.

    Tensors of float32, and of float16 and bfloat16, are cast on their way into the functions that
    `autocasting` lists, as PyTorch does on a CPU; float64 stays. Casts are not cached, whatever
    `cache_enabled`: a parameter that an optimizer changes within the context is seen changed, where
    PyTorch would go on with what it was. Other devices are left alone: without a GPU "cuda" turns
    itself off with a warning, as in PyTorch, and so it does with one.
    """

    def __init__(self, device_type: str, dtype: Dtype | None = None, enabled: bool = True,
                 cache_enabled: bool | None = None) -> None:  # fmt: skip
        if not isinstance(device_type, str):
            raise ValueError(f"autocast: the device is a string such as 'cpu', got {device_type!r}")
        self.device = device_type.split(":")[0]
        if self.device not in DEVICES:
            raise RuntimeError(f"autocast: the device is one of {DEVICES}, got {device_type!r}")
        self.fast_dtype = get_autocast_dtype(self.device) if dtype is None else dtype_of(dtype)
        self._enabled = bool(enabled)
        if self._enabled and self.device == "cuda":
            why = "the GPU computes in full" if cuda.is_available() else "there is no GPU"
            warn(f"autocast: {why}, so it is turned off")
            self._enabled = False
        elif self._enabled and self.device == "cpu" and self.fast_dtype not in (bfloat16, float16):
            warn(
                f"autocast: {self.fast_dtype} is neither bfloat16 nor float16, so it is turned off"
            )
            self._enabled = False
        if self.device == "cpu":
            install()
            self.modes = {"autocast": self.fast_dtype if self._enabled else None}

    def __enter__(self) -> autocast:
        super().__enter__()
        return self


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: Any = None) -> Any:
    """Decorates `forward` of a Function: within autocast inputs are cast to `cast_inputs` first.

    Autocast is then off inside; without `cast_inputs` it stays as it is.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx, *args, **kwargs):
        on = is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = on and cast_inputs is None
        if cast_inputs is None or not on:
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            args = [_cast(a, cast_inputs) for a in args]
            return fwd(ctx, *args, **{k: _cast(v, cast_inputs) for k, v in kwargs.items()})

    return forward


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """Decorates `backward` of a Function: autocast is on in it as it was in `forward`."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx, *args):
        with autocast(device_type, ctx._dtype, ctx._fwd_used_autocast):
            return bwd(ctx, *args)

    return backward


def _cast(value, dtype):
    floats = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(dtype) if floats and value.itemsize < 8 else value


class GradScaler:
    """Scales a loss up, so that small gradients survive float16, and the gradients down.

    A step whose gradients are not all finite is left out, and the scale is then multiplied by
    `backoff_factor`; after `growth_interval` good steps in a row by `growth_factor`.
    """

    def __init__(self, device: Device = "cuda", init_scale: float = 2.0**16,
                 growth_factor: float = 2.0, backoff_factor: float = 0.5,
                 growth_interval: int = 2000, enabled: bool = True) -> None:  # fmt: skip
        if device == "cuda" and enabled and not cuda.is_available():
            warn("GradScaler: there is no GPU, so it is turned off")
            enabled = False
        if enabled and (growth_factor <= 1 or backoff_factor >= 1):
            raise AssertionError(
                "GradScaler: growth_factor is above 1 and backoff_factor below 1, got "
                f"{growth_factor} and {backoff_factor}"
            )
        self._enabled, self._init_scale, self._good_steps = enabled, float(init_scale), 0
        self._scale = None  # a float32 tensor, from the first scale() on
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._found = {}  # {id of an optimizer: whether a gradient is not finite, None: has none}
        self._stepped = set()

    def is_enabled(self) -> bool:
        """True if it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The factor of the loss, as a number."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def scale(self, outputs: Any) -> Any:
        """A loss, or several, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._scale = full((), self._init_scale, dtype=float32, device=outputs.device)
            return outputs * self._scale
        try:
            scaled = map(self.scale, outputs)
        except TypeError:
            raise ValueError(f"scale: tensors are needed, got {outputs!r}") from None
        return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled

    def _ready(self, name):
        if self._scale is None:
            raise AssertionError(f"{name}: scale() has to come first, once in every step")

    @no_grad()
    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the scale, in place: call it before they are clipped."""
        if not self._enabled:
            return
        self._ready("unscale_")
        if id(optimizer) in self._stepped:
            raise RuntimeError("unscale_: this optimizer has stepped already since update()")
        if id(optimizer) in self._found:
            raise RuntimeError("unscale_: the gradients were divided already since update()")
        grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
        grads = [g for g in grads if g is not None]
        if any(g.dtype is float16 for g in grads):
            raise ValueError("unscale_: float16 gradients cannot be divided; keep float32 weights")
        bad = False
        for g in grads:
            bad = bad or not bool(ops.isfinite(g).all())
            g.mul_(1 / self._scale.item())
        self._found[id(optimizer)] = bad if grads else None

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step()`, unless a gradient is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("step: a closure cannot be used with a GradScaler")
        self._ready("step")
        if id(optimizer) in self._stepped:
            raise RuntimeError("step: this optimizer has stepped already since update()")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        bad = self._found[id(optimizer)]
        if bad is None:
            raise AssertionError("step: no parameter of this optimizer has a gradient")
        result = None if bad else optimizer.step(*args, **kwargs)
        self._stepped.add(id(optimizer))
        return result

    def update(self, new_scale: float | None = None) -> None:
        """Choose the scale of the next step. Call it once, after all steps."""
        if not self._enabled:
            return
        self._ready("update")
        if new_scale is not None:
            self._scale.fill_(new_scale)
        elif all(bad is None for bad in self._found.values()):
            raise AssertionError("update: no step() or unscale_() came before")
        elif any(self._found.values()):
            self._scale.mul_(self._backoff_factor)
            self._good_steps = 0
        else:
            self._good_steps += 1
            if self._good_steps == self._growth_interval:
                grown = self._scale * self._growth_factor
                self._scale = grown if math.isfinite(grown.item()) else self._scale
                self._good_steps = 0
        self._found, self._stepped = {}, set()

    def state_dict(self) -> StateDict:
        """The state that `load_state_dict` needs to continue; empty if scaling is turned off."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Continue from a `state_dict()`."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("load_state_dict: this is the state of a scaler that was turned off")
        if not isinstance(state_dict, Mapping):
            kind = type(state_dict).__name__
            raise TypeError(f"GradScaler: load_state_dict needs a dict, got {kind}")
        for name in ("scale", "_growth_tracker", "growth_factor", "backoff_factor",
                     "growth_interval"):  # fmt: skip
            if not is_number(state_dict.get(name)):
                raise ValueError(
                    f"GradScaler: the saved {name} is {shown(state_dict.get(name))}, not a number"
                )
        self._init_scale, self._good_steps = state_dict["scale"], state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(self._init_scale)
        for name in ("growth_factor", "backoff_factor", "growth_interval"):
            setattr(self, "_" + name, state_dict[name])


def _read_and_written(name):
    """PyTorch's pair of methods for one of the numbers that a scaler was made with."""

    def get(self):
        return getattr(self, name)

    def set(self, value):
        setattr(self, name, value)

    setattr(GradScaler, "get" + name, get)
    setattr(GradScaler, "set" + name, set)


for _name in ("_growth_factor", "_backoff_factor", "_growth_interval"):
    _read_and_written(_name)


def _older(device):
    """`autocast` and `GradScaler` as PyTorch once had them: in `cuda.amp`, in `cpu.amp`."""

    class OlderAutocast(autocast):
        __doc__ = autocast.__doc__

        def __init__(self, enabled=True, dtype=None, cache_enabled=True):
            super().__init__(device, dtype, enabled, cache_enabled)

    class OlderScaler(GradScaler):
        __doc__ = GradScaler.__doc__

        def __init__(self, *args, **options):
            super().__init__(device, *args, **options)

    for older, name in ((OlderAutocast, "autocast"), (OlderScaler, "GradScaler")):
        older.__name__ = older.__qualname__ = name
    return {
        "autocast": OlderAutocast, "GradScaler": OlderScaler,
        "custom_fwd": functools.partial(custom_fwd, device_type=device),
        "custom_bwd": functools.partial(custom_bwd, device_type=device),
    }  # fmt: skip


CUDA, CPU = _older("cuda"), _older("cpu")
