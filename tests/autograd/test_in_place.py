"""Changes in place: their gradients, other views of the same memory, and what is refused."""

import functools
import tracemalloc
import weakref

import numpy as np
import pytest
from conftest import DEVICES

import microtensor as mt
from microtensor.autograd import gradcheck, gradgradcheck, op, xp


def leaf(*values):
    return mt.tensor(values, dtype=mt.float64, requires_grad=True)


def changed(start, change):
    """`start` doubled, which makes it no leaf, and then changed."""
    y = start * 2
    change(y)
    return y


FORMS = {
    "add_": lambda y, w: y.add_(w),
    "add_ to itself": lambda y, w: y.add_(y),
    "alpha": lambda y, w: y.sub_(w, alpha=3),
    "mul_": lambda y, w: y.mul_(w),
    "div_": lambda y, w: y.div_(w),
    "pow_": lambda y, w: y.pow_(3),
    "exp_": lambda y, w: y.exp_(),
    "tanh_": lambda y, w: y.tanh_().mul_(w),
    "clamp_": lambda y, w: y.clamp_(-1.5, 1.0),
    "relu_": lambda y, w: y.relu_(),
    "zero_": lambda y, w: y.zero_(),
    "fill_": lambda y, w: y.fill_(w[0]),
    "copy_": lambda y, w: y.copy_(w * w),
    "copy_ a smaller one": lambda y, w: y.copy_(w[0]),
    "masked_fill_": lambda y, w: y.masked_fill_(mt.tensor([True, False, True]), w[1]),
    "eq_": lambda y, w: y.eq_(2.0),
    "floor_divide_": lambda y, w: y.floor_divide_(1.0),
    "lerp_": lambda y, w: y.lerp_(w, 0.3),
    "cumsum_": lambda y, w: y.cumsum_(0),
    "y[1] = w": lambda y, w: y.__setitem__(1, w[0] * w[1]),
    "y[:2] = w": lambda y, w: y.__setitem__(slice(2), w[1:]),
    "y[::-2] = w": lambda y, w: y.__setitem__(slice(None, None, -2), w[1:] + y[1:]),
    "y[[2, 0]] = w": lambda y, w: y.__setitem__([2, 0], w[1:]),
    "y[mask] = w": lambda y, w: y.__setitem__(mt.tensor([True, False, True]), w[:2]),
    "y[...] = y": lambda y, w: y.__setitem__(..., y + w),
    "scatter_": lambda y, w: y.scatter_(0, mt.tensor([2, 0]), w),
    "scatter_add_": lambda y, w: y.scatter_add_(0, mt.tensor([2, 2]), w),
    "a slice": lambda y, w: y[1:].mul_(w[1:]),
    "slices of slices": lambda y, w: y[1:][:1].mul_(w[:1]).exp_(),
    "reversed": lambda y, w: y[[0, 1, 2]].mul_(w),  # a copy: nothing happens to y
    "overlapping": lambda y, w: y[1:].add_(y[:-1].clone()),
    "one of several": lambda y, w: y.tensor_split(2)[0].mul_(w[:2]),
    "reshape": lambda y, w: y.view(3, 1).mul_(w.view(3, 1)),
    "transpose": lambda y, w: y.view(1, 3).t().mul_(w.view(3, 1)),
    "narrow": lambda y, w: y.narrow(0, 1, 2).mul_(w[:2]),
    "one of two": lambda y, w: (y[:2].mul_(w[:2]), y[1:].mul_(w[1:])),
}


@pytest.mark.parametrize("name", FORMS)
def test_derivatives_of_two_orders(name):
    x, w = leaf(0.3, -0.8, 1.1), leaf(0.7, 1.3, -0.4)

    def function(x, w):
        return changed(x, lambda y: FORMS[name](y, w))

    assert gradcheck(function, (x, w)) and gradgradcheck(function, (x, w))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("device", DEVICES[1:])
def test_other_devices_agree_with_the_cpu(name, device):
    grads = []
    for where in ("cpu", device):
        x = mt.tensor([0.3, -0.8, 1.1], dtype=mt.float64, device=where, requires_grad=True)
        w = mt.tensor([0.7, 1.3, -0.4], dtype=mt.float64, device=where, requires_grad=True)
        with mt.device(where):
            y = changed(x, lambda y, w=w: FORMS[name](y, w))
        (y * y).sum().backward()
        grads += [[y.tolist()] + [None if t.grad is None else t.grad.tolist() for t in (x, w)]]
    assert grads[0][1:] == grads[1][1:] or np.allclose(
        *[[v for part in g if part for v in part] for g in grads], rtol=1e-12
    )


