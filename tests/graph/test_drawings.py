"""Drawings of graphs: the description, folding by module, the DOT text, and how it is rendered."""

import importlib
import os
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from places import DEMOS

import microtensor as mt
from microtensor import nn
from microtensor.graph import Drawing, describe, draw, fold, render, watch
from models import MiniGPT, MiniGPTConfig

rendering = importlib.import_module("microtensor.graph.render")  # `render` is its function


def leaf(value, **kwargs):
    return mt.tensor(value, requires_grad=True, **kwargs)


def vertex(graph, name):
    (found,) = [v for v in graph.vertices if v.name == name]
    return found


def wires(graph):
    """The edges by the names of what they connect, so that a test can be read."""
    names = {v.key: v.name for v in graph.vertices}
    return sorted((names[e.source], names[e.target]) for e in graph.edges)


@pytest.fixture
def neuron():
    x, w, b = mt.tensor(2.0), leaf(0.5), leaf(0.25)
    y = mt.tanh(x * w + b)
    return {"x": x, "w": w, "b": b, "y": y}


# ---- the description ------------------------------------------------------------------


def test_a_neuron(neuron):
    graph = describe(neuron["y"], names=neuron)
    assert wires(graph) == [
        ("add", "tanh"), ("b", "add"), ("mul", "add"), ("tanh", "y"), ("w", "mul"), ("x", "mul"),
    ]  # fmt: skip
    assert [(v.role, v.name) for v in graph.vertices] == [
        ("input", "x"), ("parameter", "w"), ("operation", "mul"), ("parameter", "b"),
        ("operation", "add"), ("operation", "tanh"), ("result", "y"),
    ]  # fmt: skip
    edge = next(e for e in graph.edges if e.source == vertex(graph, "x").key)
    assert not edge.needs_grad and edge.input == "a"
    assert sum(not e.needs_grad for e in graph.edges) == 1
    assert vertex(graph, "tanh").derivative == "∂x = g (1 − tanh² x)"


def test_a_value_used_twice_is_one_vertex():
    x = leaf([1.0, 2.0])
    graph = describe((x * x).sum(), names={"x": x})
    assert wires(graph) == [("mul", "sum"), ("sum", "result"), ("x", "mul"), ("x", "mul")]


def test_numbers_stand_on_the_operation():
    x = leaf([[1.0, 2.0]])
    y = (1 - x) * 2.5
    z = y.sum(dim=-1, keepdim=True).clamp(min=0.0)
    graph = describe(z, names={"x": x})
    assert [v.name for v in graph.vertices if v.role == "input"] == []
    assert vertex(describe(x * np.float32(3)), "mul").constants == {"b": 3.0}
    assert vertex(graph, "sub").constants == {"a": 1}
    assert vertex(graph, "mul").constants == {"b": 2.5}
    assert vertex(graph, "sum").arguments == {"dim": "-1", "keepdim": "True"}
    source = draw(z, names={"x": x}).source
    assert ">1 −<" in source and ">× 2.5<" in source and "dim=-1, keepdim=True" in source


def test_index_arguments_are_brief():
    x = leaf(np.zeros((4, 5)))
    graph = describe(x[1:3, None, ..., ::2].sum())
    assert vertex(graph, "getitem").arguments == {"index": "(1:3, None, …, ::2)"}


def test_shapes_dtypes_and_several_results():
    x = leaf(np.zeros((3, 2)), dtype=mt.float64)
    a, b, c = x.unbind(0)
    graph = describe(a.sum() + c.sum(), names={"x": x, "c": c})
    parts = vertex(graph, "unbind").outputs
    assert [p.shape for p in parts] == [(2,)] * 3
    assert [p.name for p in parts] == ["", "", "c"]
    assert vertex(graph, "x").outputs[0].shape == (3, 2)
    assert vertex(graph, "x").outputs[0].dtype == "float64"
    assert "3 × (2,) float64" in draw(a.sum() + b.sum() + c.sum()).source
    assert sorted(e.output for e in graph.edges if e.source == vertex(graph, "unbind").key) == [
        0,
        2,
    ]


