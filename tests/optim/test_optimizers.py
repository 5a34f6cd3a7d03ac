"""Optimizers and schedules: what they compute, what they refuse, what a checkpoint keeps."""

import contextlib
import copy
import itertools
import math

import numpy as np
import pytest

import microtensor as mt
from microtensor.backends import Backend, NumPyBackend
from microtensor.optim import (
    ASGD,
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
)  # fmt: skip
from microtensor.optim import lr_scheduler as S
from microtensor.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from microtensor.optim.optimizer import required
from microtensor.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_swa_avg_fn

# schedules are stepped here without their optimizer: see test_schedules.py
pytestmark = pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")


def parameter(*size, seed=0, **options):
    generator = mt.Generator().manual_seed(seed)
    p = mt.randn(*size, generator=generator, requires_grad=True, **options)
    p.grad = mt.randn(*size, generator=generator, **options)
    return p


def train(optimizer, params, steps, seed=0):
    """Steps with gradients that depend on the parameters and on the step."""
    for i in range(steps):
        for p in params:
            p.grad = (p.detach() * 0.3 + math.sin(i + seed)).detach()
        optimizer.step()


# ---- the rules -----------------------------------------------------------------------


def test_sgd_by_hand():
    p = mt.tensor([1.0], requires_grad=True)
    optimizer = SGD([p], lr=0.1, momentum=0.5, dampening=0.5, weight_decay=0.1)
    p.grad = mt.tensor([2.0])
    optimizer.step()  # v = 2 + 0.1·1 = 2.1, p = 1 − 0.21
    assert p.item() == pytest.approx(0.79)
    optimizer.step()  # v = 0.5·2.1 + 0.5·(2 + 0.079) = 2.0895, p = 0.79 − 0.20895
    assert p.item() == pytest.approx(0.58105)


def test_nesterov_by_hand():
    p = mt.tensor([1.0], requires_grad=True)
    optimizer = SGD([p], lr=0.1, momentum=0.5, nesterov=True)
    p.grad = mt.tensor([2.0])
    optimizer.step()  # v = 2, p = 1 − 0.1·(2 + 1)
    assert p.item() == pytest.approx(0.7)


def test_adam_starts_with_steps_of_lr():
    p = mt.tensor([1.0, 1.0], requires_grad=True)
    p.grad = mt.tensor([1e-3, -1e3])
    Adam([p], lr=0.01).step()
    assert p.tolist() == pytest.approx([0.99, 1.01], rel=1e-5)


def test_decay_is_decoupled_in_adamw_only():
    for kind, expected in [(AdamW, 1 - 0.1 * 0.5), (Adam, 1 - 0.1)]:
        p = mt.tensor([1.0], requires_grad=True)
        p.grad = mt.tensor([0.0])
        kind([p], lr=0.1, weight_decay=0.5).step()
        assert p.item() == pytest.approx(expected)


SHAPES = [(), (0, 3), (5,), (3, 4), (40, 500)]
SGD_OPTIONS = [
    (momentum, dampening, decay, nesterov, maximize)
    for momentum, dampening, decay, nesterov, maximize in itertools.product(
        (0, 0.9), (0, 0.3), (0, 0.1), (False, True), (False, True)
    )
    if not nesterov or momentum and not dampening
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_sgd_kernel_is_its_portable_definition(shape, dtype):
    rng = np.random.default_rng(0)
    tolerance = 8 * np.finfo(dtype).eps
    for options in SGD_OPTIONS:
        fast = slow = np.asarray(rng.standard_normal(shape), dtype)
        fast, slow, v, w = fast.copy(), slow.copy(), None, None
        for _ in range(4):
            g = np.asarray(rng.standard_normal(shape), dtype)
            before = g.copy()
            v = NumPyBackend().sgd(fast, g, v, 0.1, *options)
            w = Backend.sgd(NumPyBackend(), slow, g.copy(), w, 0.1, *options)
            assert np.array_equal(g, before)
            assert fast.dtype == dtype and (v is None or v.dtype == dtype and v is not g)
            np.testing.assert_allclose(fast, slow, tolerance, tolerance)
        assert (v is None) == (options[0] == 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_adam_kernel_is_its_portable_definition(shape, dtype):
    rng = np.random.default_rng(0)
    tolerance = 16 * np.finfo(dtype).eps
    choices = itertools.product((False, True), (0, 0.1), (False, True), (False, True))
    for amsgrad, decay, decoupled, maximize in choices:
        start = np.asarray(rng.standard_normal(shape), dtype)
        sides = [[start.copy(), *(np.zeros(shape, dtype) for _ in range(3))] for _ in range(2)]
        for step in range(1, 5):
            g = np.asarray(rng.standard_normal(shape), dtype)
            before = g.copy()
            for side, (p, m, v, top) in enumerate(sides):
                adam = Backend.adam if side else NumPyBackend.adam
                adam(
                    NumPyBackend(), p, g, m, v, top if amsgrad else None,
                    step, 0.1, 0.9, 0.99, 1e-8, decay, decoupled, maximize,
                )  # fmt: skip
            assert np.array_equal(g, before)
            for fast, slow in zip(*sides):
                assert fast.dtype == dtype
                np.testing.assert_allclose(fast, slow, tolerance, tolerance)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, 0.1),
        lambda p: SGD(p, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True, maximize=True),
        lambda p: Adam(p, 0.1, weight_decay=0.1),
        lambda p: AdamW(p, 0.1, amsgrad=True, maximize=True),
    ],
)
def test_every_device_takes_the_same_steps(make, device):
    results = []
    for where in ("cpu", device):
        params = [parameter(3, 4, device=where), parameter(4, seed=1, device=where)]
        optimizer = make(params)
        train(optimizer, params, 5)
        state = [
            v for s in optimizer.state.values() for k, v in s.items() if k != "step"
        ]  # the counts of steps stay on the CPU, as in PyTorch
        assert {str(t.device.type) for t in params + state} == {where}
        results.append([t.cpu().numpy() for t in [p.detach() for p in params] + state])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, momentum=0.9), lambda p: AdamW(p, 0.1)])
