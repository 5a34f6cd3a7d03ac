"""An exception from a signal's handler, whatever its moment, leaves nothing set that was set."""

import _thread
import gc
import signal
import sys

import numpy as np
import pytest

import microtensor as mt


class Raised(Exception):
    """What the handler raises."""


class Trip:
    """`trip[signal]` makes a signal pending. An index is no call: no handler runs here yet."""

    __getitem__ = _thread.interrupt_main


def interrupted(function, moment, trip=Trip()):  # noqa: B008
    """Run a function with a signal pending from its n-th bytecode on. Whether there are so many.

    Python itself decides where it runs the handler next.
    """
    steps, number = 0, signal.SIGUSR1
    left = [False]

    def trace(frame, event, arg):
        nonlocal steps
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            if steps == moment:
                sys.settrace(None)
                trip[number]
        return trace

    def handler(*args):
        left[0] = True
        raise Raised

    before = signal.signal(number, handler)
    try:
        sys.settrace(trace)
        function()
        sys.settrace(None)
        for _ in range(10):  # what is still pending comes here
            pass
    except Raised:
        pass
    finally:
        sys.settrace(None)
        signal.signal(number, before)
    return left[0]


def x():
    return mt.ones(3, requires_grad=True)


def no_grad():
    with mt.no_grad():
        pass


def nested():
    switch = mt.no_grad()
    with switch, switch, mt.enable_grad():
        pass


def inference():
    with mt.inference_mode():
        pass


def anomaly():
    with mt.autograd.detect_anomaly():
        pass


def autocast():
    with mt.autocast("cpu"):
        pass


def raising():
    try:
        with mt.no_grad():
            raise KeyError
    except KeyError:
        pass


@mt.no_grad()
def decorated():
    pass


@mt.no_grad()
def steps():
    yield 1
    yield 2


@mt.autocast("cpu")
def cast():
    pass


def device():
    with mt.device("meta"):
        pass


X, MATRIX = x(), mt.ones(2, 2, requires_grad=True)
CASES = {
    f.__name__: f for f in (no_grad, nested, inference, anomaly, autocast, raising, decorated, cast)
} | {
    "device": device,
    "generator": lambda: list(steps()),
    "operation": lambda: X * 2,
    "wrong operation": lambda: pytest.raises(RuntimeError, lambda: X + mt.ones(4)),
    "backward": lambda: (X * X).sum().backward(),
    "second derivative": lambda: mt.autograd.grad((X * X).sum(), X, create_graph=True),
    "in place": lambda: (X * 2)[1:].mul_(3),
    "cast operation": lambda: mt.nn.functional.mse_loss(X, X * 2),
    "product in autocast": lambda: MATRIX @ MATRIX,
}


def state():
    from microtensor.autograd.hooks import _accumulating
    from microtensor.autograd.modes import mode

    free = _accumulating.acquire(blocking=False)
    _accumulating.release()
    device = mt.get_default_device()
    return np.geterr(), dict(vars(mode)), free, device, X.is_leaf


@pytest.fixture(autouse=True)
def no_garbage():
    """Finalizers of what other tests left behind would run in between, and keep the exception."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("name", CASES)
def test_every_moment(name):
    run = CASES[name]
    run()
    before, moment, hits = state(), 0, 0
    after = True
    while after:
        moment += 1 if hits < 300 else 7
        after = interrupted(run, moment)
        hits += after
        assert state() == before, f"{name}: interrupted at its bytecode {moment}"
    assert hits > 10
