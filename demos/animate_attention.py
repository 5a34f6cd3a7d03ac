"""Watch attention at work: whom each token looks at while a text is written.

python demos/animate_attention.py
python demos/animate_attention.py --layer 2 --head 3 --prompt "JULIET:"

Draws arrows under the text in the terminal, and leaves an animated GIF, a PNG and an HTML page in
which layer, head and step can be chosen.
"""

import base64
import shutil
import sys

import numpy as np

import microtensor as mt
from microtensor.utils.pages import Script, embedded, figure_text
from models import inside
from models.cli import program, showing
from models.generation import sampling
from models.training import reporting


def main(argv=None):
    return program.run(demo, parser(), argv)


def parser():
    p = showing.Parser(__file__, __doc__, "runs/attention")
    p.sampling(temperature=0.8)
    p.add_argument("--length", "--sample-length", dest="length", type=int, metavar="N",
                   help="tokens to write (32, or what fits)")  # fmt: skip
    p.add_argument("--layer", type=int, metavar="N", help="which layer, from 1 (the last)")
    p.add_argument("--head", type=int, metavar="N", help="which head, from 1 (the mean of all)")
    p.add_argument("--arrows", type=int, default=3, metavar="N", help="arrows per token (3)")
    return p


def demo(args):
    model, tokenizer = showing.trained_model(args)
    ids = sampling.encode_prompt(model, tokenizer, args.prompt)
    room = sampling.room(model, ids)
    length = min(32, room) if args.length is None else args.length
    if not 1 <= length <= room:
        raise ValueError(
            f"length must be within 1 … {room}, what the context of {model.config.context_length} "
            f"has left after the prompt, got {length}"
        )
    if args.arrows < 1:
        raise ValueError(f"arrows must be at least 1, got {args.arrows}")
    options = showing.sampling_options(args)
    generator = mt.Generator().manual_seed(args.seed)
    tokens = sampling.generate(model, mt.tensor([ids]), length, generator=generator, **options)
    weights, start = None, len(ids)
    with inside.attention(model) as heard:
        for token in tokens:
            weights = grown(weights, heard, len(ids))
            heard.clear()
            layer, head = chosen(weights, args)
            texts = showing.visible_tokens(tokenizer, ids)
            row = pick(weights, layer, head)[-1]
            print(arrows(texts, row, showing.visible(tokenizer.decode(token)), args.arrows))
            ids.append(token.item())
    texts = showing.visible_tokens(tokenizer, ids[:-1])
    print(f"\n{reporting.printable(tokenizer.decode(ids))}\n")
    showing.save(args.out, {
        "attention.png": still(weights, texts),
        "attention.gif": animation(weights, texts, start, layer, head),
        "attention.html": page(weights, texts, start, layer, head),
    })  # fmt: skip


def grown(weights, heard, n):
    """The weights (L, H, n, n) of a text of n tokens, with the rows that a step has added.

    With a cache a step computes the new token's row only, without one all rows again.
    """
    if not heard:
        raise ValueError("this model computes no attention")
    new = np.concatenate([h.weights.numpy() for h in heard])  # (L, H, new rows, n)
    whole = np.zeros((*new.shape[:2], n, n), new.dtype)
    if weights is not None:
        m = weights.shape[-1]
        whole[:, :, :m, :m] = weights
    whole[:, :, n - new.shape[2] :] = new
    return whole


def chosen(weights, args):
    """The layer and the head (None: their mean), counted from 0."""
    layers, heads = weights.shape[:2]
    for name, value, count in ("layer", args.layer, layers), ("head", args.head, heads):
        if value is not None and not 1 <= value <= count:
            raise ValueError(f"{name} must be within 1 … {count}, got {value}")
    return (layers if args.layer is None else args.layer) - 1, args.head and args.head - 1


def pick(weights, layer, head):
    return weights[layer].mean(0) if head is None else weights[layer, head]


# ---- in the terminal ---------------------------------------------------------------------------


