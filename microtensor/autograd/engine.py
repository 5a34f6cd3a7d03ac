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

With `create_graph=True` the body runs once more, on tensors, so that the pullbacks are made of
operations and can be differentiated, too: derivatives of any order from one set of rules.

Beside this file: `views` (tensors that share memory), `saved` and `in_place` (what was changed in
place), `hooks` (where gradients arrive), `arguments`, `modes`, `errors`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Concatenate, Literal, overload

from ..backends import backend_of, quiet, xp
from ..backends.dtypes import PYTHON
from ..backends.half import HALVES, USUAL, in_float32
from ..backends.promotion import is_float, promoted
from ..backends.quiet import IGNORED, warnings
from ..typing import Flag, FunctionType, P, Rule, Tensor, TensorLike, TensorOrTensors, Tensors
from .arguments import Signature, edges_of, inputs_by_name, into, plain_input, roots_and_seeds
from .base import TensorBase, as_list, looked_at, registry, sequence
from .calls import WRONG, check, has_own, names, op_error
from .errors import caller, check_gradient, describe, on_one_device, wrong_pullbacks
from .hooks import as_node, as_own_tensor, deliver, held_by_slot_alone, run_hooks
from .modes import enable_grad, mode, watch
from .packing import look_at
from .rows import each_row
from .saved import Form, changes, check_saved, forms, without_saved
from .views import as_it_was, mark_view, refresh

# ---- operations ----------------------------------------------------------------------


@overload  # with hints that jedi can match: see Rule
def op(function: Rule[P] | FunctionType, /) -> Callable[Concatenate[TensorLike, P], Tensor]: ...
@overload
def op(*, promote: str | None = ..., view: Flag = ..., exact: Flag = ...
       ) -> Callable[[Rule[P]], Callable[Concatenate[TensorLike, P], Tensor]]: ...  # fmt: skip
@overload
def op(*, several: Literal[True], promote: str | None = ..., view: Flag = ..., exact: Flag = ...
       ) -> Callable[[Rule[P]], Callable[Concatenate[TensorLike, P], Tensors]]: ...  # fmt: skip
