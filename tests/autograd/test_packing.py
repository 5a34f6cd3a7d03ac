"""Hooks on saved tensors, and graphs that leave nothing behind."""

import contextlib
import gc
import weakref

import pytest
from cases import CASES

import microtensor as mt
from microtensor.autograd import Function
from microtensor.autograd.packing import (
    disable_saved_tensors_hooks,
    save_on_cpu,
    saved_tensors_hooks,
)

TABLE = [c for c in CASES if c.differentiable]


def gradients(case, hooks):
    inputs = case.tensors(requires_grad=True)
    with hooks:
        out = [o for o in case(mt, *inputs) if o.requires_grad]
    mt.autograd.backward(out, [mt.ones_like(o) * 0.7 for o in out])
    leaves = [t for t in inputs if isinstance(t, mt.Tensor) and t.requires_grad]
    return [None if t.grad is None else t.grad.tolist() for t in leaves]


@pytest.mark.parametrize("part", range(8))
def test_every_operation_gives_the_same_gradients(part):
    for case in TABLE[part::8]:
        stored = []

        def pack(tensor, stored=stored):
            stored.append(tensor.detach().clone())
            return len(stored) - 1

        hooks = saved_tensors_hooks(pack, lambda i, stored=stored: stored[i].clone())
        mt.manual_seed(0)
        plain = gradients(case, contextlib.nullcontext())
        mt.manual_seed(0)
        assert str(gradients(case, hooks)) == str(plain), case.name


def counted(function):
    """How many tensors were packed and unpacked, and the gradient where they come back doubled."""
    counts = [0, 0]

    def pack(tensor):
        counts[0] += 1
        return tensor.detach().numpy().copy()

    def unpack(array):
        counts[1] += 1
        return mt.from_numpy(array * 2)

    x = mt.tensor([0.5, 1.5], requires_grad=True)
    with saved_tensors_hooks(pack, unpack):
        y = function(x)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="freed") if counts[0] else contextlib.nullcontext():
        y.sum().backward()
    return counts, x.grad.tolist()


class Square(Function):
    """x², which saves its input and its result."""

    @staticmethod
    def forward(ctx, x):
        y = x * x
        ctx.save_for_backward(x, y, None)
        return y

    @staticmethod
    def backward(ctx, g):
        x, _, nothing = ctx.saved_tensors
        assert nothing is None
        return 2 * g * x


def test_what_comes_back_is_what_is_used():
    assert counted(lambda x: x + 3) == ([0, 0], [2.0, 2.0])
    assert counted(lambda x: x * x) == ([2, 2], [2.0, 6.0])
    assert counted(lambda x: (x * 1).sin())[0] == [1, 1]
    assert counted(lambda x: Square.apply(x)) == ([2, 2], [2.0, 6.0])
    seen = []
    a, b = mt.ones(2, requires_grad=True), mt.ones(2, requires_grad=True) * 2
    with saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t):
        (a * b).sum()
        with mt.no_grad():
            a.exp()
    assert seen[0] is b and seen[1] is a and len(seen) == 2


@pytest.mark.parametrize("function", [lambda x: x**3, lambda x: x.exp(), Square.apply])
def test_derivatives_of_two_orders(function):
    found = []
    for hooks in (saved_tensors_hooks(mt.clone, mt.clone), contextlib.nullcontext(), save_on_cpu()):
        x = mt.tensor([0.5, 1.5], requires_grad=True)
        with hooks:
            y = function(x * 2)
        (g,) = mt.grad(y.sum(), x, create_graph=True)
        found.append([g.tolist(), mt.grad(g.sum(), x)[0].tolist()])
    assert found[0] == found[1] == found[2]


def test_hooks_that_are_wrong():
    x = mt.ones(2, requires_grad=True)
    with saved_tensors_hooks(lambda t: 1, lambda kept: kept):
        y = x.exp()
    with pytest.raises(TypeError, match="unpack_hook returns a Tensor, got int"):
        y.sum().backward()
    with (
        saved_tensors_hooks(lambda t: t.detach().add_(1), lambda t: t),
        pytest.raises(RuntimeError, match="must not change"),
    ):
        x.exp()
    with (
        disable_saved_tensors_hooks("not here"),
        pytest.raises(RuntimeError, match="not here"),
        saved_tensors_hooks(mt.clone, mt.clone),
    ):
        pass


def test_a_packed_value_may_change():
    x = mt.ones(2, requires_grad=True)
    y = x * 1
    with saved_tensors_hooks(lambda t: t.detach().clone(), lambda t: t):
        z = y * y
    y.add_(5)
    z.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


# ---- no cycles -----------------------------------------------------------------------


@contextlib.contextmanager
def without_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def dead_after(make):
    """True if references alone free all nodes and tensors that `make` returns when it is over."""
    alive = [weakref.ref(thing) for thing in make()]
    return not any(ref() is not None for ref in alive)


def test_no_operation_leaves_a_cycle():
    with without_collector():
        for case in TABLE:

            def once(case=case):
                inputs = case.tensors(requires_grad=True)
                out = [o for o in case(mt, *inputs) if o.requires_grad]
                nodes = [o._node for o in out if o._node is not None]
                seeds = [mt.ones_like(o) for o in out]
                mt.autograd.backward(out, seeds, retain_graph=True)
                mt.autograd.backward(out, seeds)
                return [*out, *nodes, *(t for t in inputs if isinstance(t, mt.Tensor))]

            assert dead_after(once), case.name


def training_step():
    model = mt.nn.Sequential(mt.nn.Linear(3, 4), mt.nn.BatchNorm1d(4), mt.nn.ReLU())
    model.append(mt.nn.Linear(4, 2))
    handles = [
        model[0].register_full_backward_hook(lambda *args: None),
        model[0].register_forward_hook(lambda *args: None),
        model[3].weight.register_hook(lambda g: g * 2),
    ]
    optimizer = mt.optim.AdamW(model.parameters())
    schedule = mt.optim.lr_scheduler.StepLR(optimizer, 1)
    data = mt.utils.data.TensorDataset(mt.rand(4, 3), mt.tensor([0, 1, 0, 1]))
    kept = []
    for x, y in mt.utils.data.DataLoader(data, batch_size=2):
        loss = mt.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        kept += [x, loss, loss._node]
    schedule.step()
    for handle in handles:
        handle.remove()
    return kept


def function_that_saves_its_result():
    x = mt.ones(3, requires_grad=True)
    y = Square.apply(x)
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    y.sum().backward()
    with saved_tensors_hooks(lambda t: t, lambda t: t):
        z = Square.apply(x).exp()
    return [x, y, y._node, z, z._node]


def changes_in_place():
    x = mt.ones(3, requires_grad=True)
    y = x * 1
    view = y[1:]
    view.mul_(2)
    y[0] = x[1]
    view.sum().backward()
    return [x, y, view, y._node]


def second_derivatives():
    x = mt.ones(3, requires_grad=True)
    (g,) = mt.grad((x**3).sum(), x, create_graph=True)
    (h,) = mt.grad(g.sum(), x)
    return [x, g, h, g._node]


@pytest.mark.parametrize(
    "make",
    [training_step, function_that_saves_its_result, changes_in_place, second_derivatives],
    ids=lambda make: make.__name__,
)
def test_no_program_leaves_a_cycle(make):
    with without_collector():
        assert dead_after(make)
