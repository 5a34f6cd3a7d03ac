"""Saving and loading: tensors and plain values in a safetensors file. Nothing is ever unpickled.

Every tensor stands in the file under the path that leads to it ("model.wte.weight"), so a dict of
tensors is an ordinary safetensors file that any program reads by name. What else there is (the
nesting, numbers, strings) is JSON in the file's metadata, under "microtensor":

    {"sha256": …, "structure": {"step": 3, "betas": {"$tuple": [0.9, 0.99]}, "w": {"$tensor": "w"}}}

The checksum is that of the whole file with zeros in the checksum's own place, so that damage is
noticed.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
from pathlib import Path

import numpy as np

from .backends import backend_for, backend_of
from .backends.bfloat16 import BFloat16Array
from .backends.dtypes import bfloat16
from .tensor import Tensor


class LoadError(ValueError):
    """A file that cannot be loaded: damaged, cut short, or something else altogether."""


def save(obj, path):
    """Write `obj` to a path, whole or not at all, or to an open binary file.

    `obj` is a tensor, None, a bool, a number, a string, or a dict, list or tuple of such things, of
    any depth: state dicts of modules and optimizers among them. Keys are plain values, too. Raises
    TypeError naming the place of what cannot be saved, OSError if the file cannot be written.
    """
    data = _serialized(obj)
    if hasattr(path, "write"):
        path.write(data)
    else:
        write_whole(path, data)


def load(path, map_location=None, *, weights_only=True):
    """What `save` wrote, its tensors on the CPU or on the device `map_location`.

    As in PyTorch, that may also be a dict of devices by device, or a function of a tensor and its
    device, always "cpu" here, that gives the tensor where it is wanted, or None for there.
    Dicts, lists and tuples come back as such; tensors, and parameters, as tensors that require no
    gradient; a tensor that occurred twice is one tensor again. What a file is, its content says: a
    safetensors file of another program gives a dict of tensors by name, and one of `torch.save`
    (.pt, .pth) what was saved there, if it is plain values and tensors: see `torch_file`. Never is
    code of a file run, so `weights_only` changes nothing. Raises LoadError for anything else.
    """
    data = path.read() if hasattr(path, "read") else Path(path).read_bytes()
    if isinstance(map_location, dict):
        map_location = map_location.get("cpu")
    move = map_location if callable(map_location) else None
    backend = backend_for("cpu" if move or map_location is None else map_location)

    def as_tensor(array):
        tensor = made(array, backend)
        moved = move and move(tensor, "cpu")
        return tensor if moved is None else moved

    try:
        if data.startswith(b"PK\3\4"):
            from . import torch_file

            return torch_file.read(data, as_tensor)
        return _deserialized(data, as_tensor)
    except ValueError as error:
        name = getattr(path, "name", "the file") if hasattr(path, "read") else path
        raise LoadError(f"{name} cannot be loaded: {error}") from error


def save_file(tensors, filename, metadata=None):
    """Write a dict of tensors by name, and nothing of our own, for other programs to read.

    Strings in `metadata` go into the header; readers of weights ask for {"format": "pt"} there.
    """
    write_whole(filename, by_name(tensors, metadata))


def by_name(tensors, metadata=None):
    """The bytes of such a file."""
    arrays = {name: _as_numpy(t) for name, t in tensors.items()}
    return _safetensors(arrays, {"format": "pt"} if metadata is None else metadata)


def write_whole(path, data):
    """Write bytes to a file whole or not at all. Raises OSError naming the file."""
    with whole_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path):
    """A file to write bytes to, that is at `path` when the block has ended, whole or not at all.

    It is written beside it first, then moved over it. Raises OSError naming the file; what was
    there before is then untouched, as it is after any other error in the block.
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        if target.exists() and not target.is_file():
            raise OSError(errno.EINVAL, "not an ordinary file")
        try:
            with open(part, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part), str(target)):
            raise  # it is about what the block wanted to read
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    with contextlib.suppress(OSError):  # where a folder cannot be synced, the file is still whole
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# ---- bytes ------------------------------------------------------------------------

KINDS = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip
BLANK = "0" * 64
TEXT_LIMIT = 40_000_000  # readers refuse a header of 100 MB, and a quote takes two bytes in it


def _as_numpy(tensor):
    """The elements in row-major order; bfloat16 as uint16, which no tensor here has."""
    array = tensor._data.halves() if tensor.dtype is bfloat16 else tensor._as_numpy()
    return np.require(array, requirements="C")


def _safetensors(arrays, metadata):
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


def _serialized(obj):
    """The bytes of the file."""
    arrays, names = {}, {}
    try:
        structure = _encoded(obj, (), arrays, names)
        text = json.dumps({"sha256": BLANK, "structure": structure}, allow_nan=False)
    except RecursionError:
        raise TypeError("save: the object contains itself, or is nested too deeply") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise TypeError(f"save: {error}") from None
    if len(text) > TEXT_LIMIT:
        raise TypeError("save: over 40 MB of values that are not tensors; make tensors of them")
    data = _safetensors(arrays, {"microtensor": text})
    return data.replace(BLANK.encode(), _digest(data, BLANK).encode(), 1)


