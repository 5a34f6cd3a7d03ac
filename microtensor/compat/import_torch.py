"""`as_torch`: within it `import torch` finds microtensor."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import operator
import re
import sys
from typing import Any

from ..backends.naming import PACKAGE, STAND_IN
from . import absent
from .paths import ROOT, Finder, attribute
from .shims import SPOKEN


def _answered(name):
    return name.split(".")[0] == "torch" or name == "safetensors.torch"


def _ours(name):
    """The module of microtensor that a name of PyTorch's stands for; None for another name."""
    if not _answered(name):
        return None
    ours = f"{ROOT}.weights" if name == "safetensors.torch" else ROOT + name.removeprefix("torch")
    if not _is_there(ours):
        raise ModuleNotFoundError(f"microtensor has no {name}", name=name)
    return ours


def _is_there(ours):
    """True if microtensor has a module; it has none below one that it lacks."""
    try:
        return importlib.util.find_spec(ours) is not None
    except ModuleNotFoundError:
        return False


class _Finder(Finder):
    """Answers imports of PyTorch's modules by microtensor's, and by absent ones."""

    def find_spec(self, name, path=None, target=None):
        if name.startswith("torch.") and not _is_there(ROOT + name.removeprefix("torch")):
            needed = absent.is_needed(name)
            if needed is None:
                return None
            if not needed:
                raise ModuleNotFoundError(f"microtensor has no {name}", name=name)
            return importlib.util.spec_from_loader(name, absent.AbsentLoader(), is_package=True)
        return super().find_spec(name, path, target)

    def find_distributions(self, context):
        """Metadata for `importlib.metadata`: PyTorch is installed, in this version."""
        return [_Distribution()] if context.name == "torch" else []


class _Distribution(importlib.metadata.Distribution):
    """PyTorch as an installed package."""

    def read_text(self, filename):
        return f"Name: torch\nVersion: {SPOKEN}\n" if filename == "METADATA" else None

    def locate_file(self, path):
        return path


def _stand_in(place, name):
    """The value that a module of microtensor gives, within `as_torch`, for a name that it lacks."""
    return absent.found("torch" + place.removeprefix(ROOT), name)


def _give():
    """Let what is loaded of microtensor stand in sys.modules as PyTorch's."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == ROOT:
            sys.modules["torch" + name.removeprefix(ROOT)] = module
            if "torch" + name.removeprefix(ROOT) in absent.pytorchs_names():
                vars(module).setdefault("__getattr__", attribute(name))
                vars(module).setdefault("__path__", [])  # PyTorch may have modules below it


def _taken():
    """Take what is loaded of PyTorch out of sys.modules: {name: module}."""
    taken = {name: sys.modules.pop(name) for name in list(sys.modules) if _answered(name)}
    for name, module in taken.items():
        parent, _, last = name.rpartition(".")
        if isinstance(module.__loader__, absent.AbsentLoader) and parent in taken:
            vars(taken[parent]).pop(last, None)  # where the import put it
    return taken


class _Version(str):
    """A version that is compared by its numbers, also with a tuple of them, as PyTorch's is."""

    __hash__ = str.__hash__


def _numbers(version):
    parts = re.findall(r"\d+", version.split("+")[0]) if isinstance(version, str) else version
    return [int(n) for n in parts] + [0] * (4 - len(parts))


def _comparing(name):
    compare = getattr(operator, name)
    return lambda self, other: compare(_numbers(self), _numbers(other))


for _name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
    setattr(_Version, _name, _comparing(_name))


class as_torch:
    """Let `import torch`, within, find microtensor; afterwards everything is as before.

    Works whether or not PyTorch is installed or was imported already. For lessons and tests: what
    is imported within must not have been imported before, or it keeps the torch that it has. Not
    for several threads that import at a time. `safetensors.torch` is `microtensor.weights`.
    A name of PyTorch's that is not there can be imported, and says so when it is used (see
    `absent`). `__version__` is then that of the PyTorch that is spoken, and tensors look as
    PyTorch's do.
    """

    def __enter__(self) -> Any:
        package = sys.modules[ROOT]
        self.torchs, self.finder = _taken(), _Finder(_ours, after=_give)
        _give()
        sys.meta_path.insert(0, self.finder)
        self.before = PACKAGE[0], package.__version__
        PACKAGE[0], package.__version__ = "torch", _Version(SPOKEN)
        self.stand_in, STAND_IN[0] = STAND_IN[0], _stand_in
        return package

    def __exit__(self, *exception: Any) -> None:
        PACKAGE[0], sys.modules[ROOT].__version__ = self.before
        STAND_IN[0] = self.stand_in
        sys.meta_path.remove(self.finder)
        _taken()
        sys.modules.update(self.torchs)
        if "safetensors.torch" in self.torchs:  # an attribute, too, of a package of its own
            sys.modules["safetensors"].torch = self.torchs["safetensors.torch"]
