"""Order and extremes with their positions: all of them pick elements by a sorted index."""

from collections import namedtuple

from ..autograd import Variable, op
from ..backends import xp
from .elementwise import maximum, minimum
from .indexing import gather, narrow
from .reductions import amax, amin, argmax, argmin
from .shapes import _positive, reshape

# ---- order ---------------------------------------------------------------------------


@op
def argsort(x, /, dim=-1, descending=False, stable=True):
    """The positions that put x in order, equals as they stand.    No derivative: positions."""
    if not x.shape:
        return xp(x).argsort(xp(x).reshape(x, (1,)))[0], None
    if not descending:
        return xp(x).argsort(x, axis=dim, stable=True), None
    # from the largest, equals still as they stand: sort the reversed row and read it backwards
    back = xp(x).argsort(xp(x).flip(x, axis=dim), axis=dim, stable=True)
    return x.shape[dim] - 1 - xp(x).flip(back, axis=dim), None


def sort(x, dim=-1, descending=False, stable=False):
    """(values, indices): x in order along `dim`."""
    order = argsort(x, dim, descending)
    return return_types.sort(gather(x, dim, order), order)


def topk(x, k, dim=-1, largest=True, sorted=True):
    """(values, indices): the k largest, or smallest, elements along `dim`, in order."""
    n = x.shape[_positive(dim, x.ndim)] if x.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: k = {k} is not within 0 … {n}, the size of dimension {dim}")
    order = argsort(x, dim, largest)
    if x.ndim:
        order = narrow(order, dim, 0, k)
    return return_types.topk(gather(x, dim, order), order)


def max(x, dim=None, keepdim=False):
    """The largest element; (values, indices) along `dim`; or the larger of two tensors."""
    return _extreme(x, dim, keepdim, amax, argmax, return_types.max)


def min(x, dim=None, keepdim=False):
    """The smallest element; (values, indices) along `dim`; or the smaller of two tensors."""
    return _extreme(x, dim, keepdim, amin, argmin, return_types.min)


def _extreme(x, dim, keepdim, of_all, position, result):
    if isinstance(dim, Variable):
        return (maximum if of_all is amax else minimum)(x, dim)
    if dim is None:
        return of_all(x)
    index = position(x, dim, True)
    values = gather(x, dim, index)
    if not keepdim and x.ndim:
        shape = tuple(n for d, n in enumerate(x.shape) if d != _positive(dim, x.ndim))
        values, index = reshape(values, shape), reshape(index, shape)
    return result(values, index)


class return_types:
    """What operations with two results return."""

    max, min, sort, topk = (
        namedtuple(name, ["values", "indices"]) for name in ("max", "min", "sort", "topk")
    )
