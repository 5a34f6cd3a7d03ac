"""The modules that compute, on every device, and what PyTorch cannot be asked about them."""

import itertools
import math

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn
from microtensor.autograd import gradcheck, gradgradcheck
from microtensor.nn import functional as F


def array(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(-2, 2, shape)


X, TABLE = array(2, 3, 4), np.array([[0, 2, 1], [4, 4, 0]])
SHARES = np.full((3, 4), 0.25)
CLASSES = np.array([1, 0, 3])
CAUSAL = np.triu(np.ones((3, 3), bool), 1)
PADDED = np.array([[False, False, True], [False, False, False]])


class Attention(nn.MultiheadAttention):
    """Self-attention with the masks that it is given."""

    def __init__(self, **options):
        super().__init__(4, 2, batch_first=True)
        self.options = options

    def forward(self, x):
        options = {
            k: mt.tensor(v, device=x.device) if isinstance(v, np.ndarray) else v
            for k, v in self.options.items()
        }
        return super().forward(x, x, x, **options)[0]


MODULES = {
    "Linear": (lambda: nn.Linear(4, 3), X),
    "Embedding": (lambda: nn.Embedding(5, 3), TABLE),
    "LayerNorm": (lambda: nn.LayerNorm(4), X),
    "LayerNorm over two": (lambda: nn.LayerNorm((3, 4)), X),
    "RMSNorm": (lambda: nn.RMSNorm(4), X),
    "Dropout": (lambda: nn.Dropout(0.0), X),
    "Flatten": (lambda: nn.Flatten(), X),
    "Identity": (lambda: nn.Identity(), X),
    **{
        name: (getattr(nn, name), X)
        for name in "ReLU LeakyReLU ELU SiLU GELU Softplus Sigmoid LogSigmoid Tanh".split()
    },
    "GELU tanh": (lambda: nn.GELU("tanh"), X),
    "Softmax": (lambda: nn.Softmax(1), X),
    "LogSoftmax": (lambda: nn.LogSoftmax(-1), X),
    "attention": (lambda: Attention(need_weights=False), X),
    "attention with weights": (lambda: Attention(attn_mask=CAUSAL), X),
    "causal attention": (
        lambda: Attention(need_weights=False, attn_mask=CAUSAL, is_causal=True),
        X,
    ),
    "attention with both masks": (
        lambda: Attention(need_weights=False, attn_mask=CAUSAL, key_padding_mask=PADDED),
        X,
    ),
    "attention with added masks": (
        lambda: Attention(need_weights=False, attn_mask=array(4, 3, 3).astype("float32")),
        X,
    ),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 5, 0.0, F.gelu, norm_first=True),
        X,
    ),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 5, 0.0), 2, nn.RMSNorm(4)),
        X,
    ),
    "Sequential": (lambda: nn.Sequential(nn.Linear(4, 2), nn.SiLU()), X),
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss(), array(3, 4), CLASSES),
    "CrossEntropyLoss, smooth": (
        lambda: nn.CrossEntropyLoss(
            mt.tensor([1.0, 2.0, 3.0, 4.0]), ignore_index=0, label_smoothing=0.2
        ),
        array(3, 4),
        CLASSES,
    ),
    "CrossEntropyLoss of shares": (lambda: nn.CrossEntropyLoss(), array(3, 4), SHARES),
    "NLLLoss": (lambda: nn.NLLLoss(ignore_index=3), array(3, 4), CLASSES),
    "MSELoss": (lambda: nn.MSELoss(), array(3, 4), SHARES),
    "L1Loss": (lambda: nn.L1Loss(), array(3, 4), SHARES),
    "SmoothL1Loss": (lambda: nn.SmoothL1Loss(), array(3, 4), SHARES),
    "HuberLoss": (lambda: nn.HuberLoss(), array(3, 4), SHARES),
    "BCELoss": (lambda: nn.BCELoss(), SHARES[::-1] * 0.9, SHARES),
    "BCEWithLogitsLoss": (lambda: nn.BCEWithLogitsLoss(), array(3, 4), SHARES),
    "KLDivLoss": (lambda: nn.KLDivLoss(), array(3, 4), SHARES),
}


def every(names=MODULES):
    return pytest.mark.parametrize("name", list(names))


