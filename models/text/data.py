"""A text as a data set: every window of it, and the same window one token later.

A text in memory is a row of ids, and `TextWindows` makes batches of it. One that is larger than
memory is encoded once, piece by piece, to a file (`write_tokens`); `read_tokens` gives its ids as a
row again, of which only what is used is read. `ShardedWindows` goes through such a row in a
shuffled order without jumping all over the file.
"""

import hashlib
import json
import reprlib

import numpy as np

import microtensor as mt
from microtensor.files.serialization import whole_file
from microtensor.utils.data import Dataset

from .. import files
from .tokenizers import tokenizer_from


class TextWindows(Dataset):
    """All windows of `length` tokens of an encoded text: item i is (input, target), both (length,).

    The target is the input shifted by one: at every position, the token that comes next. An array
    of positions gives a batch, in one step. `ids` is a 1-d array of integers of any width; it is
    not copied. ValueError for a text too short to hold one window and the token after it.
    """

    def __init__(self, ids, length, device=None):
        ids = np.asarray(ids)
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise ValueError(
                f"a text is a row of integers, got shape {ids.shape} and dtype {ids.dtype}"
            )
        if len(ids) <= length:
            raise ValueError(
                f"a text of {len(ids):,} tokens is too short: a window of {length} and the token "
                f"after it need {length + 1}"
            )
        self.ids, self.length, self.device = ids, length, device
        self.windows = np.lib.stride_tricks.sliding_window_view(ids, length + 1)

    def __len__(self):
        return len(self.windows)

    def __getitem__(self, i):
        window = self.windows[np.asarray(i)].astype(np.int64)  # (B, length + 1), a copy
        window = mt.from_numpy(window).to(self.device or "cpu")
        return window[..., :-1], window[..., 1:]

    def random_batch(self, size, generator=None):
        """`size` windows from anywhere in the text: inputs and targets (size, length)."""
        return self[mt.randint(len(self), (size,), generator=generator).numpy()]

    def spread(self, batches, size):
        """`batches` batches of `size` windows, evenly over the text, always the same ones.

        A text with fewer windows than that gives each of them once.
        """
        windows = min(batches * size, len(self))
        starts = np.linspace(0, len(self) - 1, windows).round().astype(np.int64)
        for i in range(0, windows, size):
            yield self[starts[i : i + size]]


