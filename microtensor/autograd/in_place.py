"""Operations in place: a tensor takes over the value and the history of a new one."""

import functools

from ..backends import backend_of
from .base import TensorBase, registry, sequence
from .modes import enable_grad, mode
from .saved import changed, changes
from .views import (
    base_of,
    became_its_own,
    check_overlap,
    edge_of,
    may_overlap,
    shares_memory,
    take_history,
    take_steps,
)

# operations in place that move elements: what they write must not be read, not even in its place
MOVING = {"scatter_", "scatter_add_", "scatter_reduce_", "index_add_", "index_copy_", "index_put_",
          "put_"}  # fmt: skip
# operations whose result PyTorch computes before it is written, or of whose values it reads one
APART = {"addmm_", "addmv_", "addr_", "addbmm_", "baddbmm_", "index_fill_", "cumsum_", "cumprod_",
         "masked_scatter_", "setitem"}  # fmt: skip


def in_place(tensor, by, function, *args, **params):
    """Let `tensor` become function(tensor, …), in its own memory; `by` names the operation.

    The history follows: of the tensor, of the tensor that it is a view of, and of other views.
    Raises RuntimeError for a leaf that requires a gradient, and where the result does not fit.
    """
    recorded = recorded_in_place(tensor, by, *args, *params.values())
    if by not in APART:
        check_overlap(tensor, (*args, *params.values()) if params else args, by, by in MOVING)
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


def assign(tensor, by, index, value):
    """tensor[index] = value, a tensor or a number. Returns the tensor.

    Raises RuntimeError for a leaf that requires a gradient, and for a value on another device, of
    another shape, or that lies in the memory to be written.
    """
    if isinstance(value, TensorBase) and value.device != tensor.device:
        raise RuntimeError(f"{by}: the value is on {value.device}, the tensor on {tensor.device}")
    recorded = recorded_in_place(tensor, by, value)
    whole, read = tensor, isinstance(value, TensorBase) and value.ndim
    if recorded and tensor._base is not None or read and may_overlap(tensor, value):
        part = registry["getitem"](tensor, index)  # what is written, if it is a view
        is_view = index is ... or shares_memory(part, tensor)
        check_overlap(part if is_view else tensor, (value,), by, alike=not is_view)
        if is_view:
            tensor, index = part, ...
    while isinstance(value, TensorBase) and value.shape[:1] == (1,):  # leading ones are dropped
        value = value[0]
    if recorded:
        in_place(tensor, by, registry["setitem"], value, index)
    else:
        value = value._data if isinstance(value, TensorBase) else value
        write_array(tensor._data, value, by, index, noticed=not base_of(tensor)._untracked)
    return whole


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
    if tensor._inference and not mode.inference:
        raise RuntimeError(
            f"{by}: a tensor made under inference_mode() cannot be changed in place outside of it; "
            "clone() it first"
        )
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
    recorded = needed or any(isinstance(v, TensorBase) and edge_of(v) is not None for v in values)
    fixed = tensor._fixed is not None and (recorded or base._needs_grad)
    del base, t
    if fixed and not became_its_own(tensor):
        raise RuntimeError(
            f"{by}: this view {tensor._fixed}, so that changing it in place cannot be recorded; "
            "use the operation without the underscore, or change it under no_grad()"
        )
    return recorded


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
