"""How the tensors of a file lie in memory, where that is more than one after the other.

Every tensor stands in a file whole and in row-major order, for any program to read. Where tensors
share memory, or one is not in row-major order, the file says beside them how they lay:

    "memory": {"x": [0, 0, [4, 1]], "x_transposed": [0, 0, [1, 4]]}

These are, by name, the number of a memory, the element at which the tensor begins in it, and its
strides in elements. A memory reaches as far as its tensors do, and `laid_out` puts their numbers
into it. It is no more than COPIES times as large as they are: tensors in a larger one are saved
apart, those that overlap together, and what is still too wide is saved without its place.
"""

import math

import numpy as np

from ..backends import backend_of
from ..backends.bfloat16 import BFloat16Array

COPIES = 4  # a memory may take so many times the bytes that its tensors take in the file
ENTRY = 128  # bytes of a tensor there besides its numbers: its name, sizes and strides


def layout(arrays):
    """{name: [memory, start, strides]} of those arrays, by name, that need it."""
    memories, table, count = {}, {}, 0
    for name, array in arrays.items():
        place = backend_of(array).place(array) if array.size else None
        if place is not None:
            memory, start = place
            held = array.wide if isinstance(array, BFloat16Array) else array
            span = sum((n - 1) * step for n, step in zip(held.shape, held.strides)) + held.itemsize
            if not any(v % held.itemsize for v in (start, *held.strides)):
                key = id(memory), str(array.dtype)
                memories.setdefault(key, []).append((start, start + span, name, array))
    for shown in memories.values():
        whole = 0, max(stop for _, stop, *_ in shown), shown
        for begin, stop, members in [whole] if fits(*whole) else together(shown):
            alone = len(members) == 1 and backend_of(members[0][3]).is_contiguous(members[0][3])
            if alone or not fits(begin, stop, members):
                continue
            for start, _, name, array in members:
                itemsize = 4 if isinstance(array, BFloat16Array) else array.itemsize
                strides = [int(step) for step in backend_of(array).strides(array)]
                table[name] = [count, (start - begin) // itemsize, strides]
            count += 1
    return table


def fits(begin, stop, members):
    """Whether the bytes from `begin` to `stop` are few enough for these tensors."""
    taken = sum(array.size * itemsize(array) + ENTRY for *_, array in members)
    return stop - begin <= COPIES * taken


def itemsize(array):
    """Bytes of an element in a file."""
    return 2 if isinstance(array, BFloat16Array) else array.itemsize


def together(shown):
    """(first byte, end, members) for each run of tensors that overlap."""
    runs = []
    for member in sorted(shown, key=lambda member: member[:2]):
        start, stop = member[:2]
        if runs and start < runs[-1][1]:
            begin, end, members = runs[-1]
            runs[-1] = begin, max(end, stop), [*members, member]
        else:
            runs.append((start, stop, [member]))
    return runs


def laid_out(arrays, table, charge):
    """The arrays of a file, by name, those in the table in their memories.

    `charge` is told the bytes of each memory before it is made, and refuses too many. Raises
    ValueError, TypeError or LookupError for a table that makes no sense.
    """
    memories = {}
    if type(table) is not dict:
        raise TypeError(f"a {type(table).__name__} in place of a table of memories")
    for name, (number, start, strides) in table.items():
        array = arrays[name]
        if type(strides) is not list or len(strides) != array.ndim or not array.size:
            raise ValueError("a tensor whose strides are not those of its sizes")
        if not all(type(n) is int and 0 <= n < 2**63 for n in (number, start, *strides)):
            raise ValueError("a tensor in a place that makes no sense")
        stop = start + sum((n - 1) * step for n, step in zip(array.shape, strides)) + 1
        memories.setdefault(number, []).append((name, array, start, strides, stop))
    found = dict(arrays)
    for members in memories.values():
        held = [(a.wide if isinstance(a, BFloat16Array) else a) for _, a, *_ in members]
        if len({(type(a), a.dtype) for _, a, *_ in members}) > 1:
            raise ValueError("tensors of several dtypes in one memory")
        size, width = max(member[-1] for member in members), held[0].itemsize
        charge(size * width)
        memory = np.zeros(size, held[0].dtype)
        for (name, array, start, strides, _), numbers in zip(members, held):
            steps = [step * width for step in strides]
            view = np.ndarray(numbers.shape, memory.dtype, memory, start * width, steps)
            view[...] = numbers
            view.flags.writeable = (
                math.prod(n for n, step in zip(view.shape, steps) if not step) == 1
            )
            found[name] = BFloat16Array(view) if array is not numbers else view
    return found
