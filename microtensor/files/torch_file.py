"""PyTorch's own files (.pt, .pth): read their tensors without running the program in them.

`torch.save` writes a zip archive: each storage is a file of it, and `data.pkl`, a pickle, builds an
object from them. A pickle is a program for a stack machine, and may call any function: opening one
runs a stranger's program. The machine here knows only the instructions in `run_pickle` and the
functions in FUNCTIONS; whatever else a file names is refused, and nothing is imported, called or
written for it.

The result is in proportion to the file: nothing is compressed, and the archive's files together are
no larger than the archive; an instruction makes one small object or takes others from the stack;
numbers have at most 4300 digits, those of a tensor's shape 63 bits; keys are plain, so that few
share a hash; a tensor is a view of its storage, and takes 20 bytes of the program; no list contains
itself, nor is it in so many others that walking through all of them would take for ever.
"""

import contextlib
import io
import math
import pickletools
import struct
import zipfile
from collections import OrderedDict, deque
from types import FunctionType

import numpy as np

from ..backends.bfloat16 import BFloat16Array
from ..backends.device import device
from ..backends.dtypes import DTYPES, dtype
from ..nn.module import Parameter
from ..tensor import Tensor
from .tensors import DIGITS, check_shape

ONLY = "only tensors, dicts, lists, tuples, numbers and strings are read"


def read(data, as_tensor):
    """The object in the bytes of a file; `as_tensor` makes a tensor of an array.

    Tensors that share memory in PyTorch share it here, too. Raises ValueError saying what is wrong,
    or what is refused.
    """
    with damage_as_value_error():
        archive = Archive(data)
        program = archive.file("data.pkl")
        value = run_pickle(program, archive, as_tensor)
    refuse_all_but_plain(value, len(program))
    return value


@contextlib.contextmanager
def damage_as_value_error():
    """A context that turns the errors of reading a damaged file into a ValueError."""
    try:
        yield
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, struct.error) as error:
        raise ValueError(f"it is damaged: {error}") from error
    except (LookupError, TypeError, OverflowError, AttributeError, RuntimeError) as error:
        raise ValueError(f"it is damaged: its pickle makes no sense ({error!r:.200})") from error


class Archive:
    """The files in a zip archive that PyTorch wrote. ValueError if it is another kind of archive.

    PyTorch compresses nothing, so all files together are no larger than the archive: whatever sizes
    a forged one claims, reading takes no more memory than that.
    """

    def __init__(self, data):
        self.zip = zipfile.ZipFile(io.BytesIO(data))
        entries = self.zip.infolist()
        programs = [e.filename for e in entries if e.filename.endswith("/data.pkl")]
        if len(programs) != 1:
            raise ValueError("it is a zip archive, but not one of PyTorch's: it has no data.pkl")
        if any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 1 for e in entries):
            raise ValueError("it is compressed or encrypted, as PyTorch's files never are")
        if sum(e.file_size for e in entries) > len(data):
            raise ValueError("it is damaged: the files in it are larger than the whole")
        names = {e.filename for e in entries}
        if len(names) < len(entries):
            raise ValueError("it is damaged: two files in it have the same name")
        self.folder = programs[0].removesuffix("data.pkl")
        order = self.file("byteorder") if f"{self.folder}byteorder" in names else b"little"
        if order not in ORDERS:
            raise ValueError("it is damaged: its order of bytes is neither little nor big")
        self.order = ORDERS[order]
        self.storages = {}

    def file(self, name):
        return self.zip.read(self.folder + name)

    def storage(self, kind, key, length):
        """The numbers of a storage, as an array; always the same one."""
        of_kind(Storage, kind), of_kind(str, key), of_kind(int, length)
        if key not in self.storages:
            numbers = np.frombuffer(self.file(f"data/{key}"), self.order + kind.code)
            if kind.name == "BoolStorage":
                if numbers.max(initial=0) > 1:
                    raise ValueError(f"storage {key} has booleans that are neither 0 nor 1")
                numbers = numbers.astype(bool)
            numbers = numbers.astype(numbers.dtype.newbyteorder("="))
            if kind.name == "BFloat16Storage":
                numbers = BFloat16Array.of_halves(numbers)
            self.storages[key] = kind, numbers
        stored, numbers = self.storages[key]
        if stored is not kind or len(numbers) != length:
            raise ValueError(f"it is damaged: storage {key} holds {len(numbers)} {stored.name}")
        return numbers


ORDERS = {b"little": "<", b"big": ">"}


# ---- what a pickle may name --------------------------------------------------------


class Storage:
    """A class of storages, such as torch.FloatStorage."""

    def __init__(self, name, code):
        self.name, self.code = name, code


