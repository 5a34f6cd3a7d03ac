"""Matrices that hold NaN or ∞: LAPACK's iterations are not begun with them, as in PyTorch."""

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
