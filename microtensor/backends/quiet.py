"""NumPy without warnings: log 0 and 0 / 0 are values like any other.

`np.errstate` is what NumPy offers; it works out its state anew each time, which costs as much as a
small operation. The state lives in a context variable, so it is worked out once, here, and only
set and reset around an operation. For the user's own NumPy code nothing changes.
"""

import contextvars
import functools

import numpy as np


class _Errstate:
    """`set` and `reset` of a context variable, by np.errstate."""

    def set(self, state):
        errstate = np.errstate(all="ignore")
        errstate.__enter__()
        return errstate

    def reset(self, errstate):
        errstate.__exit__()


with np.errstate(all="ignore"):
    _found = [(v, s) for v, s in contextvars.copy_context().items() if "numpy" in v.name]

warnings, IGNORED = _found[0] if len(_found) == 1 else (_Errstate(), None)


def quiet(function):
    """The function with NumPy's warnings off while it runs."""

    @functools.wraps(function)
    def run(*args, **kwargs):
        token = warnings.set(IGNORED)
        try:
            return function(*args, **kwargs)
        finally:
            warnings.reset(token)

    return run
