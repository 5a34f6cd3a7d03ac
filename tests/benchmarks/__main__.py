"""Timings, side by side with PyTorch where it is installed:  python -m tests.benchmarks [NAME …]

The two libraries take turns (A B A B …) in one process, so that whatever else the machine does
falls on both; each line gives both medians and their ratio, above 1 where microtensor is faster.
Memory, and the time from the start of a process, are those of processes of their own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict

THREADS = os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
os.environ.setdefault("OPENBLAS_NUM_THREADS", THREADS)

import numpy as np  # noqa: E402

import microtensor as mt  # noqa: E402
from models import MiniGPT, MiniGPTConfig  # noqa: E402

from .alone import training_step  # noqa: E402

try:
    import torch

    torch.set_num_threads(int(THREADS))
except ImportError:
    torch = None


def side_by_side(name, ours, theirs, seconds):
    """Run both in turns for about `seconds` and print the medians."""
    report(name, *medians([f for f in (ours, theirs) if f], seconds))


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


def report(name, ours, theirs=None):
    unit, scale = ("ms", 1e3) if ours > 1e-3 else ("µs", 1e6)
    line = f"{name:44} {ours * scale:9.2f} {unit}"
    if theirs:
        line += f" {theirs * scale:9.2f} {unit}   PyTorch / microtensor {theirs / ours:5.2f}"
    print(line, flush=True)


LARGER = {"context_length": 256, "d_model": 384, "n_heads": 6, "n_layers": 6}
LIBRARIES = ["microtensor", "torch"] if torch else ["microtensor"]


# ---- the work to be timed ------------------------------------------------------------


def minigpt(lib, **options):
    if lib is mt:
        return MiniGPT(MiniGPTConfig(**options))
    from .torch_minigpt import MiniGPT as TorchMiniGPT

    return TorchMiniGPT(MiniGPTConfig(**options))


def both(make, *args, **options):
    """`make` for microtensor, and for PyTorch if it is there."""
    return make(mt, *args, **options), make(torch, *args, **options) if torch else None


def step_of_minigpt(lib, batch, options):
    return training_step(lib, minigpt(lib, **options), batch)


def bench_training(seconds):
    """A training step of MiniGPT."""
    for name, batch, options in [
        ("default MiniGPT, dropout 0.1", 32, {}),
        ("default MiniGPT, no dropout", 32, {"dropout": 0.0}),
        ("larger MiniGPT (256, 384, 6 heads, 6 layers)", 4, LARGER),
    ]:
        side_by_side(name, *both(step_of_minigpt, batch, options), seconds * 3)


def bench_compiled(seconds):
    """A training step beside torch.compile, which takes a minute to compile."""
    if torch is None:
        print("PyTorch is not installed")
        return
    for dropout in (0.1, 0.0):
        compiled = training_step(torch, torch.compile(minigpt(torch, dropout=dropout)), 32)
        ours = step_of_minigpt(mt, 32, {"dropout": dropout})
        side_by_side(f"default MiniGPT, dropout {dropout}", ours, compiled, seconds * 3)


def bench_generation(seconds):
    """Greedy text, a token at a time."""
    for name, n, batch, context_length, use_cache in [
        ("63 tokens, both with a cache", 63, 1, 64, True),
        ("200 tokens (context 256), both with a cache", 200, 1, 256, True),
        ("200 tokens (context 256), both without", 200, 1, 256, False),
        ("63 tokens for 8 texts, both with a cache", 63, 8, 64, True),
    ]:
        side_by_side(name, *both(writing, n, batch, context_length, use_cache), seconds)


def writing(lib, n, batch, context_length, use_cache):
    """A function that writes n tokens for each of several texts."""
    model = minigpt(lib, context_length=context_length).eval()
    start = lib.ones((batch, 1), dtype=lib.int64)
    if lib is mt:
        return lambda: list(model.generate(start, n, temperature=0, use_cache=use_cache))
    return lambda: model.generate(start, n, use_cache)


def mlp_step(lib):
    nn = lib.nn
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = lib.optim.SGD(model.parameters(), lr=0.1)
    x, y = lib.randn(32, 64), lib.randint(0, 10, (32,))

    def step():
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def mlp_step_by_hand():
    """The same step in NumPy alone, derived by hand: what no library comes below."""
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


def bench_small(seconds):
    """What the engine costs where the arrays are small."""
    side_by_side("small MLP (32 × 64–64–10), a step of SGD", *both(mlp_step), seconds)
    side_by_side("the same by hand, without a library", mlp_step_by_hand(), None, seconds / 3)

    def one(lib):
        x = lib.randn(10).requires_grad_()
        return lambda: (x * x).sum().backward()

    side_by_side("(x * x).sum().backward(), 10 numbers", *both(one), seconds)

    def chain(lib):
        x = lib.randn(10).requires_grad_()

        def run():
            y = x
            for _ in range(1000):
                y = y * 1.001
            y.sum().backward()

        return run

    side_by_side("a chain of 1,000 operations and back", *both(chain), seconds)


def bench_operations(seconds):
    """Single operations at the sizes of the default MiniGPT, forward and backward."""
    sizes = {
        "gelu (2048, 512)": (lambda lib, x: lib.nn.functional.gelu(x), (2048, 512)),
        "softmax (8192, 64)": (lambda lib, x: lib.nn.functional.softmax(x, -1), (8192, 64)),
        "layer_norm (2048, 128)": (
            lambda lib, x: lib.nn.functional.layer_norm(x, (128,)), (2048, 128)),
        "matmul (512, 512)": (lambda lib, x: x @ x, (512, 512)),
        "exp (1000, 1000)": (lambda lib, x: lib.exp(x), (1000, 1000)),
        "sum over rows (1000, 1000)": (lambda lib, x: x.sum(0), (1000, 1000)),
        "dropout (8192, 64)": (lambda lib, x: lib.nn.functional.dropout(x, 0.1), (8192, 64)),
        "cross_entropy (2048, 256)": (
            lambda lib, x: lib.nn.functional.cross_entropy(x, lib.arange(2048) % 256), (2048, 256)),
        "attention (32, 4, 64, 32), causal": (
            lambda lib, x: lib.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True),
            (32, 4, 64, 32)),
    }  # fmt: skip

    def make(lib, function, shape):
        x = lib.randn(*shape).requires_grad_()
        g = lib.ones_like(function(lib, x).detach())

        def run():
            x.grad = None
            function(lib, x).backward(g)

        return run

    for name, (function, shape) in sizes.items():
        side_by_side(name, *both(make, function, shape), seconds / 3)


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
        side_by_side(f"10,000 operations to DOT{words}", work, None, seconds)
    model, idx = minigpt(mt), mt.zeros(4, 64, dtype=mt.int64)
    fold = lambda: mt.graph.draw(lambda: model(idx, idx)[1], params=model, depth=1).source
    side_by_side("MiniGPT at work, folded, to DOT", fold, None, seconds)
    a, b = mt.tensor(2.0, requires_grad=True), mt.tensor(-0.5, requires_grad=True)
    side_by_side("a film of (a * b).tanh()", lambda: mt.graph.film((a * b).tanh()), None, seconds)


def bench_products(seconds):
    """How much of a training step are matrix products, which are BLAS's: the limit."""
    step, products = step_of_minigpt(mt, 32, {}), matrix_products(MiniGPTConfig(), 32)
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
    step, times, steps = step_of_minigpt(mt, 32, {}), {}, 0
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


