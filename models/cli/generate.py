"""Generate: let any model that a program has kept in a folder continue a text."""

from types import SimpleNamespace

from .. import training
from ..generation import sampling
from ..training.counts import is_counts, load_counts
from . import flags, program, run


def main(argv=None):
    """Run the command line. Returns the exit code."""
    p = program.Parser("models.generate", __doc__)
    p.add_argument("--out", metavar="FOLDER", default="runs/minigpt",
                   help="where the model is kept (runs/minigpt)")  # fmt: skip
    p.add_argument("--seed", type=int, metavar="N", help="seed of all random numbers (any)")
    flags.add_writing(p)
    group = p.add_argument_group("taken by every command, and without effect: nothing is trained")
    group.add_argument("--data", metavar="FILE")
    for flag in ("--load", "--resume", "--overwrite", "--offline"):
        group.add_argument(flag, action="store_true")
    for flag in ("--steps", "--eval-every"):
        group.add_argument(flag, type=int, metavar="N")
    return program.run(generate, p, argv)


def generate(args):
    """Write with the model in the folder: the prompt and what comes after it, and nothing else."""
    flags.check_sampling(args)
    path = run.checkpoint_path(args)
    try:
        model, tokenizer = training.load_newest(path, run.to_stderr, training.model_from)
    except ValueError:
        if not is_counts(path):
            raise
        counts = load_counts(path)
        model, tokenizer = counts.model, counts.tokenizer
    except FileNotFoundError:
        raise ValueError(
            f"there is no checkpoint at {path}; train first: python -m models minigpt"
        ) from None
    sampling.check_options(args.temperature, args.top_k, args.top_p, tokenizer.vocab_size)
    run.write(SimpleNamespace(prompt_loads=True), model, tokenizer, args)
