"""Every operation, by the rows of `tests/cases`."""

import itertools
import math

import numpy as np
import pytest
from cases import CASES, FILES
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import microtensor as mt
from microtensor import backends
from microtensor.autograd import Node, gradcheck, gradgradcheck, registry
from microtensor.autograd.saved import arrays_in
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


def test_every_row_stands_in_the_file_named_like_its_operations():
    for name, operation in ours().items():
        package, file = operation.__module__.rsplit(".", 1)
        if package == "microtensor.ops":
            assert name in FILES[file], f"{name} belongs into tests/cases/{file}.py"


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


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(c, d, id=f"{c.id}-{d}")
        for c in FLOATS
        for d in EXACTNESS
        if c.half or d != "float16"
    ],
)
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
    nodes = {o.grad_fn for o in recorded(out)} - {None}
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
                for saved in [*arrays, *results, *arrays_in(pull)]:
                    assert part is None or not overlap(saved, part)
        nodes |= {n for n, _ in node.next_functions if isinstance(n, Node)}


# ---- the fast kernels against their definition ---------------------------------------


class Portable(Backend):
    """The kernels as `backends/kernels.py` defines them, on NumPy arrays."""

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


def test_erf_and_gelu_are_exact():
    x = np.concatenate([np.linspace(-8, 8, 40_001), np.logspace(-300, 1, 500)])  # several blocks
    erf = np.vectorize(math.erf)(x)
    np.testing.assert_allclose(numpy(mt.tensor(x).erf()), erf, rtol=1e-15, atol=1e-15)
    gelu = np.vectorize(lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)))(x)
    np.testing.assert_allclose(numpy(mt.gelu(mt.tensor(x))), gelu, rtol=1e-15, atol=1e-15)
    wide = mt.tensor(x, dtype=mt.float32, requires_grad=True)
    exact = mt.tensor(numpy(wide), dtype=mt.float64, requires_grad=True)
    fast, slow = mt.gelu(wide), mt.gelu(exact)
    np.testing.assert_allclose(numpy(fast), numpy(slow), rtol=3e-7, atol=3e-7)
    fast.sum().backward()
    slow.sum().backward()
    np.testing.assert_allclose(numpy(wide.grad), numpy(exact.grad), rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("rows", [7, 3000])  # a small table and a large one go different ways
@pytest.mark.parametrize("count", [0, 1, 500])
def test_embedding_gradient(rows, count):
    random = np.random.default_rng(0)
    index = random.integers(0, min(rows, 40), (count, 2))
    g = random.normal(size=(count, 2, 3))
    expected = np.zeros((rows, 3))
    np.add.at(expected, index, g)
    got = backends.backend_for("cpu").embedding_backward(g, index, rows)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


# ---- dtypes, by PyTorch's rules ------------------------------------------------------

WHOLE = np.array([[1, 2, 3, 3], [3, 1, 2, 1], [2, 2, 1, 3]])


@rows([c for c in EACH if c.name not in ("frac", "lerp", "rsqrt")])
@pytest.mark.parametrize("dtype", ["int64", "int8"])
def test_integers(case, dtype):
    """Whole numbers give whole numbers where that makes sense, else floats of the default dtype."""
    arrays = [np.array(WHOLE[:, ::step], dtype) for step in (1, -1, 1)[: len(case.inputs)]]
    with np.errstate(all="ignore"):
        (expected,) = case.expected(arrays)
    (out,) = case(mt, *case.tensors(arrays=arrays))
    assert out.dtype.name == ("float32" if expected.dtype.kind == "f" else expected.dtype.name)
    np.testing.assert_allclose(numpy(out), expected, rtol=2e-3, atol=2e-3)


def test_cast_gives_the_gradient_in_the_dtype_of_its_input(device):
    x = mt.ones(3, dtype=mt.float64, device=device, requires_grad=True)
    y = x.to(mt.float32)
    (y * 3).sum().backward()
    assert (y.dtype, x.grad.dtype, x.grad.tolist()) == (mt.float32, mt.float64, [3.0] * 3)


# ---- the edges of numbers ------------------------------------------------------------

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -7.0, 1e-300, 1e300, -1e300, math.inf, -math.inf, math.nan]


@rows(EACH)
def test_edges(case):
    """Infinities and NaN come and go without a warning, which pytest would make an error."""
    count = len(case.inputs)
    arrays = [np.array(column) for column in zip(*itertools.product(EDGES, repeat=min(count, 2)))]
    arrays += [np.ones_like(arrays[0])] * (count - len(arrays))
    inputs = case.tensors(arrays=arrays, requires_grad=True)
    out = case(mt, *inputs)
    if isinstance(case.reference, np.ufunc):
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(numpy(out[0]), case.reference(*arrays), rtol=1e-12)
    if case.differentiable:
        for create_graph in (False, True):
            gradients(case, inputs, create_graph)


