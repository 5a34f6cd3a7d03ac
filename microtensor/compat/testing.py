"""assert_close, with PyTorch's tolerances."""

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
    devices must be the same. Without tolerances those of the wider dtype are used, and integers
    must be equal. `msg` replaces the message, or is a function of it.
    """
    if (rtol is None) != (atol is None):
        raise ValueError("assert_close: rtol and atol come together")

    checked = ("shape", "device", "dtype") if check_dtype else ("shape", "device")
    checked = checked if check_device else tuple(name for name in checked if name != "device")
    tolerances = None if rtol is None else (rtol, atol)
    _Comparison(tolerances, equal_nan, checked, check_dtype, msg).compare(actual, expected)


class _Comparison:
    """The options of `assert_close`, and the comparison of two values, each at a place `where`."""

    def __init__(self, tolerances, equal_nan, checked, check_dtype, msg):
        self.tolerances, self.equal_nan, self.msg = tolerances, equal_nan, msg
        self.checked, self.check_dtype = checked, check_dtype

    def fail(self, message, where):
        if where:
            items = "".join(f"[{key!r}]" for key in where)
            message = f"{message}\n\nThe failure occurred for item {items}"
        msg = self.msg
        raise AssertionError(msg(message) if callable(msg) else msg or message)

    def compare(self, a, b, where=()):
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if a.keys() != b.keys():
                keys = f"{sorted(a, key=str)} and {sorted(b, key=str)}"
                self.fail(f"The keys do not match: {keys}", where)
            for key in b:
                self.compare(a[key], b[key], (*where, key))
        elif all(isinstance(x, Sequence) and not isinstance(x, str) for x in (a, b)):
            if len(a) != len(b):
                self.fail(f"The lengths of the sequences mismatch: {len(a)} != {len(b)}", where)
            for i, (x, y) in enumerate(zip(a, b)):
                self.compare(x, y, (*where, i))
        elif a is None or b is None:
            if a is not b:
                self.fail(f"None mismatch: {a} is not {b}", where)
        elif all(isinstance(x, (Tensor, np.ndarray, np.generic)) for x in (a, b)):
            self.compare_tensors(as_tensor(a).detach(), as_tensor(b).detach(), where)
        elif all(isinstance(x, (bool, int, float)) for x in (a, b)):
            if self.check_dtype and type(a) is not type(b):
                self.fail(f"The types do not match: {type(a)} != {type(b)}.", where)
            x, y = (as_tensor(n, dtype=float64 if type(n) is float else None) for n in (a, b))
            self.compare_tensors(x, y, where)
        else:
            raise TypeError(
                f"assert_close: {type(a).__name__} and {type(b).__name__} are not compared"
            )

    def compare_tensors(self, a, b, where):
        for name in self.checked:
            x, y = getattr(a, name), getattr(b, name)
            if x != y:
                self.fail(f"The values for attribute {name!r} do not match: {x} != {y}.", where)
        wide = a.dtype if a.dtype == b.dtype else promote_types(a.dtype, b.dtype)
        exact = self.tolerances is None and wide.rank != FLOAT
        rtol, atol = self.tolerances or TOLERANCES.get(wide, (0, 0))
        a, b = a.to(float64), b.to(float64)
        off = ~ops.isclose(a, b, rtol, atol, equal_nan=self.equal_nan)
        if off.any():
            far = (a - b).abs()[off]
            self.fail(
                f"Tensor-likes are not {'equal' if exact else 'close'}!\n\n"
                f"Mismatched elements: {int(off.sum())} / {a.numel()} ({off.double().mean():.1%})\n"
                f"Greatest absolute difference: {far.max().item()} (up to {atol} allowed)\n"
                f"Greatest relative difference: {(far / b.abs()[off]).max().item()} "
                f"(up to {rtol} allowed)",
                where,
            )


__all__ = ["assert_close"]
