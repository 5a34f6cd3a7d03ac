"""Every operation, by the rows of `cases.py`."""

import itertools

import numpy as np
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import microtensor as mt
from microtensor import backends
from microtensor.autograd import Node, _saved, gradcheck, gradgradcheck, registry
from microtensor.backends import Backend, NumPyBackend

EACH = [c for c in CASES if c.each]
FLOATS = [c for c in CASES if c.differentiable]


def rows(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda c: c.id)


def numpy(t):
    return t.detach().cpu().numpy()


def agree(out, expected, rtol=1e-12, atol=1e-13):
    assert len(out) == len(expected)
    for o, e in zip(out, expected):
        assert o.shape == np.shape(e)
        np.testing.assert_allclose(numpy(o), e, rtol=rtol, atol=atol)


def recorded(out):
    return [o for o in out if o.requires_grad]


def weights(out):
    """Numbers to weigh the elements of the results with, not all alike."""
    return [
        mt.tensor(
            np.cos(np.arange(o.numel())).reshape(o.shape),
            dtype=o.dtype,
            device=o.device,
            requires_grad=True,
        )
        for o in out
    ]


def gradients(case, inputs, create_graph=False):
    """The derivatives of the weighted sum of the results, and what they are derivatives to."""
    out = recorded(case(mt, *inputs))
    wanted = [t for t in inputs if isinstance(t, mt.Tensor) and t.requires_grad]
    seeds = weights(out)
    return mt.autograd.grad(out, wanted, seeds, create_graph=create_graph), wanted + seeds


# ---- the table itself ----------------------------------------------------------------


def ours():
    return {name: op for name, op in registry.items() if op.__module__.startswith("microtensor.")}


def test_every_operation_has_a_case():
    assert sorted(ours().keys() - {c.name for c in CASES}) == []


def test_every_function_has_a_case():
    helpers = {
        "broadcast_shapes",
        "in_steps",
        "plain_index",
        "unbind_columns",
        "return_types",
        "sizes",
    }
    assert sorted(set(mt.ops.__all__) - helpers - {c.name for c in CASES}) == []


def test_every_docstring_states_the_derivative():
    assert [
        n for n, op in ours().items() if "∂" not in op.__doc__ and "No derivative" not in op.__doc__
    ] == []


# ---- values and gradients ------------------------------------------------------------


@rows(CASES)
def test_value(case, device):
    arrays = case.arrays()
    agree(case(mt, *case.tensors(device)), case.expected(arrays))


@rows(CASES)
def test_gradient(case):
    inputs = case.tensors(requires_grad=True)
    if case.differentiable:
        assert gradcheck(lambda *xs: list(case(mt, *xs)), inputs)
        assert gradgradcheck(lambda *xs: list(case(mt, *xs)), inputs)
    else:
        assert recorded(case(mt, *inputs)) == []


def derivatives(case, device):
    """The first derivatives, the same with create_graph, and the second ones, as arrays."""
    first, _ = gradients(case, case.tensors(device, requires_grad=True))
    again, wanted = gradients(case, case.tensors(device, requires_grad=True), create_graph=True)
    second = mt.autograd.grad(again, wanted, weights(again), materialize_grads=True)
    return [[numpy(g) for g in grads] for grads in (first, again, second)]


@rows(FLOATS)
def test_derivatives_on_every_device(case, device):
    first, again, second = derivatives(case, device)
    first_here, _, second_here = derivatives(case, "cpu")
    for grads, expected in ((again, first), (first, first_here), (second, second_here)):
        for g, e in zip(grads, expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-10, atol=1e-12)


# ---- dtypes --------------------------------------------------------------------------

EXACTNESS = {"float16": 2e-2, "float32": 1e-4}


@rows(FLOATS)
@pytest.mark.parametrize("dtype", EXACTNESS)
def test_floats_keep_their_dtype(case, dtype):
    arrays = case.arrays(dtype)
    exact = [a.astype("float64") if getattr(a, "dtype", None) == dtype else a for a in arrays]
    inputs = case.tensors(arrays=arrays, requires_grad=True)
    wide = case.tensors(arrays=exact, requires_grad=True)
    pairs = list(zip(case(mt, *inputs), case(mt, *wide)))
    for create_graph in (False, True):
        grads = gradients(case, inputs, create_graph)[0]
        pairs += zip(grads, gradients(case, wide)[0], strict=True)
    for got, expected in pairs:
        assert got.dtype is (
            expected.dtype if expected.dtype is not mt.float64 else getattr(mt, dtype)
        )
        tolerance = EXACTNESS[dtype]
        np.testing.assert_allclose(numpy(got), numpy(expected), rtol=tolerance, atol=tolerance)


# ---- shapes, layouts, memory ---------------------------------------------------------


