"""Distributions score as PyTorch's do, certain events included."""

import numpy as np
import pytest

from microtensor.compat import as_torch

torch = pytest.importorskip("torch")

LOWER = [[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [0.1, 0.2, 0.3]]
MADE = {
    "Categorical": lambda d, t: d.Categorical(t([[0.0, 1.0, 0.0], [0.2, 0.3, 0.5]])),
    "Categorical of logits": lambda d, t: d.categorical.Categorical(logits=t([[0.0, 1.0, -3.0]])),
    "Bernoulli": lambda d, t: d.Bernoulli(t([[0.0, 1.0, 0.25]])),
    "Normal": lambda d, t: d.normal.Normal(t([[0.0, 1.0, 2.0]]), t([0.5])),
    "Beta": lambda d, t: d.beta.Beta(t([[0.5, 2.0, 3.0]] * 3), t([[1.0], [0.25], [4.0]])),
    "Uniform": lambda d, t: d.Uniform(t([[-1.0, -2.0, -3.0]]), t([3.0])),
    "MultivariateNormal": lambda d, t: d.MultivariateNormal(
        t([0.0, 1.0, 2.0]), scale_tril=t(LOWER)
    ),
    "several": lambda d, t: d.MultivariateNormal(t(LOWER), t(np.diag([1.0, 2.0, 3.0]))),
    "Independent": lambda d, t: d.Independent(d.Normal(t(LOWER), t([1.0, 2.0, 3.0])), 1),
}
TOLD = "logits", "probs", "loc", "scale_tril", "covariance_matrix", "mode", "mean", "variance"


def told(torch, make):
    """All that a distribution says of itself, and of values that it could have drawn."""
    import torch.distributions as d

    p = make(d, lambda x: torch.tensor(x, dtype=torch.float64))
    found = {name: getattr(p, name) for name in TOLD if hasattr(p, name)}
    found["entropy"] = p.entropy()
    value = torch.tensor([[0.0, 1.0, 1.0]] * 3, dtype=torch.float64)
    value = value[:, 0] if isinstance(p, d.Categorical) else value
    value = 0.1 + value * 0.7 if isinstance(p, d.Beta) else value
    found["log_prob"] = p.log_prob(value[: p.batch_shape[0] if p.batch_shape else 3])
    found["shapes"] = torch.tensor([len(p.batch_shape), len(p.event_shape), p.sample((2,)).ndim])
    if isinstance(p, d.Normal):
        found["cdf"], found["icdf"] = p.cdf(value), p.icdf(value * 0.7 + 0.1)
    if not isinstance(p, (d.Uniform, d.Beta, d.MultivariateNormal)):
        found["kl"] = d.kl_divergence(p, p)
    return {name: x.numpy() for name, x in found.items()}


@pytest.mark.parametrize("name", MADE)
def test_what_they_say(name):
    theirs = told(torch, MADE[name])
    with as_torch() as mt:
        ours = told(mt, MADE[name])
    for of, value in ours.items():
        np.testing.assert_allclose(value, theirs[of], rtol=1e-7, atol=1e-12, err_msg=of)
