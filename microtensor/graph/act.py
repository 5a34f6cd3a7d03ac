"""The content of a film: one operation at a time, with its numbers and a caption."""

import re
from dataclasses import dataclass, field, replace

import numpy as np

from ..autograd import TensorBase, backward
from ..utils.pages import brief, printable
from .flow import flow_of, local
from .labels import SYMBOLS, as_number
from .trace import SMALL, traced

__all__ = ["Act", "Frame"]

NAME = 50  # characters of a name in a film


@dataclass
class Frame:
    """One frame: the numbers known after an operation, and the shapes that draw them.

    `values` and `grads` hold the numbers known by then of every tensor, by the key of its place on
    the stage, ("leaf0", 0); `named` holds the gradients of named tensors.
    """

    phase: str  # "forward", "backward" or "update"
    operation: str
    caption: str
    values: dict
    grads: dict
    named: dict
    rows: list = field(
        repr=False
    )  # of the panel, of blocks (heading, numbers or words, kind, note)
    about: dict = field(repr=False)  # active boxes, gradients that flow, sums computed
    vertex: object = field(repr=False)
    act: object = field(repr=False)
    shapes: list = field(default_factory=list, repr=False)  # groups of what is drawn


class Act:
    """One forward and backward pass, with all its numbers. A spot is (vertex key, index)."""

    def __init__(self, output, options, optimizer):
        self.trace = trace = traced(output, options)
        trace.values(SMALL)
        trace.settle()
        self.vertices = {k: v for k, v in trace.vertices.items() if v.role != "result"}
        self.edges = [e for e in trace.edges if not e.target.startswith("result")]
        self.key = {source: v.key for source, v in trace.sources.items()}
        self.source = {key: source for source, key in self.key.items()}
        for i, t in enumerate(
            trace.outputs
        ):  # the value of an output's operation takes the output's name
            value = self.vertices[self.key[t.grad_fn]].outputs[t._index]
            value.name = value.name or trace.vertices[f"result{i}"].name
        self.results = {(self.key[t.grad_fn], t._index) for t in trace.outputs}
        self.values = self._values()
        self.steps, self.sums = flow_of(trace.nodes, trace.outputs, options.gradient)
        self.locals = {
            (step.node, part.input): local(step, part.input)
            for step in self.steps
            for part in step.parts
        }
        self.called = {}
        for v in self.vertices.values():
            for i in range(len(v.outputs)):
                self.called[v.key, i] = self._name_of(v, i)
        self.plan = [(v.role, v.name, [o.shape for o in v.outputs]) for v in self.vertices.values()]
        self.plan.append([(e.source, e.target) for e in self._numbered()])
        self.update = None
        if optimizer is not None:
            self._train(optimizer, options.gradient)

    def _numbered(self):
        """The edges, with operations numbered from 0 in this graph."""
        order = {key: f"{i}" for i, key in enumerate(self.vertices)}
        return [replace(e, source=order[e.source], target=order[e.target]) for e in self.edges]

    def _values(self):
        """{spot: array, or its Value where it is too large}."""
        return {
            (v.key, i): o.data if o.data is not None else o
            for v in self.vertices.values()
            for i, o in enumerate(v.outputs)
        }

    def _name_of(self, v, i):
        """A tensor's name in captions: its own, else the expression that computed it."""
        if v.outputs[i].name:
            return brief(v.outputs[i].name, NAME)
        if v.role != "operation":
            return brief(v.name, NAME) or v.kind or v.role
        inputs = {e.input: self.called[e.source, e.output] for e in self.edges if e.target == v.key}
        inputs.update({name: as_number(x) for name, x in v.constants.items()})
        if v.name in SYMBOLS and {"a", "b"} <= inputs.keys():
            tight = v.name not in ("add", "sub")
            a, b = (f"({x})" if tight and " " in x else x for x in (inputs["a"], inputs["b"]))
            b = f"({b})" if v.name == "sub" and " " in b and not tight else b
            words = f"{a} {SYMBOLS[v.name]} {b}"
        else:
            words = f"{v.name}({', '.join(inputs.values())})"
        if len(v.outputs) > 1:
            words += f"[{i}]"
        return words if len(words) <= 28 else f"this {v.name}"

    def _train(self, optimizer, gradient):
        """The optimizer's step, with the gradients of this pass in `.grad`, as training has it."""
        optimizer.zero_grad()
        leaves = {s: key for s, key in self.key.items() if isinstance(s, TensorBase)}
        backward(self.trace.outputs, gradient)
        optimizer.step()
        after = {}
        for leaf, key in leaves.items():
            if leaf.grad is not None and isinstance(self.values[key, 0], np.ndarray):
                after[key, 0] = leaf.detach().cpu().numpy().copy()
        self.update = brief(type(optimizer).__name__), optimizer.param_groups[0].get("lr"), after

    # ---- frames ------------------------------------------------------------------------

    def frames(self, i, acts):
        """Yield every frame of this act, number i of `acts`."""
        self.shown = {s: x for s, x in self.values.items() if not self.vertices[s[0]].number}
        self.grads, self.before = {}, {}
        self.prefix = f"Step {i + 1} of {len(acts)}. " if len(acts) > 1 else ""
        for node in self.trace.nodes:
            yield self._forward(node)
        reached = {step.node: step for step in self.steps}
        for spot in self.results:
            self.grads[spot] = self._sum(spot)
        for n, node in enumerate(reversed(self.trace.nodes)):
            yield self._backward(node, reached.get(node), n == 0, n == len(self.trace.nodes) - 1)
        if self.update:
            yield self._update(i, acts)

    def _sum(self, spot):
        return self.sums.get((self.source[spot[0]], spot[1]))

    def _frame(self, phase, v, caption, rows, **about):
        named = {
            self.vertices[key].outputs[i].name or self.vertices[key].name: g
            for (key, i), g in self.grads.items()
        }
        caption, self.prefix = printable(self.prefix + caption), ""
        return Frame(
            phase, v.name if v else "update", caption, dict(self.shown),
            dict(self.grads), {name: g for name, g in named.items() if name}, rows, about, v, self,
        )  # fmt: skip

    def _inputs(self, v):
        return [e for e in self.edges if e.target == v.key]

    def _forward(self, node):
        v = self.vertices[self.key[node]]
        blocks = []
        for e in self._inputs(v):
            spot = e.source, e.output
            blocks.append((self.called[spot], self.values[spot], "value", ""))
            blocks.append(",")
        for name, x in v.constants.items():
            blocks += [(name, as_number(x), "value", ""), ","]
        blocks[-1] = "→"
        spots = [(v.key, i) for i in range(len(v.outputs))]
        for spot in spots:
            self.shown[spot] = self.values[spot]
            blocks += [(self.called[spot], self.values[spot], "value", ""), ","]
        settings = [f"{name}={value}" for name, value in v.arguments.items()]
        call = f"{v.name}({', '.join(node.op.input_names + settings)})"
        rows = [[("operation", call, "words", v.formula), ":", *blocks[:-1]]]
        given = _listed(self._input_words(e) for e in self._inputs(v)) or "numbers"
        caption = f"Forward: {v.name} takes {given} and makes {_short(self.values[spots[0]])}."
        if len(spots) > 1:
            caption = f"Forward: {v.name} takes {given} and makes {len(spots)} tensors of it."
        if v.outputs[0].name:
            caption = caption[:-1] + f", called {brief(v.outputs[0].name, NAME)}."
        return self._frame("forward", v, caption, rows, active={v.key})

    def _input_words(self, e):
        """An input in words: "a = 2" for a single number, else its name."""
        spot = e.source, e.output
        value = self.values[spot]
        name = self.called[spot]
        if isinstance(value, np.ndarray) and value.ndim == 0:
            return f"{name} = {_short(value)}"
        return name

    def _backward(self, node, step, first, last):
        v = self.vertices[self.key[node]]
        name = self.called[v.key, 0]
        if step is None:
            caption = f"Backward through {v.name}: no gradient comes to {name}, so none goes on."
            caption += self._end_of_pass(last)
            return self._frame("backward", v, caption, [], active={v.key}, flows={}, sums={})
        caption = f"Backward through {v.name}. "
        for i, g in enumerate(step.arrived):
            before = self.grads.get((v.key, i))
            if before is not None and not np.array_equal(before, g, equal_nan=True):
                caption += f"A hook has made {_short(g)} of {_short(before)}. "
            if before is not None:
                self.grads[v.key, i] = g
        if first and len(self.results) == 1:
            one = all(g.size == 1 and g.item() == 1 for g in step.arrived)
            caption = "Backward begins: " + (
                f"{name} changes as fast as itself, so its gradient is 1. "
                if one
                else f"the gradient of {name} was given. "
            )
        else:
            caption += f"The gradient that arrives at {name} is {_short(step.arrived[0])}. "
        rows, flows, sums, sentences = [], {}, {}, []
        for part in step.parts:
            e = self.trace.edges[self.trace.wires[node, part.input]]
            spot = e.source, e.output
            rows.append(self._row(v, step, part, spot))
            flows[e] = part.product
            sentences.append(self._product(step, part, spot))
            if spot in self.grads:
                sums[spot] = self.grads[spot], part.product, part.total
            self.grads[spot] = part.total
        caption += " ".join(sentences[:4])
        if len(sentences) > 4:
            caption += f" And so on, for {len(sentences) - 4} more."
        caption += self._end_of_pass(last)
        active = {v.key, *(e.source for e in flows)}
        return self._frame("backward", v, caption, rows, active=active, flows=flows, sums=sums)

    def _end_of_pass(self, last):
        if not last:
            return ""
        for spot in self.grads:  # hooks of leaves come last
            self.grads[spot] = self._sum(spot)
        return " Every gradient is there now: this is what backward() adds to .grad."

    def _product(self, step, part, spot):
        """The sentence on the gradient of one input: the product, and the sum it was added to."""
        to, g, d = self.called[spot], step.arrived[0], self.locals[step.node, part.input]
        words = f"To {to} goes {_short(part.product)}"
        if g.size == part.product.size == 1 and len(step.arrived) == 1 and d is not None:
            words = f"To {to} goes {_short(g)} × {_in_sum(d)} = {_short(part.product)}"
        if part.before is None:
            return words + "."
        if part.total.size == 1:
            before = _short(part.before)
            return (
                f"{words}, where {before} is already: they are added, "
                f"{before} + {_in_sum(part.product)} = {_short(part.total)}."
            )
        return f"{words}, where a gradient is already: the two are added."

    def _row(self, v, step, part, spot):
        to, name = self.called[spot], self.called[v.key, 0]
        names = step.node.op.input_names
        input_name = names[part.input] if part.input < len(names) else names[0]
        rule = _rule(v.derivative, input_name)
        which = 0
        if len(step.arrived) > 1:  # of several results, one whose gradient is not zero
            which = next((i for i, g in enumerate(step.arrived) if g.any()), 0)
            name = self.called[v.key, which]
        arrives = f"arrives at {name}"
        blocks = [(arrives, step.arrived[which], "gradient", "")]
        d = self.locals[step.node, part.input]
        diagonal = None if d is None else _diagonal(d, part.product, step.arrived)
        if diagonal is not None:
            sign = "×" if part.product.ndim == 0 else "⊙"
            blocks += [sign, ("local derivative", diagonal, "local", rule)]
        elif matrices := self._matrices(v, rule, arrives, step.arrived[which], part.product):
            blocks = matrices
        else:
            others = [
                (e.input, self.values[e.source, e.output])
                for e in self._inputs(v)
                if re.search(
                    rf"(?<![a-z_]){re.escape(e.input)}(?![a-z_0-9])", rule.partition("=")[2]
                )
            ]
            own = any(n == input_name for n, _ in others)
            plain = d is not None and d.size > 9 and np.isin(d, (0, 1)).all()  # 0 and 1 say little
            if d is not None and d.size <= 36 and (own or not others or 1 in d.shape) and not plain:
                words = f"local derivative {d.shape[0]} × {d.shape[1]}"
                blocks += ["·", (words, d, "local", rule)]
            else:
                blocks += ["·", ("rule", rule or v.name, "words", "")]
                blocks += [x for n, value in others for x in ("", (n, value, "value", ""))]
        blocks += ["=", ("product", part.product, "gradient", "")]
        if part.before is None:
            blocks += ["→", (f"first gradient of {to}", part.total, "gradient", "")]
        else:
            blocks += ["→", (f"gradient of {to} so far", part.before, "gradient", "")]
            blocks += ["+ product =", ("sum", part.total, "gradient", "the gradients add")]
        return blocks

    def _matrices(self, v, rule, arrives, g, product):
        """The blocks of a rule that is a product of two matrices, one of them the derivative."""
        values = {e.input: self.values[e.source, e.output] for e in self._inputs(v)}
        factors = re.fullmatch("([a-z]+)(ᵀ?) ([a-z]+)(ᵀ?)", rule.partition(" = ")[2])
        blocks, numbers = [], []
        for name, transposed in (factors.group(1, 2), factors.group(3, 4)) if factors else ():
            x = g if name == "g" else values.get(name)
            if not isinstance(x, np.ndarray) or x.ndim != 2:
                return None
            numbers.append(x.T if transposed else x)
            heading, kind = f"local derivative {name}{transposed}", "local"
            if name == "g":
                heading, kind = arrives + (", transposed" if transposed else ""), "gradient"
            blocks += [(heading, numbers[-1], kind, rule if kind == "local" else ""), "@"]
        if not numbers or numbers[0].shape[1] != len(numbers[1]):
            return None
        right = numbers[0] @ numbers[1]  # a rule may leave out a factor
        same = right.shape == product.shape and np.allclose(right, product, 1e-4, equal_nan=True)
        return blocks[:-1] if same else None

    def _update(self, i, acts):
        who, lr, after = self.update
        rows, sentences = [], []
        for spot, new in after.items():
            name, old, g = self.called[spot], self.values[spot], self.grads.get(spot)
            rows.append(
                [
                    (name, old, "value", "before"),
                    "",
                    ("its gradient", g, "gradient", ""),
                    "→",
                    (name, new, "value", "after"),
                ]
            )
            if new.size == 1:
                sentences.append(f"{name} from {_short(old)} to {_short(new)}")
            self.shown[spot] = new
        caption = f"{who} takes its step, against the gradients"
        caption += f", with learning rate {lr:g}" if isinstance(lr, float | int) else ""
        caption += f": {_listed(sentences)}." if sentences else "."
        losses = [act.values[min(act.results)] for act in acts]
        if i and all(x.size == 1 for x in losses if isinstance(x, np.ndarray)):
            caption += f" The loss was {' and then '.join(map(_short, losses[: i + 1]))}."
        return self._frame("update", None, caption, rows, active={key for key, _ in after})