def test_augmented_assignment_changes_the_same_tensor():
    x = leaf(1.0, 2.0)
    y = same = x * 1
    y += 1
    y -= 0.5
    y *= 2
    y /= 4
    y **= 2
    assert y is same and np.allclose(y.tolist(), [0.75**2, 1.25**2])
    y.sum().backward()
    assert np.allclose(x.grad.tolist(), [0.75, 1.25])  # 2 · ((x + ½) / 2) / 2


def test_views_follow_their_base_and_the_base_its_views():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    head, tail = y[:2], y[1:]
    head.mul_(10)
    y.add_(1)
    tail[0] = tail[1] * 7
    assert y.tolist() == [11.0, 28.0, 4.0]
    assert (head.tolist(), tail.tolist()) == ([11.0, 28.0], [28.0, 4.0])
    assert np.allclose(mt.grad(head.sum(), x, retain_graph=True)[0].tolist(), [10.0, 0.0, 7.0])
    assert np.allclose(mt.grad(tail.sum(), x, retain_graph=True)[0].tolist(), [0.0, 0.0, 8.0])
    assert np.allclose(mt.grad(y.sum(), x)[0].tolist(), [10.0, 0.0, 8.0])


def test_a_view_of_a_transposed_tensor():
    x = mt.arange(6.0, dtype=mt.float64).view(2, 3).requires_grad_()
    y = x.t() * 1  # column after column
    flat = y.t().view(-1) if y.t().is_contiguous() else y.view(-1)
    column = y.transpose(0, 1)[0]
    flat.mul_(2)
    flat.exp_()
    assert np.allclose(
        mt.grad(column.sum(), x)[0].tolist(),
        [[2 * np.exp(2 * v) for v in (0.0, 1.0, 2.0)], [0] * 3],
    )


def test_the_base_needs_no_gradient_but_what_is_written_does():
    w = leaf(2.0)
    buffer = mt.zeros(4, dtype=mt.float64)
    view = buffer[1:3]
    view.add_(w)
    buffer[3] = w[0] * 10
    assert buffer.requires_grad and view.requires_grad and view.tolist() == [2.0, 2.0]
    buffer.sum().backward()
    assert w.grad.tolist() == [12.0]


def test_following_a_base_under_no_grad_loses_nothing():
    x = leaf(1.0, 2.0)
    y = x * 1
    view = y[:1]
    y.mul_(3)
    with mt.no_grad():
        view.sum()
        assert view.requires_grad
    view.backward(mt.ones(1, dtype=mt.float64))
    assert x.grad.tolist() == [3.0, 0.0]


def test_one_element_of_a_row_is_a_view():
    y = mt.zeros(3)
    y[1].add_(5)
    for element in y:
        element.mul_(2)
    assert y.tolist() == [0.0, 10.0, 0.0]
    matrix = mt.zeros(2, 2)
    matrix[0, 1].fill_(4)
    assert matrix.tolist() == [[0.0, 4.0], [0.0, 0.0]]


def test_detach_and_data_share_memory():
    x = leaf(1.0, 2.0)
    x.detach()[0] = 5.0
    x.data.add_(1)
    assert x.tolist() == [6.0, 3.0] and x.grad_fn is None


# ---- saved values --------------------------------------------------------------------

SAVED = {
    "an input": (lambda y: y * y, "mul needs its input 'a'", "mul"),
    "a result": (lambda y: y.exp(), "exp needs its result", "exp"),
    "by a joint pullback": (lambda y: mt.stack([y, y]).softmax(0), "softmax needs", "softmax"),
}


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.add_(1),
        lambda t: t.detach().add_(1),
        lambda t: t[0].add_(1),
        lambda t: t.__setitem__(0, 3.0),
        lambda t: t.detach()[1:].zero_(),
        lambda t: t.copy_(mt.zeros(2)),
        lambda t: t.detach().normal_(),
    ],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_saved_value_may_not_change_before_backward(name, change, create_graph):
    function, told, operation = SAVED[name]
    y = leaf(1.0, 2.0) * 1
    z = function(y)
    change(z if "result" in told or operation == "softmax" else y)
    with pytest.raises(RuntimeError, match=f"backward: {told}.* changed in place"):
        z.sum().backward(create_graph=create_graph)


