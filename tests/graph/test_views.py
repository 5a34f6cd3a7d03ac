"""Drawings of the way back: gradients on arrows, what stands out, one module in full, pages."""

import importlib
import json
import re

import numpy as np
import pytest
from cases import CASES

import microtensor as mt
from microtensor import nn
from microtensor.graph import describe, draw, fold, render, watch
from microtensor.graph.themes import THEMES, Theme
from models import MiniGPT, MiniGPTConfig

rendering = importlib.import_module("microtensor.graph.render")


def leaf(value, **kwargs):
    return mt.tensor(value, requires_grad=True, **kwargs)


def labels(source):
    """The words of every label in a DOT text, without their markup."""
    found = re.findall(r"label=<(.*?)>(?: [a-z]+=|\])", source)
    return [re.sub(r"<[^>]*>|&#160;", "", words) for words in found]


# ---- gradients on arrows ----------------------------------------------------------------


def test_what_flows_along_edges_is_what_the_pullbacks_gave():
    a, b = leaf([1.0, 2.0]), leaf(3.0)
    h = a * b
    loss = (h * h + a).sum()
    graph = describe(loss, names={"a": a, "b": b, "h": h}, flows=True)
    keys = {v.key: v.name for v in graph.vertices}
    flows = {}
    for e in graph.edges:
        flows.setdefault((keys[e.source], keys[e.target]), []).append(e.flow.tolist())
    # d loss / dh = 2 h in two halves; a gets one gradient through h and one of its own
    assert flows["mul", "mul"] == [[3.0, 6.0], [3.0, 6.0]]
    assert flows["a", "mul"] == [[18.0, 36.0]] and flows["a", "add"] == [[1.0, 1.0]]
    assert flows["b", "mul"] == [6.0 * 1.0 + 12.0 * 2.0]
    loss.backward()
    for name, t in {"a": a, "b": b}.items():
        total = sum(np.array(f) for (s, _), fs in flows.items() if s == name for f in fs)
        np.testing.assert_array_equal(total, t.grad.numpy())


def test_the_backward_view():
    x = leaf(3.0)
    y = x * x + x
    source = draw(y, view="backward").source
    assert source.count("dir=back") == source.count("->") == 5
    assert any("3 + 3 + 1 = 7" in words for words in labels(source))
    both = draw(y, view="both").source
    assert both.count("->") == 10 and both.count("dir=back") == 5
    assert "dir=back" not in draw(y, grads=True).source
    assert x.grad is None
    with pytest.raises(ValueError, match="view is forward, backward, both, not 'sideways'"):
        draw(y, view="sideways")


def test_where_tensors_meet_their_sum_is_told():
    x = leaf(np.ones((5, 5)))
    assert "Σ of 2 gradients, rms 1.34" in draw((x * x).sum() * 0.67, view="backward").source


def test_arrows_are_as_thick_as_gradients_are_large():
    x = leaf(1.0)
    widths = []
    for scale in (1e-5, 1e-2, 1.0, 10.0):
        source = draw(x * scale, view="backward").source
        (line,) = [line for line in source.splitlines() if line.strip().startswith("leaf0 ->")]
        widths.append(float(re.search(r"penwidth=([\d.]+)", line).group(1)))
    assert widths == sorted(set(widths))


@pytest.mark.parametrize(
    "kind, make, words",
    [
        ("vanishing", lambda x: x * 1e-9, "vanishing gradient"),
        ("exploding", lambda x: x * 1e9, "exploding gradient"),
        ("zero", lambda x: x * 0.0, "zero gradient"),
        ("nan", lambda x: (x - 1).sqrt(), "NaN or ∞ gradient"),
    ],
)
def test_what_stands_out(kind, make, words):
    x = leaf(1.0)
    color = THEMES["paper"].flows[kind]
    source = draw(make(x), view="backward").source
    (box,) = [line for line in source.splitlines() if line.strip().startswith("leaf0 [")]
    assert words in box and f'color="{color}"' in box and "penwidth" in box
    (arrow,) = [line for line in source.splitlines() if line.strip().startswith("leaf0 ->")]
    assert color in arrow
    header = next(line for line in source.splitlines() if "graph [label" in line)
    assert color in header and kind in header.lower()
    ordinary = draw(x * 2.0, view="backward").source
    assert color not in ordinary


def test_limits_can_be_given():
    x = leaf(1.0)
    y = x * 0.01
    assert "vanishing gradient" not in draw(y, view="backward").source
    assert "vanishing gradient" in draw(x * 0.01, view="backward", limits=(0.1, 1e3)).source
    assert "below 0.1" in draw(x * 0.01, view="backward", limits=(0.1, 1e3)).source


