"""What a thread does beside computing values: record, or not; look for the first NaN."""

import functools
import inspect
import threading


class _Modes(threading.local):
    """What this thread does beside computing values."""

    grad = True
    inference = False
    anomaly = False
    tape = None  # the Replay that writes operations down
    autocast = None  # the dtype that products are computed in
    recording = True  # grad, and not inference
    watched = False  # whether operations are looked at: anomaly, or a tape

    def set(self, **modes):
        vars(self).update(modes)
        self.set_grad(self.grad)
        self.watched = self.anomaly or self.tape is not None

    def set_grad(self, grad):
        """`set(grad=grad)`, sooner: each backward asks for it twice."""
        self.grad, self.recording = grad, grad and not self.inference


mode = _Modes()


class _Switch:
    """Sets modes of this thread: a context manager, and a decorator of functions and generators."""

    modes = {}
    _before = ()

    def __new__(cls, *args, **kwargs):
        if args and callable(args[0]):
            return cls()(args[0])  # @no_grad without parentheses
        return super().__new__(cls)

    def __enter__(self):
        self._before = (*self._before, {k: getattr(mode, k) for k in self.modes})
        mode.set(**self.modes)

    def __exit__(self, *exception):
        *self._before, before = self._before
        mode.set(**before)

    def __call__(self, function):
        def switched():  # a new one for each call: calls may overlap, in threads and generators
            switch = _Switch()
            switch.modes = self.modes
            return switch

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapped(*args, **kwargs):
                generator = function(*args, **kwargs)
                step = functools.partial(next, generator)
                while True:  # the modes hold inside the generator, not where it is used
                    with switched():
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
                with switched():
                    return function(*args, **kwargs)

        return wrapped


class no_grad(_Switch):
    """Record nothing: results need no gradient."""

    modes = {"grad": False}


class enable_grad(_Switch):
    """Record again inside `no_grad`."""

    modes = {"grad": True}


class inference_mode(_Switch):
    """`no_grad` for code that will never be differentiated. `inference_mode(False)` records."""

    def __init__(self, mode=True):
        self.modes = {"grad": not mode, "inference": bool(mode)}


class detect_anomaly(_Switch):
    """Name the first operation that produces a NaN or an infinity, and the line that called it."""

    def __init__(self, check_nan=True):
        self.modes = {"anomaly": bool(check_nan)}


class set_grad_enabled(_Switch):
    """Record or not, from now on; as a context manager, until its end."""

    switch = "grad"

    def __init__(self, mode):
        self.modes = {self.switch: bool(mode)}
        super().__enter__()

    def __enter__(self):
        mode.set(**self.modes)

    def __exit__(self, *exception):
        mode.set(**self._before[0])

    def __call__(self, function):
        self.__exit__()
        return super().__call__(function)


class set_detect_anomaly(set_grad_enabled):
    """`detect_anomaly` from now on, or until the end of a `with`; False ends it."""

    switch = "anomaly"

    def __init__(self, mode, check_nan=True):
        super().__init__(mode and check_nan)


def is_grad_enabled():
    """Whether operations are being recorded."""
    return mode.grad


def is_inference_mode_enabled():
    """Whether `inference_mode` is on."""
    return mode.inference
