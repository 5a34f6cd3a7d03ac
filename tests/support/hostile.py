"""Strings that no page may be broken by, and every kind of page with them.

`ran()` is what a page must never call: the browser test defines it and looks. What a string looks
like on a page is written beside those of which not every character can be shown.
"""

import contextlib
import dataclasses
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
from places import program

import microtensor as mt
from microtensor import nn
from microtensor.autograd import op, registry
from models.cli import ladder, showing
from models.inside import embedding_view, token_view
from models.ladder.minigpt import MiniGPT, MiniGPTConfig
from models.text.tokenizers import ByteTokenizer, CharTokenizer

SHOWN = {
    # markup, and what ends it
    "<img src=x onerror=ran()>": None,
    "</script><script>ran()</script>": None,
    '"><svg onload=ran()>': None,
    "'><img src=x onerror='ran()'>": None,
    "<!--": None,
    "--><script>ran()</script>": None,
    "<!--<script>": None,
    "]]>": None,
    "<![CDATA[<script>ran()</script>]]>": None,
    "<iframe srcdoc='<script>ran()</script>'></iframe>": None,
    "<base href=//example.invalid/><link rel=stylesheet href=x.css>": None,
    "</title></svg><meta http-equiv=refresh content=0;url=//example.invalid>": None,
    "javascript:ran()": None,
    # entities
    "&#x3c;img src=x onerror=ran()&#x3e;": None,
    "&lt;b&gt; &amp; &nbsp; &foo; &#0;": None,
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>&e;': None,
    # templates
    "${ran()} `${ran()}`": None,
    "{{constructor.constructor('ran()')()}}": None,
    "BODY TITLE DRAWN": None,
    "%data% %title% %paper% %(name)s %s {0} {name}": None,
    "$BODY ${TITLE} $& $1 \\1 \\g<0>": None,
    # quotes and escapes
    "\"'`": None,
    "\\": None,
    'a"b\\" \\\\': None,
    "\\N \\l \\G \\E \\L \\T \\n": None,
    # what cannot be shown
    "a\nb\r\nc\td": "a↵b↵c d",
    "nul \0, bell \a, \x1b[31mred": "nul �, bell �, �[31mred",
    "alone: \ud800 and \udfff": "alone: � and �",
    "lines\u2028and\u2029paragraphs": "lines�and�paragraphs",
    "\u202etxt.exe\u202c \u2066x\u2069": "�txt.exe� �x�",
    "\ufeff \ufffe \uffff \U000e0001": "� � � �",
    # mathematics and Graphviz
    "$\\frac$": None,
    "$x^$ $$ $\\undefined{$": None,
    "<b>bold</b>|{left|right}<br/>": None,
    "<<table><tr><td>x</td></tr></table>>": None,
    '"];}digraph{a->b[label="': None,
    # style sheets
    "</style><style>*{display:none}</style>": None,
    "red;}*{background:url(http://example.invalid/x.png)}": None,
    "@import 'http://example.invalid/x.css';": None,
    # names of JavaScript's own
    "__proto__": None,
    "constructor": None,
    # other scripts, size, nothing
    "👩\u200d👩\u200d👧 🇺🇳 é": None,
    "שלום مرحبا": None,
    "long " + "x" * 3000: "long " + "x" * 34 + "…" + "x" * 40,  # where there is room for 80
    " ": None,
    "": None,
}
HOSTILE = list(SHOWN)
WRITABLE = [s for s in HOSTILE if s and "\ud800" not in s]  # what a tokenizer takes


def shown(text):
    """What is to be read of a string."""
    return text if SHOWN[text] is None else SHOWN[text]


def squeezed(text):
    """Text without its spaces, which are not what this is about."""
    return "".join(text.split())


@dataclasses.dataclass
class Page:
    """A page of a kind, and what must be read on it: in `texts`, or in a variable of its script."""

    kind: str
    html: str
    title: str | None = None
    texts: list = dataclasses.field(default_factory=list)
    variable: str = "[]"
    suffix: str = ".html"