def test_layout_of_memory_does_not_matter(make):
    results = []
    for lay in (lambda t: t, lambda t: t.t().contiguous().t(), lambda t: mt.cat([t, t], 1)[:, :4]):
        p = lay(mt.arange(12.0).reshape(3, 4)).detach().requires_grad_()
        optimizer = make([p])
        for i in range(3):
            p.grad = (mt.arange(12.0).reshape(4, 3) + i).t()
            optimizer.step()
        results.append(p.tolist())
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, momentum=0.9), lambda p: AdamW(p, 0.1)])
@pytest.mark.parametrize("bad", [math.inf, math.nan, 1e30])
def test_infinite_gradients_warn_no_more_than_pytorch_does(make, bad):
    p = mt.tensor([1.0], requires_grad=True)
    p.grad = mt.tensor([bad])
    optimizer = make([p])
    for _ in range(3):
        optimizer.step()


# ---- an optimizer and its parameters -------------------------------------------------


def test_the_update_is_in_place_and_the_engine_knows():
    p = parameter(3)
    memory, loss = p._data, (p * p).sum()
    AdamW([p]).step()
    assert p._data is memory and p.is_leaf and p.requires_grad
    with pytest.raises(RuntimeError, match=r"AdamW\.step has since changed"):
        loss.backward()


def test_training_reaches_the_minimum():
    target = mt.tensor([1.0, -2.0, 3.0])
    for make in (
        lambda p: SGD(p, 0.1, momentum=0.5),
        lambda p: Adam(p, 0.1),
        lambda p: AdamW(p, 0.1, weight_decay=0),
    ):
        p = mt.zeros(3, requires_grad=True)
        optimizer = make([p])
        for _ in range(400):
            optimizer.zero_grad()
            ((p - target) ** 2).sum().backward()
            optimizer.step()
        assert p.tolist() == pytest.approx(target.tolist(), abs=1e-3)


def test_parameters_without_gradients_are_left_alone():
    p, q = parameter(2), mt.ones(2, requires_grad=True)
    optimizer = AdamW([p, q], weight_decay=0.5)
    optimizer.step()
    assert q.tolist() == [1, 1] and q not in optimizer.state and p in optimizer.state


def test_groups_have_options_of_their_own():
    p, q = mt.ones(1, requires_grad=True), mt.ones(1, requires_grad=True)
    optimizer = SGD([{"params": [p]}, {"params": q, "lr": 0.5, "weight_decay": 1.0}], lr=0.25)
    p.grad, q.grad = mt.ones(1), mt.ones(1)
    optimizer.step()
    assert (p.item(), q.item()) == (0.75, 0.0)
    r = mt.ones(1, requires_grad=True)
    optimizer.add_param_group({"params": (t for t in [r]), "lr": 1.0})
    p.grad, q.grad, r.grad = None, None, mt.ones(1)
    optimizer.step()
    assert (p.item(), q.item(), r.item()) == (0.75, 0.0, 0.0)
    assert [g["lr"] for g in optimizer.param_groups] == [0.25, 0.5, 1.0]


def test_zero_grad():
    p = parameter(2)
    optimizer = SGD([p])
    held = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is not None and p.grad.tolist() == [0, 0] and held.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None
    (p**3).sum().backward(create_graph=True)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0] and p.grad.grad_fn is None and not p.grad.requires_grad


def test_a_closure_computes_gradients_even_under_no_grad():
    p = mt.tensor([3.0], requires_grad=True)
    optimizer = SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    with mt.no_grad():
        assert optimizer.step(closure).item() == 9
    assert p.item() == 0
    assert optimizer.step() is None


def test_a_rate_may_be_a_tensor():
    p = mt.ones(1, requires_grad=True)
    p.grad = mt.ones(1)
    SGD([p], lr=mt.tensor(0.25)).step()
    assert p.item() == 0.75


def test_optimizers_of_ones_own():
    class Sign(Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def update(self, p, grad, group, state):
            state["calls"] = state.get("calls", 0) + 1
            with mt.no_grad():
                p -= group["lr"] * grad.sign()

    class AsInPyTorch(Sign):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p]["calls"] = self.state[p].get("calls", 0) + 1
                    p.data.add_(p.grad.data.sign(), alpha=-group["lr"])

    for kind in (Sign, AsInPyTorch):
        p = mt.ones(2, requires_grad=True)
        p.grad = mt.tensor([5.0, -5.0])
        optimizer = kind([p], 0.25)
        optimizer.step()
        assert p.tolist() == [0.75, 1.25]
        assert optimizer.state_dict()["state"] == {0: {"calls": 1}}
    with pytest.raises(NotImplementedError, match="Optimizer defines neither update nor step"):
        plain = Optimizer([p], {})
        plain.step()


