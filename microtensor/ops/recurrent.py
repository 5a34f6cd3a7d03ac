"""Recurrent layers over a whole sequence, and backpropagation through time.

Each takes x (T, N, gates·H), the inputs times their weights, computed for all times at once; the
state h (N, H) before the first step; and `keep` (T, N, 1) or None: where it is false, a sequence
has not begun or has ended, and its state stays as it is. With `reverse`, time runs backwards.
The gradient of the weight is one matrix product for all times.
"""

from ..autograd import op
from ..backends import backend_of, xp


@op
def rnn_(x, h, weight, keep, /, relu=False, reverse=False):
    """hₜ = φ(xₜ + hₜ₋₁ weightᵀ), φ = tanh or relu; all of them: (T, N, H).

    ∂xₜ = (gₜ + ∂hₜ) φ′,  φ′ = 1 − hₜ² or hₜ > 0,    ∂hₜ₋₁ = ∂xₜ weight,    ∂weight = Σ ∂xₜᵀ hₜ₋₁
    """
    times, before, y = _times(x, reverse), [None] * x.shape[0], [None] * x.shape[0]
    for t in times:
        a, before[t] = x[t, ...] + h @ weight.T, h
        new = backend_of(a).where(a > 0, a, 0.0) if relu else xp(a).tanh(a)
        y[t] = h = _kept(keep, t, new, h)

    def pull(g):
        gh, gx = xp(g).zeros_like(g[0, ...]), [None] * len(y)
        for t in reversed(times):
            gh = gh + g[t, ...]
            slope = backend_of(g).where(y[t] > 0, gh, 0.0) if relu else gh * (1 - y[t] * y[t])
            gx[t] = _kept(keep, t, slope, 0.0)
            gh = _kept(keep, t, slope @ weight, gh)
        gx = xp(g).stack(gx)
        return gx, gh, _weight_gradient(gx, before), None

    return xp(x).stack(y), pull


@op
def gru_(x, h, weight, bias, keep, /, reverse=False):
    """hₜ = (1 − z) n + z hₜ₋₁, all of them: (T, N, H) (arXiv:1406.1078).

    With x cut in xʳ, xᶻ, xⁿ and m = hₜ₋₁ weightᵀ + bias in mʳ, mᶻ, mⁿ:
    r = σ(xʳ + mʳ), z = σ(xᶻ + mᶻ), n = tanh(xⁿ + r mⁿ).
    ∂n = g (1 − z),  ∂xⁿ = ∂n (1 − n²),    ∂xᶻ = g (hₜ₋₁ − n) z (1 − z),    ∂xʳ = ∂xⁿ mⁿ r (1 − r),
    ∂m = ∂x but ∂mⁿ = ∂xⁿ r,    ∂hₜ₋₁ = ∂m weight + g z,    ∂weight = Σ ∂mᵀ hₜ₋₁,    ∂bias = Σ ∂m
    """
    times, saved, y = _times(x, reverse), [None] * x.shape[0], [None] * x.shape[0]
    sigmoid, tanh = backend_of(x).sigmoid, xp(x).tanh
    for t in times:
        xr, xz, xn = _cut(x[t, ...], 3)
        mr, mz, mn = _cut(backend_of(h).linear(h, weight, bias), 3)
        r, z = sigmoid(xr + mr), sigmoid(xz + mz)
        n = tanh(xn + r * mn)
        saved[t] = r, z, n, mn, h
        y[t] = h = _kept(keep, t, n + z * (h - n), h)

    def pull(g):
        gh, gx, gm = xp(g).zeros_like(g[0, ...]), [None] * len(y), [None] * len(y)
        for t in reversed(times):
            r, z, n, mn, h = saved[t]
            gh = gh + g[t, ...]
            to_n = gh * (1 - z) * (1 - n * n)
            to_z = gh * (h - n) * z * (1 - z)
            to_r = to_n * mn * r * (1 - r)
            gx[t] = _kept(keep, t, xp(g).concat([to_r, to_z, to_n], axis=1), 0.0)
            gm[t] = _kept(keep, t, xp(g).concat([to_r, to_z, to_n * r], axis=1), 0.0)
            gh = _kept(keep, t, gm[t] @ weight + gh * z, gh)
        gm = xp(g).stack(gm)
        to_weight = _weight_gradient(gm, [s[-1] for s in saved])
        to_bias = None if bias is None else backend_of(gm).sum_rows(gm)
        return xp(g).stack(gx), gh, to_weight, to_bias, None

    return xp(x).stack(y), pull


@op(several=True)
def lstm_(x, h, c, weight, keep, /, reverse=False):
    """cₜ = f cₜ₋₁ + i u, hₜ = o tanh(cₜ): all h (T, N, H), and the last c (N, H).

    i, f, o = σ and u = tanh of a = xₜ + hₜ₋₁ weightᵀ, cut in the order i, f, u, o (Hochreiter and
    Schmidhuber 1997; the gate f: Gers et al. 2000).
    ∂cₜ = what comes from later + g o (1 − tanh² cₜ),    ∂cₜ₋₁ = ∂cₜ f,
    ∂a = ∂cₜ u i (1 − i),  ∂cₜ cₜ₋₁ f (1 − f),  ∂cₜ i (1 − u²),  g tanh(cₜ) o (1 − o),
    ∂hₜ₋₁ = ∂a weight,    ∂weight = Σ ∂aᵀ hₜ₋₁
    """
    times, saved, y = _times(x, reverse), [None] * x.shape[0], [None] * x.shape[0]
    sigmoid, tanh = backend_of(x).sigmoid, xp(x).tanh
    for t in times:
        i, f, u, o = _cut(x[t, ...] + h @ weight.T, 4)
        i, f, u, o = sigmoid(i), sigmoid(f), tanh(u), sigmoid(o)
        new = f * c + i * u
        s = tanh(new)
        saved[t] = i, f, u, o, s, c, h
        c, h = _kept(keep, t, new, c), _kept(keep, t, o * s, h)
        y[t] = h

    def pull(gs):
        g, gc = gs
        gh, ga = xp(g).zeros_like(gc), [None] * len(y)
        for t in reversed(times):
            i, f, u, o, s, c, _ = saved[t]
            gh = gh + g[t, ...]
            to_c = gc + gh * o * (1 - s * s)
            to_i, to_f = to_c * u * i * (1 - i), to_c * c * f * (1 - f)
            to_u, to_o = to_c * i * (1 - u * u), gh * s * o * (1 - o)
            ga[t] = _kept(keep, t, xp(g).concat([to_i, to_f, to_u, to_o], axis=1), 0.0)
            gc, gh = _kept(keep, t, to_c * f, gc), _kept(keep, t, ga[t] @ weight, gh)
        ga = xp(g).stack(ga)
        return ga, gh, gc, _weight_gradient(ga, [s[-1] for s in saved]), None

    return (xp(x).stack(y), c), pull


def _times(x, reverse):
    return range(x.shape[0])[:: -1 if reverse else 1]


def _cut(a, parts):
    """(N, parts·H) as that many (N, H)."""
    n = a.shape[1] // parts
    return [a[:, i * n : (i + 1) * n] for i in range(parts)]


def _kept(keep, t, new, old):
    """The new where a sequence goes on at time t, else the old."""
    return new if keep is None else backend_of(new).where(keep[t, ...], new, old)


def _weight_gradient(g, h):
    """Σ gₜᵀ hₜ for g (T, N, m) and T times h (N, n)."""
    return backend_of(g).linear_backward_weight(g, xp(g).stack(h))
