"""Draw the frames of a film: the layout of the stage is computed once, for all frames."""

import numpy as np

from ..utils.pages import brief
from .act import NAME
from .canvas import arrow, box, curve, text, width_of
from .flow import kind_of, size_of
from .labels import SYMBOLS, as_number, thickness
from .render import picture

__all__ = ["Scene"]

WIDTH, MARGIN = 1280, 36
TITLE, LABEL, NUMBER, CELL = 16, 10, 14, 13.5  # font size in a box, before the stage is scaled
CAPTION, HEAD, SCALAR = 20, 14, 22  # font size elsewhere on the page
PANEL = 235  # pixels: the largest height to which the panel below is enlarged
SMALLEST, LARGEST = (
    0.5,
    900,
)  # smallest scale and largest height of a stage that is shown as a whole
LINE = 1.32  # distance of lines relative to the font size


class Scene:
    """The stage of a film: boxes and edges of the graph, and the text around them."""

    def __init__(self, acts, theme, direction, title):
        self.acts, self.theme, self.title = acts, theme, brief(title, 64)
        self.first = acts[0]
        self.width = WIDTH
        self.order = [{key: i for i, key in enumerate(act.vertices)} for act in acts]
        self.sizes = [self._box_size(i) for i in range(len(self.first.vertices))]
        self._lay_out(direction)

    # ---- the layout --------------------------------------------------------------------

    def _lay_out(self, direction):
        """Places of boxes and edges, in the stage's own units, by Graphviz."""
        order = self.order[0]
        text = [
            f"digraph {{ rankdir={direction}; nodesep=0.3; ranksep=0.95; ordering=in",
            'node [shape=box, fixedsize=true, label=""]; edge [dir=none]',
        ]
        for i, (w, h) in enumerate(self.sizes):
            text.append(f"n{i} [width={w / 72:.3f}, height={h / 72:.3f}]")
        pairs = [(order[e.source], order[e.target]) for e in self.first.edges]
        text += [f"n{a} -> n{b}" for a, b in pairs]
        numbers = any(p.product.size == 1 for a in self.acts for s in a.steps for p in s.parts)
        text[0] = text[0].replace("0.95", "0.95" if numbers else "0.5")  # room for labels of edges
        plain = picture("\n".join([*text, "}"]), "plain").decode()
        wires = {}
        for line in plain.splitlines():
            kind, *words = line.split()
            if kind == "graph":
                self.stage = float(words[1]) * 72, float(words[2]) * 72
                self.boxes = [None] * len(self.sizes)
            elif kind == "node":
                x, y = float(words[1]) * 72, self.stage[1] - float(words[2]) * 72
                self.boxes[int(words[0][1:])] = x, y
            elif kind == "edge":
                a, b, n = (int(w.lstrip("n")) for w in words[:3])
                at = [float(w) * 72 for w in words[3 : 3 + 2 * n]]
                points = tuple((x, self.stage[1] - y) for x, y in zip(at[::2], at[1::2]))
                wires.setdefault((a, b), []).append(points)
        self.wires = [wires[pair].pop(0) for pair in pairs]

    def _vertex(self, i, act):
        return list(act.vertices.values())[i]

    def _box_size(self, i):
        """The size of a box with room for everything that it shows during the film."""
        widths, height = [64.0], 0.0
        for act in self.acts:
            v = self._vertex(i, act)
            title, sub = _titles(v)
            widths.append(width_of(title, TITLE, True))
            tall = TITLE * LINE + 8
            if sub:
                widths.append(width_of(sub, LABEL + 2))
                tall += (LABEL + 2) * LINE
            for k in range(len(v.outputs)):
                spot = v.key, k
                for word, values in (
                    ("value", [act.values[spot]]),
                    ("grad", self._grads(act, v, k)),
                ):
                    sizes = [_grid_size(_grid(x), CELL) for x in values]
                    if sizes:
                        widths.append(max(w for w, _ in sizes) + self._indent(v, k, word))
                        tall += max(h for _, h in sizes) + 3
                widths += [
                    1.1 * width_of(words, NUMBER, True) + self._indent(v, k, "grad")
                    for words in self._sums(act, v, k)
                ]
            height = max(height, tall)
        return max(widths) + 22, height + 8

    def _grads(self, act, v, k):
        """Every gradient that a box shows during the film: partial sums and the last one."""
        found = [
            part.total
            for step in act.steps
            for part in step.parts
            if (act.key[part.place[0]], part.place[1]) == (v.key, k)
        ]
        place = act.source[v.key], k
        return found + ([act.sums[place]] if place in act.sums else [])

    def _sums(self, act, v, k):
        for step in act.steps:
            for part in step.parts:
                there = act.key[part.place[0]], part.place[1]
                if there == (v.key, k) and part.before is not None:
                    yield sum_words(part.before, part.product, part.total)

    def _indent(self, v, k, word):
        if len(v.outputs) == 1 and v.outputs[0].shape:
            return 0.0  # black and red are clear enough for tensors, which need the room
        return width_of(f"{_which(v, k)}{word} ", LABEL) + 6

    # ---- the page ----------------------------------------------------------------------

    def draw(self, frames):
        """Draw every frame: groups of shapes, equal where nothing has changed."""
        lines = [_wrapped(f.caption, CAPTION, WIDTH - 2 * MARGIN) for f in frames]
        self.top = 74 + max(map(len, lines)) * CAPTION * LINE + 10
        panels = [self._panel_rows(f) for f in frames]
        panel = max(sum(h for _, _, h in rows) for rows in panels) + 16
        self.room = max(250.0, 720 - self.top - panel - 44)
        self._fit()
        self.height = round(self.top + self.room + panel + 44)
        self.flown = {}
        base = self.height - 36 - panel
        for n, (frame, words, rows) in enumerate(zip(frames, lines, panels)):
            if frame.phase == "forward" and (not n or frames[n - 1].phase != "forward"):
                self.flown = {}
            frame.shapes = [
                *self._stage(frame),
                self._header(frame, n, frames),
                self._caption(words),
                *self._panel(rows, base),
            ]

    def _fit(self):
        """Choose the scale of the stage, so that it stays readable."""
        w, h = self.stage
        self.scale = min((WIDTH - 2 * MARGIN) / w, 1.7)
        self.scale = min(self.scale, max(self.room / h, min(self.scale, 0.8)))
        self.follows = self.scale < SMALLEST or h * self.scale > LARGEST
        if (
            self.follows
        ):  # a stage that does not fit is seen through a window that follows the action
            self.scale, self.room = 0.75, max(self.room, 380.0)
        else:
            self.room = max(self.room, h * self.scale)
        self.corner = (WIDTH - w * self.scale) / 2, self.top + (self.room - h * self.scale) / 2

    def _move_window(self, active):
        """Move the window to the active boxes."""
        places = [self.boxes[i] for i in active]
        self.corner = tuple(
            start + space / 2 - self.scale * (min(at) + max(at)) / 2
            if size * self.scale > space
            else start + (space - size * self.scale) / 2
            for at, size, start, space in zip(
                zip(*places), self.stage, (0, self.top), (WIDTH, self.room)
            )
        )

    def _visible(self, groups):
        """The groups visible through the window, and a frame that hides the rest."""
        low, high = self.top, self.top + self.room
        for group in groups:
            ends = [shape[1][0] for shape in group if shape[0] == "curve"]
            ends += [shape[1][-1] for shape in group if shape[0] == "curve"]
            ends += [(s[1] + s[3] / 2, s[2] + s[4] / 2) for s in group[:1] if s[0] == "box"]
            if any(-200 < x < WIDTH + 200 and low - 100 < y < high + 100 for x, y in ends):
                yield group
        paper = self.theme.paper
        wide = WIDTH * 3
        rest = self.height - high
        yield (box(-WIDTH, 0, wide, low, paper), box(-WIDTH, high, wide, rest, paper))

    def _header(self, frame, n, frames):
        t = self.theme
        of = [f for f in frames if f.phase == frame.phase and f.act is frame.act]
        where = next(i for i, f in enumerate(of) if f is frame) + 1
        words = f"{frame.phase} {where} of {len(of)}" if len(of) > 1 else frame.phase
        if len(self.acts) > 1:
            words = f"step {self.acts.index(frame.act) + 1} · {words}"
        colors = {"forward": t.active, "backward": t.gradient, "update": t.roles["parameter"][1]}
        done, y = (WIDTH - 2 * MARGIN) * (n + 1) / len(frames), self.height - 16
        right, color = WIDTH - MARGIN, colors[frame.phase]
        return (
            text(MARGIN, 46, self.title, 27, t.ink, True),
            text(MARGIN, y - 10, _brief(frame.vertex.where if frame.vertex else ""), 13, t.faint),
            text(right, 46, words, 20, color, True, "end"),
            text(right, y - 10, "values", 13, t.ink, anchor="end"),
            text(right - 52, y - 10, "gradients", 13, t.gradient, anchor="end"),
            text(right - 122, y - 10, "local derivatives", 13, t.active, anchor="end"),
            box(MARGIN, y, right - MARGIN, 4, t.roles["operation"][0], radius=2),
            box(MARGIN, y, done, 4, color, radius=2),
        )

    def _caption(self, lines):
        color = self.theme.ink
        return tuple(
            text(MARGIN, 82 + i * CAPTION * LINE, line, CAPTION, color, kind="caption")
            for i, line in enumerate(lines)
        )

    # ---- the stage ---------------------------------------------------------------------

    def _at(self, x, y):
        return self.corner[0] + x * self.scale, self.corner[1] + y * self.scale

    def _stage(self, frame):
        act = frame.act
        if self.follows:
            order = self.order[self.acts.index(act)]
            self._move_window([order[key] for key in frame.about["active"] if key in order])
        flows = frame.about.get("flows", {})
        self.flown.update(flows)
        groups = [
            self._wire(e, points, frame, e in flows) for e, points in zip(act.edges, self.wires)
        ]
        groups += [self._box(i, v, frame) for i, v in enumerate(act.vertices.values())]
        groups += [
            self._wire_label(points, flows[e], self._beside(e, act))
            for e, points in zip(act.edges, self.wires)
            if e in flows
        ]
        return list(self._visible(groups)) if self.follows else groups

    def _wire(self, e, points, frame, now):
        t, s = self.theme, self.scale
        points = tuple(self._at(*p) for p in points)
        if e in self.flown:
            g = self.flown[e]
            color = t.flows.get(kind_of(g), t.gradient)
            thick = thickness(g) * (1.6 if now else 1.0) * s
            head = arrow(points[0], points[1], color, (13 if now else 10) * s)
        else:
            fed = frame.phase == "forward" and e.target == frame.vertex.key
            color = t.active if fed else t.wire if e.needs_grad else t.faint
            thick = (3.0 if fed else 1.2) * s
            head = arrow(points[-1], points[-2], color, (12 if fed else 9) * s)
        return curve(points, color, thick, not e.needs_grad), head

    def _beside(self, e, act):
        """The position of an edge's label: the middle, or spread out for parallel edges."""
        parallel = [f for f in act.edges if (f.source, f.target) == (e.source, e.target)]
        return (parallel.index(e) + 1) / (len(parallel) + 1)

    def _wire_label(self, points, g, along):
        """The label of an edge: the gradient that flows along it, if it is one number."""
        if g.size != 1:
            return ()
        t, size = self.theme, 14 * self.scale
        pieces = (len(points) - 1) // 3
        i = min(int(along * pieces), pieces - 1)
        u = along * pieces - i
        weights = (1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u * u * (1 - u), u**3
        x, y = self._at(
            *(sum(w * p[k] for w, p in zip(weights, points[3 * i : 3 * i + 4])) for k in (0, 1))
        )
        words = _grid(g)[0][0]
        w = width_of(words, size, True) + 8
        color = t.flows.get(kind_of(g), t.gradient)
        return (
            box(x - w / 2, y - size * 0.7, w, size * 1.4, t.paper, color, 1.0, 4, False),
            text(x, y + size * 0.36, words, size, color, True, "middle", ""),
        )

    def _box(self, i, v, frame):
        t, s = self.theme, self.scale
        (w, h), (x, y) = self.sizes[i], self.boxes[i]
        known = (v.key, 0) in frame.values
        active = v.key in frame.about["active"]
        role = "result" if any(key == v.key for key, _ in frame.act.results) else v.role
        fill, line = t.roles[role] if known else (t.paper, t.faint)
        thick = 3.4 if active else t.line
        if active:
            line = t.gradient if frame.phase == "backward" else t.active
        radius = 0 if role == "parameter" else 8
        dashed = not (v.needs_grad or active)
        left, top = self._at(x - w / 2, y - h / 2)
        shapes = [box(left, top, w * s, h * s, fill, line, thick * s, radius, dashed)]
        ink = t.ink if known else t.faint
        title, sub = _titles(v)

        def write(x, y, words, size, color, bold=False, anchor="middle", kind=""):
            shapes.append(text(*self._at(x, y), words, size * s, color, bold, anchor, kind))

        at = y - h / 2 + TITLE * LINE + 2
        write(x, at, title, TITLE, ink, True)
        if sub:
            at += (LABEL + 2) * LINE
            write(x, at, sub, LABEL + 2, ink)
        at += 6
        for k in range(len(v.outputs)):
            spot = v.key, k
            value, g = frame.values.get(spot), frame.grads.get(spot)
            for word, data, color in (("value", value, t.ink), ("grad", g, t.gradient)):
                if data is None:
                    continue
                grid, bold = _grid(data), False
                if word == "grad":
                    color = t.flows.get(kind_of(g), color)
                    sums = frame.about.get("sums", {}).get(spot)
                    if sums and g.size == 1:
                        grid, bold = [[sum_words(*sums)]], True
                wide, tall = _grid_size(grid, CELL)
                end = x + wide / 2 - CELL / 4
                if self._indent(v, k, word):
                    end = x + w / 2 - 10
                    start = x - w / 2 + 10
                    write(start, at + CELL, _which(v, k) + word, LABEL, t.faint, anchor="start")
                size = NUMBER if len(grid) == len(grid[0]) == 1 else CELL
                for words, right, down in _cells(grid, CELL, end):
                    write(right, at + down, words, size, color, bold, "end", word)
                at += tall + 3
        return tuple(shapes)

    # ---- the panel ---------------------------------------------------------------------

    def _panel_rows(self, frame):
        """[(blocks with their widths, factor, height)]"""
        rows = []
        for blocks in frame.rows[:3]:
            sized, tall = [], 0.0
            for block in blocks:
                if isinstance(block, str):
                    sized.append((block, width_of(block, SCALAR) + 26, 0))
                    continue
                heading, data, _, note = block
                single = _is_scalar(data)  # and bold
                size = SCALAR if single else NUMBER + 1
                w, h = _grid_size(_grid(data), size)
                w = max(
                    w * (1.1 if single else 1) + 14, width_of(heading, HEAD), width_of(note, HEAD)
                )
                h += HEAD * LINE * (1 + bool(note)) + 8
                sized.append((block, w, h))
                tall = max(tall, h)
            total = sum(w for _, w, _ in sized)
            rows.append((sized, (WIDTH - 2 * MARGIN) / total, tall + 12))
        largest = min(max(PANEL / max(sum(tall for *_, tall in rows), 1.0), 0.8), 1.25)
        return [
            (sized, min(factor, largest), tall * min(factor, largest))
            for sized, factor, tall in rows
        ]

    def _panel(self, rows, top):
        """The rows of the panel, each a group of shapes."""
        faint = self.theme.faint
        for sized, f, tall in rows:
            shapes, x = [], MARGIN
            for block, w, _ in sized:
                middle = x + w * f / 2
                if isinstance(block, str):
                    down = HEAD * LINE + SCALAR + 2
                    shapes.append(
                        text(middle, top + down * f, block, SCALAR * f, faint, True, "middle")
                    )
                else:
                    shapes += self._block(middle, top, f, *block)
                x += w * f
            top += tall
            yield tuple(shapes)

    def _block(self, middle, top, f, heading, data, kind, note):
        """A heading, numbers or words, and a note below, around a vertical line."""
        t, single = self.theme, _is_scalar(data)
        color = {"gradient": t.gradient, "local": t.active}.get(kind, t.ink)
        if isinstance(data, np.ndarray) and kind == "gradient":
            color = t.flows.get(kind_of(data), color)
        grid, size = _grid(data), SCALAR if single else NUMBER + 1
        wide, high = _grid_size(grid, size)
        down = HEAD * LINE + 2
        yield text(middle, top + HEAD * f, heading, HEAD * f, t.faint, anchor="middle")
        if not single:
            left, y = middle - (wide / 2 + 6) * f, top + down * f
            yield box(left, y, (wide + 12) * f, (high + 2) * f, line=t.faint, thickness=1, radius=5)
        for words, right, below in _cells(grid, size, wide / 2 - size / 4):
            x, y = middle + right * f, top + (down + below) * f
            yield text(x, y, words, size * f, color, single, "end", kind)
        if note:
            y = top + (down + high + HEAD + 3) * f
            yield text(middle, y, note, HEAD * f, t.faint, anchor="middle")


# ---- numbers and words ----------------------------------------------------------------


def sum_words(before, product, total):
    """ "3 + (−2) = 1", of single numbers."""
    a, b, c = (_grid(x)[0][0] if x.size == 1 else "" for x in (before, product, total))
    return f"{a} + {f'({b})' if b.startswith('−') else b} = {c}" if a else ""


def _titles(v):
    """The two first lines of a box."""
    if v.role != "operation":
        return brief(v.name, NAME) or v.kind or v.role, ""
    symbol = SYMBOLS.get(v.name)
    names = ", ".join(brief(o.name, NAME) for o in v.outputs if o.name)
    if symbol:
        left, right = (as_number(v.constants[n]) if n in v.constants else "" for n in "ab")
        return f"{left} {symbol} {right}".strip(), names
    return v.name, names


def _which(v, k):
    return f"{brief(v.outputs[k].name, NAME) or f'[{k}]'} " if len(v.outputs) > 1 else ""


def _is_scalar(data):
    return isinstance(data, str) or isinstance(data, np.ndarray) and data.ndim == 0


def _grid(x):
    """Rows of words: the numbers of a small array, else its shape and size."""
    if isinstance(x, str):
        return [[x]]
    shape = "(" + ", ".join(map(str, x.shape)) + ")"
    if not isinstance(x, np.ndarray):
        return [[shape]]
    if x.size > 36:
        return [[f"{shape} rms {as_number(size_of(x), 3)}"]]
    if not x.size:
        return [[f"{shape} empty"]]
    if x.ndim == 0:
        return [[as_number(x.item(), 4)]]
    return [[as_number(n, 3) for n in row] for row in x.reshape(-1, x.shape[-1]).tolist()]


def _columns(grid, size):
    return [max(width_of(row[j], size) for row in grid) + size * 0.5 for j in range(len(grid[0]))]


def _grid_size(grid, size):
    return sum(_columns(grid, size)), len(grid) * size * LINE


def _cells(grid, size, right):
    """(words, right edge, baseline) of each cell; the last column ends at `right`."""
    columns = _columns(grid, size)
    for i, row in enumerate(grid):
        for j, words in enumerate(row):
            yield words, right - sum(columns[j + 1 :]), size + i * size * LINE


def _brief(words):
    return words if len(words) <= 110 else words[:109] + "…"


def _wrapped(words, size, width):
    lines, line = [], ""
    for word in words.split():
        longer = f"{line} {word}".strip()
        if width_of(longer, size) > width:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]
