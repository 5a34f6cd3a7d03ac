"""The same merges, and the same ids, as the package `tokenizers` learns and gives."""

import random

import pytest

from models.text.tokenizers import BPETokenizer

tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def text():
    """Some 300 kB like a language: words of a few thousand, the frequent ones short, and signs."""
    rng = random.Random(0)
    syllables = [c + v for c in "bcdfghklmnprstvwéß" for v in ("a", "e", "i", "ou", "en")]
    lexicon = ["".join(rng.choices(syllables, k=1 + i % 400 // 100)) for i in range(3000)]
    weights = [1 / (i + 1) for i in range(3000)]
    marks = rng.choices([" "] * 9 + [", ", ".\n", " 1984 ", "'s ", "  ", "… ", "漢字"], k=60_000)
    return "".join(w + m for w, m in zip(rng.choices(lexicon, weights, k=60_000), marks))


def theirs(text, size, min_count, special_tokens=()):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, min_frequency=min_count, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([text], trainer)
    tokenizer.add_special_tokens(list(special_tokens))
    return tokenizer


def test_the_same_merges_in_the_same_order(text, tmp_path):
    reference = theirs(text, 3000, 2)
    reference.model.save(str(tmp_path))
    ours = BPETokenizer.from_text(text, 3000)
    loaded = BPETokenizer.load(tmp_path)  # from the files that it writes
    assert len(ours.merges) > 2000
    assert loaded.merges == ours.merges and loaded.vocab == ours.vocab


def test_the_same_until_no_pair_is_left(text, tmp_path):
    reference = theirs(text[:20_000], 10**6, 0)
    reference.model.save(str(tmp_path))
    ours = BPETokenizer.from_text(text[:20_000], 10**6, min_count=1)
    assert BPETokenizer.load(tmp_path).merges == ours.merges


def test_the_same_ids(text):
    end = "<|endoftext|>"
    reference = theirs(text[: len(text) // 2], 2000, 2, [end])
    ours = BPETokenizer.from_text(text[: len(text) // 2], 2001, [end])
    wild = f"naïve\t\r\n  I'LL we'll{end} 😀e\u0301 x²½ \u00a0\u3000 {'ab' * 50} "
    for sample in (text, wild, "", " ", end * 2):
        ids = reference.encode(sample).ids
        assert ours.encode(sample) == ids
        assert ours.decode(ids) == sample


def test_files_of_ours_are_read_there(text, tmp_path):
    ours = BPETokenizer.from_text(text, 1000, ["<|endoftext|>"])
    ours.save(tmp_path)
    model = tokenizers.models.BPE.from_file(
        str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")
    )
    reference = tokenizers.Tokenizer(model)
    reference.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert reference.encode(text[:50_000]).ids == ours.encode(text[:50_000])
