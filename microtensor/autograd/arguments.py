"""Arguments of operations and of backward: by which names they are known, and what they must be."""

import functools
import inspect
import math
from collections import namedtuple

from ..backends import backend_of
from ..backends.naming import PACKAGE
from .base import TensorBase, as_list
from .errors import describe
from .hints import Parameters
from .views import check_overlap, edge_of

# ---- names of arguments --------------------------------------------------------------

SYNONYMS = {
    "axis": "dim", "axis0": "dim0", "axis1": "dim1", "keepdims": "keepdim", "axes": "dims",
    "split_size": "split_size_or_sections", "sections": "indices_or_sections",
    "indices": "indices_or_sections", "diagonal": "offset", "unbiased": "correction",
}  # fmt: skip
FIRST = {"input", "self", "tensor", "x1", "inputs"}  # names of the first input,
LAST = {"other", "exponent", "mat2", "vec", "vec2", "x2", "y"}  # and of the last one

# how many of the first inputs can be no numbers, as in PyTorch
_PAIRS = "maximum minimum fmax fmin atan2 hypot logaddexp nextafter heaviside"
_PAIRS += " logical_and logical_or logical_xor isclose"
TENSORS = dict.fromkeys(_PAIRS.split(), 2) | {"lerp": 2} | dict.fromkeys(
    "fmod eq ne lt le gt ge copysign masked_fill clamp".split(), 1
)  # fmt: skip

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


def into(out, result, inputs=()):
    """`out=`: the tensor, or tensors, that take over a result, and are returned.

    As in PyTorch one of another shape gets the result's, and nothing is differentiated. Raises
    RuntimeError where it lies in the memory of one of the inputs, but not in its very place.
    """
    if out is None:
        return result
    for o in as_list(out):
        for read in inputs:
            several = isinstance(read, (list, tuple))
            check_overlap(o, read if several else (read,), "out=", alike=several)
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


# ---- inputs of an operation ----------------------------------------------------------


class Signature:
    """The signature of an operation's function, and which of its arguments are inputs."""

    def __init__(self, function):
        parameters = inspect.signature(function).parameters
        inputs = [p for p in parameters.values() if p.kind is p.POSITIONAL_ONLY] or [
            p
            for p in parameters.values()
            if p.kind is p.VAR_POSITIONAL
            or p.kind is p.POSITIONAL_OR_KEYWORD
            and p.default is p.empty
        ]
        self.inputs = [p.name for p in inputs]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in inputs)
        self.arity = 1 << 30 if self.variadic else len(inputs)  # at most so many inputs
        self.defaults = {p.name: p.default for p in parameters.values()}
        self.options = parameters.keys() - set(self.inputs)  # the names of the other arguments
        self.tensors = TENSORS.get(function.__name__.rstrip("_"), 0)
        self.takes = Parameters(function, self.inputs)
        # of what comes after the inputs
        self.takes.names = self.takes.names[self.arity :]
        self.takes.types = self.takes.types[self.arity :]
        self.first = next(iter(self.takes.types), None) or ()  # types of the first one


def inputs_by_name(call, args, params):
    """Arguments with the inputs that were given by name, be it PyTorch's or NumPy's, in place."""
    names = call.input_names
    params = own_names(params, call.defaults, names)
    args = list(args)
    while len(args) < len(names) and not call.variadic and not params.keys().isdisjoint(names):
        name = names[len(args)]
        if name not in params and call.defaults[name] is inspect.Parameter.empty:
            raise TypeError(f"{call.op_name}: the input {name!r} is missing")
        args.append(params.pop(name, call.defaults[name]))
    return tuple(args), params


def plain_input(call, value, tensor=False):
    """An input that is neither a tensor nor a Python number: a NumPy number or an array."""
    if value is None and call.op_name == "clamp":  # whose bounds are optional
        return None
    if tensor and isinstance(value, (int, float)) or value is None:
        kind = "a Tensor" if tensor else "a Tensor or a number"
        raise TypeError(f"{call.op_name}: {kind} is needed, not {type(value).__name__}")
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    try:
        backend_of(value)
    except TypeError:
        raise TypeError(
            f"{call.op_name}: a Tensor or a number is needed, got {type(value).__name__}"
        ) from None
    return value


# ---- inputs of backward and grad -----------------------------------------------------


def edges_of(name, inputs):
    """The edges of the tensors whose derivatives are asked for. RuntimeError where one has none."""
    if not inputs:
        raise RuntimeError(f"{name}: inputs is empty; name at least one tensor")
    edges = [edge_of(t) for t in inputs]
    if None in edges:
        raise RuntimeError(
            f"{name}: input {edges.index(None)} does not require a gradient; "
            "call requires_grad_() on it before it is used"
        )
    return edges


def roots_and_seeds(name, tensors, grad_tensors, create_graph):
    """The edges to start from, and the gradient that each starts with.

    Raises RuntimeError for a tensor without a graph and for a gradient that is missing or does not
    fit, TypeError for one that is no tensor.
    """
    tensors = as_list(tensors)
    if not isinstance(grad_tensors, (list, tuple)):
        grad_tensors = [grad_tensors] * (len(tensors) if grad_tensors is None else 1)
    if len(grad_tensors) != len(tensors):
        raise RuntimeError(
            f"{name}: {len(tensors)} tensors, but {len(grad_tensors)} gradients for them"
        )
    roots = [edge_of(t) for t in tensors]
    if None in roots:
        raise RuntimeError(
            f"{name}: this tensor does not require a gradient and has no grad_fn; "
            "compute it from tensors with requires_grad=True, outside no_grad"
        )
    return roots, [_seed(name, t, g, create_graph) for t, g in zip(tensors, grad_tensors)]


def _seed(name, tensor, gradient, create_graph):
    """The gradient that a root starts with: as given, or 1 for a tensor of one element."""
    array, shape = tensor._data, tuple(tensor._data.shape)
    if gradient is None:
        if math.prod(shape) != 1:
            raise RuntimeError(
                f"{name}: only a tensor of one element has an implicit gradient, this one has "
                f"shape {shape}; reduce it with sum() or mean(), or pass a gradient"
            )
        one = backend_of(array).one(array)
        return tensor._wrap(one) if create_graph else one
    if not isinstance(gradient, TensorBase) or type(gradient._data) is not type(array):
        raise TypeError(
            f"{name}: the gradient must be a Tensor on {tensor.device}, got {describe([gradient])}"
        )
    if tuple(gradient._data.shape) != shape:
        raise RuntimeError(
            f"{name}: the gradient has shape {tuple(gradient._data.shape)}, the tensor {shape}"
        )
    g, like = (gradient, tensor) if create_graph else (gradient._data, array)
    return g if g.dtype == like.dtype else backend_of(g).cast(g, backend_of(like).dtype(like))
