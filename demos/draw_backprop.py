"""Draw what backpropagation goes through: a neuron, a small network, an attention head, a GPT.

python demos/draw_backprop.py --out pictures --format svg
"""

import argparse
import math
import sys
import warnings
from pathlib import Path

import microtensor as mt
from microtensor import nn
from models import MiniGPT, MiniGPTConfig


def neuron():
    """y = tanh(x1 w1 + x2 w2 + b), with every value and every gradient."""
    x1, x2 = mt.tensor(2.0), mt.tensor(-1.0)
    w1, w2, b = (mt.tensor(v, requires_grad=True) for v in (0.5, 1.5, 0.3))
    y = mt.tanh(x1 * w1 + x2 * w2 + b)
    return mt.graph.draw(y, values=True, grads=True, title="One neuron")


def network():
    """A network with three hidden neurons learns XOR: values and gradients of its first step."""
    mt.manual_seed(0)
    x = mt.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    target = mt.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    return mt.graph.draw(
        lambda: {"loss": ((model(x) - target) ** 2).mean()},
        params=model, values=True, grads=True, title="A network learns XOR: the first step",
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


def attention():
    """One attention head, every operation."""
    mt.manual_seed(0)
    head, x = Head(C=16, D=8), mt.randn(5, 16)
    return mt.graph.draw(lambda: {"y": head(x)}, params=head, title="One attention head")


def minigpt(depth):
    """MiniGPT with its modules folded; the four blocks are identical and drawn once."""
    config = MiniGPTConfig()
    model = MiniGPT(config)
    idx = mt.randint(0, config.vocab_size, (32, config.context_length))
    targets = mt.randint(0, config.vocab_size, idx.shape)
    size = sum(p.numel() for p in model.parameters())
    return mt.graph.draw(
        lambda: {"loss": model(idx, targets)[1]},
        params=model, depth=depth, direction="TB", ranksep=0.2,
        title=f"MiniGPT, {size:,} parameters",
    )  # fmt: skip


PICTURES = {
    "neuron": neuron,
    "network": network,
    "attention": attention,
    "minigpt": lambda: minigpt(depth=1),
    "minigpt_block": lambda: minigpt(depth=2),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--out", type=Path, default=Path("pictures"), metavar="FOLDER", help="default: %(default)s"
    )
    parser.add_argument(
        "--format", choices=("svg", "png", "pdf", "dot"), default="svg", help="default: %(default)s"
    )
    args = parser.parse_args()
    warnings.showwarning = lambda message, *_: print(message)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for name, picture in PICTURES.items():
            print(mt.graph.render(picture(), args.out / f"{name}.{args.format}"))
    except OSError as error:
        sys.exit(f"{args.out}: {error.strerror or error}")


if __name__ == "__main__":
    main()