def test_params_decide_which_leaves_are_parameters():
    w, x, v = leaf(2.0), leaf(3.0), leaf(4.0)
    graph = describe(w * x, params={"layer.w": w, "layer.v": v}, names={x: "x"})
    assert vertex(graph, "layer.w").role == "parameter"
    assert vertex(graph, "x").role == "input"
    assert graph.unused == ["layer.v"]
    assert "no gradient reaches layer.v" in draw(w * x, params={"layer.w": w, "layer.v": v}).source


def test_names_of_modules_win_over_variables_and_lose_to_the_given_ones():
    model = nn.Linear(2, 1)
    weight = model.weight  # a variable of this function
    x = mt.ones(1, 2)
    source = draw(model(x).sum(), params={"layer.weight": weight}).source
    assert "<b>layer.weight</b>" in source and "<b>x</b>" in source
    source = draw(model(x).sum(), params=model, names={weight: "W"}).source
    assert "<b>W</b>" in source and "<b>bias</b>" in source and "<b>x</b>" not in source


def test_the_callers_variables_lend_their_names():
    a, b, _hidden = leaf(1.0), leaf(2.0), leaf(3.0)
    c = a * b
    total = c + _hidden
    source = draw(total).source
    assert all(f"<b>{name}</b>" in source for name in ("a", "b", "total"))
    assert "<i>c</i>" in source and "<b>_hidden" not in source
    assert "<b>a</b>" not in draw(total, names={}).source


def test_several_outputs():
    x = leaf([1.0, 2.0])
    graph = describe({"sum": x.sum(), "product": x.prod()}, names={"x": x})
    assert [v.name for v in graph.vertices if v.role == "result"] == ["sum", "product"]
    assert len([v for v in graph.vertices if v.name == "x"]) == 1
    assert [v.key for v in describe([x.sum(), x.exp()]).vertices if v.role == "result"] == [
        "result0", "result1",
    ]  # fmt: skip


def test_an_operation_of_the_user():
    @mt.op
    def triple_for_graph(x):
        return 3 * x, lambda g: 3 * g

    x = leaf([1.0])
    graph = describe(triple_for_graph(x), values=True, grads=True)
    v = vertex(graph, "triple_for_graph")
    assert (v.signature, v.formula, v.derivative) == ("triple_for_graph(x)", "", "")
    assert v.outputs[0].data == [3.0]


def test_a_long_chain():
    x = total = leaf(1.0)
    for _ in range(10_000):
        total = total * 1.0
    graph = describe(total, grads=True, values=True)
    assert len(graph.vertices) == 10_002 and vertex(graph, "result").outputs[0].data == 1.0
    assert draw(total).source.count("->") == 10_001
    assert x.grad is None


# ---- values and gradients ---------------------------------------------------------------


def test_values_and_gradients_are_the_real_ones():
    mt.manual_seed(0)
    x = mt.randn(3, 2)
    w, b = mt.randn(4, 2).requires_grad_(), mt.zeros(4, requires_grad=True)
    h = mt.tanh(x @ w.T + b)
    h.retain_grad()
    loss = (h**2).mean()
    graph = describe(loss, names={"w": w, "b": b, "x": x, "h": h}, values=True, grads=True)
    assert w.grad is None and b.grad is None and h.grad is None
    loss.backward()
    for name, t in {"w": w, "b": b}.items():
        shown = vertex(graph, name).outputs[0]
        np.testing.assert_array_equal(shown.data, t.detach().numpy())
        np.testing.assert_array_equal(shown.grad, t.grad.numpy())
    shown = vertex(graph, "tanh").outputs[0]
    assert shown.name == "h"
    np.testing.assert_array_equal(shown.grad, h.grad.numpy())
    assert vertex(graph, "x").outputs[0].grad is None
    result = vertex(graph, "result").outputs[0]
    assert result.data == loss.item() and result.grad == 1.0


