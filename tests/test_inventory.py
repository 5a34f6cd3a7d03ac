"""Every import path and public name of the packages is still there: see `tests/inventory/`."""

import importlib
import os
import subprocess
import sys

import inventory
import pytest

# Names of the house's own machinery that no program imports: they were renamed, or moved to another
# file. And what files of utils.data and nn had imported for their own use.
DROPPED = {
    "microtensor.autograd":
        "Leaf births changed recorded_in_place reshaped_in_place whole write_array",
    "microtensor.errors": "op_error",
    "microtensor.graph.canvas": "svg_shapes",
    "microtensor.graph.draw": "NAMED STANDS_OUT SYMBOLS VIEWS",
    "microtensor.names": "Shown known_by_all_names",
    "microtensor.nn.modules.module": "dtype",
    "microtensor.nn.parameter": "dtype",
    "microtensor.serialization": "OWN",
    "microtensor.torch_file": "carry_out damage_told",
    "microtensor.utils.data.dataloader":
        "Tensor as_tensor float64 multinomial randint randperm stack tensor",
    "microtensor.utils.data.dataset": "as_tensor float64 multinomial randint stack tensor",
    "microtensor.utils.data.sampler": "stack tensor",
}  # fmt: skip
GONE = {"microtensor.autograd:Leaf", "microtensor.names:Shown"}
STORED = {
    place: [name for name in names if name not in DROPPED.get(place, "").split()]
    for place, names in {**inventory.stored(), **inventory.stored("models")}.items()
    if place not in GONE
}


def test_there_are_names():
    assert len(STORED) > 300
    assert {"Tensor", "tensor", "nn", "softmax"} <= set(STORED["microtensor"])
    assert "MiniGPT" in STORED["models.minigpt"] and "Trainer" in STORED["models.training"]


@pytest.mark.parametrize("place", STORED)
def test_names_are_there(place):
    path, _, cls = place.partition(":")
    home = importlib.import_module(path)
    home = getattr(home, cls) if cls else home
    assert [name for name in STORED[place] if not hasattr(home, name)] == []


@pytest.mark.parametrize("package", ["microtensor", "models"])
def test_each_path_can_be_the_first_import(package):
    """In processes that have imported the package and nothing else."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    code = """
import os, sys
__import__(sys.argv.pop(1))
failed = 0
for path in sys.argv[1:]:
    if os.fork() == 0:
        try:
            __import__(path)
        except BaseException as error:
            print(path, repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    failed += os.wait()[1] != 0
assert not failed
"""
    paths = [place for place in inventory.stored(package) if ":" not in place]
    command = [sys.executable, "-c", code, package, *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""
