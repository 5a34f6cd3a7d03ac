"""Every operation against PyTorch, by the rows of `cases.py`."""

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
    """Shape, dtype and elements are equal."""
    assert len(ours) == len(torchs)
    for a, b in zip(ours, torchs):
        assert (tuple(a.shape), a.dtype.name) == (
            tuple(b.shape),
            str(b.dtype).removeprefix("torch."),
        )
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=rtol, atol=atol)


def rows(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda c: c.id)


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
