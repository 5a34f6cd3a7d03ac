"""What the user lets NumPy and Python do with warnings changes nothing that is computed here."""

import warnings

import numpy as np
import pytest
from cases import CASES

import microtensor as mt

F, nn = mt.nn.functional, mt.nn
BIG, HUGE = 3e38, 1e39  # what float32 can hold, and what it cannot
INF, NAN = float("inf"), float("nan")


def changed(change):
    x = mt.ones(2)
    change(x)
    return x


def of_double(*values):
    return mt.tensor(values, dtype=mt.float64)


CALLS = {
    "full": lambda: mt.full((2,), HUGE),
    "full in bfloat16": lambda: mt.full((2,), HUGE, dtype=mt.bfloat16).float(),
    "full in float16": lambda: mt.full((2,), 1e6, dtype=mt.float16),
    "full_like": lambda: mt.full_like(mt.ones(2), HUGE),
    "new_full": lambda: mt.ones(2).new_full((2,), HUGE),
    "tensor": lambda: mt.tensor([HUGE, NAN, 1e-45]),
    "as_tensor": lambda: mt.as_tensor(np.array([HUGE]), dtype=mt.float32),
    "arange": lambda: mt.arange(0, HUGE, HUGE / 2),
    "linspace": lambda: mt.linspace(0, HUGE, 3),
    "logspace": lambda: mt.logspace(0, 50, 3),
    "fill_": lambda: changed(lambda x: x.fill_(HUGE)),
    "setitem": lambda: changed(lambda x: x.__setitem__(0, HUGE)),
    "setitem of a tensor": lambda: changed(lambda x: x.__setitem__(0, of_double(HUGE))),
    "copy_": lambda: changed(lambda x: x.copy_(of_double(1e300, 1e-300))),
    "masked_fill_": lambda: changed(lambda x: x.masked_fill_(x > 0, HUGE)),
    "add_": lambda: mt.full((2,), BIG).add_(mt.full((2,), BIG)),
    "float": lambda: of_double(1e300, NAN).float(),
    "long": lambda: mt.tensor([NAN, INF]).long(),
    "half": lambda: mt.tensor([1e10, 1e-30]).half(),
    "bfloat16": lambda: mt.tensor([3.4e38]).bfloat16().float(),
    "repr": lambda: repr(mt.tensor([INF, NAN, 1e-45, 1e38])),
    "repr of doubles": lambda: repr(of_double(1e308, 1e-308)),
    "normal": lambda: mt.normal(0.0, 1e38, (40,)),
    "exponential_": lambda: mt.ones(3).exponential_(1e-40),
    "multinomial": lambda: mt.multinomial(mt.tensor([1e-45, 1.0]), 1),
    "beta": lambda: mt.distributions.Beta(1e-3, 1e-3).sample((9,)),
    "log_prob": lambda: mt.distributions.Normal(0.0, 1e-30).log_prob(mt.tensor(1.0)),
    "dropout": lambda: F.dropout(mt.full((300,), BIG), 0.5),
    "cross_entropy": lambda: F.cross_entropy(mt.tensor([[1e38, -1e38]]), mt.tensor([1])),
    "bce": lambda: F.binary_cross_entropy(mt.tensor([0.0, 1.0]), mt.tensor([1.0, 0.0])),
    "mse_loss": lambda: F.mse_loss(mt.tensor([1e38]), mt.tensor([-1e38])),
    "linear": lambda: F.linear(mt.full((2, 3), BIG), mt.full((3, 3), BIG)),
    "attention": lambda: F.scaled_dot_product_attention(*[mt.full((1, 2, 3), 1e30)] * 3),
    "histc": lambda: mt.histc(mt.tensor([1e38, -1e38])),
    "std": lambda: mt.ones(1).std(),
    "division": lambda: mt.tensor([1.0, 0.0]) / 0,
    "allclose": lambda: mt.allclose(mt.tensor([INF, BIG]), mt.tensor([INF, -BIG])),
    "backward": lambda: gradient(),
    "clip_grad_norm_": lambda: clipped(),
}


def gradient():
    x = mt.full((2,), 1e38, requires_grad=True)
    for _ in range(3):
        (x * BIG).sum().backward()
    return x.grad


def clipped():
    p = nn.Parameter(mt.ones(3))
    p.grad = mt.full((3,), 1e30)
    return nn.utils.clip_grad_norm_([p], 1e-30)


def trained(optimizer):
    found = []
    for value in (1e38, 1e-45, 0.0):
        p = nn.Parameter(mt.full((3, 2), 1e-38))
        steps = optimizer([p], lr=0.1)
        for _ in range(3):
            p.grad = mt.full((3, 2), value)
            steps.step(lambda p=p: (p * p).sum())
        found.append(p.detach().clone())
    return mt.stack(found)


OPTIMIZERS = "SGD Adam AdamW RMSprop Adagrad Adadelta Adamax NAdam RAdam Rprop ASGD LBFGS".split()
CALLS |= {
    name: lambda name=name: trained(getattr(mt.optim, name))
    for name in OPTIMIZERS
    if hasattr(mt.optim, name)
}


def wild(case):
    """The row's result of numbers that overflow, underflow and are none; or the kind of error."""
    arrays = case.arrays("float32")
    for a in arrays:
        if getattr(a, "dtype", None) == np.float32:
            a.flat = np.resize(np.float32([BIG, 0, -BIG, 1e-45, INF, 1, NAN, -INF, -1]), a.size)
    try:
        return case(mt, *case.tensors(arrays=arrays))
    except Exception as error:
        return type(error)


CALLS |= {
    f"row {case.id}": lambda case=case: case(mt, *case.tensors(dtype="float32")) for case in CASES
}
CALLS |= {f"wild row {case.id}": lambda case=case: wild(case) for case in CASES}


def bits(value):
    if isinstance(value, mt.Tensor):
        return value.dtype, value.shape, value.detach().numpy().tobytes()
    return [bits(v) for v in value] if isinstance(value, (tuple, list)) else repr(value)


def outcome(call, errors, action):
    mt.manual_seed(0)
    with np.errstate(all=errors), warnings.catch_warnings():
        warnings.simplefilter(action)
        return bits(call())


@pytest.mark.parametrize("name", CALLS)
def test_the_users_error_state_changes_nothing(name):
    usual = outcome(CALLS[name], "ignore", "ignore")
    for errors in ("raise", "warn"):
        assert outcome(CALLS[name], errors, "error") == usual
