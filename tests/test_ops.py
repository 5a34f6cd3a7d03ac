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
FLOATS = [c for c in CASES if c.differentiable and any(isinstance(i, tuple) for i in c.inputs)]


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


def seeds(out):
    """Weights for the elements of the results, not all alike."""
    return [
        mt.tensor(np.cos(np.arange(o.numel())).reshape(o.shape), dtype=o.dtype, device=o.device)
        for o in out
    ]


def gradients(case, inputs, create_graph=False):
    """The derivatives of the weighted sum of the results for each input that requires one."""
    out = recorded(case(mt, *inputs))
    wanted = [t for t in inputs if isinstance(t, mt.Tensor) and t.requires_grad]
    return mt.autograd.grad(out, wanted, seeds(out), create_graph=create_graph)


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
    out = case(mt, *inputs)
    if not case.differentiable or not any(isinstance(i, tuple) for i in case.inputs):
        assert recorded(out) == []
    elif recorded(out):
        assert gradcheck(lambda *xs: list(case(mt, *xs)), inputs)
        assert gradgradcheck(lambda *xs: list(case(mt, *xs)), inputs)
    else:  # whole numbers, or a copy without history
        assert all(not o.dtype.is_floating_point for o in out)
