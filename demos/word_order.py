"""Does the order of the words matter? Four small models read the same words in two orders.

python demos/word_order.py
python demos/word_order.py --words fox bear

Attention by itself is blind to order: a token gathers from the others by what they are, and a sum
does not care in which order it is taken. Position embeddings say where each token stands. The mask
of a language model says a little, too: it takes two layers to use it.
"""

import sys
import time

import microtensor as mt
from microtensor import nn, optim
from microtensor.utils.pages import escaped
from models.cli import program, showing

ANIMALS = "dog man cat fox bear wolf".split()
SENTENCE = "the {} bites the {} . who is hurt ? the"
WORDS = sorted({*SENTENCE.replace("{}", "").split(), *ANIMALS})


class Reader(nn.Module):
    """Reads a sentence (B, T), answers with logits (B, V) for the next word."""

    def __init__(self, n_layers, positions, mask, T, C=32):
        super().__init__()
        V = len(WORDS)
        self.tokens = nn.Embedding(V, C)
        self.positions = nn.Embedding(T, C) if positions else None
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(C, 2, 4 * C, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(n_layers)
        )
        self.norm, self.head = nn.LayerNorm(C), nn.Linear(C, V)
        # True where a token must not look: at those after it.
        self.mask = mt.ones(T, T, dtype=mt.bool).triu(1) if mask else None

    def forward(self, idx):
        x = self.tokens(idx)  # (B, T) -> (B, T, C)
        if self.positions is not None:
            x = x + self.positions.weight  # (B, T, C) + (T, C)
        for block in self.blocks:
            x = block(x, self.mask)
        return self.head(self.norm(x[:, -1]))  # (B, C) -> (B, V)


READERS = [  # title, (layers, positions, mask), what it shows
    ("positions, 2 layers", (2, True, True),
     "Knows where each word stands, and so who bites whom."),
    ("no positions, 1 layer", (1, False, True),
     "The last word sees the same words in both orders: it can only guess between the two."),
    ("no positions, no mask, 2 layers", (2, False, False),
     "Every word sees all words, in no order: however deep, it can only guess."),
    ("no positions, mask, 2 layers", (2, False, True),
     "The mask lets each word see only those before it. What the second layer reads therefore "
     "differs with the order: a trace of position that training finds (arXiv:2203.16634)."),
]  # fmt: skip


def main(argv=None):
    return program.run(demo, parser(), argv)


def parser():
    p = program.Parser("word_order.py", __doc__)
    p.add_argument("--words", nargs=2, default=ANIMALS[:2], metavar="WORD",
                   help=f"who bites whom: two of {', '.join(ANIMALS)} (dog man)")  # fmt: skip
    p.add_argument("--steps", type=int, default=150, metavar="N", help="of training (150)")
    p.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the random numbers (0)"
    )
    p.add_argument("--out", default="runs/word_order", metavar="FOLDER",
                   help="where the pictures go (runs/word_order)")  # fmt: skip
    return p


def demo(args):
    first, second = args.words
    if first == second or not {first, second} <= set(ANIMALS):
        raise ValueError(f"--words must be two of {', '.join(ANIMALS)}, got {first} {second}")
    if args.steps < 1:
        raise ValueError(f"steps must be at least 1, got {args.steps}")
    print(f"Each model learns to answer {len(ANIMALS)} × {len(ANIMALS) - 1} sentences like:\n")
    orders = [(first, second), (second, first)]
    for pair in orders:
        print(f"    {SENTENCE.format(*pair)} → {pair[1]}")
    results = []
    for title, kind, lesson in READERS:
        start = time.perf_counter()
        model = learned(kind, args.steps, args.seed)
        p = [answer(model, pair) for pair in orders]
        results.append((title, lesson, p))
        apart = max(abs(a - b) for a, b in zip(*p))
        print(f"\n── {title} ({time.perf_counter() - start:.0f} s of training)")
        for pair, q in zip(orders, p):
            told = "   ".join(f"{w} {q[WORDS.index(w)]:6.1%}" for w in args.words)
            print(f"    the {pair[0]} bites the {pair[1]}: {told}")
        same = "the same, but for rounding" if apart < 1e-5 else "another prediction"
        print(f"    {same}: probabilities differ by at most {apart:.1g}\n    {lesson}")
    picture = showing.png(chart(args.words, orders, results))
    parts = [showing.image(picture, "what each model answers to both orders")]
    for title, lesson, p in results:
        parts.append(f"<h2>{escaped(title[0].upper() + title[1:])}</h2><p>{escaped(lesson)}</p>")
        for pair, q in zip(orders, p):
            parts.append(f'<p class="text">{escaped(SENTENCE.format(*pair))}</p>')
            parts.append(showing.bars([(w, q[WORDS.index(w)]) for w in args.words], {pair[1]}))
    page = showing.page("Does the order of the words matter?", *parts)
    showing.save(args.out, {"word_order.png": picture, "word_order.html": page})


def encode(first, second):
    return [WORDS.index(word) for word in SENTENCE.format(first, second).split()]


def learned(kind, steps, seed):
    """A reader that has learned from all pairs of animals who is hurt: the second."""
    pairs = [(a, b) for a in ANIMALS for b in ANIMALS if a != b]
    idx = mt.tensor([encode(*pair) for pair in pairs])
    targets = mt.tensor([WORDS.index(b) for _, b in pairs])
    mt.manual_seed(seed)
    model = Reader(*kind, T=idx.shape[1])
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(idx), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@mt.no_grad()
def answer(model, pair):
    """The probability of each word as the next."""
    return model.eval()(mt.tensor([encode(*pair)]))[0].softmax(-1).tolist()


def chart(words, orders, results):
    figure = showing.figure(10, 3.4)
    width = 0.38
    for axes, (title, _, p) in zip(figure.subplots(1, len(results), sharey=True), results):
        for i, (pair, q) in enumerate(zip(orders, p)):
            places = [x + (i - 0.5) * width for x in range(len(words))]
            axes.bar(places, [q[WORDS.index(w)] for w in words], width,
                     color=("#2f6db5", "#e8a33d")[i], label=" bites ".join(pair))  # fmt: skip
        axes.set_xticks(range(len(words)), words)
        axes.set_title("\n".join(title.rsplit(", ", 1)), fontsize=10)
        axes.set(ylim=(0, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("probability of the answer")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2,
                  frameon=False)  # fmt: skip
    figure.suptitle("Who is hurt? The same words in two orders")
    return figure


if __name__ == "__main__":
    sys.exit(main())
