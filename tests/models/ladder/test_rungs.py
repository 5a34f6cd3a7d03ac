"""The rungs of the ladder: shapes, causality, what each can and cannot learn, state and caches."""

import math
from collections import Counter

import numpy as np
import pytest

import microtensor as mt
import microtensor.nn.functional as F
from models import training
from models.generation import sampling
from models.ladder import registry as ladder
from models.ladder.base import Config
from models.ladder.bigram import Bigram, BigramConfig, counted_loss
from models.ladder.lookup_table import HAND_WRITTEN, LookupTable, show
from models.ladder.minigpt import MiniGPT, MiniGPTConfig
from models.ladder.modern_block import ModernBlock, ModernBlockConfig, walk
from models.ladder.modern_minigpt import ModernMiniGPT, ModernMiniGPTConfig, rotate, rotations
from models.ladder.ngram import NGram, NGramConfig
from models.ladder.recurrent import Recurrent, RecurrentConfig
from models.ladder.tiny_attention import TinyAttention, TinyAttentionConfig
from models.ladder.tiny_lm import TinyLM, TinyLMConfig
from models.ladder.tiny_transformer import Attention, TinyTransformer, TinyTransformerConfig
from models.text import data
from models.text.tokenizers import CharTokenizer

V, CONTEXT = 11, 8
TEXT = np.random.default_rng(0).integers(0, V, 400)

SMALL = {
    "ngram": lambda: NGram(NGramConfig(V, n=3)).fit(TEXT),
    "bigram": lambda: Bigram(BigramConfig(V)),
    "tiny_lm": lambda: TinyLM(TinyLMConfig(V, 3, 4, 10)),
    "rnn": lambda: Recurrent(RecurrentConfig(V, cell="rnn", d_model=6)),
    "gru": lambda: Recurrent(RecurrentConfig(V, cell="gru", d_model=10, n_layers=2)),
    "lstm": lambda: Recurrent(RecurrentConfig(V, cell="lstm", d_model=6)),
    "tiny_attention": lambda: TinyAttention(TinyAttentionConfig(V, CONTEXT, 6)),
    "tiny_transformer": lambda: TinyTransformer(TinyTransformerConfig(V, CONTEXT, 8, 2, 2)),
    "modern_block": lambda: ModernBlock(ModernBlockConfig(V, CONTEXT, 8, 2)),
    "minigpt": lambda: MiniGPT(MiniGPTConfig(V, CONTEXT, 8, 2, 2, 0.0)),
    "modern_minigpt": lambda: ModernMiniGPT(ModernMiniGPTConfig(V, CONTEXT, 16, 4, 2, 2, 24)),
}
LEARN = [name for name in SMALL if name != "ngram"]
TRANSFORMERS = [
    "tiny_attention", "tiny_transformer", "modern_block", "minigpt", "modern_minigpt",
]  # fmt: skip
PERIOD = [0, 0, 1, 0, 1, 1, 2]  # the last three tokens tell what comes next; fewer do not
LOOK_BACK = {"ngram": 2, "bigram": 1, "tiny_lm": 3}  # tokens


def made(name, wide=True):
    mt.manual_seed(0)
    model = SMALL[name]().eval()
    if name == "bigram":
        mt.nn.init.normal_(model.table.weight)
    return model.double() if wide and name != "ngram" else model


def tokens(*shape, seed=0, vocab_size=V):
    return mt.randint(vocab_size, shape, generator=mt.Generator().manual_seed(seed))


