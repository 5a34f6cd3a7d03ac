"""Reverse-mode automatic differentiation: the whole engine, to be read in one sitting.

An operation is one plain function: it takes arrays and returns its value and its pullbacks, how a
gradient of the value becomes a gradient of each input.

    @op
    def mul(a, b):
        \"\"\"a b.    ∂a = g b,    ∂b = g a\"\"\"
        return a * b, (lambda g: g * b, lambda g: g * a)

`@op` unwraps tensors, wraps the result and records one `Node`. `backward` and `grad` walk the
nodes from the youngest to the oldest, which is already a topological order, and call the
pullbacks. What a pullback saves is what its closure holds: there is no context object.

With `create_graph=True` the body runs once more, on tensors instead of arrays, so the pullbacks
are themselves made of operations and can be differentiated: derivatives of any order, with no
second set of rules.

In a first reading skip what speaks of views, of `_changes` and of the modes `watched` and
`inference`: where nothing is changed in place, they do nothing.
"""

import functools
import inspect
import math
import operator
from heapq import heappop, heappush

from ..backends import backend_of, quiet, xp
from ..backends.dtypes import PYTHON
from ..backends.promotion import is_float, promoted
from ..backends.quiet import IGNORED, warnings
from .arguments import _by_name, _plain, into
from .base import TensorBase, as_list, births, registry
from .errors import caller, check_finite, check_gradient, describe, on_one_device, op_error
from .hooks import Leaf, _arrive, _own, _owned, _run_hooks
from .modes import enable_grad, mode
from .saved import _changes, _check_saved, _saved
from .views import _edge, _follow, _mark_view


def op(function=None, /, *, promote=None, view=False):
    """Make an operation of tensors from a function of arrays.

    `function(*inputs, **parameters)` returns the value and its pullbacks: one function of the
    value's gradient for each input, None for an input that has no derivative; or a single function
    that returns the gradients of all inputs; or None if nothing can be differentiated. The inputs
    are the arguments before a `/`, else the positional ones without a default. A function that
    returns a tuple of values gets a tuple of gradients. Write the body with `xp(x)` and operators.

    `promote` gives the inputs one dtype by PyTorch's rules: "same", or "float" for operations whose
    result is floating. `view` says that the value may share memory with the first input.
    """
    if function is None:
        return functools.partial(op, promote=promote, view=view)
    name = function.__name__.rstrip("_")
    if name in registry and registry[name].__module__.split(".")[0] == "microtensor":
        raise ValueError(f"there is an operation {name!r} already; give yours another name")
    parameters = inspect.signature(function).parameters
    inputs = [p for p in parameters.values() if p.kind is p.POSITIONAL_ONLY] or [
        p
        for p in parameters.values()
        if p.kind is p.VAR_POSITIONAL or p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty
    ]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in inputs)
    arity = 1 << 30 if variadic else len(inputs)
    own = parameters.keys() - {p.name for p in inputs}  # the names that need no translation

    @functools.wraps(function)
    def call(*args, **params):
        if params and not params.keys() <= own:
            if "out" in params:
                return into(params.pop("out"), call(*args, **params))
            args, params = _by_name(call, args, params)
        arrays, edges, needs, recording = list(args), [], False, mode.recording
        owner = kind = dtype = None
        mixed = False  # whether the inputs have more than one dtype
        for i, a in enumerate(args if len(args) <= arity else args[:arity]):
            edge = None
            if isinstance(a, TensorBase):
                arrays[i] = data = a._data
                if owner is None:
                    owner, kind, dtype = a, type(data), data.dtype
                elif type(data) is not kind:
                    mixed = on_one_device(call, args)
                elif data.dtype is not dtype:
                    mixed = True
                if recording:
                    if a._base is not None and a._seen != a._base._rewrites:
                        _follow(a)
                    if a._needs_grad:
                        edge = (a._node or a, a._index)
                        needs = True
            elif a is not None and type(a) not in PYTHON:
                arrays[i], mixed = _plain(call, a), True
            edges.append(edge)
        if owner is None:
            raise TypeError(f"{name}: a Tensor is needed, got {describe(args) or 'nothing'}")
        if promote and (mixed or not is_float(owner._data)):
            arrays[: len(edges)] = promoted(arrays[: len(edges)], promote)
        before = warnings.get()
        try:  # see restoring.py
            warnings.set(IGNORED)
            returned = function(*arrays, **params)
        except (ValueError, IndexError, TypeError, OverflowError, RuntimeError) as error:
            raise op_error(call, args, error) from error
        finally:
            warnings.set(before)
        if type(returned) is not tuple or len(returned) != 2:
            raise TypeError(f"{name}: an operation returns its value and its pullbacks, as a pair")
        value, pullback = returned
        several = type(value) is tuple
        if several:
            results = tuple([owner._wrap(v) for v in value])
        elif type(value) in PYTHON:
            raise TypeError(f"{name}: the value must be an array, got {value!r}")
        else:
            results = (owner._wrap(value),)
        if mode.watched:
            _watch(call, args, params, arrays, results, several)
        if view and not mode.inference:
            for i, r in enumerate(results):
                _mark_view(owner, r, (call, args[1:], params, i if several else None))
        if needs and pullback is not None:
            if not callable(pullback) and len(pullback) != (len(edges) if variadic else arity):
                raise TypeError(
                    f"{name}: {len(pullback)} pullbacks for {', '.join(call.input_names)}; one is "
                    "needed for each input (None: no derivative), or one function for all"
                )
            shapes = [tuple(v.shape) for v in value] if several else None
            node = Node(call, args, params, edges, pullback, shapes)
            for i, r in enumerate(results):
                if is_float(r._data):
                    r._node, r._index, r._needs_grad = node, i, True
        return results if several else results[0]

    def replace_body(body):  # autocast's door
        nonlocal function
        function = call.function = body

    call.replace_body = replace_body
    call.op_name, call.function, call.variadic = name, function, variadic
    call.promote, call.view = promote, view
    call.input_names = [p.name for p in inputs]
    call.defaults = {p.name: p.default for p in parameters.values()}
    registry[name] = call
    return call