def made(name, device="cpu", dtype=mt.float32):
    """The module, always with the same parameters, and its inputs, the first differentiated."""
    mt.manual_seed(0)
    make, *arrays = MODULES[name]
    module = make().to(device, dtype)
    for p in module.parameters():  # biases that start at zero would hide what they do
        with mt.no_grad():
            p += mt.tensor(array(*p.shape), device=device, dtype=dtype) * 0.1
    inputs = [mt.tensor(a, device=device) for a in arrays]
    inputs = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
    if inputs[0].is_floating_point():
        inputs[0].requires_grad_()
    return module, inputs


@every()
def test_devices_agree_in_value_and_gradients(name, device):
    found = []
    for where in ("cpu", device):
        module, inputs = made(name, where)
        out = module(*inputs)
        weights = mt.tensor(array(*out.shape), device=where, dtype=out.dtype)
        (out * weights).sum().backward()
        grads = [t.grad for t in (*module.parameters(), inputs[0]) if t.requires_grad]
        for t in (out, *grads):
            assert t.dtype is mt.float32 and str(t.device) == where
        found.append([t.detach().cpu().numpy() for t in (out, *grads)])
    for here, there in zip(*found):
        np.testing.assert_allclose(there, here, rtol=2e-5, atol=2e-6)


@every(n for n in MODULES if n not in ("L1Loss", "SmoothL1Loss", "HuberLoss", "ReLU", "LeakyReLU"))
def test_derivatives_of_two_orders(name):
    module, inputs = made(name, dtype=mt.float64)
    checked = [t for t in (*inputs, *module.parameters()) if t.requires_grad]
    checked = [t for t in checked if t.numel() <= 24][:3]
    if checked:
        assert gradcheck(lambda *_: module(*inputs), checked)
        assert gradgradcheck(lambda *_: module(*inputs), checked)


# ---- dropout -------------------------------------------------------------------------


def test_dropout():
    mt.manual_seed(1)
    x = mt.ones(200, 100, requires_grad=True)
    layer = nn.Dropout(0.2)
    y = layer(x)
    kept = y != 0
    assert abs(kept.float().mean().item() - 0.8) < 0.015  # five deviations
    np.testing.assert_array_equal(y[kept].detach().numpy(), np.float32(1 / 0.8))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
    assert (layer(x) != y).any()
    mt.manual_seed(1)
    assert layer(x).equal(y)
    assert layer.eval()(x) is x


def test_dropout_in_place():
    x = mt.ones(50)
    assert F.dropout(x, 0.5, inplace=True) is x and 0 in x
    assert F.dropout(mt.ones(3), 1.0).tolist() == [0.0] * 3


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_drops_weights_in_training_only(need_weights):
    mt.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, dropout=0.5)
    x = mt.randn(6, 3, 8)
    outs = [layer(x, x, x, need_weights=need_weights)[0] for _ in range(2)]
    assert not outs[0].allclose(outs[1])
    layer.eval()
    outs = [layer(x, x, x, need_weights=need_weights)[0] for _ in range(2)]
    assert outs[0].equal(outs[1])


def test_dropped_attention_differentiates():
    mt.manual_seed(3)
    q, k, v = (mt.tensor(array(2, 3, 4, seed=i), requires_grad=True) for i in range(3))
    state = mt.get_rng_state()

    def attend(q, k, v):
        mt.set_rng_state(state)  # the same ones are dropped each time
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.4, is_causal=True)

    assert gradcheck(attend, [q, k, v])
    assert gradgradcheck(attend, [q, k, v])


# ---- attention -----------------------------------------------------------------------


def test_attention_is_the_formula():
    q, k, v = (mt.tensor(array(2, 3, 4, seed=i)) for i in range(3))
    scores = q.numpy() @ k.numpy().swapaxes(1, 2) / 2
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    out = F.scaled_dot_product_attention(q, k, v)
    np.testing.assert_allclose(out.numpy(), weights @ v.numpy(), rtol=1e-12)


def test_a_query_that_may_see_nothing_gets_zeros_and_no_gradient():
    q, k, v = (mt.tensor(array(1, 3, 4, seed=i), requires_grad=True) for i in range(3))
    mask = mt.tensor([[True, False, True], [False, False, False], [True, True, True]])
    out = F.scaled_dot_product_attention(q, k, v, mask)
    out.sum().backward()
    assert out[0, 1].tolist() == q.grad[0, 1].tolist() == [0.0] * 4
    for t in (out, q.grad, k.grad, v.grad):
        assert t.isfinite().all()


