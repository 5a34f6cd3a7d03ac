"""Damaged files: every loader answers with the documented exception, soon, in little memory.

MICROTENSOR_FUZZ=9999 pytest tests/files/test_damaged.py -s    (files of each kind)
"""

import os
import subprocess
import sys
from pathlib import Path

import fuzzed
import pytest
from places import CLONE

COUNT = int(os.environ.get("MICROTENSOR_FUZZ", 60))
SEED = int(os.environ.get("MICROTENSOR_SEED", 0))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited as on Linux")
def test_only_the_documented_exception():
    """In a process of its own, with 1 GB of memory and five seconds for each file."""
    path = Path(fuzzed.__file__)
    env = {**os.environ, "PYTHONPATH": str(CLONE), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), str(SEED), str(COUNT)],
        capture_output=True, text=True, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    counts = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    assert list(counts) == list(fuzzed.KINDS)
    for kind, count in counts.items():
        refused, loaded = map(int, count.split())
        print(f"{kind}: {refused:,} refused, {loaded:,} loaded all the same")
        assert refused + loaded == COUNT and refused > COUNT / 4


def test_the_damage_is_of_all_kinds():
    import random

    rng = random.Random(0)
    data = b'{"size": [2, 3]}' * 4
    files = {fuzzed.damaged(data, rng) for _ in range(300)}
    assert len(files) > 250 and {len(f) < len(data) for f in files} == {True, False}
