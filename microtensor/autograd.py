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
"""

import functools
import inspect
import itertools
import os
import sys
import threading
import weakref

from .backends import backend_of, xp
from .backends.dtypes import FLOAT, INT, PYTHON, get_default_dtype, result_type

__all__ = [
    "Node", "Variable", "backward", "enable_grad", "grad", "gradcheck", "gradgradcheck",
    "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad", "op", "registry",
    "set_detect_anomaly", "detect_anomaly", "set_grad_enabled", "xp",
]  # fmt: skip

registry = {}  # every operation by name

births = itertools.count(
    1
)  # nodes and changes in place, numbered in the order in which they happen


class Variable:
    """What the engine knows of a tensor: an array, and where it came from."""

    _data = None
    _node = None  # the Node that made it; None for a leaf
    _index = 0  # which of the node's results it is
    _needs_grad = False
    _hooks = None
    _width = 1  # a leaf has one slot for gradients, a node one for each result
    _base = None  # the tensor whose memory this one shows,
    _steps = ()  # the view operations that lead there,
    _seen = _rewrites = 0  # and how often the base's history was rewritten, now and when last seen
    grad = None

    @staticmethod
    def _wrap(array):
        """A new tensor around `array`."""
        raise NotImplementedError

    def _alias(self, edge):
        """The same array with another place in the graph."""
        raise NotImplementedError


class _Mode(threading.local):
    """What this thread does beside computing values."""

    grad = True
    inference = False
    anomaly = False


_mode = _Mode()


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
    parameters = inspect.signature(function).parameters.values()
    inputs = [p for p in parameters if p.kind is p.POSITIONAL_ONLY] or [
        p
        for p in parameters
        if p.kind is p.VAR_POSITIONAL or p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty
    ]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in inputs)
    arity = 1 << 30 if variadic else len(inputs)

    @functools.wraps(function)
    def call(*args, **params):
        if params:
            _pytorch_names(params)
        arrays, edges, owner, needs = list(args), [], None, False
        for i, a in enumerate(args[:arity] if len(args) > arity else args):
            edge = None
            if isinstance(a, Variable):
                arrays[i] = data = a._data
                if owner is None:
                    owner, kind = a, type(data)
                elif type(data) is not kind:
                    raise _device_error(call, args)
                if a._base is not None and a._seen != a._base._rewrites:
                    _follow(a)
                if a._needs_grad:
                    edge = (a._node or a, a._index)
                    needs = True
            elif a is not None and type(a) not in PYTHON:
                arrays[i] = _plain(call, a)
            edges.append(edge)
        if owner is None:
            raise TypeError(f"{name}: a Tensor is needed, got {_describe(args) or 'nothing'}")
        if promote:
            arrays[: len(edges)] = _promoted(arrays[: len(edges)], promote)
        try:
            value, pullback = function(*arrays, **params)
        except (ValueError, IndexError, TypeError, OverflowError, RuntimeError) as error:
            raise _op_error(call, args, error) from error
        if type(value) is tuple:
            result = results = tuple([owner._wrap(v) for v in value])
        else:
            result = owner._wrap(value)
            results = (result,)
        if _mode.anomaly:
            _check_finite(call, arrays, results)
        if view:
            for i, r in enumerate(results):
                _mark_view(owner, r, (call, args[1:], params, i if type(value) is tuple else None))
        if needs and _mode.grad and pullback is not None:
            node = Node(call, args, params, edges, pullback, results)
            for i, r in enumerate(results):
                r._node, r._index, r._needs_grad = node, i, True
        return result

    call.op_name, call.function, call.variadic = name, function, variadic
    call.input_names = [p.name for p in inputs]
    registry[name] = call
    return call


def _pytorch_names(params):
    """NumPy's names of parameters are accepted beside PyTorch's."""
    for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):
        if theirs in params:
            params[ours] = params.pop(theirs)


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


def _promoted(values, mode):
    """The inputs of an operation with one dtype, by PyTorch's rules."""
    first = values[0]
    if hasattr(first, "dtype") and backend_of(first).dtype(first).rank == FLOAT:
        for v in values[1:]:
            if type(v) not in PYTHON and v is not None and (v.dtype != first.dtype):
                break
        else:
            return values
    arrays = [v for v in values if v is not None and type(v) not in PYTHON]
    backend = backend_of(arrays[0])
    dtype = result_type(
        [backend.dtype(v) for v in arrays if v.ndim],
        [backend.dtype(v) for v in arrays if not v.ndim],
        [v for v in values if type(v) in PYTHON],
    )
    if mode == "float" and dtype.rank != FLOAT:
        dtype = get_default_dtype()
    number = float if dtype.rank == FLOAT else int if dtype.rank == INT else bool
    return [
        v if v is None else number(v) if type(v) in PYTHON else backend.cast(v, dtype)
        for v in values
    ]


