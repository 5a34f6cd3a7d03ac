"""Counting and binning."""

import numpy as np

from .table import INDEX, case

case("bincount", lambda x: np.bincount(x, minlength=6), INDEX.ravel(), minlength=6)
case("searchsorted", lambda b, v: np.searchsorted(b, v), np.arange(5.0), (3, 4), whole=True)
case("searchsorted", lambda b, v: np.stack([np.searchsorted(r, x) for r, x in zip(b, v)]),
     np.cumsum(INDEX, 1), INDEX)  # fmt: skip
case("bucketize", lambda x, b: np.searchsorted(b, x, "right"), (3, 4), np.arange(-2.0, 2),
     right=True, whole=True)  # fmt: skip
case("isin", np.isin, INDEX, np.array([1, 3]))
case("unique", np.unique, INDEX)
case("unique", lambda x: np.unique(x, return_counts=True), INDEX, return_counts=True)
case("unique_consecutive", lambda x: ([0, 2, 1, 3, 0, 1], [1, 1, 2, 2, 1, 1]), INDEX,
     return_counts=True)  # fmt: skip
case("unravel_index", lambda x: np.unravel_index(x, (2, 3)), INDEX, shape=(2, 3))
case("histc", lambda x: np.histogram(x, 5, (-1, 1))[0].astype(float), (3, 4), bins=5, min=-1,
     max=1, whole=True)  # fmt: skip
case("histogram", lambda x: np.histogram(x, 5, density=True), (3, 4), bins=5, density=True,
     whole=True)  # fmt: skip
