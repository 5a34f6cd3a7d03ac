"""Pages and pictures with any string in them: what is chosen is text, and never markup."""

import base64
import hashlib
import html
import json
import re
import shutil
import sys
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import graphviz
import places
import pytest
from hostile import (
    HOSTILE,
    WRITABLE,
    demo_pages,
    drawing,
    film,
    library_pages,
    model_pages,
    named_op,
    recorded,
    shown,
    squeezed,
    table_film,
)

import microtensor as mt
from microtensor.graph import THEMES, canvas, render
from microtensor.utils import pages
from microtensor.utils.pages import Script, Style, dot_text, embedded, escaped, figure_text, page
from models.cli import ladder, showing
from models.inside import embedding_view, token_view
from models.text.tokenizers import ByteTokenizer
from models.training import reporting

rendering = sys.modules["microtensor.graph.render"]

# ---- strings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_string_is_itself_but_for_what_cannot_be_shown(text):
    assert pages.brief(text) == shown(text)
    assert html.unescape(escaped(text)) == pages.printable(text)
    assert not re.search("[<>\"']", escaped(text))
    assert ET.fromstring(f'<a b="{escaped(text)}">{escaped(text)}</a>').text in (
        pages.printable(text) or None,
    )
    data = embedded({text: [text]})
    assert json.loads(data) == {text: [text]} and not re.search("[<>&\u2028\u2029]", data)
    data.encode()
    assert "\n" not in dot_text(text) and '"' not in dot_text(text)


def test_every_character_can_be_written():
    text = "".join(map(chr, range(0x110000)))
    for lines in False, True:
        ET.fromstring(f"<a>{escaped(text, lines)}</a>".encode())
    seen = pages.printable(text)
    assert not re.search("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", seen)
    assert pages.printable("a\tb\r\nc", lines=True) == "a\tb\nc"


def test_numbers_that_json_has_not_are_null():
    nan = float("nan")
    assert json.loads(embedded({"a": [nan, 1.5, (float("inf"), "b")]})) == {
        "a": [None, 1.5, [None, "b"]]
    }


# ---- pages ---------------------------------------------------------------------------------------