def _describe(args):
    """What came in, for error messages: "a (2, 3) float32, b (4, 5) float32"."""

    def one(a):
        if isinstance(a, Variable):
            a = a._data
        if hasattr(a, "shape"):
            return f"{tuple(a.shape)} {a.dtype}"
        return type(a).__name__ if isinstance(a, (list, tuple)) and len(a) > 4 else repr(a)

    return ", ".join(map(one, args))


def _op_error(call, args, error):
    """The error of an operation's body again, saying which operation it was and what came in."""
    kind = RuntimeError if isinstance(error, ValueError) else type(error)
    if getattr(error, "from_op", False) or kind not in (RuntimeError, IndexError, TypeError):
        return error
    reason = str(error).split("\n")[0]
    if "could not be broadcast" in reason:
        reason = "the sizes must be equal or 1, counted from the last dimension"
    inputs = args if call.variadic else args[: len(call.input_names)]
    told = kind(f"{call.op_name}: {reason}; got {_describe(inputs)}")
    told.from_op = True
    return told


def _device_error(call, args):
    places = [str(a.device) for a in args if isinstance(a, Variable)]
    return RuntimeError(
        f"{call.op_name}: all tensors must be on one device, got {' and '.join(dict.fromkeys(places))};"
        f' move them with .to("{places[0]}")'
    )


def unbroadcast(g, like):
    """The gradient `g` in the shape and dtype of `like`: summed where `like` was broadcast."""
    if g.shape != like.shape:
        extra = len(g.shape) - len(like.shape)
        axes = tuple(range(extra)) + tuple(
            extra + i for i, n in enumerate(like.shape) if n == 1 and g.shape[extra + i] != 1
        )
        g = xp(g).sum(g, axis=axes, keepdims=True)
        g = xp(g).reshape(g, tuple(like.shape))
    if g.dtype != like.dtype:
        g = xp(g).astype(g, like.dtype)
    return g


# ---- the graph -----------------------------------------------------------------------


class Node:
    """One call of an operation: what went in, and the pullbacks.

    `edges` says for each input where its gradient goes: to a result of an older node, to a leaf,
    or None.
    """

    __slots__ = (
        "op", "args", "params", "edges", "pullback", "number", "shapes", "_width", "_hooks", "where"
    )  # fmt: skip

    def __init__(self, op, args, params, edges, pullback, results):
        self.op, self.args, self.params, self.edges = op, args, params, edges
        self.pullback, self.number, self._hooks = pullback, next(births), None
        self._width = len(results)
        if self._width > 1:
            self.shapes = [tuple(r._data.shape) for r in results]
        self.where = _caller() if _mode.anomaly else None

    def name(self):
        """The name of the operation."""
        return self.op.op_name

    @property
    def inputs(self):
        """The input tensors, with the history that they had when the operation ran."""
        if self.args is None:
            return ()
        return tuple(
            a
            if not isinstance(a, Variable)
            or (edge[0] is (a._node or a) if edge else not a._needs_grad)
            else a._alias(edge)
            for a, edge in zip(self.args, self.edges)
        )

    @property
    def next_functions(self):
        """PyTorch's name for the edges: (node or leaf, index) of each input, (None, 0) for none."""
        return tuple(edge or (None, 0) for edge in self.edges)

    def pullbacks(self, create_graph):
        """The pullbacks, or, for create_graph, the pullbacks of the body run on tensors."""
        if self.pullback is None:
            raise RuntimeError(
                f"backward: the graph of {self.name()} was freed by an earlier backward; "
                "pass retain_graph=True to that one to go through the graph twice"
            )
        if _changes and _changes.newest > self.number:
            _check_saved(self, self.pullback)
        if not create_graph:
            return self.pullback
        with enable_grad():
            _, pullback = self.op.function(
                *self.inputs, *self.args[len(self.edges) :], **self.params
            )
        if _changes and _changes.newest > self.number and _saved(pullback):
            _check_saved(self, [a._data for a in self.args if isinstance(a, Variable)])
        return pullback

    def pull(self, slots, wanted, create_graph):
        """Yield (edge, gradient) for every wanted input, from the gradients of the results."""
        pullback = self.pullbacks(create_graph)
        if self._width == 1:
            g = slots[0]
        else:  # a result that nothing used has a gradient of zero
            g = tuple(slots)
        if callable(pullback):
            parts = pullback(g)
            if len(self.edges) == 1 and not self.op.variadic:
                parts = (parts,)
        else:
            parts = (
                pull(g) if pull and edge and edge[0] in wanted else None
                for pull, edge in zip(pullback, self.edges)
            )
        for edge, part, a in zip(self.edges, parts, self.args):
            if edge is not None and part is not None and edge[0] in wanted:
                like = a._data
                if part.shape != like.shape or part.dtype != like.dtype:
                    part = unbroadcast(part, a if create_graph else like)
                yield edge, part

    def free(self):
        """Drop what the node holds, so that its activations can go."""
        self.pullback = self.args = None

    def __repr__(self):
        return f"<{self.name()}>"


