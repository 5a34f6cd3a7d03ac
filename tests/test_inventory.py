"""Every import path and public name of the package is still there: see `tests/inventory/`."""

import importlib
import os
import subprocess
import sys

import inventory
import pytest

STORED = inventory.stored()


def test_there_are_names():
    assert len(STORED) > 300
    assert {"Tensor", "tensor", "nn", "softmax"} <= set(STORED["microtensor"])


@pytest.mark.parametrize("place", STORED)
def test_names_are_there(place):
    path, _, cls = place.partition(":")
    home = importlib.import_module(path)
    home = getattr(home, cls) if cls else home
    assert [name for name in STORED[place] if not hasattr(home, name)] == []


def test_each_path_can_be_the_first_import():
    """In processes that have imported `microtensor` and nothing else."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    code = """
import os, sys, microtensor
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
    paths = [place for place in STORED if ":" not in place]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True)
    assert done.stdout + done.stderr == ""
