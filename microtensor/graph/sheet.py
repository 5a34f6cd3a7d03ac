"""Write the description of a graph in Graphviz's language.

Only features that Graphviz and graphviz-pure share are used: boxes, HTML-like labels and clusters.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..utils.pages import brief, dot_label
from .flow import kind_of, size_of
from .labels import (
    STANDS_OUT,
    SYMBOLS,
    about_tensor,
    as_number,
    as_setting,
    as_text,
    in_few_words,
    in_words,
    strip,
    thickness,
)  # fmt: skip
from .options import Options
from .themes import FONT
from .trace import Graph, gradients_of

NAMED = 40  # the most parameters without a gradient that are listed


@dataclass
class Sheet:
    """Writes a graph, folded already, with the options of its drawing, into a Digraph."""

    graph: Graph
    options: Options

    def __post_init__(self):
        options = self.options
        self.theme, self.view, self.limits = options.theme, options.view, options.limits
        self.last = {e.source for e in self.graph.edges if e.target.startswith("result")}
        self.met = self._meetings()

    def write(self, dot):
        """Add the whole drawing to `dot`, a `graphviz.Digraph`."""
        graph, options, t = self.graph, self.options, self.theme
        dot.attr(
            "graph", rankdir=options.direction, bgcolor=t.paper, fontname=FONT,
            fontcolor=t.ink, pad="0.25",
            nodesep=f"{0.28 * t.scale:.2f}", ranksep=f"{0.42 * t.scale:.2f}", labelloc="t",
            labeljust="l",
        )  # fmt: skip
        if not any(v.calls for v in graph.vertices):  # within frames Graphviz reverses it
            dot.attr("graph", ordering="in")
        dot.attr(
            "node", shape="box", style="filled", fontname=FONT, fontsize=self.points(12),
            fontcolor=t.ink, margin="0.12,0.06", height="0.3", width="0.3", penwidth=f"{t.line}",
        )  # fmt: skip
        dot.attr(
            "edge", color=t.wire, arrowsize="0.6", penwidth=f"{t.line}", fontname=FONT,
            fontsize=self.points(9), fontcolor=t.ink,
        )  # fmt: skip
        header = self._header()
        if header:
            dot.attr("graph", label=header)
        if options.attributes:
            dot.attr("graph", **{n: as_setting(x) for n, x in options.attributes.items()})
        self._frames(dot, graph.vertices, 1, "")
        self._edges(dot)

    def points(self, size):
        """The font size in this theme."""
        return f"{size * self.theme.scale:g}"

    # ---- boxes -------------------------------------------------------------------------

    def _frames(self, dot, vertices, level, path):
        """Draw the vertices, those inside a module call at `level` in a frame of their own.

        Names are relative to `path`, the module of this frame.
        """
        t, frames = self.theme, {}
        for v in vertices:
            inside = len(v.calls) > level + (v.role == "module")
            if inside:
                frames.setdefault(v.calls[level], []).append(v)
            else:
                dot.node(
                    v.key, self._label(v, path), tooltip=as_text(self._tooltip(v)), **self._style(v)
                )
        for call, members in frames.items():
            with dot.subgraph(name=f"cluster_{call.start}") as frame:
                times = self.graph.repeats.get(call, 1)
                line, odd, even = t.frames
                frame.attr(
                    label=self._frame_title(call, path, times), style="rounded,filled", color=line,
                    fillcolor=odd if level % 2 else even, margin="12",
                    tooltip=as_text(f"{brief(call.path)}: {call.kind}"),
                )  # fmt: skip
                self._frames(frame, members, level + 1, call.path + ".")

    def _style(self, v):
        fill, line = self.theme.roles[v.role]
        style = {"style": "filled" if v.role == "parameter" else "filled,rounded"}
        if not v.needs_grad:
            style["style"] += ",dashed"
        kind = self._kind(v)
        if kind:
            line = self.theme.flows[kind]
            style["penwidth"] = f"{2.5 * self.theme.line:.3g}"
        return {**style, "fillcolor": fill, "color": line}

    def _kind(self, v):
        """The kind of the gradients that arrived at a vertex: "zero", "vanishing" …, or ""."""
        if not self.graph.flows or not v.needs_grad or v.role == "result" or not v.outputs:
            return ""
        kinds = {kind_of(g, self.limits) for o in v.outputs for g in gradients_of(o)}
        if kinds - {"missing"}:  # of several results one may be unused
            kinds.discard("missing")
        return next((kind for kind in STANDS_OUT if kind in kinds), "")

    def _meetings(self):
        """{(vertex, index of its result): the gradients that arrived, if there are several}."""
        came = {}
        for e in self.graph.edges:
            if e.flow is not None and not e.target.startswith("result"):
                came.setdefault((e.source, e.output), []).append(e.flow)
        return {place: flows for place, flows in came.items() if len(flows) > 1}

    # ---- edges -------------------------------------------------------------------------

    def _edges(self, dot):
        t, vertices = self.theme, {v.key: v for v in self.graph.vertices}
        for e in self.graph.edges:
            about = about_tensor(vertices[e.source].outputs[e.output])
            tip = f"{e.input}: {about}" if e.input else about
            style = {} if e.needs_grad else {"style": "dashed", "color": t.flows["missing"]}
            if e.back:  # from one call of a module to its next: not along with the rest
                style |= {"constraint": "false"}
                tip = f"from one call to the next: {tip}"
            if e.source[0] != "l":  # keep the path of the data straight, not that of the parameters
                style["weight"] = "3"
            flows = self.view != "forward" and e.needs_grad
            if self.view != "backward" or not flows:
                if e.local is not None and not flows:
                    style["label"] = self._edge_label(self.faint(self._slope(e), t.active), 1)
                dot.edge(e.source, e.target, edgetooltip=as_text(tip), **style)
            if flows:
                came = vertices[e.target].outputs
                dot.edge(e.source, e.target, **style, **self._gradient(e, tip, came))

    def _slope(self, e):
        slope = as_number(e.local.reshape(-1)[0].item(), 4)
        return f"({slope})" if slope.startswith("−") and self.view != "forward" else slope

    def _edge_label(self, words, thick):
        """Words beside an arrow, with room for half of its thickness to the left and below."""
        room = "&#160;" * (1 + round(thick / 4))
        return f'<{room}{words}&#160;<br/><font point-size="{thick:.1f}">&#160;</font>>'

    def _gradient(self, e, tip, came):
        """The attributes of an edge for the gradient that flows back along it."""
        t, kind = self.theme, kind_of(e.flow, self.limits)
        color, thick = t.flows.get(kind, t.gradient), thickness(e.flow) * t.line
        style = {"dir": "back", "color": color, "penwidth": f"{thick:.2f}"}
        if len(e.flows) > 1:
            words = strip(e.flows)
        elif kind in ("nan", "zero", "missing"):
            words = STANDS_OUT[kind][0]
        else:
            words = in_few_words(e.flow, 3 if e.local is None else 4)
        words = self.faint(words, color)
        if kind:
            words = f"<b>{words}</b>"
        if e.local is not None:
            before = self.faint(
                f"{as_number(came[0].flow.reshape(-1)[0].item(), 4)} × ", t.gradient
            )
            words = f"{before}{self.faint(self._slope(e), t.active)}{self.faint(' = ')}{words}"
        if kind in ("zero", "missing"):
            style["style"] = "dashed"
        told = as_text(f"gradient of {tip}\n{in_words(e.flow, kind)}")
        label = self._edge_label(words, thick)
        return {**style, "label": label, "edgetooltip": told, "labeltooltip": told}

    # ---- words -------------------------------------------------------------------------

    def _label(self, v, path):
        """The label of a box: title, shape, and numbers if they are to be shown."""
        name = brief(v.name.removeprefix(path))
        if v.role == "module":
            lines = [self._counted(name or v.kind, v.count)]
            each = " each" if v.count > 1 else ""
            size = f"{v.parameters:,} parameters{each}" if v.parameters else ""
            about = ", ".join(filter(None, (v.kind * bool(name), size)))
            lines += [self.faint(line) for line in (v.order, about, v.settings) if line]
        elif v.role == "operation":
            lines = self._operation(v)
        else:
            lines = [f"<b>{dot_label(name or v.kind or v.role)}</b>"]
        # the result's own box shows the value of the last operation
        is_last = v.role == "operation" and len(v.outputs) == 1 and v.key in self.last
        shown = [] if is_last else v.outputs
        if v.role == "operation":
            lines += [f"<i>{dot_label(brief(o.name))}</i>" for o in shown if o.name]
        abouts = Counter(about_tensor(o) for o in shown)
        lines += [
            self.faint(f"{n} × {about}" if n > 1 else about) for about, n in abouts.items() if about
        ]
        rows = "".join(f'<tr><td colspan="2">{line}</td></tr>' for line in lines)
        for i, o in enumerate(shown):
            which = f"{brief(o.name) or f'[{i}]'} " if len(shown) > 1 else ""
            if o.data is not None:
                rows += self._numbers_row(which + "value", self._numbers(o.data, self.theme.ink))
            rows += self._gradient_rows(v, i, o, which)
        kind = self._kind(v)
        if kind:
            words = STANDS_OUT[kind][0] + ("" if kind == "missing" else " gradient")
            color = self.theme.flows[kind]
            rows += f'<tr><td colspan="2"><b>{self.faint(words, color)}</b></td></tr>'
        return f'<<table border="0" cellspacing="0" cellpadding="1">{rows}</table>>'

    def _gradient_rows(self, v, i, o, which):
        """The gradient of one tensor, and, where several meet, their sum."""
        color, rows = self.theme.gradient, ""
        if len(o.flows) > 1 and self.graph.flows and v.needs_grad:
            rows += f'<tr><td colspan="2">{self.faint(strip(o.flows), color)}</td></tr>'
        came = self.met.get((v.key, i), ()) if v.role != "result" else ()
        with np.errstate(all="ignore"):
            whole = came and o.flow is not None and np.allclose(sum(came), o.flow, equal_nan=True)
        if whole and o.flow.size == 1:
            numbers = [as_number(g.item(), 4) for g in came]
            words = " + ".join(f"({n})" if n[0] == "−" and j else n for j, n in enumerate(numbers))
            words = f"{words} = {as_number(o.flow.item(), 4)}"
            font = f'<font color="{color}">{words}</font>'
            return self._numbers_row(which + "grad", font)
        if o.grad is not None:
            rows += self._numbers_row(which + "grad", self._numbers(o.grad, color))
        if whole:
            words = f"Σ of {len(came)} gradients"
            words += f", rms {as_number(size_of(o.flow), 3)}" if o.grad is None else ""
            rows += f'<tr><td colspan="2">{self.faint(words, color)}</td></tr>'
        return rows

    def _numbers_row(self, word, numbers):
        return f'<tr><td align="left">{self.faint(word)}</td><td align="right">{numbers}</td></tr>'

    def _frame_title(self, call, path, count):
        """A module whose inside is drawn: where it is, how many there are, what it is."""
        lines = [self._counted(brief(call.path.removeprefix(path)), count), self.faint(call.kind)]
        if count > 1:
            words = [self.graph.orders[call]]
            if self.options.values or self.options.grads:
                words.append("numbers of the first")
            if self.graph.flows:
                words.append("a bar for each")
            lines.append(self.faint("; ".join(words)))
        rows = "".join(f'<tr><td align="left">{line}</td></tr>' for line in lines)
        return f'<<table border="0" cellspacing="0" cellpadding="1">{rows}</table>>'

    def _counted(self, name, count):
        """The name of a module, or of `count` identical ones in a row: "blocks.0–3 × 4"."""
        if count == 1:
            return f"<b>{dot_label(name)}</b>"
        head, _, last = name.rpartition(".")
        if last.isdecimal():
            name = f"{head}{'.' * bool(head)}{last}–{int(last) + count - 1}"
        font = f'<font color="{self.theme.roles["module"][1]}" point-size="{self.points(15)}">'
        return f"<b>{dot_label(name)}&#160;&#160;{font}× {count}</font></b>"

    def _operation(self, v):
        """An operation with the numbers among its inputs: "1 − □", "sum" over "dim=1"."""
        symbol = SYMBOLS.get(v.name)
        if symbol is None:
            more = {**{n: as_number(x) for n, x in v.constants.items()}, **v.arguments}
            title = f"<b>{dot_label(v.name)}</b>"
        else:
            more = v.arguments
            left, right = (as_number(v.constants[n]) if n in v.constants else "" for n in "ab")
            words = f"{left} {symbol} {right}".strip()
            title = f'<b><font point-size="{self.points(14)}">{dot_label(words)}</font></b>'
        about = ", ".join(f"{name}={value}" for name, value in more.items())
        return [title, self.faint(about)] if about else [title]

    def faint(self, words, color=None):
        color, size = color or self.theme.faint, self.points(9)
        return f'<font point-size="{size}" color="{color}">{dot_label(words)}</font>'

    def _numbers(self, data, color):
        """An array as a small table, rows of its last dimension."""
        if data.ndim == 0:
            return f'<font color="{color}">{as_number(data.item(), 4)}</font>'
        if not data.size:
            return f'<font color="{color}">empty</font>'
        font = f'<font point-size="{self.points(10)}" color="{color}">'
        rows = "".join(
            "<tr>"
            + "".join(
                f'<td align="right">{font}{gap}{as_number(x, 3)}</font></td>'
                for gap, x in zip(itertools.chain([""], itertools.repeat("&#160;")), row)
            )
            + "</tr>"
            for row in data.reshape(-1, data.shape[-1]).tolist()
        )
        return f'<table border="0" cellspacing="0" cellpadding="2">{rows}</table>'

    def _tooltip(self, v):
        """The text shown when the mouse rests on a box in a browser."""
        if v.role == "module":
            operations = "1 operation" if v.operations == 1 else f"{v.operations:,} operations"
            inside = f"{operations}, {v.parameters:,} parameters"
            name = brief(v.name) or "the model"
            return f"{name}: {v.kind}\n{inside}" + (f"\n× {v.count}" if v.count > 1 else "")
        if v.role == "operation":
            derivative = [part.strip(" ,") for part in v.derivative.split("    ")]
            lines = [v.signature, v.formula, *derivative, v.where]
        else:
            about = about_tensor(v.outputs[0])
            lines = [f"{v.role} {brief(v.name)}: {about}", "" if v.needs_grad else "no gradient"]
        if self.graph.flows and v.needs_grad:
            lines += [
                f"gradient: {in_words(o.flow, kind_of(o.flow, self.limits))}" for o in v.outputs
            ]
        return "\n".join(filter(None, lines))

    # ---- the header --------------------------------------------------------------------

    def _header(self):
        """The title and the legend as one table above the drawing."""
        legend, title = self.options.legend, self.options.title
        graph, t = self.graph, self.theme
        rows = ""
        if title:
            font = f'<font point-size="{self.points(16)}">'
            words = dot_label(brief(title, 200))
            rows = f'<tr><td align="left">{font}<b>{words}</b></font></td></tr>'
        if legend:
            rows += self._legend([self._swatch(role) for role in t.roles if self._has(role)])
            told = []
            if self.view == "forward":
                if any(o.grad is not None for v in graph.vertices for o in v.outputs):
                    told.append(self.faint("gradient of the result", t.gradient))
            else:
                words = "← gradient, thicker where larger (rms: root of the mean square)"
                told.append(self.faint(words, t.gradient))
            if any(e.local is not None for e in graph.edges):
                told.append(self.faint("local derivative", t.active))
            if any(not e.needs_grad for e in graph.edges):
                told.append(self.faint("- - -  no gradient"))
            rows += self._legend(told) + self._legend(self._unusual_kinds())
        if legend and graph.unused:
            names = [brief(name) for name in graph.unused[:NAMED]]
            more = len(graph.unused) - len(names)
            lines = [", ".join(names[i : i + 8]) for i in range(0, len(names), 8)]
            lines[0] = f"no gradient reaches {lines[0]}"
            lines[-1] += f" and {more} more" if more else ""
            color = t.flows["missing"] if graph.flows else t.faint
            for line in lines:
                rows += f'<tr><td align="left">{self.faint(line, color)}</td></tr>'
        rows += '<tr><td height="4"></td></tr>' if rows else ""
        return rows and f'<<table border="0" cellspacing="0" cellpadding="3">{rows}</table>>'

    def _has(self, role):
        return any(v.role == role for v in self.graph.vertices)

    def _legend(self, words):
        """A row of the legend."""
        words = "&#160;&#160; ".join(words)
        return f'<tr><td align="left">{words}&#160;</td></tr>' if words else ""

    def _swatch(self, role):
        line = self.theme.roles[role][1]
        square = f'<font point-size="{self.points(12)}" color="{line}">■</font>'
        return f"{square}&#160;{self.faint(role)}&#160;"

    def _unusual_kinds(self):
        """The kinds of unusual gradients that are in the picture."""
        present = {self._kind(v) for v in self.graph.vertices}
        if self.view != "forward":
            present |= {kind_of(e.flow, self.limits) for e in self.graph.edges if e.needs_grad}
        limits = {"vanishing": self.limits[0], "exploding": self.limits[1]}
        return [
            f"<b>{self.faint(words, self.theme.flows[kind])}</b>"
            + (self.faint(" " + bound.format(limits[kind])) if bound else "")
            for kind, (words, bound) in STANDS_OUT.items()
            if kind in present
        ]
