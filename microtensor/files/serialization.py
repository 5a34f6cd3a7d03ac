"""Save and load tensors, plain values and modules in a safetensors file, without pickle.

Every tensor is stored under the path that leads to it ("model.wte.weight"), so a dict of tensors is
an ordinary safetensors file that any program reads by name. Everything else (the nesting, numbers,
strings) is JSON in the file's metadata, under "microtensor":

    {"sha256": …, "structure": {"step": 3, "betas": {"$tuple": [0.9, 0.99]}, "w": {"$tensor": "w"}}}

The checksum is that of the whole file with zeros in place of the checksum, so that damage is
noticed; it does not tell who wrote the file. A whole module is stored as the name of its class and
its attributes.

Tensors that share memory do so again, in their strides: see `files/sharing.py`.

`load` is safe for files from anyone: it returns tensors and plain values of exact built-in types;
nothing is imported, called, or found by a name in the file; and the memory that it takes is in
proportion to the file: tensors within a small factor, empty lists and dicts, which take Python 56
bytes and more, within 100 times. This is so because the tensors are read by the safetensors library
(`files/tensors.py`), the structure by a table of the kinds of values (`files/structure.py`), and
PyTorch's files by a machine with few instructions (`torch_file.py`). Objects are made only of
classes that the caller names (`files/objects.py`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from ..autograd.errors import warn
from ..backends import backend_for, backend_of
from ..backends.bfloat16 import BFloat16Array
from ..tensor import Tensor
from ..typing import File, Path
from .objects import (
    add_safe_globals,
    check_paths,
    clear_safe_globals,
    get_safe_globals,
    imported,
    names_in,
    refuse_unsafe,
    safe_globals,
    safe_names,
)
from .sharing import COPIES, laid_out, layout
from .structure import PLAIN, Reader, Writer
from .structure import encoded as _encoded
from .tensors import KINDS, array_of, contents, entries, read_json
from .tensors import as_numpy as _as_numpy
from .tensors import safetensors as _safetensors
from .whole import LoadError, read_whole, whole_file, write_whole


def save(obj: Any, f: File, pickle_module: Any = None, pickle_protocol: int = 2,
         _use_new_zipfile_serialization: bool = True) -> None:  # fmt: skip
    """Write `obj` to a path, whole or not at all, or to an open binary file.

    `obj` is a tensor, an array of NumPy, None, a bool, a number, a string, a path, a dtype, a
    device, or a dict, list, tuple or set of such things, of any depth: state dicts of modules and
    optimizers among them. Keys are plain values, too. A module, and any other object of a class
    that is found in a module of Python by name, is saved as that name and its attributes. Raises
    TypeError naming the place of what cannot be saved, OSError if the file cannot be written.
    A path that ends in .pt or .pth becomes a file of PyTorch's kind, which `torch.load` reads with
    its defaults, if `obj` is made of tensors and plain values; else it warns that it is a
    safetensors file. PyTorch's other arguments change nothing: nothing is pickled.
    """
    if hasattr(f, "write"):
        f.write(_serialized(obj))
    else:
        write_whole(f, _for_torch(obj, f) or _serialized(obj))


def _for_torch(obj, path):
    """The bytes of a .pt file; None, with a warning, for what PyTorch could not read from one."""
    if not os.fsdecode(path).endswith((".pt", ".pth")):
        return None
    from . import torch_writer

    try:
        return torch_writer.written(obj)
    except torch_writer.NotPlain as reason:
        warn(f"{reason}; so it is a safetensors file, which PyTorch does not read as {path}")
        return None
    except RecursionError:
        raise ValueError("save: a dict, list or tuple is in itself, or nested too deeply") from None


def load(f: File, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool = True,
         mmap: Any = None) -> Any:  # fmt: skip
    """Load what `save` wrote, with its tensors on the CPU or on the device `map_location`.

    As in PyTorch, that may also be a dict of devices by device, or a function of a tensor and its
    device, always "cpu" here, that returns the tensor on the wanted device, or None to leave it.
    Dicts, lists and tuples are restored as such, tensors as leaves that require a gradient if they
    did; a tensor that occurred twice is one tensor again. The kind of a file is found from its
    content: a safetensors file of another program gives a dict of tensors by name, and one of
    `torch.save` (.pt, .pth) its object, if it consists of plain values and tensors: see
    `torch_file`. Raises LoadError for anything else. A file is read as a whole, with `mmap`, too.

    Files from strangers are safe: they give tensors, parameters and plain values, and take memory
    and time in proportion to their size. Whole modules and other objects are only loaded within
    `safe_globals`, which names their classes. With weights_only=False a file of `save` may name any
    class and function that Python can import, whose methods are called sooner or later: that is as
    dangerous as a pickle, and only for files that you wrote yourself.
    """
    data = f.read() if hasattr(f, "read") else read_whole(f)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"load: a file of bytes is needed, its read() gave {type(data).__name__}")
    data = bytes(data)
    as_tensor = _Placed(map_location, len(data))
    try:
        if data.startswith(ZIP):
            from . import torch_file

            return torch_file.read(data, as_tensor)
        trusted = weights_only is not None and not weights_only  # None is PyTorch's default
        return _deserialized(data, as_tensor, trusted)
    except ValueError as error:
        raise _load_error(f, error) from error


ZIP = b"PK\3\4"


def get_unsafe_globals_in_checkpoint(f: File) -> list[str]:
    """The names of the classes and functions that a file needs and may not name yet.

    These are what `safe_globals` would have to name. No object of the file is made. For a file of
    `torch.save`, they are the reason why it cannot be read here.
    """
    data = bytes(f.read()) if hasattr(f, "read") else read_whole(f)
    try:
        if data.startswith(ZIP):
            from . import torch_file

            return torch_file.unknown_names(data)
        sealed = _sealed(data, contents(data)[1])
        names = names_in(sealed["structure"]) if sealed else []
    except ValueError as error:
        raise _load_error(f, error) from error
    names, known = [name.replace(":", ".") for name in names], safe_names()
    return [name for name in names if name not in known]


def _load_error(f, error):
    """The LoadError for a file, with its name if it has one."""
    name = getattr(f, "name", "the file") if hasattr(f, "read") else f
    return LoadError(f"{name} cannot be loaded: {error}")


def save_file(tensors: Mapping[str, Tensor], filename: Path, metadata: Any = None) -> None:
    """Write a dict of tensors by name as a plain safetensors file, for other programs to read.

    Strings in `metadata` go into the header; readers of weights ask for {"format": "pt"} there.
    """
    write_whole(filename, by_name(tensors, metadata))


def by_name(tensors, metadata=None):
    """The bytes of such a file."""
    arrays = {name: _as_numpy(t) for name, t in tensors.items()}
    return _safetensors(arrays, {"format": "pt"} if metadata is None else metadata)


# ---- tensors -----------------------------------------------------------------------

MORE = 2**24  # copies made of a file of n bytes may take COPIES × n + MORE bytes


def made(array, backend):
    """A tensor from an array on the CPU, on the device of a backend."""
    return Tensor._wrap(backend.asarray(array, dtype=backend_of(array).dtype(array)))


class _Placed:
    """Makes tensors from the arrays of a file on the device that `map_location` says.

    Raises LoadError if they grow out of proportion to its size: tensors that share memory become
    separate copies on another device, and so does an expanded one when it is used.
    """

    def __init__(self, map_location, size):
        if isinstance(map_location, dict):
            map_location = map_location.get("cpu")
        self.move = map_location if callable(map_location) else None
        self.place = "cpu" if self.move or map_location is None else map_location
        self.backend, self.left = backend_for(self.place), COPIES * size + MORE

    def __call__(self, array):
        here = array.wide if isinstance(array, BFloat16Array) else array
        if str(self.place) != "cpu" or _shows_elements_twice(here):
            self.charge(here.nbytes)
        tensor = made(array, self.backend)
        moved = self.move and self.move(tensor, "cpu")
        if moved is None or moved is tensor:
            return tensor
        self.charge(here.nbytes)
        return moved

    def charge(self, size):
        self.left -= size
        if self.left < 0:
            raise LoadError("its tensors show the same memory again and again: they are too large")


def _shows_elements_twice(array):
    """True if an array has more elements than its memory holds."""
    if not array.size or array.flags.c_contiguous:
        return False
    span = sum((n - 1) * abs(step) for n, step in zip(array.shape, array.strides))
    return math.prod(array.shape) > 1 + span // array.itemsize


# ---- bytes -------------------------------------------------------------------------

BLANK = "0" * 64
TEXT_LIMIT = 40_000_000  # readers refuse a header of 100 MB, and a quote takes two bytes in it


def _serialized(obj):
    """The bytes of the file."""
    file = Writer()
    try:
        structure = _encoded(obj, (), file)
        table = layout(file.shown)
        sealed = {"sha256": BLANK, "structure": structure, **({"memory": table} if table else {})}
        text = json.dumps(sealed, allow_nan=False)
    except RecursionError:
        raise TypeError("save: the object contains itself, or is nested too deeply") from None
    except ValueError as error:  # a number with more digits than Python reads
        raise TypeError(f"save: {error}") from None
    if len(text) > TEXT_LIMIT:
        raise TypeError("save: over 40 MB of values that are not tensors; make tensors of them")
    data = _safetensors(file.arrays, {"microtensor": text})
    return data.replace(BLANK.encode(), _digest(data, BLANK).encode(), 1)


def _digest(data, seal):
    """SHA-256 of a file with zeros in place of its seal."""
    start = data.find(seal.encode())
    view = memoryview(data)
    import hashlib  # imported late: it loads OpenSSL

    whole = hashlib.sha256(view[:start])
    whole.update(BLANK.encode())
    whole.update(view[start + len(seal) :])
    return whole.hexdigest()


def _sealed(data, metadata):
    """{"sha256": …, "structure": …} of a file, None for another program's. LoadError if damaged."""
    # either of the two marks makes the file one of ours, so that damage to one is still noticed
    ours = [t for k, t in metadata.items() if k == "microtensor" or t.startswith('{"sha256":')]
    if not ours:
        return None
    try:
        sealed = read_json(ours[0])
        seal = sealed["sha256"]
        if type(seal) is not str or len(seal) != len(BLANK) or _digest(data, seal) != seal:
            raise LoadError("it is damaged: its checksum does not match")
        sealed["structure"]
    except LoadError:
        raise
    except _NONSENSE as error:
        raise LoadError(f"it is damaged: its structure makes no sense ({error!r:.200})") from error
    return sealed


