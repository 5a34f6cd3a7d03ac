"""Sums of NumPy's arrays that are accurate along every axis.

NumPy adds in pairs only along the fastest axis; along others it adds one by one, and a float32 that
has reached 2²⁴ no longer grows by adding 1. Here every axis is cut into blocks, the sums of blocks
into blocks again, and so on: the error grows with log n, not with n (N. J. Higham, The accuracy of
floating point summation, SIAM J. Sci. Comput. 14, 1993). The sum of a block is a product with ones,
at which BLAS is faster than NumPy's own loops.
"""

import math

import numpy as np

SMALL = 1 << 14  # elements that NumPy's own loops are quick enough for
ROW = 1 << 10  # terms of a block that lies in one row, where BLAS adds in several lanes
COLUMN = 1 << 7  # terms of any other block
ONES = {np.dtype(kind): np.ones(ROW, kind) for kind in (np.float32, np.float64, np.longdouble)}


def summed(x, axis, keepdims=False):
    """Σ of floating numbers over an axis, several, or all (None), in the dtype of x."""
    if x.dtype.itemsize == 2:
        return summed(x.astype(np.float32), axis, keepdims).astype(x.dtype)
    shape, size, n = x.shape, x.size, x.ndim
    axes = range(n) if axis is None else axis if type(axis) is tuple else (axis,)
    terms = math.prod([shape[d] for d in axes])
    few = size < SMALL and (terms <= COLUMN or terms == size and x.flags.forc)
    if few or terms <= 1 or len({d % n for d in axes}) < len(axes):  # twice one: an error
        return np.add.reduce(x, axis, None, None, keepdims)
    axes = {d % n for d in axes}
    x, repeated = _without_repetition(x, axes)
    order = sorted(range(n), key=lambda d: -abs(x.strides[d]))  # as x lies in memory
    y, goes = _merged(x.transpose(order), [d in axes for d in order])
    for d in reversed(range(y.ndim)):
        if goes[d]:
            y = sum_along(y, d)
    stays = [d for d in order if d not in axes]
    y = y.reshape([x.shape[d] for d in stays])
    y = y.transpose(sorted(range(len(stays)), key=stays.__getitem__))
    if repeated > 1:
        y = y * y.dtype.type(repeated)
    if x.shape != shape:
        y = np.broadcast_to(y, [shape[d] for d in sorted(stays)]).copy()
    return y.reshape([1 if d in axes else k for d, k in enumerate(shape)]) if keepdims else y


def _without_repetition(x, axes):
    """x with each axis that repeats one slice cut to that slice; how often `axes` repeat it."""
    if 0 not in x.strides:
        return x, 1
    again = [d for d, stride in enumerate(x.strides) if stride == 0]
    cut = tuple(slice(1) if d in again else slice(None) for d in range(x.ndim))
    return x[cut], math.prod(x.shape[d] for d in again if d in axes)


def _merged(x, flags):
    """x with axes of one flag that lie one within the other in memory made one; and the flags."""
    shape, strides, found = [], [], []
    for n, stride, flag in zip(x.shape, x.strides, flags):
        if n == 1:
            continue
        if found and found[-1] == flag and strides[-1] == n * stride:
            shape[-1], strides[-1] = shape[-1] * n, stride
        else:
            shape.append(n)
            strides.append(stride)
            found.append(flag)
    return x.reshape(shape), found


def sum_along(x, d):
    """Σ along axis d, which is counted from the front."""
    n = x.shape[d]
    blocks = -(-n // (ROW if d == x.ndim - 1 else COLUMN))
    if blocks <= 1:
        return _sum_of_block(x, d)
    size = n // blocks
    before, whole = (slice(None),) * d, blocks * size
    parts = x[(*before, slice(whole))]
    parts = parts.reshape(*x.shape[:d], blocks, size, *x.shape[d + 1 :])
    y = sum_along(_sum_of_block(parts, d + 1), d)
    return y if whole == n else y + sum_along(x[(*before, slice(whole, None))], d)


def _sum_of_block(x, d):
    """Σ along axis d, at once."""
    n, behind = x.shape[d], x.ndim - 1 - d
    if behind == 0:
        return x @ ONES[x.dtype][:n]
    if behind == 1 and n > 8:
        return ONES[x.dtype][:n] @ x
    return np.add.reduce(x, d)
