"""Weights that are computed from others, in PyTorch's newer and older form."""

import copy
import pickle

import numpy as np
import pytest

import microtensor as mt
from microtensor.compat import as_torch

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")

LAYERS = {
    "Linear": (lambda nn: nn.Linear(4, 3), (5, 4)),
    "wide": (lambda nn: nn.Linear(3, 4), (5, 3)),
    "square": (lambda nn: nn.Linear(3, 3), (5, 3)),
    "Conv1d": (lambda nn: nn.Conv1d(4, 3, 2), (2, 4, 5)),
    "ConvTranspose2d": (lambda nn: nn.ConvTranspose2d(2, 3, 2), (1, 2, 3, 3)),
}
SQUARE = ("square",)
FORMS = {  # the form, the options, the layers it is tried on
    "parametrizations.weight_norm": ({}, LAYERS),
    "parametrizations.weight_norm, dim=1": ({"dim": 1}, LAYERS),
    "parametrizations.weight_norm, dim=None": ({"dim": None}, LAYERS),
    "parametrizations.spectral_norm": ({}, LAYERS),
    "parametrizations.spectral_norm, 3": ({"n_power_iterations": 3, "dim": 1}, LAYERS),
    "parametrizations.orthogonal": ({}, LAYERS.keys() - {"Conv1d", "ConvTranspose2d"}),
    "parametrizations.orthogonal, cayley": ({"orthogonal_map": "cayley"}, ("Linear", "square")),
    "parametrizations.orthogonal, exp": (
        {"orthogonal_map": "matrix_exp", "use_trivialization": False}, ("wide", "square"),
    ),
    "weight_norm": ({}, LAYERS),
    "spectral_norm": ({}, LAYERS),
    "spectral_norm, 2": ({"n_power_iterations": 2, "eps": 1e-3}, ("Linear",)),
}  # fmt: skip


def applied(m, form, layer):
    options, _ = FORMS[form]
    place = m.nn.utils
    for name in form.split(",")[0].split("."):
        place = getattr(place, name)
    return place(LAYERS[layer][0](m.nn).double(), **options)


def array(*shape):
    return np.random.default_rng(shape).uniform(-1, 1, shape)


def close(ours, theirs):
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "form, layer",
    [(form, layer) for form, (_, layers) in FORMS.items() for layer in sorted(layers)],
)
def test_training_with(form, layer):
    """State, repr, weights and losses agree through some steps, and the weight that is left."""
    torch.manual_seed(0)
    layers = {m: applied(m, form, layer) for m in (mt, torch)}
    ours, theirs = layers.values()
    assert repr(ours) == repr(theirs)
    states = [[(k, tuple(v.shape)) for k, v in m.state_dict().items()] for m in (ours, theirs)]
    assert states[0] == states[1]
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    ours.load_state_dict({k: v.numpy().copy() for k, v in theirs.state_dict().items()})
    x, losses = array(*LAYERS[layer][1]), {mt: [], torch: []}
    for m, module in layers.items():
        sgd = m.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(4):
            sgd.zero_grad()
            loss = module(m.tensor(x)).square().mean() + module.weight.sum()
            loss.backward()
            sgd.step()
            losses[m].append(loss.item())
        module.eval()
        module(m.tensor(x))
    np.testing.assert_allclose(losses[mt], losses[torch], rtol=1e-9)
    close(ours.weight, theirs.weight)
    for m, module in layers.items():
        if "." in form:
            m.nn.utils.parametrize.remove_parametrizations(module, "weight")
        else:
            getattr(m.nn.utils, "remove_" + form.split(",")[0])(module)
        assert sorted(module.state_dict()) == ["bias", "weight"]
        assert isinstance(module.weight, m.nn.Parameter)
    close(ours.weight, theirs.weight)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("layer", ["Linear", "wide", "square"])
def test_orthogonal_at_first(layer):
    """A weight that is orthogonal already stays as it is; any other becomes so."""
    module = applied(mt, "parametrizations.orthogonal", layer)
    weight = module.weight.detach()
    product = weight @ weight.mT if weight.shape[0] <= weight.shape[1] else weight.mT @ weight
    np.testing.assert_allclose(product.numpy(), np.eye(3), atol=1e-12)
    if layer == "square":
        again = mt.nn.Linear(3, 3).double()
        again.weight = mt.nn.Parameter(weight.clone())
        close(mt.nn.utils.parametrizations.orthogonal(again).weight, weight)


@pytest.mark.parametrize("form", ["spectral_norm", "parametrizations.spectral_norm"])
def test_copies(form):
    """A copy has weights of its own; what is parametrized is not pickled."""
    for m in (mt, torch):
        module = applied(m, form, "Linear")
        if form == "spectral_norm":
            assert not module.weight.requires_grad
            pickle.loads(pickle.dumps(module))
        else:
            with pytest.raises(RuntimeError, match="state_dict"):
                pickle.dumps(module)
        twin = copy.deepcopy(module)
        assert type(twin) is type(module)
        twin(m.ones(2, 4).double()).sum().backward()
        assert all(p.grad is not None for p in twin.parameters())
        assert all(p.grad is None for p in module.parameters())


