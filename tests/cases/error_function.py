"""The error function."""

import math
from statistics import NormalDist

from .table import case, each, elementwise

each("erf", elementwise(math.erf))
case("erf", elementwise(math.erf), (40,), domain=(-7.0, 7.0))
each("erfc", elementwise(math.erfc))
case("erfc", elementwise(math.erfc), (40,), domain=(-7.0, 20.0))
case("erfinv", lambda x: elementwise(NormalDist().inv_cdf)((1 + x) / 2) / math.sqrt(2), (40,),
     domain=(-0.95, 0.95))  # fmt: skip