def _watch(call, args, params, arrays, results, several):
    """Show an operation to those who asked: detect_anomaly, a Replay."""
    if mode.anomaly:
        check_finite(call, arrays, results)
    if mode.tape is not None:
        results = results if several else results[0]
        mode.tape.operation(call, args, params, arrays, results)


def unbroadcast(g, like):
    """The gradient `g` in the shape and dtype of `like`: summed where `like` was broadcast."""
    if g.shape != like.shape:
        extra = len(g.shape) - len(like.shape)
        sizes = (1,) * extra + tuple(like.shape)
        axes = tuple(i for i, (n, m) in enumerate(zip(g.shape, sizes)) if n != m or i < extra)
        if extra < 0 or any(sizes[i] != 1 for i in axes):
            raise RuntimeError(
                f"a gradient of shape {tuple(g.shape)} came for an input of {tuple(like.shape)}"
            )
        g = xp(g).reshape(xp(g).sum(g, axis=axes, keepdims=True), tuple(like.shape))
    if g.dtype != like.dtype:
        g = backend_of(g).cast(g, backend_of(like).dtype(like))
    return g


# ---- the graph -----------------------------------------------------------------------


class Node:
    """One call of an operation: what went in, and the pullbacks.

    `edges` says for each input where its gradient goes: to a result of an older node, to a leaf,
    or None. `caller` says, by `errors.line_of`, which line called it.
    """

    __slots__ = (
        "op", "args", "params", "edges", "pullback", "shapes", "number", "caller", "_width",
        "_hooks", "_keepers", "__weakref__",
    )  # fmt: skip

    def __init__(self, op, args, params, edges, pullback, shapes):
        self.op, self.args, self.params, self.edges = op, args, params, edges
        self.pullback, self.shapes, self.number = pullback, shapes, next(births)
        self._width = 1 if shapes is None else len(shapes)  # how many results
        self._hooks = self._keepers = None
        self.caller = caller(3)  # of the operation, or of Function.apply

    def name(self):
        """The name of the operation."""
        return self.op.op_name

    @property
    def inputs(self):
        """The inputs, the tensors among them with the history that they had when it ran."""
        return tuple(
            a if not isinstance(a, TensorBase) or edge == _edge(a) else a._alias(edge)
            for a, edge in zip(self.args or (), self.edges)
        )

    @property
    def next_functions(self):
        """PyTorch's form of the edges: (node, index) of each input, (None, 0) for none."""
        return tuple(
            (None, 0) if edge is None else edge if isinstance(edge[0], Node) else (Leaf(edge[0]), 0)
            for edge in self.edges
        )

    def _given(self):
        """The arguments; an input that got another shape since, in that which it had."""
        for i, a in enumerate(self.args):
            was = a._former if isinstance(a, TensorBase) else ()
            array = next((array for until, _, array in was if self.number < until), None)
            if array is not None and i < len(self.edges):
                a = a._alias(self.edges[i])
                a._data = array
            yield a

    def leads_to(self, wanted):
        """Whether a gradient goes from here to one of the nodes and leaves in a set."""
        return any(edge is not None and edge[0] in wanted for edge in self.edges)

    def checked_pullback(self, create_graph):
        """The pullbacks, or, for create_graph, the pullbacks of the body run on tensors."""
        if self.pullback is None or create_graph and self.args is None:
            raise RuntimeError(
                f"backward: the graph of {self.name()} was freed by an earlier backward; "
                "pass retain_graph=True to that one to go through the graph twice"
            )
        if _changes.newest > self.number and self.args is not None:
            self.args = tuple(self._given())
            used = self.pullback
            if not callable(used):
                used = [pull for pull, edge in zip(used, self.edges) if edge is not None]
            _check_saved(self, used)
            if create_graph and _saved(used):  # the body reads its inputs again
                _check_saved(self, self.args)
        if not create_graph:
            return self.pullback
        with enable_grad():
            return self.op.function(*self.inputs, *self.args[len(self.edges) :], **self.params)[1]

    def pull(self, slots, wanted, create_graph):
        """[(edge, gradient)] of the inputs that lead to something wanted, the last one first."""
        edges, pullback, parts = self.edges, self.pullback, None
        if create_graph or pullback is None or _changes.newest > self.number:
            pullback = self.checked_pullback(create_graph)
        g = slots[0] if self.shapes is None else tuple(slots)
        if callable(pullback):
            single = len(edges) == 1 and not self.op.variadic
            parts = (pullback(g),) if single else pullback(g)
            if len(parts) < len(edges):
                raise RuntimeError(
                    f"the pullback of {self.name()} gave {len(parts)} gradients for "
                    f"{len(edges)} inputs"
                )
        found = []
        for i in range(len(edges) - 1, -1, -1):
            edge = edges[i]
            if edge is not None and (wanted is None or edge[0] in wanted):
                part = parts[i] if parts is not None else pullback[i] and pullback[i](g)
                if part is not None:
                    found.append((edge, self._fitted(part, i, create_graph)))
        return found

    def _fitted(self, part, i, create_graph):
        """The gradient of input i in its shape and dtype."""
        if self.args is None:  # see free
            return part
        like = self.args[i]._data
        try:
            if part.shape != like.shape or part.dtype != like.dtype:
                part = unbroadcast(part, self.args[i] if create_graph else like)
        except (AttributeError, RuntimeError) as error:
            raise RuntimeError(f"the pullback of {self.name()}, input {i}: {error}") from error
        return part if part.shape or create_graph else backend_of(part).array(part)

    def free(self):
        """Drop what the node holds, so that its activations can go.

        Parts of one tensor hold nothing of it: each may have a backward of its own, as in PyTorch,
        and their gradients joined fit it.
        """
        self.args = None
        if self.shapes is None or not self.op.view:
            self.pullback = None

    def __repr__(self):
        return f"<{self.name()}>"


