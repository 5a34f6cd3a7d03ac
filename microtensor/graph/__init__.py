"""Drawings of what was computed, and of how the gradients flow back through it.

loss = model(x)
mt.graph.draw(loss, params=model)                    # shows itself in a notebook
mt.graph.render(mt.graph.draw(loss), "loss.svg")
"""

from .draw import Drawing, draw
from .film import Film, Frame, film
from .fold import fold
from .render import picture, render
from .trace import Call, Edge, Graph, Value, Vertex, describe, watch

__all__ = [
    "Call", "Drawing", "Edge", "Film", "Frame", "Graph", "Value", "Vertex", "describe", "draw",
    "film", "fold", "picture", "render", "watch",
]  # fmt: skip