class Read(HTMLParser):
    """What a browser makes of a page: its elements, its policy, its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.policies, self.words, self.inline = [], [], [], []
        self.inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append((tag, given))
        if given.get("http-equiv"):
            self.policies.append((given["http-equiv"], given["content"]))
        if tag in ("script", "style"):
            self.inside = tag, given
            self.inline.append([tag, given.get("type"), ""])

    def handle_endtag(self, tag):
        if self.inside and self.inside[0] == tag:
            self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.inline[-1][2] += data
        else:
            self.words.append(data)


OURS = set(
    "html meta title style script h1 h2 p div span small b br nav button input output select "
    "option main section aside label svg canvas table tr td th img".split()
)


def has_a_policy(text):
    """Check a page: its policy comes first, and lets through its own scripts and styles alone."""
    read = Read(text)
    assert [name for name, _ in read.policies] == ["Content-Security-Policy"]
    assert [tag for tag, _ in read.tags[:3]] == ["html", "meta", "meta"]
    policy = dict(rule.split(" ", 1) for rule in read.policies[0][1].split("; "))
    assert policy["default-src"] == "'none'" and policy["img-src"] == "data:"
    assert "unsafe" not in read.policies[0][1]
    for tag, kind, content in read.inline:
        if kind == "application/json":
            json.loads(content, parse_constant=pytest.fail)
        else:
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy[f"{tag}-src"]
    for tag, attributes in read.tags:
        assert tag in OURS
        wrong = {n for n in attributes if n.startswith("on") or n in ("style", "href", "srcdoc")}
        assert not wrong and attributes.get("src", "data:").startswith("data:")
    return read


def looked_at(found):
    """Check pages, and count them by kind."""
    counts = {}
    for each in found:
        counts[each.kind] = counts.get(each.kind, 0) + 1
        if each.suffix == ".svg":
            harmless(each.html)
        elif "notebook" not in each.kind:
            read = has_a_policy(each.html)
            if each.kind in ("page", "tokens", "ladder"):  # those that no script writes
                for text in each.texts:
                    assert squeezed(text) in squeezed("".join(read.words))
        else:
            for tag, attributes in Read(each.html).tags:
                assert tag not in {"script", "img", "link", "base", "object", "embed", "style"}
                assert not [n for n in attributes if n.startswith("on") or n.endswith("href")]
    return counts


def harmless(svg):
    """Check a picture: well-formed, nothing in it runs or fetches."""
    assert "<?xml-stylesheet" not in svg
    for element in ET.fromstring(svg.encode()).iter():
        assert element.tag.rpartition("}")[2] in (
            "svg", "g", "title", "text", "a", "path", "polygon", "polyline", "ellipse", "rect",
        )  # fmt: skip
        assert not [n for n in element.attrib if n.startswith("on") or n.endswith("href")]


@pytest.mark.skipif(not shutil.which("dot"), reason="explorers of many graphs need Graphviz")
def test_the_pages_of_the_library(tmp_path):
    counts = looked_at(library_pages(tmp_path))
    assert counts["recorder"] == len(HOSTILE) + 1 and counts["film"] == len(HOSTILE)


def test_the_pages_of_models():
    assert looked_at(model_pages())["page"] == len(HOSTILE)


def test_the_pages_of_demos(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    assert len(looked_at(demo_pages(tmp_path, monkeypatch))) == 7


def test_only_what_is_given_as_a_script_may_run():
    text = page("a", Style("p {}"), "<script>mistake()</script>", [Script("one()"), Script("2")])
    with pytest.raises(AssertionError):
        has_a_policy(text)
    ((_, policy),) = Read(text).policies
    assert policy.count("sha256-") == 3
    assert "script-src" not in page("no scripts") and "style-src" not in page("no styles")


def test_words_of_templates_are_replaced_once(tmp_path):
    file = tmp_path / "file.html"
    file.write_text("<style>a { color: %ink% }</style><b>%name% 100%; 5%</b>%data%")
    text = pages.from_file(file, "%ink%", '"%name%"', ink="red", name="%data% %ink%")
    assert "<title>%ink%</title>" in text and "<b>%data% %ink% 100%; 5%</b>" in text
    assert '\n"%name%"\n' not in text and '"%name%"' in text and "a { color: red }" in text


def test_the_colours_of_a_theme_are_colours():
    assert replace(THEMES["paper"], paper="white", ink="#abc").paper == "white"
    for text in HOSTILE:
        if text != "constructor":  # which could be one
            with pytest.raises(ValueError, match="Theme: paper is made of colours"):
                replace(THEMES["paper"], paper=text)
            with pytest.raises(ValueError, match="Theme: roles is made of colours"):
                roles = {**THEMES["paper"].roles, "input": (text, "#fff")}
                replace(THEMES["paper"], roles=roles)


# ---- pictures ------------------------------------------------------------------------------------

PROGRAMS = [p for p in ("dot", "graphviz-pure") if shutil.which(p)]
if not PROGRAMS or "graphviz-pure" not in PROGRAMS:
    PROGRAMS.append("beside")


@pytest.fixture(params=PROGRAMS)
def program(request, monkeypatch):
    """Each program that draws."""
    if request.param == "beside":  # graphviz-pure of this Python
        which = shutil.which
        monkeypatch.setattr(shutil, "which", lambda p, path=None: which(p, path=path)
                            if p != "dot" else None)  # fmt: skip
    else:
        path = shutil.which(request.param)
        monkeypatch.setattr(rendering, "renderer", lambda kind: path)


def test_names_of_any_kind_are_drawn(program, tmp_path):
    for fold in False, True:
        drawn = drawing(HOSTILE, "all", fold)
        svg = render(drawn, tmp_path / "all.svg").read_text("utf-8")
        harmless(svg)
        written = squeezed("".join(ET.fromstring(svg.encode()).itertext()))
        told = squeezed("".join(v for e in ET.fromstring(svg.encode()).iter()
                                for n, v in e.attrib.items() if n.endswith("title")))  # fmt: skip
        for text in HOSTILE:
            assert squeezed(shown(text)) in written and squeezed(shown(text)) in told
    small = drawing(HOSTILE[:12], HOSTILE[24])
    assert render(small, tmp_path / "few.png").read_bytes().startswith(b"\x89PNG")
    assert render(small, tmp_path / "few.dot").read_text("utf-8")


def test_links_of_a_drawing_only_lead_somewhere(program):
    """Graphviz's own attributes for links: what runs or fetches is not written."""
    for attribute, kept in (
        ('URL="javascript:alert(1)"', False), ('href="&#106;avascript:alert(1)"', False),
        ('URL="https://example.org/"', True), ('URL="#here"', True),
        ('URL="data:text/html,x"', False),
    ):  # fmt: skip
        svg = mt.graph.picture(f'digraph {{ a [{attribute}, label="href=x"] }}').decode()
        links = [v for e in ET.fromstring(svg).iter() for n, v in e.attrib.items()
                 if n.endswith("href")]  # fmt: skip
        assert (len(links) == 1) is kept and "href=x" in svg
    for text in HOSTILE:
        drawn = mt.graph.draw(mt.ones(2, requires_grad=True).sum(), comment=text, label=text)
        harmless(mt.graph.picture(drawn.source).decode())
        source = f"digraph {{ graph [stylesheet={graphviz.quoting.quote(dot_text(text))}] a }}"
        assert "<?xml-stylesheet" not in mt.graph.picture(source).decode()
    for name in "URL", "href", "stylesheet":
        with pytest.raises(ValueError, match=f"takes no {name}"):
            mt.graph.draw(mt.ones(2, requires_grad=True).sum(), **{name: "x"})