def test_the_hook_itself():
    """As programs make it that want no function: WeightNorm.apply(module, name, dim)."""
    with as_torch():
        from torch.nn.utils.spectral_norm import SpectralNorm
        from torch.nn.utils.weight_norm import WeightNorm
    assert mt.nn.utils.weight_norm is not WeightNorm
    for hook, *options in ((WeightNorm, 0), (SpectralNorm, 1, 0, 1e-12)):
        module = mt.nn.Linear(3, 2)
        made = hook.apply(module, "weight", *options)
        assert isinstance(made, hook) and "weight" not in dict(module.named_parameters())
        assert module(mt.ones(1, 3)).shape == (1, 2)


# ---- one's own -----------------------------------------------------------------------


def own(m):
    class Symmetric(m.nn.Module):
        def forward(self, X):
            return X.triu() + X.triu(1).transpose(-1, -2)

        def right_inverse(self, A):
            return A.triu()

    class Scaled(m.nn.Module):
        def __init__(self, by):
            super().__init__()
            self.by = m.nn.Parameter(m.tensor(by))

        def forward(self, X):
            return X * self.by

        def right_inverse(self, A):
            return A / self.by

    return Symmetric(), Scaled(2.0)


def test_several_parametrizations():
    found = []
    for m in (mt, torch):
        p = m.nn.utils.parametrize
        layer, (symmetric, scaled) = m.nn.Linear(3, 3), own(m)
        with m.no_grad():
            layer.weight.copy_(m.tensor(array(3, 3)))
            layer.bias.zero_()
        original = layer.weight
        assert p.register_parametrization(layer, "weight", symmetric) is layer
        assert layer.parametrizations.weight.original is original
        p.register_parametrization(layer, "weight", scaled)
        assert p.is_parametrized(layer) and p.is_parametrized(layer, "weight")
        assert not p.is_parametrized(layer, "bias") and not p.is_parametrized(symmetric)
        assert p.type_before_parametrizations(layer) is m.nn.Linear
        assert isinstance(layer, m.nn.Linear)
        values = [layer.weight, layer(m.ones(1, 3)), layer.parametrizations.weight[1].by]
        layer.weight = m.eye(3)
        values += [layer.weight, layer.parametrizations.weight.original]
        twin = copy.deepcopy(layer)
        layer.weight.sum().backward()
        values += [original.grad, scaled.by.grad, twin.weight]
        names = [n for n, _ in layer.named_parameters()], repr(layer)
        p.remove_parametrizations(layer, "weight", leave_parametrized=False)
        assert layer.weight is original and type(layer) is m.nn.Linear
        found.append([[v.detach().numpy() for v in values], names])
    for ours, theirs in zip(found[0][0], found[1][0]):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert found[0][1] == found[1][1]


def test_cached():
    """Within cached() a weight is computed once."""
    for m in (mt, torch):
        p, calls = m.nn.utils.parametrize, []

        class Noted(m.nn.Module):
            def forward(self, X):
                calls.append(1)  # noqa: B023
                return X * 1

        layer = m.nn.Linear(2, 2)
        p.register_parametrization(layer, "weight", Noted(), unsafe=True)
        with p.cached():
            assert layer.weight is layer.weight
            with p.cached():
                layer(m.ones(1, 2))
            layer(m.ones(1, 2))
        assert len(calls) == 1
        assert layer.weight is not layer.weight


def test_buffers():
    for m in (mt, torch):
        module = m.nn.BatchNorm1d(2)
        scaled = own(m)[1]
        m.nn.utils.parametrize.register_parametrization(module, "running_var", scaled)
        assert list(module.state_dict())[-2:] == [
            "parametrizations.running_var.original", "parametrizations.running_var.0.by",
        ]  # fmt: skip
        m.nn.utils.parametrize.remove_parametrizations(module, "running_var")
        assert "running_var" in dict(module.named_buffers())
        assert module.running_var.tolist() == [1.0, 1.0]


def narrow(m):
    class Narrow(m.nn.Module):
        def forward(self, X):
            return X[:1]

    return Narrow()


ERRORS = {
    "no such tensor": (ValueError, lambda m, p: p.register_parametrization(
        m.nn.Linear(2, 2), "wieght", own(m)[0])),
    "another shape": (ValueError, lambda m, p: p.register_parametrization(
        m.nn.Linear(2, 2), "weight", narrow(m))),
    "nothing to remove": (ValueError, lambda m, p: p.remove_parametrizations(
        m.nn.Linear(2, 2), "weight")),
    "several originals": (ValueError, lambda m, p: p.remove_parametrizations(
        m.nn.utils.parametrizations.weight_norm(m.nn.Linear(2, 2)), "weight", False)),
    "unknown map": (ValueError, lambda m, p: m.nn.utils.parametrizations.orthogonal(
        m.nn.Linear(2, 2), orthogonal_map="euler")),
    "orthogonal vector": (ValueError, lambda m, p: m.nn.utils.parametrizations.orthogonal(
        m.nn.Linear(2, 2), "bias")),
    "no weight_norm": (ValueError, lambda m, p: m.nn.utils.remove_weight_norm(m.nn.Linear(2, 2))),
    "no spectral_norm": (ValueError, lambda m, p: m.nn.utils.remove_spectral_norm(
        m.nn.Linear(2, 2))),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_error(case):
    kind, call = ERRORS[case]
    for m in (torch, mt):
        with pytest.raises(kind):
            call(m, m.nn.utils.parametrize)
