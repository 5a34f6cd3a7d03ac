"""A list of shapes, written as SVG or painted with Pillow.

A shape is a tuple, made by `box`, `text`, `curve` or `arrow`. Coordinates are pixels, y downwards.
"""

import functools
import math

from ..backends.installed import how_to_install
from ..utils.pages import escaped, printable
from .themes import FONTS

__all__ = ["arrow", "box", "curve", "element", "paint", "palette", "svg", "text", "width_of"]


def box(x, y, width, height, fill="none", line="none", thickness=0, radius=0, dashed=False):
    return "box", x, y, width, height, fill, line, thickness, radius, dashed


def text(x, y, words, size, color, bold=False, anchor="start", kind=""):
    """Words on the baseline y. `kind` is their class in SVG."""
    return "text", x, y, printable(words), size, color, bold, anchor, kind


def curve(points, color, thickness, dashed=False):
    """A chain of Bézier curves through every third point."""
    return "curve", points, color, thickness, dashed


def arrow(tip, base, color, size):
    """The head of an arrow that points from `base` to `tip`."""
    return "arrow", tip, base, color, size


# widths of Arial's letters relative to the size; others are about as wide as a digit
WIDTHS = {
    **dict.fromkeys("ijl'|", 0.22), **dict.fromkeys(" .,:;ftI/\\!()[]", 0.28),
    **dict.fromkeys("rªº\"·-", 0.34), **dict.fromkeys("+−=×÷<>≈∂Σ→", 0.59),
    **dict.fromkeys("ABEKPSVXY", 0.68), **dict.fromkeys("CDGHNOQRUw", 0.74),
    **dict.fromkeys("mM", 0.83), **dict.fromkeys("W@‖…", 1.0),
}  # fmt: skip


def width_of(words, size, bold=False):
    """The approximate width of the words in pixels."""
    return size * (1.06 if bold else 1.0) * sum(WIDTHS.get(c, 0.556) for c in words)


def _n(x):
    return f"{x:.1f}".removesuffix(".0")


# ---- SVG ------------------------------------------------------------------------------


def svg(shapes, width, height, paper):
    """The page as an SVG text."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="{FONTS}"><rect width="{width}" height="{height}" '
        f'fill="{escaped(paper)}"/>\n{"".join(map(_markup, map(element, shapes)))}</svg>\n'
    )


def _markup(element):
    tag, attributes, words = element
    given = "".join(f' {name}="{escaped(value)}"' for name, value in attributes.items())
    return f"<{tag}{given}>{escaped(words)}</{tag}>\n" if words else f"<{tag}{given}/>\n"


def element(shape):
    """A shape as an element of SVG: (name, {attribute: value}, words)."""
    kind, *rest = shape
    return SVG[kind](*rest)


def _svg_box(x, y, width, height, fill, line, thickness, radius, dashed):
    place = {"x": _n(x), "y": _n(y), "width": _n(width), "height": _n(height), "rx": str(radius)}
    look = {"fill": fill, "stroke": line, "stroke-width": _n(thickness)}
    return "rect", {**place, **look, **_dash(dashed)}, ""


def _svg_text(x, y, words, size, color, bold, anchor, kind):
    attributes = {"x": _n(x), "y": _n(y), "font-size": _n(size), "fill": color}
    if bold:
        attributes["font-weight"] = "bold"
    if anchor != "start":
        attributes["text-anchor"] = anchor
    if kind:
        attributes["class"] = kind
    return "text", attributes, words


def _svg_curve(points, color, thickness, dashed):
    start, *rest = (f"{_n(x)},{_n(y)}" for x, y in points)
    look = {"fill": "none", "stroke": color, "stroke-width": _n(thickness), **_dash(dashed)}
    return "path", {"d": f"M{start}C{' '.join(rest)}", **look}, ""


def _svg_arrow(tip, base, color, size):
    points = " ".join(f"{_n(x)},{_n(y)}" for x, y in _head(tip, base, size))
    return "polygon", {"points": points, "fill": color}, ""


def _dash(dashed):
    return {"stroke-dasharray": "5,4"} if dashed else {}


SVG = {"box": _svg_box, "text": _svg_text, "curve": _svg_curve, "arrow": _svg_arrow}


def _head(tip, base, size):
    """The three corners of an arrow's head."""
    dx, dy = tip[0] - base[0], tip[1] - base[1]
    length = math.hypot(dx, dy) or 1.0
    dx, dy = dx / length * size, dy / length * size
    x, y = tip[0] - dx, tip[1] - dy
    return tip, (x - dy * 0.4, y + dx * 0.4), (x + dy * 0.4, y - dx * 0.4)


