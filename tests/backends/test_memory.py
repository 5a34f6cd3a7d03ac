"""Whatever is changed between two calls, nothing outside an array is read or written.

Sizes, buffers and backends change behind the back of what was computed with them: the answer is
an error that names the operation, or what is right.
"""

import inspect
import os
import sys
import threading

import numpy as np
import pytest
from fused import BACKENDS, FUSED, A

import microtensor as mt
from microtensor import nn, optim
from microtensor.nn import functional as F

# ---- optimizers ----------------------------------------------------------------------

OPTIMIZERS = [
    (name, options)
    for name, kind in vars(optim).items()
    if inspect.isclass(kind) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
    for options in {
        "SGD": [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {}],
        "Adam": [{}, {"amsgrad": True}],
        "AdamW": [{}, {"amsgrad": True}],
        "RMSprop": [{"momentum": 0.9, "centered": True}],
    }.get(name, [{}])
]


def stepped(name, options, rows=300):
    """An embedding's weight after a step of an optimizer, and the optimizer."""
    weight = nn.Parameter(mt.randn(rows, 64))
    optimizer = getattr(optim, name)([weight], lr=0.1, **options)
    again(optimizer, weight)
    return weight, optimizer


def again(optimizer, weight):
    """One more step, of the sum of all elements."""

    def closure():
        optimizer.zero_grad()
        loss = (weight * weight).sum()
        loss.backward()
        return loss

    optimizer.step(closure)


def has_state(name, options):
    return name != "SGD" or "momentum" in options


@pytest.mark.parametrize("name, options", OPTIMIZERS)
@pytest.mark.parametrize("shape", [(5000, 64), (3, 64), (300, 65), (64, 300), (19200,), (0, 64)])
def test_a_parameter_of_another_shape_is_refused(name, options, shape, backend):
    weight, optimizer = stepped(name, options)
    weight.data = mt.randn(*shape)
    before = weight.detach().clone()
    if has_state(name, options) and not (name == "LBFGS" and weight.numel() == 19200):
        with pytest.raises(RuntimeError, match=rf"{name}: the param"):
            again(optimizer, weight)
        assert weight.equal(before)
    else:
        again(optimizer, weight)


@pytest.mark.parametrize("name, options", OPTIMIZERS)
@pytest.mark.parametrize("size", [(9000, 64), (2, 64)])
def test_a_resized_parameter_is_refused(name, options, size, backend):
    weight, optimizer = stepped(name, options)
    with mt.no_grad():
        weight.resize_(*size)
    if has_state(name, options):
        with pytest.raises(RuntimeError, match=rf"{name}: the param"):
            again(optimizer, weight)


@pytest.mark.parametrize("name, options", OPTIMIZERS)
@pytest.mark.parametrize("change", ["larger", "smaller", "broadcast", "double"])
def test_another_gradient_is_refused(name, options, change, backend):
    weight, optimizer = stepped(name, options)
    other = {
        "larger": mt.randn(900, 64),
        "smaller": mt.randn(3, 64),
        "broadcast": mt.randn(1, 64),
        "double": mt.randn(300, 64).double(),
    }[change]
    (weight * 2).sum().backward()
    weight.data, kept = other, weight.detach()  # the gradient is of what it was
    with pytest.raises(RuntimeError, match=rf"{name}: the parameter has shape .* its grad"):
        optimizer.step(lambda: mt.tensor(1.0))
    weight.data = kept
    optimizer.step(lambda: mt.tensor(1.0))


@pytest.mark.parametrize("name, options", OPTIMIZERS)
def test_a_state_of_another_shape_or_kind_is_refused(name, options, backend):
    weight, optimizer = stepped(name, options)
    buffers = [n for n in optimizer.buffers if n in optimizer.state[weight]]
    assert buffers or name in ("LBFGS", "SGD")
    for buffer in buffers:
        for wrong in (mt.randn(2, 64), mt.randn(64), mt.randn(300, 64).double(), 1.0, [1.0]):
            kept = optimizer.state[weight][buffer]
            optimizer.state[weight][buffer] = wrong
            with pytest.raises(RuntimeError, match=f"{name}: .*{buffer}"):
                again(optimizer, weight)
            optimizer.state[weight][buffer] = kept
        saved = optimizer.state_dict()
        saved["state"][0] = {**saved["state"][0], buffer: mt.randn(2, 64)}
        with pytest.raises(ValueError, match=f"{name}: the saved {buffer}"):
            optimizer.load_state_dict(saved)
    again(optimizer, weight)


# ---- indices and targets that change before the way back ------------------------------


