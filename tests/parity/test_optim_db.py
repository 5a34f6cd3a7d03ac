"""PyTorch's own inputs of optimizers, which its developers test them with, given to ours too.

From the same parameters and gradients: the parameters after each of several steps, and names and
values of the state, also after it was loaded halfway; and what PyTorch refuses is refused.

    python -m tests.parity.test_optim_db [name …]

prints for each optimizer how many agree; of the names given also what does not.
"""

import math
import sys

import numpy as np
import pytest

import microtensor as mt

from .samples import (
    assert_right,
    cosines,
    count,
    error_of,
    optim_db,
    ours,
    outcome,
    refused,
    same,
    torch,
)

COVERED = {
    info.optim_cls.__name__: info for info in optim_db if hasattr(mt.optim, info.optim_cls.__name__)
}
COVERED.pop("Muon", None)  # of matrices alone, which these samples are not: test_others_names.py
SHAPES = (3, 4), (3,), ()
STEPS = 6
FLAGS = {"foreach", "fused", "capturable", "differentiable"}  # choose between implementations


class Run:
    """Parameters, a convex loss, and an optimizer of one of the libraries."""

    def __init__(self, m, name, dtype, kwargs, groups):
        self.params, self.m, self.kind = [], m, getattr(m.optim, name)
        for shape in SHAPES:
            values = np.cos(np.arange(math.prod(shape))).reshape(shape).tolist()
            self.params.append(m.nn.Parameter(m.tensor(values, dtype=getattr(m, dtype))))
        self.given, self.kwargs = self.params, kwargs
        if groups:
            first, *rest = self.params
            self.given = [{"params": [first]}, {"params": rest, "lr": 1e-3}]
        self.optimizer = self.kind(self.given, **kwargs)

    def loss(self):
        self.optimizer.zero_grad()
        loss = self.params[0].sum().exp() / 8
        for p in self.params:
            loss = loss + ((1 + cosines(self.m, p).to(p.dtype) / 2) * (p - 0.3) ** 2).sum()
        loss.backward()
        return loss

    def step(self):
        return self.optimizer.step(self.loss)

    def begin_anew(self):
        """Another optimizer goes on from the state of this one."""
        state = self.optimizer.state_dict()
        self.optimizer = self.kind(self.given, **self.kwargs)
        self.optimizer.load_state_dict(state)


def compare(name, dtype, kwargs, groups):
    """Raise an error unless ours goes the way that PyTorch's goes."""
    mine = Run(mt, name, dtype, ours(kwargs), groups)
    theirs = Run(torch, name, dtype, kwargs, groups)
    for step in range(STEPS):
        if step == STEPS // 2:
            mine.begin_anew()
            theirs.begin_anew()
        same(mine.step().detach(), theirs.step().detach(), f"loss {step + 1}: ")
        same(mine.params, theirs.params, f"step {step + 1}: ")
    same_state(name, mine.optimizer.state_dict(), theirs.optimizer.state_dict())


def same_state(name, got, expected):
    """What is remembered of each parameter, and the options of each group, are equal."""
    for mine, theirs in zip(got["param_groups"], expected["param_groups"], strict=True):
        assert list(mine) == list(theirs) or name == "LBFGS"
        for key in mine:
            same(mine[key], theirs[key], f"{key}: ")
    if name == "LBFGS":  # which remembers steps under names of its own
        return
    assert got["state"].keys() == expected["state"].keys()
    for i, theirs in expected["state"].items():
        mine = got["state"][i]
        assert mine.keys() == theirs.keys(), f"{mine.keys()}, not {theirs.keys()}"
        for key, value in theirs.items():
            if key == "step":  # a number in ours
                assert mine[key] == value.item()
            else:
                same(mine[key], value, f"{key}: ")


def refusals(info):
    """Inputs that PyTorch refuses. What `foreach` and kinds of betas forbid is fine here."""
    for error in info.optim_error_inputs_func("cpu", torch.float32):
        given = error.optimizer_error_input
        if not given.kwargs.keys() & FLAGS and "betas must be" not in given.desc:
            yield given


def compare_refusal(name, given):
    """Raise an error unless ours refuses what PyTorch refuses, and warns where PyTorch warns."""
    params = [torch.nn.Parameter(torch.zeros(1, 1))] if given.params is None else given.params
    args, kwargs = ours(((params,), given.kwargs))
    error = error_of(getattr(mt.optim, name), *args, **kwargs, strictly=True)
    refused(error, error_of(getattr(torch.optim, name), params, **given.kwargs, strictly=True))


def results(name):
    """(what was tried, what is wrong or None) for the inputs of an optimizer."""
    info = COVERED[name]
    # in float32 rounding decides where a line search stops
    for dtype in ("float64",) if name == "LBFGS" else ("float64", "float32"):
        for given in info.optim_inputs_func("cpu"):
            for groups in (False, True) if info.supports_param_groups else (False,):
                what = f"{dtype} {given.desc}{' groups' * groups}"
                yield what, outcome(compare, name, dtype, given.kwargs, groups)
    for given in refusals(info):
        yield f"refused: {given.desc}", outcome(compare_refusal, name, given)


@pytest.mark.parametrize("name", COVERED)
def test_optimizers(name):
    assert_right(name, list(results(name)))


if __name__ == "__main__":
    count(COVERED, results, sys.argv[1:])
