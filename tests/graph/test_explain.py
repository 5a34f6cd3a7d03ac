"""mt.explain: every operation has a page, and every derivative that is stated there is true."""

import inspect
import re
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from cases import CASES

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


# ---- the docstrings themselves -------------------------------------------------------


class Formula:
    """The mathematics of docstrings, evaluated: juxtaposition multiplies, and binds before /.

    So g / 2√x is g / (2√x). Raises SyntaxError for what is words rather than mathematics.
    """

    SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁻ᵃᵇˣ", "01234-abx")
    TOKEN = re.compile(
        r"\s*(?:(\d+)|([⁰¹²³⁴⁻ᵃᵇˣ]+)|(π|σ|β|[A-Za-z_][A-Za-z0-9_]*)|([-−+·/()√^⌊⌋]))"
    )
    FUNCTIONS = "ln sin cos tan sinh cosh tanh sign trunc".split()

    def __init__(self, text, names):
        self.names, self.tokens, end = names, [], 0
        while end < len(text.rstrip()):
            found = self.TOKEN.match(text, end)
            if not found:
                raise SyntaxError(text[end:])
            spaced = text[end].isspace()
            self.tokens.append((found.group().strip().replace("−", "-"), spaced))
            end = found.end()

    @classmethod
    def value(cls, text, names):
        formula = cls(text, names)
        value = formula.sum()
        if formula.tokens:
            raise SyntaxError(str(formula.tokens))
        return value

    def next(self, *wanted):
        """Whether the next token is one of these; then it is taken."""
        if self.tokens and self.tokens[0][0] in wanted:
            return self.tokens.pop(0)[0]
        return None

    def sum(self):
        value = -self.quotient() if self.next("-") else self.quotient()
        while sign := self.next("+", "-"):
            value = value + self.quotient() if sign == "+" else value - self.quotient()
        return value

    def quotient(self):
        value = self.product()
        while self.next("/"):
            value = value / self.product()
        return value

    def product(self, tight=False):
        """Factors side by side; `tight`: without a space between, as in cos πx."""
        value = self.factor()
        while (
            self.tokens and (self.tokens[0][0] not in "+-/)⌋") and not (tight and self.tokens[0][1])
        ):
            self.next("·")
            value = value * self.factor()
        return value

    def power(self, value):
        if self.tokens and self.tokens[0][0][0] in "⁰¹²³⁴⁻ᵃᵇˣ":
            exponent = self.tokens.pop(0)[0].translate(self.SUPERSCRIPT)
            return value ** eval(exponent, {}, self.names)
        return (
            value ** (-self.factor() if self.next("-") else self.factor())
            if self.next("^")
            else value
        )

    def factor(self):
        if not self.tokens:
            raise SyntaxError("a factor is missing")
        token = self.tokens.pop(0)[0]
        if token in "(⌊":
            value = self.sum()
            if not self.next(")" if token == "(" else "⌋"):
                raise SyntaxError("a bracket is open")
            return self.power(value if token == "(" else np.floor(value))
        if token == "√":
            return np.sqrt(self.factor())
        if token in self.FUNCTIONS:
            squared = self.next("²")
            value = self.names[token](self.product(tight=True))
            return value**2 if squared else value
        if token == "σ":
            called = self.tokens and self.tokens[0] == ("(", False)
            return self.names["σ"](self.factor() if called else self.names["x"])
        if token.isdigit():
            return self.power(float(token))
        if token not in self.names or callable(self.names[token]):
            raise SyntaxError(token)
        return self.power(self.names[token])


def docstring_derivatives(op):
    """{input: formula} as the docstring states it, without remarks on single points."""
    text = "    ".join(map(str.strip, op.__doc__.splitlines()))
    stated = re.findall(r"∂(\w+) = (.*?)(?=,? {4}|$)", text)
    return {n: re.split(r",|;|  \(|\.$", f)[0].strip() for n, f in stated if n in op.input_names}


OF_ELEMENTS = "elementwise", "exponentials", "trigonometry", "activations"


def test_docstrings_that_are_formulas_are_true():
    """Derivatives of elements that docstrings state in mathematics, not in words, are evaluated."""
    read = []
    for name in sorted(OURS.keys() & book().keys()):
        op, page = OURS[name], book()[name]
        if op.__module__.rpartition(".")[2] not in OF_ELEMENTS:
            continue  # there a product is one of matrices, or Σ is needed: the book's lines say it
        inputs, parameters, names = drawn(op, page, 1)
        done = run(op, inputs, parameters, differences=False)
        names = {**names, "g": done.g, "y": names["y"] if "y" in inputs else done.y}
        names["β"] = names.get("beta")
        for n, formula in docstring_derivatives(op).items():
            try:
                value = Formula.value(formula, names)
            except SyntaxError:
                continue  # words
            value = unbroadcast(np.asarray(value * np.ones_like(done.g)), inputs[n])
            np.testing.assert_allclose(value, done.grads[n], rtol=1e-10, atol=1e-12,
                                       err_msg=f"{name}: ∂{n} = {formula}")  # fmt: skip
            read.append(f"{name} ∂{n} = {formula}")
    assert len(read) >= 60, read


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
    [("matmull", "did you mean matmul"), ("xyzzy", "derivations.md"),
     *((name, "no operation") for name in ("xp", "op", "warn", "_known")), (3, "got int"),
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


@pytest.mark.parametrize("case", {c.name: c for c in CASES if c.differentiable}.values(),
                         ids=lambda c: c.name)  # fmt: skip
def test_whatever_made_a_tensor_is_explained(case):
    """The last case of each function: its numbers again, and the gradients as measured."""
    for y in case(mt, *case.tensors(requires_grad=True)):
        if y.grad_fn is not None:
            page = mt.explain(y)
            assert page.own and y.grad_fn.name() in str(page)
            results = as_tuple(page.run.y)
            np.testing.assert_array_equal(results[y._index], y.detach().numpy())
            assert page.run.error is None or page.run.error < 1e-4


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
