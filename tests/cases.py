"""The table of operations: a line for each, with what it must compute. It drives every check.

    each("exp", np.exp)                                  an operation on every element
    case("sum", lambda x: x.sum(1), (3, 4), dim=1)       any other: reference, inputs, parameters

An input is a shape, filled with numbers of `domain`, an array of indices or a mask, which becomes a
tensor too, or anything else, which is passed on. The function is `mt.<name>`, unless `call` says
how to call it with the package (ours or torch) and the inputs. The reference takes the inputs as
NumPy arrays. `torch` is how PyTorch says it, where its signature is another; None: it does not.
"""

import inspect
import itertools
import math
import zlib
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

import microtensor as mt
from microtensor.autograd import registry


@dataclass
class Case:
    name: str
    reference: object
    inputs: tuple
    params: dict
    domain: tuple = (-2.0, 2.0)
    call: object = None
    torch: object = True
    each: bool = False  # on every element: any shape will do, and several shapes broadcast
    whole: bool = False  # the result is made of whole numbers, so nothing can be differentiated
    shares: bool = False  # the result may show the memory of an input
    half: bool = True  # float16 will do; LAPACK has none
    id: str = field(default="")

    def __call__(self, m, *inputs):
        """The result, from microtensor or from torch, as a tuple."""
        if m is mt or self.torch is True:
            call = self.call or (lambda m, *xs: find(m, self.name)(*xs, **self.params))
        else:
            call = self.torch
        out = call(m, *inputs)
        return tuple(out) if isinstance(out, (tuple, list)) else (out,)

    def expected(self, arrays):
        """The result by the reference, as a tuple."""
        out = self.reference(*arrays)
        return tuple(out) if isinstance(out, (tuple, list)) else (out,)

    def arrays(self, dtype="float64", shapes=None):
        """The inputs as NumPy arrays, the same at every call, those of floats in one dtype."""
        random = np.random.default_rng(zlib.crc32(self.id.encode()))
        shapes = iter(shapes or [i for i in self.inputs if isinstance(i, tuple)])

        def array(i):
            if isinstance(i, tuple):
                i = np.asarray(random.uniform(*self.domain, next(shapes)))
            return i.astype(dtype) if getattr(i, "dtype", None) == np.float64 else i

        return [array(i) for i in self.inputs]

    def tensors(self, device="cpu", dtype="float64", requires_grad=False, arrays=None):
        """The inputs as tensors; those filled with numbers may require gradients."""
        return [
            mt.tensor(a, device=device, requires_grad=requires_grad and isinstance(i, tuple))
            if isinstance(a, np.ndarray)
            else a
            for a, i in zip(self.arrays(dtype) if arrays is None else arrays, self.inputs)
        ]

    @property
    def differentiable(self):
        """Whether floats go in and derivatives come out; of an operation its docstring says it."""
        doc = registry[self.name].__doc__ if self.name in registry else ""
        floats = any(isinstance(i, tuple) for i in self.inputs)
        return floats and not self.whole and "No derivative" not in doc


def find(m, name):
    """The function of microtensor or torch with this name."""
    if m is mt:
        return getattr(mt.ops, name, None) or getattr(mt, name, None) or registry[name]
    for place in (m, m.nn.functional, m.linalg, m.Tensor):
        if hasattr(place, name):
            return getattr(place, name)
    raise AttributeError(f"torch has no {name}")


CASES = []


def case(name, reference, *inputs, call=None, torch=True, domain=(-2.0, 2.0), **params):
    flags = {flag: params.pop(flag, False) for flag in ("whole", "shares")}
    if call and torch is True:
        torch = call
    number = sum(c.name == name for c in CASES)
    made = Case(name, reference, inputs, params, domain, call, torch, **flags)
    made.id = f"{name}-{number}" if number else name
    CASES.append(made)
    return made


def each(name, reference, **options):
    made = case(name, reference, **options)
    made.each = True
    made.inputs = ((3, 4),) * len(registry[name].input_names)
    return made


def elementwise(function):
    """A reference on every element, from a function of Python floats."""
    n = len(inspect.signature(function).parameters)
    made = np.frompyfunc(function, n, 1)
    return lambda *xs: np.asarray(made(*xs)).astype(np.result_type(*xs, np.float16))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x, p, **how):
    x = np.abs(x)
    if p == 0:
        return (x != 0).sum(**how).astype(x.dtype)
    if math.isinf(p):
        return x.max(**how) if p > 0 else x.min(**how)
    return (x**p).sum(**how) ** (1 / p)


def _numpy_index(index):
    """An empty list as integers, and lists in a tuple as arrays, as PyTorch takes them."""
    if isinstance(index, tuple):
        return tuple(map(_numpy_index, index))
    return np.array(index, np.int64) if isinstance(index, list) else index


def _put(values, shape, index):
    out = np.zeros(shape, values.dtype)
    np.add.at(out, index, values)
    return out


def _replaced(x, index, value):
    x = x.copy()
    x[index] = value
    return x


MASK = np.array([[True, False, True, False], [False, False, True, True], [True] * 4])
INDEX = np.array([[0, 2, 1, 1], [3, 3, 0, 1]])  # fits (3, 4) along dim 1, smaller along dim 0
POSITIVE, UNIT = (0.3, 3.0), (-0.9, 0.9)

# ---- arithmetic ----------------------------------------------------------------------

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

# ---- exponentials, logarithms, trigonometry ------------------------------------------

each("exp", np.exp)
each("exp2", np.exp2)
each("expm1", np.expm1)
each("log", np.log, domain=POSITIVE)
each("log2", np.log2, domain=POSITIVE)
each("log10", np.log10, domain=POSITIVE)
each("log1p", np.log1p, domain=UNIT)
each("logaddexp", np.logaddexp)
case("logaddexp2", np.logaddexp2, (3, 4), (4,))
each("xlogy", lambda x, y: x * np.log(y), domain=POSITIVE)
each("logit", lambda x: np.log(x / (1 - x)), domain=(0.1, 0.9))
case("logit", lambda x: np.log(x / (1 - x)), (3, 4), eps=0.3, domain=(0.4, 0.6))
each("sinc", np.sinc, domain=POSITIVE)
case("deg2rad", np.deg2rad, (3, 4))
case("rad2deg", np.rad2deg, (3, 4))
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

# ---- activations ---------------------------------------------------------------------

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
each("erf", elementwise(math.erf))
case("erf", elementwise(math.erf), (40,), domain=(-7.0, 7.0))
each("erfc", elementwise(math.erfc))
case("erfc", elementwise(math.erfc), (40,), domain=(-7.0, 20.0))
case("erfinv", lambda x: elementwise(NormalDist().inv_cdf)((1 + x) / 2) / math.sqrt(2), (40,),
     domain=(-0.95, 0.95))  # fmt: skip