def test_a_promised_causal_mask_gives_what_the_mask_gives():
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True), mt.randn(2, 5, 8)
    mask = mt.ones(5, 5, dtype=mt.bool).triu(1)
    masked, _ = layer(x, x, x, attn_mask=mask, need_weights=False)
    promised, _ = layer(x, x, x, attn_mask=mask, need_weights=False, is_causal=True)
    weighed, weights = layer(x, x, x, attn_mask=mask)
    assert masked.allclose(promised, atol=1e-6) and masked.allclose(weighed, atol=1e-6)
    assert weights.shape == (2, 5, 5) and not weights.triu(1).any()
    assert weights.sum(-1).allclose(mt.ones(2, 5))


def test_attention_over_itself_is_attention_over_a_copy():
    layer, x = nn.MultiheadAttention(8, 2), mt.randn(5, 3, 8)
    one, _ = layer(x, x, x, need_weights=False)
    other, _ = layer(x, x.clone(), x.clone(), need_weights=False)
    assert one.allclose(other, atol=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nn.MultiheadAttention(10, 3), "3 heads for 10"),
        (lambda: nn.MultiheadAttention(4, 2)(*[mt.ones(2, 1, 3)] * 3), "linear: the last size"),
        (lambda: nn.MultiheadAttention(4, 2)(*[mt.ones(2, 1, 1, 4)] * 3), "need 3 dimensions"),
        (
            lambda: nn.MultiheadAttention(4, 2)(
                *[mt.ones(2, 1, 4)] * 3, key_padding_mask=mt.ones(2, 2, dtype=mt.bool)
            ),
            r"key_padding_mask must have the shape \(1, 2\), got \(2, 2\)",
        ),
        (
            lambda: nn.MultiheadAttention(4, 2)(
                *[mt.ones(2, 1, 4)] * 3, attn_mask=mt.ones(2, 2, dtype=mt.int64)
            ),
            "attn_mask must be boolean or floating",
        ),
        (
            lambda: F.scaled_dot_product_attention(mt.ones(2, 3), mt.ones(2, 4), mt.ones(2, 4)),
            r"query \(…, L, E\)",
        ),
        (
            lambda: F.scaled_dot_product_attention(
                mt.ones(3, 2, 2), mt.ones(2, 2, 2), mt.ones(2, 2, 2), enable_gqa=True
            ),
            "3 query heads cannot share 2",
        ),
    ],
)
def test_attention_says_what_is_wrong(call, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        call()


# ---- tables --------------------------------------------------------------------------


def test_embedding_padding():
    table = nn.Embedding(5, 3, padding_idx=-1)
    assert table.padding_idx == 4 and not table.weight[4].any() and table.weight[0].any()
    table(mt.tensor([4, 1, 1])).sum().backward()
    assert table.weight.grad.sum(1).tolist() == [0.0, 6.0, 0.0, 0.0, 0.0]
    with pytest.raises(IndexError, match="padding_idx 5 is out of range: there are 5 rows"):
        nn.Embedding(5, 3, padding_idx=5)


def test_embedding_from_pretrained():
    rows = mt.randn(4, 2)
    table = nn.Embedding.from_pretrained(rows)
    assert table(mt.tensor([2]))[0].equal(rows[2]) and not table.weight.requires_grad
    assert nn.Embedding.from_pretrained(rows, freeze=False).weight.requires_grad


@pytest.mark.parametrize("dtype", [mt.int32, mt.uint8, mt.int64])
def test_any_integers_are_an_index(dtype):
    table = nn.Embedding(5, 3)
    assert table(mt.tensor([0, 4], dtype=dtype)).equal(table.weight[[0, 4]])


@pytest.mark.parametrize("index", [mt.tensor([1.0]), mt.tensor([True])])
def test_nothing_else_is_an_index(index):
    with pytest.raises(RuntimeError, match="embedding: indices are integers, got"):
        nn.Embedding(5, 3)(index)


# ---- losses --------------------------------------------------------------------------


def test_cross_entropy_is_the_formula():
    x, t = array(5, 4), np.array([0, 3, 1, 1, 2])
    expected = -np.log(np.exp(x[np.arange(5), t]) / np.exp(x).sum(1))
    loss = F.cross_entropy(mt.tensor(x), mt.tensor(t), reduction="none")
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)


