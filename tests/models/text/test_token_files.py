"""Texts larger than memory: read in pieces, written as tokens, gone through in shuffled shards."""

import json
import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microtensor as mt
from models import MiniGPT, MiniGPTConfig
from models.text.corpus import read_text, text_pieces
from models.text.data import ShardedWindows, TextWindows, read_tokens, split, write_tokens
from models.text.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer
from models.training import Trainer, TrainingConfig, load_checkpoint

TEXT = "Now is the winter of our discontent\r\nMade glorious summer by this sun of York;\n\n" * 20
UNIX = TEXT.replace("\r\n", "\n")
TOKENIZERS = [
    CharTokenizer.from_text(UNIX),
    ByteTokenizer(),
    BPETokenizer.from_text(UNIX, 300, ["<|end|>"]),
    CharTokenizer(map(chr, range(70_000, 140_000))),
]
each = pytest.mark.parametrize("tokenizer", TOKENIZERS[:3], ids=lambda t: t.type)


# ---- a text in pieces ----------------------------------------------------------------------------


@given(st.text("aé漢😀 \n\t'1!\x1c\u3000\ufeff"), st.integers(1, 12))
def test_pieces_are_cut_between_words(tmp_path_factory, text, size):
    path = tmp_path_factory.getbasetemp() / "pieces.txt"
    path.write_bytes(("\ufeff" + text).encode())
    if not text.strip():
        with pytest.raises(ValueError, match="holds no text"):
            list(text_pieces(path, size))
        return
    pieces = list(text_pieces(path, size))
    assert "".join(pieces) == read_text(path) == text
    tokenizer = TOKENIZERS[2]
    assert [i for piece in pieces for i in tokenizer.encode(piece)] == tokenizer.encode(text)


def test_a_large_file_is_never_whole_in_memory(tmp_path):
    (tmp_path / "text").write_text(TEXT, newline="")
    pieces = list(text_pieces(tmp_path / "text", 100))
    assert len(pieces) > 10 and max(map(len, pieces)) < 150 and "".join(pieces) == UNIX


def test_damage_is_named_where_it_is(tmp_path):
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbf" + "é ".encode() * 50 + b"a\xff b")
    for size in (1, 2, 7, 1000):
        with pytest.raises(ValueError, match="text is not UTF-8: byte 0xff at offset 154"):
            list(text_pieces(tmp_path / "text", size))
    (tmp_path / "text").write_bytes(b"abc\xc3")  # cut short within a character
    with pytest.raises(ValueError, match="byte 0xc3 at offset 3"):
        list(text_pieces(tmp_path / "text", 2))


# ---- files of tokens -----------------------------------------------------------------------------


@each
def test_write_and_read(tmp_path, tokenizer):
    (tmp_path / "text").write_text(TEXT, newline="")
    path = tmp_path / "tokens"
    count = write_tokens(path, tokenizer, text_pieces(tmp_path / "text", 64))
    ids, theirs = read_tokens(path)
    assert isinstance(ids, np.memmap) and not ids.flags.writeable
    assert ids.dtype == tokenizer.dtype and len(ids) == count
    assert ids.tolist() == tokenizer.encode(UNIX)
    assert theirs.settings() == tokenizer.settings() and type(theirs) is type(tokenizer)
    again, _ = read_tokens(path, tokenizer)
    assert again.tolist() == ids.tolist()
    assert sorted(os.listdir(tmp_path)) == ["text", "tokens"]


def test_it_is_a_safetensors_file(tmp_path):
    from safetensors.numpy import load_file

    write_tokens(tmp_path / "tokens", TOKENIZERS[2], UNIX)
    assert load_file(tmp_path / "tokens")["tokens"].tolist() == TOKENIZERS[2].encode(UNIX)


def test_ids_of_a_large_vocabulary(tmp_path):
    tokenizer = TOKENIZERS[3]
    write_tokens(tmp_path / "tokens", tokenizer, tokenizer.decode([0, 69_999, 5]))
    ids, _ = read_tokens(tmp_path / "tokens")
    assert ids.dtype == np.int32 and ids.tolist() == [0, 69_999, 5]


