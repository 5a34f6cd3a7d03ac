"""The book of derivations, derivations.md, whose formulas are lines of NumPy that can be run.

`book()` reads it; `Derivation.evaluate` runs its formulas; `run` runs the operation itself:
forward, backward, and by central differences.
"""

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..autograd import TensorBase, grad
from ..autograd.modes import enable_grad
from ..backends import backend_of
from ..backends.dtypes import DTYPES
from ..tensor.creation import tensor

BOOK = Path(__file__).with_name("derivations.md")

# ---- the book ------------------------------------------------------------------------


@dataclass
class Derivation:
    """The page of the book about an operation."""

    lines: dict = field(default_factory=dict)  # {"y": "a * b", "∂a": "g * b"}: NumPy, in order
    why: list = field(default_factory=list)  # paragraphs
    shapes: str = ""  # of its chapter
    example: str = ""  # Python assignments

    @property
    def symmetric(self):
        """True if the inputs are symmetric matrices, as for eigh."""
        return "symmetric = True" in self.example

    @property
    def value(self):
        """The name of the value in the formulas: y, unless that is an input."""
        return "y" if "y" in self.lines else "result"

    def values(self, op, **given):
        """({input: array}, {parameter: value}) of the example, and all names for its formulas."""
        names = {**MATH, **given}
        for assignment in filter(None, self.example.split(";")):
            exec(assignment.strip(), {"__builtins__": {"slice": slice}}, names)
        inputs, parameters = {}, {}
        for name in op.defaults:
            if name not in names or name in MATH and names[name] is MATH[name]:
                continue
            value, slopes = names[name], f"∂{name}" in self.lines
            if name not in op.input_names:
                names[name] = parameters[name] = _plain(value)
            elif op.variadic:
                names[name] = inputs[name] = tuple(_array(v, slopes) for v in value)
            elif value is not None:
                names[name] = inputs[name] = _array(value, slopes)
            else:
                inputs[name] = None
        return inputs, parameters, names

    def evaluate(self, names, g):
        """{left side: array} of every line of the formula, for a gradient g."""
        names, found = {**names, "g": g}, {}
        for left, right in self.lines.items():
            value = eval(right.replace("∂", "d_"), {"__builtins__": {}}, names)
            found[left] = names[left.replace("∂", "d_")] = value
        return found