def test_cross_entropy_of_nothing_is_nan_without_a_gradient():
    for weight in (None, mt.ones(3)):
        x = mt.ones(2, 3, requires_grad=True)
        loss = F.cross_entropy(x, mt.tensor([-100, -100]), weight)
        loss.backward()
        assert math.isnan(loss.item()) and not x.grad.any()


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (
            lambda: F.cross_entropy(mt.ones(2, 3), mt.tensor([1, 7])),
            IndexError,
            "index 7 is out of range: there are 0 to 2",
        ),
        (
            lambda: F.cross_entropy(mt.ones(2, 3), mt.tensor([1, 1, 1])),
            ValueError,
            r"got \(2, 3\) with \(3,\)",
        ),
        (
            lambda: F.cross_entropy(mt.ones(2, 3), mt.ones(2)),
            RuntimeError,
            r"probabilities need the shape of the input, \(2, 3\), got \(2,\)",
        ),
        (
            lambda: F.cross_entropy(mt.ones(2, 3), mt.tensor([1, 1]), reduction="avg"),
            ValueError,
            "'avg'",
        ),
        (
            lambda: F.cross_entropy(mt.ones(2, 3), mt.tensor([True, False])),
            RuntimeError,
            "targets are integers, got microtensor.bool",
        ),
        (lambda: F.one_hot(mt.tensor([3]), 3), RuntimeError, "class 3 is not among 0 … 2"),
        (lambda: F.pad(mt.ones(2), (1, 1), "mirror"), NotImplementedError, "mirror"),
        (lambda: F.pad(mt.ones(2), (2, 0), "reflect"), RuntimeError, "more than a size of 2"),
        (lambda: F.pad(mt.ones(2), (1, 1, 1)), RuntimeError, "a pair for each"),
        (
            lambda: F.layer_norm(mt.ones(2, 3), (2,)),
            RuntimeError,
            r"end in .* \(2,\), got \(2, 3\)",
        ),
        (
            lambda: F.layer_norm(mt.ones(2, 3), (3,), mt.ones(2)),
            RuntimeError,
            r"of the weight must be the normalized shape \(3,\), got \(2,\)",
        ),
        (lambda: F.gelu(mt.ones(2), "erf"), RuntimeError, "approximate"),
        (
            lambda: F.linear(mt.ones(2, 3).double(), mt.ones(4, 3)),
            RuntimeError,
            "one dtype.*float64.*float32",
        ),
    ],
)
def test_functions_say_what_is_wrong(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss])
def test_shapes_that_are_broadcast_are_warned_of(loss):
    with pytest.warns(UserWarning, match=r"\(3,\) differs from the input's \(3, 1\)"):
        loss(mt.ones(3, 1), mt.ones(3))


# ---- first values and clipping -------------------------------------------------------


def test_first_values_follow_the_seed():
    states = []
    for _ in range(2):
        mt.manual_seed(5)
        states.append(nn.TransformerEncoderLayer(8, 2, 16).state_dict())
    assert all(states[0][k].equal(states[1][k]) for k in states[0])
    generators = [mt.random.Generator().manual_seed(2) for _ in range(2)]
    a, b = (nn.init.normal_(mt.empty(3), generator=g) for g in generators)
    assert a.equal(b)


def test_first_values_stay_in_place(device):
    p = nn.Parameter(mt.ones(3, 2, device=device))
    memory = p._data
    for fill in (nn.init.uniform_, nn.init.trunc_normal_, nn.init.orthogonal_, nn.init.eye_):
        assert fill(p) is p and p._data is memory and p.is_leaf and p.requires_grad


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 2)])
def test_orthogonal(shape):
    m = nn.init.orthogonal_(mt.empty(*shape, dtype=mt.float64), gain=2.0).reshape(shape[0], -1)
    gram = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(gram.numpy(), 4 * np.eye(len(gram)), atol=1e-12)


@pytest.mark.parametrize("bounds", [(-2.0, 2.0), (0.5, 0.6), (3.0, 9.0)])
def test_truncated_normal_stays_within_its_bounds(bounds):
    x = nn.init.trunc_normal_(mt.empty(1000), 0.0, 1.0, *bounds)
    assert bounds[0] <= x.min().item() < x.max().item() <= bounds[1]


