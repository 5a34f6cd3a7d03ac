"""Random numbers: the same ones for the same seed, and distributed as they say."""

import numpy as np
import pytest

import microtensor as mt

N = 100_000  # enough for three standard errors to be a tight bound


def generator(seed=0):
    return mt.Generator().manual_seed(seed)


DRAWS = {
    "rand": lambda g: mt.rand(5, generator=g),
    "randn": lambda g: mt.randn(5, generator=g),
    "randint": lambda g: mt.randint(0, 100, (5,), generator=g),
    "randperm": lambda g: mt.randperm(20, generator=g),
    "multinomial": lambda g: mt.multinomial(mt.ones(30), 10, generator=g),
    "with replacement": lambda g: mt.multinomial(mt.ones(30), 10, True, generator=g),
    "bernoulli": lambda g: mt.bernoulli(mt.full((40,), 0.5), generator=g),
    "normal": lambda g: mt.normal(mt.zeros(5), 1.0, generator=g),
    "normal_": lambda g: mt.empty(5).normal_(generator=g),
    "uniform_": lambda g: mt.empty(5).uniform_(-1, 1, generator=g),
    "bernoulli_": lambda g: mt.empty(40).bernoulli_(0.3, generator=g),
    "random_": lambda g: mt.empty(5).random_(1000, generator=g),
    "exponential_": lambda g: mt.empty(5).exponential_(generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_gives_the_same_numbers(name):
    draw = DRAWS[name]
    first = draw(generator(1))
    assert mt.equal(first, draw(generator(1)))
    assert not mt.equal(first, draw(generator(2)))
    mt.manual_seed(1)
    assert mt.equal(first, draw(None))
    g = generator(1)
    draw(g)
    assert not mt.equal(first, draw(g))


@pytest.mark.parametrize("name", ["rand", "randn", "randint", "randperm", "multinomial"])
def test_every_device_draws_the_same_numbers(name, device):
    draws = []
    for where in ("cpu", device):
        mt.manual_seed(3)
        with mt.device(where):
            draws.append(DRAWS[name](None).cpu())
    assert mt.equal(*draws)


def test_the_state_of_a_generator():
    g = generator(5)
    mt.randn(3, generator=g)
    state = g.get_state()
    expected = mt.randn(7, generator=g)
    other = mt.Generator().set_state(state)
    assert mt.equal(mt.randn(7, generator=other), expected) and other.initial_seed() == 5
    state = mt.get_rng_state()
    expected = mt.rand(3)
    mt.set_rng_state(state)
    assert mt.equal(mt.rand(3), expected)
    assert state.dtype is mt.uint8
    for wrong in (mt.zeros(3), state[:-5], mt.zeros(0, dtype=mt.uint8)):
        with pytest.raises(RuntimeError, match="not the state"):
            g.set_state(wrong)


def test_seeds():
    assert mt.manual_seed(7).initial_seed() == mt.initial_seed() == 7
    assert mt.seed() != mt.seed()
    mt.manual_seed(-1)
    assert generator(3).initial_seed() == 3


def close(sample, mean, variance):
    """Whether mean and variance of a sample lie within five standard errors."""
    sample = np.asarray(sample.tolist(), dtype=np.float64)
    assert abs(sample.mean() - mean) < 5 * (variance / len(sample)) ** 0.5
    assert abs(sample.var() / variance - 1) < 5 * (8 / len(sample)) ** 0.5


def test_distributions():
    g = generator()
    close(mt.rand(N, generator=g), 1 / 2, 1 / 12)
    close(mt.randn(N, generator=g), 0, 1)
    close(mt.normal(3.0, 2.0, (N,), generator=g), 3, 4)
    close(mt.normal(mt.full((N,), 1.0), mt.full((N,), 0.5), generator=g), 1, 0.25)
    close(mt.randint(-5, 5, (N,), generator=g), -0.5, 99 / 12)
    close(mt.bernoulli(mt.full((N,), 0.3), generator=g), 0.3, 0.21)
    close(mt.empty(N).normal_(1, 3, generator=g), 1, 9)
    close(mt.empty(N).uniform_(-1, 3, generator=g), 1, 16 / 12)
    close(mt.empty(N).bernoulli_(0.9, generator=g), 0.9, 0.09)
    close(mt.empty(N).exponential_(2.0, generator=g), 0.5, 0.25)
    close(mt.empty(N).random_(10, generator=g), 4.5, 99 / 12)


@pytest.mark.parametrize("dtype", [mt.float16, mt.float32, mt.float64])
def test_fractions_lie_below_one(dtype):
    for x in (mt.rand(N * 3, dtype=dtype), mt.empty(N * 3, dtype=dtype).uniform_()):
        assert x.dtype is dtype and (x >= 0).all() and (x < 1).all() and x.max() > 0.99


def test_shapes_and_dtypes():
    assert mt.randint(3, (2, 2)).dtype is mt.int64 and mt.randint(3, size=(2,)).shape == (2,)
    assert mt.randint(low=1, high=2, size=(3,)).tolist() == [1, 1, 1]
    assert set(mt.randint(0, 3, (200,), dtype=mt.uint8).tolist()) == {0, 1, 2}
    assert sorted(mt.randperm(6, dtype=mt.int32).tolist()) == [0, 1, 2, 3, 4, 5]
    assert mt.randperm(0).shape == (0,) and mt.randn(0, 3).shape == (0, 3)
    like = mt.ones(2, 3, dtype=mt.float64)
    for x in (mt.rand_like(like), mt.randn_like(like), mt.normal(like, 1.0), mt.bernoulli(like)):
        assert (x.shape, x.dtype) == ((2, 3), mt.float64)
    assert mt.randint_like(like, 2).shape == (2, 3)
    assert mt.rand(1, requires_grad=True).requires_grad
    assert set(mt.empty(100, dtype=mt.bool).random_().tolist()) == {False, True}
    assert mt.empty(500, dtype=mt.uint8).random_().max() > 200
    assert set(mt.empty(100, dtype=mt.int64).random_(5, 7).tolist()) == {5, 6}


def test_multinomial():
    g = generator()
    weights = mt.tensor([0.0, 1.0, 3.0, 0.0, 6.0, 0.0])
    drawn = mt.multinomial(weights, N, replacement=True, generator=g).tolist()
    shares = np.bincount(drawn, minlength=6) / N
    assert shares[[0, 3, 5]].sum() == 0
    assert np.abs(shares[[1, 2, 4]] - [0.1, 0.3, 0.6]).max() < 5 * (0.25 / N) ** 0.5
    rows = mt.multinomial(mt.stack([weights, weights.flip(0)]), 3, generator=g)
    assert [sorted(row) for row in rows.tolist()] == [[1, 2, 4], [1, 3, 4]]
    assert mt.multinomial(mt.ones(0, 3), 2).shape == (0, 2)
    assert mt.multinomial(mt.ones(4, requires_grad=True), 1).requires_grad is False


def test_multinomial_without_replacement_draws_first_by_weight():
    g, weights = generator(), mt.tensor([1.0, 3.0, 6.0]).expand(20_000, 3)
    drawn = np.array(mt.multinomial(weights, 2, generator=g).tolist())
    first = np.bincount(drawn[:, 0], minlength=3) / len(drawn)
    assert np.abs(first - [0.1, 0.3, 0.6]).max() < 5 * (0.25 / len(drawn)) ** 0.5
    assert (drawn[:, 0] != drawn[:, 1]).all()
    after_2 = drawn[drawn[:, 0] == 2][:, 1]  # with 6 gone, 1 and 3 are left
    assert abs((after_2 == 1).mean() - 0.75) < 5 * (0.19 / len(after_2)) ** 0.5


def test_a_distribution_has_no_gradient():
    w = mt.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        w.normal_()
    with mt.no_grad():
        assert w.normal_() is w and w.requires_grad
    mean = mt.zeros(2, requires_grad=True)
    mt.normal(mean, 1.0).sum().backward()  # mean + noise: the reparametrised form
    assert mean.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: mt.randint(5, 5, (2,)),
        lambda: mt.randperm(-1),
        lambda: mt.randn(-1),
        lambda: mt.normal(0.0, -1.0, (2,)),
        lambda: mt.empty(1).normal_(0, -1),
        lambda: mt.empty(1).uniform_(2, 1),
        lambda: mt.empty(1).bernoulli_(1.5),
        lambda: mt.bernoulli(mt.tensor([2.0])),
        lambda: mt.bernoulli(mt.zeros(1), -0.1),
        lambda: mt.multinomial(mt.tensor([1.0, 0.0]), 2),
        lambda: mt.multinomial(mt.tensor([1.0, -1.0]), 1),
        lambda: mt.multinomial(mt.tensor([1.0, float("nan")]), 1),
        lambda: mt.multinomial(mt.tensor([1.0, float("inf")]), 1),
        lambda: mt.multinomial(mt.zeros(3), 1),
        lambda: mt.multinomial(mt.ones(3), 0),
        lambda: mt.multinomial(mt.ones(1, 1, 3), 1),
    ],
)
def test_what_cannot_be_drawn(draw):
    with pytest.raises(RuntimeError):
        draw()


def test_poisson_counts():
    rates = mt.tensor([0.0, 0.5, 4.0]).expand(20_000, 3)
    drawn = mt.poisson(rates, generator=mt.Generator().manual_seed(0))
    assert drawn.dtype is mt.float32 and (drawn == drawn.round()).all() and (drawn[:, 0] == 0).all()
    np.testing.assert_allclose(drawn.mean(0).numpy(), [0, 0.5, 4], atol=0.05)
    np.testing.assert_allclose(drawn.var(0).numpy(), [0, 0.5, 4], atol=0.15)
    with pytest.raises(RuntimeError, match="poisson"):
        mt.poisson(mt.tensor([-1.0]))


def test_normal_numbers_that_are_trained():
    w = mt.normal(0, 0.01, (3, 2), requires_grad=True)
    assert w.requires_grad and w.is_leaf and w.shape == (3, 2)
