"""Indexing, broadcasting, reductions, views and changes in place, at random, against NumPy."""

import operator

import drawn
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import microtensor as mt

many = settings(max_examples=100)


def same(ours, theirs):
    theirs = np.asarray(theirs)
    assert tuple(ours.shape) == theirs.shape
    assert np.array_equal(ours.numpy(), theirs, equal_nan=theirs.dtype.kind == "f")


def as_index(index):
    """An index of ours: with tensors in place of arrays."""
    return tuple(mt.tensor(part) if isinstance(part, np.ndarray) else part for part in index)


# ---- indexing ----------------------------------------------------------------------------------


@many
@given(drawn.indexed())
def test_reading(case):
    shape, index = case
    array = drawn.numbers(shape)
    same(mt.tensor(array)[as_index(index)], array[index])
    same(mt.tensor(array)[index], array[index])  # NumPy's own arrays will do


@many
@given(drawn.indexed(), st.sampled_from(["all", "one", "column"]))
def test_writing(case, how):
    shape, index = case
    array = drawn.numbers(shape)
    x = mt.tensor(array)
    target = array[index]
    value = {"all": drawn.numbers(target.shape, 1), "one": np.float64(7)}.get(how)
    if value is None:
        assume(target.ndim)
        value = drawn.numbers((*target.shape[:-1], 1), 2)
    numbered = np.arange(array.size).reshape(shape)[index]
    assume(len(np.unique(numbered)) == numbered.size)  # else the last one of several wins
    array[index] = value
    x[as_index(index)] = mt.tensor(value)
    same(x, array)


@many
@given(drawn.indexed())
def test_the_gradient_of_reading_counts_how_often(case):
    shape, index = case
    x = mt.tensor(drawn.numbers(shape), requires_grad=True)
    y = x[as_index(index)]
    weights = drawn.numbers(tuple(y.shape), 3)
    (y * mt.tensor(weights)).sum().backward()
    expected = np.zeros(shape)
    np.add.at(expected, index, weights)
    same(x.grad, expected)


@pytest.mark.parametrize("wrong", [9, -9, (0, 9), [0, 9], (0, 0, 0), ([0, 1], [0, 1, 2]), 0.5, "a"])
def test_both_refuse(wrong):
    array = drawn.numbers((2, 3))
    with pytest.raises((IndexError, TypeError)):
        array[wrong]
    with pytest.raises((IndexError, TypeError)):
        mt.tensor(array)[wrong]


# ---- broadcasting ------------------------------------------------------------------------------

OPERATORS = [operator.add, operator.sub, operator.mul, operator.lt, operator.eq]


@many
@given(drawn.broadcasting(), st.sampled_from(OPERATORS))
def test_broadcasting(pair, operation):
    a, b = drawn.numbers(pair[0]), drawn.numbers(pair[1], 1)
    same(operation(mt.tensor(a), mt.tensor(b)), operation(a, b))


@many
@given(drawn.broadcasting())
def test_gradients_are_summed_back(pair):
    a, b = drawn.numbers(pair[0]), drawn.numbers(pair[1], 1)
    x, y = mt.tensor(a, requires_grad=True), mt.tensor(b, requires_grad=True)
    z = x * y
    weights = drawn.numbers(tuple(z.shape), 2)
    (z * mt.tensor(weights)).sum().backward()
    for leaf, other in ((x, b), (y, a)):
        g = np.broadcast_to(weights * other, z.shape)
        lead = tuple(range(g.ndim - leaf.ndim))
        g = g.sum(lead)
        kept = tuple(d for d in range(g.ndim) if leaf.shape[d] == 1)
        same(leaf.grad, g.sum(kept, keepdims=True))


@many
@given(drawn.shapes, drawn.shapes)
def test_shapes_that_do_not_broadcast(one, other):
    a, b = np.zeros(one), np.zeros(other)
    try:
        expected = np.broadcast_shapes(one, other)
    except ValueError:
        with pytest.raises(RuntimeError):
            mt.tensor(a) + mt.tensor(b)
    else:
        assert tuple((mt.tensor(a) + mt.tensor(b)).shape) == expected


# ---- reductions --------------------------------------------------------------------------------


@many
@given(drawn.reduced(), st.sampled_from(["sum", "mean", "prod", "amax", "amin", "any", "all"]))
def test_reductions(case, name):
    shape, dims, keep = case
    array = drawn.numbers(shape)
    axes = tuple(range(len(shape))) if dims is None else dims
    empty = any(shape[d] == 0 for d in axes)
    assume(not (empty and name in ("mean", "amax", "amin")))  # NaN with a warning, or an error
    expected = getattr(np, name)(array, axis=axes or None, keepdims=keep)
    if name == "prod":  # one dimension at a time, as in PyTorch
        assume(dims is not None and len(dims) == 1)
        got = mt.tensor(array).prod(dims[0], keep)
    else:
        got = getattr(mt.tensor(array), name)(axes, keep)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
    assert tuple(got.shape) == np.shape(expected)


# ---- views and changes in place ----------------------------------------------------------------


@many
@given(drawn.views(), st.sampled_from(["fill_", "add_", "mul_", "zero_", "index"]))
def test_what_is_written_into_a_view_is_in_the_whole(case, change):
    shape, program = case
    array = drawn.numbers(shape)
    x, a = mt.tensor(array), array.copy()
    view, b = x, a
    for step in program:
        view, b = drawn.take_view(view, *step), drawn.numpy_view(b, *step)
        same(view, b)
    if change == "index":
        view[...] = 3.0
        b[...] = 3.0
    elif change == "zero_":
        view.zero_()
        b[...] = 0
    else:
        getattr(view, change)(2.0)
        b[...] = {"fill_": np.full_like(b, 2), "add_": b + 2, "mul_": b * 2}[change]
    same(x, a)
    same(view, b)


@many
@given(drawn.views())
def test_the_gradient_of_a_changed_view(case):
    """x * 1, its view doubled in place, summed with weights: twice the weight where the view is."""
    shape, program = case
    x = mt.tensor(drawn.numbers(shape), requires_grad=True)
    y = x * 1.0
    view, where = y, np.ones(shape)
    part = where
    for step in program:
        view, part = drawn.take_view(view, *step), drawn.numpy_view(part, *step)
    view.mul_(2.0)
    part[...] = 2
    weights = drawn.numbers(shape, 4)
    (y * mt.tensor(weights)).sum().backward()
    same(x.grad, weights * where)
