"""Questions about the GPU, and PyTorch's names for what it may be asked."""

from __future__ import annotations

from typing import Any

from ..backends import backend_for, gpu_count
from ..backends.device import device as _device
from ..typing import Device
from .absent import absent


class OutOfMemoryError(RuntimeError):
    """The error that programs catch when a GPU is full. Never raised here: CuPy has its own."""


def is_available() -> bool:
    """True if `device="cuda"` works: CuPy is installed and finds a GPU."""
    try:
        backend_for("cuda")
    except RuntimeError:
        return False
    return True


def device_count() -> int:
    """The number of GPUs."""
    return gpu_count()


def current_device() -> Any:
    """The number of the GPU in use. Raises RuntimeError where there is none."""
    backend_for("cuda")
    return 0


def set_device(device: Device) -> Any:
    """Nothing: a process uses one GPU, the first that it sees. RuntimeError where there is none."""
    backend_for(_device(device))


def synchronize(device: Device | None = None) -> Any:
    """Wait until everything that was asked of the GPU is done."""
    backend_for("cuda").synchronize()


def is_bf16_supported() -> bool:
    """False: no GPU computes in bfloat16 here; the CPU does, in float32."""
    return False


def manual_seed(seed: int) -> Any:
    """Nothing: one stream of random numbers serves all devices; `mt.manual_seed` starts it."""


manual_seed_all = manual_seed


def empty_cache() -> Any:
    """Nothing: memory goes back when its last tensor goes."""


def is_initialized() -> bool:
    """True if there is a GPU: it needs no start."""
    return is_available()


_initialized = False  # programs ask it to know whether the GPU has random numbers of its own


def memory_allocated(device: Device | None = None) -> int:
    """0: nothing is counted."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def reset_peak_memory_stats(device: Device | None = None) -> Any:
    """Nothing: nothing is counted."""


def is_current_stream_capturing() -> Any:
    """False: operations run one after the other, at once."""
    return False


CUDAGraph, Stream, StreamContext, graph = (
    absent(f"cuda.{name}", "operations run one after the other")
    for name in ("CUDAGraph", "Stream", "StreamContext", "graph")
)