def test_a_parameter_that_no_gradient_reaches():
    @mt.op
    def first_for_views(a, b):
        return a + b, (lambda g: g, None)

    used, blocked, spare = leaf(1.0), leaf(2.0), leaf(3.0)
    params = {"used": used, "blocked": blocked, "spare": spare}
    graph = describe(first_for_views(used, blocked), params, grads=True)
    assert graph.unused == ["blocked", "spare"]
    source = draw(first_for_views(used, blocked), params, view="backward").source
    assert "no gradient reaches blocked, spare" in source
    (box,) = [line for line in source.splitlines() if "<b>blocked</b>" in line]
    assert "no gradient came" in box
    many = {f"p{i}": leaf(0.0) for i in range(50)}
    told = draw(used * 2, {"used": used, **many}).source
    assert "p39 and 10 more" in told and "p40" not in told


def test_local_derivatives():
    x, w = leaf(2.0), leaf(-3.0)
    y = (x * w).exp()
    forward = draw(y, derivatives=True)
    told = labels(forward.source)
    assert "-3".replace("-", "−") in told and "2" in told and "0.002479" in told
    told = labels(draw(y, derivatives=True, view="backward").source)
    assert "0.002479 × (−3) = −0.007436" in told and "1 × 0.002479 = 0.002479" in told
    assert labels(draw(mt.exp(leaf([1.0, 2.0])).sum(), derivatives=True).source)


def test_the_line_that_called_an_operation():
    def loss():
        x = leaf(2.0)
        return x.exp() * 3  # this very line

    source = draw(loss).source
    assert len(re.findall(r"test_views.py:\d+: return x.exp\(\) \* 3", source)) == 2
    y = leaf(2.0).log()
    assert "y = leaf(2.0).log()" in draw(y).source


def test_variables_of_a_function():
    def loss():
        hidden = leaf(2.0)
        out = hidden * 3
        return out.exp()

    source = draw(loss).source
    assert "<b>hidden</b>" in source and "<i>out</i>" in source


# ---- themes -----------------------------------------------------------------------------


def test_themes():
    x = leaf(1.0)
    for name, theme in THEMES.items():
        source = draw(x * 2, theme=name, view="backward", grads=True).source
        assert f'bgcolor="{theme.paper}"' in source and theme.gradient in source
        assert all(color in source for color in theme.roles["operation"])
    mine = Theme(**{**vars(THEMES["dark"]), "paper": "#000001"})
    assert 'bgcolor="#000001"' in draw(x * 2, theme=mine).source
    with pytest.raises(ValueError, match="paper, slides, dark or a Theme, not 'pink'"):
        draw(x * 2, theme="pink")


# ---- one module in full -----------------------------------------------------------------

CONFIG = MiniGPTConfig(vocab_size=11, context_length=6, d_model=8, n_heads=2, n_layers=4)


@pytest.fixture(scope="module")
def gpt():
    mt.manual_seed(0)
    model = MiniGPT(CONFIG)
    idx = mt.randint(0, CONFIG.vocab_size, (2, 5))
    with watch(model) as calls:
        _, loss = model(idx, idx)
    return model, describe({"loss": loss}, model, names={"idx": idx}, calls=calls, flows=True)


def test_one_module_in_full(gpt):
    model, graph = gpt
    whole = len(graph.vertices)
    graph = fold(graph, 1, "blocks.1.attention")
    boxes = [(v.name, v.count) for v in graph.vertices if v.role == "module"]
    assert boxes == [
        ("token_embedding", 1), ("position_embedding", 1), ("blocks.0", 1),
        ("blocks.1.norm_1", 1), ("blocks.1.norm_2", 1), ("blocks.1.mlp", 1), ("blocks.2", 2),
        ("norm", 1), ("head", 1),
    ]  # fmt: skip
    inside = {v.name for v in graph.vertices if v.role == "parameter" and len(v.calls) > 1}
    names = {n for n, _ in model.named_parameters() if n.startswith("blocks.1.attention.")}
    assert inside == names
    assert len(graph.vertices) < whole
    inside = fold(gpt[1], 0, "head")
    assert {v.name for v in inside.vertices if v.role == "parameter"} >= {"head.weight"}
    with pytest.raises(ValueError, match="no module 'blocks.7' was called; there are blocks"):
        fold(gpt[1], 1, "blocks.7")


def test_gradients_into_a_folded_module_are_summed(gpt):
    _, graph = gpt
    folded = fold(graph, 1)
    keys = {v.key: v for v in folded.vertices}
    into = [e for e in folded.edges if keys[e.target].name == "blocks.0"]
    (e,) = into  # through the norm and past it, by the residual
    source = keys[e.source]
    np.testing.assert_allclose(e.flow, source.outputs[e.output].flow, rtol=1e-5)


def test_repeats_keep_their_gradients_apart(gpt):
    _, graph = gpt
    folded = fold(graph, 1)
    keys = {v.key: v.name for v in folded.vertices}
    (e,) = [e for e in folded.edges if keys[e.target] == "norm"]
    plain = {v.key: v for v in graph.vertices}
    into_norm = [f for f in graph.edges if [c.path for c in plain[f.target].calls] == ["", "norm"]]
    (last,) = [f for f in into_norm if plain[f.source].role == "operation" and f.input == "x"]
    np.testing.assert_array_equal(e.flow, last.flow)