@pytest.mark.parametrize("change", [lambda t: t.add_(1), lambda t: t[0].zero_()])
def test_nobody_notices_changes_of_data(change):  # as in PyTorch
    x = leaf(1.0, 2.0)
    y = x * x
    change(x.data)
    y.sum().backward()
    assert mt.equal(x.grad, 2 * x)
    kept = leaf(1.0, 2.0).data  # used like any other tensor, it can be seen to change
    y = kept * leaf(3.0, 4.0)
    change(kept.detach())
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


@op
def keeps_in_many_places(x, /, where):
    """2ˣ − 1.    ∂x = g 2ˣ ln 2, with 2ˣ kept where it is said to be kept"""
    np_, kind = xp(x), x.dtype.type  # a module and a type are nothing that could change
    y = np_.exp(x * np_.log(np_.asarray(2.0, dtype=x.dtype)))
    slope = y * np.log(2.0)
    keeps_in_many_places.kept = kept = mt.from_numpy(slope)

    class Holder:
        def __init__(self, slope):
            self.slope = slope

        def __call__(self, g):
            return g * self.slope

        pull = __call__

    pullback = {
        "a closure": lambda g: g * slope * kind(1) * np_.ones_like(slope),
        "a default": lambda g, slope=slope: g * slope,
        "a list in a dictionary": lambda g, held={"x": [slope]}: g * held["x"][0],  # noqa: B006
        "a partial": functools.partial(lambda slope, g: g * slope, slope),
        "an object": Holder(slope),
        "a method": Holder(slope).pull,
        "a tensor": lambda g: g * kept.numpy(),
        "a closure of a closure": (lambda inner: lambda g: inner(g))(lambda g: g * slope),
    }[where]
    return y - 1, pullback


@pytest.mark.parametrize(
    "where",
    ["a closure", "a default", "a list in a dictionary", "a partial", "an object", "a method",
     "a tensor", "a closure of a closure"],
)  # fmt: skip
def test_wherever_an_operation_keeps_a_value(where):
    x = leaf(1.0, 3.0)
    y = keeps_in_many_places(x, where)
    mt.zeros(1).add_(1)  # something else has changed: fine
    assert np.allclose(
        mt.grad(y.sum(), x, retain_graph=True)[0].tolist(), np.log(2) * 2.0 ** np.array([1, 3])
    )
    keeps_in_many_places.kept.add_(1)
    with pytest.raises(RuntimeError, match="keeps_in_many_places needs"):
        y.sum().backward()


def test_with_create_graph_the_inputs_are_read_again():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y.exp()
    y.add_(1)  # exp keeps its result, so this harms only derivatives that run its body again
    assert np.allclose(mt.grad(z.sum(), x, retain_graph=True)[0].tolist(), np.exp([1, 2]))
    with pytest.raises(RuntimeError, match="exp needs its input 'x'"):
        mt.grad(z.sum(), x, create_graph=True)


def test_adding_to_a_gradient_is_a_change_in_place():
    x, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x * 2).sum().backward()
    z = (x.grad * v).sum()
    (x * 2).sum().backward()
    with pytest.raises(RuntimeError, match="backward has since changed"):
        z.backward()


def test_the_error_names_operation_tensor_and_change():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y * x
    y.mul_(3)
    with pytest.raises(RuntimeError) as error:
        z.sum().backward()
    told = str(error.value)
    assert "mul needs its input 'a'" in told and "(2,)" in told and "mul_ has since" in told


def test_an_optimizer_step_between_forward_and_backward():
    w = leaf(1.0, 2.0)
    loss = (w * w).sum()
    with mt.no_grad():
        w -= 0.1
    with pytest.raises(RuntimeError, match="add_|sub_"):
        loss.backward()
    (w * w).sum().backward()
    assert np.allclose(w.grad.tolist(), [1.8, 3.8])