@each
def test_windows_of_a_file_are_those_of_the_text(tmp_path, tokenizer):
    write_tokens(tmp_path / "tokens", tokenizer, UNIX)
    ids, _ = read_tokens(tmp_path / "tokens")
    for here, there in zip(split(ids, 8), split(tokenizer.encode_array(UNIX), 8)):
        assert np.shares_memory(here.windows, ids)
        for (x, y), (u, v) in zip(here.spread(3, 5), there.spread(3, 5)):
            assert x.equal(u) and y.equal(v)


def pieces_that_fail(error):
    yield "the winter "
    raise error


@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt(), ValueError("bad")])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, error):
    path = tmp_path / "tokens"
    write_tokens(path, ByteTokenizer(), "old")
    with pytest.raises(type(error)):
        write_tokens(path, ByteTokenizer(), pieces_that_fail(error))
    with pytest.raises(ValueError, match=r"'é' at index 1 .* is not among the 1 characters"):
        write_tokens(path, CharTokenizer("a"), "aé")
    with pytest.raises(FileNotFoundError, match="there is no text file at .*none"):
        write_tokens(path, ByteTokenizer(), text_pieces(tmp_path / "none"))
    for empty in ("", [], ["", ""]):
        with pytest.raises(ValueError, match="the text is empty"):
            write_tokens(path, ByteTokenizer(), empty)
    assert read_tokens(path)[0].tobytes() == b"old" and os.listdir(tmp_path) == ["tokens"]


def test_another_tokenizer_is_refused(tmp_path):
    write_tokens(tmp_path / "tokens", TOKENIZERS[2], UNIX)
    other = BPETokenizer.from_text(UNIX, 290)
    with pytest.raises(
        ValueError, match=r"written with another tokenizer, BPETokenizer\(vocab_siz"
    ):
        read_tokens(tmp_path / "tokens", other)


def test_every_damage_is_noticed(tmp_path):
    path = tmp_path / "tokens"
    write_tokens(path, CharTokenizer.from_text("banana"), "banana" * 5)
    good = path.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    harmless = 0
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        try:
            ids, tokenizer = read_tokens(path)
        except ValueError as error:
            assert "tokens is no file of tokens, or damaged: " in str(error)  # noqa: PT017
        else:  # what no reader looks at: the name of the file's kind, spaces at the end
            harmless += 1
            assert at < header and tokenizer.decode(ids) == "banana" * 5
    assert harmless < 30
    for size in (0, 7, 8, header - 1, header, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(ValueError, match="no file of tokens, or damaged"):
            read_tokens(path)
    path.write_bytes(good + b"\0")
    with pytest.raises(ValueError, match="bytes, not"):
        read_tokens(path)


def test_the_check_can_be_left_out(tmp_path):
    path = tmp_path / "tokens"
    write_tokens(path, ByteTokenizer(), "banana")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match="checksum"):
        read_tokens(path)
    assert read_tokens(path, check=False)[0].tobytes() == b"banan!"


