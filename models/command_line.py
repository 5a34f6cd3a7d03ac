"""The command line that all rungs share: `python -m models.tiny_lm`, and so on.

It takes a text, trains the model, keeps it with a picture of its losses, and lets it write. What
cannot be done is said in one line.
"""

import sys
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path

import microtensor as mt
from microtensor.files.serialization import write_whole

from . import data, files, program, reporting, sampling, showing, training
from .corpus import load_corpus
from .ladder import RUNGS, window
from .tokenizers import ByteTokenizer, CharTokenizer, load_tokenizer

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
    "rope_theta": "base of the speeds at which queries and keys are turned",
    "dropout": "share of attention weights left out while training",
    "steps": "steps of training",
    "batch_size": "windows of text in a step",
    "optimizer": "adamw or sgd",
    "lr": "learning rate at its peak",
    "clip": "largest norm of all gradients together; inf for no clipping",
    "seed": "seed of all random numbers",
}
TRAINING = "steps", "batch_size", "optimizer", "lr", "clip", "seed"


# ---- a rung that learns ------------------------------------------------------------------------


def main(name, argv=None):
    """Run the command line of the rung `name`. Returns the exit code."""
    rung = RUNGS[name]
    return program.run(lambda args: learn_and_write(rung, args), parser(rung), argv)


def learn_and_write(rung, args):
    """Train the model, or load it, and let it write."""
    check_sampling(args)
    load, show = getattr(args, "load", False), getattr(args, "show_attention", False)
    writes = show or not (load or rung.counts)
    with files.only_here(args.out) if writes else nullcontext():
        model, tokenizer = loaded(rung, args) if load else learned(rung, args)
        prompt = first_prompt(tokenizer) if args.prompt is None else args.prompt
        if show:
            show_attention(model, tokenizer, prompt, Path(args.out, "attention.png"))
    write(model, tokenizer, prompt, args)


