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
import itertools
import math
import operator
import sys
import threading
import weakref
from heapq import heappop, heappush

from .backends import backend_of, quiet, xp
from .backends.dtypes import PYTHON
from .backends.promotion import is_float, promoted
from .backends.quiet import IGNORED, warnings
from .calls import names, op_error, public
from .errors import (
    called_in,
    caller,
    check_finite,
    check_gradient,
    describe,
    on_one_device,
)
from .modes import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    mode,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)
from .names import into, own_names

__all__ = [
    "Node", "TensorBase", "backward", "detect_anomaly", "enable_grad", "grad", "inference_mode",
    "is_grad_enabled", "is_inference_mode_enabled", "no_grad", "op", "registry",
    "set_detect_anomaly", "set_grad_enabled", "xp",
]  # fmt: skip

registry = {}  # every operation by name

births = itertools.count(1)  # numbers nodes, and changes in place, as they happen


class TensorBase:
    """What the engine knows of a tensor: an array, and where it came from."""

    _data = None
    _node = None  # the Node that made it; None for a leaf
    _index = 0  # which of the node's results it is
    _needs_grad = False
    _hooks = None  # {handle: (index, hook, how to wrap an array)}
    _keepers = None  # weak references to the tensors whose retain_grad() was called
    _after = None  # {handle: hook}: what is called with a leaf when its .grad has been added to
    _width = 1  # a leaf has one slot for gradients, a node one for each result
    _base = None  # the tensor whose memory this one shows
    _steps = ()  # the view operations that lead there
    _rewrites = 0  # how often this tensor's history was rewritten
    _seen = 0  # its base's _rewrites when this view last looked
    _former = ()  # what it was before it got another shape in place: (until when, rewrites, array)
    _unnoticed = False  # whether changes in place go unnoticed, as those of `x.data` do
    _grad = None

    @staticmethod
    def _wrap(array):
        """A new tensor around `array`."""
        raise NotImplementedError

    def _alias(self, edge):
        """The same array with another place in the graph."""
        raise NotImplementedError


# ---- operations ----------------------------------------------------------------------


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
    if name in registry and registry[name].__module__.split(".")[0] == __package__:
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
        token = warnings.set(IGNORED)
        try:
            returned = function(*arrays, **params)
        except Exception as error:
            raise op_error(call, args, error, params) from error
        finally:
            warnings.reset(token)
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
    names.add(name)
    return call


def _by_name(call, args, params):
    """Inputs given by name in their places, and NumPy's and PyTorch's names beside our own."""
    names = call.input_names
    params = own_names(params, call.defaults, names)
    args = list(args)
    while len(args) < len(names) and not call.variadic and not params.keys().isdisjoint(names):
        name = names[len(args)]
        if name not in params and call.defaults[name] is inspect.Parameter.empty:
            raise TypeError(f"{call.op_name}: the input {name!r} is missing")
        args.append(params.pop(name, call.defaults[name]))
    return tuple(args), params


def _plain(call, value):
    """An input that is neither a tensor nor a Python number: a NumPy number or an array."""
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    try:
        backend_of(value)
    except TypeError:
        raise TypeError(
            f"{call.op_name}: a Tensor or a number is needed, got {type(value).__name__}"
        ) from None
    return value


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


class Leaf:
    """What PyTorch has for a leaf among the nodes: where gradients are added to `variable.grad`."""

    next_functions = ()

    def __init__(self, variable):
        self.variable = variable

    def __eq__(self, other):
        return isinstance(other, Leaf) and other.variable is self.variable

    def __hash__(self):
        return id(self.variable)

    def name(self):
        """PyTorch's name of it."""
        return "AccumulateGrad"


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


def _edge(tensor):
    """Where a gradient of `tensor` goes: (node or leaf, index), None if it needs none."""
    if tensor._base is not None and tensor._seen != tensor._base._rewrites:
        _follow(tensor)
    return (tensor._node or tensor, tensor._index) if tensor._needs_grad else None


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
    before, anomaly = mode.grad, mode.anomaly
    mode.set_grad(create_graph)
    try:
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
        mode.set_grad(before)
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


def _owned(slots, index):
    """Whether nobody else holds the array or a view of it, so that it may be changed in place."""
    array = slots[index]
    if getattr(array, "base", array) is not None:
        return False
    del array
    return sys.getrefcount(slots[index]) <= _ALONE


_ALONE = (lambda slots: sys.getrefcount(slots[0]))([object()])  # of what a list alone holds


def _own(tensor, slots, index):
    """The gradient of `tensor` in a slot, as a tensor that shares memory with nothing else."""
    g = slots[index]
    if isinstance(g, TensorBase):
        with enable_grad():
            return registry["clone"](g)
    del g
    if not _owned(slots, index):
        slots[index] = backend_of(slots[index]).asarray(slots[index], copy=True)
    return tensor._wrap(slots[index])


