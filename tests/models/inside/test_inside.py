"""Looking inside: nothing that is looked at changes, and what is seen is what was computed."""

import itertools
import math

import numpy as np
import pytest

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn
from microtensor.backends import backend_of
from models import inside
from models.ladder.minigpt import MiniGPT, MiniGPTConfig
from models.ladder.modern_minigpt import ModernMiniGPT, ModernMiniGPTConfig
from models.ladder.tiny_attention import TinyAttention, TinyAttentionConfig
from models.ladder.tiny_lm import TinyLM, TinyLMConfig

V, T = 11, 10
SIZES = {"vocab_size": V, "context_length": T, "d_model": 12}


class ByHand(nn.Module):
    """A user's model, in three styles of attention one after the other."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(V, 12)
        self.module = nn.MultiheadAttention(12, 3, dropout=0.5, batch_first=True)
        self.qkv = nn.Linear(12, 36)
        self.head = nn.Linear(12, V)

    def forward(self, idx):
        x = self.table(idx)
        later = mt.ones(idx.shape[1], idx.shape[1], dtype=mt.bool).triu(1)
        y, _ = self.module(x, x, x, attn_mask=later)  # which computes the weights for itself
        x = x + y
        q, k, v = self.qkv(x).chunk(3, -1)
        x = x + F.scaled_dot_product_attention(q, k, v, is_causal=True)
        scores = (x @ x.mT / math.sqrt(12)).masked_fill(later, -math.inf)
        return self.head(scores.softmax(-1) @ x)


def model(kind):
    mt.manual_seed(0)
    return {
        "MiniGPT": lambda: MiniGPT(MiniGPTConfig(**SIZES, n_heads=3, n_layers=2)),
        "ModernMiniGPT": lambda: ModernMiniGPT(
            ModernMiniGPTConfig(**SIZES, n_heads=6, n_kv_heads=2, n_layers=2, d_mlp=8)
        ),
        "TinyAttention": lambda: TinyAttention(TinyAttentionConfig(**SIZES)),
        "ByHand": ByHand,
    }[kind]()


ATTENTIVE = {  # the modules at work, and their heads
    "MiniGPT": [("blocks.0.attention", 3), ("blocks.1.attention", 3)],
    "ModernMiniGPT": [("blocks.0.attention", 6), ("blocks.1.attention", 6)],
    "TinyAttention": [("", 1)],
    "ByHand": [("module", 3), ("", 1), ("", 1)],
}


def text(rows=2, length=T):
    return mt.randint(0, V, (rows, length), generator=mt.Generator().manual_seed(1))


def bits(tensor):
    return tensor.detach().numpy().tobytes()


# ---- attention ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ATTENTIVE)
def test_every_head_of_every_layer_is_heard(kind):
    m, idx = model(kind).eval(), text()
    with inside.attention(m) as heard:
        m(idx)
    assert [(h.path, h.weights.shape[1]) for h in heard] == ATTENTIVE[kind]
    for h in heard:
        w = h.weights.numpy()
        assert w.shape[0] == 2 and w.shape[2:] == (T, T) and w.dtype == np.float32
        np.testing.assert_allclose(w.sum(-1), 1, rtol=0, atol=5e-7)
        assert (np.triu(w, 1) == 0).all() and (w >= 0).all()


@pytest.mark.parametrize("kind", ATTENTIVE)
@pytest.mark.parametrize("training", [False, True])
def test_listening_changes_no_bit(kind, training):
    m, idx = model(kind).train(training), text()

    def step():
        mt.manual_seed(3)  # of dropout
        out = m(idx)
        loss = out.square().sum()
        return bits(out), [bits(g) for g in mt.autograd.grad(loss, list(m.parameters()))]

    before = step()
    with inside.attention(m) as heard:
        during = step()
    assert before == during == step() and heard


def test_the_weights_are_those_of_the_formula():
    m, idx = model("MiniGPT").eval(), text()
    with inside.attention(m) as heard:
        m(idx)
    attention = m.blocks[0].attention
    x = m.blocks[0].norm_1(m.token_embedding(idx) + m.position_embedding(mt.arange(T)))
    q, k, _ = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1)
    q, k = (z.reshape(2, T, 3, 4).transpose(1, 2) for z in (q, k))
    scores = (q @ k.mT / 2).masked_fill(m.causal_mask, -math.inf)
    expected = scores.softmax(-1).detach().numpy()
    np.testing.assert_allclose(heard[0].weights.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_what_is_heard_is_a_copy_without_history():
    m, idx = model("MiniGPT"), text()
    with inside.attention(m) as heard:
        loss = m(idx).square().sum()
    before = bits(heard[0].weights)
    assert not heard[0].weights.requires_grad
    loss.backward()
    assert bits(heard[0].weights) == before


@pytest.mark.parametrize("kind", ["MiniGPT", "ModernMiniGPT"])
def test_rows_of_generation_are_the_rows_of_the_whole_text(kind):
    m, idx = model(kind).eval(), text(1, 3)
    with inside.attention(m) as heard:
        new = [t.item() for t in m.generate(idx, 5, temperature=0)]
    assert new == [t.item() for t in m.generate(idx, 5, temperature=0)]
    assert [h.weights.shape[2:] for h in heard[::2]] == [(3, 3), (1, 4), (1, 5), (1, 6), (1, 7)]
    whole = mt.tensor([idx[0].tolist() + new[:-1]])
    with inside.attention(m) as once:
        m(whole)
    for step in range(5):
        for layer in range(2):
            row = heard[2 * step + layer].weights.numpy()[:, :, -1]
            expected = once[layer].weights.numpy()[:, :, 2 + step, : 3 + step]
            np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-7)


def test_only_the_model_is_heard_and_only_for_a_while():
    m, other, idx = model("MiniGPT").eval(), model("TinyAttention"), text()
    backend = backend_of(idx._data)
    with inside.attention(m) as heard:
        other(idx)
        mt.randn(3, 4).softmax(-1)
        assert heard == []
        m(idx)
    assert len(heard) == 2 and backend_of(idx._data) is backend
    m(idx)
    assert len(heard) == 2


def test_two_may_listen():
    m, idx = model("MiniGPT").eval(), text()
    with inside.attention(m) as one:
        with inside.attention(m) as two:
            m(idx)
        m(idx)
    assert (len(one), len(two)) == (4, 2)
    assert bits(one[0].weights) == bits(two[0].weights)


def test_an_error_leaves_everything_as_it_was():
    m, idx = model("MiniGPT"), text(2, T + 1)
    backend = backend_of(idx._data)
    with pytest.raises(ValueError, match="do not fit"), inside.attention(m):
        m(idx)
    assert backend_of(idx._data) is backend
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in m.modules())


def test_after_an_error_within_the_paths_are_right():
    m = model("MiniGPT").eval()
    with inside.attention(m) as heard:
        with pytest.raises(ValueError):
            m(text(1, T + 1))
        m(text())
    assert [h.path for h in heard] == ["blocks.0.attention", "blocks.1.attention"]


# ---- what each layer would predict -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["MiniGPT", "ModernMiniGPT"])
def test_the_last_of_the_lens_is_the_model(kind):
    m, idx = model(kind), text()
    lens = inside.logit_lens(m, idx)
    assert lens.shape == (3, 2, T, V) and m.training
    assert bits(lens[-1]) == bits(m.eval()(idx))


def test_the_lens_reads_each_layer_as_the_model_reads_the_last():
    m, idx = model("MiniGPT").eval(), text()
    x = m.token_embedding(idx) + m.position_embedding(mt.arange(T))
    expected = [m.head(m.norm(x))]
    for block in m.blocks:
        x = block(x, m.causal_mask)
        expected.append(m.head(m.norm(x)))
    for seen, right in zip(inside.logit_lens(m, idx), expected, strict=True):
        assert bits(seen) == bits(right)


def test_the_lens_of_blocks_that_are_named():
    class Pairs(nn.Module):
        """Blocks that take a keyword, or return more than one thing."""

        def __init__(self):
            super().__init__()
            self.a, self.b = Doubled(), Doubled()

        def forward(self, idx):
            x, one = self.a(x=idx.float())
            x, two = self.b(x, 1)
            return x + one + two

    class Doubled(nn.Module):
        def forward(self, x, more=0):
            return 2 * x + more, more

    m, idx = Pairs(), mt.tensor([[1, 2]])
    lens = inside.logit_lens(m, idx, blocks=[m.a, m.b])
    assert lens[:, 0].tolist() == [[2, 3], [3, 5], [6, 10]]
    with pytest.raises(ValueError, match="Pairs has no nn.ModuleList of blocks; .* blocks="):
        inside.logit_lens(m, idx)


# ---- which tokens moved the output -------------------------------------------------------------


def with_tiny_lm(kind):
    return TinyLM(TinyLMConfig(V, 4, 5, 7)) if kind == "TinyLM" else model(kind)


@pytest.mark.parametrize("kind", [*ATTENTIVE, "TinyLM"])
def test_saliency_is_the_slope_of_making_a_vector_longer(kind):
    m, idx = with_tiny_lm(kind).double().eval(), text(1, 6)[0]
    table = next(module for module in m.modules() if isinstance(module, nn.Embedding))

    def logit(t, scale):
        def longer(args, kwargs, vectors):  # (1, 6, C), or (1, 6, 4, C): windows of four
            factor = mt.ones(max(6, vectors.shape[-2]), 1, dtype=mt.float64)
            factor[t - 6] = scale
            return vectors * factor[-vectors.shape[-2] :]

        with inside.replaced([table], longer), mt.no_grad():
            return m(idx[None])[0, -1, target].item()

    target, h = 4, 1e-6
    scores = inside.saliency(m, idx, target)
    expected = [(logit(t, 1 + h) - logit(t, 1 - h)) / (2 * h) for t in range(6)]
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-6, atol=1e-9)
    assert abs(scores).max() > 1e-3


def test_saliency_is_of_the_likeliest_token_unless_told():
    m, idx = model("MiniGPT"), text(1)[0]
    top = int(m.eval()(idx[None])[0, -1].argmax())
    assert bits(inside.saliency(m, idx)) == bits(inside.saliency(m, idx, top))
    assert bits(inside.saliency(m, idx)) != bits(inside.saliency(m, idx, (top + 1) % V))


def test_saliency_leaves_no_trace():
    m, idx = model("MiniGPT"), text(1)[0]
    with mt.no_grad():
        inside.saliency(m, idx)
    assert m.training and all(p.grad is None for p in m.parameters())
    assert not any(module._forward_hooks for module in m.modules())


def test_saliency_needs_a_table():
    m = nn.Sequential(nn.Linear(4, V))
    with pytest.raises(ValueError, match="no nn.Embedding of Sequential looks the tokens up"):
        inside.saliency(m, mt.ones(4))


# ---- word order --------------------------------------------------------------------------------


def predictions(m, n=5):
    """The logits after every order of n different tokens, the last of which stays where it is."""
    orders = [(*order, n - 1) for order in itertools.permutations(range(n - 1))]
    with mt.no_grad():
        return m.eval()(mt.tensor(orders))[:, -1].numpy()


def spread(logits):
    return (logits.max(0) - logits.min(0)).max()


def test_word_order_matters_to_a_model_with_positions():
    m = MiniGPT(MiniGPTConfig(**SIZES, n_heads=3, n_layers=1)).double()
    assert spread(predictions(m)) > 1e-2


def test_without_positions_one_causal_layer_is_blind_to_order():
    """The last token sees all others, and each of them is what it is wherever it stands."""
    m = MiniGPT(MiniGPTConfig(**SIZES, n_heads=3, n_layers=1)).double()
    with inside.without(m.position_embedding):
        assert spread(predictions(m)) < 1e-13


def test_without_positions_and_mask_any_depth_is_blind_to_order():
    m = MiniGPT(MiniGPTConfig(**SIZES, n_heads=3, n_layers=3)).double()
    m.causal_mask = mt.zeros_like(m.causal_mask)
    with inside.without(m.position_embedding):
        assert spread(predictions(m)) < 1e-13
    assert spread(predictions(m)) > 1e-3


def test_what_was_taken_away_comes_back():
    m, idx = model("MiniGPT").eval(), text()
    before, parameters = bits(m(idx)), list(m.parameters())
    with pytest.raises(ZeroDivisionError), inside.without(m.blocks[1], m.position_embedding):
        assert bits(m(idx)) != before
        x = m.blocks[0](m.token_embedding(idx), m.causal_mask)
        assert bits(m(idx)) == bits(m.head(m.norm(x)))  # a block of zeros adds nothing
        raise ZeroDivisionError
    assert bits(m(idx)) == before
    assert all(p is q for p, q in zip(m.parameters(), parameters, strict=True))


def test_the_mask_tells_two_layers_the_order():
    """What the second layer reads are sums over what came before: these differ with the order."""
    m = MiniGPT(MiniGPTConfig(**SIZES, n_heads=3, n_layers=2)).double()
    with inside.without(m.position_embedding):
        assert spread(predictions(m)) > 1e-5
