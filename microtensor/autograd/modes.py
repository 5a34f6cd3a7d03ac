"""The modes of a thread: if operations are recorded, and if the first NaN is looked for."""

from __future__ import annotations

import functools
import inspect
import threading

from ..backends.restoring import Restoring
from ..typing import T
from .base import looked_at
from .errors import check_finite


class _Modes(threading.local):
    """The modes of one thread."""

    def __init__(self):
        self.grad = True
        self.inference = False
        self.anomaly = False
        self.packing = None  # the hooks that pack and unpack what is saved
        self.packing_refused = None  # what is said to those who want such hooks
        self.tape = None  # the Replay that writes operations down
        self.autocast = None  # the dtype that products are computed in
        self.recording = True  # grad, and not inference
        self.watched = False  # whether operations are looked at: inference, anomaly, or a tape

    def with_(self, **modes):
        """These modes and those that follow from them, as a dict."""
        new = {**vars(self), **modes}
        recording = new["grad"] and not new["inference"]
        watched = new["anomaly"] or new["tape"] is not None or new["inference"]
        if new["inference"] and not looked_at:
            looked_at.append(True)
        return {**modes, "recording": recording, "watched": watched}

    def set_grad(self, grad):
        """`set(grad=grad)`, sooner: each backward asks for it twice."""
        self.grad, self.recording = grad, grad and not self.inference


mode = _Modes()


def watch(call, args, params, arrays, results):
    """Show an operation to those who asked: inference_mode, detect_anomaly, a Replay."""
    if mode.inference:
        if type(results) is tuple:
            for r in results:
                r._inference = True
        elif results._data is not arrays[0]:  # an input as it is stays what it was
            results._inference = True
    if mode.anomaly:
        check_finite(call, arrays, results if isinstance(results, tuple) else (results,))
    if mode.tape is not None:
        mode.tape.operation(call, args, params, arrays, results)


class Switch(Restoring):
    """Sets modes of this thread: a context manager, and a decorator of functions and generators."""

    modes = {}

    def __new__(cls, *args, **kwargs):
        if args and callable(args[0]):
            return cls()(args[0])  # @no_grad without parentheses
        return super().__new__(cls)

    def __enter__(self) -> None:
        self._enter(vars(mode), mode.with_(**self.modes))

    def __call__(self, function: T) -> T:
        modes = self.modes  # a new switch for each call: calls may overlap, in threads, generators

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapped(*args, **kwargs):
                generator = function(*args, **kwargs)
                step = functools.partial(next, generator)
                while True:  # the modes hold inside the generator, not where it is used
                    with switched(**modes):
                        try:
                            value = step()
                        except StopIteration as stop:
                            return stop.value
                    try:
                        step = functools.partial(generator.send, (yield value))
                    except BaseException as error:
                        step = functools.partial(generator.throw, error)
        else:

            @functools.wraps(function)
            def wrapped(*args, **kwargs):
                with switched(**modes):
                    return function(*args, **kwargs)

        return wrapped


def switched(**modes):
    """A context manager that sets these modes."""
    switch = Switch()
    switch.modes = modes
    return switch


class no_grad(Switch):
    """Record nothing: results need no gradient."""

    modes = {"grad": False}


class enable_grad(Switch):
    """Record again inside `no_grad`."""

    modes = {"grad": True}


class inference_mode(Switch):
    """`no_grad` for code that will never be differentiated. `inference_mode(False)` records.

    What is made within it can afterwards be read, but neither be changed in place nor be saved for
    a derivative: RuntimeError; clone() it first.
    """

    def __init__(self, mode: bool = True) -> None:
        self.modes = {"grad": not mode, "inference": bool(mode)}


class detect_anomaly(Switch):
    """Name the first operation that produces a NaN or an infinity, and the line that called it."""

    def __init__(self, check_nan: bool = True) -> None:
        self.modes = {"anomaly": bool(check_nan)}


class set_grad_enabled(Switch):
    """Record or not, from now on; as a context manager, until its end."""

    switch = "grad"

    def __init__(self, mode: bool) -> None:
        self.modes = {self.switch: bool(mode)}
        self._set = False
        super().__enter__()
        self._set = True

    def __enter__(self) -> None:
        if not self._set:
            return super().__enter__()
        self._set = False  # it has been entered already, and is to be left once
        try:
            vars(mode).update(mode.with_(**self.modes))
        except BaseException:
            self.close()
            raise

    def __call__(self, function: T) -> T:
        self.__exit__()
        return super().__call__(function)


class set_detect_anomaly(set_grad_enabled):
    """`detect_anomaly` from now on, or until the end of a `with`; False ends it."""

    switch = "anomaly"

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(mode and check_nan)


def is_grad_enabled() -> bool:
    """True if operations are being recorded."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """True if `inference_mode` is on."""
    return mode.inference