def test_films_are_painted(tmp_path):
    pytest.importorskip("PIL")
    shapes = [canvas.text(5, 12 * i, text, 10, "#000") for i, text in enumerate(HOSTILE)]
    assert canvas.paint(shapes, 200, 600, "white").getcolors(1 << 24)
    harmless(canvas.svg(shapes, 200, 600, "white"))
    reel = film([HOSTILE[26], HOSTILE[27]], HOSTILE[0])
    assert render(reel, tmp_path / "film.png").read_bytes().startswith(b"\x89PNG")
    assert render(reel, tmp_path / "film.gif").read_bytes().startswith(b"GIF89a")


def test_matplotlib_writes_every_string(tmp_path):
    pytest.importorskip("matplotlib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert recorded(HOSTILE, HOSTILE[31]).save(tmp_path / "run.png").stat().st_size > 1000
        assert embedding_view.before_and_after(table_film(HOSTILE)).startswith(b"\x89PNG")
        views = [(text, token_view.pieces(ByteTokenizer(), text[:200])) for text in WRITABLE]
        assert token_view.drawn(views).startswith(b"\x89PNG")
        for text in HOSTILE[::9]:
            reporting.draw_losses([1.0, 2.0], [[1, 1.0]], tmp_path / "loss.png", pages.brief(text))
        results = [ladder.Result(s[:40], 1, 1.0, 2.0 + i, s) for i, s in enumerate(HOSTILE)]
        assert showing.png(ladder.drawn(results, HOSTILE[31])).startswith(b"\x89PNG")
        texts = [showing.visible(s)[:12] for s in HOSTILE]
        look = places.program("visualize_inference")
        assert showing.png(look.grid([texts, texts], [[0.5] * len(texts)] * 2, ["$a$", "$\\frac$"]))


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_dollar_is_a_dollar(text):
    text_of = pytest.importorskip("matplotlib.text").Text
    found, is_math = text_of()._preprocess_math(figure_text(text))
    assert not is_math and found == pages.printable(text)


# ---- notebooks -----------------------------------------------------------------------------------


def test_markdown_of_an_explanation():
    for text in WRITABLE[:-1]:
        with named_op(text) as own:
            words = mt.explain(own)._repr_markdown_()
        heading = words.partition("\n")[0]
        plain = re.sub("`[^`]+`", "", heading)  # what is not code
        assert not re.search(r"[<&$]", re.sub(r"\\.", "", plain))
        if "`" not in text:
            assert re.sub(r"\\(.)", r"\1", heading) == f"## {pages.printable(own.op_name)}"
    fenced = sys.modules["microtensor.graph.explain"]._fenced
    assert fenced("```") == "````python\n```\n````"


def test_a_film_without_a_renderer_is_text(monkeypatch):
    def none(kind):
        raise rendering.NoRenderer("<b>install</b> something")

    monkeypatch.setattr(sys.modules["microtensor.graph.film"], "renderer", none)
    for text in HOSTILE[:6]:
        tags = {tag for tag, _ in Read(film([text], text)._repr_html_()).tags}
        assert tags == {"p", "pre"}


def test_pictures_are_bytes_of_the_page():
    shown = showing.image(b"\0<", '"a')
    assert base64.b64decode(re.search('base64,(.*?)"', shown)[1]) == b"\0<" and "&quot;a" in shown
