"""Tokenizers: what is encoded decodes to itself, and whatever cannot be says where it stands."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text import bpe
from models.text.tokenizers import (
    ByteTokenizer,
    CharTokenizer,
    load_tokenizer,
    tokenizer_from,
    write_whole,
)

WILD = "naïve\n\x00 \r\n😀e\u0301 €"  # NUL, a carriage return, astral and combining characters
BOTH = [CharTokenizer.from_text(WILD), ByteTokenizer()]
each = pytest.mark.parametrize("tokenizer", BOTH, ids=lambda t: t.type)


# --- encode and decode ----------------------------------------------------------------------------


def test_chars_are_numbered_in_sorted_order():
    tokenizer = CharTokenizer.from_text("banana")
    assert tokenizer.vocab_size == 3
    assert tokenizer.encode("nab") == [2, 0, 1]
    assert tokenizer.decode([1, 0, 2]) == "ban"
    assert CharTokenizer.from_text("sphinx of quartz").characters == " afhinopqrstuxz"


def test_bytes_are_the_bytes_of_utf8():
    assert ByteTokenizer().vocab_size == 256
    assert ByteTokenizer().encode("a€") == [0x61, 0xE2, 0x82, 0xAC]


@each
def test_round_trip(tokenizer):
    ids = tokenizer.encode(WILD)
    assert all(type(i) is int for i in ids)
    assert tokenizer.decode(ids) == WILD
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""


@given(st.text(min_size=1))
def test_any_text_makes_the_round_trip(text):
    for tokenizer in (CharTokenizer.from_text(text), ByteTokenizer()):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@each
@pytest.mark.parametrize("form", [tuple, iter, np.array, lambda ids: np.array(ids, np.uint8)])
def test_decodes_any_sequence_of_ids(tokenizer, form):
    assert tokenizer.decode(form(tokenizer.encode(WILD))) == WILD


@each
def test_decodes_an_object_with_tolist(tokenizer):
    class Ids:
        def tolist(self):
            return tokenizer.encode(WILD)

    assert tokenizer.decode(Ids()) == WILD


@pytest.mark.parametrize(
    "vocab_size, dtype",
    [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "int32")],
)
def test_arrays_take_the_smallest_dtype(vocab_size, dtype):
    tokenizer = CharTokenizer(map(chr, range(0x10000, 0x10000 + vocab_size)))
    last = chr(0x10000 + vocab_size - 1)
    ids = tokenizer.encode_array(last)
    assert ids.dtype == dtype and ids.tolist() == [vocab_size - 1]
    assert tokenizer.decode(ids) == last
    assert tokenizer.encode_array("").dtype == dtype


@pytest.mark.parametrize("stranger", ["b", "Æ", "😀", "\x00"])  # in a gap, and beyond both ends
def test_an_unknown_character_is_named_with_its_place(stranger):
    tokenizer = CharTokenizer.from_text("ac\n")
    with pytest.raises(ValueError) as error:
        tokenizer.encode(f"ac\na{stranger}c{stranger}")
    assert f"{stranger!r} at index 4 (line 2, column 2)" in str(error.value)
    with pytest.raises(ValueError, match=r"index 0 \(line 1, column 1\)"):
        tokenizer.encode(stranger)


@each
@pytest.mark.parametrize("wrong", [-1, "vocab_size"])
def test_an_unknown_id_is_named_with_its_place(tokenizer, wrong):
    wrong = getattr(tokenizer, str(wrong), wrong)
    with pytest.raises(IndexError, match=f"id {wrong} at index 2"):
        tokenizer.decode([0, 1, wrong, wrong])


@each
@pytest.mark.parametrize("ids", [[0.5], [[0, 1]], ["a"]])
def test_ids_are_a_flat_sequence_of_integers(tokenizer, ids):
    with pytest.raises(TypeError):
        tokenizer.decode(ids)


@pytest.mark.parametrize("characters", ["", "aa"])
def test_a_vocabulary_has_each_character_once(characters):
    with pytest.raises(ValueError):
        CharTokenizer(characters)


def test_an_empty_text_has_no_vocabulary():
    with pytest.raises(ValueError, match="empty text"):
        CharTokenizer.from_text("")


# --- one id at a time -----------------------------------------------------------------------------


@each
def test_a_stream_gives_each_character_as_it_is_completed(tokenizer):
    stream = tokenizer.stream()
    pieces = [stream(i) for i in tokenizer.encode(WILD)]
    assert "".join(pieces) == WILD and stream.flush() == ""
    assert [piece for piece in pieces if piece] == list(WILD)


@given(st.lists(st.integers(0, 255)))
def test_a_stream_of_any_bytes_gives_what_decode_gives(ids):
    tokenizer = ByteTokenizer()
    stream = tokenizer.stream()
    assert "".join(map(stream, ids)) + stream.flush() == tokenizer.decode(ids)


def test_flush_shows_half_a_character_and_starts_afresh():
    stream = ByteTokenizer().stream()
    assert stream(0xE2) == ""
    assert stream.flush() == "\N{REPLACEMENT CHARACTER}"
    assert stream(ord("a")) == "a"


def test_streams_do_not_share_their_state():
    tokenizer = ByteTokenizer()
    one, other = tokenizer.stream(), tokenizer.stream()
    assert one(0xC3) == "" and other(ord("a")) == "a" and one(0xA9) == "é"


# --- files ----------------------------------------------------------------------------------------


@each
def test_save_and_load(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    for loaded in (load_tokenizer(path), type(tokenizer).load(str(path))):
        assert type(loaded) is type(tokenizer)
        assert loaded.vocab_size == tokenizer.vocab_size
        assert loaded.encode(WILD) == tokenizer.encode(WILD)


def test_load_refuses_another_class(tmp_path):
    ByteTokenizer().save(tmp_path / "t.json")
    with pytest.raises(ValueError, match=r"t\.json holds a ByteTokenizer, not a CharTokenizer"):
        CharTokenizer.load(tmp_path / "t.json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b'{"type": "char", "characters": "ab',
        b"[1]",
        b'"char"',
        b"{}",
        b'{"type": "word"}',
        b'{"type": ["char"]}',
        b'{"type": "char"}',
        b'{"type": "char", "characters": 3}',
        b'{"type": "char", "characters": ""}',
        b'{"type": "char", "characters": "aa"}',
        b'{"type": "char", "characters": "\\ud800"}',
        b'{"type": "byte", "characters": "ab"}',
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:40]),
)
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "damaged.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged.json is not a saved tokenizer"):
        load_tokenizer(path)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_tokenizer(tmp_path / "none.json")


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch, step, failure):
    def fail(*args):
        raise failure

    path = tmp_path / "tokenizer.json"
    path.write_text("old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(failure)):
        ByteTokenizer().save(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["tokenizer.json"]


def test_a_save_replaces_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("something longer than the new content " * 10)
    ByteTokenizer().save(path)
    assert json.loads(path.read_text()) == {"type": "byte"}
    assert os.listdir(tmp_path) == ["tokenizer.json"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_written_files_follow_the_umask(tmp_path):
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "whole", b"")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- many special tokens --------------------------------------------------------------------------


@pytest.mark.parametrize("count, wanted", [(1000, None), (1001, "at most 1,000"), (10**6, "1,000")])
@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_special_tokens_are_bounded(kind, count, wanted):
    """Each is looked for at every character of a text."""
    special = [f"<{i}>" for i in range(count)]
    settings = {
        "char": {"characters": "ab", "special_tokens": special},
        "byte": {"special_tokens": special},
        "bpe": {"vocab": [*bpe.ALPHABET, *special], "merges": []},
    }[kind]
    if wanted is None:
        tokenizer = tokenizer_from({"type": kind, **settings})
        assert len(tokenizer.special_tokens) == count
    else:
        with pytest.raises(ValueError, match=wanted):
            tokenizer_from({"type": kind, **settings})