def notebook(cells):
    """What a notebook makes of what is shown in its cells, HTML or SVG."""
    return f'<!doctype html><meta charset="utf-8">{"".join(f"<div>{c}</div>" for c in cells)}'


# ---- what has names ------------------------------------------------------------------------------


class Named(nn.Module):
    """Modules under names, one after the other: also those that add_module would refuse."""

    def __init__(self, names):
        super().__init__()
        for name in names:
            self._modules[name] = nn.Linear(2, 2)

    def forward(self, x):
        for module in self._modules.values():
            x = module(x)
        return x.sum()


@contextlib.contextmanager
def named_op(name):
    """An operation of that name, and what its docstring says is that, too."""

    def function(x):
        return x * 2, lambda g: g * 2

    function.__name__, function.__doc__ = name, f"{name}    ∂x = {name}"
    before = dict(registry)
    try:
        yield op(function)
    finally:
        registry.clear()
        registry.update(before)


def recorded(names, title="model"):
    model = Named([n for n in names if n])
    recorder = mt.Recorder(model, every=1)
    recorder.name = title
    for _ in range(2):
        loss = model(mt.ones(1, 2))
        loss.backward()
        recorder.step(loss)
    return recorder


def computed(texts):
    """(function, model, {name: tensor}): results, modules, operations and inputs called by texts.

    The function computes {name: result}.
    """
    model = Named([text for text in texts if text])
    inputs = {text: mt.ones(2, requires_grad=True) for text in texts}

    def function():
        x = mt.zeros(2)
        for text, t in inputs.items():
            with named_op(text or "op") as own:
                x = x + own(t)
        return {texts[-1]: model(x)}

    return function, model, inputs


def drawing(texts, title, fold=False):
    function, model, names = computed(texts)
    if fold:
        return mt.graph.draw(function, params=model, names=names, title=title, depth=1)
    how = {"view": "both", "values": True, "grads": True, "derivatives": True}
    return mt.graph.draw(function(), params=model, names=names, title=title, **how)


def film(texts, title):
    function, model, names = computed(texts)
    return mt.graph.film(function()[texts[-1]], params=model, names=names, title=title)


def groups(strings, size):
    return [strings[i : i + size] for i in range(0, len(strings), size)]


# ---- the pages of the library --------------------------------------------------------------------


def whole(text):
    """What is read where a string is not shortened."""
    return text if len(text) > 1000 else shown(text)


def library_pages(folder):
    """The Recorder's page, the explorer, the film, and what a notebook is given."""
    folder = Path(folder)

    def written(what, name):
        return mt.graph.render(what, folder / name).read_text("utf-8")

    path = recorded(HOSTILE, "all").save(folder / "all.html")
    yield Page("recorder", path.read_text("utf-8"), "all, recorded", [whole(s) for s in HOSTILE])
    reels, drawn, explained = [], [], []
    for text in HOSTILE:
        path = recorded([text or "m"], text).save(folder / "run.html")
        page = path.read_text("utf-8")
        yield Page("recorder", page, f"{whole(text)}, recorded", [whole(text)])
        page = written(drawing([text], text), "drawing.html")
        yield Page("explorer", page, whole(text) or "Graph", [shown(text)])
        reels.append(film([text], text))
        page, texts = written(reels[-1], "film.html"), [] if len(text) > 1000 else [shown(text)]
        yield Page("film", page, whole(text) or "Backpropagation, step by step", texts)
        with named_op(text or "op") as own:
            explained.append(mt.explain(own)._repr_html_())
    for group in groups(HOSTILE, 6):
        texts = [shown(s) for s in group]
        drawn.append(drawing(group, group[0], fold=True))
        yield Page("explorer", written(drawn[-1], "drawing.html"), whole(group[0]), texts)
        drawn.append(drawing(group, group[0]))
        yield Page("drawing", written(drawn[-1], "drawing.svg"), None, texts, suffix=".svg")
    for text, reel in list(zip(HOSTILE, reels))[::4]:
        texts = [shown(text)] if len(text) < 50 else []
        yield Page("frame of a film", written(reel, "film.svg"), None, texts, suffix=".svg")
    pictures = [d._repr_mimebundle_()["image/svg+xml"] for d in drawn]
    everything = [shown(s) for s in HOSTILE]
    yield Page("drawings in a notebook", notebook(pictures), None, everything)
    films = notebook([reel._repr_html_() for reel in reels])
    yield Page("films in a notebook", films, None, [s for s in everything if len(s) < 50])
    yield Page("explanations in a notebook", notebook(explained), None, list(map(whole, HOSTILE)))


