"""Colours and sizes of pictures on paper, slides and dark screens. Each hue has one meaning."""

import re
from dataclasses import dataclass

__all__ = ["THEMES", "Theme", "theme_of"]

FONT = "Arial"
FONTS = "Arial, Helvetica, Liberation Sans, sans-serif"


@dataclass(frozen=True)
class Theme:
    """A role's colours are (fill, line); `scale` enlarges letters, `line` the width of lines."""

    paper: str
    ink: str
    faint: str
    wire: str
    gradient: str  # numbers and arrows of gradients
    active: str  # the active operation of a film
    frames: tuple  # of modules: line, fill, fill of every other level
    roles: dict
    flows: dict  # unusual gradients, by kind
    scale: float = 1.0
    line: float = 1.1

    def __post_init__(self):
        for name, value in vars(self).items():
            for color in _strings(value):
                if not COLOR.fullmatch(color):
                    raise ValueError(
                        f"Theme: {name} is made of colours, #rrggbb or a name, not {color!r}"
                    )


COLOR = re.compile(
    "#[0-9a-fA-F]{3,8}|[a-zA-Z]+[0-9]*"
)  # colours that Graphviz, Pillow and browsers know


def _strings(value):
    """The colours within a value of a theme."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _strings(part)


LIGHT = {
    "paper": "#FFFFFF", "ink": "#1F2733", "faint": "#596372", "wire": "#66738A",
    "gradient": "#B3303F", "active": "#A05307", "frames": ("#C9C4E6", "#F8F7FD", "#F1EFFA"),
    "roles": {
        "input": ("#E4F2E7", "#3F7A4F"),
        "parameter": ("#FFF0CF", "#8A6410"),
        "operation": ("#EDF1F7", "#63779A"),
        "module": ("#E9E6F8", "#6353B8"),
        "result": ("#FBE1E1", "#B83F4B"),
    },
    "flows": {
        "vanishing": "#25619C", "exploding": "#00695C", "zero": "#5A6472", "nan": "#A8129C",
        "missing": "#566278",
    },
}  # fmt: skip

DARK = {
    "paper": "#14181F", "ink": "#EEF2F8", "faint": "#9DA9BB", "wire": "#8C9AB0",
    "gradient": "#FF8A94", "active": "#FFB347", "frames": ("#5A5296", "#1B1E2C", "#212437"),
    "roles": {
        "input": ("#1D3A28", "#6FBF85"),
        "parameter": ("#463613", "#E3B04B"),
        "operation": ("#262E3B", "#8FA3C2"),
        "module": ("#302B52", "#A79BEB"),
        "result": ("#4A2329", "#F08791"),
    },
    "flows": {
        "vanishing": "#63B3FF", "exploding": "#4FD6C6", "zero": "#A3ACB8", "nan": "#FF7BF4",
        "missing": "#9DA8BA",
    },
}  # fmt: skip

THEMES = {
    "paper": Theme(**LIGHT),
    "slides": Theme(**LIGHT, scale=1.35, line=2.0),
    "dark": Theme(**DARK, scale=1.35, line=2.0),
}


def theme_of(name):
    """A theme by its name, or a Theme of your own. Raises ValueError for an unknown name."""
    if isinstance(name, Theme):
        return name
    if name not in THEMES:
        raise ValueError(f"the theme is {', '.join(THEMES)} or a Theme, not {name!r}")
    return THEMES[name]
