"""PyTorch's tables of test inputs: what one of theirs is for us, and whether ours does the same.

`test_op_db`, `test_module_db` and `test_optim_db` give them to ours and to PyTorch. Each has
`results(name, most)`: what was tried, and what is wrong, or None.
"""

import importlib.util
import math
import re
import sys
import types
import unittest
import warnings

import numpy as np
import pytest

import microtensor as mt

program = getattr(sys.modules["__main__"], "__spec__", None)
if program and program.name.startswith("tests.parity.") and not importlib.util.find_spec("torch"):
    sys.exit("PyTorch's samples are PyTorch's: pip install torch")
torch = pytest.importorskip("torch")
# PyTorch's tables stand beside its test cases, which want a package that we do not need
sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import (
        BinaryUfuncInfo,
        UnaryUfuncInfo,
        op_db,
    )
    from torch.testing._internal.common_modules import module_db
    from torch.testing._internal.common_optimizers import optim_db
# PyTorch's tables freeze its flags when they are imported; programs of other tests set them.
torch.backends.flags_frozen.__globals__["__allow_nonbracketed_mutation_flag"] = True

__all__ = ["BinaryUfuncInfo", "UnaryUfuncInfo", "module_db", "op_db", "optim_db"]

# ---- a sample of theirs as one of ours ---------------------------------------------------

DTYPES = "float32", "float64", "int64", "bool"
TOLERANCE = {"float32": (1.3e-5, 1e-5), "float64": (1e-7, 1e-7)}  # PyTorch's for matrix products
KNOWN = {getattr(torch, name): dtype for name, dtype in mt.backends.dtypes.DTYPES.items()}
del KNOWN[torch.float16], KNOWN[torch.bfloat16]
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
        return value.layout is torch.strided and value.dtype in KNOWN and value.ndim <= 64
    return value in KNOWN if isinstance(value, torch.dtype) else not isinstance(
        value, (*FOREIGN, complex)
    )  # fmt: skip


def ours(value, known=None):
    """A sample of PyTorch's as one of ours; what is there twice is so in ours."""
    known = {} if known is None else known
    if isinstance(value, torch.Tensor):
        if id(value) not in known:
            array = mt.from_numpy(value.detach().numpy())
            known[id(value)] = array.requires_grad_(value.requires_grad)
        return known[id(value)]
    if isinstance(value, torch.dtype):
        return KNOWN[value]
    if isinstance(value, torch.device):
        return mt.device(value.type)
    if isinstance(value, dict):
        return {k: ours(v, known) for k, v in value.items()}
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return mt.nn.utils.rnn.PackedSequence(*(ours(v, known) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(ours(v, known) for v in value)
    if callable(value) and hasattr(mt.nn.functional, getattr(value, "__name__", "")):
        return getattr(mt.nn.functional, value.__name__)
    return value


def same(got, expected, what=""):
    """Type, shape, dtype and elements are equal; what is no tensor is equal too."""
    if isinstance(expected, dict):
        assert list(got) == list(expected), f"{what}{list(got)}, not {list(expected)}"
        got, expected = list(got.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        assert isinstance(got, (list, tuple)) and len(got) == len(expected), f"{what}{got!r}"
        for g, e in zip(got, expected):
            same(g, e, what)
    elif isinstance(expected, torch.Tensor):
        about = tuple(expected.shape), str(expected.dtype).removeprefix("torch.")
        assert (tuple(got.shape), got.dtype.name) == about, f"{what}{got!r}, not {expected!r}"
        rtol, atol = TOLERANCE.get(about[1], (0, 0))
        np.testing.assert_allclose(
            got.detach().numpy(), expected.numpy(force=True), rtol, atol, err_msg=what
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


# ---- what is refused -----------------------------------------------------------------


def error_of(function, *args, strictly=False, **params):
    """The error that a call raises, or None. It may warn; strictly, a warning is an error."""
    with warnings.catch_warnings(action="error" if strictly else "ignore"):
        try:
            function(*args, **params)
        except Exception as error:
            return error


def refused(error, expected):
    """Raise an error unless ours is of the kind of PyTorch's, and says first what it is about."""
    kind = next(k for k in type(expected).__mro__ if k.__module__ == "builtins")
    told = f"{type(error).__name__}: {error}, not {kind.__name__}: {expected}"
    assert isinstance(error, kind), told
    assert kind is TypeError or re.match(r"[\w.]+: |dimension |a size ", str(error)), told


# ---- running them ----------------------------------------------------------------------


def outcome(check, *args):
    """What is wrong, or None."""
    try:
        check(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}".strip()


def assert_right(name, found):
    wrong = [f"{what}\n{error}" for what, error in found if error]
    assert found, f"{name} has no samples"
    assert not wrong, f"{len(wrong)} of {len(found)}, the first of them:\n{wrong[0]}"


def count(covered, results, names):
    """Print how many of all samples agree; of the names given also what does not."""
    warnings.filterwarnings("ignore")
    total = [0, 0]
    for name in names or covered:
        found = list(results(name))
        good = sum(error is None for _, error in found)
        total = [total[0] + good, total[1] + len(found)]
        print(f"{name:45}{good:6} / {len(found)}")
        for what, error in found if names else ():
            if error:
                print(f"\n{what}\n{error[:600]}")
    print(f"{len(names or covered)} of them{'':35}{total[0]:6} / {total[1]}")
