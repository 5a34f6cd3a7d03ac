"""Saving and loading: tensors, plain values and modules in a safetensors file, nothing pickled.

Every tensor stands in the file under the path that leads to it ("model.wte.weight"), so a dict of
tensors is an ordinary safetensors file that any program reads by name. What else there is (the
nesting, numbers, strings) is JSON in the file's metadata, under "microtensor":

    {"sha256": …, "structure": {"step": 3, "betas": {"$tuple": [0.9, 0.99]}, "w": {"$tensor": "w"}}}

The checksum is that of the whole file with zeros in the checksum's own place, so that damage is
noticed. A whole module stands there as the name of its class and its attributes: see "objects".
"""

import contextlib
import errno
import importlib
import json
import math
import os
import sys
from collections import OrderedDict
from pathlib import Path, PurePath
from types import BuiltinFunctionType, FunctionType

import numpy as np

from .backends import backend_for, backend_of
from .backends.bfloat16 import BFloat16Array
from .backends.device import device
from .backends.dtypes import bfloat16, dtype, dtype_of
from .tensor import Tensor


class LoadError(ValueError):
    """A file that cannot be loaded: damaged, cut short, or something else altogether."""


def save(obj, f, pickle_module=None, pickle_protocol=2, _use_new_zipfile_serialization=True):
    """Write `obj` to a path, whole or not at all, or to an open binary file.

    `obj` is a tensor, an array of NumPy, None, a bool, a number, a string, a path, a dtype, a
    device, or a dict, list, tuple or set of such things, of any depth: state dicts of modules and
    optimizers among them. Keys are plain values, too. A module, and any other object of a class
    that is found in a module of Python by name, is saved as that name and its attributes. Raises
    TypeError naming the place of what cannot be saved, OSError if the file cannot be written.
    PyTorch's other arguments change nothing: nothing is pickled.
    """
    data = _serialized(obj)
    if hasattr(f, "write"):
        f.write(data)
    else:
        write_whole(f, data)


def load(f, map_location=None, pickle_module=None, *, weights_only=True, mmap=None):
    """What `save` wrote, its tensors on the CPU or on the device `map_location`.

    As in PyTorch, that may also be a dict of devices by device, or a function of a tensor and its
    device, always "cpu" here, that gives the tensor where it is wanted, or None for there.
    Dicts, lists and tuples come back as such; tensors as tensors that require no gradient;
    a tensor that occurred twice is one tensor again. What a file is, its content says: a
    safetensors file of another program gives a dict of tensors by name, and one of `torch.save`
    (.pt, .pth) what was saved there, if it is plain values and tensors: see `torch_file`. Raises
    LoadError for anything else.

    Never is code of a file run. Objects of this package's own modules come back; those of other
    classes only with weights_only=False or within `safe_globals`, for the file says which class it
    is, of which module, whose methods will be called. A file is read as a whole, with `mmap`, too.
    """
    data = f.read() if hasattr(f, "read") else Path(f).read_bytes()
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
        return _deserialized(data, as_tensor, not weights_only)
    except ValueError as error:
        name = getattr(f, "name", "the file") if hasattr(f, "read") else f
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
    part = target.with_name(f".{os.urandom(8).hex()}.part")
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
PLAIN = "biufcSU"  # kinds of arrays of NumPy that are their bytes: not objects, nor records
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
    file = _File()
    try:
        structure = _encoded(obj, (), file)
        text = json.dumps({"sha256": BLANK, "structure": structure}, allow_nan=False)
    except RecursionError:
        raise TypeError("save: the object contains itself, or is nested too deeply") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise TypeError(f"save: {error}") from None
    if len(text) > TEXT_LIMIT:
        raise TypeError("save: over 40 MB of values that are not tensors; make tensors of them")
    data = _safetensors(file.arrays, {"microtensor": text})
    return data.replace(BLANK.encode(), _digest(data, BLANK).encode(), 1)


def _digest(data, seal):
    """SHA-256 of a file with zeros in place of its seal."""
    start = data.find(seal.encode())
    view = memoryview(data)
    import hashlib  # late: it brings OpenSSL

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


