"""Names of PyTorch's that are not there: they can be imported, and say so when they are used.

Within `as_torch()` an import, or an attribute, of a name that PyTorch has and microtensor has not
gives an `Absent`: a stand-in that can be subclassed, be a decorator, an annotation, a default value
and the second argument of `isinstance` (False), and that raises an error with its name when it is
called, computed with, compared … Code that asks whether a name is there (`hasattr`, `getattr`,
`find_spec`, an import or an attribute in a `try` that catches its failure) is told the truth.
pytorch_names.txt says which names PyTorch has.
"""

from __future__ import annotations

import dis
import functools
import importlib
import itertools
import sys
import types
import typing
from pathlib import Path
from typing import Any

from ..backends.naming import COVERED

NAMES = Path(__file__).with_name("pytorch_names.txt")
ROOT = __name__.partition(".")[0]


@functools.cache
def pytorchs_names() -> dict[str, frozenset[str] | None]:
    """PyTorch's modules, and what each holds; None for one that may hold any name.

    Those are its private modules, which are listed without their names, and `torch.ops`.
    """
    lines = NAMES.read_text("utf-8").splitlines()[1:]
    found = (line.partition(":") for line in lines)
    return {module: frozenset(names.split()) if colon else None for module, colon, names in found}


class Absent:
    """A stand-in for a name of PyTorch's. A CamelCase name is a class: it equals itself alone, and
    `Name[...]` belongs to an annotation.
    """

    is_absent = True

    def __init__(self, name: str, reason: str = "") -> None:
        place, _, last = name.rpartition(".")
        reason = reason or f"what of PyTorch's is there: {COVERED}"
        vars(self).update(__module__=place, __name__=last, __qualname__=last, __doc__=None,
                          _full=name, _reason=reason)  # fmt: skip

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"microtensor has no {self._full}: {self._reason}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refused, but for a decorator's call: what it decorates is absent, too."""
        if not _decorates(sys._getframe(1), args):
            return self._refuse()
        names = ", ".join(getattr(arg, "__name__", "") for arg in args if callable(arg))
        return Absent(f"{self._full}({names})", self._reason)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not _needs(sys._getframe(1)):
            raise AttributeError(f"microtensor has no {self._full}, and no {name!r} of it")
        return stand_in(f"{self._full}.{name}", self._reason)

    def __getitem__(self, key: Any) -> Any:
        return Absent(f"{self._full}[{key!r}]", self._reason) if self._is_class else self._refuse()

    def __eq__(self, other: Any) -> Any:
        """Refused, but for what annotations are made of, which are compared when they are made."""
        kind = isinstance(other, (type, Absent)) or type(other).__module__ == "typing"
        return self is other if kind or self._is_class else self._refuse()

    def __hash__(self) -> int:
        return id(self)

    def __mro_entries__(self, bases: Any) -> Any:
        """A base class whose subclasses cannot be made."""

        def refuse(cls: Any, *args: Any, **kwargs: Any) -> Any:
            self._refuse()

        def spread(cls: Any, **options: Any) -> None:
            cls.__new__ = refuse

        members = {"__init_subclass__": classmethod(spread), "__module__": self.__module__}
        return (type(self.__name__, (), members),)

    def __instancecheck__(self, value: Any) -> bool:
        return False

    __subclasscheck__ = __instancecheck__

    def __or__(self, other: Any) -> Any:
        return typing.Union[self, other]  # noqa: UP007  (of what is no class)

    def __ror__(self, other: Any) -> Any:
        return typing.Union[other, self]  # noqa: UP007

    def __repr__(self) -> str:
        return f"<{self._full}, which microtensor has not>"

    def __reduce__(self) -> Any:
        return stand_in, (self._full, self._reason)

    @property
    def _is_class(self):
        return self.__name__.strip("_")[:1].isupper() and not self.__name__.isupper()


for _name in (
    "bool len iter contains setitem delitem enter exit index int float complex lt le gt ge neg pos "
    "abs invert add radd sub rsub mul rmul matmul rmatmul truediv rtruediv floordiv rfloordiv mod "
    "rmod pow rpow and rand xor rxor lshift rlshift rshift rrshift round array"
).split():
    setattr(Absent, f"__{_name}__", Absent._refuse)
stand_in = functools.cache(Absent)


def absent(name: str, reason: str = "it runs as one process") -> Any:
    """A stand-in for a name that is not there for a reason."""
    return Absent(name, reason)


