"""Questions about the GPU."""

from .backends import backend_for


def is_available():
    """Whether `device="cuda"` works: CuPy is installed and finds a GPU."""
    try:
        backend_for("cuda")
    except RuntimeError:
        return False
    return True


def device_count():
    """How many GPUs there are."""
    return backend_for("cuda").device_count() if is_available() else 0


def synchronize():
    """Wait until everything that was asked of the GPU is done."""
    backend_for("cuda").synchronize()
