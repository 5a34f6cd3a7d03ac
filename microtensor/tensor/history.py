"""A tensor's place in the graph: whether it needs a gradient, and its gradient."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from ..autograd import Node, TensorBase, backward
from ..autograd.backward_names import shown
from ..autograd.modes import mode
from ..autograd.saved import replace, version
from ..autograd.views import edge_of, is_stale
from ..backends.dtypes import FLOAT
from ..typing import Tensor, TensorOrTensors


class Hooks(dict):
    """Hooks of a tensor or a node: a dict to which there may be weak references."""


class Key:
    """By what a hook is found, and how it wants to be called."""

    def __init__(self, with_kwargs: bool = False, before: bool = False, always: bool = False,
                 older: bool = False):  # fmt: skip
        self.with_kwargs, self.before, self.always = with_kwargs, before, always
        self.older = older


class Handle:
    """A registered hook, which `remove()` removes. It does not keep a tensor's hooks alive."""

    def __init__(self, hooks: dict[Any, Any], value: Any, **about: Any) -> None:
        self.key = Key(**about)
        self._hooks = weakref.ref(hooks) if isinstance(hooks, Hooks) else hooks
        hooks[self.key] = value

    def remove(self) -> None:
        hooks = self._hooks() if isinstance(self._hooks, weakref.ref) else self._hooks
        if hooks is not None:
            hooks.pop(self.key, None)

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
        if self._fixed is not None and is_stale(self):
            return self._needs_grad or self._base._needs_grad
        return edge_of(self) is not None

    @requires_grad.setter
    def requires_grad(self, value: Any) -> None:
        if value and self.dtype.rank != FLOAT:
            raise RuntimeError(
                f"requires_grad: only floating-point tensors have one, this one is {self.dtype}"
            )
        if value and self._inference and not mode.inference:
            raise RuntimeError(
                "requires_grad: a tensor made under inference_mode() can have no gradient outside "
                "of it; clone() it first"
            )
        if self.grad_fn is not None:
            raise RuntimeError(
                "requires_grad: this tensor was computed from others, so only they can be asked "
                "for; use detach() for one without history"
            )
        self._needs_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Let gradients flow to this leaf, or not. Returns the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad_fn(self) -> Node | None:
        """The node of the operation that made this tensor; None for a leaf."""
        edge_of(self)  # a view follows its base
        return None if self._node is None else shown(self._node)

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
        out = self.detach()
        out._untracked = True
        return out

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, TensorBase):
            raise TypeError(f"data: a Tensor is needed, got {type(value).__name__}")
        if self._needs_grad and value.dtype.rank != FLOAT:
            raise RuntimeError(
                f"data: a tensor that requires a gradient is floating-point, this is {value.dtype}"
            )
        replace(self, value._data)

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

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def _is_view(self):  # drawings of other packages ask
        return self._base is not None

    def detach(self) -> Tensor:
        """The same memory as a tensor without history."""
        out = self._wrap(self._data)
        if self._inference:
            out._inference = True
        return out

    def is_inference(self) -> bool:
        """True if it was made under `inference_mode`."""
        return self._inference

    @property
    def _version(self) -> int:
        """How often its memory was changed in place. RuntimeError for one of `inference_mode`."""
        if self._inference:
            raise RuntimeError("_version: tensors of inference_mode do not count their changes")
        return 0 if self._untracked else version(self._data)

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
            place._hooks = Hooks()
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
            self._post_accumulate_hooks = Hooks()
        return Handle(self._post_accumulate_hooks, hook)
