"""Initial values: what their distributions promise, in numbers."""

import math

import pytest

import microtensor as mt
from microtensor import nn

init = nn.init
N = 400


@pytest.fixture(autouse=True)
def seed():
    mt.manual_seed(0)


@pytest.mark.parametrize("function, options, std", [
    ("xavier_normal_", {}, math.sqrt(2 / (N + 200))),
    ("xavier_normal_", {"gain": 3}, 3 * math.sqrt(2 / (N + 200))),
    ("xavier_uniform_", {}, math.sqrt(2 / (N + 200))),
    ("kaiming_normal_", {}, math.sqrt(2 / 200)),
    ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "linear"}, math.sqrt(1 / N)),
    ("kaiming_uniform_", {"nonlinearity": "relu"}, math.sqrt(2 / 200)),
    ("normal_", {"mean": 0.0, "std": 0.3}, 0.3),
    ("uniform_", {"a": -0.6, "b": 0.6}, 0.6 / math.sqrt(3)),
    ("trunc_normal_", {"std": 0.01}, 0.01),
])  # fmt: skip
def test_spread(function, options, std):
    w = getattr(init, function)(mt.empty(N, 200), **options)
    assert w.std().item() == pytest.approx(std, rel=0.02)
    assert w.mean().item() == pytest.approx(0, abs=std / 50)
    if "uniform" in function:
        assert w.abs().max().item() == pytest.approx(std * math.sqrt(3), rel=0.01)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (6, 2, 3)])
def test_orthogonal_rows_or_columns(shape):
    w = init.orthogonal_(mt.empty(*shape), gain=2).flatten(1)
    w = w if len(w) <= w.shape[1] else w.T
    assert mt.allclose(w @ w.T, 4 * mt.eye(len(w)), atol=1e-5)


def test_sparse_columns():
    w = init.sparse_(mt.empty(50, 8), sparsity=0.1, std=0.5)
    assert ((w == 0).sum(0) == 5).all()


@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_keeps_its_input(groups):
    conv = nn.Conv1d(4, 4, 3, padding=1, groups=groups, bias=False)
    init.dirac_(conv.weight, groups)
    x = mt.randn(2, 4, 7)
    assert mt.allclose(conv(x), x)


@pytest.mark.parametrize("name", ["xavier_normal", "kaiming_normal", "kaiming_uniform"])
def test_older_names_warn(name):
    with pytest.warns(FutureWarning, match=name):
        getattr(init, name)(mt.empty(3, 4))
