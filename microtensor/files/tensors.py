"""The tensors of a safetensors file, and its header.

Only sizes, names and numbers are read here. The safetensors library ensures that the tensors do not
overlap in the file, so they are no larger than it; JSON is read only if no name occurs twice in an
object and no number takes long to read.
"""

import json
import math

import numpy as np

from ..backends.bfloat16 import BFloat16Array
from ..backends.dtypes import bfloat16
from .whole import LoadError

KINDS = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip
DIGITS = 4300  # of an integer: Python's own limit, as the time to read it grows with their square
EMPTY = 2**31  # the limit of the product of the other sizes of a tensor without elements


def as_numpy(tensor):
    """The elements in row-major order; bfloat16 as uint16, a dtype that no tensor here has."""
    array = tensor._data.halves() if tensor.dtype is bfloat16 else tensor._as_numpy()
    return np.require(array, requirements="C")


def safetensors(arrays, metadata):
    """The bytes of a safetensors file of arrays by name."""
    from safetensors.numpy import save

    data = save(arrays, metadata)
    if not any(array.dtype == np.uint16 for array in arrays.values()):
        return data
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    for name, array in arrays.items():
        if array.dtype == np.uint16:
            header[name]["dtype"] = "BF16"
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]


def entries(data):
    """(name, its dtype, shape and bytes) for each tensor in the bytes of a safetensors file.

    Raises LoadError if they are something else.
    """
    return contents(data)[0]


def contents(data):
    """The `entries` of a safetensors file, and its metadata: strings by name."""
    import safetensors  # here, so that `import microtensor` costs NumPy and little more

    try:
        found = safetensors.deserialize(data)
        header = read_json(data[8 : 8 + int.from_bytes(data[:8], "little")].decode())
        return found, header.get("__metadata__") or {}
    except (ValueError, RecursionError, safetensors.SafetensorError) as error:
        reason = f"it is not a safetensors file ({str(error):.200})"
        if data[:2] in (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"):
            reason = (
                "it is a bare pickle, as PyTorch wrote before version 1.6; load it there, and save "
                "it with torch.save or safetensors.torch"
            )
        raise LoadError(reason) from error


def read_json(text):
    """JSON as exact dicts, lists, strings and numbers. ValueError for forged forms."""
    return json.loads(
        text, object_pairs_hook=_once, parse_int=_integer, parse_constant=_no_constant
    )


def _once(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _integer(text):
    if len(text) > DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _no_constant(text):
    raise ValueError(f"{text} is not JSON")


def array_of(name, entry):
    """A tensor of a file as a NumPy array, on the file's own bytes. Raises LoadError."""
    kind, shape, data = entry["dtype"], entry["shape"], entry["data"]
    if kind not in KINDS:
        raise LoadError(
            f"tensor {name!r:.100} has dtype {kind}; microtensor has {', '.join(KINDS)}"
        )
    try:
        check_shape(shape)
        array = np.frombuffer(data, "uint16" if kind == "BF16" else KINDS[kind]).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise LoadError(f"tensor {name!r:.100} has a shape that makes no sense: {error}") from None
    if kind == "BF16":
        return BFloat16Array.of_halves(array)
    if kind == "BOOL" and array.view(np.uint8).max(initial=0) > 1:
        raise LoadError(f"tensor {name!r:.100} has booleans that are neither 0 nor 1")
    return array


def check_shape(shape):
    """Raise ValueError unless these are valid sizes of a tensor. (The message does not show sizes
    that were not checked: a forged file can make them very long.)"""
    if len(shape) > 64 or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise ValueError("a shape that is none")
    if 0 in shape and math.prod(n for n in shape if n) > EMPTY:
        raise ValueError(f"no elements, but a shape of {tuple(shape)!r:.80}")
