"""Arithmetic, rounding, and functions made of them."""

import numpy as np

from .table import POSITIVE, case, each

each("add", np.add)
case("add", lambda a, b: a + 3 * b, (3, 4), (4,), alpha=3)
case("add", lambda a, b: a + b, (3, 4), 2)
each("sub", np.subtract)
case("sub", lambda a, b: a - 3 * b, (3, 4), (4,), alpha=3)
each("mul", np.multiply)
each("div", np.divide, domain=POSITIVE)
case("div", lambda a, b: a / b, (3, 4), 4)
each("neg", np.negative)
each("pow", np.power, domain=POSITIVE)
for b in (-2, -1, -0.5, 0, 0.5, 1, 2, 3, 2.5):
    case("pow", np.power, (3, 4), float(b), domain=POSITIVE)
case("pow", lambda a: a**3, (3, 4), exponent=3, call=lambda m, a: a**3)
case("pow", lambda b: 2.0**b, (3, 4), call=lambda m, b: 2.0**b)
each("reciprocal", lambda x: 1 / x, domain=POSITIVE)
each("square", np.square)
each("sqrt", np.sqrt, domain=POSITIVE)
each("rsqrt", lambda x: 1 / np.sqrt(x), domain=POSITIVE)
each("abs", np.abs)
each("sign", lambda x: np.sign(x))  # but of a NaN, of which it is 0
each("maximum", np.maximum)
each("minimum", np.minimum)
case("clamp", np.clip, (3, 4), -1.0, 0.5)
case("clamp", lambda x: np.clip(x, -1, None), (3, 4), min=-1)
case("clamp", lambda x: np.clip(x, None, 1), (3, 4), max=1)
case("clamp", lambda x, a, b: np.minimum(np.maximum(x, a), b), (3, 4), (4,), (3, 1))
each("lerp", lambda a, b, w: a + w * (b - a))
case("lerp", lambda a, b, w: a + w * (b - a), (3, 4), (3, 4), 0.3)
each("remainder", np.remainder)
each("fmod", np.fmod)
each("floor_divide", np.floor_divide)
each("floor", np.floor)
each("ceil", np.ceil)
each("round", np.round)
case("round", lambda x: np.round(x, 2), (3, 4), decimals=2)
each("trunc", np.trunc)
each("frac", lambda x: x - np.trunc(x))
case("div", np.floor_divide, (3, 4), (4,), rounding_mode="floor")
case("rounded_quotient", lambda a, b: np.trunc(a / b), (3, 4), (4,), mode="trunc",
     torch=lambda m, a, b: m.div(a, b, rounding_mode="trunc"))  # fmt: skip
case("rsub", lambda a, b: b - 3 * a, (3, 4), (4,), alpha=3)
case("addcmul", lambda x, a, b: x + 3 * a * b, (3, 4), (3, 1), (4,), value=3)
case("addcdiv", lambda x, a, b: x + 3 * a / b, (3, 4), (3, 1), (4,), value=3, domain=POSITIVE)
case("positive", lambda x: x, (3, 4), shares=True)
case("float_power", np.power, (3, 4), (4,), domain=POSITIVE,
     call=lambda m, a, b: m.float_power(a, b).to(a.dtype))  # fmt: skip
case("ldexp", np.ldexp, (3, 4), np.array([1, 0, 2, 3]),
     call=lambda m, a, b: m.ldexp(a, b).to(a.dtype))  # fmt: skip
each("hypot", np.hypot)
each("copysign", np.copysign)
case("nextafter", np.nextafter, (2, 3), (3,), whole=True)
each("fmax", np.fmax)
each("fmin", np.fmin)
case("clamp_min", lambda x: np.maximum(x, 0.5), (3, 4), min=0.5)
case("clamp_max", lambda x: np.minimum(x, 0.5), (3, 4), max=0.5)
each("nan_to_num", np.nan_to_num)
case("logaddexp2", np.logaddexp2, (3, 4), (4,))
case("deg2rad", np.deg2rad, (3, 4))
case("rad2deg", np.rad2deg, (3, 4))
