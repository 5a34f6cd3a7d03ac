"""What microtensor by itself spends its time on:  python -m tests.benchmarks.inside NAME SECONDS"""

import importlib.util
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np

import microtensor as mt
from models import MiniGPTConfig

from .quantized import KINDS
from .work import DEFAULT, minigpt, small_mlp, training


def medians(runs, seconds):
    """The median time of each function, all of them run in turns for about `seconds`."""
    for f in runs:  # caches warm, memory taken
        f(), f()
    times = [[] for _ in runs]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for f, taken in zip(runs, times):
            start = time.perf_counter()
            f()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def report(name, seconds):
    unit, scale = ("ms", 1e3) if seconds > 1e-3 else ("µs", 1e6)
    print(f"{name:44} {seconds * scale:9.2f} {unit}", flush=True)


def bench_quantization(seconds):
    """All matrices of GPT-2 (124 M) for one token, one thread, a process for each kind."""
    there = importlib.util.find_spec("torch") is not None
    found = {kind: [] for kind in KINDS if there or not kind.startswith("torch")}
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    for _ in range(3):  # by turns, so that whatever else the machine does falls on all
        for kind, times in found.items():
            command = [sys.executable, "-m", "tests.benchmarks.quantized", kind, str(seconds / 3)]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=one_thread)
            times.append([float(part) for part in run.stdout.split()])
    first = min(least for least, _ in found["float32"])
    for kind, times in found.items():
        least, median = min(t[0] for t in times), statistics.median(t[1] for t in times)
        print(f"{kind:20} least {least * 1e3:7.2f} ms, median {median * 1e3:7.2f} ms; the least is "
              f"{first / least:5.2f} times as fast as float32")  # fmt: skip


def bench_drawing(seconds):
    """From a computation to the DOT text of its drawing, and to a film."""
    total = mt.tensor(1.0, requires_grad=True)
    for _ in range(10_000):
        total = total * 1.0
    views = {
        "": {}, ", values and gradients": {"values": True, "grads": True},
        ", on the way back": {"view": "backward"},
    }  # fmt: skip
    for words, asked in views.items():
        work = lambda asked=asked: mt.graph.draw(total, **asked).source
        report(f"10,000 operations to DOT{words}", *medians([work], seconds))
    model, idx = minigpt(mt, DEFAULT), mt.zeros(4, 64, dtype=mt.int64)
    fold = lambda: mt.graph.draw(lambda: model(idx, idx)[1], params=model, depth=1).source
    report("MiniGPT at work, folded, to DOT", *medians([fold], seconds))
    a, b = mt.tensor(2.0, requires_grad=True), mt.tensor(-0.5, requires_grad=True)
    report("a film of (a * b).tanh()", *medians([lambda: mt.graph.film((a * b).tanh())], seconds))


def bench_hand(seconds):
    """A step of the small MLP with microtensor, and derived by hand: the limit of any library."""
    ours, by_hand = medians([small_mlp(mt), small_mlp_by_hand()], seconds)
    report("small MLP (32 × 64–64–10), a step", ours)
    report("the same by hand, in NumPy alone", by_hand)


def small_mlp_by_hand():
    """A step of `small_mlp`, its derivatives written by hand."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((32, 64), np.float32), random.integers(0, 10, 32)
    w1, w2 = random.standard_normal((64, 64), np.float32), random.standard_normal((10, 64), "f")
    b1, b2, rows, ones = np.zeros(64, "f"), np.zeros(10, "f"), np.arange(32), np.ones(32, "f")

    def step():
        h = x @ w1.T
        h += b1
        a = np.maximum(h, 0)
        p = a @ w2.T
        p += b2
        p -= p.max(1, keepdims=True)
        picked = p[rows, y]
        np.exp(p, out=p)
        total = p.sum(1)
        loss = (np.log(total) - picked).sum() / 32
        p /= total[:, None]
        p[rows, y] -= 1
        p /= 32
        g = p @ w2
        g *= h > 0
        for parameter, gradient in [(w1, g.T @ x), (b1, ones @ g), (w2, p.T @ a), (b2, ones @ p)]:
            gradient *= 0.1
            parameter -= gradient
        return loss

    return step


def bench_products(seconds):
    """How much of a training step are matrix products, which are BLAS's: the limit."""
    step, products = training(mt), matrix_products(MiniGPTConfig(), 32)
    whole, part = medians([step, products], seconds)
    report("a training step", whole)
    report(f"its matrix products alone: {part / whole:.0%} of it", part)


