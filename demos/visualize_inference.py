"""Look at inference: what a model predicts at each position, why, and in which layer it knew.

python demos/visualize_inference.py                 the predictions, position by position
python demos/visualize_inference.py --logit-lens    what each layer would already predict
python demos/visualize_inference.py --saliency      which tokens moved each prediction

Each leaves a PNG and an HTML page that needs no network.
"""

import sys

import numpy as np

import microtensor as mt
from microtensor.utils.pages import escaped, figure_text
from models import inside
from models.cli import program, showing
from models.generation import sampling


def main(argv=None):
    return program.run(demo, parser(), argv)


def parser():
    p = showing.Parser(__file__, __doc__, "runs/inference")
    p.sampling(temperature=0)
    p.add_argument("--length", "--sample-length", dest="length", type=int, default=16, metavar="N",
                   help="tokens to write after the prompt (16)")  # fmt: skip
    p.add_argument("--show", type=int, default=5, metavar="N", help="guesses per position (5)")
    which = p.add_mutually_exclusive_group()
    which.add_argument("--logit-lens", action="store_true", help="look after each layer")
    which.add_argument("--saliency", action="store_true", help="look back from each prediction")
    return p


def demo(args):
    if args.length < 0 or args.show < 1:
        raise ValueError("--length must be at least 0, and --show at least 1")
    model, tokenizer = showing.trained_model(args)
    ids = sampling.encode_prompt(model, tokenizer, args.prompt)
    room = sampling.room(model, ids)
    if args.length > room:
        raise ValueError(
            f"a prompt of {len(ids)} tokens and {args.length} more do not fit the context of "
            f"{model.config.context_length}; --length {room} is the most"
        )
    generator = mt.Generator().manual_seed(args.seed)
    options = showing.sampling_options(args)
    new = sampling.generate(model, mt.tensor([ids]), args.length, generator=generator, **options)
    start = len(ids)
    ids += [token.item() for token in new]
    show = lens if args.logit_lens else saliency if args.saliency else predictions
    return show(args, model, tokenizer, ids, start)


# ---- what it predicts at each position ---------------------------------------------------------


@mt.no_grad()
def predictions(args, model, tokenizer, ids, start):
    """Each position's guesses, and what came."""
    with sampling.evaluating(model):
        p = inside.logits_of(model(mt.tensor([ids])))[0].softmax(-1).numpy()
    texts = showing.visible_tokens(tokenizer, ids)
    n = min(args.show, tokenizer.vocab_size)
    guesses = (-p).argsort(-1, kind="stable")[:, :n]
    names = [showing.visible_tokens(tokenizer, row) for row in guesses]
    width = max(map(len, texts))
    print("position  token → guesses for the next (* it came)\n")
    for t, (text, row) in enumerate(zip(texts, guesses)):
        marks = ["*" if ids[t + 1 : t + 2] == [i] else " " for i in row]
        told = "   ".join(
            f"{p[t, i]:4.0%}{mark}{name}" for i, name, mark in zip(row, names[t], marks)
        )
        place = " " if t + 1 < start else "+"
        print(f"{t + 1:8} {place} {text:>{width}} → {told}")
    right = sum(int(guesses[t, 0]) == ids[t + 1] for t in range(start - 1))
    print(f"\nof the prompt's tokens after the first, {right} of {start - 1} were the first guess")

    figure = grid(names, np.take_along_axis(p, guesses, 1), texts)
    figure.axes[0].set(title="What comes next? The guesses at each position", ylabel="guess")
    figure.axes[0].set_yticks(range(n), [f"{i + 1}." for i in range(n)])
    picture = showing.png(figure)
    frames = []
    for t, row in enumerate(guesses):
        before = escaped(tokenizer.decode(ids[: t + 1]), lines=True)
        came = ids[t + 1] if t + 1 < len(ids) else None
        chosen = () if came is None else {showing.visible(tokenizer.decode([came]))}
        rows = list(zip(names[t], p[t, row].tolist()))
        frames.append(f'<p class="text">{before}▏</p>' + showing.bars(rows, chosen))
    note = '<p class="note">Red: the token that came.</p>'
    title = "What comes next, position by position"
    page = showing.page(title, note, showing.film(frames), showing.image(picture, title))
    showing.save(args.out, {"inference.png": picture, "inference.html": page})


