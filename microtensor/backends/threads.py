"""How many cores BLAS may use. Nothing else here starts threads of its own."""


def _blas():
    try:
        import threadpoolctl
    except ImportError:
        raise RuntimeError(
            'the number of threads is set with threadpoolctl: pip install "microtensor[fast]", or '
            "set OPENBLAS_NUM_THREADS before the start"
        ) from None
    return threadpoolctl


def set_num_threads(n):
    """Let matrix products use n cores, in this process. Raises RuntimeError without threadpoolctl.

    One process on each core, as for data-parallel runs, wants n = 1.
    """
    if type(n) is not int or n < 1:
        raise RuntimeError(f"set_num_threads: a positive integer is needed, got {n!r}")
    _blas().threadpool_limits(n, user_api="blas")


def get_num_threads():
    """How many cores matrix products may use."""
    pools = [p["num_threads"] for p in _blas().threadpool_info() if p["user_api"] == "blas"]
    return max(pools, default=1)


def set_num_interop_threads(n):
    """Take a positive n. Operations run one after the other all the same."""
    if type(n) is not int or n < 1:
        raise RuntimeError(f"set_num_interop_threads: a positive integer is needed, got {n!r}")


def get_num_interop_threads():
    """1: operations run one after the other."""
    return 1
