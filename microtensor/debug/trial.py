"""Trial: a model with its batch and its training step, which checks run and then restore."""

import inspect
from collections import defaultdict
from contextlib import contextmanager

import numpy as np

from ..autograd import TensorBase, enable_grad, no_grad
from ..backends import backend_of
from ..graph.trace import _nodes, called_at, watch
from ..nn import functional as F
from ..tensor import random

STEPS = 5  # training steps on one batch: enough for the loss to fall
PATIENCE = 8  # the most calls of a training step until it changes a weight


@contextmanager
def restoring(model, optimizer):
    """A context manager that restores everything at its end.

    Its `restore()` does so in between, and removes gradients; restore(fresh=True) also clears the
    state of the optimizer.
    """
    tensors = [*model.parameters(), *model.buffers()]
    values = [t.detach().clone() for t in tensors]
    owners = [(m, dict(m._buffers), m.training) for m in model.modules()]
    grads = [(p, p.grad) for p in model.parameters()]
    needs = [p.requires_grad for p, _ in grads]
    generator = random.get_rng_state()
    state = getattr(optimizer, "state", None)
    groups = [dict(g) for g in getattr(optimizer, "param_groups", [])]

    def restore(fresh=False):
        for module, buffers, training in owners:
            module._buffers.update(buffers)
            module.training = training
        with no_grad():
            for t, value in zip(tensors, values):
                if not np.array_equal(_numpy(t), _numpy(value), equal_nan=True):
                    t.copy_(value)
        for (p, _), need in zip(grads, needs):
            p.grad = None
            p.requires_grad_(need)
        for group, options in zip(getattr(optimizer, "param_groups", []), groups):
            group.update(options)
        if state is not None:
            restored = {} if fresh else {p: _copy(memory) for p, memory in state.items()}
            optimizer.state = defaultdict(dict, restored)
        random.set_rng_state(generator)

    try:
        yield restore
    finally:
        restore()
        for p, g in grads:
            p.grad = g
        if state is not None:
            optimizer.state = state


def _copy(memory):
    return {k: v.clone() if isinstance(v, TensorBase) else v for k, v in memory.items()}


class Trial:
    """A model with its batch, loss, optimizer and training step."""

    def __init__(self, model, batch, loss, optimizer, step, evaluate, restore):
        self.model, self.batch, self.loss_function = model, batch, loss
        self.optimizer, self.evaluate, self.restore = optimizer, evaluate, restore
        self.step = self.default_step if step == "default" else step
        self.names = {p: name for name, p in model.named_parameters()}
        try:
            inspect.signature(model.forward).bind(*batch)
            self.whole = loss is None
        except TypeError:
            self.whole = False
        self.generator = random.get_rng_state()
        self.watch = watch(model)
        with self.watch, enable_grad():
            self.output, self.loss = self.run()
        restore()
        if self.loss.grad_fn is None:
            raise RuntimeError(
                "diagnose: the loss does not depend on a parameter that requires a gradient"
            )
        self.nodes = _nodes([self.loss])

    def run(self, *batch):
        """(output, loss) of the batch, always with the same random numbers."""
        random.set_rng_state(self.generator)
        return self.forward(*batch)

    def forward(self, *batch):
        batch = batch or self.batch
        given = self.model(*(batch if self.whole else batch[:-1] or batch))
        parts = given if isinstance(given, tuple) else (given,)
        if self.whole and parts[-1].numel() == 1:
            return (parts[0] if len(parts) > 1 else None), parts[-1]
        if self.whole and len(batch) < 2:
            raise ValueError(
                f"diagnose: {type(self.model).__name__} returns no loss; give the batch its "
                "targets, (inputs, targets)"
            )
        return parts[0], (self.loss_function or _loss)(parts[0], batch[-1])

    def value(self):
        """The loss with the current weights, as a number."""
        with no_grad():
            return float(self.run()[1])

    def losses(self):
        """The losses of the batch before and after each of a few steps on it."""
        losses, generator = [self.value()], self.generator
        for _ in range(STEPS):
            random.set_rng_state(generator)
            self.step(*self.batch)
            generator = random.get_rng_state()
            losses.append(self.value())
        return losses

    def train(self):
        """Make steps until a weight changes: some loops accumulate gradients over several steps."""
        before = [_numpy(w).copy() for w in self.names]
        for _ in range(PATIENCE):
            random.set_rng_state(self.generator)
            self.step(*self.batch)
            if any((_numpy(w) != b).any() for w, b in zip(self.names, before)):
                return True
        return False

    def default_step(self, *batch):
        self.optimizer.zero_grad()
        self.forward(*batch)[1].backward()
        self.optimizer.step()

    @contextmanager
    def evaluating(self):
        self.model.eval()
        try:
            with no_grad():
                yield
        finally:
            self.restore()

    def where(self, node, watched=None):
        """A text for the operation, its module, and the line that called it."""
        chain = (watched or self.watch).chain(node.number)
        path = next((c.path for c in reversed(chain) if c.path), "")
        line = called_at(node).partition(": ")[0]
        return f"{node.name()} in {path} ({line})" if path else f"{node.name()} ({line})"

    @property
    def texts(self):
        """(tokens (B, T), targets (B, T)) of a language model, else None."""
        if self.output is None or len(self.batch) != 2 or self.output.ndim != 3:
            return None
        idx, targets = (_numpy(t) for t in self.batch)
        alike = idx.shape == targets.shape == tuple(self.output.shape[:2]) and idx.ndim == 2
        whole = alike and idx.dtype.kind in "iu" and targets.dtype.kind in "iu"
        return (idx, targets) if whole and idx.shape[1] > 1 else None

    @property
    def classes(self):
        """The dimension of the classes in the output, if the targets are integers."""
        if self.output is None or len(self.batch) < 2:
            return None
        target, shape = _numpy(self.batch[-1]), tuple(self.output.shape)
        if target.dtype.kind not in "iu":
            return None
        dims = [d for d in (len(shape) - 1, 1) if shape[:d] + shape[d + 1 :] == target.shape]
        return dims[0] if dims and len(shape) > 1 else None


def _loss(output, target):
    if target.is_floating_point():
        return F.mse_loss(output, target)
    if output.ndim > 2 and output.shape[:-1] == target.shape:
        return F.cross_entropy(output.flatten(0, -2), target.flatten())
    return F.cross_entropy(output, target)


def _numpy(t):
    array = t._data if isinstance(t, TensorBase) else t
    return np.asarray(backend_of(array).to_numpy(array))
