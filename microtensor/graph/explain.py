"""A page about an operation: formula, derivative, why, shapes, an example that is run, the source.

mt.explain("matmul")       # or mt.explain(mt.matmul)
mt.explain(loss)           # the operation that made this tensor, with its own numbers

The reasons are in derivations.md, a book with a page for every operation; its formulas are lines of
NumPy, which are run.
"""

from __future__ import annotations

import difflib
import inspect
import re
import textwrap
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import Node, TensorBase, registry
from ..backends import Backend
from ..utils.pages import escaped, printable
from .derivations import Derivation, Run, as_numpy, book, run

WIDTH = 100  # columns of a terminal
SMALL = 64  # elements of a tensor that is shown in full
PLUMBING = {"asarray", "to_numpy", "dtype", "device", "cast", "memory", "count_along"}
SYMBOLS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "**": "pow", "@": "matmul", "==": "eq",
    "//": "floor_divide", "%": "remainder", "[]": "getitem",
}  # fmt: skip


def explain(what: Any) -> Explanation:
    """Explain an operation, given by name, function or symbol ("@"), or the one that made a tensor.

    print(mt.explain("softmax")); in a notebook it shows itself. A tensor's operation is explained
    with the tensor's own numbers. Raises ValueError for what no operation is called.
    """
    if isinstance(what, TensorBase):
        if what.grad_fn is None:
            raise ValueError(
                "explain: no operation is known that made this tensor: it is a leaf, or was "
                "computed under no_grad() or from tensors that need no gradient"
            )
        return explain(what.grad_fn)
    if isinstance(what, Node):
        return _page(what.op, what)
    function = what
    if isinstance(what, str):
        name = SYMBOLS.get(what, what.rpartition(".")[2].rstrip("_") or what)
        function = registry.get(name) or _public().get(name)
        if function is None:
            known = sorted(registry.keys() | _public())
            near = difflib.get_close_matches(name, known, 3)
            hint = (
                f"did you mean {', '.join(near)}?"
                if near
                else "microtensor/graph/derivations.md has a page for each"
            )
            raise ValueError(f"explain: there is no operation {what!r}; {hint}")
    name = getattr(function, "op_name", None) or getattr(function, "__name__", "").rstrip("_")
    op = registry.get(name)
    if op is not None and getattr(function, "op_name", name) == name:
        return _page(op)
    if callable(function) and hasattr(function, "__code__"):
        return Explanation(name, *_sentences(function), source=_source(function), composed=True)
    raise ValueError(
        f"explain: an operation, its name or a tensor is needed, got {type(what).__name__}"
    )


def _public():
    """The public functions that are composed of operations."""
    from .. import nn, ops

    places = (ops, nn.functional)
    return {
        name: f
        for place in places
        for name, f in vars(place).items()
        if hasattr(f, "__code__")
        and not name.startswith("_")
        and f.__module__.startswith((ops.__name__, nn.functional.__name__))
    }


# ---- the page ------------------------------------------------------------------------


def _sentences(function):
    """The formula and the derivative that a docstring states."""
    text = "    ".join(filter(None, map(str.strip, (function.__doc__ or "").splitlines())))
    formula, gap, derivative = text.partition("    ")
    return formula.strip(), re.sub(r"\s{2,}", "    ", derivative).strip()


def _source(function):
    """(where, lines) of a function, with its decorator."""
    try:
        lines, start = inspect.getsourcelines(inspect.unwrap(function))
        path = Path(inspect.getsourcefile(inspect.unwrap(function)))
    except (OSError, TypeError):
        return "", ""
    home = Path(__file__).parents[2]
    where = path.relative_to(home).as_posix() if path.is_relative_to(home) else path.name
    return f"{where}, line {start}", textwrap.dedent("".join(lines)).rstrip()


def _kernels(source):
    """[(where, lines)] of the kernels that an operation calls, as `Backend` defines them."""
    called = dict.fromkeys(
        re.findall(r"(?:backend_of\(\w+\)|\bbackend|\bkernels)\.(\w+)\(", source)
    )
    found = [getattr(Backend, name, None) for name in called if name not in PLUMBING]
    return [_source(f) for f in found if inspect.isfunction(f)]