def op(function=None, /, *, promote=None, view=False, exact=False, several=False):
    """Make an operation of tensors from a function of arrays.

    `function(*inputs, **parameters)` returns the value and its pullbacks: one function of the
    value's gradient for each input, None for an input that has no derivative; or a single function
    that returns the gradients of all inputs; or None if nothing can be differentiated. The inputs
    are the arguments before a `/`, else the positional ones without a default. A function that
    returns a tuple of values gets a tuple of gradients. Write the body with `xp(x)` and operators.

    `promote` gives the inputs one dtype by PyTorch's rules: "same", or "float" for operations whose
    result is floating. `view` says that the value may share memory with the first input, `several`
    that it is a tuple. Within the function half precision is float32, and the value is rounded
    once, unless `exact` says that it only moves or compares numbers.
    """
    # Long because it holds `call`.
    if function is None:
        return functools.partial(op, promote=promote, view=view, exact=exact, several=several)
    name, signature = function.__name__.rstrip("_"), Signature(function)
    arity, variadic, options = signature.arity, signature.variadic, signature.options
    tensors, takes, first, reflected = signature.tensors, signature.takes, signature.first, ""
    if name in registry and registry[name].__module__.split(".")[0] == "microtensor":
        raise ValueError(f"there is an operation {name!r} already; give yours another name")

    @functools.wraps(function)
    def call(*args, **params):
        # Long because each further function call in it would cost every operation time.
        if params and not params.keys() <= options:
            if "out" in params:
                return into(params.pop("out"), call(*args, **params), args)
            args, params = inputs_by_name(call, args, params)
        more = len(args) - arity
        if params or more > 1 or more == 1 and type(args[arity]) not in first:
            check(takes, args[arity:], params, name)
        # tensors to arrays, and the edges along which their gradients will go
        arrays, edges, needs, recording = list(args), [], False, mode.recording
        owner, kind, dtype, mixed = None, None, None, False  # mixed: inputs of several dtypes
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
                    if a._base is not None and a._base_history_version != a._base._history_version:
                        refresh(a)
                    if a._needs_grad:
                        edge = (a._node or a, a._index)
                        needs = True
            elif i < tensors or type(a) not in PYTHON and (a is not None or promote):
                if reflected and has_own(a, reflected):
                    return NotImplemented
                arrays[i], mixed = plain_input(call, a, i < tensors), True
            edges.append(edge)
        if owner is None:
            raise TypeError(f"{name}: a Tensor is needed, got {describe(args) or 'nothing'}")
        if promote and (mixed or dtype is not USUAL and not is_float(owner._data)):
            arrays[: len(edges)] = promoted(arrays[: len(edges)], promote)

        # the value and its pullbacks
        before = warnings.get()
        try:  # see backends/restoring.py
            warnings.set(IGNORED)
            half = dtype is not USUAL and dtype in HALVES
            run = call.compute if half or mixed or "dtype" in params else function
            returned = run(*arrays, **params)
        except WRONG as error:
            raise op_error(call, args, error, params) from error
        finally:
            warnings.set(before)
        if type(returned) is not tuple or len(returned) != 2:
            raise TypeError(f"{name}: an operation returns its value and its pullbacks, as a pair")
        value, pullback = returned

        # arrays to tensors
        several = type(value) is tuple
        if several:
            results = tuple([owner._wrap(v) for v in value])
        elif type(value) in PYTHON:
            raise TypeError(f"{name}: the value must be an array, got {value!r}")
        else:
            results = (owner._wrap(value),)
        if mode.watched:
            watch(call, args, params, arrays, results if several else results[0])
        if view:
            for i, r in enumerate(results):
                mark_view(owner, r, (call, args[1:], params, i if several else None), recording)

        # the node
        if needs and pullback is not None:
            if not callable(pullback) and len(pullback) != (len(edges) if variadic else arity):
                raise wrong_pullbacks(call, pullback)
            shapes = [tuple(v.shape) for v in value] if several else None
            node = Node(call, args, params, edges, pullback, shapes)
            if looked_at:
                look_at(node, owner._wrap)
            for i, r in enumerate(results):
                if r._data.dtype is USUAL or is_float(r._data):
                    r._node, r._index, r._needs_grad = node, i, True
        return results if several else results[0]

    def replace_body(body):  # by which autocast lets an operation cast its inputs
        nonlocal function
        function = call.function = body
        call.compute = in_float32(body, exact or view, several)

    call.op_name, call.replace_body = name, replace_body
    replace_body(function)
    call.input_names, call.defaults, call.variadic = signature.inputs, signature.defaults, variadic
    call.promote, call.view, call.several, call.materialize_grads = promote, view, several, True
    registry[name] = call
    names.add(name)
    return call


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
        g = xp(g).reshape(backend_of(g).sum(g, axes, True), tuple(like.shape))
    if g.dtype != like.dtype:
        backend = like.backend if type(like) is Form else backend_of(like)
        g = backend_of(g).cast(g, backend.dtype(like))
    return g


# ---- the graph -----------------------------------------------------------------------