def test_a_group_is_the_dict_that_was_given():
    group = {"params": (parameter(2), parameter(3))}
    optimizer = SGD([group], lr=0.1)
    group["lr"] = 0.5
    assert optimizer.param_groups[0] is group and isinstance(group["params"], list)


def test_a_parameter_twice_in_a_group_is_stepped_twice():
    p = parameter(2)
    p.grad = mt.ones(2)
    start = p.tolist()
    with pytest.warns(UserWarning, match="a group has a parameter twice"):
        optimizer = SGD([p, p], lr=1.0)
    optimizer.step()
    assert p.tolist() == pytest.approx([x - 2 for x in start])
    assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 0]


def test_an_option_may_be_required():
    class Scaled(Optimizer):
        def __init__(self, params, lr=required):
            super().__init__(params, {"lr": lr})

    p = parameter(2)
    assert repr(required) == "<required parameter>"
    with pytest.raises(ValueError, match="Scaled: a group must say its lr"):
        Scaled([p])
    assert Scaled([{"params": p, "lr": 1.0}]).param_groups[0]["lr"] == 1.0


def test_hooks_before_and_after_a_step():
    p, told = parameter(2), []
    optimizer = SGD([p], lr=0.0)
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: (args, {"closure": loss}))
    after = optimizer.register_step_post_hook(lambda o, args, kwargs: told.append((o, kwargs)))

    def loss():
        return 3.0

    assert optimizer.step() == 3.0 and told == [(optimizer, {"closure": loss})]
    kept = copy.deepcopy(optimizer)
    before.remove()
    after.remove()
    assert optimizer.step() is None and kept.step() is None and len(told) == 1


def test_a_subclass_adds_options_that_older_checkpoints_lack():
    class Newer(SGD):
        def __setstate__(self, state):
            super().__setstate__(state)
            for group in self.param_groups:
                group.setdefault("new", 7)

    optimizer = Newer([parameter(2)])
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups[0]["new"] == 7


def test_a_state_of_nested_values_is_loaded():
    p, q = parameter(2), parameter(2, dtype=mt.float64)
    optimizer = Optimizer([p], {})
    optimizer.state["all"] = mt.ones(1, dtype=mt.int64)
    optimizer.state[p] = {"step": mt.tensor(1.0), "means": {"m": mt.ones(2)}, "list": [1, 2]}
    other = Optimizer([q], {})
    other.load_state_dict(optimizer.state_dict())
    state = other.state[q]
    assert other.state["all"].dtype is mt.int64 and state["list"] == [1, 2]
    assert state["step"].dtype is mt.float32 and state["means"]["m"].dtype is mt.float64


def test_adagrads_state_is_there_before_the_first_step():
    p = parameter(2)
    optimizer = Adagrad([p], initial_accumulator_value=0.5)
    assert optimizer.state[p]["sum"].tolist() == [0.5, 0.5] and optimizer.state[p]["step"] == 0


def test_an_average_has_one_rule():
    with pytest.raises(AssertionError, match="not both"):
        AveragedModel(mt.nn.Linear(1, 1), avg_fn=get_swa_avg_fn(), multi_avg_fn=get_swa_avg_fn())
    with pytest.raises(ValueError, match="decays by 0 … 1, got 2"):
        get_ema_avg_fn(2)


def test_repr():
    text = repr(AdamW([{"params": [mt.zeros(2, 3)]}, {"params": mt.zeros(4), "lr": 0.5}]))
    assert "AdamW (" in text and "Parameter Group 1" in text and "lr: 0.5" in text


def bad_parameters():
    p = mt.ones(2, requires_grad=True)
    yield [], ValueError, "the list of parameters is empty"
    yield iter([]), ValueError, "the list of parameters is empty"
    yield p, TypeError, "got one Tensor; put it into a list"
    yield {"params": [p]}, TypeError, "got one dict"
    yield {p}, TypeError, "a set has no order"
    yield [p, 3.0], TypeError, "parameter 1 is not a Tensor but 3.0"
    yield [("weight", p), mt.ones(2)], ValueError, "either all parameters have names or none has"
    yield (
        [{"params": [("a", p)]}, {"params": [mt.ones(2)]}],
        ValueError,
        "either all parameters have names",
    )
    yield [{"params": [p]}, {"params": [p]}], ValueError, "parameter 0, of shape (2,), is in two"
    yield [p, p * 2], ValueError, "the result of mul and not a leaf"
    yield [{"params": [p]}, p], TypeError, 'a group is a dict with "params"'
    yield [{"lr": 1}], TypeError, 'a group is a dict with "params"'


def test_parameters_with_names():
    layer = mt.nn.Linear(2, 3)
    optimizer = SGD(layer.named_parameters(), lr=0.5)
    (group,) = optimizer.state_dict()["param_groups"]
    assert group["params"] == [0, 1] and group["param_names"] == ["weight", "bias"]
    assert optimizer.param_groups[0]["params"] == [layer.weight, layer.bias]


