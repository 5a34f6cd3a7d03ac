"""Byte-pair encoding: what it learns, what it writes, and what it refuses."""

import json
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text import bpe
from models.text.tokenizers import BPETokenizer, ByteTokenizer, load_tokenizer

VERSE = (
    "She sells sea shells by the sea shore; the shells she sells are sea shells, I'm sure.\n"
    "If she sells sea shells by the sea shore, they're sea-shore shells: 1 2 3 10 20.\n\n"
) * 3
END = "<|end|>"
TOKENIZER = BPETokenizer.from_text(VERSE, 280, [END, "[PAD]"])


# ---- the algorithm -------------------------------------------------------------------------------


def plain_learn(counts, size, min_count):
    """The definition: the most frequent pair, of equal ones the smaller ids, joined; and again."""
    words = {word: [bpe.BYTE_IDS[b] for b in word] for word in counts}
    spelled, merges = {id: bytes([b]) for b, id in enumerate(bpe.BYTE_IDS)}, []
    while len(spelled) < size:
        pairs = Counter()
        for word, tokens in words.items():
            for pair in zip(tokens, tokens[1:]):
                pairs[pair] += counts[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < min_count:
            break
        spelling = spelled[best[0]] + spelled[best[1]]
        new = next((id for id, s in spelled.items() if s == spelling), len(spelled))
        spelled[new] = spelling
        merges.append((*best, new))
        words = {word: plain_merge(tokens, *merges[-1]) for word, tokens in words.items()}
    return merges


def plain_merge(tokens, a, b, new):
    out = []
    for token in tokens:
        if token == b and out and out[-1] == a:
            out[-1] = new
        else:
            out.append(token)
    return out


@given(st.dictionaries(st.text("ab€", max_size=12), st.integers(1, 9), max_size=6))
def test_learning_follows_the_definition(counts):
    counts = {word.encode(): count for word, count in counts.items()}
    merges = bpe.learn(counts, 300, min_count=1)
    assert merges == plain_learn(counts, 300, min_count=1)
    ranks = {(a, b): (rank, new) for rank, (a, b, new) in enumerate(merges)}
    for word in counts:
        tokens = [bpe.BYTE_IDS[b] for b in word]
        plain = tokens
        for merge in merges:
            plain = plain_merge(plain, *merge)
        assert bpe.encode(tokens, ranks) == plain


def test_one_token_made_in_two_ways_is_one_token():
    counts = {b"a" * n: 1 for n in range(2, 40)}
    merges = bpe.learn(counts, 300, min_count=1)
    assert merges == plain_learn(counts, 300, min_count=1)


def test_the_example_of_the_paper():
    """low, lower, newest, widest (arXiv:1508.07909, algorithm 1), without its end of word."""
    counts = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}
    tokens = list(bpe.ALPHABET)
    for a, b, _ in bpe.learn(counts, 256 + 4):
        tokens.append(tokens[a] + tokens[b])
    assert tokens[256:] == ["es", "est", "lo", "low"]


def test_of_three_equal_letters_the_first_two_are_joined():
    tokenizer = BPETokenizer.from_text("aaa aaa", 257)
    a, aa = bpe.BYTE_IDS[ord("a")], 256
    assert tokenizer.merges == ["a a"] and tokenizer.encode("aaaaa") == [aa, aa, a]


def test_words_are_those_of_gpt2():
    assert bpe.words("I'm here,  it's 1984!\n\n  Ünïcode…\t") == [
        "I", "'m", " here", ",", " ", " it", "'s", " 1984", "!", "\n\n ", " Ünïcode", "…", "\t"
    ]  # fmt: skip


def test_letters_are_those_of_gpt2():
    assert [bpe.LETTERS[byte] for byte in b"a \n\x00\x7f\xad\xff"] == list("aĠĊĀġŃÿ")
    assert bpe.ALPHABET[0] == "!" and len(set(bpe.LETTERS)) == 256
    assert all(letter.isprintable() for letter in bpe.LETTERS)
    assert bpe.to_bytes(bpe.LETTERS) == bytes(range(256))
    with pytest.raises(ValueError, match="'a b' has ' '"):
        bpe.to_bytes("a b")


def test_a_word_as_long_as_a_book():
    """100,000 letters without a space: joined in n log n."""
    word = "".join(random.Random(0).choices("acgt", k=100_000))
    tokenizer = BPETokenizer.from_text(word, 300)
    ids = tokenizer.encode(word)
    assert len(ids) < 45_000 and tokenizer.decode(ids) == word


# ---- the tokenizer -------------------------------------------------------------------------------


