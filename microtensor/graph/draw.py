"""From a description of a graph to a picture of it, in Graphviz's language.

Only what Graphviz and graphviz-pure draw alike is used: boxes, HTML-like labels and clusters.
"""

import itertools
import math
import sys
from collections import Counter
from html import escape

import graphviz

from .fold import fold
from .render import NoRenderer, picture
from .trace import describe, watch

__all__ = ["Drawing", "draw"]

ROLES = {  # what is shown: fill, line, words in the legend
    "input": ("#E4F2E7", "#5C9A6B", "input"),
    "parameter": ("#FFF0CF", "#CF9A2E", "parameter"),
    "operation": ("#EDF1F7", "#8A9BB4", "operation"),
    "module": ("#E9E6F8", "#8478C4", "module"),
    "result": ("#FBE1E1", "#CB5F6A", "result"),
}
INK, FAINT, GRADIENT, WIRE = "#1F2733", "#6B7686", "#B3303F", "#66738A"
FONT = "Arial"
SYMBOLS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "matmul": "@", "pow": "**"}


class Drawing(graphviz.Digraph):
    """A `graphviz.Digraph` that shows itself in a notebook, whatever renderer is installed."""

    def _repr_mimebundle_(self, include=None, exclude=None, **_):
        try:
            return {"image/svg+xml": picture(self.source).decode()}
        except NoRenderer as missing:
            return {"text/plain": f"{missing}\n\n{self.source}"}


def draw(
    output,
    params=None,
    names=None,
    values=False,
    grads=False,
    depth=None,
    *,
    gradient=None,
    calls=None,
    direction="LR",
    legend=True,
    title="",
    **attributes,
):
    """A drawing of the graph behind a tensor, or a list or {name: tensor} of several.

    `output` may be a function that computes it: `draw(lambda: model(x), params=model, depth=1)`
    watches the model at work and folds modules `depth` levels down (0 is the whole model) into one
    box each, identical neighbours into one marked "× 4". Without `depth` everything is drawn, with
    a frame around each module. What was computed elsewhere, `with watch(model) as calls`, is folded
    with those `calls`.

    `params` (a Module, or a mapping from names to tensors) says which leaves are parameters and
    what they are called. `names` maps names to tensors, or tensors to names; without it the
    caller's variables lend theirs. `values` and `grads` show the numbers of tensors of at most 16
    elements, or of as many as given; gradients are computed here, from `gradient` if the output has
    more than one element, and every `.grad` stays as it is. `direction` is "LR" (left to right),
    "TB", "RL" or "BT"; other keywords are Graphviz attributes of the graph.
    Raises RuntimeError for a tensor without a graph, or one whose graph was freed.
    """
    if direction not in ("LR", "RL", "TB", "BT"):
        raise ValueError(f"draw: the direction is LR, RL, TB or BT, not {direction!r}")
    scope = None
    if names is None:
        variables = sys._getframe(1).f_locals
        scope = {name: t for name, t in variables.items() if not name.startswith("_")}
    if callable(output):
        if calls is None and hasattr(params, "named_modules"):
            with watch(params) as calls:
                output = output()
        else:
            output = output()
    if depth is not None and calls is None:
        raise ValueError(
            "draw: to fold by module, the modules must be seen at work: "
            "draw(lambda: model(x), params=model, depth=1)"
        )
    graph = describe(output, params, names, values, grads, gradient, calls, scope)
    if depth is not None:
        graph = fold(graph, depth)
    return _drawing(graph, direction, legend, title, attributes)


def _drawing(graph, direction, legend, title, attributes):
    dot = Drawing("microtensor")
    dot.attr(
        "graph", rankdir=direction, bgcolor="white", fontname=FONT, fontcolor=INK, pad="0.25",
        nodesep="0.28", ranksep="0.42", labelloc="t", labeljust="l",
    )  # fmt: skip
    if not any(v.calls for v in graph.vertices):  # within frames Graphviz gets it backwards
        dot.attr("graph", ordering="in")
    dot.attr(
        "node", shape="box", style="filled", fontname=FONT, fontsize="12", fontcolor=INK,
        margin="0.12,0.06", height="0.3", width="0.3", penwidth="1.1",
    )  # fmt: skip
    dot.attr("edge", color=WIRE, arrowsize="0.6", penwidth="1.1", fontname=FONT, fontsize="9")
    header = _header(graph, legend, title)
    if header:
        dot.attr("graph", label=header)
    if attributes:
        dot.attr("graph", **{name: str(value) for name, value in attributes.items()})
    last = {e.source for e in graph.edges if e.target.startswith("result")}
    _frames(dot, graph, graph.vertices, 1, last, "")
    vertices = {v.key: v for v in graph.vertices}
    for e in graph.edges:
        about = _about(vertices[e.source].outputs[e.output])
        style = {} if e.needs_grad else {"style": "dashed", "color": "#A3ADBB"}
        tip = f"{e.input}: {about}" if e.input else about
        if e.source[0] != "l":  # keep the way of the data straight, not that of the parameters
            style["weight"] = "3"
        dot.edge(e.source, e.target, edgetooltip=_plain(tip), **style)
    return dot