def _reachable(roots, targets):
    """The nodes behind `roots` that lead to a target (None: to any leaf), the oldest first.

    Also the set of everything that is wanted: those nodes, and the leaves.
    """
    seen, stack = set(), [v._node for v in roots if v._node is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [e[0] for e in node.edges if e is not None and type(e[0]) is Node]
    order = sorted(seen, key=lambda node: node.number)
    if targets is None:
        leaves = {e[0] for node in order for e in node.edges if e is not None}
        return order, leaves | seen | set(roots)
    wanted = {t._node or t for t in targets}
    useful = set()
    for node in order:
        if any(e is not None and e[0] in wanted for e in node.edges):
            useful.add(node)
            wanted.add(node)
    return [node for node in order if node in wanted], wanted


def _walk(roots, seeds, targets, retain_graph, create_graph):
    """Send the seeds back through the graph; the gradients that reached leaves and targets.

    Returns {source: [gradient of each result]}. Gradients are arrays, or Tensors if create_graph.
    """
    order, wanted = _reachable(roots, targets)
    kept = {t._node for t in targets or () if t._node is not None}
    pending, caught = {}, {}
    for root, seed in zip(roots, seeds):
        _send(pending, (root._node or root, root._index), seed)
    del seeds
    while order:
        node = order.pop()
        slots = pending.pop(node, None)
        if slots is None:
            continue
        if node._hooks:
            _run_hooks(node, slots)
        if node in kept:
            caught[node] = list(slots)
        if node._width > 1:
            _fill(node, slots)
        for edge, part in node.pull(slots, wanted, create_graph):
            if _mode.anomaly:
                _check_gradient(node, slots, part)
            _send(pending, edge, part)
            del part  # so that the slot alone holds it
        if not retain_graph:
            node.free()
    for leaf, slots in pending.items():
        if leaf._hooks:
            _run_hooks(leaf, slots)
    return {**pending, **caught}


def _send(pending, edge, g):
    """Add a gradient to what has reached the same place."""
    source, index = edge
    slots = pending.get(source)
    if slots is None:
        slots = pending[source] = [None] * source._width
    if slots[index] is None:
        slots[index] = g
    elif not isinstance(g, Variable) and _owned(slots, index):
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


_ALONE = (lambda slots: sys.getrefcount(slots[0]))([object()])


def _fill(node, slots):
    """Zeros for the results of a node that no gradient reached."""
    some = next(s for s in slots if s is not None)
    array = some._data if isinstance(some, Variable) else some
    for i, s in enumerate(slots):
        if s is None:
            zeros = xp(array).zeros(node.shapes[i], dtype=array.dtype)
            slots[i] = some._wrap(zeros) if isinstance(some, Variable) else zeros


def _run_hooks(place, slots):
    """Show the gradients to the hooks, each of which may return another in its place."""
    for index, hook, wrap in list(place._hooks.values()):
        if slots[index] is not None:
            g = slots[index]
            told = hook(g if isinstance(g, Variable) else wrap(g))
            if told is not None:
                slots[index] = told if isinstance(g, Variable) else told._data


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, inputs=None):
    """Add to `.grad` of every leaf the derivative of the sum of `tensors`.

    `grad_tensors` weighs the elements of each tensor and may be left out for a single element.
    `inputs` limits the leaves. The graph is freed unless `retain_graph`.
    Raises RuntimeError if a tensor has no graph, or its graph was freed.
    """
    roots, seeds = _seeds("backward", tensors, grad_tensors, create_graph)
    targets = None if inputs is None else _list(inputs)
    retain_graph = create_graph if retain_graph is None else retain_graph
    with set_grad_enabled(create_graph):
        found = _walk(roots, seeds, targets, retain_graph, create_graph)
        del seeds
        for leaf in [s for s in found if type(s) is not Node]:
            slots = found.pop(leaf)
            if targets is None or any(leaf is t for t in targets):
                _accumulate(leaf, slots, create_graph)
        for t in targets or ():
            if t._node in found:
                _accumulate(t, [found[t._node][t._index]], create_graph)