@pytest.mark.parametrize("params, kind, message", list(bad_parameters()))
def test_bad_parameters(params, kind, message):
    with pytest.raises(kind) as told:
        AdamW(params)
    assert message in str(told.value) and str(told.value).startswith("AdamW: ")


@pytest.mark.parametrize(
    "kind, options, message",
    [
        (SGD, {"lr": -1}, "lr must be at least 0, got -1"),
        (SGD, {"lr": math.nan}, "lr must be at least 0, got nan"),
        (SGD, {"momentum": -0.1}, "momentum must be at least 0"),
        (SGD, {"weight_decay": -0.1}, "weight_decay must be at least 0"),
        (SGD, {"nesterov": True}, "momentum must be above 0 with nesterov"),
        (SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening must be 0"),
        (Adam, {"lr": -1}, "lr must be at least 0"),
        (Adam, {"eps": -1}, "eps must be at least 0"),
        (Adam, {"betas": (0.9, 1.0)}, "betas must be two numbers in [0, 1), got (0.9, 1.0)"),
        (AdamW, {"betas": (-0.1, 0.9)}, "betas must be two numbers in [0, 1)"),
        (AdamW, {"betas": (0.9,)}, "betas must be two numbers in [0, 1)"),
        (AdamW, {"weight_decay": -1}, "weight_decay must be at least 0"),
    ],
)
def test_bad_options(kind, options, message):
    for params in ([mt.ones(1)], [{"params": mt.ones(1), **options}]):
        with pytest.raises(ValueError) as told:
            kind(params, **(options if isinstance(params[0], mt.Tensor) else {}))
        assert message in str(told.value)


# ---- checkpoints ---------------------------------------------------------------------

MAKERS = [
    lambda p: SGD(p, 0.1),
    lambda p: SGD(p, 0.1, momentum=0.9, nesterov=True),
    lambda p: Adam(p, 0.1, amsgrad=True),
    lambda p: AdamW([{"params": p[:1]}, {"params": p[1:], "lr": 0.01, "betas": (0.8, 0.9)}], 0.1),
]


@pytest.mark.parametrize("make", MAKERS)
def test_training_continues_exactly_from_a_file(make, tmp_path):
    params = [parameter(3, 4), parameter(4, seed=1)]
    optimizer = make(params)
    train(optimizer, params, 3)
    mt.save(
        {"params": [p.detach() for p in params], "optimizer": optimizer.state_dict()},
        tmp_path / "c",
    )
    train(optimizer, params, 3, seed=9)

    saved = mt.load(tmp_path / "c")
    again = [p.requires_grad_() for p in saved["params"]]
    resumed = make(again)
    resumed.load_state_dict(saved["optimizer"])
    train(resumed, again, 3, seed=9)
    assert [p.tolist() for p in again] == [p.tolist() for p in params]
    assert str(resumed) == str(optimizer)


def test_state_dict_has_pytorchs_layout():
    p, q = parameter(2), parameter(3)
    optimizer = AdamW([{"params": [q]}, {"params": [p], "lr": 0.5}])
    optimizer.step()
    saved = optimizer.state_dict()
    assert [g["params"] for g in saved["param_groups"]] == [[0], [1]]
    assert saved["param_groups"][1]["lr"] == 0.5
    assert sorted(saved["state"]) == [0, 1]
    assert saved["state"][0]["step"] == 1 and saved["state"][0]["exp_avg"].shape == (3,)
    assert optimizer.param_groups[0]["params"] == [q]  # not touched


def test_loading_copies_and_converts():
    p, q = parameter(2), parameter(2, dtype=mt.float64)
    optimizer, other = AdamW([p]), AdamW([q], lr=7.0)
    optimizer.step()
    other.load_state_dict(optimizer.state_dict())
    state = other.state[q]
    assert state["exp_avg"].dtype is mt.float64 and other.param_groups[0]["lr"] == 1e-3
    before = optimizer.state[p]["exp_avg"].tolist()
    other.step()
    assert optimizer.state[p]["exp_avg"].tolist() == before and state["step"] == 2
    same = AdamW([parameter(2)])
    same.load_state_dict(optimizer.state_dict())
    same.step()
    assert optimizer.state[p]["exp_avg"].tolist() == before


@pytest.mark.parametrize("form", [int, mt.tensor, lambda n: mt.tensor([n], dtype=mt.float16)])
@pytest.mark.parametrize("kind", [AdamW, Adagrad, NAdam])
def test_a_step_count_may_come_in_any_form(form, kind):
    """An int is that of older files; a float32 tensor is the form of now, and PyTorch's."""
    p, q = parameter(2), parameter(2)
    optimizer, other = kind([p]), kind([q])
    optimizer.step()
    saved = optimizer.state_dict()
    assert saved["state"][0]["step"].equal(mt.tensor(1.0))
    saved["state"][0]["step"] = form(1.0)
    q.data = p.detach().clone()
    other.load_state_dict(saved)
    saved["state"][0]["step"] = mt.tensor(1.0)
    optimizer.step()
    other.step()
    assert q.tolist() == p.tolist() and other.state[q]["step"].item() == 2
    assert other.state[q]["step"].shape == () or form is not int


def test_the_state_of_lbfgs_in_an_older_file_goes_on():
    def moved(p, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = ((p - 3) ** 4).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return p.tolist()

    p = mt.tensor([1.0, 2.0], dtype=mt.float64, requires_grad=True)
    optimizer = LBFGS([p], max_iter=3, history_size=2)
    moved(p, optimizer)
    now, q = optimizer.state_dict(), p.detach().clone().requires_grad_()
    state = now["state"][0]
    old = {"n_iter": state["n_iter"], "func_evals": state["func_evals"],
           "pairs": list(zip(state["old_stps"], state["old_dirs"])),
           "grad": state["prev_flat_grad"], "step": state["d"] * state["t"]}  # fmt: skip
    other = LBFGS([q], max_iter=3, history_size=2)
    other.load_state_dict({**now, "state": {0: old}})
    assert other.state_dict()["state"][0].keys() >= state.keys() - {"al", "prev_loss"}
    np.testing.assert_allclose(moved(q, other), moved(p, optimizer), rtol=1e-12)


def test_the_state_of_other_parameters_is_refused_and_changes_nothing():
    p = parameter(2)
    optimizer = AdamW([p], lr=0.5)
    optimizer.step()
    kept = optimizer.state[p]["exp_avg"]
    two, wide = AdamW([parameter(2), parameter(2)]), AdamW([parameter(3)])
    two.step()
    wide.step()
    with pytest.raises(ValueError, match=r"the saved groups have \[2\] parameters, .* \[1\]"):
        optimizer.load_state_dict(two.state_dict())
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(3,\), .* \(2,\)"):
        optimizer.load_state_dict(wide.state_dict())
    assert optimizer.state[p]["exp_avg"] is kept and optimizer.param_groups[0]["lr"] == 0.5


# ---- schedules -----------------------------------------------------------------------


def sgd(*rates):
    return SGD([{"params": mt.ones(1), "lr": lr} for lr in rates], momentum=0.9)


def curve(scheduler, steps):
    """The learning rate of the first group at steps 0, 1 …"""
    rates = []
    for _ in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == [g["lr"] for g in scheduler.optimizer.param_groups]
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda o: StepLR(o, 2, 0.5), [1, 1, 0.5, 0.5, 0.25, 0.25]),
        (lambda o: MultiStepLR(o, [3, 1, 3], 0.5), [1, 0.5, 0.5, 0.125, 0.125, 0.125]),
        (lambda o: ExponentialLR(o, 0.5), [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]),
        (lambda o: ConstantLR(o, 0.25, 2), [0.25, 0.25, 1, 1, 1, 1]),
        (lambda o: ConstantLR(o, 0.0, 2), [0, 0, 1, 1, 1, 1]),
        (lambda o: LinearLR(o, 0.5, 0.0, 4), [0.5, 0.375, 0.25, 0.125, 0, 0]),
        (lambda o: LambdaLR(o, lambda i: i / 4), [0, 0.25, 0.5, 0.75, 1, 1.25]),
        (lambda o: CosineAnnealingLR(o, 2, 0.5), [1, 0.75, 0.5, 0.75, 1, 0.75]),
        (
            lambda o: OneCycleLR(o, 1.0, 5, pct_start=0.6, anneal_strategy="linear", div_factor=2),
            [0.5, 0.75, 1, 0.500025, 0.00005],
        ),
        (
            lambda o: SequentialLR(o, [LinearLR(o, 0.5, 1.0, 2), StepLR(o, 2, 0.5)], [2]),
            [0.5, 0.75, 1, 1, 0.5, 0.5],
        ),
        (
            lambda o: SequentialLR(
                o,
                [SequentialLR(o, [ConstantLR(o, 0.5), ConstantLR(o, 0.25)], [1]), LinearLR(o, 0.1)],
                [3],
            ),
            [0.5, 0.25, 0.25, 0.1, 0.28],
        ),
    ],
)
def test_curves_by_hand(make, expected):
    assert curve(make(sgd(1.0)), len(expected)) == pytest.approx(expected, abs=1e-12)


