"""Views: tensors that show part of another tensor's memory, and share its history.

A view knows its base and the view operations that lead from the base to it. When the base, or
another view of it, is changed in place, the base gets a new history; a view then takes the steps
again, from the base as it is now, the next time somebody asks where its gradient goes.
"""

import sys
from types import SimpleNamespace

from ..backends import backend_of
from .base import TensorBase
from .modes import enable_grad


def memory_of(array):
    """The array that owns the memory that `array` shows."""
    return backend_of(array).memory(array)


def base_of(tensor):
    """The tensor that this one is a view of; itself, if it is none."""
    return tensor if tensor._base is None else tensor._base


SEVERAL = "is one of several views that one operation made"
UNRECORDED = "was made under no_grad() or inference_mode()"
OF_FUNCTION = (
    "is a view, or an input as it was, that an autograd.Function or a module's hook returned"
)


def mark_view(tensor, result, step, recording):
    """Note that `result` is a view of `tensor`, if it does show the same memory.

    `step` is the operation that made it: (operation, arguments, parameters, which of its results).
    """
    if tensor._inference:
        result._inference = result._inference or shares_memory(result, tensor)
    elif memory_of(result._data) is memory_of(tensor._data):
        result._inference = False
        result._base = base_of(tensor)
        result._view_steps = tensor._view_steps, step
        result._base_history_version = result._base._history_version
        if tensor._fixed is not None or step[3] is not None or not recording:
            result._fixed = tensor._fixed or (UNRECORDED if step[3] is None else SEVERAL)


def became_its_own(view):
    """Make a view that was not recorded a tensor of its own, if nobody else holds its base.

    So it is with functions made of operations, of which the last shows what another made: the
    values of `max`. In PyTorch these are no views. Returns whether it was so.
    """
    if view._fixed is not UNRECORDED or sys.getrefcount(view._base) > _ONE_HOLDER:
        return False
    view._base = view._view_steps = view._fixed = None
    return True


_ONE_HOLDER = (lambda view: sys.getrefcount(view.base))(SimpleNamespace(base=object()))


def mark_fixed(tensor, result):
    """Note that `result`, which a Function made of `tensor`, shows the same memory."""
    result._base, result._fixed = base_of(tensor), OF_FUNCTION
    result._base_history_version = result._base._history_version


def is_stale(tensor):
    """True if the base of this view has got another history since the view last looked."""
    base = tensor._base
    return base is not None and tensor._base_history_version != base._history_version


def shares_memory(tensor, other):
    """True if two tensors show the memory of one array."""
    return memory_of(tensor._data) is memory_of(other._data)


def may_overlap(tensor, other):
    """True if two tensors show one memory, be it other parts of it; False as soon as possible."""
    if tensor._base is None and other._base is None and tensor._data is not other._data:
        return False
    return shares_memory(tensor, other)


def check_overlap(target, values, by, alike=False):
    """Raise RuntimeError where values lie in the memory that is written, as PyTorch does.

    The very elements that are written are fine, unless `alike` says that they are moved about.
    Both must lie densely in memory: of others PyTorch cannot tell. Here all are read first.
    """
    for v in values:
        if not isinstance(v, TensorBase) or v is target and not alike:
            continue
        if v._base is target._base is None and v._data is not target._data:
            continue  # as in may_overlap, without a call
        if shares_memory(v, target) and backend_of(v._data).overlap(target._data, v._data, alike):
            raise RuntimeError(
                f"{by}: some elements that are read and some that are written refer to a single "
                "memory location; clone() one of the tensors first"
            )


def take_steps(steps, base):
    """The view that the steps lead to from `base`, which is an array or a tensor."""
    in_order = []
    while steps is not None:
        steps, step = steps
        in_order.append(step)
    for operation, args, params, i in reversed(in_order):
        if isinstance(base, TensorBase):
            base = operation(base, *args, **params)
        else:
            base = operation.function(base, *args, **params)[0]
        base = base if i is None else base[i]
    return base


def edge_of(tensor):
    """The edge that a gradient of `tensor` takes: (node or leaf, index); None if it needs none."""
    if is_stale(tensor):
        refresh(tensor)
    return (tensor._node or tensor, tensor._index) if tensor._needs_grad else None


def as_it_was(value, edge):
    """An input of an operation with the history that it had then; what is no tensor as it is."""
    if not isinstance(value, TensorBase) or not is_stale(value) and edge == edge_of(value):
        return value
    return value._alias(edge)


def refresh(view):
    """Bring a view's history up to date with that of its base, which was changed in place."""
    base, last_seen = view._base, view._base_history_version
    reshapes = sum(version > last_seen for _, version, _ in base._reshapes)
    if reshapes == base._history_version - last_seen:
        return  # nothing but the base's shape has changed
    if reshapes:
        raise RuntimeError(
            f"a view of shape {tuple(view._data.shape)} has lost its history: its base was given "
            "another shape in place, and then changed in place; use the operations without the "
            "underscore"
        )
    if view._fixed is not None:
        raise RuntimeError(
            f"a view of shape {tuple(view._data.shape)} {view._fixed}, and its base or another "
            "view of it was changed in place since, so that it has lost its history; make it anew, "
            "or clone() it before the change"
        )
    view._base_history_version = base._history_version
    with enable_grad():
        take_history(view, take_steps(view._view_steps, base))


def take_history(tensor, other):
    """Give a tensor the place of another in the graph; its retain_grad() moves there with it."""
    if tensor._node is not None and tensor._node._retaining:
        for ref in [r for r in tensor._node._retaining if r() is tensor]:
            tensor._node._retaining.remove(ref)
            other._node._retaining = [*(other._node._retaining or ()), ref]
    tensor._node, tensor._index = other._node, other._index
    tensor._needs_grad = other._needs_grad