def _accumulate(leaf, slots, create_graph):
    """leaf.grad += gradient"""
    if leaf.grad is None:
        if create_graph:
            leaf.grad = slots[0]
        else:
            owned = _owned(slots, 0)
            leaf.grad = leaf._wrap(
                slots[0] if owned else backend_of(slots[0]).asarray(slots[0], copy=True)
            )
    elif create_graph:
        leaf.grad = leaf.grad + slots[0]
    else:
        array = leaf.grad._data
        array += slots[0]
        changed(array, "backward")


def grad(
    outputs,
    inputs,
    grad_outputs=None,
    retain_graph=None,
    create_graph=False,
    allow_unused=None,
    materialize_grads=False,
):
    """The derivatives of the sum of `outputs` with respect to each of `inputs`, as a tuple.

    With `create_graph` the derivatives can be differentiated again. An input that the outputs do
    not depend on is an error unless `allow_unused` (its derivative is None) or
    `materialize_grads` (zeros).
    """
    roots, seeds = _seeds("grad", outputs, grad_outputs, create_graph)
    targets = _list(inputs)
    for i, t in enumerate(targets):
        if not t._needs_grad:
            raise RuntimeError(
                f"grad: input {i} does not require a gradient; call requires_grad_()"
            )
    retain_graph = create_graph if retain_graph is None else retain_graph
    with set_grad_enabled(create_graph):
        found = _walk(roots, seeds, targets, retain_graph, create_graph)
        grads = []
        for i, t in enumerate(targets):
            g = found.get(t._node or t, [None] * (t._index + 1))[t._index]
            if g is None and materialize_grads:
                g = xp(t._data).zeros_like(t._data)
            elif g is None and not allow_unused:
                raise RuntimeError(
                    f"grad: the outputs do not depend on input {i}; pass allow_unused=True "
                    "to get None for it"
                )
            grads.append(g if g is None or isinstance(g, Variable) else t._wrap(g))
    return tuple(grads)


def _list(tensors):
    return [tensors] if isinstance(tensors, Variable) else list(tensors)


def _seeds(name, tensors, grad_tensors, create_graph):
    """The tensors to start from, and the gradient that each starts with."""
    roots = _list(tensors)
    given = [None] * len(roots) if grad_tensors is None else _list(grad_tensors)
    if len(given) != len(roots):
        raise RuntimeError(f"{name}: {len(roots)} tensors, but {len(given)} gradients for them")
    seeds = []
    for t, g in zip(roots, given):
        if not t._needs_grad:
            raise RuntimeError(
                f"{name}: this tensor does not require a gradient and has no grad_fn; "
                "compute it from tensors with requires_grad=True, outside no_grad"
            )
        shape = tuple(t._data.shape)
        if g is None:
            if any(n != 1 for n in shape):
                raise RuntimeError(
                    f"{name}: only a tensor of one element has an implicit gradient, this one has "
                    f"shape {shape}; reduce it with sum() or mean(), or pass a gradient of that shape"
                )
            g = t._wrap(xp(t._data).ones_like(t._data))
        elif tuple(g._data.shape) != shape:
            raise RuntimeError(
                f"{name}: the gradient has shape {tuple(g._data.shape)}, the tensor {shape}"
            )
        seeds.append(g if create_graph else g._data)
    return roots, seeds


# ---- changes in place ----------------------------------------------------------------


class _Changes(dict):
    """When the memory of an array was last changed in place: {id: (weak reference, number, by)}."""

    newest = 0