@rows([c for c in EACH if len(c.inputs) > 1])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_broadcasting(case, data):
    found = data.draw(
        mutually_broadcastable_shapes(num_shapes=len(case.inputs), max_dims=4, max_side=3)
    )
    arrays = case.arrays(shapes=found.input_shapes)
    inputs = case.tensors(arrays=arrays, requires_grad=True)
    agree(case(mt, *inputs), case.expected(arrays))
    if case.differentiable:
        wide = [np.array(np.broadcast_to(a, found.result_shape)) for a in arrays]
        wide_inputs = case.tensors(arrays=wide, requires_grad=True)
        for g, a, e in zip(
            gradients(case, inputs)[0], arrays, gradients(case, wide_inputs)[0], strict=True
        ):
            extra = e.ndim - a.ndim
            axes = tuple(range(extra)) + tuple(extra + d for d, n in enumerate(a.shape) if n == 1)
            np.testing.assert_allclose(
                numpy(g), numpy(e).sum(axes).reshape(a.shape), rtol=1e-10, atol=1e-12
            )


@rows(EACH)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1)], ids=str)
def test_unusual_shapes(case, shape):
    arrays = case.arrays(shapes=[shape] * len(case.inputs))
    inputs = case.tensors(arrays=arrays, requires_grad=True)
    agree(case(mt, *inputs), case.expected(arrays))
    if case.differentiable:
        for g in gradients(case, inputs)[0]:
            assert (g.shape, g.dtype) == (shape, mt.float64)


def columns(a):
    """Column by column, as in Fortran."""
    return np.array(a, order="F")


def spread(a):
    """Every second place of a larger array."""
    there = np.zeros([2 * n for n in a.shape], a.dtype)[(slice(None, None, 2),) * a.ndim + (...,)]
    there[...] = a
    return there


def backwards(a):
    """Negative steps along every dimension."""
    index = (slice(None, None, -1),) * a.ndim + (...,)
    return a[index].copy()[index]


@rows(CASES)
@pytest.mark.parametrize("layout", [columns, spread, backwards])
def test_layouts(case, layout):
    arrays = case.arrays()
    laid = [layout(a) if isinstance(a, np.ndarray) else a for a in arrays]
    there = [mt.from_numpy(a) if isinstance(a, np.ndarray) else a for a in laid]
    agree(case(mt, *there), case.expected(arrays))
    if case.differentiable:
        for t, i in zip(there, case.inputs):
            if isinstance(i, tuple):
                t.requires_grad_()
        expected = gradients(case, case.tensors(requires_grad=True))[0]
        for g, e in zip(gradients(case, there)[0], expected, strict=True):
            np.testing.assert_allclose(numpy(g), numpy(e), rtol=1e-12, atol=1e-13)
    for a, before in zip(laid, arrays):
        np.testing.assert_array_equal(a, before)  # nothing was changed in place


def overlap(a, b):
    return isinstance(a, np.ndarray) and np.may_share_memory(a, b)


@rows(CASES)
def test_memory(case):
    """Results are new, but for views; a gradient may show g, never what was saved."""
    inputs = case.tensors(requires_grad=True)
    out = case(mt, *inputs)
    nodes = {o.grad_fn for o in recorded(out)}
    views = case.shares or any(o._base is not None for o in out)
    for o, i in itertools.product(out, inputs):
        if isinstance(i, mt.Tensor) and not views:
            assert not overlap(i._data, o._data)
    while nodes:
        node = nodes.pop()
        arrays = [a._data if isinstance(a, mt.Tensor) else a for a in node.args]
        returned, pullback = node.op.function(*arrays, **node.params)
        results = returned if isinstance(returned, tuple) else (returned,)
        seeds = tuple(np.ones_like(r) for r in results)
        g = seeds if isinstance(returned, tuple) else seeds[0]
        pulls = (
            [pullback]
            if callable(pullback)
            else [p for p, e in zip(pullback, node.edges) if p and e]
        )
        for pull in pulls:
            parts = pull(g)
            for part in parts if isinstance(parts, (tuple, list)) else (parts,):
                for saved in [*arrays, *results, *_saved(pull)]:
                    assert part is None or not overlap(saved, part)
        nodes |= {n for n, _ in node.next_functions if isinstance(n, Node)}


# ---- the fast kernels against their definition ---------------------------------------


class Portable(Backend):
    """The kernels as `backends/base.py` defines them, on NumPy arrays."""

    xp = np
    device = NumPyBackend.device


@rows(CASES)
def test_kernels_agree_with_their_definition(case, monkeypatch):
    fast = case(mt, *case.tensors())
    fast_derivatives = derivatives(case, "cpu") if case.differentiable else []
    monkeypatch.setitem(backends._by_array, np.ndarray, Portable())
    agree(case(mt, *case.tensors()), [numpy(f) for f in fast])
    for grads, expected in zip(
        derivatives(case, "cpu") if fast_derivatives else [], fast_derivatives
    ):
        for g, e in zip(grads, expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-10, atol=1e-12)