def _frames(dot, graph, vertices, level, last, path):
    """Draw the vertices, those inside a module call at `level` in a frame of their own.

    Names are told from `path` on, the module whose frame this is.
    """
    frames = {}
    for v in vertices:
        inside = len(v.calls) > level + (v.role == "module")
        if inside:
            frames.setdefault(v.calls[level], []).append(v)
        else:
            dot.node(
                v.key, _label(v, path, v.key in last), tooltip=_plain(_tooltip(v)), **_style(v)
            )
    for call, members in frames.items():
        with dot.subgraph(name=f"cluster_{call.start}") as frame:
            times = graph.repeats.get(call, 1)
            frame.attr(
                label=_frame_title(call, path, times), style="rounded,filled",
                color="#C9C4E6", fillcolor="#F8F7FD" if level % 2 else "#F1EFFA", margin="12",
                tooltip=_plain(f"{call.path}: {call.kind}"),
            )  # fmt: skip
            _frames(frame, graph, members, level + 1, last, call.path + ".")


def _style(v):
    fill, line, _ = ROLES[v.role]
    style = "filled" if v.role == "parameter" else "filled,rounded"
    if not v.needs_grad:
        style += ",dashed"
    return {"style": style, "fillcolor": fill, "color": line}


def _plain(text):
    """Text for Graphviz as it stands: no escapes, no HTML."""
    text = graphviz.escape(text)
    return text.replace("\n", r"\n") if "\n" in text else text


# ---- words ---------------------------------------------------------------------------


def _label(v, path, is_last):
    """What is written in a box: a title, the shape, and the numbers if they are to be shown."""
    name = v.name.removeprefix(path)
    if v.role == "module":
        lines = [_counted(name or v.kind, v.count)]
        size = f"{v.parameters:,} parameters{' each' * (v.count > 1)}" if v.parameters else ""
        about = ", ".join(filter(None, (v.kind * bool(name), size)))
        lines += [_faint(about)] if about else []
    elif v.role == "operation":
        lines = _operation(v)
    else:
        lines = [f"<b>{escape(name or v.kind or v.role)}</b>"]
    # what the last operation makes is told by the result
    shown = [] if is_last and v.role == "operation" and len(v.outputs) == 1 else v.outputs
    if v.role == "operation":
        lines += [f"<i>{escape(o.name)}</i>" for o in shown if o.name]
    abouts = Counter(_about(o) for o in shown)
    lines += [_faint(f"{n} × {about}" if n > 1 else about) for about, n in abouts.items() if about]
    rows = "".join(f'<tr><td colspan="2">{line}</td></tr>' for line in lines)
    for i, o in enumerate(shown):
        which = f"{o.name or f'[{i}]'} " if len(shown) > 1 else ""
        for word, data, color in (("value", o.data, INK), ("grad", o.grad, GRADIENT)):
            if data is not None:
                rows += (
                    f'<tr><td align="left">{_faint(which + word)}</td>'
                    f'<td align="right">{_numbers(data, color)}</td></tr>'
                )
    return f'<<table border="0" cellspacing="0" cellpadding="1">{rows}</table>>'


def _frame_title(call, path, count):
    """A module whose inside is drawn: where it is, how many there are, what it is."""
    lines = [_counted(call.path.removeprefix(path), count), _faint(call.kind)]
    rows = "".join(f'<tr><td align="left">{line}</td></tr>' for line in lines)
    return f'<<table border="0" cellspacing="0" cellpadding="1">{rows}</table>>'


def _counted(name, count):
    """The name of a module, or of `count` identical ones in a row: "blocks.0–3 × 4"."""
    if count == 1:
        return f"<b>{escape(name)}</b>"
    head, _, last = name.rpartition(".")
    if last.isdecimal():
        name = f"{head}{'.' * bool(head)}{last}–{int(last) + count - 1}"
    color = ROLES["module"][1]
    return (
        f'<b>{escape(name)}&#160;&#160;<font color="{color}" point-size="15">× {count}</font></b>'
    )