def schedules():
    yield lambda o: StepLR(o, 7, 0.5)
    yield lambda o: MultiStepLR(o, [5, 9, 9], 0.5)
    yield lambda o: ExponentialLR(o, 0.9)
    yield lambda o: ConstantLR(o, 0.25, 9)
    yield lambda o: LinearLR(o, 0.25, 0.75, 12)
    yield lambda o: LambdaLR(o, [lambda i: 1 / (i + 1), lambda i: 0.9**i])
    yield lambda o: CosineAnnealingLR(o, 11, 0.01)
    yield lambda o: OneCycleLR(o, [1.0, 2.0], 30)
    yield lambda o: SequentialLR(
        o, [LinearLR(o, 0.1, 1, 6), CosineAnnealingLR(o, 9), ExponentialLR(o, 0.9)], [6, 14]
    )


@pytest.mark.parametrize("make", list(schedules()))
@pytest.mark.parametrize("stop", [1, 6, 10])
def test_schedules_continue_exactly_from_a_file(make, stop, tmp_path):
    optimizer = sgd(1.0, 0.5)
    scheduler = make(optimizer)
    for _ in range(stop):
        scheduler.step()
    mt.save([optimizer.state_dict(), scheduler.state_dict()], tmp_path / "c")
    expected = curve(scheduler, 15)

    resumed = sgd(1.0, 0.5)
    again = make(resumed)
    states = mt.load(tmp_path / "c")
    resumed.load_state_dict(states[0])
    again.load_state_dict(states[1])
    assert curve(again, 15) == expected
    assert again.last_epoch == scheduler.last_epoch == stop + 15
    assert resumed.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]


