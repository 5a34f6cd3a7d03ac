"""The loss of a sequence whose steps are not assigned to its targets."""

from __future__ import annotations

import math
from typing import Any

from ... import ops
from ...tensor.creation import arange, as_tensor, full, zeros_like
from ...typing import Tensor
from .losses import _reduced


def ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any,
             blank: int = 0, reduction: str = "mean",
             zero_infinity: bool = False) -> Tensor:  # fmt: skip
    """−ln P(targets), summed over all alignments of targets to steps (Graves et al., 2006).

    `log_probs` (T, N, C), or (T, C), holds ln P of each class at each step; `targets` (N, S), or
    all in one row, the classes in order. A step may also emit `blank`, or repeat the class of the
    step before. Lengths are tensors or sequences (N). The mean is taken of the losses divided by
    the target lengths. With too few steps the loss is infinite, or 0 with `zero_infinity`.
    PyTorch's gradient for `log_probs` has a further term e^log_probs, which a log_softmax before
    it cancels.
    """
    alone = log_probs.ndim == 2
    x = log_probs[:, None] if alone else log_probs
    (steps, n, _), device = x.shape, x.device
    lengths, sizes = (
        as_tensor(v, dtype="int64", device=device).reshape(-1)
        for v in (input_lengths, target_lengths)
    )
    _check_ctc(x, lengths, sizes, blank)
    longest, rows = int(sizes.max()), targets.to("int64")
    if rows.ndim == 1 and not alone:
        starts = ops.cumsum(sizes, 0) - sizes
        rows = ops.cat([rows, rows.new_full((longest,), blank)])
        rows = rows[starts[:, None] + arange(longest, device=device)]
    within = arange(longest, device=device) < sizes[:, None]
    path = full((n, 2 * longest + 1), blank, dtype="int64", device=device)  # – c – a – t –
    path[:, 1::2] = ops.where(within, rows.reshape(n, -1)[:, :longest], blank)
    may_skip = zeros_like(path).bool()  # the blank between two classes that differ
    may_skip[:, 2:] = (path[:, 2:] != blank) & (path[:, 2:] != path[:, :-2])
    x = ops.gather(x, 2, ops.expand(path, (steps, *path.shape)))  # (T, N, 2S + 1)

    # at: ln P of reaching each place of the path; "never" is finite, for a finite derivative
    never = -1e30
    edge = full((n, 2), never, dtype=x.dtype, device=device)
    at = ops.where(arange(path.shape[1], device=device) == 0, zeros_like(x[0]), never)
    for t, now in enumerate(ops.unbind(x)):
        wide = ops.cat([edge, at], 1)
        ways = ops.stack([at, wide[:, 1:-1], ops.where(may_skip, wide[:, :-2], never)])
        at = ops.where((t < lengths)[:, None], ops.logsumexp(ways, 0) + now, at)
    last = ops.stack([2 * sizes, ops.clamp(2 * sizes - 1, 0)], 1)  # the last blank or class
    ends = ops.gather(at, 1, last)
    losses = -ops.where(sizes > 0, ops.logsumexp(ends, 1), ends[:, 0])
    losses = ops.where(losses < -never / 2, losses, 0.0 if zero_infinity else math.inf)
    if reduction == "mean":
        losses = losses / ops.clamp(sizes, 1)
    return _reduced(losses[0] if alone else losses, reduction)


def _check_ctc(x, lengths, sizes, blank):
    """Raise RuntimeError for lengths and a blank that do not go with the input (T, N, C)."""
    steps, n, classes = x.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"ctc_loss: blank is one of {classes} classes, got {blank}")
    for name, given, most in (("input", lengths, steps), ("target", sizes, math.inf)):
        if len(given) != n:
            raise RuntimeError(f"ctc_loss: {n} {name}_lengths are needed, got {len(given)}")
        if not all(0 <= v <= most for v in given.tolist()):
            raise RuntimeError(
                f"ctc_loss: {name}_lengths lie within 0 … {most}, got {given.tolist()}"
            )
