"""Windows that slide over signals and images: convolution and pooling.

Inputs are (N, C, *S) with sizes S of one, two or any number of dimensions. A window of *k* places
in each dimension, K in all, stands at P positions. Everything below is made of two operations, each
the derivative of the other: taking the windows out, and adding them back where they came from.
"""

import itertools

from ..autograd import op
from ..backends import backend_of, xp


@op
def windows_(x, /, sizes, steps, spread):
    """All windows: (N, C, K, *P) of (N, C, *S).    ∂x = g folded"""
    places = _places(x.shape[2:], sizes, steps, spread)
    y = xp(x).stack([x[p] for p in places], axis=2)
    return y, lambda g: _folded(g, x.shape, places)


@op
def fold_(w, /, shape, sizes, steps, spread):
    """Windows (N, C, K, *P) added up to (N, C, *shape).    ∂w = the windows of g"""
    places = _places(shape, sizes, steps, spread)
    y = _folded(w, (*w.shape[:2], *shape), places)
    return y, lambda g: xp(g).stack([g[p] for p in places], axis=2)


@op(several=True)
def max_pool_(x, /, sizes, steps, spread):
    """The largest of each window, the first among equals, and its place 0 … K − 1.    ∂x = g there

    No more than one window's worth of memory at a time.
    """
    places, best, which = _places(x.shape[2:], sizes, steps, spread), None, None
    for k, p in enumerate(places):
        if k == 0:
            best = xp(x).asarray(x[p], copy=True)
            which = xp(x).astype(xp(x).zeros_like(best), xp(x).int64)
        else:
            larger = (x[p] > best) | (x[p] != x[p])  # a NaN is never forgotten
            best = backend_of(x).where(larger, x[p], best)
            which = backend_of(x).where(larger, k, which)

    def pull(gs):
        there = [backend_of(x).where(which == k, gs[0], 0.0) for k in range(len(places))]
        return _folded(xp(x).stack(there, axis=2), x.shape, places)

    return (best, which), pull


def _places(shape, sizes, steps, spread):
    """For each place of the window, in order, where it goes as the window slides: an index of x."""
    lines = []
    for n, size, step, far in zip(shape, sizes, steps, spread, strict=True):
        count = _count(n, size, step, far)
        lines.append([slice(k * far, k * far + (count - 1) * step + 1, step) for k in range(size)])
    return [(slice(None), slice(None), *line) for line in itertools.product(*lines)]


def _count(n, size, step, far):
    """The number of windows that fit in n: `size` elements, `far` apart, one every `step`."""
    if far < 1 or step < 1:
        raise RuntimeError(f"stride and dilation are above 0, got {step} and {far}")
    count = (n - far * (size - 1) - 1) // step + 1
    if count < 1:
        raise RuntimeError(f"a window of {far * (size - 1) + 1} does not fit into a size of {n}")
    return count


def _folded(w, shape, places):
    y = backend_of(w).put(w[:, :, 0, ...], tuple(shape), places[0])
    for k, p in enumerate(places[1:], 1):
        y[p] = y[p] + w[:, :, k, ...]
    return y
