"""The loop of a language model, made visible: predict, choose, append, repeat.

python demos/next_token.py                          one key per step (space: choose, q: stop)
python demos/next_token.py --auto 0.3               by itself, 0.3 seconds a step
python demos/next_token.py --compare                the same prompt at four temperatures
python demos/next_token.py --keyboard               like a phone: pick one of three words
"""

import math
import shutil
import sys
import textwrap
import time

import microtensor as mt
from microtensor.utils.pages import escaped, figure_text
from models.cli import program, showing
from models.generation import sampling
from models.training import reporting

TEMPERATURES = 0, 0.3, 1.0, 2.0


def main(argv=None):
    return program.run(demo, parser(), argv)


def parser():
    p = showing.Parser(__file__, __doc__, "runs/next_token")
    p.sampling(temperature=0.8)
    p.add_argument("--length", "--sample-length", dest="length", type=int, default=40, metavar="N",
                   help="steps at most (40)")  # fmt: skip
    p.add_argument("--show", type=int, default=10, metavar="N", help="tokens in the chart (10)")
    p.add_argument("--auto", type=float, metavar="SECONDS", help="do not wait for a key")
    p.add_argument("--compare", action="store_true", help="temperatures side by side")
    p.add_argument("--keyboard", action="store_true", help="three words to pick from")
    return p


def demo(args):
    if args.length < 1 or args.show < 1:
        raise ValueError("--length and --show must be at least 1")
    if args.auto is not None and not 0 <= args.auto < math.inf:
        raise ValueError(f"--auto takes seconds, 0 or more, got {args.auto:g}")
    model, tokenizer = showing.trained_model(args)
    sampling.check_options(vocab_size=tokenizer.vocab_size, **showing.sampling_options(args))
    ids = sampling.encode_prompt(model, tokenizer, args.prompt)
    if args.compare:
        return compare(args, model, tokenizer, ids)
    if args.keyboard:
        return keyboard(model, tokenizer, args.prompt)
    return loop(args, model, tokenizer, ids)


@mt.no_grad()
def next_logits(model, ids):
    """The logits (1, V) of the token after a text."""
    with sampling.evaluating(model):
        return model(mt.tensor([ids[-model.config.context_length :]]))[:, -1]


# ---- one token after the other -----------------------------------------------------------------


def loop(args, model, tokenizer, ids):
    """Predict, choose, append; until the end, or q."""
    keys = Keys() if args.auto is None and sys.stdin.isatty() else None
    generator = mt.Generator().manual_seed(args.seed)
    steps, start = [], len(ids)
    for _ in range(args.length):
        p = sampling.distribution(next_logits(model, ids), **showing.sampling_options(args))
        token = mt.multinomial(p, 1, generator=generator).item()
        steps.append((list(ids), p[0].numpy(), token))
        if sys.stdout.isatty():
            print("\033[2J\033[H", end="")  # an empty screen
        print(chart(tokenizer, steps[-1], start, model.config.context_length, args.show))
        if keys:
            print("   space: append it    q: stop")
            if keys() in ("q", "", "\x03", "\x1b"):
                break
        elif sys.stdout.isatty():
            time.sleep(args.auto or 0)
        ids.append(token)
    print(f"\n{reporting.printable(tokenizer.decode(ids))}\n")
    title = "What comes next, step by step"
    picture = showing.png(heat_map(tokenizer, steps))
    frames = [frame(tokenizer, step, start, args.show) for step in steps]
    whole = ["<h2>The whole vocabulary</h2>", showing.image(picture, "probabilities of all tokens")]
    page = showing.page(title, showing.film(frames), *whole)
    showing.save(args.out, {"next_token.png": picture, "next_token.html": page})


def likeliest(tokenizer, p, n):
    """The n likeliest tokens, (id, text, probability), without those ruled out."""
    order = (-p).argsort(kind="stable")[:n]
    return [(int(i), showing.visible(tokenizer.decode([i])), p[i]) for i in order if p[i] > 0]


