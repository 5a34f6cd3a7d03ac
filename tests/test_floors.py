"""The floors of the house: a file imports only from floors below its own."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
FILES = sorted(p for top in ("microtensor", "models", "demos") for p in (HOUSE / top).rglob("*.py"))

# One row a floor, the lowest first. A place is a package with all its files, or a file: it imports
# from the rows before its own, and from the places before it in its row.
FLOORS = [
    "backends",
    "typing",
    "autograd",
    "ops",
    "tensor",
    "utils nn optim files quantization distributed",
    "graph compat",
    "debug",
]
FLOORS_OF_MODELS = [
    "paths files",
    "generation text",
    "ladder",
    "pretrained",
    "training",
    "post_training",
    "inside",
    "serving",
    "cli",
]
ORDER = [f"microtensor.{place}" for row in FLOORS for place in row.split()]
ORDER += ["microtensor"]  # microtensor/__init__.py gathers everything
ORDER += [f"models.{place}" for row in FLOORS_OF_MODELS for place in row.split()]
ORDER += ["models", "demos"]

ONLY_IN_BACKENDS = {"cupy", "cupyx", "numba"}


def name_of(path):
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(p) for p in FILES}


ONLY_TYPED = "microtensor.typing"  # names types of higher floors, which only type checkers read


class _WithoutTypeChecking(ast.NodeTransformer):
    """A file as it runs."""

    def visit_If(self, node):
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return node.orelse
        return self.generic_visit(node)


@functools.cache
def imports(path):
    """The modules that a file imports, also inside of its functions."""
    found = set()
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if name_of(path) == ONLY_TYPED:
        tree = _WithoutTypeChecking().visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*up, *([node.module] if node.module else [])])
            full = {f"{module}.{alias.name}" for alias in node.names}
            found |= full & NAMES | ({module} if full - NAMES else set())
    return found


def place(module):
    """Where a module stands in ORDER: the longest name that fits counts."""
    while module not in ORDER:
        module = module.rpartition(".")[0]
    return ORDER.index(module)


def in_circles(files):
    """The modules of files from which imports lead into a circle."""
    edges = {name_of(p): imports(p) for p in files}
    while True:  # take away what leads nowhere, until nothing does
        ends = {name for name, there in edges.items() if not there & edges.keys() - {name}}
        if not ends:
            return set(edges)
        edges = {name: there for name, there in edges.items() if name not in ends}


def test_there_are_files():
    assert {"microtensor.autograd", "microtensor.ops.elementwise", "models"} <= NAMES


def test_rows_name_what_is_there():
    assert set(ORDER) - {"demos"} <= NAMES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_floors(path):
    here = name_of(path)
    wrong = [
        there
        for there in imports(path)
        if there.split(".")[0] in ("microtensor", "models", "demos") and place(there) > place(here)
    ]
    assert wrong == []


@pytest.mark.parametrize("top", ["microtensor", "models", "demos"])
def test_no_circles(top):
    circles = in_circles([p for p in FILES if name_of(p).split(".")[0] == top])
    assert circles == set()


LADDER = HOUSE / "models" / "ladder"
AROUND = {"__init__", "base", "registry", "training_config"}  # files that are no rung
OF_CHARACTERS = {"models.ladder.lookup_table": {"models.text.tokenizers"}}  # its table is of these


@pytest.mark.parametrize("path", sorted(LADDER.glob("*.py")), ids=name_of)
def test_a_rung_is_nothing_but_a_model(path):
    """It imports microtensor, the base, and the rungs before it; it is no program."""
    if path.stem in AROUND:
        return
    allowed = OF_CHARACTERS.get(name_of(path), set())
    allowed = allowed | {name_of(p) for p in LADDER.glob("*.py") if p.stem not in AROUND - {"base"}}
    found = {there for there in imports(path) if there.split(".")[0] in ("models", "demos")}
    assert found <= allowed
    outside = {there.split(".")[0] for there in imports(path)} - sys.stdlib_module_names
    assert outside <= {"microtensor", "models", "numpy"}
    assert "__main__" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("top, most", [("microtensor", 3), ("models", 4)])
def test_loose_files(top, most):
    """Few files stand at the root of a package."""
    loose = {p.stem for p in (HOUSE / top).glob("*.py")}
    assert len(loose) <= most


def test_the_engine_is_read_in_one_sitting():
    engine = HOUSE / "microtensor" / "autograd" / "engine.py"
    assert len(engine.read_text(encoding="utf-8").splitlines()) <= 450


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_file_is_long(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 500


def functions(path):
    """(name, first line, last line, the lines of its docstring and up to three after) of each."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            start = first.end_lineno if doc else node.body[0].lineno - 3
            yield node.name, node.lineno, node.end_lineno, lines[start : start + 3]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_function_is_long(path):
    """Or its first comment says why, from "Long because" on."""
    too_long = [
        name
        for name, start, end, first in functions(path)
        if end - start >= 50 and not any(x.strip().startswith("# Long because") for x in first)
    ]
    assert too_long == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_backends_know_array_libraries(path):
    if "backends" not in path.parts:
        known = {there.split(".")[0] for there in imports(path)}
        assert known & ONLY_IN_BACKENDS == set()


@pytest.mark.parametrize("top, below", [("microtensor", "."), ("models", "models")])
def test_tests_mirror_the_tree(top, below):
    """Each folder of code has one of tests; a package within a package may share its parent's."""
    for path in (HOUSE / top).rglob("*.py"):
        folder = path.parent.relative_to(HOUSE / top)
        mirrors = [HOUSE / "tests" / below / f for f in (folder, folder.parent) if f.name]
        assert not mirrors or any(list(m.glob("test_*.py")) for m in mirrors), folder


def test_import_costs_numpy_and_little_more():
    code = (
        "import numpy.random, sys; before = set(sys.modules); import microtensor;"
        "print(*{m.split('.')[0] for m in set(sys.modules) - before})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(out.stdout.split()) - sys.stdlib_module_names == {"microtensor"}
