"""The flags that all programs which train a model of the ladder have in common."""

import argparse
from dataclasses import fields

from ..generation import sampling
from ..training import TrainingConfig
from .program import Parser

HELP = {
    "n": "tokens in a row that are counted: the last n − 1 and the next",
    "context_length": "tokens that the model sees at once",
    "d_embedding": "numbers that stand for a token",
    "d_hidden": "numbers in the hidden layer",
    "cell": "rnn, gru or lstm",
    "d_model": "channels: how many numbers stand for a token",
    "n_heads": "attention heads; must divide the channels",
    "n_kv_heads": "heads of keys and values; must divide the heads",
    "n_layers": "blocks or layers, one on top of the other",
    "d_mlp": "numbers in the hidden layer of the MLP",
    "rope_theta": "base of the speeds at which queries and keys turn",
    "dropout": "share of attention weights left out in training",
    "steps": "steps of training",
    "batch_size": "windows of text in a step",
    "optimizer": "adamw or sgd",
    "lr": "learning rate at its peak",
    "clip": "largest norm of all gradients; inf for no clipping",
    "eval_every": "steps from one evaluation to the next",
    "seed": "seed of all random numbers",
}
RARE = "warmup", "final_lr", "weight_decay", "clip", "optimizer", "eval_batches", "eval_batch_size"
TRAINING = tuple(f.name for f in fields(TrainingConfig))
METAVARS = {int: "N", float: "X", str: "NAME"}


def parser(prog):
    """The parser of a `run.Program`."""
    p = Parser(prog.name, prog.about)
    rare = []  # flags that the last lines of the help list, without a line for each

    def add_rare(flag, usual, /, **options):
        metavar = options.get("metavar")
        text = f"{flag} {metavar}" if metavar else flag
        rare.append(text if usual is None else f"{text} ({usual})")
        p.add_argument(flag, help=argparse.SUPPRESS, **options)

    add_folder(p, prog.out)
    group = p.add_argument_group("the text")
    add_text(group)
    group.add_argument("--tokenizer", choices=["char", "byte", "bpe"], metavar="KIND",
                       help=f"what a token is: char, byte or bpe ({prog.tokenizer})")  # fmt: skip
    add_rare("--vocab-size", 1024, type=int, metavar="N")
    add_rare("--vocabulary", None, metavar="FILE")
    add_rare("--repeats", 1, type=int, metavar="N")
    add_rare("--held-out", 0.1, type=float, metavar="X")

    rung = prog.rung
    add_fields(p.add_argument_group("the model"), rung.config, rung.sizes)
    group = p.add_argument_group("training")
    if rung.counts:
        add_without_effect(group, "counting takes one reading")
        group.add_argument("--seed", type=int, metavar="N", help=f"{HELP['seed']} (0)")
    else:
        recipe = prog.training()
        for field in fields(TrainingConfig):
            flag, metavar = "--" + field.name.replace("_", "-"), METAVARS[field.type]
            default = getattr(recipe, field.name)
            if field.name in RARE:
                add_rare(flag, shown(default), type=field.type, metavar=metavar)
            else:
                group.add_argument(flag, type=field.type, metavar=metavar,
                                   help=f"{HELP[field.name]} ({shown(default)})")  # fmt: skip
    add_rare("--keep", 2, type=int, default=2, metavar="N")
    add_rare("--best", None, action="store_true")
    add_rare("--record", None, action="store_true")
    add_rare("--device", "cpu", default="cpu", metavar="NAME")

    group = p.add_argument_group("writing")
    add_writing(group, prog.prompt_loads)
    if hasattr(rung.model, "attention"):
        group.add_argument("--show-attention", action="store_true",
                           help="print and draw the weight on each character")  # fmt: skip
    p.epilog = "and, for special cases:\n" + in_lines(rare)
    return p


def add_folder(p, out):
    """The flags of the folder in which a model is kept."""
    p.add_argument("--out", metavar="FOLDER", default=out,
                   help=f"where model and pictures are kept ({out})")  # fmt: skip
    p.add_argument("--load", action="store_true",
                   help="do not train: use the model kept in the folder")  # fmt: skip
    p.add_argument("--resume", action="store_true", help="go on with the training in the folder")
    p.add_argument("--overwrite", action="store_true", help="start over in a folder in use")


def add_text(group):
    group.add_argument("--data", metavar="FILE", help="any UTF-8 text, in place of Shakespeare")
    group.add_argument("--offline", action="store_true", help="do not look for it on the web")


def add_writing(group, prompt_loads=False):
    """The flags of a prompt and of sampling."""
    helped = "do not train: continue this text" if prompt_loads else "the text to continue"
    group.add_argument("--prompt", metavar="TEXT", help=helped)
    usual = "500; samples in training 200" if prompt_loads else "300"
    group.add_argument("--sample-length", "--length", type=int, metavar="N",
                       help=f"tokens to write ({usual})")  # fmt: skip
    group.add_argument("--temperature", type=float, default=0.8, metavar="X",
                       help="0 takes the likeliest token, more is bolder (0.8)")  # fmt: skip
    group.add_argument("--top-k", type=int, metavar="N", help="among the N likeliest tokens")
    group.add_argument("--top-p", type=float, metavar="X",
                       help="among the likeliest that make up X of all")  # fmt: skip


def add_without_effect(group, why):
    """--steps and --eval-every, which every command takes, where there are no steps."""
    for flag in ("--steps", "--eval-every"):
        group.add_argument(flag, type=int, metavar="N", help=f"no effect: {why}")


def add_fields(group, config, names, defaults=None):
    """A flag for each of these fields of a dataclass."""
    for f in fields(config):
        if f.name in names:
            default = (defaults or {}).get(f.name, f.default)
            group.add_argument("--" + f.name.replace("_", "-"), type=f.type,
                               metavar=METAVARS[f.type],
                               help=f"{HELP[f.name]} ({shown(default)})")  # fmt: skip


def shown(default):
    return default if isinstance(default, str) else f"{default:g}"


def in_lines(words, width=78):
    """Words in lines of two or more, none of them longer than `width`."""
    lines = [" "]
    for word in words:
        if len(lines[-1]) + 2 + len(word) > width:
            lines.append(" ")
        lines[-1] += f" {word} "
    return "\n".join(line.rstrip() for line in lines)


def given(args, names):
    """The arguments among `names` that were given."""
    found = {name: getattr(args, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def check_sampling(args):
    """ValueError for sampling that means nothing, or a prompt that cannot be continued."""
    sampling.check_options(args.temperature, args.top_k, args.top_p)
    if args.sample_length is not None and args.sample_length < 0:
        raise ValueError(f"the length of a sample must not be negative, got {args.sample_length}")
    if args.prompt is not None:
        sampling.check_prompt(args.prompt)
