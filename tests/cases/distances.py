"""Distances."""

import math

import numpy as np

from .table import case, norm

case("dist", lambda a, b: norm(a - b, 3), (3, 4), (4,), p=3)
case("cdist", lambda a, b: norm(a[:, None] - b, 2, axis=-1), (3, 2), (4, 2))
case("cdist", lambda a, b: norm(a[:, None] - b, np.inf, axis=-1), (3, 2), (4, 2), p=math.inf)
