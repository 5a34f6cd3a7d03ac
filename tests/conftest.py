"""The devices that the tests run on."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # products here are small: threads only wait

import pytest
from fused import BACKENDS
from hypothesis import settings
from strict_backend import StrictBackend

import microtensor as mt
from microtensor.backends import register

register(StrictBackend(), "strict", *StrictBackend.array_types)

if os.environ.get("NUMBA_BOUNDSCHECK") == "1":  # then the loops are to run for small arrays, too
    from microtensor.backends import numba as compiled

    compiled.SMALL = 1

# a slow machine is no failure, and each run tries the same examples
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.load_profile("fixed")

DEVICES = ["cpu", "strict"] + ["cuda"] * mt.cuda.is_available()


@pytest.fixture(params=DEVICES)
def device(request):
    """Every device: the CPU, one that refuses what is not portable, and the GPU if there is one."""
    return request.param


@pytest.fixture(params=BACKENDS)
def backend(request):
    """Each of the CPU's backends, which is in use for the time of the test."""
    mt.backends.use(request.param)
    yield request.param
    mt.backends.use(os.environ.get("MICROTENSOR_BACKEND"))


def pytest_configure(config):
    # dictionaries keyed by dtypes of several libraries compare them: false is right
    config.addinivalue_line(
        "filterwarnings", "ignore:You are comparing a.*dtype against:UserWarning"
    )
