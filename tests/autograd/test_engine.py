"""The engine: gradients, hooks, modes, memory, higher derivatives, checks, one's own operations."""

import gc
import itertools
import math
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
from cases import CASES

import microtensor as mt
from microtensor.autograd import (
    detect_anomaly,
    gradcheck,
    gradgradcheck,
    hooks,
    op,
    set_detect_anomaly,
    xp,
)


def leaf(*values, dtype=mt.float64):
    return mt.tensor(values, dtype=dtype, requires_grad=True)


def values(tensor):
    return tensor.tolist()


# ---- backward ------------------------------------------------------------------------


def test_backward_adds_to_the_gradients_of_leaves(device):
    x = mt.tensor([1.0, 2.0], device=device, requires_grad=True)
    (x**2).sum().backward()
    (x * 3).sum().backward()
    assert values(x.grad) == [5.0, 7.0]
    assert x.grad.grad_fn is None and not x.grad.requires_grad


def test_a_gradient_weighs_the_elements():
    x = leaf(1.0, 2.0)
    (x * x).backward(mt.tensor([10.0, 1.0], dtype=mt.float64))
    assert values(x.grad) == [20.0, 4.0]


def test_a_gradient_of_another_dtype_is_converted():
    x = mt.ones(2, requires_grad=True)
    x.backward(mt.ones(2, dtype=mt.float64))
    assert x.grad.dtype is mt.float32


@pytest.mark.parametrize(
    "start, kind, told",
    [
        (lambda x: (x * x).backward(), RuntimeError, r"shape \(2,\)"),
        (lambda x: x.detach().sum().backward(), RuntimeError, "requires_grad"),
        (lambda x: (x * x).backward(mt.ones(3)), RuntimeError, r"\(3,\).*\(2,\)"),
        (lambda x: (x * x).backward(np.ones(2)), TypeError, "Tensor"),
        (lambda x: x.sum().backward(inputs=[]), RuntimeError, "empty"),
        (lambda x: x.sum().backward(inputs=[mt.ones(1)]), RuntimeError, "input 0"),
        (lambda x: mt.autograd.backward([x.sum()], [None, None]), RuntimeError, "2 gradients"),
        (lambda x: mt.grad(x.sum(), mt.ones(2)), RuntimeError, "input 0"),
        (lambda x: mt.grad(x.sum(), [x, leaf(1.0)]), RuntimeError, "input 1.*allow_unused"),
        (lambda x: mt.grad(x.sum(), []), RuntimeError, "empty"),
        (
            lambda x: mt.grad(x.sum(), x, materialize_grads=True, allow_unused=False),
            ValueError,
            "materialize",
        ),
    ],
)
def test_errors_of_backward_and_grad(start, kind, told):
    with pytest.raises(kind, match=told):
        start(leaf(1.0, 2.0))


def test_a_freed_graph_says_how_to_keep_it():
    y = leaf(1.0).exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="exp was freed.*retain_graph=True"):
        y.backward()


def test_grad_leaves_alone_what_lies_behind_its_inputs():
    x = leaf(1.0, 2.0)
    y = x * x
    z = y.exp()
    (g,) = mt.grad(z.sum(), y)
    assert np.allclose(g.numpy(), np.exp(y.tolist()))
    y.sum().backward()  # not freed: nothing was asked of it
    assert values(x.grad) == [2.0, 4.0]


def test_grad_of_inputs_given_twice_of_non_leaves_and_of_the_output_itself():
    x = leaf(1.0, 2.0)
    y = x * 3
    z = (y * y).sum()
    gx, gy, gz, gx2 = mt.grad(z, [x, y, z, x])
    assert values(gx) == values(gx2) == [18.0, 36.0]
    assert (values(gy), values(gz)) == ([6.0, 12.0], 1.0)
    assert gx._data is not gx2._data


def test_grad_of_several_outputs():
    x = leaf(1.0, 2.0)
    (g,) = mt.grad([x.sum(), x * x], x, [None, mt.tensor([1.0, 10.0], dtype=mt.float64)])
    assert values(g) == [3.0, 41.0]


