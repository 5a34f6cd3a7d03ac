"""autograd.Function: an operation whose derivative is written by hand, in PyTorch's form."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from ..typing import T, Tensor
from .base import TensorBase
from .engine import Node
from .modes import enable_grad, is_grad_enabled, no_grad
from .views import edge_of


class Context:
    """What `forward` keeps for `backward`: attributes of any name, and tensors."""

    saved_tensors = ()
    _constant = ()  # results without a derivative

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors; `saved_tensors` gives them back. Changing one in place is noticed."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *results: Tensor) -> None:
        """Say that no gradient flows through these results."""
        self._constant = results

    def mark_dirty(self, *inputs: Tensor) -> None:
        """Refused: `forward` must not change its inputs in place."""
        raise NotImplementedError("mark_dirty: forward cannot change its inputs; return new ones")

    def set_materialize_grads(self, value: bool) -> None:
        """Results that no gradient reached have zeros as gradient: True is the only choice."""
        if not value:
            raise NotImplementedError("set_materialize_grads(False): zeros are always made")


FunctionCtx = Context  # PyTorch's name


class _Operation(SimpleNamespace):
    """What a node knows of the Function that made it: one object for each call."""

    __eq__, __hash__ = object.__eq__, object.__hash__


class Function:
    """Subclass it with two static methods and call `apply(*inputs)`.

    `forward(ctx, *inputs)` returns one tensor or a tuple, `backward(ctx, *gradients)` a gradient
    for each input, None for one that has none. `forward(*inputs)` beside
    `setup_context(ctx, inputs, output)` is the other form.
    """

    setup_context = None

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a Function needs a static method forward(ctx, *inputs)")

    @staticmethod
    def backward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a Function needs a static method backward(ctx, *gradients)")

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        """forward(), recorded as one operation whose derivative is backward()."""
        edges = [edge_of(x) if isinstance(x, TensorBase) else None for x in inputs]
        ctx = Context(tuple(edge is not None for edge in edges))
        with no_grad():
            if cls.setup_context is None:
                returned = cls.forward(ctx, *inputs)
            else:
                returned = cls.forward(*inputs)
                cls.setup_context(ctx, inputs, returned)
        if not is_grad_enabled() or not any(ctx.needs_input_grad):
            return returned
        several = isinstance(returned, tuple)
        results = [  # an input that is returned as it is gets a place of its own in the graph
            x._wrap(x._data) if any(x is i for i in inputs) else x
            for x in (returned if several else (returned,))
        ]
        tensors = [x for x in results if isinstance(x, TensorBase)]
        constant = {id(x) for x in ctx._constant}
        pull = functools.partial(_pull, cls, ctx, ctx.saved_tensors, tensors[0]._wrap)
        op = _Operation(
            op_name=cls.__name__, __doc__=cls.__doc__, compute=lambda *inputs: (None, pull),
            input_names=[f"input {i}" for i in range(len(inputs))], variadic=True, defaults={},
            view=False,
        )  # fmt: skip
        shapes = [tuple(t.shape) for t in tensors] if len(tensors) > 1 else None
        node = Node(op, inputs, {}, edges, pull, shapes)
        for i, t in enumerate(tensors):
            if t.is_floating_point() and id(t) not in constant:
                t._node, t._index, t._needs_grad = node, i, True
        return tuple(results) if several else results[0]


class _Barrier(Function):
    """A gradient that was computed unrecorded: what it depends on is not differentiated again."""

    @staticmethod
    def forward(ctx, found, *gradients):
        return found

    @staticmethod
    def backward(ctx, *gradients):
        raise RuntimeError(
            "backward: this gradient comes from a backward() that is marked once_differentiable, "
            "so it has no derivative"
        )


def once_differentiable(backward: T) -> T:
    """Mark the backward() of a Function whose result must not be differentiated again."""

    @functools.wraps(backward)
    def once(ctx, *gradients):
        with no_grad():
            found = backward(ctx, *gradients)
        several = isinstance(found, tuple)
        found = tuple(
            _Barrier.apply(f, *gradients) if isinstance(f, TensorBase) else f
            for f in (found if several else (found,))
        )
        return found if several else found[0]

    return once


def _pull(cls, ctx, saved, wrap, gradients):
    """backward(), for gradients that are arrays, or tensors that are to be differentiated again."""
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    recorded = isinstance(gradients[0], TensorBase)
    with enable_grad() if recorded else no_grad():
        found = cls.backward(ctx, *(gradients if recorded else map(wrap, gradients)))
    found = found if isinstance(found, tuple) else (found,)
    return found if recorded else tuple(None if f is None else f._data for f in found)
