"""Where things are: the clone that the tests stand in, and its parts."""

import importlib.util
import sys
from pathlib import Path

CLONE = Path(__file__).parents[2]
DEMOS = CLONE / "demos"
FIXTURES = CLONE / "tests" / "fixtures"


def program(name):
    """A program of demos/ as a module."""
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMOS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module
