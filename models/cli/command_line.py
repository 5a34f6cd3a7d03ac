"""The commands of the ladder's rungs: `python -m models tiny_lm`, and so on.

A rung that learns is a `run.Program`. The table written by hand and the walk through a block learn
nothing; they take the same flags, and say which of them have no effect.
"""

import sys
import textwrap

import microtensor as mt

from ..generation import sampling
from ..ladder import RUNGS
from ..ladder.lookup_table import LookupTable, show
from ..ladder.modern_block import ModernBlock, ModernBlockConfig, walk
from ..text.tokenizers import ByteTokenizer
from . import flags, program, run
from .attention import draw_attention, show_attention  # noqa: F401, found here before
from .flags import HELP, TRAINING, add_fields, check_sampling, given  # noqa: F401, likewise
from .run import first_prompt  # noqa: F401, likewise


def main(name, argv=None):
    """Run the command line of the rung `name`. Returns the exit code."""
    prog = program_of(name)
    return program.run(lambda args: run.execute(prog, args), flags.parser(prog), argv)


def program_of(name):
    """The `run.Program` of a rung that learns."""
    rung = RUNGS[name]
    first = about(name, rung.model)
    return run.Program(rung, f"models.{name}", f"python -m models {name}", first, f"runs/{name}")


def parser(rung):
    """The parser of a rung that learns."""
    return flags.parser(program_of(rung.name))


def about(name, model):
    """The first words of a model's file about it, and the file's path."""
    first = sys.modules[model.__module__].__doc__.partition("\n")[0]
    return textwrap.fill(first, 79) + f"\nTo be read in models/ladder/{name}.py."


# ---- the rungs that do not learn ---------------------------------------------------------------


def unlearned(name, model):
    """A parser with the flags of every command for a rung that learns nothing."""
    p = program.Parser(f"models.{name}", about(name, model))
    group = p.add_argument_group("taken by every command, and without effect: nothing is learned")
    group.add_argument("--out", metavar="FOLDER", default=f"runs/{name}")
    group.add_argument("--data", metavar="FILE")
    for flag in ("--load", "--resume", "--overwrite", "--offline"):
        group.add_argument(flag, action="store_true")
    for flag in ("--steps", "--eval-every"):
        group.add_argument(flag, type=int, metavar="N")
    return p


def lookup_table(argv=None):
    """The command line of the table written by hand. Returns the exit code."""
    p = unlearned("lookup_table", LookupTable)
    group = p.add_argument_group("writing")
    group.add_argument(
        "--prompt", metavar="TEXT", action="append", help="the text to continue (hel)"
    )
    group.add_argument("--sample-length", "--length", type=int, default=40, metavar="N",
                       help="characters to write at most (40)")  # fmt: skip
    group.add_argument("--temperature", type=float, metavar="X",
                       help="draw; 0 takes the likeliest, more is bolder")  # fmt: skip
    group.add_argument("--top-k", type=int, metavar="N", help="among the N likeliest characters")
    group.add_argument("--top-p", type=float, metavar="X",
                       help="among the likeliest that make up X of all")  # fmt: skip
    group.add_argument("--seed", type=int, default=0, metavar="N", help=f"{HELP['seed']} (0)")
    group.add_argument("--show-table", action="store_true", help="print the table")

    def write_on(args):
        table = LookupTable()
        if args.show_table:
            for context, row in table.table.items():
                choices = "   ".join(f'"{c}" {probability:.0%}' for c, probability in row.items())
                print(f'  "{context}" → {choices}')
        draws = given(args, ("temperature", "top_k", "top_p"))
        for prompt in args.prompt or ["hel", "the c"]:
            if draws:
                draw(table, prompt, args, draws)
            else:
                show(table, prompt, args.sample_length)

    return program.run(write_on, p, argv)


def draw(table, prompt, args, draws):
    """Print a prompt and what the table continues it with, drawn from its probabilities."""
    generator = mt.Generator().manual_seed(args.seed)
    pieces = sampling.generate_text(
        table, table.tokenizer, prompt, args.sample_length, generator=generator, **draws
    )
    print(f'"{prompt}" → "{prompt}{"".join(pieces)}"')


def modern_block(argv=None):
    """The command line of the walk through a block. Returns the exit code."""
    sizes = "context_length", "d_model", "n_heads"
    p = unlearned("modern_block", ModernBlock)
    add_fields(p.add_argument_group("the model"), ModernBlockConfig, sizes)
    group = p.add_argument_group("the walk")
    group.add_argument("--prompt", metavar="TEXT", default="To be",
                       help="the text to follow (To be)")  # fmt: skip
    group.add_argument("--seed", type=int, default=0, metavar="N", help=f"{HELP['seed']} (0)")
    group.add_argument("--sample-length", "--length", type=int, metavar="N",
                       help="no effect, as the next three: nothing is written")  # fmt: skip
    group.add_argument("--temperature", type=float, metavar="X")
    group.add_argument("--top-k", type=int, metavar="N")
    group.add_argument("--top-p", type=float, metavar="X")

    def follow(args):
        tokenizer = ByteTokenizer()
        mt.manual_seed(args.seed)
        config = ModernBlockConfig(vocab_size=tokenizer.vocab_size, **given(args, sizes))
        model = ModernBlock(config)
        ids = sampling.encode_prompt(model, tokenizer, args.prompt)
        c = model.config
        print(f'"{args.prompt}" as bytes: B = 1 text, T = {len(ids)} tokens, C = {c.d_model} '
              f"channels, H = {c.n_heads} heads of D = {c.d_model // c.n_heads}, "
              f"V = {c.vocab_size}")  # fmt: skip
        walk(model, mt.tensor([ids]))

    return program.run(follow, p, argv)
