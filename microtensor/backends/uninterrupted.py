"""Work that no signal cuts short: Python runs the handlers of signals in the main thread alone."""

import functools
import importlib
import os
import threading

_busy = threading.RLock()


@functools.cache
def _forks_wait():
    """Let a fork wait for such work: a child has none of the threads that might hold a lock.

    The handler that was registered last is the first before a fork. That of `logging` takes a lock
    that work such as the import of numba needs, so it must come after ours: it is registered first.
    """
    importlib.import_module("logging")
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_busy.acquire, after_in_parent=_busy.release, after_in_child=_busy.release
        )


def uninterrupted(function, *args, **kwargs):
    """function(*args, **kwargs), which goes on to its end even if an exception ends the wait.

    That is: the caller gets a KeyboardInterrupt at once, and the work is done all the same.
    """
    _forks_wait()
    if threading.current_thread() is not threading.main_thread():
        with _busy:
            return function(*args, **kwargs)
    outcome = []

    def run():
        try:
            with _busy:
                outcome[:] = True, function(*args, **kwargs)
        except BaseException as error:
            outcome[:] = False, error

    thread = threading.Thread(target=run)
    try:
        thread.start()
    except RuntimeError:  # there may be no more threads
        return function(*args, **kwargs)
    thread.join()
    done, result = outcome
    if not done:
        raise result
    return result
