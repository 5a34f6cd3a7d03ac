"""Fold a graph: modules into one vertex each, identical neighbours into one of them."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any

from .trace import Graph, _numel, gradients_of

__all__ = ["fold"]

ORDERS = {  # (whether all are one module, whether one gets what another gives): in words
    (False, True): "one after the other",
    (False, False): "side by side",
    (True, True): "the same module, one call after the other",
    (True, False): "the same module, calls side by side",
}


def fold(graph: Graph, depth: Any, expand: Any = None) -> Graph:
    """The graph with module calls `depth` levels down as one vertex each; 0 is the whole model.

    Modules that call no others are one vertex wherever they are. Modules that follow one another
    and are identical, up to the values of their parameters, become one that counts them. `expand`
    is the path of a module that is drawn in full, with the modules around it opened.
    Raises ValueError if no module of that path was called.
    """
    levels = depth
    if expand is not None:
        calls = {call for v in graph.vertices for call in v.calls}
        depths = [len(call.chain) for call in calls if call.path == expand]
        if not depths:
            near = sorted({call.path for call in calls if call.path})
            near = difflib.get_close_matches(expand, near, 4, 0) or near
            raise ValueError(
                f"draw: no module {expand!r} was called; there are {', '.join(near)}, …"
            )
        levels = max(depth, *depths)
    for level in range(1, levels + 1):
        graph = _fold_repeats(graph, level, expand)
    return _fold_modules(graph, depth, expand)


def _leads_to(call, expand):
    """True if the module of a call is the one to be drawn in full, or contains it."""
    if expand is None:
        return False
    return not call.path or f"{expand}.".startswith(f"{call.path}.")


def _level(v, depth, expand, callers):
    """The level of the call that a vertex is folded into, None if it stays as it is."""
    for level, call in enumerate(v.calls):
        if call.path == expand:
            return None
        if not _leads_to(call, expand) and (level >= depth or level and call not in callers):
            return level
    return None


def _fold_modules(graph, depth, expand):
    """Vertices in a call at `depth`, or in one that calls no others, become that call's vertex."""
    callers = {call.parent for v in graph.vertices for call in v.calls}
    into, boxes, vertices = {}, {}, []
    for v in graph.vertices:
        level = _level(v, depth, expand, callers)
        if level is None:
            into[v.key] = v
            vertices.append(v)
            continue
        call = v.calls[level]
        box = boxes.get(call)
        if box is None:
            box = boxes[call] = replace(
                v, key=f"call{call.start}", role="module", name=call.path, kind=call.kind,
                outputs=[], constants={}, arguments={}, signature="", formula="", derivative="",
                where="", calls=v.calls[: level + 1], needs_grad=True,
                count=graph.repeats.get(call, 1), order=graph.orders.get(call, ""),
                settings=call.settings,
            )  # fmt: skip
            vertices.append(box)
        into[v.key] = box
        if v.role == "operation":
            box.operations += 1
        if v.role == "parameter":
            box.parameters += _numel(v.outputs[0].shape)
    return _quotient(graph, vertices, into)


def _quotient(graph, vertices, into, dropped=(), inside=()):
    """The graph of `vertices`, where `into` says which of them each old vertex became.

    Gradients that flow along edges that become one are added; of edges that leave one of the
    vertices `inside` a repeat, the first is kept, and all of them are noted.
    """
    old = {v.key: v for v in graph.vertices}
    edges = {}
    for e in graph.edges:
        source, target = into[e.source], into[e.target]
        if source is target and not e.back or e in dropped:
            continue
        output = e.output
        if source.role == "module":  # the outputs of a module are those used outside it
            value = old[e.source].outputs[e.output]
            if not any(value is o for o in source.outputs):
                source.outputs.append(value)
            output = next(i for i, o in enumerate(source.outputs) if value is o)
        name = "" if target.role == "module" else e.input
        edge = replace(e, source=source.key, target=target.key, output=output, input=name)
        edges.setdefault(edge, []).append((e.source in inside, e))
    return replace(
        graph, vertices=vertices, edges=[_one(e, *zip(*all)) for e, all in edges.items()]
    )


