"""Operations in place: a tensor takes over the value and the history of a new one."""

import functools

from ..backends import backend_of
from .base import TensorBase, births, registry
from .modes import enable_grad, mode
from .saved import _changes, changed
from .views import _continue, _edge, _view_again, whole


def recorded_in_place(tensor, by, *values):
    """Whether changing `tensor` in place is to be recorded. RuntimeError where it cannot be."""
    if not mode.recording:
        return False
    needed = _edge(tensor) is not None
    base = whole(tensor)
    for t, what in ((tensor, "a leaf"), (base, "a view of a leaf")):
        if t._needs_grad and t._node is None:
            raise RuntimeError(
                f"{by}: {what} that requires a gradient cannot be changed in place; "
                "do it under no_grad(), or change a copy"
            )
    if base._needs_grad and not needed:
        raise RuntimeError(
            f"{by}: this view was made under no_grad(), so that changing it in place cannot be "
            "recorded; change it under no_grad(), or make the view outside"
        )
    return needed or any(isinstance(v, TensorBase) and _edge(v) is not None for v in values)


def in_place(tensor, by, function, *args, **params):
    """Let `tensor` become function(tensor, …), in its own memory; `by` names the operation.

    The history follows: of the tensor, of the tensor that it is a view of, and of other views.
    Raises RuntimeError for a leaf that requires a gradient, and where the result does not fit.
    """
    recorded = recorded_in_place(tensor, by, *args, *params.values())
    array = tensor._data
    old = tensor
    if recorded:  # the operation saves the old values, so they must not be overwritten
        old = tensor._alias(_edge(tensor))
        old._data = backend_of(array).asarray(array, copy=True)
    new = function(old, *args, **params)
    if tuple(new._data.shape) != tuple(array.shape):
        raise RuntimeError(
            f"{by}: the result has shape {tuple(new._data.shape)}, which a tensor of shape "
            f"{tuple(array.shape)} cannot become"
        )
    kinds = backend_of(array).dtype(new._data), backend_of(array).dtype(array)
    if kinds[0].rank > kinds[1].rank:
        raise RuntimeError(f"{by}: the result is {kinds[0]}, which a {kinds[1]} tensor cannot hold")
    write_array(array, new._data, by, noticed=not whole(tensor)._unnoticed)
    if not recorded:
        return tensor
    if kinds[0] is not kinds[1]:
        new = registry["cast"](new, kinds[1])
    base = whole(tensor)
    if tensor is not base or not new._needs_grad:  # what was there before gets no gradient
        view = functools.partial(_view_again, tensor._steps if tensor is not base else None)
        new = registry["write"](base._alias(_edge(base)), new, view)
    _continue(base, new)
    base._rewrites += 1
    return tensor


def reshaped_in_place(tensor, by, view, *args):
    """Let `tensor` become view(tensor, …), which shows the same memory under another shape.

    Raises RuntimeError for a leaf that requires a gradient.
    """
    recorded_in_place(tensor, by)
    with enable_grad():
        new = view(tensor._alias(_edge(tensor)) if tensor._base is None else tensor, *args)
    if tensor._base is not None:
        tensor._steps = new._steps
    else:
        tensor._rewrites += 1
    _changes.newest = number = next(births)
    tensor._former = (*tensor._former, (number, tensor._rewrites, tensor._data))
    tensor._data = new._data
    if tensor._node is not None:
        _continue(tensor, new)


def write_array(array, values, by, index=..., noticed=True):
    """array[index] = values, told to the engine."""
    try:
        backend_of(array).assign(array, index, values)
    except (ValueError, OverflowError) as error:
        told = f"{by}: {error}"
        if "read-only" in told:
            told = (
                f"{by}: this memory cannot be written: it is read-only, or expanded, so that "
                "several elements share one place; clone() the tensor first"
            )
        raise RuntimeError(told) from error
    if noticed:
        changed(array, by)
