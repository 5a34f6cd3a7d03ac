"""Self-contained HTML pages: a film to play, a drawing to pan, zoom and fold."""

from pathlib import Path

from ..utils.pages import brief, embedded, from_file, printable
from .canvas import element
from .themes import THEMES

__all__ = ["explorer", "player"]

PICTURES = 40  # the most states of a folded drawing in one page
EVERYTHING = 1500  # boxes: larger graphs are not drawn in full


def player(film):
    """An HTML page that plays a film: each group of shapes once, frames as lists of them."""
    table, frames = {}, []
    for frame in film.frames:
        groups = [[element(shape) for shape in group] for group in frame.shapes]
        frames.append([table.setdefault(embedded(g), (len(table), g))[0] for g in groups])
    t = film.theme
    about = {
        "groups": [group for _, group in table.values()],
        "frames": frames,
        "captions": [printable(f.caption) for f in film.frames],
        "phases": [f.phase for f in film.frames],
    }
    return _filled("player", film.title, about, t, width=film.width, height=film.height)


def explorer(pictures, depths=(), now=("", ""), title="", theme=THEMES["paper"]):
    """An HTML page with a drawing that is panned, zoomed, hovered over, and folded by module.

    `pictures` has (SVG, {key of a box: path of the module folded in it}) for each state of the
    folding, by its `state_key`; `depths` are the depths to choose from, and `now` is the first
    state that is shown.
    """
    about = {
        "pictures": [
            {
                "depth": depth, "opened": opened, "shown": brief(opened),
                "svg": _bare(svg), "modules": modules,
            }
            for (depth, opened), (svg, modules) in pictures.items()
        ],
        "depths": ["all" if depth is None else str(depth) for depth in depths],
        "now": list(pictures).index(now) if depths else 0,
    }  # fmt: skip
    return _filled("explorer", title or "Graph", about, theme)


def state_key(depth, opened):
    """The key of a state of the folding: (depth, module that is drawn in full)."""
    if depth is None:
        depth = 1 if opened else "all"
    return str(depth), opened or ""


def _bare(svg):
    """SVG without the XML declaration before it."""
    text = svg.decode()
    return text[text.index("<svg") :]


def _filled(name, title, data, theme, **values):
    """The page of that name in this folder, in the colours of a theme."""
    return from_file(
        Path(__file__).with_name(f"{name}.html"), title, embedded(data), paper=theme.paper,
        ink=theme.ink, faint=theme.faint, active=theme.active, fill=theme.roles["operation"][0],
        **values,
    )  # fmt: skip
