"""Tokens that can be seen, pictures, and pages that need no network."""

import base64
import io
from pathlib import Path

import numpy as np

from microtensor.debug.recorded import png as png
from microtensor.files.serialization import write_whole
from microtensor.utils import pages
from microtensor.utils.pages import Script, Style, brief, escaped, figure_text

# ---- tokens that can be seen -------------------------------------------------------------------

SEEN = str.maketrans({"\n": "↵", " ": "␣", "\t": "→", "\r": "↵"})


def visible(text):
    """A token's text with every character in it visible."""
    return "".join(c if c.isprintable() else "�" for c in text.translate(SEEN))


def visible_tokens(tokenizer, ids):
    """Each of the tokens by itself, visible."""
    return [visible(tokenizer.decode([i])) for i in ids]


def figure_texts(texts):
    """Texts for matplotlib, for labels of ticks."""
    return [figure_text(brief(text, 40)) for text in texts]


def bar(share, width):
    """A bar of blocks and an eighth of one, for a share from 0 to 1."""
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def shaded(texts, scores, colored=True):
    """Texts in the terminal on red for positive, blue for negative scores from −1 to 1."""
    if not colored:
        return "".join(texts)

    def one(text, score):
        r, g, b = rgb(score)
        return f"\033[48;2;{r};{g};{b}m\033[38;2;0;0;0m{text}"

    return "".join(map(one, texts, scores)) + "\033[0m"


def rgb(score):
    """White for 0, red for 1, blue for −1, in bytes."""
    end = np.array((214, 62, 62) if score > 0 else (58, 110, 214))
    share = min(abs(score), 1) ** 0.7
    return tuple(int(v) for v in (255 + (end - 255) * share).round())


# ---- pictures and pages ------------------------------------------------------------------------


def figure(width, height):
    """An empty matplotlib figure, in inches, that needs no screen."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["font.family"] = ["DejaVu Sans"]
    return Figure(figsize=(width, height), layout="constrained")


def gif(pictures, milliseconds):
    """Pictures, as PNG bytes, as an animated GIF, each for so long. Needs Pillow (ImportError)."""
    from PIL import Image

    frames = [
        Image.open(io.BytesIO(picture)).convert("RGB").quantize(255, Image.Quantize.MAXCOVERAGE)
        for picture in pictures
    ]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], loop=0,
                   duration=milliseconds)  # fmt: skip
    return stream.getvalue()


def save(folder, files):
    """Write {name: bytes or text} into a folder, each whole or not at all, and say so."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = Path(folder, name)
        data = content.encode() if isinstance(content, str) else content
        write_whole(path, data, follow=False)
        print(f"written: {path}")


def image(png, alt):
    """PNG bytes as an `<img>` that holds them."""
    text = base64.b64encode(png).decode()
    return f'<img alt="{escaped(alt)}" src="data:image/png;base64,{text}">'


def page(title, *parts):
    """One HTML file that needs no other. The parts are those of `microtensor.pages.page`.

    A `data-style` counts as `style` would where pages allowed it.
    """
    return pages.page(title, Style(STYLE), f"<h1>{escaped(title)}</h1>", *parts, Script(STYLED))


def film(frames, drawn=None):
    """HTML frames, one of them visible, with buttons to play and to step: parts of a page.

    The keys ← and → step, too. `drawn` may name an object of the page's own script that draws
    them, with `steps` and `draw`.
    """
    shown = "\n".join(f'<div class="frame">{frame}</div>' for frame in frames)
    script = f"\nconst given = {drawn or 'null'};{FILM}"
    return [f'<div class="film">{CONTROLS}\n{shown}</div>', Script(script)]


STYLED = 'for (const e of document.querySelectorAll("[data-style]")) e.style = e.dataset.style'

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: #1d2733; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
img { max-width: 100%; height: auto; margin-top: 1.2rem } .frame { padding-top: .6rem }
button, select { font: inherit; padding: .2rem .8rem }
.text { font: 1.05rem/1.9 "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre-wrap;
        overflow-wrap: anywhere }
.text span { padding: .15em 0; color: #000 } .new { background: #ffe08a }
table { border-collapse: collapse; font: .95rem/1.5 "DejaVu Sans Mono", Menlo, Consolas, monospace }
td, th { padding: .1rem .6rem; text-align: left; font-weight: normal }
.bar { background: #2f6db5; height: 1em; border-radius: 2px; min-width: 1px }
.chosen .bar { background: #d1495b } .chosen { font-weight: bold }
.frame { display: none } .controls { display: flex; gap: .6rem; align-items: center }
.controls input { flex: 1 } .note { color: #566 } canvas { max-width: 100% }
.wide { overflow-x: auto }
"""

CONTROLS = """<div class="controls">
<button class="back">◀</button><button class="play">play</button><button class="on">▶</button>
<input type="range" min="0" value="0" aria-label="step"><span class="count"></span></div>"""

FILM = """
const film = document.currentScript.previousElementSibling, find = s => film.querySelector(s);
const frames = [...film.querySelectorAll(".frame")], slider = find("input");
const drawn = given || {
  steps: frames.length,
  draw: i => frames.forEach((f, j) => f.style.display = i == j ? "block" : "none"),
};
const steps = drawn.steps;
let now = 0, timer = null;
function show(i) {
  now = Math.max(0, Math.min(steps - 1, i)); slider.max = steps - 1; slider.value = now;
  drawn.draw(now, film);
  find(".count").textContent = `${now + 1} / ${steps}`;
}
function play(on) {
  clearInterval(timer);
  timer = on ? setInterval(() => now + 1 < steps ? show(now + 1) : play(false), 700) : null;
  find(".play").textContent = on ? "pause" : "play";
}
find(".back").onclick = () => { play(false); show(now - 1) };
find(".on").onclick = () => { play(false); show(now + 1) };
find(".play").onclick = () => { if (!timer && now == steps - 1) show(0); play(!timer) };
slider.oninput = () => { play(false); show(+slider.value) };
document.addEventListener("keydown", e => {
  if (e.key == "ArrowLeft") find(".back").click();
  if (e.key == "ArrowRight") find(".on").click();
});
show(0);
"""


def bars(rows, chosen=(), value="{:.1%}"):
    """An HTML table of (token, number), with bars as long as the number is large.

    The tokens in `chosen` are marked.
    """
    top = max(abs(p) for _, p in rows) or 1
    lines = [
        f"<tr{' class=chosen' if token in chosen else ''}><td>{escaped(token)}</td>"
        f"<td>{value.format(p)}</td>"
        f'<td><div class="bar" data-style="width:{22 * abs(p) / top:.2f}rem"></div></td></tr>'
        for token, p in rows
    ]
    return f"<table>{''.join(lines)}</table>"


def spans(texts, scores):
    """Texts as HTML on red for positive, blue for negative scores from −1 to 1."""
    return '<div class="text">' + "".join(
        f'<span data-style="background:rgb{rgb(s)}" title="{s:+.3f}">{escaped(t)}</span>'
        for t, s in zip(texts, scores)
    ) + "</div>"  # fmt: skip
