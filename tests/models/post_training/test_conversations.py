"""Prompts are masked, answers are never cut, and packed conversations do not see one another."""

import numpy as np
import pytest

import microtensor as mt
from models import MiniGPT, MiniGPTConfig, ModernMiniGPT, ModernMiniGPTConfig
from models.post_training.conversations import (
    IGNORED,
    Batch,
    Conversations,
    encode,
    packed,
    padded,
)
from models.post_training.sft import sft_loss, with_chat
from models.text import chat
from models.text.tokenizers import CharTokenizer

TOKENIZER = chat.with_chat_tokens(CharTokenizer("0123456789+ abcdefghijklmnopqrstuvwxyz"))
SIZES = {"vocab_size": TOKENIZER.vocab_size, "context_length": 32, "d_model": 16, "n_heads": 2,
         "n_layers": 2}  # fmt: skip
MODELS = {
    "minigpt": lambda: MiniGPT(MiniGPTConfig(**SIZES, dropout=0.0)),
    "modern": lambda: ModernMiniGPT(ModernMiniGPTConfig(**SIZES)),
}
each_model = pytest.mark.parametrize("name", MODELS)


def talk(*texts):
    """A conversation in which a person and the assistant take turns."""
    return [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(texts)]


TALKS = [talk("1+2", "3"), talk("copy abc", "abc"), talk("a", "b", "cd", "ef"), talk("", "x")]
EXAMPLES = [encode(TOKENIZER, t, 32) for t in TALKS]


@pytest.fixture
def model(request):
    mt.manual_seed(0)
    return MODELS[request.getfixturevalue("name")]()


@each_model
def test_the_targets_of_a_prompt_change_nothing(name, model):
    batch = padded(EXAMPLES)
    ids = batch.idx.numpy()
    everything = np.roll(ids, -1, 1)  # what the targets would be without a mask
    learned = batch.targets.numpy() != IGNORED
    other = np.where(learned, batch.targets.numpy(), IGNORED)
    assert (everything[learned][:-1] >= 0).all() and 0 < learned.sum() < learned.size
    assert (
        sft_loss(model, Batch(batch.idx, mt.tensor(other))).item() == sft_loss(model, batch).item()
    )
    # and the loss is the mean over the assistant's own tokens alone
    logits = model(batch.idx).detach().numpy().astype(np.float64)
    logps = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    rows, columns = np.nonzero(learned)
    own = -logps[rows, columns, batch.targets.numpy()[rows, columns]]
    assert sft_loss(model, batch).item() == pytest.approx(own.mean(), rel=1e-5)


def test_only_the_assistants_tokens_are_targets():
    batch = padded(EXAMPLES)
    for row, messages in zip(batch.targets.tolist(), TALKS):
        said = [m["content"] + chat.END for m in messages if m["role"] == "assistant"]
        assert TOKENIZER.decode([t for t in row if t != IGNORED]) == "".join(said)


@each_model
def test_packed_conversations_do_not_see_one_another(name, model):
    """Loss and gradients are those of a row each, and no token reacts to another conversation."""
    alone, together = padded(EXAMPLES), packed(EXAMPLES, 32)
    assert len(together.idx) < len(alone.idx)
    grads = []
    for batch in (alone, together):
        model.zero_grad()
        loss = sft_loss(model, batch)
        loss.backward()
        grads.append((loss.item(), [p.grad.numpy().copy() for p in model.parameters()]))
    assert grads[0][0] == pytest.approx(grads[1][0], rel=1e-5)
    for a, b in zip(grads[0][1], grads[1][1]):
        np.testing.assert_allclose(a, b, atol=2e-6)
    changed = together.idx.clone()
    first = together.segments == 1
    changed[first] = (changed[first] + 1) % TOKENIZER.vocab_size
    with mt.no_grad():
        before = model(together.idx, segments=together.segments)
        after = model(changed, segments=together.segments)
    others = first.logical_not()
    assert (before[others] == after[others]).all() and (before[first] != after[first]).any()