def test_gradients_that_were_there_stay():
    w = leaf([1.0, 2.0])
    h = w * 3
    h.retain_grad()
    loss = (h * h).sum()
    loss.backward(retain_graph=True)
    before = w.grad.tolist(), h.grad.tolist()
    for _ in range(2):
        draw(loss, values=True, grads=True)
    assert (w.grad.tolist(), h.grad.tolist()) == before
    loss.backward()  # and retain_grad is still in force
    assert h.grad.tolist() == [2 * g for g in before[1]]


def test_only_small_tensors_show_their_numbers():
    x = leaf(np.arange(20.0))
    names = {"x": x}
    assert vertex(describe(x.sum(), names=names, values=True), "x").outputs[0].data is None
    assert vertex(describe(x.sum(), names=names, values=20), "x").outputs[0].data.shape == (20,)
    graph = describe(x.sum(), names=names, grads=20)
    assert vertex(graph, "x").outputs[0].grad.tolist() == [1.0] * 20
    assert vertex(graph, "x").outputs[0].data is None


def test_numbers_are_copies():
    x = leaf([1.0])
    graph = describe(x * 1, names={"x": x}, values=True)
    with mt.no_grad():
        x += 1
    assert vertex(graph, "x").outputs[0].data == [1.0]


def test_the_gradient_of_an_output_of_several_elements_is_given():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match="pass a gradient"):
        draw(x * 3, grads=True)
    y = x * 3
    graph = describe(y, names={"x": x}, grads=True, gradient=mt.tensor([1.0, 10.0]))
    assert vertex(graph, "x").outputs[0].grad.tolist() == [3.0, 30.0]


@pytest.mark.parametrize(
    "value, shown",
    [
        (0.5, "0.5"), (-0.0, "0"), (-1.23456, "−1.235"), (float("nan"), "nan"),
        (float("-inf"), "−∞"), (1e-9, "1e−09"), (123456.0, "1.235e+05"),
    ],
)  # fmt: skip
def test_how_numbers_are_written(value, shown):
    x = leaf(value, dtype=mt.float64)
    assert f">{shown}</font>" in draw(x * 1, values=True).source


def test_changes_in_place_are_followed():
    a, b = leaf([1.0, 2.0, 3.0]), leaf(2.0)
    x = a * 1
    x += b
    x[0] = 5.0
    loss = (x * x).sum()
    graph = describe(loss, names={"a": a, "x": x}, values=True, grads=True)
    assert wires(graph) == [
        ("", "add"), ("a", "mul"), ("add", "setitem"), ("mul", "add"), ("mul", "sum"),
        ("setitem", "mul"), ("setitem", "mul"), ("sum", "result"),
    ]  # fmt: skip
    setitem = vertex(graph, "setitem").outputs[0]
    assert setitem.name == "x" and setitem.data.tolist() == [5.0, 4.0, 5.0]
    assert vertex(graph, "a").outputs[0].grad.tolist() == [0.0, 8.0, 10.0]


def test_the_graph_of_a_gradient():
    x = leaf(2.0)
    (g,) = mt.autograd.grad(x**3, x, create_graph=True)
    graph = describe(g, names={"x": x}, grads=True)
    assert vertex(graph, "x").outputs[0].grad == 12.0


# ---- what cannot be drawn ---------------------------------------------------------------


def test_a_freed_graph_is_an_error():
    x = leaf(2.0)
    y = x.exp()
    y.backward()
    with pytest.raises(RuntimeError, match=r"exp was freed.*retain_graph=True"):
        draw(y)


def test_errors():
    x = leaf(2.0)
    with pytest.raises(RuntimeError, match="no graph"):
        draw(x.detach() * 2)
    with pytest.raises(RuntimeError, match="no graph"):
        draw(x)
    with pytest.raises(TypeError, match="got float"):
        draw([3.0])
    with pytest.raises(ValueError, match="LR, RL, TB or BT, not 'left'"):
        draw(x * 2, direction="left")
    with pytest.raises(ValueError, match="draw\\(lambda: model"):
        draw(x * 2, depth=1)


