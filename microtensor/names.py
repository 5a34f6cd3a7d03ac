"""PyTorch's and NumPy's names for arguments beside our own; and what is said of missing names."""

import functools
from collections import namedtuple

PACKAGE = ["microtensor"]  # as what is printed calls it: "torch" within `compat.as_torch()`


class Shown(type):
    """A class that `compat.as_torch()` shows by PyTorch's name, as in <class 'torch.Tensor'>."""

    def __repr__(cls):
        if PACKAGE[0] == "torch" and cls.__module__.startswith(f"{__package__}."):
            place = "nn.parameter." if cls.__name__ == "Parameter" else ""
            return f"<class 'torch.{place}{cls.__name__}'>"
        return super().__repr__()


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


def missing(place):
    """A module's __getattr__: a name that is not there is named, and where those are that are."""

    def __getattr__(name):
        raise AttributeError(
            f"{place} has no {name!r}; tests/covered.md lists what of PyTorch's is there"
        )

    return __getattr__