NOT_SAVED = {
    "add": lambda y: y + 1,
    "sum": lambda y: y.sum(),
    "mean": lambda y: y.mean(),
    "mul by a number": lambda y: y * 3,
    "mul by a constant": lambda y: y * mt.ones(2, dtype=mt.float64),
    "view": lambda y: y.view(2, 1).clone(),
    "index": lambda y: y[[0, 0]],
    "cat": lambda y: mt.cat([y, y]),
    "stack": lambda y: mt.stack([y, y]),
    "gather": lambda y: y.gather(0, mt.tensor([1])),
    "sort": lambda y: y.sort()[0],
    "relu": lambda y: y.relu(),
    "exp": lambda y: y.exp(),
    "matmul": lambda y: mt.ones(2, 2, dtype=mt.float64) @ y,
    "where": lambda y: mt.where(mt.tensor([True, False]), y, 0.0),
    "expand": lambda y: y.expand(3, 2) + 0,
    "flip": lambda y: y.flip(0),
}


@pytest.mark.parametrize("name", NOT_SAVED)
def test_what_is_not_needed_may_change(name):
    x = leaf(0.5, 2.0)
    y = x * 1
    z = NOT_SAVED[name](y)
    y.mul_(100)
    (g,) = mt.grad(z.sum(), x)
    (expected,) = mt.grad(NOT_SAVED[name](x).sum(), x)
    assert g.tolist() == expected.tolist()


def test_a_value_saved_after_the_change_is_fine():
    x = leaf(1.0, 2.0)
    y = x * 1
    for _ in range(3):
        y.mul_(x)
    y.sum().backward()
    assert np.allclose(x.grad.tolist(), [4.0, 32.0])


# ---- what is refused -----------------------------------------------------------------


def test_leaves_that_need_gradients():
    x = leaf(1.0, 2.0)
    for change in (
        lambda: x.add_(1),
        lambda: x[0].add_(1),
        lambda: x.__setitem__(0, 1.0),
        lambda: x.zero_(),
        lambda: x.uniform_(),
        lambda: x.view(2, 1).mul_(2),
    ):
        with pytest.raises(RuntimeError, match="leaf that requires a gradient"):
            change()
    assert x.tolist() == [1.0, 2.0]
    with mt.no_grad():
        x.add_(1)
        x[0] = 7.0
    assert x.tolist() == [7.0, 3.0] and x.is_leaf and x.requires_grad


def test_a_view_that_is_a_leaf():
    view = mt.zeros(3)[:2].requires_grad_()
    with pytest.raises(RuntimeError, match="leaf"):
        view.add_(1)


def test_views_made_under_no_grad():
    y = leaf(1.0, 2.0) * 1
    with mt.no_grad():
        view = y[:1]
        view.mul_(2)
    assert y.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="made under no_grad"):
        view.mul_(2)
    with pytest.raises(RuntimeError, match="made under no_grad"):
        view[0] = 2.0
    assert y.tolist() == [2.0, 2.0]


def test_expanded_memory():
    for change in (
        lambda x: x.add_(1),
        lambda x: x.exp_(),
        lambda x: x.copy_(mt.ones(2, 3)),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x.__setitem__(slice(None), mt.ones(3)),
    ):
        with pytest.raises(RuntimeError, match="expanded"):
            change(mt.zeros(2, 1).expand(2, 3))
    for change in (  # each place is written once, or all with one number
        lambda x: x.zero_(),
        lambda x: x.fill_(0.0),
        lambda x: x[:, 0].copy_(mt.zeros(2)),
        lambda x: x.__setitem__((slice(None), 1), 0.0),
    ):
        rows = mt.ones(2, 1)
        change(rows.expand(2, 3))
        assert rows.tolist() == [[0.0], [0.0]]
    w = leaf(3.0, 4.0)
    for change in (lambda x: x[0].copy_(w), lambda x: x.__setitem__(1, w)):
        x = leaf(1.0, 2.0)
        y = x * 1
        change(y.expand(2, 2))
        assert y.tolist() == [3.0, 4.0]
        y.sum().backward()
        assert x.grad.tolist() == [0.0, 0.0]
    assert w.grad.tolist() == [2.0, 2.0]


# ---- views that cannot be changed, and memory that is both read and written ------------

ALONE = {"of split": lambda y: y.split(2)[0], "of chunk": lambda y: y.chunk(2)[1],
         "of unbind": lambda y: y.unbind()[0], "of a loop": lambda y: next(iter(y)),
         "of split_with_sizes": lambda y: y.split_with_sizes([1, 3])[1],
         "a view of such a view": lambda y: y.split(2)[0][1:]}  # fmt: skip
