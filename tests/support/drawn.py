"""What the property tests draw: arrays, indices, shapes that broadcast, programs of views."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

sizes = st.integers(0, 4)
shapes = st.lists(sizes, max_size=4).map(tuple)


def numbers(shape, seed=0):
    """An array of small whole numbers, all different where there is room: sums are exact."""
    count = int(np.prod(shape))
    values = np.random.default_rng(seed).permutation(count).astype(np.float64) - 5
    return values.reshape(shape)


@st.composite
def indices(draw, shape, mixed=False):
    """An index of what NumPy and PyTorch both take: numbers, slices, None, …, lists, masks.

    Beside lists and masks there are numbers only if `mixed`: to NumPy a number is then a list of
    one, to PyTorch (and to us) it is not, and the dimensions may come out in another order.
    """
    parts, left = [], list(shape)
    numbers, arrays_too = (True, True) if mixed else draw(st.sampled_from([(1, 0), (0, 1)]))
    lists = draw(st.sampled_from([(), (2,), (3,), (2, 2), (0,)]))  # of one shape: they broadcast
    masked = False
    while left and draw(st.integers(0, 3)):
        size = left.pop(0)
        kind = draw(st.sampled_from(["number", "slice", "slice", "None", "list", "mask", "all"]))
        if kind == "number" and size and numbers:
            parts.append(draw(st.integers(-size, size - 1)))
        elif kind == "list" and arrays_too and (size or 0 in lists) and not masked:
            values = st.integers(-size, max(size - 1, 0))
            parts.append(draw(arrays(np.int64, lists, elements=values)))
        elif kind == "mask" and arrays_too and not any(isinstance(p, np.ndarray) for p in parts):
            masked = True
            dims = 1 + (bool(left) and draw(st.booleans()))
            mask = [size, *left[: dims - 1]]
            left = left[dims - 1 :]
            bits = draw(
                st.lists(st.booleans(), min_size=int(np.prod(mask)), max_size=int(np.prod(mask)))
            )
            parts.append(np.array(bits, bool).reshape(mask))
        elif kind == "None":
            parts.append(None)
            left.insert(0, size)
            if len(parts) > 5:
                break
        else:
            ends = st.none() | st.integers(-size - 1, size + 1)
            parts.append(slice(draw(ends), draw(ends), draw(st.sampled_from([None, 1, 2, 3]))))
    if draw(st.booleans()) and not any(p is ... for p in parts):
        parts.append(...)
    return tuple(parts)


@st.composite
def indexed(draw, mixed=False):
    """A shape and an index of it."""
    shape = draw(shapes)
    return shape, draw(indices(shape, mixed))


@st.composite
def broadcasting(draw):
    """Two shapes that broadcast."""
    shape = draw(shapes)

    def partner():
        kept = [n if draw(st.booleans()) else 1 for n in shape]
        return tuple(kept[draw(st.integers(0, len(kept))) :])

    return partner(), partner()


@st.composite
def reduced(draw):
    """A shape, some of its dimensions (None: all), and whether they are kept with size 1."""
    shape = draw(shapes)
    dims = draw(st.none() | st.sets(st.integers(0, max(len(shape) - 1, 0)), min_size=1))
    if not shape:
        dims = None
    if dims is not None:
        dims = tuple(d - len(shape) * draw(st.booleans()) for d in sorted(dims))
    return shape, dims, draw(st.booleans())


VIEWS = ["transpose", "permute", "slice", "unsqueeze", "squeeze", "select"]


@st.composite
def views(draw, steps=4):
    """A shape, and views to be taken of it, each of the one before: (name, arguments)."""
    shape = start = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple))
    program = []
    for _ in range(draw(st.integers(1, steps))):
        n = len(shape)
        kind = draw(
            st.sampled_from(["transpose", "permute", "slice", "unsqueeze", "squeeze", "select"])
        )
        if kind == "transpose" and n:
            args = draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))
            shape = list(shape)
            shape[args[0]], shape[args[1]] = shape[args[1]], shape[args[0]]
        elif kind == "permute" and n:
            args = tuple(draw(st.permutations(range(n))))
            shape = [shape[d] for d in args]
        elif kind == "slice" and n:
            d = draw(st.integers(0, n - 1))
            first, step = draw(st.integers(0, shape[d] - 1)), draw(st.integers(1, 2))
            args = d, first, step
            shape = [*shape[:d], len(range(first, shape[d], step)), *shape[d + 1 :]]
        elif kind == "unsqueeze" and n < 5:
            args = (draw(st.integers(0, n)),)
            shape = [*shape[: args[0]], 1, *shape[args[0] :]]
        elif kind == "squeeze" and 1 in shape:
            args = (draw(st.sampled_from([d for d in range(n) if shape[d] == 1])),)
            shape = [*shape[: args[0]], *shape[args[0] + 1 :]]
        elif kind == "select" and n:
            d = draw(st.integers(0, n - 1))
            args = d, draw(st.integers(0, shape[d] - 1))
            shape = [*shape[:d], *shape[d + 1 :]]
        else:
            continue
        program.append((kind, args))
    return start, program


def take_view(x, kind, args):
    """One step of `views`, on a tensor of either library."""
    if kind == "slice":
        d, first, step = args
        return x[(slice(None),) * d + (slice(first, None, step),)]
    if kind == "select":
        d, i = args
        return x[(slice(None),) * d + (i,)]
    return getattr(x, kind)(*args)


def numpy_view(x, kind, args):
    """The same on a NumPy array."""
    if kind == "slice":
        return take_view(x, kind, args)
    if kind == "select":
        return x[(slice(None),) * args[0] + (args[1], ...)]  # a view, of one number, too
    if kind == "transpose":
        return x.swapaxes(*args)
    if kind == "permute":
        return x.transpose(args)
    return np.expand_dims(x, *args) if kind == "unsqueeze" else np.squeeze(x, *args)
