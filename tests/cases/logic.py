"""Comparisons, logic and bits."""

import numpy as np

from .table import INDEX, MASK, case, each

each("eq", np.equal)
each("ne", np.not_equal)
each("lt", np.less)
each("le", np.less_equal)
each("gt", np.greater)
each("ge", np.greater_equal)
each("isnan", np.isnan)
each("isinf", np.isinf)
each("isfinite", np.isfinite)
each("logical_not", np.logical_not)
each("logical_and", np.logical_and)
each("logical_or", np.logical_or)
each("logical_xor", np.logical_xor)
case("bitwise_not", np.invert, INDEX)
case("bitwise_not", np.invert, MASK)
case("bitwise_and", np.bitwise_and, INDEX, INDEX[0])
case("bitwise_or", np.bitwise_or, INDEX, INDEX[0])
case("bitwise_xor", np.bitwise_xor, INDEX, 5)
case("bitwise_left_shift", np.left_shift, INDEX, INDEX[0])
case("bitwise_right_shift", np.right_shift, INDEX, INDEX[0])
each("isposinf", np.isposinf)
each("isneginf", np.isneginf)
each("isreal", np.isreal)
each("signbit", np.signbit)
case("isclose", lambda a, b: np.isclose(a, b, 0.5, 0.1), (3, 4), (3, 4), rtol=0.5, atol=0.1)
case("heaviside", np.heaviside, (3, 4), (3, 4))