IN_PLACE = {
    "mul_": lambda v: v.mul_(2),
    "set": lambda v: v.__setitem__(..., 1.0),
    "zero_": lambda v: v.zero_(),
    "copy_": lambda v: v.copy_(v.detach().clone()),
}


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("change", IN_PLACE)
def test_one_of_several_views_is_not_changed(name, change):
    y = leaf(1.0, 2.0, 3.0, 4.0) * 1
    view = ALONE[name](y)
    with pytest.raises(RuntimeError, match="one of several views"):
        IN_PLACE[change](view)
    with mt.no_grad():  # nothing is recorded
        IN_PLACE[change](view)
    plain = mt.ones(4)
    IN_PLACE[change](ALONE[name](plain))  # nothing is to be recorded
    y.add_(1)  # and now the view has no history to follow
    assert view.requires_grad and isinstance(view.tolist(), (list, float))
    for use in (lambda: view * 2, lambda: view.sum().backward(), lambda: view.grad_fn):
        with pytest.raises(RuntimeError, match="one of several views"):
            use()
    buffer = mt.ones(4, dtype=mt.float64)
    with pytest.raises(RuntimeError, match="one of several views"):
        ALONE[name](buffer).mul_(leaf(2.0)[0])


def test_a_view_made_under_no_grad_cannot_follow_its_base():
    y, buffer = leaf(1.0, 2.0) * 1, mt.zeros(2, dtype=mt.float64)
    with mt.no_grad():
        view, part = y[:1], buffer[:1]
    y.mul_(2)
    with pytest.raises(RuntimeError, match="made under no_grad"):
        view * 2
    with pytest.raises(RuntimeError, match="made under no_grad"):
        part.add_(leaf(1.0))


READ_AND_WRITTEN = {
    "copy_": lambda x: x[1:].copy_(x[:-1]),
    "setitem": lambda x: x.__setitem__(slice(1, None), x[:-1]),
    "setitem at a list": lambda x: x.__setitem__([1, 2], x[:2]),
    "setitem at a mask": lambda x: x.__setitem__(x > 1, x[:2]),
    "add_": lambda x: x[:-1].add_(x[1:]),
    "+=": lambda x: x[1:].__iadd__(x[:-1]),
    "one number for all": lambda x: x.sub_(x[1]),
    "transposed": lambda x: x.view(2, 2).add_(x.view(2, 2).T),
    "the second input": lambda x: x[1:].addcmul_(mt.ones(3), x[:-1]),
    "by name": lambda x: x[1:].clamp_(min=x[:-1]),
    "scatter_": lambda x: x.scatter_(0, mt.tensor([1, 2, 3, 0]), x),
    "index_add_": lambda x: x.index_add_(0, mt.tensor([1, 2]), x[:2]),
    "out=": lambda x: mt.add(x[1:], 1, out=x[:-1]),
    "out= of one input": lambda x: mt.exp(x[1:], out=x[:-1]),
    "out= of a list": lambda x: mt.cat([x[:2], x[2:]], out=x),
}
FINE = {
    "itself": lambda x: x.add_(x),
    "its own place": lambda x: x[1:].mul_(x[1:]),
    "beside": lambda x: x[:2].copy_(x[2:]),
    "every other": lambda x: x[::2].add_(x[1::2]),
    "one number": lambda x: x.fill_(x[2]),
    "a copy": lambda x: x[1:].copy_(x[:-1].clone()),
    "out= in its place": lambda x: mt.add(x, 1, out=x),
}


@pytest.mark.parametrize("dtype", [mt.float32, mt.int64, mt.bfloat16], ids=str)
@pytest.mark.parametrize("name", [*READ_AND_WRITTEN, *FINE])
def test_memory_that_is_read_and_written(name, dtype):
    if name == "out= of one input" and dtype is mt.int64:
        dtype = mt.float64
    x = mt.arange(4).to(dtype)
    if name in FINE:
        FINE[name](x)
        return
    with pytest.raises(RuntimeError, match="read .* written .* single memory location"):
        READ_AND_WRITTEN[name](x)
    assert x.tolist() == [0, 1, 2, 3]


# ---- inference_mode ------------------------------------------------------------------