def grid(names, shares, texts):
    """Tokens in cells coloured by their probability: names and shares [column][row]."""
    figure = showing.figure(max(6, 0.34 * len(texts) + 1.6), 0.34 * len(names[0]) + 1.4)
    axes = figure.subplots()
    shown = axes.imshow(np.asarray(shares).T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for x, column in enumerate(names):
        for y, name in enumerate(column):
            color = "white" if shares[x][y] > 0.6 else "black"
            axes.text(x, y, figure_text(name), ha="center", va="center", fontsize=9, color=color)
    axes.set_xticks(range(len(texts)), showing.figure_texts(texts))
    axes.set_xlabel("the text: below each token, what is predicted to follow it")
    figure.colorbar(shown, ax=axes, label="probability")
    return figure


# ---- what each layer would predict -------------------------------------------------------------


def lens(args, model, tokenizer, ids, start):
    """After each layer, its first guess at each position."""
    p = inside.logit_lens(model, mt.tensor([ids]))[:, 0].softmax(-1).numpy()  # (L + 1, T, V)
    guesses = p.argmax(-1)
    shares = np.take_along_axis(p, guesses[..., None], -1)[..., 0]
    texts = showing.visible_tokens(tokenizer, ids)
    names = [showing.visible_tokens(tokenizer, row) for row in guesses]
    layers = ["embedding"] + [f"layer {i}" for i in range(1, len(p))]
    wide = max(len(n) for row in [texts, *names] for n in row)
    print("what would be predicted to follow each token, if the model ended there\n")
    for layer, row in zip(["text", *layers], [texts, *names]):
        print(f"{layer:>10} │ {' '.join(f'{name:>{wide}}' for name in row)}")
    print("\nprobability of what the whole model predicts at the end of the text")
    last = guesses[-1, -1]
    for layer, share in zip(layers, p[:, -1, last]):
        print(f"{layer:>10} │ {share:6.1%} {showing.bar(share, 50)}")

    columns = [list(column)[::-1] for column in zip(*names)]  # the last layer on top
    figure = grid(columns, shares[::-1].T, texts)
    figure.axes[0].set(title="The logit lens: what each layer would predict")
    figure.axes[0].set_yticks(range(len(layers)), layers[::-1])
    picture = showing.png(figure)
    cells = "".join(
        f"<tr><th>{layer}</th>" + "".join(map(cell, row, share)) + "</tr>"
        for layer, row, share in zip(layers[::-1], names[::-1], shares[::-1])
    )
    head = "".join(f"<th>{escaped(t)}</th>" for t in texts)
    table = f'<div class="wide"><table>{cells}<tr><th></th>{head}</tr></table></div>'
    note = (
        '<p class="note">The bottom row is the text. Above each token: what would be predicted to '
        "follow it if the model ended after that layer; the darker, the surer (point at it). "
        "The top row is the model's own prediction.</p>"
    )
    page = showing.page("The logit lens", note, table, showing.image(picture, "the logit lens"))
    showing.save(args.out, {"logit_lens.png": picture, "logit_lens.html": page})


def cell(name, share):
    r, g, b = (round(255 - (255 - c) * share) for c in (8, 81, 156))
    color = "#fff" if share > 0.6 else "#000"
    style = f"background:rgb({r},{g},{b});color:{color};padding:.1rem .4rem"
    return f'<td data-style="{style}" title="{share:.1%}">{escaped(name)}</td>'


# ---- which tokens moved the prediction ---------------------------------------------------------


def saliency(args, model, tokenizer, ids, start):
    """For each token written, the tokens before it that pushed its logit up or down."""
    texts = showing.visible_tokens(tokenizer, ids)
    steps = range(start, len(ids)) or [len(ids)]  # without new ones: of the likeliest next token
    whole = np.full((len(steps), len(ids)), np.nan)
    frames, colored = [], sys.stdout.isatty()
    print("red pushed the next token's logit up, blue down\n")
    for step, t in enumerate(steps):
        target = ids[t] if t < len(ids) else None
        scores = inside.saliency(model, mt.tensor(ids[:t]), target).numpy()
        whole[step, :t] = scores
        relative = scores / (abs(scores).max() or 1)
        came = texts[t] if t < len(ids) else "?"
        most = sorted(np.argsort(-abs(scores), kind="stable")[:3].tolist())
        told = ", ".join(f"{texts[i]} {scores[i]:+.2f}" for i in most)
        print(f"{showing.shaded(texts[:t], relative, colored)} → {came}    ({told})")
        largest = np.argsort(-abs(scores), kind="stable")[:8]
        rows = [(f"{i + 1}. {texts[i]}", float(scores[i])) for i in largest]
        up = {name for name, score in rows if score > 0}
        frames.append(
            f"{showing.spans(texts[:t], relative)}<p>next: <b>{escaped(came)}</b></p>"
            + showing.bars(rows, up, "{:+.2f}")
        )
    picture = showing.png(chart(whole, texts, steps))
    note = (
        '<p class="note">Gradient · embedding: how much the logit of the next token would grow, '
        "per unit, if the token's vector were longer. Red: pushed it up. Blue: down.</p>"
    )
    page = showing.page(
        "What moved the prediction", note, showing.film(frames),
        showing.image(picture, "saliency of all steps"),
    )  # fmt: skip
    showing.save(args.out, {"saliency.png": picture, "saliency.html": page})


def chart(scores, texts, steps):
    """Steps × tokens, red for up and blue for down."""
    figure = showing.figure(max(6, 0.3 * len(texts) + 1.6), 0.3 * len(scores) + 1.6)
    axes = figure.subplots()
    size = np.nanmax(abs(scores)) or 1
    shown = axes.imshow(scores, cmap="RdBu_r", vmin=-size, vmax=size, aspect="auto")
    axes.set_xticks(range(len(texts)), showing.figure_texts(texts))
    predicted = [texts[t] if t < len(texts) else "?" for t in steps]
    axes.set_yticks(range(len(scores)), showing.figure_texts(predicted))
    axes.set(title="What moved the prediction", xlabel="token of the text", ylabel="predicted")
    figure.colorbar(shown, ax=axes, label="gradient · embedding")
    return figure


if __name__ == "__main__":
    sys.exit(main())
