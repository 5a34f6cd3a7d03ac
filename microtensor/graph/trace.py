"""Describe how a tensor was computed, as a graph of plain data.

`describe(loss)` walks the graph behind a tensor and returns a `Graph` of vertices and edges, which
has no notion of pictures. `watch(model)` records which module ran when, so that the vertices can be
folded by module.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import numbers
import os
import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import Any

from ..autograd import TensorBase
from ..autograd.base import sequence
from ..autograd.errors import line_of
from ..backends import backend_of
from ..nn.module import Module
from ..typing import Tensor
from ..utils.pages import brief
from .flow import flow_of, local
from .names import called as called  # its place before
from .names import named, opened
from .options import Options

__all__ = ["Call", "Edge", "Graph", "Value", "Vertex", "describe", "watch"]

KINDS = {"NonDynamicallyQuantizableLinear": "Linear"}  # names that say nothing of the model
SETTINGS = set(  # of modules, in drawings
    "kernel_size stride padding dilation groups output_size scale_factor mode p num_layers "
    "bidirectional".split()
)
LONG = 2000  # characters: longer docstrings of operations are cut
SMALL = 16  # elements: values of larger tensors are not drawn


@dataclass
class Value:
    """A tensor that flows along an edge; its numbers are NumPy arrays, or None if not shown."""

    shape: tuple
    dtype: str
    name: str = ""
    data: object = None
    grad: object = None
    flow: object = None  # its gradient, of any size
    flows: tuple = ()  # the gradients of all that it stands for, where repeats were folded


@dataclass
class Vertex:
    """A parameter, an input, an operation, a result, or a module that was folded."""

    key: str
    role: str
    name: str  # of the tensor, the operation or the module path
    outputs: list = field(default_factory=list)  # Values
    constants: dict = field(default_factory=dict)  # numbers among an operation's inputs, by name
    arguments: dict = field(default_factory=dict)  # its parameters that are not the default
    signature: str = ""
    formula: str = ""
    derivative: str = ""
    needs_grad: bool = True
    number: int = 0  # operations in the order in which they ran; 0 for leaves
    calls: tuple = ()  # the module calls that contain it, the outermost first
    where: str = ""  # the line of the program that called the operation
    kind: str = ""  # a module's class
    parameters: int = 0  # elements of the parameters inside a module,
    operations: int = 0  # and operations
    count: int = 1  # the number of identical modules that this one represents
    order: str = ""  # and how they follow one another
    settings: str = ""  # of a module: kernel sizes and the like


@dataclass(frozen=True)
class Edge:
    """`target` takes result `output` of `source` as its input called `input`."""

    source: str
    target: str
    output: int = 0
    input: str = ""
    needs_grad: bool = True
    flow: object = field(default=None, compare=False)  # the gradient that flowed back along it
    local: object = field(default=None, compare=False)  # the derivative of target by source
    flows: tuple = field(default=(), compare=False)  # of all that it stands for, as of a Value
    back: bool = False  # True from one call of a module to its next one


def gradients_of(x):
    """The gradients of all that an Edge or a Value stands for: of one, or of a folded repeat."""
    return x.flows or (x.flow,)


@dataclass
class Graph:
    vertices: list
    edges: list
    unused: list = field(default_factory=list)  # names of parameters that no gradient reaches
    repeats: dict = field(
        default_factory=dict
    )  # {Call: the number of identical ones that it represents}
    orders: dict = field(default_factory=dict)  # {Call: how they follow one another}
    flows: bool = False  # True if the gradients were computed


# ---- recording module calls ----------------------------------------------------------


@dataclass(eq=False)
class Call:
    """One call of a module: operations with sequence numbers from `start` to `end` are its own."""

    path: str
    kind: str
    parent: Call | None
    start: int
    end: float = float("inf")
    arguments: list = field(default_factory=list, repr=False)  # tensors computed outside of it
    settings: str = field(default="", repr=False)  # kernel sizes and the like

    @functools.cached_property
    def chain(self) -> Any:
        """This call and those around it, the outermost first."""
        return (*(self.parent.chain if self.parent else ()), self)

    def owns(self, name: str) -> Any:
        """True if a parameter of this name belongs to the module."""
        return not self.path or name.startswith(self.path + ".")


class watch:
    """A context manager that records the calls of a model's modules, for `describe` and `draw`."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.calls, self._open, self._handles = [], [], []
        self._root = Call("", brief(type(model).__name__), None, 0)

    def __enter__(self) -> Any:
        for path, module in self.model.named_modules():
            self._handles += [
                module.register_forward_pre_hook(
                    functools.partial(self._enter, path), with_kwargs=True
                ),
                module.register_forward_hook(functools.partial(self._leave, path)),
            ]
        return self

    def __exit__(self, *exception: Any) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, path, module, args, kwargs):
        # a part of the model that is called by itself counts as inside the model
        parent = self._open[-1] if self._open else self._root if path else None
        kind = KINDS.get(type(module).__name__, type(module).__name__)
        call = Call(path, brief(kind), parent, next(sequence), settings=_settings(module))
        call.arguments = [a for a in (*args, *kwargs.values()) if isinstance(a, TensorBase)]
        self.calls.append(call)
        self._open.append(call)

    def _leave(self, path, module, args, output):
        while self._open:
            call = self._open.pop()
            call.end = next(sequence)
            if call.path == path:
                break

    def chain(self, number: Any) -> Any:
        """The calls that contain the operation of this sequence number, the outermost first."""
        i = bisect_right(self.calls, number, key=lambda call: call.start)
        call = self.calls[i - 1] if i else None
        while call is not None and call.end < number:
            call = call.parent
        return call.chain if call is not None else ()