def _picks(index):
    """Operations that keep an index for their way back, as functions of a table (1000, 40)."""
    wide = index[:, None].expand(-1, 40)
    return {
        "embedding": lambda x: F.embedding(index, x),
        "embedding_by_frequency": lambda x: F.embedding(index, x, scale_grad_by_freq=True),
        "embedding_bag": lambda x: F.embedding_bag(index.reshape(20, 10), x),
        "cross_entropy": lambda x: F.cross_entropy(x[:200], index),
        "cross_entropy_with_weights": lambda x: F.cross_entropy(x[:200], index, mt.ones(40)),
        "ops.cross_entropy": lambda x: mt.cross_entropy(x[:200], index, None, -100, 0.0),
        "nll_loss": lambda x: F.nll_loss(x[:200], index),
        "getitem": lambda x: x[index],
        "getitem_of_two": lambda x: x[index, index],
        "index_select": lambda x: x.index_select(0, index),
        "gather": lambda x: x.gather(0, wide),
        "take": lambda x: x.take(index),
        "take_along_dim": lambda x: x.take_along_dim(wide, 0),
        "scatter": lambda x: x.scatter(0, wide, x[:200] * 2),
        "scatter_add": lambda x: x.scatter_add(0, wide, x[:200] * 2),
        "scatter_reduce": lambda x: x.scatter_reduce(0, wide, x[:200] * 2, "sum"),
        "index_add": lambda x: x.index_add(0, index, x[:200] * 2),
        "index_copy": lambda x: x.index_copy(0, index, x[:200] * 2),
        "index_fill": lambda x: x.index_fill(0, index, 2.0),
        "index_put": lambda x: x.index_put((index,), x[:200] * 2),
        "put": lambda x: x.put(index, x.reshape(-1)[:200] * 2),
    }


PICKS = list(_picks(mt.zeros(200).long()))


@pytest.mark.parametrize("name", PICKS)
@pytest.mark.parametrize("value", [1000, -1, -1001, 10**9, -(10**9), 2**62, -(2**63)])
def test_indices_that_changed_before_the_way_back(name, value, backend):
    """The memory is NumPy's, so nobody was told: an error, or a gradient without what is wrong."""
    own = np.arange(200) % 40
    x = mt.randn(1000, 40).requires_grad_()
    y = _picks(mt.from_numpy(own))[name](x)
    own[::7] = value
    try:
        y.backward(mt.ones_like(y))
    except (IndexError, RuntimeError) as error:
        assert x.grad is None and str(error)
    else:
        assert x.grad.shape == x.shape and x.grad.isfinite().all()


@pytest.mark.parametrize("name", ["embedding", "cross_entropy", "ops.cross_entropy"])
@pytest.mark.parametrize("value", [1000, -1, 2**62, -(2**63)])
@pytest.mark.skipif("numba" not in BACKENDS, reason="the loops are numba's")
def test_compiled_loops_name_the_index_that_changed(name, value):
    own = np.arange(200) % 40
    x = mt.randn(1000, 40).requires_grad_()
    y = _picks(mt.from_numpy(own))[name](x)
    own[-1] = value
    with pytest.raises(IndexError, match=f"{name.split('.')[-1]}: .* changed since"):
        y.backward(mt.ones_like(y))


@pytest.mark.parametrize("name", PICKS)
def test_indices_that_another_thread_changes(name, backend):
    own, stop = np.arange(200) % 40, threading.Event()

    def change():
        while not stop.is_set():
            own[...] = 10**12
            own[...] = 1

    thread, before = threading.Thread(target=change), sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # seconds: take turns often
    thread.start()
    try:
        for _ in range(30):
            x = mt.randn(1000, 40).requires_grad_()
            try:
                y = _picks(mt.from_numpy(own))[name](x)
                y.backward(mt.ones_like(y))
            except (IndexError, RuntimeError):
                continue
            assert x.grad.isfinite().all()
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join()


def test_a_mask_that_another_thread_changes(backend):
    """NumPy counts the elements and then writes as many positions as it finds."""
    own, stop = np.zeros((256, 256), bool), threading.Event()

    def change():
        while not stop.is_set():
            own[...] = True
            own[...] = False

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            for found in (mt.nonzero(mt.from_numpy(own)), mt.argwhere(mt.from_numpy(own))):
                assert found.shape[1] == 2 and len(found) <= own.size
                assert bool(((found >= 0) & (found < 256)).all())
    finally:
        stop.set()
        thread.join()


# ---- another backend on the way back --------------------------------------------------


def gradient(name, forward, back):
    """The gradient of a fused operation, computed forward by one backend and back by another."""
    mt.manual_seed(3)
    x = A.detach().clone().requires_grad_()
    mt.backends.use(forward)
    try:
        y = FUSED[name](x)
        mt.backends.use(back)
        mt.manual_seed(4)
        y.backward(mt.randn(*y.shape))
    finally:
        mt.backends.use(os.environ.get("MICROTENSOR_BACKEND"))
    return x.grad.numpy()


@pytest.mark.skipif(len(BACKENDS) < 2, reason="there is one backend")
@pytest.mark.parametrize("name", FUSED)
def test_the_way_back_is_that_of_the_backend_that_went_forth(name):
    for forward, back in ("numba", "numpy"), ("numpy", "numba"):
        exact = gradient(name, forward, forward)
        size = np.abs(exact).max()
        assert size > 0
        np.testing.assert_allclose(
            gradient(name, forward, back), exact, rtol=1e-4, atol=1e-5 * size
        )


@pytest.mark.skipif(len(BACKENDS) < 2, reason="there is one backend")
@pytest.mark.parametrize("name, options", OPTIMIZERS)
def test_an_optimizer_goes_on_with_another_backend(name, options):
    found = []
    for ways in ["numba"] * 4, ["numpy", "numba"] * 2, ["numba", "numpy"] * 2:
        mt.manual_seed(5)
        try:
            mt.backends.use(ways[0])
            weight, optimizer = stepped(name, options)
            for way in ways[1:]:
                mt.backends.use(way)
                again(optimizer, weight)
        finally:
            mt.backends.use(os.environ.get("MICROTENSOR_BACKEND"))
        found.append(weight.detach().numpy())
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-3, atol=1e-4)
