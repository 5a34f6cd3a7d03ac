"""Views: tensors that show part of another tensor's memory, and whose history follows it."""

from ..backends import backend_of
from .base import TensorBase
from .modes import enable_grad


def _memory(array):
    """The array that owns the memory that `array` shows."""
    return backend_of(array).memory(array)


def _mark_view(base, result, step):
    """Remember that `result` shows part of the memory of `base`, and how to find it there."""
    if _memory(result._data) is _memory(base._data):
        result._base = base if base._base is None else base._base
        result._steps = base._steps, step
        result._seen = result._base._rewrites


def _view_again(steps, base):
    """The view of `base`, an array or a tensor, that the steps lead to."""
    in_order = []
    while steps is not None:
        steps, step = steps
        in_order.append(step)
    for call, args, params, i in reversed(in_order):
        if isinstance(base, TensorBase):
            base = call(base, *args, **params)
        else:
            base = call.function(base, *args, **params)[0]
        base = base if i is None else base[i]
    return base


def _follow(view):
    """Give a view the history of its base again, which was rewritten by a change in place."""
    base = view._base
    shapes = [rewrite for _, rewrite, _ in base._former if rewrite > view._seen]
    if len(shapes) == base._rewrites - view._seen:
        return  # nothing but the base's shape has changed
    if shapes:
        raise RuntimeError(
            f"a view of shape {tuple(view._data.shape)} has lost its history: its base was given "
            "another shape in place, and then changed in place; use the operations without the "
            "underscore"
        )
    view._seen = base._rewrites
    with enable_grad():
        _continue(view, _view_again(view._steps, view._base))


def _continue(tensor, new):
    """Give a tensor the history of another, and its retain_grad() to the new place."""
    if tensor._node is not None and tensor._node._keepers:
        for ref in [r for r in tensor._node._keepers if r() is tensor]:
            tensor._node._keepers.remove(ref)
            new._node._keepers = [*(new._node._keepers or ()), ref]
    tensor._node, tensor._index, tensor._needs_grad = new._node, new._index, new._needs_grad


def _edge(tensor):
    """Where a gradient of `tensor` goes: (node or leaf, index), None if it needs none."""
    if tensor._base is not None and tensor._seen != tensor._base._rewrites:
        _follow(tensor)
    return (tensor._node or tensor, tensor._index) if tensor._needs_grad else None


def whole(tensor):
    """The tensor that this one is a view of; itself, if it is none."""
    return tensor if tensor._base is None else tensor._base
