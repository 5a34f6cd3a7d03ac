"""Writing PyTorch's own files (.pt, .pth), which `torch.load` reads with its defaults.

The counterpart of `torch_file`: a zip archive with a file for each storage, and a pickle that
builds the object from them. Only the instructions of plain values and tensors are written; no class
and no function of the program that saves is named. Tensors that share memory share a storage.
"""

import io
import math
import struct
import zipfile
from collections import OrderedDict

import numpy as np

from ..backends import backend_of
from ..backends.bfloat16 import BFloat16Array
from ..backends.device import device
from ..backends.dtypes import DTYPES, bfloat16, dtype
from ..nn.module import Parameter
from ..tensor import Tensor
from .torch_file import STORAGES

FOLDER = "archive"
STORAGE_OF = {storage.code: name for name, storage in STORAGES.items()}
STORAGE_OF |= {
    "b1": "torch.BoolStorage",
    "u1": "torch.ByteStorage",
    "bf16": "torch.BFloat16Storage",
}


class NotPlain(TypeError):
    """A value of another kind than those that PyTorch reads without running code."""


def written(value):
    """The bytes of a file. NotPlain, with its place, for what is no plain value or tensor."""
    writer = Writer()
    program = b"\x80\x02" + writer.encoded(value, ()) + b"."
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{FOLDER}/data.pkl", program)
        archive.writestr(f"{FOLDER}/byteorder", b"little")
        for key, numbers in enumerate(writer.storages):
            archive.writestr(f"{FOLDER}/data/{key}", numbers.tobytes())
        archive.writestr(f"{FOLDER}/version", b"3\n")
    return out.getvalue()


class Writer:
    """The instructions of a pickle, and the storages that its tensors are views of."""

    def __init__(self):
        self.storages, self.keys, self.memo, self.kept = [], {}, {}, []

    def encoded(self, value, path):
        """The instructions that leave a value on the stack."""
        kind = type(value)
        if isinstance(value, Tensor) and kind in (Tensor, Parameter):
            return self.once(value, self.tensor)
        if kind in PLAIN:
            return PLAIN[kind](value)
        if isinstance(value, dtype) and value.name in DTYPES:
            return named("torch", value.name)
        if kind is device:
            index = [] if value.index is None else [number(value.index)]
            return called("torch", "device", text(value.type), *index)
        if isinstance(value, tuple) and kind.__name__ == "Size":
            return called("torch", "Size", together(*map(number, value)))
        if kind in (list, tuple):
            items = b"".join(self.encoded(v, (*path, i)) for i, v in enumerate(value))
            return b"(" + items + b"t" if kind is tuple else b"](" + items + b"e"
        if kind in (dict, OrderedDict):
            items = b"".join(self.encoded(k, (*path, k)) + self.encoded(v, (*path, k))
                             for k, v in value.items())  # fmt: skip
            made = b"}" if kind is dict else called("collections", "OrderedDict")
            state = getattr(value, "_metadata", None)
            after = self.encoded({"_metadata": state}, path) + b"b" if state is not None else b""
            return made + b"(" + items + b"u" + after
        place = "".join(f"[{step!r:.80}]" for step in path) or "the whole"
        raise NotPlain(f"save: {place} is a {kind.__name__}, which only code could make again")

    def once(self, value, write):
        """The result of `write(value)`; the same object again is taken from the memo."""
        if id(value) in self.memo:
            return b"j" + struct.pack("<I", self.memo[id(value)])
        program = write(value)
        self.memo[id(value)] = len(self.memo)
        self.kept.append(value)  # so that its id stays its own
        return program + b"r" + struct.pack("<I", self.memo[id(value)])

    def tensor(self, tensor):
        array = tensor._data if tensor.dtype is bfloat16 else tensor._as_numpy()
        storage, key, start, strides = self.storage(array)
        where = together(text("storage"), named("torch", storage.removeprefix("torch.")), text(key),
                         text("cpu"), number(len(self.storages[int(key)])))  # fmt: skip
        hooks = called("collections", "OrderedDict")
        grad = b"\x88" if tensor.requires_grad else b"\x89"
        plain = called(
            "torch._utils", "_rebuild_tensor_v2", where + b"Q", number(start),
            together(*map(number, array.shape)), together(*map(number, strides)),
            b"\x89" if type(tensor) is Parameter else grad, hooks,
        )  # fmt: skip
        if type(tensor) is not Parameter:
            return plain
        return called("torch._utils", "_rebuild_parameter", plain, grad, hooks)

    def storage(self, array):
        """(kind, key, where the array begins in it, its strides), counted in elements."""
        kind = "bf16" if isinstance(array, BFloat16Array) else array.dtype.str[1:]
        if kind == "bf16":
            numbers = np.ascontiguousarray(array.halves()).reshape(-1)
            return self.add(numbers, kind, array.shape)
        root = backend_of(array).memory(array)
        shared = (
            array.size
            and root.dtype == array.dtype
            and root.flags.c_contiguous
            and array.dtype.isnative
        )
        if not shared or any(step < 0 for step in array.strides):
            return self.add(np.ascontiguousarray(array).reshape(-1), kind, array.shape)
        if id(root) not in self.keys:
            self.keys[id(root)] = len(self.storages)
            self.storages.append(root.reshape(-1))
            self.kept.append(root)
        start = address(array) - address(root)
        strides = tuple(step // array.itemsize for step in array.strides)
        return STORAGE_OF[kind], str(self.keys[id(root)]), start // array.itemsize, strides

    def add(self, numbers, kind, shape):
        self.storages.append(numbers)
        strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
        return STORAGE_OF[kind], str(len(self.storages) - 1), 0, strides


def address(array):
    return array.__array_interface__["data"][0]


# ---- instructions --------------------------------------------------------------------


def text(value):
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise NotPlain(f"save: {value!r:.80} is no text in UTF-8") from None
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(data) > 255:
        raise NotPlain("save: a number has over 600 digits")
    return b"\x8a" + bytes([len(data)]) + data


def together(*values):
    return b"(" + b"".join(values) + b"t"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def called(module, name, *arguments):
    return named(module, name) + together(*arguments) + b"R"


PLAIN = {
    type(None): lambda _: b"N", bool: lambda value: b"\x88" if value else b"\x89", int: number,
    float: lambda value: b"G" + struct.pack(">d", value), str: text,
}  # fmt: skip