def test_what_is_made_under_inference_mode():
    x = leaf(1.0, 2.0)
    with mt.inference_mode():
        made = [mt.ones(2), mt.rand(2), mt.tensor([1.0]), mt.from_numpy(np.ones(2)), x * 2,
                mt.ones(2)[:1], mt.ones(2).clone().reshape(2, 1), x.detach().clone()]  # fmt: skip
        seen = x[:1]
        x_itself = x.contiguous()
        made[0].add_(1)
        with mt.inference_mode(False):
            assert not mt.ones(2).is_inference()
    assert all(t.is_inference() for t in made) and not seen.is_inference()
    assert not x_itself.is_inference() and not x.is_inference()
    assert made[0][:1].is_inference() and made[0].detach().is_inference()
    assert not (made[0] + 1).is_inference() and not made[0].clone().is_inference()
    for t in (*made, made[0][:1], made[0].detach()):
        for change in (
            lambda t: t.add_(1),
            lambda t: t.__setitem__(0, 1.0),
            lambda t: t.zero_(),
            lambda t: t.normal_(),
            lambda t: t.requires_grad_(),
        ):
            with pytest.raises(RuntimeError, match="inference_mode"):
                change(t)
            with mt.no_grad(), pytest.raises(RuntimeError, match="inference_mode"):
                change(t)
    with pytest.raises(RuntimeError, match="under no_grad"):
        seen.add_(1)


USES = {  # of a tensor w made under inference_mode, and whether the derivative for x saves it
    "mul": (lambda x, w: x * w, True),
    "a view": (lambda x, w: x[:1] * w[:1], True),
    "matmul": (lambda x, w: x @ w, True),
    "linear": (lambda x, w: mt.nn.functional.linear(x, w[None]), True),
    "mul_": (lambda x, w: (x * 1).mul_(w), True),
    "add": (lambda x, w: x + w, False),
    "cat": (lambda x, w: mt.cat([x, w]), False),
    "copied": (lambda x, w: x * w.clone(), False),
    "computed from it": (lambda x, w: x * (w + 1), False),
    "read": (lambda x, w: x * w.sum().item(), False),
}


@pytest.mark.parametrize("name", USES)
def test_inference_tensors_are_not_saved(name):
    function, saves = USES[name]
    x = leaf(1.0, 2.0)
    with mt.inference_mode():
        w = mt.ones(2, dtype=mt.float64)
    function(x.detach(), w)
    with mt.no_grad():
        function(x, w)
    if saves:
        with pytest.raises(RuntimeError, match="inference_mode.* saved"):
            function(x, w)
    else:
        function(x, w).sum().backward()
        assert x.grad is not None


# ---- x.data = new --------------------------------------------------------------------

USE_DATA = {  # what is done with x, and how its derivative depends on the new x
    "mul": (lambda x: x * x, lambda old, new: 2 * new),
    "pow": (lambda x: x**3, lambda old, new: 3 * new**2),
    "of no leaf": (lambda x: x.sin(), lambda old, new: np.cos(new)),
    "a saved result": (lambda x: x.exp(), lambda old, new: np.exp(old)),
    "nothing saved": (lambda x: x + 1, lambda old, new: np.ones(2)),
}


@pytest.mark.parametrize("name", USE_DATA)
def test_new_data_is_what_backward_uses(name):
    function, slope = USE_DATA[name]
    for retained in (False, True):
        x = leaf(1.0, 2.0)
        y = function(x).sum()
        x.data = mt.tensor([5.0, 6.0], dtype=mt.float64)
        if retained:
            y.backward(retain_graph=True)
            x.grad = None
            x.data = mt.tensor([7.0, 6.0], dtype=mt.float64)
        y.backward()
        np.testing.assert_allclose(x.grad, slope(np.array([1.0, 2]), x.detach().numpy()))


def test_new_data_and_what_else_happens():
    x = leaf(1.0, 2.0)
    y = x * x
    changed_before = mt.zeros(2, dtype=mt.float64)
    changed_before.add_(3)
    x.data = changed_before
    y.sum().backward(retain_graph=True)  # it was changed before it was x's
    assert x.grad.tolist() == [6, 6]
    with mt.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="add_ has since changed"):
        y.sum().backward()
    y = x * x
    x.data = mt.zeros(3, dtype=mt.float64)
    with pytest.raises(RuntimeError, match=r"\(2,\), whose data has since been replaced"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="floating-point"):
        x.data = mt.tensor([1, 2])
    for _ in range(9):
        x.data = x.data * 2
    assert len(x._replaced) <= 2  # nothing is held for ever


