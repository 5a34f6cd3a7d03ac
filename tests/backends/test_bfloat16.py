"""bfloat16: float32 with 8 bits instead of 24, in every operation."""

import copy
import math
import pickle

import numpy as np
import pytest
from cases import CASES

import microtensor as mt
from microtensor import nn, optim

FLOATS = [c for c in CASES if c.differentiable]
EPS = 2.0**-8  # of the largest number: half the distance from 1 to the next one


def array(t):
    return t.detach().double().numpy() if t.is_floating_point() else t.numpy()


# ---- rounding ------------------------------------------------------------------------


def test_numbers_are_rounded_to_the_nearest():
    x = np.random.default_rng(0).normal(size=2000) * 10.0 ** np.arange(-20, 20).repeat(50)
    found = array(mt.tensor(x.astype(np.float32)).bfloat16())
    step = 2.0 ** (np.floor(np.log2(np.abs(x.astype(np.float32)))) - 7)
    np.testing.assert_array_equal(found, np.round(x.astype(np.float32) / step) * step)


def test_ties_and_ends():
    one, next_one = 1 + 2.0**-8, 1 + 3 * 2.0**-8  # halfway: to the even one
    top = mt.finfo(mt.bfloat16).max
    x = mt.tensor([one, next_one, -one, top, math.inf, -math.inf, -0.0, 3.4e38]).bfloat16()
    assert x.tolist() == [1, 1 + 2.0**-6, -1, top, math.inf, -math.inf, 0, math.inf]
    assert math.copysign(1, x[6].item()) == -1 and mt.tensor(math.nan).bfloat16().isnan()


def test_every_nan_stays_one():
    bits = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFF80FFFF, 0x7FC00000], np.uint32)
    for x in (mt.tensor(bits.view(np.float32)), mt.tensor(bits[:1].view(np.float32)[0])):
        assert x.bfloat16().isnan().all()


# ---- operations ----------------------------------------------------------------------


def tensors(case, arrays, dtype):
    return [
        mt.tensor(a, dtype=dtype if a.dtype == np.float32 else None).requires_grad_(
            isinstance(i, tuple)
        )
        if isinstance(a, np.ndarray)
        else a
        for a, i in zip(arrays, case.inputs)
    ]


def results(case, inputs, create_graph):
    """The values, and the derivatives of their weighted sum."""
    out = case(mt, *inputs)
    recorded = [o for o in out if o.requires_grad]
    wanted = [t for t in inputs if isinstance(t, mt.Tensor) and t.requires_grad]
    seeds = [mt.arange(float(o.numel())).cos().reshape(o.shape).to(o.dtype) for o in recorded]
    return [*out, *mt.autograd.grad(recorded, wanted, seeds, create_graph=create_graph)]


LOOSE = {"std-2", "std-3", "eigh", "addcdiv"}  # which subtract what is nearly equal


@pytest.mark.parametrize("case", FLOATS, ids=lambda c: c.id)
def test_every_operation_computes_in_it(case):
    rounded = [
        array(mt.tensor(a).bfloat16()).astype(a.dtype)
        if getattr(a, "dtype", None) == np.float32
        else a
        for a in case.arrays("float32")
    ]
    exact = results(case, tensors(case, rounded, mt.float64), False)
    for create_graph in (False, True):
        found = results(case, tensors(case, rounded, mt.bfloat16), create_graph)
        for got, expected in zip(found, exact, strict=True):
            floats = expected.dtype is mt.float64
            assert got.dtype is (mt.bfloat16 if floats else expected.dtype)
            got, expected = array(got), array(expected)
            finite = expected[np.isfinite(expected)]
            largest = max(1, np.abs(finite).max(initial=0))
            tolerance = (64 if case.id in LOOSE else 8) * EPS * largest
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def test_sums_do_not_stall():
    x = mt.ones(4096, dtype=mt.bfloat16)
    assert x.sum().item() == 4096 and x.mean().item() == 1 and (x @ x).item() == 4096
    assert mt.cumsum(x, 0)[-1].item() == 4096 and x.softmax(0).float().sum().item() == 1


# ---- tensors -------------------------------------------------------------------------


def test_what_it_is():
    x = mt.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=mt.bfloat16)
    assert x.dtype is mt.bfloat16 and x.itemsize == 2 and x.stride() == (2, 1)
    assert repr(x) == ("tensor([[1., 2.],\n        [3., 4.]], shape=(2, 2), dtype=bfloat16)")
    with pytest.raises(TypeError, match="float"):
        x.numpy()
    for same in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.to("cpu"), x.clone()):
        assert same.dtype is mt.bfloat16 and same.equal(x)
    assert mt.zeros_like(x).dtype is mt.rand(2, dtype=mt.bfloat16).dtype is mt.bfloat16
    assert x.new_tensor([1.0]).dtype is mt.full((2,), 0.1, dtype=mt.bfloat16).dtype is x.dtype
    assert (mt.rand(5000, dtype=mt.bfloat16) < 1).all()
    assert mt.full((), 0.1, dtype=mt.bfloat16).item() == mt.tensor(0.1).bfloat16().item() != 0.1


def test_memory_is_shared_by_views_and_by_nothing_else():
    x = mt.zeros(3, 4, dtype=mt.bfloat16)
    x[1].view(2, 2).t()[0, 1] = 1 + 2.0**-10
    assert x[1, 2].item() == 1 and x.sum().item() == 1
    wide = x.float()
    wide += 2.0**-10
    x.mul_(3).add_(mt.full((4,), 2.0**-10))
    assert x[1].tolist() == [2.0**-10, 2.0**-10, 3, 2.0**-10]
    assert wide[1, 2].item() == 1 + 2.0**-10


def test_changes_in_place_are_noticed():
    x = mt.ones(2, dtype=mt.bfloat16, requires_grad=True)
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="mul needs"):
        z.sum().backward()


def test_a_model_of_it_learns():
    mt.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 1)
    ).bfloat16()
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    x = mt.randn(32, 4, dtype=mt.bfloat16)
    losses = []
    for _ in range(30):
        loss = nn.functional.mse_loss(model(x), x[:, :1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    for p in model.parameters():
        state = optimizer.state[p]
        for t in (p, p.grad, state["exp_avg"], state["exp_avg_sq"]):
            assert t.dtype is mt.bfloat16 and t.detach().float().bfloat16().equal(t.detach())


def test_a_state_in_it_loads_into_float32(tmp_path):
    model = nn.Linear(2, 3).bfloat16()
    mt.save(model.state_dict(), tmp_path / "f")
    state = mt.load(tmp_path / "f")
    assert state["weight"].dtype is mt.bfloat16
    again = nn.Linear(2, 3)
    again.load_state_dict(state)
    assert again.weight.dtype is mt.float32
    assert again.weight.equal(model.weight.float())


def test_it_can_be_the_default():
    before = mt.get_default_dtype()
    mt.set_default_dtype(mt.bfloat16)
    try:
        assert mt.tensor(1.5).dtype is nn.Linear(2, 2).weight.dtype is mt.bfloat16
        assert (mt.arange(3) / 2).dtype is mt.bfloat16
    finally:
        mt.set_default_dtype(before)
