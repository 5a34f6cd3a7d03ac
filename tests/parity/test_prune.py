"""Pruned weights against PyTorch's: masks, states, gradients, one method after another."""

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")
pytest.importorskip("torch.nn.utils.prune")

WEIGHT = np.random.default_rng(0).normal(size=(4, 3, 2))
SCORES = np.random.default_rng(1).normal(size=(4, 3, 2))


def layer(m):
    made = m.nn.Conv1d(3, 4, 2).double()
    with m.no_grad():
        made.weight.copy_(m.tensor(WEIGHT))
        made.bias.copy_(m.tensor([0.1, -0.4, 0.2, 0.0]).double())
    return made


ONCE = {
    "identity": lambda m, p, c: p.identity(c, "bias"),
    "l1": lambda m, p, c: p.l1_unstructured(c, "weight", 0.3),
    "l1 of some": lambda m, p, c: p.l1_unstructured(c, "weight", amount=7),
    "l1 of none": lambda m, p, c: p.l1_unstructured(c, "weight", 0),
    "by scores": lambda m, p, c: p.l1_unstructured(c, "weight", 0.5, m.tensor(SCORES)),
    "slices": lambda m, p, c: p.ln_structured(c, "weight", 0.5, n=2, dim=0),
    "last slices": lambda m, p, c: p.ln_structured(c, "weight", 1, 1, -1, m.tensor(SCORES)),
    "a mask": lambda m, p, c: p.custom_from_mask(c, "weight", m.tensor(WEIGHT) > 0),
    "all": lambda m, p, c: p.global_unstructured(
        [(c, "weight"), (c, "bias")], pruning_method=p.L1Unstructured, amount=0.25),
    "by all scores": lambda m, p, c: p.global_unstructured(
        [(c, "weight"), (c, "bias")], p.L1Unstructured, {(c, "weight"): m.tensor(SCORES)},
        amount=5),
}  # fmt: skip


@pytest.mark.parametrize("then", [None, "l1", "slices", "a mask", "all"])
@pytest.mark.parametrize("first", ONCE)
def test_pruned(first, then):
    found = []
    for m in (mt, torch):
        p, conv = m.nn.utils.prune, layer(m)
        assert not p.is_pruned(conv)
        for name in filter(None, (first, then)):
            ONCE[name](m, p, conv)
        assert p.is_pruned(m.nn.Sequential(conv))
        sgd = m.optim.SGD(conv.parameters(), lr=0.1)
        for _ in range(2):
            sgd.zero_grad()
            conv(m.tensor(SCORES[:2, :, :1]).expand(2, 3, 5)).square().sum().backward()
            sgd.step()
        state = {k: v.numpy().copy() for k, v in conv.state_dict().items()}
        pruned = [k.removesuffix("_mask") for k in state if k.endswith("_mask")]
        for name in pruned:
            orig = getattr(conv, name + "_orig")
            p.remove(conv, name)
            assert getattr(conv, name) is orig
        assert not p.is_pruned(conv)
        assert sorted(conv.state_dict()) == ["bias", "weight"]
        found.append((state, conv.weight.detach().numpy(), conv.bias.detach().numpy()))
    assert list(found[0][0]) == list(found[1][0])
    for ours, theirs in zip((*found[0][0].values(), *found[0][1:]),
                            (*found[1][0].values(), *found[1][1:])):  # fmt: skip
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_at_random():
    for m in (mt, torch):
        p, conv = m.nn.utils.prune, layer(m)
        p.random_unstructured(conv, "weight", 0.25)
        assert conv.weight_mask.sum() == 18
        p.random_structured(conv, "weight", 2, 0)
        assert (conv.weight_mask.sum((1, 2)) == 0).sum() == 2
        p.random_unstructured(conv, "weight", 1.0)
        assert conv.weight_mask.sum() == 0


def test_a_method_of_ones_own():
    for m in (mt, torch):

        class EveryOther(m.nn.utils.prune.BasePruningMethod):
            PRUNING_TYPE = "unstructured"

            def compute_mask(self, t, default_mask):
                mask = default_mask.clone()
                mask.view(-1)[::2] = 0
                return mask

        conv = layer(m)
        EveryOther.apply(conv, "bias")
        assert conv.bias.tolist() == pytest.approx([0, -0.4, 0, 0])
        assert EveryOther().prune(m.ones(3)).tolist() == [0, 1, 0]


ERRORS = {
    "more than there are": lambda m, p: p.l1_unstructured(layer(m), "weight", 99),
    "a share above 1": lambda m, p: p.l1_unstructured(layer(m), "weight", 1.5),
    "slices of a vector": lambda m, p: p.ln_structured(layer(m), "bias", 1, 2, 0),
    "not pruned": lambda m, p: p.remove(layer(m), "weight"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_error(case):
    for m in (torch, mt):
        with pytest.raises(ValueError):
            ERRORS[case](m, m.nn.utils.prune)