def _one(edge, repeated, edges):
    """The edge that stands for `edges`, of which some leave a repeat."""
    if len(edges) == 1:
        return edge
    flows = [e.flow for e in edges]
    if repeated[0]:
        return replace(edge, flow=flows[0], flows=tuple(g for e in edges for g in gradients_of(e)))
    came = [g for g in flows if g is not None]
    return replace(edge, flow=sum(came[1:], came[0]) if came else None, local=None)


def _fold_repeats(graph, level, expand=None):
    """Fold runs of identical calls at `level` into the first: its vertex i replaces all theirs."""
    members = {}  # call: its vertices
    between = {}  # parent: sequence numbers of its operations that are in no call at this level
    for v in graph.vertices:
        if len(v.calls) > level:
            members.setdefault(v.calls[level], []).append(v)
        elif len(v.calls) == level and v.number:
            between.setdefault(v.calls[-1], []).append(v.number)
    inputs = {}
    for e in graph.edges:
        inputs.setdefault(e.target, []).append(e)
    looks = {
        call: (_leads_to(call, expand), _key_of_call(call, vertices, inputs))
        for call, vertices in members.items()
    }

    runs, last = [], None
    for call in sorted(members, key=lambda call: call.start):
        follows = (
            last is not None
            and call.parent is last.parent
            and looks[call] == looks[last]
            and not any(last.end < n < call.start for n in between.get(call.parent, ()))
        )
        if follows:
            runs[-1].append(call)
        else:
            runs.append([call])
        last = call

    return _fold_runs(graph, [run for run in runs if len(run) > 1], members)


def _fold_runs(graph, runs, members):
    """Fold each of the `runs`, lists of calls, into its first; `members` are their vertices."""
    into = {v.key: v for v in graph.vertices}
    inside, repeats, orders = {}, dict(graph.repeats), dict(graph.orders)
    for run in runs:
        repeats[run[0]] = len(run)
        for same in zip(*(members[call] for call in run)):
            stands = _standing_for(same)
            for call, v in zip(run, same):
                into[v.key] = stands
                inside[v.key] = run[0], call
    edges, dropped, following = [], set(), set()
    for e in graph.edges:
        (run, one), (other, two) = (inside.get(key, (None, None)) for key in (e.source, e.target))
        if run is not None and run is other and one is not two:  # from one member to another
            following.add(run)
            if one.path == two.path:
                e = replace(e, back=True)
            else:
                dropped.add(e)
        edges.append(e)
    for run in runs:
        orders[run[0]] = ORDERS[run[0].path == run[1].path, run[0] in following]
    vertices = [into[v.key] for v in graph.vertices if into[v.key].key == v.key]
    graph = replace(graph, edges=edges, repeats=repeats, orders=orders)
    return _quotient(graph, vertices, into, dropped, inside)


def _standing_for(same):
    """The first of vertices that are alike, with the gradients of all of them."""
    outputs = [
        replace(values[0], flows=tuple(g for o in values for g in gradients_of(o)))
        for values in zip(*(v.outputs for v in same))
    ]
    return replace(same[0], outputs=outputs)


def _key_of_call(call, vertices, inputs):
    """A key that is equal for calls that may be drawn as one."""
    at = {v.key: i for i, v in enumerate(vertices)}
    looks = [call.kind, call.settings]
    for v in vertices:
        path = v.calls[-1].path.removeprefix(call.path)
        name = v.name.removeprefix(call.path)
        shapes = [(o.shape, o.dtype) for o in v.outputs]
        wires = [
            (e.input, at[e.source], e.output, e.needs_grad) if e.source in at else e.input
            for e in inputs.get(v.key, ())
        ]
        constants, arguments = sorted(v.constants.items()), sorted(v.arguments.items())
        looks.append((path, v.role, name, shapes, constants, arguments, wires))
    return looks
