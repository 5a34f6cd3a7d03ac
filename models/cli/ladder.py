"""The ladder: every model learns from the same text, with the same budget.

The budget is a number of windows of text: steps × 32 windows × 64 characters.
The n-gram, which counts, reads the text once. Held-out loss is the mean of
−log p(next character) on the last tenth of the text, in nats; all models are
asked about the same windows of it.
"""

import math
import sys
import time
from dataclasses import dataclass

import microtensor as mt
from microtensor.utils.pages import escaped, figure_text

from .. import training
from ..generation import sampling
from ..inside import pages
from ..ladder import RUNGS, WINDOW
from ..text import data
from ..text.corpus import load_corpus
from ..text.tokenizers import CharTokenizer
from ..training import reporting
from . import flags, program
from .run import first_prompt, sampling_options

SAMPLE = 300  # characters


@dataclass(frozen=True)
class Result:
    """The result of a rung. `numbers` are parameters, or counts."""

    name: str
    numbers: int
    seconds: float
    loss: float
    sample: str


def main(argv=None, name="models.ladder", about=None):
    """Run the command line of the comparison. Returns the exit code."""
    p = program.Parser(name, about or __doc__)
    flags.add_text(p)
    p.add_argument("--steps", type=int, default=500, metavar="N",
                   help="steps of training for every rung (500)")  # fmt: skip
    p.add_argument("--rungs", nargs="+", choices=list(RUNGS), default=list(RUNGS), metavar="NAME",
                   help=f"some of {', '.join(RUNGS)} (all)")  # fmt: skip
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of all random numbers (0)")
    p.add_argument("--out", metavar="FOLDER", default="runs/ladder",
                   help="where the pictures go (runs/ladder)")  # fmt: skip
    flags.add_writing(p.add_argument_group("the samples"))
    group = p.add_argument_group("taken by every command, and without effect: no model is kept")
    for flag in ("--load", "--resume", "--overwrite"):
        group.add_argument(flag, action="store_true")
    group.add_argument("--eval-every", type=int, metavar="N")
    return program.run(climb, p, argv)


def climb(args):
    """Train the rungs that the arguments ask for, one after the other, and compare them."""
    flags.check_sampling(args)
    rungs = [rung for name, rung in RUNGS.items() if name in args.rungs]
    for rung in rungs:
        rung.training(steps=args.steps)  # ValueError for impossible numbers
    corpus = load_corpus(args.data, offline=args.offline, progress=print)
    tokenizer = CharTokenizer.from_text(corpus.text)
    sampling.check_options(args.temperature, args.top_k, args.top_p, tokenizer.vocab_size)
    tokenizer.encode(args.prompt or "")  # ValueError for a character that is not in the text
    parts = data.split(tokenizer.encode_array(corpus.text), WINDOW)
    budget = args.steps * training.TrainingConfig.batch_size * WINDOW
    title = (
        f"{corpus.name}: {len(corpus.text):,} characters; {args.steps:,} steps = {budget:,} read"
    )
    print(f"{title}\nevery character alike: {math.log(tokenizer.vocab_size):.3f}\n{HEAD}")
    results = []
    for rung in rungs:
        results.append(result_of(rung, tokenizer, parts, args))
        print(row(results[-1]), flush=True)
    print("\n" + "\n".join(comparison(results)))
    for result in results:
        print(f"\n── {result.name} " + "─" * (76 - len(result.name)))
        print(reporting.printable(result.sample).strip())
    print()
    try:
        picture = pages.png(drawn(results, title))
    except ImportError:
        print("no picture of the table: matplotlib is missing (pip install matplotlib)")
    else:
        page = as_page(results, title, picture)
        pages.save(args.out, {"ladder.png": picture, "ladder.html": page})