def arrows(texts, row, new, n):
    """The text, and under it arrows from its last token to the n that it looks at most."""
    width = shutil.get_terminal_size().columns - 12
    first = len(texts) - 1  # that one at least, however long it is
    while first and sum(map(len, texts[first - 1 :])) <= width:
        first -= 1
    texts, shares = texts[first:], row[first:]
    places = [sum(map(len, texts[:i])) for i in range(len(texts))]
    asker = places[-1]
    best = sorted(np.argsort(-shares, kind="stable")[:n].tolist())
    heads, line = [" "] * (asker + 1), [" "] * (asker + 1)
    for i in range(places[best[0]], asker + 1):
        line[i] = "─"
    for i in best:
        heads[places[i]] = "▲"
        line[places[i]] = "┴"
    line[places[best[0]]] = "└"
    if best[-1] != len(texts) - 1:
        heads[asker] = "│"
        line[asker] = "┘"
    elif len(best) == 1:
        line[asker] = "╵"
    else:
        line[asker] = "┘"
    numbers = ", ".join(f"{texts[i]} {shares[i]:.0%}" for i in best)
    return f"{''.join(texts)} → {new}\n{''.join(heads)}\n{''.join(line)} {numbers}"


# ---- pictures ----------------------------------------------------------------------------------


def still(weights, texts):
    """All heads of all layers as PNG."""
    layers, heads = weights.shape[:2]
    texts = showing.figure_texts(texts)
    figure = showing.figure(1 + 2.6 * heads, 0.6 + 2.6 * layers)
    for axes, w, i in zip(
        figure.subplots(layers, heads, squeeze=False).flat,
        weights.reshape(-1, *weights.shape[2:]),
        range(layers * heads),
    ):
        axes.imshow(w, cmap="magma", vmin=0, vmax=1)
        axes.set_title(f"layer {i // heads + 1}, head {i % heads + 1}", fontsize=9)
        axes.set_xticks(range(len(texts)), texts, fontsize=4)
        axes.set_yticks(range(len(texts)), texts, fontsize=4)
        axes.tick_params(length=0, pad=1)
    figure.suptitle("each row is a token; the colours say where it looks, and sum to one")
    return showing.png(figure)


