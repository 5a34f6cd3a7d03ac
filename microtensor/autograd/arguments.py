"""Arguments: PyTorch's and NumPy's names beside our own, and the inputs of an operation."""

import functools
import inspect
from collections import namedtuple

from ..backends import backend_of
from ..backends.naming import PACKAGE

SYNONYMS = {
    "axis": "dim", "axis0": "dim0", "axis1": "dim1", "keepdims": "keepdim", "axes": "dims",
    "split_size": "split_size_or_sections", "sections": "indices_or_sections",
    "indices": "indices_or_sections", "diagonal": "offset", "unbiased": "correction",
}  # fmt: skip

FIRST = {"input", "self", "tensor", "x1", "inputs"}  # names of the first input,

LAST = {"other", "exponent", "mat2", "vec", "vec2", "x2", "y"}  # and of the last one

# factors that programs of before 2020 put before the tensors, and how many those are
FACTORS = {"add": ("alpha", 1), "sub": ("alpha", 1), "addcmul": ("value", 2),
           "addcdiv": ("value", 2)}  # fmt: skip


def own_names(named, known, inputs):
    """Arguments by the names that a function knows; `inputs` are the names of its inputs."""

    def own(name):
        if name in known:
            return name
        if name in FIRST:
            return inputs[0]
        return inputs[-1] if name in LAST else SYNONYMS.get(name, name)

    return {own(name): value for name, value in named.items()}


def known_by_all_names(function):
    """A function of tensors that takes its arguments by all those names."""
    if hasattr(function, "op_name") or isinstance(function, type):  # an operation does so itself
        return function
    code = inspect.unwrap(function).__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    inputs = known[:2]
    if not inputs:
        return function

    @functools.wraps(function)
    def call(*args, **named):
        if "out" in named:
            return into(named.pop("out"), call(*args, **named))
        return function(*args, **(own_names(named, known, inputs) if named else named))

    return call


def into(out, result):
    """`out=`: the tensor, or tensors, that take over a result, and are returned.

    As in PyTorch one of another shape gets the result's, and nothing is differentiated.
    """
    if out is None:
        return result
    if isinstance(result, tuple):
        filled = [into(o, r) for o, r in zip(out, result, strict=True)]
        return result._make(filled) if hasattr(result, "_make") else type(result)(filled)
    if result.requires_grad:
        raise RuntimeError("out=: the result requires a gradient, which out= cannot record")
    if result.dtype.rank > out.dtype.rank:
        raise RuntimeError(f"out=: the result is {result.dtype}, out is {out.dtype}")
    if out.shape != result.shape:
        out.data = out.new_empty(*result.shape)
    return out.copy_(result)


def factor_first(method, factor, tensors):
    """A method that takes its factor also in front: x.addcmul_(0.1, a, b) for (a, b, value=0.1)."""

    @functools.wraps(method)
    def call(self, *args, **named):
        if len(args) > tensors:
            named[factor], *args = args
        return method(self, *args, **named)

    return call


def results(name, *fields):
    """The type of an operation's several results: a named tuple that shows each on its own line."""

    def __repr__(self):
        lines = ",\n".join(f"{field}={value!r}" for field, value in zip(fields, self))
        return f"{PACKAGE[0]}.return_types.{name}(\n{lines})"

    return type(name, (namedtuple(name, fields),), {"__slots__": (), "__repr__": __repr__})


def _by_name(call, args, params):
    """Inputs given by name in their places, and NumPy's and PyTorch's names beside our own."""
    names = call.input_names
    params = own_names(params, call.defaults, names)
    args = list(args)
    while len(args) < len(names) and not call.variadic and not params.keys().isdisjoint(names):
        name = names[len(args)]
        if name not in params and call.defaults[name] is inspect.Parameter.empty:
            raise TypeError(f"{call.op_name}: the input {name!r} is missing")
        args.append(params.pop(name, call.defaults[name]))
    return tuple(args), params


def _plain(call, value):
    """An input that is neither a tensor nor a Python number: a NumPy number or an array."""
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    try:
        backend_of(value)
    except TypeError:
        raise TypeError(
            f"{call.op_name}: a Tensor or a number is needed, got {type(value).__name__}"
        ) from None
    return value