def _fill(node, slots):
    """Zeros for the results of a node that no gradient reached."""
    some = next(s for s in slots if s is not None)
    array = some._data if isinstance(some, TensorBase) else some
    for i, s in enumerate(slots):
        if s is None:
            zeros = xp(array).zeros(node.shapes[i], dtype=array.dtype)
            slots[i] = some._wrap(zeros) if array is not some else zeros


def _run_hooks(place, slots):
    """Run the hooks, each of which may return another gradient; then retain_grad's turn comes."""
    for index, hook, wrap in list((place._hooks or {}).values()):
        g = slots[index]
        if g is not None:
            told = hook(g if isinstance(g, TensorBase) else wrap(g))
            if told is None:
                continue
            if not isinstance(told, TensorBase):
                raise TypeError(
                    f"hook: a Tensor or None is to be returned, got {type(told).__name__}"
                )
            if told._data.shape != g.shape:
                raise RuntimeError(
                    f"hook: a gradient of shape {tuple(g.shape)} was replaced by one of shape "
                    f"{tuple(told._data.shape)}"
                )
            slots[index] = told if isinstance(g, TensorBase) else told._data
    for tensor in [ref() for ref in place._keepers or ()]:
        if tensor is not None and slots[tensor._index] is not None:
            _accumulate(tensor, slots, tensor._index)


@public
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


def _arrive(tensor, slots, index):
    """The gradient in a slot, if there is one, has reached the tensor that it is for."""
    if slots[index] is not None:
        _accumulate(tensor, slots, index)
        if tensor._after:
            for hook in list(tensor._after.values()):
                hook(tensor)


def _accumulate(tensor, slots, index):
    """tensor.grad += gradient"""
    with _accumulating:  # two threads may meet at one leaf
        if tensor._grad is None:
            tensor._grad = _own(tensor, slots, index)
        elif isinstance(slots[index], TensorBase):
            with enable_grad():
                tensor._grad = tensor._grad + slots[index]
        else:
            array = tensor._grad._data
            array += slots[index]
            changed(array, "backward")


_accumulating = threading.RLock()


@public
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


def as_list(tensors):
    return [tensors] if isinstance(tensors, TensorBase) else list(tensors)


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


# ---- changes in place ----------------------------------------------------------------


class _Changes(dict):
    """When the memory of an array was last changed in place: {id: (weak reference, number, by)}."""

    newest = 0


_changes = _Changes()
_NEVER = None, 0, ""


def _memory(array):
    """The array that owns the memory that `array` shows."""
    return backend_of(array).memory(array)


def changed(array, by):
    """Tell the engine that the operation `by` changed `array` in place."""
    if mode.tape is not None:
        mode.tape.refuse(f"{by} changes a tensor in place")
    owner = _memory(array)
    key = id(owner)
    ref = _changes.get(key, _NEVER)[0]
    if ref is None or ref() is not owner:
        ref = weakref.ref(owner, lambda _: _changes.pop(key, None))
    _changes.newest = number = next(births)
    _changes[key] = (ref, number, by)


def _saved(value, depth=8):
    """The arrays that a pullback holds: in its closure, in its defaults, in what they contain."""
    if isinstance(value, TensorBase):
        return [value._data]
    if isinstance(getattr(value, "shape", None), tuple):
        return [value]
    if isinstance(value, (tuple, list)):
        parts = value
    elif isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
    elif inspect.isfunction(value):
        cells = [c.cell_contents for c in value.__closure__ or ()]
        parts = (*cells, value.__defaults__, value.__kwdefaults__)
    elif inspect.ismethod(value):
        parts = (value.__func__, vars(value.__self__))
    elif callable(value) and not isinstance(value, type):
        parts = getattr(value, "__dict__", {}).values()
    else:
        return []
    return [found for part in parts if depth for found in _saved(part, depth - 1)]


def _check_saved(node, pullback):
    """Refuse to differentiate with arrays that were changed after the operation had saved them."""
    for array in _saved(pullback):
        owner = _memory(array)
        _, number, by = _changes.get(id(owner), _NEVER)
        if number > node.number:
            names = [
                f"its input {name!r}"
                for name, a in zip(node.op.input_names, node.args)
                if isinstance(a, TensorBase) and _memory(a._data) is owner
            ]
            raise RuntimeError(
                f"backward: {node.name()} needs {names[0] if names else 'its result'}, a tensor of "
                f"shape {tuple(array.shape)} and dtype {array.dtype}, which {by} has since changed "
                f"in place{called_in(node.caller)}; change a copy instead (clone(), or the "
                "operation without the underscore)"
            )


def _mark_view(base, result, step):
    """Remember that `result` shows part of the memory of `base`, and how to find it there."""
    if _memory(result._data) is _memory(base._data):
        result._base = base if base._base is None else base._base
        result._steps = (*base._steps, step)
        result._seen = result._base._rewrites


def _view_again(steps, base):
    """The view of `base`, an array or a tensor, that the steps lead to."""
    for call, args, params, i in steps:
        if isinstance(base, TensorBase):
            base = call(base, *args, **params)
        else:
            base = call.function(base, *args, **params)[0]
        base = base if i is None else base[i]
    return base