def learned(rung, args):
    """A model and its tokenizer, trained as the arguments ask for."""
    settings = given(args, [] if rung.counts else TRAINING)
    sizes = given(args, rung.sizes)
    if args.repeats < 1:
        raise ValueError(f"the text must be repeated at least once, got {args.repeats}")
    config = rung.training(**settings)
    config = replace(config, eval_every=max(1, min(config.eval_every, config.steps // 4)))
    corpus = load_corpus(args.data, offline=args.offline, progress=print)
    text = corpus.text * args.repeats
    print(f"text: {corpus.name}, {len(text):,} characters")
    tokenizer = chosen_tokenizer(args, text)
    sampling.check_options(args.temperature, args.top_k, args.top_p, tokenizer.vocab_size)
    mt.manual_seed(config.seed)
    model = rung.build(tokenizer.vocab_size, **sizes)
    if args.prompt is not None:  # better known before training than after it
        sampling.encode_prompt(model, tokenizer, args.prompt)
    ids = tokenizer.encode_array(text)
    parts = data.split(ids, window(model))
    if rung.counts:
        return count(model, *parts), tokenizer
    about = {"text": corpus.name, "repeats": args.repeats}
    path = Path(args.out, "checkpoint.safetensors")
    train(training.Trainer(model, tokenizer, *parts, config, path, about), rung.name)
    return model, tokenizer


def count(model, train, held_out):
    """Let an n-gram count, and say how well it guesses."""
    model.fit(train.ids)
    print(
        f"counted: {len(model):,} numbers; held-out loss {training.evaluate(model, held_out):.3f}"
    )
    return model


def train(trainer, name):
    """Train to the end with a progress bar, and draw the losses beside the checkpoint."""
    config = trainer.config
    print(f"model: {sum(p.numel() for p in trainer.model.parameters()):,} parameters")
    progress = reporting.Progress(config.steps, config.batch_size * window(trainer.model))
    try:
        for record in trainer.run():
            progress(record)
    finally:
        progress.close()
    step, loss = trainer.validation[-1]
    print(f"held-out loss after step {step:,}: {loss:.3f}; kept: {trainer.checkpoint}")
    path = trainer.checkpoint.with_name("loss.png")
    try:
        title = f"{name} on {trainer.about['text']}"
        reporting.draw_losses(trainer.losses, trainer.validation, path, title)
    except ImportError:
        print("no picture of the losses: matplotlib is missing (pip install matplotlib)")
    else:
        print(f"picture of the losses: {path}")


def loaded(rung, args):
    """The model in the folder and its tokenizer. ValueError if they are not what is asked for."""
    path = Path(args.out, "checkpoint.safetensors")

    def as_asked(state):
        if state["architecture"] != rung.model.__name__:
            found = state["architecture"]
            raise ValueError(f"{path} holds a {found:.60}, not a {rung.model.__name__}")
        return training.model_from(state)

    try:
        model, tokenizer = training.load_newest(path, use=as_asked)
    except FileNotFoundError:
        raise ValueError(f"there is no checkpoint at {path}; train first, without --load") from None
    if args.vocabulary is not None:
        other = load_tokenizer(args.vocabulary)
        if other.settings() != tokenizer.settings():
            raise ValueError(
                f"{args.vocabulary}, {other!r}, does not match the model, which was trained with "
                f"a {tokenizer!r}"
            )
    sampling.check_options(args.temperature, args.top_k, args.top_p, tokenizer.vocab_size)
    return model, tokenizer


def chosen_tokenizer(args, text):
    if args.vocabulary is not None:
        return load_tokenizer(args.vocabulary)
    return ByteTokenizer() if args.tokenizer == "byte" else CharTokenizer.from_text(text)


def first_prompt(tokenizer):
    """A line break, after which anything may begin; else whatever the text has."""
    try:
        tokenizer.encode("\n")
    except ValueError:
        return tokenizer.decode([0])
    return "\n"


def write(model, tokenizer, prompt, args):
    """Print the prompt and what the model makes of it."""
    generator = mt.Generator().manual_seed(args.seed or 0)
    pieces = sampling.generate_text(
        model, tokenizer, prompt, args.sample_length, temperature=args.temperature,
        top_k=args.top_k, top_p=args.top_p, generator=generator,
    )  # fmt: skip
    print("─" * 80)
    print(reporting.printable(prompt).lstrip("\n"), end="", flush=True)
    for piece in pieces:
        print(reporting.printable(piece), end="", flush=True)
    print()


# ---- what attention looks at -------------------------------------------------------------------


def show_attention(model, tokenizer, prompt, path):
    """Print and draw the weight that the last position gives to each character of the prompt."""
    ids = sampling.encode_prompt(model, tokenizer, prompt)
    weights = model.attention(mt.tensor([ids]))[0].tolist()
    pieces = showing.visible_tokens(tokenizer, ids)
    print(f"to continue, the last of these {len(ids)} looks at:")
    for piece, weight in zip(pieces, weights):
        print(f"  {piece:>3} {weight:6.1%} {'█' * round(40 * weight / max(weights))}")
    try:
        draw_attention(pieces, weights, path)
    except ImportError:
        print("no picture of the attention: matplotlib is missing (pip install matplotlib)")
    else:
        print(f"picture of the attention: {path}")


def draw_attention(pieces, weights, path):
    """Write a picture of the weight on each character as PNG. Needs matplotlib (ImportError)."""
    figure = showing.figure(max(4, 0.32 * len(pieces) + 1), 2.6)
    axes = figure.subplots()
    places = range(len(pieces))
    axes.bar(places, weights, color="#2f6db5", width=0.85)
    axes.set_xticks(places, showing.figure_texts(pieces), family=["DejaVu Sans Mono"])
    axes.set(ylabel="weight", title="What the last position looks at", xlim=(-0.6, len(pieces)))
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, showing.png(figure), follow=False)


# ---- the rungs that do not learn ---------------------------------------------------------------


def lookup_table(argv=None):
    """The command line of the table written by hand. Returns the exit code."""
    from .lookup_table import LookupTable, show

    p = program.Parser("models.lookup_table", sys.modules[LookupTable.__module__].__doc__)
    p.add_argument("--prompt", metavar="TEXT", action="append", help="the text to continue (hel)")
    p.add_argument("--sample-length", type=int, default=40, metavar="N",
                   help="characters to write at most (40)")  # fmt: skip
    p.add_argument("--show-table", action="store_true", help="print the table")

    def write_on(args):
        table = LookupTable()
        if args.show_table:
            for context, row in table.table.items():
                choices = "   ".join(f'"{c}" {probability:.0%}' for c, probability in row.items())
                print(f'  "{context}" → {choices}')
        for prompt in args.prompt or ["hel", "the c"]:
            show(table, prompt, args.sample_length)

    return program.run(write_on, p, argv)


def modern_block(argv=None):
    """The command line of the walk through a block. Returns the exit code."""
    from .modern_block import ModernBlock, ModernBlockConfig, walk

    p = program.Parser("models.modern_block", sys.modules[ModernBlock.__module__].__doc__)
    p.add_argument("--prompt", metavar="TEXT", default="To be", help="the text to follow (To be)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help=f"{HELP['seed']} (0)")
    add_fields(p, ModernBlockConfig, ("context_length", "d_model", "n_heads"))

    def follow(args):
        tokenizer = ByteTokenizer()
        sizes = given(args, ("context_length", "d_model", "n_heads"))
        mt.manual_seed(args.seed)
        model = ModernBlock(ModernBlockConfig(vocab_size=tokenizer.vocab_size, **sizes))
        ids = sampling.encode_prompt(model, tokenizer, args.prompt)
        c = model.config
        print(f'"{args.prompt}" as bytes: B = 1 text, T = {len(ids)} tokens, C = {c.d_model} '
              f"channels, H = {c.n_heads} heads of D = {c.d_model // c.n_heads}, "
              f"V = {c.vocab_size}")  # fmt: skip
        walk(model, mt.tensor([ids]))

    return program.run(follow, p, argv)


# ---- arguments ---------------------------------------------------------------------------------


def parser(rung):
    p = program.Parser(f"models.{rung.name}", sys.modules[rung.model.__module__].__doc__)
    p.add_argument("--out", metavar="FOLDER", default=f"runs/{rung.name}",
                   help=f"where model and pictures are kept (runs/{rung.name})")  # fmt: skip
    group = p.add_argument_group("the text")
    group.add_argument("--data", metavar="FILE", help="any UTF-8 text, in place of Shakespeare")
    group.add_argument("--offline", action="store_true", help="do not look for it on the web")
    group.add_argument("--repeats", type=int, default=1, metavar="N",
                       help="take the text N times, one after the other (1)")  # fmt: skip
    group.add_argument("--tokenizer", choices=["char", "byte"], default="char",
                       help="a token is a character of the text, or a byte (char)")  # fmt: skip
    group.add_argument("--vocabulary", metavar="FILE", help="use the tokenizer saved there")

    add_fields(p.add_argument_group("the model"), rung.config, rung.sizes)
    if rung.counts:
        p.add_argument("--seed", type=int, default=0, metavar="N", help=f"{HELP['seed']} (0)")
    else:
        group = p.add_argument_group("training")
        add_fields(group, training.TrainingConfig, TRAINING, rung.recipe)
        group.add_argument("--load", action="store_true",
                           help="do not train: use the model kept in the folder")  # fmt: skip

    group = p.add_argument_group("writing")
    group.add_argument("--prompt", metavar="TEXT", help="the text to continue (a line break)")
    group.add_argument("--sample-length", type=int, default=300, metavar="N",
                       help="tokens to write (300)")  # fmt: skip
    group.add_argument("--temperature", type=float, default=0.8, metavar="X",
                       help="0 takes the likeliest token, more is bolder (0.8)")  # fmt: skip
    group.add_argument("--top-k", type=int, metavar="N", help="choose among the N likeliest tokens")
    group.add_argument("--top-p", type=float, metavar="X",
                       help="choose among the likeliest tokens that make up X of all")  # fmt: skip
    if hasattr(rung.model, "attention"):
        group.add_argument("--show-attention", action="store_true",
                           help="print and draw the weight on each character")  # fmt: skip
    return p


def add_fields(group, config, names, defaults=None):
    """A flag for each of these fields of a dataclass."""
    for f in fields(config):
        if f.name in names:
            default = (defaults or {}).get(f.name, f.default)
            metavar = {int: "N", float: "X"}.get(f.type, "NAME")
            group.add_argument("--" + f.name.replace("_", "-"), type=f.type, metavar=metavar,
                               help=f"{HELP[f.name]} ({default})")  # fmt: skip


def given(args, names):
    """The arguments among `names` that were given."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def check_sampling(args):
    sampling.check_options(args.temperature, args.top_k, args.top_p)
    if args.sample_length < 0:
        raise ValueError(f"the length of a sample must not be negative, got {args.sample_length}")
    if args.prompt is not None:
        sampling.check_prompt(args.prompt)