@pytest.mark.parametrize("content", [b"", b"{}", json.dumps({"a": 1}).encode() * 50, b"\xff" * 99])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ValueError, match="other is no file of tokens"):
        read_tokens(tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        read_tokens(tmp_path / "none")


# ---- shards --------------------------------------------------------------------------------------

IDS = np.arange(1003)


def sharded(**options):
    return ShardedWindows(IDS, 10, **{"seed": 3, "shard": 4, "mixed": 5, **options})


def epoch(windows):
    """The first tokens of all windows of the epoch that begins now."""
    starts, number = [], windows.epoch
    while windows.epoch == number:
        starts += windows.random_batch(1)[0][:, 0].tolist()
    return starts[:-1]


def test_every_token_is_a_target_once_in_an_epoch():
    windows = sharded()
    x, y = windows.random_batch(99)
    assert bool((y == x + 1).all()) and x.shape == (99, 10)
    targets = sorted(y.flatten().tolist())
    assert targets == list(range(targets[0], targets[0] + 990)) and targets[0] <= 10


def test_epochs_differ_and_seeds_repeat_them():
    def first_tokens(**options):
        windows = sharded(**options)
        return [windows.random_batch(7)[0][:, 0].tolist() for _ in range(60)]

    one = first_tokens()
    assert one == first_tokens() != first_tokens(seed=4)
    flat = [i for batch in one for i in batch]
    assert flat[:99] != flat[100:199] and len({i % 10 for i in flat}) > 1  # starts move, too
    assert max(Counter(flat).values()) <= 5  # 420 windows are 4 epochs and a bit


def test_a_few_shards_are_mixed_at_a_time():
    windows = sharded()
    starts = [windows.random_batch(20)[0][:, 0] // 40 for _ in range(4)]  # 5 shards of 4 windows
    shards = [set(s.tolist()) for s in starts]
    assert all(len(s) <= 10 for s in shards)  # each touches 5 places, here 40 tokens long
    order = starts[0].tolist()
    assert order != sorted(order) and max(order) - min(order) > 5


@pytest.mark.parametrize("before", [0, 1, 13, 57, 250])
def test_it_goes_on_where_another_stopped(before):
    one, other = sharded(), sharded()
    if before:
        one.random_batch(before)
    state = json.loads(json.dumps(one.state_dict()))
    other.random_batch(31)
    other.load_state_dict(state)
    for _ in range(20):
        assert one.random_batch(9)[0].equal(other.random_batch(9)[0])


def test_another_order_is_refused():
    state = sharded().state_dict()
    with pytest.raises(ValueError, match="the order of windows had seed 3, not 4"):
        sharded(seed=4).load_state_dict(state)
    with pytest.raises(ValueError, match="had tokens 1003, not 500"):
        ShardedWindows(IDS[:500], 10, seed=3, shard=4, mixed=5).load_state_dict(state)
    with pytest.raises(ValueError, match="at least 1, got 0 and 5"):
        sharded(shard=0)


@pytest.mark.parametrize("n", [11, 12, 20, 21, 22])
def test_a_very_short_text_has_an_order_too(n):
    windows = ShardedWindows(np.arange(n), 10)
    x, _ = windows.random_batch(8)
    assert x.shape == (8, 10) and set(x[:, 0].tolist()) <= set(range(n - 10))


def test_a_batch_may_be_larger_than_the_text():
    assert sharded().random_batch(1000)[0].shape == (1000, 10)


def test_they_are_windows_like_any():
    assert len(sharded()) == len(TextWindows(IDS, 10))
    assert [len(x) for x, _ in sharded().spread(2, 3)] == [3, 3]


# ---- training on them ----------------------------------------------------------------------------


def test_training_goes_on_in_the_same_order(tmp_path):
    write_tokens(tmp_path / "tokens", ByteTokenizer(), UNIX)
    ids, tokenizer = read_tokens(tmp_path / "tokens")
    path = tmp_path / "checkpoint.safetensors"

    def trainer(steps):
        mt.manual_seed(0)
        sizes = {"context_length": 8, "d_model": 8, "n_heads": 2, "n_layers": 1}
        train, held_out = split(ids, 8)
        train = ShardedWindows(train.ids, 8, shard=4, mixed=3)
        config = TrainingConfig(steps=12, batch_size=5, eval_every=5, eval_batches=1)
        trainer = Trainer(MiniGPT(MiniGPTConfig(**sizes)), tokenizer, train, held_out, config, path)
        if steps != 12:
            trainer.load_state_dict(load_checkpoint(path))
        for record in trainer.run():
            if record.step == 5 and steps == 12:
                path.with_name("half").write_bytes(path.read_bytes())
        return trainer

    whole = trainer(12)
    path.write_bytes(path.with_name("half").read_bytes())
    resumed = trainer(7)
    assert resumed.losses == whole.losses and len(whole.losses) == 12
    assert resumed.train.state_dict() == whole.train.state_dict()
