"""The structure of a file as JSON: the nested values that its tensors are parts of.

Plain values are written as they are; a type that JSON lacks is an object such as {"$tuple": […]},
whose one key begins with "$" (a dict with such a key, or with other keys than strings, is {"$dict":
pairs}). `Reader` makes exactly the types of this table, built-in ones, and calls nothing on them
but `hash` for the elements of sets and the keys of dicts, which are plain values. The result is no
larger than the file, within a small factor: a list of JSON is a list, an array is used once, a
tensor is the same each time, and few values have the same hash.
"""

import math
import re
from collections import OrderedDict
from pathlib import Path, PurePath

import numpy as np

from ..backends.device import device
from ..backends.dtypes import DTYPES, dtype
from ..nn.module import Parameter
from ..tensor import Tensor
from . import objects
from .tensors import KINDS, as_numpy, check_shape

PLAIN = "biufcSU"  # NumPy's kinds of arrays that consist of their bytes: no objects, no records


# ---- writing -----------------------------------------------------------------------


class Writer:
    """The state of writing a file: arrays by name, and objects in the order of their first use."""

    def __init__(self):
        self.arrays, self.shown = {}, {}  # what is written; the memory of tensors, by their names
        self.names = {}  # tensors by the id of their arrays; objects by theirs
        self.objects = []

    def put(self, array, path):
        """Store an array and return its name in the file, which follows from the path to it."""
        name = new_name(path, self.arrays)
        self.arrays[name] = np.require(array, requirements="C")
        return name

    def tensor_name(self, tensor, path):
        """The name of a tensor in the file; one that was stored before keeps its first name.

        Its array is stored again under the new path, so that other programs find it there.
        """
        name = self.put(as_numpy(tensor), path)
        if id(tensor._data) not in self.names:
            self.names[id(tensor._data)], self.shown[name] = name, tensor._data
        return self.names[id(tensor._data)]


