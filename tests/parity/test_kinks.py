"""Values and gradients beside PyTorch where a function has a corner, a tie, NaN, ±∞ or −0."""

import itertools
import math

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")
from cases import CASES  # noqa: E402

nan, inf = math.nan, math.inf
TIES = [0.0, -0.0, 1, -1, 3, -3, 6, 0.5, -0.5, 2, 1, 1, 0, 1]
SPECIAL = [0.0, -0.0, 1, -1, 3, -3, 6, 0.5, -0.5, nan, inf, -inf, 2, -2, 0.1, nan, 1, 1]
TABLE = [c for c in CASES if c.torch and any(isinstance(i, tuple) for i in c.inputs)]
DIFFERENT = {  # on purpose, or where PyTorch's loops for many elements differ from its own for few
    "elu selu relu6 hardtanh hardswish hardshrink softshrink logit": "NaN, by either loop",
    "kthvalue topk": "of equals the first is taken",
    "adaptive_max_pool2d": "of several NaN the first is taken",
    "cdist": "PyTorch's largest difference forgets NaN",
    "solve det": "a matrix that is not finite",
    "prelu": "beside a NaN weight all of its row is NaN",
    "copysign": "the sign of ∞ is known: PyTorch divides ∞ by ∞",
    "cross_entropy": "a class of weight 0 costs nothing, whatever its score",
    "prod": "0 · NaN is NaN",
    "var var_mean std_mean logcumsumexp": "the distance from an infinite mean is NaN",
    "vector_norm": "∞ to a power below 1",
    "polygamma": "poles and −∞",
    "binary_cross_entropy": "the operation itself does not look whether x lies within 0 … 1",
}
SKIPPED = {name for names in DIFFERENT for name in names.split()}


def compared(found, right):
    assert len(found) == len(right)
    for a, b in zip(found, right):
        if isinstance(b, np.ndarray) and isinstance(a, np.ndarray):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        else:  # PyTorch sometimes says nothing where the gradient is zero
            assert all(v is None or not np.any(v) for v in (a, b))


def arrays_of(outputs):
    return [None if o is None else np.array(o.detach().numpy()) for o in outputs]


def values_and_gradients(m, function, arrays, differentiable=True):
    inputs = [m.tensor(a) if isinstance(a, np.ndarray) else a for a in arrays]
    tensors = [i for i in inputs if isinstance(i, m.Tensor)]
    leaves = [i.requires_grad_() for i in tensors if i.dtype == m.float64]
    out = [o for o in function(m, *inputs) if isinstance(o, m.Tensor)]
    found = arrays_of(out)
    out = [o for o in out if o.requires_grad]
    if differentiable and out:
        seeds = [m.ones_like(o) for o in out]
        found += arrays_of(m.autograd.grad(out, leaves, seeds, allow_unused=True))
    return found


@pytest.mark.parametrize("numbers", [TIES, SPECIAL], ids=["ties", "special"])
@pytest.mark.parametrize("case", TABLE, ids=lambda c: c.id)
@pytest.mark.filterwarnings("ignore")
def test_every_operation(case, numbers):
    if case.name in SKIPPED and (numbers is SPECIAL or case.name in ("kthvalue", "topk", "prod")):
        return
    for seed in range(3):
        random = np.random.default_rng(seed)
        arrays = [
            np.asarray(random.choice(numbers, i)) if isinstance(i, tuple) else a
            for a, i in zip(case.arrays(), case.inputs)
        ]
        try:
            right = values_and_gradients(torch, case, arrays, case.differentiable)
        except (RuntimeError, ValueError):
            continue  # outside of what the function is defined on
        compared(values_and_gradients(mt, case, arrays, case.differentiable), right)