def test_numpy_warns_as_before():
    """NumPy's own settings are left alone."""
    before = np.geterr()
    x = mt.tensor(0.0, requires_grad=True)
    x.log().backward()
    assert np.geterr() == before


def test_attention_that_sees_nothing_is_zero(device):
    q, k, v = (mt.ones(1, 2, 3, device=device, requires_grad=True) for _ in range(3))
    seen = mt.tensor([[True, False], [False, False]], device=device)
    for mask in (seen, mt.where(seen, 0.0, -math.inf).to(device)):
        y = registry["attention"](q, k, v, mask, causal=False, scale=1.0, p=0.0, seed=0)
        assert y.tolist() == [[[1.0] * 3, [0.0] * 3]]
        for g in mt.autograd.grad(y.sum(), [q, k, v]):
            assert np.isfinite(numpy(g)).all()


def test_dropout_masks_agree(device):
    x = mt.ones(100, 50, device=device)
    y = registry["dropout"](x, p=0.25, seed=3)
    assert set(numpy(y).ravel().tolist()) == {0.0, numpy(mt.tensor(1 / 0.75)).item()}
    assert abs(numpy(y).mean() - 1) < 0.03
    np.testing.assert_array_equal(numpy(y), numpy(registry["dropout"](x, p=0.25, seed=3)))


# ---- in place ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        1,
        (0, -1),
        slice(None, None, 2),
        (..., slice(0, 2)),
        [2, 0],
        ([0, 1], [1, 1]),
        (slice(1, 3), [3, 0]),
    ],
    ids=str,
)
def test_assignment(index, device):
    array = np.arange(12.0).reshape(3, 4)
    x = mt.tensor(array, device=device)
    x[index] = 5
    array[index] = 5
    np.testing.assert_array_equal(numpy(x), array)
    x[index] = x[index] * 0 - 1
    array[index] = -1
    np.testing.assert_array_equal(numpy(x), array)
    x[index] += 2
    array[index] += 2
    np.testing.assert_array_equal(numpy(x), array)
    x[x > 3] = 0
    array[array > 3] = 0
    np.testing.assert_array_equal(numpy(x), array)


@pytest.mark.parametrize("n, rank", [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (3, 3), (5, 4)])
def test_a_determinant_is_smooth_where_the_matrix_is_singular(n, rank):
    a = np.cos(np.arange(n * rank)).reshape(n, rank)
    A = mt.tensor(a @ np.sin(a.T), dtype=mt.float64, requires_grad=True)
    assert mt.autograd.gradcheck(mt.linalg.det, A) and mt.autograd.gradgradcheck(mt.linalg.det, A)


@pytest.mark.parametrize("dtype", [mt.float16, mt.bfloat16, mt.float32, mt.float64])
def test_relu_passes_nothing_where_it_is_0(dtype):
    """No NaN comes of 0 times ∞; where x is NaN, so is relu, and the gradient passes."""
    x = mt.tensor([-1.0, 0.0, 2.0, math.nan] * 40, dtype=dtype, requires_grad=True)
    x.relu().backward(mt.tensor([math.nan, math.inf, math.inf, 3.0] * 40, dtype=dtype))
    assert x.grad.tolist() == [0.0, 0.0, math.inf, 3.0] * 40


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_where_keeps_every_bit(dtype):
    """NumPy's backend works with the bits of many elements; NaN, ∞ and −0 stay what they are."""
    random, backend = np.random.default_rng(0), backends.backend_of(np.ones(1))
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.5], dtype)
    a, b = (random.choice(special, (80, 90)) for _ in range(2))
    mask = random.random((80, 90)) < 0.5
    whole = random.integers(0, 9, (80, 90))
    pairs = [(a, b), (a.reshape(90, 80).T, b), (a[:1], b), (a[0], b[:, :1]), (a[0, 0], b)]
    numbers = [(a, 0.0), (-0.0, b), (a, math.inf), (True, b), (a, 2), (a, np.float64(0.1)), (1, 2)]
    for x, y in [*pairs, *numbers, (whole, b), (whole, 0.5), (a, whole > 4)]:
        got, exact = backend.where(mask, x, y), np.where(mask, x, y)
        assert got.dtype == exact.dtype and got.tobytes() == exact.tobytes()
