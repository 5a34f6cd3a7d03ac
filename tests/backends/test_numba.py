"""The compiled kernels against their portable definitions, in float64."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba")

from microtensor.backends import Backend, NumPyBackend
from microtensor.backends.numba import SMALL, NumbaBackend


class Portable(Backend):
    """The definitions of kernels.py on NumPy arrays."""

    xp = np
    _as_key = staticmethod(np.dtype)


compiled, portable = NumbaBackend(), Portable()
random = np.random.default_rng(0)


def normal(*shape):
    return random.standard_normal(shape, dtype=np.float32)


ROWS, G = normal(80, 128), normal(80, 128)  # more than SMALL elements
Q, K, V = (normal(2, 3, 40, 40).transpose(0, 1, 3, 2) for _ in range(3))  # not contiguous
W = normal(128)
MASK = np.tril(np.ones((40, 40), bool))
MASK[7] = False  # a query that may see nothing
CLASSES = random.integers(0, 128, 80)
COUNTED = random.random(80) < 0.9
SHARE = abs(normal(80)) * COUNTED
probabilities, share = compiled.cross_entropy(ROWS, CLASSES, COUNTED, SHARE, None, 0.0)[1:]
weights = compiled.attention(Q, K, V, MASK, False, 0.3, 0, 1)[1]

CASES = {
    "relu": [(ROWS,), (np.append(Q.ravel(), np.float32([np.inf, -np.inf, np.nan])),)],
    "relu_backward": [(g, np.maximum(ROWS, 0)) for g in (G, np.where(ROWS < 1, np.nan, G))],
    "sigmoid": [(20 * ROWS,), (np.append(Q.ravel(), np.float32([np.inf, -np.inf, np.nan])),)],
    "dropout": [(ROWS, 0.0, 1)],
    "dropout_backward": [(ROWS, ROWS > 0, 0.1), (ROWS, ROWS > 0, 0.0)],
    "softmax": [(30 * ROWS, -1), (ROWS, 0), (np.where(ROWS > 1, -np.inf, ROWS), 1)],
    "softmax_backward": [(ROWS, portable.softmax(ROWS, -1), -1), (ROWS, ROWS, 0)],
    "attention": [
        (Q, K, V, None, False, 0.3, 0, None),
        (Q, K, V, None, True, 0.3, 0, None),
        (Q, K, V, MASK, False, 0.3, 0, None),
        (Q, K, V, normal(40, 40), True, 0.3, 0, None),
        (Q, K, V, np.stack([MASK] * 3), False, 0.3, 0, None),
    ],
    "attention_backward": [
        (Q, Q, K, V, weights, None, 0.3, 0),
        (Q, Q, K, V, weights, weights > 0.02, 0.3, 0.1),
    ],
    "cached_attention": [
        (normal(2, 1, 4, 16), *normal(2, 2, 1, 2, 16), *normal(2, 2, 2, 40, 16), 5, 0.3),
    ],
    "log_softmax": [(30 * ROWS, -1), (ROWS, 0), (np.where(ROWS > 1, -np.inf, ROWS), 1)],
    "log_softmax_backward": [(G, portable.log_softmax(ROWS, -1), -1), (G, ROWS, 0)],
    "cross_entropy": [
        (ROWS, CLASSES, COUNTED, SHARE, None, 0.0),
    ],
    "cross_entropy_backward": [(normal(80), probabilities, share)],
    "linear": [
        *[(W[None, None], ROWS, normal(80)), (W, ROWS, None), (ROWS, G, W[:80])],
        *[(W[None], ROWS, normal(1)), (W[None], ROWS, normal(1, 80))],
    ],
    "embedding_backward": [(ROWS, random.integers(0, 9, 80), 9)],
}


# Kernels whose way back needs what the way forth saved, in a form of their own: the arguments
# forth, and those that the way back has beside the gradient, x, and what was saved.
WAYS = {
    "gelu": [
        ((3 * ROWS,), ()),
        ((np.concatenate([ROWS, normal(1, 128) * np.inf]),), ()),
        ((3 * ROWS, True), ()),
    ],
    "layer_norm": [
        ((ROWS + 5, W, normal(128), 1e-5), (W,)),
        ((Q, None, None, 1e-5), (None,)),
        ((normal(200), None, normal(200), 1e-5), (None,)),
    ],
    "rms_norm": [((ROWS, W, 1e-5), (W,)), ((Q, None, 1e-5), (None,))],
}


def test_every_kernel_has_a_case():
    both = {name + way for name in WAYS for way in ("", "_backward")}
    ours = {n for n in vars(NumbaBackend) if not n.startswith("_")}
    elsewhere = {"stored_linear", "batch_attention"}  # tests/quantization, tests/nn
    assert ours == {*CASES, *both, "sgd", "adam"} | elsewhere


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forth_and_back_are_their_definitions(name, dtype):
    for args, rest in WAYS[name]:
        args = [a.astype(dtype) if hasattr(a, "astype") else a for a in args]
        rest = [a.astype(dtype) if hasattr(a, "astype") else a for a in rest]
        with np.errstate(all="ignore"):
            (y, saved), (exact, portably) = (
                getattr(b, name)(*map(convert, args))
                for b, convert in ((compiled, lambda a: a), (portable, _float64))
            )
            close(y, exact, dtype)
            g = normal(*args[0].shape).astype(dtype)
            back = getattr(compiled, name + "_backward")(g, args[0], saved, *rest)
            exact = getattr(portable, name + "_backward")(
                *map(_float64, (g, args[0])), portably, *map(_float64, rest)
            )
        for part, e in zip(*(r if isinstance(r, tuple) else (r,) for r in (back, exact))):
            close(part, e, dtype)


@pytest.mark.parametrize("scale, eps", [(1e20, 1e-5), (1e-20, 0.0)])
def test_squares_that_float32_cannot_hold(scale, eps):
    """Both ways as with NumPy: neither the one nor the other makes a NaN of them."""
    x, plain = ROWS * np.float32(scale), NumPyBackend()
    for name, args in [("layer_norm", (W, W, eps)), ("rms_norm", (W, eps))]:
        for got, exact in zip(*(_there_and_back(b, name, x, args) for b in (compiled, plain))):
            scale = np.abs(exact).max()
            np.testing.assert_allclose(got, exact, rtol=1e-3, atol=1e-3 * scale)


def _there_and_back(backend, name, x, args):
    with np.errstate(all="ignore"):
        y, saved = getattr(backend, name)(x, *args)
        return y, *getattr(backend, name + "_backward")(G, x, saved, args[0])


def close(got, exact, dtype):
    assert got.dtype == dtype
    scale, eps = np.abs(exact[np.isfinite(exact)]).max(initial=1e-30), np.finfo(dtype).eps
    np.testing.assert_allclose(got, exact, rtol=25 * eps, atol=16 * eps * scale)


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_is_its_definition(name):
    for args in CASES[name]:
        assert max(a.size for a in args if hasattr(a, "size")) >= SMALL
        got = getattr(compiled, name)(*args)
        with np.errstate(all="ignore"):
            exact = getattr(portable, name)(*map(_float64, args))
        for g, e in zip(_parts(name, got), _parts(name, exact), strict=True):
            close(g, e, np.float32)


def _float64(a):
    if isinstance(a, tuple):  # what cross_entropy keeps: the definition keeps whole rows
        share, target = a
        rows = np.zeros(probabilities.shape)
        rows[np.arange(len(target)), target] = share
        return rows
    return a.astype(np.float64) if getattr(a, "dtype", None) == np.float32 else a


def _parts(name, result):
    """The floating results; the last one of cross_entropy is kept in another form."""
    parts = result if isinstance(result, tuple) else (result,)
    parts = parts[:2] if name in ("cross_entropy", "dropout") else parts
    return [p for p in parts if p is not None and p.dtype != bool]


def test_adam_is_its_definition():
    for decoupled, maximize in [(True, False), (False, True)]:
        start = [normal(5000), normal(5000), normal(5000), abs(normal(5000))]
        args = (None, 3, 1e-2, 0.9, 0.999, 1e-8, 0.1, decoupled, maximize)
        ours, exact = [a.copy() for a in start], [a.astype(np.float64) for a in start]
        compiled.adam(*ours, *args)
        portable.adam(*exact, *args)
        for a, b in zip(ours, exact):
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("momentum, dampening", [(0.0, 0.0), (0.9, 0.0), (0.9, 0.3)])
@pytest.mark.parametrize("decay, maximize", [(0.0, False), (0.1, True)])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_its_definition(momentum, dampening, decay, nesterov, maximize):
    p, g = normal(700, 30), normal(30, 700).T  # enough to be compiled
    exact, velocity, exact_velocity = p.astype(np.float64), None, None
    options = (1e-2, momentum, dampening, decay, nesterov, maximize)
    for _ in range(3):  # the first velocity is made, the others are kept
        velocity = compiled.sgd(p, g, velocity, *options)
        g64 = g.astype(np.float64)
        exact_velocity = portable.sgd(exact, g64, exact_velocity, *options)
    np.testing.assert_allclose(p, exact, rtol=2e-6, atol=1e-6)
    assert (velocity is None) == (exact_velocity is None)
    if velocity is not None:
        np.testing.assert_allclose(velocity, exact_velocity, rtol=2e-6, atol=1e-6)


def test_dropout_keeps_the_right_share_and_repeats_with_its_seed():
    x = np.ones((1000, 1000), np.float32)
    y, keep = compiled.dropout(x, 0.3, 12345)
    assert abs(keep.mean() - 0.7) < 5 * (0.3 * 0.7 / x.size) ** 0.5
    np.testing.assert_array_equal(y, keep * np.float32(1 / 0.7))
    np.testing.assert_array_equal(keep, compiled.dropout(x, 0.3, 12345)[1])
    other = compiled.dropout(x, 0.3, 12346)[1]
    assert abs((keep & other).mean() - 0.49) < 0.005
    for lag in (1, 2, 64, 1000):  # neighbours are independent
        assert abs((keep.ravel()[lag:] & keep.ravel()[:-lag]).mean() - 0.49) < 0.005


def test_attention_dropout_matches_its_mask():
    seen, w, keep = compiled.attention(Q, K, V, MASK, False, 0.3, 0.25, 7)
    np.testing.assert_allclose(seen, (w * keep / np.float32(0.75)) @ V, rtol=1e-4, atol=1e-5)
    assert abs(keep.mean() - 0.75) < 0.03


def test_importing_microtensor_does_not_import_numba():
    code = "import microtensor, sys; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
