"""Schedules made of schedules against their closed formula; and the order of the two steps."""

import itertools
import random
import warnings

import pytest

import microtensor as mt
from microtensor import optim
from microtensor.optim import lr_scheduler as lr

BASES = 0.8, 0.1  # of two groups


def optimizer():
    groups = [{"params": [mt.ones(1, requires_grad=True)], "lr": base} for base in BASES]
    return optim.SGD(groups, lr=1.0)


# ---- trees of schedules, each with its formula: the factor of the base rate after n steps -------

LEAVES = [
    (lambda o: lr.ConstantLR(o, 0.5, 3), lambda n: 0.5 if n < 3 else 1),
    (lambda o: lr.ExponentialLR(o, 0.9), lambda n: 0.9**n),
    (lambda o: lr.LinearLR(o, 0.1, 1.0, 3), lambda n: 0.1 + 0.9 * min(n, 3) / 3),
    (lambda o: lr.StepLR(o, 2, 0.3), lambda n: 0.3 ** (n // 2)),
    (lambda o: lr.MultiStepLR(o, [1, 4], 0.2), lambda n: 0.2 ** ((n >= 1) + (n >= 4))),
    (lambda o: lr.PolynomialLR(o, 5, 2.0), lambda n: (1 - min(n, 5) / 5) ** 2),
    (lambda o: lr.LambdaLR(o, lambda n: 1 / (1 + n)), lambda n: 1 / (1 + n)),
    (lambda o: lr.MultiplicativeLR(o, lambda n: 0.8), lambda n: 0.8**n),
]  # fmt: skip
CHAINABLE = [leaf for i, leaf in enumerate(LEAVES) if i not in (5, 6)]  # a rate of 0 ends a chain


def chained(members):
    makers, factors = zip(*members)

    def factor(n):
        product = 1
        for one in factors:
            product *= one(n)
        return product

    return lambda o: lr.ChainedScheduler([make(o) for make in makers]), factor


def sequential(members, milestones):
    makers, factors = zip(*members)

    def factor(n):
        place = sum(n >= m for m in milestones)
        return factors[place](n - (milestones[place - 1] if place else 0))

    return lambda o: lr.SequentialLR(o, [make(o) for make in makers], list(milestones)), factor


def tree(rng, depth):
    """A schedule at random, of at most `depth` levels."""
    kind = rng.choice(["leaf", "chained", "sequential"]) if depth else "leaf"
    if kind == "leaf":
        return rng.choice(LEAVES)
    if kind == "chained":
        return chained(rng.sample(CHAINABLE, rng.randint(1, 3)))
    members = [tree(rng, depth - 1) for _ in range(rng.randint(1, 3))]
    return sequential(members, sorted(rng.sample(range(1, 9), len(members) - 1)))


def rates(schedule, o, steps):
    """The rates of both groups at first, and after each of so many steps."""
    found = [[g["lr"] for g in o.param_groups]]
    for _ in range(steps):
        o.step()
        schedule.step()
        found.append([g["lr"] for g in o.param_groups])
        assert schedule.get_last_lr() == found[-1]
    return found


def expected(factor, steps):
    return [pytest.approx([base * factor(n) for base in BASES]) for n in range(steps)]


@pytest.mark.parametrize("seed", range(200))
def test_trees_of_schedules_follow_their_formula(seed):
    make, factor = tree(random.Random(seed), 3)
    o = optimizer()
    assert rates(make(o), o, 14) == expected(factor, 15)


@pytest.mark.parametrize("seed", range(60))
def test_a_tree_goes_on_from_its_state(seed):
    make, factor = tree(random.Random(seed), 3)
    for middle in (0, 1, 3, 7):
        o, other = optimizer(), optimizer()
        schedule = make(o)
        rates(schedule, o, middle)
        new = make(other)
        other.load_state_dict(o.state_dict())
        new.load_state_dict(schedule.state_dict())
        assert rates(new, other, 14 - middle) == expected(factor, 15)[middle:]


def test_the_reported_chain_after_a_warm_up():
    o = optimizer()
    schedule = lr.SequentialLR(
        o,
        [
            lr.LinearLR(o, 0.1, 1, 3),
            lr.ChainedScheduler([lr.ConstantLR(o, 0.5, 3), lr.ExponentialLR(o, 0.9)]),
        ],
        [3],
    )
    factors = [0.1, 0.4, 0.7, 0.5, 0.45, 0.405, 0.729, 0.6561]
    assert rates(schedule, o, 7) == [pytest.approx([b * f for b in BASES]) for f in factors]


def test_a_rate_of_others_is_kept_by_chains():
    o = optimizer()
    schedule = lr.ChainedScheduler([lr.ExponentialLR(o, 0.5), lr.ExponentialLR(o, 0.1)])
    o.param_groups[0]["lr"] = 3.0
    o.step()
    schedule.step()
    assert o.param_groups[0]["lr"] == pytest.approx(3.0 * 0.05)


@pytest.mark.parametrize("start, steps", [*itertools.product((0, 3), (1, 5))])
def test_last_epoch_goes_on_from_there(start, steps):
    o = optimizer()
    first = lr.ExponentialLR(o, 0.9)
    rates(first, o, start)
    second = lr.ExponentialLR(o, 0.9, last_epoch=start - 1)  # which takes that step once more
    assert rates(second, o, steps)[-1] == pytest.approx([b * 0.9 ** (start + steps) for b in BASES])


# ---- the order of the two steps ------------------------------------------------------------------


@pytest.mark.parametrize("make", [leaf[0] for leaf in LEAVES] + [chained(LEAVES[:2])[0]])
def test_a_schedule_that_steps_first_warns_once(make):
    o = optimizer()
    schedule = make(o)
    with pytest.warns(UserWarning, match=r"before `optimizer.step\(\)`"):
        schedule.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()
        o = optimizer()
        rates(make(o), o, 3)


def test_an_optimizer_with_a_step_of_its_own_is_not_suspected():
    class Mine(optim.Optimizer):
        def step(self, closure=None):
            pass

    o = Mine([mt.ones(1, requires_grad=True)], {"lr": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lr.StepLR(o, 2).step()
