"""A tensor's place in the graph: whether it needs a gradient, and its gradient."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from ..autograd import Node, TensorBase, backward
from ..autograd.views import edge_of
from ..backends.dtypes import FLOAT
from ..typing import Tensor, TensorOrTensors


class Handle:
    """A registered hook, which `remove()` removes."""

    def __init__(self, hooks: dict[Any, Any], value: Any) -> None:
        self.hooks = hooks
        hooks[self] = value

    def remove(self) -> None:
        self.hooks.pop(self, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()


class History(TensorBase):
    """The part of `Tensor` that holds its gradient and how it was computed."""

    def _alias(self, edge):
        alias = self._wrap(self._data)
        if edge is not None:
            if isinstance(edge[0], TensorBase):  # a leaf: gradients must reach the leaf itself
                return edge[0]
            alias._node, alias._index, alias._needs_grad = *edge, True
        return alias

    @property
    def requires_grad(self) -> bool:
        """True if gradients flow to this tensor."""
        return edge_of(self) is not None

    @requires_grad.setter
    def requires_grad(self, value: Any) -> None:
        if value and self.dtype.rank != FLOAT:
            raise RuntimeError(
                f"requires_grad: only floating-point tensors have one, this one is {self.dtype}"
            )
        if not value and self.grad_fn is not None:
            raise RuntimeError(
                "requires_grad: this tensor was computed from others; use detach() for one "
                "without history"
            )
        self._needs_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Let gradients flow to this leaf, or not. Returns the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad_fn(self) -> Node | None:
        """The node of the operation that made this tensor; None for a leaf."""
        _ = self.requires_grad  # a view follows its base
        return self._node

    @property
    def is_leaf(self) -> bool:
        """True if it was made by a user, and not by a recorded operation."""
        return self.grad_fn is None

    @property
    def output_nr(self) -> int:
        """The index of this tensor among the results of `grad_fn`."""
        return self._index

    @property
    def data(self) -> Tensor:
        """The same memory as a tensor without history, whose changes in place are not tracked.

        Changing what a derivative still needs is then no error, as in PyTorch: `detach()` is safer.
        """
        out = self._wrap(self._data)
        out._untracked = True
        return out

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, TensorBase):
            raise TypeError(f"data: a Tensor is needed, got {type(value).__name__}")
        self._data = value._data

    @property
    def grad(self) -> Any:
        """The gradient that backward() has summed up for this leaf, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if not isinstance(value, TensorBase) and value is not None:
            raise TypeError(f"grad: a Tensor or None is needed, got {type(value).__name__}")
        if value is not None and (value.shape, value.dtype) != (self.shape, self.dtype):
            raise RuntimeError(
                f"grad: a tensor of shape {tuple(self.shape)} and {self.dtype} cannot have a "
                f"gradient of shape {tuple(value.shape)} and {value.dtype}"
            )
        self._grad = value

    def _is_view(self):  # drawings of other packages ask
        return self._base is not None

    def detach(self) -> Tensor:
        """The same memory as a tensor without history."""
        return self._wrap(self._data)

    def detach_(self) -> Tensor:
        """Detach this tensor from its history. Returns the tensor."""
        if self._base is not None:
            raise RuntimeError(
                "detach_: a view cannot forget the history of its base; use detach()"
            )
        self._node, self._index, self._needs_grad = None, 0, False
        return self

    def backward(self, gradient: Tensor | None = None, retain_graph: bool | None = None,
                 create_graph: bool = False,
                 inputs: TensorOrTensors | None = None) -> None:  # fmt: skip
        """Add the derivative of this tensor to `.grad` of every leaf that it was computed from.

        `gradient`, of this tensor's shape, weighs its elements and may be left out for one element.
        """
        backward(self, gradient, retain_graph, create_graph, inputs)

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor in `.grad` although it is not a leaf."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        if self._node is not None and not self.retains_grad:
            self._node._retaining = [*(self._node._retaining or ()), weakref.ref(self)]

    @property
    def retains_grad(self) -> bool:
        """True if `retain_grad` was called on this tensor, which is not a leaf."""
        retaining = self.grad_fn and self._node._retaining or ()
        return any(ref() is self for ref in retaining)

    def register_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(grad) when the gradient of this tensor is known; what it returns replaces it.

        Returns a handle whose `remove()` removes the hook.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        place = self._node or self
        if place._hooks is None:
            place._hooks = {}
        return Handle(place._hooks, (self._index, hook, self._wrap))

    def register_post_accumulate_grad_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(tensor) of this leaf when backward() has added to its `.grad`.

        A parameter can then be updated, and its gradient freed, during backward(). Returns a
        handle whose `remove()` removes the hook.
        """
        if not (self.requires_grad and self.is_leaf):
            raise RuntimeError(
                "register_post_accumulate_grad_hook: a leaf that requires a gradient is needed"
            )
        if self._post_accumulate_hooks is None:
            self._post_accumulate_hooks = {}
        return Handle(self._post_accumulate_hooks, hook)
