"""Order and extremes with their positions: all of them pick elements by a sorted index."""

from ..autograd import op
from ..backends import xp

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