# ---- words ----------------------------------------------------------------------------


def _short(x):
    """A number, the numbers of a short vector, or the shape of a larger tensor."""
    if isinstance(x, np.ndarray):
        if x.size == 1:
            return as_number(x.reshape(-1)[0].item(), 4)
        if x.ndim == 1 and 1 < x.size <= 4:
            return f"[{', '.join(as_number(n, 3) for n in x.tolist())}]"
    return f"a tensor {tuple(x.shape)}"


def _in_sum(x):
    words = _short(x)
    return f"({words})" if words.startswith("−") else words


def _listed(words):
    words = list(words)
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _rule(derivative, name):
    """The part of an operation's docstring on the derivative of one input."""
    parts = [p.strip(" ,") for p in derivative.split("    ")]
    for part in parts:
        if part.startswith((f"∂{name} ", f"∂{name}=")):
            return part
    return parts[0]


def _diagonal(d, product, arrived):
    """The diagonal of an elementwise local derivative, in the input's shape; else None."""
    if len(arrived) != 1 or arrived[0].shape != product.shape or d.shape[0] != d.shape[1]:
        return None
    apart = d[~np.eye(len(d), dtype=bool)]  # 0 × ∞ between them is not a number
    if (np.nan_to_num(apart) != 0).any():
        return None
    return np.diag(d).reshape(product.shape)
