"""Quantize: write a trained model in a quarter of its bytes, and compare the two.

The weights of linear layers and tables become integers of 8 or 4 bits with
scales. What is compared is how many bytes they take, the loss on held-out text,
and how many tokens a second the model writes.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import microtensor as mt
from microtensor.quantization import (
    Int4WeightOnlyConfig,
    Int8WeightOnlyConfig,
    is_quantized,
    quantize_,
    weight_bytes,
)  # fmt: skip

from .. import training
from ..ladder.registry import window
from ..text import data
from ..text.corpus import load_corpus
from ..training.small import save_small
from . import flags, program

TOKENS = 4096  # in a batch of held-out text
SECONDS = 1.0  # of writing


@dataclass(frozen=True)
class Measured:
    """The size of a model, and its loss and speed."""

    weights: int  # bytes
    file: int  # bytes
    loss: float  # nats a token
    speed: float  # tokens a second


def main(argv=None):
    """Run the command line. Returns the exit code."""
    p = program.Parser("models.quantize", __doc__, "%(prog)s CHECKPOINT [options]")
    p.add_argument("checkpoint", metavar="CHECKPOINT",
                   help="a file or a folder of a training, or GPT-2's or Llama's")  # fmt: skip
    p.add_argument("--bits", type=int, choices=(8, 4), default=8, help="8 or 4 (8)")
    p.add_argument("--group-size", type=int, metavar="N",
                   help="numbers that share a scale, with --bits 4 (32)")  # fmt: skip
    p.add_argument("--to", metavar="FILE", help="what to write (int8.safetensors beside it)")
    p.add_argument("--overwrite", action="store_true", help="replace that file")
    flags.add_text(p.add_argument_group("the text that the loss is measured on"))
    return program.run(quantize, p, argv)


def quantize(args):
    """Quantize, write, and print the table."""
    from ..serving.loading import model_at  # late: it brings all kinds of models

    path = Path(args.checkpoint)
    if args.group_size is not None and args.bits != 4:
        raise ValueError("--group-size is for --bits 4 alone")
    config = Int8WeightOnlyConfig()
    if args.bits == 4:
        config = Int4WeightOnlyConfig(32 if args.group_size is None else args.group_size)
    to = Path(args.to or (path if path.is_dir() else path.parent) / f"int{args.bits}.safetensors")
    if to.exists() and not args.overwrite:
        raise ValueError(f"{to} is there already: --overwrite replaces it, --to names another")
    model, tokenizer = model_at(path)
    if tokenizer is None:
        raise ValueError(f"{path} has no tokenizer that this program reads")
    if any(map(is_quantized, model.parameters())):
        raise ValueError(f"{path} is quantized already")
    if not any(True for _ in model.parameters()):
        raise ValueError(f"{path} holds counts, and no weights to quantize")
    corpus = load_corpus(args.data, offline=args.offline, progress=print)
    _, held_out = data.split(tokenizer.encode_array(corpus.text), window(model))
    print(f"text: the last tenth of {corpus.name}")
    source = path / "model.safetensors" if (path / "config.json").exists() else path
    source = path / "checkpoint.safetensors" if source.is_dir() else source
    before = measured(model, held_out, source)
    quantize_(model, config)
    save_small(model, tokenizer, {"made from": str(path), "config": str(config)}, to)
    after = measured(model, held_out, to)
    print("\n".join(table(before, after, f"int{args.bits}")))
    if "numba" not in type(mt.backends.backend_for("cpu")).__name__.lower():
        print("with NumPy alone quantization saves memory, not time; the extra fast saves both")
    print(f"written: {to}")


def measured(model, held_out, file):
    """The measurements of a model, with the size of its file."""
    size = max(1, TOKENS // window(model))
    loss = training.evaluate(model, held_out, 10, size)
    prompt = mt.tensor([held_out.ids[: min(8, window(model))].tolist()])
    most = max(8, min(48, window(model) - 8)) if not getattr(model, "slides", False) else 48
    made, start = 0, None
    while start is None or time.perf_counter() < start + SECONDS:
        for _ in model.generate(prompt, most, temperature=0):
            made += start is not None  # the first time nothing is written down yet
        start = start or time.perf_counter()
    speed = made / (time.perf_counter() - start)
    bytes_ = file.stat().st_size if file.exists() else 0
    return Measured(weight_bytes(model), bytes_, loss, speed)


def table(before, after, name):
    """The two beside each other, a line for each quantity."""
    rows = [
        ("bytes of the weights", f"{before.weights:,}", f"{after.weights:,}",
         f"{after.weights / before.weights:.3f} times"),
        ("bytes of the file", f"{before.file:,}", f"{after.file:,}",
         f"{after.file / before.file:.3f} times" if before.file else ""),
        ("held-out loss", f"{before.loss:.4f}", f"{after.loss:.4f}",
         f"{after.loss - before.loss:+.4f}"),
        ("tokens a second", f"{before.speed:,.0f}", f"{after.speed:,.0f}",
         f"{after.speed / before.speed:.2f} times"),
    ]  # fmt: skip
    yield f"{'':22}{'float32':>14}{name:>14}"
    for what, first, second, change in rows:
        yield f"{what:22}{first:>14}{second:>14}   {change}"