def _follow(view):
    """Give a view the history of its base again, which was rewritten by a change in place."""
    base = view._base
    shapes = [rewrite for _, rewrite, _ in base._former if rewrite > view._seen]
    if len(shapes) == base._rewrites - view._seen:
        return  # nothing but the base's shape has changed
    if shapes:
        raise RuntimeError(
            f"a view of shape {tuple(view._data.shape)} has lost its history: its base was given "
            "another shape in place, and then changed in place; use the operations without the "
            "underscore"
        )
    view._seen = base._rewrites
    with enable_grad():
        _continue(view, _view_again(view._steps, view._base))


def _continue(tensor, new):
    """Give a tensor the history of another, and its retain_grad() to the new place."""
    if tensor._node is not None and tensor._node._keepers:
        for ref in [r for r in tensor._node._keepers if r() is tensor]:
            tensor._node._keepers.remove(ref)
            new._node._keepers = [*(new._node._keepers or ()), ref]
    tensor._node, tensor._index, tensor._needs_grad = new._node, new._index, new._needs_grad


def recorded_in_place(tensor, by, *values):
    """Whether changing `tensor` in place is to be recorded. RuntimeError where it cannot be."""
    if not mode.recording:
        return False
    needed = _edge(tensor) is not None
    base = whole(tensor)
    for t, what in ((tensor, "a leaf"), (base, "a view of a leaf")):
        if t._needs_grad and t._node is None:
            raise RuntimeError(
                f"{by}: {what} that requires a gradient cannot be changed in place; "
                "do it under no_grad(), or change a copy"
            )
    if base._needs_grad and not needed:
        raise RuntimeError(
            f"{by}: this view was made under no_grad(), so that changing it in place cannot be "
            "recorded; change it under no_grad(), or make the view outside"
        )
    return needed or any(isinstance(v, TensorBase) and _edge(v) is not None for v in values)


def in_place(tensor, by, function, *args, **params):
    """Let `tensor` become function(tensor, …), in its own memory; `by` names the operation.

    The history follows: of the tensor, of the tensor that it is a view of, and of other views.
    Raises RuntimeError for a leaf that requires a gradient, and where the result does not fit.
    """
    recorded = recorded_in_place(tensor, by, *args, *params.values())
    array = tensor._data
    old = tensor
    if recorded:  # the operation saves the old values, so they must not be overwritten
        old = tensor._alias(_edge(tensor))
        old._data = backend_of(array).asarray(array, copy=True)
    new = function(old, *args, **params)
    if tuple(new._data.shape) != tuple(array.shape):
        raise RuntimeError(
            f"{by}: the result has shape {tuple(new._data.shape)}, which a tensor of shape "
            f"{tuple(array.shape)} cannot become"
        )
    kinds = backend_of(array).dtype(new._data), backend_of(array).dtype(array)
    if kinds[0].rank > kinds[1].rank:
        raise RuntimeError(f"{by}: the result is {kinds[0]}, which a {kinds[1]} tensor cannot hold")
    write_array(array, new._data, by, noticed=not whole(tensor)._unnoticed)
    if not recorded:
        return tensor
    if kinds[0] is not kinds[1]:
        new = registry["cast"](new, kinds[1])
    base = whole(tensor)
    if tensor is not base or not new._needs_grad:  # what was there before gets no gradient
        view = functools.partial(_view_again, tensor._steps if tensor is not base else ())
        new = registry["write"](base._alias(_edge(base)), new, view)
    _continue(base, new)
    base._rewrites += 1
    return tensor


def reshaped_in_place(tensor, by, view, *args):
    """Let `tensor` become view(tensor, …), which shows the same memory under another shape.

    Raises RuntimeError for a leaf that requires a gradient.
    """
    recorded_in_place(tensor, by)
    with enable_grad():
        new = view(tensor._alias(_edge(tensor)) if tensor._base is None else tensor, *args)
    if tensor._base is not None:
        tensor._steps = new._steps
    else:
        tensor._rewrites += 1
    _changes.newest = number = next(births)
    tensor._former = (*tensor._former, (number, tensor._rewrites, tensor._data))
    tensor._data = new._data
    if tensor._node is not None:
        _continue(tensor, new)


def whole(tensor):
    """The tensor that this one is a view of; itself, if it is none."""
    return tensor if tensor._base is None else tensor._base


def write_array(array, values, by, index=..., noticed=True):
    """array[index] = values, told to the engine."""
    try:
        backend_of(array).assign(array, index, values)
    except (ValueError, OverflowError) as error:
        told = f"{by}: {error}"
        if "read-only" in told:
            told = (
                f"{by}: this memory cannot be written: it is read-only, or expanded, so that "
                "several elements share one place; clone() the tensor first"
            )
        raise RuntimeError(told) from error
    if noticed:
        changed(array, by)