def _operation(v):
    """An operation with the numbers among its inputs: "1 − □", "sum" over "dim=1"."""
    symbol = SYMBOLS.get(v.name)
    if symbol is None:
        more = {**{n: _number(x) for n, x in v.constants.items()}, **v.arguments}
        title = escape(v.name)
        about = ", ".join(f"{name}={value}" for name, value in more.items())
        return [f"<b>{title}</b>", _faint(about)] if about else [f"<b>{title}</b>"]
    left, right = (_number(v.constants[n]) if n in v.constants else "" for n in "ab")
    about = ", ".join(f"{name}={value}" for name, value in v.arguments.items())
    title = f'<b><font point-size="14">{f"{left} {symbol} {right}".strip()}</font></b>'
    return [title, _faint(about)] if about else [title]


def _faint(text, color=FAINT):
    return f'<font point-size="9" color="{color}">{escape(text)}</font>'


def _about(value):
    """Shape and dtype of a tensor, as far as they are known."""
    return " ".join(filter(None, (str(value.shape or ""), value.dtype)))


def _numbers(data, color):
    """An array as a small table, rows of its last dimension."""
    font = f'<font point-size="10" color="{color}">'
    if data.ndim == 0:
        return f'<font color="{color}">{_number(data.item(), 4)}</font>'
    if not data.size:
        return f'<font color="{color}">empty</font>'
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td align="right">{font}{gap}{_number(x, 3)}</font></td>'
            for gap, x in zip(itertools.chain([""], itertools.repeat("&#160;")), row)
        )
        + "</tr>"
        for row in data.reshape(-1, data.shape[-1]).tolist()
    )
    return f'<table border="0" cellspacing="0" cellpadding="2">{rows}</table>'


def _number(x, digits=4):
    if isinstance(x, bool | int):
        return str(x).replace("-", "−")
    if math.isinf(x):
        return "−∞" if x < 0 else "∞"
    return f"{x + 0.0:.{digits}g}".replace("-", "−")  # + 0.0: no negative zero


def _tooltip(v):
    """What a picture in a browser says when the mouse rests on a box."""
    if v.role == "module":
        inside = f"{v.operations} operations, {v.parameters:,} parameters"
        return f"{v.name or 'the model'}: {v.kind}\n{inside}" + f"\n× {v.count}" * (v.count > 1)
    if v.role == "operation":
        derivative = [part.strip(" ,") for part in v.derivative.split("    ")]
        return "\n".join(filter(None, (v.signature, v.formula, *derivative)))
    about = _about(v.outputs[0])
    return f"{v.role} {v.name}: {about}" + "\nno gradient" * (not v.needs_grad)


# ---- the header ----------------------------------------------------------------------


def _header(graph, legend, title):
    """The title and the legend as one table above the drawing."""
    rows = f'<tr><td align="left"><font point-size="16"><b>{escape(title)}</b></font></td></tr>'
    rows = rows if title else ""
    if legend:
        present = {v.role for v in graph.vertices}
        cells = "".join(
            f'<td><table border="1" cellborder="0" cellpadding="0" color="{line}" bgcolor="{fill}" '
            f'width="13" height="11" fixedsize="true"><tr><td></td></tr></table></td>'
            f"<td>{_faint(words)}&#160;&#160;</td>"
            for role, (fill, line, words) in ROLES.items()
            if role in present
        )
        if any(not e.needs_grad for e in graph.edges):
            cells += f"<td>{_faint('- - -  no gradient')}&#160;&#160;</td>"
        if any(o.grad is not None for v in graph.vertices for o in v.outputs):
            cells += f"<td>{_faint('gradient of the result', GRADIENT)}</td>"
        rows += (
            '<tr><td align="left"><table border="0" cellspacing="0" cellpadding="2"><tr>'
            f"{cells}</tr></table></td></tr>"
        )
    if legend and graph.unused:
        names = ", ".join(graph.unused[:8]) + ", …" * (len(graph.unused) > 8)
        rows += f'<tr><td align="left">{_faint(f"no gradient reaches {names}")}</td></tr>'
    rows += '<tr><td height="4"></td></tr>' if rows else ""
    return rows and f'<<table border="0" cellspacing="0" cellpadding="3">{rows}</table>>'
