"""Copies and other dtypes and devices."""

import numpy as np

from microtensor.autograd import registry

from .table import case, each

case("cast", lambda x: x.astype(np.int32), (3, 4), call=lambda m, x: x.to(m.int32), whole=True)
case(
    "cast", np.copy, (3, 4), call=lambda m, x: registry["cast"](x, x.dtype), torch=None
).shares = True
each("clone", np.copy)
case(
    "contiguous", np.copy, (3, 4), call=lambda m, x: registry["contiguous"](x), torch=None
).shares = True
each("detach", lambda x: x, shares=True)
case("transfer", lambda x: x, (3, 4), call=lambda m, x: registry["transfer"](x, "cpu"), torch=None)
