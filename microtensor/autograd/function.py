"""autograd.Function: an operation whose derivative is written by hand, in PyTorch's form."""

from __future__ import annotations

import functools
import inspect
import weakref
from types import SimpleNamespace
from typing import Any

from ..typing import T, Tensor
from .base import TensorBase
from .engine import Node
from .in_place import recorded_in_place, take_over
from .modes import enable_grad, is_grad_enabled, mode, no_grad
from .packing import Packed
from .saved import check_array
from .views import OF_FUNCTION, edge_of, mark_fixed


class Context:
    """The store that `forward` fills for `backward`: attributes of any name, and tensors."""

    _constant = _dirty = ()  # results without a derivative; inputs that forward changed
    _materialize = True  # whether a result that no gradient reached has zeros
    _node = None  # a weak reference to the node
    _saved = ()  # tensors, of a result (its array, its number)

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors; `saved_tensors` gives them back. Changing one in place is noticed."""
        for t in tensors:
            if t is not None and not isinstance(t, TensorBase):
                raise TypeError(
                    f"save_for_backward: Tensors or None are needed, got {type(t).__name__}; "
                    "keep anything else as an attribute of ctx"
                )
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors kept by `save_for_backward`. Raises RuntimeError when they were freed."""
        if self._saved is None:
            raise RuntimeError(
                "backward: the saved tensors were freed by an earlier backward; pass "
                "retain_graph=True to that one to go through the graph twice"
            )
        node = self._node and self._node()
        for t in self._saved if node else ():
            if t is not None and not isinstance(t, _Kept):
                t = t.bare if isinstance(t, _Result) else t
                check_array(node, t._data, t._replaced[-1][0] if t._replaced else 0)
        return tuple(t.tensor(node) if isinstance(t, _Result | _Kept) else t for t in self._saved)

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Nothing: derivatives go backwards here, and `jvp` is refused."""

    def mark_non_differentiable(self, *results: Tensor) -> None:
        """Say that no gradient flows through these results."""
        self._constant = results

    def mark_dirty(self, *inputs: Tensor) -> None:
        """Say that `forward` changed these inputs in place; it has to return them."""
        self._dirty = inputs

    def set_materialize_grads(self, value: bool) -> None:
        """Let a result that no gradient reached have None as its gradient, in place of zeros."""
        self._materialize = bool(value)


class _Result:
    """A saved result: held without its node, which holds the context. (No reference cycle.)"""

    def __init__(self, tensor, index):
        self.bare, self.index = tensor.detach(), index

    def tensor(self, node):
        return self.bare if self.index is None else self.bare._alias((node, self.index))


class _Kept:
    """A saved tensor that a hook has packed."""

    def __init__(self, saved):
        self.packed = Packed(saved.bare if isinstance(saved, _Result) else saved)
        self.index = saved.index if isinstance(saved, _Result) else None
        self.edge = None if isinstance(saved, _Result) else edge_of(saved)

    def tensor(self, node):
        edge = self.edge if self.index is None else (node, self.index)
        tensor = self.packed.tensor()
        return tensor._alias(edge) if edge is not None and mode.recording else tensor


FunctionCtx = Context  # PyTorch's name


class _Operation(SimpleNamespace):
    """The operation that a Function's node belongs to: one object for each call."""

    __eq__, __hash__ = object.__eq__, object.__hash__