case("polygamma", lambda x: 120 * ((x[..., None] + np.arange(2000)) ** -6.0).sum(-1), (3, 4),
     domain=(1.0, 20.0), n=5, call=lambda m, x: m.polygamma(5, x))  # fmt: skip
case("lgamma", elementwise(math.lgamma), (3, 4), domain=(0.1, 20.0))
case("digamma", lambda x: np.log(x + 2000) - 1 / (2 * x + 4000) - 1 / (12 * (x + 2000) ** 2)
     - (1 / (x[..., None] + np.arange(2000))).sum(-1), (3, 4), domain=(0.5, 20.0),
     torch=None)  # fmt: skip  # PyTorch's has 9 digits
case("polygamma", elementwise(math.lgamma), (3, 4), n=-1, domain=(0.1, 20.0),
     call=lambda m, x: m.lgamma(x))  # fmt: skip
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
case("glu", lambda x: x[:, :2] * sigmoid(x[:, 2:]), (3, 4), dim=1)

# ---- comparisons, logic, bits --------------------------------------------------------

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

# ---- conversion ----------------------------------------------------------------------

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

# ---- sums, means, extremes -----------------------------------------------------------

for dim in (None, 0, -1, (0, 2), (2, 0, 1)):
    for keepdim in (False, True):
        how = {"dim": dim, "keepdim": keepdim}
        numpy = {"axis": dim, "keepdims": keepdim}
        case("sum", lambda x, n=numpy: x.sum(**n), (2, 3, 4), **how)
        case("mean", lambda x, n=numpy: x.mean(**n), (2, 3, 4), **how)
        case("var", lambda x, n=numpy: x.var(ddof=1, **n), (2, 3, 4), **how)
        case("std", lambda x, n=numpy: x.std(ddof=1, **n), (2, 3, 4), **how)
        some = how if dim is not None else {**how, "dim": ()}
        case("amax", lambda x, n=numpy: x.max(**n), (2, 3, 4), **some)
        case("amin", lambda x, n=numpy: x.min(**n), (2, 3, 4), **some)
        case("any", lambda x, n=numpy: (x > 1).any(**n), (2, 3, 4),
             call=lambda m, x, h=how: m.any(x > 1, **h))  # fmt: skip
        case("all", lambda x, n=numpy: (x > 1).all(**n), (2, 3, 4),
             call=lambda m, x, h=how: m.all(x > 1, **h))  # fmt: skip
        some = how if dim is not None else {**how, "dim": (0, 1, 2)}
        case("logsumexp", lambda x, n=numpy: np.log(np.exp(x).sum(**n)), (2, 3, 4), **some)
        for p in (0, 0.5, 1, 2, 3, math.inf, -math.inf):
            case("vector_norm", lambda x, n=numpy, p=p: norm(x, p, **n), (2, 3, 4), ord=p, **how)
        if not isinstance(dim, tuple):
            case("prod", lambda x, n=numpy: x.prod(**n), (2, 3, 4), **how,
                 torch=lambda m, x, h=how, d=dim: x.prod(**h) if d is not None
                 else x.prod().reshape((1,) * (3 * h["keepdim"])))  # fmt: skip
            case("argmax", lambda x, n=numpy: x.argmax(**n), (2, 3, 4), **how)
            case("argmin", lambda x, n=numpy: x.argmin(**n), (2, 3, 4), **how)


case("sum", lambda x: x.sum(0), (0, 3), dim=0)
case("sum", lambda x: x.sum(1), (0, 3), dim=1)
case("sum", lambda x: x.sum(), ())
case("sum", lambda x: x.sum(), MASK)
case("prod", lambda x: x.prod(0), (0, 3), dim=0)
case("prod", lambda x: x.prod(), ())
case("mean", lambda x: x.mean(1), (0, 3), dim=1)
case("var", lambda x: x.var(1), (3, 4), dim=1, correction=0)
case("std", lambda x: x.std(1), (3, 4), dim=1, correction=0)
case("norm", lambda x: norm(x, 2), (3, 4))
case("norm", lambda x: norm(x, 1, axis=1), (3, 4), p=1, dim=1)
case("max", lambda x: x.max(), (3, 4))
case("min", lambda x: x.min(), (3, 4))
case("max", lambda x: (x.max(1), x.argmax(1)), (3, 4), dim=1)
case("min", lambda x: (x.min(0, keepdims=True), x.argmin(0, keepdims=True)), (3, 4), dim=0,
     keepdim=True)  # fmt: skip
case("max", np.maximum, (3, 4), (4,))
case("min", np.minimum, (3, 4), (4,))
case("count_nonzero", lambda x: np.count_nonzero(x > 0), (3, 4),
     call=lambda m, x: m.count_nonzero(x > 0))  # fmt: skip
case("count_nonzero", lambda x: np.count_nonzero(x > 0, axis=1), (3, 4),
     call=lambda m, x: m.count_nonzero(x > 0, dim=1))  # fmt: skip
case("nansum", lambda x: x.sum(1), (3, 4), dim=1)
case("nanmean", lambda x: x.mean(1), (3, 4), dim=1)
case("var_mean", lambda x: (x.var(1), x.mean(1)), (3, 4), dim=1, correction=0)
case("std_mean", lambda x: (x.std(1), x.mean(1)), (3, 4), dim=1, correction=0)
case("diff", lambda x: np.diff(x, 2, 0), (4, 3), n=2, dim=0)
case("trace", np.trace, (3, 4))
case("logcumsumexp", lambda x: np.logaddexp.accumulate(x, 1), (3, 5), dim=1)
case("trapezoid", lambda y: ((y[:, 1:] + y[:, :-1]) / 2 * 3).sum(1), (3, 4), dx=3)
case("cumulative_trapezoid", lambda y: ((y[:, 1:] + y[:, :-1]) / 2).cumsum(1), (3, 4))
case("cov", np.cov, (3, 5))
case("corrcoef", lambda x: np.corrcoef(x)[0, 1:], (3, 5), call=lambda m, x: m.corrcoef(x)[0, 1:])
case("vander", np.vander, (4,), torch=None)  # PyTorch's has no derivative: it changes in place
case("aminmax", lambda x: (x.min(1), x.max(1)), (3, 4), dim=1)
case("cummax", lambda x: (np.maximum.accumulate(x, 1), [[0, 1, 1], [0, 0, 2]]),
     np.array([[1.0, 2, 0], [2, 1, 3]]), dim=1, whole=True)  # fmt: skip