def rebuild_tensor(array, offset, size, stride, requires_grad=False, hooks=None, metadata=None):
    """A tensor, as an array: a view of a storage, its strides counted in elements."""
    for extra in (hooks, metadata):
        if extra is not None and a_dict(extra):
            raise ValueError(f"a tensor in it has hooks or metadata; {ONLY}")
    if type(array) not in (np.ndarray, BFloat16Array):  # a tensor does not fill its memory
        raise TypeError(f"a {type(array).__name__} in place of a storage")
    check_shape(of_kind(tuple, size))
    if len(of_kind(tuple, stride)) != len(size):
        raise ValueError("it is damaged: a tensor has more strides than sizes, or fewer")
    for n in (offset, *stride):
        if of_kind(int, n) < 0 or n >= 2**63:
            raise ValueError("it is damaged: a tensor has strides or a place that make no sense")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(array):
        raise ValueError(
            f"it is damaged: a tensor of size {size!r:.80} and stride {stride!r:.80} at {offset} "
            f"reaches out of its storage of {len(array)}"
        )
    if type(array) is BFloat16Array:
        return BFloat16Array(rebuild_tensor(array.wide, offset, size, stride))
    if 0 in size:
        return np.empty(size, array.dtype)
    expanded = any(step == 0 and n > 1 for n, step in zip(size, stride))  # as Tensor.expand gives
    return np.lib.stride_tricks.as_strided(
        array[offset:], size, [step * array.itemsize for step in stride], writeable=not expanded
    )


def rebuild_parameter(tensor, requires_grad, hooks):
    if a_dict(hooks):
        raise ValueError(f"a parameter in it has hooks; {ONLY}")
    return Parameter(of_kind(Tensor, tensor), of_kind(bool, requires_grad))


def a_device(kind, index=None):
    if of_kind(str, kind) not in DEVICES or index is not None and of_kind(int, index) < 0:
        raise ValueError("it names a device that there is not")
    return device(kind, index)


DEVICES = "cpu", "cuda", "meta", "mps", "xpu"


def ordered_dict():
    return OrderedDict()


def a_dict(value):
    """The value, if it is a dict or an OrderedDict."""
    return of_kind(OrderedDict if type(value) is OrderedDict else dict, value)


def of_kind(kind, value):
    """The value, if it is exactly of this kind. (The error does not show it: it may be huge.)"""
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} in place of a {kind.__name__}")
    return value


FUNCTIONS = {
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_tensor": rebuild_tensor,
    "torch._utils._rebuild_parameter": rebuild_parameter,
    "torch.device": a_device,
    "torch.Size": lambda size: of_kind(tuple, size),
    "collections.OrderedDict": ordered_dict,
}
STORAGES = {
    f"torch.{name}Storage": Storage(f"{name}Storage", code)
    for name, code in {
        "Double": "f8", "Float": "f4", "Half": "f2", "BFloat16": "u2", "Long": "i8", "Int": "i4",
        "Short": "i2", "Char": "i1", "Byte": "u1", "Bool": "u1",
    }.items()
}  # fmt: skip
KINDS = {f"torch.{name}": kind for name, kind in DTYPES.items()}
NAMES = {**FUNCTIONS, **STORAGES, **KINDS}


def named(module, name):
    """The object that a pickle names `module.name`."""
    full = f"{of_kind(str, module)}.{of_kind(str, name)}"
    if full not in NAMES:
        raise ValueError(f"it asks for {shown(full)}, which is refused: {ONLY}")
    return NAMES[full]


def shown(name):
    """A name in a file, for an error: short, and without control characters."""
    return name[:200].encode("ascii", "backslashreplace").decode().translate(CONTROL)


CONTROL = dict.fromkeys([*range(32), 127], "?")


LONGEST_NAME = 1000  # two strings of a file could else make many long ones


def unknown_names(data):
    """The classes and functions that a file names and that are refused, each once.

    Its pickle is read but not run. Raises ValueError if it is invalid.
    """
    names, memo, last = {}, {}, deque([None, None], 2)  # the last two values, if they are strings
    with damage_as_value_error():
        program = Archive(data).file("data.pkl")
        left = 4 * len(program) + LONGEST_NAME  # characters of all names together
        for instruction, argument, _ in pickletools.genops(program):
            match instruction.name:
                case "BINPUT" | "LONG_BINPUT":
                    memo[argument] = last[-1]
                case "MEMOIZE":
                    memo[len(memo)] = last[-1]
                case "BINGET" | "LONG_BINGET":
                    last.append(memo.get(argument))
                case "GLOBAL" | "INST" | "STACK_GLOBAL":
                    stacked = instruction.name == "STACK_GLOBAL"
                    parts = [*map(str, last)] if stacked else argument.split(" ")
                    if sum(map(len, parts)) > LONGEST_NAME:
                        raise ValueError(f"a name in it has over {LONGEST_NAME} characters")
                    name = ".".join(parts)
                    left -= 0 if name in names else len(name)
                    if left < 0:
                        raise ValueError("it makes too many long names of a few strings")
                    names[name] = None
                    last.append(None)
                case name:
                    last.append(argument if "UNICODE" in name else None)
    return [name for name in names if name not in NAMES]


