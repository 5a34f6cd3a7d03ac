"""Every operation against PyTorch: by the rows of `cases.py`, and in the corners by expressions."""

import itertools
import math
import operator
import warnings
from pathlib import Path

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")
from cases import CASES  # noqa: E402

SHARED = [c for c in CASES if c.torch]
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


def theirs(inputs):
    """The same tensors in PyTorch."""
    return [
        torch.from_numpy(i.detach().numpy().copy()).requires_grad_(i.requires_grad)
        if isinstance(i, mt.Tensor)
        else i
        for i in inputs
    ]


def same(ours, torchs, rtol=1e-10, atol=1e-12):
    """Shape, dtype and elements are equal; what is no tensor is equal too."""
    assert len(ours) == len(torchs)
    for a, b in zip(ours, torchs):
        if not isinstance(b, torch.Tensor):
            assert a == b
            continue
        assert (tuple(a.shape), a.dtype.name) == (
            tuple(b.shape),
            str(b.dtype).removeprefix("torch."),
        )
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=rtol, atol=atol)


def attempt(function, *args):
    """What a function returns, as a tuple, or the error that it raises."""
    try:
        out = function(*args)
    except Exception as error:
        return error
    return tuple(out) if isinstance(out, (tuple, list)) else (out,)


def rows(cases):
    return pytest.mark.parametrize("case", list(cases), ids=lambda c: c.id)


@rows(SHARED)
def test_values_and_gradients(case):
    ours = case.tensors(requires_grad=True)
    torchs = theirs(ours)
    out, expected = case(mt, *ours), case(torch, *torchs)
    same(out, expected)
    if not case.differentiable:
        return
    assert [o.requires_grad for o in out] == [e.requires_grad for e in expected]
    seeds = [mt.tensor(np.cos(np.arange(o.numel())).reshape(o.shape)) for o in out]
    out, expected, seeds = zip(
        *((o, e, s) for o, e, s in zip(out, expected, seeds) if o.requires_grad)
    )
    mt.autograd.backward(out, seeds)
    torch.autograd.backward(expected, theirs(seeds))
    leaves = [(a, b) for a, b in zip(ours, torchs) if isinstance(a, mt.Tensor) and a.requires_grad]
    zero = [torch.zeros_like(b) if b.grad is None else b.grad for _, b in leaves]
    same([a.grad for a, _ in leaves], zero)


# Here positions that were computed from sizes are saved, or a factor that PyTorch keeps elsewhere,
SAVED_HERE = set(
    "repeat_interleave diag-1 diag_embed diagflat unfold as_strided lerp-1 deg2rad rad2deg "
    "trapezoid cumulative_trapezoid gradient gradient-1".split()
)
SAVED_THERE = set(  # and there what no derivative reads, or the node of a change in place
    "adaptive_avg_pool1d adaptive_avg_pool2d pow-4 div-2 rounded_quotient setitem setitem-1 "
    "setitem-2 setitem-3 setitem-4 setitem-5 setitem-9".split()
)


@rows(c for c in SHARED if c.differentiable)
def test_a_second_backward_is_refused_where_pytorch_refuses_it(case):
    if case.id in SAVED_HERE | SAVED_THERE:
        return
    ours = case.tensors(requires_grad=True)
    assert _goes_twice(mt, case, ours) == _goes_twice(torch, case, theirs(ours))


def _goes_twice(m, case, inputs):
    out = [o for o in case(m, *inputs) if o.requires_grad]
    seeds = [m.ones_like(o) for o in out]
    m.autograd.backward(out, seeds)
    return not isinstance(attempt(m.autograd.backward, out, seeds), RuntimeError)