def test_a_schedule_may_continue_from_last_epoch():
    optimizer = sgd(1.0)
    expected = curve(StepLR(optimizer, 2, 0.5), 8)
    fresh = sgd(1.0)
    with pytest.raises(KeyError, match="group 0 has no 'initial_lr'"):
        StepLR(fresh, 2, 0.5, last_epoch=3)
    fresh.param_groups[0]["initial_lr"] = 1.0
    assert curve(StepLR(fresh, 2, 0.5, last_epoch=3), 4) == expected[4:]


def test_schedules_on_one_optimizer_multiply():
    optimizer = sgd(1.0)
    warm, decay = LinearLR(optimizer, 0.5, 1.0, 4), ExponentialLR(optimizer, 0.5)
    for i in range(8):
        expected = min(1, 0.5 + i / 8) * 0.5**i
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
        warm.step()
        decay.step()


def test_a_rate_changed_by_hand_stays_changed():
    optimizer = sgd(1.0)
    scheduler = CosineAnnealingLR(optimizer, 20)
    plain = curve(CosineAnnealingLR(sgd(1.0), 20), 10)
    for i in range(9):
        if i == 3:
            optimizer.param_groups[0]["lr"] *= 0.5
        assert optimizer.param_groups[0]["lr"] == pytest.approx(plain[i] * (0.5 if i >= 3 else 1))
        scheduler.step()


def test_a_group_added_later_is_scheduled_from_there():
    optimizer = sgd(1.0)
    scheduler = ExponentialLR(optimizer, 0.5)
    scheduler.step()
    optimizer.add_param_group({"params": mt.ones(1), "lr": 1.0})
    assert scheduler.get_last_lr() == [0.5]
    scheduler.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.125, 0.25]


def test_one_cycle_moves_momentum_the_other_way():
    for optimizer, beta in [
        (sgd(1.0), lambda g: g["momentum"]),
        (AdamW([mt.ones(1)]), lambda g: g["betas"][0]),
    ]:
        scheduler = OneCycleLR(optimizer, 1.0, 10, pct_start=0.5)
        group, momenta, rates = optimizer.param_groups[0], [], []
        for _ in range(10):
            momenta.append(beta(group))
            rates.append(group["lr"])
            scheduler.step()
        assert momenta[0] == momenta[-1] == 0.95 and momenta[4] == 0.85
        assert rates[:5] == sorted(rates[:5]) and rates[4:] == sorted(rates[4:], reverse=True)
        assert momenta[:5] == sorted(momenta[:5], reverse=True) and momenta[4:] == sorted(
            momenta[4:]
        )
        with pytest.raises(ValueError, match="step 11 of a schedule of 10 steps"):
            scheduler.step()


def test_one_cycle_whose_first_phase_has_no_length():
    assert curve(OneCycleLR(sgd(1.0), 1.0, 10, pct_start=0.1), 3)[0] == 1.0


def test_plateau():
    optimizer = sgd(1.0, 0.01)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=2, min_lr=[0, 0.008])
    rates = []
    for loss in [1.0, 0.5, 0.5, mt.tensor(0.5), 0.5, 0.5, 0.5, 0.5, 0.1]:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    # two bad steps, then two of cooldown, then two bad ones again
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert scheduler.get_last_lr() == [0.25, 0.008]


def test_plateau_continues_from_a_file(tmp_path):
    optimizer = sgd(1.0)
    scheduler = ReduceLROnPlateau(optimizer, "max", 0.5, patience=2)
    mt.save(scheduler.state_dict(), tmp_path / "new")  # best is −∞
    for score in (1.0, 0.5):
        scheduler.step(score)
    mt.save(scheduler.state_dict(), tmp_path / "c")
    again = ReduceLROnPlateau(optimizer, "max", 0.5, patience=2)
    again.load_state_dict(mt.load(tmp_path / "c"))
    again.step(0.5)
    assert optimizer.param_groups[0]["lr"] == 1.0
    again.step(0.5)
    assert optimizer.param_groups[0]["lr"] == 0.5
    again.load_state_dict(mt.load(tmp_path / "new"))
    assert again.best == -math.inf


def test_schedules_of_ones_own():
    class AsInPyTorch(LRScheduler):
        def get_lr(self):
            factor = 1 if self.last_epoch == 0 else 0.5
            return [group["lr"] * factor for group in self.optimizer.param_groups]

    class Ramp(LRScheduler):
        def lr_at(self, epoch):
            return [base * (1 + epoch) for base in self.base_lrs]

    assert curve(AsInPyTorch(sgd(1.0)), 4) == [1, 0.5, 0.25, 0.125]
    assert curve(Ramp(sgd(1.0)), 4) == [1, 2, 3, 4]
    optimizer = sgd(1.0)
    both = SequentialLR(optimizer, [Ramp(optimizer), AsInPyTorch(optimizer)], [2])
    assert curve(both, 5) == [1, 2, 1, 0.5, 0.25]


