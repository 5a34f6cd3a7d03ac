"""Helpers of a module's call: hooks on gradients, and errors that name the module."""

from __future__ import annotations

from typing import Any

from ..autograd import is_grad_enabled, op
from ..autograd.calls import names, told
from ..tensor import Handle, Tensor


@op(several=True)
def observe(*tensors, see):
    """The tensors unchanged; their gradients pass through `see`.    ∂xᵢ = see(g)ᵢ"""
    return tensors, lambda g: see(g if isinstance(g, tuple) else (g,))


class Hidden:
    """A callable whose closure saves no array: the engine does not look for saved tensors in it."""

    __slots__ = ("call",)

    def __init__(self, call: Any) -> None:
        self.call = call

    def __call__(self, grads: Any) -> Any:
        return self.call(grads)


class Watch:
    """One call of a module, which passes the gradients of its inputs and results to its hooks."""

    def __init__(self, module: Any, hooks: Any) -> None:
        self.module = module
        self.first, self.hooks = (
            [hook for handle, hook in hooks.items() if handle.before is before]
            for before in (True, False)
        )

    def before(self, args: Any) -> Any:
        """The arguments, with their gradients watched."""
        args, self.inner = _watched(args, self._input_gradients)
        self.count = len(args)
        return args

    def after(self, result: Any) -> Any:
        """The result, with its gradients watched."""
        one = not isinstance(result, tuple)
        result, _ = _watched((result,) if one else result, self._output_gradients)
        return result[0] if one else result

    def _output_gradients(self, grads):
        for hook in self.first:
            grads = _replaced(grads, hook(self.module, grads))
        self.grad_output = grads
        if not self.inner:  # no argument has a gradient to wait for
            self._input_gradients((None,) * self.count)
        return grads

    def _input_gradients(self, grads):
        for hook in self.hooks:
            grads = _replaced(grads, hook(self.module, grads, self.grad_output))
        return grads


def _replaced(grads, returned):
    """The gradients after a hook: those that it returned, if any."""
    if returned is None:
        return grads
    return returned if isinstance(returned, tuple) else (returned,)


def _watched(values, see):
    """(the values, True if any needs a gradient); `see` gets a tuple, None where there is none."""
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
    """The error of a module's call, naming the module unless a function was named already.

    Errors of modules outside this package are left as they are.
    """
    kind = type(module)
    if kind.__module__.partition(".")[0] != __package__.partition(".")[0]:
        return error
    return told(kind.__name__, module.forward, args, kwargs, error, kept=names)


def added(module_class, hooks, value, prepend, with_kwargs=False):
    """Add a hook to others, with `prepend` as the first. Returns its handle."""
    module_class.revision += 1
    handle = Handle(hooks, value)
    handle.with_kwargs, handle.before = with_kwargs, False
    if prepend:
        rest = {h: v for h, v in hooks.items() if h is not handle}
        hooks.clear()
        hooks.update({handle: value, **rest})
    return handle