case("cummin", lambda x: np.minimum.accumulate(x, 1), (3, 4), call=lambda m, x: m.cummin(x, 1)[0])
case("kthvalue", lambda x: (np.sort(x)[:, 1], x.argsort()[:, 1]), (3, 4), k=2)
case("median", lambda x: (np.sort(x)[:, 1], x.argsort()[:, 1]), (3, 4), dim=1)
case("median", lambda x: np.sort(x, None)[4], (3, 3))
case("nanmedian", lambda x: np.sort(x, None)[4], (3, 3))
case("mode", lambda x: (2.0, 3), np.array([3.0, 2, 1, 2]), whole=True)
case("msort", lambda x: np.sort(x, 0), (3, 4))
case("quantile", lambda x: np.quantile(x, 0.3, 1), (3, 4), q=0.3, dim=1)
case("quantile", lambda x: np.quantile(x, [0.2, 0.7]), (3, 4),
     call=lambda m, x: m.quantile(x, x.new_tensor([0.2, 0.7])))  # fmt: skip
case("nanquantile", lambda x: np.quantile(x, 0.3), (3, 4), q=0.3)

# ---- counting ------------------------------------------------------------------------

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

# ---- order and running totals --------------------------------------------------------

for dim in (0, -1):
    case("cumsum", lambda x, d=dim: x.cumsum(d), (3, 4), dim=dim)
    case("cumprod", lambda x, d=dim: x.cumprod(d), (3, 4), dim=dim)
    case("argsort", lambda x, d=dim: x.argsort(d), (3, 4), dim=dim)
    case("argsort", lambda x, d=dim: (-x).argsort(d), (3, 4), dim=dim, descending=True)
case("sort", lambda x: (np.sort(x), x.argsort()), (3, 4))
case("sort", lambda x: (-np.sort(-x, 0), (-x).argsort(0)), (3, 4), dim=0, descending=True)
case("topk", lambda x: (-np.sort(-x)[:, :2], (-x).argsort()[:, :2]), (3, 4), k=2)
case("topk", lambda x: (np.sort(x, 0)[:2], x.argsort(0)[:2]), (3, 4), k=2, dim=0, largest=False)

# ---- shapes --------------------------------------------------------------------------

case("reshape", lambda x: x.reshape(4, 6), (2, 3, 4), shape=(4, -1))
case("reshape", lambda x: x.reshape(()), (1, 1), shape=())
case("reshape", lambda x: x.reshape(3, 0), (0, 3), shape=(3, 0))
case("permute", lambda x: x.transpose(2, 0, 1), (2, 3, 4), dims=(2, 0, -2))
case("permute", lambda x: x, (), dims=())
case("transpose", lambda x: x.swapaxes(0, 2), (2, 3, 4), dim0=0, dim1=-1)
case("movedim", lambda x: np.moveaxis(x, (0, 1), (2, 0)), (2, 3, 4), source=(0, 1),
     destination=(2, 0))  # fmt: skip
case(
    "expand", lambda x: np.broadcast_to(x, (2, 3, 4)), (3, 1), call=lambda m, x: x.expand(2, -1, 4)
)
case("expand", lambda x: np.broadcast_to(x, (0, 3)), (1, 3), call=lambda m, x: x.expand(0, 3))
case("squeeze", lambda x: x.squeeze(), (1, 3, 1))
case("squeeze", lambda x: x.squeeze(0), (1, 3, 1), dim=0)
case("squeeze", lambda x: x.squeeze(0), (1, 3, 1), dim=(0, 1))
case("unsqueeze", lambda x: x[:, None], (3, 4), dim=1)
case("unsqueeze", lambda x: x[..., None], (3, 4), dim=-1)
case("flatten", lambda x: x.reshape(2, 12, 5), (2, 3, 4, 5), start_dim=1, end_dim=2)
case("flatten", lambda x: x.reshape(1), ())
case("unflatten", lambda x: x.reshape(3, 2, 2), (3, 4), dim=1, sizes=(2, -1))
case("cat", lambda a, b: np.concatenate([a, b], 1), (3, 4), (3, 2),
     call=lambda m, *x: m.cat(x, dim=1))  # fmt: skip
case("cat", lambda a, b: a, (3, 4), (0,), call=lambda m, *x: m.cat(x, dim=1) * 1)
case("stack", lambda a, b: np.stack([a, b], -1), (3, 4), (3, 4),
     call=lambda m, *x: m.stack(x, dim=-1))  # fmt: skip
case("split", lambda x: (x[:, :3], x[:, 3:6], x[:, 6:]), (2, 7), split_size_or_sections=3, dim=1)
case("split", lambda x: (x[:1], x[1:1], x[1:]), (4, 2), split_size_or_sections=[1, 0, 3])
case("chunk", lambda x: (x[:, :3], x[:, 3:6], x[:, 6:]), (2, 7), chunks=3, dim=1)
case("unbind", lambda x: tuple(x), (3, 4))
case("unbind", lambda x: tuple(x.T), (3, 4), dim=-1)
case("repeat", lambda x: np.tile(x, (2, 1, 3)), (3, 2), call=lambda m, x: x.repeat(2, 1, 3))
case("tile", lambda x: np.tile(x, 2), (3, 4), dims=(2,), call=lambda m, x: x.tile(2))
case("roll", lambda x: np.roll(x, 5), (3, 4), shifts=5)
case("roll", lambda x: np.roll(x, (1, -2), (0, 1)), (3, 4), shifts=(1, -2), dims=(0, 1))
case("flip", lambda x: x[::-1, :, ::-1], (2, 3, 4), call=lambda m, x: m.flip(x, (0, 2)))
for diagonal in (-1, 0, 2):
    case("tril", lambda x, k=diagonal: np.tril(x, k), (2, 3, 4), diagonal=diagonal)
    case("triu", lambda x, k=diagonal: np.triu(x, k), (2, 3, 4), diagonal=diagonal)
case("broadcast_tensors", np.broadcast_arrays, (3, 1), (4,))
case("diagonal", np.diagonal, (3, 4))
case("diagonal", lambda x: np.diagonal(x, 1, 2, 0), (3, 2, 4), offset=1, dim1=2, dim2=0)
case("diagonal", lambda x: np.diagonal(x, -3), (3, 4), offset=-3)

# ---- arrangements --------------------------------------------------------------------

for name in ("conj", "real"):
    case(name, lambda x: x, (3, 4), shares=True)