def _settings(module):
    """What shapes do not tell of a module: "kernel_size=(3, 3), stride=(2, 2)"."""
    parts = re.findall(r"(\w+)=(\([^)]*\)|[^,]+)", module.extra_repr())
    return brief(", ".join(f"{name}={value}" for name, value in parts if name in SETTINGS), 100)


# ---- the description -----------------------------------------------------------------


def describe(output: Any, params: Any = None, names: Any = None, values: Any = False,
             grads: Any = False, gradient: Tensor | None = None, calls: Any = None,
             scope: Any = None, flows: bool = False,
             derivatives: bool = False) -> Graph:  # fmt: skip
    """The graph behind a tensor, a list or a {name: tensor} of them, as a `Graph`.

    `params` (a Module, or a mapping from names to tensors) says which leaves are parameters and
    their names; without it every leaf that requires a gradient is one. `names` maps names to any
    tensors, or tensors to names. `values` and `grads` keep the numbers of tensors of at most 16
    elements, or of as many as given. The gradients are computed here, from `gradient` if the output
    has more than one element; `.grad` stays unchanged. `calls` is the record of `watch`; `scope`
    are variables whose names are used for tensors that have no other. `flows` keeps the gradients
    of all tensors and along all edges, of any size; `derivatives` the local derivative of each edge
    between single numbers.
    Raises RuntimeError for a tensor without a graph, or one whose graph was freed.
    """
    view = "both" if flows else "forward"
    options = Options(
        params, names, values, grads, view=view, derivatives=derivatives, gradient=gradient,
        calls=calls, scope=scope,
    )  # fmt: skip
    return described(output, options)


def described(output, options):
    """`describe` with its arguments as `Options`."""
    trace = traced(output, options)
    if options.grads or options.flows or options.derivatives:
        trace.differentiate(options.gradient, _limit(options.grads), options.derivatives)
    trace.values(_limit(options.values))
    trace.settle()
    return Graph(
        list(trace.vertices.values()), trace.edges, trace.unused(), flows=trace.flown is not None
    )


def traced(output, options):
    """The walk behind `describe`: vertices and edges, with the nodes and tensors they represent."""
    if isinstance(output, dict):
        options = replace(options, names={**named(output), **named(options.names)})
        output = output.values()
    several = hasattr(output, "__iter__") and not isinstance(output, TensorBase)
    outputs = list(output) if several else [output]
    for t in outputs:
        if not isinstance(t, TensorBase):
            raise TypeError(f"draw, film: a Tensor is needed, got {type(t).__name__}")
        if t.grad_fn is None:
            raise RuntimeError(
                "draw: this tensor has no graph; compute it from tensors with requires_grad=True, "
                "outside no_grad"
            )
    trace = _Trace(options)
    trace.outputs, trace.nodes = outputs, _nodes(outputs)
    for node in trace.nodes:
        trace.operation(node)
    for i, t in enumerate(outputs):
        trace.result(i, t)
    return trace


def _limit(wanted):
    return SMALL if wanted is True else int(wanted)


