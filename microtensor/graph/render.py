"""Pictures of DOT text, made by Graphviz's `dot`, else by `graphviz-pure`, else the text itself."""

import os
import shutil
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

__all__ = ["picture", "render"]

FORMATS = ("svg", "png", "pdf", "dot")
FONT = 'font-family="Arial"'  # graphviz measures with one font; browsers want a list
FONTS = 'font-family="Arial, Helvetica, Liberation Sans, sans-serif"'


class NoRenderer(RuntimeError):
    """No program is installed that can make this picture."""


def render(graph, path, dpi=144):
    """Write a drawing to a file, as the suffix says: .svg, .png, .pdf or .dot. Returns its path.

    Where no program is installed that can draw it, the DOT text is written beside it instead, a
    warning says what to install, and the path of that text is returned. `dpi` is for PNG.
    Raises ValueError for another suffix, OSError if the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix[1:].lower().replace("gv", "dot")
    if kind not in FORMATS:
        raise ValueError(
            f"render: {path.name!r} should end in {', '.join('.' + f for f in FORMATS)}"
        )
    source = graph if isinstance(graph, str) else graph.source
    if kind == "dot":
        return _write(path, source.encode())
    try:
        return _write(path, picture(source, kind, dpi))
    except NoRenderer as missing:
        text = _write(path.with_suffix(".dot"), source.encode())
        warnings.warn(f"{missing}; wrote {text} instead of {path.name}", stacklevel=2)
        return text


def picture(source, kind="svg", dpi=144):
    """The picture of a DOT text as bytes: "svg", "png" or "pdf".

    Raises NoRenderer if nothing installed can make it, RuntimeError for a text that is not DOT.
    """
    command = [_renderer(kind), f"-T{kind}"] + [f"-Gdpi={dpi}"] * (kind == "png")
    done = subprocess.run(command, input=source.encode(), capture_output=True)
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip() or "no output"
        raise RuntimeError(f"{Path(command[0]).name} could not draw the graph: {reason}")
    if kind == "svg":
        return done.stdout.replace(FONT.encode(), FONTS.encode())
    return done.stdout


def _renderer(kind):
    """The program that draws: dot, else graphviz-pure, from PATH or beside this Python."""
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
        'to draw graphs run: pip install "microtensor[viz]" (or install Graphviz, '
        "https://graphviz.org/download)"
    )


def _write(path, data):
    """The file whole, or as it was before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