# ---- folding by module ------------------------------------------------------------------

CONFIG = MiniGPTConfig(vocab_size=11, context_length=6, d_model=8, n_heads=2, n_layers=4)


@pytest.fixture
def gpt():
    mt.manual_seed(0)
    model = MiniGPT(CONFIG)
    idx = mt.randint(0, CONFIG.vocab_size, (2, 5))
    with watch(model) as calls:
        _, loss = model(idx, idx)
    return model, describe({"loss": loss}, model, names={"idx": idx}, calls=calls)


def test_minigpt_at_depth_one(gpt):
    model, graph = gpt
    graph = fold(graph, 1)
    modules = [v for v in graph.vertices if v.role == "module"]
    assert [(v.name, v.kind, v.count) for v in modules] == [
        ("token_embedding", "Embedding", 1),
        ("position_embedding", "Embedding", 1),
        ("blocks.0", "Block", 4),
        ("norm", "LayerNorm", 1),
        ("head", "Linear", 1),
    ]
    size = sum(p.numel() for p in model.parameters())
    assert sum(v.parameters * v.count for v in modules) == size
    assert [v for v in graph.vertices if v.role == "parameter"] == []
    assert vertex(graph, "idx").role == "input"
    found = wires(graph)
    for wire in (
        ("idx", "token_embedding"), ("token_embedding", "add"), ("position_embedding", "add"),
        ("add", "blocks.0"), ("blocks.0", "norm"), ("norm", "head"),
    ):  # fmt: skip
        assert found.count(wire) == 1, wire
    assert not any(source == target for source, target in found)


def test_minigpt_at_depth_two(gpt):
    _, graph = gpt
    graph = fold(graph, 2)
    inside = [v for v in graph.vertices if v.calls and v.calls[-1].path.startswith("blocks")]
    assert [v.name for v in inside if v.role != "input"] == [
        "blocks.0.norm_1", "blocks.0.attention", "add", "blocks.0.norm_2", "blocks.0.mlp", "add",
    ]  # fmt: skip
    assert [(call.path, n) for call, n in graph.repeats.items()] == [("blocks.0", 4)]
    assert vertex(graph, "norm").role == "module"  # it calls no other module
    adds = [v.key for v in inside if v.name == "add"]
    into = [e for e in graph.edges if e.target == adds[0]]
    assert len(into) == 2 and not any(e.source == adds[1] for e in into)


def test_minigpt_in_full(gpt):
    model, graph = gpt
    names = {v.name for v in graph.vertices if v.role == "parameter"}
    assert names == {name for name, _ in model.named_parameters()}
    embedding = next(v for v in graph.vertices if v.name == "embedding")
    assert [c.path for c in embedding.calls] == ["", "token_embedding"]


def test_the_whole_model_as_one_box(gpt):
    model, graph = gpt
    graph = fold(graph, 0)
    (box,) = [v for v in graph.vertices if v.role == "module"]
    assert (box.name, box.kind) == ("", "MiniGPT")
    assert box.parameters == sum(p.numel() for p in model.parameters())
    assert {v.role for v in graph.vertices} == {"input", "module", "result"}


def test_folding_leaves_the_full_description_alone(gpt):
    _, graph = gpt
    before = repr(graph)
    fold(graph, 1)
    fold(graph, 2)
    assert repr(graph) == before


def folded(model, *inputs, depth=1):
    with watch(model) as calls:
        y = model(*inputs)
    return fold(describe({"y": y}, model, calls=calls), depth)


def test_blocks_that_differ_are_not_one():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2), nn.Linear(2, 2))
    graph = folded(model, mt.ones(1, 3))
    boxes = [(v.name, v.count) for v in graph.vertices if v.role == "module"]
    assert boxes == [("0", 2), ("2", 1), ("3", 1)]
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, bias=False))
    graph = folded(model, mt.ones(1, 3))
    assert [v.count for v in graph.vertices if v.role == "module"] == [1, 1]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x)
        return x


