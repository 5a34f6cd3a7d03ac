"""Trigonometric and hyperbolic functions."""

import numpy as np

from .table import POSITIVE, UNIT, each

each("sinc", np.sinc, domain=POSITIVE)
each("sin", np.sin)
each("cos", np.cos)
each("tan", np.tan, domain=UNIT)
each("asin", np.arcsin, domain=UNIT)
each("acos", np.arccos, domain=UNIT)
each("atan", np.arctan)
each("atan2", np.arctan2)
each("sinh", np.sinh)
each("cosh", np.cosh)
each("tanh", np.tanh)
each("asinh", np.arcsinh)
each("acosh", np.arccosh, domain=(1.2, 3.0))
each("atanh", np.arctanh, domain=UNIT)
