"""Runs programs in several processes, for the tests of microtensor.distributed."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None,
    reason='several processes need mpi4py and an MPI: pip install -e ".[distributed]"',
)


def command(n, program, *arguments, flags=()):
    launcher = [sys.executable, "-m", "microtensor.distributed.run", "--nproc_per_node", str(n)]
    return [*launcher, *flags, str(program), *map(str, arguments)]


def environment():
    """What every process gets: the house to import from, and NumPy's loops, which start at once."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HOUSE), str(HOUSE / "tests")]),
        "MICROTENSOR_BACKEND": "numpy",
        "OPENBLAS_NUM_THREADS": "1",
    }


def run(n, program, *arguments, flags=(), timeout=60, code=0):
    """Run a program in n processes: what it printed. Its exit code must be `code`."""
    done = subprocess.run(
        command(n, program, *arguments, flags=flags), env=environment(), capture_output=True,
        text=True, timeout=timeout,
    )  # fmt: skip
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def write(folder, text, name="program.py"):
    """A program in a file."""
    path = Path(folder, name)
    path.write_text(textwrap.dedent(text))
    return path
