"""The public names of microtensor, by import path: what no change of the house may lose.

    python -m tests.inventory          lists the names of now
    python -m tests.inventory --write  writes them to names.txt, in place of what is there
    python -m tests.inventory models   the same for models and models.txt; also with --write

An entry of names.txt is an import path, then its names; a class, `path:Class`, its attributes.

Left out are: names with a leading underscore (but PyTorch's paths that have one, such as
`utils._pytree`, and `Tensor`'s operators are listed); what a module has from elsewhere (math,
NumPy, the standard library); what a file imports from another file of the package for its own use,
unless the file is a package's `__init__` or stands for one of PyTorch's files (but not the
modules of another package that such a file happens to import); submodules that
`import microtensor` does not load, which are listed by their path; and the tables by which
`microtensor/__init__.py` made names, ALIASES, DTYPES and the like; and the helper `missing`.
"""

import ast
import importlib
import pkgutil
import sys
import textwrap
import types
from pathlib import Path

PACKAGE = "microtensor"
FILES = {
    package: Path(__file__).with_name(name)
    for package, name in ((PACKAGE, "names.txt"), ("models", "models.txt"))
}
TABLES = {"ALIASES", "DTYPES", "FUNCTIONAL", "LINALG", "NAMED", "FOREACH", "INPLACE"}
HAVE_TABLES = {PACKAGE, f"{PACKAGE}.tensor"}
LATE = {"graph", "distributions", "library", "testing", "explain", "diagnose", "Recorder"}
NEEDS_NUMBA = {f"{PACKAGE}.backends.numba_kernels"}


def modules(package):
    """{import path: module} of all of a package, also of paths that have no file of their own;
    and which of them importing the package loads.
    """
    root = importlib.import_module(package)
    at_once = set(sys.modules)
    for found in pkgutil.walk_packages(root.__path__, package + "."):
        if found.name not in NEEDS_NUMBA:
            importlib.import_module(found.name)
    inside = {n: m for n, m in sys.modules.items() if n.split(".")[0] == package}
    return {n: m for n, m in sorted(inside.items()) if n not in NEEDS_NUMBA}, at_once


def bound(module):
    """The names that the code of a module's own file binds, other than by an import."""
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    names = set(getattr(module, "__all__", ()))
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            inside = [x for target in node.targets for x in ast.walk(target)]
            names |= {x.id for x in inside if isinstance(x, ast.Name)}
    return names


def is_ours(value, package):
    """Whether a module's name stands for something of a package, or for a plain value."""
    home = value.__name__ if isinstance(value, types.ModuleType) else None
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        home = value.__module__
    return home is None or home.split(".")[0] == package


def public(path, module):
    """The names of a module that a program may use."""
    package = path.split(".")[0]
    names = {
        name for name, value in vars(module).items()
        if not name.startswith("_") and is_ours(value, package)
    }  # fmt: skip
    file = getattr(module, "__file__", None)
    if file and not file.endswith("__init__.py") and module.__name__ == path:
        names &= bound(module)
    if not file:  # one of PyTorch's files, for which another stands
        top = ".".join(path.split(".")[:2])
        names = {n for n in names if not _is_module_outside(getattr(module, n), top)}
    return names - {"missing"} - (TABLES if path in HAVE_TABLES else set())


def _is_module_outside(value, top):
    return isinstance(value, types.ModuleType) and not value.__name__.startswith(top)


def attributes(cls):
    """The attributes of a class that are not every class's; of Tensor also the operators."""
    named = set(dir(cls)) - set(dir(object))
    if cls.__name__ == "Tensor":
        return {n for n in named if n.startswith("__") or not n.startswith("_")} - {"__dict__"}
    return {n for n in named if not n.startswith("_")}


def found(package=PACKAGE):
    """{import path, or path:Class: its names} of a package as it is."""
    all_modules, at_once = modules(package)
    late = set(all_modules) - at_once
    names = {}
    for path, module in all_modules.items():
        here = public(path, module)
        names[path] = {name for name in here if f"{path}.{name}" not in late}
    if package == PACKAGE:
        names[PACKAGE] |= LATE
    for path, module in all_modules.items():
        for name in names[path]:
            value = vars(module).get(name)
            if isinstance(value, type) and value.__module__ == path:
                names.setdefault(f"{path}:{name}", attributes(value))
    return {place: sorted(here) for place, here in sorted(names.items())}


def stored(package=PACKAGE):
    """The same as it was written down."""
    entries = FILES[package].read_text("utf-8").strip().split("\n\n")
    return {place: names for place, *names in map(str.split, entries)}


def written(names):
    """The text of names.txt."""
    return "\n\n".join(
        "\n".join(
            [place, *textwrap.wrap(" ".join(here), 98, initial_indent="  ", subsequent_indent="  ",
                                   break_long_words=False, break_on_hyphens=False)]
        )
        for place, here in names.items()
    ) + "\n"  # fmt: skip
