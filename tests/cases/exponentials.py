"""Exponentials and logarithms."""

import numpy as np

from .table import POSITIVE, UNIT, case, each

each("exp", np.exp)
each("exp2", np.exp2)
each("expm1", np.expm1)
each("log", np.log, domain=POSITIVE)
each("log2", np.log2, domain=POSITIVE)
each("log10", np.log10, domain=POSITIVE)
each("log1p", np.log1p, domain=UNIT)
each("logaddexp", np.logaddexp)
each("xlogy", lambda x, y: x * np.log(y), domain=POSITIVE)
each("logit", lambda x: np.log(x / (1 - x)), domain=(0.1, 0.9))
case("logit", lambda x: np.log(x / (1 - x)), (3, 4), eps=0.3, domain=(0.4, 0.6))