class Function:
    """Subclass it with two static methods and call `apply(*inputs)`.

    `forward(ctx, *inputs)` returns one tensor or a tuple, `backward(ctx, *gradients)` a gradient
    for each input, None for one that has none. `forward(*inputs)` beside
    `setup_context(ctx, inputs, output)` is the other form.
    """

    setup_context = vjp = None  # vjp is another name for backward

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a Function needs a static method forward(ctx, *inputs)")

    @staticmethod
    def backward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a Function needs a static method backward(ctx, *gradients)")

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refused: derivatives go backwards here."""
        raise NotImplementedError("Function.jvp: there is no forward-mode differentiation")

    @classmethod
    def apply(cls, *inputs: Any, **named: Any) -> Any:
        """forward(), recorded as one operation whose derivative is backward()."""
        edges = [edge_of(x) if isinstance(x, TensorBase) else None for x in inputs]
        ctx = Context(tuple(edge is not None for edge in edges))
        with no_grad():
            if cls.setup_context is None:
                returned = cls.forward(ctx, *inputs, **named)
            else:
                returned = cls.forward(*inputs, **named)
                cls.setup_context(ctx, inputs, returned)
        if not is_grad_enabled() or not any(ctx.needs_input_grad):
            return returned
        results = list(returned) if isinstance(returned, tuple) else [returned]
        dirty = {id(x) for x in ctx._dirty}
        for x in ctx._dirty:
            if not any(x is r for r in results):
                raise RuntimeError(f"{cls.__name__}: forward must return what mark_dirty names")
            recorded_in_place(x, cls.__name__)
        for i, x in enumerate(results):  # an input that is returned gets a new place in the graph
            if id(x) in dirty or not isinstance(x, TensorBase):
                continue
            if any(x is given for given in inputs):
                results[i] = x._wrap(x._data)
                mark_fixed(x, results[i])
            elif x._fixed is not None:  # a view, made without being recorded
                x._fixed = OF_FUNCTION
        args = [  # as they were: those that forward changed are about to get another history
            x._alias(edge) if id(x) in dirty and edge else x for x, edge in zip(inputs, edges)
        ]
        node = _record(cls, ctx, args, edges, results)
        for i, x in enumerate(results):
            if node is not None and id(x) in dirty:
                take_over(x, x._alias((node, i)))
        return tuple(results) if isinstance(returned, tuple) else results[0]


def _record(cls, ctx, inputs, edges, results):
    """Give the results of a Function their node."""
    tensors = [x for x in results if isinstance(x, TensorBase)]
    if not tensors:
        return None
    if any(x is not None and x._inference for x in ctx._saved):
        raise RuntimeError(
            f"{cls.__name__}: a tensor made under inference_mode() cannot be saved for the "
            "derivative; clone() it first, or make it under no_grad()"
        )
    pull = _Pullback(cls, ctx, [isinstance(x, TensorBase) for x in inputs], tensors[0]._wrap)
    op = _Operation(
        op_name=cls.__name__, __doc__=cls.__doc__, compute=lambda *inputs: (None, pull),
        function=cls, input_names=list(_input_names(cls, len(inputs))), variadic=True, defaults={},
        view=False, promote=None, materialize_grads=ctx._materialize,
    )  # fmt: skip
    shapes = [tuple(x.shape) if isinstance(x, TensorBase) else None for x in results]
    node = Node(op, tuple(inputs), {}, edges, pull, shapes)
    ctx._node = weakref.ref(node)
    constant, dirty = ({id(x) for x in marked} for marked in (ctx._constant, ctx._dirty))
    places = {}
    for i, x in enumerate(results):
        if isinstance(x, TensorBase) and x.is_floating_point() and id(x) not in constant:
            places[id(x)] = i
            if id(x) not in dirty:
                x._node, x._index, x._needs_grad = node, i, True
    results = {id(x) for x in tensors}
    ctx._saved = tuple(_Result(x, places.get(id(x))) if id(x) in results else x for x in ctx._saved)
    if mode.packing is not None:
        ctx._saved = tuple(None if t is None else _Kept(t) for t in ctx._saved)
    return node


@functools.lru_cache(64)
def _input_names(cls, count):
    """The names of a Function's inputs in forward(), for errors and drawings."""
    try:
        names = list(inspect.signature(cls.forward).parameters.values())
    except (TypeError, ValueError):
        names = []
    names = [p.name for p in names[cls.setup_context is None :] if p.kind is not p.VAR_POSITIONAL]
    return (*names, *(f"input {i}" for i in range(len(names), count)))[:count]


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


class _Pullback:
    """backward(), for gradients that are arrays, or tensors that are to be differentiated again."""

    def __init__(self, cls, ctx, are_tensors, wrap):
        self.cls, self.ctx, self.are_tensors, self.wrap = cls, ctx, are_tensors, wrap

    def __call__(self, gradients):
        recorded = any(isinstance(g, TensorBase) for g in gradients)
        if not recorded:
            gradients = [None if g is None else self.wrap(g) for g in gradients]
        with enable_grad() if recorded else no_grad():
            found = (self.cls.vjp or self.cls.backward)(self.ctx, *gradients)
        found = list(found) if isinstance(found, tuple) else [found]
        name, count = self.cls.__name__, len(self.are_tensors)
        while len(found) > count and found[-1] is None:
            found.pop()
        if len(found) != count:
            raise RuntimeError(
                f"backward: {name} returned {len(found)} gradients for {count} inputs"
            )
        for i, (g, is_tensor) in enumerate(zip(found, self.are_tensors)):
            if g is not None and not isinstance(g, TensorBase):
                raise RuntimeError(
                    f"backward: {name} returned {type(g).__name__} as a gradient; a Tensor or None "
                    "is needed"
                )
            if g is not None and not is_tensor:
                raise RuntimeError(
                    f"backward: {name} returned a gradient for input {i}, which is no tensor; "
                    "None is needed"
                )
        return found if recorded else [None if f is None else f._data for f in found]

    def without_saved(self):
        """It may run again, but for what it kept with `save_for_backward`."""
        self.ctx._saved = None if self.ctx._saved else ()
        return self
