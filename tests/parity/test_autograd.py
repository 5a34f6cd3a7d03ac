"""The engine against PyTorch: random programs with views and changes in place, run on both."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microtensor as mt

torch = pytest.importorskip("torch")

# ---- random programs -----------------------------------------------------------------
# A program works on a growing list of tensors: two leaves, a constant, two results.

VIEWS = {
    "x[:2]": lambda x, k: x[:2],
    "x[1:]": lambda x, k: x[1:],
    "x[..., ::2]": lambda x, k: x[..., ::2],
    "x[k]": lambda x, k: x[k % len(x)],
    "transpose": lambda x, k: x.transpose(0, -1),
    "permute": lambda x, k: x.permute(tuple(reversed(range(x.ndim)))),
    "row": lambda x, k: x.view(-1),
    "column": lambda x, k: x.view(-1, 1),
    "unsqueeze": lambda x, k: x.unsqueeze(0),
    "unbind": lambda x, k: x.unbind(0)[k % len(x)],
    "split": lambda x, k: x.split(2)[0],
    "expand": lambda x, k: x.expand(2, *x.shape),
    "narrow": lambda x, k: x.narrow(-1, 0, 1),
    "detach": lambda x, k: x.detach(),
}
RESULTS = {
    "x * y": lambda m, x, y: x * y,
    "x + y": lambda m, x, y: x + y,
    "x * 1.5": lambda m, x, y: x * 1.5,
    "x / (y² + 1)": lambda m, x, y: x / (y * y + 1),
    "x³": lambda m, x, y: x**3,
    "maximum": lambda m, x, y: m.maximum(x, y),
    "lerp": lambda m, x, y: m.lerp(x, y, 0.3),
    "where": lambda m, x, y: m.where(x > 0, x, y),
    "exp": lambda m, x, y: (x * 0.1).exp(),
    "sin": lambda m, x, y: x.sin(),
    "tanh": lambda m, x, y: x.tanh(),
    "relu": lambda m, x, y: x.relu(),
    "sigmoid": lambda m, x, y: x.sigmoid(),
    "abs": lambda m, x, y: x.abs(),
    "sum": lambda m, x, y: x.sum(),
    "mean": lambda m, x, y: x.mean(0),
    "max": lambda m, x, y: x.max(0)[0],
    "amax": lambda m, x, y: x.amax(),
    "cumsum": lambda m, x, y: x.cumsum(0),
    "logsumexp": lambda m, x, y: m.logsumexp(x, 0),
    "cat": lambda m, x, y: m.cat([x, x]),
    "stack": lambda m, x, y: m.stack([x, x]),
    "x[[0, -1]]": lambda m, x, y: x[[0, -1]],
    "gather": lambda m, x, y: x.gather(0, m.zeros(x.shape, dtype=m.int64)),
    "flip": lambda m, x, y: x.flip(0),
    "clone": lambda m, x, y: x.clone(),
}
CHANGES = {
    "add_": lambda x, y, k: x.add_(y),
    "sub_": lambda x, y, k: x.sub_(y, alpha=2),
    "mul_": lambda x, y, k: x.mul_(y),
    "div_": lambda x, y, k: x.div_(y * y + 1),
    "pow_": lambda x, y, k: x.pow_(2),
    "*= 1.5": lambda x, y, k: x.__imul__(1.5),
    "neg_": lambda x, y, k: x.neg_(),
    "exp_": lambda x, y, k: x.mul_(0.1).exp_(),
    "tanh_": lambda x, y, k: x.tanh_(),
    "relu_": lambda x, y, k: x.relu_(),
    "clamp_": lambda x, y, k: x.clamp_(-1, 1),
    "zero_": lambda x, y, k: x.zero_(),
    "fill_": lambda x, y, k: x.fill_(0.5),
    "copy_": lambda x, y, k: x.copy_(y),
    "masked_fill_": lambda x, y, k: x.masked_fill_(x.detach() > 0.3, 0.25),
    "x[:1] = y": lambda x, y, k: x.__setitem__(slice(1), y),
    "x[k] = 2": lambda x, y, k: x.__setitem__(k % len(x), 2.0),
    "x[0] = y": lambda x, y, k: x.__setitem__(0, y),
    "x[[0, -1]] = 3": lambda x, y, k: x.__setitem__([0, -1], 3.0),
    "x[[0]] = y": lambda x, y, k: x.__setitem__([0], y),
    "x[x > ½] = -1": lambda x, y, k: x.__setitem__(x > 0.5, -1.0),
    "x[..., ::2] = y": lambda x, y, k: x.__setitem__((..., slice(None, None, 2)), y),
}
NOT_SMOOTH = {"detach", "masked_fill_", "x[x > ½] = -1"}  # no central differences through these

numbers = st.integers(0, 20)
steps = st.one_of(
    st.tuples(st.sampled_from(sorted(VIEWS)), numbers, numbers, numbers, st.just(True)),
    st.tuples(st.sampled_from(sorted(RESULTS)), numbers, numbers, numbers, st.booleans()),
    st.tuples(st.sampled_from(sorted(CHANGES)), numbers, numbers, numbers, st.just(True)),
    st.tuples(st.sampled_from(sorted(CHANGES)), numbers, numbers, numbers, st.booleans()),
)
REFUSALS = (RuntimeError, IndexError, TypeError, ValueError, ZeroDivisionError)


class Run:
    """A program on one of the two libraries."""

    def __init__(self, m, nudge=None):
        random = np.random.default_rng(0)
        arrays = [random.normal(size=shape) for shape in ((3, 4), (4,), (3, 4))]
        if nudge:
            which, index, by = nudge
            arrays[which].reshape(-1)[index] += by
        self.m = m
        self.tensors = [m.tensor(a, requires_grad=i < 2) for i, a in enumerate(arrays)]
        self.tensors += [self.tensors[0] * 1.0, self.tensors[1] + 0.5]

    def step(self, name, i, j, k, recorded, overlap):
        x, y = self.tensors[i], self.tensors[j]
        with contextlib.nullcontext() if recorded else self.m.no_grad():
            if name in VIEWS:
                self.tensors.append(VIEWS[name](x, k))
            elif name in RESULTS:
                self.tensors.append(RESULTS[name](self.m, x, y))
            else:  # PyTorch reads what it has just written, where y lies in the memory of x
                CHANGES[name](x, y.clone() if overlap else y, k)

    def loss(self, which=None):
        return sum(
            x.sum() * (n + 1) * 0.1
            for n, x in enumerate(self.tensors)
            if (x.requires_grad if which is None else which[n])
        )

    def gradients(self):
        self.loss().backward()
        return [None if x.grad is None else np.array(x.grad.tolist()) for x in self.tensors[:2]]


def attempt(function, *args):
    try:
        return function(*args), None
    except REFUSALS as error:
        return None, error


@pytest.mark.filterwarnings("ignore:Use of")  # PyTorch's, about expanded tensors
@settings(max_examples=400, deadline=None)
@given(st.lists(steps, min_size=2, max_size=10))
def test_random_programs(program):
    ours, theirs = Run(mt), Run(torch)
    done = []
    for name, i, j, k, recorded in program:
        n = len(theirs.tensors)
        i, j = n - 1 - i % n, n - 1 - j % n
        x, y = theirs.tensors[i], theirs.tensors[j]
        overlap = x is not y and x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
        step = name, i, j, k, recorded, overlap
        _, their_error = attempt(theirs.step, *step)
        _, our_error = attempt(ours.step, *step)
        if their_error and our_error:
            continue
        if their_error:  # of memory whose elements overlap we write what we write into a copy
            assert "single memory location" in str(their_error), (step, their_error)
            return
        if our_error:  # the two refusals of ours that PyTorch does not know
            assert "cannot be written" in str(our_error) or "fit the strides" in str(our_error), (
                step
            )
            return
        done.append(step)
        for a, b in zip(ours.tensors, theirs.tensors, strict=True):
            b_needs, error = attempt(lambda b=b: b.requires_grad)
            values = b.detach().numpy()
            if error or not (abs(values) < 1e50).all():
                return
            assert a.shape == tuple(b.shape) and a.requires_grad == b_needs
            np.testing.assert_allclose(a.detach().numpy(), values, rtol=1e-9, atol=1e-12)
    needed = [x.requires_grad for x in ours.tensors]
    if not any(needed):
        return
    their_gradients, their_error = attempt(theirs.gradients)
    our_gradients, our_error = attempt(ours.gradients)
    if their_error:
        if our_error or any(not s[4] or s[0] in NOT_SMOOTH for s in done):
            return
        their_gradients = differences(done, needed)  # we save less than PyTorch: are we right?
    assert not our_error, our_error
    for a, b in zip(our_gradients, their_gradients):
        assert (a is None) == (b is None)
        if a is not None:
            rtol, atol = (1e-4, 1e-4) if their_error else (1e-8, 1e-10)
            np.testing.assert_allclose(a, b, rtol, atol)


def differences(program, needed, eps=1e-6):
    """The gradients of the two leaves by central differences."""

    def loss(*nudge):
        run = Run(mt, nudge)
        with mt.no_grad():
            for step in program:
                run.step(*step)
            return float(run.loss(needed))

    return [
        np.array(
            [(loss(w, i, eps) - loss(w, i, -eps)) / (2 * eps) for i in range(int(np.prod(shape)))]
        ).reshape(shape)
        for w, shape in enumerate(((3, 4), (4,)))
    ]


# ---- scenes, told twice --------------------------------------------------------------


def leaf(m, *values):
    return m.tensor(values, dtype=m.float64, requires_grad=True)


def zeroed(m):
    x = leaf(m, 1.0, 2.0)
    y = x * 2
    y.zero_()
    y.sum().backward()
    return x.grad


def filled_at_random(m):
    x = leaf(m, 1.0, 2.0)
    y = x * 2
    y.normal_()
    y.sum().backward()
    return x.grad


def copied_over(m):
    x, w = leaf(m, 1.0, 2.0), leaf(m, 3.0)
    y = x * 2
    y.copy_(w)
    y.sum().backward()
    return m.cat([x.grad, w.grad])


def compared_in_place(m):
    x = leaf(m, 1.0, 2.0)
    y = x * 2
    y.eq_(2)
    y.sum().backward()
    return x.grad


def retained_and_changed(m):
    x = leaf(m, 1.0, 2.0)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * 5).sum().backward()
    return m.cat([x.grad, y.grad])


def retained_twice(m):
    x = leaf(m, 1.0, 2.0)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    return m.cat([x.grad, y.grad])


def retained_during_grad(m):
    x = leaf(m, 1.0, 2.0)
    y = x * 2
    y.retain_grad()
    return m.cat([*m.autograd.grad((y * 3).sum(), [x, y]), y.grad])


def hooked_then_changed(m):
    x, seen = leaf(m, 1.0, 2.0), []
    y = x * 2
    y.register_hook(seen.append)
    y.mul_(3)
    (y * 5).sum().backward()
    return seen[0]


def grad_then_backward(m):
    x = leaf(m, 1.0, 2.0)
    y = x * x
    m.autograd.grad(y.exp().sum(), y)
    y.sum().backward()
    return x.grad


def view_follows(m):
    x = leaf(m, 1.0, 2.0, 3.0)
    y = x * 1
    view = y[1:]
    y.pow_(3)
    view.mul_(x[0])
    return m.autograd.grad(view.sum() + y.sum(), x)[0]


def written_into_a_buffer(m):
    x = leaf(m, 1.0, 2.0)
    rows = m.zeros(3, 2, dtype=m.float64)
    for i in range(3):
        rows[i] = x**i
    return m.autograd.grad((rows * rows).sum(), x)[0]


def data_replaced_between(m):
    x, w = leaf(m, 1.0, 2.0), m.ones(2, dtype=m.float64)
    y = x.sin()
    z = (x**3 + y * y + x * w + x.exp()).sum()
    x.data, y.data, w.data = x.data * 2, y.data * 10, w * 5
    z.backward()
    return x.grad


def data_of_a_linear_weight_replaced(m):
    x, w = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0)
    y = m.nn.functional.linear(x, w[None] * 1) + m.nn.functional.linear(x, m.ones_like(w)[None])
    w.data = w.data * 10
    y.sum().backward()
    return m.cat([x.grad, w.grad])


def changes_counted(m):
    x = m.zeros(3)
    x.add_(1)
    x[1:].mul_(2)
    x.data.mul_(2)
    x[0] = 5.0
    return m.tensor([x._version, x[1:]._version, x.detach()._version, x.data._version])


def inference_tensors(m):
    with m.inference_mode():
        made, same = m.ones(2), m.ones(2, requires_grad=True)
        part, result = made[:1], same * 2
    kinds = made, same, part, result, made[:1], made.detach(), made + 1, made.clone(), made.data
    return m.tensor([t.is_inference() for t in kinds])


def slopes_of_samples(m):
    x = m.tensor([[1.0, 4, 9, 16], [2, 3, 5, 7], [1, 1, 2, 3]], dtype=m.float64, requires_grad=True)
    rows, columns = (m.tensor(at, dtype=m.float64) for at in ([0, 1, 3], [0, 1, 3, 7]))
    found = [
        slope
        for order in (1, 2)
        for options in (
            {},
            {"spacing": 2},
            {"spacing": (2.0, 3.0)},
            {"spacing": (rows, columns)},
            {"spacing": (columns, rows), "dim": (1, 0)},
            {"dim": -1},
        )
        for slope in m.gradient(x, edge_order=order, **options)
    ]
    whole = m.stack(found)
    (whole**2).sum().backward()
    return m.cat([whole.flatten(), x.grad.flatten(), m.gradient(m.tensor([1, 4, 9]))[0]])


def rows_of_gradients(m):
    x, w, unused = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0), leaf(m, 1.0)
    rows = m.arange(6.0, dtype=m.float64).reshape(3, 2)
    y, z = x**2 * w, (x**3).sum()
    found = m.autograd.grad(
        (y, z), (x, w, unused), (rows, rows[:, 0]), is_grads_batched=True, allow_unused=True,
        create_graph=True,
    )  # fmt: skip
    assert found[2] is None
    (again,) = m.autograd.grad(found[0].sum(), x)
    return m.cat([found[0].flatten(), found[1].flatten(), again])


def saved_tensors_come_back_doubled(m):
    x, w = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0)
    hooks = m.autograd.graph.saved_tensors_hooks
    with hooks(lambda t: t.detach().numpy().copy(), lambda kept: m.tensor(kept * 2)):
        y = (x * w).sin() + x.exp()
    with m.autograd.graph.save_on_cpu():
        y = y * x
    y.sum().backward()
    return m.cat([x.grad, w.grad])


def second_derivative_through_a_change(m):
    x = leaf(m, 1.0, 2.0)
    y = x * x
    y[0] = x[1] ** 2
    y.mul_(x)
    (g,) = m.autograd.grad(y.sum(), x, create_graph=True)
    return m.cat([g, m.autograd.grad(g.sum(), x)[0]])


def third_derivative(m):
    x = leaf(m, 0.5, 2.0)
    y = m.tanh(x) * m.exp(x) / (1 + x * x)
    for _ in range(3):
        (y,) = m.autograd.grad(y.sum(), x, create_graph=True)
    return y


def accumulated_with_create_graph(m):
    x = leaf(m, 2.0)
    (x**3).backward(create_graph=True)
    (x**2).backward(create_graph=True)
    return m.cat([x.grad, *m.autograd.grad(x.grad, x)])


def scenes():
    """The functions of this file that take a library, but for those that make tensors for them."""
    helpers = leaf, globals().get("under_inference_mode")
    found = [f for f in globals().values() if getattr(f, "__code__", None) and f not in helpers]
    return [f for f in found if f.__code__.co_varnames[:1] == ("m",)]


SCENES = scenes()


@pytest.mark.filterwarnings("ignore:Using backward")  # PyTorch's, about create_graph
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_scene(scene):
    ours, theirs = scene(mt), scene(torch)
    np.testing.assert_allclose(ours.tolist(), theirs.tolist(), rtol=1e-10)


def no_grad_view_changed(m):
    y = leaf(m, 1.0, 2.0) * 1
    with m.no_grad():
        view = y[:1]
    view.mul_(leaf(m, 3.0))


def saved_input_changed(m):
    x = leaf(m, 1.0, 2.0)
    y = x * 1
    z = y * y
    y.add_(1)
    z.sum().backward()


def weight_changed_by_an_optimizer(m):
    w = leaf(m, 1.0, 2.0)
    loss = (w * w).sum()
    with m.no_grad():
        w.sub_(0.1)
    loss.backward()


def leaf_changed(m):
    leaf(m, 1.0).add_(1)


def view_of_a_leaf_changed(m):
    leaf(m, 1.0)[:1].add_(1)


def part_of_split_changed(m):
    (leaf(m, 1.0, 2.0) * 1).split(1)[0].add_(1)


def row_of_a_loop_changed(m):
    for row in leaf(m, 1.0, 2.0) * 1:
        row.mul_(2)


def chunk_used_after_its_base_changed(m):
    y = leaf(m, 1.0, 2.0) * 1
    part = y.chunk(2)[0]
    y.add_(1)
    part.sum()


def view_of_no_grad_used_after_its_base_changed(m):
    y = leaf(m, 1.0, 2.0) * 1
    with m.no_grad():
        view = y[:1]
    y.add_(1)
    view * 2


def shifted_by_setitem(m):
    x = m.arange(5.0)
    x[1:] = x[:-1]


def shifted_by_copy(m):
    x = m.arange(5.0)
    x[1:].copy_(x[:-1])


def divided_by_its_element(m):
    x = m.arange(1.0, 5.0)
    x /= x[1]


def added_to_its_transpose(m):
    x = m.eye(2)
    x += x.T


def scattered_from_itself(m):
    x = m.arange(4.0)
    x.scatter_(0, m.tensor([1, 2, 3, 0]), x)


def out_beside_its_input(m):
    x = m.arange(4.0)
    m.add(x[1:], 1, out=x[:-1])


def under_inference_mode(m):
    with m.inference_mode():
        return m.ones(2, dtype=m.float64)


def inference_tensor_changed(m):
    under_inference_mode(m).add_(1)


def inference_tensor_saved(m):
    leaf(m, 1.0, 2.0) * under_inference_mode(m)


def inference_tensor_that_requires_gradients(m):
    under_inference_mode(m).requires_grad_()


def changed_after_its_data_was_replaced(m):
    x = leaf(m, 1.0, 2.0)
    y = x * x
    x.data = x.data * 10
    with m.no_grad():
        x.add_(1)
    y.sum().backward()


def rows_of_another_length(m):
    x = leaf(m, 1.0, 2.0)
    m.autograd.grad(x * 2, x, m.ones(3, 3, dtype=m.float64), is_grads_batched=True)


def rows_and_then_backward(m):
    x = leaf(m, 1.0, 2.0)
    y = x * x
    m.autograd.grad(y, x, m.eye(2, dtype=m.float64), is_grads_batched=True)
    y.sum().backward()


def slope_of_one_value(m):
    m.gradient(m.ones(1))


def slopes_of_another_order(m):
    m.gradient(m.ones(5), edge_order=3)


def coordinates_of_another_length(m):
    m.gradient(m.ones(5), spacing=(m.ones(2),))


def hooks_that_are_switched_off(m):
    with m.autograd.graph.disable_saved_tensors_hooks("not here"):
        m.autograd.graph.saved_tensors_hooks(m.clone, m.clone).__enter__()


def hook_that_changes_the_dtype(m):
    x = leaf(m, 1.0)
    x.register_hook(lambda g: g.float())
    x.sum().backward()


def leaf_view_changed(m):
    m.zeros(3)[:2].requires_grad_().add_(1)


def expanded_changed(m):
    m.zeros(1).expand(3).add_(1)


def detached_view_in_place(m):
    (leaf(m, 1.0) * 1)[:1].detach_()


def float_into_integers(m):
    x = m.tensor([1])
    x += 1.5


def grown_in_place(m):
    m.ones(3).add_(m.ones(2, 3))


def backward_twice(m):
    y = leaf(m, 1.0).exp()
    y.backward()
    y.backward()


def no_input(m):
    leaf(m, 1.0).sum().backward(inputs=[])


def hook_with_another_shape(m):
    x = leaf(m, 1.0, 2.0)
    x.register_hook(lambda g: g[:1])
    x.sum().backward()


def grad_of_another_shape(m):
    leaf(m, 1.0).grad = m.ones(2, dtype=m.float64)


def grad_of_another_dtype(m):
    leaf(m, 1.0).grad = m.ones(1)


def no_longer_a_leaf(m):
    (leaf(m, 1.0) * 1).requires_grad_(False)


def integers_that_need_gradients(m):
    m.tensor([1]).requires_grad_()


def not_deep_copied(m):
    import copy

    copy.deepcopy(leaf(m, 1.0) * 1)


@pytest.mark.parametrize(
    "scene", [s for s in scenes() if s not in SCENES], ids=lambda s: s.__name__
)
def test_both_refuse(scene):
    for m in (torch, mt):
        with pytest.raises(RuntimeError):
            scene(m)