def test_blocks_with_work_between_them_are_not_one():
    graph = folded(Residual(), mt.ones(1, 3))
    assert [v.count for v in graph.vertices if v.role == "module"] == [1, 1, 1]


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.table = nn.Linear(3, 3, bias=False)
        self.table.weight = self.layer.weight

    def forward(self, x):
        return self.table(self.layer(x).exp())


def test_a_shared_parameter_stays_outside():
    graph = folded(Twice(), mt.ones(1, 3))
    assert vertex(graph, "layer.weight").role == "parameter"
    assert ("layer.weight", "table") in wires(graph) and ("layer.weight", "layer") in wires(graph)
    assert vertex(graph, "layer").parameters == 3  # its bias


def test_a_module_called_twice_is_drawn_twice():
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    graph = folded(model, mt.ones(1, 3))
    assert len({v.key for v in graph.vertices if v.name == "0"}) == 2


def test_a_part_of_the_model_called_by_itself():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    with watch(model) as calls:
        y = model[1](mt.ones(1, 3))
    graph = fold(describe(y, model, calls=calls), 1)
    assert [v.name for v in graph.vertices if v.role == "module"] == ["1"]
    assert graph.unused == ["0.weight", "0.bias"]


def test_watching_leaves_no_hooks_behind():
    model = nn.Sequential(nn.Linear(3, 3))
    draw(lambda: model(mt.ones(1, 3)), params=model, depth=1)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(ZeroDivisionError), watch(model):
        raise ZeroDivisionError
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# ---- the DOT text -----------------------------------------------------------------------


def test_the_text(neuron):
    picture = draw(neuron["y"], names=neuron, title="A <neuron>", direction="TB", size="8,11")
    assert isinstance(picture, Drawing)
    source = picture.source
    assert source.startswith("digraph") and "rankdir=TB" in source and 'size="8,11"' in source
    assert "A &lt;neuron&gt;" in source
    assert (
        r'tooltip="tanh(x)\n(eˣ − e⁻ˣ) / (eˣ + e⁻ˣ).\n∂x = g (1 − tanh² x)\ntest_drawings' in source
    )
    assert r'tooltip="mul(a, b)\na b.\n∂a = g b\n∂b = g a\ntest_drawings.py:' in source
    for role in ("input", "parameter", "operation", "result"):
        assert re.search(rf">{role}</font>&#160;", source), role
    assert ">module</font>" not in source
    assert source.count("style=dashed") == 1 and "no gradient</font>" in source
    assert ">float32</font>" in source


def test_no_legend(neuron):
    source = draw(neuron["y"], legend=False).source
    assert ">operation</font>" not in source and "graph [label=" not in source


def test_frames_and_counts(gpt):
    model, _ = gpt
    idx = mt.zeros(1, 5, dtype=mt.int64)
    source = draw(lambda: {"loss": model(idx, idx)[1]}, params=model, depth=2).source
    assert "blocks.0–3&#160;&#160;" in source and "× 4</font>" in source
    assert source.count("subgraph cluster_") == 1
    assert "<b>norm_1</b>" in source and "<b>blocks.0.norm_1</b>" not in source
    source = draw(lambda: {"loss": model(idx, idx)[1]}, params=model, depth=1).source
    assert "subgraph" not in source and "parameters each" in source


def test_strange_names_are_harmless():
    x = leaf(1.0)
    for name in ("<b>&\"'", "a\\nb", 'say "hi"', "π", "]]>", "--"):
        source = draw(x * 1, names={name: x}).source
        assert rendering.picture(source, "svg").startswith(b"<?xml")
        assert name in "".join(ET.fromstring(rendering.picture(source, "svg")).itertext())