# ---- backward ------------------------------------------------------------------------


def _on_the_way(roots, targets):
    """The nodes from which a path leads to a target, and the targets."""
    seen, stack = set(), [node for node, _ in roots if type(node) is Node]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [e[0] for e in node.edges if e is not None and type(e[0]) is Node]
    wanted = {source for source, _ in targets}
    for node in sorted(seen, key=operator.attrgetter("number")):
        if node.leads_to(wanted):
            wanted.add(node)
    return wanted


def _walk(roots, seeds, targets, retain_graph, create_graph):
    """Send the seeds back through the graph; the gradients that reached leaves and targets.

    Everything is an edge: (node or leaf, index). Returns {source: [gradient of each result]}.
    Gradients are arrays, or Tensors if create_graph.

    Of the nodes that hold a gradient the youngest comes next. All that used its results are
    younger, so its gradient is complete.
    """
    wanted = None if targets is None else _on_the_way(roots, targets)
    kept = () if targets is None else {source for source, _ in targets}
    pending, caught = {}, {}  # {source: its gradients}
    heap = []  # (−number, node) for each node among pending
    for root, seed in zip(roots, seeds):
        if wanted is None or root[0] in wanted:
            _send(pending, heap, root, seed)
    seeds.clear()
    seed = None  # nobody else is to hold them: they may be added to in place
    before, recording, anomaly = mode.grad, mode.recording, mode.anomaly
    try:  # see restoring.py
        mode.set_grad(create_graph)
        while heap:
            _, node = heappop(heap)
            slots = pending.pop(node)
            if node._hooks or node._keepers:
                _run_hooks(node, slots)
            if node in kept:
                caught[node] = list(slots)
                if not node.leads_to(wanted):
                    continue
            if node._width > 1:
                _fill(node, slots)
            parts = node.pull(slots, wanted, create_graph)
            while parts:  # the slots alone are to hold the gradients, so that they may be added to
                edge, part = parts.pop()
                if anomaly:
                    check_gradient(node, slots, part)
                _send(pending, heap, edge, part)
                del part
            if not retain_graph:
                node.free()
        for leaf, slots in pending.items():
            if leaf._hooks:
                _run_hooks(leaf, slots)
    finally:
        mode.grad, mode.recording = before, recording
    return {**pending, **caught} if caught else pending