def test_callable_objects_keep_their_attributes():
    class Factor:
        def __init__(self, value):
            self.value = value

        def __call__(self, epoch):
            return self.value

    scheduler = LambdaLR(sgd(1.0, 1.0), [Factor(0.5), lambda i: 1])
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [{"value": 0.5}, None]
    other = LambdaLR(sgd(1.0, 1.0), [Factor(0.25), lambda i: 1])
    other.load_state_dict(state)
    other.step()
    assert other.get_last_lr() == [0.5, 1]


@pytest.mark.parametrize(
    "make, kind, message",
    [
        (lambda o: StepLR(3, 1), TypeError, "StepLR: an optimizer is needed, got int"),
        (lambda o: StepLR(o, 0), ValueError, "step_size must be above 0"),
        (lambda o: ConstantLR(o, 1.5), ValueError, "factor must be within 0 … 1, got 1.5"),
        (lambda o: LinearLR(o, 0), ValueError, "start_factor must be"),
        (lambda o: LinearLR(o, 1, 2), ValueError, "end_factor must be within 0 … 1, got 2"),
        (lambda o: CosineAnnealingLR(o, 0), ValueError, "T_max must be above 0"),
        (lambda o: LambdaLR(o, [abs]), ValueError, "1 of lr_lambda for 2 groups"),
        (lambda o: OneCycleLR(o, 1.0), ValueError, "total_steps is needed, or both"),
        (lambda o: OneCycleLR(o, 1.0, 0), ValueError, "total_steps must be above 0 and whole"),
        (lambda o: OneCycleLR(o, 1.0, 9, pct_start=2), ValueError, "pct_start must be within"),
        (lambda o: OneCycleLR(o, 1.0, 9, anneal_strategy="x"), ValueError, "'cos' or 'linear'"),
        (lambda o: SequentialLR(o, [], []), ValueError, "at least one schedule"),
        (
            lambda o: SequentialLR(o, [StepLR(o, 1)], [1]),
            ValueError,
            "1 schedules need 0 milestones",
        ),
        (lambda o: SequentialLR(o, [StepLR(sgd(1), 1)], []), ValueError, "another optimizer"),
        (lambda o: SequentialLR(o, [ReduceLROnPlateau(o)], []), ValueError, "needs a loss"),
        (
            lambda o: SequentialLR(o, [StepLR(o, 1) for _ in "abc"], [3, 2]),
            ValueError,
            "milestones must ascend, got [3, 2]",
        ),
        (lambda o: ReduceLROnPlateau(o, factor=1), ValueError, "factor must be below 1"),
        (lambda o: ReduceLROnPlateau(o, "least"), ValueError, "'min' or 'max', got 'least'"),
        (lambda o: ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "'rel' or 'abs'"),
        (lambda o: ReduceLROnPlateau(o, min_lr=[0]), ValueError, "1 of min_lr for 2 groups"),
        (lambda o: LRScheduler(o), NotImplementedError, "neither lr_at nor get_lr"),
        (
            lambda o: StepLR(o, 1).load_state_dict(ExponentialLR(o, 0.5).state_dict()),
            ValueError,
            "StepLR: the state of this schedule has",
        ),
    ],
)
def test_bad_schedules(make, kind, message):
    with pytest.raises(kind) as told:
        make(sgd(1.0, 2.0))
    assert message in str(told.value)


@pytest.mark.parametrize("n", [9, 20_000])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("rule", [SGD, Adam])
def test_an_infinite_parameter_stays_infinite(rule, maximize, n):
    """Where there is no decay, 0 times ∞ is not asked for; compiled or not."""
    p = mt.full((n,), math.inf, requires_grad=True)
    p.grad = mt.ones(n)
    rule([p], lr=0.1, maximize=maximize).step()
    assert p.isinf().all()


# ---- states that were forged ---------------------------------------------------------

HOSTILE = [
    None, "x", [], {}, [None], [[1]], (), -1, 0, 3e9, 10**400, -(10**30), math.nan, math.inf,
    [3, 3], [3.0, 3.0, 3.0], True, mt.zeros(2), mt.zeros(2, 2), mt.tensor(3.0),
]  # fmt: skip
RULES = [SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, Adamax, NAdam, RAdam, ASGD, Rprop, LBFGS]
SCHEDULES = {
    "StepLR": lambda o: S.StepLR(o, 2),
    "MultiStepLR": lambda o: S.MultiStepLR(o, [1, 2]),
    "ConstantLR": lambda o: S.ConstantLR(o),
    "LinearLR": lambda o: S.LinearLR(o),
    "ExponentialLR": lambda o: S.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: S.PolynomialLR(o, 5, 2),
    "LambdaLR": lambda o: S.LambdaLR(o, lambda epoch: 0.5**epoch),
    "CosineAnnealingLR": lambda o: S.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: S.CosineAnnealingWarmRestarts(o, 3, 2),
    "OneCycleLR": lambda o: S.OneCycleLR(o, 0.1, 10),
    "CyclicLR": lambda o: S.CyclicLR(o, 0.1, 0.2, mode="exp_range"),
    "SequentialLR": lambda o: S.SequentialLR(o, [S.StepLR(o, 2), S.LinearLR(o)], [2]),
    "ReduceLROnPlateau": lambda o: S.ReduceLROnPlateau(o),
}