class Node:
    """One call of an operation: what went in, and the pullbacks.

    `edges` says for each input where its gradient goes: (a node or a leaf, which of its results),
    None for an input without one. `number` is the sequence number: a node has a higher one than all
    that it was computed from. `caller` says, by `errors.line_of`, which line called the operation.
    """

    __slots__ = ("op", "args", "params", "edges", "pullback", "shapes", "number", "caller",
                 "_num_outputs", "_hooks", "_retaining", "_forms", "__weakref__")  # fmt: skip

    def __init__(self, op, args, params, edges, pullback, shapes):
        self.op, self.args, self.params, self.edges = op, args, params, edges
        self.pullback, self.shapes, self.number = pullback, shapes, next(sequence)
        self._num_outputs = 1 if shapes is None else len(shapes)
        self._hooks = self._retaining = None
        self.caller = caller(3)  # of the operation, or of Function.apply

    def __repr__(self):
        return f"<{self.name()}>"

    def name(self):
        """The name of the operation."""
        return self.op.op_name

    @property
    def inputs(self):
        """The inputs, the tensors among them with the history that they had when it ran."""
        return tuple(as_it_was(a, edge) for a, edge in zip(self.args or (), self.edges))

    @property
    def next_functions(self):
        """PyTorch's form of the edges: (node, index) of each input, (None, 0) for none."""
        return tuple((None, 0) if e is None else (as_node(e[0]), e[1]) for e in self.edges)

    def leads_to(self, wanted):
        """True if a gradient goes from here to one of the nodes and leaves in a set."""
        return any(edge is not None and edge[0] in wanted for edge in self.edges)

    def pull(self, slots, wanted, create_graph):
        """[(edge, gradient)] of the inputs that lead to something wanted, the last one first."""
        edges, pullback, parts = self.edges, self.pullback, None
        if create_graph or pullback is None or changes.newest > self.number:
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
        found, args = [], self.args
        for i in range(len(edges) - 1, -1, -1):
            edge = edges[i]
            if edge is not None and (wanted is None or edge[0] in wanted):
                part = parts[i] if parts is not None else pullback[i] and pullback[i](g)
                if part is not None:
                    like = Form(*self._forms[i]) if not args else args[i]._data
                    found.append((edge, self._fitted(part, i, like)))
        return found

    def checked_pullback(self, create_graph):
        """The pullbacks, if what they saved is still as it was.

        For create_graph they are those of the body run once more, on tensors.
        """
        if self.pullback is None:
            raise RuntimeError(
                f"backward: the graph of {self.name()} was freed by an earlier backward; "
                "pass retain_graph=True to that one to go through the graph twice"
            )
        if not self.args:  # it saved nothing: see free; or it is packed
            return self.pullback
        if changes.newest > self.number:
            check_saved(self, create_graph)
        if not create_graph:
            return self.pullback
        with enable_grad():
            return self.op.compute(*self.inputs, *self.args[len(self.edges) :], **self.params)[1]

    def _fitted(self, part, i, like):
        """The gradient of input i in its shape and dtype."""
        try:
            if part.shape != like.shape or part.dtype != like.dtype:
                part = unbroadcast(part, like)
        except (AttributeError, RuntimeError) as error:
            raise RuntimeError(f"the pullback of {self.name()}, input {i}: {error}") from error
        return part if part.shape or isinstance(part, TensorBase) else backend_of(part).array(part)

    def free(self):
        """Drop saved tensors. Pullbacks that saved nothing stay for another backward."""
        if self.args is not None:
            self.pullback = without_saved(self)
            self._forms = self.pullback and forms(self)
            self.args = None


# ---- backward ------------------------------------------------------------------------


@quiet
def backward(tensors: TensorOrTensors, grad_tensors: TensorOrTensors | None = None,
             retain_graph: bool | None = None, create_graph: bool = False,
             inputs: TensorOrTensors | None = None) -> None:  # fmt: skip
    """Add to `.grad` of every leaf the derivative of the sum of `tensors`.

    `grad_tensors` weighs the elements of each tensor and may be left out for a single element.
    `inputs` limits what gets a gradient. The graph is freed unless `retain_graph`.
    Raises RuntimeError if a tensor has no graph, or its graph was freed.
    """
    roots, seeds = roots_and_seeds("backward", tensors, grad_tensors, create_graph)
    targets = None
    if inputs is not None:
        inputs = list({id(t): t for t in as_list(inputs)}.values())
        targets = edges_of("backward", inputs)
    retain_graph = create_graph if retain_graph is None else retain_graph
    found = _walk(roots, seeds, targets, retain_graph, create_graph)
    if targets is None:
        for leaf, slots in found.items():
            deliver(leaf, slots, 0)
    else:
        for t, (source, index) in zip(inputs, targets):
            if source in found:
                deliver(t, found[source], index)


