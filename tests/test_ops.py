"""Every operation, by the rows of `cases.py`."""

import numpy as np
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import microtensor as mt
from microtensor.autograd import gradcheck, gradgradcheck, registry

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
    helpers = {"broadcast_shapes", "plain_index", "unbind_columns", "return_types", "sizes"}
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
