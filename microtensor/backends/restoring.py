"""Restoring of temporary settings, whatever the moment at which a signal's handler raises.

Python runs the handlers of signals when a function of its own begins, after a call and when a loop
goes back; never between other steps. So a state is set within the `try` whose `finally` sets it
back, and set back in one step: an assignment, or one call of what is written in C. An `__exit__`
written in Python could be cut short before its first step; this one is written in C.
"""

import io
from functools import partial


class Restoring(io.IOBase):
    """A context manager that sets the items of a dict: subclasses say in `_enter` which ones.

    The class of files lends its `__exit__`, which calls `self.close()` and is written in C.
    """

    closed = True  # nothing is to be done when one goes

    def _enter(self, state, values):
        """state.update(values), until `__exit__`."""
        back = partial(state.update, {key: state[key] for key in values})
        if "close" not in vars(self):
            self._before = []
            # pops the last of `before`, and updates the state with it, all in C
            self.close = partial(next, map(partial.__call__, iter(self._before.pop, None)))
        try:
            self._before.append(back)
            state.update(values)
        except BaseException:
            self.close()
            raise
