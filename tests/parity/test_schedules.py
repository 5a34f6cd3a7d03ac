"""Compositions of schedules against PyTorch, and where PyTorch cannot, against the formula."""

import copy
import warnings

import pytest

import microtensor as mt

torch = pytest.importorskip("torch")

CHAINS = {  # schedules of one optimizer, from PyTorch's names or ours
    "constant, exponential": lambda s, o: [s.ConstantLR(o, 0.5, 3), s.ExponentialLR(o, 0.9)],
    "linear, steps": lambda s, o: [s.LinearLR(o, 0.1, 1.0, 4), s.StepLR(o, 2, 0.5)],
    "function, milestones": lambda s, o: [
        s.MultiplicativeLR(o, lambda e: 0.9), s.MultiStepLR(o, [2, 5], 0.1),
    ],
}  # fmt: skip
SEQUENCES = {
    "warm restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.8),
    "constant": lambda s, o: s.ConstantLR(o, 0.5, 2),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 5, 0.02),
    "function": lambda s, o: s.LambdaLR(o, lambda e: 0.7**e),
    "steps": lambda s, o: s.StepLR(o, 2, 0.5),
    "polynomial": lambda s, o: s.PolynomialLR(o, 4),
}


def optimizer(m):
    groups = [{"params": [m.ones(1, requires_grad=True)], "lr": lr} for lr in (0.5, 0.1)]
    return m.optim.SGD(groups, lr=1.0)


def rates(o, scheduler, steps=9, saved_at=None, again=None):
    """The rates after each step; in the middle the state may go into new ones."""
    found = []
    for i in range(steps):
        found.append([g["lr"] for g in o.param_groups])
        o.step()
        scheduler.step()
        assert scheduler.get_last_lr() == [g["lr"] for g in o.param_groups]
        if i == saved_at:
            states = copy.deepcopy((o.state_dict(), scheduler.state_dict()))
            o, scheduler = again()
            o.load_state_dict(states[0]), scheduler.load_state_dict(states[1])
    return found


def made(m, make):
    o = optimizer(m)
    with warnings.catch_warnings(action="ignore"):
        return o, make(m.optim.lr_scheduler, o)


def same(make, *, with_pytorch=True):
    ours = rates(*made(mt, make))
    for saved_at in (1, 3, 5):
        assert rates(*made(mt, make), saved_at=saved_at, again=lambda: made(mt, make)) == ours
    if with_pytorch:
        for a, b in zip(ours, rates(*made(torch, make)), strict=True):
            assert a == pytest.approx(b, rel=1e-9, abs=1e-15)
    return ours


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name):
    same(lambda s, o: s.ChainedScheduler(CHAINS[name](s, o)))


@pytest.mark.parametrize("first", SEQUENCES)
@pytest.mark.parametrize("second", SEQUENCES)
def test_sequences(first, second):
    parts = SEQUENCES[first], SEQUENCES[second]
    same(lambda s, o: s.SequentialLR(o, [part(s, o) for part in parts], [4]))


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_that_comes_first(name):
    """PyTorch multiplies once too often at its step 0; the formula is that of the chain alone."""

    def make(s, o):
        chain = s.ChainedScheduler(CHAINS[name](s, o))
        return s.SequentialLR(o, [chain, s.ExponentialLR(o, 0.5)], [4])

    alone = rates(*made(mt, lambda s, o: s.ChainedScheduler(CHAINS[name](s, o))), steps=4)
    assert same(make, with_pytorch=False)[:4] == alone


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_that_comes_later_begins_anew(name):
    """PyTorch cannot begin it again; the formula is that of the chain alone."""
    alone = rates(*made(mt, lambda s, o: s.ChainedScheduler(CHAINS[name](s, o))), steps=6)

    def make(s, o):
        chain = s.ChainedScheduler(CHAINS[name](s, o))
        return s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 3), chain], [3])

    for a, b in zip(same(make, with_pytorch=False)[3:], alone, strict=True):
        assert a == pytest.approx(b, rel=1e-12)


def test_sequences_in_sequences():
    def inner(s, o):
        return s.SequentialLR(o, [s.ConstantLR(o, 0.5, 2), s.ExponentialLR(o, 0.9)], [2])

    def make(s, o):
        return s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 3), inner(s, o)], [3])

    alone = rates(*made(mt, inner), steps=6)
    assert same(make, with_pytorch=False)[3:] == alone


def test_a_plateau_is_refused_inside():
    for m in (mt, torch):
        o, s = optimizer(m), m.optim.lr_scheduler
        with pytest.raises(ValueError):
            s.ChainedScheduler([s.ReduceLROnPlateau(o)])
        with pytest.raises(ValueError):
            s.SequentialLR(o, [s.ReduceLROnPlateau(o)], [])


@pytest.mark.parametrize("m", [mt, torch], ids=["ours", "PyTorch"])
def test_a_step_before_the_optimizer_s_warns(m):
    o = optimizer(m)
    scheduler = m.optim.lr_scheduler.StepLR(o, 1)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()
    o = optimizer(m)
    scheduler = m.optim.lr_scheduler.StepLR(o, 1)
    with warnings.catch_warnings(action="error"):
        o.step()
        scheduler.step(), scheduler.step()
