"""Checks of arguments against type hints: if a value fits, and the words for what would.

A parameter of an operation bears no hint; its default, or its name, stands for one.
"""

import inspect
import math
import operator
import re

from ..backends.device import device
from ..backends.dtypes import dtype, dtype_of

# ---- whether a value is right --------------------------------------------------------


def is_tensor(value):
    return hasattr(value, "_data")


def is_array(value):
    return is_tensor(value) or hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def is_number(value):
    if isinstance(value, (int, float)):
        return True
    return math.prod(getattr(value, "shape", (2,))) == 1


def is_array_or_number(value):
    return is_array(value) or is_number(value)


def is_whole(value):
    if isinstance(value, bool):
        return False
    try:
        return -(2**63) <= operator.index(value) < 2**63
    except (TypeError, RuntimeError):
        return False


def are(holds):
    """True if every element of a list or tuple fits."""
    return lambda value: isinstance(value, (list, tuple)) and all(map(holds, value))


def is_dtype(value):
    try:
        return isinstance(value, dtype) or bool(dtype_of(value))  # some are names only
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return False


def is_iterable(value):
    if is_tensor(value):
        return True
    try:
        iter(value)
    except TypeError:
        return False
    return not isinstance(value, (str, bytes))


def is_a(*names):
    """True if a class of a value has one of these names: it may be of a higher floor."""
    return lambda value: any(base.__name__ in names for base in type(value).__mro__)


# ---- hints ---------------------------------------------------------------------------

WHOLE = "a whole number", is_whole, (int,)
NUMBER = "a number", is_number, (int, float)
MANY = list, tuple  # what is in them is looked at where something is wrong
SIZES = "a whole number, or several", lambda v: is_whole(v) or are(is_whole)(v), (int, *MANY)
SEVERAL = "whole numbers", are(is_whole), MANY
LIST = "Tensors in a list or tuple", are(is_tensor), MANY
TENSORS = "Tensors", lambda v: is_tensor(v) or are(is_tensor)(v), ()
FUNCTION = "a function", callable, ()
PARAMETERS = (
    "Tensors, or dicts of options, in a list or a generator such as model.parameters()",
    is_iterable,
    (),
)
SEQUENCE = "a sequence", lambda v: is_iterable(v) and hasattr(v, "__len__"), ()

HINTS = {  # what is right, whether a value is, and types that are not looked at
    "Tensor": ("a Tensor", is_tensor, ()),
    "TensorLike": ("a Tensor or a number", is_array_or_number, (int, float)),
    "bool": ("True or False", lambda v: v is True or v is False, (bool,)),
    "int": WHOLE,
    "float": NUMBER,
    "Scalar": NUMBER,
    "str": ("a str", lambda v: isinstance(v, str), (str,)),
    "None": ("None", lambda v: v is None, (type(None),)),
    "Dtype": ("a dtype", is_dtype, ()),
    "Device": ('a device, such as "cpu"', lambda v: isinstance(v, str) and v != "" or (
        is_whole(v) or is_a("device")(v)), ()),
    "Generator": ("a Generator", is_a("Generator"), ()),
    "Shape": SIZES,
    "Dims": SIZES,
    "Pair": SIZES,
    "Sequence[int]": SEVERAL,
    "Sequence[Tensor]": LIST,
    "TensorOrTensors": TENSORS,
    "tuple[float, float]": ("two numbers", lambda v: are(is_number)(v) and len(v) == 2, ()),
    "Callable": FUNCTION,
    "Optimizer": ("an optimizer", is_a("Optimizer"), ()),
    "Module": ("a Module", is_a("Module"), ()),
    "Parameters": PARAMETERS,
    "ParameterGroups": PARAMETERS,
    "Dataset": ("a data set, which has a length and is indexed", lambda v: hasattr(
        v, "__len__") or hasattr(v, "__iter__"), ()),
    "Sequence": SEQUENCE,
    "Iterable": ("an iterable", is_iterable, ()),
    "Sized": ("something with a length", lambda v: hasattr(v, "__len__"), ()),
}  # fmt: skip
HINTS |= {"Bool": HINTS["bool"], "Int": WHOLE, "Float": NUMBER}
IMPLIED = {"dim": "Dims | None", "dims": "Dims | None", "dtype": "Dtype | None",
           "diagonal": "int", "decimals": "int"}  # fmt: skip
OF_DEFAULT = {bool: "bool", int: "float", float: "float", str: "str"}
_PARTS = re.compile(r"(?:[^|\[]|\[[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\])+")


class Takes:
    """The values that one parameter takes: `words` for them, and `types` that always fit."""

    __slots__ = ("checks", "types", "words")

    def __init__(self, kinds):
        self.words = " or ".join(dict.fromkeys(k[0] for k in kinds if k[0] != "None")) or "None"
        self.checks = [k[1] for k in kinds]
        self.types = {one for k in kinds for one in k[2]}

    def holds(self, value):
        """True if a value fits."""
        try:
            right = any(check(value) for check in self.checks)
        except Exception:
            return False
        if is_tensor(value):
            of_its_type = is_tensor in self.checks or is_array_or_number in self.checks
        else:
            of_its_type = isinstance(value, (dtype, device))
        if right and of_its_type:  # as is every value of that type
            self.types.add(type(value))
        return right


def takes(parameter):
    """The `Takes` of a type hint; None where any value may fit."""
    hint = parameter.annotation
    if hint is parameter.empty:
        hint = IMPLIED.get(parameter.name) or OF_DEFAULT.get(type(parameter.default))
    elif not isinstance(hint, str):
        hint = getattr(hint, "__name__", "")
    kinds = []
    for part in _PARTS.findall(hint or ""):
        part = part.strip()
        kinds.append(HINTS.get(part) or HINTS.get(part.partition("[")[0]))
    if not kinds or None in kinds:
        return None
    if parameter.default is None:
        kinds.append(HINTS["None"])
    return Takes(kinds)


class Parameters(dict):
    """The `Takes` of a function's parameters by name; None for those that are not checked.

    `names` are those of the arguments given by position, `types` theirs that need no look.
    """

    def __init__(self, function, but=()):
        parameters = inspect.signature(function).parameters.values()
        for p in parameters:
            looked_at = p.name not in but and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            self[p.name] = takes(p) if looked_at else None
        self.names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        self.types = [self[name] and self[name].types for name in self.names]
