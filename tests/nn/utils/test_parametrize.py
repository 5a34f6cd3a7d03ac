"""Weights that are computed from others: parametrizations, and their older form by hooks."""

import copy

import pytest

import microtensor as mt
from microtensor import nn
from microtensor.nn.utils import parametrizations, parametrize

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, x):
        return x.triu()


def square():
    mt.manual_seed(0)
    return nn.Linear(4, 4)


def test_a_parametrized_weight_is_computed_whenever_it_is_read():
    module = square()
    plain = module.weight.detach().clone()
    parametrize.register_parametrization(module, "weight", Symmetric())
    assert parametrize.is_parametrized(module) and parametrize.is_parametrized(module, "weight")
    assert not parametrize.is_parametrized(module, "bias")
    assert parametrize.type_before_parametrizations(module) is nn.Linear
    assert (module.weight == module.weight.T).all()
    assert (module.parametrizations.weight.original == plain.triu()).all()
    module(mt.randn(3, 4)).sum().backward()
    assert module.parametrizations.weight.original.grad.isfinite().all()
    assert module.parametrizations.weight.original.grad.tril(-1).abs().sum() == 0


def test_an_assigned_value_goes_through_the_right_inverse():
    module, new = square(), mt.ones(4, 4)
    parametrize.register_parametrization(module, "weight", Symmetric())
    module.weight = new
    assert (module.parametrizations.weight.original == new.triu()).all()
    assert (module.weight == new).all()


@pytest.mark.parametrize("keep", [True, False])
def test_removing_leaves_the_value_or_the_original(keep):
    module = square()
    parametrize.register_parametrization(module, "weight", Symmetric())
    value = module.weight.detach().clone()
    original = module.parametrizations.weight.original.detach().clone()
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=keep)
    assert type(module) is nn.Linear and isinstance(module.weight, nn.Parameter)
    assert (module.weight == (value if keep else original)).all()


def test_several_follow_one_another():
    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

    module = square()
    parametrize.register_parametrization(module, "weight", Symmetric())
    parametrize.register_parametrization(module, "weight", Doubled())
    original = module.parametrizations.weight.original
    assert mt.allclose(module.weight, 2 * (original.triu() + original.triu(1).T))
    assert len(module.parametrizations.weight) == 2


def test_cached_computes_once():
    calls = []

    class Counted(nn.Module):
        def forward(self, x):
            calls.append(1)
            return x

    module = square()
    parametrize.register_parametrization(module, "weight", Counted())
    calls.clear()
    with parametrize.cached():
        assert module.weight is module.weight
    assert len(calls) == 1
    module.weight, module.weight  # noqa: B018, each is computed
    assert len(calls) == 3


def test_a_parametrization_that_changes_the_shape_is_refused():
    class Cut(nn.Module):
        def forward(self, x):
            return x[:1]

    module = square()
    with pytest.raises(ValueError):
        parametrize.register_parametrization(module, "weight", Cut())
    assert not parametrize.is_parametrized(module)


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6)])
@pytest.mark.parametrize("how", ["matrix_exp", "cayley", "householder"])
def test_orthogonal_weights_are_orthogonal_before_and_after_a_step(shape, how):
    mt.manual_seed(0)
    rows, columns = shape
    module = parametrizations.orthogonal(nn.Linear(columns, rows).double(), orthogonal_map=how)
    optimizer = mt.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(2):
        W = module.weight if rows >= columns else module.weight.T
        assert mt.allclose(W.T @ W, mt.eye(min(shape)).double(), atol=1e-8)
        optimizer.zero_grad()
        module(mt.randn(5, columns).double()).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("form", [nn.utils.spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm_makes_the_largest_singular_value_one(form):
    module = form(square().double(), n_power_iterations=50)
    for _ in range(3):
        module(mt.randn(2, 4).double())
    assert mt.linalg.svdvals(module.weight)[0].item() == pytest.approx(1, abs=1e-6)
    module.eval()
    assert (module.weight == module.weight).all() and module.weight.requires_grad


@pytest.mark.parametrize("form, length, direction", [
    (nn.utils.weight_norm, "weight_g", "weight_v"),
    (parametrizations.weight_norm, "parametrizations.weight.original0",
     "parametrizations.weight.original1"),
])  # fmt: skip
def test_weight_norm_is_a_length_times_a_direction(form, length, direction):
    module = square()
    plain = module.weight.detach().clone()
    module = form(module)
    assert mt.allclose(module.weight, plain, atol=1e-6)
    names = dict(module.named_parameters())
    g, v = names[length], names[direction]
    assert g.shape == (4, 1) and mt.allclose(g[:, 0], plain.norm(dim=1))
    with mt.no_grad():
        g *= 2
        v *= 7
    module(mt.randn(1, 4))
    assert mt.allclose(module.weight, 2 * plain, atol=1e-5)


@pytest.mark.parametrize("apply, remove", [
    (nn.utils.weight_norm, nn.utils.remove_weight_norm),
    (nn.utils.spectral_norm, nn.utils.remove_spectral_norm),
])  # fmt: skip
def test_the_older_form_is_removed_again(apply, remove):
    module = apply(square())
    module(mt.randn(1, 4))
    value = module.weight.detach().clone()
    remove(module)
    assert {name for name, _ in module.named_parameters()} == {"weight", "bias"}
    assert mt.allclose(module.weight, value, atol=1e-6)
    with pytest.raises(ValueError):
        remove(module)


def test_copies_are_their_own():
    module = parametrizations.weight_norm(square())
    other = copy.deepcopy(module)
    with mt.no_grad():
        other.parametrizations.weight.original0 *= 3
    assert mt.allclose(other.weight, 3 * module.weight, atol=1e-6)