def _nodes(outputs):
    """Every node behind the outputs, the first computed first."""
    seen, stack = set(), [t.grad_fn for t in outputs]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            if node.args is None:
                raise RuntimeError(
                    f"draw: the graph of {node.name()} was freed by backward(); draw before it, or "
                    "call backward(retain_graph=True)"
                )
            stack += [
                edge[0] for edge in node.edges if edge and not isinstance(edge[0], TensorBase)
            ]
    return sorted(seen, key=lambda node: node.number)


class _Trace:
    """The state of the walk over a graph. A place is (Node or leaf, index of its result)."""

    def __init__(self, options):
        params = options.params
        self.known = params is not None
        self.flown = None  # the sources that a gradient reached, once they are known
        buffers = {}
        if hasattr(params, "named_parameters"):
            buffers = named(params.named_buffers())
            params = params.named_parameters()
        self.params = named(params)
        self.owned = {**buffers, **self.params}  # what modules own, by path
        known = {**named(opened(options.scope)), **self.owned, **named(options.names)}
        self.names = {(t.grad_fn or t, t._index): n for t, n in known.items()}
        self.calls = options.calls
        self.vertices, self.edges = {}, []
        self.places = {}  # place: the tensor there
        self.sources = {}  # Node or leaf: its vertex
        self.users = {}  # leaf: [(operation's vertex, input name)]
        self.wires = {}  # (Node, index of the input): index of the edge

    def operation(self, node):
        call = node.op
        formula, _, derivative = _in_one_line(call).partition("    ")
        v = Vertex(f"op{node.number}", "operation", brief(node.name()), number=node.number)
        v.formula, v.derivative = brief(formula.strip(), LONG), brief(derivative.strip(), LONG)
        v.calls = self.calls.chain(node.number) if self.calls else ()
        v.where = called_at(node)
        inputs, parameters = _parameters(call)
        v.signature = f"{v.name}({', '.join(inputs + [name for name, _ in parameters])})"
        for i, (a, then, edge) in enumerate(zip(node.args, node.inputs, node.edges)):
            name = inputs[i] if len(inputs) == len(node.edges) else f"{inputs[0]}[{i}]"
            if edge is not None:
                is_leaf = isinstance(edge[0], TensorBase)
                self.places.setdefault(edge, edge[0] if is_leaf else then)
                self.wires[node, i] = len(self.edges)
                self.edge(edge, v, name)
            elif getattr(a, "ndim", None) == 0 and not isinstance(a, TensorBase):
                v.constants[name] = a.item()  # a NumPy number
            elif isinstance(a, TensorBase) or hasattr(a, "dtype"):
                place = (a if isinstance(a, TensorBase) else id(a), 0)
                self.places.setdefault(place, a)
                self.edge(place, v, name, needs_grad=False)
            elif isinstance(a, numbers.Number):
                v.constants[name] = a
            elif a is not None:
                v.arguments[name] = _brief(a)
        given = dict(zip((name for name, _ in parameters), node.args[len(node.edges) :]))
        given.update(node.params)
        defaults = dict(parameters)
        v.arguments |= {
            name: _brief(value)
            for name, value in given.items()
            if name != "seed" and not _is_default(value, defaults.get(name))
        }
        shapes = node.shapes if node._num_outputs > 1 else [None]
        v.outputs = [
            Value(shape, "", self.names.get((node, i), "")) for i, shape in enumerate(shapes)
        ]
        self.sources[node] = self.vertices[v.key] = v

    def edge(self, place, target, name, needs_grad=True):
        source, index = place
        v = self.sources.get(source)
        if v is None:
            v = self.sources[source] = self.leaf(source)
        if v.number == 0:
            self.users.setdefault(source, []).append((target, name))
        self.edges.append(Edge(v.key, target.key, index, name, needs_grad))

    def leaf(self, source):
        needs_grad = (
            isinstance(source, TensorBase) and source._needs_grad and source.grad_fn is None
        )
        is_parameter = source in self.params if self.known else needs_grad
        name = self.names.get((source, 0), "")
        v = Vertex(f"leaf{len(self.sources)}", "parameter" if is_parameter else "input", name)
        v.needs_grad = needs_grad
        v.outputs = [Value(None, "", name)]
        self.vertices[v.key] = v
        return v

    def result(self, i, tensor):
        place = (tensor.grad_fn, tensor._index)
        self.places.setdefault(place, tensor)
        name = self.names.get(place) or "result"
        v = Vertex(f"result{i}", "result", name, [self.sources[place[0]].outputs[place[1]]])
        self.vertices[v.key] = v
        self.edges.append(Edge(self.sources[place[0]].key, v.key, place[1]))

    def differentiate(self, gradient, limit, derivatives=False):
        """Record the gradient of every tensor and along every edge; `.grad` stays unchanged."""
        steps, sums = flow_of(self.nodes, self.outputs, gradient)
        for (source, index), g in sums.items():
            value = self.sources[source].outputs[index]
            value.flow = g
            if g.size <= limit:
                value.grad = g.copy()
        for step in steps:
            for part in step.parts:
                i = self.wires[step.node, part.input]
                slope = None  # computed only for a single number
                if derivatives and part.product.size == 1 and [g.size for g in step.arrived] == [1]:
                    slope = local(step, part.input)
                self.edges[i] = replace(self.edges[i], flow=part.product, local=slope)
        for i, t in enumerate(self.outputs):
            seed = sums[t.grad_fn, t._index]
            at = next(j for j, e in enumerate(self.edges) if e.target == f"result{i}")
            self.edges[at] = replace(self.edges[at], flow=seed)
        self.flown = {source for source, _ in sums}
        return steps, sums

    def values(self, limit):
        """Fill in shapes and dtypes, and the numbers of small tensors."""
        for (source, index), tensor in self.places.items():
            array = tensor._data if isinstance(tensor, TensorBase) else tensor
            value, backend = self.sources[source].outputs[index], backend_of(array)
            value.shape, value.dtype = tuple(array.shape), backend.dtype(array).name
            if limit and _numel(array.shape) <= limit:
                value.data = backend.to_numpy(array).copy()

    def settle(self):
        """Find the module call of each leaf: the innermost that contains all of its users."""
        for leaf, users in self.users.items():
            v = self.sources[leaf]
            v.kind = users[0][1] if len(users[0][1]) > 1 else ""  # "target", but not "a"
            chains = [user.calls for user, _ in users]
            home = []
            for calls in zip(*chains):
                outside = any(call is not calls[0] for call in calls) or (
                    not calls[0].owns(self.owned[leaf])
                    if leaf in self.owned
                    else v.name or any(a is leaf for a in calls[0].arguments)
                )
                if outside:
                    break
                home.append(calls[0])
            v.calls = tuple(home)

    def unused(self):
        """Parameters that are not in the graph, or that no gradient reached."""
        seen = self.sources if self.flown is None else self.flown
        return [n for t, n in self.params.items() if t._needs_grad and t not in seen]