def result_of(rung, tokenizer, parts, args):
    """Train one rung, examine it, and let it write."""
    start = time.perf_counter()
    if rung.counts:
        model = rung.build(tokenizer.vocab_size).fit(parts[0].ids)
        seconds, numbers = time.perf_counter() - start, len(model)
        loss = training.evaluate(model, parts[1])
    else:
        config = rung.training(steps=args.steps, eval_every=args.steps, seed=args.seed)
        mt.manual_seed(config.seed)
        model, seconds = rung.build(tokenizer.vocab_size), 0.0
        trainer = training.Trainer(model, tokenizer, *parts, config)
        for record in trainer.run():
            seconds += record.seconds
            waiting(f"{rung.name}: step {record.step:,} of {args.steps:,}")
        waiting("")
        numbers, loss = sum(p.numel() for p in model.parameters()), trainer.validation[-1][1]
    prompt = first_prompt(tokenizer) if args.prompt is None else args.prompt
    length = SAMPLE if args.sample_length is None else args.sample_length
    pieces = sampling.generate_text(
        model, tokenizer, prompt, length, **sampling_options(args, args.seed)
    )
    return Result(rung.name, numbers, seconds, loss, "".join(pieces))


def waiting(line):
    """A line that the next one replaces, in a terminal."""
    if sys.stdout.isatty():
        print(f"\r{line:<60}\r", end="", flush=True)


# ---- the table ---------------------------------------------------------------------------------

HEAD = f"{'rung':16} {'numbers':>9} {'seconds':>8} {'held-out loss':>14}   a sample"


def row(result):
    return (
        f"{result.name:16} {result.numbers:9,} {result.seconds:8.1f} {result.loss:14.3f}   "
        f"{in_a_line(result.sample, 44)}"
    )


def in_a_line(text, width):
    text = "".join(c if c == " " else pages.visible(c) for c in text.strip())
    return text if len(text) <= width else text[: width - 1] + "…"


def comparison(results):
    """For each rung, whether it beats the one before: lines of text."""
    for before, here in zip(results, results[1:]):
        difference = before.loss - here.loss
        if difference > 0:
            yield f"{here.name} beats {before.name} by {difference:.3f}"
        else:
            yield (
                f"{here.name} does NOT beat {before.name} at this budget: {here.loss:.3f} against "
                f"{before.loss:.3f}"
            )


def as_page(results, title, picture):
    """The picture, what it says, and the samples, as an HTML file that needs no other."""
    parts = [pages.image(picture, title)]
    parts.append(f"<p>{'<br>'.join(map(escaped, comparison(results)))}</p>")
    for result in results:
        sample = escaped(result.sample.strip(), lines=True)
        parts.append(f'<h2>{escaped(result.name)}</h2><p class="text">{sample}</p>')
    return pages.page("The ladder", *parts)


def drawn(results, title):
    """The table as a figure, with a bar for each loss. Needs matplotlib (ImportError)."""
    figure = pages.figure(12, 1.2 + 0.45 * len(results))
    axes = figure.subplots()
    best = min(results, key=lambda r: r.loss)
    before = [None, *results]
    for y, result in enumerate(results):
        behind = before[y] is not None and result.loss >= before[y].loss
        color = "#d98c5f" if behind else "#2f6db5"
        axes.barh(y, result.loss, color=color, height=0.62)
        axes.text(result.loss, y, f" {result.loss:.3f}", va="center",
                  weight="bold" if result is best else "normal")  # fmt: skip
    widest = max(r.loss for r in results)
    columns = {  # heading: x, as a share of the longest bar; alignment; text
        "numbers": (1.35, "right", lambda r: f"{r.numbers:,}"),
        "seconds": (1.54, "right", lambda r: f"{r.seconds:,.1f}"),
        "a sample": (1.58, "left", lambda r: in_a_line(r.sample, 48)),
    }
    for heading, (x, side, text) in columns.items():
        axes.text(x * widest, -0.75, heading, ha=side, color="#666666")
        for y, result in enumerate(results):
            family = "DejaVu Sans Mono" if heading == "a sample" else None
            axes.text(x * widest, y, figure_text(text(result)), ha=side, va="center",
                      family=family, fontsize=8 if family else None)  # fmt: skip
    axes.set_yticks(range(len(results)), pages.figure_texts(r.name for r in results))
    axes.set(xlim=(0, 2.6 * widest), ylim=(len(results) - 0.4, -1.1))
    axes.set_title(figure_text(title))
    axes.set_xticks([])
    axes.set_xlabel("held-out loss (nats per character); orange: does not beat the rung before",
                    loc="left")  # fmt: skip
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure
