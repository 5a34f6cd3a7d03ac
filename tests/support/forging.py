"""Forging files that are valid otherwise, and a canary that sings when decoding one does more.

While a file is decoded an audit hook listens: whatever event of Python's there is (an import, an
opened file, a command, compiled code, …), decoding must cause none. What comes out is looked at,
down to its exact types.
"""

import contextlib
import io
import json
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as safetensors
from torch_archive import SIX, archive, tensor

import microtensor as mt
from microtensor import nn
from microtensor.files.serialization import BLANK, LoadError, _digest, safe_globals

# ---- the canary ----------------------------------------------------------------------

heard, listening, hooked = [], [False], []
HARMLESS = {"builtins.id"}


def _hook(event, args):
    if listening[0] and event not in HARMLESS:
        heard.append((event, repr(args)[:100]))


@contextlib.contextmanager
def canary():
    """AssertionError if anything but computation happens within."""
    heard.clear()
    listening[0] = True
    try:
        yield
    finally:
        listening[0] = False
    assert heard == []


def load(data, **options):
    """`mt.load` of bytes, under the canary."""
    file = io.BytesIO(data)
    with canary():
        return mt.load(file, **options)


@pytest.fixture(scope="module", autouse=True)
def warm():
    """What is imported late, the safetensors library and the checksums among it, is there."""
    if not hooked:
        sys.addaudithook(_hook)  # for ever: Python takes none away
        hooked.append(True)
    mt.load(io.BytesIO(forged({"$tensor": "x"})))
    mt.load(io.BytesIO(archive(tensor((6,), (1,)), s0=SIX)))
    with pytest.raises(LoadError):
        mt.load(io.BytesIO(b"rubbish"))


# ---- forging -------------------------------------------------------------------------

ARRAYS = {
    "x": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": np.array([True, False]),
    "bytes": np.arange(8, dtype=np.uint8), "n": np.array(3),
}  # fmt: skip


def forged(structure, arrays=None, memory=None):
    """A file with this structure and with the right checksum; the structure may be JSON text."""
    if not isinstance(structure, str):
        structure = json.dumps(structure)
    more = "" if memory is None else f', "memory": {json.dumps(memory)}'
    text = f'{{"sha256": "{BLANK}", "structure": {structure}{more}}}'
    data = safetensors(ARRAYS if arrays is None else arrays, {"microtensor": text})
    return data.replace(BLANK.encode(), _digest(data, BLANK).encode(), 1)


def with_header(header, data=b""):
    """A safetensors file with this header."""
    header = header.encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


PLAIN = (type(None), bool, int, float, str, mt.dtype, mt.device, type(Path()), mt.Tensor)


def check_plain(value):
    """AssertionError unless a value consists of tensors and plain values, of exact types."""
    left, seen = [value], set()
    while left:
        value = left.pop()
        kind = type(value)
        if kind in (list, tuple, set) and id(value) not in seen:
            seen.add(id(value))
            left += value
        elif kind in (dict, OrderedDict) and id(value) not in seen:
            seen.add(id(value))
            left += [*value, *value.values()]
        elif kind is nn.Parameter:
            assert set(vars(value)) == {"_data", "_needs_grad"}
        elif kind is np.ndarray or issubclass(kind, np.generic):
            assert kind is np.ndarray or kind.__module__ == "numpy"
            assert value.dtype.kind in "biufcSU"
        else:
            assert kind in (*PLAIN, list, tuple, set, dict, OrderedDict)


SHELL = "touch pwned"
LINEAR = "microtensor.nn.layers:Linear"
RELU = "microtensor.nn.functional:relu"


def an_object(name, **attributes):
    return {"$object": name, "attributes": attributes}


# ---- classes and functions that note when they are called ----------------------------

CALLS = []


def noted(*args, **kwargs):
    CALLS.append(args)
    raise RuntimeError("called")


SPECIAL = """init call hash eq repr str iter len bool setattr delattr format index int float array
    get set delete set_name enter exit contains getitem setitem next add radd lt gt fspath bytes
    instancecheck subclasscheck prepare missing reversed length_hint array_interface
    init_subclass class_getitem dir""".split()
Noted = type(
    "Noted", (), {**{f"__{name}__": noted for name in SPECIAL}, "keys": noted, "items": noted,
                  "shadow": property(noted), "limit": 5}
)  # fmt: skip
SAFE = [(Noted, "m:Noted"), (noted, "m:noted"), nn.Linear, nn.Sequential, nn.functional.relu]


@pytest.fixture(name="known")
def noting():
    """Classes and functions that a file may name, which note whenever they are called."""
    CALLS.clear()
    with safe_globals(SAFE):
        yield
    assert CALLS == []


MODULE = {
    "_parameters": {}, "_buffers": {}, "_modules": {}, "_non_persistent_buffers_set": {"$set": []},
    "_forward_pre_hooks": {}, "_forward_hooks": {}, "_backward_hooks": {}, "training": False,
}  # fmt: skip