# ---- what is asked for -----------------------------------------------------------------


def found(place: str, name: str) -> Any:
    """The stand-in for `place.name`, or its module; None if PyTorch lacks it or nobody needs it.

    `place` is a module of PyTorch's: "torch.nn".
    """
    full, known = f"{place}.{name}", pytorchs_names()
    dunder = name.startswith("__") and full not in known
    if dunder or place not in known or not _needs(_asking_frame()):
        return None
    if full in known:
        return importlib.import_module(full)
    if full == "torch.torch":  # the package holds itself
        return sys.modules["torch"]
    return stand_in(full) if known[place] is None or name in known[place] else None


def is_needed(module: str) -> bool | None:
    """True if a module that is absent is one of PyTorch's, and imported by code that needs it; None
    where `importlib.util` only asks for it.
    """
    frame = sys._getframe(1)
    while _is_ours(frame):
        if frame.f_globals.get("__name__") == "importlib.util":
            return None
        frame = frame.f_back
    return module in pytorchs_names() and not _guarded(frame)


class AbsentLoader:
    """Makes a module of PyTorch's that is not there: its names are stand-ins."""

    def create_module(self, spec: Any) -> Any:
        return None

    def exec_module(self, module: Any) -> None:
        place = module.__name__
        module.is_absent = True

        def __getattr__(name):
            value = found(place, name)
            if value is None:
                raise AttributeError(f"microtensor has no {place}.{name}")
            return value

        module.__getattr__ = __getattr__


# ---- what the code does with it --------------------------------------------------------
# A frame says which instruction it is at, and that says why a name is asked for.

_IMPORTERS = "importlib", "importlib._bootstrap", "importlib._bootstrap_external"


def _is_ours(frame):
    """True if a frame is of this package, or of Python's import system."""
    name = frame.f_globals.get("__name__", "")
    return name.split(".")[0] == ROOT or name in _IMPORTERS or name.startswith("importlib.")


def _asking_frame():
    """The frame of the program that asks for a name."""
    frame = sys._getframe(2)
    while _is_ours(frame):
        frame = frame.f_back
    return frame


def _operation(code, index):
    """The instruction of a number, and its argument."""
    return dis.opname[code.co_code[2 * index]], code.co_code[2 * index + 1]


def _needs(frame):
    """True if a frame asks for a name by a statement or by `x.name`: not by `hasattr`, not for
    nothing (`x.name` as a statement), and not where it is ready not to get it.
    """
    code, at = frame.f_code, frame.f_lasti // 2
    if _operation(code, at)[0] not in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM", "IMPORT_NAME"):
        return False
    after = (_operation(code, i)[0] for i in range(at + 1, len(code.co_code) // 2))
    return next(op for op in after if op != "CACHE") != "POP_TOP" and not _guarded(frame)


def _guarded(frame):
    """True if the instruction of a frame stands in a `try` that catches what an absent name raises:
    AttributeError for `x.name`, ImportError for imports.
    """
    attribute = _operation(frame.f_code, frame.f_lasti // 2)[0] in ("LOAD_ATTR", "LOAD_METHOD")
    raised = AttributeError if attribute else ModuleNotFoundError
    caught = {kind.__name__ for kind in raised.__mro__}
    code = dis.Bytecode(frame.f_code)
    targets = [e.target for e in code.exception_entries if e.start <= frame.f_lasti < e.end]
    if not targets:
        return False
    handler = itertools.dropwhile(lambda step: step.offset < targets[0], code)
    steps = [step for step, _ in zip(handler, range(12))]
    if [step.opname for step in steps[:2]] == ["PUSH_EXC_INFO", "POP_TOP"]:  # except:
        return True
    asked = itertools.takewhile(lambda step: step.opname != "CHECK_EXC_MATCH", steps)
    return any(step.argval in caught for step in asked if isinstance(step.argval, str))


def _decorates(frame, args):
    """True if a frame calls a decorator, or a function that makes one.

    `@f` calls f, and `@f(…)` what f(…) gives, by an instruction of no written argument that stands
    at the decorator's own place in the source.
    """
    code, at = frame.f_code, frame.f_lasti // 2
    if _operation(code, at) == ("CALL", 0):
        return len(args) == 1 and isinstance(args[0], (type, types.FunctionType, Absent))
    places = list(code.co_positions())
    return any(places[i] == places[at] and _operation(code, i) == ("CALL", 0)
               for i in range(at + 1, len(places)))  # fmt: skip