_changes = _Changes()


def _root(array):
    """The array that owns the memory that `array` shows."""
    while type(getattr(array, "base", None)) is type(array):
        array = array.base
    return array


def changed(array, by):
    """Tell the engine that the operation `by` changed `array` in place."""
    root = _root(array)
    key = id(root)
    _changes.newest = number = next(births)
    _changes[key] = (weakref.ref(root, lambda _: _changes.pop(key, None)), number, by)


def _saved(pullback, depth=4):
    """The arrays and tensors that a pullback's closure holds."""
    if hasattr(pullback, "dtype") and hasattr(pullback, "__setitem__"):
        return [pullback]
    if isinstance(pullback, (tuple, list)):
        parts = pullback
    elif isinstance(pullback, functools.partial):
        parts = (pullback.func, *pullback.args, *pullback.keywords.values())
    else:
        parts = [c.cell_contents for c in getattr(pullback, "__closure__", None) or ()]
    return [found for p in parts if depth for found in _saved(p, depth - 1)]


def _check_saved(node, pullback):
    """Refuse to differentiate with arrays that were changed after the operation had saved them."""
    for array in _saved(pullback):
        _, number, by = _changes.get(id(_root(array)), (None, 0, ""))
        if number > node.number:
            names = [
                f"its input {name!r}"
                for name, a in zip(node.op.input_names, node.args)
                if isinstance(a, Variable) and _root(a._data) is _root(array)
            ]
            raise RuntimeError(
                f"backward: {node.name()} needs {names[0] if names else 'its result'}, a tensor of "
                f"shape {tuple(array.shape)} and dtype {array.dtype}, which {by} has since changed "
                f"in place{node.where or ''}; change a copy instead (clone(), or the operation "
                "without the underscore)"
            )


def _mark_view(base, result, step):
    """Remember that `result` shows part of the memory of `base`, and how to find it there."""
    if _root(result._data) is _root(base._data):
        result._base = base if base._base is None else base._base
        result._steps = (*base._steps, step)
        result._seen = result._base._rewrites


def _show(steps, base):
    """The view of `base`, an array or a tensor, that the steps lead to."""
    for call, args, params, i in steps:
        base = (
            call(base, *args, **params)
            if isinstance(base, Variable)
            else call.function(base, *args, **params)[0]
        )
        base = base if i is None else base[i]
    return base


def _follow(view):
    """Give a view the history of its base again, which was rewritten by a change in place."""
    view._seen = view._base._rewrites
    again = _show(view._steps, view._base)
    view._node, view._index, view._needs_grad = again._node, again._index, again._needs_grad


def in_place(tensor, by, function, *args, **params):
    """Let `tensor` become function(tensor, …), in its own memory; `by` names the operation.

    The history follows: of the tensor, of the tensor that it is a view of, and of other views.
    Raises RuntimeError for a leaf that requires a gradient, and where the result does not fit.
    """
    base = tensor if tensor._base is None else tensor._base
    if tensor._base is not None and tensor._seen != base._rewrites:
        _follow(tensor)
    if _mode.grad and base._needs_grad and base._node is None:
        raise RuntimeError(
            f"{by}: a leaf that requires a gradient cannot be changed in place; "
            "do it under no_grad(), or change a copy"
        )
    recorded = _mode.grad and (
        tensor._needs_grad
        or any(isinstance(a, Variable) and a._needs_grad for a in (*args, *params.values()))
    )
    old = tensor
    if recorded:  # the operation saves the old values, so they must not be overwritten
        old = tensor._alias((tensor._node or tensor, tensor._index) if tensor._needs_grad else None)
        old._data = backend_of(tensor._data).asarray(tensor._data, copy=True)
    new = function(old, *args, **params)
    array = tensor._data
    if tuple(new._data.shape) != tuple(array.shape):
        raise RuntimeError(
            f"{by}: the result has shape {tuple(new._data.shape)}, which a tensor of shape "
            f"{tuple(array.shape)} cannot become"
        )
    kinds = backend_of(array).dtype(new._data), backend_of(array).dtype(array)
    if kinds[0].rank > kinds[1].rank:
        raise RuntimeError(f"{by}: the result is {kinds[0]}, which a {kinds[1]} tensor cannot hold")
    write_array(array, new._data, by)
    if not new._needs_grad:
        return tensor
    if kinds[0] is not kinds[1]:
        new = registry["cast"](new, kinds[1])
    if tensor is not base:
        view = functools.partial(_show, tensor._steps)
        history = (base._node, base._index) if base._needs_grad else None
        new = registry["write"](base._alias(history), new, view)
    base._node, base._index, base._needs_grad = new._node, new._index, True
    base._rewrites += 1
    if tensor is not base:
        _follow(tensor)
    return tensor


