"""What is wrong with a model that does not learn, where, and how one can tell.

print(mt.diagnose(model, batch))
print(mt.diagnose(model, batch, optimizer=optimizer, step=train_step, evaluate=evaluate))

Nothing here knows a bug by its looks. Each check is a sentence that holds of every model that is
right, and is put to the test on this one: its docstring is the sentence.
"""

import inspect
import math
import textwrap
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np

from ..autograd import TensorBase, enable_grad, grad, no_grad
from ..backends import backend_of, quiet
from ..graph.flow import flow_of
from ..graph.trace import _nodes, called_at, watch
from ..nn import functional as F
from ..tensor import random
from ..tensor.creation import tensor

__all__ = ["KINDS", "Finding", "Report", "diagnose"]

WIDTH = 100  # columns of a terminal
SLACK = 2e-3  # how far a float32 pullback may be from central differences, relatively
STEPS = 5  # of training, on one batch: enough for the loss to fall
PATIENCE = 8  # calls of a training step until it moves a weight

KINDS = {
    "nan": "the loss is not a number",
    "targets": "the targets are not the next tokens",
    "mask": "no causal mask: a token sees what comes after it",
    "softmax": "a softmax over the wrong dimension",
    "sign": "a wrong sign",
    "broadcast": "broadcasting is not undone in backward",
    "derivative": "a wrong derivative",
    "accumulate": "a gradient replaces another where they should add",
    "missing": "no gradient arrives",
    "alike": "weights that are all alike, and stay so",
    "dropout": "evaluation depends on chance",
    "zero_grad": "old gradients are still there: zero_grad is missing",
    "lr": "the learning rate is too high",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: its kind, a key of KINDS; where it is; how one can tell."""

    kind: str
    where: str
    evidence: str

    def __str__(self):
        return f"{KINDS[self.kind]}\n" + _pair("where", self.where) + _pair("seen", self.evidence)


@dataclass
class Report:
    """What `diagnose` found: the findings, and the sentences that were tested, or could not be."""

    model: str
    findings: list = field(default_factory=list)
    held: list = field(default_factory=list)
    untested: list = field(default_factory=list)

    @property
    def healthy(self):
        """Whether nothing was found."""
        return not self.findings

    @property
    def kinds(self):
        """The kinds of what was found: {"mask"}."""
        return {f.kind for f in self.findings}

    def __iter__(self):
        return iter(self.findings)

    def __len__(self):
        return len(self.findings)

    def __str__(self):
        n = len(self.findings)
        told = "healthy" if not n else f"{n} thing{'s' * (n > 1)} wrong"
        lines = [f"{self.model}: {told}", ""]
        lines += [f"{i}. {finding}" for i, finding in enumerate(self.findings, 1)]
        lines += [f"  ✓ {sentence}" for sentence in self.held]
        lines += [f"  – {sentence} (not tested)" for sentence in self.untested]
        return "\n".join(lines)

    __repr__ = __str__


def _pair(name, text):
    """ "   where  blocks.0.attention", wrapped under itself."""
    start = f"   {name:5}  "
    return textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * 10) + "\n"


def diagnose(model, batch, *, loss=None, optimizer=None, step=None, evaluate=None):
    """What is wrong with a model, where, and the evidence: a `Report`.

    `model(*batch)` gives the loss, alone or last of a tuple; a model that takes all but the last of
    the batch is judged by `loss(output, target)`, by default cross-entropy for whole numbers and
    the mean squared error for others. With an `optimizer`, steps of training are judged too:
    `step(*batch)` makes one, by default zero_grad, backward, optimizer.step. `evaluate(*batch)` is
    what measures the loss after training.

    Everything is left as it was: weights, gradients, optimizer, modes and random numbers.
    A small batch is enough, a few texts; float32 and float64 models are judged to their precision.
    """
    batch = batch if isinstance(batch, tuple | list) else (batch,)
    if step is None and optimizer is not None:
        step = "default"
    report = Report(type(model).__name__)
    with _as_it_was(model, optimizer) as restore:
        patient = _Patient(model, tuple(batch), loss, optimizer, step, evaluate, restore)
        for check in CHECKS:
            sentence = check.__doc__.split("\n")[0].rstrip(".")
            patient.findings = report.findings
            restore()
            found = check(patient)
            if found is None:
                report.untested.append(sentence)
            elif found:
                report.findings += found
                if found[0].kind == "nan":
                    break
            else:
                report.held.append(sentence)
    return report


@contextmanager
def _as_it_was(model, optimizer):
    """A function that puts everything back as it was, but gradients, which are none.

    With `fresh`, the optimizer remembers nothing.
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
            kept = {} if fresh else {p: _copy(memory) for p, memory in state.items()}
            optimizer.state = defaultdict(dict, kept)
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


class _Patient:
    """A model with what it is to be judged by."""

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
        """(output, loss) of a batch, every time with the same random numbers."""
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
        """The loss as a number, as the weights now are."""
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
        """Take a step, or several, until a weight moves: some loops collect gradients for long."""
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
        """The operation, the module that it is part of, the line that called it."""
        chain = (watched or self.watch).chain(node.number)
        path = next((c.path for c in reversed(chain) if c.path), "")
        line = called_at(node).partition(": ")[0]
        return node.name() + f" in {path}" * bool(path) + f" ({line})"

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
        """The dimension of the output that is over classes, if the targets are whole numbers."""
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


# ---- what is asked -------------------------------------------------------------------------------


def _number(p):
    """The loss is a number."""
    value = float(p.loss)
    if math.isfinite(value):
        return []
    broken = [n for w, n in p.names.items() if not np.isfinite(_numpy(w)).all()]
    for node in p.nodes:
        for a, edge in zip(node.args, node.edges):
            if not broken and edge and np.isnan(_numpy(a)).any():
                leaf = isinstance(edge[0], TensorBase)
                broken = [f"an input of {p.where(node)}" if leaf else p.where(edge[0])]
    return [Finding("nan", ", ".join(broken[:3]) or p.where(p.nodes[-1]), f"the loss is {value}")]


def _shifted(p):
    """The target of each token is the token after it."""
    if p.texts is None:
        return None
    idx, targets = p.texts
    if (idx[:, 1:] == idx[:, :-1]).all():
        return None  # one letter again and again: nothing can be told
    shifts = {"+ 2": (idx[:, 2:], targets[:, :-2]), "- 1": (idx[:, :-1], targets[:, 1:])}
    wrong = [s for s, (a, b) in {"": (idx, targets), **shifts}.items() if a.size and (a == b).all()]
    if (idx[:, 1:] == targets[:, :-1]).all() or not wrong:
        return []
    told = f"targets[:, t] = idx[:, t {wrong[0]}".rstrip() + "] in the whole batch: the model is "
    told += "taught to " + ("leave one out" if "2" in wrong[0] else "repeat what it has been given")
    told += ", not to predict. Right is targets[:, t] = idx[:, t + 1]"
    return [Finding("targets", "the batch", told)]


def _causal(p):
    """What a language model says of a token does not depend on the tokens after it."""
    if p.texts is None or not (p.texts[1][:, :-1] == p.texts[0][:, 1:]).all():
        return None  # a model that is not taught to predict may look where it likes
    if {f.kind for f in p.findings} & {"softmax"}:
        return None  # it mixes what should be apart, so the answer is known
    idx, targets = p.texts
    t, other = idx.shape[1] // 2, idx.copy()
    other[:, t] = (other[:, t] + 1) % p.output.shape[-1]
    with p.evaluating():
        one, logits = _calls(p, p.batch)
        other = tensor(other).to(p.batch[0].device, p.batch[0].dtype)
        two, changed = _calls(p, (other, p.batch[1]))
    change = np.abs(logits[:, :t] - changed[:, :t]).max()
    if change <= 1e-4 * np.abs(logits).max():
        return []
    told = f"token {t} of each text was replaced by another: the logits of the tokens before it "
    told += f"changed by up to {change:.2g}, and must not change at all"
    early = lambda x: x[:, :t] if x.ndim > 1 and x.shape[1] == idx.shape[1] else x[:t]  # noqa: E731
    where = _first_difference(one, two, lambda x: early(x) if idx.shape[1] in x.shape[:2] else None)
    return [Finding("mask", where or type(p.model).__name__, told)]


def _averages(p):
    """Weights of an average sum to one over what they average, and probabilities over classes."""
    found = []
    p.model.eval()
    with watch(p.model) as watched, enable_grad():
        output, loss = p.run()
    for node in _nodes([loss]):
        for weights, over in _weighings(node):
            if weights.ndim < 2 or weights.min(initial=0) < 0 or _is_one(weights.sum(over)):
                continue
            others = [d - weights.ndim for d in range(weights.ndim) if d - weights.ndim not in over]
            wrong = [d for d in others if weights.shape[d] > 1 and _is_one(weights.sum(d))]
            if wrong:
                sums = weights.sum(over)
                told = f"the weights {weights.shape} that {node.name()} averages with sum to one "
                told += f"along dim {wrong[0]}; along dim {over[0]}, over which it adds, their "
                told += f"sums are {sums.min():.2g} … {sums.max():.2g}"
                found.append(Finding("softmax", p.where(node, watched), told))
    if p.classes is not None and output.grad_fn is not None:
        (g,) = grad(loss, [output], retain_graph=True, allow_unused=True)
        if g is not None:
            found += _class_sums(_numpy(g), p.classes)
        found += _probabilities(_numpy(output), p.classes)
    p.restore()
    return found[:1]


def _class_sums(g, classes):
    """The slope of cross-entropy, softmax − one-hot, sums to zero over classes, nowhere else."""
    zero = lambda dims: np.abs(g.sum(dims)).max() < 1e-4 * np.abs(g).max() * math.sqrt(g.size)  # noqa: E731
    others = [d for d in range(g.ndim) if d != classes]
    wrong = [dims for dims in (*others, tuple(others)) if zero(dims)]
    if not np.abs(g).max() or zero(classes) or not wrong or math.prod(g.shape) == g.shape[classes]:
        return []
    told = f"the gradient at the logits {g.shape}, softmax − one-hot, sums to zero over dim "
    told += f"{wrong[0]}; it should over the classes, dim {classes}, where its sums reach "
    told += f"{np.abs(g.sum(classes)).max():.2g}"
    return [Finding("softmax", "the loss", told)]


def _probabilities(y, classes):
    others = [d for d in range(y.ndim) if d != classes and y.shape[d] > 1 and _is_one(y.sum(d))]
    if y.min(initial=0) < 0 or _is_one(y.sum(classes)) or not others:
        return []
    told = f"the outputs {y.shape} are positive and sum to one over dim {others[0]}; they should "
    return [Finding("softmax", "the output", told + f"over the classes, dim {classes}")]


def _weighings(node):
    """(array, dimensions that are summed over) of each input of a product."""
    arrays = [_numpy(a) for a in node.args[: len(node.edges)] if isinstance(a, TensorBase)]
    if node.name() == "matmul" and len(arrays) == 2:
        return [(arrays[0], (-1,)), (arrays[1], (-2,))] if arrays[1].ndim > 1 else []
    if node.name() == "einsum" and len(arrays) == 2:
        terms, result = node.params["equation"].split("->")
        summed = [
            tuple(i - len(t) for i, letter in enumerate(t) if letter not in result)
            for t in terms.split(",")
        ]
        return [(a, dims) for a, dims in zip(arrays, summed) if len(dims) == 1]
    return []


def _is_one(sums):
    return np.allclose(sums, 1, atol=1e-3)


def _positive(p):
    """Being wrong costs more than being right."""
    if p.classes is None:
        return _distance(p)
    with no_grad():
        logits, target = p.output.detach().movedim(p.classes, -1), p.batch[-1]
        right = float(F.cross_entropy(logits.flatten(0, -2), target.flatten()))
    if abs(float(p.loss) + right) > 1e-3 * right:
        return []
    told = f"the loss is {float(p.loss):.3f}; the cross-entropy of these logits and targets is "
    return [Finding("sign", "the loss", told + f"{right:+.3f}: minimizing one maximizes the other")]


def _distance(p):
    """A loss that is zero where the output is the target is negative nowhere."""
    if p.whole or p.output.shape != p.batch[-1].shape:
        return None
    with no_grad():
        least = float((p.loss_function or _loss)(p.batch[-1], p.batch[-1]))
    if least or float(p.loss) >= 0:
        return []
    told = f"it is 0 where the output is the target, and {float(p.loss):.3f} here: minimizing it "
    return [Finding("sign", "the loss", told + "leads away from the target")]


@quiet
def _derivatives(p):
    """The pullback of each operation agrees with central differences of its value."""
    seen, found = set(), {}
    for node in p.nodes:
        key = node.op, str(node.params), tuple(tuple(getattr(a, "shape", ())) for a in node.args)
        if key in seen or node.name() == "observe":
            continue
        seen.add(key)
        wrong = _probe(node)
        if wrong is not None:
            kind, told = wrong
            found.setdefault((node.op, kind), Finding(kind, p.where(node), told))
    return list(found.values())


def _probe(node):
    """(kind, evidence) of a pullback that is wrong, else None."""
    chance, inputs = (
        np.random.default_rng(0),
        [i for i, e in enumerate(node.edges) if e is not None],
    )
    args = [_numpy(a) if isinstance(a, TensorBase) else a for a in node.args]
    drawn = "seed" in node.op.defaults  # another dtype would draw other random numbers
    exact = [a.astype(np.float64) if _is_float(a) and not drawn else a for a in args]
    before, x = _outputs(node, args), _outputs(node, exact)
    if not all(np.allclose(a, b, 1e-2, 1e-3, equal_nan=True) for a, b in zip(before, x)):
        return None  # it cannot be repeated
    directions = {}
    for i in inputs:
        finite = np.isfinite(exact[i])
        size = max(1e-2, float(np.sqrt(np.mean(exact[i][finite] ** 2))) if finite.any() else 0)
        directions[i] = chance.choice([-size, size], exact[i].shape).astype(exact[i].dtype) * finite
    rounding = max(np.finfo(o.dtype).eps if _is_float(o) else 0 for o in before)
    eps = (
        1e-5 if rounding < 1e-6 and all(o.dtype == np.float64 for o in x if _is_float(o)) else 1e-2
    )
    slack = max(SLACK, 20 * rounding, 2 * eps)

    def compare(chosen):
        """What pullbacks and differences say of the slope, and how far they may be apart."""
        moved = [
            _outputs(node, [a + s * eps * directions[i] if i in chosen else a
                            for i, a in enumerate(exact)]) for s in (1, -1)
        ]  # fmt: skip
        weights, numeric = [], 0.0
        for o, middle, up, down in zip(before, x, *moved):
            ahead, behind = (up - middle) / eps, (middle - down) / eps
            corner = ~(np.abs(ahead - behind) <= 0.02 * (np.abs(ahead) + np.abs(behind)) + 1e-3)
            w = np.where(corner, 0, chance.choice([-1.0, 1.0], o.shape)) * _is_float(o)
            slope = np.where(w == 0, 0, (up - down) / (2 * eps))
            weights.append(w.astype(o.dtype) if _is_float(o) else w.astype(np.float32))
            numeric += float((w * slope).sum(dtype=np.float64))
        parts = _pulled(node, weights)
        terms = {i: parts[i] for i in chosen if parts[i] is not None}
        slope, size = 0.0, 0.0
        for i, (_, fitted) in terms.items():
            if fitted.shape != exact[i].shape:
                return "broadcast", _unsummed(node, i, fitted.shape, exact[i].shape)
            term = fitted.astype(np.float64) * directions[i]
            slope, size = slope + term.sum(), size + (term**2).sum()
        far = slack * (math.sqrt(size) + abs(numeric)) + 1e-6 * math.sqrt(sum(o.size for o in x))
        if abs(slope - numeric) <= far:
            return None
        told = f"the slope of {node.name()} by {_input_name(node, *chosen)} along one direction: "
        told += f"the pullback says {slope:+.4g}, central differences say {numeric:+.4g}"
        if len(chosen) == 1 and chosen[0] in terms:
            raw = terms[chosen[0]][0].astype(np.float64)
            spread, shape = directions[chosen[0]], exact[chosen[0]].shape
            if raw.shape != shape and abs((raw * spread).sum() - numeric) <= far:
                return "broadcast", told + f". {_unsummed(node, chosen[0], raw.shape, shape)}"
        return ("sign" if abs(slope + numeric) <= far else "derivative"), told

    if compare(inputs) is None:
        return None
    return next(filter(None, (compare([i]) for i in inputs)), None)


def _unsummed(node, i, shape, right):
    return (
        f"{node.name()} gives its input {_input_name(node, i)} of shape {right} a gradient of "
        f"shape {shape}: it has to be summed where the input was broadcast"
    )


def _input_name(node, *inputs):
    names = node.op.input_names
    return ", ".join(names[i] if i < len(names) else f"{names[0]}[{i}]" for i in inputs)


def _outputs(node, args):
    value = node.op.function(*(_copied(a) for a in args), **node.params)[0]
    return [np.asarray(v) for v in (value if isinstance(value, tuple) else (value,))]


def _copied(a):
    return a.copy() if isinstance(a, np.ndarray) else a


def _is_float(a):
    return isinstance(a, np.ndarray | np.generic) and a.dtype.kind == "f"


def _pulled(node, weights):
    """[(what the pullback gives, what the engine makes of it)] for each input."""
    like = next(a._data for a in node.args if isinstance(a, TensorBase))
    slots = [backend_of(like).asarray(w) for w in weights]
    g = tuple(slots) if node.shapes is not None else slots[0]
    if callable(node.pullback):
        parts = node.pullback(g)
        parts = (parts,) if len(node.edges) == 1 and not node.op.variadic else parts
    else:
        parts = [pull(g) if pull and e else None for pull, e in zip(node.pullback, node.edges)]
    fitted = []
    for i, (part, edge) in enumerate(zip(parts, node.edges)):
        pair = None
        if part is not None and edge is not None:
            raw = _numpy(part).copy()
            try:
                pair = raw, _numpy(node._fitted(part, i, False))
            except RuntimeError:
                pair = raw, raw
        fitted.append(pair)
    return fitted


@quiet
def _sums(p):
    """Where gradients meet, they add up, and .grad adds up from one backward to the next."""
    if any(f.kind == "broadcast" for f in p.findings):
        return None
    steps, sums = flow_of(p.nodes, [p.loss])
    sums |= {(step.node, i): g for step in steps for i, g in enumerate(step.arrived)}
    meeting = defaultdict(list)
    for step in steps:
        for part in step.parts:
            meeting[part.place].append((step.node, part.product))
    for place, parts in meeting.items():
        right, got = sum(g.astype(np.float64) for _, g in parts), sums[place]
        if place[0]._hooks or len(parts) < 2 or _close(got, right):
            continue
        users = ", ".join(p.where(node) for node, _ in parts[:3])
        name = p.names.get(place[0], "") or f"the result of {p.where(place[0])}"
        sizes = " and ".join(f"{np.linalg.norm(g):.3g}" for _, g in parts[:3])
        told = f"{len(parts)} gradients arrive, from {users}; their norms are {sizes}, their sum "
        told += f"has {np.linalg.norm(right):.3g}, but passed on was {np.linalg.norm(got):.3g}"
        return [Finding("accumulate", name, told)]
    for _ in range(2):
        p.loss.backward(retain_graph=True)
    for w, name in p.names.items():
        once = sums.get((w, 0))
        if once is not None and not w._hooks and not _close(_numpy(w.grad), 2.0 * once):
            told = f"after two backward passes its norm is {np.linalg.norm(_numpy(w.grad)):.3g}, "
            told += f"and twice the gradient would be {2 * np.linalg.norm(once):.3g}"
            return [Finding("accumulate", f"{name}.grad", told)]
    p.restore()
    return []


def _close(a, b):
    return a.shape == b.shape and np.abs(a - b).max(initial=0) <= SLACK * np.abs(b).max(initial=0)


def _reached(p):
    """A gradient arrives at every parameter."""
    places = {e[0] for node in p.nodes for e in node.edges if e}
    lost = [name for w, name in p.names.items() if w.requires_grad and w not in places]
    told = "the loss was computed without it, or detached from it: it never learns"
    return [Finding("missing", _listed(lost), told)] if lost else []


def _listed(names):
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@quiet
def _different(p):
    """The units of a layer differ, or are taught different things."""
    wanted = [w for w in p.names if w.requires_grad and w.ndim > 1 and len(w) > 1]
    grads = grad(p.loss, wanted, retain_graph=True, allow_unused=True) if wanted else ()
    twins, zeros = [], True
    for w, g in zip(wanted, grads):
        if g is not None and g.shape == w.shape and _rows_alike(w) and _rows_alike(g, 1e-5):
            twins.append(p.names[w])
            zeros = zeros and not _numpy(w).any()
    if not twins:
        return []
    told = "all rows are equal" + ", zero," * zeros + " and so are the rows of their gradients: "
    told += "units that are alike and learn alike stay one unit. Weights have to start at random"
    return [Finding("alike", _listed(twins), told)]


def _rows_alike(w, slack=0):
    rows = _numpy(w).reshape(len(w), -1)
    return bool((np.abs(rows - rows[0]) <= slack * np.abs(rows).max(initial=0)).all())


def _certain(p):
    """Evaluated twice, a model says the same twice."""
    with p.evaluating():
        one, first = _calls(p, p.batch)
        two, second = _calls(p, p.batch, again=True)
    if not np.array_equal(first, second, equal_nan=True):
        told = "in eval() mode the same batch was given twice, and the outputs differ by up to "
        where = _first_difference(one, two, lambda x: x) or type(p.model).__name__
        return [Finding("dropout", where, told + f"{np.abs(first - second).max():.2g}")]
    if p.evaluate is not None:
        values = [float(p.evaluate(*p.batch)) for _ in range(2)]
        if values[0] != values[1]:
            told = f"called twice, it says {values[0]:.4f} and {values[1]:.4f}: the model is still "
            return [Finding("dropout", "evaluate", told + "in train() mode, with dropout")]
    return []


def _calls(p, batch, again=False):
    """[(path, inputs, outputs)] of every module in the order in which they end, and the output."""
    calls = []

    def note(path, args, result):
        tensors = result if isinstance(result, tuple) else (result,)
        parts = [[_numpy(t) for t in ts if isinstance(t, TensorBase)] for ts in (args, tensors)]
        calls.append((path, *parts))

    with ExitStack() as hooks:
        for path, module in p.model.named_modules():
            handle = module.register_forward_hook(
                lambda _, args, kwargs, result, path=path: note(
                    path, (*args, *kwargs.values()), result
                ),
                with_kwargs=True,
            )
            hooks.callback(handle.remove)
        output, loss = p.forward(*batch) if again else p.run(*batch)
    return calls, _numpy(loss if output is None else output)


def _first_difference(one, two, part):
    """The module where two runs part: what comes in is the same there, what goes out is not."""

    def differ(xs, ys):
        pairs = [(part(x), part(y)) for x, y in zip(xs, ys) if x.dtype.kind == "f"]
        pairs = [(x, y) for x, y in pairs if x is not None and x.shape == y.shape]
        return any(np.abs(x - y).max(initial=0) > 1e-5 * np.abs(x).max(initial=0) for x, y in pairs)

    for (path, before, after), (_, before_2, after_2) in zip(one, two):
        if differ(after, after_2) and not differ(before, before_2):
            return path
    return ""


# ---- of a step of training ---------------------------------------------------------------------


def _forgetful(p):
    """When the optimizer steps, .grad is the gradient of this batch alone."""
    if p.step is None:
        return None
    p.train()
    alone = {w: _numpy(w.grad).copy() for w in p.names if w.grad is not None}
    if not any(g.any() for g in alone.values()):
        return []  # the step forgets them at its end
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
    told = "marks were left in .grad before a step, and were still in it when the optimizer "
    told += "stepped: every step goes along the sum of all gradients so far"
    return [Finding("zero_grad", "the training step", told)]


def _downhill(p):
    """A step goes down the slope of the loss."""
    if p.step is None or {f.kind for f in p.findings} & GRADIENTS:
        return None
    p.restore(fresh=True)  # momentum may go elsewhere
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
        told = f"the norm of the loss's gradient is {math.sqrt(size):.3g}, but no parameter moves: "
        told += ".grad is empty when the optimizer steps, or it has other parameters than the model"
        return [Finding("missing", "the training step", told)]
    if not slope > 0:
        return []
    told = f"step · gradient of the loss is {slope:+.3g}: the step goes up the slope. "
    if along < 0:
        told += "The gradients in .grad point against the loss's own: what was given to backward() "
        return [Finding("sign", "the loss of the step", told + "has the wrong sign")]
    return [Finding("sign", "the update", told + "Right is p ← p − lr · gradient")]


GRADIENTS = {"sign", "derivative", "broadcast", "accumulate"}


@quiet
def _descends(p):
    """A few steps on one batch make its loss smaller."""
    if p.step is None or {f.kind for f in p.findings} & (GRADIENTS | {"alike"}):
        return None
    losses = p.losses()
    if _falls(losses):
        return []
    told = f"{STEPS} steps on one batch took its loss from {_series(losses)}"
    groups = _groups(p)
    where = f"lr = {groups[0]['lr']:g}" if groups else "the training step"
    for quarters in range(1, 11) if groups else ():
        p.restore()
        for g in groups:
            g["lr"] *= 0.25**quarters
        losses = p.losses()
        if _falls(losses):
            told += f"; with lr = {groups[0]['lr']:.2g}, from {_series(losses)}"
            break
    return [Finding("lr", where, told)]


def _groups(p):
    return [g for g in getattr(p.optimizer, "param_groups", []) if "lr" in g]


def _falls(losses):
    limit = losses[0] + 0.1 * max(abs(losses[0]), 1)  # of a loss that is small already, no more
    return all(x <= limit for x in losses)  # NaN is not


def _series(losses):
    return f"{losses[0]:.3g} to " + ", ".join(f"{x:.3g}" for x in losses[1:])


CHECKS = (
    _number, _shifted, _averages, _causal, _positive, _derivatives, _sums, _reached, _different,
    _certain, _forgetful, _downhill, _descends,
)  # fmt: skip
