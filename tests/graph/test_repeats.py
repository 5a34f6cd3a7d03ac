"""Folded repeats: whose gradients are shown, in which order they follow, and the way back."""

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn
from microtensor.graph.labels import strip


class Recurrent(nn.Module):
    def __init__(self, n=6):
        super().__init__()
        self.cell, self.out, self.n = nn.RNNCell(3, 4), nn.Linear(4, 1), n

    def forward(self, x):
        h = mt.zeros(1, 4)
        for t in range(self.n):
            h = self.cell(x[t], h)
        return self.out(h).sum()


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Sequential(nn.Linear(3, 4), nn.Tanh())

    def forward(self, x):
        return ((self.part(x[0]) - self.part(x[1])) ** 2).sum()


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(5)))

    def forward(self, x):
        return self.layers(x[0]).sum()


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(3, 2) for _ in range(3))

    def forward(self, x):
        return mt.cat([head(x[0]) for head in self.heads]).sum()


MODELS = {
    "one after the other": (Deep, 5),
    "side by side": (Heads, 3),
    "the same module, one call after the other": (Recurrent, 6),
    "the same module, calls side by side": (Siamese, 2),
}
x = mt.rand(6, 1, 3, generator=mt.Generator().manual_seed(0))


def drawn(words, **options):
    mt.manual_seed(0)
    model = MODELS[words][0]()
    return mt.graph.draw(lambda: model(x), params=model, view="backward", **options), model


@pytest.mark.parametrize("words", MODELS)
def test_how_repeats_follow_one_another_is_said(words):
    for depth in range(1, 4):
        drawing, _ = drawn(words, depth=depth)
        if words in drawing.source:
            break
    assert drawing.source.count(words) >= 1
    assert MODELS[words][1] in drawing.graph.repeats.values()
    back = [e for e in drawing.graph.edges if e.back]
    assert bool(back) == (words == "the same module, one call after the other")


@pytest.mark.parametrize("words", MODELS)
@pytest.mark.parametrize("depth", range(4))
def test_gradients_of_repeats_are_those_of_all_of_them(words, depth):
    drawing, model = drawn(words, depth=depth)
    graph, whole = drawing.graph, drawing.whole
    model(x).backward()
    grads = {name: p.grad.numpy() for name, p in model.named_parameters()}
    for v in graph.vertices:
        if v.role == "parameter" and len(v.outputs[0].flows) < 2:
            np.testing.assert_allclose(v.outputs[0].flow, grads[v.name], rtol=1e-5)
            parts = [e.flow for e in graph.edges if e.source == v.key and e.flow is not None]
            if parts and not any(e.flows for e in graph.edges if e.source == v.key):
                np.testing.assert_allclose(sum(parts), grads[v.name], rtol=1e-4, atol=1e-7)
    unrolled = [v for v in whole.vertices if v.role == "operation"]
    for v in graph.vertices:
        if v.role == "operation" and v.outputs[0].flows:
            path = v.calls[-1].path
            alike = [u for u in unrolled if u.name == v.name and len(u.calls) == len(v.calls)]
            assert len(v.outputs[0].flows) <= len(alike), path
            for g in v.outputs[0].flows:
                assert any(g is o.flow for u in alike for o in u.outputs)
    for e in graph.edges:
        for g in e.flows:
            assert g is None or any(g is f.flow for f in whole.edges)


def test_the_way_back_through_time_is_an_arrow_with_a_bar_for_each_step():
    drawing, _ = drawn("the same module, one call after the other", depth=1)
    (back,) = [e for e in drawing.graph.edges if e.back]
    assert back.source == back.target and len(back.flows) == 5
    sizes = [float(np.sqrt((g**2).mean())) for g in back.flows]
    assert sizes == sorted(sizes)  # gradients vanish on the way to the first step
    assert strip(back.flows) in drawing.source.replace("&#160;", " ")


def test_bars_say_how_large_they_are():
    ones = np.ones(3)
    assert strip([ones * 10.0**-n for n in range(5)]) == "█▆▄▂▁ rms 1 … 0.0001"
    assert strip([ones, ones * 0, None, ones * np.nan]) == "█··× rms 1 … nan"
    assert strip([ones * 0, ones * 0]) == "·· rms 0 … 0"
    assert strip([ones] * 50).startswith("█" * 32 + "… rms 1")


def test_numbers_in_a_repeat_say_whose_they_are():
    drawing, _ = drawn("one after the other", depth=4, values=True)
    assert "numbers of the first" in drawing.source
