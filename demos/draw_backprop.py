"""Draw what backpropagation goes through: a neuron, a small network, an attention head, a GPT.

python demos/draw_backprop.py --out pictures --format svg
python demos/draw_backprop.py minigpt --format html --theme dark
"""

import math
import sys
import warnings

import microtensor as mt
from microtensor import nn
from models import MiniGPT, MiniGPTConfig
from models.cli import program


def neuron(**look):
    """y = tanh(x1 w1 + x2 w2 + b), with every value, local derivative and gradient."""
    x1, x2 = mt.tensor(2.0), mt.tensor(-1.0)
    w1, w2, b = (mt.tensor(v, requires_grad=True) for v in (0.5, 1.5, 0.3))
    y = mt.tanh(x1 * w1 + x2 * w2 + b)
    return mt.graph.draw(
        y, values=True, grads=True, derivatives=True, view="both", title="One neuron", **look
    )


def network(**look):
    """A network with three hidden neurons learns XOR: values and gradients of its first step."""
    mt.manual_seed(0)
    x = mt.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    target = mt.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    return mt.graph.draw(
        lambda: {"loss": ((model(x) - target) ** 2).mean()},
        params=model, values=True, grads=True, title="A network learns XOR: the first step", **look,
    )  # fmt: skip


class Head(nn.Module):
    """One head of causal self-attention: (T, C) -> (T, D)."""

    def __init__(self, C, D):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(C, D, bias=False) for _ in range(3))

    def forward(self, x):
        T, D = len(x), self.query.out_features
        future = mt.ones(T, T, dtype=mt.bool).triu(1)
        scores = self.query(x) @ self.key(x).mT / math.sqrt(D)  # (T, D) @ (D, T) -> (T, T)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        return weights @ self.value(x)  # (T, T) @ (T, D) -> (T, D)


def attention(**look):
    """One attention head, every operation."""
    mt.manual_seed(0)
    head, x = Head(C=16, D=8), mt.randn(5, 16)
    return mt.graph.draw(lambda: {"y": head(x)}, params=head, title="One attention head", **look)


class Deep(nn.Module):
    """Sigmoids on sigmoids: what reaches the first layer is next to nothing."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(5))
        self.forgotten = nn.Linear(4, 4)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).sigmoid()
        return x


def vanishing(**look):
    """Gradients on their way back through five layers of sigmoids, where they vanish."""
    mt.manual_seed(0)
    model, x = Deep(), mt.randn(8, 4)
    return mt.graph.draw(
        lambda: {"loss": (model(x) ** 2).mean()},
        params=model, depth=1, view="backward", limits=(1e-4, 1e3), direction="TB", ranksep=0.2,
        title="Why deep networks of sigmoids learn slowly", **look,
    )  # fmt: skip


def minigpt(look, **folding):
    """MiniGPT with its modules folded; the four blocks are identical and drawn once."""
    config = MiniGPTConfig()
    model = MiniGPT(config)
    idx = mt.randint(0, config.vocab_size, (1, config.context_length))
    targets = mt.randint(0, config.vocab_size, idx.shape)
    size = sum(p.numel() for p in model.parameters())
    return mt.graph.draw(
        lambda: {"loss": model(idx, targets)[1]},
        params=model, direction="TB", ranksep=0.2, title=f"MiniGPT, {size:,} parameters",
        **folding, **look,
    )  # fmt: skip


PICTURES = {
    "neuron": neuron,
    "network": network,
    "attention": attention,
    "vanishing": vanishing,
    "minigpt": lambda **look: minigpt(look, depth=1),
    "minigpt_block": lambda **look: minigpt(look, depth=2),
    "minigpt_attention": lambda **look: minigpt(look, expand="blocks.0.attention"),
    "minigpt_gradients": lambda **look: minigpt(look, depth=2, view="backward"),
}


if __name__ == "__main__":
    warnings.showwarning = lambda message, *_: print(message)
    formats = "svg", "png", "pdf", "dot", "html"  # html is a page to pan, zoom and unfold
    sys.exit(program.gallery(
        __file__, __doc__, PICTURES, "runs/pictures", formats, "paper", mt.graph.render
    ))  # fmt: skip