def test_unused_inputs():
    x, other = leaf(1.0), leaf(1.0, 2.0)
    assert mt.grad(x.sum(), [x, other], allow_unused=True)[1] is None
    assert values(mt.grad(x.sum(), [x, other], materialize_grads=True)[1]) == [0.0, 0.0]


def test_backward_with_inputs_touches_only_those():
    x, w = leaf(2.0), leaf(3.0)
    y = x * w
    y.backward(inputs=[w, y])
    assert (x.grad, values(w.grad), values(y.grad)) == (None, [2.0], [1.0])
    w.sum().backward(inputs=[w, w])
    assert values(w.grad) == [3.0]


def test_ordinary_graphs():
    x = leaf(2.0)
    (x + x).backward()
    assert values(x.grad) == [2.0]
    x = leaf(2.0)
    a, b = x * 3, x.exp()
    (a * b + a).sum().backward()  # a diamond
    assert np.allclose(x.grad.numpy(), 3 * math.exp(2) + 6 * math.exp(2) + 3)
    x = leaf(1.0, 2.0, 3.0, 4.0)
    first, _ = x.split(2)  # one part is not used
    _, second, _, _ = x.unbind()
    (first.sum() + second * 5).backward()
    assert values(x.grad) == [1.0, 6.0, 0.0, 0.0]
    x = leaf(1.0)
    x.backward()  # a leaf as output
    assert values(x.grad) == [1.0]


def test_shared_weights_inside_a_loop():
    w = leaf(1.1)
    h = mt.ones(1, dtype=mt.float64)
    for _ in range(5):
        h = h * w
    h.backward()
    assert np.isclose(w.grad.item(), 5 * 1.1**4)


def test_walking_the_graph_by_hand():
    x, w = leaf(1.0), leaf(2.0)
    y = (x * w).exp()
    node = y.grad_fn
    assert (node.name(), repr(node)) == ("exp", "<exp>")
    (product,) = node.inputs
    assert product.grad_fn is node.next_functions[0][0]
    assert product.grad_fn.inputs == (x, w)
    leaves = [n for n, _ in product.grad_fn.next_functions]
    assert [n.variable for n in leaves] == [x, w] and leaves[0].name() == "AccumulateGrad"
    assert leaves[0].next_functions == () and len({*leaves, node.next_functions[0][0]}) == 3
    assert leaves[0] == product.grad_fn.next_functions[0][0] != leaves[1]
    assert (x * 2).grad_fn.next_functions[1] == (None, 0)
    assert x.is_leaf and x.grad_fn is None and not y.is_leaf


def test_only_floating_results_need_gradients():
    x = leaf(1.5, 2.5)
    assert not any(t.requires_grad for t in (x.long(), x > 1, x.argmax(), x.sort()[1]))
    assert x.sort()[0].requires_grad and x.double().requires_grad


def test_requires_grad():
    x = mt.ones(2)
    assert x.requires_grad_() is x and x.requires_grad
    with pytest.raises(RuntimeError, match="int64"):
        mt.tensor([1]).requires_grad_()
    with pytest.raises(RuntimeError, match="detach"):
        (x * 2).requires_grad_(False)
    y = x * 2
    assert not y.detach().requires_grad
    assert y.detach_() is y and y.is_leaf and not y.requires_grad


# ---- hooks ---------------------------------------------------------------------------


def test_hooks_replace_gradients_in_order_and_can_be_removed():
    x = leaf(1.0)
    y = x * 2
    seen = []
    first = y.register_hook(lambda g: seen.append(g.item()))
    second = y.register_hook(lambda g: g * 10)
    third = y.register_hook(lambda g: seen.append(g.item()))
    x.register_hook(lambda g: g + 1)
    (y * 3).backward(retain_graph=True)
    assert (seen, x.grad.item()) == ([3.0, 30.0], 61.0)
    for handle in (first, second, third):
        handle.remove()
        handle.remove()
    x.grad = None
    (y * 3).backward()
    assert (len(seen), x.grad.item()) == (2, 7.0)