def bench_memory(seconds):
    """The peak memory of a process that takes three training steps."""
    for name, batch, options in [("default MiniGPT", 32, {}), ("larger MiniGPT", 4, LARGER)]:
        line = f"{name:44}"
        peaks = [int(alone(lib, batch, 3, options)) for lib in LIBRARIES]
        for peak in peaks:
            line += f" {peak:9.0f} MB"
        print(line + (f"   PyTorch / microtensor {peaks[1] / peaks[0]:5.2f}" if torch else ""))


def bench_start(seconds):
    """From the start of a process to the end of its first training step of the default MiniGPT."""
    runs = [lambda lib=lib: alone(lib, 32, 1, {}) for lib in LIBRARIES]
    side_by_side("start and first step", runs[0], runs[1] if torch else None, seconds)


def alone(library, batch, steps, options):
    """What a process prints in which one library alone trains a MiniGPT."""
    config = json.dumps(asdict(MiniGPTConfig(**options)))
    command = [sys.executable, "-m", "tests.benchmarks.alone", library, str(batch), str(steps)]
    return subprocess.run([*command, config], check=True, stdout=subprocess.PIPE).stdout


def bench_import(seconds):
    """A new process that imports the library and ends."""

    def start(module):
        # with compiled bytecode on both sides, as installed packages have it
        cached = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, "-c", f"import {module}"]
        return lambda: subprocess.run(command, check=True, env=cached)

    side_by_side("import", start("microtensor"), start("torch") if torch else None, seconds)


BENCHES = {
    name.removeprefix("bench_"): function
    for name, function in list(globals().items())
    if name.startswith("bench_")
}

ON_REQUEST = {"compiled"}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        help=f"of {', '.join(BENCHES)}; without one, all but {', '.join(ON_REQUEST)}",
    )
    parser.add_argument("--seconds", type=float, default=6, help="about how long each takes")
    args = parser.parse_args()
    wrong = set(args.names) - set(BENCHES)
    if wrong:
        parser.error(f"{', '.join(sorted(wrong))}: not among {', '.join(BENCHES)}")
    versions = f"microtensor {mt.__version__}" + (f", PyTorch {torch.__version__}" if torch else "")
    print(f"{versions}, {THREADS} threads: medians")
    for name in args.names or [n for n in BENCHES if n not in ON_REQUEST]:
        print(f"\n{BENCHES[name].__doc__}")
        BENCHES[name](args.seconds)
