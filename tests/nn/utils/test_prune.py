"""Pruning: which elements are kept, that the rest stays zero in training, and how it ends."""

import math

import pytest

import microtensor as mt
from microtensor import nn
from microtensor.nn.utils import prune


def layer():
    mt.manual_seed(0)
    return nn.Linear(6, 4)


def zeros(t):
    return (t == 0).sum().item()


def test_l1_unstructured_zeroes_the_smallest():
    module = layer()
    before = module.weight.detach().clone()
    assert prune.l1_unstructured(module, "weight", amount=0.25) is module
    smallest = before.abs().flatten().argsort()[:6]
    expected = before.clone().flatten()
    expected[smallest] = 0
    assert (module.weight == expected.reshape(4, 6)).all()
    assert (module.weight_orig == before).all() and zeros(module.weight_mask) == 6
    assert {name for name, _ in module.named_parameters()} == {"bias", "weight_orig"}
    assert {name for name, _ in module.named_buffers()} == {"weight_mask"}


def test_given_scores_decide():
    module = layer()
    scores = 1 / module.weight.detach()  # compared by their absolute values
    largest = module.weight.detach().abs().flatten().argsort()[-6:]
    prune.l1_unstructured(module, "weight", amount=6, importance_scores=scores)
    assert (module.weight.flatten()[largest] == 0).all() and zeros(module.weight) == 6


@pytest.mark.parametrize("n", [1, 2, math.inf])
@pytest.mark.parametrize("dim", [0, 1])
def test_ln_structured_zeroes_whole_slices(n, dim):
    module = layer()
    norms = mt.linalg.vector_norm(module.weight.detach(), n, dim=1 - dim)
    prune.ln_structured(module, "weight", amount=2, n=n, dim=dim)
    gone = (module.weight == 0).all(1 - dim).nonzero().flatten().tolist()
    assert gone == sorted(norms.argsort()[:2].tolist())


@pytest.mark.parametrize("function, options, per", [
    (prune.random_unstructured, {}, 1), (prune.random_structured, {"dim": 0}, 6),
    (prune.random_structured, {"dim": 1}, 4),
])  # fmt: skip
def test_a_random_choice_has_the_asked_size(function, options, per):
    chosen = set()
    for seed in range(20):
        module = layer()
        mt.manual_seed(seed)
        function(module, "weight", amount=2, **options)
        assert zeros(module.weight) == 2 * per
        chosen.add(tuple(module.weight_mask.flatten().tolist()))
    assert len(chosen) > 3


def test_a_second_time_counts_what_is_left():
    module = layer()
    prune.l1_unstructured(module, "weight", amount=0.5)  # 12 of 24
    prune.l1_unstructured(module, "weight", amount=0.5)  # 6 of the 12
    assert zeros(module.weight) == 18
    (container,) = module._forward_pre_hooks.values()
    assert isinstance(container, prune.PruningContainer) and len(container) == 2
    prune.ln_structured(module, "weight", amount=1, n=2, dim=0)
    assert len(container) == 3 or len(next(iter(module._forward_pre_hooks.values()))) == 3


def test_global_unstructured_compares_layers():
    small, large = layer(), layer()
    with mt.no_grad():
        small.weight *= 0.01
    prune.global_unstructured(
        [(small, "weight"), (large, "weight")], pruning_method=prune.L1Unstructured, amount=20
    )
    assert zeros(small.weight) + zeros(large.weight) == 20 and zeros(small.weight) >= 19


def test_what_is_pruned_stays_zero_in_training():
    module = layer()
    prune.l1_unstructured(module, "weight", amount=0.5)
    gone, before = module.weight == 0, module.weight.detach().clone()
    optimizer = mt.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        module(mt.randn(5, 6)).square().sum().backward()
        assert (module.weight_orig.grad[gone] == 0).all()
        optimizer.step()
    module(mt.randn(1, 6))
    assert (module.weight[gone] == 0).all() and (module.weight != before)[~gone].all()


def test_masks_of_ones_own():
    module, mask = layer(), mt.zeros(4, 6)
    mask[:, ::2] = 1
    before = module.weight.detach().clone()
    prune.custom_from_mask(module, "weight", mask)
    assert (module.weight == before * mask).all()
    prune.identity(module, "bias")
    assert (module.bias_mask == 1).all()

    class Upper(prune.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, t, default_mask):
            return default_mask * mt.ones_like(t).triu()

    other = layer()
    Upper.apply(other, "weight")
    assert (other.weight == other.weight_orig.triu()).all()


def test_remove_makes_it_permanent():
    module = layer()
    assert not prune.is_pruned(module)
    prune.l1_unstructured(module, "weight", amount=0.5)
    assert prune.is_pruned(module)
    weight = module.weight.detach().clone()
    prune.remove(module, "weight")
    assert not prune.is_pruned(module) and (module.weight == weight).all()
    assert {name for name, _ in module.named_parameters()} == {"bias", "weight"}
    with pytest.raises(ValueError):
        prune.remove(module, "weight")


def test_a_state_dict_carries_masks():
    module, other = layer(), layer()
    for m in (module, other):
        prune.random_unstructured(m, "weight", amount=3)
    other.load_state_dict(module.state_dict())
    x = mt.randn(2, 6)
    assert (other(x) == module(x)).all()


@pytest.mark.parametrize("amount", [-1, 1.5, 25, "a"])
def test_amounts_that_are_refused(amount):
    with pytest.raises((ValueError, TypeError)):
        prune.l1_unstructured(layer(), "weight", amount=amount)
