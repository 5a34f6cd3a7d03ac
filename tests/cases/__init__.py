"""The table of operations, which drives every check: one file of rows for each file of `ops/`.

A file of `ops/` and the file of `ops/composite/` with the same name share one. See `table.py`.
"""

import importlib
from pathlib import Path

from .table import CASES, find

FILES = {}  # of each file's name the names of the operations and functions that have a row in it
for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
    before = len(CASES)
    importlib.import_module(f".{path.stem}", __name__)
    FILES[path.stem] = {case.name for case in CASES[before:]}