def test_hooks_run_for_grad_and_with_create_graph():
    x = leaf(2.0)
    x.register_hook(lambda g: g * x)
    (g,) = mt.grad((x * x).sum(), x, create_graph=True)
    assert g.item() == 8.0 and g.requires_grad  # 2 x · x
    x.register_hook(lambda g: None)
    assert mt.grad(g, x)[0].item() == 16.0  # (4 x) · x


@pytest.mark.parametrize("hook, kind", [(lambda g: g[:1], RuntimeError), (lambda g: 3, TypeError)])
def test_what_a_hook_may_not_return(hook, kind):
    x = leaf(1.0, 2.0)
    x.register_hook(hook)
    with pytest.raises(kind, match="hook"):
        x.sum().backward()


def test_retain_grad():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    y.retain_grad()
    y.register_hook(lambda g: g * 10)  # comes before the keeping, whenever it was registered
    assert y.retains_grad and not x.retains_grad
    (y * y).sum().backward(retain_graph=True)
    assert values(y.grad) == [120.0]
    x.retain_grad()  # nothing to do for a leaf
    with pytest.raises(RuntimeError):
        mt.ones(1).retain_grad()


def test_retain_grad_follows_a_change_in_place_and_hooks_do_not():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    before = []
    y.register_hook(lambda g: before.append(g.item()))
    y.mul_(10)
    (y * 5).sum().backward()
    assert (values(y.grad), before, values(x.grad)) == ([5.0], [50.0], [150.0])


# ---- modes ---------------------------------------------------------------------------


def test_modes_nest_and_are_restored_after_exceptions():
    assert mt.is_grad_enabled()
    with mt.no_grad():
        assert not mt.is_grad_enabled()
        with mt.enable_grad():
            assert (leaf(1.0) * 2).requires_grad
        with mt.inference_mode():
            assert mt.autograd.is_inference_mode_enabled()
            with mt.enable_grad():
                assert not (leaf(1.0) * 2).requires_grad
            with mt.inference_mode(False):
                assert (leaf(1.0) * 2).requires_grad
        assert not mt.is_grad_enabled()
    with pytest.raises(KeyError), mt.no_grad():
        raise KeyError
    assert mt.is_grad_enabled()


def test_a_context_can_be_used_again_and_within_itself():
    off = mt.no_grad()
    for _ in range(2):
        with off, off:
            assert not mt.is_grad_enabled()
        assert mt.is_grad_enabled()


def test_modes_as_decorators():
    @mt.no_grad()
    def called():
        return mt.is_grad_enabled()

    @mt.no_grad
    def bare():
        return mt.is_grad_enabled()

    @mt.inference_mode
    def inference():
        return mt.is_grad_enabled()

    @mt.set_grad_enabled(False)
    def switched():
        return mt.is_grad_enabled()

    assert mt.is_grad_enabled()
    assert not any([called(), bare(), inference(), switched()])
    assert called.__name__ == "called" and mt.is_grad_enabled()
    with mt.no_grad():
        assert not switched() and not mt.is_grad_enabled()


def test_a_decorated_generator_holds_its_mode_only_inside():
    closed = []

    @mt.no_grad()
    def generate():
        try:
            got = yield mt.is_grad_enabled()
            try:
                yield got, mt.is_grad_enabled()
            except KeyError:
                yield "caught", mt.is_grad_enabled()
        finally:
            closed.append(mt.is_grad_enabled())

    g = generate()
    assert next(g) is False and mt.is_grad_enabled()
    assert g.send(7) == (7, False) and mt.is_grad_enabled()
    assert g.throw(KeyError) == ("caught", False) and mt.is_grad_enabled()
    g.close()
    assert closed == [False]


def test_set_grad_enabled_lasts():
    try:
        mt.set_grad_enabled(False)
        assert not mt.is_grad_enabled()
        with mt.set_grad_enabled(True):
            assert mt.is_grad_enabled()
        assert not mt.is_grad_enabled()
    finally:
        mt.set_grad_enabled(True)