def _plain(value):
    """A parameter with the lists in it as arrays."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return np.array(value) if isinstance(value, list) else value


def _array(value, real):
    return np.array(value, dtype=float) if real else np.array(value)


@functools.cache
def book():
    """{name: Derivation} of every page."""
    pages, shapes, example = {}, "", ""
    chapters = BOOK.read_text(encoding="utf-8").split("\n# ")[1:]
    for chapter in chapters:
        opening, *operations = chapter.split("\n## ")
        shapes, example = _paragraphs(opening.partition("\n")[2])[1:]
        for text in operations:
            name, _, body = text.partition("\n")
            lines, why, own = _paragraphs(body)
            given = "; ".join(filter(None, [example, own]))
            pages[name.strip()] = Derivation(lines, why, " ".join(shapes), given)
    return pages


def _paragraphs(text):
    """The formulas, the paragraphs and the example of a page."""
    lines, why, example = {}, [], ""
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if block.startswith("    "):
            lines.update(line.strip().split(" = ", 1) for line in block.splitlines())
        elif block.startswith("Try `"):
            example = block.removeprefix("Try `").rstrip().removesuffix("`")
        elif block.strip():
            why.append(" ".join(block.split()))
    return lines, why, example


def _put(shape, index, values):
    out = np.zeros(shape)
    np.add.at(out, index, values)
    return out


def _marked(index, shape):
    out = np.zeros(shape, bool)
    out[index] = True
    return out


def _softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _expm(x):
    term = y = np.eye(len(x))
    for k in range(1, 60):
        term = term @ x / k
        y = y + term
    return y


def _kept(x, p, seed):
    return backend_of(x).dropout(x, p, seed)[1]


MATH = {  # the names that formulas use: NumPy, and
    **{name: value for name, value in vars(np).items() if not name.startswith("_")},
    "ln": np.log,
    "π": np.pi,
    "σ": lambda x: 1 / (1 + np.exp(-x)),
    "φ": lambda x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    "Φ": lambda x: (1 + MATH["erf"](x / np.sqrt(2))) / 2,
    "erf": lambda x: backend_of(x).erf(x),
    "softmax": _softmax,
    "put": _put,
    "marked": _marked,
    "kept": _kept,
    "expm": _expm,
    "unchanged": lambda g: g,
    "len": len,
    "float64": DTYPES["float64"],
    **{name: getattr(np.linalg, name) for name in "inv det cholesky eigh svd qr".split()},
}

# ---- running the real code -----------------------------------------------------------


@dataclass
class Run:
    """The result of running an operation: inputs, values and gradients."""

    inputs: dict
    parameters: dict
    y: object
    g: object = None
    grads: dict = field(default_factory=dict)
    error: float = None  # the largest distance of a gradient from central differences


def run(op, inputs, parameters, g=None, differences=True, symmetric=False):
    """Run an operation forward and backward; inputs are arrays, numbers, None, or tuples.

    Of a `symmetric` input, central differences move an element and its mirror image together.
    """
    given, out = _call(op, inputs, parameters, requires_grad=True)
    outs = as_tuple(out)
    result = Run(inputs, parameters, as_numpy(out))
    made = [o for o in outs if o.requires_grad]
    if not made:
        return result
    if g is None:
        g = tuple(_ramp(o._data.shape) * o.requires_grad for o in outs)  # 0 where there is no slope
        g = g if isinstance(out, tuple) else g[0]
    result.g = g
    seeds = [
        _tensor(np.asarray(part, o._data.dtype))
        for part, o in zip(as_tuple(g), outs)
        if o.requires_grad
    ]
    places = [
        (name, i, t)
        for name, value in given.items()
        for i, t in enumerate(as_tuple(value))
        if isinstance(t, TensorBase) and t.requires_grad
    ]
    slopes = grad(made, [t for _, _, t in places], seeds, allow_unused=True)
    errors = []
    for (name, i, t), slope in zip(places, slopes):
        if slope is None:
            continue
        array = as_numpy(slope)
        before = result.grads.get(name, ())
        result.grads[name] = (*before, array) if op.variadic else array
        if differences:
            loss = _weighted_sum(op, inputs, parameters, g, name, i)
            measured = central_differences(loss, as_numpy(t), symmetric)
            errors.append(float(np.max(np.abs(measured - array), initial=0)))
    result.error = max(errors, default=None)
    return result


def _call(op, arrays, parameters, **options):
    """({name: tensor, or tuple of tensors}, the result) of an operation of arrays."""
    given = {
        name: tuple(_tensor(v, **options) for v in value)
        if isinstance(value, tuple)
        else _tensor(value, **options)
        for name, value in arrays.items()
    }
    args = next(iter(given.values())) if op.variadic else list(given.values())
    with enable_grad():
        return given, op(*args, **parameters)


def _weighted_sum(op, inputs, parameters, g, name, i):
    """Σ g·y in float64, as a function of one input: array i of the inputs called `name`."""
    exact = {key: _exact(value) for key, value in inputs.items()}

    def total(a):
        changed = [*as_tuple(exact[name])]
        changed[i] = a
        value = tuple(changed) if isinstance(inputs[name], tuple) else a
        y = as_numpy(_call(op, {**exact, name: value}, parameters)[1])
        return sum(float(np.sum(p * q)) for p, q in zip(as_tuple(y), as_tuple(g)))

    return total


def central_differences(f, x, symmetric=False, h=1e-6):
    """(f(x + h) − f(x − h)) / 2h for each element of x."""
    slopes = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[at] = h
        step = (step + step.mT) / 2 if symmetric else step
        slopes[at] = (f(np.asarray(x + step)) - f(np.asarray(x - step))) / (2 * h)
    return slopes


def _exact(value):
    """Floats as float64: differences of close numbers need all digits."""
    if isinstance(value, tuple):
        return tuple(map(_exact, value))
    return value.astype(float) if getattr(value, "dtype", np.dtype(bool)).kind == "f" else value


def _ramp(shape):
    """The numbers 1, 2, 3 … in a shape: gradients that are easy to recognize."""
    return np.arange(1.0, 1 + np.prod(shape)).reshape(shape)


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def _tensor(value, requires_grad=False):
    if not isinstance(value, np.ndarray):
        return value
    return tensor(value, requires_grad=requires_grad and value.dtype.kind == "f")


def as_numpy(value):
    if isinstance(value, tuple):
        return tuple(map(as_numpy, value))
    if not isinstance(value, TensorBase):
        return value
    return backend_of(value._data).to_numpy(value._data)