_NONSENSE = (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError)


def _deserialized(data, as_tensor, trusted):
    """The object in the bytes of a file."""
    tensors, metadata = contents(data)
    sealed = _sealed(data, metadata)
    if sealed is None:
        return {name: as_tensor(array_of(name, entry)) for name, entry in tensors}
    known = safe_names()

    def found(name):
        return imported(name, True) if trusted else known[name.replace(":", ".")]

    try:
        if not trusted:
            refuse_unsafe(sealed["structure"], known)
        arrays = {name: array_of(name, entry) for name, entry in tensors}
        arrays = laid_out(arrays, sealed.get("memory", {}), as_tensor.charge)
        reader = Reader(arrays, as_tensor, found, trusted)
        value = reader.value(sealed["structure"])
        if not trusted:
            check_paths(reader.objects)
        return value
    except LoadError:
        raise
    except _NONSENSE as error:
        raise LoadError(f"it is damaged: its structure makes no sense ({error!r:.200})") from error


__all__ = [
    "BLANK", "KINDS", "LoadError", "PLAIN", "add_safe_globals", "array_of", "by_name",
    "clear_safe_globals", "entries", "get_safe_globals", "get_unsafe_globals_in_checkpoint", "load",
    "made", "safe_globals", "save", "save_file", "whole_file", "write_whole",
]  # fmt: skip
