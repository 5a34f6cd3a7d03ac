"""Freed memory is kept where the C library can, unless the user said otherwise."""

import os
import platform
import subprocess
import sys

import pytest
from places import CLONE

FAULTS = """
import resource
import numpy as np
import microtensor as mt
x = np.ones(1_000_000)
y = x + 1
del y
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    y = x + 1
    del y
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
mt.backends.show()
"""


def ran(**variables):
    """Page faults of 50 sums of a million numbers, and what `backends.show()` says of memory."""
    own = ("MALLOC_", "GLIBC_TUNABLES", "MICROTENSOR_KEEP_MEMORY")
    env = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    env |= {"PYTHONPATH": str(CLONE), **variables}
    out = subprocess.run([sys.executable, "-c", FAULTS], env=env, check=True, text=True,
                         stdout=subprocess.PIPE).stdout  # fmt: skip
    first, *_, last = out.splitlines()
    return int(first), last


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's C library can")
def test_a_freed_array_is_used_again():
    faults, said = ran()
    assert said == "freed memory: kept by the process, up to 2 GiB"
    again, said = ran(MICROTENSOR_KEEP_MEMORY="0")
    assert said == "freed memory: given back at once: MICROTENSOR_KEEP_MEMORY=0"
    assert faults < 50 and faults < again


@pytest.mark.parametrize(
    "name, value",
    [("MALLOC_TRIM_THRESHOLD_", "100000"), ("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")],
)
def test_settings_of_the_user_stay(name, value):
    assert ran(**{name: value})[1] == f"freed memory: as {name} of the environment says"