def test_versions_count_changes():
    x = mt.zeros(3)
    view, other = x[1:], x.detach()
    assert x._version == 0
    x.add_(1)
    view.mul_(2)
    other[0] = 5.0
    assert x._version == view._version == other._version == 3
    x.data.add_(1)
    assert x._version == 3 and (x + 1)._version == 0


def test_repeating_copies():
    for x, times in ((mt.ones(3), (1,)), (mt.ones(1), (3,)), (mt.ones(2, 1), (1, 2))):
        x.repeat(*times).add_(1)
        x.tile(*times).add_(1)
        assert set(x.flatten().tolist()) == {1.0}


def test_results_that_do_not_fit():
    n = mt.tensor([1, 2])
    with pytest.raises(RuntimeError, match="float32, which a .*int64"):
        n += 1.5
    with pytest.raises(RuntimeError, match="float32"):
        n.div_(2)
    with pytest.raises(RuntimeError, match=r"\(3, 2\).*\(2,\)"):
        n.add_(mt.ones(3, 2, dtype=mt.int64))
    with pytest.raises(RuntimeError, match="setitem"):
        n[:] = mt.ones(3, dtype=mt.int64)
    n[0] = 2.7  # as PyTorch has it
    n *= mt.tensor(2, dtype=mt.uint8)
    assert n.tolist() == [4, 4] and n.dtype is mt.int64
    half = mt.ones(2, dtype=mt.float16)
    half += mt.ones(2, dtype=mt.float64)  # narrower, but floating as well
    assert half.dtype is mt.float16 and half.tolist() == [2.0, 2.0]


def test_a_narrower_tensor_takes_a_recorded_result():
    w = leaf(0.5, 0.25)
    y = mt.ones(2, requires_grad=True) * 1
    y.mul_(w)
    y.sum().backward()
    assert y.dtype is mt.float32 and w.grad.dtype is mt.float64 and w.grad.tolist() == [1.0, 1.0]


def test_detach_of_a_view_in_place():
    with pytest.raises(RuntimeError, match="view"):
        (leaf(1.0, 2.0) * 1)[:1].detach_()


def test_nan_can_be_filled():
    assert mt.full((2,), float("nan")).fill_(1.0).tolist() == [1.0, 1.0]
    assert mt.full((2,), float("nan")).zero_().tolist() == [0.0, 0.0]


# ---- another shape in place ----------------------------------------------------------


def test_a_result_takes_another_shape():
    x = mt.tensor([[1.0], [2.0]], requires_grad=True)
    y = x * 3
    seen = y[0]
    assert y.squeeze_() is y and y.shape == (2,) and not y.is_leaf
    y.unsqueeze_(0).t_()
    (y * y + seen).sum().backward()
    assert x.grad.tolist() == [[24.0], [36.0]]


