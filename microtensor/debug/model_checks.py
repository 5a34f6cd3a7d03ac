"""Checks of a model's forward pass: its loss, its targets, its masks, its weights."""

import math
from contextlib import ExitStack

import numpy as np

from ..autograd import TensorBase, enable_grad, grad, no_grad
from ..backends import quiet
from ..graph.trace import _nodes, watch
from ..nn import functional as F
from ..tensor.creation import tensor
from .finding import Finding
from .trial import _loss, _numpy


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
        return None  # one letter repeated: nothing can be decided
    shifts = {"+ 2": (idx[:, 2:], targets[:, :-2]), "- 1": (idx[:, :-1], targets[:, 1:])}
    wrong = [s for s, (a, b) in {"": (idx, targets), **shifts}.items() if a.size and (a == b).all()]
    if (idx[:, 1:] == targets[:, :-1]).all() or not wrong:
        return []
    evidence = (
        f"targets[:, t] = idx[:, t {wrong[0]}".rstrip() + "] in the whole batch: the model is "
    )
    evidence += "taught to " + (
        "leave one out" if "2" in wrong[0] else "repeat what it has been given"
    )
    evidence += ", not to predict. Right is targets[:, t] = idx[:, t + 1]"
    return [Finding("targets", "the batch", evidence)]


def _causal(p):
    """The logits of a token do not depend on the tokens after it."""
    if p.texts is None or not (p.texts[1][:, :-1] == p.texts[0][:, 1:]).all():
        return None  # a model that is not trained to predict the next token may look anywhere
    if {f.kind for f in p.findings} & {"softmax"}:
        return None  # it mixes what should be separate, so the answer is known
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
    evidence = (
        f"token {t} of each text was replaced by another: the logits of the tokens before it "
    )
    evidence += f"changed by up to {change:.2g}, and must not change at all"
    early = lambda x: x[:, :t] if x.ndim > 1 and x.shape[1] == idx.shape[1] else x[:t]  # noqa: E731
    where = _first_difference(one, two, lambda x: early(x) if idx.shape[1] in x.shape[:2] else None)
    return [Finding("mask", where or type(p.model).__name__, evidence)]


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
                evidence = (
                    f"the weights {weights.shape} that {node.name()} averages with sum to one "
                )
                evidence += f"along dim {wrong[0]}; along dim {over[0]}, over which it adds, their "
                evidence += f"sums are {sums.min():.2g} … {sums.max():.2g}"
                found.append(Finding("softmax", p.where(node, watched), evidence))
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
    evidence = f"the gradient at the logits {g.shape}, softmax − one-hot, sums to zero over dim "
    evidence += f"{wrong[0]}; it should over the classes, dim {classes}, where its sums reach "
    evidence += f"{np.abs(g.sum(classes)).max():.2g}"
    return [Finding("softmax", "the loss", evidence)]


def _probabilities(y, classes):
    others = [d for d in range(y.ndim) if d != classes and y.shape[d] > 1 and _is_one(y.sum(d))]
    if y.min(initial=0) < 0 or _is_one(y.sum(classes)) or not others:
        return []
    evidence = (
        f"the outputs {y.shape} are positive and sum to one over dim {others[0]}; they should "
    )
    return [Finding("softmax", "the output", evidence + f"over the classes, dim {classes}")]


def _weighings(node):
    """(array, dimensions that are summed over) of each input of a product."""
    arrays = [_numpy(a) for a in node.args[: len(node.edges)] if isinstance(a, TensorBase)]
    if node.op.op_name == "matmul" and len(arrays) == 2:
        return [(arrays[0], (-1,)), (arrays[1], (-2,))] if arrays[1].ndim > 1 else []
    if node.op.op_name == "einsum" and len(arrays) == 2:
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
    evidence = f"the loss is {float(p.loss):.3f}; the cross-entropy of these logits and targets is "
    return [
        Finding("sign", "the loss", evidence + f"{right:+.3f}: minimizing one maximizes the other")
    ]


def _distance(p):
    """A loss that is zero where the output is the target is negative nowhere."""
    if p.whole or p.output.shape != p.batch[-1].shape:
        return None
    with no_grad():
        least = float((p.loss_function or _loss)(p.batch[-1], p.batch[-1]))
    if least or float(p.loss) >= 0:
        return []
    evidence = (
        f"it is 0 where the output is the target, and {float(p.loss):.3f} here: minimizing it "
    )
    return [Finding("sign", "the loss", evidence + "leads away from the target")]


def _reached(p):
    """A gradient arrives at every parameter."""
    places = {e[0] for node in p.nodes for e in node.edges if e}
    lost = [name for w, name in p.names.items() if w.requires_grad and w not in places]
    evidence = "the loss was computed without it, or detached from it: it never learns"
    return [Finding("missing", _listed(lost), evidence)] if lost else []


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
    evidence = (
        f"all rows are equal{', zero,' if zeros else ''} and so are the rows of their gradients: "
    )
    evidence += (
        "units that are alike and learn alike stay one unit. Weights have to start at random"
    )
    return [Finding("alike", _listed(twins), evidence)]


def _rows_alike(w, slack=0):
    rows = _numpy(w).reshape(len(w), -1)
    return bool((np.abs(rows - rows[0]) <= slack * np.abs(rows).max(initial=0)).all())


def _certain(p):
    """Evaluated twice, a model says the same twice."""
    with p.evaluating():
        one, first = _calls(p, p.batch)
        two, second = _calls(p, p.batch, again=True)
    if not np.array_equal(first, second, equal_nan=True):
        evidence = "in eval() mode the same batch was given twice, and the outputs differ by up to "
        where = _first_difference(one, two, lambda x: x) or type(p.model).__name__
        return [Finding("dropout", where, evidence + f"{np.abs(first - second).max():.2g}")]
    if p.evaluate is not None:
        values = [float(p.evaluate(*p.batch)) for _ in range(2)]
        if values[0] != values[1]:
            evidence = (
                f"called twice, it says {values[0]:.4f} and {values[1]:.4f}: the model is still "
            )
            return [Finding("dropout", "evaluate", evidence + "in train() mode, with dropout")]
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
    """The module where two runs diverge: its inputs are equal, its outputs differ."""

    def differ(xs, ys):
        pairs = [(part(x), part(y)) for x, y in zip(xs, ys) if x.dtype.kind == "f"]
        pairs = [(x, y) for x, y in pairs if x is not None and x.shape == y.shape]
        return any(np.abs(x - y).max(initial=0) > 1e-5 * np.abs(x).max(initial=0) for x, y in pairs)

    for (path, before, after), (_, before_2, after_2) in zip(one, two):
        if differ(after, after_2) and not differ(before, before_2):
            return path
    return ""