def test_clip_grad_norm(device):
    p, q, r = (nn.Parameter(mt.ones(2, device=device)) for _ in range(3))
    p.grad, q.grad = (mt.tensor(g, device=device) for g in ([3.0, 0.0], [0.0, 4.0]))
    memory = p.grad._data
    total = nn.utils.clip_grad_norm_((x for x in (p, q, r)), 1.0)
    assert total.item() == pytest.approx(5.0) and p.grad._data is memory
    assert p.grad.tolist() == pytest.approx([0.6, 0.0], rel=1e-5)
    assert nn.utils.clip_grad_norm_([p, q], 2.0).item() == pytest.approx(1.0, rel=1e-5)
    assert q.grad.tolist() == pytest.approx([0.0, 0.8], rel=1e-5)  # small enough: untouched
    assert nn.utils.clip_grad_norm_([r], 1.0).item() == 0.0
    p.grad = mt.tensor([math.nan, 0.0], device=device)
    with pytest.raises(RuntimeError, match="norm of the gradients is nan"):
        nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)


def test_clip_grad_value(device):
    p = nn.Parameter(mt.ones(3, device=device))
    p.grad = mt.tensor([-3.0, 0.5, 3.0], device=device)
    nn.utils.clip_grad_value_([p], 1)
    assert p.grad.tolist() == [-1.0, 0.5, 1.0]


# ---- connectionist temporal classification -------------------------------------------


def said(steps, blank=0):
    """What is read off: repetitions once, then no blanks."""
    kept = [c for c, before in zip(steps, (None, *steps)) if c != before]
    return tuple(c for c in kept if c != blank)


@pytest.mark.parametrize("targets", [(1, 2), (1, 1), (2,), (), (1, 2, 1, 2, 1)], ids=str)
def test_ctc_adds_up_all_ways(targets):
    """The sum over each of the 3⁴ ways to say something in four steps."""
    x = mt.randn(4, 3, dtype=mt.float64).log_softmax(1)
    ways = [w for w in itertools.product(range(3), repeat=4) if said(w) == targets]
    chance = sum(math.exp(sum(x[t, c].item() for t, c in enumerate(w))) for w in ways)
    row = mt.tensor(targets, dtype=mt.int64)
    loss = F.ctc_loss(x, row, (4,), (len(targets),), reduction="sum")
    assert loss.item() == pytest.approx(-math.log(chance) if chance else math.inf)


def test_ctc_derivatives():
    def losses(x):
        targets = mt.tensor([[1, 1], [2, 0]])
        return F.ctc_loss(x, targets, (4, 3), (2, 1), reduction="none")

    x = mt.randn(4, 2, 3, dtype=mt.float64, requires_grad=True)
    assert gradcheck(losses, x) and gradgradcheck(losses, x)


@pytest.mark.parametrize(
    "lengths, sizes, blank, message",
    [((5, 3), (2, 1), 0, "within 0"), ((4,), (2, 1), 0, "2 input_lengths"),
     ((4, 3), (2, 1), 3, "blank")],
)  # fmt: skip
def test_ctc_says_what_does_not_fit(lengths, sizes, blank, message):
    with pytest.raises(RuntimeError, match=message):
        F.ctc_loss(mt.zeros(4, 2, 3), mt.ones(2, 2, dtype=mt.int64), lengths, sizes, blank)


def test_softmax_without_a_dimension_warns():
    with pytest.warns(UserWarning, match="softmax: state the dimension .* as in dim=0"):
        assert F.softmax(mt.ones(2)).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 3, 1)])
def test_one_place_has_no_spread(shape):
    with pytest.raises(ValueError, match="more than one place"):
        nn.functional.instance_norm(mt.ones(shape))


def test_linear_with_a_vector_or_a_matrix_beside_it():
    """As in PyTorch: a weight (n) gives a number for each row, a bias of any shape is broadcast."""
    x, w, b = mt.randn(2, 3, 5), mt.randn(4, 5), mt.randn(3, 4, requires_grad=True)
    y = F.linear(x, w, b)
    assert y.allclose(x @ w.T + b) and F.linear(x, w[0], mt.tensor(1.0)).allclose(x @ w[0] + 1)
    y.sum().backward()
    assert b.grad.equal(mt.full((3, 4), 2.0))


def test_gelu_by_tanh_of_what_cannot_be_squared():
    x = mt.full((200,), 1e15, requires_grad=True)
    F.gelu(x, approximate="tanh").sum().backward()
    assert x.grad.equal(mt.ones(200))