def _send(pending, heap, edge, g):
    """Add a gradient to what has reached the same place."""
    source, index = edge
    slots = pending.get(source)
    if slots is None:
        slots = pending[source] = [None] * source._width
        if type(source) is Node:
            heappush(heap, (-source.number, source))
    if slots[index] is None:
        slots[index] = g
    elif not isinstance(g, TensorBase) and _owned(slots, index):
        slots[index] += g
    else:
        slots[index] = slots[index] + g


def _fill(node, slots):
    """Zeros for the results of a node that no gradient reached."""
    some = next(s for s in slots if s is not None)
    array = some._data if isinstance(some, TensorBase) else some
    for i, s in enumerate(slots):
        if s is None:
            zeros = xp(array).zeros(node.shapes[i], dtype=array.dtype)
            slots[i] = some._wrap(zeros) if array is not some else zeros


@quiet
def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, inputs=None):
    """Add to `.grad` of every leaf the derivative of the sum of `tensors`.

    `grad_tensors` weighs the elements of each tensor and may be left out for a single element.
    `inputs` limits what gets a gradient. The graph is freed unless `retain_graph`.
    Raises RuntimeError if a tensor has no graph, or its graph was freed.
    """
    roots, seeds = _seeds("backward", tensors, grad_tensors, create_graph)
    targets = None
    if inputs is not None:
        inputs = list({id(t): t for t in as_list(inputs)}.values())
        targets = _targets("backward", inputs)
    retain_graph = create_graph if retain_graph is None else retain_graph
    found = _walk(roots, seeds, targets, retain_graph, create_graph)
    if targets is None:
        for leaf, slots in found.items():
            _arrive(leaf, slots, 0)
    else:
        for t, (source, index) in zip(inputs, targets):
            if source in found:
                _arrive(t, found[source], index)


