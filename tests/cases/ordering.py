"""Sorting, and what needs an order."""

import numpy as np

from .table import case

case("cummax", lambda x: (np.maximum.accumulate(x, 1), [[0, 1, 1], [0, 0, 2]]),
     np.array([[1.0, 2, 0], [2, 1, 3]]), dim=1, whole=True)  # fmt: skip
case("cummin", lambda x: np.minimum.accumulate(x, 1), (3, 4), call=lambda m, x: m.cummin(x, 1)[0])
case("kthvalue", lambda x: (np.sort(x)[:, 1], x.argsort()[:, 1]), (3, 4), k=2)
case("median", lambda x: (np.sort(x)[:, 1], x.argsort()[:, 1]), (3, 4), dim=1)
case("median", lambda x: np.sort(x, None)[4], (3, 3))
case("nanmedian", lambda x: np.sort(x, None)[4], (3, 3))
case("mode", lambda x: (2.0, 3), np.array([3.0, 2, 1, 2]), whole=True)
case("msort", lambda x: np.sort(x, 0), (3, 4))
case("quantile", lambda x: np.quantile(x, 0.3, 1), (3, 4), q=0.3, dim=1)
case("quantile", lambda x: np.quantile(x, [0.2, 0.7]), (3, 4),
     call=lambda m, x: m.quantile(x, x.new_tensor([0.2, 0.7])))  # fmt: skip
case("nanquantile", lambda x: np.quantile(x, 0.3), (3, 4), q=0.3)
for dim in (0, -1):
    case("argsort", lambda x, d=dim: x.argsort(d), (3, 4), dim=dim)
    case("argsort", lambda x, d=dim: (-x).argsort(d), (3, 4), dim=dim, descending=True)
case("sort", lambda x: (np.sort(x), x.argsort()), (3, 4))
case("sort", lambda x: (-np.sort(-x, 0), (-x).argsort(0)), (3, 4), dim=0, descending=True)
case("topk", lambda x: (-np.sort(-x)[:, :2], (-x).argsort()[:, :2]), (3, 4), k=2)
case("topk", lambda x: (np.sort(x, 0)[:2], x.argsort(0)[:2]), (3, 4), k=2, dim=0, largest=False)