# ---- what all rungs share ----------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_logits_and_loss(name):
    model, idx, targets = made(name, wide=False), tokens(3, 7), tokens(3, 7, seed=1)
    logits = model(idx)
    again, loss = model(idx, targets)
    assert logits.shape == (3, 7, V) and loss.shape == () and logits.dtype is mt.float32
    assert logits.equal(again)
    p = logits.detach().double().softmax(-1).numpy()
    picked = np.take_along_axis(p, targets.numpy()[..., None], -1)
    assert loss.item() == pytest.approx(-np.log(picked).mean(), rel=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_no_token_sees_those_after_it_and_each_sees_as_far_as_it_says(name):
    model, idx = made(name), mt.tensor(TEXT[:CONTEXT])[None]
    changed = idx.clone()
    changed[0, 2] = (idx[0, 2] + 1) % V
    same = (model(idx) == model(changed)).all(-1)[0].tolist()
    seen = range(2, 2 + LOOK_BACK.get(name, CONTEXT))
    if name == "ngram":  # a context that was never seen may be mixed from the same shorter ones
        assert all(same[t] for t in range(CONTEXT) if t not in seen) and not same[2]
    else:
        assert same == [t not in seen for t in range(CONTEXT)]


@pytest.mark.parametrize("name", SMALL)
def test_texts_of_a_batch_do_not_see_one_another(name):
    model, idx = made(name), tokens(4, 6)
    together = model(idx).detach().numpy()
    for i in range(4):
        alone = model(idx[i : i + 1]).detach().numpy()[0]
        np.testing.assert_allclose(alone, together[i], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LEARN)
def test_every_parameter_learns(name):
    model = made(name)
    before = mt.full((40,), 0)  # of a Bigram, a row learns only if its token is there
    idx = mt.cat([before, mt.arange(40) % V]).reshape(-1, 8)
    model(idx, (idx * 3 + 1) % V)[1].backward()
    for parameter, p in model.named_parameters():
        assert p.grad is not None and bool((p.grad != 0).any()), parameter


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("prompt", [1, 5, 8, 12])
def test_generation_is_the_model_asked_again_and_again(name, prompt):
    """With a state or a cache, too, and when the text has become longer than the context."""
    model, idx = made(name), tokens(2, prompt)
    written = mt.stack(list(model.generate(idx, 9, temperature=0)), 1)
    assert written.shape == (2, 9)
    if name not in TRANSFORMERS:  # they read the whole text, and transformers the end of it
        text = mt.cat([idx, written], 1)
        assert model(text)[:, prompt - 1 : -1].argmax(-1).equal(written)
    text = idx
    for t in range(9):
        logits = model(text[:, -model.config.context_length :])
        assert logits[:, -1].argmax(-1).equal(written[:, t])
        text = mt.cat([text, written[:, t : t + 1]], 1)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "modern_minigpt", "minigpt"])
