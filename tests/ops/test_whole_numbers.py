"""Whole numbers: results wrap around within their dtype, a number that does not fit is refused."""

import pytest

import microtensor as mt

U = mt.tensor([1, 2, 255], dtype=mt.uint8)
WRAPPED = {
    "times −1": (lambda: U * -1, [255, 254, 1]),
    "−1 times": (lambda: -1 * U, [255, 254, 1]),
    "plus 300": (lambda: U + 300, [45, 46, 43]),
    "minus 3": (lambda: U - 3, [254, 255, 252]),
    "in place": (lambda: U.clone().mul_(-1), [255, 254, 1]),
    "divided": (lambda: U // -1, [0, 0, 1]),
    "full": (lambda: mt.full((2,), -1, dtype=mt.uint8), [255, 255]),
    "new_full": (lambda: U.new_full((1,), -1), [255]),
    "full_like": (lambda: mt.full_like(U, -1), [255, 255, 255]),
    "fill": (lambda: U.clone().fill_(-1), [255, 255, 255]),
    "tensor": (lambda: mt.tensor([-1], dtype=mt.uint8), [255]),
    "where": (lambda: mt.where(U > 1, U, -1), [255, 2, 255]),
    "masked_fill": (lambda: U.masked_fill(U > 1, -1), [1, 255, 255]),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_wraps_around(name):
    call, right = WRAPPED[name]
    found = call()
    assert found.dtype is mt.uint8 and found.tolist() == right


def test_a_negative_number_wraps_before_it_is_compared():
    assert (U == -1).tolist() == [False, False, True]  # −1 counts as 255, as in PyTorch
    assert (U > -1).tolist() == [False, False, False]


@pytest.mark.parametrize("dtype, value", [("uint8", 300), ("int8", 128), ("int32", 2**40)])
def test_what_does_not_fit_is_refused(dtype, value):
    dtype = getattr(mt, dtype)
    with pytest.raises(RuntimeError, match=f"^tensor: the value {value} does not fit"):
        mt.tensor([value], dtype=dtype)
    with pytest.raises(RuntimeError, match=f"^full: the value {value} does not fit"):
        mt.full((2,), value, dtype=dtype)


def test_the_mode_of_nothing():
    for shape, dim in (((0,), 0), ((0, 3), 0), ((2, 0), 1)):
        with pytest.raises(IndexError, match="^mode: .* has nothing to choose from"):
            mt.zeros(shape).mode(dim)
    values, indices = mt.zeros(2, 0).mode(0)
    assert values.shape == indices.shape == (0,)
