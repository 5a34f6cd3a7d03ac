"""Indexing, and setting by an index."""

import numpy as np

from microtensor.autograd import registry

from .table import INDEX, MASK, ONCE, POSITIVE, case, numpy_index, put_array

case("diagonal", np.diagonal, (3, 4))
case("diagonal", lambda x: np.diagonal(x, 1, 2, 0), (3, 2, 4), offset=1, dim1=2, dim2=0)
case("diagonal", lambda x: np.diagonal(x, -3), (3, 4), offset=-3)
BACKWARDS = [(slice(None), slice(None, 0, -1)), (slice(2, None, -1), ..., slice(None, None, -2))]
for index in [
    *BACKWARDS, 1, -1, slice(1, None), slice(None, None, 2), slice(-9, 9), slice(2, 1), None, ...,
    (), True, (..., 1), (0, ..., None), (1, 2, 3), (slice(None), None, 2), [0, 1, 1],
    (slice(None), [2, 0, 2]), ([0, 1], [2, 2]), ([0, 1], slice(None), [3, 0]),
    ([[0], [1]], [0, 2, 1]), (..., [1, 1]), ([1, 0], slice(1, 3), [3, 0]),
    (slice(None), [0, 0], slice(1, 4, 2)), ([],), (None, [1], ..., -1),
]:  # fmt: skip
    case("getitem", lambda x, i=index: x[numpy_index(i)], (2, 3, 4),
         call=lambda m, x, i=index: x[i],
         torch=None if index in BACKWARDS else True)  # fmt: skip
    case("put_at", lambda v, i=index: put_array(v, (2, 3, 4), numpy_index(i)),
         np.empty((2, 3, 4))[numpy_index(index)].shape, torch=None,
         call=lambda m, v, i=index: m.ops.put_at(
             v, (2, 3, 4), m.ops.plain_index(i, v.new_zeros(2, 3, 4))))  # fmt: skip
case("getitem", lambda x, i: x[i], (4, 3), INDEX, call=lambda m, x, i: x[i])
case("getitem", lambda x, m: x[m], (3, 4), MASK, call=lambda m, x, i: x[i])
case("getitem", lambda x, m: x[m], (3, 4, 2), MASK, call=lambda m, x, i: x[i])
case("getitem", lambda x, m: x[:, m], (2, 3, 4), MASK, call=lambda m, x, i: x[:, i])
case("getitem", lambda x, m: x[:, m, [0, 1]], (2, 3, 4), MASK[:, 0],
     call=lambda m, x, i: x[:, i, [0, 1]])  # fmt: skip
case("getitem", lambda x, i: x[i], (3, 4), np.array(1), call=lambda m, x, i: x[i])
case("getitem", lambda x, i: x[:, i], (3, 4), np.array(-1), call=lambda m, x, i: x[:, i])
case("getitem", lambda x, i: x[i, 1:], (3, 4), np.array([-1, 0]), call=lambda m, x, i: x[i, 1:])
case("getitem", lambda x: x[0, 1:3][:, [3, 0]], (2, 3, 4), call=lambda m, x: x[0, 1:3, [3, 0]])
case("getitem", lambda x: x[:, :, 1][[1, 0, 0]], (2, 3, 4), call=lambda m, x: x[[1, 0, 0], ..., 1])


def with_set(x, value, index):
    x = x + 0
    x[index] = value
    return x


def set_to(index):
    return lambda m, x, value: with_set(x, value, index)


for index, shape in [
    (1, (4,)), ((slice(None), 2), ()), (slice(1, None), (1, 4)), ((0, -1), ()), (..., (4,)),
    ((..., slice(None, None, 2)), (3, 2)), ([2, 0], (2, 4)), (([0, 1], [1, 1]), (2,)),
    ((slice(1, 3), [3, 0]), (2, 1)), ((None, 1), (4,)),
]:  # fmt: skip
    case("setitem", lambda x, v, i=index: with_set(x, v, i), (3, 4), shape, call=set_to(index))
case(
    "setitem", lambda x, i: with_set(x, 5, i), (3, 4), MASK, call=lambda m, x, i: with_set(x, 5, i)
)
case("setitem", with_set, (3, 4), (8,), MASK, call=lambda m, *xs: with_set(*xs))
case("write", lambda x, v: np.concatenate([x[:1], v]), (3, 4), (2, 4), torch=None,
     call=lambda m, x, v: registry["write"](x, v, lambda a: a[1:, ...]))  # fmt: skip
case("select", lambda x: x[:, 2], (3, 4), dim=1, index=2)
case("narrow", lambda x: x[:, 1:3], (3, 4), dim=1, start=1, length=2)
case("index_select", lambda x, i: x[:, i], (3, 4), INDEX[0],
     call=lambda m, x, i: m.index_select(x, 1, i))  # fmt: skip
