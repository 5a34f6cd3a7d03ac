"""draw: the graph behind a tensor as a Drawing, which Graphviz or a browser shows."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import graphviz

from ..typing import Tensor
from .flow import LIMITS
from .fold import fold
from .names import called, check_call
from .options import Options
from .page import EVERYTHING, PICTURES, explorer, state_key
from .render import NoRenderer, picture
from .sheet import Sheet
from .trace import described, watch

__all__ = ["Drawing", "draw"]


class Drawing(graphviz.Digraph):
    """A `graphviz.Digraph` that a notebook shows with any of the renderers.

    `graph` is the graph as drawn, `whole` the one before folding; `folded` is (depth, expand).
    A copy() is a plain graph: these are None.
    """

    graph = whole = options = folded = None

    def again(self, depth: Any = None, expand: Any = None) -> Drawing:
        """The same computation folded in another way."""
        return _drawn(self.whole, self.options, depth, expand)

    @property
    def deepest(self) -> int:
        """The depth at which nothing is folded."""
        return max((len(v.calls) for v in self.whole.vertices), default=0)

    def page(self) -> str:
        """The HTML page of this drawing, which is panned, zoomed, and folded by module.

        Each state of the folding is drawn beforehand: every depth, and at each depth every module
        in full.
        """
        states, depths = {}, []
        now = state_key(*self.folded)
        if self.deepest:
            depths = [*range(max(self.deepest, 2))]
            if len(self.whole.vertices) <= EVERYTHING:
                depths.append(None)
            states = {state_key(depth, None): self.again(depth) for depth in depths}
        states[now] = self
        for (depth, opened), drawn in list(states.items()):
            if depths and depth != "all" and not opened:
                for path in drawn.modules().values():
                    if len(states) < PICTURES and path:
                        states.setdefault((depth, path), drawn.again(int(depth), path))
        pictures = {key: (picture(d.source), d.modules()) for key, d in states.items()}
        return explorer(pictures, depths, now, self.options.title, self.options.theme)

    def modules(self) -> dict[str, str]:
        """{key of a box: path of the module that is folded in it}."""
        return {v.key: v.name for v in self.graph.vertices if v.role == "module"}

    def _repr_mimebundle_(self, include=None, exclude=None, **_):
        try:
            return {"image/svg+xml": picture(self.source).decode()}
        except NoRenderer as missing:
            return {"text/plain": f"{missing}\n\n{self.source}"}


def draw(output: Any, params: Any = None, names: Any = None, values: Any = False,
         grads: Any = False, depth: Any = None, expand: Any = None, *, view: str = "forward",
         derivatives: bool = False, gradient: Tensor | None = None, calls: Any = None,
         limits: Any = LIMITS, theme: str = "paper", direction: str = "LR", legend: bool = True,
         title: str = "", **attributes: Any) -> Drawing:  # fmt: skip
    """A drawing of the graph behind a tensor, or a list or {name: tensor} of several.

    `output` may be a function that computes it: `draw(lambda: model(x), params=model, depth=1)`
    records the module calls and folds modules `depth` levels down (0 is the whole model) into one
    box each, identical neighbours into one marked "× 4". `expand="blocks.0"` draws that one module
    in full. Without either everything is drawn, with a frame around each module. For a result that
    was computed before, `with watch(model) as calls` records the `calls` to fold by.

    `params` (a Module, or a mapping from names to tensors) says which leaves are parameters and
    their names. `names` maps names to tensors, or tensors to names; without it the names of the
    caller's variables are used. `values` and `grads` show the numbers of tensors of at most 16
    elements, or of as many as given; gradients are computed here, from `gradient` if the output has
    more than one element, and every `.grad` stays unchanged.

    `derivatives` writes the local derivative of each operation between single numbers on its
    arrow: in a backward view as the chain rule, "gradient × local derivative = product".
    `view="backward"` shows the gradients flowing back, "both" beside the data: the thickness of an
    arrow shows the gradient's size, and its colour if it is below or above `limits`, zero, NaN or
    missing, and sums are shown where gradients meet. `theme` is "paper", "slides" or "dark".
    `direction` is "LR" (left to right), "TB", "RL" or "BT"; other keywords are Graphviz attributes
    of the graph.
    Raises RuntimeError for a tensor without a graph, or one whose graph was freed.
    """
    check_call("draw", output, params, names)
    options = Options(
        params, names, values, grads, depth, expand, view, derivatives, gradient, calls, limits,
        theme, direction, legend, title, attributes,
    )  # fmt: skip
    if names is None:
        variables = sys._getframe(1).f_locals
        scope = {name: t for name, t in variables.items() if not name.startswith("_")}
        options = replace(options, scope=scope)
    if callable(output):
        output, options = _watched(output, options)
    if (depth is not None or expand is not None) and options.calls is None:
        raise ValueError(
            "draw: to fold by module, the modules must be seen at work: "
            "draw(lambda: model(x), params=model, depth=1)"
        )
    return _drawn(described(output, options), options, depth, expand)


def _drawn(whole, options, depth, expand):
    """A graph, folded by module if asked for, as a Drawing."""
    drawing, graph = Drawing("microtensor"), whole
    if depth is not None or expand is not None:
        graph = fold(whole, 1 if depth is None else depth, expand)
    drawing.graph, drawing.whole, drawing.options = graph, whole, options
    drawing.folded = depth, expand
    Sheet(graph, options).write(drawing)
    return drawing


def _watched(function, options):
    """(the result of a function, the options with its module calls and variables added)."""
    watched = options.calls is None and hasattr(options.params, "named_modules")
    with watch(options.params) if watched else nullcontext(options.calls) as calls:
        output, found = called(function)
    scope = None if options.scope is None else {**options.scope, **found}
    return output, replace(options, calls=calls, scope=scope)
