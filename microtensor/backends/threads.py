"""The number of cores that BLAS may use. Nothing else here starts threads of its own."""

import functools
import os
import warnings

from .installed import how_to_install


def _blas():
    """The package that asks BLAS, and tells it; None without the extra "fast"."""
    try:
        import threadpoolctl
    except ImportError:
        return None
    return threadpoolctl


def set_num_threads(n):
    """Let matrix products use n cores, in this process.

    One process on each core, as for data-parallel runs, wants n = 1. Without the package
    threadpoolctl the number stays as it is, which a warning says once.
    """
    _check("set_num_threads", n)
    blas = _blas()
    if blas is None:
        _cannot()
    else:
        blas.threadpool_limits(n, user_api="blas")


def get_num_threads():
    """The number of cores that matrix products may use.

    Without threadpoolctl what OPENBLAS_NUM_THREADS or OMP_NUM_THREADS says, else all there are.
    """
    blas = _blas()
    if blas is None:
        said = (os.environ.get(f"{library}_NUM_THREADS", "") for library in ("OPENBLAS", "OMP"))
        return next((int(n) for n in said if n.isdecimal()), os.cpu_count() or 1)
    pools = [p["num_threads"] for p in blas.threadpool_info() if p["user_api"] == "blas"]
    return max(pools, default=1)


def _check(name, n):
    if type(n) is not int or n < 1:
        raise RuntimeError(f"{name}: a positive integer is needed, got {n!r}")


@functools.cache  # once is enough
def _cannot():
    warnings.warn(
        f"set_num_threads: nothing is set without threadpoolctl: {how_to_install('fast')}, or set "
        "OPENBLAS_NUM_THREADS before the start",
        stacklevel=3,
    )


def set_num_interop_threads(n):
    """Take a positive n. Operations run one after the other all the same."""
    _check("set_num_interop_threads", n)


def get_num_interop_threads():
    """1: operations run one after the other."""
    return 1
