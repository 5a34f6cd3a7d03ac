"""The common parts of the demos that look inside a model: the model, and pages to show it on."""

from pathlib import Path

import microtensor as mt

from .. import training
from ..generation import sampling
from ..inside.pages import (  # noqa: F401, what the programs draw with
    CONTROLS,
    FILM,
    SEEN,
    STYLE,
    STYLED,
    bar,
    bars,
    figure,
    figure_texts,
    film,
    gif,
    image,
    page,
    png,
    rgb,
    save,
    shaded,
    spans,
    visible,
    visible_tokens,
)  # fmt: skip
from ..ladder.minigpt import MiniGPT, MiniGPTConfig
from ..text import data
from ..text.corpus import load_corpus
from ..text.tokenizers import CharTokenizer
from ..training import reporting
from . import program

# ---- a model -----------------------------------------------------------------------------------

SMALL = {"context_length": 64, "d_model": 64, "n_heads": 4, "n_layers": 3}
CHECKPOINT = "checkpoint.safetensors"


def trained_model(args):
    """The model and the tokenizer of the checkpoint in the folder `args.model`.

    Where there is none, a small model is trained for about a minute, and kept for the next time.
    ValueError for arguments that no model could follow, before that.
    """
    sampling.check_options(**sampling_options(args))
    sampling.check_prompt(args.prompt)
    small = Path("runs/small")
    for folder in (Path(args.model), small):
        if not folder.exists():
            continue
        try:
            found = training.load_newest(folder / CHECKPOINT, use=training.model_from)
        except (
            FileNotFoundError,
            NotADirectoryError,
        ):  # there is another thing in it, or it is one
            continue
        print(f"model: {folder / CHECKPOINT}")
        return found
    print(f"there is no checkpoint in {args.model}; a small model is trained for about a minute")
    return small_model(args, small)


def small_model(args, folder):
    corpus = load_corpus(args.data, progress=print)
    tokenizer = CharTokenizer.from_text(corpus.text)
    config = MiniGPTConfig(vocab_size=tokenizer.vocab_size, **SMALL)
    parts = data.split(tokenizer.encode_array(corpus.text), config.context_length)
    mt.manual_seed(0)
    recipe = training.TrainingConfig(steps=args.train_steps, lr=4e-3, eval_every=args.train_steps)
    about = {"text": corpus.name}
    trainer = training.Trainer(MiniGPT(config), tokenizer, *parts, recipe, None, about)
    progress = reporting.Progress(recipe.steps, recipe.batch_size * config.context_length)
    try:
        for record in trainer.run():
            progress(record)
    finally:
        progress.close()
    folder.mkdir(parents=True, exist_ok=True)
    mt.save(trainer.state_dict(), folder / CHECKPOINT)  # not before it is trained
    return trainer.model, tokenizer


# ---- arguments ---------------------------------------------------------------------------------


PROMPT = "ROMEO:\nWhat "


class Parser(program.Parser):
    """The arguments that these demos share."""

    def __init__(self, file, doc, out):
        super().__init__(Path(file).name, doc)
        add = self.add_argument
        add("--prompt", default=PROMPT, metavar="TEXT",
            help=f"the text to begin with ({visible(PROMPT)})")  # fmt: skip
        add("--model", default="runs/shakespeare", metavar="FOLDER",
            help="where train_shakespeare.py left a checkpoint (runs/shakespeare)")  # fmt: skip
        add("--out", default=out, metavar="FOLDER", help=f"where the pictures go ({out})")
        add("--seed", type=int, default=0, metavar="N", help="seed of the random numbers (0)")
        add("--data", metavar="FILE", help="without a checkpoint: the text to train on")
        add("--train-steps", type=int, default=1000, metavar="N",
            help="without a checkpoint: how long to train (1000)")  # fmt: skip

    def sampling(self, temperature):
        """Let the sampling be chosen, too."""
        add = self.add_argument
        add("--temperature", type=float, default=temperature, metavar="X",
            help=f"0 takes the likeliest token, more is bolder ({temperature:g})")  # fmt: skip
        add("--top-k", type=int, metavar="N", help="choose among the N likeliest tokens")
        add("--top-p", type=float, metavar="X",
            help="choose among the likeliest tokens that make up X of all")  # fmt: skip
        add("--min-p", type=float, metavar="X",
            help="choose among the tokens X times as likely as the likeliest, or more")  # fmt: skip


def sampling_options(args):
    return {name: getattr(args, name) for name in ("temperature", "top_k", "top_p", "min_p")}
