"""Short texts for numbers, tensors and gradients in boxes and on arrows."""

import math

import graphviz
import numpy as np

from ..utils.pages import dot_text, printable
from .flow import size_of

SYMBOLS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "matmul": "@", "pow": "**"}
BLOCKS, BARS = "▁▂▃▄▅▆▇█", 32  # heights of bars; and the most of them in a row
STANDS_OUT = {  # the words for kinds of gradients in a box and in the legend
    "exploding": ("exploding", "above {:g}"),
    "vanishing": ("vanishing", "below {:g}"),
    "nan": ("NaN or ∞", ""),
    "zero": ("zero", ""),
    "missing": ("no gradient came", ""),
}


def as_text(text):
    """Text for an attribute of Graphviz that is not an HTML label."""
    return graphviz.nohtml(dot_text(text))


def as_setting(value):
    """The value of a Graphviz attribute from the caller: escapes are kept, HTML is not."""
    text = printable(value, lines=True)
    return graphviz.nohtml(text + "\\" * ((len(text) - len(text.rstrip("\\"))) % 2))


def about_tensor(value):
    """Shape and dtype of a tensor, if they are known."""
    return " ".join(filter(None, (str(value.shape or ""), value.dtype)))


def as_number(x, digits=4):
    if isinstance(x, bool | int):
        return str(x).replace("-", "−")
    if math.isinf(x):
        return "−∞" if x < 0 else "∞"
    return f"{x + 0.0:.{digits}g}".replace("-", "−")  # + 0.0: no negative zero


def in_few_words(g, digits=3):
    """A gradient in a few words, for an edge."""
    if g.size <= 3 and g.ndim <= 1:
        return ", ".join(as_number(x, digits) for x in g.reshape(-1).tolist())
    return f"rms {as_number(size_of(g), 3)}"


def strip(flows):
    """A bar for each of several gradients, as high as it is large; half a decade is a step.

    "×" is NaN or infinite, "·" zero or missing; with the sizes of the first and the last.
    """
    sizes = [0.0 if g is None else size_of(g) for g in flows]
    top = max((s for s in sizes if math.isfinite(s)), default=0.0)
    bars = ""
    for size in sizes[:BARS]:
        if not math.isfinite(size):
            bars += "×"
        elif size == 0:
            bars += "·"
        else:
            bars += BLOCKS[max(0, 7 - round(2 * math.log10(top / size)))]
    bars += "…" if len(sizes) > BARS else ""
    return f"{bars} rms {as_number(sizes[0], 3)} … {as_number(sizes[-1], 3)}"


def in_words(g, kind):
    """A gradient in words."""
    if g is None:
        return "none came"
    if not g.size or kind in ("nan", "zero"):
        return STANDS_OUT.get(kind, ("empty",))[0]
    top = float(np.abs(g.astype(np.float64)).max())
    words = f"rms {as_number(size_of(g), 3)}, largest {as_number(top, 3)}"
    return f"{words} ({STANDS_OUT[kind][0]})" if kind else words


def thickness(g):
    """The width of an arrow for the size of a gradient: from 1 for 1e-6 to 5 for 1e2."""
    size = 0.0 if g is None else size_of(g)
    if not 0 < size < math.inf:
        return 1.5
    return min(max(1 + (math.log10(size) + 6) / 2, 1.0), 5.0)