def write_array(array, values, by, index=...):
    """array[index] = values, told to the engine."""
    try:
        array[index] = values
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise RuntimeError(
            f"{by}: this memory cannot be written: it is read-only, or expanded, so that several "
            "elements share one place; clone() the tensor first"
        ) from None
    changed(array, by)


# ---- finding the first NaN -----------------------------------------------------------


def _caller():
    """Where the first function outside this package is: " (file.py, line 3)"."""
    here = os.path.dirname(__file__) + os.sep
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(here):
        frame = frame.f_back
    return f" (called in {frame.f_code.co_filename}, line {frame.f_lineno})"


def _bad(value):
    """Whether there is a NaN, whether there is an infinity."""
    if isinstance(value, float):
        return value != value, value in (float("inf"), float("-inf"))
    if isinstance(value, Variable):
        value = value._data
    if not hasattr(value, "dtype") or backend_of(value).dtype(value).rank != FLOAT:
        return False, False
    nan = xp(value).isnan(value)
    return bool(xp(value).any(nan)), bool(xp(value).any(xp(value).isinf(value)))


def _first_bad(ins, outs):
    """What is among `outs` and not explained by `ins`: "NaN", "infinity" or None."""
    nan_in, inf_in = (any(column) for column in zip((False, False), *map(_bad, ins)))
    nan, inf = (any(column) for column in zip((False, False), *map(_bad, outs)))
    return "NaN" if nan and not nan_in else "infinity" if inf and not (inf_in or nan_in) else None


def _check_finite(call, arrays, results):
    what = _first_bad(arrays, results)
    if what:
        raise RuntimeError(
            f"{call.op_name} produced {what} in the forward pass{_caller()}; got {_describe(arrays)}"
        )


def _check_gradient(node, slots, part):
    what = _first_bad(slots, [part])
    if what:
        raise RuntimeError(f"the gradient of {node.name()} is {what}{node.where or ''}")


# ---- modes ---------------------------------------------------------------------------


class _Switch:
    """Sets modes of this thread; a context manager, and a decorator of functions and generators."""

    def __new__(cls, *args):
        if cls._bare and len(args) == 1 and callable(args[0]):
            return cls()(args[0])  # @no_grad without parentheses
        return super().__new__(cls)

    _bare = True
    modes = {}

    def __enter__(self):
        self._before = (getattr(self, "_before", None), {k: getattr(_mode, k) for k in self.modes})
        vars(_mode).update(self.modes)

    def __exit__(self, *exception):
        self._before, modes = self._before
        vars(_mode).update(modes)

    def __call__(self, function):
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapped(*args, **kwargs):
                generator = function(*args, **kwargs)
                send = None
                while True:
                    with self:
                        try:
                            value = generator.send(send)
                        except StopIteration as stop:
                            return stop.value
                    send = yield value
        else:

            @functools.wraps(function)
            def wrapped(*args, **kwargs):
                with self:
                    return function(*args, **kwargs)

        return wrapped


class no_grad(_Switch):
    """Record nothing: results need no gradient."""

    modes = {"grad": False}


class enable_grad(_Switch):
    """Record again inside `no_grad`."""

    modes = {"grad": True}


class inference_mode(_Switch):
    """`no_grad` for code that will never be differentiated. `inference_mode(False)` records."""

    def __init__(self, mode=True):
        self.modes = {"grad": False, "inference": True} if mode else {}


class set_grad_enabled(_Switch):
    """Record or not, from now on; as a context manager, until its end."""

    _bare = False

    def __init__(self, mode):
        self.modes = {"grad": bool(mode)}
        self._before = (None, {"grad": _mode.grad})
        vars(_mode).update(self.modes)

    def __enter__(self):
        vars(_mode).update(self.modes)


class set_detect_anomaly(set_grad_enabled):
    """Name the first operation that produces a NaN or an infinity, and the line that called it."""

    def __init__(self, mode):
        self.modes = {"anomaly": bool(mode)}
        self._before = (None, {"anomaly": _mode.anomaly})
        vars(_mode).update(self.modes)