case("ravel", np.ravel, (3, 4), shares=True)
case("broadcast_to", lambda x: np.broadcast_to(x, (2, 3, 4)), (3, 1), size=(2, 3, 4), shares=True)
case("atleast_1d", np.atleast_1d, (), shares=True)
case("atleast_2d", np.atleast_2d, (3,), shares=True)
case("atleast_3d", np.atleast_3d, (3, 4), shares=True)
for name in ("hstack", "vstack", "dstack", "column_stack"):
    for shape in ((3,), (3, 2)):
        case(name, lambda *x, n=name: getattr(np, n)(x), shape, shape,
             call=lambda m, *x, n=name: getattr(m, n)(x))  # fmt: skip
case("block_diag", lambda a, b: np.block([[a, np.zeros((2, 1))], [np.zeros((3, 3)), b]]),
     (2, 3), (3, 1))  # fmt: skip
case("split_with_sizes", lambda x: (x[:, :1], x[:, 1:]), (3, 4), split_sizes=(1, 3), dim=1)
case("tensor_split", lambda x: np.array_split(x, 3), (7, 2),
     call=lambda m, x: m.tensor_split(x, 3))  # fmt: skip
case("tensor_split", lambda x: np.array_split(x, (1, 5), 1), (2, 7),
     call=lambda m, x: m.tensor_split(x, (1, 5), dim=1))  # fmt: skip
for name in ("hsplit", "vsplit", "dsplit"):
    case(name, lambda x, n=name: getattr(np, n)(x, 2), (2, 4, 6),
         call=lambda m, x, n=name: getattr(m, n)(x, 2))  # fmt: skip
case("meshgrid", lambda *x: np.meshgrid(*x, indexing="ij"), (2,), (3,), indexing="ij")
case("meshgrid", lambda *x: np.meshgrid(*x, indexing="xy"), (2,), (3,), indexing="xy")
case("cartesian_prod", lambda a, b: np.stack([np.repeat(a, 3), np.tile(b, 2)], 1), (2,), (3,))
case("combinations", lambda x: np.stack([x[[0, 0, 1]], x[[1, 2, 2]]], 1), (3,))
case("fliplr", np.fliplr, (3, 4))
case("flipud", np.flipud, (3, 4))
for k in range(4):
    case("rot90", lambda x, k=k: np.rot90(x, k, (2, 0)), (2, 3, 4), k=k, dims=(2, 0))
case("repeat_interleave", lambda x: np.repeat(x, 2), (2, 3), repeats=2)
case("repeat_interleave", lambda x, r: np.repeat(x, r, 1), (2, 4), INDEX[0],
     call=lambda m, x, r: m.repeat_interleave(x, r, dim=1))  # fmt: skip
case("diag", np.diag, (3, 4))
case("diag", lambda x: np.diag(x, -1), (3,), diagonal=-1)
case("diag_embed", lambda x: np.stack([np.diag(r, 1) for r in x]), (2, 3), offset=1)
case("diagflat", np.diagflat, (2, 3))
case("unfold", lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 1)[:, ::2], (2, 7, 2),
     call=lambda m, x: x.unfold(1, 3, 2))  # fmt: skip

# ---- indexing ------------------------------------------------------------------------

BACKWARDS = [(slice(None), slice(None, 0, -1)), (slice(2, None, -1), ..., slice(None, None, -2))]
for index in [
    *BACKWARDS, 1, -1, slice(1, None), slice(None, None, 2), slice(-9, 9), slice(2, 1), None, ...,
    (), True, (..., 1), (0, ..., None), (1, 2, 3), (slice(None), None, 2), [0, 1, 1],
    (slice(None), [2, 0, 2]), ([0, 1], [2, 2]), ([0, 1], slice(None), [3, 0]),
    ([[0], [1]], [0, 2, 1]), (..., [1, 1]), ([1, 0], slice(1, 3), [3, 0]),
    (slice(None), [0, 0], slice(1, 4, 2)), ([],), (None, [1], ..., -1),
]:  # fmt: skip
    case("getitem", lambda x, i=index: x[_numpy_index(i)], (2, 3, 4),
         call=lambda m, x, i=index: x[i],
         torch=None if index in BACKWARDS else True)  # fmt: skip
    case("put_at", lambda v, i=index: _put(v, (2, 3, 4), _numpy_index(i)),
         np.empty((2, 3, 4))[_numpy_index(index)].shape, torch=None,
         call=lambda m, v, i=index: m.ops.put_at(
             v, (2, 3, 4), m.ops.plain_index(i, v.new_zeros(2, 3, 4))))  # fmt: skip

case("getitem", lambda x, i: x[i], (4, 3), INDEX, call=lambda m, x, i: x[i])
case("getitem", lambda x, m: x[m], (3, 4), MASK, call=lambda m, x, i: x[i])
case("getitem", lambda x, m: x[m], (3, 4, 2), MASK, call=lambda m, x, i: x[i])
case("getitem", lambda x, m: x[:, m], (2, 3, 4), MASK, call=lambda m, x, i: x[:, i])
case("getitem", lambda x, m: x[:, m, [0, 1]], (2, 3, 4), MASK[:, 0],
     call=lambda m, x, i: x[:, i, [0, 1]])  # fmt: skip
case("getitem", lambda x, i: x[i], (3, 4), np.array(1), call=lambda m, x, i: x[i])
case("getitem", lambda x, i: x[:, i], (3, 4), np.array(-1), call=lambda m, x, i: x[:, i])
case("getitem", lambda x, i: x[i, 1:], (3, 4), np.array([-1, 0]), call=lambda m, x, i: x[i, 1:])

case("getitem", lambda x: x[0, 1:3][:, [3, 0]], (2, 3, 4), call=lambda m, x: x[0, 1:3, [3, 0]])
case("getitem", lambda x: x[:, :, 1][[1, 0, 0]], (2, 3, 4), call=lambda m, x: x[[1, 0, 0], ..., 1])


def with_set(x, value, index):
    x = x + 0
    x[index] = value
    return x


def set_to(index):
    return lambda m, x, value: with_set(x, value, index)


for index, shape in [
    (1, (4,)), ((slice(None), 2), ()), (slice(1, None), (1, 4)), ((0, -1), ()), (..., (4,)),
    ((..., slice(None, None, 2)), (3, 2)), ([2, 0], (2, 4)), (([0, 1], [1, 1]), (2,)),
    ((slice(1, 3), [3, 0]), (2, 1)), ((None, 1), (4,)),
]:  # fmt: skip
    case("setitem", lambda x, v, i=index: with_set(x, v, i), (3, 4), shape, call=set_to(index))
