"""Functions and modules of nn against their formulas, written in NumPy; and their derivatives.

    row("softsign", lambda x: F.softsign(x), lambda x: x / (1 + abs(x)), (3, 4))

A shape becomes an array of normal numbers, which a gradient is tried for; an array stays as it is.
"""

import itertools
import math
import zlib

import numpy as np
import pytest

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn
from microtensor.autograd import gradcheck

pytestmark = pytest.mark.filterwarnings("ignore:.*upsample.* is deprecated:UserWarning")

ROWS = []


def row(name, ours, formula, *inputs, smooth=True):
    ROWS.append(pytest.param(ours, formula, inputs, smooth, id=name))


def arrays(inputs):
    random = np.random.default_rng(zlib.crc32(repr(inputs).encode()))
    return [random.standard_normal(i) if isinstance(i, tuple) else i for i in inputs]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def above(x):
    return np.maximum(x, 0)


# ---- activations ---------------------------------------------------------------------

SELU = (1.6732632423543772, 1.0507009873554805)  # α and λ of Klambauer et al., 2017
for name, module, formula in [
    ("CELU", nn.CELU(0.7), lambda x: above(x) + np.minimum(0, 0.7 * np.expm1(x / 0.7))),
    ("GLU", nn.GLU(1), lambda x: x[:, :2] * sigmoid(x[:, 2:])),
    ("Hardshrink", nn.Hardshrink(0.4), lambda x: np.where(abs(x) > 0.4, x, 0)),
    ("Hardsigmoid", nn.Hardsigmoid(), lambda x: np.clip(x + 3, 0, 6) / 6),
    ("Hardswish", nn.Hardswish(), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ("Hardtanh", nn.Hardtanh(-0.5, 0.7), lambda x: np.clip(x, -0.5, 0.7)),
    ("Mish", nn.Mish(), lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    ("ReLU6", nn.ReLU6(), lambda x: np.clip(x, 0, 6)),
    ("RReLU, evaluating", nn.RReLU(0.1, 0.3).eval(), lambda x: np.where(x > 0, x, 0.2 * x)),
    ("SELU", nn.SELU(), lambda x: SELU[1] * np.where(x > 0, x, SELU[0] * np.expm1(x))),
    ("Softmin", nn.Softmin(1), lambda x: np.exp(-x) / np.exp(-x).sum(1, keepdims=True)),
    ("Softshrink", nn.Softshrink(0.4), lambda x: np.sign(x) * above(abs(x) - 0.4)),
    ("Softsign", nn.Softsign(), lambda x: x / (1 + abs(x))),
    ("Tanhshrink", nn.Tanhshrink(), lambda x: x - np.tanh(x)),
    ("Threshold", nn.Threshold(0.1, 5), lambda x: np.where(x > 0.1, x, 5)),
]:
    row(name, module, formula, (3, 4))
row("PReLU", nn.PReLU(2, 0.25).double(), lambda x: np.where(x > 0, x, x / 4), (3, 2, 4))
row("Softmax2d", nn.Softmax2d(), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    (2, 3, 2, 2))  # fmt: skip
for name, formula in [
    ("celu_", lambda x: np.where(x > 0, x, np.expm1(x))),
    ("elu_", lambda x: np.where(x > 0, x, np.expm1(x))),
    ("hardtanh_", lambda x: np.clip(x, -1, 1)),
    ("leaky_relu_", lambda x: np.where(x > 0, x, 0.01 * x)),
    ("selu_", lambda x: SELU[1] * np.where(x > 0, x, SELU[0] * np.expm1(x))),
]:
    row(name, lambda x, name=name: getattr(F, name)(x * 1), formula, (3, 4))
row("threshold_", lambda x: F.threshold_(x * 1, 0.1, 5), lambda x: np.where(x > 0.1, x, 5), (3, 4))

# ---- losses --------------------------------------------------------------------------

SIGNS = np.array([1.0, -1, 1, 1, -1])
CLASSES = np.array([0, 2, 1, 1, 0])
BITS = np.array([[0.0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
row("MarginRankingLoss", nn.MarginRankingLoss(0.5),
    lambda a, b, y: above(-y * (a - b) + 0.5).mean(), (5,), (5,), SIGNS)  # fmt: skip
row("HingeEmbeddingLoss", nn.HingeEmbeddingLoss(0.8),
    lambda x, y: np.where(y == 1, x, above(0.8 - x)).mean(), (5,), SIGNS)  # fmt: skip
row(
    "SoftMarginLoss", nn.SoftMarginLoss(), lambda x, y: np.log1p(np.exp(-y * x)).mean(), (5,), SIGNS
)


def multi_margin(x, t, margin=1.0, p=1):
    here = np.arange(len(t))
    each = above(margin - x[here, t][:, None] + x) ** p
    each[here, t] = 0
    return each.sum(1).mean() / x.shape[1]


row("MultiMarginLoss", nn.MultiMarginLoss(), multi_margin, (5, 3), CLASSES)
row("multi_margin_loss, squared", lambda x, t: F.multi_margin_loss(x, t, p=2, margin=0.5),
    lambda x, t: multi_margin(x, t, 0.5, 2), (5, 3), CLASSES)  # fmt: skip
row("MultiLabelSoftMarginLoss", nn.MultiLabelSoftMarginLoss(),
    lambda x, t: -(t * np.log(sigmoid(x)) + (1 - t) * np.log(sigmoid(-x))).mean(),
    (5, 3), BITS)  # fmt: skip
row("binary_cross_entropy_with_logits",
    lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=x.new_tensor([1.0, 2, 3])),
    lambda x, t: -(t * [1, 2, 3] * np.log(sigmoid(x)) + (1 - t) * np.log(sigmoid(-x))).mean(),
    (5, 3), BITS)  # fmt: skip


def cosine(a, b):
    return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


row("CosineEmbeddingLoss", nn.CosineEmbeddingLoss(0.2),
    lambda a, b, y: np.where(y == 1, 1 - cosine(a, b), above(cosine(a, b) - 0.2)).mean(),
    (5, 3), (5, 3), SIGNS)  # fmt: skip
row("CosineSimilarity", nn.CosineSimilarity(), cosine, (5, 3), (5, 3))


def distance(a, b, p=2):
    return (abs(a - b + 1e-6) ** p).sum(-1) ** (1 / p)


row("PairwiseDistance", nn.PairwiseDistance(3), lambda a, b: distance(a, b, 3), (5, 3), (5, 3))
row("TripletMarginLoss", nn.TripletMarginLoss(0.7),
    lambda a, p, n: above(distance(a, p) - distance(a, n) + 0.7).mean(),
    (5, 3), (5, 3), (5, 3))  # fmt: skip
row("TripletMarginLoss, swapped", nn.TripletMarginLoss(swap=True),
    lambda a, p, n: above(distance(a, p) - np.minimum(distance(a, n), distance(p, n)) + 1).mean(),
    (5, 3), (5, 3), (5, 3))  # fmt: skip
row("TripletMarginWithDistanceLoss",
    nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: (a - b).abs().sum(-1)),
    lambda a, p, n: above(abs(a - p).sum(-1) - abs(a - n).sum(-1) + 1).mean(),
    (5, 3), (5, 3), (5, 3))  # fmt: skip
row("PoissonNLLLoss", nn.PoissonNLLLoss(), lambda x, t: (np.exp(x) - t * x).mean(), (5, 3), BITS)
row("poisson_nll_loss of rates", lambda x, t: F.poisson_nll_loss(x * x, t, log_input=False),
    lambda x, t: (x * x - t * np.log(x * x + 1e-8)).mean(), (5, 3), BITS)  # fmt: skip
row("GaussianNLLLoss", nn.GaussianNLLLoss(),
    lambda x, t, v: (np.log(v) + (x - t) ** 2 / v).mean() / 2,
    (5, 3), (5, 3), BITS + 0.5)  # fmt: skip
row("kl_div", lambda x, t: F.kl_div(x, t, reduction="batchmean"),
    lambda x, t: (t * (np.log(t) - x)).sum() / 5, (5, 3), BITS + 0.1)  # fmt: skip


def ctc(x, target, blank=0):
    """−ln of the probabilities of all paths that collapse to the target, for x (T, C)."""
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    whole = 0
    for path in itertools.product(range(x.shape[1]), repeat=len(x)):
        collapsed = [c for c, _ in itertools.groupby(path) if c != blank]
        whole += math.prod(p[t, c] for t, c in enumerate(path)) * (collapsed == target)
    return -np.log(whole)


row("CTCLoss", lambda x: nn.CTCLoss(reduction="sum")(
        x.log_softmax(-1), mt.tensor([[1, 2], [2, 2]]), mt.tensor([4, 4]), mt.tensor([2, 2])),
    lambda x: ctc(x[:, 0], [1, 2]) + ctc(x[:, 1], [2, 2]), (4, 2, 3))  # fmt: skip

# ---- distances, products, normalisation ----------------------------------------------

row("pdist", F.pdist, lambda x: np.stack([np.linalg.norm(a - b) for a, b in
                                          itertools.combinations(x, 2)]), (4, 3))  # fmt: skip
row("normalize", lambda x: F.normalize(x, p=3, dim=0),
    lambda x: x / (abs(x) ** 3).sum(0) ** (1 / 3), (4, 3))  # fmt: skip
row("bilinear", F.bilinear, lambda a, b, w, bias: np.einsum("ni,oij,nj->no", a, w, b) + bias,
    (5, 2), (5, 3), (4, 2, 3), (4,))  # fmt: skip


def response(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """x / (k + α · mean of x² over neighbouring channels)^β, Krizhevsky et al., 2012."""
    padded = np.pad(x**2, ((0, 0), (size // 2, (size - 1) // 2), (0, 0)))
    mean = sum(padded[:, i : i + x.shape[1]] for i in range(size)) / size
    return x / (k + alpha * mean) ** beta


row(
    "LocalResponseNorm",
    nn.LocalResponseNorm(3, alpha=0.5),
    lambda x: response(x, 3, 0.5),
    (2, 4, 3),
)
row("InstanceNorm2d", nn.InstanceNorm2d(3),
    lambda x: (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 1e-5),
    (2, 3, 4, 3))  # fmt: skip

# ---- padding, pooling, moving elements -----------------------------------------------

for n in (1, 2):
    pad = ((0, 0), (0, 0), *[(1, 2), (2, 1)][:n])
    sides = (1, 2) if n == 1 else (2, 1, 1, 2)  # of the last dimension first
    shape = (2, 3, 4, 5)[: 2 + n]
    for name, how in [
        ("ReflectionPad", {"mode": "reflect"}), ("ReplicationPad", {"mode": "edge"}),
        ("CircularPad", {"mode": "wrap"}), ("ZeroPad", {}),
    ]:  # fmt: skip
        row(f"{name}{n}d", getattr(nn, f"{name}{n}d")(sides),
            lambda x, pad=pad, how=how: np.pad(x, pad, **how), shape)  # fmt: skip
    row(f"ConstantPad{n}d", getattr(nn, f"ConstantPad{n}d")(sides, 3.5),
        lambda x, pad=pad: np.pad(x, pad, constant_values=3.5), shape)  # fmt: skip


def pooled(x, size, how):
    """`how` over blocks of `size` along every dimension but the first two."""
    for dim in range(2, x.ndim):
        cut = (*x.shape[:dim], x.shape[dim] // size, size, *x.shape[dim + 1 :])
        x = how(x.reshape(cut), axis=dim + 1)
    return x


for n in (1, 2):
    shape = (2, 3, 4, 6)[: 2 + n]
    for name, how in ("AvgPool", np.mean), ("MaxPool", np.max):
        row(f"{name}{n}d", getattr(nn, f"{name}{n}d")(2), lambda x, h=how: pooled(x, 2, h), shape)
        out = tuple(s // 2 for s in shape[2:])
        row(f"Adaptive{name}{n}d", getattr(nn, f"Adaptive{name}{n}d")(out if n > 1 else out[0]),
            lambda x, h=how: pooled(x, 2, h), shape)  # fmt: skip


def only_largest(x, axes):
    return np.where(x == x.max(axes, keepdims=True), x, 0)


row("MaxUnpool1d", lambda x: nn.MaxUnpool1d(4)(*F.max_pool1d(x, 4, return_indices=True)),
    lambda x: only_largest(x, 2), (2, 3, 4))  # fmt: skip
row("MaxUnpool2d", lambda x: nn.MaxUnpool2d(4)(*F.max_pool2d(x, 4, return_indices=True)),
    lambda x: only_largest(x, (2, 3)), (2, 3, 4, 4))  # fmt: skip
row("PixelShuffle", nn.PixelShuffle(2),
    lambda x: x.reshape(2, 3, 2, 2, 4, 5).transpose(0, 1, 4, 2, 5, 3).reshape(2, 3, 8, 10),
    (2, 12, 4, 5))  # fmt: skip
row("PixelUnshuffle", nn.PixelUnshuffle(2),
    lambda x: x.reshape(2, 3, 4, 2, 5, 2).transpose(0, 1, 3, 5, 2, 4).reshape(2, 12, 4, 5),
    (2, 3, 8, 10))  # fmt: skip
row("Unflatten", nn.Unflatten(1, (2, 3)), lambda x: x.reshape(4, 2, 3), (4, 6))
row("Unfold", nn.Unfold(2), lambda x: np.stack(
    [x[:, :, i : i + 2, j : j + 2].reshape(2, -1) for i in range(2) for j in range(3)], -1),
    (2, 3, 3, 4))  # fmt: skip


def folded(x):
    out = np.zeros((2, 3, 3, 4))
    for k, (i, j) in enumerate(itertools.product(range(2), range(3))):
        out[:, :, i : i + 2, j : j + 2] += x[:, :, k].reshape(2, 3, 2, 2)
    return out


row("Fold", nn.Fold((3, 4), 2), folded, (2, 12, 6))


def between(x, n, axis):
    """x at n places from its first to its last element along an axis, linearly between two."""
    at = np.linspace(0, x.shape[axis] - 1, n)
    line = lambda values: np.interp(at, np.arange(len(values)), values)
    return np.apply_along_axis(line, axis, x)


for name, module in [
    ("Upsample", nn.Upsample(scale_factor=2)),
    ("UpsamplingNearest2d", nn.UpsamplingNearest2d((6, 8))),
    ("upsample_nearest", lambda x: F.upsample_nearest(x, scale_factor=2)),
    ("upsample", lambda x: F.upsample(x, (6, 8))),
]:  # fmt: skip
    row(name, module, lambda x: x.repeat(2, 2).repeat(2, 3), (2, 3, 3, 4))
for name, module in [
    ("UpsamplingBilinear2d", nn.UpsamplingBilinear2d((5, 9))),
    ("upsample_bilinear", lambda x: F.upsample_bilinear(x, (5, 9))),
]:
    row(name, module, lambda x: between(between(x, 5, 2), 9, 3), (2, 3, 3, 4))
SHIFT = mt.tensor([[[1.0, 0, 0.5], [0, 1, 0]]]).double()  # half a width to the right: two columns
row(
    "affine_grid and grid_sample",
    lambda x: F.grid_sample(
        x, F.affine_grid(SHIFT, x.shape, align_corners=False), align_corners=False
    ),
    lambda x: np.pad(x[..., 2:], ((0, 0), (0, 0), (0, 0), (0, 2))),
    (1, 2, 3, 8),
    smooth=False,
)
row(
    "affine_grid and grid_sample, four columns",
    lambda x: F.grid_sample(
        x, F.affine_grid(SHIFT, x.shape, align_corners=False), align_corners=False
    ),
    lambda x: np.pad(x[..., 1:], ((0, 0), (0, 0), (0, 0), (0, 1))),
    (1, 2, 3, 4),
    smooth=False,
)

# ---- tables, transposed convolutions -------------------------------------------------

BAGS, ENDS = np.array([0, 2, 2, 1, 3]), np.array([0, 2, 2])
row("EmbeddingBag", lambda w: F.embedding_bag(mt.tensor(BAGS), w, mt.tensor(ENDS), mode="mean"),
    lambda w: np.stack([w[[0, 2]].mean(0), 0 * w[0], w[[2, 1, 3]].mean(0)]), (4, 3))  # fmt: skip


def spread_out(x, w):
    """A transposed convolution of one dimension with stride 2, for x (N, C, L), w (C, O, K)."""
    N, C, L = x.shape
    out = np.zeros((N, w.shape[1], 2 * (L - 1) + w.shape[2]))
    for i in range(L):
        out[:, :, 2 * i : 2 * i + w.shape[2]] += np.einsum("nc,cok->nok", x[:, :, i], w)
    return out


row("conv_transpose1d", lambda x, w: F.conv_transpose1d(x, w, stride=2), spread_out,
    (2, 3, 4), (3, 2, 3))  # fmt: skip
row("conv_transpose2d",
    lambda x, w: F.conv_transpose2d(x[:, :, None], w[:, :, None], stride=2)[:, :, 0],
    spread_out, (2, 3, 4), (3, 2, 3))  # fmt: skip


@pytest.mark.parametrize("ours, formula, inputs, smooth", ROWS)
def test_value(ours, formula, inputs, smooth):
    values = arrays(inputs)
    out = ours(*map(mt.tensor, values)).detach().numpy()
    np.testing.assert_allclose(out, formula(*values), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ours, formula, inputs, smooth", [r for r in ROWS if r.values[3]])
def test_gradient(ours, formula, inputs, smooth):
    values = arrays(inputs)
    wanted = [mt.tensor(v, requires_grad=isinstance(i, tuple)) for v, i in zip(values, inputs)]
    assert gradcheck(ours, wanted)


# ---- what has no formula of one line -------------------------------------------------


def test_adaptive_log_softmax_is_a_distribution_and_its_loss():
    mt.manual_seed(0)
    head = nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[5, 10], div_value=2.0)
    x, target = mt.randn(6, 8), mt.tensor([0, 4, 5, 9, 10, 19])
    logs = head.log_prob(x)
    assert mt.allclose(logs.exp().sum(1), mt.ones(6), atol=1e-5)
    output, loss = head(x, target)
    assert mt.allclose(output, logs[mt.arange(6), target], atol=1e-5)
    assert loss.item() == pytest.approx(-output.mean().item())
    assert (head.predict(x) == logs.argmax(1)).all()


def test_whole_channels_are_dropped():
    mt.manual_seed(0)
    y = nn.Dropout1d(0.4)(mt.ones(40, 50, 3))
    assert (y == y[..., :1]).all()
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert (y[..., 0] == 0).double().mean().item() == pytest.approx(0.4, abs=0.04)


def test_alpha_dropout_keeps_mean_and_variance():
    mt.manual_seed(0)
    y = nn.AlphaDropout(0.3)(mt.randn(100_000))
    assert y.mean().item() == pytest.approx(0, abs=0.02) and y.var().item() == pytest.approx(
        1, abs=0.03
    )


def test_rrelu_draws_its_slopes():
    mt.manual_seed(0)
    x = -mt.ones(10_000)
    for y in F.rrelu(x, 0.1, 0.3, training=True), F.rrelu_(x * 1, 0.1, 0.3, training=True):
        assert -0.3 <= y.min() < -0.29 and -0.11 < y.max() <= -0.1
    assert (F.rrelu(mt.ones(9), training=True) == 1).all()


def test_a_transformer_decoder_is_what_it_is_made_of():
    mt.manual_seed(0)
    layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    x, memory = mt.randn(2, 3, 8), mt.randn(2, 5, 8)
    h = layer.norm1(x + layer.self_attn(x, x, x)[0])
    h = layer.norm2(h + layer.multihead_attn(h, memory, memory)[0])
    h = layer.norm3(h + layer.linear2(F.relu(layer.linear1(h))))
    assert mt.allclose(layer(x, memory), h, atol=1e-6)
    two = nn.TransformerDecoder(layer, 2)
    assert mt.allclose(two(x, memory), two.layers[1](two.layers[0](x, memory), memory), atol=1e-6)


def test_multi_head_attention_forward_is_the_module():
    mt.manual_seed(0)
    module, x = nn.MultiheadAttention(8, 2), mt.randn(3, 2, 8)
    y, weights = F.multi_head_attention_forward(
        x, x, x, 8, 2, module.in_proj_weight, module.in_proj_bias, None, None, False, 0.0,
        module.out_proj.weight, module.out_proj.bias)  # fmt: skip
    expected, expected_weights = module(x, x, x)
    assert mt.allclose(y, expected) and mt.allclose(weights, expected_weights)
    assert mt.allclose(weights.sum(-1), mt.ones(2, 3), atol=1e-6)


@pytest.mark.parametrize("lazy, kind, shape, weight", [
    (nn.LazyConv1d(4, 3), nn.Conv1d, (2, 5, 7), (4, 5, 3)),
    (nn.LazyConv2d(4, 3), nn.Conv2d, (2, 5, 7, 6), (4, 5, 3, 3)),
    (nn.LazyBatchNorm2d(), nn.BatchNorm2d, (2, 5, 3, 3), (5,)),
])  # fmt: skip
def test_lazy_modules_become_their_kind_at_the_first_input(lazy, kind, shape, weight):
    lazy(mt.randn(*shape))
    assert type(lazy) is kind and lazy.weight.shape == weight
