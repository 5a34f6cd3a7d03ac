"""Windows: convolution and pooling."""

import math

import numpy as np

from .table import case


def cut(x, size, step, far):
    """The windows of (N, C, H, W), one after the other: (N, C, K, P, Q)."""
    counts = [(n - f * (k - 1) - 1) // s + 1 for n, k, s, f in zip(x.shape[2:], size, step, far)]
    out = np.zeros((*x.shape[:2], math.prod(size), *counts))
    for k, place in enumerate(np.ndindex(*size)):
        for at in np.ndindex(*counts):
            index = tuple(a * s + p * f for a, s, p, f in zip(at, step, place, far))
            out[(slice(None), slice(None), k, *at)] = x[(slice(None), slice(None), *index)]
    return out


def fold(w, shape, size, step, far):
    """The transpose of `cut`, from its matrix."""
    n = math.prod(shape)
    matrix = cut(np.eye(n).reshape(n, 1, *shape), size, step, far).reshape(n, -1)
    return (w.reshape(*w.shape[:2], -1) @ matrix.T).reshape(*w.shape[:2], *shape)


def conv(x, w, b, step, pad, far, groups):
    """A convolution, from the windows of each group."""
    n = w.ndim - 2
    x = np.pad(x, ((0, 0), (0, 0), *[(pad, pad)] * n))
    out = []
    for part, weight in zip(np.split(x, groups, 1), np.split(w, groups)):
        windows = cut(part, w.shape[2:], (step,) * n, (far,) * n)
        weight = weight.reshape(*weight.shape[:2], -1)
        out.append(np.einsum("nck...,ock->no...", windows, weight))
    return np.concatenate(out, 1) + b.reshape(-1, *[1] * n)


def transposed(x, w, b, step, pad):
    n = w.ndim - 2
    columns = np.einsum("nc...,cok->nok...", x, w.reshape(*w.shape[:2], -1))
    shape = [(s - 1) * step + k for s, k in zip(x.shape[2:], w.shape[2:])]
    y = fold(columns, shape, w.shape[2:], (step,) * n, (1,) * n)
    return y[(..., *[slice(pad, s - pad) for s in shape])] + b.reshape(-1, *[1] * n)


def pool(x, size, step, how):
    n = x.ndim - 2
    return how(cut(x, (size,) * n, (step,) * n, (1,) * n), axis=2)


def parts(x, count, how):
    """`how` of nearly alike parts of every dimension but the first two."""
    for dim in range(2, x.ndim):
        n = x.shape[dim]
        ends = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        taken = [how(x.take(range(a, b), dim), axis=dim, keepdims=True) for a, b in ends]
        x = np.concatenate(taken, dim)
    return x


for size, step, far in (
    ((2, 3), (1, 1), (1, 1)),
    ((2, 2), (2, 1), (1, 2)),
    ((1, 1), (3, 2), (1, 1)),
):
    how = {"sizes": size, "steps": step, "spread": far}
    case("windows", lambda x, h=how: cut(x, *h.values()), (2, 2, 5, 4), **how, torch=None)
    case("fold", lambda w, h=how: fold(w, (5, 4), *h.values()),
         cut(np.zeros((2, 2, 5, 4)), *how.values()).shape, shape=(5, 4), **how,
         torch=None)  # fmt: skip
case("windows", lambda x: cut(x, (3,), (2,), (1,)), (1, 2, 6), sizes=(3,), steps=(2,), spread=(1,),
     torch=None)  # fmt: skip
case("max_pool",
     lambda x: (cut(x, (2, 2), (1, 2), (1, 1)).max(2), cut(x, (2, 2), (1, 2), (1, 1)).argmax(2)),
     (2, 2, 4, 5), sizes=(2, 2), steps=(1, 2), spread=(1, 1), torch=None)  # fmt: skip
for n in (1, 2):
    line = (5, 4)[:n]
    for step, pad, far, groups in ((1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1)):
        case(f"conv{n}d", lambda x, w, b, h=(step, pad, far, groups): conv(x, w, b, *h),
             (2, 4, *line), (2, 4 // groups, *(2, 2)[:n]), (2,), stride=step, padding=pad,
             dilation=far, groups=groups)  # fmt: skip
    for step, pad in ((1, 0), (2, 1)):
        case(f"conv_transpose{n}d", lambda x, w, b, h=(step, pad): transposed(x, w, b, *h),
             (2, 3, *line), (3, 2, *(3, 2)[:n]), (2,), stride=step, padding=pad)  # fmt: skip
    for size, step in ((2, 2), (3, 1)):
        case(f"max_pool{n}d", lambda x, h=(size, step): pool(x, *h, np.max), (2, 2, *line),
             kernel_size=size, stride=step)  # fmt: skip
        case(f"avg_pool{n}d", lambda x, h=(size, step): pool(x, *h, np.mean), (2, 2, *line),
             kernel_size=size, stride=step)  # fmt: skip
    case(f"adaptive_max_pool{n}d", lambda x: parts(x, 3, np.max), (2, 2, *line), output_size=3,
         torch=lambda m, x, n=n: getattr(m.nn.functional, f"adaptive_max_pool{n}d")(x, 3),
         )  # fmt: skip
    case(f"adaptive_avg_pool{n}d", lambda x: parts(x, 3, np.mean), (2, 2, *line), output_size=3)
