"""autocast and GradScaler: what they cast, and when. tests/parity compares them with PyTorch's."""

import math
import threading

import pytest

import microtensor as mt
from microtensor import nn

F = nn.functional
ONES = mt.ones(2, 2)


def product():
    return (ONES @ ONES).dtype


def test_it_casts_where_it_is_on_and_nowhere_else():
    assert product() is mt.float32
    with mt.autocast("cpu") as on:
        assert product() is mt.bfloat16 and on.fast_dtype is mt.bfloat16
        with mt.autocast("cpu", dtype=mt.float16):
            assert product() is mt.float16 and mt.get_autocast_dtype("cpu") is mt.float16
            with mt.autocast("cpu", enabled=False):
                assert product() is mt.float32 and not mt.is_autocast_enabled("cpu")
            assert mt.is_autocast_enabled("cpu") and not mt.is_autocast_enabled()
        with mt.autocast("cuda", enabled=False), mt.cuda.amp.autocast(enabled=False):
            assert product() is mt.bfloat16
        with pytest.raises(ValueError), mt.autocast("cpu", enabled=False):
            raise ValueError
        assert product() is mt.bfloat16
    assert product() is mt.float32


def test_functions_and_threads():
    @mt.autocast("cpu", dtype=mt.bfloat16)
    def inside(depth):
        return inside(depth - 1) if depth else product()

    assert inside(2) is mt.bfloat16 and product() is mt.float32 and inside.__name__ == "inside"
    elsewhere = []
    with mt.cpu.amp.autocast():
        thread = threading.Thread(target=lambda: elsewhere.append(product()))
        thread.start()
        thread.join()
        assert product() is mt.bfloat16 and elsewhere == [mt.float32]


def test_products_are_rounded_and_gradients_are_float32():
    x = mt.randn(4, 8)
    linear = nn.Linear(8, 3)
    with mt.autocast("cpu"):
        y = linear(x)
        loss = F.mse_loss(y, mt.zeros(4, 3))
    low = [t.detach().bfloat16() for t in (x, *linear.parameters())]
    assert y.dtype is mt.bfloat16 and y.equal(F.linear(*low)) and loss.dtype is mt.float32
    (y.float() ** 2).mean().backward()
    g = (2 / y.numel() * y.detach().float()).bfloat16()
    assert linear.weight.grad.dtype is linear.bias.grad.dtype is mt.float32
    assert linear.weight.grad.equal((g.mT @ low[0]).float())


def test_parameters_may_change_within():
    weight = mt.ones(2, 2, requires_grad=True)
    with mt.autocast("cpu"):
        before = ONES @ weight
        with mt.no_grad():
            weight.mul_(3)
        after = ONES @ weight
        after.sum().backward()
    assert before.tolist() == [[2, 2], [2, 2]] and after.tolist() == [[6, 6], [6, 6]]
    assert weight.grad.tolist() == [[2, 2], [2, 2]]


def test_second_derivatives():
    x = mt.tensor([[2.0]], requires_grad=True)
    with mt.autocast("cpu"):
        y = x @ x @ x
        (slope,) = mt.autograd.grad(y, x, mt.ones(1, 1, dtype=mt.bfloat16), create_graph=True)
    (bend,) = mt.autograd.grad(slope.sum(), x)
    assert (slope.dtype, slope.item(), bend.item()) == (mt.float32, 12, 12)


def test_the_graph_is_drawn_as_ever():
    with mt.autocast("cpu"):
        y = F.linear(ONES, ONES.clone().requires_grad_())
    assert y.grad_fn.name() == "linear" and y.grad_fn.inputs[1].dtype is mt.float32


def test_what_is_not_there_says_so():
    with pytest.warns(UserWarning, match="float64 is neither"), mt.autocast("cpu", mt.float64):
        assert product() is mt.float32
    with pytest.raises(RuntimeError, match="'tpu'"):
        mt.autocast("tpu")
    with pytest.raises(ValueError, match="device"):
        mt.autocast(mt.device("cpu"))
    with mt.autocast("mps"):
        assert product() is mt.float32


@pytest.mark.skipif(mt.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_turns_itself_off():
    with pytest.warns(UserWarning, match="no GPU"), mt.cuda.amp.autocast():
        assert product() is mt.float32
    with pytest.warns(UserWarning, match="no GPU"):
        scaler = mt.cuda.amp.GradScaler()
    assert isinstance(scaler, mt.amp.GradScaler)
    assert (scaler.is_enabled(), scaler.get_scale(), scaler.state_dict()) == (False, 1.0, {})
    assert scaler.scale(3) == 3


def scaled_step(scaler, optimizer, p, slope):
    optimizer.zero_grad()
    scaler.scale((p * slope).sum()).backward()
    scaler.unscale_(optimizer)
    grad = p.grad.tolist()
    scaler.step(optimizer)
    scaler.update()
    return grad


def test_a_scaler_leaves_bad_steps_out():
    p = mt.ones(2, requires_grad=True)
    optimizer = mt.optim.SGD([p], lr=0.5)
    scaler = mt.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    assert scaled_step(scaler, optimizer, p, 1.0) == [1.0, 1.0]
    assert (p.tolist(), scaler.get_scale()) == ([0.5, 0.5], 8.0)
    scaled_step(scaler, optimizer, p, math.inf)
    assert (p.tolist(), scaler.get_scale()) == ([0.5, 0.5], 4.0)
    for expected in (4.0, 8.0):
        scaled_step(scaler, optimizer, p, 0.0)
        assert scaler.get_scale() == expected
    again = mt.amp.GradScaler("cpu")
    again.load_state_dict(scaler.state_dict())
    assert again.state_dict() == scaler.state_dict()
    with pytest.raises(AssertionError, match="update"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already"):
        scaler.unscale_(optimizer)
