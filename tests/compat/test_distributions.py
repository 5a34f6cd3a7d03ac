"""What is drawn follows what is scored."""

import math

import pytest

import microtensor as mt
from microtensor import distributions as d

N = 20000


@pytest.mark.parametrize(
    "make",
    [
        lambda: d.Categorical(probs=mt.tensor([1.0, 2.0, 5.0])),
        lambda: d.Categorical(logits=mt.tensor([0.0, 1.0, -1.0])),
        lambda: d.Bernoulli(probs=mt.tensor(0.3)),
        lambda: d.Bernoulli(logits=mt.tensor(0.3)),
    ],
)
def test_frequencies_are_probabilities(make):
    mt.manual_seed(0)
    p = make()
    drawn = p.sample((N,))
    classes = mt.arange(3 if isinstance(p, d.Categorical) else 2)
    told = p.log_prob(classes.to(drawn.dtype)).exp()
    found = mt.stack([(drawn == c).float().mean() for c in classes])
    assert mt.allclose(found, told, atol=4 * math.sqrt(0.25 / N))
    assert math.isclose(told.sum().item(), 1, rel_tol=1e-5)
    assert math.isclose(p.entropy().item(), -(told * told.log()).sum().item(), rel_tol=1e-4)


def test_normal_and_uniform():
    mt.manual_seed(0)
    x = d.Normal(2.0, mt.tensor(3.0)).sample((N,))
    assert abs(x.mean() - 2) < 4 * 3 / math.sqrt(N) and abs(x.std() - 3) < 0.1
    u = d.Uniform(-1.0, 3.0)
    drawn = u.sample((N,))
    assert drawn.min() >= -1 and drawn.max() < 3 and abs(drawn.mean() - 1) < 0.05
    assert u.log_prob(mt.tensor([0.0, 4.0])).exp().tolist() == [0.25, 0.0]
    p, q = d.Normal(mt.zeros(1), mt.ones(1)), d.Normal(mt.ones(1), 2 * mt.ones(1))
    by_draws = p.sample((N,))
    estimate = (p.log_prob(by_draws) - q.log_prob(by_draws)).mean()
    assert abs(d.kl_divergence(p, q).item() - estimate) < 0.02
    assert abs(p.entropy().item() + p.log_prob(by_draws).mean()) < 0.03


def test_beta():
    mt.manual_seed(0)
    p = d.Beta(mt.tensor([0.5, 2.0], requires_grad=True), 3)
    x = p.sample((N,))
    assert x.shape == (N, 2) and x.dtype is mt.float32 and not x.requires_grad
    assert mt.allclose(x.mean(0), p.mean, atol=0.01) and mt.allclose(
        x.var(0), p.variance, atol=0.01
    )
    assert mt.allclose(p.entropy(), -p.log_prob(x).mean(0), atol=0.05)
    with pytest.raises(NotImplementedError, match="Beta.rsample"):
        p.rsample()


def test_gradients_reach_the_parameters():
    loc = mt.zeros(3, requires_grad=True)
    d.Normal(loc, 1.0).rsample((2,)).sum().backward()
    assert loc.grad.tolist() == [2, 2, 2]
    logits = mt.zeros(2, requires_grad=True)
    d.Categorical(logits=logits).log_prob(mt.tensor(0)).backward()
    assert logits.grad.tolist() == [0.5, -0.5]


def test_what_is_not_there_says_so():
    with pytest.raises(ValueError, match="either"):
        d.Categorical()
    with pytest.raises(NotImplementedError, match="Uniform and Normal"):
        d.kl_divergence(d.Uniform(0.0, 1.0), d.Normal(0.0, 1.0))


def test_several_dimensions_are_one_draw():
    mt.manual_seed(0)
    mean = mt.tensor([1.0, -1.0], dtype=mt.float64)
    covariance = mt.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=mt.float64)
    p = d.MultivariateNormal(mean, covariance)
    drawn = p.sample((N,))
    assert mt.allclose(drawn.mean(0), mean, atol=0.04)
    assert mt.allclose(mt.cov(drawn.T), covariance, atol=0.06)
    assert abs(p.entropy().item() + p.log_prob(drawn).mean()) < 0.03
    for same in (
        d.MultivariateNormal(mean, scale_tril=mt.linalg.cholesky(covariance)),
        d.MultivariateNormal(mean, precision_matrix=mt.linalg.inv(covariance)),
    ):
        assert mt.allclose(same.log_prob(drawn), p.log_prob(drawn))
    apart = d.MultivariateNormal(mean, mt.diag(covariance.diagonal()))
    one_by_one = d.Independent(d.Normal(mean, covariance.diagonal().sqrt()), 1)
    assert mt.allclose(apart.log_prob(drawn), one_by_one.log_prob(drawn))
    assert mt.allclose(apart.entropy(), one_by_one.entropy())
    assert p.event_shape == one_by_one.event_shape == (2,)
    assert p.batch_shape == one_by_one.batch_shape == ()
    with pytest.raises(ValueError, match="MultivariateNormal"):
        d.MultivariateNormal(mean)


def test_what_values_may_be():
    from microtensor.distributions import constraints

    x = mt.tensor([[0.2, 0.8], [-1.0, 2.0]])
    assert constraints.simplex.check(x).tolist() == [True, False]
    assert constraints.unit_interval.check(x).tolist() == [[True, True], [False, False]]
    assert constraints.positive.check(x).tolist() == [[True, True], [False, True]]
    pair = mt.stack([mt.tensor([[2.0, 1.0], [1.0, 2.0]]), mt.tensor([[1.0, 2.0], [2.0, 1.0]]), x])
    assert constraints.positive_definite.check(pair).tolist() == [True, False, False]


def test_a_distribution_of_ones_own():
    """It says its shapes to the base, as PyTorch's do."""

    class Pair(d.Distribution):
        arg_constraints = {}

        def __init__(self, loc, validate_args=None):
            self.loc = loc
            super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args)

        def rsample(self, sample_shape=()):
            return self.loc.expand(*sample_shape, *self.loc.shape)

    pair = Pair(mt.zeros(3, 2), validate_args=False)
    assert (pair.batch_shape, pair.event_shape) == ((3,), (2,))
    assert pair.sample((5,)).shape == (5, 3, 2)
    assert d.Distribution().batch_shape == ()
    assert d.Normal(mt.zeros(4), 1.0).batch_shape == (4,)
