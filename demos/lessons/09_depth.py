"""Lesson 9: layer norm and residuals, or how a gradient gets down through many layers."""

from _page import BLUE, GREEN, RED, check, close, plt, save, say, show, title

import microtensor as mt
from microtensor import nn

LAYERS, WIDTH = 24, 64

title("9. Layer norm and residuals")
say("""A deep network is a long product of slopes. If each layer passes on a little less than it
    got, next to nothing arrives at the first ones, and they do not learn. Twenty-four layers,
    each a linear map and a relu, with the usual initial weights. How large is the gradient on
    its way?""")


class Layer(nn.Module):
    """x -> f(x), or x + f(x) (a residual), or x + f(norm(x)), as in GPT."""

    def __init__(self, residual, norm):
        super().__init__()
        self.linear, self.residual = nn.Linear(WIDTH, WIDTH), residual
        self.norm = nn.LayerNorm(WIDTH) if norm else nn.Identity()

    def forward(self, x):
        change = self.linear(self.norm(x)).relu()
        return x + change if self.residual else change


def flow(residual, norm):
    """The mean size of the numbers after each layer, and the norm of the gradient there."""
    mt.manual_seed(0)
    layers = nn.Sequential(*[Layer(residual, norm) for _ in range(LAYERS)])
    x, states = mt.randn(32, WIDTH), []
    for layer in layers:
        x = layer(x)
        x.retain_grad()
        states.append(x)
    (x * mt.randn(32, WIDTH)).sum().backward()
    size = mt.stack([s.detach().abs().mean() for s in states])
    gradient = mt.stack([(s.grad**2).sum().sqrt() for s in states])
    return size, gradient / gradient[-1]


plain, residual, both = flow(False, False), flow(True, False), flow(True, True)
show(plain_first_layer=plain[1][0].item(), last_layer=plain[1][-1].item())
check("plain: less than a millionth of the gradient arrives", plain[1][0].item() < 1e-6)

say("""A residual adds what a layer found to what was there: x + f(x). Its slope is 1 + f′, and
    the 1 is an open road: a sum hands its gradient on unchanged (lesson 6). Now every layer
    hears from the loss. But what is added grows and grows on the way up.""")
show(gradient_first=residual[1][0].item(), size_after_24_layers=residual[0][-1].item())
check("with residuals the gradient arrives", residual[1][0].item() > 0.5)

say("""Layer norm looks at each row by itself: it takes the mean away and divides by the spread,
    so that the next layer meets numbers of a known size, whatever came before.""")
row = mt.tensor([[3.0, 5.0, 13.0, -1.0]])
normed = nn.functional.layer_norm(row, (4,))
show(row=row, normed=normed)
check("mean 0, spread 1", close(normed.mean(), 0) and close(normed.var(correction=0), 1, 1e-3))
check("a hundred times the row: the same", close(nn.LayerNorm(4)(row * 100), normed, 1e-3))
show(size_with_both=both[0][-1].item(), gradient_with_both=both[1][0].item())
check("with both the numbers stay small", both[0][-1].item() < residual[0][-1].item())
check("and the gradient stays alive", 0.5 < both[1][0].item() < 10)

figure, (left, right) = plt.subplots(1, 2, figsize=(14, 6.2))
depth = range(1, LAYERS + 1)
for (size, gradient), colour, name in zip(
    (plain, residual, both), (RED, BLUE, GREEN), ("plain", "residual", "residual and layer norm")
):
    left.semilogy(depth, size.numpy(), "o-", color=colour, ms=5, label=name)
    right.semilogy(depth, gradient.numpy(), "o-", color=colour, ms=5, label=name)
left.set(title="forwards →  size of the numbers", xlabel="layer", ylabel="mean |x|")
right.set(title="←  backwards: how much gradient arrives", xlabel="layer", ylabel="share of last")
left.legend()
save(figure, "09_depth")