def split(ids, length, held_out=0.1, device=None):
    """Windows of an encoded text to learn from, and windows of its last share to test with.

    ValueError for a text of which one part cannot hold a window and the token after it.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"the share of the text held out must be between 0 and 1, got {held_out}")
    n = round(len(ids) * (1 - held_out))
    if min(n, len(ids) - n) <= length:
        raise ValueError(
            f"a text of {len(ids):,} tokens is too short: {n:,} to learn from and {len(ids) - n:,} "
            f"held out must each hold a window of {length} and the token after it"
        )
    return TextWindows(ids[:n], length, device), TextWindows(ids[n:], length, device)


# ---- every window once, in a shuffled order ------------------------------------------------------


class ShardedWindows(TextWindows):
    """Windows whose `random_batch` goes through the whole text, then through it again.

    In an epoch every token, but a few at both ends, is a target once: windows stand side by side,
    and the first begins at another token each time. To read a large file in a shuffled order
    without jumping all over it, the row is cut into shards of `shard` windows; a few shards, from
    anywhere, are shuffled together, `mixed` at a time, and used up before the next few.

    The order depends on `seed` alone. `state_dict` says where it stands, for `load_state_dict`.
    """

    def __init__(self, ids, length, device=None, *, seed=0, shard=4096, mixed=8):
        super().__init__(ids, length, device)
        if min(shard, mixed) < 1:
            raise ValueError(f"shard and mixed must be at least 1, got {shard} and {mixed}")
        self.seed, self.shard, self.mixed = seed, shard, mixed
        self.epoch = self.group = self.used = 0  # where it stands
        self._open = None  # the positions of the group's windows, shuffled

    def random_batch(self, size, generator=None):
        """The next `size` windows: inputs and targets (size, length). `generator` is not used."""
        starts = []
        while size:
            if self._open is None:
                self._open = self._shuffled()
            taken = self._open[self.used : self.used + size]
            starts.append(taken)
            size -= len(taken)
            self.used += len(taken)
            if self.used == len(self._open):
                self._open, self.used, self.group = None, 0, self.group + 1
        return self[np.concatenate(starts)]

    def _shuffled(self):
        """The positions of all windows of this group of shards; of the first, in the next epoch."""
        rng = np.random.default_rng([self.seed, self.epoch])
        first = int(rng.integers(min(self.length, len(self))))
        count = (len(self) - 1 - first) // self.length + 1  # windows side by side
        shards = rng.permutation(-(-count // self.shard))
        shards = shards[self.group * self.mixed :][: self.mixed]
        if not len(shards):
            self.epoch, self.group = self.epoch + 1, 0
            return self._shuffled()
        numbers = (shards[:, None] * self.shard + np.arange(self.shard)).ravel()
        rng = np.random.default_rng([self.seed, self.epoch, self.group])
        return first + self.length * rng.permutation(numbers[numbers < count])

    def state_dict(self):
        """The position in the data: plain numbers."""
        return {name: getattr(self, name) for name in self.STATE}

    def load_state_dict(self, state):
        """Go on where `state_dict` found another. ValueError if that one was made otherwise."""
        ours = self.state_dict()
        if not isinstance(state, dict) or state.keys() != ours.keys():
            raise ValueError(f"the order of windows has {', '.join(ours)}, got {state!r:.80}")
        for name, value in state.items():
            if type(value) is not int or not 0 <= value < 2**64:
                raise ValueError(f"the order of windows had {name} {value!r:.60}, no such number")
            if name in self.STATE[3:] and value != ours[name]:
                raise ValueError(f"the order of windows had {name} {value}, not {ours[name]}")
        place = tuple(state[name] for name in self.STATE[:3])
        if state["used"]:  # of a group that has more than that
            there = ShardedWindows(
                self.ids, self.length, seed=self.seed, shard=self.shard, mixed=self.mixed
            )
            there.epoch, there.group, there.used = place
            size = len(there._shuffled())
            if there.group != state["group"] or state["used"] >= size:
                raise ValueError(f"the order of windows had used {state['used']}, not below {size}")
        self.epoch, self.group, self.used = place
        self._open = None

    STATE = "epoch", "group", "used", "seed", "shard", "mixed", "length", "tokens"

    @property
    def tokens(self):
        return len(self.ids)


# ---- files of tokens -----------------------------------------------------------------------------

# A safetensors file with one tensor, "tokens"; in its metadata the settings of the tokenizer, and
# the SHA-256 of these and of the ids.
KINDS = {"U8": "<u1", "U16": "<u2", "I32": "<i4"}


def write_tokens(path, tokenizer, pieces):
    """Encode a text to a file, whole or not at all. Returns the number of tokens.

    `pieces` is a string or an iterable of them, such as `corpus.text_pieces(file)`, of which one at
    a time is in memory. ValueError for a text without tokens, or a character unknown to the
    tokenizer.
    """
    settings = json.dumps(tokenizer.settings())
    kind = {np.dtype(dtype): kind for kind, dtype in KINDS.items()}[np.dtype(tokenizer.dtype)]
    digest, count = hashlib.sha256(settings.encode()), 0
    with whole_file(path) as file:
        room = len(_header(settings, kind, 10**15, digest))
        file.write(bytes(room))  # the header, once it is known
        for piece in [pieces] if isinstance(pieces, str) else pieces:
            ids = tokenizer.encode_array(piece).astype(KINDS[kind])
            digest.update(ids)
            file.write(ids)
            count += len(ids)
        if not count:
            raise ValueError("there is nothing to write: the text is empty")
        file.seek(0)
        file.write(_header(settings, kind, count, digest, room))
    return count


def _header(settings, kind, count, digest, size=0):
    """The first bytes of the file: the length of a JSON text, and the text, filled with spaces."""
    bytes = count * np.dtype(KINDS[kind]).itemsize
    header = {
        "__metadata__": {"tokenizer": settings, "sha256": digest.hexdigest()},
        "tokens": {"dtype": kind, "shape": [count], "data_offsets": [0, bytes]},
    }
    text = json.dumps(header).encode()
    text = text.ljust(max(size - 8, -(-len(text) // 8) * 8))
    return len(text).to_bytes(8, "little") + text


def read_tokens(path, tokenizer=None, check=True, part=None):
    """(ids, tokenizer) of a file that `write_tokens` wrote: a row mapped into memory, read-only.

    `part=(i, n)` maps the i-th of n parts alone: see `part_of`.

    ValueError if the file is damaged, or was made with another tokenizer than the one given. To
    know the damage of the ids, or that one is outside the vocabulary, all of them are read once;
    check=False leaves that out.
    """
    try:
        file, there = files.opened(path)
        with file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size <= min(2**27, there - 8):
                raise ValueError("it does not begin as one")
            kind, count, settings, sha256 = _told(files.parsed(file.read(size)))
            theirs = tokenizer_from(files.parsed(settings))
            dtype = np.dtype(KINDS[kind])
            if dtype != np.dtype(theirs.dtype).newbyteorder("<"):
                raise ValueError(f"it has ids of {kind}, which {theirs} does not give")
            wanted = 8 + size + count * dtype.itemsize
            if there != wanted:
                raise ValueError(f"it has {there:,} bytes, not {wanted:,}")
            own = part_of(count, *part) if part else slice(0, count)
            start, shape = 8 + size + own.start * dtype.itemsize, (own.stop - own.start,)
            ids = np.memmap(file, dtype, "r", offset=start, shape=shape)
            if check and part:
                _check_range(ids, theirs)
            elif check:
                _check(ids, theirs, hashlib.sha256(settings.encode()), sha256)
    except ValueError as error:
        raise ValueError(f"{path} is no file of tokens, or damaged: {error}") from error
    if tokenizer is not None and theirs.settings() != tokenizer.settings():
        raise ValueError(f"{path} was written with another tokenizer, {theirs}, not {tokenizer}")
    return ids, theirs


def part_of(count, i, n):
    """The slice of `count` tokens that is the i-th of n parts, as processes share out a file.

    All parts are equally long, so that the order of one, at any step, is that of all: the length is
    rounded up, and where it does not divide, parts overlap by a token. ValueError for fewer tokens
    than parts.
    """
    if not 0 <= i < n or count < n:
        raise ValueError(f"there is no part {i} of {n} of {count} tokens")
    length = -(-count // n)
    start = i * (count - length) // max(n - 1, 1)
    return slice(start, start + length)


def _told(header):
    """(kind and number of ids, settings of the tokenizer as JSON, SHA-256) of a header.

    ValueError unless it is word for word one that `write_tokens` writes.
    """
    try:
        kind, (count,) = header["tokens"]["dtype"], header["tokens"]["shape"]
        about = header["__metadata__"]
        settings, sha256 = about["tokenizer"], about["sha256"]
    except (LookupError, TypeError, ValueError):
        raise ValueError("its header is not that of a row of tokens") from None
    wanted = {}
    if type(count) is int and 0 < count < 2**60 and type(kind) is str and kind in KINDS:
        wanted = {"dtype": kind, "shape": [count]}
        wanted["data_offsets"] = [0, count * np.dtype(KINDS[kind]).itemsize]
    if header != {"__metadata__": about, "tokens": wanted}:
        raise ValueError(f"its header tells of other tensors: {reprlib.repr(header)}")
    if type(settings) is not str or type(sha256) is not str:
        raise ValueError("its header has no tokenizer, or no checksum")
    return kind, count, settings, sha256


def _check_range(ids, tokenizer, see=lambda part: None, piece=2**22):
    """ValueError unless a row of ids is one of a tokenizer."""
    for start in range(0, len(ids), piece):
        part = ids[start : start + piece]
        see(part)
        if int(part.min()) < 0 or int(part.max()) >= tokenizer.vocab_size:
            raise ValueError(f"it has ids that are outside 0 … {tokenizer.vocab_size - 1}")


def _check(ids, tokenizer, digest, sha256):
    """ValueError unless a row of ids is one of a tokenizer, and has that checksum."""
    _check_range(ids, tokenizer, digest.update)
    if digest.hexdigest() != sha256:
        raise ValueError("its checksum does not match")