class detect_anomaly(_Switch):
    """`set_detect_anomaly(True)` as a context manager."""

    modes = {"anomaly": True}


def is_grad_enabled():
    """Whether operations are being recorded."""
    return _mode.grad


def is_inference_mode_enabled():
    """Whether `inference_mode` is on."""
    return _mode.inference


# ---- checking ------------------------------------------------------------------------


def gradcheck(function, inputs, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True):
    """Compare the pullbacks with central differences, (f(x + eps) − f(x − eps)) / 2 eps.

    `inputs` are float64 tensors; those that require a gradient are checked. Returns True, or raises
    RuntimeError naming the input, the element and both numbers.
    """
    inputs = tuple(_list(inputs))

    def outputs():
        out = function(*inputs)
        return [o for o in _list(out) if backend_of(o._data).dtype(o._data).rank == FLOAT]

    checked = [t for t in inputs if isinstance(t, Variable) and t._needs_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for t in checked:
        if t._data.dtype != xp(t._data).float64:
            raise ValueError(f"gradcheck: float64 inputs are needed, got {t.dtype}")
    for o, out in enumerate(outputs()):
        numbers = [_differences(lambda: outputs()[o]._data, t._data, eps) for t in checked]
        if not out._needs_grad:
            analytic = [[_zeros(t) for _ in range(out.numel())] for t in checked]
        else:
            analytic = list(zip(*(_derivatives(out, i, checked) for i in range(out.numel()))))
            analytic = analytic or [[] for _ in checked]
        for t, numeric, rows in zip(checked, numbers, analytic):
            for i, row in enumerate(rows):
                for index in numeric:
                    a, n = float(row[index]), float(numeric[index][i])
                    if not abs(a - n) <= atol + rtol * abs(n):
                        if not raise_exception:
                            return False
                        which = next(k for k, other in enumerate(inputs) if other is t)
                        raise RuntimeError(
                            f"gradcheck: d output {o}[{i}] / d input {which}{list(index)} is {a:.8g} by "
                            f"the pullbacks and {n:.8g} by central differences"
                        )
    return True


def _zeros(t):
    return xp(t._data).zeros_like(t._data)


def _derivatives(out, i, inputs):
    """The derivatives of element i of `out` with respect to each input, as arrays."""
    ones = xp(out._data).zeros(out.numel(), dtype=out._data.dtype)
    ones[i] = 1.0
    seed = out._wrap(xp(out._data).reshape(ones, tuple(out._data.shape)))
    grads = grad(out, inputs, seed, retain_graph=True, allow_unused=True)
    return [_zeros(t) if g is None else g._data for t, g in zip(inputs, grads)]


def _differences(function, array, eps):
    """{index: central differences of every element of function() along array[index]}"""
    out = {}
    for index in itertools.product(*map(range, array.shape)):
        before = float(array[index])
        array[index] = before + eps
        above = xp(array).asarray(function(), copy=True)  # it may show the array that is changed
        array[index] = before - eps
        below = function()
        out[index] = xp(above).reshape((above - below) / (2 * eps), (-1,))
        array[index] = before
    return out


def gradgradcheck(
    function, inputs, grad_outputs=None, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True
):
    """`gradcheck` of the derivatives of `function`: the second derivatives."""
    inputs = tuple(_list(inputs))
    with enable_grad():
        outs = [o for o in _list(function(*inputs)) if o._needs_grad]
    if not outs:
        return True
    if grad_outputs is None:  # any fixed weights that are not all alike
        grad_outputs = []
        for o in outs:
            ramp = xp(o._data).arange(o.numel(), dtype=o._data.dtype) * 0.37 + 0.5
            w = o._wrap(xp(o._data).reshape(ramp % 1.7 - 0.6, tuple(o._data.shape)))
            w.requires_grad_()
            grad_outputs.append(w)
    checked = [t for t in inputs if isinstance(t, Variable) and t._needs_grad]
    weights = _list(grad_outputs)

    def first(*_):
        with enable_grad():
            outs = [o for o in _list(function(*inputs)) if o._needs_grad]
        grads = grad(outs, checked, weights, create_graph=True, allow_unused=True)
        return [g for g in grads if g is not None]

    return gradcheck(first, (*checked, *weights), eps, atol, rtol, raise_exception)