def test_modes_belong_to_a_thread():
    seen = []
    with mt.no_grad():
        thread = threading.Thread(target=lambda: seen.append(mt.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_threads_add_to_one_leaf():
    x, barrier = leaf(0.0), threading.Barrier(8)

    def work():
        for _ in range(50):  # the first gradient of each round is the one that may get lost
            y = x * 2
            if barrier.wait() == 0:
                x.grad = None
            barrier.wait()
            y.sum().backward()
            barrier.wait()
            totals.append(x.grad.item())

    totals = []
    threads = [threading.Thread(target=work) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert totals == [16.0] * 400


# ---- memory --------------------------------------------------------------------------


def test_a_hundred_thousand_operations():
    x = y = mt.ones(1, requires_grad=True)
    for _ in range(100_000):
        y = y + 1e-5
    y.backward()
    assert values(x.grad) == [1.0]


def test_a_long_chain_that_nobody_differentiates_is_freed():
    program = (
        "import microtensor as mt\n"
        "y = mt.ones(1, requires_grad=True)\n"
        "for _ in range(100_000): y = y * 1.0\n"
        "del y\nprint('freed')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "freed"), done.stderr


def test_a_long_chain_with_create_graph():
    x, y = leaf(1.0), mt.ones(1, dtype=mt.float64)
    for _ in range(2000):
        y = y * (1 + 1e-3 * x)
    (g,) = mt.grad(y, x, create_graph=True)
    (g2,) = mt.grad(g, x)
    rate = 2000 * 1e-3 / (1 + 1e-3)
    assert np.isclose(g.item(), rate * y.item())
    assert np.isclose(g2.item(), y.item() * (rate**2 - rate * 1e-3 / (1 + 1e-3)))


def test_activations_are_freed_by_reference_counting_during_backward():
    gc.disable()
    try:
        x = mt.ones(1000, requires_grad=True)
        h = x * 2
        activation = weakref.ref(h._data)
        loss = h.exp().sum()
        del h
        freed = []
        x.register_hook(lambda g: freed.append(activation() is None))
        assert activation() is not None
        loss.backward()
        assert freed == [True]  # before the walk had ended
        y = x * 2
        y.retain_grad()
        y.add_(1)
        unused = weakref.ref(y._data)
        del y
        assert unused() is None  # no cycle keeps it
    finally:
        gc.enable()


def test_backward_needs_little_memory_beyond_the_activations():
    n, layers = 100_000, 40
    x = mt.ones(n, requires_grad=True)
    tracemalloc.start()
    try:
        y = x
        for _ in range(layers):
            y = y.sin()
        held = tracemalloc.get_traced_memory()[0]
        assert held > 0.9 * layers * 4 * n
        loss = y.sum()
        del y
        tracemalloc.reset_peak()
        loss.backward()
        held_after, peak = tracemalloc.get_traced_memory()
        assert peak < held + 6 * 4 * n  # gradients come while activations go
        assert held_after < 3 * 4 * n  # the gradient of x, and nothing of the graph
    finally:
        tracemalloc.stop()


# ---- who owns a gradient -------------------------------------------------------------


@op
def same_gradient(a, b):
    """a + b.    ∂a = g,    ∂b = g"""
    return a + b, (lambda g: g, lambda g: g)


@op
def view_of_gradient(a, b):
    """(a, b) joined.    ∂a, ∂b = parts of g"""
    return xp(a).concat([a, b]), lambda g: (g[: len(a)], g[len(a) :])


@op
def saved_gradient(a, b):
    """An operation whose gradients are an array that it keeps.    ∂a = ∂b = kept"""
    kept = a * 0 + 5
    saved_gradient.kept = kept
    return a + b, lambda g: (kept, kept)


@op
def broadcast_gradient(a, b):
    """Σ a + Σ b.    ∂a = ∂b = g, in a read-only view"""
    return (a + b).sum(), lambda g: (np.broadcast_to(g, a.shape),) * 2


@pytest.mark.parametrize(
    "operation", [same_gradient, view_of_gradient, saved_gradient, broadcast_gradient]
)
def test_only_arrays_of_the_engine_are_changed(operation):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = operation(a, b)
    seed = mt.ones(y.shape, dtype=mt.float64)
    total = y + operation(a, b) + operation(a, a)  # a is reached four times, b twice
    total.backward(seed, retain_graph=True)
    size = 5.0 if operation is saved_gradient else 1.0
    assert (values(a.grad), values(b.grad)) == ([4 * size] * 2, [2 * size] * 2)
    total.backward(seed)
    assert (values(a.grad), values(b.grad)) == ([8 * size] * 2, [4 * size] * 2)
    assert values(seed) == np.ones(y.shape).tolist()
    if operation is saved_gradient:
        assert saved_gradient.kept.tolist() == [5.0, 5.0]
    assert not np.shares_memory(a.grad.numpy(), b.grad.numpy())
    a.grad.zero_()
    assert values(b.grad) == [4 * size] * 2


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_share_memory_with_nothing(create_graph):
    a, b = leaf(1.0), leaf(2.0)
    seed = mt.ones(1, dtype=mt.float64)
    (a + b).backward(seed, create_graph=create_graph)
    arrays = [a.grad._data, b.grad._data, seed._data]
    assert a.grad is not b.grad
    assert not any(np.shares_memory(p, q) for p, q in itertools.combinations(arrays, 2))
    c = leaf(1.0)
    c.backward(seed)
    assert not np.shares_memory(c.grad._data, seed._data)


def test_a_gradient_is_added_in_place():
    x = leaf(1.0, 2.0)
    x.sum().backward()
    held = x.grad
    x.sum().backward()
    assert x.grad is held and values(held) == [2.0, 2.0]


# ---- derivatives of any order --------------------------------------------------------

DERIVATIVES = {  # a function, and its derivatives from the first on
    "x⁵": (
        lambda x: x**5,
        [lambda x: 5 * x**4, lambda x: 20 * x**3, lambda x: 60 * x**2, lambda x: 120 * x],
    ),
    "sin": (mt.sin, [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin]),
    "exp(2x)": (
        lambda x: mt.exp(2 * x),
        [lambda x, n=n: 2**n * np.exp(2 * x) for n in (1, 2, 3, 4)],
    ),
    "log": (
        mt.log,
        [lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3, lambda x: -6 / x**4],
    ),
    "1/x": (
        lambda x: 1 / x,
        [lambda x: -1 / x**2, lambda x: 2 / x**3, lambda x: -6 / x**4, lambda x: 24 / x**5],
    ),
    "√x": (
        mt.sqrt,
        [
            lambda x: 0.5 * x**-0.5,
            lambda x: -0.25 * x**-1.5,
            lambda x: 0.375 * x**-2.5,
            lambda x: -0.9375 * x**-3.5,
        ],
    ),
    "tanh": (
        mt.tanh,
        [
            lambda x: 1 - np.tanh(x) ** 2,
            lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
            lambda x: (6 * np.tanh(x) ** 2 - 2) * (1 - np.tanh(x) ** 2),
            lambda x: (16 * np.tanh(x) - 24 * np.tanh(x) ** 3) * (1 - np.tanh(x) ** 2),
        ],
    ),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_four_derivatives(name):
    function, derivatives = DERIVATIVES[name]
    x = leaf(0.4, 0.9, 1.7)
    y = function(x)
    for derivative in derivatives:
        (y,) = mt.grad(y.sum(), x, create_graph=True)
        assert np.allclose(y.tolist(), derivative(np.array(x.tolist())), rtol=1e-10)


def test_hessian_vector_product():
    a = mt.tensor([[2.0, 1.0], [0.5, 3.0]], dtype=mt.float64)
    x, v = leaf(1.0, -2.0), mt.tensor([0.3, 0.7], dtype=mt.float64)
    (g,) = mt.grad(x @ a @ x, x, create_graph=True)
    (hv,) = mt.grad(g, x, v)
    assert np.allclose(hv.tolist(), ((a + a.T) @ v).tolist())


def test_a_gradient_penalty_reaches_the_weights():
    w, x = leaf(0.5, -1.0), leaf(2.0, 3.0)
    (g,) = mt.grad((w * x * x).sum(), x, create_graph=True)  # 2 w x
    (g * g).sum().backward()
    assert np.allclose(w.grad.tolist(), [2 * 4 * 0.5 * 4, 2 * 4 * -1.0 * 9])


def test_create_graph_keeps_a_graph_in_grad():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    assert mt.grad(x.grad, x)[0].item() == 18.0


# ---- gradcheck -----------------------------------------------------------------------


@op
def wrong_value(x):
    """x².    ∂x = g x (it should be twice that)"""
    return x * x, lambda g: g * x


@op
def wrong_shape(x):
    """x².    ∂x = a part of what it should be"""
    return x * x, lambda g: (2 * g * x)[:1]


@op
def missing_derivative(a, b):
    """a b.    ∂a = g b,    ∂b = (missing)"""
    return a * b, (lambda g: g * b, None)


@op
def wrong_second(x):
    """x².    ∂x = 2 g x, but with a pullback that forgets that it depends on x"""
    fixed = np.asarray(x.tolist())
    return x * x, lambda g: g * 2 * fixed


def test_gradcheck_finds_wrong_pullbacks():
    x, y = leaf(0.3, 1.2), leaf(2.0, 5.0)
    for function, inputs in [(wrong_value, x), (wrong_shape, x), (missing_derivative, (x, y))]:
        with pytest.raises(RuntimeError, match=r"gradcheck: .* input|pullback of wrong_shape"):
            gradcheck(function, inputs)
        assert not gradcheck(function, inputs, raise_exception=False)
    assert gradcheck(wrong_second, x)
    assert not gradgradcheck(wrong_second, x, raise_exception=False)


def test_gradcheck_names_the_element():
    with pytest.raises(RuntimeError, match=r"output 0\[1\] / d input 0\[1\] is 1\.2 .* 2\.4"):
        gradcheck(lambda x: mt.stack([x[0] ** 2, wrong_value(x)[1]]), leaf(0.3, 1.2))


def test_gradcheck_of_several_outputs_and_unused_inputs():
    x, y = leaf(0.3, 1.2), leaf(2.0)
    assert gradcheck(lambda x, y: (x.exp(), (x * 2).sum(), x.argmax()), (x, y))
    assert gradgradcheck(lambda x, y: (x.exp() * y, x.sin()), (x, y))


def test_gradcheck_wants_float64_that_needs_a_gradient():
    with pytest.raises(ValueError, match="float64"):
        gradcheck(mt.exp, mt.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="requires a gradient"):
        gradcheck(mt.exp, mt.ones(2, dtype=mt.float64))


# ---- anomalies -----------------------------------------------------------------------


def here():
    return sys._getframe(1).f_lineno


def test_the_first_nan_is_named_with_its_line():
    x = leaf(-1.0, 2.0)
    with detect_anomaly():
        line = here() + 2
        with pytest.raises(RuntimeError, match="log produced NaN") as error:
            (x * 2).log()
        assert f"test_engine.py, line {line})" in str(error.value)
        with pytest.raises(RuntimeError, match="div produced infinity"):
            x / 0
        with pytest.raises(RuntimeError, match="exp produced infinity"):
            (x * 1000).exp()
    assert not (x * 2).log().isfinite().all()


def test_a_nan_on_the_way_back_is_named_with_the_line_of_its_operation():
    x = leaf(0.0, 1.0)
    with set_detect_anomaly(True):
        line = here() + 1
        y = x.sqrt()
        with pytest.raises(RuntimeError, match="gradient of sqrt is infinity") as error:
            (y * 2).sum().backward()
        assert f"test_engine.py, line {line})" in str(error.value)


def test_given_infinities_are_no_offence():
    with detect_anomaly():
        x = mt.randn(2, 3, requires_grad=True)
        mask = mt.tensor([[True, False, False], [False, True, False]])
        scores = x.masked_fill(mask, -math.inf)
        (mt.softmax(scores, -1) + mt.where(mask, x, x)).sum().backward()
        y = mt.zeros(3)
        y.fill_(-math.inf)
        y[0] = math.nan
        assert mt.where(mask, mt.tensor(-math.inf), x).min() == -math.inf
    assert x.grad.isfinite().all()


def test_anomaly_detection_can_be_switched():
    try:
        set_detect_anomaly(True)
        with pytest.raises(RuntimeError), detect_anomaly():
            mt.tensor(1.0) / 0
        with set_detect_anomaly(False):
            mt.tensor(1.0) / 0
        with pytest.raises(RuntimeError):
            mt.tensor(1.0) / 0
    finally:
        set_detect_anomaly(False)
    mt.tensor(1.0) / 0


# ---- operations of one's own ---------------------------------------------------------


@op
def cube(x):
    """x³.    ∂x = 3 g x²"""
    return x * x * x, lambda g: g * (3 * x * x)


@op
def scaled_sum_and_product(a, b, /, scale=1.0):
    """(scale a b, a + b).    ∂a = scale g₀ b + g₁,    ∂b = scale g₀ a + g₁"""
    return (a * b * scale, a + b), lambda g: (g[0] * b * scale + g[1], g[0] * a * scale + g[1])


@op
def weighted(x, weight):
    """x weight.    ∂x = g weight,    ∂weight = g x"""
    return x * weight, (lambda g: g * weight, lambda g: g * x)


@op
def total(*xs, times=1):
    """times Σ xs.    ∂x = times g"""
    return sum(xs) * times, lambda g: [g * times for _ in xs]


def test_an_operation_of_ones_own_on_every_device(device):
    x = mt.tensor([0.5, -2.0], dtype=mt.float64, device=device, requires_grad=True)
    y = cube(x)
    assert y.grad_fn.name() == "cube" and y.device == x.device
    (g,) = mt.grad(y.sum(), x, create_graph=True)
    (g2,) = mt.grad(g.sum(), x)
    assert (values(g), values(g2)) == ([0.75, 12.0], [3.0, -12.0])


def test_operations_of_every_form():
    a, b = leaf(0.5, -2.0), leaf(3.0, 0.1)
    assert gradcheck(cube, a) and gradgradcheck(cube, a)
    for scale in (1.0, 2.5):
        form = lambda a, b, s=scale: scaled_sum_and_product(a, b, scale=s)
        assert gradcheck(form, (a, b)) and gradgradcheck(form, (a, b))
    assert gradcheck(lambda a, b: total(a, b, a, times=3), (a, b))
    assert gradcheck(lambda a: weighted(a, 2.0), a) and gradcheck(weighted, (a, b.detach()))
    product, _ = scaled_sum_and_product(a, b)  # a result that is not used
    product.sum().backward()
    assert values(a.grad) == values(b)


def test_inputs_may_be_given_by_name():
    a, b = leaf(2.0), leaf(5.0)
    assert values(mt.grad(weighted(weight=b, x=a), [a, b])[0]) == [5.0]
    assert values(mt.grad(weighted(a, weight=b), b)[0]) == [2.0]
    assert values(mt.mul(a, other=b)) == [10.0]
    assert values(mt.add(input=a, other=b)) == [7.0]
    with pytest.raises(TypeError, match="input 'x' is missing"):
        weighted(weight=b)


def test_integer_inputs_and_results():
    @op
    def count_and_pick(x, index):
        """(x[index], how many).    ∂x = zeros with g added at index"""

        def to_x(g):
            out = np.zeros(x.shape)
            np.add.at(out, index, g[0])
            return out

        return (x[index], np.asarray(len(index))), (to_x, None)

    x = leaf(1.0, 2.0, 3.0)
    picked, count = count_and_pick(x, mt.tensor([2, 2, 0]))
    assert picked.requires_grad and not count.requires_grad
    picked.sum().backward()
    assert values(x.grad) == [1.0, 0.0, 2.0]


def test_an_operation_may_be_defined_again_but_no_built_in_one():
    def define(factor):
        @op
        def my_own_again(x):
            """factor x.    ∂x = factor g"""
            return x * factor, lambda g: g * factor

        return my_own_again

    first, second = define(2), define(3)
    assert (first(leaf(1.0)).item(), second(leaf(1.0)).item()) == (2.0, 3.0)
    with pytest.raises(ValueError, match="'exp'"):

        @op
        def exp(x):
            return x, lambda g: g


def test_mistakes_in_operations_are_named():
    a = leaf(1.0, 2.0)

    @op
    def too_few(a, b):
        return a * b, (lambda g: g * b,)

    @op
    def too_few_joint(a, b):
        return a * b, lambda g: (g * b,)

    @op
    def no_pullback(a):
        return a * 2

    @op
    def a_float(a):
        return float(a.sum()), lambda g: g

    @op
    def strange_gradient(a):
        return a * 2, lambda g: 2

    @op
    def breaks(a):
        raise ValueError("no such thing")

    with pytest.raises(TypeError, match="too_few: 1 pullbacks for a, b"):
        too_few(a, a)
    with pytest.raises(RuntimeError, match="too_few_joint gave 1 gradients for 2"):
        too_few_joint(a, a).sum().backward()
    with pytest.raises(TypeError, match="its value and its pullbacks"):
        no_pullback(a)
    with pytest.raises(TypeError, match="a_float.*array"):
        a_float(a)
    with pytest.raises(RuntimeError, match="pullback of strange_gradient, input 0"):
        strange_gradient(a).sum().backward()
    with pytest.raises(RuntimeError, match=r"breaks: no such thing; got \(2,\) float64"):
        breaks(a)
    with pytest.raises(TypeError, match="cube: a Tensor is needed, got 3.0"):
        cube(3.0)
    with pytest.raises(TypeError, match="cube: .* got list"):
        cube([1.0])


def test_shapes_that_do_not_fit_are_told():
    with pytest.raises(RuntimeError, match=r"add: .* got \(2, 3\) float32, \(2,\) float32"):
        mt.ones(2, 3) + mt.ones(2)
    with pytest.raises(RuntimeError, match=r"matmul: .*\(2, 3\) float32, \(2, 3\) float32"):
        mt.ones(2, 3) @ mt.ones(2, 3)


def test_tensors_on_two_devices_are_told_apart():
    a, b = mt.ones(2), mt.ones(2, device="strict")
    with pytest.raises(RuntimeError, match="add: .* got cpu and strict"):
        a + b
    with pytest.raises(RuntimeError, match="got strict and cpu"):
        b * a
    with pytest.raises(RuntimeError, match="strict.*cpu"):
        a[0] = b[0]


# ---- every operation, on memory that cannot be written ---------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_neither_gradients_nor_inputs_are_written(case):
    inputs = []
    for array in case.arrays():
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
            array = mt.from_numpy(array)
            if array.is_floating_point():
                array.requires_grad_()
        inputs.append(array)
    results = [r for r in case(mt, *inputs) if isinstance(r, mt.Tensor) and r.requires_grad]
    if not results:
        return
    seeds = [np.random.default_rng(i).normal(size=r.shape) for i, r in enumerate(results)]
    for seed in seeds:
        seed.flags.writeable = False
    seeds = [mt.from_numpy(seed) for seed in seeds]
    before = [r.tolist() for r in results]
    mt.autograd.backward(results, seeds, retain_graph=True)
    leaves = [x for x in inputs if isinstance(x, mt.Tensor) and x.grad is not None]
    once = [x.grad.numpy().copy() for x in leaves]
    mt.autograd.backward(results, seeds)
    for x, g in zip(leaves, once):
        np.testing.assert_array_equal(x.grad.numpy(), 2 * g)
    arrays = [x.grad.numpy() for x in leaves] + [t.detach().numpy() for t in (*results, *seeds)]
    for i, x in enumerate(leaves):
        assert not any(np.shares_memory(x.grad.numpy(), a) for a in arrays[i + 1 :])
    assert str(before) == str([r.tolist() for r in results])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_differentiates_while_a_thread_of_its_parent_adds_to_a_gradient():
    held, done = threading.Event(), threading.Event()

    def hold():
        with hooks._accumulating:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that waits for ever is ended
        x = leaf(2.0)
        (x * x).sum().backward()
        os._exit(int(x.grad.item() != 4.0))
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert status == 0