# ---- the machine -------------------------------------------------------------------

A_TENSOR = 20  # bytes: PyTorch's programs take at least so many to build a tensor
A_CONTAINER = 2  # bytes of a list or dict: one makes it, and at least one puts it into the memo


def run_pickle(program, archive, as_tensor):
    """Run the instructions of a pickle and return its value."""
    # Long because each instruction is one case, a line or a few.
    left, empty = len(program) // A_TENSOR, len(program) // A_CONTAINER + 1
    program = io.BytesIO(program)
    stack, marks, memo = [], [], {}

    def pop(n):
        """The last n values on the stack, in their order."""
        if n > len(stack):
            raise IndexError("the stack is empty")
        values = stack[len(stack) - n :]
        del stack[len(stack) - n :]
        return values

    def pop_marked():
        return pop(len(stack) - marks.pop())

    while True:
        instruction = pickletools.code2op[program.read(1).decode("latin-1")]
        argument = lambda: instruction.arg.reader(program)  # noqa: B023
        match instruction.name:
            case "PROTO" | "FRAME":
                argument()
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(instruction.name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument())
            case "LONG4":
                stack.append(short_enough(argument()))
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                stack.append(argument())
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(pop(int(instruction.name[-1]))))
            case "TUPLE":
                stack.append(tuple(pop_marked()))
            case "EMPTY_LIST" | "EMPTY_DICT":
                stack.append([] if instruction.name == "EMPTY_LIST" else {})
                empty -= 1
                if empty < 0:
                    raise ValueError("it is damaged: it has more lists than its size allows")
            case "APPEND" | "APPENDS":
                values = pop(1) if instruction.name == "APPEND" else pop_marked()
                of_kind(list, stack[-1]).extend(values)
            case "SETITEM" | "SETITEMS":
                values = pop(2) if instruction.name == "SETITEM" else pop_marked()
                items = zip(map(plain_key, values[::2]), values[1::2], strict=True)
                a_dict(stack[-1]).update(items)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument()] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument()])
            case "GLOBAL":
                stack.append(named(*argument().rsplit(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(named(*pop(2)))
            case "BINPERSID":
                role, kind, key, device, length = of_kind(tuple, stack.pop())
                stack.append(archive.storage(kind, key, length))
            case "REDUCE":
                function, arguments = pop(2)
                result = of_kind(FunctionType, function)(*of_kind(tuple, arguments))
                if type(result) in (np.ndarray, BFloat16Array):
                    result, left = as_tensor(result), left - 1
                    if arguments[4:5] == (True,):
                        result.requires_grad_()
                if left < 0:
                    raise ValueError("it is damaged: it has more tensors than its size allows")
                stack.append(result)
            case "BUILD":  # a state dict knows the versions of its modules
                attributes, made = a_dict(stack.pop()), type(stack[-1])
                alone = len(attributes) == 1 and "_metadata" in attributes
                if not alone or made not in (dict, OrderedDict):
                    raise ValueError(f"it has an object with attributes; {ONLY}")
            case "STOP":
                (value,) = stack
                return value
            case name:
                raise ValueError(f"it has the instruction {name}, which is refused: {ONLY}")


def short_enough(number):
    """An integer, if its digits can be written out."""
    if number.bit_length() > math.log2(10) * DIGITS:
        raise ValueError(f"a number in it has over {DIGITS} digits")
    return number


def plain_key(key):
    """A key of a dict. (Long integers and tuples could be made to collide, or to nest deeply.)"""
    long = type(key) is int and key.bit_length() > 63
    if long or type(key) not in (str, int, float, bool, type(None)):
        raise ValueError(f"a key in it is a {type(key).__name__}; keys are strings and numbers")
    return key


def refuse_all_but_plain(value, program_size):
    """Raise ValueError unless the value is of the kinds in a file of tensors, and not too large.

    A list in many places counts in each, so that printing, copying or saving the value takes no
    longer than for a value without sharing; a list in itself is refused.
    """
    left, values = [value], 0
    while left:
        value = left.pop()
        if type(value) in (dict, OrderedDict):
            inner = [*value, *value.values()]
        elif type(value) in (list, tuple):
            inner = value
        elif type(value) in (Tensor, Parameter, dtype, device, str, int, float, bool, type(None)):
            inner = ()
            values += len(value) // 16 if type(value) is str else 0
            values += value.bit_length() // 64 if type(value) is int else 0
        else:
            raise ValueError(f"it holds a {type(value).__name__}; {ONLY}")
        values += len(inner)
        if values > WRITTEN_OUT * program_size + MORE:
            raise ValueError(
                "a list, tuple, dict or string in it is in itself, or in so many places that it "
                f"comes to over {WRITTEN_OUT} values for each byte"
            )
        left += inner


WRITTEN_OUT, MORE = (
    4,
    2**16,
)  # limits: values for each byte of the pickle, and values for any pickle
