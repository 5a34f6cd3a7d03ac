"""Indexing, broadcasting, reductions, views and changes in place, at random, against PyTorch."""

import drawn
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import microtensor as mt  # noqa: E402

many = settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])


def both(run, *arrays):
    """Run on both libraries: the same values, shape, and gradients of a weighted sum."""
    results = []
    for m in (mt, torch):
        leaves = [m.tensor(a, requires_grad=True) for a in arrays]
        y = run(m, *leaves)
        weights = m.tensor(drawn.numbers(tuple(y.shape), 9))
        if y.requires_grad:
            (y * weights).sum().backward()
        gradients = [None if x.grad is None else np.array(x.grad.tolist()) for x in leaves]
        results.append((y.detach().numpy(), gradients))
    (ours, our_gradients), (theirs, their_gradients) = results
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    for a, b in zip(our_gradients, their_gradients, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def of(m, index):
    return tuple(m.tensor(part) if isinstance(part, np.ndarray) else part for part in index)


@many
@given(drawn.indexed(mixed=True))
def test_reading(case):
    shape, index = case
    both(lambda m, x: x[of(m, index)], drawn.numbers(shape))


@many
@given(drawn.indexed(mixed=True), st.booleans())
def test_writing(case, one):
    shape, index = case
    array = drawn.numbers(shape)
    target = tuple(torch.tensor(array)[of(torch, index)].shape)
    places = torch.arange(array.size).reshape(shape)[of(torch, index)]
    assume(len(places.unique()) == places.numel())  # else any of several may win

    def write(m, x, values):
        y = x * 1.0
        y[of(m, index)] = values.sum() if one else values
        return y

    both(write, array, drawn.numbers(target, 1))


@many
@given(drawn.broadcasting(), st.sampled_from(["add", "mul", "maximum", "where", "div", "pow"]))
def test_broadcasting(pair, name):
    def run(m, x, y):
        if name == "where":
            return m.where(x > y, x, y)
        if name == "div":
            return x / (y * y + 1)
        if name == "pow":
            return (x * x + 1) ** (y / 4)
        return getattr(m, name)(x, y)

    both(run, drawn.numbers(pair[0]), drawn.numbers(pair[1], 1) + 0.5)


REDUCTIONS = ["sum", "mean", "amax", "amin", "var", "std", "logsumexp"]


@pytest.mark.filterwarnings("ignore:(var|std).*degrees of freedom")  # PyTorch's, of no elements
@many
@given(drawn.reduced(), st.sampled_from(REDUCTIONS))
def test_reductions(case, name):
    shape, dims, keep = case
    axes = tuple(range(len(shape))) if dims is None else dims
    assume(axes and all(shape[d] for d in axes))
    if name in ("var", "std"):
        assume(np.prod([shape[d] for d in axes]) > 1)
    both(lambda m, x: getattr(x, name)(axes, keepdim=keep), drawn.numbers(shape))


@many
@given(drawn.reduced(), st.sampled_from(["cumsum", "cumprod", "softmax", "sort", "argmax", "prod"]))
def test_along_one_dimension(case, name):
    shape, dims, _ = case
    assume(dims and all(shape))

    def run(m, x):
        y = getattr(x / 3, name)(dims[0])
        return y[0] if isinstance(y, tuple) else y

    both(run, drawn.numbers(shape))


@many
@given(drawn.views(), st.sampled_from(["mul_", "add_", "fill_", "copy_", "clamp_", "index"]))
def test_views_changed_in_place(case, change):
    shape, program = case

    def run(m, x, w):
        y = x * 1.0
        view = y
        for step in program:
            view = drawn.take_view(view, *step)
        if change == "index":
            view[...] = w.sum()
        elif change == "clamp_":
            view.clamp_(-2, 2)
        else:
            getattr(view, change)(3.0 if change == "fill_" else w.sum())
        return y * y + view.sum()

    both(run, drawn.numbers(shape), drawn.numbers((2,), 1) + 0.5)
