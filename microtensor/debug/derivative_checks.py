"""Checks of derivatives: each pullback against central differences, and sums of gradients."""

import math
from collections import defaultdict

import numpy as np

from ..autograd import TensorBase
from ..backends import backend_of, quiet
from ..graph.flow import flow_of
from .finding import Finding
from .trial import _numpy

SLACK = 2e-3  # relative tolerance of a float32 pullback against central differences


@quiet
def _derivatives(p):
    """The pullback of each operation agrees with central differences of its value."""
    seen, found = set(), {}
    for node in p.nodes:
        key = node.op, str(node.params), tuple(tuple(getattr(a, "shape", ())) for a in node.args)
        if key in seen or node.op.op_name == "observe":
            continue
        seen.add(key)
        wrong = _probe(node)
        if wrong is not None:
            kind, evidence = wrong
            found.setdefault((node.op, kind), Finding(kind, p.where(node), evidence))
    return list(found.values())


def _probe(node):
    """(kind, evidence) of a pullback that is wrong, else None."""
    chance = np.random.default_rng(0)
    inputs = [i for i, e in enumerate(node.edges) if e is not None]
    args = [_numpy(a) if isinstance(a, TensorBase) else a for a in node.args]
    drawn = "seed" in node.op.defaults  # another dtype would draw other random numbers
    exact = [a.astype(np.float64) if _is_float(a) and not drawn else a for a in args]
    before, x = _outputs(node, args), _outputs(node, exact)
    if not all(np.allclose(a, b, 1e-2, 1e-3, equal_nan=True) for a, b in zip(before, x)):
        return None  # the operation cannot be repeated
    directions = {}
    for i in inputs:
        finite = np.isfinite(exact[i])
        size = max(1e-2, float(np.sqrt(np.mean(exact[i][finite] ** 2))) if finite.any() else 0)
        directions[i] = chance.choice([-size, size], exact[i].shape).astype(exact[i].dtype) * finite
    rounding = max(np.finfo(o.dtype).eps if _is_float(o) else 0 for o in before)
    precise = rounding < 1e-6 and all(o.dtype == np.float64 for o in x if _is_float(o))
    eps = 1e-5 if precise else 1e-2
    slack = max(SLACK, 20 * rounding, 2 * eps)

    def compare(chosen):
        """(kind, evidence) if pullbacks and differences disagree on these inputs, else None."""
        moved = [
            _outputs(node, [a + s * eps * directions[i] if i in chosen else a
                            for i, a in enumerate(exact)]) for s in (1, -1)
        ]  # fmt: skip
        weights, numeric = _differences(before, x, *moved, eps, chance)
        parts = _pulled(node, weights)
        terms = {i: parts[i] for i in chosen if parts[i] is not None}
        slope, size = 0.0, 0.0
        for i, (_, fitted) in terms.items():
            if fitted.shape != exact[i].shape:
                return "broadcast", _unsummed(node, i, fitted.shape, exact[i].shape)
            term = fitted.astype(np.float64) * directions[i]
            slope, size = slope + term.sum(), size + (term**2).sum()
        far = slack * (math.sqrt(size) + abs(numeric)) + 1e-6 * math.sqrt(sum(o.size for o in x))
        if abs(slope - numeric) <= far:
            return None
        evidence = f"the slope of {node.name()} by {_input_name(node, *chosen)} along one direction"
        evidence += f": the pullback says {slope:+.4g}, central differences say {numeric:+.4g}"
        if len(chosen) == 1 and chosen[0] in terms:
            raw = terms[chosen[0]][0].astype(np.float64)
            spread, shape = directions[chosen[0]], exact[chosen[0]].shape
            if raw.shape != shape and abs((raw * spread).sum() - numeric) <= far:
                return "broadcast", evidence + f". {_unsummed(node, chosen[0], raw.shape, shape)}"
        return ("sign" if abs(slope + numeric) <= far else "derivative"), evidence

    if compare(inputs) is None:
        return None
    return next(filter(None, (compare([i]) for i in inputs)), None)