@quiet
def grad(
    outputs,
    inputs,
    grad_outputs=None,
    retain_graph=None,
    create_graph=False,
    only_inputs=True,
    allow_unused=None,
    is_grads_batched=False,
    materialize_grads=False,
):
    """The derivatives of the sum of `outputs` with respect to each of `inputs`, as a tuple.

    With `create_graph` the derivatives can be differentiated again. An input that the outputs do
    not depend on is an error unless `allow_unused` (its derivative is None) or
    `materialize_grads` (zeros). No other tensor gets a gradient: `only_inputs` is always so.
    """
    if is_grads_batched:
        raise NotImplementedError("grad: is_grads_batched is missing; call grad for each row")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "grad: materialize_grads answers for unused inputs; leave allow_unused out"
        )
    roots, seeds = _seeds("grad", outputs, grad_outputs, create_graph)
    inputs = as_list(inputs)
    targets = _targets("grad", inputs)
    retain_graph = create_graph if retain_graph is None else retain_graph
    found = _walk(roots, seeds, targets, retain_graph, create_graph)
    grads = []
    for i, (t, (source, index)) in enumerate(zip(inputs, targets)):
        slots = found.get(source)
        if slots is not None and slots[index] is not None:
            grads.append(slots[index] if create_graph else _own(t, slots, index))
        elif materialize_grads:
            grads.append(t._wrap(xp(t._data).zeros_like(t._data)))
        elif allow_unused:
            grads.append(None)
        else:
            raise RuntimeError(
                f"grad: the outputs do not depend on input {i}; pass allow_unused=True "
                "to get None for it"
            )
    return tuple(grads)


def _targets(name, inputs):
    """The edges of the tensors whose derivatives are asked for."""
    if not inputs:
        raise RuntimeError(f"{name}: inputs is empty; name at least one tensor")
    targets = [_edge(t) for t in inputs]
    if None in targets:
        raise RuntimeError(
            f"{name}: input {targets.index(None)} does not require a gradient; "
            "call requires_grad_() on it before it is used"
        )
    return targets


def _seeds(name, tensors, grad_tensors, create_graph):
    """The edges to start from, and the gradient that each starts with."""
    tensors = as_list(tensors)
    if not isinstance(grad_tensors, (list, tuple)):
        grad_tensors = [grad_tensors] * (len(tensors) if grad_tensors is None else 1)
    if len(grad_tensors) != len(tensors):
        raise RuntimeError(
            f"{name}: {len(tensors)} tensors, but {len(grad_tensors)} gradients for them"
        )
    roots, seeds = [], []
    for t, g in zip(tensors, grad_tensors):
        root, shape = _edge(t), tuple(t._data.shape)
        if root is None:
            raise RuntimeError(
                f"{name}: this tensor does not require a gradient and has no grad_fn; "
                "compute it from tensors with requires_grad=True, outside no_grad"
            )
        if g is None:
            if math.prod(shape) != 1:
                raise RuntimeError(
                    f"{name}: only a tensor of one element has an implicit gradient, this one has "
                    f"shape {shape}; reduce it with sum() or mean(), or pass a gradient"
                )
            g = backend_of(t._data).one(t._data)
            g = t._wrap(g) if create_graph else g
        elif not isinstance(g, TensorBase) or type(g._data) is not type(t._data):
            raise TypeError(
                f"{name}: the gradient must be a Tensor on {t.device}, got {describe([g])}"
            )
        elif tuple(g._data.shape) != shape:
            raise RuntimeError(
                f"{name}: the gradient has shape {tuple(g._data.shape)}, the tensor {shape}"
            )
        elif g._data.dtype != t._data.dtype or not create_graph:
            g = unbroadcast(g, t) if create_graph else unbroadcast(g._data, t._data)
        roots.append(root)
        seeds.append(g)
    return roots, seeds
