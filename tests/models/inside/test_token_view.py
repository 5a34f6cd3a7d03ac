"""A text as its tokens: printed, drawn, and as a page; and the demo that does it."""

import re

import pytest
from places import program

from models.inside import token_view
from models.text.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer

TEXT = "O Romeo, Romeo!\nnaïve 漢 $x$ <b>\tend"
BPE = BPETokenizer.from_text(TEXT * 3, 300)


@pytest.mark.parametrize("tokenizer", [CharTokenizer.from_text(TEXT), ByteTokenizer(), BPE])
def test_pieces_are_the_text(tokenizer):
    pieces = token_view.pieces(tokenizer, TEXT)
    assert b"".join(p.data for p in pieces).decode() == TEXT
    assert [p.id for p in pieces] == tokenizer.encode(TEXT)
    assert all(p.label.isprintable() and " " not in p.label for p in pieces)


def test_what_cannot_be_seen_is_shown():
    assert [p.label for p in token_view.pieces(ByteTokenizer(), "a \n\té\x00")] == [
        "a", "␣", "↵", "→", "‹c3›", "‹a9›", "�"
    ]  # fmt: skip


def test_printed_plainly():
    tokenizer = CharTokenizer("\n !abcdefgh")
    pieces = token_view.pieces(tokenizer, "ab\ngh!")
    assert token_view.printed(pieces, 80, coloured=False).split("\n") == [
        "a│b│↵", "3 4 0", "g│h │!", "9 10 2"
    ]  # fmt: skip


def test_rows_are_as_wide_as_the_terminal():
    pieces = token_view.pieces(BPE, TEXT * 5)
    lines = token_view.printed(pieces, 30, coloured=False).split("\n")
    assert max(map(token_view.width, lines)) in range(25, 31)
    ids = [int(i) for line in lines[1::2] for i in line.split()]
    assert ids == BPE.encode(TEXT * 5)
    assert token_view.width("a漢😀e\u0301") == 6


def test_colours_are_those_of_the_ids():
    pieces = token_view.pieces(BPE, "Romeo, Romeo,")
    text = token_view.printed(pieces, 80, coloured=True)
    assert re.sub(r"\033\[[\d;]*m", "", text).split() == (
        token_view.printed(pieces, 80, coloured=False).replace("│", " ").split()
    )
    for p in pieces:
        assert "\033[48;2;{};{};{}m".format(*token_view.colour(p.id)) in text
    colours = [token_view.colour(id) for id in range(256)]
    assert len(set(colours)) >= 240 and min(map(min, colours)) > 100  # black letters can be read
    assert all(sum(abs(x - y) for x, y in zip(a, b)) > 100 for a, b in zip(colours, colours[1:]))


def test_a_page_needs_no_other():
    page = token_view.as_page("A <title>", [("bpe", token_view.pieces(BPE, TEXT))])
    assert "A &lt;title&gt;" in page and "<b>" not in page
    assert not re.search(r"https?:|src=|@import|url\(", page)
    assert [int(i) for i in re.findall(r'data-id="(\d+)"', page)] == BPE.encode(TEXT)


def test_a_picture(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(token_view, "ROWS", 2)
    views = [("bytes", token_view.pieces(ByteTokenizer(), TEXT))]
    assert token_view.drawn(views).startswith(b"\x89PNG")


def test_an_empty_text_has_no_tokens():
    with pytest.raises(ValueError, match="no tokens in an empty text"):
        token_view.pieces(BPE, "")


# ---- the demo ------------------------------------------------------------------------------------


@pytest.fixture
def demo(monkeypatch, tmp_path):
    module = program("tokens")
    monkeypatch.setattr(token_view, "drawn", lambda views: b"a picture")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plays").write_text("To be, or not to be, that is the question. " * 20)
    return module.main


def test_three_tokenizers(demo, capsys, tmp_path):
    assert demo(["to be", "--data", "plays", "--vocab-size", "270"]) == 0
    out = capsys.readouterr().out
    assert "bpe, 270 ids: " in out and "byte, 256 ids: 5 tokens" in out and "char, 16 ids: 5" in out
    assert "\033" not in out  # no terminal, no colours
    assert {p.name for p in (tmp_path / "runs/tokens").iterdir()} == {"tokens.png", "tokens.html"}


def test_a_tokenizer_is_kept_and_a_text_encoded(demo, capsys, tmp_path):
    from models.text.data import read_tokens
    from models.text.tokenizers import load_tokenizer

    (tmp_path / "gpt2").mkdir()
    command = ["to be", "--data", "plays", "--vocab-size", "270"]
    assert demo([*command, "--save", "gpt2", "--write", "plays.tokens"]) == 0
    ids, tokenizer = read_tokens("plays.tokens", load_tokenizer("gpt2"))
    assert tokenizer.decode(ids) == (tmp_path / "plays").read_text()
    assert demo(["to be", "--tokenizer", "gpt2"]) == 0
    assert "gpt2, 270 ids: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["", "--tokenizer", "byte"], "no tokens in an empty text"),
        (["é", "--data", "plays", "--tokenizer", "char"], "'é' at index 0"),
        (["a", "--tokenizer", "none"], "neither char, byte or bpe, nor a file"),
        (["a", "--tokenizer", "plays"], "plays is not a saved tokenizer"),
        (["a", "--data", "none"], "there is no text file at none"),
        (["a", "--data", "plays", "--vocab-size", "9"], "vocab_size must be at least 256"),
        (["a", "--write", "x"], "--write needs --data"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(demo, capsys, arguments, message):
    assert demo(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("tokens.py: ") and error.count("\n") == 1