case(
    "setitem", lambda x, i: with_set(x, 5, i), (3, 4), MASK, call=lambda m, x, i: with_set(x, 5, i)
)
case("setitem", with_set, (3, 4), (8,), MASK, call=lambda m, *xs: with_set(*xs))
case("write", lambda x, v: np.concatenate([x[:1], v]), (3, 4), (2, 4), torch=None,
     call=lambda m, x, v: registry["write"](x, v, lambda a: a[1:, ...]))  # fmt: skip
case("select", lambda x: x[:, 2], (3, 4), dim=1, index=2)
case("narrow", lambda x: x[:, 1:3], (3, 4), dim=1, start=1, length=2)
case("index_select", lambda x, i: x[:, i], (3, 4), INDEX[0],
     call=lambda m, x, i: m.index_select(x, 1, i))  # fmt: skip
case("masked_select", lambda x, m: x[m], (3, 4), MASK)
case("masked_fill", lambda x, m: np.where(m, 7, x), (3, 4), MASK, value=7)
case("masked_fill", lambda x, m, v: np.where(m, v, x), (3, 4), MASK, ())
case("masked_fill", lambda x, m: np.where(m, 7, x), (2, 3, 1), MASK, value=7)
case("where", np.where, MASK, (3, 4), (4,))
case("where", np.where, MASK, (3, 4), 2.0)
case("where", np.nonzero, MASK)
case("nonzero", lambda m: np.argwhere(m), MASK)
case("argwhere", np.argwhere, MASK)
case("nonzero", np.nonzero, MASK, as_tuple=True)
case("take_along_dim", lambda x, i: x[:, i[0]], (3, 4), INDEX[:1],
     call=lambda m, x, i: m.take_along_dim(x, i, dim=1))  # fmt: skip
case("take_along_dim", lambda x, i: x.ravel()[i.ravel()], (3, 4), INDEX)


def gather(x, index, dim):
    out = np.empty(index.shape, x.dtype)
    for at in np.ndindex(index.shape):
        out[at] = x[(*at[:dim], index[at], *at[dim + 1 :])]
    return out


def scatter(x, index, source, dim, add=False):
    out = x.copy()
    for at in np.ndindex(index.shape):
        to = (*at[:dim], index[at], *at[dim + 1 :])
        out[to] = source[at] + out[to] * add
    return out


def largest(x, index, source):
    """What scatter_reduce with "amax" makes of x along dim 1."""
    out = x.copy()
    for row, column in np.ndindex(index.shape):
        out[row, index[row, column]] = max(out[row, index[row, column]], source[row, column])
    return out


ONCE = np.array(
    [[0, 2, 1], [3, 1, 0]]
)  # no position twice in a row, which scatter leaves undefined
for dim, index, twice in ((1, ONCE, INDEX), (0, ONCE.T[:, :1] % 3, INDEX % 3)):
    case("gather", lambda x, i, d=dim: gather(x, i, d), (3, 4), twice,
         call=lambda m, x, i, d=dim: m.gather(x, d, i))  # fmt: skip
    case("scatter", lambda x, i, s, d=dim: scatter(x, i, s, d), (3, 4), index, index.shape,
         call=lambda m, x, i, s, d=dim: m.scatter(x, d, i, s))  # fmt: skip
    case("scatter", lambda x, i, d=dim: scatter(x, i, np.full((3, 4), 0.5), d), (3, 4), index,
         call=lambda m, x, i, d=dim: m.scatter(x, d, i, 0.5))  # fmt: skip
    case("scatter_add", lambda x, i, s, d=dim: scatter(x, i, s, d, True),
         (3, 4), twice, twice.shape,
         call=lambda m, x, i, s, d=dim: m.scatter_add(x, d, i, s))  # fmt: skip
# sources larger than their index, of which PyTorch has no derivative
case("scatter", lambda x, i, s: scatter(x, i, s, 1), (3, 4), ONCE, (3, 4), torch=None,
     call=lambda m, x, i, s: m.scatter(x, 1, i, s))  # fmt: skip
case("scatter_amax", lambda x, i, s: largest(x, i, s), (3, 4), INDEX, (3, 4), torch=None,
     call=lambda m, x, i, s: m.scatter_reduce(x, 1, i, s, "amax"))  # fmt: skip
case("scatter_reduce", lambda x, i, s: largest(x, i, s), (3, 4), INDEX, (3, 4), torch=None,
     call=lambda m, x, i, s: m.scatter_reduce(x, 1, i, s, "amax"))  # fmt: skip
case("scatter_add", lambda x, i, s: scatter(x, i, s, 1, True), (3, 4), INDEX, (3, 4), torch=None,
     call=lambda m, x, i, s: m.scatter_add(x, 1, i, s))  # fmt: skip

# (PyTorch warns of it)
case("scatter", lambda x, i, s: x * (1 + (i == np.arange(3)[:, None]) * (s - 1)), (3, 4),
     ONCE[:1, [0, 0, 2, 2]], (1, 4), torch=None,
     call=lambda m, x, i, s: m.scatter(x, 0, i, s, reduce="multiply"))  # fmt: skip
case("take", lambda x, i: x.ravel()[i], (3, 4), INDEX)
case("as_strided", lambda x: x.ravel()[[[1, 3, 5], [3, 5, 7]]], (3, 4),
     call=lambda m, x: m.as_strided(x.contiguous(), (2, 3), (2, 2), 1))  # fmt: skip
case("put", lambda x, i, v: _replaced(x, np.unravel_index(i, x.shape), v), (3, 4), ONCE[0], (3,))
case("put", lambda x, i, v: x + _put(v, x.size, i).reshape(x.shape), (3, 4), INDEX[0], (4,),
     call=lambda m, x, i, v: x.put(i, v, accumulate=True))  # fmt: skip
case("index_put", lambda x, i, v: _replaced(x, i, v), (3, 4), ONCE[0, :2], (2, 4),
     call=lambda m, x, i, v: x.index_put((i,), v))  # fmt: skip
case("index_put", lambda x, i, v: x + _put(v, x.shape, i), (4, 3), INDEX[0], (4, 3),
     call=lambda m, x, i, v: x.index_put((i,), v, accumulate=True))  # fmt: skip
case("index_add", lambda x, i, v: x + 3 * _put(v, x.shape, (slice(None), i)), (2, 4), INDEX[0],
     (2, 4), call=lambda m, x, i, v: x.index_add(1, i, v, alpha=3))  # fmt: skip
case("index_copy", lambda x, i, v: _replaced(x, (slice(None), i), v), (2, 4), ONCE[0], (2, 3),
     call=lambda m, x, i, v: x.index_copy(1, i, v))  # fmt: skip
