"""Mixed precision: what autocast, GradScaler and bfloat16 do to loss, memory and time.

The same small GPT learns from the same batches three times: in float32; with products in bfloat16
within autocast; and with products in float16, whose gradients a GradScaler keeps from vanishing. On
a CPU nothing is gained, and the table says so: bfloat16 is held in float32 here and rounded, and no
CPU of NumPy's multiplies halves sooner than floats. With --device cuda the same is measured there.
"""

import argparse
import json
import sys
import time
import tracemalloc
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import microtensor as mt
from microtensor.files.serialization import write_whole
from models import ByteTokenizer, MiniGPT, MiniGPTConfig
from models.cli import flags, program
from models.text import data
from models.text.corpus import load_corpus

KINDS = "float32", "bfloat16", "float16"


@dataclass
class Measured:
    """The measurements of a training."""

    kind: str
    loss: float  # of the last ten steps, in nats
    seconds: float  # a step
    megabytes: float  # at most, beside what is there before the first step
    skipped: int  # steps that the GradScaler left out, since a gradient was not finite
    scale: float  # of the loss, in the end


def main(argv=None):
    p = program.Parser("mixed_precision.py", __doc__)
    p.add_argument("--steps", type=int, default=40, metavar="N", help="for each (40)")
    p.add_argument("--device", default="cpu", metavar="NAME", help="cpu or cuda (cpu)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of all random numbers (0)")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    p.add_argument("--small", action="store_true", help=argparse.SUPPRESS)
    flags.add_text(p)
    return program.run(demo, p, argv)


def demo(args):
    if args.steps < 1:
        raise ValueError(f"steps must be at least 1, got {args.steps}")
    mt.zeros(1, device=args.device)  # raises if there is no such device
    corpus = load_corpus(args.data, offline=args.offline, progress=print)
    ids = ByteTokenizer().encode_array(corpus.text)
    found = []
    trained("float32", ids, args, steps=2)  # loops are compiled, and memory is taken
    print(f"{'products in':12}{'loss':>8}{'ms a step':>11}{'MB':>7}{'skipped':>9}{'scale':>9}")
    for kind in KINDS:
        found.append(trained(kind, ids, args))
        m = found[-1]
        print(f"{m.kind:12}{m.loss:8.3f}{m.seconds * 1e3:11.1f}{m.megabytes:7.1f}"
              f"{m.skipped:9}{m.scale:9,.0f}", flush=True)  # fmt: skip
    print("\n" + "\n".join(judged(found, args.device)))
    if args.json:
        write_whole(args.json, json.dumps([vars(m) for m in found], indent=2).encode())
    return 0


def trained(kind, ids, args, steps=None):
    """Train a new model, with products in a dtype, and measure."""
    mt.manual_seed(args.seed)
    width = 16 if args.small else 64
    sizes = {"d_model": width, "n_heads": 2, "n_layers": 2}
    model = MiniGPT(MiniGPTConfig(dropout=0.0, **sizes)).to(args.device)
    optimizer = mt.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = mt.amp.GradScaler(args.device, enabled=kind == "float16")
    windows = data.TextWindows(ids, model.config.context_length, args.device)
    order = mt.Generator().manual_seed(args.seed)
    losses, times, skipped = [], [], 0
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for step in range(steps or args.steps):
        idx, targets = windows.random_batch(2 if args.small else 8, order)
        if step == 1:  # the first step's memory alone is watched, which takes time
            peak = tracemalloc.get_traced_memory()[1] - before
            tracemalloc.stop()
        start = time.perf_counter()
        with precision(kind, args.device):
            _, loss = model(idx, targets)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        was = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        skipped += scaler.get_scale() < was
        losses.append(loss.item())
        times.append(time.perf_counter() - start)
    if tracemalloc.is_tracing():
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
    last, quick = losses[-10:], sorted(times[1:] or times)
    return Measured(kind, sum(last) / len(last), quick[len(quick) // 2], peak / 1e6, skipped,
                    scaler.get_scale() if kind == "float16" else 1.0)  # fmt: skip


def precision(kind, device):
    """The precision of a training: products in a dtype, and all that needs it in float32."""
    if kind == "float32":
        return nullcontext()
    return mt.autocast(mt.device(device).type, dtype=getattr(mt, kind))


def judged(found, device):
    """A sentence on what the table shows."""
    full = found[0]
    for m in found[1:]:
        yield (
            f"{m.kind}: the loss differs by {m.loss - full.loss:+.3f}; a step takes "
            f"{m.seconds / full.seconds:.2f} times as long, and {m.megabytes / full.megabytes:.2f} "
            "times the memory"
        )
    if mt.device(device).type == "cpu":
        yield "on a CPU nothing is gained: halves are there to run what was written for a GPU"


if __name__ == "__main__":
    sys.exit(main())
