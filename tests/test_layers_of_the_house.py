"""The floors of the house: a file imports only from floors below its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
FILES = sorted(p for top in ("microtensor", "models", "demos") for p in (HOUSE / top).rglob("*.py"))

FLOORS = {  # the longest name that fits counts
    "microtensor.backends": 1,
    "microtensor.names": 1,
    "microtensor.modes": 2,
    "microtensor.errors": 2,
    "microtensor.autograd": 2,
    "microtensor.autocasting": 2,
    "microtensor.checking": 2,
    "microtensor.function": 2,
    "microtensor.ops": 3,
    "microtensor.array_api": 4,
    "microtensor.printing": 2,
    "microtensor.tensor": 4,
    "microtensor.storage": 3,
    "microtensor.creation": 4,
    "microtensor.random": 4,
    "microtensor.cuda": 4,
    "microtensor.nn": 5,
    "microtensor.optim": 5,
    "microtensor.utils": 5,
    "microtensor.utils._pytree": 4,
    "microtensor.files": 5,
    "microtensor.serialization": 5,
    "microtensor.pages": 5,
    "microtensor.hub": 5,
    "microtensor.amp": 5,
    "microtensor.func": 6,
    "microtensor.library": 6,
    "microtensor.testing": 5,
    "microtensor.weights": 6,
    "microtensor.distributions": 6,
    "microtensor.compat": 6,
    "microtensor.torch_file": 5,
    "microtensor.graph": 6,
    "microtensor.diagnosis": 6,
    "microtensor.recorder": 6,
    "microtensor.recorded": 6,
    "microtensor": 6,  # its __init__ gathers everything
    "models": 7,
    "demos": 8,
}

# Files of one floor that build on each other; within a folder that is ordinary.
NEIGHBOURS = {
    ("microtensor.optim.swa_utils", "microtensor.nn.module"),
    ("microtensor.optim.swa_utils", "microtensor.nn.normalization"),
    ("microtensor.hub", "microtensor.serialization"),
    ("microtensor.backends.dtypes", "microtensor.names"),
    ("microtensor.backends.layouts", "microtensor.names"),
    ("microtensor.backends.device", "microtensor.names"),
    ("microtensor.autograd", "microtensor.modes"),
    ("microtensor.autograd", "microtensor.errors"),
    ("microtensor.autocasting", "microtensor.autograd"),
    ("microtensor.autocasting", "microtensor.modes"),
    ("microtensor.checking", "microtensor.autograd"),
    ("microtensor.checking", "microtensor.modes"),
    ("microtensor.function", "microtensor.autograd"),
    ("microtensor.tensor", "microtensor.array_api"),
    ("microtensor.creation", "microtensor.tensor"),
    ("microtensor.random", "microtensor.tensor"),
    ("microtensor.random", "microtensor.creation"),
    ("microtensor.files.objects", "microtensor.nn"),
    ("microtensor.files.objects", "microtensor.nn.functional"),
    ("microtensor.files.objects", "microtensor.nn.module"),
    ("microtensor.files.structure", "microtensor.nn.module"),
    ("microtensor.serialization", "microtensor.files.objects"),
    ("microtensor.serialization", "microtensor.files.structure"),
    ("microtensor.serialization", "microtensor.files.tensors"),
    ("microtensor.serialization", "microtensor.files.whole"),
    ("microtensor.serialization", "microtensor.torch_file"),
    ("microtensor.torch_file", "microtensor.files.tensors"),
    ("microtensor.compat", "microtensor.func"),
    ("microtensor.distributions", "microtensor.compat"),
    ("microtensor.diagnosis", "microtensor.graph.flow"),
    ("microtensor.recorder", "microtensor.recorded"),
    ("microtensor.diagnosis", "microtensor.graph.trace"),
}

# Imports inside of functions that go up or sideways, and why.
LATE = {
    (
        "microtensor.tensor",
        "microtensor.creation",
    ): "a tensor's new_zeros is made by the constructor",
    ("microtensor.array_api", "microtensor.creation"): "operations on Tensors make constants",
    ("microtensor.storage", "microtensor.tensor"): "memory read from a file is made a tensor",
}

ONLY_IN_BACKENDS = {"cupy", "cupyx", "numba"}


def name_of(path):
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(p) for p in FILES}


def imports(path):
    """(module, whether inside a function) of every import of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in inside
        elif isinstance(node, ast.ImportFrom):
            up = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            module = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{module}.{alias.name}"
                yield full if full in NAMES else module, node in inside


def floor(module):
    while module not in FLOORS:
        module = module.rpartition(".")[0]
    return FLOORS[module]


def folder(module):
    """microtensor.nn, models, …: whose files may build on each other."""
    return ".".join(module.split(".")[: 2 if module.startswith("microtensor.") else 1])


def allowed(here, there, late):
    return (
        floor(there) < floor(here)
        or here == "microtensor"
        or folder(there) == folder(here)
        or (here, there) in NEIGHBOURS
        or late
        and (here, there) in LATE
    )


def test_there_are_files():
    assert {"microtensor.autograd", "microtensor.ops.elementwise", "models"} <= NAMES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_floors(path):
    here = name_of(path)
    wrong = [
        f"{here} (floor {floor(here)}) imports {there} (floor {floor(there)})"
        for there, late in imports(path)
        if there.split(".")[0] in ("microtensor", "models", "demos")
        and not allowed(here, there, late)
    ]
    assert wrong == []


def test_late_imports_are_there():
    """The list of exceptions has nothing in it that is not needed."""
    found = {(name_of(p), there) for p in FILES for there, late in imports(p) if late}
    assert set(LATE) - found == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_backends_know_array_libraries(path):
    if "backends" not in path.parts:
        known = {there.split(".")[0] for there, _ in imports(path)}
        assert known & ONLY_IN_BACKENDS == set()


def test_import_costs_numpy_and_little_more():
    code = (
        "import numpy.random, sys; before = set(sys.modules); import microtensor;"
        "print(*{m.split('.')[0] for m in set(sys.modules) - before})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(out.stdout.split()) - sys.stdlib_module_names == {"microtensor"}