# Where we differ on purpose: integers overflow loudly and their products keep their dtype,
# equal elements leave topk in the order in which they stand, and e^A of half precision is no NaN.
DIFFERENT = set(
    "einsum topk kthvalue index_add/bool pow/int64 pow/int32 clamp/uint8 add/bool "
    "matrix_exp/float16".split()
)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool", "float16"])
@rows(c for c in SHARED if tuple in map(type, c.inputs))
def test_other_dtypes(case, dtype):
    """What PyTorch computes with other dtypes we compute too, and to the same dtype."""
    if not DIFFERENT.isdisjoint({case.name, f"{case.name}/{dtype}"}):
        return
    random = np.random.default_rng(0)
    arrays = [
        np.asarray(random.integers(0 if dtype in ("uint8", "bool") else -3, 4, i)).astype(dtype)
        if isinstance(i, tuple)
        else i
        for i in case.inputs
    ]
    ours = case.tensors(arrays=arrays)
    expected = attempt(case, torch, *theirs(ours))
    if not isinstance(expected, Exception):
        tolerance = 1e-2 if dtype == "float16" else 1e-6
        same(case(mt, *ours), expected, tolerance, tolerance)


# ---- promotion -----------------------------------------------------------------------


def operands(m):
    """A tensor and a 0-d tensor of each dtype, and a Python number of each kind."""
    for dtype in DTYPES:
        yield m.ones(2, dtype=getattr(m, dtype))
        yield m.ones((), dtype=getattr(m, dtype))
    yield from (True, 1, 1.0)


@pytest.mark.parametrize("name", ["add", "mul", "truediv", "eq", "floordiv", "mod"])
def test_promotion(name):
    function = getattr(operator, name)
    pairs = zip(
        itertools.product(operands(mt), repeat=2), itertools.product(operands(torch), repeat=2)
    )
    for (a, b), (c, d) in pairs:
        expected = attempt(function, c, d)
        if not isinstance(expected, Exception):
            same(attempt(function, a, b), expected, 0, 0)


def test_promote_types_and_result_type():
    for a, b in itertools.product(DTYPES, repeat=2):
        ours = mt.promote_types(getattr(mt, a), getattr(mt, b))
        assert ours.name == str(torch.promote_types(getattr(torch, a), getattr(torch, b)))[6:]
    pairs = zip(
        itertools.product(operands(mt), repeat=2), itertools.product(operands(torch), repeat=2)
    )
    for (a, b), (c, d) in pairs:
        assert mt.result_type(a, b).name == str(torch.result_type(c, d))[6:]


# ---- corners -------------------------------------------------------------------------

EXPRESSIONS = Path(__file__).with_name("expressions.txt").read_text(encoding="utf-8").splitlines()


def evaluate(m, expression):
    def t(data, dtype=None):
        return m.tensor(data, dtype=dtype and getattr(m, dtype))

    def d(function, *inputs):
        """The value, and the gradient of each input."""
        inputs = [i.requires_grad_() for i in inputs]
        y = function(*inputs)
        y = y if isinstance(y, m.Tensor) else y[0]
        y.sum().backward()
        return y, *(i.grad for i in inputs)

    return eval(expression, {"m": m, "t": t, "d": d, "inf": math.inf, "nan": math.nan})


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_corners(expression):
    """The same values and gradients, or the same type of error; no warnings from us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = attempt(evaluate, torch, expression)
    out = attempt(evaluate, mt, expression)
    if isinstance(expected, Exception):
        assert type(out) is type(expected), out
    else:
        assert not isinstance(out, Exception), out
        same(out, expected, rtol=1e-5, atol=1e-6)


LISTS = [
    [1.0, np.float64(2)], [[1.0, 2.0], [3.0, np.float64(4)]], [np.float64(1), 2.0], [1, 2.0],
    [np.float32(1), 2.0], [1, np.float32(2)], [np.float16(1), np.float32(2)], [np.int32(1), 2],
    [np.zeros(2), np.ones(2)], [np.zeros(2, np.float32), [1.0, 2.0]], [True, 2], [np.bool_(True)],
    [], [[]], (1.0, (2.0)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Creating a tensor from a list of numpy:UserWarning")
@pytest.mark.parametrize("data", LISTS, ids=str)
def test_the_dtype_of_lists(data):
    """Python's floats take the default dtype unless a number of NumPy's asks for float64."""
    for name in ("tensor", "as_tensor", "Tensor"):
        same([getattr(mt, name)(data)], [getattr(torch, name)(data)], 0, 0)
