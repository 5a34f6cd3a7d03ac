"""Fold a graph: modules into one vertex each, identical neighbours into one of them."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any

from .trace import Graph, _numel

__all__ = ["fold"]


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
                count=graph.repeats.get(call, 1),
            )  # fmt: skip
            vertices.append(box)
        into[v.key] = box
        if v.role == "operation":
            box.operations += 1
        if v.role == "parameter":
            box.parameters += _numel(v.outputs[0].shape)
    return _quotient(graph, vertices, into)


def _quotient(graph, vertices, into, dropped=(), add=True):
    """The graph of `vertices`, where `into` says which of them each old vertex became.

    Gradients that flow along edges that become one are added, or the first one is kept.
    """
    old = {v.key: v for v in graph.vertices}
    edges = {}
    for e in graph.edges:
        source, target = into[e.source], into[e.target]
        if source is target or e in dropped:
            continue
        output = e.output
        if source.role == "module":  # the outputs of a module are those used outside it
            value = old[e.source].outputs[e.output]
            if not any(value is o for o in source.outputs):
                source.outputs.append(value)
            output = next(i for i, o in enumerate(source.outputs) if value is o)
        name = "" if target.role == "module" else e.input
        edge = replace(e, source=source.key, target=target.key, output=output, input=name)
        if edge not in edges:
            edges[edge] = e.flow
        elif add and e.flow is not None:
            edges[edge] = e.flow if edges[edge] is None else edges[edge] + e.flow
    edges = [
        e if e.flow is flow else replace(e, flow=flow, local=None) for e, flow in edges.items()
    ]
    return replace(graph, vertices=vertices, edges=edges)


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

    into = {v.key: v for v in graph.vertices}
    inside, repeats = {}, dict(graph.repeats)
    for first, *others in (run for run in runs if len(run) > 1):
        repeats[first] = 1 + len(others)
        for call in (first, *others):
            for v, stands in zip(members[call], members[first]):
                into[v.key] = stands
                inside[v.key] = first, call
    crossing = {
        e
        for e in graph.edges
        if e.source in inside
        and e.target in inside
        and inside[e.source][0] is inside[e.target][0]
        and inside[e.source][1] is not inside[e.target][1]
    }  # from one member of a run to the next
    vertices = [v for v in graph.vertices if into[v.key] is v]
    graph = replace(graph, repeats=repeats)
    return _quotient(graph, vertices, into, crossing, add=False)


def _key_of_call(call, vertices, inputs):
    """A key that is equal for calls that may be drawn as one."""
    at = {v.key: i for i, v in enumerate(vertices)}
    looks = [call.kind]
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