def _deserialized(data, as_tensor, trusted):
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
        arrays = {name: array_of(name, entry) for name, entry in found}
        return _decoded(sealed["structure"], _File(arrays, as_tensor, trusted))
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


class _File:
    """What is being written or read: arrays by name, and the objects in the order they came."""

    def __init__(self, arrays=None, as_tensor=None, trusted=False):
        self.arrays, self.as_tensor, self.trusted = arrays or {}, as_tensor, trusted
        self.names = {}  # of the tensors by the id of their arrays, or, in reading, tensors by name
        self.objects = []

    def put(self, array, path):
        """The name under which an array stands in the file, which is that of the path to it."""
        name = _new_name(path, self.arrays)
        self.arrays[name] = np.require(array, requirements="C")
        return name

    def tensor(self, name):
        """The one tensor of that name."""
        if name not in self.names:
            self.names[name] = self.as_tensor(self.arrays[name])
        return self.names[name]


def _encoded(value, path, file):
    """A value as JSON: plain values as they are, anything else as {"$kind": …}.

    Collects the tensors in `file`, by the name under which each stands there.
    """
    if isinstance(value, Tensor) and type(value) is Tensor:
        return {"$tensor": _tensor_name(value, path, file)}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, (list, tuple)):
        items = [_encoded(v, (*path, i), file) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if type(value) is OrderedDict:  # as state dicts are: programs ask whether one is
        return {"$ordered": _encoded(dict(value), path, file)}
    if isinstance(value, dict):
        items = [(k, _encoded(v, (*path, k), file)) for k, v in value.items()]
        if all(isinstance(k, str) and not k.startswith("$") for k, _ in items):
            return dict(items)
        return {"$dict": [[_plain(k, path), v] for k, v in items]}
    if type(value) is set:
        items = sorted(value, key=repr)  # so that the file is the same each time
        return {"$set": [_encoded(v, (*path, i), file) for i, v in enumerate(items)]}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in PLAIN:
        if value.dtype.name in KINDS.values():
            return {"$array": file.put(value, path)}
        data = np.frombuffer(value.tobytes(), np.uint8)  # a dtype that safetensors lacks
        shape = list(value.shape)
        return {"$array": file.put(data, path), "dtype": value.dtype.str, "shape": shape}
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    if isinstance(value, (dtype, device)):
        return {f"${type(value).__name__}": str(value).rpartition(".")[2]}
    return _encoded_object(value, path, file)


def _tensor_name(tensor, path, file):
    """The name of a tensor in the file; of one that came before, under its first name.

    The array is written again, under its own path, so that other programs find it there.
    """
    return file.names.setdefault(id(tensor._data), file.put(_as_numpy(tensor), path))


def _plain(key, path):
    """A key of a dict as JSON."""
    if key is None or isinstance(key, (bool, int, float, str)):
        return _encoded(key, path, None)
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


def _decoded(value, file):
    """The value that `_encoded` made JSON of."""
    if isinstance(value, list):
        return [_decoded(v, file) for v in value]
    if not isinstance(value, dict):
        return value
    kind, content = next(iter(value.items()), ("", None))
    if kind in ("$object", "$parameter", "$again", "$name"):
        return _decoded_object(kind, content, value, file)
    if kind == "$tensor":
        return file.tensor(content)
    if kind == "$array":
        array = np.array(file.arrays[content])
        if "dtype" in value:
            array = array.view(np.dtype(value["dtype"])).reshape(value["shape"])
        return array[()]
    if kind == "$path":
        return Path(content)
    if kind == "$float":
        return float(content)
    if kind == "$dtype":
        return dtype_of(content)
    if kind == "$device":
        return device(content)
    if kind in ("$tuple", "$set"):
        return (tuple if kind == "$tuple" else set)(_decoded(content, file))
    if kind == "$ordered":
        return OrderedDict(_decoded(content, file))
    if kind == "$dict":
        return {_decoded(k, file): _decoded(v, file) for k, v in content}
    return {k: _decoded(v, file) for k, v in value.items()}


# ---- objects ----------------------------------------------------------------------
# An object is its attributes and the name of its class, "module:name". To read one, its class is
# looked for in the modules that are imported already (for weights_only=False they are imported),
# an empty object is made of it, and its attributes are set: no line of the class is run by that.
# So it is for functions among the attributes, such as a layer's activation: they stand in the file
# by name.

OWN = ("microtensor.nn.", "microtensor.ops.")  # whose classes and functions any file may name

_safe = []


def add_safe_globals(safe_globals):
    """Let every file name these classes and functions from now on, as `weights_only=False` does."""
    _safe.extend(safe_globals)


def get_safe_globals():
    """The classes and functions that every file may name."""
    return list(_safe)


def clear_safe_globals():
    """Let no file name a class or function, but for those of this package."""
    _safe.clear()


@contextlib.contextmanager
def safe_globals(safe_globals):
    """Within, files may name these classes and functions."""
    before = get_safe_globals()
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _safe[:] = before


def _encoded_object(value, path, file):
    """A class or function by its name, another object as {"$object": class, "attributes": …}."""
    if id(value) in file.names:
        return {"$again": file.names[id(value)]}
    named = isinstance(value, (type, FunctionType, BuiltinFunctionType))
    name = _name_of(value if named else type(value))
    if name is None or not (named or isinstance(value, Tensor) or _is_its_attributes(value)):
        raise _refusal("a value", value, path, _advice(value))
    if named:
        return {"$name": name}
    file.names[id(value)] = len(file.objects)
    file.objects.append(value)  # which also keeps its id from being another's
    if isinstance(value, Tensor):
        tensor = _tensor_name(value, path, file)
        return {"$parameter": name, "tensor": tensor, "requires_grad": value.requires_grad}
    return {"$object": name, "attributes": _encoded(vars(value), path, file)}


def _is_its_attributes(value):
    """Whether an object is no more than its attributes: its class does not say how it is kept."""
    said = ("reduce", "reduce_ex", "getstate", "setstate", "getnewargs", "getnewargs_ex")
    return hasattr(value, "__dict__") and not any(
        getattr(type(value), f"__{name}__", None) is not getattr(object, f"__{name}__", None)
        for name in said
    )


def _advice(value):
    """What can be saved instead."""
    if hasattr(value, "state_dict"):
        return "save its state_dict()"
    if isinstance(value, (np.ndarray, np.generic)):
        return "arrays of numbers, booleans and strings can be"
    return (
        "tensors, None, bools, numbers, strings, dicts, lists and tuples of them can be, and "
        "functions and objects with attributes whose name, or class, is found in a module"
    )


def _decoded_object(kind, content, value, file):
    """The object that `_encoded_object` made JSON of."""
    if kind == "$again":
        return file.objects[content]
    found = _found(content, imports=file.trusted)
    own = f"{found.__module__}.".startswith(OWN)
    if not (own or file.trusted or any(found is safe for safe in _safe)):
        raise LoadError(
            f"it asks for {content.replace(':', '.')}; if you trust it, use weights_only=False, or "
            "serialization.safe_globals([…]) around load()"
        )
    if kind == "$name":
        return found
    new = object.__new__(found)
    file.objects.append(new)
    if kind == "$parameter":
        new._data, new._needs_grad = file.tensor(value["tensor"])._data, value["requires_grad"]
    else:
        vars(new).update(**_decoded(value["attributes"], file))
    return new


def _name_of(value):
    """The name by which a class or function is found again; None if there is none."""
    ours = (
        [f"{OWN[0]}functional:{value.__name__}"] if f"{value.__module__}.".startswith(OWN) else []
    )
    for name in (f"{value.__module__}:{value.__qualname__}", *ours):
        with contextlib.suppress(LoadError):
            if _found(name) is value:
                return name
    return None


def _found(name, imports=False):
    """The class or function of that name in a module, which is imported already or `imports`."""
    place, _, path = name.partition(":")
    if imports and place not in sys.modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(place)
    found = sys.modules.get(place)
    for part in path.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    if not callable(found):
        raise LoadError(f"it asks for {path} of {place}, which is not there: import it first")
    return found
