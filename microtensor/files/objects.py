"""Objects in a file: the name of a class, "module:name", and its attributes.

By default a file may name nothing. `safe_globals` says which classes and functions it may name, and
these alone are then compared with the names in it: nothing is imported or looked up by a name that
a file gives. An object is made by `object.__new__` and its attributes are put into its `__dict__`,
so that no line of its class runs; nor is it ever asked for an attribute, hashed or compared while a
file is read. Classes are refused that define how they are saved or how attributes are found
(`__del__`, `__reduce__`, `__setstate__`, `__getattr__` and others in TRAPS), and so are attributes
that would replace a member of the class, such as a method, and modules with invalid parts.

With weights_only=False a file may name anything that can be imported: that is as dangerous as a
pickle.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from abc import ABCMeta
from collections import defaultdict
from types import BuiltinFunctionType, FunctionType, GetSetDescriptorType
from typing import Any

import numpy as np

from .. import nn
from ..backends.device import device
from ..backends.dtypes import dtype
from ..nn import functional
from ..nn.module import Module, Parameter
from ..optim.optimizer import Optimizer
from ..tensor import Tensor
from .whole import LoadError

OWN = ("microtensor.nn.", "microtensor.ops.")  # its functions are also found in nn.functional
PARAMETER = "microtensor.nn.module:Parameter"  # the mark of a Parameter in every file

OLDER = {  # the modules of functions in older versions; those of ops/composite were in ops
    "microtensor.ops.conversion": "microtensor.ops.elementwise",
    "microtensor.ops.error_function": "microtensor.ops.elementwise",
    "microtensor.ops.exponentials": "microtensor.ops.elementwise",
    "microtensor.ops.trigonometry": "microtensor.ops.elementwise",
}

# ---- what a file may name ----------------------------------------------------------

_safe = []


def add_safe_globals(safe_globals: Any) -> None:
    """Allow every file to name these classes and functions from now on.

    An entry may also be (class or function, "module.name"), the name that it has in the file.
    Name only classes whose methods are safe with any attributes: the file's author chose these.
    """
    entries = list(safe_globals)
    for entry in entries:
        named = type(entry) is tuple and len(entry) == 2 and type(entry[1]) is str
        if not callable(entry[0] if named else entry):
            raise TypeError(f"safe_globals: a class or function is needed, got {entry!r:.100}")
    _safe.extend(entries)


def get_safe_globals() -> list[Any]:
    """The classes and functions that every file may name."""
    return list(_safe)


def clear_safe_globals() -> None:
    """Allow no file to name a class or function."""
    _safe.clear()


@contextlib.contextmanager
def safe_globals(safe_globals: Any) -> Any:
    """A context in which files may name only these classes and functions: see `add_safe_globals`.

    A whole module needs its own class, those of its parts, and its functions:

        with mt.serialization.safe_globals([MyModel, nn.Linear, nn.functional.relu]):
            model = mt.load("model.safetensors")

    The error of `load` names those that are missing in the list.
    """
    before = get_safe_globals()
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _safe[:] = before


def safe_names():
    """The classes and functions that a file may name, by the names that it may have for them."""
    found = {}
    for entry in _safe:
        if type(entry) is tuple:
            found[entry[1].replace(":", ".")] = entry[0]
        else:
            found.update((name.replace(":", "."), entry) for name in _names_of(entry))
    return found


def names_in(structure):
    """The names of classes and functions in a structure, in their order, each once."""
    names, left = {}, [structure]
    while left:
        value = left.pop()
        if type(value) is list:
            left += reversed(value)
        elif type(value) is dict:
            kind = next(iter(value), None)
            name = value[kind] if kind in ("$object", "$name", "$parameter") else None
            if type(name) is str and (kind, name) != ("$parameter", PARAMETER):
                names[name] = None
            left += reversed(value.values())
    return list(names)


def refuse_unsafe(structure, known):
    """Raise LoadError, listing the missing names, if a structure needs others than the `known`."""
    names = [name for name in names_in(structure) if name.replace(":", ".") not in known]
    if not names:
        return
    ours = {name: f"mt.nn.functional.{key}" for key, name in _ours(functional)}
    ours |= {name: f"mt.nn.{key}" for key, name in _ours(nn)}
    said = [ours.get(name) or _as_typed(name) for name in names[:100]]
    first = said[0] if len(names) == 1 else f"{said[0]} and {len(names) - 1} more"
    raise LoadError(
        f"it asks for {first}; if you trust it, load it within "
        f"mt.serialization.safe_globals([{', '.join(said)}])"
    )


def _ours(module):
    """(its name as one types it, its name in a file) for each class and function of a module."""
    for key, value in vars(module).items():
        if isinstance(value, (type, FunctionType)):
            yield from ((key, name) for name in _names_of(value))


def _as_typed(name):
    """The name of a class in a file as one types it."""
    if not re.fullmatch(r"[A-Za-z_][\w.]{,200}:[A-Za-z_][\w.]{,200}", name, re.ASCII):
        return repr(name[:100])
    place, _, path = name.partition(":")
    return path if place == "__main__" else f"{place}.{path}".replace("microtensor.", "mt.", 1)


# ---- names -------------------------------------------------------------------------


def _names_of(value):
    """The names under which a class or function may stand in a file."""
    place, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    names = [f"{place}:{name}"]
    if f"{place}.".startswith(OWN):
        names.append(f"{OWN[0]}functional:{value.__name__}")
    before = OLDER.get(place, f"{place}".replace(".ops.composite.", ".ops."))
    if place and before != place:
        names.append(f"{before}:{name}")
    return names


def _name_of(value):
    """The name by which a class or function can be found again; None if there is none."""
    for name in _names_of(value):
        with contextlib.suppress(LoadError):
            if imported(name) is value:
                return name
    return None


def imported(name, imports=False):
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


# ---- writing -----------------------------------------------------------------------


def encoded_object(value, path, file, encoded):
    """A class or function by its name, another object as {"$object": class, "attributes": …}."""
    if id(value) in file.names:
        return {"$again": file.names[id(value)]}
    named = isinstance(value, (type, FunctionType, BuiltinFunctionType))
    name = _name_of(value if named else type(value))
    if name is None or not (named or isinstance(value, Tensor) or _is_its_attributes(value)):
        raise refusal("a value", value, path, _advice(value))
    if named:
        return {"$name": name}
    file.names[id(value)] = len(file.objects)
    file.objects.append(value)  # keeps it alive, so that no other object gets its id
    if isinstance(value, Tensor):
        tensor = file.tensor_name(value, path)
        return {"$parameter": name, "tensor": tensor, "requires_grad": value.requires_grad}
    attributes = vars(value)
    if isinstance(value, Optimizer):  # its state is by parameter, which no key of JSON can be
        attributes = {**value.__getstate__(), "state": [*map(list, value.state.items())]}
    return {"$object": name, "attributes": encoded(attributes, path, file)}


def refusal(role, value, path, hint):
    """The TypeError for a value that cannot be saved."""
    place = repr(".".join(map(str, path))) if path else "the top"
    return TypeError(f"save: {role} at {place} is a {type(value).__name__}; {hint}")


def _is_its_attributes(value):
    """True if an object consists of its attributes: its class does not define how it is saved."""
    said = ("reduce", "reduce_ex", "getstate", "setstate", "getnewargs", "getnewargs_ex")
    base = Optimizer if isinstance(value, Optimizer) else object
    return hasattr(value, "__dict__") and not any(
        getattr(type(value), f"__{name}__", None) is not getattr(base, f"__{name}__", None)
        for name in said
    )


def _advice(value):
    """Advice on what to save instead of a value."""
    if hasattr(value, "state_dict"):
        return "save its state_dict()"
    if isinstance(value, (np.ndarray, np.generic)):
        return "arrays of numbers, booleans and strings can be"
    return (
        "tensors, None, bools, numbers, strings, dicts, lists and tuples of them can be, and "
        "functions and objects with attributes whose name, or class, is found in a module"
    )


# ---- making objects ----------------------------------------------------------------

TRAPS = frozenset(
    f"__{name}__"
    for name in (
        "del", "new", "reduce", "reduce_ex", "getstate", "setstate", "getnewargs", "getnewargs_ex",
        "copy", "deepcopy", "getattr", "getattribute", "slots", "class",
    )
)  # fmt: skip
OURS = (
    object,
    Tensor,
    *Tensor.__mro__[1:-1],
    Parameter,
    Module,
    Optimizer,
)  # may define them, as they are known
MADE_BY = (type, ABCMeta, type(Tensor))  # metaclasses that do not influence a bare instance
DATA = (type(None), bool, int, float, str, dtype, device)
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks")
RARE_HOOKS = ("_before_saving", "_after_saving", "_before_loading", "_after_loading")


def empty_object(found):
    """An object of a class without attributes, made without running the class's code. LoadError if
    the class defines how objects are made."""
    name = getattr(found, "__qualname__", found)
    if type(found) not in MADE_BY:
        raise LoadError(f"it asks for an object of {name}, which is not an ordinary class")
    for kind in found.__mro__:
        traps = TRAPS.intersection(vars(kind)) if kind not in OURS else ()
        if type(vars(kind).get("__slots__")) is tuple and not vars(kind)["__slots__"]:
            traps = set(traps) - {"__slots__"}
        if type(vars(kind).get("__dict__")) not in (type(None), GetSetDescriptorType):
            traps = {"__dict__"}
        if traps:
            trap = min(traps)
            raise LoadError(f"it asks for an object of {name}, which defines {trap}: refused")
    try:
        new = object.__new__(found)
        object.__getattribute__(new, "__dict__")
    except (TypeError, AttributeError) as error:
        raise LoadError(f"it asks for an object of {name}, which cannot be made: {error}") from None
    return new


def set_attributes(new, attributes):
    """Put attributes into the `__dict__` of an object. LoadError if one would hide a member."""
    kind = type(new)
    module = Module in kind.__mro__
    if Tensor in kind.__mro__:
        raise LoadError(f"it asks for a {kind.__qualname__} without numbers: refused")
    if Optimizer in kind.__mro__:
        attributes = set_state(new, attributes)
    for name, value in attributes.items():
        member = next((vars(k)[name] for k in kind.__mro__ if name in vars(k)), None)
        defined = any(name in vars(k) for k in kind.__mro__)
        # a default of the class that is a number or string, such as `training`, may be replaced
        default = not name.startswith("_") and _is_data(member) and _is_data(value)
        unused = module and name in RARE_HOOKS and type(value) is dict and not value
        if name.startswith("__") or defined and not (default or unused):
            raise LoadError(f"it gives a {kind.__qualname__} an attribute {name!r:.100}: refused")
    if module:
        _check_module(kind.__qualname__, attributes)
    object.__getattribute__(new, "__dict__").update(attributes)


PATHS = 16  # ways that lead to a module, for each object of a file, in the mean


def check_paths(found):
    """Raise LoadError unless whoever walks the modules of a file comes to an end soon.

    Modules may be shared, as in PyTorch, but `apply`, `train` and others visit one once for each
    way that leads to it: none may be in itself, and the visits are bounded by the objects.
    """
    modules = [m for m in found if Module in type(m).__mro__]
    visits = {}  # of each module by id; None until those of its parts are known
    for start in modules:
        waiting = [start]
        while waiting:
            module = waiting[-1]
            parts = [part for part in vars(module)["_modules"].values() if part is not None]
            if id(module) not in visits:
                visits[id(module)] = None
                waiting += [part for part in parts if id(part) not in visits]
                continue
            if visits[id(module)] is None:
                inner = [visits[id(part)] for part in parts]
                if None in inner:
                    raise LoadError("it asks for a module that is in itself")
                visits[id(module)] = 1 + sum(inner)
            waiting.pop()
    if max(visits.values(), default=0) > PATHS * (len(found) + PATHS):
        raise LoadError(f"its {len(modules):,} modules are in one another in too many places")


def set_state(new, attributes):
    """Put the state of an optimizer into it. Returns its other attributes."""
    rest, name = dict(attributes), type(new).__qualname__
    groups, pairs = rest.get("param_groups"), rest.pop("state", None)
    called, defaults = rest.pop("_opt_called", False), rest.get("defaults")
    fits = type(groups) is list and type(pairs) is list and type(defaults) is dict
    fits = fits and type(called) is bool and all(
        type(group) is dict and type(group.get("params")) is list
        and all(type(p) in (Tensor, Parameter) for p in group["params"]) for group in groups
    ) and all(
        type(pair) is list and len(pair) == 2 and type(pair[0]) in (Tensor, Parameter)
        and type(pair[1]) is dict for pair in pairs
    )  # fmt: skip
    if not fits:
        raise LoadError(f"it gives a {name} groups or a state that are none")
    state = defaultdict(dict, map(tuple, pairs))
    object.__getattribute__(new, "__dict__").update(state=state, _opt_called=called)
    return rest


def _is_data(value):
    """True if a value is a number, a string, None or the like, or a collection of such."""
    items = value.values() if type(value) is dict else value
    return type(value) in DATA or (
        type(value) in (list, tuple, set, dict) and all(type(item) in DATA for item in items)
    )


def _check_module(name, attributes):
    """Raise LoadError if the parts of a module do not have the right types."""
    parts = {
        "_parameters": Parameter, "_buffers": Tensor, "_modules": Module,
    }  # fmt: skip
    for registry, kind in parts.items():
        found = attributes.get(registry)
        if type(found) is not dict or not all(
            type(key) is str and (part is None or kind in type(part).__mro__)
            for key, part in found.items()
        ):
            raise LoadError(f"it gives a {name} {registry} that are none")
    names = attributes.get("_non_persistent_buffers_set")
    if type(names) is not set or not all(type(n) is str for n in names):
        raise LoadError(f"it gives a {name} no set of names of buffers")
    for hooks in HOOKS:
        if type(attributes.get(hooks)) is not dict or attributes[hooks]:
            raise LoadError(f"it gives a {name} {hooks}: refused")


def new_parameter(found, tensor, requires_grad):
    """A Parameter, or an object of another subclass of Tensor, with the memory of a tensor."""
    if type(requires_grad) is not bool or requires_grad and not tensor.is_floating_point():
        raise ValueError("a parameter that cannot require a gradient does")
    new = empty_object(found)
    if Tensor not in type(new).__mro__ or any(
        name in vars(kind)
        for kind in type(new).__mro__
        if kind not in OURS
        for name in ("_data", "_needs_grad")
    ):
        raise LoadError(f"it asks for a tensor of {found.__qualname__}, which is none")
    object.__getattribute__(new, "__dict__").update(_data=tensor._data, _needs_grad=requires_grad)
    return new
