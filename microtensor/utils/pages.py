"""Self-contained HTML pages, and the escaping of strings that go into pages and pictures.

A string from outside (a name, a title, a prompt, a token) is always shown as text. Each place that
it goes to has its function here, and each takes any string:

    escaped       HTML and SVG, between tags and in attributes
    embedded      data within a <script>
    dot_label     HTML-like labels of Graphviz
    dot_text      other attributes of Graphviz: tooltips
    figure_text   what matplotlib writes

Characters that cannot be shown (control characters, lone surrogates, marks that change the writing
direction) become �. Besides, each page has a Content-Security-Policy: a browser only runs the
scripts and applies the styles that `page` was given, known by their hashes, and fetches nothing. So
markup that gets into a page by mistake could neither run nor fetch anything.
"""

import base64
import hashlib
import html
import json
import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Script", "Style", "dot_label", "dot_text", "embedded", "escaped", "figure_text", "from_file",
    "page", "printable",
]  # fmt: skip

LONGEST = 80  # characters of a name in a picture
JOINERS = "\u200c\u200d"  # within words of some scripts, and within emoji


# ---- strings -----------------------------------------------------------------------------------


def printable(text, lines=False):
    """The text without characters that cannot be shown: they become �, line breaks ↵.

    With `lines`, line breaks and tabs stay. The result can be written as UTF-8, and in XML.
    """
    text = str(text)
    if text.isprintable():
        return text
    if lines:
        return "\n".join(map(_printable, re.split("\r\n|\r|\n", text)))
    return _printable(re.sub("\r\n|\r|\n", "↵", text).replace("\t", " "))


def _printable(line):
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or _is_space(c) or c in JOINERS else "�" for c in line)


def _is_space(c):
    return c == "\t" or unicodedata.category(c) == "Zs"


def brief(text, longest=LONGEST):
    """A text shortened to fit into a picture: printable, with … in place of its middle."""
    text = printable(text)
    if len(text) <= longest:
        return text
    end = longest // 2
    return f"{text[: longest - end - 1]}…{text[-end:]}"


def escaped(text, lines=False):
    """Text for HTML and SVG. With `lines` its line breaks stay."""
    return html.escape(printable(text, lines))


def embedded(data, default=None):
    """Data as JSON for a <script>: it contains no end of a tag, comment or line.

    Numbers that JSON lacks, NaN and infinities, become null. `default` is that of json.dumps.
    """
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, default=default)
    except ValueError:
        text = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, default=default)
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda c: f"\\u{ord(c[0]):04x}", text)


def _finite(data):
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return list(map(_finite, data)) if isinstance(data, list | tuple) else data


def dot_label(text):
    r"""Text for an HTML-like label of Graphviz, which would replace \N, \G and others."""
    return escaped(text).replace("\\", "\\\\")


BACKSLASH = (
    "∖\u2060"  # U+2060 keeps Graphviz from reading it as an escape; `printable` leaves no other one
)


def dot_text(text):
    r"""Text for an attribute of Graphviz, as it stands. Its line breaks stay.

    Versions differ in how often they replace \\ by \, so another character stands in for it, which
    `graph.picture` replaces by a backslash.
    """
    return escaped(text, lines=True).replace("\\", BACKSLASH).replace("\n", r"\n")


def figure_text(text):
    """Text for matplotlib, which would read text between two $ as mathematics."""
    return printable(text).replace("$", r"\$")


# ---- pages -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """A script of a page. Strings from outside may be in it only by way of `embedded`."""

    text: str

    def __str__(self):
        return f"<script>{self.text}</script>"


@dataclass(frozen=True)
class Style:
    """A style sheet of a page."""

    text: str

    def __str__(self):
        return f"<style>{self.text}</style>"


def page(title, *parts):
    """An HTML page. The parts are HTML, a Script or a Style, or lists of such parts.

    Only a Script runs, and only a Style is applied: `style` and `on…` attributes do nothing.
    """
    parts = list(_flat(parts))
    policy = [
        "default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'",
        *_hashes("script-src", parts, Script), *_hashes("style-src", parts, Style),
    ]  # fmt: skip
    styles = [str(p) for p in parts if isinstance(p, Style)]
    return "\n".join([
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(policy)}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escaped(title)}</title>",
        *styles, *(str(p) for p in parts if not isinstance(p, Style)), "</html>\n",
    ])  # fmt: skip


def _flat(parts):
    for part in parts:
        if isinstance(part, list | tuple):
            yield from _flat(part)
        else:
            yield part


def _hashes(directive, parts, kind):
    texts = [p.text for p in parts if isinstance(p, kind)]
    digests = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in texts]
    return [" ".join([directive, *(f"'sha256-{d}'" for d in digests)])] if digests else []


def from_file(path, title, data, **values):
    """A page whose body is in a file, with its %words% replaced, all in one pass.

    `data` replaces %data%, and each of `values` its name between two %.
    """
    found = {name: escaped(value) for name, value in values.items()}
    found["data"] = data
    word = re.compile(f"%({'|'.join(found)})%")
    parts = re.split(r"<(style|script)>(.*?)</\1>", Path(path).read_text("utf-8"), flags=re.S)
    html_parts, kinds, texts = parts[::3], parts[1::3], parts[2::3]
    out = []
    for markup, kind, text in zip(html_parts, [*kinds, ""], [*texts, ""]):
        out.append(word.sub(lambda m: found[m[1]], markup).strip())
        if kind == "style":
            out.append(Style(word.sub(lambda m: found[m[1]], text)))
        elif kind:
            out.append(Script(text))
    return page(title, *filter(None, out))
