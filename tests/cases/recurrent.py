"""Recurrent networks over a whole sequence."""

import numpy as np

from .table import case, sigmoid


def recurrent(kind, x, h, w, b, keep, reverse=False, relu=False, c=None):
    """RNN, GRU or LSTM step by step, as their papers have it."""
    y = np.zeros((len(x), *h.shape))
    for t in range(len(x))[:: -1 if reverse else 1]:
        m = h @ w.T + (0 if b is None else b)
        if kind == "rnn":
            new = np.maximum(x[t] + m, 0) if relu else np.tanh(x[t] + m)
        elif kind == "gru":
            (xr, xz, xn), (mr, mz, mn) = np.split(x[t], 3, 1), np.split(m, 3, 1)
            r, z = sigmoid(xr + mr), sigmoid(xz + mz)
            new = (1 - z) * np.tanh(xn + r * mn) + z * h
        else:
            i, f, u, o = np.split(x[t] + m, 4, 1)
            cell = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
            new = sigmoid(o) * np.tanh(cell)
            c = cell if keep is None else np.where(keep[t], cell, c)
        y[t] = h = new if keep is None else np.where(keep[t], new, h)
    return y if c is None else (y, c)


GOES_ON = np.array([[True, True], [True, False], [False, True]])[..., None]
for keep, reverse in ((None, False), (None, True), (GOES_ON, False), (GOES_ON, True)):
    for relu in (False, True):
        case("rnn", lambda x, h, w, k, r=reverse, u=relu: recurrent("rnn", x, h, w, None, k, r, u),
             (3, 2, 4), (2, 4), (4, 4), keep, relu=relu, reverse=reverse, torch=None)  # fmt: skip
    case("gru", lambda x, h, w, b, k, r=reverse: recurrent("gru", x, h, w, b, k, r),
         (3, 2, 6), (2, 2), (6, 2), (6,), keep, reverse=reverse, torch=None)  # fmt: skip
    case("lstm", lambda x, h, c, w, k, r=reverse: recurrent("lstm", x, h, w, None, k, r, c=c),
         (3, 2, 8), (2, 2), (2, 2), (8, 2), keep, reverse=reverse, torch=None)  # fmt: skip
case("gru", lambda x, h, w, b, k: recurrent("gru", x, h, w, b, k),
     (3, 2, 6), (2, 2), (6, 2), None, None, torch=None)  # fmt: skip