@pytest.mark.parametrize("change", ["squeeze_", "unsqueeze_", "t_", "transpose_"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_what_came_before_knows_the_former_shape(change, create_graph):
    args = {"unsqueeze_": (1,), "transpose_": (0, 1)}.get(change, ())
    x = mt.randn(3, 3, dtype=mt.float64)[:, : 1 if change == "squeeze_" else 3].requires_grad_()
    w = mt.randn(3, 3, dtype=mt.float64).requires_grad_()

    def f(x, w, in_place):
        y, m = x * 2, w.detach() + 1
        z = w @ y + m * y + (y @ y.mT).exp().sum()
        if in_place:
            getattr(y, change)(*args)
            getattr(m, change)(*args) if m.shape == y.shape else m.squeeze_()
        else:
            y = getattr(y, change[:-1])(*args)
        return z.sin().sum() + (y * y).sum()

    found = [mt.autograd.grad(f(x, w, b), (x, w), create_graph=create_graph) for b in (0, 1)]
    assert all(map(mt.allclose, *found))
    if create_graph:
        found = [mt.autograd.grad(a.sum() + b.exp().sum(), (x, w)) for a, b in found]
        assert all(map(mt.allclose, *found))


def test_a_view_takes_another_shape_and_still_follows():
    x = mt.ones(2, 3, requires_grad=True)
    y = x * 2
    row = y[0]
    row.unsqueeze_(1).mul_(5)
    y.mul_(7)
    assert row.shape == (3, 1) and row.tolist() == [[70.0]] * 3
    row.sum().backward()
    assert x.grad.tolist() == [[70.0] * 3, [0.0] * 3]


def test_a_view_of_what_took_another_shape_keeps_its_history_until_a_change():
    x = mt.ones(3, 1, requires_grad=True)
    y = x * 2
    seen = y[1:]
    y.squeeze_()
    assert mt.autograd.grad(seen.sum(), x, retain_graph=True)[0].tolist() == [[0.0], [2.0], [2.0]]
    new = y[:2]
    y.mul_(3)
    assert mt.autograd.grad(new.sum(), x)[0].tolist() == [[6.0], [6.0], [0.0]]
    with pytest.raises(RuntimeError, match="lost its history"):
        seen.sum()


def test_a_leaf_keeps_its_shape():
    x = mt.ones(2, 1, requires_grad=True)
    with pytest.raises(RuntimeError, match="squeeze_: a leaf"):
        x.squeeze_()
    with mt.no_grad():
        x.squeeze_()
    assert x.shape == (2,) and x.is_leaf
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


VIEWS_OF_A_VIEW = {
    "view": lambda y: y.view(2, 3),
    "index": lambda y: y[...],
    "transpose": lambda y: y.t().t(),
    "squeeze": lambda y: y.unsqueeze(0).squeeze(0),
    "expand": lambda y: y.expand(2, 3),
}


def many_views(view, count):
    """x of six numbers, and a view of a view of … 2 x."""
    x = mt.arange(6.0).requires_grad_()
    y = (x * 2).view(2, 3)
    for _ in range(count):
        y = view(y)
    return x, y


@pytest.mark.parametrize("view", VIEWS_OF_A_VIEW.values(), ids=VIEWS_OF_A_VIEW)
def test_a_view_costs_as_much_as_the_one_before(view):
    def bytes_for_each(count):
        tracemalloc.start()
        kept = many_views(view, count)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert kept
        return held / count

    bytes_for_each(10)  # what is made once
    assert bytes_for_each(3000) < 1.5 * bytes_for_each(500)


def test_a_view_after_30_000_views_changes_and_goes():
    x, y = many_views(VIEWS_OF_A_VIEW["index"], 30_000)
    y.mul_(3)
    y.sum().backward()
    assert x.grad.tolist() == [6.0] * 6
    del y  # no step is let go within the letting go of another
    x, y = many_views(VIEWS_OF_A_VIEW["index"], 30_000)
    del y, x


def test_a_chain_of_views_keeps_no_tensor_between():
    y = mt.zeros(6)
    between = [y := y.view(2, 3), y := y[...], y := y.t()]
    refs = [weakref.ref(v) for v in between[:-1]]
    del between
    assert [ref() for ref in refs] == [None, None]


RESULTS = {  # whose last operation shows what another made, which nobody else has
    "max": lambda x: x.max(0)[0],
    "median": lambda x: x.median(0)[0],
    "kthvalue": lambda x: x.kthvalue(2, 0)[0],
    "mode": lambda x: x.mode(0)[0],
    "quantile": lambda x: x.quantile(0.5, 0),
    "tensordot": lambda x: mt.tensordot(mt.ones(3), x, 1),
    "convolution": lambda x: mt.nn.functional.conv1d(x[None], mt.ones(1, 3, 1))[0, 0].clone(),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_made_under_no_grad_may_be_changed(name):
    x = mt.tensor([[1.0, 5.0, 2.0, 2.0], [3.0, 1.0, 4.0, 0.0], [2.0, 2.0, 2.0, 1.0]])
    p = mt.ones(4, requires_grad=True)
    with mt.no_grad():
        y = RESULTS[name](x)
        before = y.tolist()
    y.add_(p)
    y.sum().backward()
    assert y.tolist() == [value + 1 for value in before] and p.grad.tolist() == [1.0] * 4


def test_copy_takes_what_is_broadcast_to_it_alone():
    x = mt.zeros(4, 1)
    x.copy_(mt.ones(1))
    for shape in ((1, 4, 1), (1, 1, 1)):
        with pytest.raises(RuntimeError, match="copy_: shape"):
            x.copy_(mt.zeros(shape))
    assert x.sum() == 4