def animation(weights, texts, start, layer, head):
    """One head growing with the text, and all the others beside it, as an animated GIF."""
    layers, heads, n = weights.shape[:3]
    figure = showing.figure(10.5, 6)
    left, right = figure.subfigures(1, 2, width_ratios=[1.35, 1])
    large = left.subplots()
    shown = large.imshow(np.zeros((n, n)), cmap="magma", vmin=0, vmax=1)
    large.set_xticks(range(n), showing.figure_texts(texts), fontsize=7)
    large.set_yticks(range(n), showing.figure_texts(texts), fontsize=7)
    which = "mean of the heads" if head is None else f"head {head + 1}"
    large.set(title=f"layer {layer + 1}, {which}", xlabel="looks at", ylabel="token")
    left.colorbar(shown, ax=large, shrink=0.8, label="weight")
    small = []
    for i, axes in enumerate(right.subplots(layers, heads, squeeze=False).flat):
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{i // heads + 1}.{i % heads + 1}", fontsize=7, pad=2)
        small.append(axes.imshow(np.zeros((n, n)), cmap="magma", vmin=0, vmax=1))
    frames = []
    for m in range(start, n + 1):
        visible = np.zeros_like(weights)
        visible[:, :, :m, :m] = weights[:, :, :m, :m]
        shown.set_data(pick(visible, layer, head))
        for picture, w in zip(small, visible.reshape(-1, n, n)):
            picture.set_data(w)
        figure.suptitle(figure_text("".join(texts[:m])), family="DejaVu Sans Mono", fontsize=10)
        frames.append(showing.png(figure, dpi=100))
    return showing.gif(frames, [500] * (len(frames) - 1) + [3000])


def page(weights, texts, start, layer, head):
    """All weights in one HTML page: layer, head and step to be chosen, numbers under the mouse."""
    layers, heads, n = weights.shape[:3]
    lower = np.tril(np.ones((n, n), bool))
    bytes_ = (weights[:, :, lower] * 255).round().astype(np.uint8)  # what is above is zero
    facts = {
        "texts": texts, "start": start, "layers": layers, "heads": heads,
        "layer": layer, "head": heads if head is None else head,
        "weights": base64.b64encode(bytes_.tobytes()).decode(),
    }  # fmt: skip
    script = Script(f"const facts = {embedded(facts)};{PAGE}")
    film = showing.film([], "attention")
    return showing.page("Whom each token looks at", INTRODUCTION, CHOICES, script, film)


INTRODUCTION = """<p class="note">Each row is a token, and shows how it divides its attention among
the tokens before it and itself: the weights of a row sum to one. The text is coloured by the row
of its last token, from which the next is predicted. Point at a cell for its weight.</p>"""

CHOICES = """<p class="controls">layer <select id="layer"></select>
head <select id="head"></select></p>"""

PAGE = """
const n = facts.texts.length, packed = Uint8Array.from(atob(facts.weights), c => c.charCodeAt(0));
const one = n * (n + 1) / 2, size = Math.max(9, Math.min(36, Math.floor(720 / n)));
const label = t => facts.texts[t].slice(0, 12), font = Math.min(size - 2, 14);
const longest = Math.max(...facts.texts.map((_, t) => label(t).length));
const margin = Math.max(size + 4, 0.62 * font * longest + 8);
const weight = (l, h, t, s) => packed[(l * facts.heads + h) * one + t * (t + 1) / 2 + s] / 255;
const layer = document.getElementById("layer"), head = document.getElementById("head");
for (let i = 0; i < facts.layers; i++) layer.add(new Option(i + 1, i));
for (let i = 0; i < facts.heads; i++) head.add(new Option(i + 1, i));
head.add(new Option("mean", facts.heads));
layer.value = facts.layer; head.value = facts.head;
function seen(t, s) {
  if (head.value < facts.heads) return weight(+layer.value, +head.value, t, s);
  let sum = 0;
  for (let h = 0; h < facts.heads; h++) sum += weight(+layer.value, h, t, s);
  return sum / facts.heads;
}
const colour = w => `rgb(${255 - 41 * w ** .6},${255 - 193 * w ** .6},${255 - 193 * w ** .6})`;
let place = "";
const attention = {steps: n - facts.start + 1, draw(i, film) {
  const m = facts.start + i;
  if (!film.querySelector("canvas")) {
    for (const [kind, look] of [["p", "text"], ["canvas", ""], ["p", "note"]])
      film.appendChild(document.createElement(kind)).className = look;
    const canvas = film.querySelector("canvas"), note = film.lastElementChild;
    canvas.onmousemove = e => {
      const [s, t] = [e.offsetX, e.offsetY].map(x => Math.floor((x - margin) / size));
      note.textContent = s < 0 || t < 0 || s > t || t >= this.shown ? "" :
        `token ${t + 1}, ${facts.texts[t]}, looks at token ${s + 1}, ${facts.texts[s]}: ` +
        `${(100 * seen(t, s)).toFixed(1)} %`;
    };
    layer.onchange = head.onchange = () => this.draw(this.shown - facts.start, film);
  }
  this.shown = m;
  film.querySelector(".text").replaceChildren(...facts.texts.slice(0, m).map((t, s) => {
    const span = document.createElement("span");
    span.textContent = t; span.style.background = colour(seen(m - 1, s));
    return span;
  }));
  const canvas = film.querySelector("canvas"), dots = devicePixelRatio || 1;
  const side = margin + n * size;
  canvas.width = canvas.height = side * dots;
  canvas.style.width = side + "px";
  const c = canvas.getContext("2d");
  c.scale(dots, dots); c.font = `${font}px monospace`; c.textBaseline = "middle";
  for (let t = 0; t < m; t++) {
    const middle = margin + (t + 0.5) * size;
    c.fillStyle = "#566"; c.textAlign = "right";
    c.fillText(label(t), margin - 5, middle);
    c.save(); c.translate(middle, longest > 1 ? margin - 5 : margin / 2);
    c.textAlign = longest > 1 ? "left" : "center";
    if (longest > 1) c.rotate(-Math.PI / 2);
    c.fillText(label(t), 0, 0); c.restore();
    for (let s = 0; s <= t; s++) {
      c.fillStyle = colour(seen(t, s));
      c.fillRect(margin + s * size, margin + t * size, size - 1, size - 1);
    }
  }
}};
"""


if __name__ == "__main__":
    sys.exit(main())
