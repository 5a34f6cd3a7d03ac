"""MiniGPT: its size and names, its causality, its cache, and what it refuses."""

import math
from dataclasses import replace

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn
from models import MiniGPT, MiniGPTConfig
from models.generation.sampling import generate

SMALL = MiniGPTConfig(vocab_size=11, context_length=8, d_model=12, n_heads=3, n_layers=2)


@pytest.fixture
def model():
    mt.manual_seed(0)
    return MiniGPT(SMALL)


def tokens(*shape, seed=0, vocab_size=SMALL.vocab_size):
    return mt.randint(vocab_size, shape, generator=mt.Generator().manual_seed(seed))


# ---- what it is --------------------------------------------------------------------------------


def test_it_has_867_072_parameters():
    assert sum(p.numel() for p in MiniGPT().parameters()) == 867_072


def test_its_names_are_those_of_a_pytorch_module():
    block = {
        "norm_1.weight": (12,), "norm_1.bias": (12,),
        "attention.in_proj_weight": (36, 12), "attention.in_proj_bias": (36,),
        "attention.out_proj.weight": (12, 12), "attention.out_proj.bias": (12,),
        "norm_2.weight": (12,), "norm_2.bias": (12,),
        "mlp.0.weight": (48, 12), "mlp.0.bias": (48,),
        "mlp.2.weight": (12, 48), "mlp.2.bias": (12,),
    }  # fmt: skip
    expected = {"token_embedding.weight": (11, 12), "position_embedding.weight": (8, 12)}
    expected |= {f"blocks.{i}.{name}": shape for i in (0, 1) for name, shape in block.items()}
    expected |= {"norm.weight": (12,), "norm.bias": (12,), "head.weight": (11, 12)}
    state = MiniGPT(SMALL).state_dict()
    assert {name: tuple(t.shape) for name, t in state.items()} == expected
    assert list(state) == list(expected)


def test_the_mask_is_a_buffer(model):
    assert dict(model.named_buffers())["causal_mask"].tolist() == [
        [j > i for j in range(8)] for i in range(8)
    ]


def test_it_is_built_from_the_modules_of_nn(model):
    kinds = {type(m) for m in model.modules()}
    assert {nn.Embedding, nn.MultiheadAttention, nn.LayerNorm, nn.Linear, nn.GELU} <= kinds
    assert nn.Dropout not in kinds  # dropout is in attention only


# ---- what it computes --------------------------------------------------------------------------


def test_logits_and_loss(model):
    idx, targets = tokens(3, 5), tokens(3, 5, seed=1)
    model.eval()
    logits = model(idx)
    again, loss = model(idx, targets)
    assert logits.shape == (3, 5, 11) and loss.shape == () and logits.dtype is mt.float32
    assert logits.equal(again)
    p = logits.softmax(-1).detach().numpy()
    picked = np.take_along_axis(p, targets.numpy()[..., None], -1)
    assert loss.item() == pytest.approx(-np.log(picked).mean(), rel=1e-5)


