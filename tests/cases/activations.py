"""Activation functions."""

import math

import numpy as np

from .table import case, each, elementwise, find, sigmoid

each("relu", lambda x: np.maximum(x, 0))
each("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x))
case("leaky_relu", lambda x: np.where(x > 0, x, 0.2 * x), (3, 4), negative_slope=0.2)
each("elu", lambda x: np.where(x > 0, x, np.expm1(x)))
case("elu", lambda x: np.where(x > 0, x, 0.7 * np.expm1(x)), (3, 4), alpha=0.7)
each("sigmoid", sigmoid)
each("logsigmoid", lambda x: np.log(sigmoid(x)))
each("silu", lambda x: x * sigmoid(x))
each("softplus", lambda x: np.log1p(np.exp(x)))
case("softplus", lambda x: np.where(3 * x > 2, x, np.log1p(np.exp(3 * x)) / 3), (3, 4), beta=3,
     threshold=2)  # fmt: skip
each("gelu", elementwise(lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2))))
case(
    "gelu", elementwise(lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2))), (40,), domain=(-7.0, 7.0)
)
case("gelu", lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), (40,),
     domain=(-5.0, 5.0), approximate="tanh")  # fmt: skip
# (PyTorch's own celu and hardsigmoid have constants of float32 precision: test_op_db compares)
case("celu", lambda x: np.where(x > 0, x, 0.7 * np.expm1(x / 0.7)), (3, 4), torch=None, alpha=0.7)
case("selu", lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
     (3, 4))  # fmt: skip
case("prelu", lambda x, w: np.where(x > 0, x, w[:, None] * x), (2, 3, 4), (3,))
case("hardtanh", lambda x: np.clip(x, -1, 1), (3, 4),
     call=lambda m, x: find(m, "hardtanh")(x, -1.0, 1.0))  # fmt: skip
case("relu6", lambda x: np.clip(x, 0, 6), (3, 4), domain=(-3.0, 9.0))
case("hardsigmoid", lambda x: np.clip(x + 3, 0, 6) / 6, (3, 4), domain=(-5.0, 5.0), torch=None)
case("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6, (3, 4), domain=(-5.0, 5.0))
case("threshold", lambda x: np.where(x > 0.1, x, 7), (3, 4), threshold=0.1, value=7.0)
case("hardshrink", lambda x: np.where(abs(x) > 0.5, x, 0), (3, 4))
case("softshrink", lambda x: np.where(abs(x) > 0.5, x - np.sign(x) / 2, 0), (3, 4))
case("softsign", lambda x: x / (1 + abs(x)), (3, 4))
case("tanhshrink", lambda x: x - np.tanh(x), (3, 4))
case("mish", lambda x: x * np.tanh(np.log1p(np.exp(x))), (3, 4))
case("with_slope_zero", lambda y, x: y, (3, 4), (3, 4), torch=None)
case("glu", lambda x: x[:, :2] * sigmoid(x[:, 2:]), (3, 4), dim=1)
