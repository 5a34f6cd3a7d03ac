"""The messages of errors of operations, and the search for the first NaN."""

import os
import sys
import warnings

from ..backends import backend_of, xp
from ..backends.dtypes import FLOAT

# ---- errors of operations ------------------------------------------------------------


def describe(args):
    """A description of arguments for error messages: "a (2, 3) float32, b (4, 5) float32"."""

    def one(a):
        a = getattr(a, "_data", a)
        if hasattr(a, "shape"):
            return f"{tuple(a.shape)} {a.dtype}"
        if isinstance(a, (list, tuple)) and len(a) > 4:
            return type(a).__name__
        if isinstance(a, (list, tuple)) and any(hasattr(v, "_data") for v in a):
            return f"[{describe(a)}]"
        text = repr(a)
        return text if len(text) <= 60 and "\n" not in text else f"a {type(a).__name__}"

    return ", ".join(map(one, args))


def wrong_pullbacks(call, pullback):
    """The error for an operation that returns pullbacks for more or fewer inputs than it has."""
    return TypeError(
        f"{call.op_name}: {len(pullback)} pullbacks for {', '.join(call.input_names)}; one is "
        "needed for each input (None: no derivative), or one function for all"
    )


class LinAlgError(RuntimeError):
    """A matrix that has no inverse or no factors, or whose factors were not found."""


def finite(A):
    """The matrices A for an iteration of LAPACK's, which with NaN or ∞ may never end.

    Raises LinAlgError for those, as PyTorch does.
    """
    if not hasattr(A, "_data") and not bool(xp(A).all(xp(A).isfinite(A))):
        raise LinAlgError("the matrix must be finite; it holds NaN or infinity")
    return A


class OutOfMemory(RuntimeError, MemoryError):
    """An array for which there is no memory: PyTorch's RuntimeError, and Python's own kind."""


def one_dtype(name, *tensors):
    """Raise RuntimeError unless all tensors, some of which may be None, have one dtype."""
    if len({t.dtype for t in tensors if t is not None}) > 1:
        raise RuntimeError(
            f"{name}: one dtype is needed, got {describe(tensors)}; convert with .to()"
        )


def on_one_device(call, args):
    """True where two kinds of arrays meet on one device. Raises RuntimeError on several."""
    places = [str(a.device) for a in args if hasattr(a, "_data")]
    if len(set(places)) == 1:
        return True
    raise RuntimeError(
        f"{call.op_name}: all tensors must be on one device, got "
        f'{" and ".join(dict.fromkeys(places))}; move them with .to("{places[0]}")'
    )


HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep  # this package's folder


class _Ours(dict):
    """{file name: whether it is of this package}: it is asked at every operation."""

    def __missing__(self, file):
        self[file] = ours = file.startswith(HERE)
        return ours


_ours = _Ours()


def caller(start=1):
    """The code of the first function outside this package, and the instruction at which it is.

    Which line that is, is looked up when someone asks: every operation notes its caller.
    """
    frame = sys._getframe(start)
    code = frame.f_code
    while _ours[code.co_filename] and frame.f_back:
        frame = frame.f_back
        code = frame.f_code
    return code, frame.f_lasti


def line_of(caller):
    """(file, number) of the line."""
    code, at = caller
    return code.co_filename, next(n for start, end, n in code.co_lines() if start <= at < end)


def called_in(caller):
    file, line = line_of(caller)
    return f" (called in {file}, line {line})"


def warn(message, category=UserWarning):
    """A warning of the line that called this package, however deep within it was noticed."""
    frame, level = sys._getframe(1), 2
    while _ours[frame.f_code.co_filename] and frame.f_back:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


# ---- finding the first NaN -----------------------------------------------------------


def _bad(value):
    """(True if there is a NaN, True if there is an infinity)."""
    if isinstance(value, float):
        return value != value, value in (float("inf"), float("-inf"))
    value = getattr(value, "_data", value)
    if not hasattr(value, "dtype") or backend_of(value).dtype(value).rank != FLOAT:
        return False, False
    nan = xp(value).isnan(value)
    return bool(xp(value).any(nan)), bool(xp(value).any(xp(value).isinf(value)))


def first_bad(ins, outs):
    """The kind of number in `outs` that `ins` does not explain: "NaN", "infinity", or None."""
    nan_in, inf_in = (any(column) for column in zip((False, False), *map(_bad, ins)))
    nan, inf = (any(column) for column in zip((False, False), *map(_bad, outs)))
    return "NaN" if nan and not nan_in else "infinity" if inf and not (inf_in or nan_in) else None


def check_finite(call, arrays, results):
    what = first_bad(arrays, results)
    if what:
        raise RuntimeError(
            f"{call.op_name} produced {what} in the forward pass{called_in(caller())}; "
            f"got {describe(arrays)}"
        )


def check_gradient(node, slots, part):
    what = first_bad(slots, [part])
    if what:
        raise RuntimeError(f"the gradient of {node.name()} is {what}{called_in(node.caller)}")
