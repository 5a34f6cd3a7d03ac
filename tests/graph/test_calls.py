"""Calls of draw, film and explain: custom Functions, names from variables, wrong arguments."""

import functools
import re

import pytest

import microtensor as mt
from microtensor import nn

W, V = mt.ones(2, requires_grad=True), mt.full((2,), 2.0, requires_grad=True)
x = mt.tensor([1.0, 2.0], requires_grad=True)


class Square(mt.autograd.Function):
    """x²."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x


class Several(mt.autograd.Function):
    @staticmethod
    def forward(ctx, a, b, k, mode="plain", options=None):
        ctx.save_for_backward(a, b)
        return a * b, a + k

    @staticmethod
    def backward(ctx, g, h):
        a, b = ctx.saved_tensors
        return g * b + h, g * a, None, None, None


class Any(mt.autograd.Function):
    @staticmethod
    def forward(*inputs):
        return inputs[0] + inputs[1]

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return None, g


def square():
    return Square.apply(x).sum()


def several():
    p, q = Several.apply(x, W, 3.0, "other", [1, 2])
    return (p * q).sum()


def anything():
    return Any.apply(x, W).sum()


FUNCTIONS = {"Square": square, "Several": several, "Any": anything}
INPUTS = {"Square": ["x"], "Several": ["a", "b"], "Any": ["input 0", "input 1"]}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_one_box_with_its_inputs_and_gradients(name):
    for options in ({}, {"view": "backward"}, {"view": "both", "derivatives": True}):
        drawing = mt.graph.draw(FUNCTIONS[name], values=True, grads=True, **options)
        (box,) = [v for v in drawing.graph.vertices if v.name == name]
        edges = [e for e in drawing.graph.edges if e.target == box.key]
        assert [e.input for e in edges] == INPUTS[name]
        assert "Vertex" not in drawing.source and f"<b>{name}</b>" in drawing.source
    if name == "Several":
        assert box.constants == {"k": 3.0}
        assert box.arguments == {"mode": "other", "options": "(1, 2)"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_filmed_and_explained(name, tmp_path):
    film = mt.graph.film(FUNCTIONS[name])
    assert [f.operation for f in film.forward][0] == name
    assert mt.graph.render(film, tmp_path / "film.html").exists()
    node = FUNCTIONS[name]().grad_fn
    while node.name() != name:
        node = next(n for n in node.inputs if n.grad_fn is not None).grad_fn
    page = str(mt.explain(node))
    assert page.startswith(name) and f"class {name}(" in page


def test_a_functions_class_is_not_kept_alive_by_a_drawing():
    import gc
    import weakref

    class Short(Square):
        pass

    ref = weakref.ref(Short.apply(x).grad_fn.op)
    mt.graph.draw(Short.apply(x).sum())
    gc.collect()
    assert ref() is None


def names_in(drawing):
    return {v.name for v in drawing.graph.vertices if v.role in ("parameter", "input")}


def shown(f):
    return mt.graph.draw(f, values=True)


def test_names_are_found_through_a_helper():
    def of_globals():
        return (W * V).sum()

    here = mt.ones(2, requires_grad=True)

    def of_a_closure():
        return (W * here).sum()

    def of_defaults(first=W, *, other=V):
        return (first * other).sum()

    assert names_in(shown(of_globals)) == {"W", "V"}
    assert names_in(shown(of_a_closure)) == {"W", "here"}
    assert names_in(shown(of_defaults)) == {"first", "other"}
    assert names_in(shown(functools.partial(of_defaults))) == {"first", "other"}
    assert "W" in mt.graph.film(of_globals).frames[0].caption


def test_names_of_what_stands_in_dicts_and_lists():
    batch = {"input": mt.ones(2, requires_grad=True), "target": mt.zeros(2)}
    weights = [mt.ones(2, requires_grad=True), mt.ones(2, requires_grad=True)]

    def loss():
        return ((batch["input"] * weights[0] * weights[1] - batch["target"]) ** 2).sum()

    assert names_in(shown(loss)) == {"input", "target", "weights[0]", "weights[1]"}


def cube(t):
    return (t**3).sum()


WRONG = {
    "a misspelt argument": (lambda: mt.graph.draw(square(), value=True), "did you mean values?"),
    "an unknown argument": (lambda: mt.graph.draw(square(), frobnicate=1), "'frobnicate'"),
    "a path": (lambda: mt.graph.draw(square(), "x.svg"), "render(draw(loss), 'x.svg')"),
    "a path to a film": (lambda: mt.graph.film(square(), "x.gif"), "render(film(loss)"),
    "a tensor to render": (lambda: mt.graph.render(square(), "x.svg"), "render(draw(loss), path"),
    "arguments of the function": (lambda: mt.graph.film(cube, x), "film(lambda: f(a, b))"),
    "a function with arguments": (lambda: mt.graph.draw(cube), "without arguments"),
    "a model": (lambda: mt.graph.draw(nn.Linear(2, 3)), "draw(lambda: model(x), params=model)"),
    "a list of tensors": (lambda: mt.graph.draw(square(), [x]), "params are a Module"),
    "names as a list": (lambda: mt.graph.draw(square(), names=["x"]), "names are a Module or"),
    "a number": (lambda: mt.graph.draw(3), "a Tensor is needed, got int"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_says_what_would_be_right(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, words = WRONG[case]
    with pytest.raises(TypeError, match=re.escape(words)):
        call()
    assert list(tmp_path.iterdir()) == []


def test_attributes_of_graphviz_are_taken():
    assert "ratio=" in mt.graph.draw(square(), ratio="compress").source


def test_a_folded_module_shows_what_shapes_do_not_tell():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.BatchNorm2d(2), nn.MaxPool2d(2),
        nn.Dropout(0.25), nn.Flatten(), nn.Linear(8, 3),
    ).eval()  # fmt: skip
    image = mt.rand(1, 1, 8, 8)
    drawing = mt.graph.draw(lambda: model(image).sum(), params=model, depth=1)
    boxes = {v.kind: v.settings for v in drawing.graph.vertices if v.role == "module"}
    assert boxes["Conv2d"] == "kernel_size=(3, 3), stride=(2, 2), padding=(1, 1)"
    assert boxes["MaxPool2d"].startswith("kernel_size=2, stride=2")
    assert boxes["Linear"] == boxes["BatchNorm2d"] == ""
    assert all(words in drawing.source for words in boxes.values())
    assert "1 operation," in drawing.source and "1 operations" not in drawing.source


def test_modules_of_other_settings_are_not_folded_into_one():
    pools = nn.Sequential(nn.MaxPool2d(1), nn.MaxPool2d(1), nn.MaxPool2d(1, dilation=2))
    image = mt.rand(1, 1, 4, 4, requires_grad=True)
    drawing = mt.graph.draw(lambda: pools(image).sum(), params=pools, depth=1)
    assert [v.count for v in drawing.graph.vertices if v.role == "module"] == [2, 1]


def test_names_of_machinery_are_not_shown():
    attention, q = nn.MultiheadAttention(4, 2), mt.rand(3, 1, 4)
    drawing = mt.graph.draw(lambda: attention(q, q, q)[0].sum(), params=attention, depth=1)
    assert "NonDynamically" not in drawing.source and ">Linear, 20 parameters<" in drawing.source
