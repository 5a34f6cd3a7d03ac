"""What a module's call is wrapped in: hooks on gradients, and errors in the module's name."""

from __future__ import annotations

from typing import Any

from ..autograd import is_grad_enabled, op
from ..autograd.calls import names, told
from ..tensor import Handle, Tensor


@op(several=True)
def observe(*tensors, see):
    """The tensors as they are; see(g) looks at their gradients.    ∂xᵢ = gᵢ, as see returns it"""
    return tensors, lambda g: see(g if isinstance(g, tuple) else (g,))


class Hidden:
    """A function of which nobody asks what it holds: a hook needs no array as it was."""

    __slots__ = ("call",)

    def __init__(self, call: Any) -> None:
        self.call = call

    def __call__(self, grads: Any) -> Any:
        return self.call(grads)


class Watch:
    """One call of a module: shows its hooks the gradients of what went in and of what came out."""

    def __init__(self, module: Any, hooks: Any) -> None:
        self.module = module
        self.first, self.hooks = (
            [hook for handle, hook in hooks.items() if handle.before is before]
            for before in (True, False)
        )

    def before(self, args: Any) -> Any:
        """The arguments, watched."""
        args, self.inner = _watched(args, self._arrived)
        self.count = len(args)
        return args

    def after(self, result: Any) -> Any:
        """The result, watched."""
        one = not isinstance(result, tuple)
        result, _ = _watched((result,) if one else result, self._started)
        return result[0] if one else result

    def _started(self, grads):
        for hook in self.first:
            grads = _replaced(grads, hook(self.module, grads))
        self.grad_output = grads
        if not self.inner:  # no argument has a gradient to wait for
            self._arrived((None,) * self.count)
        return grads

    def _arrived(self, grads):
        for hook in self.hooks:
            grads = _replaced(grads, hook(self.module, grads, self.grad_output))
        return grads


def _replaced(grads, told):
    if told is None:
        return grads
    return told if isinstance(told, tuple) else (told,)


def _watched(values, see):
    """The values, and whether any gradient will be seen: a tuple with None where there is none."""
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
    if not places or not is_grad_enabled():
        return values, False

    def shown(grads):
        whole = [None] * len(values)
        for i, g in zip(places, grads):
            whole[i] = g if isinstance(g, Tensor) else Tensor._wrap(g)
        seen = see(tuple(whole))
        return [seen[i] if isinstance(g, Tensor) else seen[i]._data for i, g in zip(places, grads)]

    values = list(values)
    for i, t in zip(places, observe(*(values[i] for i in places), see=Hidden(shown))):
        values[i] = t
    return tuple(values), True


def told_by(module, args, kwargs, error):
    """The error of a module's call: in its name, unless a function has told its own.

    Modules that are not of this package speak for themselves.
    """
    kind = type(module)
    if kind.__module__.partition(".")[0] != __package__.partition(".")[0]:
        return error
    return told(kind.__name__, module.forward, args, kwargs, error, kept=names)


def added(module_class, hooks, value, prepend, with_kwargs=False):
    """The handle of a hook that is put among others, first with `prepend`."""
    module_class.revision += 1
    handle = Handle(hooks, value)
    handle.with_kwargs, handle.before = with_kwargs, False
    if prepend:
        rest = {h: v for h, v in hooks.items() if h is not handle}
        hooks.clear()
        hooks.update({handle: value, **rest})
    return handle