@given(st.text())
def test_any_text_makes_the_round_trip(text):
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    stream = TOKENIZER.stream()
    assert "".join(map(stream, ids)) + stream.flush() == text


@given(st.binary())
def test_any_bytes_make_the_round_trip(data):
    ids = TOKENIZER.encode(data)
    assert TOKENIZER.decode_bytes(ids) == data
    assert TOKENIZER.decode(ids) == data.decode("utf-8", "replace")


@given(st.lists(st.integers(0, TOKENIZER.vocab_size - 1)))
def test_any_ids_can_be_decoded(ids):
    assert TOKENIZER.decode_bytes(ids) == b"".join(TOKENIZER.vocabulary[i] for i in ids)


def test_it_makes_text_shorter():
    assert len(TOKENIZER.encode(VERSE)) < 0.4 * len(VERSE)
    pieces = [TOKENIZER.vocabulary[i].decode() for i in TOKENIZER.encode("the sea shells")]
    assert pieces == ["the", " sea", " shells"]


def test_ids_are_those_of_gpt2():
    """Bytes in the order of their letters, then merges, then special tokens."""
    assert TOKENIZER.vocab[:256] == bpe.ALPHABET
    assert TOKENIZER.vocab[256:258] == [m.replace(" ", "") for m in TOKENIZER.merges[:2]]
    assert TOKENIZER.vocab[-2:] == TOKENIZER.special_tokens == [END, "[PAD]"]
    assert TOKENIZER.vocab_size == 280 and TOKENIZER.encode_array("a").dtype == np.uint16


def test_learning_ends_where_no_pair_occurs_twice():
    tokenizer = BPETokenizer.from_text("abab cdcd", 1000)
    assert tokenizer.vocab_size == 258 and set(tokenizer.merges) == {"a b", "c d"}
    assert BPETokenizer.from_text("abc", 1000, min_count=1).merges == ["a b", "ab c"]


def test_a_text_may_come_in_parts():
    cut = VERSE.index(" shells", 200)  # between two words
    parts = iter([VERSE[:cut], VERSE[cut:], ""])
    assert BPETokenizer.from_text(parts, 278).merges == TOKENIZER.merges


def test_the_words_that_are_kept_are_limited(monkeypatch):
    tokenizer = BPETokenizer(TOKENIZER.vocab, TOKENIZER.merges)
    monkeypatch.setattr(type(tokenizer._words), "LIMIT", 3)
    assert tokenizer.encode(VERSE) == TOKENIZER.encode(VERSE)
    assert 0 < len(tokenizer._words) <= 3


def test_special_tokens():
    text = f"sea{END}shells {END}[PAD]"
    end, pad = 278, 279
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text and [i for i in ids if i >= end] == [end, end, pad]
    assert ids[: ids.index(end)] == TOKENIZER.encode("sea")
    plain = TOKENIZER.encode_array(text, special=False)
    assert TOKENIZER.decode(plain) == text and plain.max() < end
    # none of their letters is learned
    assert BPETokenizer.from_text(f"a{END}" * 9, 300, [END]).merges == []
    # the longer of two that begin alike
    tokenizer = BPETokenizer.from_text("a", 258, ["<a>", "<a><b>"])
    assert tokenizer.encode("<a><b><a>") == [257, 256]


@pytest.mark.parametrize("vocab_size", [-1, 0, 256, 257])
def test_a_vocabulary_has_room_for_all_bytes(vocab_size):
    with pytest.raises(
        ValueError, match="vocab_size must be at least 258: 256 bytes and 2 special"
    ):
        BPETokenizer.from_text("text", vocab_size, [END, "<x>"])


@pytest.mark.parametrize("text", ["", [], ["", ""]])
def test_an_empty_text_teaches_nothing(text):
    with pytest.raises(ValueError, match="empty text"):
        BPETokenizer.from_text(text, 300)


def test_what_is_no_text_is_refused():
    with pytest.raises(UnicodeEncodeError):
        TOKENIZER.encode("\udcff")
    with pytest.raises(IndexError, match="id 280 at index 1 is outside 0 … 279"):
        TOKENIZER.decode([0, 280])
    with pytest.raises(ValueError, match="'end' is in the vocabulary, but no merge makes it"):
        BPETokenizer.from_text("text", 257, ["end"])


def test_regex_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "regex", None)
    bpe.pattern.cache_clear()
    with pytest.raises(ImportError, match="pip install regex"):
        BPETokenizer(TOKENIZER.vocab, TOKENIZER.merges).encode("a")
    assert TOKENIZER.decode([0]) == "!"  # nothing to cut into words


