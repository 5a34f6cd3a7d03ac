"""mt.explain: every operation has a page, and every derivative that is stated there is true."""

import inspect
import re
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

import microtensor as mt
from microtensor.autograd import registry, unbroadcast
from microtensor.graph.derivations import Derivation, as_tuple, book, run

OURS = {n: op for n, op in registry.items() if str(op.__module__).startswith("microtensor.")}


def drawn(op, page, seed):
    """The example of a page; from seed 1 on with other numbers near by."""
    inputs, parameters, names = page.values(op)
    random = np.random.default_rng(seed)

    def moved(a):
        if isinstance(a, tuple):
            return tuple(map(moved, a))
        if not seed or not isinstance(a, np.ndarray) or a.dtype.kind != "f":
            return a
        a = np.asarray(a * random.uniform(0.9, 1.1, a.shape))
        return (a + a.mT) / 2 if page.symmetric else a

    inputs = {name: moved(a) for name, a in inputs.items()}
    return inputs, parameters, {**names, **inputs}


# ---- every operation, every derivative -----------------------------------------------


def test_every_operation_has_a_page_and_every_page_an_operation():
    assert sorted(OURS.keys() - book()) == []
    assert sorted(book().keys() - OURS) == []


@pytest.mark.parametrize("name", [n for n in OURS if n in book()])
def test_what_is_stated_is_true(name):
    """The formula gives the value; the derivative is the pullback's, and what is measured."""
    op, page = OURS[name], book()[name]
    assert page.why and page.shapes and page.value in page.lines
    for seed in range(3):
        inputs, parameters, names = drawn(op, page, seed)
        done = run(op, inputs, parameters, symmetric=page.symmetric)
        if seed and done.grads:  # any gradient, not only 1, 2, 3 …
            random = np.random.default_rng(seed)
            g = tuple(random.normal(size=np.shape(part)) * (part != 0) for part in as_tuple(done.g))
            g = g if isinstance(done.g, tuple) else g[0]
            done = run(op, inputs, parameters, g, symmetric=page.symmetric)
        if name == "einsum":
            names = {**names, "a": inputs["tensors"][0], "b": inputs["tensors"][1]}
        stated = page.evaluate(names, done.g)
        for ours, theirs in zip(as_tuple(done.y), as_tuple(stated[page.value]), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
        derivatives = {n[1:]: v for n, v in stated.items() if n.startswith("∂")}
        assert derivatives.keys() == done.grads.keys()
        for n, theirs in derivatives.items():
            triples = zip(
                as_tuple(done.grads[n]), as_tuple(theirs), as_tuple(inputs[n]), strict=True
            )
            for ours, value, x in triples:
                value = np.broadcast_to(value, np.shape(value))
                np.testing.assert_allclose(ours, unbroadcast(value, x), rtol=1e-10, atol=1e-12)
        largest = max(
            (np.abs(g).max() for v in done.grads.values() for g in as_tuple(v)), default=0
        )
        assert done.error is None or done.error < 1e-6 * (1 + largest)
        assert bool(done.grads) == (done.error is not None)


@pytest.mark.parametrize("name", [n for n in OURS if n in book()])
def test_the_page_states_what_the_docstring_states(name):
    """Both name the same derivatives; that of an intermediate result may be in one of them only."""
    op, page = OURS[name], book()[name]
    doc = set(re.findall(r"∂(\w+)", op.__doc__.replace("ᵢ", "")))
    stated = {n[1:] for n in page.lines if n.startswith("∂")}
    assert bool(stated) == ("No derivative" not in op.__doc__)
    if not op.variadic:  # there the docstring writes ∂xᵢ
        assert doc & set(op.input_names) <= stated
        assert stated <= set(op.input_names)


def test_a_wrong_derivative_would_be_found():
    page = book()["mul"]
    wrong = Derivation({**page.lines, "∂a": "g * a"}, page.why, page.shapes, page.example)
    inputs, parameters, names = drawn(OURS["mul"], wrong, 0)
    done = run(OURS["mul"], inputs, parameters)
    assert np.abs(wrong.evaluate(names, done.g)["∂a"] - done.grads["a"]).max() > 1

    @mt.op
    def wrong_square(x):
        """x².    ∂x = g x"""
        return x * x, lambda g: g * x

    try:
        assert run(wrong_square, {"x": np.array([3.0])}, {}).error == pytest.approx(3.0)
    finally:
        del registry["wrong_square"]


# ---- the page ------------------------------------------------------------------------


def columns(line):
    return sum(not unicodedata.combining(c) for c in line)


@pytest.mark.parametrize("name", OURS)
def test_it_is_readable(name):
    page = mt.explain(name)
    text = str(page)
    assert max(map(columns, text.splitlines())) <= 100
    body = inspect.getsource(OURS[name].function).splitlines()[-1].strip()
    assert body in text, "the lines of the operation itself"
    for shown in (text, page._repr_markdown_(), page._repr_html_()):
        for section in ("Formula", "Why", "In NumPy", "Shapes", "With numbers"):
            assert section in shown


def test_every_way_to_ask():
    page = str(mt.explain("matmul"))
    for what in ("@", "mt.matmul", mt.matmul, registry["matmul"]):
        assert str(mt.explain(what)) == page
    assert mt.explain(mt.cat).name == mt.explain("cat_").name == "cat"
    assert "made of operations" in str(mt.explain("transpose"))
    assert "made of operations" in str(mt.explain(mt.nn.functional.mse_loss))


@pytest.mark.parametrize(
    "what, said",
    [("matmull", "did you mean matmul"), ("xyzzy", "there are"), (3, "got int"),
     (mt.tensor(1.0), "a leaf")],
)  # fmt: skip
def test_it_says_what_it_cannot_explain(what, said):
    with pytest.raises(ValueError, match=said):
        mt.explain(what)


def test_a_tensor_is_explained_with_its_own_numbers():
    a = mt.tensor([[1.5, 2.0]], requires_grad=True)
    b = mt.tensor([[3.25], [4.0]], requires_grad=True)
    y = a @ b
    page = mt.explain(y)
    assert page.name == "matmul" and page.own
    np.testing.assert_array_equal(page.run.y, y.detach().numpy())
    np.testing.assert_array_equal(page.run.grads["a"], [[3.25, 4.0]])
    assert "3.25" in str(page) and str(mt.explain(y.grad_fn)) == str(page)
    assert a.grad is None and y.grad_fn is not None, "nothing was changed by looking"

    y.retain_grad()
    (y * 7).sum().backward(retain_graph=True)
    np.testing.assert_array_equal(mt.explain(y).run.g, [[7.0]])
    np.testing.assert_array_equal(mt.explain(y).run.grads["b"], b.grad.numpy())
    assert "1, 2, 3 …" in str(page) and "1, 2, 3 …" not in str(mt.explain(y))


def test_float32_is_measured_exactly():
    """Central differences of float32 numbers would be noise; they are taken in float64."""
    y = mt.nn.Linear(3, 2)(mt.randn(4, 3))
    assert y.dtype is mt.float32 and mt.explain(y).run.error < 1e-4


def test_a_tensor_of_two_results_and_one_whose_graph_is_gone():
    x = mt.randn(4, 6, requires_grad=True)
    first, second = x.split(3, dim=1)
    assert "split" in str(mt.explain(second))
    y = first.sum()
    y.backward()
    page = mt.explain(y)
    assert page.freed and not page.own and "retain_graph" in str(page)


def test_large_tensors_are_short_on_the_page():
    page = str(mt.explain(mt.randn(300, 200, requires_grad=True) @ mt.randn(200, 100)))
    assert "shape (300, 200)" in page and len(page.splitlines()) < 160


def test_dropout_of_a_tensor_is_repeated_exactly():
    x = mt.ones(4, 5, requires_grad=True)
    y = mt.nn.functional.dropout(x, 0.5)
    np.testing.assert_array_equal(mt.explain(y).run.y, y.detach().numpy())


def test_an_operation_of_ones_own():
    @mt.op
    def own_cube(x):
        """x³.    ∂x = 3 g x²"""
        return x * x * x, lambda g: g * 3 * x * x

    try:
        x = mt.tensor([1.0, 2.0], dtype=mt.float64, requires_grad=True)
        text = str(mt.explain(own_cube(x)))
        assert "∂x = 3 g x²" in text and "24" in text and "def own_cube(x)" in text
        assert "With numbers" not in str(mt.explain(own_cube))
    finally:
        del registry["own_cube"]


def test_import_does_not_read_the_book():
    code = "import microtensor, sys; print('microtensor.graph' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
