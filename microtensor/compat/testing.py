"""What test suites call: `assert_close`, with PyTorch's tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..backends.dtypes import FLOAT, float16, float32, float64, promote_types
from ..tensor import Tensor
from ..tensor.creation import as_tensor

TOLERANCES = {float16: (1e-3, 1e-5), float32: (1.3e-6, 1e-5), float64: (1e-7, 1e-7)}  # rtol, atol


def assert_close(actual: Any, expected: Any, *, allow_subclasses: bool = True,
                 rtol: float | None = None, atol: float | None = None, equal_nan: bool = False,
                 check_device: bool = True, check_dtype: bool = True, check_layout: bool = True,
                 check_stride: bool = False, msg: Any = None) -> None:  # fmt: skip
    """Raise AssertionError unless |actual − expected| ≤ atol + rtol |expected| everywhere.

    Tensors, arrays and numbers are compared, also within lists and dicts; shapes, dtypes and
    devices must be the same. Without tolerances those of the wider dtype count, and whole numbers
    must be equal. `msg` takes the place of the message, or is a function of it.
    """
    if (rtol is None) != (atol is None):
        raise ValueError("assert_close: rtol and atol come together")

    def fail(message, *where):
        if where:
            items = "".join(f"[{key!r}]" for key in where)
            message = f"{message}\n\nThe failure occurred for item {items}"
        raise AssertionError(msg(message) if callable(msg) else msg or message)

    def compare(a, b, *where):
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if a.keys() != b.keys():
                fail(
                    f"The keys do not match: {sorted(a, key=str)} and {sorted(b, key=str)}", *where
                )
            for key in b:
                compare(a[key], b[key], *where, key)
        elif all(isinstance(x, Sequence) and not isinstance(x, str) for x in (a, b)):
            if len(a) != len(b):
                fail(f"The lengths of the sequences mismatch: {len(a)} != {len(b)}", *where)
            for i, (x, y) in enumerate(zip(a, b)):
                compare(x, y, *where, i)
        elif a is None or b is None:
            if a is not b:
                fail(f"None mismatch: {a} is not {b}", *where)
        elif all(isinstance(x, (Tensor, np.ndarray, np.generic)) for x in (a, b)):
            numbers(as_tensor(a).detach(), as_tensor(b).detach(), *where)
        elif all(isinstance(x, (bool, int, float)) for x in (a, b)):
            if check_dtype and type(a) is not type(b):
                fail(f"The types do not match: {type(a)} != {type(b)}.", *where)
            x, y = (as_tensor(n, dtype=float64 if type(n) is float else None) for n in (a, b))
            numbers(x, y, *where)
        else:
            raise TypeError(
                f"assert_close: {type(a).__name__} and {type(b).__name__} are not compared"
            )

    def numbers(a, b, *where):
        same = ("shape", "device", "dtype") if check_dtype else ("shape", "device")
        for name in same if check_device else set(same) - {"device"}:
            x, y = getattr(a, name), getattr(b, name)
            if x != y:
                fail(f"The values for attribute {name!r} do not match: {x} != {y}.", *where)
        wide = a.dtype if a.dtype == b.dtype else promote_types(a.dtype, b.dtype)
        exact = rtol is None and wide.rank != FLOAT
        relative, absolute = (rtol, atol) if rtol is not None else TOLERANCES.get(wide, (0, 0))
        a, b = a.to(float64), b.to(float64)
        off = ~ops.isclose(a, b, relative, absolute, equal_nan=equal_nan)
        if off.any():
            far = (a - b).abs()[off]
            fail(
                f"Tensor-likes are not {'equal' if exact else 'close'}!\n\n"
                f"Mismatched elements: {int(off.sum())} / {a.numel()} ({off.double().mean():.1%})\n"
                f"Greatest absolute difference: {far.max().item()} (up to {absolute} allowed)\n"
                f"Greatest relative difference: {(far / b.abs()[off]).max().item()} "
                f"(up to {relative} allowed)",
                *where,
            )

    compare(actual, expected)


__all__ = ["assert_close"]
