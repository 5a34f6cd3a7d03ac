"""Accumulation of gradients: hooks are run, and `.grad` is added to."""

import os
import sys
import threading

from ..backends import backend_of
from .backward_names import shown
from .base import TensorBase, registry
from .modes import enable_grad
from .saved import changed


class AccumulateGrad:
    """PyTorch's node for a leaf, as `next_functions` shows it: adds gradients to variable.grad."""

    next_functions = ()

    def __init__(self, variable):
        self.variable = variable

    def __eq__(self, other):
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self):
        return id(self.variable)

    def name(self):
        """PyTorch's name of it."""
        return "AccumulateGrad"


def as_node(source):
    """A node as it is, the node of a leaf."""
    return AccumulateGrad(source) if isinstance(source, TensorBase) else shown(source)


def run_hooks(source, slots):
    """Run the hooks of a node or leaf on the gradients in its slots, then do what retain_grad asks.

    A hook may return another gradient, which takes the place of the one it was given. All hooks of
    a gradient get one tensor, the very same: a hook may leave an attribute on it for the next.
    """
    tensors = {}
    for index, hook, wrap in list((source._hooks or {}).values()):
        g = slots[index]
        if g is not None:
            if index not in tensors:
                tensors[index] = g if isinstance(g, TensorBase) else wrap(g)
            returned = hook(tensors[index])
            if returned is None:
                continue
            if not isinstance(returned, TensorBase):
                raise TypeError(
                    f"hook: a Tensor or None is to be returned, got {type(returned).__name__}"
                )
            if returned._data.shape != g.shape:
                raise RuntimeError(
                    f"hook: a gradient of shape {tuple(g.shape)} was replaced by one of shape "
                    f"{tuple(returned._data.shape)}"
                )
            dtype = getattr(g, "_data", g).dtype
            if returned._data.dtype != dtype:
                raise RuntimeError(
                    f"hook: a {dtype} gradient was replaced by one of {returned._data.dtype}"
                )
            tensors[index] = returned
            slots[index] = returned if isinstance(g, TensorBase) else returned._data
    tensors.clear()  # what only a slot holds may be changed in place
    for tensor in [ref() for ref in source._retaining or ()]:
        if tensor is not None and slots[tensor._index] is not None:
            accumulate(tensor, slots, tensor._index)


def deliver(tensor, slots, index):
    """Add the gradient in a slot, if there is one, to the tensor's .grad, and run its hooks."""
    if slots[index] is not None:
        accumulate(tensor, slots, index)
        if tensor._post_accumulate_hooks:
            for hook in list(tensor._post_accumulate_hooks.values()):
                hook(tensor)


def accumulate(tensor, slots, index):
    """tensor.grad += the gradient in a slot"""
    with _accumulating:  # two threads may meet at one leaf
        if tensor._grad is None:
            tensor._grad = as_own_tensor(tensor, slots, index)
        elif isinstance(slots[index], TensorBase):
            with enable_grad():
                tensor._grad = tensor._grad + slots[index]
        else:
            array = tensor._grad._data
            if array.shape != slots[index].shape:
                raise RuntimeError(
                    f"backward: a gradient of shape {tuple(slots[index].shape)} cannot be added to "
                    f"a .grad of shape {tuple(array.shape)}; set it to None first"
                )
            array += slots[index]
            changed(array, "backward")


def _new_lock():
    global _accumulating
    _accumulating = threading.RLock()


_new_lock()
if hasattr(os, "register_at_fork"):  # another thread of the parent may hold the lock for ever
    os.register_at_fork(after_in_child=_new_lock)


def as_own_tensor(tensor, slots, index):
    """The gradient of `tensor` in a slot, as a tensor that shares memory with nothing else."""
    g = slots[index]
    if isinstance(g, TensorBase):
        with enable_grad():
            return registry["clone"](g)
    del g
    if not held_by_slot_alone(slots, index):
        slots[index] = backend_of(slots[index]).asarray(slots[index], copy=True)
    return tensor._wrap(slots[index])


def held_by_slot_alone(slots, index):
    """True if nobody else holds the array or a view of it, so that it may be changed in place."""
    array = slots[index]
    if getattr(array, "base", array) is not None:
        return False
    del array
    return sys.getrefcount(slots[index]) <= _ONE_HOLDER


_ONE_HOLDER = (lambda slots: sys.getrefcount(slots[0]))([object()])  # of what a list alone holds
