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


def explorer(drawing, picture):
    """An HTML page with a drawing that is panned, zoomed, hovered over, and folded by module.

    Each state of the folding is drawn beforehand by `picture`, from DOT text to SVG: every depth,
    and at each depth every module in full.
    """
    sheet = getattr(drawing, "_sheet", None)
    states, depths = {}, []
    if sheet is None or drawing.deepest == 0:
        states["", ""] = drawing
    else:
        depths = [
            *range(max(drawing.deepest, 2)),
            *[None] * (len(sheet.whole.vertices) <= EVERYTHING),
        ]
        states = {_state(depth, None): drawing.again(depth) for depth in depths}
        now = _state(*drawing.folded)
        states[now] = drawing
        for (depth, opened), drawn in list(states.items()):
            if depth != "all" and not opened:
                for path in _modules(drawn).values():
                    if len(states) < PICTURES and path:
                        states.setdefault((depth, path), drawn.again(int(depth), path))
    about = {
        "pictures": [
            {
                "depth": depth, "opened": opened, "shown": brief(opened),
                "svg": _bare(picture(getattr(drawn, "source", drawn))),
                "modules": _modules(drawn) if sheet else {},
            }
            for (depth, opened), drawn in states.items()
        ],
        "depths": ["all" if depth is None else str(depth) for depth in depths],
        "now": list(states).index(now) if depths else 0,
    }  # fmt: skip
    title = (sheet.options.title if sheet else "") or "Graph"
    return _filled("explorer", title, about, sheet.theme if sheet else THEMES["paper"])


def _state(depth, opened):
    """The key of a state of the page: (depth, module that is drawn in full)."""
    if depth is None:
        depth = 1 if opened else "all"
    return str(depth), opened or ""


def _modules(drawn):
    """{key of a box: path of the module that is folded in it}."""
    return {v.key: v.name for v in drawn.graph.vertices if v.role == "module"}


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
