"""Operations of a program's own, by name: what `torch.library` registers for PyTorch's compiler.

    @custom_op("mine::double", mutates_args=())
    def double(x): ...

`ops.mine.double` is then the same operation. Its derivative is what `register_autograd` says.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

from .. import ops
from ..autograd.function import Function


class CustomOpDef:
    """A function that was given a name, and maybe a derivative."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function = name, function
        self.__doc__, self.__wrapped__ = function.__doc__, function
        self.register_autograd(self._refuse)

    def _refuse(self, ctx, *gradients):
        raise RuntimeError(
            f"backward: {self.name} has no derivative; register_autograd gives it one"
        )

    def __call__(self, *args: Any, **named: Any) -> Any:
        bound = inspect.signature(self.function).bind(*args, **named)
        bound.apply_defaults()
        return self._differentiable.apply(*bound.args)

    def register_autograd(self, backward: Any, /, *, setup_context: Any = None) -> Any:
        """Let backward(ctx, *gradients) be its derivative; setup_context(ctx, inputs, output)
        keeps what it needs.
        """
        keep = setup_context or (lambda ctx, inputs, output: None)
        members = {"forward": self.function, "setup_context": keep, "backward": backward}
        members = {name: staticmethod(member) for name, member in members.items()}
        self._differentiable = type(self.name, (Function,), members)

    def register_fake(self, fn: Callable[..., Any] | None = None, /) -> Any:
        """Nothing: what shapes come out is found by running it. Also a decorator."""
        return (lambda fn: fn) if fn is None else fn


_known = {}


def custom_op(name: str, fn: Callable[..., Any] | None = None, /, *, mutates_args: Any,
              device_types: Any = None, schema: Any = None) -> Any:  # fmt: skip
    """Give a function a name, "place::name". Also a decorator. The rest changes nothing."""

    def define(function):
        place, _, last = name.partition("::")
        _known[name] = found = CustomOpDef(name, function)
        if not hasattr(ops, place):
            setattr(ops, place, types.SimpleNamespace())
        setattr(getattr(ops, place), last, found)
        return found

    return define if fn is None else define(fn)


def register_autograd(
    op: Any, backward: Any, /, *, setup_context: Any = None, lib: Any = None
) -> Any:
    """`CustomOpDef.register_autograd`, of an operation or of its name."""
    _found(op).register_autograd(backward, setup_context=setup_context)


def register_fake(op: Any, func: Callable[..., Any] | None = None, /, *, lib: Any = None) -> Any:
    """`CustomOpDef.register_fake`, of an operation or of its name.

    Nothing, too, for a name that is not known: one of an extension in C++, which was not loaded.
    """
    return (lambda function: function) if func is None else func


def load_library(path: Any) -> Any:
    """`torch.ops.load_library`: operations of an extension in C++, which are not to be had here."""
    raise OSError(f"load_library: {path} holds operations for PyTorch's own core")


def _found(op):
    if isinstance(op, CustomOpDef):
        return op
    if op not in _known:
        raise RuntimeError(f"library: no custom_op is called {op!r}; there are {sorted(_known)}")
    return _known[op]
