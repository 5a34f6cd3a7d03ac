"""Operations in place: a tensor takes over the value and the history of a new one."""

import functools

from ..backends import backend_of
from .base import TensorBase, registry, sequence
from .modes import enable_grad, mode
from .saved import changed, changes
from .views import base_of, edge_of, take_history, take_steps


def in_place(tensor, by, function, *args, **params):
    """Let `tensor` become function(tensor, …), in its own memory; `by` names the operation.

    The history follows: of the tensor, of the tensor that it is a view of, and of other views.
    Raises RuntimeError for a leaf that requires a gradient, and where the result does not fit.
    """
    recorded = recorded_in_place(tensor, by, *args, *params.values())
    array = tensor._data
    old = tensor
    if recorded:  # the operation saves the old values, so they must not be overwritten
        old = tensor._alias(edge_of(tensor))
        old._data = backend_of(array).asarray(array, copy=True)
    new = function(old, *args, **params)
    if tuple(new._data.shape) != tuple(array.shape):
        raise RuntimeError(
            f"{by}: the result has shape {tuple(new._data.shape)}, which a tensor of shape "
            f"{tuple(array.shape)} cannot become"
        )
    new_dtype, dtype = backend_of(array).dtype(new._data), backend_of(array).dtype(array)
    if new_dtype.rank > dtype.rank:
        raise RuntimeError(f"{by}: the result is {new_dtype}, which a {dtype} tensor cannot hold")
    write_array(array, new._data, by, noticed=not base_of(tensor)._untracked)
    if not recorded:
        return tensor
    if new_dtype is not dtype:
        new = registry["cast"](new, dtype)
    take_over(tensor, new)
    return tensor


def take_over(tensor, new):
    """Give a tensor that was changed in place, and its base, the history of `new`."""
    base = base_of(tensor)
    if tensor is not base or not new._needs_grad:  # what was there before gets no gradient
        view = functools.partial(take_steps, tensor._view_steps if tensor is not base else None)
        new = registry["write"](base._alias(edge_of(base)), new, view)
    take_history(base, new)
    base._history_version += 1


def recorded_in_place(tensor, by, *values):
    """True if changing `tensor` in place is to be recorded. RuntimeError where it cannot be."""
    if not mode.recording:
        return False
    needed = edge_of(tensor) is not None
    base = base_of(tensor)
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
    return needed or any(isinstance(v, TensorBase) and edge_of(v) is not None for v in values)


def reshaped_in_place(tensor, by, view, *args):
    """Let `tensor` become view(tensor, …), which shows the same memory under another shape.

    Raises RuntimeError for a leaf that requires a gradient.
    """
    recorded_in_place(tensor, by)
    with enable_grad():
        new = view(tensor._alias(edge_of(tensor)) if tensor._base is None else tensor, *args)
    if tensor._base is not None:
        tensor._view_steps = new._view_steps
    else:
        tensor._history_version += 1
    changes.newest = number = next(sequence)
    tensor._reshapes = (*tensor._reshapes, (number, tensor._history_version, tensor._data))
    tensor._data = new._data
    if tensor._node is not None:
        take_history(tensor, new)


def write_array(array, values, by, index=..., noticed=True):
    """array[index] = values; `by` names the operation, which the engine notes unless not `noticed`.

    Raises RuntimeError where the values do not fit, or the memory cannot be written.
    """
    try:
        backend_of(array).assign(array, index, values)
    except (ValueError, OverflowError) as error:
        reason = str(error)
        if "read-only" in reason:
            reason = (
                "this memory cannot be written: it is read-only, or expanded, so that several "
                "elements share one place; clone() the tensor first"
            )
        raise RuntimeError(f"{by}: {reason}") from error
    if noticed:
        changed(array, by)