# ---- rendering --------------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Make only programs of our own visible: programs("dot") puts a `dot` on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    monkeypatch.setattr(rendering.sysconfig, "get_path", lambda name: str(tmp_path / "nowhere"))

    def add(name, says=None, fails=False):
        script = folder / name
        answer = "echo 'syntax error in line 1' >&2; exit 1" if fails else f"echo '{says or name}'"
        script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n{answer}\n')
        script.chmod(script.stat().st_mode | stat.S_IEXEC)

    return add


def test_dot_comes_first(programs, tmp_path, neuron):
    programs("dot")
    programs("graphviz-pure")
    path = render(draw(neuron["y"]), tmp_path / "y.png", dpi=99)
    assert path == tmp_path / "y.png" and path.read_text() == "dot\n"
    assert (tmp_path / "arguments").read_text() == "-Tpng -Gdpi=99\n"


def test_then_graphviz_pure(programs, tmp_path, neuron):
    programs("graphviz-pure", says="<svg>pure</svg>")
    path = render(draw(neuron["y"]), str(tmp_path / "y.svg"))
    assert path.read_text() == "<svg>pure</svg>\n"
    assert (tmp_path / "arguments").read_text() == "-Tsvg\n"


def test_graphviz_pure_beside_python(programs, tmp_path, monkeypatch, neuron):
    programs("graphviz-pure", says="<svg>pure</svg>")
    monkeypatch.setattr(sys, "executable", os.path.join(os.environ["PATH"], "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert render(draw(neuron["y"]), tmp_path / "y.svg").read_text() == "<svg>pure</svg>\n"


@pytest.mark.parametrize(
    "attributes",
    [
        {"fontname": '"><script>ran()</script><g a="'},
        {"fontname": 'x" tabindex="0" onmouseover="ran()'},
        {"fontname": '"><foreignObject/><g a="'},
    ],
)
def test_an_attribute_puts_nothing_into_an_svg_that_runs(attributes, tmp_path, neuron):
    with pytest.raises(RuntimeError, match="render: an attribute of the graph"):
        render(draw(neuron["y"], **attributes), tmp_path / "y.svg")
    with pytest.raises(RuntimeError, match="render: an attribute of the graph"):
        render('digraph { a [URL="#x\\" onload=\\"ran()"] }', tmp_path / "y.svg")
    assert not (tmp_path / "y.svg").exists()


def test_else_the_text(programs, tmp_path, neuron):
    picture = draw(neuron["y"])
    with pytest.warns(UserWarning, match=r"pip install .*viz.*y\.dot instead of y\.svg"):
        path = render(picture, tmp_path / "y.svg")
    assert path == tmp_path / "y.dot" and path.read_text("utf-8") == picture.source
    assert not (tmp_path / "y.svg").exists()
    assert pytest.warns(UserWarning, render, picture, tmp_path / "y.png") == path


def test_in_place_of_a_film_the_text_of_a_drawing(programs, tmp_path, neuron):
    reel = mt.graph.film(neuron["y"], names=neuron)
    for name in ("film", "film.html"):
        with pytest.warns(UserWarning, match=r"pip install .*viz.*film\.dot instead of film"):
            path = render(reel, tmp_path / name)
        assert path == tmp_path / "film.dot" and path.read_text("utf-8") == reel.source
    assert "<b>y</b>" in reel.source and "local derivative" in reel.source
    assert "pip install" in reel._repr_html_() and len(reel) == 0


def test_pdf_needs_dot(programs, tmp_path, neuron):
    programs("graphviz-pure")
    with pytest.warns(UserWarning, match="PDF.*Graphviz"):
        path = render(draw(neuron["y"]), tmp_path / "y.pdf")
    assert path.name == "y.dot"
    programs("dot")
    assert render(draw(neuron["y"]), tmp_path / "y.pdf").read_text() == "dot\n"


def test_a_program_that_fails(programs, tmp_path, neuron):
    programs("dot", fails=True)
    with pytest.raises(RuntimeError, match="dot could not draw the graph: syntax error in line 1"):
        render(draw(neuron["y"]), tmp_path / "y.svg")
    assert not (tmp_path / "y.svg").exists()


def test_formats(tmp_path, neuron):
    picture = draw(neuron["y"])
    for name in ("y.dot", "y.gv"):
        path = render(picture, tmp_path / name)
        assert path.name == name and path.read_text("utf-8") == picture.source
    assert render("digraph {}", tmp_path / "z.dot").read_text() == "digraph {}"
    for name in ("y.jpg", "y"):
        with pytest.raises(ValueError, match=r"should end in \.svg, \.png, \.pdf, \.dot"):
            render(picture, tmp_path / name)
    with pytest.raises(FileNotFoundError):
        render(picture, tmp_path / "nowhere" / "y.dot")


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch, neuron):
    path = tmp_path / "y.dot"
    path.write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rendering.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        render(draw(neuron["y"]), path)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_a_real_picture(tmp_path, neuron):
    picture = draw(neuron["y"], names=neuron, values=True, grads=True, title="One neuron")
    svg = ET.parse(render(picture, tmp_path / "y.svg")).getroot()
    text = "".join(svg.itertext())
    assert "One neuron" in text and "0.8483" in text  # tanh(2 · 0.5 + 0.25)
    assert b"sans-serif" in (tmp_path / "y.svg").read_bytes()
    png = render(picture, tmp_path / "y.png").read_bytes()
    assert png.startswith(b"\x89PNG") and b"IEND" in png[-12:]


def test_notebooks(programs, neuron):
    picture = draw(neuron["y"])
    shown = picture._repr_mimebundle_()
    assert list(shown) == ["text/plain"]
    assert "pip install" in shown["text/plain"] and picture.source in shown["text/plain"]
    programs("graphviz-pure", says="<svg/>")
    assert picture._repr_mimebundle_(include=None) == {"image/svg+xml": "<svg/>\n"}


def test_importing_microtensor_does_not_import_graphviz():
    code = (
        "import sys, microtensor as mt; assert 'graphviz' not in sys.modules; "
        "assert mt.graph.draw and 'graphviz' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing"):
        mt.nothing  # noqa: B018


def test_the_demo(tmp_path):
    """It draws every picture, from any folder."""
    demo = str(DEMOS / "draw_backprop.py")
    command = [sys.executable, os.path.abspath(demo), "--out", "pictures", "--format", "dot"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = [tmp_path / line for line in done.stdout.split()]
    assert [path.stem for path in written] == [
        "neuron", "network", "attention", "vanishing", "minigpt", "minigpt_block",
        "minigpt_attention", "minigpt_gradients",
    ]  # fmt: skip
    assert "× 4" in (tmp_path / "pictures" / "minigpt.dot").read_text("utf-8")
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = subprocess.run([*command[:3], str(blocked)], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    done = subprocess.run([*command[:2], "nothing"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def _luminance(color):
    """WCAG 2.2, relative luminance."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _contrast(one, other):
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", mt.graph.THEMES)
def test_words_can_be_read_on_every_ground(name):
    t = mt.graph.THEMES[name]
    grounds = {t.paper, *t.frames[1:], *(fill for fill, _ in t.roles.values())}
    words = {t.ink, t.faint, t.gradient, t.active, t.roles["module"][1], *t.flows.values()}
    least = min((_contrast(word, ground), word, ground) for word in words for ground in grounds)
    assert least[0] >= 4.5, least
    lines = [_contrast(line, t.paper) for _, line in t.roles.values()]
    assert min(lines) >= 3 and _contrast(t.wire, t.paper) >= 3


@pytest.mark.parametrize("name", mt.graph.THEMES)
def test_each_colour_has_one_meaning(name):
    t = mt.graph.THEMES[name]
    meanings = [t.gradient, t.active, *t.flows.values()]
    assert len(set(meanings)) == len(meanings)