def _ours(op):
    return str(op.__module__).startswith("microtensor.")


def _page(op, node=None):
    name = op.op_name
    page = Explanation(name, *_sentences(op.function), source=_source(op.function))
    if isinstance(op.function, type):  # an autograd.Function: its lines are all that is known
        page.arguments = list(op.input_names)
        return page
    signature = inspect.signature(op.function).parameters.values()
    page.arguments = [("*" if p.kind is p.VAR_POSITIONAL else "") + p.name for p in signature]
    page.kernels = _kernels(page.source[1])
    page.derivation = book().get(name) if _ours(op) else None
    if node is not None and node.args is not None:
        page.own = True
        g = _gradient(node)
        page.run, page.gradient_kept = _run_alone(op, node, g), g is not None
    else:
        page.freed = node is not None
        if page.derivation is not None:
            inputs, parameters, _ = page.derivation.values(op)
            page.run = run(op, inputs, parameters, symmetric=page.derivation.symmetric)
    return page


def _run_alone(op, node, g):
    """Run the node's operation again, with its own numbers."""
    args = [as_numpy(a) for a in node.args]
    names = list(op.defaults)
    if op.variadic:
        inputs, parameters = {op.input_names[0]: tuple(args)}, dict(node.params)
    else:
        inputs = dict(zip(op.input_names, args))
        parameters = {**dict(zip(names[len(inputs) :], args[len(inputs) :])), **node.params}
    size = sum(np.size(a) for a in args if isinstance(a, np.ndarray))
    page = book().get(op.op_name) if _ours(op) else None
    return run(op, inputs, parameters, g, size <= SMALL, bool(page and page.symmetric))


def _gradient(node):
    """The gradient that retain_grad() kept of the result, or None."""
    kept = [ref() for ref in node._retaining or () if node._num_outputs == 1]
    return next((as_numpy(t.grad) for t in kept if t is not None and t.grad is not None), None)


