"""The gamma function and its derivatives."""

import math

import numpy as np

from .table import case, elementwise

case("polygamma", lambda x: 120 * ((x[..., None] + np.arange(2000)) ** -6.0).sum(-1), (3, 4),
     domain=(1.0, 20.0), n=5, call=lambda m, x: m.polygamma(5, x))  # fmt: skip
case("lgamma", elementwise(math.lgamma), (3, 4), domain=(0.1, 20.0))
case("digamma", lambda x: np.log(x + 2000) - 1 / (2 * x + 4000) - 1 / (12 * (x + 2000) ** 2)
     - (1 / (x[..., None] + np.arange(2000))).sum(-1), (3, 4), domain=(0.5, 20.0),
     torch=None)  # fmt: skip  # PyTorch's has 9 digits
case("polygamma", elementwise(math.lgamma), (3, 4), n=-1, domain=(0.1, 20.0),
     call=lambda m, x: m.lgamma(x))  # fmt: skip
