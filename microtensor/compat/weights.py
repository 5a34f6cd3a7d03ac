"""The functions of `safetensors.torch`: files of weights by name, from and for other programs.

What they read is tensors and their names, whoever wrote the file, and no larger than it: the
metadata, and what `mt.save` writes there, is not looked at.

Under `compat.as_torch()` a program that imports them from there gets these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..backends import backend_for
from ..files.serialization import array_of, by_name, entries, made, save_file
from ..files.whole import read_whole
from ..nn.module import Module
from ..typing import Device, Path, Tensor


def load(data: Any, device: Device = "cpu") -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file, by name. Raises LoadError for others."""
    backend = backend_for(device)
    return {name: made(array_of(name, entry), backend) for name, entry in entries(data)}


def load_file(
    filename: Path, device: Device = "cpu", *, backend: str = "mmap"
) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name; the whole file is read, whatever `backend`."""
    return load(read_whole(filename), device)


def save(tensors: Mapping[str, Tensor], metadata: Any = None) -> bytes:
    """A dict of tensors as the bytes of a safetensors file."""
    return by_name(tensors, metadata)


def save_model(
    model: Module, filename: Path, metadata: Any = None, force_contiguous: bool = True
) -> None:
    """Write a module's state; a tensor it has under several names once, noted in the metadata."""
    state, metadata = model.state_dict(), dict(metadata or {})
    for kept, others in _shared(state):
        for name in others:
            metadata.setdefault(name, kept)
            del state[name]
    save_file(state, filename, metadata or None)


def load_model(model: Module, filename: Path, strict: bool = True, device: Device = "cpu", *,
               backend: str = "mmap") -> Any:  # fmt: skip
    """Load what `save_model` wrote: (names missing in the file, names of no place in the model).

    Raises RuntimeError, if `strict`, where there are any.
    """
    state = load_file(filename, device)
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = set(missing)
    for kept, others in _shared(model.state_dict()):
        if not missing.issuperset((kept, *others)):  # one of its names is enough
            missing -= {kept, *others}
    if strict and (missing or unexpected):
        raise RuntimeError(
            f"load_model: {filename} does not fit {type(model).__name__}: missing "
            f"{sorted(missing)}, unexpected {sorted(unexpected)}"
        )
    return missing, unexpected


def storage_ptr(tensor):
    """The address of the memory that a tensor shows all or a part of."""
    return tensor.untyped_storage().data_ptr()


def storage_size(tensor):
    """The bytes of that memory."""
    return tensor.untyped_storage().nbytes()


def _shared(state):
    """(the first, the others) of the names of each tensor that a state holds under several."""
    names = {}
    for name in sorted(state):
        names.setdefault(state[name].data_ptr(), []).append(name)
    return [(first, others) for first, *others in names.values() if others and state[first].numel()]


__all__ = ["load", "load_file", "load_model", "save", "save_file", "save_model",
           "storage_ptr", "storage_size"]  # fmt: skip
