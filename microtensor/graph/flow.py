"""The gradients that flow along each edge, as the engine computes them.

Nothing is derived here. The engine's own `grad` runs, with each pullback wrapped in a function that
records its argument and result.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from ..autograd import Node, TensorBase, grad, unbroadcast
from ..backends import backend_of, quiet

__all__ = ["LIMITS", "Part", "Step", "flow_of", "kind_of", "local", "size_of"]

LIMITS = 1e-6, 1e3  # a gradient vanishes below the first, explodes above the second
FEW = 16  # elements: larger local derivatives are not computed


@dataclass
class Part:
    """The result of the pullback of one input, and the sum `total` after it was added."""

    input: int
    place: tuple  # (Node or leaf, index of its result)
    product: np.ndarray
    before: np.ndarray | None
    total: np.ndarray


@dataclass
class Step:
    """One operation of the backward pass. `arrived` has a gradient for each of its results."""

    node: Node
    arrived: list
    parts: list = field(default_factory=list)


@quiet
def flow_of(nodes, outputs, gradient=None):
    """Run the backward pass: its Steps, in the engine's order, and {place: its gradient}.

    A place is (Node or leaf, index); `nodes` are all nodes behind `outputs`. Every `.grad` stays
    unchanged, and the graph is kept.
    """
    owners = [n for n in nodes if n.pullback is not None]
    edges = (e for n in nodes for e in n.edges)
    leaves = list(dict.fromkeys(e[0] for e in edges if e and isinstance(e[0], TensorBase)))
    sources = (*nodes, *leaves)
    retaining, pullbacks = [s._retaining for s in sources], [n.pullback for n in owners]
    recorded = {}  # node: [(input, gradient that arrived, gradient that was returned)]
    try:
        for source in sources:  # tensors marked by retain_grad()
            if source._retaining:
                source._retaining = None
        for node in owners:
            node.pullback = _recorded(node, recorded.setdefault(node, []))
        found = grad(outputs, leaves, gradient, retain_graph=True, allow_unused=True)
    finally:
        for node, pullback in zip(owners, pullbacks):
            node.pullback = pullback
        for source, kept in zip(sources, retaining):
            if kept:
                source._retaining = kept

    sums = {}
    for t, seed in zip(outputs, _seeds(outputs, gradient)):
        place = (t._node, t._index)
        sums[place] = seed if place not in sums else np.asarray(sums[place] + seed)
    steps = []
    for node in sorted((n for n in recorded if recorded[n]), key=lambda n: -n.number):
        g = recorded[node][0][1]
        arrived = [_numpy(one) for one in (g if isinstance(g, tuple) else (g,))]
        step = Step(node, arrived)
        steps.append(step)
        for i, one in enumerate(arrived):  # hooks may have replaced the sum
            if (node, i) in sums:
                sums[node, i] = one
        for i, _, part in sorted(recorded[node], key=lambda note: note[0]):
            place = node.edges[i]
            if place is not None and part is not None:
                part = _numpy(unbroadcast(part, node.args[i]._data))
                before = sums.get(place)
                sums[place] = total = part if before is None else np.asarray(before + part)
                step.parts.append(Part(i, place, part, before, total))
    for leaf, g in zip(leaves, found):
        if g is not None:
            sums[leaf, 0] = _numpy(g._data)
    return steps, sums


def _recorded(node, notes):
    """The pullbacks of a node, wrapped to record their arguments and results."""
    pullback = node.pullback

    def one(i, pull):
        def recording(g):
            part = pull(g)
            notes.append((i, g, part))
            return part

        return recording

    def every(g):
        parts = pullback(g)
        returned = (parts,) if _is_single(node) else parts
        notes.extend((i, g, part) for i, part in enumerate(returned[: len(node.edges)]))
        return parts

    if callable(pullback):
        return every
    return [pull and one(i, pull) for i, pull in enumerate(pullback)]


def _is_single(node):
    """True if a pullback for all inputs returns one gradient instead of a tuple."""
    return len(node.edges) == 1 and not node.op.variadic


def _seeds(outputs, gradient):
    returned = gradient if isinstance(gradient, (list, tuple)) else [gradient] * len(outputs)
    for t, g in zip(outputs, returned):
        array = _numpy(t._data)
        yield np.ones_like(array) if g is None else _numpy(unbroadcast(g._data, t._data))


def _numpy(array):
    return np.asarray(backend_of(array).to_numpy(array))


@quiet
def local(step, i):
    """The local derivative of an operation's results by its input i, from its own pullback.

    (elements of the results, elements of the input): the pullback of each unit gradient is a row.
    None if there are more than 16 of either.
    """
    node, like = step.node, step.node.args[i]._data
    rows, columns = sum(g.size for g in step.arrived), math.prod(like.shape)
    if not 0 < rows <= FEW or not 0 < columns <= FEW:
        return None
    derivative = np.zeros((rows, columns), _numpy(like).dtype)
    ends = np.cumsum([g.size for g in step.arrived])[:-1]
    for row, unit in zip(derivative, np.eye(rows)):
        slots = tuple(
            backend_of(like).asarray(part.reshape(g.shape).astype(g.dtype))
            for part, g in zip(np.split(unit, ends), step.arrived)
        )
        g = slots if node.shapes is not None else slots[0]
        if not callable(node.pullback):
            part = node.pullback[i](g)
        else:
            part = node.pullback(g) if _is_single(node) else node.pullback(g)[i]
        row[:] = _numpy(unbroadcast(part, like)).reshape(-1)
    return derivative


# ---- unusual gradients ----------------------------------------------------------------


def size_of(g):
    """The root of the mean square of a gradient's elements: comparable whatever the shape."""
    if not g.size:
        return 0.0
    with np.errstate(all="ignore"):
        g = np.abs(g.astype(np.float64))
        top = g.max()
        return float(top * np.sqrt(np.mean((g / top) ** 2))) if 0 < top < np.inf else float(top)


def kind_of(g, limits=LIMITS):
    """ "missing", "nan" (or infinite), "zero", "vanishing", "exploding", or "" for an ordinary one.

    The largest element decides.
    """
    if g is None:
        return "missing"
    if not g.size:
        return "zero"
    top = float(np.abs(g.astype(np.float64)).max())
    if not math.isfinite(top):
        return "nan"
    if top == 0:
        return "zero"
    return "vanishing" if top < limits[0] else "exploding" if top > limits[1] else ""
