"""NumPy without warnings: log 0 and 0 / 0 are values like any other.

`np.errstate` is what NumPy offers; it works out its state anew each time, which costs as much as a
small operation. The state lives in a context variable, so it is worked out once, here, and only
set and reset around an operation. For the user's own NumPy code nothing changes.
"""

from __future__ import annotations

import contextvars
import functools
from typing import TypeVar

import numpy as np


class _Errstate:
    """`get` and `set` of a context variable, by np.seterr."""

    def get(self):
        return np.geterr()

    def set(self, state):
        np.seterr(**state)


with np.errstate(all="ignore"):
    _found = [(v, s) for v, s in contextvars.copy_context().items() if "numpy" in v.name]

warnings, IGNORED = (
    _found[0] if len(_found) == 1 else (_Errstate(), dict.fromkeys(np.geterr(), "ignore"))
)
T = TypeVar("T")


def quiet(function: T) -> T:
    """The function with NumPy's warnings off while it runs."""

    @functools.wraps(function)
    def run(*args, **kwargs):
        before = warnings.get()
        try:  # see restoring.py
            warnings.set(IGNORED)
            return function(*args, **kwargs)
        finally:
            warnings.set(before)

    return run