def a_step(optimizer):
    p = optimizer.param_groups[0]["params"][0]

    def closure():
        p.grad = p.detach() * 2
        return p.detach().square().sum()

    optimizer.step(closure)


def changes(state, path=()):
    """Copies of a state, each with one value inside changed to something hostile, or removed."""
    for key in list(state) if isinstance(state, dict) else range(len(state)):
        for value in HOSTILE:
            changed = dict(state) if isinstance(state, dict) else list(state)
            changed[key] = value
            yield changed
        if isinstance(state[key], (dict, list)):
            for inner in changes(state[key]):
                changed = dict(state) if isinstance(state, dict) else list(state)
                changed[key] = inner
                yield changed


def loads_or_refuses(target, state, step):
    """Whether the state was taken; then a step does something, or says what does not fit."""
    before = repr(target.state_dict())
    try:
        target.load_state_dict(state)
    except (ValueError, RuntimeError, TypeError) as error:
        assert type(error) is not TypeError or "needs a dict" in str(error)
        assert "\n" not in str(error) and repr(target.state_dict()) == before
        return False
    with contextlib.suppress(RuntimeError, ValueError):
        step()
    return True


@pytest.mark.parametrize("rule", RULES)
def test_a_forged_state_of_an_optimizer_is_taken_or_refused(rule):
    def made():
        optimizer = rule([mt.ones(2).requires_grad_()], lr=0.1)
        a_step(optimizer)
        return optimizer

    valid, taken, refused = made().state_dict(), 0, 0
    for state in [*list(changes(valid))[::5], *HOSTILE]:
        optimizer = made()
        if loads_or_refuses(optimizer, state, lambda optimizer=optimizer: a_step(optimizer)):
            taken += 1
        else:
            refused += 1
    assert taken and refused > 40  # of a sample


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_forged_state_of_a_schedule_is_taken_or_refused(schedule):
    def made():
        return SCHEDULES[schedule](SGD([mt.ones(2).requires_grad_()], lr=0.1, momentum=0.9))

    def step(scheduler):
        scheduler.step(*[1.0] * (schedule == "ReduceLROnPlateau"))

    valid, taken, refused = made().state_dict(), 0, 0
    for state in [*list(changes(valid))[::3], *HOSTILE]:
        scheduler = made()
        if loads_or_refuses(scheduler, state, lambda scheduler=scheduler: step(scheduler)):
            taken += 1
        else:
            refused += 1
    assert taken > 2 and refused > 30


def test_what_would_take_for_ever_is_refused_or_infinite():
    def optimizer(rule=SGD, **options):
        return rule([mt.ones(2).requires_grad_()], **options)

    for schedule in (S.StepLR(optimizer(), 1), S.ExponentialLR(optimizer(), 0.9)):
        schedule.load_state_dict({**schedule.state_dict(), "gamma": 3, "last_epoch": 3 * 10**9})
        with np.errstate(all="ignore"):
            schedule.step()
        assert math.isinf(schedule.get_last_lr()[0]) or math.isnan(schedule.get_last_lr()[0])
    warm = S.CosineAnnealingWarmRestarts(optimizer(), 3, 2)
    for bad in ({"T_0": 0}, {"T_0": -1}, {"T_mult": 1.0000000001}, {"T_mult": 0}):
        with pytest.raises(ValueError, match="CosineAnnealingWarmRestarts: T_"):
            warm.load_state_dict({**warm.state_dict(), "last_epoch": 10**12, **bad})
    for rule, bad in [(AdamW, {"betas": [3, 3]}), (RAdam, {"betas": [3, 3]}),
                      (LBFGS, {"max_iter": 10**12}), (LBFGS, {"history_size": -1})]:  # fmt: skip
        other = optimizer(rule)
        state = other.state_dict()
        with pytest.raises(ValueError, match=f"{rule.__name__}: {next(iter(bad))} must be"):
            other.load_state_dict({**state, "param_groups": [{**state["param_groups"][0], **bad}]})


def test_a_tensor_in_many_places_of_a_state_is_copied_once():
    p = mt.ones(3).requires_grad_()
    optimizer, shared = SGD([p], lr=0.1), mt.zeros(1000)
    inner = {f"x{i}": shared for i in range(100)}
    state = {
        **optimizer.state_dict(),
        "state": {0: {**inner, "more": [shared, shared], "d": inner}},
    }
    optimizer.load_state_dict(state)
    found = optimizer.state[p]
    assert len({id(found[name]) for name in inner}) == 1 and found["x0"] is not shared
    assert found["more"][0] is found["more"][1]
    with pytest.raises(ValueError, match="a state of parameter 7, the saved groups have 1"):
        optimizer.load_state_dict({**state, "state": {7: inner}})
    endless = {}
    endless["a"] = [endless]
    optimizer.load_state_dict({**state, "state": {0: {"x": endless}}})
