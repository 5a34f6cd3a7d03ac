"""`testing.assert_close` passes and fails where PyTorch's does, with the same kind of error."""

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")
nan, inf = float("nan"), float("inf")

PAIRS = [
    (lambda t: (t([1.0, 2.0]), t([1.0, 2.000001])), {}),
    (lambda t: (t([1.0, 2.0]), t([1.0, 2.00001])), {}),
    (lambda t: (t([1e-5]), t([2e-5])), {}),
    (lambda t: (t([1.0, 2.0]).double(), t([1.0, 2.000001]).double()), {}),
    (lambda t: (t([[1.0, 2.0], [3.0, 4.0]]), t([[1.0, 2.1], [3.5, 4.0]])), {}),
    (lambda t: (t([1.0]), t([1.0]).double()), {}),
    (lambda t: (t([1.0]), t([1.0000001]).double()), {"check_dtype": False}),
    (lambda t: (t([1.0]), t([1.0, 1.0])), {}),
    (lambda t: (t([1.0, nan]), t([1.0, nan])), {}),
    (lambda t: (t([1.0, nan]), t([1.0, nan])), {"equal_nan": True}),
    (lambda t: (t([inf]), t([1.0])), {}),
    (lambda t: (t([inf, -inf]), t([inf, -inf])), {}),
    (lambda t: (t([1, 2]), t([1, 2])), {}),
    (lambda t: (t([1]), t([2])), {}),
    (lambda t: (t([1]), t([2])), {"atol": 1, "rtol": 0}),
    (lambda t: (t([1.0]), t([2.0])), {"atol": 2}),
    (lambda t: (t([True]), t([False])), {}),
    (lambda t: (1.0, 1.0 + 1e-8), {}),
    (lambda t: (1.0, 1.1), {}),
    (lambda t: (1, 1.0), {}),
    (lambda t: (2, 3), {}),
    (lambda t: (True, False), {}),
    (lambda t: ([t(1.0), 2.0], (t(1.0), 2.0)), {}),
    (lambda t: ([t(1.0), 2.0], [t(1.0), 3.0]), {}),
    (lambda t: ([1], [1, 2]), {}),
    (lambda t: ({"a": t([1, 2])}, {"a": t([1, 3])}), {}),
    (lambda t: ({"a": t(1)}, {"b": t(1)}), {}),
    (lambda t: (None, None), {}),
    (lambda t: (np.ones(2), np.ones(2)), {}),
    (lambda t: (np.ones(2), np.zeros(2)), {}),
    (lambda t: (t(1.0), 1.0), {}),
    (lambda t: (t([1.0]), [1.0]), {}),
    (lambda t: ("a", "a"), {}),
]


def outcome(m, make, options):
    try:
        return m.testing.assert_close(*make(m.tensor), **options)
    except Exception as error:
        return error


@pytest.mark.parametrize("make, options", PAIRS)
def test_same_verdict(make, options):
    ours, theirs = outcome(mt, make, options), outcome(torch, make, options)
    assert type(ours) is type(theirs), (ours, theirs)
    if isinstance(theirs, AssertionError) and "Mismatched" in str(theirs):
        assert [line.split(":")[0] for line in str(ours).split("\n")[2:5]] == [
            line.split(":")[0] for line in str(theirs).split("\n")[2:5]
        ]
        assert str(ours).split("\n")[2] == str(theirs).split("\n")[2]


def test_messages():
    one, two = mt.tensor([[1.0, 2.0]]), mt.tensor([[1.0, 2.5]])
    with pytest.raises(AssertionError, match="^no$"):
        mt.testing.assert_close(one, two, msg="no")
    with pytest.raises(AssertionError, match="^so: Tensor-likes are not close"):
        mt.testing.assert_close(one, two, msg=lambda message: "so: " + message)
    with pytest.raises(AssertionError, match=r"0.5 \(up to 1e-05[^$]*item \['w'\]\[1\]$"):
        mt.testing.assert_close({"w": [one, one]}, {"w": [one, two]})