def encoded(value, path, file):
    """A value as JSON: plain values as they are, anything else as {"$kind": …}.

    Collects the tensors in `file`, by their names.
    """
    if isinstance(value, Tensor) and type(value) is Tensor:
        name = {"$tensor": file.tensor_name(value, path)}
        return {**name, "requires_grad": True} if value.requires_grad else name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, (list, tuple)):
        items = [encoded(v, (*path, i), file) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if type(value) is OrderedDict:  # as state dicts are: programs check for this
        return {"$ordered": encoded(dict(value), path, file)}
    if isinstance(value, dict):
        items = [(k, encoded(v, (*path, k), file)) for k, v in value.items()]
        if all(isinstance(k, str) and not k.startswith("$") for k, _ in items):
            return dict(items)
        return {"$dict": [[_plain(k, path), v] for k, v in items]}
    if type(value) is set:
        items = sorted(value, key=repr)  # so that equal values give equal files
        return {"$set": [encoded(v, (*path, i), file) for i, v in enumerate(items)]}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in PLAIN:
        if value.dtype.name in KINDS.values():
            return {"$array": file.put(value, path)}
        data = np.frombuffer(value.tobytes(), np.uint8)  # a dtype that safetensors lacks
        shape = list(value.shape)
        return {"$array": file.put(data, path), "dtype": value.dtype.str, "shape": shape}
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    if isinstance(value, device) or isinstance(value, dtype) and value.name in DTYPES:
        return {f"${type(value).__name__}": str(value).rpartition(".")[2]}
    return objects.encoded_object(value, path, file, encoded)


def _plain(key, path):
    """A key of a dict as JSON."""
    if key is None or isinstance(key, (bool, int, float, str)):
        return encoded(key, path, None)
    raise objects.refusal("a key", key, path, "keys are strings, numbers, bools or None")


def new_name(path, taken):
    """The name in the file of the tensor at a path; no name is used twice."""
    name = ".".join(map(str, path)).encode(errors="backslashreplace").decode() or "tensor"
    start, count = name, 1
    while name in taken or name == "__metadata__":
        count += 1
        name = f"{start}_{count}"
    return name


# ---- reading -----------------------------------------------------------------------

COLLISIONS = 64  # so many different keys may share a hash: up to 34 floats do so naturally
PLAIN_KEYS = (type(None), bool, int, float, str)
HASHED = (*PLAIN_KEYS, Tensor, Parameter, dtype, device, type(Path()))  # in sets


class Reader:
    """Restores the value that `encoded` turned into JSON.

    `arrays` are those of the file by name, `as_tensor` makes a tensor from one, and `found` gives
    the class or function of a name, or raises LoadError. With `trusted`, objects of any class are
    made. Raises ValueError, TypeError, LookupError or RecursionError for invalid JSON, LoadError
    for what is refused.
    """

    def __init__(self, arrays, as_tensor, found, trusted=False):
        self.arrays, self.as_tensor, self.found, self.trusted = arrays, as_tensor, found, trusted
        self.tensors, self.requiring, self.objects = {}, {}, []

    def value(self, value):
        """The value of this JSON. (It takes no deeper a stack than `encoded` took.)"""
        kind = type(value)
        if kind is list:
            return [self.value(item) for item in value]
        if kind is not dict:
            return value
        if not any(name.startswith("$") for name in value):
            return {name: self.value(item) for name, item in value.items()}
        mark, *fields = value
        if (mark, *fields) not in KINDS_OF_JSON:
            raise ValueError(f"an object of {list(value)!r:.80}")
        content = value[mark]
        if mark == "$tuple":
            return tuple([self.value(item) for item in of(list, content)])
        if mark == "$ordered":
            return OrderedDict(of(dict, self.value(of(dict, content))))
        return getattr(self, f"_{mark[1:]}")(content, *(value[name] for name in fields))

    def _tensor(self, name, requires_grad=False):
        """The one tensor of that name; or the one that has its memory and requires a gradient."""
        if of(str, name) not in self.tensors:
            self.tensors[name] = self.as_tensor(self.arrays[name])
        tensor = self.tensors[name]
        if not of(bool, requires_grad):
            return tensor
        if not tensor.is_floating_point():
            raise ValueError(f"a tensor of {tensor.dtype} that requires a gradient")
        if name not in self.requiring:
            self.requiring[name] = tensor.detach().requires_grad_()
        return self.requiring[name]

    def _array(self, name, kind=None, shape=None):
        """The array of that name, which may be used once; 0-d ones as NumPy's numbers."""
        array = self.arrays.pop(of(str, name))
        if not isinstance(array, np.ndarray):
            raise TypeError(f"an array of {array.dtype}")
        array = np.array(array)
        if kind is not None:
            check_shape(of(list, shape))
            array = as_kind(array, of(str, kind)).reshape(shape)
        return array[()]

    def _parameter(self, name, tensor, requires_grad):
        found = Parameter if name == objects.PARAMETER else self.found(of(str, name))
        new = objects.new_parameter(found, self._tensor(tensor), requires_grad)
        self.objects.append(new)
        return new

    def _object(self, name, content):
        found = self.found(of(str, name))
        new = object.__new__(found) if self.trusted else objects.empty_object(found)
        self.objects.append(new)
        attributes = of(dict, self.value(of(dict, content)))
        if not all(type(name) is str for name in attributes):
            raise TypeError("attributes whose names are no strings")
        if self.trusted:
            own = isinstance(new, objects.Optimizer)
            vars(new).update(objects.set_state(new, attributes) if own else attributes)
        else:
            objects.set_attributes(new, attributes)
        return new

    def _again(self, number):
        """The object that was read as this number."""
        if of(int, number) < 0:
            raise IndexError(number)
        return self.objects[number]

    def _name(self, name):
        return self.found(of(str, name))

    def _set(self, content):
        items = [self.value(item) for item in of(list, content)]
        if not self.trusted:
            check_hashed(items)
        return different(set(refuse_collisions(items)), items)

    def _dict(self, content):
        keys, values = [], []
        for key, value in of(list, content):
            key = self.value(key)
            if type(key) not in PLAIN_KEYS:
                raise TypeError(f"a key that is a {type(key).__name__}")
            keys.append(key)
            values.append(self.value(value))
        return different(dict(zip(refuse_collisions(keys), values)), keys)

    def _float(self, content):
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[of(str, content)]

    def _path(self, content):
        return Path(of(str, content))

    def _dtype(self, content):
        return DTYPES[of(str, content)]

    def _device(self, content):
        if not re.fullmatch(r"[a-z]{1,20}(:[0-9]{1,9})?", of(str, content)):
            raise ValueError(f"a device {content!r:.80}")
        try:
            return device(content)
        except RuntimeError as error:  # there is no such device
            raise ValueError(str(error)) from None


KINDS_OF_JSON = {  # the names of each, in their order
    ("$tensor",), ("$tensor", "requires_grad"), ("$array",), ("$array", "dtype", "shape"),
    ("$tuple",), ("$set",), ("$dict",), ("$ordered",), ("$float",), ("$path",), ("$dtype",),
    ("$device",),
    ("$parameter", "tensor", "requires_grad"), ("$object", "attributes"), ("$again",), ("$name",),
}  # fmt: skip


def of(kind, value):
    """The value, if it is exactly of this kind."""
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} in place of a {kind.__name__}")
    return value


def as_kind(array, kind):
    """Bytes as elements of a dtype that safetensors lacks."""
    if array.dtype != np.uint8 or not re.fullmatch(r"[<>|][biufcSU][0-9]{1,9}", kind, re.ASCII):
        raise ValueError(f"an array of {kind!r:.80}")
    dtype = np.dtype(kind)
    if dtype.kind not in PLAIN or dtype.itemsize == 0 or dtype.name in KINDS.values():
        raise ValueError(f"an array of {kind!r:.80}")
    array = array.reshape(-1).view(dtype)
    if dtype.kind == "U" and array.view(f"{kind[0]}u4").max(initial=0) > 0x10FFFF:
        raise ValueError("an array of text that is none")
    return array


def check_hashed(items):
    """Raise TypeError if an element of a set is not plain: its `__hash__` would be called.

    A named tuple of NumPy's scalars is not plain, a tuple of plain elements is.
    """
    left = list(items)
    while left:
        item = left.pop()
        if type(item) is tuple:
            left += item
        elif type(item) not in HASHED and np.generic not in type(item).__mro__:
            raise TypeError(f"a {type(item).__name__} in a set")


def refuse_collisions(keys):
    """The keys, checked that few share one hash: a table of many that do takes for ever."""
    hashes = sorted(map(hash, keys))
    if any(a == b for a, b in zip(hashes, hashes[COLLISIONS:])):
        raise ValueError(f"over {COLLISIONS} keys, or elements of a set, share one hash")
    return keys


def different(made, keys):
    """The set or dict made from the keys, checked that no two of them are equal."""
    if len(made) < len(keys):
        raise ValueError("a key, or an element of a set, occurs twice")
    return made
