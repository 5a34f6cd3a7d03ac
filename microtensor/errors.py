"""What goes wrong, in words: the errors of operations, and where the first NaN came from."""

import os
import sys

from .backends import backend_of, xp
from .backends.dtypes import FLOAT

# ---- errors of operations ------------------------------------------------------------


def describe(args):
    """What came in, for error messages: "a (2, 3) float32, b (4, 5) float32"."""

    def one(a):
        a = getattr(a, "_data", a)
        if hasattr(a, "shape"):
            return f"{tuple(a.shape)} {a.dtype}"
        return type(a).__name__ if isinstance(a, (list, tuple)) and len(a) > 4 else repr(a)

    return ", ".join(map(one, args))


def op_error(call, args, error):
    """The error of an operation's body again, saying which operation it was and what came in."""
    if getattr(error, "from_op", False) or isinstance(error, OverflowError):
        return error
    kinds = (
        k for k in (IndexError, TypeError) if isinstance(error, k)
    )  # also what derives of them
    kind = next(kinds, RuntimeError)
    reason = str(error).split("\n")[0]
    if "could not be broadcast" in reason:
        reason = "the sizes must be equal or 1, counted from the last dimension"
    inputs = args if call.variadic else args[: len(call.input_names)]
    told = kind(f"{call.op_name}: {reason}; got {describe(inputs)}")
    told.from_op = True
    return told


def device_error(call, args):
    places = [str(a.device) for a in args if hasattr(a, "_data")]
    return RuntimeError(
        f"{call.op_name}: all tensors must be on one device, got "
        f'{" and ".join(dict.fromkeys(places))}; move them with .to("{places[0]}")'
    )


# ---- finding the first NaN -----------------------------------------------------------


def caller():
    """Where the first function outside this package is: " (file.py, line 3)"."""
    here = os.path.dirname(__file__) + os.sep
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(here):
        frame = frame.f_back
    return f" (called in {frame.f_code.co_filename}, line {frame.f_lineno})"


def _bad(value):
    """Whether there is a NaN, whether there is an infinity."""
    if isinstance(value, float):
        return value != value, value in (float("inf"), float("-inf"))
    value = getattr(value, "_data", value)
    if not hasattr(value, "dtype") or backend_of(value).dtype(value).rank != FLOAT:
        return False, False
    nan = xp(value).isnan(value)
    return bool(xp(value).any(nan)), bool(xp(value).any(xp(value).isinf(value)))


def first_bad(ins, outs):
    """What is among `outs` and not explained by `ins`: "NaN", "infinity" or None."""
    nan_in, inf_in = (any(column) for column in zip((False, False), *map(_bad, ins)))
    nan, inf = (any(column) for column in zip((False, False), *map(_bad, outs)))
    return "NaN" if nan and not nan_in else "infinity" if inf and not (inf_in or nan_in) else None


def check_finite(call, arrays, results):
    what = first_bad(arrays, results)
    if what:
        raise RuntimeError(
            f"{call.op_name} produced {what} in the forward pass{caller()}; got {describe(arrays)}"
        )


def check_gradient(node, slots, part):
    what = first_bad(slots, [part])
    if what:
        raise RuntimeError(f"the gradient of {node.name()} is {what}{node.where}")