# ---- pages ------------------------------------------------------------------------------


def data(path):
    text = path.read_text("utf-8")
    assert not re.search(r"<script[^>]+src|<link|@import|url\(http", text)
    return json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.S).group(1))


def test_a_page_that_unfolds(tmp_path):
    mt.manual_seed(0)
    model, idx = MiniGPT(CONFIG), mt.zeros(1, 5, dtype=mt.int64)
    drawing = draw(lambda: {"loss": model(idx, idx)[1]}, params=model, depth=1, theme="dark")
    page = data(render(drawing, tmp_path / "gpt.html"))
    states = {(p["depth"], p["opened"]): p for p in page["pictures"]}
    assert page["depths"] == ["0", "1", "2", "3", "all"]
    assert (page["pictures"][page["now"]]["depth"], page["now"]) == ("1", 1)
    assert {("1", "blocks.0"), ("1", "head"), ("2", "blocks.0.attention")} <= set(states)
    assert all(p["svg"].startswith("<svg") and p["svg"].rstrip().endswith("</svg>")
               for p in states.values())  # fmt: skip
    boxes = states["1", ""]["modules"]
    embeddings = {"token_embedding", "position_embedding"}
    assert set(boxes.values()) == {*embeddings, "blocks.0", "norm", "head"}
    for key in boxes:
        assert f"<title>{key}</title>" in states["1", ""]["svg"]
    assert "blocks.3.attention" not in states["1", "blocks.0"]["svg"]


def test_pages_of_other_drawings(tmp_path):
    x = leaf(1.0)
    page = data(render(draw(x.exp(), title="</script><b>"), tmp_path / "x.html"))
    assert len(page["pictures"]) == 1 and page["depths"] == []
    assert "xlink:title=" in page["pictures"][0]["svg"]  # what the mouse is told
    page = data(render("digraph { a -> b }", tmp_path / "y.html"))
    assert "<title>a</title>" in page["pictures"][0]["svg"]


def test_a_page_without_a_renderer_is_the_text(tmp_path, monkeypatch):
    def missing(kind):
        raise rendering.NoRenderer("install something")

    monkeypatch.setattr(rendering, "renderer", missing)
    with pytest.warns(UserWarning, match="install something.*x.dot instead of x.html"):
        path = render(draw(leaf(1.0).exp()), tmp_path / "x.html")
    assert path.read_text("utf-8").startswith("digraph")


# ---- edge cases -------------------------------------------------------------------------


def test_integers_and_no_grad():
    table, index = leaf([[1.0, 2.0], [3.0, 4.0]]), mt.tensor([1, 0, 1])
    with mt.no_grad():
        offset = table.sum()
    source = draw(nn.functional.embedding(index, table).sum() * offset, view="both").source
    assert source.count("style=dashed") >= 2 and "int64" in source


def test_views_and_changes_in_place():
    a = leaf(np.arange(6.0).reshape(2, 3))
    x = a * 1
    row = x[0]
    row *= 2
    loss = (x.mT @ x).sum()
    graph = describe(loss, names={"a": a}, grads=True)
    loss.backward()
    shown = next(v for v in graph.vertices if v.name == "a").outputs[0]
    np.testing.assert_array_equal(shown.grad, a.grad.numpy())
    assert draw(leaf(1.0) * 1, view="backward").source


def test_large_tensors_are_summed_up():
    x = leaf(np.full((100, 100), 0.5))
    source = draw((x * x).sum(), view="backward", values=True, grads=True).source
    assert "rms 0.5" in source and len(source) < 10_000


def test_empty_tensors():
    x = leaf(np.zeros((0, 3)))
    assert "zero gradient" in draw(x.sum(), view="backward").source


@pytest.mark.parametrize("case", [c for c in CASES if c.differentiable], ids=lambda c: c.id)
def test_every_operation(case):
    """What is drawn of an operation is what backward makes of it, to the last bit."""
    inputs = case.tensors(requires_grad=True)
    results = [t if t.grad_fn else t * 1 for t in case(mt, *inputs) if t.requires_grad]
    seeds = [mt.randn(*t.shape, dtype=t.dtype) for t in results]
    leaves = {f"x{i}": t for i, t in enumerate(inputs) if getattr(t, "requires_grad", False)}
    graph = describe(results, names=leaves, gradient=seeds, flows=True, derivatives=True)
    assert draw(results, view="both", derivatives=True, gradient=seeds).source
    mt.autograd.backward(results, seeds)
    shown = {v.name: v.outputs[0].flow for v in graph.vertices if v.name in leaves}
    for name, g in shown.items():
        assert (g is None) == (leaves[name].grad is None)
        if g is not None:
            np.testing.assert_array_equal(g, leaves[name].grad.numpy())