@pytest.mark.parametrize("pieces", [[8], [1] * 8, [3, 1, 4], [7, 1]])
def test_logits_with_a_state_or_a_cache_are_those_without(name, pieces):
    model, idx = made(name), tokens(2, 8)
    cache, parts, start = model.new_cache(2), [], 0
    with mt.no_grad():
        for n in pieces:
            parts.append(model(idx[:, start : start + n], cache=cache))
            start += n
            assert cache.length == start
        np.testing.assert_allclose(
            mt.cat(parts, 1).numpy(), model(idx).numpy(), rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize("name, read", [("gru", [3] + [1] * 11), ("modern_minigpt", [3] + [1] * 5)])
def test_what_was_computed_is_not_computed_again(name, read):
    model, lengths = made(name), []
    model.token_embedding.register_forward_hook(lambda m, args, out: lengths.append(out.shape[1]))
    list(model.generate(tokens(1, 3), 12))
    assert lengths[: len(read)] == read
    assert set(lengths[len(read) :]) <= {CONTEXT}  # a full context moves on: all is computed anew


@pytest.mark.parametrize("name", [n for n in ladder.RUNGS if n != "ngram"])
def test_a_checkpoint_gives_the_model_back(name, tmp_path):
    rung, tokenizer = ladder.RUNGS[name], CharTokenizer("abcdefghijk")
    parts, path = data.split(TEXT, 4), tmp_path / "a.safetensors"
    config = rung.training(steps=2, batch_size=2, eval_batches=1, eval_batch_size=2)
    sizes = {"d_model": 16} if "d_model" in rung.sizes else {}
    model = rung.build(V, **sizes)
    trainer = training.Trainer(model, tokenizer, *parts, config, path)
    list(trainer.run())
    model, _ = training.model_from(training.load_checkpoint(path))
    assert type(model) is rung.model and model.config == trainer.model.config
    idx = tokens(2, 4)
    assert model.eval()(idx).equal(trainer.model.eval()(idx))


@pytest.mark.parametrize("name", SMALL)
def test_what_they_refuse(name):
    model = made(name)
    with pytest.raises(ValueError, match=r"tokens \(B, T\) are needed, got shape \(4,\)"):
        model(tokens(4))
    for token in (V, -1):
        idx = tokens(1, 4)
        idx[0, 2] = token
        with pytest.raises(IndexError, match=str(token)):
            model(idx)
    if name in TRANSFORMERS:
        with pytest.raises(ValueError, match="9 tokens do not fit a context of 8"):
            model(tokens(1, 9))
        with pytest.raises(ValueError, match="9 tokens, but the model sees 8"):
            sampling.generate_text(model, CharTokenizer("abcdefghijk"), "abcdefghi", 1)
    else:
        assert model(tokens(1, 20)).shape == (1, 20, V)
    with pytest.raises(ValueError, match="do not belong together"):
        sampling.generate_text(model, CharTokenizer("abc"), "a", 1)


@pytest.mark.parametrize(
    "make, complaint",
    [
        (lambda: Config(vocab_size=0), "vocab_size must be a positive integer, got 0"),
        (lambda: TinyLMConfig(d_hidden=2.5), "d_hidden must be a positive integer, got 2.5"),
        (lambda: NGramConfig(n=0), "n must be a positive integer, got 0"),
        (lambda: BigramConfig(context_length=2), "context_length of a Bigram is 1, got 2"),
        (lambda: RecurrentConfig(cell="elman"), "cell must be rnn, gru, lstm, got 'elman'"),
        (lambda: TinyTransformerConfig(d_model=10), "10 channels do not go into 4 heads"),
        (lambda: ModernBlock(ModernBlockConfig(n_layers=2)), "it is one block, got n_layers 2"),
        (lambda: ModernMiniGPTConfig(d_model=12), "even number of channels.*12 channels for 4"),
        (lambda: ModernMiniGPTConfig(n_kv_heads=3), "4 heads of queries cannot share 3"),
        (lambda: ModernMiniGPTConfig(rope_theta=0.0), "rope_theta must be a positive number"),
    ],
)
def test_configs_that_make_no_model(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


# ---- lookup table ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt, text", [("hel", "hello world"), ("the c", "the cat sat"), ("the", "the cat sat")]
)
def test_the_table_writes(prompt, text):
    steps = list(LookupTable().write(prompt, 40))
    assert prompt + "".join(step.character for step in steps) == text


def test_each_step_is_told():
    steps = list(LookupTable().write("hel", 2))
    assert [str(s) for s in steps] == ['"hel" → "l" (90%)', '"ell" → "o" (80%)']
    lines = []
    show(LookupTable(), "hel", 40, lines.append)
    assert lines[0] == '  "hel" → "l" (90%)' and lines[-1] == '"hel" → "hello world"'
    assert lines[-2] == '  "rld" is not in the table: the end'


@pytest.mark.parametrize("prompt", ["xyz", "h", "日本", "hello worlds"])
def test_an_unknown_prompt_is_answered(prompt):
    assert list(LookupTable().write(prompt, 5)) == []
    lines = []
    show(LookupTable(), prompt, 5, lines.append)
    assert len(lines) == 1 and f'the table knows nothing after "{prompt[-3:]}"' in lines[0]


def test_the_table_as_a_language_model():
    table = LookupTable()
    p = table(mt.tensor([table.tokenizer.encode("hel")])).exp()[0].numpy()
    V = table.config.vocab_size
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(p[:2], 1 / V, rtol=1e-6)  # "h", "he": unknown, all alike
    row = {c: round(float(x), 6) for c, x in zip(table.tokenizer.characters, p[2]) if x}
    assert row == HAND_WRITTEN["hel"]
    text = sampling.generate_text(table, table.tokenizer, "hel", 8, temperature=0)
    assert "".join(text) == "lo world"


@pytest.mark.parametrize(
    "table, complaint",
    [
        ({"abc": {"d": 0.5}}, "the probabilities after 'abc'"),
        ({"abc": {"d": 1.5, "e": -0.5}}, "the probabilities after"),
        ({"abc": {}}, "the probabilities after"),
        ({"ab": {"d": 1.0}}, "3 characters and those that may follow"),
        ({}, "the table is empty"),
    ],
)
def test_tables_that_are_none(table, complaint):
    with pytest.raises(ValueError, match=complaint):
        LookupTable(table)


def test_lengths_and_empty_prompts():
    assert list(LookupTable().write("hel", 0)) == []
    with pytest.raises(ValueError, match="the prompt is empty"):
        LookupTable().write("", 3)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        LookupTable().write("hel", -1)


# ---- n-gram ------------------------------------------------------------------------------------


def witten_bell(text, V, context, token):
    """The formula, word for word."""
    if context is None:
        return 1 / V
    k = len(context)
    after = [text[i + k] for i in range(len(text) - k) if tuple(text[i : i + k]) == context]
    shorter = witten_bell(text, V, context[1:] if context else None, token)
    if not after:
        return shorter
    kinds = len(set(after))
    return (after.count(token) + kinds * shorter) / (len(after) + kinds)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_counted_probabilities_are_those_of_the_formula(n):
    text = list(np.random.default_rng(1).integers(0, 4, 60))
    model = NGram(NGramConfig(5, n=n)).fit(text)  # one token of the vocabulary is never there
    idx = [*text[-3:], 0, 1, 4, 2, 2, 3]  # begins with the end of the text, goes on elsewhere
    p = model(mt.tensor([idx])).double().exp()[0].numpy()
    for t in range(len(idx)):
        context = tuple(idx[max(0, t + 2 - n) : t + 1]) if n > 1 else ()
        expected = [witten_bell(text, 5, context, c) for c in range(5)]
        np.testing.assert_allclose(p[t], expected, rtol=1e-5)
        assert p[t].sum() == pytest.approx(1, rel=1e-5) and p[t].min() > 0


def test_its_context_is_what_it_counts():
    assert NGramConfig(n=4).context_length == 3 and NGramConfig(n=1).context_length == 1
    assert len(NGram(NGramConfig(3, n=2)).fit([0, 1, 0, 1, 2])) == 3 + 3  # 0 1 2, 01 10 12


def test_a_longer_context_guesses_better_as_far_as_the_text_has_one():
    text = np.tile(PERIOD, 60)
    held_out = data.TextWindows(text[:200], 16)
    losses = [
        training.evaluate(NGram(NGramConfig(3, n=n)).fit(text), held_out) for n in (1, 2, 3, 4)
    ]
    assert losses[0] > losses[1] > losses[2] > losses[3]


def test_what_cannot_be_counted():
    model = NGram(NGramConfig(3, n=3))
    with pytest.raises(RuntimeError, match="nothing has been counted yet"):
        model(mt.tensor([[0]]))
    with pytest.raises(ValueError, match="at least 3 tokens"):
        model.fit([0, 1])
    with pytest.raises(IndexError, match="token 3 is outside 0 … 2"):
        model.fit([0, 1, 2, 3])


# ---- bigram ------------------------------------------------------------------------------------


def test_the_counted_loss():
    text = [0, 1, 0, 2, 0, 1, 1, 0]
    pairs, firsts = Counter(zip(text, text[1:])), Counter(text[:-1])
    expected = -sum(n * math.log(n / firsts[a]) for (a, b), n in pairs.items()) / 7
    assert counted_loss(text, 3) == pytest.approx(expected, rel=1e-12)


def test_the_trained_table_becomes_the_counted_one():
    rng = np.random.default_rng(2)
    text = [0]
    for _ in range(600):  # the next is one of two, unevenly
        text.append(int((text[-1] * 2 + (rng.random() < 0.3)) % 5))
    model, floor = Bigram(BigramConfig(5)), counted_loss(text, 5)
    idx = mt.tensor([text])
    optimizer = mt.optim.Adam(model.parameters(), lr=0.3)
    start = model(idx[:, :-1], idx[:, 1:])[1].item()
    for i in range(150):
        optimizer.param_groups[0]["lr"] = 0.3 * (1 - i / 150)
        _, loss = model(idx[:, :-1], idx[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert start == pytest.approx(math.log(5), rel=1e-6)  # zeros: all alike
    assert floor - 1e-6 < loss.item() < floor + 2e-3
    counts = np.zeros((5, 5))
    np.add.at(counts, (text[:-1], text[1:]), 1)
    p = model.table.weight.softmax(-1).detach().numpy()
    np.testing.assert_allclose(p, counts / counts.sum(1, keepdims=True), atol=0.01)


# ---- what a longer view learns -----------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in LEARN if n not in ("bigram", "modern_block")])
def test_it_learns_what_no_table_of_pairs_can(name):
    text = np.tile(PERIOD, 40)
    floor = counted_loss(text, V)
    model = made(name, wide=False).train()
    windows = data.TextWindows(text, CONTEXT)
    optimizer = mt.optim.Adam(model.parameters(), lr=0.03)
    for i in range(250):
        optimizer.param_groups[0]["lr"] = 0.04 * (1 - i / 250)
        idx, targets = windows[(np.arange(8) * 3 + i) % 100]
        _, loss = model(idx, targets)
        optimizer.zero_grad()
        loss.backward()
        mt.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    # The first two tokens of a window have nothing to be told from; the rest are certain.
    with mt.no_grad():
        late = F.cross_entropy(model(idx)[:, 3:].flatten(0, 1), targets[:, 3:].flatten()).item()
    assert floor > 0.5
    assert late < 0.1 * floor


# ---- tiny LM -----------------------------------------------------------------------------------


def test_position_matters_only_by_slot():
    model = made("tiny_lm")
    logits = model(mt.tensor([[1, 2, 3, 9, 1, 2, 3]]))[0]
    elsewhere, in_other_slots = logits[6], model(mt.tensor([[2, 1, 3]]))[0, -1]
    assert logits[2].allclose(elsewhere, rtol=1e-9)
    assert not logits[2].allclose(in_other_slots, rtol=1e-2)


def test_plain_sgd():
    rung = ladder.RUNGS["tiny_lm"]
    config = rung.training()
    assert (config.optimizer, config.weight_decay, config.clip) == ("sgd", 0.0, math.inf)
    parts = data.split(TEXT, 8)
    trainer = training.Trainer(rung.build(V), CharTokenizer("abcdefghijk"), *parts, config)
    assert type(trainer.optimizer) is mt.optim.SGD
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    trainer.train_step()
    for name, p in trainer.model.named_parameters():  # a small step down the slope, no more
        expected = (before[name] - config.lr * p.grad).detach().numpy()
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-5, atol=1e-7)


def test_before_the_text_is_no_token():
    with pytest.raises(IndexError, match="token 11 is outside 0 … 10"):
        made("tiny_lm")(mt.tensor([[11]]))


# ---- recurrent ---------------------------------------------------------------------------------


def test_an_rnn_by_hand():
    model, idx = made("rnn"), tokens(1, 5)
    w = {name: t.numpy() for name, t in model.state_dict().items()}
    h = np.zeros(6)
    for t in range(5):
        x = w["token_embedding.weight"][idx[0, t].item()]
        h = np.tanh(
            w["cells.weight_ih_l0"] @ x + w["cells.bias_ih_l0"]
            + w["cells.weight_hh_l0"] @ h + w["cells.bias_hh_l0"]
        )  # fmt: skip
        expected = w["head.weight"] @ h + w["head.bias"]
        np.testing.assert_allclose(model(idx)[0, t].detach().numpy(), expected, rtol=1e-9)


# ---- attention ---------------------------------------------------------------------------------


def test_the_last_position_asks():
    model, idx = made("tiny_attention"), tokens(2, 6)
    x = model.embed(idx)
    weights = model.weights(x)
    np.testing.assert_allclose(weights.sum(-1).detach().numpy(), 1, rtol=1e-9)
    assert not weights.triu(1).any() and bool((weights.tril() > 0).sum() == 2 * 21)
    assert model.attention(idx).equal(weights[:, -1].detach())
    x, w = x[0].detach().numpy(), {k: t.numpy() for k, t in model.state_dict().items()}
    q, k, v = (x @ w[f"{name}.weight"].T for name in ("query", "key", "value"))
    e = np.exp(k @ q[-1] / math.sqrt(6))
    a = e / e.sum()
    np.testing.assert_allclose(model.attention(idx)[0].numpy(), a, rtol=1e-9)
    expected = w["head.weight"] @ (x[-1] + a @ v) + w["head.bias"]
    np.testing.assert_allclose(model(idx)[0, -1].detach().numpy(), expected, rtol=1e-9)


def test_attention_written_out_is_attention():
    mt.manual_seed(0)
    attention, x = Attention(TinyTransformerConfig(d_model=12, n_heads=3)).double(), None
    x = mt.randn(2, 5, 12, dtype=mt.float64)
    q, k, v = (
        m(x).reshape(2, 5, 3, 4).transpose(1, 2)
        for m in (attention.query, attention.key, attention.value)
    )
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    expected = attention.out(y.transpose(1, 2).reshape(2, 5, 12))
    np.testing.assert_allclose(
        attention(x).detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12
    )


# ---- the walk through a block ------------------------------------------------------------------


def test_the_steps_have_the_shapes_that_they_say():
    model, idx = made("modern_block"), tokens(2, 5)
    sizes = {"B": 2, "T": 5, "C": 8, "H": 2, "D": 4, "V": V, "3 C": 24, "4 C": 32}
    steps = list(model.steps(idx))
    for name, value, shape, why in steps:
        assert tuple(value.shape) == tuple(sizes[s] for s in shape.split(", ")), name
        assert why
    values = {name: value for name, value, *_ in steps}
    np.testing.assert_allclose(values["weights"].sum(-1).detach().numpy(), 1, rtol=1e-9)
    assert values["logits"].equal(model(idx))
    lines = []
    walk(model, idx, lines.append)
    assert len(lines) == len(steps) + 1 and "(B, H, T, T) = 2 × 2 × 5 × 5" in lines[11]


def test_the_block_is_that_of_minigpt():
    model, idx = made("modern_block"), tokens(2, 8)
    gpt = MiniGPT(MiniGPTConfig(V, CONTEXT, 8, 2, 1, 0.0)).double().eval()
    names = {
        "blocks.0.norm_1": "norm_1", "blocks.0.norm_2": "norm_2", "blocks.0.mlp.0": "up",
        "blocks.0.mlp.2": "down", "blocks.0.attention.out_proj": "out",
        "blocks.0.attention.in_proj_": "qkv.",
    }  # fmt: skip

    def ours(name):
        for theirs, our in names.items():
            if name.startswith(theirs):
                return name.replace(theirs, our, 1)
        return name

    state = model.state_dict()
    gpt.load_state_dict({name: state[ours(name)] for name in gpt.state_dict()})
    np.testing.assert_allclose(
        gpt(idx).detach().numpy(), model(idx).detach().numpy(), rtol=1e-9, atol=1e-12
    )


# ---- modern MiniGPT ----------------------------------------------------------------------------


def test_turned_vectors_tell_how_far_apart_they_are():
    cos, sin = rotations(20, 8)
    q, k = mt.randn(8), mt.randn(8)
    turned_q, turned_k = rotate(q.expand(20, 8), cos, sin), rotate(k.expand(20, 8), cos, sin)
    products = (turned_q @ turned_k.T).numpy()  # (20, 20)
    for distance in range(-19, 20):
        diagonal = np.diagonal(products, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-5)
    np.testing.assert_allclose(turned_q.norm(dim=-1).numpy(), q.norm().item(), rtol=1e-5)
    assert turned_q[0].equal(q)


def test_modern_minigpt_against_a_direct_formula():
    """The whole model again, on plain arrays, one head of queries after the other."""
    model, idx = made("modern_minigpt"), tokens(2, 7)
    w = {name: t.numpy() for name, t in model.state_dict().items()}
    x = w["token_embedding.weight"][idx.numpy()]  # (2, 7, 16)

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[name + ".weight"]

    def turn(x):  # (2, 7, 4): pairs as complex numbers
        z = x[..., :2] + 1j * x[..., 2:]
        z = z * np.exp(1j * np.arange(7)[:, None] * np.array([1, 10_000**-0.5]))
        return np.concatenate([z.real, z.imag], -1)

    for i in range(2):
        block = f"blocks.{i}."
        h = norm(x, block + "norm_1")
        q, k, v = (h @ w[f"{block}attention.{n}.weight"].T for n in ("query", "key", "value"))
        heads = []
        for head in range(4):
            mine, shared = slice(4 * head, 4 * head + 4), slice(head // 2 * 4, head // 2 * 4 + 4)
            scores = turn(q[..., mine]) @ turn(k[..., shared]).swapaxes(1, 2) / 2  # √4
            scores[:, np.triu(np.ones((7, 7), bool), 1)] = -np.inf
            e = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(e / e.sum(-1, keepdims=True) @ v[..., shared])
        x = x + np.concatenate(heads, -1) @ w[block + "attention.out.weight"].T
        h = norm(x, block + "norm_2")
        gate, up = (h @ w[f"{block}mlp.{n}.weight"].T for n in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[block + "mlp.down.weight"].T
    expected = norm(x, "norm") @ w["token_embedding.weight"].T
    # cosines and sines are kept in float32
    np.testing.assert_allclose(model(idx).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_it_is_tied_and_has_no_biases():
    model = ModernMiniGPT()
    names = dict(model.named_parameters())
    assert not [name for name in names if "bias" in name or "head" in name or "position" in name]
    assert sum(p.numel() for p in names.values()) == 758_912
    C, D, M = 128, 32, 344
    block = 2 * C * 4 * D + 2 * C * 2 * D + 3 * C * M + 2 * C
    assert 256 * C + 4 * block + C == 758_912


def test_fewer_heads_of_keys_make_a_smaller_cache():
    cache = made("modern_minigpt").new_cache(3)
    assert cache.layers[0].keys.shape == (3, 2, CONTEXT, 4)
    assert cache.layers[1].values.dtype is mt.float64