@pytest.mark.parametrize("seed", range(5))
def test_packing_keeps_every_token_once(seed):
    rng = np.random.default_rng(seed)
    examples = []
    for _ in range(30):
        n = int(rng.integers(2, 20))
        examples.append((rng.integers(0, 9, n), np.arange(n) > rng.integers(0, n - 1)))
    batch = packed(examples, 20)
    found = []
    for ids, targets, segments in zip(*(t.tolist() for t in vars(batch).values())):
        for number in range(1, max(segments) + 1):
            places = [i for i, s in enumerate(segments) if s == number]
            assert places == list(range(places[0], places[-1] + 1))
            found.append(([ids[i] for i in places], [targets[i] for i in places]))
    wanted = [
        (ids[:-1].tolist(), np.where(mask[1:], ids[1:], IGNORED).tolist()) for ids, mask in examples
    ]
    assert sorted(found) == sorted(wanted)


def test_a_row_too_short_is_said():
    with pytest.raises(ValueError, match="an example of 7 tokens does not fit a row of 5"):
        packed(EXAMPLES[:1], 5)


@pytest.mark.parametrize("messages", [talk("1+2"), [{"role": "system", "content": "a"}]])
def test_an_example_that_is_masked_wholly_is_an_error(messages):
    with pytest.raises(ValueError, match="an example of which nothing is learned"):
        encode(TOKENIZER, messages, 32)


@pytest.mark.parametrize("length", range(4, 34))
def test_truncation_never_touches_an_answer(length):
    """Whatever the context: the answers are whole, or it is an error; and never silently."""
    messages = [{"role": "system", "content": "abcdefgh"}, *talk("1+2", "3", "3+4", "7")]
    whole, _ = encode(TOKENIZER, messages, 99)
    if len(whole) <= length + 1:
        assert (encode(TOKENIZER, messages, length)[0] == whole).all()
        return
    with pytest.raises(ValueError, match="does not fit a context"):
        encode(TOKENIZER, messages, length)
    if len(whole) - (length + 1) > len("abcdefgh"):
        with pytest.raises(ValueError, match="cannot be shortened"):
            encode(TOKENIZER, messages, length, truncation=True)
        return
    ids, mask = encode(TOKENIZER, messages, length, truncation=True)
    assert len(ids) == length + 1
    assert TOKENIZER.decode(ids[mask]) == "3<|end|>7<|end|>"
    assert TOKENIZER.decode(whole).endswith(TOKENIZER.decode(ids[1:]))
    assert ids[0] == whole[0]


def test_an_answer_that_comes_first_is_not_shortened():
    with pytest.raises(ValueError, match="cannot be shortened"):
        encode(TOKENIZER, talk("a", "b" * 40)[1:], 20, truncation=True)


def test_batches_are_drawn_by_the_generator():
    data = Conversations(EXAMPLES)
    draws = [data.random_batch(3, mt.Generator().manual_seed(s)).idx.tolist() for s in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert [len(b.idx) for b in data.spread(9, 3)] == [3, 1]
    with pytest.raises(ValueError, match="there are no conversations"):
        Conversations([])


@each_model
def test_a_model_for_conversations_knows_what_it_knew(name):
    plain = CharTokenizer("0123456789+ abcdefghijklmnopqrstuvwxyz")
    mt.manual_seed(0)
    config = {**SIZES, "vocab_size": plain.vocab_size}
    kinds = {"minigpt": (MiniGPT, MiniGPTConfig), "modern": (ModernMiniGPT, ModernMiniGPTConfig)}
    model = kinds[name][0](kinds[name][1](**config)).eval()
    grown, tokenizer = with_chat(model, plain)
    idx = mt.tensor([plain.encode("copy abc")])
    assert tokenizer.settings() == TOKENIZER.settings()
    assert grown.config.vocab_size == plain.vocab_size + 4
    got = grown.eval()(idx)[..., : plain.vocab_size]
    np.testing.assert_allclose(got.detach().numpy(), model(idx).detach().numpy(), atol=1e-6)
