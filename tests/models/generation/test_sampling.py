"""Sampling: what each filter keeps, how often each token comes, and which options are refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microtensor as mt
from models.generation.sampling import (
    check_options,
    complete,
    distribution,
    generate,
    generate_text,
    generate_texts,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_repetition,
    sample,
    scale_temperature,
)
from models.ladder.minigpt import MiniGPT, MiniGPTConfig
from models.text.tokenizers import CharTokenizer


def kept(logits):
    """The positions in each row that are not ruled out."""
    return [np.flatnonzero(row > -math.inf).tolist() for row in logits.numpy()]


def logits_of(*probabilities, dtype=mt.float32):
    return mt.tensor([[math.log(p) if p else -math.inf for p in probabilities]], dtype=dtype)


def shares(logits, n=4000, **options):
    """How often each token is drawn."""
    generator = mt.Generator().manual_seed(0)
    rows = logits.expand(n, logits.shape[1])
    tokens = sample(rows, generator=generator, **options).numpy()
    return np.bincount(tokens, minlength=logits.shape[1]) / n


# ---- filters -----------------------------------------------------------------------------------


def test_top_k_keeps_the_k_largest_as_they_are():
    logits = mt.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, 5.0]])
    assert keep_top_k(logits, 2).tolist() == [[-math.inf, 3.0, 2.0], [0.0, -math.inf, 5.0]]
    assert keep_top_k(logits, 3).tolist() == logits.tolist()


def test_top_k_keeps_exactly_k_of_equals():
    assert kept(keep_top_k(mt.zeros(2, 5), 3)) == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("dtype", [mt.float32, mt.float64])
@pytest.mark.parametrize(
    "p, expected",
    [(0.1, [0]), (0.25, [0]), (0.26, [0, 2]), (0.5, [0, 2]), (0.6, [0, 1, 2]), (0.75, [0, 1, 2, 3]),
     (1.0, [0, 1, 2, 3, 4, 5])],
)  # fmt: skip
def test_top_p_keeps_the_smallest_set_that_reaches_p(p, expected, dtype):
    logits = logits_of(0.25, 0.125, 0.25, 0.125, 0.125, 0.125, dtype=dtype)
    assert kept(keep_top_p(logits, p)) == [expected]


def test_top_p_of_25_25_12_12_at_half_keeps_the_first_two():
    assert kept(keep_top_p(logits_of(25, 25, 12.5, 12.5), 0.5)) == [[0, 1]]


def test_top_p_keeps_the_values_and_the_rows_apart():
    logits = mt.tensor([[0.0, 10.0, 0.0], [1.0, 1.0, 1.0]])
    out = keep_top_p(logits, 0.7)
    assert out.tolist() == [[-math.inf, 10.0, -math.inf], [1.0, 1.0, 1.0]]


@given(
    st.lists(st.floats(-20, 20), min_size=1, max_size=12),
    st.floats(1e-6, 1, exclude_max=True),
)
def test_top_p_is_the_smallest_set(values, p):
    logits = mt.tensor([values], dtype=mt.float64)
    probabilities = logits.softmax(-1).numpy()[0]
    inside = kept(keep_top_p(logits, p))[0]
    mass = probabilities[inside].sum()
    outside = np.setdiff1d(np.arange(len(values)), inside)
    assert mass >= p * (1 - 2e-6)  # it reaches p
    assert mass - probabilities[inside].min() < p  # without its least likely, it would not
    assert all(probabilities[inside].min() >= probabilities[i] for i in outside)


def test_temperature_sharpens_and_flattens():
    logits = logits_of(0.7, 0.2, 0.1, dtype=mt.float64)
    for temperature in (0.5, 2.0):
        expected = np.array([0.7, 0.2, 0.1]) ** (1 / temperature)
        got = scale_temperature(logits, temperature).softmax(-1).numpy()[0]
        np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-12)


def test_min_p_is_a_share_of_the_likeliest():
    logits = logits_of(0.4, 0.2, 0.05, 0.25, 0.1)
    assert kept(keep_min_p(logits, 0.5)) == [[0, 1, 3]]
    assert kept(keep_min_p(logits, 0.51)) == [[0, 3]]
    assert kept(keep_min_p(logits, 1)) == [[0]]
    assert keep_min_p(logits, 0) is logits


def test_repetition_makes_seen_tokens_less_likely():
    logits = mt.tensor([[2.0, -1.0, 3.0, -4.0]])
    seen = mt.tensor([[True, True, False, False]])
    assert penalize_repetition(logits, seen, 2.0).tolist() == [[1.0, -2.0, 3.0, -4.0]]
    assert penalize_repetition(logits, seen, 0.5).tolist() == [[4.0, -0.5, 3.0, -4.0]]


# ---- one choice --------------------------------------------------------------------------------


def test_temperature_zero_takes_the_likeliest():
    logits = mt.tensor([[0.0, 2.0, 1.0], [5.0, -1.0, 5.0]])
    assert sample(logits, temperature=0).tolist() == [1, 0]
    assert sample(logits, temperature=0, top_k=1, top_p=0.1).tolist() == [1, 0]


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [0.5, 0.3, 0.2, 0.0]),
        ({"temperature": 0.5}, [25 / 38, 9 / 38, 4 / 38, 0.0]),
        ({"top_k": 2}, [0.625, 0.375, 0.0, 0.0]),
        ({"top_p": 0.5}, [1.0, 0.0, 0.0, 0.0]),
        ({"top_p": 0.51}, [0.625, 0.375, 0.0, 0.0]),
        ({"top_k": 2, "top_p": 0.6}, [1.0, 0.0, 0.0, 0.0]),  # p of what k has left: 0.625
        ({"min_p": 0.6}, [0.625, 0.375, 0.0, 0.0]),
        ({"temperature": 0.5, "min_p": 0.37}, [1.0, 0.0, 0.0, 0.0]),  # of 0.25 : 0.09
    ],
)
def test_tokens_come_as_often_as_they_should(options, expected):
    got = shares(logits_of(0.5, 0.3, 0.2, 0), **options)
    exactly = distribution(logits_of(0.5, 0.3, 0.2, 0), **options)
    np.testing.assert_allclose(exactly.numpy()[0], expected, atol=1e-7)
    expected = np.array(expected)
    assert (np.abs(got - expected) <= 4.5 * np.sqrt(expected * (1 - expected) / 4000)).all()


def test_a_token_ruled_out_never_comes():
    got = shares(logits_of(0, 1e-3, 0, 1, 0))
    assert got[[0, 2, 4]].tolist() == [0, 0, 0] and got[1] > 0


def test_the_penalty_comes_before_the_choice():
    logits, seen = mt.tensor([[3.0, 2.0]]), mt.tensor([[True, False]])
    assert sample(logits, temperature=0, repetition_penalty=2, seen=seen).tolist() == [1]
    assert sample(logits, temperature=0, repetition_penalty=2).tolist() == [0]
    options = {"repetition_penalty": 2, "seen": seen, "temperature": 0.5}
    expected = np.exp([3.0, 4.0]) / np.exp([3.0, 4.0]).sum()
    np.testing.assert_allclose(distribution(logits, **options).numpy()[0], expected, rtol=1e-12)


def test_the_distribution_of_the_likeliest_alone():
    assert distribution(mt.tensor([[1.0, 3.0, 2.0]]), temperature=0).tolist() == [[0, 1, 0]]


def test_a_generator_for_each_row():
    rows = mt.zeros(3, 100)

    def streams(*seeds):
        return [mt.Generator().manual_seed(s) for s in seeds]

    together = sample(rows, generator=streams(5, 6, 5)).tolist()
    alone = [sample(rows[:1], generator=streams(s)).item() for s in (5, 6, 5)]
    assert together == alone and together[0] != together[1]


@pytest.mark.parametrize("temperature", [1e-30, 1e30])
def test_extreme_temperatures_are_limits(temperature):
    got = shares(mt.tensor([[300.0, -300.0, 299.0]]), temperature=temperature)
    if temperature < 1:
        assert got.tolist() == [1, 0, 0]
    else:
        assert (np.abs(got - 1 / 3) < 0.04).all()


def test_the_same_seed_gives_the_same_tokens():
    rows = mt.zeros(50, 100)
    draws = [sample(rows, generator=mt.Generator().manual_seed(s)).tolist() for s in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_without_a_generator_the_default_stream_is_used():
    mt.manual_seed(5)
    one = sample(mt.zeros(50, 100)).tolist()
    mt.manual_seed(5)
    assert sample(mt.zeros(50, 100)).tolist() == one


def test_choices_are_integers_without_history():
    token = sample(mt.zeros(3, 4, requires_grad=True))
    assert token.dtype is mt.int64 and token.shape == (3,) and not token.requires_grad


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"temperature": -0.1}, "temperature must be 0 .* got -0.1"),
        ({"temperature": math.nan}, "temperature must be .* got nan"),
        ({"temperature": math.inf}, "temperature must be .* got inf"),
        ({"top_k": 0}, r"top_k must be within 1 … 8, the vocabulary, got 0"),
        ({"top_k": -3}, "top_k must be .* got -3"),
        ({"top_k": 9}, "top_k must be .* got 9"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": -0.5}, "top_p must be"),
        ({"top_p": 1.01}, "top_p must be"),
        ({"top_p": math.nan}, "top_p must be"),
        ({"min_p": -0.1}, "min_p must be within 0 … 1, got -0.1"),
        ({"min_p": 1.5}, "min_p must be within 0 … 1, got 1.5"),
        ({"repetition_penalty": 0}, r"repetition_penalty must be above 0 \(1: none\), got 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        sample(mt.zeros(1, 8), **options)
    with pytest.raises(ValueError, match=complaint):  # at the call, not at the first token
        generate(Counting(8), mt.zeros(1, 1, dtype=mt.int64), 3, **options)


def test_a_text_is_no_tensor_of_tokens():
    with pytest.raises(TypeError, match="tokens .B, T. is needed, got str; .* generate_text"):
        generate(Counting(8), "KING", 3)


def test_top_k_can_be_checked_without_a_vocabulary():
    check_options(top_k=10_000)
    with pytest.raises(ValueError, match="top_k must be at least 1, got 0"):
        check_options(top_k=0)


# ---- one after the other: a model that counts needs no training --------------------------------


class Counting(mt.nn.Module):
    """After token t comes t + 1, for sure; remembers what it was shown."""

    class config:
        context_length = 4

    def __init__(self, vocab_size):
        super().__init__()
        self.config = type("config", (), {"context_length": 4, "vocab_size": vocab_size})
        self.weight = mt.nn.Parameter(mt.eye(vocab_size).roll(1, 1) * 1000)
        self.seen, self.modes = [], []

    def forward(self, idx):
        self.seen.append(idx.tolist())
        self.modes.append((self.training, mt.is_grad_enabled()))
        return self.weight[idx]


def test_generate_streams_one_token_for_each_prompt():
    prompts = mt.tensor([[0], [5]])
    tokens = generate(Counting(10), prompts, 3)
    assert iter(tokens) is tokens
    assert next(tokens).tolist() == [1, 6]
    assert [t.tolist() for t in tokens] == [[2, 7], [3, 8]]
    assert prompts.tolist() == [[0], [5]]


def test_generate_crops_to_the_context():
    model = Counting(10)
    assert len(list(generate(model, mt.tensor([[0, 1, 2, 3, 4, 5]]), 2))) == 2
    assert model.seen == [[[2, 3, 4, 5]], [[3, 4, 5, 6]]]
    model.seen.clear()
    list(generate(model, mt.tensor([[0, 1, 2]]), 3))
    assert model.seen == [[[0, 1, 2]], [[0, 1, 2, 3]], [[1, 2, 3, 4]]]


def test_generate_records_nothing_and_leaves_the_mode_alone():
    model = Counting(10)
    tokens = generate(model, mt.tensor([[0]]), 2)
    next(tokens)
    assert model.training and mt.is_grad_enabled()  # between two tokens, too
    next(tokens)
    assert model.modes == [(False, False)] * 2
    model.eval()
    list(generate(model, mt.tensor([[0]]), 1))
    assert not model.training


def test_generate_zero_tokens_asks_nothing():
    model = Counting(10)
    assert list(generate(model, mt.tensor([[0]]), 0)) == [] and model.seen == []


@pytest.mark.parametrize(
    "prompt, n, complaint",
    [
        (mt.zeros(1, 0, dtype=mt.int64), 1, r"at least one token are needed, got \(1, 0\)"),
        (mt.zeros(0, 1, dtype=mt.int64), 1, r"got \(0, 1\)"),
        (mt.zeros(3, dtype=mt.int64), 1, r"prompts \(B, T\) .* got \(3,\)"),
        (mt.zeros(1, 1, dtype=mt.int64), -1, "max_new_tokens must not be negative, got -1"),
    ],
)
def test_generate_refuses_at_once(prompt, n, complaint):
    with pytest.raises(ValueError, match=complaint):
        generate(Counting(10), prompt, n)


def test_generated_text_continues_the_prompt():
    tokenizer = CharTokenizer("abcdé")
    pieces = list(generate_text(Counting(5), tokenizer, "ab", 4))
    assert "".join(pieces) == "cdéa" and pieces[:4] == ["c", "d", "é", "a"]


def test_a_prompt_that_cannot_be_continued():
    with pytest.raises(ValueError, match="the prompt is empty"):
        generate_text(Counting(5), CharTokenizer("abcde"), "", 4)
    with pytest.raises(ValueError, match="'x' at index 1"):
        generate_text(Counting(5), CharTokenizer("abcde"), "ax", 4)


# ---- several texts -----------------------------------------------------------------------------

LETTERS = "abcdefghij\n"


@pytest.fixture(scope="module")
def writer():
    """An untrained model, and a tokenizer for it."""
    mt.manual_seed(0)
    config = MiniGPTConfig(len(LETTERS), context_length=12, d_model=12, n_heads=2, n_layers=2)
    return MiniGPT(config).double(), CharTokenizer(LETTERS)


PROMPTS = ["abc", "b", "hgf", "jjjjjjj", "abc", "ab\ncdefghija"]


def test_each_text_is_what_it_would_be_alone(writer):
    options = {"n": 2, "seed": 7, "temperature": 2.0, "top_k": 6, "repetition_penalty": 1.3}
    together = complete(*writer, PROMPTS, 20, **options)  # more than the context holds
    assert together == [complete(*writer, p, 20, **options) for p in PROMPTS]
    assert [len(t) for texts in together for t in texts] == [20] * 12
    assert together[0] == together[4] and len({t for texts in together for t in texts}) == 10


def test_completions_of_one_prompt_differ_and_repeat(writer):
    texts = complete(*writer, "abc", 10, n=4, seed=1)
    assert len(set(texts)) == 4 and texts == complete(*writer, "abc", 10, n=4, seed=1)
    assert texts[1:3] == complete(*writer, "abc", 10, n=2, seed=2)  # completion j: seed + j
    assert len(set(complete(*writer, "abc", 10, n=3, temperature=0))) == 1


def test_batches_with_and_without_cache_agree(writer):
    texts = complete(*writer, PROMPTS, 9, n=2, seed=3)
    assert texts == complete(*writer, PROMPTS, 9, n=2, seed=3, use_cache=False)


def test_texts_come_as_they_are_written(writer):
    pieces = generate_texts(*writer, ["abc", "b"], 3, temperature=0)
    assert [next(pieces)[:2] for _ in range(4)] == [(0, 0), (1, 0), (0, 0), (1, 0)]


def test_a_strong_penalty_writes_no_token_twice(writer):
    (text,) = complete(*writer, "abc", 8, repetition_penalty=1e6, temperature=0)
    assert len(set("abc" + text)) == 11


@pytest.mark.parametrize(
    "stop, expected",
    [
        ("f", "de"),
        (["h", "fg"], "de"),
        ("efg", "d"),
        ("d", ""),
        (["efx", "gx"], "defghij"),  # what looks like a beginning is held back, not lost
        (["ij!"], "defghij"),
        ([], "defghij"),
    ],
)
def test_a_text_ends_before_a_stop_string(stop, expected):
    tokenizer = CharTokenizer("abcdefghijx!")
    assert complete(Counting(12), tokenizer, "c", 7, stop=stop, temperature=0) == [expected]
    pieces = list(generate_text(Counting(12), tokenizer, "c", 7, stop=stop, temperature=0))
    assert "".join(pieces) == expected


def test_nothing_is_computed_after_the_last_stop():
    model = Counting(10)
    texts = complete(model, CharTokenizer("abcdefghij"), ["a", "c"], 7, stop=["e"], temperature=0)
    assert texts == [["bcd"], ["d"]] and len(model.seen) == 4  # both were one batch


@pytest.mark.parametrize(
    "prompt, options, complaint",
    [
        ("", {}, "the prompt is empty"),
        ("a?", {}, r"'\?' at index 1"),
        ("abcdefghijabc", {}, "the prompt has 13 tokens, but the model sees 12 at once"),
        (["a", ""], {}, "the prompt is empty"),
        ("a", {"n": 0}, "at least one completion must be asked for, got n = 0"),
        ("a", {"stop": ["b", ""]}, "a stop string must not be empty"),
        ("a", {"seed": 1, "generator": mt.Generator()}, "a seed or a generator, not both"),
        ("a", {"temperature": -1}, "temperature must be"),
        ("a", {"top_k": 12}, "top_k must be within 1 … 11, the vocabulary, got 12"),
        ("a", {"generator": [mt.Generator()] * 2}, "generate: 2 generators for 1 prompts"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(writer, prompt, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        complete(*writer, prompt, 3, **options)
    with pytest.raises(ValueError, match=complaint):  # before the first piece is asked for
        generate_texts(*writer, [prompt] if isinstance(prompt, str) else prompt, 3, **options)
