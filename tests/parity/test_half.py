"""Half precision beside PyTorch's: computed in float32, and rounded once."""

import warnings

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")
from cases import CASES  # noqa: E402

SKIPPED = {"dropout", "einsum"}
DIGITS = {"float16": (10, -14), "bfloat16": (7, -126)}  # bits behind the first, least exponent


def units(x, kind):
    """The distance of numbers of a dtype near x."""
    digits, least = DIGITS[kind]
    exponent = np.floor(np.log2(np.maximum(np.abs(x), 2.0**least)))
    return 2.0 ** (np.maximum(exponent, least) - digits)


def values_and_gradients(case, m, arrays, dtype):
    """Those of a case from inputs of a dtype, in float64; None for an input without a gradient."""
    inputs = [
        m.tensor(a, dtype=dtype, requires_grad=True)
        if getattr(a, "dtype", None) == np.float64
        else m.tensor(a)
        if isinstance(a, np.ndarray)
        else a
        for a in arrays
    ]
    out = [o for o in case(m, *inputs) if isinstance(o, m.Tensor)]
    found = [np.array(o.detach().double().numpy()) for o in out]
    if case.differentiable:
        out = [o for o in out if o.requires_grad]
        seeds = [
            m.tensor(np.arange(o.numel()) % 5 - 2.0, dtype=o.dtype).reshape(o.shape) for o in out
        ]
        m.autograd.backward(out, seeds)
        grads = [getattr(i, "grad", None) for i in inputs]
        found += [None if g is None else np.array(g.double().numpy()) for g in grads]
    return found, [str(o.dtype).split(".")[1] for o in out]


@pytest.mark.parametrize("kind", DIGITS)
@pytest.mark.parametrize("case", [c for c in CASES if c.torch and c.half], ids=lambda c: c.id)
def test_rounded_once(case, kind):
    """Within one unit of the exact result, where PyTorch is, else no farther from it."""
    if case.name in SKIPPED:
        return
    dtype = getattr(torch, kind)
    arrays = [
        torch.tensor(a).to(dtype).double().numpy() if getattr(a, "dtype", None) == np.float64 else a
        for a in case.arrays()
    ]
    try:
        exact, _ = values_and_gradients(case, torch, arrays, torch.float64)
        theirs, kinds = values_and_gradients(case, torch, arrays, dtype)
    except (RuntimeError, NotImplementedError, TypeError):
        return  # PyTorch has none
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, our_kinds = values_and_gradients(case, mt, arrays, getattr(mt, kind))
    assert our_kinds == kinds
    for right, a, b in zip(exact, ours, theirs, strict=True):
        if right is None or a is None or b is None or not np.isfinite(right).all():
            continue
        unit = np.maximum(units(right, kind), 1e-30)
        far = np.abs(a - right).max(initial=0), np.abs(b - right).max(initial=0)
        assert np.all(np.abs(a - right) <= unit) or far[0] <= 1.01 * far[1]


NUMBERS = [
    lambda m, x: x / 65536, lambda m, x: x * 1e-6 * 1e4, lambda m, x: x**1.001,
    lambda m, x: x == 0.1,
    lambda m, x: x > 0.1, lambda m, x: x + 1e-4, lambda m, x: x - 0.1, lambda m, x: 0.1 - x,
    lambda m, x: x * 70000, lambda m, x: x.clamp(0.1, 0.3), lambda m, x: m.where(x > 0, x, 0.1),
    lambda m, x: x.masked_fill(x > 0.1, 0.7), lambda m, x: m.nn.functional.leaky_relu(x - 2, 0.013),
    lambda m, x: m.nn.functional.elu(x - 2, 1.37), lambda m, x: m.add(x, x, alpha=0.3),
    lambda m, x: m.lerp(x, x * 3, 0.3), lambda m, x: x.sum(dtype=m.float32),
    lambda m, x: (x.float() + 1e-4).sum(dtype=x.dtype), lambda m, x: x.softmax(0, dtype=m.float32),
    lambda m, x: m.addcmul(x, x, x, value=0.3), lambda m, x: m.addcdiv(x, x, x, value=0.3),
    lambda m, x: m.nn.functional.mse_loss(x * 30, -x * 20),
    lambda m, x: (x * 300).norm(), lambda m, x: (x * 300).std(), lambda m, x: (x * 3000).mean(),
]  # fmt: skip


@pytest.mark.parametrize("kind", DIGITS)
@pytest.mark.parametrize("number", range(len(NUMBERS)))
def test_numbers_beside_half_precision(number, kind):
    ours, theirs = (
        NUMBERS[number](m, m.tensor([0.1, 1, 3, 0.001], dtype=getattr(m, kind)))
        for m in (mt, torch)
    )
    assert ours.dtype.name == str(theirs.dtype).split(".")[1]
    if ours.dtype is mt.bool:
        assert ours.tolist() == theirs.tolist()
        return
    a, b = ours.double().numpy(), theirs.double().numpy()
    finite = np.isfinite(b)
    assert np.array_equal(a[~finite], b[~finite])
    np.testing.assert_array_less(np.abs(a[finite] - b[finite]), 1.01 * units(b[finite], kind))


@pytest.mark.parametrize("kind", DIGITS)
@pytest.mark.parametrize(
    "name", "SGD Adam AdamW RMSprop Adagrad Adadelta Adamax NAdam RAdam".split()
)
def test_optimizers(name, kind):
    """Squares of gradients that half precision cannot hold; what PyTorch's steps make finite."""
    found = []
    for m in (mt, torch):
        p = m.nn.Parameter(m.ones(3, dtype=getattr(m, kind)))
        optimizer = getattr(m.optim, name)([p], lr=0.01)
        for _ in range(3):
            p.grad = m.tensor([300.0, 4.0, -2.0], dtype=p.dtype)
            optimizer.step()
        assert all(
            v.dtype == p.dtype for v in optimizer.state[p].values() if getattr(v, "shape", ())
        )
        found.append(p.detach().double().numpy())
    assert np.isfinite(found[0]).all()
    fine = np.isfinite(found[1]) & (np.abs(found[1] - 1) > 0)
    np.testing.assert_allclose(found[0][fine], found[1][fine], rtol=4 * 2.0 ** -DIGITS[kind][0])
