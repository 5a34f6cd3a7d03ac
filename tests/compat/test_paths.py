"""Import paths without a file of their own, the names that `mt` shows, and older files."""

import builtins
import importlib
import pickle
import subprocess
import sys
import types
from pathlib import Path

import inventory
import pytest

import microtensor as mt
from microtensor.compat import paths

OLDER = Path(inventory.__file__).parent


@pytest.mark.parametrize("path", paths.PATHS)
def test_a_path_is_the_very_module(path):
    module = importlib.import_module(f"microtensor.{path}")
    assert module is importlib.import_module(f"microtensor.{paths.PATHS[path]}")
    assert module.__spec__.name == module.__name__ == f"microtensor.{paths.PATHS[path]}"


def test_statements_that_programs_begin_with():
    code = """
from microtensor.utils.data.dataloader import DataLoader
import microtensor.diagnosis as d
import microtensor.nn.modules.linear
from microtensor.nn.parameter import Parameter
from microtensor.optim.optimizer import Optimizer
from microtensor.optim.lr_scheduler import StepLR
from microtensor.nn.utils.rnn import pad_sequence
import microtensor.nn.utils.weight_norm
from microtensor.tensor import Tensor
import microtensor.random as random, microtensor.amp as amp, microtensor as mt

assert DataLoader is mt.utils.data.DataLoader and Parameter is mt.nn.Parameter
assert d.diagnose is mt.diagnose is microtensor.diagnosis.diagnose
assert mt.nn.modules.linear.Linear is mt.nn.Linear and random is mt.random and amp is mt.amp
assert Optimizer is mt.optim.Optimizer and Tensor is mt.Tensor
for function in (mt.tensor, mt.nn.utils.weight_norm, mt.explain):
    assert type(function).__name__ == "function"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""


def test_nothing_is_loaded_that_is_not_asked_for():
    code = "import sys, microtensor; print(*(m for m in sys.modules if m[:11] == 'microtensor'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    late = {"graph", "debug", "compat.distributions", "compat.testing", "compat.tensorboard"}
    assert loaded & {f"microtensor.{name}" for name in late} == set()
    assert len(loaded) > 50


def test_a_path_that_is_not_there():
    with pytest.raises(ModuleNotFoundError, match="microtensor.nn.parameters"):
        importlib.import_module("microtensor.nn.parameters")


def test_dir_shows_the_public_names():
    names = set(dir(mt))
    assert {"tensor", "Tensor", "nn", "graph", "explain", "diagnose", "Recorder", "cuda"} <= names
    assert [name for name in names if not hasattr(mt, name)] == []
    assert {"creation", "errors", "names", "printing", "plain_index", "missing"} & names == set()
    assert {n for n in names if n[0] == "_"} == {n for n in vars(mt) if n[:2] == "__"}
    assert set(mt.__all__) <= names and len(mt.__all__) == len(set(mt.__all__)) > 500


def test_every_listed_name_of_an_import_is_public():
    """A name that is added to an import of `microtensor/__init__.py` is added to its `__all__`."""
    held = {n for n, v in vars(mt).items() if not isinstance(v, types.ModuleType) and n[0] != "_"}
    kept = {"getitem", "in_steps", "plain_index", "put_at", "setitem", "sizes", "unbind_columns"}
    late = {"explain", "diagnose", "Recorder"}
    assert held - set(mt.__all__) - late == kept | {"write"}


def test_help_has_groups():
    assert "\n    ops.elementwise: " in mt.__doc__ and "\n    tensor.creation: " in mt.__doc__
    for name in set(mt.__all__) - set(dir(builtins)):
        assert name in mt.__doc__


def test_pickles_of_older_versions():
    """older.pickle was written when `tensor.py`, `creation.py` … were files of the package."""
    found = pickle.loads((OLDER / "older.pickle").read_bytes())
    assert type(found["tensor"]) is mt.Tensor and found["tensor"].shape == (2, 3)
    assert found["half"].dtype is found["dtype"] is mt.bfloat16
    assert type(found["parameter"]) is mt.nn.Parameter and type(found["size"]) is mt.Size
    assert found["functions"][:3] == [mt.zeros, mt.rand, mt.compat.as_torch]
    assert type(found["normal"]) is mt.distributions.Normal
    assert found["model"](found["tensor"]).shape == (2, 2)


def test_files_of_older_versions():
    named = [mt.nn.Sequential, mt.nn.Linear, mt.nn.ReLU, mt.relu]
    with mt.serialization.safe_globals(named):
        found = mt.load(OLDER / "older.safetensors")
    assert found["act"] is mt.relu and type(found["model"][0]) is mt.nn.Linear
    assert found["model"](found["w"]).shape == (2, 2)


def test_classes_name_the_home_that_users_know():
    assert mt.Tensor.__module__ == "microtensor.tensor"
    assert mt.distributions.Normal.__module__ == "microtensor.distributions"
    assert mt.amp.GradScaler.__module__ == "microtensor.amp"