def chart(tokenizer, step, start, context_length, n):
    """A step as text: the context, the chart, the choice."""
    ids, p, token = step
    width = min(shutil.get_terminal_size().columns, 100)
    seen = ids[-context_length:]
    context = textwrap.wrap(
        showing.visible(tokenizer.decode(seen)), width - 4, drop_whitespace=False
    )
    lines = [f"── step {len(ids) - start + 1}: {len(seen)} tokens of context ".ljust(width, "─")]
    lines += [f"   {line}" for line in context] + [""]
    for i, text, share in likeliest(tokenizer, p, n):
        mark = "→" if i == token else " "
        lines.append(f" {mark} {text:>6} {share:6.1%} {showing.bar(share, width - 22)}")
    chosen = showing.visible(tokenizer.decode([token]))
    return "\n".join([*lines, "", f"   chosen: {chosen}  ({p[token]:.1%})"])


def frame(tokenizer, step, start, n):
    """A step as HTML."""
    ids, p, token = step
    before, new = (escaped(tokenizer.decode(i), lines=True) for i in (ids[:start], ids[start:]))
    rows = [(text, share) for _, text, share in likeliest(tokenizer, p, n)]
    chosen = showing.visible(tokenizer.decode([token]))
    return f'<p class="text">{before}<span class="new">{new}</span>▏</p>' + showing.bars(
        rows, {chosen}
    )


def heat_map(tokenizer, steps):
    """Every token's probability at every step, and the bars of the last step."""
    import numpy as np

    p = np.stack([p for _, p, _ in steps], 1)  # (V, steps)
    used = np.flatnonzero(p.max(1) > 1e-3)
    texts = showing.figure_texts(showing.visible_tokens(tokenizer, used))
    figure = showing.figure(max(6, 0.22 * len(steps) + 3), max(4, 0.14 * len(used) + 3.4))
    top, bottom = figure.subplots(2, height_ratios=[2.4, max(3, 0.14 * len(used))])
    top.bar(range(len(p)), p[:, -1], color="#2f6db5", width=0.9)
    top.set(title=f"all {len(p)} tokens after the last step's context", xlabel="token's number",
            ylabel="probability", xlim=(-1, len(p)), ylim=(0, 1.12 * p[:, -1].max()))  # fmt: skip
    for i in (-p[:, -1]).argsort()[:5]:
        name = figure_text(showing.visible(tokenizer.decode([i])))
        top.annotate(name, (i, p[i, -1]), ha="center", va="bottom", xytext=(0, 1),
                     textcoords="offset points")  # fmt: skip
    top.spines[["top", "right"]].set_visible(False)
    shown = bottom.imshow(p[used], aspect="auto", cmap="magma", vmin=0, vmax=1)
    bottom.set_yticks(range(len(used)), texts, fontsize=7)
    chosen = showing.visible_tokens(tokenizer, [token for _, _, token in steps])
    bottom.set_xticks(range(len(steps)), showing.figure_texts(chosen), fontsize=8)
    bottom.set(xlabel="chosen, step by step", ylabel="tokens likelier than 0.1 % anywhere")
    figure.colorbar(shown, ax=bottom, label="probability")
    return figure


# ---- temperatures side by side -----------------------------------------------------------------