@dataclass
class Explanation:
    """A page about one operation: `str` is for a terminal; a notebook shows it by itself."""

    name: str
    formula: str
    derivative: str
    source: tuple = ("", "")
    composed: bool = False
    arguments: list = field(default_factory=list)
    derivation: Derivation = None
    run: Run = None
    kernels: list = field(default_factory=list)  # [(where, lines)], in backends/
    own: bool = False  # True if the numbers are those of a tensor,
    gradient_kept: bool = False  # and g is the gradient that arrived at it
    freed: bool = False  # backward() has freed them

    def sections(self) -> Any:
        """(title, [(kind, text)]) of every section; kind is "text" or "code"."""
        formula = [("text", t) for t in (self.formula, *self._derivatives()) if t]
        if formula:
            yield "Formula", formula
        if self.composed:
            yield (
                "Why",
                [
                    (
                        "text",
                        "This function is made of operations, and has no derivative of its own: "
                        "the chain rule goes through each of them in turn.",
                    )
                ],
            )
        if self.derivation is not None:
            yield "Why", [("text", t) for t in self.derivation.why]
            lines = self.derivation.lines
            width = max(map(len, lines))
            code = "\n".join(
                f"{left}{' ' * (width - _columns(left))} = {right}" for left, right in lines.items()
            )
            yield "In NumPy", [("code", code)]
            yield "Shapes", [("text", self.derivation.shapes)]
        if self.run is not None:
            title = "With this tensor's numbers" if self.own else "With numbers"
            yield title, [("code", self._numbers()), *[("text", t) for t in self._check()]]
        if self.freed:
            yield (
                "Its own numbers",
                [("text", "backward() has freed them; backward(retain_graph=True) keeps them.")],
            )
        if self.source[1]:
            yield f"The lines themselves ({self.source[0]})", [("code", self.source[1])]
        for where, lines in self.kernels:
            yield f"The kernel ({where})", [("code", lines)]

    def _derivatives(self):
        return (
            [d.rstrip(",") for d in re.split(r"\s{4,}", self.derivative)] if self.derivative else []
        )

    def _numbers(self):
        run = self.run
        given = {n: v for n, v in run.parameters.items() if not callable(v)}
        groups = [{**run.inputs, **given}, {"result" if "y" in run.inputs else "y": run.y}]
        if run.g is not None:
            groups.append({"g": run.g, **{f"∂{name}": v for name, v in run.grads.items()}})
        groups = [_split_tuples(group) for group in groups]
        width = max(len(name) for group in groups for name in group)
        blocks = [[line for n, v in g.items() for line in _shown(n, v, width)] for g in groups]
        return "\n\n".join("\n".join(lines) for lines in blocks)

    def _check(self):
        if self.own and self.run.g is not None and not self.gradient_kept:
            yield (
                "g is 1, 2, 3 … here. To see the one that arrived, call retain_grad() on the "
                "tensor before backward(retain_graph=True)."
            )
        if self.run.error is not None:
            yield (
                "y and ∂ were computed by the lines below, just now. Central differences, "
                f"(f(x + h) − f(x − h)) / 2h, agree with every ∂ to within {self.run.error:.0e}."
            )

    def __str__(self) -> str:
        head = f"{self.name}({', '.join(self.arguments)})" if self.arguments else self.name
        out = [head, "═" * min(len(head), WIDTH)]
        for title, parts in self.sections():
            out += ["", title, "─" * len(title)]
            indent = "" if title.startswith(("The lines", "The kernel")) else "  "
            for i, (kind, text) in enumerate(parts):
                if kind == "text":
                    out += textwrap.wrap(
                        text, WIDTH, initial_indent=indent, subsequent_indent=indent,
                        break_long_words=False,
                    )  # fmt: skip
                else:
                    out += textwrap.indent(text, indent).splitlines()
                if kind == "code" and i + 1 < len(parts):
                    out.append("")
        return "\n".join(out)

    __repr__ = __str__

    def _repr_markdown_(self):
        out = [f"## {_marked(self.name)}"]
        for title, parts in self.sections():
            out.append(f"**{_marked(title)}**")
            for kind, text in parts:
                out.append(_fenced(text) if kind == "code" else _marked(text))
        return "\n\n".join(out)

    def _repr_html_(self):
        out = [f"<h3><code>{escaped(self.name)}</code></h3>"]
        for title, parts in self.sections():
            out.append(f"<h4>{escaped(title)}</h4>")
            for kind, text in parts:
                text = escaped(text, lines=True)
                marked = re.sub(r"`(.+?)`", r"<code>\1</code>", text)
                out.append(f"<pre>{text}</pre>" if kind == "code" else f"<p>{marked}</p>")
        return f'<div style="max-width: 60em">{"".join(out)}</div>'


def _marked(text):
    """Text with Markdown's marks escaped, except `code`."""
    parts = re.split(r"(`[^`]+`)", printable(text))
    return "".join(
        p if i % 2 else re.sub(r"([]`*_[|<>\\&#~$!])", r"\\\1", p) for i, p in enumerate(parts)
    )


def _fenced(text):
    """Code for Markdown, within more backticks than it has itself in a row."""
    text = printable(text, lines=True)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}python\n{text}\n{fence}"


def _columns(text):
    """The width of a text in columns; combining marks, as in x̂, take none."""
    return sum(not unicodedata.combining(c) for c in text)


def _split_tuples(values):
    """Split tuples of arrays: {"y": (a, b)} to {"y[0]": a, "y[1]": b}."""
    out = {}
    for name, value in values.items():
        if isinstance(value, tuple) and any(isinstance(v, np.ndarray) for v in value):
            out.update({f"{name}[{i}]": v for i, v in enumerate(value)})
        else:
            out[name] = value
    return out


def _shown(name, value, width):
    """The lines of `name = value`; a large value is shortened and its shape given."""
    if not isinstance(value, np.ndarray):
        return [f"{name:{width}} = {repr(value) if isinstance(value, str) else value}"]
    text = np.array2string(
        value, precision=4, suppress_small=True, threshold=SMALL, edgeitems=3, separator=", ",
        max_line_width=WIDTH - 6 - width,
    )  # fmt: skip
    note = f"    shape {value.shape}" if value.size > SMALL else ""
    first, *rest = text.splitlines()
    return [
        f"{name:{width}} = {first}",
        *(" " * (width + 3) + line for line in rest),
        *([f"{'':{width}}  {note}"] if note else []),
    ]