# Alone each number goes through the loop for few elements.
ALONE = [0.0, -0.0, 1, -1, 3, -3, 6, 0.5, -0.5, nan, inf, -inf, 20, -20, 21, 2.5, 6.5, -3.5]
ACTIVATIONS = {
    name: lambda F, x, name=name: getattr(F, name)(x)
    for name in "relu relu6 elu selu celu hardtanh hardshrink softshrink leaky_relu sigmoid "
    "logsigmoid silu softplus gelu softsign tanhshrink mish tanh hardsigmoid hardswish".split()
} | {
    "threshold": lambda F, x: F.threshold(x, 1.0, 7.0),
    "softplus of a slope": lambda F, x: F.softplus(x, 2.0, 6.0),
    "gelu by tanh": lambda F, x: F.gelu(x, approximate="tanh"),
    "logit": lambda F, x: x.logit(),
    "logit kept within bounds": lambda F, x: x.logit(0.2),
    "logit of bounds that cross": lambda F, x: x.logit(0.7),
    "abs": lambda F, x: x.abs(),
    "sign": lambda F, x: x.sign(),
    "clamp": lambda F, x: x.clamp(-1.0, 1.0),
    "power": lambda F, x: x**-0.5,
    "max": lambda F, x: x.max(),
    "amax": lambda F, x: x.amax(),
    "median": lambda F, x: x.median(),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    for x in ALONE:
        if math.isnan(x) and name in ("hardsigmoid", "hardswish"):
            continue  # their lines end in corners of relu6
        if str(x) == "-0.0" and name == "logit":
            continue  # −∞ or ∞, by PyTorch's two loops
        call = lambda m, x: (ACTIVATIONS[name](m.nn.functional, x),)  # noqa: E731
        values = [values_and_gradients(m, call, [np.array([float(x)])]) for m in (mt, torch)]
        compared(*values)


def pairs(numbers):
    return list(np.array(list(itertools.product(numbers, repeat=2))).T)


def columns(n, seed, numbers=(0.0, 1, -1, 0.5, -0.5, 2)):
    return np.random.default_rng(seed).choice(numbers, (20, n))


ANY = pairs([0.0, 1, -1, 0.5, -0.5, 2, -2, nan, inf, -inf])
FINITE = pairs([0.0, 1, -1, 0.5, 2, -2, 1.5])
SIGNS = np.where(np.arange(49) % 2, 1.0, -1.0)
THREE = [columns(2, seed) for seed in range(3)]
CLASSES = np.arange(20) % 4
OPEN = (nan, 1.0, 0, -inf, 2.0)


def distance(x, y):
    return (x - y).abs().sum(-1)


LOSSES = [
    ("l1_loss", ANY, {}), ("mse_loss", ANY, {}), ("smooth_l1_loss", ANY, {}),
    ("smooth_l1_loss", ANY, {"beta": 0.0}), ("smooth_l1_loss", ANY, {"beta": 0.5}),
    ("huber_loss", ANY, {}), ("huber_loss", ANY, {"delta": 0.5}),
    ("binary_cross_entropy_with_logits", ANY, {}), ("kl_div", ANY, {}),
    ("kl_div", ANY, {"log_target": True}), ("poisson_nll_loss", FINITE, {}),
    ("hinge_embedding_loss", [np.tile([*ANY[1][:10]], 2), np.repeat([1, -1], 10)], {}),
    ("hinge_embedding_loss", [np.tile([*ANY[1][:10]], 3), np.repeat([1, -1, 0], 10)],
     {"margin": 0.5}),
    ("margin_ranking_loss", [*FINITE, SIGNS], {}),
    ("margin_ranking_loss", [*FINITE, SIGNS], {"margin": 1.0}),
    ("margin_ranking_loss", [*ANY, np.ones(100)], {"margin": 1.0}),
    ("cosine_embedding_loss", [*THREE[:2], np.where(np.arange(20) % 2, 1, -1)], {}),
    ("cosine_embedding_loss", [np.array([[1.0, 0], [1, 1]]), np.array([[0.0, 1], [1, 1]]),
                               np.array([-1, 1])], {}),
    ("triplet_margin_loss", THREE, {"p": 1, "eps": 0.0}),
    ("triplet_margin_loss", THREE, {"p": 1, "eps": 0.0, "swap": True}),
    ("triplet_margin_with_distance_loss", THREE, {"distance_function": distance, "swap": True}),
    ("multi_margin_loss", [columns(4, 3), CLASSES], {}),
    ("multi_margin_loss", [columns(4, 3), CLASSES], {"p": 2, "margin": 0.5}),
    ("multi_margin_loss", [columns(4, 3, (nan, 1.0, 0, inf, 2)), CLASSES], {}),
    ("multilabel_soft_margin_loss", [columns(4, 3, OPEN), columns(4, 5, (0.0, 1))], {}),
    ("cross_entropy", [columns(4, 3, OPEN), CLASSES], {}),
    ("cross_entropy", [columns(4, 3, OPEN), columns(4, 5, (0.0, 0.5, 1))], {}),
    ("nll_loss", [columns(4, 3, OPEN), CLASSES], {}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(LOSSES)))
@pytest.mark.filterwarnings("ignore")
def test_losses(number):
    name, arrays, how = LOSSES[number]

    def call(m, *inputs):
        return (getattr(m.nn.functional, name)(*inputs, reduction="none", **how),)

    compared(*(values_and_gradients(m, call, arrays) for m in (mt, torch)))


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0, inf])
def test_distances(p):
    """Rows that are equal, and rows whose largest differences are."""
    for calls in (
        lambda m, a, b: (m.cdist(a, b, p),),
        lambda m, a, b: (m.nn.functional.pdist(a, p), m.nn.functional.pdist(b, p)),
    ):
        compared(*(values_and_gradients(m, calls, THREE[:2]) for m in (mt, torch)))


# ---- derivatives of derivatives that are zero ----------------------------------------

# Of these a second derivative is missing here where PyTorch has zeros, or numbers of its own.
NONE = set(
    "avg_pool1d avg_pool2d adaptive_max_pool1d adaptive_avg_pool1d adaptive_max_pool2d "
    "adaptive_avg_pool2d remainder copysign softmax-3 prod-6".split()
)


def second_derivatives(m, case):
    inputs = [m.tensor(a) if isinstance(a, np.ndarray) else a for a in case.arrays()]
    leaves = [x.requires_grad_() for x, i in zip(inputs, case.inputs) if isinstance(i, tuple)]
    out = [o for o in case(m, *inputs) if isinstance(o, m.Tensor) and o.requires_grad]
    seeds = [m.ones_like(o).requires_grad_() for o in out]
    grads = m.autograd.grad(out, leaves, seeds, create_graph=True, allow_unused=True)
    sum((g * g.cos()).sum() for g in grads if g is not None).backward()
    return arrays_of(x.grad for x in leaves)


@pytest.mark.parametrize(
    "case", [c for c in TABLE if c.differentiable and c.id[-2:-1] != "-"], ids=lambda c: c.id
)
@pytest.mark.filterwarnings("ignore")
def test_second_derivatives(case):
    """Zeros where PyTorch has zeros, and not a gradient that is missing."""
    if case.name in NONE:
        return
    try:
        right = second_derivatives(torch, case)
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):
        return  # PyTorch has none
    found = second_derivatives(mt, case)
    assert [a is None for a in found] == [b is None for b in right]
    for a, b in zip(found, right):
        if b is not None:
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
