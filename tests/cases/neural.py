"""What neural networks are made of."""

import itertools

import numpy as np

from .table import INDEX, case, softmax


def layer_norm(x, weight=1, bias=0, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def attention(q, k, v, mask=None, causal=False):
    scores = q @ k.mT * 0.5
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    return softmax(scores) @ v


def cross_entropy(x, target, weight, ignore_index, smoothing):
    logs = np.log(softmax(x))
    weight = np.ones(x.shape[-1]) if weight is None else weight
    one_hot = np.eye(x.shape[-1])[np.where(target == ignore_index, 0, target)]
    share = ((1 - smoothing) * one_hot + smoothing / x.shape[-1]) * weight
    return -(share * logs).sum(-1) * (target != ignore_index)


case("linear", lambda x, w, b: x @ w.T + b, (5, 3), (4, 3), (4,))
case("linear", lambda x, w, b: x @ w.T, (2, 5, 3), (4, 3), None)
case("linear", lambda x, w, b: x @ w.T + b, (3,), (4, 3), (4,))
case("linear", lambda x, w, b: x @ w.T + b, (0, 3), (4, 3), (4,))
case("embedding", lambda w, i: w[i], (5, 3), INDEX,
     torch=lambda m, w, i: m.nn.functional.embedding(i, w))  # fmt: skip
case("embedding", lambda w, i: w[i], (5, 3), np.array(2),
     torch=lambda m, w, i: m.nn.functional.embedding(i, w))  # fmt: skip
for axis in (-1, 0, 1):
    case("softmax", lambda x, d=axis: softmax(x, d), (2, 3, 4), dim=axis)
    case("log_softmax", lambda x, d=axis: np.log(softmax(x, d)), (2, 3, 4), dim=axis)
case("softmax", lambda x: x, (0, 3), dim=1)
case("layer_norm", layer_norm, (2, 3, 4), (4,), (4,), eps=1e-5,
     torch=lambda m, x, w, b: m.nn.functional.layer_norm(x, (4,), w, b))  # fmt: skip
case("layer_norm", lambda x, w, b: layer_norm(x), (3, 4), None, None, eps=1e-5,
     torch=lambda m, x, w, b: m.nn.functional.layer_norm(x, (4,)))  # fmt: skip
case("layer_norm", lambda x, w, b: layer_norm(x), (0, 4), None, None, eps=1e-5,
     torch=lambda m, x, w, b: m.nn.functional.layer_norm(x, (4,)))  # fmt: skip
case("rms_norm", lambda x, w: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w,
     (2, 3, 4), (4,), eps=1e-5,
     torch=lambda m, x, w: m.nn.functional.rms_norm(x, (4,), w, 1e-5))  # fmt: skip
case("rms_norm", lambda x, w: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5), (3, 4), None,
     eps=1e-5, torch=lambda m, x, w: m.nn.functional.rms_norm(x, (4,), w, 1e-5))  # fmt: skip
SEEN = np.array([[True, False, True, True, False], [True] * 5, [False, True, False, False, False]])
for mask, causal in (
    (None, False),
    (None, True),
    (SEEN, False),
    ((3, 5), False),
    ((1, 2, 1, 5), False),
):
    case("attention", lambda q, k, v, mask, c=causal: attention(q, k, v, mask, c),
         (2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 6), mask, causal=causal, scale=0.5, p=0.0, seed=0,
         torch=lambda m, q, k, v, mask, c=causal: m.nn.functional.scaled_dot_product_attention(
             q, k, v, mask, is_causal=c, scale=0.5))  # fmt: skip


def dropped(x):
    """What dropout leaves: its mask comes from a seed, the same on every device but the GPU."""
    keep = np.random.Generator(np.random.SFC64(5)).random(x.shape, dtype=np.float32) >= 0.25
    return x * keep / 0.75


case("dropout", dropped, (3, 4), p=0.25, seed=5, torch=None)
TARGET = np.array([0, 2, 3, 2, 1])
WEIGHTS = (None, np.array([0.5, 2.0, 0.0, 1.0]))
for weight, smoothing, ignored in itertools.product(WEIGHTS, (0.0, 0.1), (-100, 2)):
    how = {"ignore_index": ignored, "smoothing": smoothing}
    case("cross_entropy", lambda x, t, w, h=how: cross_entropy(x, t, w, **h),
         (5, 4), TARGET, weight, **how,
         torch=lambda m, x, t, w, h=how: m.nn.functional.cross_entropy(
             x, t, w, ignore_index=h["ignore_index"], label_smoothing=h["smoothing"],
             reduction="none"))  # fmt: skip
case("binary_cross_entropy", lambda x, t: -t * np.log(x) - (1 - t) * np.log(1 - x), (5, 3),
     (5, 3), domain=(0.05, 0.95),
     torch=lambda m, *xs: m.nn.functional.binary_cross_entropy(*xs, reduction="none"))  # fmt: skip
case("observe", lambda a, b: (a, b), (2, 3), (4,), see=lambda g: g, torch=None, shares=True)
