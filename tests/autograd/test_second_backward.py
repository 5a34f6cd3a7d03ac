"""A second backward: through what saved nothing it may go, through what was freed it may not."""

import weakref

import numpy as np
import pytest
from cases import CASES

import microtensor as mt
from microtensor import op


@pytest.mark.parametrize("case", [c for c in CASES if c.differentiable], ids=lambda c: c.id)
def test_a_second_backward_is_refused_or_right(case):
    inputs = case.tensors(requires_grad=True)
    leaves = [t for t in inputs if isinstance(t, mt.Tensor) and t.requires_grad]
    out = [o for o in case(mt, *inputs) if o.requires_grad]
    seeds = [mt.tensor(np.cos(np.arange(o.numel())).reshape(o.shape)) for o in out]
    mt.autograd.backward(out, seeds)
    once = [t.grad.numpy().copy() for t in leaves if t.grad is not None]
    try:
        mt.autograd.backward(out, seeds)
    except RuntimeError as error:
        assert "was freed by an earlier backward" in str(error)
        return
    twice = [t.grad.numpy() for t in leaves if t.grad is not None]
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_allclose(b, 2 * a, rtol=1e-12)


REPEATED = {
    "a physics-informed network": lambda x, w: (w * x.double()).sum(),
    "add": lambda x, w: x + w,
    "broadcast and cast": lambda x, w: x[:, None].half().float() - w,
    "mean of a view": lambda x, w: x.view(1, -1)[:, 1:].mean(),
    "cat, stack, flip": lambda x, w: mt.stack([mt.cat([x, x]), mt.cat([x, x])]).flip(0),
    "expand": lambda x, w: x.expand(4, 3).clone().neg(),
}
REFUSED = {
    "a product": lambda x, w: x * w,
    "a product with a number": lambda x, w: x * 2,
    "a power": lambda x, w: x**2,
    "positions": lambda x, w: x[mt.tensor([0, 1])],
    "a result": lambda x, w: x.exp(),
}


@pytest.mark.parametrize("name", [*REPEATED, *REFUSED])
def test_what_saved_nothing_may_be_gone_through_again(name):
    x = mt.tensor([1.0, 2.0, 3.0], requires_grad=True)
    w = mt.ones(1, requires_grad=True)
    if name == "a physics-informed network":
        x = x.detach().requires_grad_().float()  # made before the loop, and used in every turn
        for turn in (1, 2, 3):
            REPEATED[name](x, w).backward()
            assert w.grad.item() == 6 * turn
        return
    y = {**REPEATED, **REFUSED}[name](x, w).sum()
    y.backward()
    if name in REFUSED:
        with pytest.raises(RuntimeError, match="was freed"):
            y.backward()
        return
    first = x.grad.clone()
    y.backward(create_graph=True)
    assert mt.equal(x.grad, 2 * first)


def test_an_operation_of_the_user_s_is_judged_by_what_its_pullbacks_hold():
    @op
    def twice_no_array(x, /, factor=2.0):
        """factor · x.    ∂x = factor · g"""
        return x * factor, lambda g: g * factor

    @op
    def twice_held(x):
        """x².    ∂x = 2 g x"""
        held = {"x": x}
        return x * x, lambda g: 2 * g * held["x"]

    x = mt.ones(3, requires_grad=True)
    y = twice_no_array(x).sum()
    y.backward(), y.backward()
    assert x.grad.tolist() == [4.0] * 3
    y = twice_held(x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="twice_held was freed"):
        y.backward()


def test_activations_are_freed_as_before():
    x = mt.ones(1000, requires_grad=True)
    hidden = x + 1  # add saved nothing, and its pullbacks stay; what it was given does not
    freed = weakref.ref(hidden._data)
    y = (hidden + 1).sum()
    del hidden
    y.backward()
    assert freed() is None