def _digest(data, seal):
    """SHA-256 of a file with zeros in place of its seal."""
    start = data.find(seal.encode())
    view = memoryview(data)
    whole = hashlib.sha256(view[:start])
    whole.update(BLANK.encode())
    whole.update(view[start + len(seal) :])
    return whole.hexdigest()


def entries(data):
    """(name, its dtype, shape and bytes) for each tensor in the bytes of a safetensors file."""
    import safetensors  # here, so that `import microtensor` costs NumPy and little more

    try:
        return safetensors.deserialize(data)
    except (ValueError, safetensors.SafetensorError) as error:
        reason = f"it is not a safetensors file ({error})"
        if data[:2] in (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"):
            reason = (
                "it is a bare pickle, as PyTorch wrote before version 1.6; load it there, and save "
                "it with torch.save or safetensors.torch"
            )
        raise LoadError(reason) from error


def _deserialized(data, as_tensor):
    """The object in the bytes of a file."""
    found = entries(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.get("__metadata__", {})
    # either of the two marks makes the file one of ours, so that damage to one is still noticed
    ours = [t for k, t in metadata.items() if k == "microtensor" or t.startswith('{"sha256":')]
    if not ours:
        return {name: as_tensor(array_of(name, entry)) for name, entry in found}
    try:
        sealed = json.loads(ours[0])
        if _digest(data, sealed["sha256"]) != sealed["sha256"]:
            raise LoadError("it is damaged: its checksum does not match")
        tensors = {name: as_tensor(array_of(name, entry)) for name, entry in found}
        return _decoded(sealed["structure"], tensors)
    except LoadError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise LoadError(f"it is damaged: its structure makes no sense ({error!r})") from error


def made(array, backend):
    """A tensor of an array of the CPU, on the device of a backend."""
    return Tensor._wrap(backend.asarray(array, dtype=backend_of(array).dtype(array)))


def array_of(name, entry):
    """A tensor of a file as a NumPy array."""
    kind, shape, data = entry["dtype"], entry["shape"], entry["data"]
    if kind not in KINDS:
        raise LoadError(f"tensor {name!r} has dtype {kind}; microtensor has {', '.join(KINDS)}")
    if kind == "BF16":
        return BFloat16Array.of_halves(np.frombuffer(data, np.uint16).reshape(shape))
    array = np.frombuffer(data, KINDS[kind]).reshape(shape)
    if kind == "BOOL" and array.view(np.uint8).max(initial=0) > 1:
        raise LoadError(f"tensor {name!r} has booleans that are neither 0 nor 1")
    return array


# ---- structure --------------------------------------------------------------------


def _encoded(value, path, arrays, names):
    """A value as JSON: plain values as they are, anything else as {"$kind": …}.

    Collects the tensors in `arrays`, by the name under which each stands in the file.
    """
    if isinstance(value, Tensor):
        name = _new_name(path, arrays)
        arrays[name] = _as_numpy(value)
        return {"$tensor": names.setdefault(id(value._data), name)}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, (list, tuple)):
        items = [_encoded(v, (*path, i), arrays, names) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, dict):
        items = [(k, _encoded(v, (*path, k), arrays, names)) for k, v in value.items()]
        if all(isinstance(k, str) and not k.startswith("$") for k, _ in items):
            return dict(items)
        return {"$dict": [[_plain(k, path), v] for k, v in items]}
    hint = "tensors, None, bools, numbers, strings, and dicts, lists and tuples of them can be"
    if hasattr(value, "state_dict"):
        hint = "save its state_dict()"
    elif isinstance(value, (np.ndarray, np.generic)):
        hint = "make it a tensor with mt.tensor()"
    raise _refusal("a value", value, path, hint)


def _plain(key, path):
    """A key of a dict as JSON."""
    if key is None or isinstance(key, (bool, int, float, str)):
        return _encoded(key, path, None, None)
    raise _refusal("a key", key, path, "keys are strings, numbers, bools or None")


def _refusal(role, value, path, hint):
    place = repr(".".join(map(str, path))) if path else "the top"
    return TypeError(f"save: {role} at {place} is a {type(value).__name__}; {hint}")


def _new_name(path, taken):
    """The name in the file of the tensor that a path leads to; none is used twice."""
    name = ".".join(map(str, path)).encode(errors="backslashreplace").decode() or "tensor"
    start, count = name, 1
    while name in taken or name == "__metadata__":
        count += 1
        name = f"{start}_{count}"
    return name


def _decoded(value, tensors):
    """The value that `_encoded` made JSON of."""
    if isinstance(value, list):
        return [_decoded(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    kind, content = next(iter(value.items()), ("", None))
    if kind == "$tensor":
        return tensors[content]
    if kind == "$float":
        return float(content)
    if kind == "$tuple":
        return tuple(_decoded(content, tensors))
    if kind == "$dict":
        return {_decoded(k, tensors): _decoded(v, tensors) for k, v in content}
    return {k: _decoded(v, tensors) for k, v in value.items()}
