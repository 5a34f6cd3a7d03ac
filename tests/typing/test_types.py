"""What a type checker and an editor know of the public names."""

import importlib
import inspect
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import microtensor as mt
from microtensor.autograd import registry

sys.path.insert(0, str(Path(__file__).parent))
import programs  # noqa: E402

HERE = Path(__file__).parent
HOUSE = HERE.parents[1]
MODULES = """
nn nn.functional nn.init nn.utils nn.utils.rnn nn.utils.prune nn.utils.parametrize
nn.utils.parametrizations optim optim.lr_scheduler optim.swa_utils utils.data autograd graph
compat.amp compat.cuda compat.distributions compat.func compat.functions compat.hub
compat.library compat.testing compat.storage debug.diagnosis debug.recorder
graph.explain tensor.creation tensor.random
""".split()
SHOWN = {"__call__", "__enter__", "__exit__", "__getitem__", "__init__", "__iter__", "__len__"}


def needed(name):
    """A package that CI has; elsewhere a test that needs it is skipped where it is missing."""
    return importlib.import_module(name) if os.environ.get("CI") else pytest.importorskip(name)


def test_programs_run():
    programs.main()


def test_mypy():
    needed("mypy")
    command = [sys.executable, "-m", "mypy", "--no-error-summary"]
    run = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True)
    assert (run.stdout + run.stderr, run.returncode) == ("", 0)


# ---- every public function has hints --------------------------------------------------


def functions():
    """{where: function} of all public functions and methods written in the package."""
    found = {}
    for module in [mt, *(importlib.import_module(f"microtensor.{name}") for name in MODULES)]:
        for name in getattr(module, "__all__", vars(module)):
            value, home = getattr(module, name), getattr(vars(module)[name], "__module__", "")
            if not name.startswith("_") and (hasattr(module, "__all__") or home == module.__name__):
                found.update(of(f"{module.__name__}.{name}", value))
    return found


def of(where, value):
    home = getattr(value, "__module__", None) or ""
    if not home.startswith("microtensor") or "backends" in home:
        return {}
    if inspect.isclass(value):
        return {
            f"{home}:{value.__qualname__}.{name}": method
            for name, method in vars(value).items()
            if inspect.isfunction(method) and (name in SHOWN or not name.startswith("_"))
        }
    return {where: value} if inspect.isfunction(value) else {}


def bare(function):
    """The parameters of a function, and "return", that have no hint."""
    without = set()
    for form in typing.get_overloads(function) or [function]:
        signature = inspect.signature(form)
        without |= {p.name for p in signature.parameters.values() if p.annotation is p.empty}
        without |= {"return"} if signature.return_annotation is signature.empty else set()
    return sorted(without - {"self", "cls"})


def is_rule(function):
    """Whether it is an operation: `op` gives it its type, its body bears no hints."""
    function = inspect.unwrap(function, stop=lambda f: hasattr(f, "op_name"))
    return hasattr(function, "op_name")


FUNCTIONS = functions()


def test_every_public_function_has_hints():
    assert len(FUNCTIONS) > 800
    without = {w: bare(f) for w, f in FUNCTIONS.items() if not is_rule(f) and bare(f)}
    assert {w: names for w, names in without.items() if not w.startswith(EXCEPT)} == {}


EXCEPT = (
    "microtensor.autograd.engine:Node.",  # the engine's own
    "microtensor.amp:GradScaler.",  # its getters and setters are made in a loop
)


def test_rules_say_whether_they_return_several():
    """`op(several=True)` is believed by type checkers, so it has to be true."""
    x = mt.eye(2)
    several = {name for name, op in registry.items() if getattr(op, "several", False)}
    assert several >= {"split", "eigh", "svd", "qr", "slogdet"}
    for name in ("eigh", "svd", "qr", "slogdet"):
        assert isinstance(getattr(mt.linalg, name)(x), tuple)


# ---- what an editor completes ---------------------------------------------------------


def completions(code):
    script = needed("jedi").Script("import microtensor as mt\n" + code)
    return {c.name for c in script.complete()}


METHODS = {"sum", "backward", "reshape", "grad", "shape", "T", "exp", "max"}


@pytest.mark.parametrize(
    "code, names",
    [
        ("mt.", {"tensor", "softmax", "graph", "explain", "diagnose", "Recorder", "nn"}),
        ("mt.tensor([1.0]).", METHODS),
        ("x = mt.tensor([1.0], requires_grad=True)\n(x**2).sum().", METHODS),
        ("mt.softmax(mt.ones(2), 0).", METHODS),
        ("mt.ones(2).T.", METHODS),
        ("mt.ones(2).max(0).", {"values", "indices"}),
        ("mt.ones(2).shape.", {"numel", "count"}),
        ("mt.nn.functional.relu(mt.ones(2)).", METHODS),
        ("mt.nn.Linear(2, 3).", {"weight", "forward", "parameters", "state_dict"}),
        ("mt.optim.AdamW([], 1).", {"step", "zero_grad"}),
        ("mt.graph.", {"draw", "film", "render"}),
        ("mt.Recorder(mt.nn.Linear(2, 3)).", {"step", "figure", "save"}),
    ],
)
def test_completions(code, names):
    assert names - completions(code) == set()


@pytest.mark.parametrize(
    "code, parameters",
    [
        ("mt.tensor(", "data dtype device requires_grad"),
        ("mt.softmax(", "x dim"),
        ("mt.ones(2).sum(", "x dim keepdim"),
        ("mt.sort(", "x dim descending"),
        ("mt.nn.Linear(", "in_features out_features bias"),
        ("mt.nn.functional.cross_entropy(", "input target"),
        ("mt.optim.AdamW(", "params lr betas weight_decay"),
        ("mt.utils.data.DataLoader(", "dataset batch_size shuffle"),
        ("mt.graph.draw(", "output params"),
        ("mt.explain(", "what"),
        ("mt.diagnose(", "model batch loss optimizer"),
        ("mt.Recorder(", "model optimizer every"),
    ],
)
def test_signatures(code, parameters):
    script = needed("jedi").Script("import microtensor as mt\n" + code)
    shown = [p.name for s in script.get_signatures() for p in s.params]
    assert [name for name in parameters.split() if name not in shown] == []


@pytest.mark.parametrize(
    "name", "exp relu softmax add tril isinf argmax sum cat gather linalg.det nn.Linear".split()
)
def test_one_signature(name):
    """An overload of `op` that does not fit would show an operation's signature again."""
    script = needed("jedi").Script(f"import microtensor as mt\nmt.{name}(")
    assert len(script.get_signatures()) == 1


# ---- what Tab and help() show ----------------------------------------------------------


def test_dir_shows_public_names_only():
    names = {n for n in dir(mt) if not n.startswith("__")}
    assert {"tensor", "graph", "explain", "diagnose", "Recorder"} <= names
    assert not {n for n in names if n.isupper() or n.startswith("_")}
    assert names - {"import_module", "annotations"} == names


def test_help_names_groups():
    assert "tensor.creation:" in mt.__doc__ and "softmax" in mt.__doc__
    assert "__getattr__" not in mt.__all__