def compare(args, model, tokenizer, ids):
    """The same prompt, the same random numbers, four temperatures."""
    logits = next_logits(model, ids)
    options = showing.sampling_options(args)
    texts, shares = [], []
    for temperature in TEMPERATURES:
        options["temperature"] = temperature
        shares.append(sampling.distribution(logits, **options)[0].numpy())
        (text,) = sampling.complete(
            model, tokenizer, args.prompt, args.length, seed=args.seed, **options
        )
        texts.append(reporting.printable(text))
    width = max(14, min(shutil.get_terminal_size().columns, 120) // len(TEMPERATURES) - 2)
    columns = [
        [f"temperature {t:g}", "─" * width]
        + [f"{text:>3} {share:4.0%} {showing.bar(share, width - 10)}"
           for _, text, share in likeliest(tokenizer, p, 6)][:6]
        for t, p in zip(TEMPERATURES, shares)
    ]  # fmt: skip
    columns = [c + [""] * (9 - len(c)) for c in columns]
    for column, text in zip(columns, texts):
        for line in (args.prompt + text).split("\n"):
            column += textwrap.wrap(line, width) or [""]
    for i in range(max(map(len, columns))):
        row = [column[i] if i < len(column) else "" for column in columns]
        print("  ".join(cell.ljust(width) for cell in row).rstrip())
    figure = showing.figure(11, 3.2)
    shown = [i for i, *_ in likeliest(tokenizer, shares[-1], 12)]  # the same tokens in each
    for axes, t, p in zip(figure.subplots(1, 4, sharey=True), TEMPERATURES, shares):
        axes.bar(range(len(shown)), p[shown], color="#2f6db5")
        names = showing.figure_texts(showing.visible_tokens(tokenizer, shown))
        axes.set_xticks(range(len(shown)), names)
        axes.set(title=f"temperature {t:g}", ylim=(0, 1.05))
        axes.spines[["top", "right"]].set_visible(False)
    picture = showing.png(figure)
    parts = [
        f'<h2>Temperature {t:g}</h2><p class="text">{escaped(args.prompt, lines=True)}'
        f'<span class="new">{escaped(text, lines=True)}</span></p>'
        for t, text in zip(TEMPERATURES, texts)
    ]
    title = "One prompt, four temperatures"
    page = showing.page(title, showing.image(picture, "the likeliest tokens"), *parts)
    showing.save(args.out, {"temperatures.png": picture, "temperatures.html": page})


# ---- like a phone ------------------------------------------------------------------------------


def suggestions(model, tokenizer, text, n=3, longest=12):
    """The n likeliest ways to go on to the end of a word, the likeliest first.

    They begin with different tokens, and go on with the likeliest.
    """
    ids = tokenizer.encode(text)
    first = next_logits(model, ids).topk(min(8 * n, tokenizer.vocab_size))[1][0].tolist()
    rows = [(ids + [i])[-model.config.context_length :] for i in first]
    tokens = list(sampling.generate(model, mt.tensor(rows), longest, temperature=0))
    found = []
    for i, *rest in zip(first, *(t.tolist() for t in tokens)):
        word = first_word(tokenizer.decode([i, *rest]))
        if text[-1:].isspace():
            word = word.strip()
        if word.isprintable() and word.strip() and word not in found:
            found.append(word)
    # a comma is a likely way to go on, but a word is what one wants offered
    return sorted(found, key=lambda word: not any(map(str.isalnum, word)))[:n]


def first_word(text):
    """The beginning of a text up to the end of its first word; a sign alone is a word, too."""
    start = len(text) - len(text.lstrip())
    end = start
    while end < len(text) and (text[end].isalnum() or text[end] in "'-"):
        end += 1
    return text[: max(end, start + 1)]


def keyboard(model, tokenizer, text):
    """Pick with 1, 2 and 3, or type; Enter or the end of the input stops."""
    keys = Keys()
    while True:
        words = suggestions(model, tokenizer, text)
        menu = "   ".join(f"[{i}] {word.strip()}" for i, word in enumerate(words, 1))
        print(f"{reporting.printable(text)}▏\n    {menu}    (1 2 3, or type; Enter: stop)")
        key = keys()
        if key in ("", "\n", "\r", "\x03", "\x04", "\x1b"):
            print(reporting.printable(text))
            return
        if key == "\x7f":
            text = text[:-1] or text
        elif key.isdigit() and 1 <= int(key) <= len(words):
            text += words[int(key) - 1] + " "
        elif key.isprintable():
            try:
                tokenizer.encode(key)
            except ValueError as error:
                print(f"    {error}")
            else:
                text += key


class Keys:
    """The next key that is pressed; without a terminal, the next character of the input."""

    def __call__(self):
        if not sys.stdin.isatty():
            return sys.stdin.read(1)
        try:
            import termios
            import tty
        except ImportError:  # Windows
            import msvcrt

            return msvcrt.getwch()
        sys.stdout.flush()
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setcbreak(sys.stdin, termios.TCSADRAIN)
            return sys.stdin.read(1)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


if __name__ == "__main__":
    sys.exit(main())