def matrix_products(config, batch):
    """A function that multiplies matrices of the sizes that a training step multiplies."""
    C, T, D = config.d_model, config.context_length, config.d_model // config.n_heads
    n, heads = batch * T, batch * config.n_heads
    pairs = []

    def product(rows, inner, columns, times, stack=()):
        a, b = (
            np.ones((*stack, *shape), np.float32) for shape in [(rows, inner), (inner, columns)]
        )
        pairs.extend([(a, b)] * times)

    for inputs, outputs, times in [(C, 3 * C, 1), (C, C, 1), (C, 4 * C, 1), (4 * C, C, 1)]:
        for shape in [(n, inputs, outputs), (n, outputs, inputs), (outputs, n, inputs)]:
            product(*shape, times * config.n_layers)  # the value, and the two gradients
    for shape in [(n, C, config.vocab_size), (n, config.vocab_size, C), (config.vocab_size, n, C)]:
        product(*shape, 1)
    product(T, D, T, 2 * config.n_layers, (heads,))  # scores, the gradient of the weights
    product(T, T, D, 4 * config.n_layers, (heads,))  # the value, the gradients of q, k and v

    def run():
        for a, b in pairs:
            a @ b

    return run


def bench_profile(seconds):
    """Where a training step of the default MiniGPT spends its time, by operation."""
    step, times, steps = training(mt), {}, 0
    step()
    with timed_operations(times):
        start = time.perf_counter()
        while time.perf_counter() < start + seconds:
            step()
            steps += 1
        whole = (time.perf_counter() - start) / steps
    print(f"{'operation':24} {'calls':>6} {'forward':>10} {'backward':>10}   of a step")
    for name, (calls, forward, back) in sorted(times.items(), key=lambda t: -t[1][1] - t[1][2]):
        print(f"{name:24} {calls / steps:6.0f} {forward / steps * 1e3:7.2f} ms "
              f"{back / steps * 1e3:7.2f} ms {(forward + back) / steps / whole:10.1%}")  # fmt: skip
    rest = whole - sum(f + b for _, f, b in times.values()) / steps
    print(f"{'the rest: engine, optimizer, modules':42} {rest * 1e3:7.2f} ms {rest / whole:11.1%}")


@contextmanager
def timed_operations(times):
    """Fill {name: [calls, seconds forward, seconds backward]} while it lasts."""

    def timed(function, entry, slot):
        def run(*args, **kwargs):
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                entry[slot] += time.perf_counter() - start

        return run

    def watched(name, function):
        def run(*args, **kwargs):
            entry = times.setdefault(name, [0, 0.0, 0.0])
            entry[0] += 1
            value, pulls = timed(function, entry, 1)(*args, **kwargs)
            if callable(pulls):
                pulls = timed(pulls, entry, 2)
            elif pulls is not None:
                pulls = tuple(pull and timed(pull, entry, 2) for pull in pulls)
            return value, pulls

        return run

    cells = {}  # the function that each operation calls
    for name, operation in mt.autograd.registry.items():
        variables = operation.__code__.co_freevars
        cells[name] = operation.__closure__[variables.index("function")]
    before = {name: cell.cell_contents for name, cell in cells.items()}
    try:
        for name, cell in cells.items():
            cell.cell_contents = watched(name, before[name])
        yield
    finally:
        for name, cell in cells.items():
            cell.cell_contents = before[name]


if __name__ == "__main__":
    function = globals()[f"bench_{sys.argv[1]}"]
    print(function.__doc__)
    function(float(sys.argv[2]))
