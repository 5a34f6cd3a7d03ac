"""How NumPy arrays lie in memory: densely, repeated, or so that they can be written."""

import numpy as np


def is_dense(array):
    """True if the elements of an array fill a piece of memory without gaps, each one place."""
    step = array.itemsize
    for stride, size in sorted(zip(array.strides, array.shape)):
        if size != 1:
            if stride != step:
                return False
            step *= size
    return True


def repeats(array):
    """True if elements of an array share one place in memory, as expanded ones do."""
    return any(step == 0 and size > 1 for step, size in zip(array.strides, array.shape))


def writable(array, index, owner):
    """array[index], of an array that NumPy refuses to write because it is expanded, to be written.

    `owner` is the array that owns the memory. None if the index gives a copy, or the memory itself
    can only be read.
    """
    view = array[index]
    if isinstance(view, np.generic):  # one element
        view = array[(*index, ...) if isinstance(index, tuple) else (index, ...)]
    if not owner.flags.writeable or not owner.size or not np.may_share_memory(view, owner):
        return None
    at, first = (x.__array_interface__["data"][0] for x in (view, owner))
    return np.ndarray(
        view.shape, view.dtype, owner.reshape(-1, order="A"), at - first, view.strides
    )
