"""PyTorch's own sample inputs, which its developers test it with, given to ours and to PyTorch.

Values, shapes, dtypes, and in float64 first and second derivatives are compared, with PyTorch's own
tolerances. The tests take a few dozen samples of an operation that has hundreds;

    python -m tests.parity.test_op_db [name …]

takes all, and prints for each operation how many agree; of the names given also what does not.
"""

import math
import sys
import types
import unittest
import warnings
from operator import attrgetter

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")
# PyTorch's tables stand beside its test cases, which want a package that we do not need
sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

# ---- the table -----------------------------------------------------------------------

# Every operation by its name in PyTorch; a file of `ops/` or of `nn/` for each paragraph.
COVERED = """
abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or bitwise_xor ceil
clamp clone cos cosh eq exp exp2 expm1 floor floor_divide ge gt isfinite isinf isnan le
log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor lt maximum minimum
mul ne neg reciprocal remainder rsqrt sigmoid sign sin sinh sqrt square sub tan tanh trunc

nn.functional.gelu nn.functional.silu nn.functional.softplus
""".split()

# What is left out, and why: {name or name.variant: (reason, whether a sample is concerned)}.
LEFT_OUT = {}

# How ours is called where a sample is not written as a program would write it.
CALLS = {
    "einsum": lambda tensors, equation: mt.einsum(equation, *tensors),
}

# ---- running a sample ----------------------------------------------------------------

DTYPES = "float32", "float64", "int64", "bool"
TOLERANCE = {"float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}  # PyTorch's, relative and absolute
KNOWN = {getattr(torch, name): dtype for name, dtype in mt.backends.dtypes.DTYPES.items()}
del KNOWN[torch.float16]
FOREIGN = (torch.memory_format, torch.layout, torch.Generator)


def flat(value):
    """What is in nested lists, tuples and dicts, one after the other."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        return [one for part in value for one in flat(part)]
    return [value]


def in_scope(value):
    """Whether we have what a sample is made of: no complex numbers, half precision, layouts."""
    if isinstance(value, torch.Tensor):
        return value.layout is torch.strided and value.dtype in KNOWN
    return value in KNOWN if isinstance(value, torch.dtype) else not isinstance(
        value, (*FOREIGN, complex)
    )  # fmt: skip


def ours(value):
    """A sample of PyTorch's as one of ours."""
    if isinstance(value, torch.Tensor):
        return mt.from_numpy(value.detach().numpy()).requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return KNOWN[value]
    if isinstance(value, torch.device):
        return mt.device(value.type)
    if isinstance(value, dict):
        return {k: ours(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(map(ours, value)) if isinstance(value, tuple) else list(map(ours, value))
    return value


def find(name):
    """Our function, or method, of this name."""
    if name in CALLS:
        return CALLS[name]
    for home in (mt, mt.Tensor):
        try:
            found = attrgetter(name)(home)
        except AttributeError:
            continue
        return found.fget if isinstance(found, property) else found
    raise AttributeError(f"there is no {name}")


def same(got, expected, what=""):
    """Type, shape, dtype and elements are equal; what is no tensor is equal too."""
    if isinstance(expected, (list, tuple)):
        assert isinstance(got, (list, tuple)) and len(got) == len(expected), f"{what}{got!r}"
        for g, e in zip(got, expected):
            same(g, e, what)
    elif isinstance(expected, torch.Tensor):
        about = tuple(expected.shape), str(expected.dtype).removeprefix("torch.")
        assert (tuple(got.shape), got.dtype.name) == about, f"{what}{got!r}, not {expected!r}"
        rtol, atol = TOLERANCE.get(about[1], (0, 0))
        np.testing.assert_allclose(
            got.detach().numpy(), expected.detach().resolve_neg().numpy(), rtol, atol, err_msg=what
        )
    else:
        assert got == KNOWN.get(expected, expected), f"{what}{got!r}, not {expected!r}"


def tensors(value, m):
    """The tensors that gradients flow to."""
    return [t for t in flat(value) if isinstance(t, m.Tensor) and t.requires_grad]


def derivatives(m, out, inputs):
    """The derivatives of the results, weighed one by one, made ready to be differentiated again."""
    out = tensors(out, m)
    weights = [cosines(m, o) for o in out]
    grads = out and m.autograd.grad(out, inputs, weights, create_graph=True, allow_unused=True)
    return [
        m.zeros_like(i) if g is None else g for g, i in zip(grads or [None] * len(inputs), inputs)
    ]


def cosines(m, like):
    """Weights that are not all alike."""
    array = np.cos(np.arange(math.prod(like.shape))).reshape(tuple(like.shape))
    return m.from_numpy(array)


def same_derivatives(out, inputs, expected, torchs, order):
    """The derivatives of the first orders agree."""
    for n in range(1, order + 1):
        out, expected = derivatives(mt, out, inputs), derivatives(torch, expected, torchs)
        same(out, expected, f"derivative of order {n}: ")


def compare(op, sample):
    """Raise an error unless ours does with a sample what PyTorch does."""
    torchs = (sample.input, *sample.args), sample.kwargs
    args, params = ours(torchs)
    expected = op(*torchs[0], **torchs[1])
    out = find(op.name)(*args, **params)
    same(out, expected)
    inputs, torch_inputs = tensors((args, params), mt), tensors(torchs, torch)
    if torch_inputs:
        assert [t.requires_grad for t in flat(out)] == [t.requires_grad for t in flat(expected)]
        order = 2 if op.supports_gradgrad else 1
        same_derivatives(out, inputs, expected, torch_inputs, order)


def runs(name, most=None):
    """(operation, dtype, sample) for the samples of a name, at most so many of each dtype."""
    for op in op_db:
        if op.name != name:
            continue
        reasons = [LEFT_OUT[n] for n in (name, op.full_name) if n in LEFT_OUT]
        for dtype in DTYPES:
            if getattr(torch, dtype) not in op.dtypes:
                continue
            grad = dtype == "float64" and op.supports_autograd
            samples = [
                s
                for s in op.sample_inputs("cpu", getattr(torch, dtype), requires_grad=grad)
                if all(map(in_scope, flat(((s.input, s.args), s.kwargs))))
                and not any(concerns(s) for _, concerns in reasons)
            ]
            step = 1 if most is None else max(1, -(-len(samples) // most))
            for sample in samples[::step]:
                yield op, dtype, sample


def results(name, most=None):
    """(dtype, sample, None or what is wrong) for the samples of a name."""
    torch.manual_seed(0)
    for op, dtype, sample in runs(name, most):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="torch")
            try:
                compare(op, sample)
            except Exception as error:
                yield dtype, sample, f"{type(error).__name__}: {error}".strip()
            else:
                yield dtype, sample, None


@pytest.mark.parametrize("name", COVERED)
def test_samples(name):
    found = list(results(name, most=24))
    wrong = [f"{dtype} {sample.summary()}\n{error}" for dtype, sample, error in found if error]
    assert found, f"{name} has no samples"
    assert not wrong, f"{len(wrong)} of {len(found)}, the first of them:\n{wrong[0]}"


def main(names):
    total = [0, 0]
    for name in names or COVERED:
        found = list(results(name))
        good = sum(error is None for *_, error in found)
        total = [total[0] + good, total[1] + len(found)]
        print(f"{name:45}{good:6} / {len(found)}")
        if names:
            for dtype, sample, error in found:
                if error:
                    print(f"\n{dtype} {sample.summary()}\n{error[:600]}")
    print(f"{len(names or COVERED)} operations{total[0]:30} / {total[1]}")


if __name__ == "__main__":
    main(sys.argv[1:])
