"""Backpropagation as a film: the forward pass, then the backward pass, an operation at a time.

It shows the engine's own work: `flow_of` records each pullback. There is one frame for each
operation of the forward pass and one for each of the backward pass, the last operation first; with
an optimizer, one more for each of its steps.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from html import escape
from typing import Any

from ..optim.optimizer import Optimizer
from ..typing import Tensor
from ..utils.pages import escaped
from .act import Act, Frame
from .draw import draw
from .names import called, check_call
from .options import Options
from .page import player
from .render import NoRenderer, renderer
from .scene import Scene
from .themes import theme_of

__all__ = ["Film", "Frame", "film"]


@dataclass
class Film:
    """Frames of one size. `mt.graph.render(film, path)` writes it; a notebook plays it."""

    title: str
    frames: list
    width: int
    height: int
    theme: object
    source: str = ""  # without a renderer: the DOT text of a drawing in place of frames,
    missing: Exception | None = None  # and what to install

    @property
    def forward(self) -> Tensor:
        """The frames of the forward pass."""
        return [f for f in self.frames if f.phase == "forward"]

    @property
    def backward(self) -> Any:
        """The frames of the backward pass."""
        return [f for f in self.frames if f.phase == "backward"]

    def __len__(self) -> int:
        return len(self.frames)

    def _repr_html_(self):
        if self.missing:
            return f"<p>{escaped(self.missing)}</p><pre>{escaped(self.source, lines=True)}</pre>"
        return (
            f'<iframe srcdoc="{escape(player(self))}" sandbox="allow-scripts" width="100%" '
            f'style="aspect-ratio: {self.width} / {self.height + 60}; border: 0"></iframe>'
        )


def film(output: Any, params: Any = None, names: Any = None, *, gradient: Tensor | None = None,
         optimizer: Optimizer | None = None, steps: int = 1, title: str = "", theme: str = "slides",
         direction: str = "LR") -> Film:  # fmt: skip
    """A film of how a tensor was computed and how its gradient flows back, to be rendered.

    `render(film(loss), "loss.html")` plays it in a browser, "loss.gif" is an animation, and a path
    without a suffix a folder of SVG frames. `params`, `names`, `gradient`, `theme` and `direction`
    are as in `draw`; numbers are shown of tensors of at most 16 elements. Every `.grad` stays as it
    is. `output` may be a function: its variables lend their names then. With an `optimizer` it is
    called `steps` times, and after each backward pass the optimizer takes its step, as in training.
    Where no program can lay the boxes out, there are no frames, and `render` writes the DOT text of
    a drawing in their place.
    Raises RuntimeError for a tensor without a graph, ValueError if the steps differ in theirs.
    """
    theme = theme_of(theme)
    check_call("film", output, params, names)
    scope = {}
    if names is None:
        variables = sys._getframe(1).f_locals
        scope = {name: t for name, t in variables.items() if not name.startswith("_")}
    if optimizer is not None and not callable(output):
        raise TypeError("film: with an optimizer, output is a function that computes the loss")
    if steps > 1 and optimizer is None:
        raise ValueError("film: several steps need the optimizer that takes them")
    acts = []
    for _ in range(steps):
        tensor, found = output, {}
        if callable(output):
            tensor, found = called(output)
            if getattr(output, "__name__", "<lambda>") != "<lambda>":
                found.setdefault(output.__name__, tensor)
        try:
            renderer("plain")
        except NoRenderer as missing:
            drawing = draw(
                tensor, params, names or {**scope, **found}, values=True, grads=True,
                derivatives=True, view="both", gradient=gradient, theme=theme, title=title,
                direction=direction,
            )  # fmt: skip
            return Film(title, [], 0, 0, theme, drawing.source, missing)
        options = Options(params, names, gradient=gradient, scope={**scope, **found})
        acts.append(Act(tensor, options, optimizer))
    if any(act.plan != acts[0].plan for act in acts):
        raise ValueError("film: the steps computed different things; film them one by one")
    if not title:
        title = "Backpropagation, step by step"
    scene = Scene(acts, theme, direction, title)
    frames = list(itertools.chain.from_iterable(act.frames(i, acts) for i, act in enumerate(acts)))
    scene.draw(frames)
    return Film(title, frames, scene.width, scene.height, theme)
