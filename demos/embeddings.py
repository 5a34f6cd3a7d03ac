"""See words find their places: word2vec learns from a text, and its table is drawn as it learns.

python demos/embeddings.py                          a minute on Shakespeare
python demos/embeddings.py --like king,love,rome    what is near these words in the end
python demos/embeddings.py --table FILE …           the token embeddings in checkpoints instead

Written: before_and_after.png, film.gif, and film.html to play and to explore.
"""

import math
import sys
import time

import numpy as np

import microtensor as mt
from models import training
from models.cli import program, showing
from models.inside import embedding_view
from models.text import word2vec
from models.text.corpus import load_corpus
from models.training import reporting

LIKE = "king,father,thou,romeo,love,day,death,two,rome,eyes,shall,is"


def main(argv=None):
    return program.run(demo, parser(), argv)


def parser():
    p = program.Parser("embeddings.py", __doc__)
    add = p.add_argument
    add("--data", metavar="FILE", help="any UTF-8 text, in place of Shakespeare")
    add("--like", metavar="WORDS", help=f"show what is near these words ({LIKE})")
    add("--table", metavar="FILE", nargs="+", help="draw the token embeddings of checkpoints")
    add("--out", default="runs/embeddings", metavar="FOLDER", help="(runs/embeddings)")
    add("--show", type=int, default=120, metavar="N", help="words or tokens in the picture (120)")
    add("--skip", type=int, default=80, metavar="N", help="but not the N most frequent words (80)")
    add("--frames", type=int, default=40, metavar="N", help="pictures in the film (40)")
    add("--min-count", type=int, default=10, metavar="N", help="leave out rarer words (10)")
    for name, type, help in [
        ("epochs", int, "times through the text"),
        ("channels", int, "numbers that stand for a word"),
        ("window", int, "the farthest word that counts as near"),
        ("lr", float, "learning rate at the start"),
        ("seed", int, "seed of all random numbers"),
    ]:
        default = getattr(word2vec.Word2VecConfig, name)
        add(f"--{name}", type=type, default=default, metavar="N", help=f"{help} ({default:g})")
    return p


def demo(args):
    for name in ("show", "frames", "min_count"):
        if getattr(args, name) < 2:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 2")
    if args.skip < 0:
        raise ValueError("--skip must not be negative")
    return draw_table(args) if args.table else learn_words(args)


def learn_words(args):
    config = word2vec.Word2VecConfig(
        **{n: getattr(args, n) for n in ("epochs", "channels", "window", "lr", "seed")}
    )
    corpus = load_corpus(args.data, progress=print)
    words = word2vec.Words(corpus.text, args.min_count)
    print(f"{corpus.name}: {len(words.ids):,} words, {len(words):,} different ones")
    asked = [words.number(w) for w in args.like.split(",")] if args.like else [
        words.index[w] for w in LIKE.split(",") if w in words.index
    ]  # fmt: skip
    skip = min(args.skip, max(0, len(words) - args.show))
    rows = list(range(skip, min(skip + args.show, len(words))))
    rows += [i for i in asked if i not in rows]
    film = embedding_view.Film([words.words[i] for i in rows], rows)

    # Most happens early, so that is where most pictures are taken.
    moments, reports = (iter(np.linspace(0, 1, n) ** power) for n, power in
                        [(args.frames, 2), (11, 1)])  # fmt: skip
    due, report, losses, start = next(moments), next(reports), [], time.perf_counter()
    for step, share, model, loss in word2vec.learn(words, config):
        if loss is not None:
            losses.append(loss)
        if share >= due:
            film.add(step, model.centre.weight)
            due = next((m for m in moments if m > share), math.inf)
        if losses and share >= report:
            mean, seconds = sum(losses) / len(losses), reporting.clock(time.perf_counter() - start)
            print(f"step {step:,}, {share:.0%}: loss {mean:.3f}, {seconds}")
            report, losses = next((r for r in reports if r > share), math.inf), []

    table = model.centre.weight.detach().numpy()
    print("\nnearest in all dimensions:")
    for i in asked:
        near = embedding_view.neighbours(table, i)
        print(f"  {words.words[i]:>10}  " + "  ".join(f"{words.words[j]} {c:.2f}" for j, c in near))
    print()
    title = f"Words of {corpus.name}, as word2vec learns them"
    write(args, film, title)


def draw_table(args):
    """The token embeddings of a model before its first step, and at each of its checkpoints."""
    states = sorted(map(training.load_checkpoint, args.table), key=lambda state: state["step"])
    models = [training.model_from(state) for state in states]
    model, tokenizer = models[-1]
    tables = [n for n, p in model.named_parameters() if len(p) == tokenizer.vocab_size]
    name = next((n for n in tables if "embedding" in n), None)
    if name is None:
        raise ValueError(f"{args.table[-1]}: the model has no table of embeddings")
    if any(state["tokenizer"] != states[-1]["tokenizer"] for state in states):
        raise ValueError("the checkpoints are of different tokenizers")
    ids = range(min(args.show, tokenizer.vocab_size))
    film = embedding_view.Film(showing.visible_tokens(tokenizer, ids), ids)
    mt.manual_seed(states[0]["training"]["seed"])
    film.add(0, type(model)(model.config).get_parameter(name))
    for state, (model, _) in zip(states, models):
        if state["step"]:
            film.add(state["step"], model.get_parameter(name))
    write(args, film, f"{name} of {args.table[-1]}")


def write(args, film, title):
    showing.save(
        args.out,
        {
            "before_and_after.png": embedding_view.before_and_after(film),
            "film.html": embedding_view.as_page(title, film),
            "film.gif": embedding_view.gif(film),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
