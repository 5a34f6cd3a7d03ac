"""Timings, side by side with PyTorch where it is installed:  python -m tests.benchmarks [NAME …]

The two libraries take turns (A B A B …) in one process, so that whatever else the machine does
falls on both; each line gives both medians and their ratio, above 1 where microtensor is faster.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

THREADS = os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
os.environ.setdefault("OPENBLAS_NUM_THREADS", THREADS)

import microtensor as mt  # noqa: E402
from models import MiniGPT, MiniGPTConfig  # noqa: E402

try:
    import torch

    torch.set_num_threads(int(THREADS))
except ImportError:
    torch = None


def side_by_side(name, ours, theirs, seconds):
    """Run both in turns for about `seconds` and print the medians."""
    runs = [f for f in (ours, theirs) if f]
    for f in runs:  # caches warm, memory taken
        f(), f()
    times = [[] for _ in runs]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for f, taken in zip(runs, times):
            start = time.perf_counter()
            f()
            taken.append(time.perf_counter() - start)
    report(name, *(statistics.median(taken) for taken in times))


def report(name, ours, theirs=None):
    unit, scale = ("ms", 1e3) if ours > 1e-3 else ("µs", 1e6)
    line = f"{name:44} {ours * scale:9.2f} {unit}"
    if theirs:
        line += f" {theirs * scale:9.2f} {unit}   PyTorch / microtensor {theirs / ours:5.2f}"
    print(line, flush=True)


# ---- the work to be timed ------------------------------------------------------------


def training_step(lib, batch, options):
    """A function that does one AdamW step of MiniGPT with clipped gradients."""
    model = minigpt(lib, **options)
    config = model.config
    optimizer = lib.optim.AdamW(model.parameters(), lr=1e-3)
    shape = (batch, config.context_length)
    idx, targets = (lib.randint(0, config.vocab_size, shape) for _ in range(2))

    def step():
        _, loss = model(idx, targets)
        optimizer.zero_grad()
        loss.backward()
        lib.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def minigpt(lib, **options):
    if lib is mt:
        return MiniGPT(MiniGPTConfig(**options))
    from .torch_minigpt import MiniGPT as TorchMiniGPT

    return TorchMiniGPT(MiniGPTConfig(**options))


def both(make, *args, **options):
    """`make` for microtensor, and for PyTorch if it is there."""
    return make(mt, *args, **options), make(torch, *args, **options) if torch else None


def bench_training(seconds):
    """A training step of MiniGPT."""
    larger = {"context_length": 256, "d_model": 384, "n_heads": 6, "n_layers": 6}
    for name, batch, options in [
        ("default MiniGPT, dropout 0.1", 32, {}),
        ("default MiniGPT, no dropout", 32, {"dropout": 0.0}),
        ("larger MiniGPT (256, 384, 6 heads, 6 layers)", 4, larger),
    ]:
        side_by_side(name, *both(training_step, batch, options), seconds * 3)


def bench_generation(seconds):
    """Greedy text of one full context, a token at a time."""
    ours, theirs = minigpt(mt), minigpt(torch) if torch else None
    ours.eval()
    start, n = mt.tensor([[1]]), ours.config.context_length - 1
    side_by_side(
        f"generate {n} tokens, both with a cache",
        lambda: list(ours.generate(start, n, temperature=0)),
        theirs and (lambda: theirs.eval().generate(torch.tensor([[1]]), n)),
        seconds,
    )


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


def bench_small(seconds):
    """What the engine costs where the arrays are small."""
    side_by_side("small MLP (32 × 64–64–10), a step of SGD", *both(mlp_step), seconds)

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


def bench_import(seconds):
    """A new process that imports the library and ends."""

    def start(module):
        return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    side_by_side("import", start("microtensor"), start("torch") if torch else None, seconds)


BENCHES = {
    name.removeprefix("bench_"): function
    for name, function in list(globals().items())
    if name.startswith("bench_")
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHES)}; all if none is given")
    parser.add_argument("--seconds", type=float, default=6, help="about how long each takes")
    args = parser.parse_args()
    wrong = set(args.names) - set(BENCHES)
    if wrong:
        parser.error(f"{', '.join(sorted(wrong))}: not among {', '.join(BENCHES)}")
    versions = f"microtensor {mt.__version__}" + (f", PyTorch {torch.__version__}" if torch else "")
    print(f"{versions}, {THREADS} threads: medians")
    for name in args.names or BENCHES:
        print(f"\n{BENCHES[name].__doc__}")
        BENCHES[name](args.seconds)
