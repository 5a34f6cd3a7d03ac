"""Shapes, sizes and memory that do not fit are refused, or give what is right: no garbage.

Also where they changed since a cache, a Replay or a view was made.
"""

import itertools

import numpy as np
import pytest
from fused import FUSED, A

import microtensor as mt
from microtensor import nn
from microtensor.nn import functional as F
from microtensor.nn.cache import KVCache
from microtensor.nn.replay import Replay

# ---- shapes that do not fit -----------------------------------------------------------

Q = mt.randn(2, 4, 6, 16)
MASKS = {True: [(6, 6), (1, 6), (6, 1), (6,), (1,), (4, 6, 6), (4, 1, 6), (2, 1, 6, 6)]}
MASKS[False] = [(3, 6), (12, 6), (0, 6), (5, 6), (6, 7), (6, 3), (5,), (0,), (3, 6, 6), (2, 6, 6),
                (3, 1, 6, 6), (2, 2, 4, 6, 6), (1, 2, 4, 6, 6)]  # fmt: skip


@pytest.mark.parametrize("fits, shape", [(fits, s) for fits in MASKS for s in MASKS[fits]])
@pytest.mark.parametrize("boolean", [True, False])
def test_a_mask_broadcasts_or_is_refused(fits, shape, boolean, backend):
    mask = mt.randn(*shape) > 0 if boolean else mt.randn(*shape)
    functions = (
        lambda: F.scaled_dot_product_attention(Q, Q, Q, mask),
        lambda: mt.attention(Q, Q, Q, mask, False, 0.25, 0.0, None),
    )
    for function in functions:
        if not fits:
            with pytest.raises(RuntimeError, match="attention: the mask .* does not broadcast"):
                function()
            continue
        added = mask if not boolean else mt.zeros(shape).masked_fill(~mask, -1e30)
        weights = F.softmax(Q @ Q.transpose(-1, -2) * 0.25 + added, -1)
        seen = (mask.expand(2, 4, 6, 6).any(-1, keepdim=True)) if boolean else 1
        np.testing.assert_allclose(
            function().numpy(), (weights @ Q * seen).numpy(), rtol=1e-4, atol=1e-5
        )


