"""Drawings of a computation, and of how the gradients flow back through it.

Draw a loss before `backward()`:

    loss = model(x)
    mt.graph.draw(loss, params=model)                    # shows itself in a notebook
    mt.graph.render(mt.graph.draw(loss), "loss.svg")
    mt.graph.render(mt.graph.film(loss), "loss.html")    # the backward pass, a step at a time
"""

from .draw import Drawing, draw
from .film import Film, Frame, film
from .fold import fold
from .render import picture, render
from .themes import THEMES, Theme
from .trace import Call, Edge, Graph, Value, Vertex, describe, watch

__all__ = [
    "THEMES", "Call", "Drawing", "Edge", "Film", "Frame", "Graph", "Theme", "Value", "Vertex",
    "describe", "draw", "film", "fold", "picture", "render", "watch",
]  # fmt: skip