# ---- the pages of models and demos ---------------------------------------------------------------


def table_film(labels):
    film = embedding_view.Film(labels)
    numbers = np.random.default_rng(0)
    for step in range(3):
        film.add(step, numbers.normal(size=(len(labels), 6)))
    return film


def model_pages():
    """Embeddings, tokens and the page that all demos share."""
    words = table_film(HOSTILE)
    page = embedding_view.as_page("Words", words)
    yield Page("embeddings", page, "Words", [whole(s) for s in HOSTILE], "data.labels")
    tokenizer = ByteTokenizer()
    views = [(s, token_view.pieces(tokenizer, s)) for s in WRITABLE]
    page = token_view.as_page("Tokens", views)
    yield Page("tokens", page, "Tokens", [whole(s) for s in WRITABLE])
    few = table_film(HOSTILE[:5])
    for text in HOSTILE[::5]:
        page = embedding_view.as_page(text, few, text)
        yield Page("embeddings", page, whole(text), [whole(text)])
    for text in HOSTILE:
        page = showing.page(
            text, showing.image(b"", text), showing.bars([(text, 0.5)], {text}),
            showing.spans([text], [0.5]), showing.film([showing.spans([text], [-1])]),
        )  # fmt: skip
        yield Page("page", page, whole(text), [whole(text)] * 4)


PICTURES = {"heat_map", "still", "animation", "grid"}  # which take longer than the pages


def demo_pages(folder, monkeypatch):
    """The demos' pages, for prompts of all strings, without the pictures. Needs matplotlib."""
    short = [s for s in WRITABLE if len(s) < 1000]
    tokenizer = CharTokenizer.from_text("\n".join(short))
    mt.manual_seed(0)
    config = MiniGPTConfig(tokenizer.vocab_size, 640, d_model=4, n_heads=1, n_layers=1)
    model = MiniGPT(config).eval()
    monkeypatch.setattr(showing, "trained_model", lambda args: (model, tokenizer))
    monkeypatch.setattr(showing, "png", lambda figure, dpi=0: b"a picture")
    monkeypatch.setattr(showing, "gif", lambda pictures, milliseconds: b"a film")
    monkeypatch.chdir(folder)
    for name, flags, file in (
        ("next_token", ["--auto", "0"], "next_token/next_token"),
        ("next_token", ["--compare"], "next_token/temperatures"),
        ("animate_attention", [], "attention/attention"),
        ("visualize_inference", [], "inference/inference"),
        ("visualize_inference", ["--logit-lens"], "inference/logit_lens"),
        ("visualize_inference", ["--saliency"], "inference/saliency"),
    ):
        module = program(name)
        for picture in PICTURES & vars(module).keys():
            as_bytes = name == "animate_attention"
            monkeypatch.setattr(module, picture, lambda *_, b=as_bytes: b"" if b else MagicMock())
        for group in groups(short, 12):
            prompt = "\n".join(group)
            assert module.main([*flags, "--length", "2", f"--prompt={prompt}"]) == 0
            page = Path("runs", f"{file}.html").read_text("utf-8")
            if file.endswith(("lens", "saliency", "attention")):  # token by token
                texts = ["".join(showing.visible_tokens(tokenizer, tokenizer.encode(prompt)))]
            else:
                texts = [shown(s).replace("↵", "") for s in group]
            yield Page(Path(file).name.replace("_", " "), page, None, texts)
    results = [ladder.Result(s, 1, 1.0, 2.0 + i, s) for i, s in enumerate(HOSTILE)]
    page = ladder.as_page(results, HOSTILE[0], b"a picture")
    yield Page("ladder", page, "The ladder", [whole(s) for s in HOSTILE if "\n" not in s])