def test_the_value_against_a_direct_formula():
    """The whole model again, on plain arrays."""
    mt.manual_seed(3)
    model = MiniGPT(SMALL).double().eval()
    w = {name: t.numpy() for name, t in model.state_dict().items()}
    idx = tokens(2, 7)

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * w[name + ".weight"] + w[name + ".bias"]

    def linear(x, name, mid="."):
        return x @ w[f"{name}{mid}weight"].T + w[f"{name}{mid}bias"]

    x = w["token_embedding.weight"][idx.numpy()] + w["position_embedding.weight"][:7]
    for i in range(2):
        block = f"blocks.{i}."
        q, k, v = np.split(
            linear(norm(x, block + "norm_1"), block + "attention", ".in_proj_"), 3, -1
        )
        heads = []
        for h in range(3):
            part = slice(4 * h, 4 * h + 4)
            scores = q[..., part] @ k[..., part].swapaxes(1, 2) / 2  # √4
            scores[:, np.triu(np.ones((7, 7), bool), 1)] = -np.inf
            e = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(e / e.sum(-1, keepdims=True) @ v[..., part])
        x = x + linear(np.concatenate(heads, -1), block + "attention.out_proj")
        h = linear(norm(x, block + "norm_2"), block + "mlp.0")
        h = h * 0.5 * (1 + np.vectorize(math.erf)(h / math.sqrt(2)))
        x = x + linear(h, block + "mlp.2")
    expected = norm(x, "norm") @ w["head.weight"].T
    np.testing.assert_allclose(model(idx).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_no_token_sees_those_after_it(model):
    model.eval()
    idx = tokens(1, 8)
    changed = idx.clone()
    changed[0, 5] = (idx[0, 5] + 1) % 11
    one, other = model(idx), model(changed)
    assert one[:, :5].equal(other[:, :5])
    assert all(not one[:, t].equal(other[:, t]) for t in (5, 6, 7))


def test_texts_of_a_batch_do_not_see_one_another(model):
    model.eval()
    idx = tokens(4, 6)
    together = model(idx).detach().numpy()
    for i in range(4):
        np.testing.assert_allclose(
            model(idx[i : i + 1]).detach().numpy()[0], together[i], rtol=1e-5, atol=1e-6
        )


def test_every_parameter_learns(model):
    _, loss = model(tokens(4, 8), tokens(4, 8, seed=1))
    loss.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and bool((p.grad != 0).any()), name


def test_dropout_is_active_only_while_training(model):
    idx = tokens(2, 8)
    assert not model(idx).equal(model(idx))
    model.eval()
    assert model(idx).equal(model(idx))


def test_it_learns_a_pattern(model):
    text = mt.arange(64) % 7
    optimizer = mt.optim.AdamW(model.parameters(), lr=1e-2)
    for i in range(60):
        starts = (mt.arange(8) * 7 + i) % 50
        window = text[starts[:, None] + mt.arange(9)]
        _, loss = model(window[:, :-1], window[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    out = [t.item() for t in model.generate(mt.tensor([[3, 4]]), 12, temperature=0)]
    assert out == [(5 + i) % 7 for i in range(12)]


def test_steps_of_training_on_every_device(device):
    """Two steps, and some writing: what another device gives, the CPU gives."""
    results = []
    for where in ("cpu", device):
        mt.manual_seed(4)
        # float64, because the gradient of a key's bias is 0, of which Adam makes steps of rounding
        model = MiniGPT(replace(SMALL, dropout=0.0)).double().to(where)
        assert {p.device.type for p in model.parameters()} == {where}
        assert model.causal_mask.device.type == where
        optimizer = mt.optim.AdamW(model.parameters(), lr=1e-2)
        losses = []
        for seed in range(2):
            _, loss = model(tokens(2, 8).to(where), tokens(2, 8, seed=seed).to(where))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        written = list(model.generate(tokens(1, 3).to(where), 7, temperature=0))
        assert {t.device.type for t in written} == {where}
        weights = {k: v.cpu().numpy() for k, v in model.state_dict().items()}
        results.append((losses, weights, [t.item() for t in written]))
    (losses, weights, written), (their_losses, their_weights, their_written) = results
    np.testing.assert_allclose(their_losses, losses, rtol=1e-12)
    for name, w in weights.items():
        np.testing.assert_allclose(their_weights[name], w, rtol=1e-6, atol=1e-9, err_msg=name)
    assert their_written == written


def test_dropout_on_every_device(device):
    mt.manual_seed(4)
    model, idx = MiniGPT(SMALL).to(device), tokens(2, 8).to(device)
    _, loss = model(idx, idx)
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())
    assert loss.item() != model.eval()(idx, idx)[1].item()


# ---- the cache ---------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[8], [1] * 8, [3, 1, 4], [7, 1]])
def test_logits_with_the_cache_are_those_without(steps):
    mt.manual_seed(1)
    model = MiniGPT(SMALL).double().eval()
    idx = tokens(2, 8)
    cache, parts, start = model.new_cache(2), [], 0
    with mt.no_grad():
        for n in steps:
            parts.append(model(idx[:, start : start + n], cache=cache))
            start += n
            assert cache.length == start
        np.testing.assert_allclose(
            mt.cat(parts, 1).numpy(), model(idx).numpy(), rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize("prompt", [1, 5, 8, 12])  # short, long, a full context, more than that
@pytest.mark.parametrize(
    "options", [{"temperature": 0}, {}, {"temperature": 1.5, "top_k": 5, "top_p": 0.9}]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_tokens_with_the_cache_are_those_without(model, prompt, options, batch):
    idx = tokens(batch, prompt)
    with_cache, without = (
        [
            token.tolist()
            for token in generate(
                model, idx, 20, **options, use_cache=use_cache,
                generator=mt.Generator().manual_seed(7),
            )
        ]
        for use_cache in (True, False)
    )  # fmt: skip
    assert with_cache == without and len(without) == 20


def test_the_cache_spares_what_was_computed(model):
    lengths = []
    model.token_embedding.register_forward_hook(lambda m, args, out: lengths.append(out.shape[1]))
    list(model.generate(tokens(1, 3), 9))
    assert lengths == [3, 1, 1, 1, 1, 1, 8, 8, 8]  # and, when the context is full, nothing


def test_the_cache_follows_the_dtype(model):
    cache = model.double().new_cache(2)
    assert cache.layers[0].keys.dtype is mt.float64 and cache.layers[1].values.shape == (2, 3, 8, 4)


# ---- what it refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes, complaint",
    [
        ({"n_heads": 3}, "n_heads must divide d_model.*128 channels do not go into 3 heads"),
        ({"n_heads": 0}, "n_heads must be a positive integer, got 0"),
        ({"d_model": -128}, "d_model must be a positive integer, got -128"),
        ({"n_layers": 0}, "n_layers must be"),
        ({"vocab_size": 2.5}, "vocab_size must be a positive integer, got 2.5"),
        ({"context_length": True}, "context_length must be"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be"),
        ({"dropout": math.nan}, "dropout must be"),
    ],
)
def test_a_config_that_makes_no_model(sizes, complaint):
    with pytest.raises(ValueError, match=complaint):
        MiniGPTConfig(**sizes)


def test_a_text_longer_than_the_context(model):
    with pytest.raises(ValueError, match="9 tokens do not fit a context of 8"):
        model(tokens(1, 9))
    cache = model.eval().new_cache(1)
    with mt.no_grad():
        model(tokens(1, 6), cache=cache)
        with pytest.raises(ValueError, match="9 tokens do not fit a context of 8"):
            model(tokens(1, 3), cache=cache)


@pytest.mark.parametrize("token", [11, -1, 300])
def test_a_token_out_of_range(model, token):
    idx = tokens(1, 4)
    idx[0, 2] = token
    with pytest.raises(IndexError, match=str(token)):
        model(idx)
    with pytest.raises(IndexError, match=str(token)):
        model(tokens(1, 4), idx)


def test_tokens_of_a_wrong_shape_or_dtype(model):
    with pytest.raises(ValueError, match=r"tokens \(B, T\) are needed, got shape \(4,\)"):
        model(tokens(4))
    with pytest.raises((RuntimeError, IndexError, TypeError), match="float32"):
        model(mt.zeros(1, 4))
    with pytest.raises((RuntimeError, ValueError)):
        model(tokens(2, 4), tokens(2, 5))