case("index_fill", lambda x, i, v: _replaced(x, (slice(None), i), v), (2, 4), INDEX[0], (),
     call=lambda m, x, i, v: x.index_fill(1, i, v))  # fmt: skip
case("masked_scatter", lambda x, m, v: _replaced(x, m, v[:8]), (3, 4), MASK, (10,))

# ---- products ------------------------------------------------------------------------

for a, b in [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2)), ((5, 1, 2, 3), (4, 3, 2)),
    ((1, 2, 3), (4, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0,), (0,)),
    ((3, 2, 0), (3, 0, 2)),
]:  # fmt: skip
    case("matmul", np.matmul, a, b)
case("dot", np.dot, (3,), (3,))
case("mv", np.matmul, (2, 3), (3,))
case("mm", np.matmul, (2, 3), (3, 4))
case("bmm", np.matmul, (5, 2, 3), (5, 3, 4))
case("outer", np.outer, (3,), (4,))
for equation, *shapes in [
    ("ij->ji", (2, 3)), ("ij->", (2, 3)), ("ij->i", (2, 3)), ("ii->i", (3, 3)), ("ii", (3, 3)),
    ("iji->j", (2, 3, 2)), ("...ii->...i", (2, 3, 3)), ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)), ("ba,cb", (2, 3), (4, 2)), ("i,j->ij", (2,), (3,)),
    ("i,i", (3,), (3,)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)), ("ijk,jk->", (2, 3, 4), (3, 4)),
    ("...ij,...jk->...ik", (2, 2, 3), (3, 4)), ("i...,i...", (2, 3), (2, 1)),
    ("ij,k->i", (2, 3), (4,)),
    ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)), ("i,ij,j->", (2,), (2, 3), (3,)),
    ("ij,ij->ij", (2, 3), (2, 3)), (" i j -> j i ", (2, 3)), ("ij,jk->ik", (2, 0), (0, 4)),
]:  # fmt: skip
    case("einsum", lambda *x, e=equation: np.einsum(e, *x), *shapes,
         call=lambda m, *x, e=equation: m.einsum(e, *x))  # fmt: skip
case("einsum", lambda a, b: np.broadcast_to(a, (2, 3)) @ b, (2, 1), (3, 4),
     call=lambda m, *x: m.einsum("ij,jk->ik", *x))  # fmt: skip

case("vdot", np.dot, (3,), (3,))
case("inner", np.inner, (2, 3), (4, 3))
case("kron", np.kron, (2, 3), (4,))
case("cross", np.cross, (2, 3), (2, 3), torch=lambda m, a, b: m.linalg.cross(a, b))
case("tensordot", np.tensordot, (2, 3, 4), (3, 4, 5))
case("tensordot", lambda a, b: np.tensordot(a, b, ((2, 0), (1, 2))), (2, 3, 4), (5, 4, 2),
     dims=((2, 0), (1, 2)))  # fmt: skip
case("addmm", lambda x, a, b: 3 * x + 2 * a @ b, (4,), (2, 3), (3, 4), beta=3, alpha=2)
case("addmv", lambda x, a, b: x + a @ b, (2,), (2, 3), (3,))
case("addr", lambda x, a, b: x + np.outer(a, b), (2, 3), (2,), (3,))
case("baddbmm", lambda x, a, b: x + a @ b, (2, 4), (5, 2, 3), (5, 3, 4))
case("addbmm", lambda x, a, b: x + (a @ b).sum(0), (2, 4), (5, 2, 3), (5, 3, 4))

# ---- distances, inverses, factorisations ---------------------------------------------


def _definite(m, x):
    return x @ x.mT + m.eye(3, dtype=x.dtype, device=x.device)


def _numpy_definite(x):
    return x @ x.mT + np.eye(3)


case("norm", lambda x: np.linalg.norm(x, "nuc"), (3, 4), p="nuc").half = False
case("sum_to_size", lambda x: x.sum((0, 2))[:, None], (2, 3, 4),
     call=lambda m, x: x.sum_to_size(3, 1))  # fmt: skip
case("dist", lambda a, b: norm(a - b, 3), (3, 4), (4,), p=3)
case("cdist", lambda a, b: norm(a[:, None] - b, 2, axis=-1), (3, 2), (4, 2))
case("logdet", lambda x: np.linalg.slogdet(_numpy_definite(x))[1], (3, 3),
     call=lambda m, x: m.logdet(_definite(m, x))).half = False  # fmt: skip


def linear_algebra(name, reference, call, *shapes):
    """A row for a function of `linalg`, called with that namespace, and its operation."""
    case(name, reference, *shapes, call=lambda m, *xs: call(m, m.linalg, *xs)).half = False


linear_algebra("inv", lambda x: np.linalg.inv(_numpy_definite(x)),
               lambda m, l, x: l.inv(_definite(m, x)), (2, 3, 3))  # fmt: skip
linear_algebra("solve", lambda x, b: np.linalg.solve(_numpy_definite(x), b),
               lambda m, l, x, b: l.solve(_definite(m, x), b), (3, 3), (3, 2))  # fmt: skip
linear_algebra("solve", lambda x, b: np.linalg.solve(np.triu(_numpy_definite(x)), b),
               lambda m, l, x, b: l.solve_triangular(_definite(m, x), b, upper=True),
               (3, 3), (3, 2))  # fmt: skip
linear_algebra("det", lambda x: np.linalg.det(_numpy_definite(x)),
               lambda m, l, x: l.det(_definite(m, x)), (2, 3, 3))  # fmt: skip
case(
    "cofactors",
    lambda x: np.linalg.det(x)[:, None, None] * np.linalg.inv(x).mT,
    (2, 3, 3),
    call=lambda m, x: registry["cofactors"](x),
    torch=None,
).half = False
linear_algebra("slogdet", lambda x: np.linalg.slogdet(_numpy_definite(x))[1],
               lambda m, l, x: l.slogdet(_definite(m, x))[1], (2, 3, 3))  # fmt: skip
linear_algebra("cholesky", lambda x: np.linalg.cholesky(_numpy_definite(x)),
               lambda m, l, x: l.cholesky(_definite(m, x)), (2, 3, 3))  # fmt: skip
linear_algebra("eigh", lambda x: np.linalg.eigh(_numpy_definite(x))[0],
               lambda m, l, x: l.eigh(_definite(m, x))[0], (2, 3, 3))  # fmt: skip
linear_algebra("svd", lambda x: x,  # the product of the three again
               lambda m, l, x: (lambda u, s, v: (u * s) @ v)(*l.svd(x, full_matrices=False)),
               (3, 4))  # fmt: skip
