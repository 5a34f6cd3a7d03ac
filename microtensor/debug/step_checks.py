"""Checks of a training step."""

import math

import numpy as np

from ..autograd import grad
from ..backends import quiet
from ..tensor.creation import tensor
from .derivative_checks import _close
from .finding import Finding
from .trial import STEPS, _numpy

GRADIENTS = {"sign", "derivative", "broadcast", "accumulate"}


def _forgetful(p):
    """When the optimizer steps, .grad is the gradient of this batch alone."""
    if p.step is None:
        return None
    p.train()
    alone = {w: _numpy(w.grad).copy() for w in p.names if w.grad is not None}
    if not any(g.any() for g in alone.values()):
        return []  # the step clears them at its end
    p.restore()
    chance = np.random.default_rng(0)
    for w, g in alone.items():
        mark = chance.choice([-1.0, 1.0], g.shape) * (np.abs(g).mean() + 1e-3)
        w.grad = tensor(mark).to(w.device, w.dtype)
    p.train()
    after = {w: np.zeros_like(g) if w.grad is None else _numpy(w.grad) for w, g in alone.items()}
    kept = [p.names[w] for w, g in alone.items() if not _close(after[w], g)]
    if not kept:
        return []
    evidence = "marks were left in .grad before a step, and were still in it when the optimizer "
    evidence += "stepped: every step goes along the sum of all gradients so far"
    return [Finding("zero_grad", "the training step", evidence)]


def _downhill(p):
    """A step goes down the slope of the loss."""
    if p.step is None or {f.kind for f in p.findings} & GRADIENTS:
        return None
    p.restore(fresh=True)  # momentum may move elsewhere
    _, loss = p.run()
    wanted = [w for w in p.names if w.requires_grad]
    slopes = grad(loss, wanted, allow_unused=True)
    before = [_numpy(w).astype(np.float64) for w in wanted]
    moved = p.train()
    slope = along = size = 0.0
    for w, g, b in zip(wanted, slopes, before):
        if g is not None:
            size += float((_numpy(g) ** 2).sum())
            slope += float(((_numpy(w) - b) * _numpy(g)).sum())
            if w.grad is not None:
                along += float((_numpy(w.grad) * _numpy(g)).sum())
    if size and not moved and any(g["lr"] != 0 for g in _groups(p) or [{"lr": 1}]):
        evidence = (
            f"the norm of the loss's gradient is {math.sqrt(size):.3g}, but no parameter moves: "
        )
        evidence += (
            ".grad is empty when the optimizer steps, or it has other parameters than the model"
        )
        return [Finding("missing", "the training step", evidence)]
    if not slope > 0:
        return []
    evidence = f"step · gradient of the loss is {slope:+.3g}: the step goes up the slope. "
    if along < 0:
        evidence += (
            "The gradients in .grad point against the loss's own: what was given to backward() "
        )
        return [Finding("sign", "the loss of the step", evidence + "has the wrong sign")]
    return [Finding("sign", "the update", evidence + "Right is p ← p − lr · gradient")]


@quiet
def _descends(p):
    """A few steps on one batch make its loss smaller."""
    if p.step is None or {f.kind for f in p.findings} & (GRADIENTS | {"alike"}):
        return None
    losses = p.losses()
    if _falls(losses):
        return []
    evidence = f"{STEPS} steps on one batch took its loss from {_series(losses)}"
    groups = _groups(p)
    where = f"lr = {groups[0]['lr']:g}" if groups else "the training step"
    for quarters in range(1, 11) if groups else ():
        p.restore()
        for g in groups:
            g["lr"] *= 0.25**quarters
        losses = p.losses()
        if _falls(losses):
            evidence += f"; with lr = {groups[0]['lr']:.2g}, from {_series(losses)}"
            break
    return [Finding("lr", where, evidence)]


def _groups(p):
    return [g for g in getattr(p.optimizer, "param_groups", []) if "lr" in g]


def _falls(losses):
    limit = losses[0] + 0.1 * max(
        abs(losses[0]), 1
    )  # a loss that is small already need not fall further
    return all(x <= limit for x in losses)  # NaN is not


def _series(losses):
    return f"{losses[0]:.3g} to " + ", ".join(f"{x:.3g}" for x in losses[1:])
