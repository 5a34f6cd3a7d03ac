"""Films of backpropagation, from one neuron to a step of attention, to be played in a browser.

python demos/backprop_film.py --out films            # all of them, as HTML
python demos/backprop_film.py attention --format gif --theme dark
"""

import math
import sys
import warnings

import microtensor as mt
from microtensor import optim
from microtensor.nn import functional as F
from models.cli import program


def parameter(*values):
    return mt.tensor(*values, requires_grad=True)


def neuron(**look):
    """One neuron with one input: the chain rule, link by link."""
    a, b, c = parameter(2.0), parameter(-0.5), parameter(1.3)
    y = (a * b + c).tanh()
    return mt.graph.film(y, title="y = tanh(a × b + c)", **look)


def shared(**look):
    """A value used twice has an influence on two paths, so its gradients add."""
    x, w = parameter(3.0), parameter(-2.0)
    h = x * w
    y = h * h + x
    return mt.graph.film(y, title="A value used twice: its gradients add", **look)


def softmax(**look):
    """The cross-entropy of a softmax, all the way down to exp and log."""
    logits = parameter([2.0, 0.5, -1.0])
    target = 1
    p = logits.softmax(0)
    loss = -p[target].log()
    return mt.graph.film(
        loss, title="Softmax with cross-entropy: the gradient is p − target", **look
    )


def linear(**look):
    """A linear layer and a batch of three: the gradients of the examples add."""
    x = mt.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 1.0]])
    target = mt.tensor([[1.0], [0.0], [2.0]])
    weight, bias = parameter([[0.5, -0.2]]), parameter([0.1])
    y = F.linear(x, weight, bias)
    loss = ((y - target) ** 2).mean()
    return mt.graph.film(loss, title="A linear layer with a batch of three", **look)


def attention(**look):
    """One query looks at three places."""
    q = parameter([[1.0, 0.5]])
    k = parameter([[0.2, 1.0], [1.5, -0.3], [-0.5, 0.4]])
    v = parameter([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    scores = q @ k.mT / math.sqrt(2)
    weights = scores.softmax(-1)
    y = weights @ v
    loss = ((y - mt.tensor([[0.0, 1.0]])) ** 2).sum()
    return mt.graph.film(loss, title="One step of attention", **look)


def training(**look):
    """Two steps of SGD teach one neuron to say 1."""
    x, target = mt.tensor(2.0), mt.tensor(1.0)
    w, b = parameter(0.1), parameter(0.0)

    def loss():
        y = x * w + b
        return (y - target) ** 2

    optimizer = optim.SGD([w, b], lr=0.09)
    return mt.graph.film(
        loss, optimizer=optimizer, steps=2, title="Two steps of SGD on one neuron", **look
    )


FILMS = {f.__name__: f for f in (neuron, shared, softmax, linear, attention, training)}


def write(film, path):
    """As svg it is a folder with each frame, as png the last one."""
    path = path.with_suffix("") if path.suffix == ".svg" else path
    return f"{mt.graph.render(film, path)}: {len(film)} frames"


if __name__ == "__main__":
    warnings.showwarning = lambda message, *_: print(message)
    formats = "html", "gif", "svg", "png"
    sys.exit(program.gallery(__file__, __doc__, FILMS, "runs/films", formats, "slides", write))