linear_algebra("svdvals", np.linalg.svdvals, lambda m, l, x: l.svdvals(x), (3, 4))
linear_algebra("qr", lambda x: abs(np.linalg.qr(x)[0]),
               lambda m, l, x: m.abs(l.qr(x)[0]), (4, 3))  # fmt: skip
linear_algebra("matrix_exp", lambda x: sum(np.linalg.matrix_power(x, n) / math.factorial(n)
                                           for n in range(50)),
               lambda m, l, x: l.matrix_exp(x), (2, 3, 3))  # fmt: skip
linear_algebra("pinv", np.linalg.pinv, lambda m, l, x: l.pinv(x), (4, 3))
linear_algebra("pinv", lambda a, b: np.linalg.lstsq(a, b)[0],
               lambda m, l, a, b: l.lstsq(a, b)[0], (4, 3), (4, 2))  # fmt: skip

# ---- neural networks -----------------------------------------------------------------


def layer_norm(x, weight=1, bias=0, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def attention(q, k, v, mask=None, causal=False):
    scores = q @ k.mT * 0.5
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    return softmax(scores) @ v


def cross_entropy(x, target, weight, ignore_index, smoothing):
    logs = np.log(softmax(x))
    weight = np.ones(x.shape[-1]) if weight is None else weight
    one_hot = np.eye(x.shape[-1])[np.where(target == ignore_index, 0, target)]
    share = ((1 - smoothing) * one_hot + smoothing / x.shape[-1]) * weight
    return -(share * logs).sum(-1) * (target != ignore_index)


case("linear", lambda x, w, b: x @ w.T + b, (5, 3), (4, 3), (4,))
case("linear", lambda x, w, b: x @ w.T, (2, 5, 3), (4, 3), None)
case("linear", lambda x, w, b: x @ w.T + b, (3,), (4, 3), (4,))
case("linear", lambda x, w, b: x @ w.T + b, (0, 3), (4, 3), (4,))
case("embedding", lambda w, i: w[i], (5, 3), INDEX,
     torch=lambda m, w, i: m.nn.functional.embedding(i, w))  # fmt: skip
case("embedding", lambda w, i: w[i], (5, 3), np.array(2),
     torch=lambda m, w, i: m.nn.functional.embedding(i, w))  # fmt: skip
for axis in (-1, 0, 1):
    case("softmax", lambda x, d=axis: softmax(x, d), (2, 3, 4), dim=axis)
    case("log_softmax", lambda x, d=axis: np.log(softmax(x, d)), (2, 3, 4), dim=axis)
case("softmax", lambda x: x, (0, 3), dim=1)
case("layer_norm", layer_norm, (2, 3, 4), (4,), (4,), eps=1e-5,
     torch=lambda m, x, w, b: m.nn.functional.layer_norm(x, (4,), w, b))  # fmt: skip
case("layer_norm", lambda x, w, b: layer_norm(x), (3, 4), None, None, eps=1e-5,
     torch=lambda m, x, w, b: m.nn.functional.layer_norm(x, (4,)))  # fmt: skip
case("layer_norm", lambda x, w, b: layer_norm(x), (0, 4), None, None, eps=1e-5,
     torch=lambda m, x, w, b: m.nn.functional.layer_norm(x, (4,)))  # fmt: skip
case("rms_norm", lambda x, w: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w,
     (2, 3, 4), (4,), eps=1e-5,
     torch=lambda m, x, w: m.nn.functional.rms_norm(x, (4,), w, 1e-5))  # fmt: skip
case("rms_norm", lambda x, w: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5), (3, 4), None,
     eps=1e-5, torch=lambda m, x, w: m.nn.functional.rms_norm(x, (4,), w, 1e-5))  # fmt: skip

SEEN = np.array([[True, False, True, True, False], [True] * 5, [False, True, False, False, False]])
for mask, causal in (
    (None, False),
    (None, True),
    (SEEN, False),
    ((3, 5), False),
    ((1, 2, 1, 5), False),
):
    case("attention", lambda q, k, v, mask, c=causal: attention(q, k, v, mask, c),
         (2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 6), mask, causal=causal, scale=0.5, p=0.0, seed=0,
         torch=lambda m, q, k, v, mask, c=causal: m.nn.functional.scaled_dot_product_attention(
             q, k, v, mask, is_causal=c, scale=0.5))  # fmt: skip


def dropped(x):
    """What dropout leaves: its mask comes from a seed, the same on every device but the GPU."""
    keep = np.random.Generator(np.random.SFC64(5)).random(x.shape, dtype=np.float32) >= 0.25
    return x * keep / 0.75


case("dropout", dropped, (3, 4), p=0.25, seed=5, torch=None)

TARGET = np.array([0, 2, 3, 2, 1])
WEIGHTS = (None, np.array([0.5, 2.0, 0.0, 1.0]))
for weight, smoothing, ignored in itertools.product(WEIGHTS, (0.0, 0.1), (-100, 2)):
    how = {"ignore_index": ignored, "smoothing": smoothing}
    case("cross_entropy", lambda x, t, w, h=how: cross_entropy(x, t, w, **h),
         (5, 4), TARGET, weight, **how,
         torch=lambda m, x, t, w, h=how: m.nn.functional.cross_entropy(
             x, t, w, ignore_index=h["ignore_index"], label_smoothing=h["smoothing"],
             reduction="none"))  # fmt: skip

case("binary_cross_entropy", lambda x, t: -t * np.log(x) - (1 - t) * np.log(1 - x), (5, 3),
     (5, 3), domain=(0.05, 0.95),
     torch=lambda m, *xs: m.nn.functional.binary_cross_entropy(*xs, reduction="none"))  # fmt: skip

case("observe", lambda a, b: (a, b), (2, 3), (4,), see=lambda g: g, torch=None, shares=True)


def recurrent(kind, x, h, w, b, keep, reverse=False, relu=False, c=None):
    """RNN, GRU or LSTM step by step, as their papers have it."""
    y = np.zeros((len(x), *h.shape))
    for t in range(len(x))[:: -1 if reverse else 1]:
        m = h @ w.T + (0 if b is None else b)
        if kind == "rnn":
            new = np.maximum(x[t] + m, 0) if relu else np.tanh(x[t] + m)
        elif kind == "gru":
            (xr, xz, xn), (mr, mz, mn) = np.split(x[t], 3, 1), np.split(m, 3, 1)
            r, z = sigmoid(xr + mr), sigmoid(xz + mz)
            new = (1 - z) * np.tanh(xn + r * mn) + z * h
        else:
            i, f, u, o = np.split(x[t] + m, 4, 1)
            cell = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
            new = sigmoid(o) * np.tanh(cell)
            c = cell if keep is None else np.where(keep[t], cell, c)
        y[t] = h = new if keep is None else np.where(keep[t], new, h)
    return y if c is None else (y, c)