X, ROW, LABELS = mt.randn(64, 32), mt.randn(1, 32), mt.arange(64) % 32
REFUSED = {
    **{
        f"cross_entropy of targets {name}": lambda t=t: mt.cross_entropy(X, t, None, -100, 0.0)
        for name, t in {
            "too few": LABELS[:3],
            "too many": mt.cat([LABELS, LABELS]),
            "none": LABELS[:0],
            "2-d": LABELS[:, None],
            "0-d": LABELS[0],
            "float": LABELS.float(),
            "bool": LABELS > 3,
            "above": LABELS + 1,
            "below": LABELS - 1,
            "far": LABELS + 2**62,
        }.items()
    },
    "cross_entropy in 3-d": lambda: mt.cross_entropy(
        X.reshape(2, 32, 32), LABELS.reshape(2, 32), None, -100, 0.0
    ),
    "cross_entropy in 1-d": lambda: mt.cross_entropy(X[0], LABELS[0], None, -100, 0.0),
    "cross_entropy without classes": lambda: mt.cross_entropy(X[:, :0], LABELS, None, -100, 0.0),
    **{
        f"cross_entropy of {n} weights": lambda n=n: mt.cross_entropy(
            X, LABELS, mt.ones(n), -100, 0.0
        )
        for n in (0, 1, 31, 33)
    },
    **{
        f"{name} of a {what} {shape}": lambda f=f, shape=shape: f(mt.randn(*shape))
        for what, shapes in {"part": [(1,), (31,), (33,), (0,), (32, 1), (1, 32), (64, 32)]}.items()
        for shape in shapes
        for name, f in {
            "layer_norm's weight": lambda p: mt.ops.layer_norm(X, p, None, 1e-5),
            "layer_norm's bias": lambda p: mt.ops.layer_norm(X, None, p, 1e-5),
            "rms_norm's weight": lambda p: mt.ops.rms_norm(X, p, 1e-5),
        }.items()
    },
    **{
        f"linear of {x.shape[0]} rows with {bias}": lambda x=x, bias=bias: mt.linear(
            x, X, mt.randn(*bias)
        )
        for x in (X, ROW)
        for bias in [(63,), (65,), (0,), (3,), (63, 1)]
    },
    "linear of too few inputs": lambda: mt.linear(X[:, :31], X, None),
    "embedding of floats": lambda: mt.embedding(X, LABELS.float()),
    "embedding of booleans": lambda: mt.embedding(X, LABELS > 0),
    "embedding of a row": lambda: mt.embedding(X[0], LABELS),
    "embedding outside": lambda: mt.embedding(X, LABELS + 60),
    "attention of other keys": lambda: mt.attention(Q, Q, Q[:, :, :5], None, False, 1.0, 0.0, None),
    "attention of other sizes": lambda: mt.attention(
        Q, Q[..., :8], Q, None, False, 1.0, 0.0, None
    ),
    "attention of other heads": lambda: mt.attention(Q, Q, Q[:, :3], None, False, 1.0, 0.0, None),
    "attention with p = 1": lambda: mt.attention(Q, Q, Q, None, False, 1.0, 1.0, 5),
    "dropout with p = 2": lambda: mt.dropout(X, 2.0, 5),
    "softmax over dimension 5": lambda: mt.softmax(X, 5),
    "log_softmax over dimension −3": lambda: mt.log_softmax(X, -3),
    "as_strided far": lambda: mt.as_strided(mt.arange(16.0), (10**6,), (8,)),
    "as_strided back": lambda: mt.as_strided(mt.arange(16.0), (3,), (-1,), 5),
    "as_strided before": lambda: mt.as_strided(mt.arange(16.0), (3,), (1,), -1),
    "as_strided around": lambda: mt.as_strided(mt.arange(16.0), (2, 2), (2**62, 2**62)),
    "as_strided of a negative size": lambda: mt.as_strided(mt.arange(16.0), (-1,), (1,)),
    "unfold of a long window": lambda: mt.arange(16.0).unfold(0, 17, 1),
    "unfold without a step": lambda: mt.arange(16.0).unfold(0, 2, 0),
    "narrow over the end": lambda: mt.arange(16.0).narrow(0, 10, 7),
    **{
        f"frombuffer with {options}": lambda o=options: mt.frombuffer(
            bytes(16), dtype=mt.float32, **o
        )
        for options in ({"count": 5}, {"count": 2**60}, {"offset": 17}, {"offset": -4},
                        {"offset": 2**62}, {"offset": 3})
    },
    "writing to an expanded tensor": lambda: mt.zeros(1, 32).expand(64, 32).add_(1),
    "writing to read-only memory": lambda: mt.frombuffer(bytes(16), dtype=mt.float32).add_(1),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name, backend):
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        REFUSED[name]()


