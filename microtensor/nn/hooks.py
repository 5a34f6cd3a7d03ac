"""Helpers of a module's call: hooks on gradients, and errors that name the module."""

from __future__ import annotations

from typing import Any

from ..autograd import is_grad_enabled, op
from ..autograd.calls import call_error, names
from ..autograd.errors import warn
from ..autograd.views import mark_fixed
from ..tensor import Handle, Tensor


@op(several=True)
def observe(*tensors, see):
    """The tensors unchanged; their gradients pass through `see`.    ∂xᵢ = see(g)ᵢ"""
    return tensors, lambda g: see(g if isinstance(g, tuple) else (g,))


observe.materialize_grads = False  # hooks see None for a result that no gradient reached


class Hidden:
    """A callable whose closure saves no array: the engine does not look for saved tensors in it."""

    saves = False
    __slots__ = ("call",)

    def __init__(self, call: Any) -> None:
        self.call = call

    def __call__(self, grads: Any) -> Any:
        return self.call(grads)


class Watch:
    """One call of a module, which passes the gradients of its inputs and results to its hooks."""

    grad_output = None  # none arrives where the result is neither a tensor nor a tuple of some

    def __init__(self, module: Any, hooks: Any) -> None:
        self.module = module
        self.fixed = not all(key.older for key in hooks)  # what is watched is not to be changed
        self.first, self.hooks = (
            [hook for key, hook in hooks.items() if key.before is before]
            for before in (True, False)
        )

    def before(self, args: Any) -> Any:
        """The arguments, with their gradients watched."""
        args, self.inner = _watched(args, self._input_gradients, self.fixed)
        self.count = len(args)
        return args

    def after(self, result: Any) -> Any:
        """The result, with its gradients watched."""
        one = not isinstance(result, tuple)
        result, _ = _watched((result,) if one else result, self._output_gradients, self.fixed)
        return result[0] if one else result

    def _output_gradients(self, grads):
        for hook in self.first:
            grads = _replaced(grads, hook(self.module, grads))
        self.grad_output = grads
        if not self.inner:  # no argument has a gradient to wait for
            self._input_gradients((None,) * self.count)
        return grads

    def _input_gradients(self, grads):
        given, self.grad_output = self.grad_output, None  # once for each that arrived
        if given is not None:
            for hook in self.hooks:
                grads = _replaced(grads, hook(self.module, grads, given))
        return grads


def _replaced(grads, returned):
    """The gradients after a hook: those that it returned, if any."""
    if returned is None:
        return grads
    if not isinstance(returned, (tuple, list)) or len(returned) != len(grads):
        several = isinstance(returned, (tuple, list))
        raise RuntimeError(
            f"backward: a hook of a module returns a tuple of {len(grads)} gradients, got "
            f"{len(returned) if several else type(returned).__name__}"
        )
    return tuple(returned)


def _watched(values, see, fixed):
    """(the values, True if any needs a gradient); `see` gets a tuple, None where there is none."""
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
    if not places or not is_grad_enabled():
        return values, False

    def shown(grads):
        whole = [None] * len(values)
        recorded = any(isinstance(g, Tensor) for g in grads)
        for i, g in zip(places, grads):
            whole[i] = g if recorded or g is None else Tensor._wrap(g)
        seen = see(tuple(whole))
        return [seen[i] if recorded or seen[i] is None else seen[i]._data for i in places]

    values = list(values)
    for i, t in zip(places, observe(*(values[i] for i in places), see=Hidden(shown))):
        if fixed:
            mark_fixed(values[i], t)
        values[i] = t
    return tuple(values), True


def module_error(module, args, kwargs, error):
    """The error of a module's call, naming the module unless a function was named already.

    Errors of modules outside this package are left as they are.
    """
    kind = type(module)
    if kind.__module__.partition(".")[0] != __package__.partition(".")[0]:
        return error
    return call_error(kind.__name__, module.forward, args, kwargs, error, kept=names)


def added(module_class, hooks, value, prepend, **about):
    """Add a hook to others, with `prepend` as the first. Returns its handle."""
    module_class.revision += 1
    handle = Handle(hooks, value, **about)
    if prepend:
        rest = {key: hook for key, hook in hooks.items() if key is not handle.key}
        hooks.clear()
        hooks.update({handle.key: value, **rest})
    return handle


def with_hooks(module, args, kwargs):
    """The call of a module that has hooks."""
    called = set()  # the hooks with always_call that had their turn
    result = None
    try:
        for key, hook in list(module._forward_pre_hooks.items()):
            changed = hook(module, args, kwargs) if key.with_kwargs else hook(module, args)
            if changed is not None and key.with_kwargs:
                args, kwargs = changed
            elif changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        watch = Watch(module, module._backward_hooks) if module._backward_hooks else None
        result = module.forward(*(watch.before(args) if watch else args), **kwargs)
        for key, hook in list(module._forward_hooks.items()):
            called.add(key)
            changed = _after(key, hook, module, args, kwargs, result)
            result = result if changed is None else changed
        return watch.after(result) if watch else result
    except Exception:
        for key, hook in list(module._forward_hooks.items()):
            if key.always and key not in called:
                try:
                    changed = _after(key, hook, module, args, kwargs, result)
                    result = result if changed is None else changed
                except Exception as error:
                    warn(
                        f"{type(module).__name__}: a forward hook with always_call failed: {error}"
                    )
        raise


def _after(key, hook, module, args, kwargs, result):
    given = (args, kwargs) if key.with_kwargs else (args,)
    return hook(module, *given, result)
