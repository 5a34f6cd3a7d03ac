"""Programs as users write them: mypy reads this file, and `test_types.py` runs it.

`assert_type` says what a type checker is to find out; at run time it does nothing.
"""

from __future__ import annotations

from typing import assert_type

import microtensor as mt
from microtensor import Tensor, nn
from microtensor.utils.data import DataLoader, TensorDataset


def tensors() -> None:
    x = mt.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert_type(x, Tensor)
    assert_type(mt.zeros(2, 3), Tensor)
    assert_type(mt.arange(6).reshape(2, 3), Tensor)
    assert_type(mt.randn(2, 3, generator=mt.Generator()), Tensor)
    assert_type(x.sum(), Tensor)
    assert_type(x.sum(dim=0, keepdim=True), Tensor)
    assert_type(mt.softmax(x, dim=-1), Tensor)
    assert_type(x.softmax(-1).log(), Tensor)
    assert_type(x.T @ x, Tensor)
    assert_type(2.0 * x - 1, Tensor)
    assert_type(1 / (x + 3), Tensor)
    assert_type(-(x**2), Tensor)
    assert_type(x == 1, Tensor)
    assert_type(x > 0, Tensor)
    assert_type(x[0], Tensor)
    assert_type(x.detach().add_(1), Tensor)
    assert_type(x.to(mt.float64).view(4), Tensor)
    assert_type(x.transpose(0, 1), Tensor)
    assert_type(x.max(), Tensor)
    assert_type(x.max(dim=0).values, Tensor)
    assert_type(mt.max(x, x), Tensor)
    values, index = mt.sort(x, dim=0)
    assert_type(index, Tensor)
    assert_type(mt.topk(x, 1).indices, Tensor)
    assert_type(x.split(1), tuple[Tensor, ...])
    assert_type(mt.cat([x, x], dim=0), Tensor)
    assert_type(mt.where(x > 1, x, 0.0), Tensor)
    assert_type(mt.where(x > 1), tuple[Tensor, ...])
    assert_type(nn.functional.cross_entropy(x, mt.tensor([0, 1])), Tensor)
    assert_type(x.numel(), int)
    assert_type(x.dtype, mt.dtype)
    assert_type(x.device, mt.device)
    assert_type(x.shape, mt.Size)
    assert_type(x.requires_grad, bool)
    assert_type(x.equal(x), bool)
    assert_type(list(x), list[Tensor])
    x.sum().backward()
    assert x.grad is not None


def a_rule() -> None:
    @mt.op
    def double(x):  # type: ignore[no-untyped-def]  # a rule takes arrays: it bears no hints
        """2 x.    ∂x = 2 g"""
        return x * 2, lambda g: g * 2

    @mt.op(several=True)
    def halves(x):  # type: ignore[no-untyped-def]
        """x / 2, twice.    ∂x = (g₁ + g₂) / 2"""
        return (x / 2, x / 2), lambda g: (g[0] + g[1]) / 2

    assert_type(double(mt.ones(2)), Tensor)
    assert_type(halves(mt.ones(2)), tuple[Tensor, ...])


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(width, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x))
        return y


def training(steps: int = 2) -> float:
    mt.manual_seed(0)
    net = Net(4)
    optimizer = mt.optim.AdamW(net.parameters(), lr=1e-2, betas=(0.9, 0.99))
    data = TensorDataset(mt.randn(8, 2), mt.randint(0, 3, (8,)))
    loss = mt.zeros(())
    for _ in range(steps):
        for x, y in DataLoader(data, batch_size=4, shuffle=True):
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss()(net(x), y)
            loss.backward()
            assert_type(nn.utils.clip_grad_norm_(net.parameters(), 1.0), Tensor)
            optimizer.step()
    return float(loss)


@mt.no_grad()
def evaluated(net: Net, x: Tensor) -> Tensor:
    scores: Tensor = net(x)
    return scores.argmax(-1)


def looking() -> None:
    x = mt.ones(2, requires_grad=True)
    loss = (x * 2).sum()
    mt.graph.draw(loss)
    str(mt.explain("softmax"))
    assert_type(mt.distributions.Normal(0.0, 1.0).sample(), Tensor)
    assert_type(mt.grad(loss, x), tuple[Tensor, ...])
    with mt.no_grad(), mt.autocast("cpu"):
        assert_type(x * 2, Tensor)


def main() -> None:
    tensors()
    a_rule()
    assert training() > 0
    looking()