@quiet
def grad(outputs: TensorOrTensors, inputs: TensorOrTensors,
         grad_outputs: TensorOrTensors | None = None,
         retain_graph: bool | None = None, create_graph: bool = False, only_inputs: bool = True,
         allow_unused: bool | None = None, is_grads_batched: bool = False,
         materialize_grads: bool = False) -> Tensors:  # fmt: skip
    """The derivatives of the sum of `outputs` with respect to each of `inputs`, as a tuple.

    With `create_graph` the derivatives can be differentiated again. An input that the outputs do
    not depend on is an error unless `allow_unused` (its derivative is None) or
    `materialize_grads` (zeros). `only_inputs` is always so: no other tensor gets a gradient. With
    `is_grads_batched` each of `grad_outputs` has rows in front, and so have the derivatives.
    """
    if is_grads_batched:
        options = retain_graph, create_graph, allow_unused, materialize_grads
        return each_row(grad, outputs, inputs, grad_outputs, *options)
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: materialize_grads is for unused inputs; leave allow_unused out")
    roots, seeds = roots_and_seeds("grad", outputs, grad_outputs, create_graph)
    inputs = as_list(inputs)
    targets = edges_of("grad", inputs)
    retain_graph = create_graph if retain_graph is None else retain_graph
    found = _walk(roots, seeds, targets, retain_graph, create_graph)
    grads = []
    for i, (t, (source, index)) in enumerate(zip(inputs, targets)):
        slots = found.get(source)
        if slots is not None and slots[index] is not None:
            grads.append(slots[index] if create_graph else as_own_tensor(t, slots, index))
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


def _walk(roots, seeds, targets, retain_graph, create_graph):
    """Send the seeds back through the graph; the gradients that reached leaves and targets.

    Roots and targets are edges. Returns {node or leaf: [the gradient of each of its results]}.
    Gradients are arrays, or tensors if create_graph.

    Of the nodes that hold a gradient the youngest comes next. All that used its results are
    younger, so its gradient is complete.
    """
    wanted = None if targets is None else _between(roots, targets)
    kept = () if targets is None else {source for source, _ in targets}
    pending, reached = {}, {}  # {node or leaf: its gradients}
    heap = []  # (−sequence number, node) for each node among pending
    for root, seed in zip(roots, seeds):
        if wanted is None or root[0] in wanted:
            _add(pending, heap, root, seed)
    seed = seeds.clear()  # None: nobody else is to hold the seeds: they may be added to in place
    before, recording, anomaly = mode.grad, mode.recording, mode.anomaly
    try:  # see backends/restoring.py
        mode.set_grad(create_graph)
        while heap:
            _, node = heappop(heap)
            slots = pending.pop(node)
            if node._hooks or node._retaining:
                run_hooks(node, slots)
            if node in kept:
                reached[node] = list(slots)
                if not node.leads_to(wanted):
                    continue
            if node._num_outputs > 1 and node.op.materialize_grads:
                _fill_with_zeros(node, slots)
            parts = node.pull(slots, wanted, create_graph)
            while parts:  # the slots alone are to hold the gradients, so that they may be added to
                edge, part = parts.pop()
                if anomaly:
                    check_gradient(node, slots, part)
                _add(pending, heap, edge, part)
                del part
            if not retain_graph:
                node.free()
        for leaf, slots in pending.items():
            if leaf._hooks:
                run_hooks(leaf, slots)
    finally:
        mode.grad, mode.recording = before, recording
    return {**pending, **reached} if reached else pending


def _between(roots, targets):
    """The nodes from which a path leads to a target, and the targets."""
    seen, stack = set(), [node for node, _ in roots if isinstance(node, Node)]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [e[0] for e in node.edges if e is not None and isinstance(e[0], Node)]
    wanted = {source for source, _ in targets}
    for node in sorted(seen, key=operator.attrgetter("number")):
        if node.leads_to(wanted):
            wanted.add(node)
    return wanted


def _add(pending, heap, edge, g):
    """Add a gradient to those that have reached the same result of the same node."""
    source, index = edge
    slots = pending.get(source)
    if slots is None:
        slots = pending[source] = [None] * source._num_outputs
        if isinstance(source, Node):
            heappush(heap, (-source.number, source))
    if slots[index] is None:
        slots[index] = g
    elif not isinstance(g, TensorBase) and held_by_slot_alone(slots, index):
        slots[index] += g
    else:
        slots[index] = slots[index] + g


def _fill_with_zeros(node, slots):
    """Zeros for the results of a node that no gradient reached."""
    some = next(s for s in slots if s is not None)
    array = some._data if isinstance(some, TensorBase) else some
    for i, s in enumerate(slots):
        if s is None and node.shapes[i] is not None:
            zeros = xp(array).zeros(node.shapes[i], dtype=array.dtype)
            slots[i] = some._wrap(zeros) if array is not some else zeros