GOES_ON = np.array([[True, True], [True, False], [False, True]])[..., None]
for keep, reverse in ((None, False), (None, True), (GOES_ON, False), (GOES_ON, True)):
    for relu in (False, True):
        case("rnn", lambda x, h, w, k, r=reverse, u=relu: recurrent("rnn", x, h, w, None, k, r, u),
             (3, 2, 4), (2, 4), (4, 4), keep, relu=relu, reverse=reverse, torch=None)  # fmt: skip
    case("gru", lambda x, h, w, b, k, r=reverse: recurrent("gru", x, h, w, b, k, r),
         (3, 2, 6), (2, 2), (6, 2), (6,), keep, reverse=reverse, torch=None)  # fmt: skip
    case("lstm", lambda x, h, c, w, k, r=reverse: recurrent("lstm", x, h, w, None, k, r, c=c),
         (3, 2, 8), (2, 2), (2, 2), (8, 2), keep, reverse=reverse, torch=None)  # fmt: skip
case("gru", lambda x, h, w, b, k: recurrent("gru", x, h, w, b, k),
     (3, 2, 6), (2, 2), (6, 2), None, None, torch=None)  # fmt: skip

# ---- windows: convolution and pooling ------------------------------------------------


def cut(x, size, step, far):
    """The windows of (N, C, H, W), one after the other: (N, C, K, P, Q)."""
    counts = [(n - f * (k - 1) - 1) // s + 1 for n, k, s, f in zip(x.shape[2:], size, step, far)]
    out = np.zeros((*x.shape[:2], math.prod(size), *counts))
    for k, place in enumerate(np.ndindex(*size)):
        for at in np.ndindex(*counts):
            index = tuple(a * s + p * f for a, s, p, f in zip(at, step, place, far))
            out[(slice(None), slice(None), k, *at)] = x[(slice(None), slice(None), *index)]
    return out


def fold(w, shape, size, step, far):
    """The transpose of `cut`, from its matrix."""
    n = math.prod(shape)
    matrix = cut(np.eye(n).reshape(n, 1, *shape), size, step, far).reshape(n, -1)
    return (w.reshape(*w.shape[:2], -1) @ matrix.T).reshape(*w.shape[:2], *shape)


def conv(x, w, b, step, pad, far, groups):
    """A convolution, from the windows of each group."""
    n = w.ndim - 2
    x = np.pad(x, ((0, 0), (0, 0), *[(pad, pad)] * n))
    out = []
    for part, weight in zip(np.split(x, groups, 1), np.split(w, groups)):
        windows = cut(part, w.shape[2:], (step,) * n, (far,) * n)
        weight = weight.reshape(*weight.shape[:2], -1)
        out.append(np.einsum("nck...,ock->no...", windows, weight))
    return np.concatenate(out, 1) + b.reshape(-1, *[1] * n)


def transposed(x, w, b, step, pad):
    n = w.ndim - 2
    columns = np.einsum("nc...,cok->nok...", x, w.reshape(*w.shape[:2], -1))
    shape = [(s - 1) * step + k for s, k in zip(x.shape[2:], w.shape[2:])]
    y = fold(columns, shape, w.shape[2:], (step,) * n, (1,) * n)
    return y[(..., *[slice(pad, s - pad) for s in shape])] + b.reshape(-1, *[1] * n)


def pool(x, size, step, how):
    n = x.ndim - 2
    return how(cut(x, (size,) * n, (step,) * n, (1,) * n), axis=2)


def parts(x, count, how):
    """`how` of nearly alike parts of every dimension but the first two."""
    for dim in range(2, x.ndim):
        n = x.shape[dim]
        ends = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        taken = [how(x.take(range(a, b), dim), axis=dim, keepdims=True) for a, b in ends]
        x = np.concatenate(taken, dim)
    return x


for size, step, far in (
    ((2, 3), (1, 1), (1, 1)),
    ((2, 2), (2, 1), (1, 2)),
    ((1, 1), (3, 2), (1, 1)),
):
    how = {"sizes": size, "steps": step, "spread": far}
    case("windows", lambda x, h=how: cut(x, *h.values()), (2, 2, 5, 4), **how, torch=None)
    case("fold", lambda w, h=how: fold(w, (5, 4), *h.values()),
         cut(np.zeros((2, 2, 5, 4)), *how.values()).shape, shape=(5, 4), **how,
         torch=None)  # fmt: skip
case("windows", lambda x: cut(x, (3,), (2,), (1,)), (1, 2, 6), sizes=(3,), steps=(2,), spread=(1,),
     torch=None)  # fmt: skip
case("max_pool",
     lambda x: (cut(x, (2, 2), (1, 2), (1, 1)).max(2), cut(x, (2, 2), (1, 2), (1, 1)).argmax(2)),
     (2, 2, 4, 5), sizes=(2, 2), steps=(1, 2), spread=(1, 1), torch=None)  # fmt: skip
for n in (1, 2):
    line = (5, 4)[:n]
    for step, pad, far, groups in ((1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1)):
        case(f"conv{n}d", lambda x, w, b, h=(step, pad, far, groups): conv(x, w, b, *h),
             (2, 4, *line), (2, 4 // groups, *(2, 2)[:n]), (2,), stride=step, padding=pad,
             dilation=far, groups=groups)  # fmt: skip
    for step, pad in ((1, 0), (2, 1)):
        case(f"conv_transpose{n}d", lambda x, w, b, h=(step, pad): transposed(x, w, b, *h),
             (2, 3, *line), (3, 2, *(3, 2)[:n]), (2,), stride=step, padding=pad)  # fmt: skip
    for size, step in ((2, 2), (3, 1)):
        case(f"max_pool{n}d", lambda x, h=(size, step): pool(x, *h, np.max), (2, 2, *line),
             kernel_size=size, stride=step)  # fmt: skip
        case(f"avg_pool{n}d", lambda x, h=(size, step): pool(x, *h, np.mean), (2, 2, *line),
             kernel_size=size, stride=step)  # fmt: skip
    case(f"adaptive_max_pool{n}d", lambda x: parts(x, 3, np.max), (2, 2, *line), output_size=3,
         torch=lambda m, x, n=n: getattr(m.nn.functional, f"adaptive_max_pool{n}d")(x, 3),
         )  # fmt: skip
    case(f"adaptive_avg_pool{n}d", lambda x: parts(x, 3, np.mean), (2, 2, *line), output_size=3)
