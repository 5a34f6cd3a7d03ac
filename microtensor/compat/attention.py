"""PyTorch's choice among ways of computing attention: here there is one."""

from __future__ import annotations

import contextlib
import enum
from typing import Any


class SDPBackend(enum.Enum):
    """PyTorch's ways of computing attention. Here there is one, with the same result."""

    ERROR, MATH, FLASH_ATTENTION, EFFICIENT_ATTENTION, CUDNN_ATTENTION, OVERRIDEABLE = range(-1, 5)


@contextlib.contextmanager
def sdpa_kernel(backends: Any, set_priority: bool = False) -> Any:
    """Nothing: `scaled_dot_product_attention` is computed in one way."""
    for kind in [backends] if isinstance(backends, SDPBackend) else backends:
        if not isinstance(kind, SDPBackend):
            raise TypeError(f"sdpa_kernel: members of SDPBackend are needed, got {kind!r}")
    yield


@contextlib.contextmanager
def sdp_kernel(enable_flash: bool = True, enable_math: bool = True,
               enable_mem_efficient: bool = True, enable_cudnn: bool = True) -> Any:  # fmt: skip
    """Nothing: the older form of `sdpa_kernel`."""
    yield
