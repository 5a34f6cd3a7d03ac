"""NaN and ∞, in matrices, which LAPACK's iterations are not begun with, and in slopes."""

import pytest

import microtensor as mt

CALLS = {
    "svd": mt.linalg.svd,
    "svdvals": mt.linalg.svdvals,
    "pinv": mt.linalg.pinv,
    "eigh": mt.linalg.eigh,
    "eigvalsh": mt.linalg.eigvalsh,
    "cholesky": mt.linalg.cholesky,
    "matrix_rank": mt.linalg.matrix_rank,
    "lstsq": lambda A: mt.linalg.lstsq(A, A[..., :1]),
    "matrix_norm": lambda A: mt.linalg.matrix_norm(A, "nuc"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("n", [2, 40, 130])
def test_such_a_matrix_is_refused(name, bad, n):
    A = mt.stack([mt.eye(n, dtype=mt.float64)] * 2)
    A[1, n // 2, 0] = bad
    with pytest.raises(mt.linalg.LinAlgError, match=f"^{name}: the matrix must be finite"):
        CALLS[name](A)


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "qr", "matrix_exp"])
def test_what_takes_a_known_number_of_steps_passes_it_on(name):
    A = mt.eye(3)
    A[1, 0] = float("nan")
    out = getattr(mt.linalg, name)(A)
    parts = out if isinstance(out, tuple) else (out,)
    assert any(bool(mt.isnan(part).any()) for part in parts)


nan, inf = float("nan"), float("inf")
NUMBERS = [nan, -inf, -1.0, 0.0, 1.0, inf]
SLOPES = {  # of each number above, by PyTorch 2.13
    "relu": [1, 0, 0, 0, 1, 1],
    "relu6": [1, 0, 0, 0, 1, 0],
    "hardtanh": [1, 0, 0, 1, 0, 0],
    "elu": [1, 0, 0.36787945, 1, 1, 1],
    "leaky_relu": [0.01, 0.01, 0.01, 0.01, 1, 1],
    "hardshrink": [1, 1, 1, 0, 1, 1],
    "softshrink": [1, 1, 1, 0, 1, 1],
    "abs": [0, -1, -1, 0, 1, 1],
    "sign": [0, 0, 0, 0, 0, 0],
    "logit": [nan, nan, nan, inf, inf, nan],
    "max": [1, 0, 0, 0, 0, 0],
    "amax": [nan] * 6,
    "median": [1, 0, 0, 0, 0, 0],
    "nanmedian": [0, 0, 0, 1, 0, 0],
}


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_at_corners_and_of_what_is_not_finite(name):
    x = mt.tensor(NUMBERS, requires_grad=True)
    function = getattr(mt, name, None) or getattr(mt.nn.functional, name)
    function(x).backward(mt.ones_like(function(x)))
    assert mt.allclose(x.grad, mt.tensor(SLOPES[name], dtype=x.dtype), equal_nan=True)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_beside_nan_both_get_the_gradient(name):
    a, b = (mt.tensor(v, requires_grad=True) for v in ([nan, 1.0, 2.0, nan], [1.0, nan, 2.0, nan]))
    getattr(mt, name)(a, b).sum().backward()
    assert a.grad.tolist() == b.grad.tolist() == [1, 1, 0.5, 1]


def test_a_margin_that_is_met_exactly():
    """A margin met exactly has the slope of clamp, 1, and not that of relu, 0."""
    a, b = mt.ones(2, requires_grad=True), mt.ones(2, requires_grad=True)
    mt.nn.functional.margin_ranking_loss(a, b, mt.tensor([1.0, 1.0])).backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([-0.5, -0.5], [0.5, 0.5])
    x = mt.ones(1, requires_grad=True)
    mt.nn.functional.hinge_embedding_loss(x, mt.tensor([-1.0])).backward()
    assert x.grad.tolist() == [-1]


def test_a_pool_keeps_what_is_not_finite_to_its_windows():
    x = mt.tensor([[[nan, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]]])
    assert mt.nn.functional.avg_pool1d(x, 2)[0, :, 1].tolist() == [2.5, 3.5]


def test_second_derivatives_that_are_zero_are_not_missing():
    for name in ("relu", "leaky_relu", "relu6", "hardtanh", "hardshrink", "softshrink"):
        x = mt.tensor([-2.0, 0.5, 3.0], requires_grad=True)
        (g,) = mt.autograd.grad(getattr(mt.nn.functional, name)(x).sum(), x, create_graph=True)
        g.sum().backward()
        assert x.grad.tolist() == [0, 0, 0], name
