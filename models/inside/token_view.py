"""A text as its tokens, each on a colour of its own: in the terminal, as a picture, as a page.

A token is a run of bytes that may end within a character; then its bytes are shown as hex.
"""

import colorsys
import unicodedata
from dataclasses import dataclass

from microtensor.utils.pages import Script, Style, brief, escaped, figure_text

from . import pages as showing


@dataclass(frozen=True)
class Piece:
    """A token of a text: its id, its bytes, and how it is shown."""

    id: int
    data: bytes
    label: str


def pieces(tokenizer, text):
    """The tokens of a text, in order. ValueError for an empty text, or an unknown character."""
    if not text:
        raise ValueError("there are no tokens in an empty text")
    vocabulary = tokenizer.vocabulary
    return [Piece(id, vocabulary[id], label(vocabulary[id])) for id in tokenizer.encode(text)]


def label(data):
    """The bytes of a token as something that can be seen."""
    try:
        return showing.visible(data.decode())
    except UnicodeDecodeError:
        return "".join(f"‹{byte:02x}›" for byte in data)


def colour(id):
    """A light colour for an id, red, green and blue from 0 to 255; ids side by side look unlike."""
    hue = id * 0.618034 % 1  # steps by the golden ratio spread evenly over the circle
    light = 0.80 + 0.08 * (id % 3 - 1)
    return tuple(round(255 * v) for v in colorsys.hls_to_rgb(hue, light, 0.75))


def summary(name, pieces):
    """One line: how many tokens, and how long they are."""
    size, different = sum(len(p.data) for p in pieces), len({p.id for p in pieces})
    return (
        f"{name}: {len(pieces):,} tokens, {different:,} of them different, "
        f"{size / len(pieces):.2f} bytes in a token"
    )


# ---- in rows -------------------------------------------------------------------------------------


def width(label):
    """The columns of a text in a terminal: two for an emoji, or a character of East Asia."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in label
    )


def rows(pieces, columns):
    """Rows of (piece, its columns): a new one after a line break, and where `columns` are full."""
    row, used, out = [], 0, []
    for p in pieces:
        need = max(width(p.label), len(str(p.id)))
        if row and used + need > columns:
            out.append(row)
            row, used = [], 0
        row.append((p, need))
        used += need + 1
        if b"\n" in p.data:
            out.append(row)
            row, used = [], 0
    return out + [row] if row else out


def printed(pieces, columns=80, coloured=True):
    """The tokens, with their ids below: plain text, or in colours for a terminal."""
    lines = []
    for row in rows(pieces, columns):
        tokens, ids = [], []
        for p, need in row:
            token, id = p.label + " " * (need - width(p.label)), f"{p.id:<{need}}"
            if coloured:
                r, g, b = colour(p.id)
                token = f"\033[48;2;{r};{g};{b}m\033[38;2;0;0;0m{token}\033[0m"
                id = f"\033[2m{id}\033[0m"
            tokens.append(token)
            ids.append(id)
        between = " " if coloured else "│"
        lines += [between.join(tokens).rstrip(), " ".join(ids).rstrip()]
    return "\n".join(lines)


# ---- as a picture --------------------------------------------------------------------------------

FONT = "DejaVu Sans Mono"  # which comes with matplotlib
ROWS = 60  # of the picture; a longer text is cut


def drawn(views, columns=100):
    """A picture, PNG: `views` are (name, pieces), one under the other.

    What does not fit in 60 rows is left out, and counted. Needs matplotlib (ImportError).
    """
    from matplotlib.patches import Rectangle

    tables = [(name, pieces, rows(pieces, columns)) for name, pieces in views]
    limit = max(1, ROWS // len(tables))
    height = sum(1.9 * min(len(table), limit) + 2 + (len(table) > limit) for *_, table in tables)
    figure = showing.figure(columns * 0.1 + 0.4, height * 0.2 + 0.2)
    axes = figure.subplots()
    axes.set(xlim=(-1, columns + 1), ylim=(height, 0))
    axes.axis("off")
    has = glyphs()
    y = 0.6
    for name, pieces, table in tables:
        axes.text(
            0, y, figure_text(summary(brief(name), pieces)), va="center", weight="bold", size=9
        )
        y += 1.4
        for row in table[:limit]:
            x = 0
            for p, need in row:
                box = Rectangle((x - 0.25, y - 0.5), need + 0.5, 1, lw=0, fc=hex_colour(p.id))
                axes.add_patch(box)
                shown = "".join(c if has(c) else "□" for c in p.label)
                axes.text(x, y, figure_text(shown), va="center", size=9, family=FONT)
                axes.text(x, y + 0.85, p.id, va="center", size=6, color="#667")
                x += need + 1
            y += 1.9
        if len(table) > limit:
            rest = sum(len(row) for row in table[limit:])
            axes.text(0, y, f"… and {rest:,} more", va="center", size=8, color="#667")
            y += 1
        y += 0.6
    return showing.png(figure)


def glyphs():
    """True if matplotlib's monospaced font has a letter."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont(FONT))
    return lambda c: font.get_char_index(ord(c)) != 0


def hex_colour(id):
    return "#{:02x}{:02x}{:02x}".format(*colour(id))


# ---- as a page -----------------------------------------------------------------------------------

STYLE = """
.tokens { line-height: 2.6; font: 1.05rem/2.6 "DejaVu Sans Mono", Menlo, Consolas, monospace }
.tokens span { display: inline-block; line-height: 1.25; color: #000; border-radius: 3px;
  padding: 0 .15em; margin: 0 1px; white-space: pre; vertical-align: middle; cursor: default }
.tokens small { display: block; font-size: .6em; color: #556 }
.tokens span.same { outline: 2px solid #d1495b }
"""

SCRIPT = """
document.querySelectorAll(".tokens").forEach(view => view.onmouseover = e => {
  const token = e.target.closest("[data-id]");
  view.querySelectorAll("[data-id]").forEach(
    t => t.classList.toggle("same", token && t.dataset.id == token.dataset.id));
});
"""


def as_page(title, views):
    """An HTML file that needs no other. A token under the mouse shows where else it occurs."""
    parts = [Style(STYLE)]
    for name, pieces in views:
        parts.append(f"<h2>{escaped(summary(name, pieces))}</h2>")
        parts.append(f'<div class="tokens">{"".join(map(_span, pieces))}</div>')
    return showing.page(title, *parts, Script(SCRIPT))


def _span(piece):
    end = "<br>" * (b"\n" in piece.data)
    return (
        f'<span data-id="{piece.id}" title="id {piece.id}" '
        f'data-style="background:{hex_colour(piece.id)}">'
        f"{escaped(piece.label)}<small>{piece.id}</small></span>{end}"
    )
