"""Wrong calls: the error begins with the function that was called, and says what came in."""

import pytest

import microtensor as mt
import microtensor.distributions as D
import microtensor.nn.functional as F
from microtensor import nn, optim
from microtensor.utils import data

x, m = mt.ones(2, 3), nn.Linear(2, 2)

CALLS = [  # (what begins the message, what came in, the kind, the call)
    ("zeros", "'a'", TypeError, lambda: mt.zeros("a")),
    ("zeros", "(1000000000000, 1000000000000)", RuntimeError, lambda: mt.zeros(10**12, 10**12)),
    ("ones", "'a'", TypeError, lambda: mt.ones("a")),
    ("arange", "'a'", TypeError, lambda: mt.arange("a")),
    ("randn", "5", TypeError, lambda: mt.randn(3, generator=5)),
    ("max", "9", IndexError, lambda: x.max(dim=9)),
    ("min", "9", IndexError, lambda: x.min(dim=9)),
    ("sort", "9", IndexError, lambda: x.sort(9)),
    ("sum", "9", IndexError, lambda: x.sum(9)),
    ("softmax", "9", IndexError, lambda: mt.softmax(x, 9)),
    ("view", "(5,)", RuntimeError, lambda: x.view(5)),
    ("add", "(4,)", RuntimeError, lambda: x + mt.ones(4)),
    ("matmul", "(2, 3)", RuntimeError, lambda: x @ x),
    ("getitem", "7", IndexError, lambda: x[7]),
    ("mse_loss", "'a'", TypeError, lambda: F.mse_loss(x, "a")),
    ("conv2d", "2", RuntimeError, lambda: nn.Conv2d(3, 4, 3)(mt.ones(1, 2, 8, 8))),
    ("SGD", "Linear", TypeError, lambda: optim.SGD(m)),
    ("SGD", "'a'", TypeError, lambda: optim.SGD(m.parameters(), lr="a")),
    ("clip_grad_norm_", "Linear", TypeError, lambda: nn.utils.clip_grad_norm_(m, 1.0)),
    ("DataLoader", "5", TypeError, lambda: data.DataLoader(5)),
    ("TensorDataset", "5", TypeError, lambda: data.TensorDataset(5)),
    ("RandomSampler", "'a'", TypeError, lambda: data.RandomSampler([1], replacement="a")),
    ("WeightedRandomSampler", "0", ValueError, lambda: data.WeightedRandomSampler([1.0], 0)),
    ("tensordot", "-1", RuntimeError, lambda: mt.tensordot(x, x, -1)),
]


@pytest.mark.parametrize(
    ("name", "came", "kind", "call"), CALLS, ids=[f"{i}-{row[0]}" for i, row in enumerate(CALLS)]
)
def test_it_says_who_was_called_and_what_came_in(name, came, kind, call):
    with pytest.raises(kind) as raised:
        call()
    message = str(raised.value)
    assert message.startswith(f"{name}: ") and came in message and "\n" not in message


WRONG = {
    "Normal": lambda **v: D.Normal(0.0, -1.0, **v),
    "Categorical": lambda **v: D.Categorical(mt.tensor([-1.0, 2.0]), **v),
    "Bernoulli": lambda **v: D.Bernoulli(2.0, **v),
    "Uniform": lambda **v: D.Uniform(1.0, 0.0, **v),
    "Beta": lambda **v: D.Beta(-1.0, 1.0, **v),
    "MultivariateNormal": lambda **v: D.MultivariateNormal(mt.zeros(2), -mt.eye(2), **v),
}


@pytest.mark.parametrize("name", WRONG)
def test_distributions_look_at_their_parameters(name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        WRONG[name]()


@pytest.mark.parametrize("name", ["Normal", "Categorical", "Bernoulli", "Uniform", "Beta"])
def test_unless_they_are_told_not_to(name):
    assert type(WRONG[name](validate_args=False)).__name__ == name


def test_distributions_look_at_what_they_score():
    with pytest.raises(ValueError, match="Bernoulli"):
        D.Bernoulli(0.5).log_prob(mt.tensor(2.0))
    with pytest.raises(ValueError, match="Categorical"):
        D.Categorical(mt.ones(3)).log_prob(mt.tensor(3))
