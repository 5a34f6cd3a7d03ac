"""Where gradients arrive: hooks are run, and `.grad` is added to."""

import sys
import threading

from ..backends import backend_of
from .base import TensorBase, registry
from .modes import enable_grad
from .saved import changed


class Leaf:
    """What PyTorch has for a leaf among the nodes: where gradients are added to `variable.grad`."""

    next_functions = ()

    def __init__(self, variable):
        self.variable = variable

    def __eq__(self, other):
        return isinstance(other, Leaf) and other.variable is self.variable

    def __hash__(self):
        return id(self.variable)

    def name(self):
        """PyTorch's name of it."""
        return "AccumulateGrad"


def _run_hooks(place, slots):
    """Run the hooks, each of which may return another gradient; then retain_grad's turn comes."""
    for index, hook, wrap in list((place._hooks or {}).values()):
        g = slots[index]
        if g is not None:
            told = hook(g if isinstance(g, TensorBase) else wrap(g))
            if told is None:
                continue
            if not isinstance(told, TensorBase):
                raise TypeError(
                    f"hook: a Tensor or None is to be returned, got {type(told).__name__}"
                )
            if told._data.shape != g.shape:
                raise RuntimeError(
                    f"hook: a gradient of shape {tuple(g.shape)} was replaced by one of shape "
                    f"{tuple(told._data.shape)}"
                )
            slots[index] = told if isinstance(g, TensorBase) else told._data
    for tensor in [ref() for ref in place._keepers or ()]:
        if tensor is not None and slots[tensor._index] is not None:
            _accumulate(tensor, slots, tensor._index)


def _arrive(tensor, slots, index):
    """The gradient in a slot, if there is one, has reached the tensor that it is for."""
    if slots[index] is not None:
        _accumulate(tensor, slots, index)
        if tensor._after:
            for hook in list(tensor._after.values()):
                hook(tensor)


def _accumulate(tensor, slots, index):
    """tensor.grad += gradient"""
    with _accumulating:  # two threads may meet at one leaf
        if tensor._grad is None:
            tensor._grad = _own(tensor, slots, index)
        elif isinstance(slots[index], TensorBase):
            with enable_grad():
                tensor._grad = tensor._grad + slots[index]
        else:
            array = tensor._grad._data
            array += slots[index]
            changed(array, "backward")


_accumulating = threading.RLock()


def _own(tensor, slots, index):
    """The gradient of `tensor` in a slot, as a tensor that shares memory with nothing else."""
    g = slots[index]
    if isinstance(g, TensorBase):
        with enable_grad():
            return registry["clone"](g)
    del g
    if not _owned(slots, index):
        slots[index] = backend_of(slots[index]).asarray(slots[index], copy=True)
    return tensor._wrap(slots[index])


def _owned(slots, index):
    """Whether nobody else holds the array or a view of it, so that it may be changed in place."""
    array = slots[index]
    if getattr(array, "base", array) is not None:
        return False
    del array
    return sys.getrefcount(slots[index]) <= _ALONE


_ALONE = (lambda slots: sys.getrefcount(slots[0]))([object()])  # of what a list alone holds
