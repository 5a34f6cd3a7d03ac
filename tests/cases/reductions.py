"""Sums, means, extremes and running totals."""

import math

import numpy as np

from .table import MASK, case, norm

for dim in (None, 0, -1, (0, 2), (2, 0, 1)):
    for keepdim in (False, True):
        how = {"dim": dim, "keepdim": keepdim}
        numpy = {"axis": dim, "keepdims": keepdim}
        case("sum", lambda x, n=numpy: x.sum(**n), (2, 3, 4), **how)
        case("mean", lambda x, n=numpy: x.mean(**n), (2, 3, 4), **how)
        case("var", lambda x, n=numpy: x.var(ddof=1, **n), (2, 3, 4), **how)
        case("std", lambda x, n=numpy: x.std(ddof=1, **n), (2, 3, 4), **how)
        some = how if dim is not None else {**how, "dim": ()}
        case("amax", lambda x, n=numpy: x.max(**n), (2, 3, 4), **some)
        case("amin", lambda x, n=numpy: x.min(**n), (2, 3, 4), **some)
        case("any", lambda x, n=numpy: (x > 1).any(**n), (2, 3, 4),
             call=lambda m, x, h=how: m.any(x > 1, **h))  # fmt: skip
        case("all", lambda x, n=numpy: (x > 1).all(**n), (2, 3, 4),
             call=lambda m, x, h=how: m.all(x > 1, **h))  # fmt: skip
        some = how if dim is not None else {**how, "dim": (0, 1, 2)}
        case("logsumexp", lambda x, n=numpy: np.log(np.exp(x).sum(**n)), (2, 3, 4), **some)
        for p in (0, 0.5, 1, 2, 3, math.inf, -math.inf):
            case("vector_norm", lambda x, n=numpy, p=p: norm(x, p, **n), (2, 3, 4), ord=p, **how)
        if not isinstance(dim, tuple):
            case("prod", lambda x, n=numpy: x.prod(**n), (2, 3, 4), **how,
                 torch=lambda m, x, h=how, d=dim: x.prod(**h) if d is not None
                 else x.prod().reshape((1,) * (3 * h["keepdim"])))  # fmt: skip
            case("argmax", lambda x, n=numpy: x.argmax(**n), (2, 3, 4), **how)
            case("argmin", lambda x, n=numpy: x.argmin(**n), (2, 3, 4), **how)
case("sum", lambda x: x.sum(0), (0, 3), dim=0)
case("sum", lambda x: x.sum(1), (0, 3), dim=1)
case("sum", lambda x: x.sum(), ())
case("sum", lambda x: x.sum(), MASK)
case("prod", lambda x: x.prod(0), (0, 3), dim=0)
case("prod", lambda x: x.prod(), ())
case("mean", lambda x: x.mean(1), (0, 3), dim=1)
case("var", lambda x: x.var(1), (3, 4), dim=1, correction=0)
case("std", lambda x: x.std(1), (3, 4), dim=1, correction=0)
case("norm", lambda x: norm(x, 2), (3, 4))
case("norm", lambda x: norm(x, 1, axis=1), (3, 4), p=1, dim=1)
case("max", lambda x: x.max(), (3, 4))
case("min", lambda x: x.min(), (3, 4))
case("max", lambda x: (x.max(1), x.argmax(1)), (3, 4), dim=1)
case("min", lambda x: (x.min(0, keepdims=True), x.argmin(0, keepdims=True)), (3, 4), dim=0,
     keepdim=True)  # fmt: skip
case("max", np.maximum, (3, 4), (4,))
case("min", np.minimum, (3, 4), (4,))
case("count_nonzero", lambda x: np.count_nonzero(x > 0), (3, 4),
     call=lambda m, x: m.count_nonzero(x > 0))  # fmt: skip
case("count_nonzero", lambda x: np.count_nonzero(x > 0, axis=1), (3, 4),
     call=lambda m, x: m.count_nonzero(x > 0, dim=1))  # fmt: skip
case("nansum", lambda x: x.sum(1), (3, 4), dim=1)
case("nanmean", lambda x: x.mean(1), (3, 4), dim=1)
case("var_mean", lambda x: (x.var(1), x.mean(1)), (3, 4), dim=1, correction=0)
case("std_mean", lambda x: (x.std(1), x.mean(1)), (3, 4), dim=1, correction=0)
case("diff", lambda x: np.diff(x, 2, 0), (4, 3), n=2, dim=0)
case("logcumsumexp", lambda x: np.logaddexp.accumulate(x, 1), (3, 5), dim=1)
case("gradient", lambda x: np.gradient(x), (3, 4))
case("gradient", lambda x: np.gradient(x, 2.0, axis=1, edge_order=2), (3, 4), spacing=2.0, dim=1,
     edge_order=2)  # fmt: skip
case("trapezoid", lambda y: ((y[:, 1:] + y[:, :-1]) / 2 * 3).sum(1), (3, 4), dx=3)
case("cumulative_trapezoid", lambda y: ((y[:, 1:] + y[:, :-1]) / 2).cumsum(1), (3, 4))
case("aminmax", lambda x: (x.min(1), x.max(1)), (3, 4), dim=1)
case("sum_to_size", lambda x: x.sum((0, 2))[:, None], (2, 3, 4),
     call=lambda m, x: x.sum_to_size(3, 1))  # fmt: skip
for dim in (0, -1):
    case("cumsum", lambda x, d=dim: x.cumsum(d), (3, 4), dim=dim)
    case("cumprod", lambda x, d=dim: x.cumprod(d), (3, 4), dim=dim)