# ---- files ---------------------------------------------------------------------------------------


def same(one, other):
    return type(one) is type(other) and one.settings() == other.settings()


def test_save_and_load(tmp_path):
    TOKENIZER.save(tmp_path / "t.json")
    assert same(load_tokenizer(tmp_path / "t.json"), TOKENIZER)
    with pytest.raises(ValueError, match="holds a BPETokenizer, not a ByteTokenizer"):
        ByteTokenizer.load(tmp_path / "t.json")


def test_a_folder_gets_the_files_of_gpt2(tmp_path):
    TOKENIZER.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["merges.txt", "vocab.json"]
    vocab = json.loads((tmp_path / "vocab.json").read_bytes())
    assert vocab["!"] == 0 and 256 < vocab["Ġsea"] < 278 and vocab[END] == 278
    lines = (tmp_path / "merges.txt").read_text("utf-8").split("\n")
    assert lines[0] == "#version: 0.2" and lines[1:-1] == TOKENIZER.merges and lines[-1] == ""
    for loaded in (load_tokenizer(tmp_path), BPETokenizer.load(str(tmp_path))):
        assert same(loaded, TOKENIZER) and loaded.encode(VERSE) == TOKENIZER.encode(VERSE)


def test_ids_may_be_in_any_order_in_the_file(tmp_path):
    """Special tokens first, no first line in merges.txt, Windows' line ends."""
    vocab = [END, *TOKENIZER.vocab[:-2][::-1]]
    ids = {token: id for id, token in sorted(enumerate(vocab), key=lambda item: item[1])}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_bytes("\r\n".join(TOKENIZER.merges).encode())
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode(END) == [0] and tokenizer.decode(tokenizer.encode(VERSE)) == VERSE
    pieces = [tokenizer.vocabulary[i] for i in tokenizer.encode(VERSE)]
    assert pieces == [TOKENIZER.vocabulary[i] for i in TOKENIZER.encode(VERSE)]


DAMAGES = {
    "no vocab": lambda v, m: (None, m),
    "no merges": lambda v, m: (v, None),
    "half a vocab.json": lambda v, m: (v[: len(v) // 2], m),
    "half a merges.txt": lambda v, m: (v, m[: len(m) // 2]),
    "a merge left out": lambda v, m: (v, m[:2] + m[3:]),
    "a merge twice": lambda v, m: (v, m[:2] + m[1:]),
    "merges in another order": lambda v, m: (v, m[::-1]),
    "a line that is no merge": lambda v, m: (v, [*m, "sea"]),
    "merges of another vocabulary": lambda v, m: (v, [*m, "z z"]),
    "a byte left out": lambda v, m: ({t: i - 1 for t, i in v.items() if i}, m),
    "a gap in the ids": lambda v, m: ({t: i + (i > 9) for t, i in v.items()}, m),
    "an id twice": lambda v, m: ({t: min(i, 278) for t, i in v.items()}, m),
    "ids that are no numbers": lambda v, m: (dict.fromkeys(v, "x"), m),
    "a vocabulary that is no table": lambda v, m: (list(v), m),
    "not UTF-8": lambda v, m: (v, b"\xff\xff"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_refused(tmp_path, damage):
    TOKENIZER.save(tmp_path)
    vocab = json.loads((tmp_path / "vocab.json").read_bytes())
    if damage is DAMAGES["half a vocab.json"]:
        vocab = (tmp_path / "vocab.json").read_text()
    vocab, merges = damage(vocab, TOKENIZER.merges)
    for name, content in (("vocab.json", vocab), ("merges.txt", merges)):
        if content is None:
            (tmp_path / name).unlink()
        elif isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            text = "\n".join(content) if name == "merges.txt" else content
            (tmp_path / name).write_text(text if isinstance(text, str) else json.dumps(text))
    with pytest.raises(ValueError, match=f"{tmp_path.name} is not a saved tokenizer: "):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"vocab": []},
        {"vocab": 3},
        {"vocab": [3] * 280},
        {"vocab": TOKENIZER.vocab[:-1] + ["!"]},
        {"merges": [["a", "b"]]},
        {"merges": None},
        {"more": 1},
    ],
    ids=lambda change: repr(change)[:30],
)
def test_damaged_settings_are_refused(tmp_path, change):
    (tmp_path / "t.json").write_text(json.dumps(TOKENIZER.settings() | change))
    with pytest.raises(ValueError, match=r"t\.json is not a saved tokenizer: "):
        load_tokenizer(tmp_path / "t.json")
