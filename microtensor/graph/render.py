"""Render DOT text as a picture by Graphviz's `dot`, else by `graphviz-pure`, else keep the text."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ..backends.installed import how_to_install
from ..utils.pages import BACKSLASH
from .canvas import paint, palette, svg
from .page import explorer, player

__all__ = ["picture", "render"]

FORMATS = ("svg", "png", "pdf", "dot", "html")
FONT = 'font-family="Arial"'  # graphviz measures with one font; browsers want a list
LINKS = re.compile(r'<\?xml-stylesheet.*?\?>|<\w+\s[^>]*href="[^>]*>', re.DOTALL)
ELEMENTS = set(  # endings of drawings
    "svg g title desc path polygon polyline ellipse circle rect line text tspan a image defs "
    "linearGradient radialGradient stop clipPath".split()
)
FONTS = 'font-family="Arial, Helvetica, Liberation Sans, sans-serif"'


class NoRenderer(RuntimeError):
    """No installed program can make this picture."""


def render(graph: Any, path: Path, dpi: int = 144) -> Any:
    """Write a drawing or a film to a file, as the suffix says. Returns its path.

    A drawing becomes .svg, .png, .pdf, .dot, or .html: one page that is panned, zoomed, hovered
    over and folded by module without a network. A film becomes an .html that plays, a .gif, a
    folder of SVG frames (no suffix), or its last frame as .svg or .png.

    If no installed program can draw it, the DOT text is written beside it instead, a warning says
    what to install, and the path of that text is returned. `dpi` is for PNG.
    Raises ValueError for another suffix, OSError if the file cannot be written.
    """
    if not isinstance(graph, str) and not hasattr(graph, "source"):
        raise TypeError(
            "render: what draw or film made is needed: render(draw(loss), path), "
            f"got {type(graph).__name__}"
        )
    path = Path(path)
    source = graph if isinstance(graph, str) else graph.source
    try:
        if hasattr(graph, "frames"):
            return _film(graph, path)
        return _drawing(graph, source, path, dpi)
    except NoRenderer as missing:
        text = _write(path.with_suffix(".dot"), source.encode())
        warnings.warn(f"{missing}; wrote {text} instead of {path.name}", stacklevel=2)
        return text


def _drawing(graph, source, path, dpi):
    kind = path.suffix[1:].lower().replace("gv", "dot")
    if kind not in FORMATS:
        raise ValueError(
            f"render: {path.name!r} should end in {', '.join('.' + f for f in FORMATS)}"
        )
    if kind == "dot":
        return _write(path, source.encode())
    if kind == "html":
        folded = getattr(graph, "whole", None) is not None  # else a plain Digraph, or DOT text
        page = graph.page() if folded else explorer({("", ""): (picture(source), {})})
        return _write(path, page.encode())
    return _write(path, picture(source, kind, dpi))


def picture(source: Any, kind: str = "svg", dpi: int = 144) -> bytes:
    """The picture of a DOT text as bytes: "svg", "png" or "pdf".

    Raises NoRenderer if no installed program can make it, RuntimeError for a text that is not DOT.
    """
    command = [renderer(kind), f"-T{kind}"] + ([f"-Gdpi={dpi}"] if kind == "png" else [])
    done = subprocess.run(command, input=source.encode(), capture_output=True)
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip() or "no output"
        raise RuntimeError(f"{Path(command[0]).name} could not draw the graph: {reason}")
    if kind == "svg":
        text = LINKS.sub(_kept_link, done.stdout.decode(errors="replace"))
        _check_svg(text)
        return text.replace(FONT, FONTS).replace(BACKSLASH, "\\").encode()
    return done.stdout


def _check_svg(text):
    """Raise RuntimeError unless an SVG is well-formed and contains only drawings and words.

    Graphviz does not escape all of its input: a font's name or an address could end its attribute
    and continue with other markup.
    """
    try:
        elements = ElementTree.fromstring(text).iter()
    except ElementTree.ParseError as error:
        raise RuntimeError(f"render: an attribute of the graph breaks the SVG ({error})") from None
    for element in elements:
        tag = element.tag.rpartition("}")[2]
        handlers = [name for name in element.attrib if name.rpartition("}")[2].startswith("on")]
        if tag not in ELEMENTS or handlers:
            raise RuntimeError(
                f"render: an attribute of the graph puts {(handlers or [tag])[0]!r} into the SVG, "
                "which is no part of a drawing"
            )


def _kept_link(found):
    """Replace a part of an SVG that may fetch or run; links and embedded pictures are kept.

    Graphviz writes each attribute between \", and no \" or > within it.
    """
    tag = re.match(r"<\w*", found[0])[0]
    safe = r"#|data:image/" if tag == "<image" else r"#|https?:|mailto:"
    if tag == "<":  # <?xml-stylesheet
        return ""
    return re.sub(rf'\s(xlink:)?href="(?!{safe})[^"]*"', "", found[0])


def renderer(kind):
    """The program that draws: dot, else graphviz-pure, from PATH or beside this Python.

    Raises NoRenderer if there is none.
    """
    dot = shutil.which("dot")
    if dot:
        return dot
    if kind == "pdf":
        raise NoRenderer(
            "for PDF install Graphviz, https://graphviz.org/download (SVG and PNG need less)"
        )
    beside = os.pathsep.join((os.path.dirname(sys.executable), sysconfig.get_path("scripts")))
    pure = shutil.which("graphviz-pure") or shutil.which("graphviz-pure", path=beside)
    if pure:
        return pure
    raise NoRenderer(
        f"to draw graphs run: {how_to_install('viz')} (or install Graphviz, "
        "https://graphviz.org/download)"
    )


def _film(film, path):
    """A film as a page, as an animation, as a picture of its last frame, or as a folder of them."""
    if film.missing:
        raise film.missing
    kind = path.suffix[1:].lower()
    if kind == "html":
        return _write(path, player(film).encode())
    if kind == "gif":
        return _write(path, _animation(film))
    if kind in ("svg", "png"):
        return _write(path, _still(film, -1, kind))
    if kind:
        raise ValueError(
            f"render: a film becomes .html, .gif, a folder without a suffix, or .svg and .png of "
            f"its last frame, not {path.name!r}"
        )
    path.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(film.frames)))
    written = [
        _write(path / f"{i + 1:0{digits}}.svg", _still(film, i, "svg"))
        for i in range(len(film.frames))
    ]
    for old in set(path.glob("*.svg")).difference(written):
        if old.stem.isdecimal():  # frames of an earlier film
            old.unlink()
    return path


def _still(film, i, kind):
    shapes = [shape for group in film.frames[i].shapes for shape in group]
    page = film.width, film.height, film.theme.paper
    if kind == "svg":
        return svg(shapes, *page).encode()
    stream = io.BytesIO()
    paint(shapes, *page, scale=1.5).save(stream, "PNG")
    return stream.getvalue()


def _animation(film):
    """A GIF, three seconds for each frame and six for the last."""
    images, colors = [], palette(film.theme)
    for frame in film.frames:
        shapes = [shape for group in frame.shapes for shape in group]
        image = paint(shapes, film.width, film.height, film.theme.paper)
        images.append(image.quantize(palette=colors, dither=0))
    stream = io.BytesIO()
    times = [3000] * (len(images) - 1) + [6000]
    images[0].save(
        stream, "GIF", save_all=True, append_images=images[1:], duration=times, loop=0,
        optimize=False,
    )  # fmt: skip
    return stream.getvalue()


def _write(path, data):
    """Write a file whole, or leave it unchanged."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