# ---- Pillow ---------------------------------------------------------------------------


def _pillow():
    """Pillow's modules. ImportError, with what to install, without Pillow."""
    try:
        from PIL import Image, ImageColor, ImageDraw
    except ImportError as error:
        raise ImportError(
            f"to paint pictures of a film run: {how_to_install('viz')} (HTML and SVG need nothing)"
        ) from error
    return Image, ImageColor, ImageDraw


def paint(shapes, width, height, paper, scale=1.0):
    """The page as a Pillow image."""
    Image, _, ImageDraw = _pillow()
    s = 2 * scale  # painted twice as large and reduced, so that lines are smooth
    image = Image.new("RGB", (round(width * s), round(height * s)), paper)
    pen = ImageDraw.Draw(image)
    for kind, *rest in shapes:
        PAINT[kind](pen, s, *rest)
    return image.resize((round(width * scale), round(height * scale)), Image.LANCZOS)


def palette(theme):
    """The palette of a GIF, the same in every frame: a theme's colours and their blends."""
    Image, ImageColor, _ = _pillow()
    fills, lines = zip(*theme.roles.values())
    strong = [theme.ink, theme.faint, theme.wire, theme.gradient, theme.active]
    strong += [*lines, *theme.flows.values()]
    colors = []
    for ground in dict.fromkeys((theme.paper, *fills)):
        a = ImageColor.getrgb(ground)
        usual = ground in (theme.paper, theme.roles["operation"][0])
        for color in strong if usual else strong[:5]:
            b = ImageColor.getrgb(color)
            for share in (0, 0.25, 0.5, 0.75, 1) if usual else (0, 0.5):
                colors.append(tuple(round(p + (q - p) * share) for p, q in zip(a, b)))
    image = Image.new("P", (1, 1))
    image.putpalette([x for color in list(dict.fromkeys(colors))[:256] for x in color])
    return image


def _paint_box(pen, s, x, y, width, height, fill, line, thickness, radius, dashed):
    pen.rounded_rectangle(
        (x * s, y * s, (x + width) * s, (y + height) * s), radius * s, _color(fill),
        _color(line), round(thickness * s),
    )  # fmt: skip


def _paint_text(pen, s, x, y, words, size, color, bold, anchor, kind):
    where = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
    pen.text((x * s, y * s), words, color, _font(round(size * s), bold), where)


def _paint_curve(pen, s, points, color, thickness, dashed):
    line = [points[0]]
    for i in range(0, len(points) - 1, 3):
        a, b, c, d = points[i : i + 4]
        for k in range(1, 17):
            t = k / 16
            u = 1 - t
            line.append(
                tuple(
                    u**3 * p + 3 * u * u * t * q + 3 * u * t * t * r + t**3 * v
                    for p, q, r, v in zip(a, b, c, d)
                )
            )
    line = [(x * s, y * s) for x, y in line]
    if dashed:
        for a, b in list(zip(line, line[1:]))[::2]:
            pen.line((a, b), color, round(thickness * s))
    else:
        pen.line(line, color, round(thickness * s), "curve")


def _paint_arrow(pen, s, tip, base, color, size):
    pen.polygon([(x * s, y * s) for x, y in _head(tip, base, size)], color)


PAINT = {"box": _paint_box, "text": _paint_text, "curve": _paint_curve, "arrow": _paint_arrow}


def _color(name):
    return None if name == "none" else name


@functools.cache
def _font(size, bold):
    """A font with mathematical signs: matplotlib's, else the system's."""
    from PIL import ImageFont

    style = "-Bold" if bold else ""
    wide, arial = f"DejaVuSans{style}.ttf", "Arial Bold.ttf" if bold else "Arial.ttf"
    for name in (*_of_matplotlib(wide), wide, f"LiberationSans{style}.ttf", arial):
        try:  # DejaVu has every sign, and is wider
            return ImageFont.truetype(name, round(size * 0.85) if wide in name else size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _of_matplotlib(name):
    try:
        import matplotlib
    except ImportError:
        return []
    return [f"{matplotlib.get_data_path()}/fonts/ttf/{name}"]
