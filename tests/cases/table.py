"""The table of operations: a line for each, with what it must compute. It drives every check.

    each("exp", np.exp)                                  an operation on every element
    case("sum", lambda x: x.sum(1), (3, 4), dim=1)       any other: reference, inputs, parameters

An input is a shape, filled with numbers of `domain`, an array of indices or a mask, which becomes a
tensor too, or anything else, which is passed on. The function is `mt.<name>`, unless `call` says
how to call it with the package (ours or torch) and the inputs. The reference takes the inputs as
NumPy arrays. `torch` is how PyTorch says it, where its signature is another; None: it does not.
"""

import inspect
import math
import zlib
from dataclasses import dataclass, field

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


def numpy_index(index):
    """An empty list as integers, and lists in a tuple as arrays, as PyTorch takes them."""
    if isinstance(index, tuple):
        return tuple(map(numpy_index, index))
    return np.array(index, np.int64) if isinstance(index, list) else index


def put_array(values, shape, index):
    out = np.zeros(shape, values.dtype)
    np.add.at(out, index, values)
    return out


def replaced(x, index, value):
    x = x.copy()
    x[index] = value
    return x


MASK = np.array([[True, False, True, False], [False, False, True, True], [True] * 4])
INDEX = np.array([[0, 2, 1, 1], [3, 3, 0, 1]])  # fits (3, 4) along dim 1, smaller along dim 0
ONCE = np.array([[0, 2, 1], [3, 1, 0]])  # no position twice in a row: scatter leaves that undefined
POSITIVE, UNIT = (0.3, 3.0), (-0.9, 0.9)