case("masked_select", lambda x, m: x[m], (3, 4), MASK)
case("masked_fill", lambda x, m: np.where(m, 7, x), (3, 4), MASK, value=7)
case("masked_fill", lambda x, m, v: np.where(m, v, x), (3, 4), MASK, ())
case("masked_fill", lambda x, m: np.where(m, 7, x), (2, 3, 1), MASK, value=7)
case("where", np.where, MASK, (3, 4), (4,))
case("where", np.where, MASK, (3, 4), 2.0)
case("where", np.nonzero, MASK)
case("nonzero", lambda m: np.argwhere(m), MASK)
case("argwhere", np.argwhere, MASK)
case("nonzero", np.nonzero, MASK, as_tuple=True)
case("take_along_dim", lambda x, i: x[:, i[0]], (3, 4), INDEX[:1],
     call=lambda m, x, i: m.take_along_dim(x, i, dim=1))  # fmt: skip
case("take_along_dim", lambda x, i: x.ravel()[i.ravel()], (3, 4), INDEX)


def gather(x, index, dim):
    out = np.empty(index.shape, x.dtype)
    for at in np.ndindex(index.shape):
        out[at] = x[(*at[:dim], index[at], *at[dim + 1 :])]
    return out


def scatter(x, index, source, dim, add=False):
    out = x.copy()
    for at in np.ndindex(index.shape):
        to = (*at[:dim], index[at], *at[dim + 1 :])
        out[to] = source[at] + out[to] * add
    return out


def largest(x, index, source):
    """What scatter_reduce with "amax" makes of x along dim 1."""
    out = x.copy()
    for row, column in np.ndindex(index.shape):
        out[row, index[row, column]] = max(out[row, index[row, column]], source[row, column])
    return out


for dim, index, twice in ((1, ONCE, INDEX), (0, ONCE.T[:, :1] % 3, INDEX % 3)):
    case("gather", lambda x, i, d=dim: gather(x, i, d), (3, 4), twice,
         call=lambda m, x, i, d=dim: m.gather(x, d, i))  # fmt: skip
    case("scatter", lambda x, i, s, d=dim: scatter(x, i, s, d), (3, 4), index, index.shape,
         call=lambda m, x, i, s, d=dim: m.scatter(x, d, i, s))  # fmt: skip
    case("scatter", lambda x, i, d=dim: scatter(x, i, np.full((3, 4), 0.5), d), (3, 4), index,
         call=lambda m, x, i, d=dim: m.scatter(x, d, i, 0.5))  # fmt: skip
    case("scatter_add", lambda x, i, s, d=dim: scatter(x, i, s, d, True),
         (3, 4), twice, twice.shape,
         call=lambda m, x, i, s, d=dim: m.scatter_add(x, d, i, s))  # fmt: skip
# sources larger than their index, of which PyTorch has no derivative
case("scatter", lambda x, i, s: scatter(x, i, s, 1), (3, 4), ONCE, (3, 4), torch=None,
     call=lambda m, x, i, s: m.scatter(x, 1, i, s))  # fmt: skip
case("scatter_amax", lambda x, i, s: largest(x, i, s), (3, 4), INDEX, (3, 4), torch=None,
     call=lambda m, x, i, s: m.scatter_reduce(x, 1, i, s, "amax"))  # fmt: skip
case("scatter_reduce", lambda x, i, s: largest(x, i, s), (3, 4), INDEX, (3, 4), torch=None,
     call=lambda m, x, i, s: m.scatter_reduce(x, 1, i, s, "amax"))  # fmt: skip
case("scatter_add", lambda x, i, s: scatter(x, i, s, 1, True), (3, 4), INDEX, (3, 4), torch=None,
     call=lambda m, x, i, s: m.scatter_add(x, 1, i, s))  # fmt: skip
# (PyTorch warns of it)
case("scatter", lambda x, i, s: x * (1 + (i == np.arange(3)[:, None]) * (s - 1)), (3, 4),
     ONCE[:1, [0, 0, 2, 2]], (1, 4), torch=None,
     call=lambda m, x, i, s: m.scatter(x, 0, i, s, reduce="multiply"))  # fmt: skip


def windows_added(w):
    """What `unfold` along dim 1 with size 3 and step 2 takes from (2, 7, 2), added up again."""
    out = np.zeros((2, 7, 2))
    for i in range(3):
        out[:, 2 * i : 2 * i + 3] += w[:, i].swapaxes(1, 2)
    return out


def multiplied(x, index, source):
    """What scatter_reduce with "prod" makes of x along dim 1."""
    out = x.copy()
    for row, column in np.ndindex(index.shape):
        out[row, index[row, column]] *= source[row, column]
    return out


case("unfold", lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 1)[:, ::2], (2, 7, 2),
     call=lambda m, x: x.unfold(1, 3, 2))  # fmt: skip
case("fold_windows", windows_added, (2, 3, 2, 3), torch=None,
     call=lambda m, w: registry["fold_windows"](w, (2, 7, 2), 1, 3, 2))  # fmt: skip
case("scatter_multiply", multiplied, (3, 4), INDEX, (3, 4), torch=None, domain=POSITIVE,
     call=lambda m, x, i, s: m.scatter_reduce(x, 1, i, s, "prod"))  # fmt: skip