def _differences(results, middle, up, down, eps, chance):
    """(random weights ±1 of the results, the slope of their weighted sum by central differences).

    The weight is 0 at corners, where the slopes on both sides differ.
    """
    weights, slope = [], 0.0
    for o, m, u, d in zip(results, middle, up, down):
        ahead, behind = (u - m) / eps, (m - d) / eps
        corner = ~(np.abs(ahead - behind) <= 0.02 * (np.abs(ahead) + np.abs(behind)) + 1e-3)
        w = np.where(corner, 0, chance.choice([-1.0, 1.0], o.shape)) * _is_float(o)
        slopes = np.where(w == 0, 0, (u - d) / (2 * eps))
        weights.append(w.astype(o.dtype) if _is_float(o) else w.astype(np.float32))
        slope += float((w * slopes).sum(dtype=np.float64))
    return weights, slope


def _unsummed(node, i, shape, right):
    return (
        f"{node.name()} gives its input {_input_name(node, i)} of shape {right} a gradient of "
        f"shape {shape}: it has to be summed where the input was broadcast"
    )


def _input_name(node, *inputs):
    names = node.op.input_names
    return ", ".join(names[i] if i < len(names) else f"{names[0]}[{i}]" for i in inputs)


def _outputs(node, args):
    value = node.op.compute(*(_copied(a) for a in args), **node.params)[0]
    return [np.asarray(v) for v in (value if isinstance(value, tuple) else (value,))]


def _copied(a):
    return a.copy() if isinstance(a, np.ndarray) else a


def _is_float(a):
    return isinstance(a, np.ndarray | np.generic) and a.dtype.kind == "f"


def _pulled(node, weights):
    """[(result of the pullback, the gradient that the engine makes of it)] for each input."""
    like = next(a._data for a in node.args if isinstance(a, TensorBase))
    slots = [backend_of(like).asarray(w) for w in weights]
    g = tuple(slots) if node.shapes is not None else slots[0]
    if callable(node.pullback):
        parts = node.pullback(g)
        parts = (parts,) if len(node.edges) == 1 and not node.op.variadic else parts
    else:
        parts = [pull(g) if pull and e else None for pull, e in zip(node.pullback, node.edges)]
    fitted = []
    for i, (part, edge) in enumerate(zip(parts, node.edges)):
        pair = None
        if part is not None and edge is not None:
            raw = _numpy(part).copy()
            try:
                pair = raw, _numpy(node._fitted(part, i, node.args[i]._data))
            except RuntimeError:
                pair = raw, raw
        fitted.append(pair)
    return fitted


@quiet
def _sums(p):
    """Where gradients meet, they add up, and .grad adds up from one backward to the next."""
    if any(f.kind == "broadcast" for f in p.findings):
        return None
    steps, sums = flow_of(p.nodes, [p.loss])
    sums |= {(step.node, i): g for step in steps for i, g in enumerate(step.arrived)}
    meeting = defaultdict(list)
    for step in steps:
        for part in step.parts:
            meeting[part.place].append((step.node, part.product))
    for place, parts in meeting.items():
        right, got = sum(g.astype(np.float64) for _, g in parts), sums[place]
        if place[0]._hooks or len(parts) < 2 or _close(got, right):
            continue
        users = ", ".join(p.where(node) for node, _ in parts[:3])
        name = p.names.get(place[0], "") or f"the result of {p.where(place[0])}"
        sizes = " and ".join(f"{np.linalg.norm(g):.3g}" for _, g in parts[:3])
        evidence = (
            f"{len(parts)} gradients arrive, from {users}; their norms are {sizes}, their sum "
        )
        evidence += f"has {np.linalg.norm(right):.3g}, but passed on was {np.linalg.norm(got):.3g}"
        return [Finding("accumulate", name, evidence)]
    for _ in range(2):
        p.loss.backward(retain_graph=True)
    for w, name in p.names.items():
        once = sums.get((w, 0))
        if once is not None and not w._hooks and not _close(_numpy(w.grad), 2.0 * once):
            evidence = (
                f"after two backward passes its norm is {np.linalg.norm(_numpy(w.grad)):.3g}, "
            )
            evidence += f"and twice the gradient would be {2 * np.linalg.norm(once):.3g}"
            return [Finding("accumulate", f"{name}.grad", evidence)]
    p.restore()
    return []


def _close(a, b):
    return a.shape == b.shape and np.abs(a - b).max(initial=0) <= SLACK * np.abs(b).max(initial=0)
