"""The gradients that flow along each edge, as the engine itself makes them.

Nothing is derived here. The engine's own `grad` runs, and for its time each pullback is wrapped in
one that notes what came and what was given back.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from ..autograd import Node, Variable, grad, unbroadcast
from ..backends import backend_of, quiet

__all__ = ["LIMITS", "Part", "Step", "flow_of", "kind_of", "local", "size_of"]

LIMITS = 1e-6, 1e3  # a gradient vanishes below the first, explodes above the second
FEW = 16  # elements: local derivatives of more are not worked out


@dataclass
class Part:
    """What the pullback of one input gave, and where it was added: `total` is the sum then."""

    input: int
    place: tuple  # (Node or leaf, which of its results)
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

    A place is (Node or leaf, index); `nodes` are all nodes behind `outputs`. Every `.grad` stays as
    it is, and the graph is kept.
    """
    steps, sums, owners = [], {}, [n for n in nodes if n.pullback is not None]
    leaves = list(
        dict.fromkeys(
            e[0] for n in nodes for e in n.edges if e is not None and isinstance(e[0], Variable)
        )
    )
    kept = [(source, source._keepers) for source in (*nodes, *leaves) if source._keepers]
    pullbacks = [n.pullback for n in owners]

    def at(node):
        if not steps or steps[-1].node is not node:
            steps.append(Step(node, []))
        return steps[-1]

    def note(node, i, g, part):
        at(node).arrived = [_numpy(one) for one in (g if isinstance(g, tuple) else (g,))]
        if part is not None and node.edges[i] is not None:
            part = _numpy(unbroadcast(part, node.args[i]._data))
            place = node.edges[i]
            before = sums.get(place)
            sums[place] = total = part if before is None else before + part
            steps[-1].parts.append(Part(i, place, part, before, total))

    def recorded(node):
        pullback = node.pullback
        if not callable(pullback):
            return [pull and _noted(note, node, i, pull) for i, pull in enumerate(pullback)]

        def all_inputs(g):
            parts = pullback(g)
            single = len(node.edges) == 1 and not node.op.variadic
            for i, part in enumerate((parts,) if single else parts[: len(node.edges)]):
                note(node, i, g, part)
            return parts

        return all_inputs

    for source, _ in kept:  # what retain_grad() asked for
        source._keepers = None
    for t, seed in zip(outputs, _seeds(outputs, gradient)):
        place = (t._node, t._index)
        sums[place] = seed if place not in sums else sums[place] + seed
    try:
        for node in owners:
            node.pullback = recorded(node)
        found = grad(outputs, leaves, gradient, retain_graph=True, allow_unused=True)
    finally:
        for node, pullback in zip(owners, pullbacks):
            node.pullback = pullback
        for source, keepers in kept:
            source._keepers = keepers
    for step in steps:  # hooks may have replaced what was summed
        for i, g in enumerate(step.arrived):
            if (step.node, i) in sums:
                sums[step.node, i] = g
    for leaf, g in zip(leaves, found):
        if g is not None:
            sums[leaf, 0] = _numpy(g._data)
    return steps, sums


def _noted(note, node, i, pull):
    def one_input(g):
        part = pull(g)
        note(node, i, g, part)
        return part

    return one_input


def _seeds(outputs, gradient):
    given = gradient if isinstance(gradient, (list, tuple)) else [gradient] * len(outputs)
    for t, g in zip(outputs, given):
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
    like, live = step.node.args[i]._data, [j == i for j in range(len(step.node.edges))]
    rows, columns = sum(g.size for g in step.arrived), math.prod(like.shape)
    if not 0 < rows <= FEW or not 0 < columns <= FEW:
        return None
    derivative = np.zeros((rows, columns), like.dtype)
    for row, unit in zip(derivative, np.eye(rows)):
        ends = np.cumsum([g.size for g in step.arrived])[:-1]
        slots = [
            backend_of(like).asarray(part.reshape(g.shape).astype(g.dtype))
            for part, g in zip(np.split(unit, ends), step.arrived)
        ]
        for _, part in step.node.pull(slots, live, False):
            row[:] = _numpy(part).reshape(-1)
    return derivative


# ---- what stands out ------------------------------------------------------------------


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

    What counts is the largest element.
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
