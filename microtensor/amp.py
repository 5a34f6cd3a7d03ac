"""Automatic mixed precision, as far as it means anything here: there is no half-precision compute.

`autocast` leaves every operation in the dtype of its inputs and says so; `GradScaler` works as it
does in PyTorch.
"""

import contextlib
import functools
import warnings

from . import cuda, ops
from .autograd import no_grad


class autocast(contextlib.ContextDecorator):
    """A context that in PyTorch computes some operations in `dtype`; here in that of their inputs.

    Without a GPU "cuda" turns itself off with a warning, as in PyTorch. On the CPU a warning says
    that results are those of full precision.
    """

    def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        if device_type == "cuda" and enabled and not cuda.is_available():
            warnings.warn("autocast: there is no GPU, so it is turned off", stacklevel=2)
            enabled = False
        elif enabled:
            warnings.warn(
                "autocast: there is no half-precision compute here; every operation keeps the "
                "dtype of its inputs, which is more exact",
                stacklevel=2,
            )
        self.device, self.fast_dtype, self._enabled = device_type, dtype, enabled

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return False


def is_autocast_enabled(device_type=None):
    """False: no operation changes its dtype, inside of `autocast` either."""
    return False


def custom_fwd(fwd=None, *, device_type=None, cast_inputs=None):
    """The forward() or backward() of an `autograd.Function`, as it is. Also a decorator."""
    return (lambda fwd: fwd) if fwd is None else fwd


custom_bwd = custom_fwd


class GradScaler:
    """Scales a loss up, so that small gradients survive half precision, and the gradients down.

    A step whose gradients are not all finite is left out, and the scale is then multiplied by
    `backoff_factor`; after `growth_interval` good steps in a row by `growth_factor`.
    """

    def __init__(self, device="cuda", init_scale=2.0**16, growth_factor=2.0, backoff_factor=0.5,
                 growth_interval=2000, enabled=True):  # fmt: skip
        if device == "cuda" and enabled and not cuda.is_available():
            warnings.warn("GradScaler: there is no GPU, so it is turned off", stacklevel=2)
            enabled = False
        self._enabled, self._scale, self._good_steps = enabled, init_scale, 0
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval = growth_interval
        self._unscaled = {}  # optimizer: whether its gradients are finite, since the last update

    def is_enabled(self):
        """Whether it does anything."""
        return self._enabled

    def get_scale(self):
        """What the loss is multiplied with."""
        return self._scale if self._enabled else 1.0

    def scale(self, outputs):
        """A loss, or several, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(map(self.scale, outputs))
        return outputs * self._scale

    @no_grad()
    def unscale_(self, optimizer):
        """Divide the gradients by the scale, in place: call it before they are clipped."""
        if not self._enabled:
            return
        if optimizer in self._unscaled:
            raise RuntimeError("unscale_: the gradients were divided already since update()")
        finite = True
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.mul_(1 / self._scale)
                    finite = finite and bool(ops.isfinite(p.grad).all())
        self._unscaled[optimizer] = finite

    def step(self, optimizer, *args, **kwargs):
        """`optimizer.step()`, unless a gradient is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if optimizer not in self._unscaled:
            self.unscale_(optimizer)
        return optimizer.step(*args, **kwargs) if self._unscaled[optimizer] else None

    def update(self, new_scale=None):
        """Choose the scale of the next step. Call it once, after all steps."""
        if not self._enabled:
            return
        if not self._unscaled and new_scale is None:
            raise RuntimeError("update: no step() or unscale_() came before")
        self._good_steps = self._good_steps + 1 if all(self._unscaled.values()) else 0
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._good_steps:
            self._scale *= self.backoff_factor
        elif self._good_steps == self.growth_interval:
            self._scale, self._good_steps = self._scale * self.growth_factor, 0
        self._unscaled = {}

    def state_dict(self):
        """What `load_state_dict` needs to continue; empty if it is turned off."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict):
        """Continue from a `state_dict()`."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("load_state_dict: this is the state of a scaler that was turned off")
        self._scale, self._good_steps = state_dict["scale"], state_dict["_growth_tracker"]
        for name in ("growth_factor", "backoff_factor", "growth_interval"):
            setattr(self, name, state_dict[name])


class CudaAutocast(autocast):
    """`cuda.amp.autocast`: PyTorch's older name for autocast("cuda")."""

    def __init__(self, enabled=True, dtype=None, cache_enabled=True):
        super().__init__("cuda", dtype, enabled, cache_enabled)


CudaGradScaler = functools.partial(GradScaler, "cuda")