def _strange(x):
    """Arrays that hold the elements of x otherwise, by name."""
    a = x.numpy()
    wide = np.zeros((*a.shape, 3), a.dtype)
    wide[..., 1] = a
    memory = np.zeros(a.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(a.dtype).reshape(a.shape)
    unaligned[...] = a
    fixed = a.copy()
    fixed.flags.writeable = False
    return {
        "gaps": wide[..., 1],
        "reversed": a[..., ::-1].copy()[..., ::-1],
        "columns": np.asfortranarray(a),
        "unaligned": unaligned,
        "read-only": fixed,
    }


@pytest.mark.parametrize("how", _strange(mt.ones(2, 2)))
@pytest.mark.parametrize("name", FUSED)
@pytest.mark.filterwarnings("ignore:.*not writable:UserWarning")
def test_memory_in_any_order_gives_the_same(name, how, backend):
    found = []
    for array in A.numpy(), _strange(A)[how]:
        mt.manual_seed(3)
        x = mt.from_numpy(array).detach().requires_grad_()
        y = FUSED[name](x)
        y.backward(mt.ones_like(y))
        found.append((y.detach().numpy(), x.grad.numpy()))
    for got, exact in zip(*found):
        np.testing.assert_allclose(got, exact, rtol=1e-4, atol=1e-5)


# ---- caches, replays, views -----------------------------------------------------------


def test_a_cache_takes_what_it_was_made_for(backend):
    def cache():
        return KVCache(1, 2, 4, 40, 16, mt.zeros(1)).layers[0]

    def new(batch=2, t=1, heads=4, size=16, dtype=mt.float32):
        return mt.randn(batch, t, heads, size).to(dtype)

    with mt.no_grad():
        right = cache()
        assert right.attend(new(heads=8), new(), new()).shape == (2, 1, 128)
        assert right.attend(new(t=3), new(t=3), new(t=3)).shape == (2, 3, 64)
        for t in (1, 3):
            for wrong in (
                {"heads": 2}, {"heads": 1}, {"heads": 8}, {"heads": 3}, {"batch": 1}, {"batch": 3},
                {"size": 8}, {"size": 32}, {"dtype": mt.float64}, {"t": t + 1},
            ):  # fmt: skip
                for q, k, v in itertools.product((wrong, {}), repeat=3):
                    right_too = {"heads": 8}, {}, {}
                    if (q, k, v) != right_too and not q == k == v == {"t": t + 1} and (q or k or v):
                        arguments = (new(**{"t": t, **options}) for options in (q, k, v))
                        with pytest.raises((RuntimeError, ValueError), match="KVCache"):
                            right.attend(*arguments)
        assert right.length == 4
        for length in (-1, -40, 40, 41, 10**9):
            full = cache()
            full.length = length
            with pytest.raises(ValueError, match="KVCache: .* room"):
                full.attend(new(), new(), new())
        broken = cache()
        broken.values = mt.zeros(2, 4, 3, 16)
        with pytest.raises(RuntimeError, match="KVCache"):
            broken.attend(new(), new(), new())


PARTS = {
    "layer_norm": (nn.LayerNorm(128), "weight"),
    "layer_norm_bias": (nn.LayerNorm(128), "bias"),
    "rms_norm": (nn.RMSNorm(128, eps=1e-6), "weight"),
    "linear": (nn.Linear(128, 128), "weight"),
    "linear_bias": (nn.Linear(128, 128), "bias"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_replay_of_parameters_that_changed(part, backend):
    """Of another shape or dtype: the function's own error or result, and no memory of before."""
    module, name = PARTS[part]
    kept = getattr(module, name)
    replay, x = Replay(module, lambda x: F.gelu(module(x)) * 2), mt.randn(1, 128)
    with mt.no_grad():
        for _ in range(3):
            expected = replay(x)
        try:
            for shape in [(5,), (1,), (0,), (1000,), (127, 128), (128, 127), (1, 128)]:
                setattr(module, name, nn.Parameter(mt.randn(*shape)))
                _alike(replay, x, lambda: F.gelu(module(x)) * 2)
            setattr(module, name, kept)
            for data in (mt.randn(3), mt.randn(128).double(), mt.randn(128, 128).double()):
                kept.data, own = data, kept.detach()
                _alike(replay, x, lambda: F.gelu(module(x)) * 2)
                kept.data = own
        finally:
            setattr(module, name, kept)
        for _ in range(3):
            assert replay(x).allclose(expected, atol=1e-6)


def _alike(replay, x, function):
    """Twice a Replay does what its function does: the same error, or the same result."""
    for _ in range(3):
        try:
            exact = function()
        except (RuntimeError, IndexError) as error:
            with pytest.raises(type(error)):
                replay(x)
        else:
            assert replay(x).allclose(exact, atol=1e-5)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "gelu", "layer_norm", "softmax", "dropout"])
@pytest.mark.parametrize("shape", [(3,), (900, 64), (80, 32, 2), (0,)])
def test_a_result_that_got_other_memory(name, shape, backend):
    """The gradient then comes in another shape than what the operation saved."""
    x = A.detach().clone().requires_grad_()
    y = FUSED[name](x)
    y.data = mt.randn(*shape)
    with pytest.raises((RuntimeError, ValueError)):
        (y * 1).backward(mt.ones(*shape))


def test_views_of_memory_that_was_resized(backend):
    x = mt.arange(1000.0)
    row, whole = x[10:20], x.view(10, 100)
    x.resize_(5)
    assert x.tolist() == [0, 1, 2, 3, 4]
    x.resize_(10**6)
    assert row.sum() == sum(range(10, 20)) and whole.sum() == 499500
    whole.add_(1)
    assert row.sum() == sum(range(11, 21))
    numbers = row.storage()
    with pytest.raises(IndexError):
        numbers[1000]