def called_at(node):
    """ "file.py:3: the line itself" that called an operation."""
    path, number = line_of(node.caller)
    text = linecache.getline(path, number).strip()
    place = f"{os.path.basename(path)}:{number}"
    return brief(f"{place}: {text}" if text else place, LONG)


def _numel(shape):
    n = 1
    for size in shape:
        n *= size
    return n


def _in_one_line(call):
    """The first line of an operation's docstring: its formula, four spaces, its derivatives."""
    lines = map(str.strip, (call.__doc__ or "").splitlines())
    return "    ".join(filter(None, lines))


def _parameters(call):
    """The names of an operation's inputs, and [(name, default)] of its parameters."""
    if isinstance(call.function, type):  # an autograd.Function
        return list(call.input_names), []
    return _parameters_of(call)


@functools.cache
def _parameters_of(call):
    parameters = inspect.signature(call.function).parameters.values()
    return call.input_names, [
        (p.name, p.default) for p in parameters if p.name not in call.input_names
    ]


def _is_default(value, default):
    return value is default or (isinstance(value, numbers.Number | str) and value == default)


def _brief(value):
    """A short text for a parameter of an operation."""
    if isinstance(value, TensorBase) or hasattr(value, "shape"):
        return f"{value.dtype} {tuple(value.shape)}"
    if isinstance(value, slice):
        parts = ["" if p is None else str(p) for p in (value.start, value.stop, value.step)]
        return ":".join(parts if parts[2] else parts[:2])
    if value is Ellipsis:
        return "…"
    if isinstance(value, tuple | list):
        text = ", ".join(_brief(v) for v in value)
        return f"({text},)" if len(value) == 1 else f"({text})"
    if isinstance(value, float):
        return f"{value:.4g}"
    if callable(value):
        return brief(getattr(value, "__name__", "…"), 40)
    return brief(value, 40)
