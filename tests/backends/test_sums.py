"""Sums of up to 32 bits are accurate along any axes of any layout, on the way there and back."""

import itertools
import math

import numpy as np
import pytest

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import backends

EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}
SHAPES = [((40_000, 3), (0,)), ((40_000, 3), (1,)), ((40_000, 3), (0, 1)), ((3, 40_000), (1,)),
          ((50, 30, 70), (0,)), ((50, 30, 70), (1,)), ((50, 30, 70), (0, 2)), ((7,), (0,)),
          ((200, 1, 150), (0, 1)), ((129, 2, 2), (0,)), ((20_011,), (0,)), ((3, 4), (0,)),
          ((1, 5000, 6), (1,)), ((2, 3, 5000), (0, 1))]  # fmt: skip


def contiguous(x):
    return x


def transposed(x):
    return np.ascontiguousarray(x.T).T


def cut(x):
    wide = np.zeros([2 * n + 1 for n in x.shape], x.dtype)
    part = wide[tuple(slice(1, None, 2) for _ in x.shape)]
    part[...] = x
    return part


def turned(x):
    return np.ascontiguousarray(x[::-1])[::-1]


@pytest.fixture(params=["numpy", "numba"])
def backend(request):
    try:
        backends.use(request.param)
    except RuntimeError as missing:
        pytest.skip(str(missing))
    yield
    backends.use()


@pytest.mark.parametrize("layout", [contiguous, transposed, cut, turned])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_reductions(dtype, layout, backend):
    """The error is a few units of the last place of Σ |x|, however many terms there are."""
    random = np.random.default_rng(0)
    for shape, axes in SHAPES:
        given = layout((random.random(shape) + 0.5).astype(dtype))
        x, exact = mt.from_numpy(given), given.astype(np.float64)
        for y, right in (
            (x.sum(axes), exact.sum(axes)), (x.mean(axes), exact.mean(axes)),
            (x.norm(dim=axes), np.sqrt((exact**2).sum(axes))),
        ):  # fmt: skip
            assert y.dtype.name == dtype and y.shape == right.shape
            limit = np.finfo(dtype).max
            with np.errstate(over="ignore"):
                right = right.astype(dtype).astype(np.float64) if right.max() > limit else right
            np.testing.assert_allclose(y.double().numpy(), right, rtol=8 * EPS[dtype])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_repeated(dtype, backend):
    x = mt.rand(1, 300, dtype=getattr(mt, dtype))
    for n, dims in itertools.product((5, 70_000), ((0,), (1,), (0, 1))):
        wide = x.expand(n, 300)
        right = np.broadcast_to(x.double().numpy(), (n, 300)).sum(dims)
        np.testing.assert_allclose(wide.sum(dims).double(), right, rtol=8 * EPS[dtype])


def test_means_and_variances_of_numbers_far_from_zero(backend):
    """A sum of millions goes on, and what is left of a rounded mean is no variance."""
    ones = mt.ones(1, 1).expand(2**25, 3).contiguous()
    assert ones.sum(0).tolist() == [2.0**25] * 3 and ones.mean(0).tolist() == [1.0] * 3
    for mean in (1e3, 1e6):
        x = (np.random.default_rng(0).normal(size=(200_000, 4)) + mean).astype(np.float32)
        exact = x.astype(np.float64)
        t = mt.from_numpy(x)
        np.testing.assert_allclose(t.var(0).numpy(), exact.var(0, ddof=1), rtol=1e-5)
        np.testing.assert_allclose(t.std(0).numpy(), exact.std(0, ddof=1), rtol=1e-5)


def test_infinities_and_nan(backend):
    x = mt.ones(5000, 4)
    x[7, 0], x[8, 1], x[9, 2] = math.inf, math.nan, 3e38
    x[10, 2] = 3e38
    for t in (x, x.T.contiguous().T):
        total = t.sum(0).tolist()
        assert total[0] == math.inf and math.isnan(total[1]) and total[2] == math.inf
        assert total[3] == 5000


def test_whole_numbers_are_exact(backend):
    x = mt.full((3000, 5), 2**40, dtype=mt.int64)
    assert x.sum(0).tolist() == [3000 * 2**40] * 5
    assert mt.ones(5000, 2).half().sum(0).tolist() == [5000, 5000]
    assert mt.ones(5000, 2).bfloat16().mean(0).tolist() == [1, 1]
    assert mt.ones(2**25 // 64, 64).cumsum(0)[-1, 0] == 2**25 // 64


PULLED = {
    "bias": lambda x, b: x + b,
    "linear": lambda x, b: F.linear(x, mt.eye(3), b),
    "weight": lambda x, b: F.layer_norm(x, (3,), b),
    "rms_norm": lambda x, b: F.rms_norm(x, (3,), b, 1e-5),
    "expand": lambda x, b: x * b.expand(len(x), 3),
    "where": lambda x, b: mt.where(x > -1, b, x),
    "einsum": lambda x, b: mt.einsum("nk,k->nk", x, b),
    "softmax": lambda x, b: (x + b).softmax(0) * len(x),
}


@pytest.mark.parametrize("name", PULLED)
def test_gradients(name, backend):
    """What a gradient sums is as accurate as if it were computed in float64."""
    n = 60_000
    x = mt.from_numpy(np.random.default_rng(0).random((n, 3)))
    found = []
    for dtype in (mt.float32, mt.float64):
        b = mt.ones(3, dtype=dtype, requires_grad=True)
        weights = mt.eye(3, dtype=dtype)
        call = PULLED[name]
        y = F.linear(x.to(dtype), weights, b) if name == "linear" else call(x.to(dtype), b)
        y.backward(x.to(dtype) + 0.5)
        found.append(b.grad.double().numpy())
    np.testing.assert_allclose(
        *found, rtol=2e-6, atol=3e-6 * n if name in ("softmax", "weight") else 0
    )


def test_running_sums_are_kept_in_float64():
    x = np.random.default_rng(0).random(300_000).astype(np.float32)
    y = mt.from_numpy(x).requires_grad_()
    total = y.cumsum(0)
    exact = np.cumsum(x, dtype=np.float64)
    np.testing.assert_allclose(total.detach().numpy(), exact, rtol=2e-7)
    total.backward(mt.from_numpy(x))
    np.testing.assert_allclose(y.grad.numpy(), exact[-1] - exact + x, rtol=1e-6)
