"""Text to integer ids and back.

A tokenizer cuts text into pieces and numbers them. The pieces are

- characters, those of a text (`CharTokenizer`),
- bytes of UTF-8 (`ByteTokenizer`), or
- runs of bytes that are frequent in a text (`BPETokenizer`; the algorithm is in `bpe.py`).

All have `encode` and `decode`, `vocabulary` and `vocab_size`, `save` and `load`. Special tokens,
such as those of a conversation (`chat.py`), have ids of their own beside these pieces.
"""

import codecs
import json
import operator
import re
import reprlib
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np

from microtensor.files.serialization import write_whole

from .. import files
from . import bpe

DTYPES = np.uint8, np.uint16, np.int32


class Tokenizer:
    """Ids 0 … vocab_size - 1 for pieces of text. `codec` is the encoding the pieces are bytes of.

    `vocabulary` is a list of what each id stands for, in UTF-8. A piece may be part of a character.
    """

    codec = "utf-8"

    def __init__(self, vocab_size, special_ids=()):
        self.vocab_size, self.special_ids = vocab_size, dict(special_ids)  # token -> its id
        self.dtype = next(d for d in DTYPES if vocab_size - 1 <= np.iinfo(d).max)

    def encode(self, text, special=True):
        """The ids of a text, as a list. ValueError for a character outside the vocabulary."""
        return self.encode_array(text, special).tolist()

    def encode_array(self, text, special=True):
        """The ids of a text, (T,), in the smallest of uint8, uint16, int32 that holds them all.

        Special tokens are looked for before anything else; with special=False, which is for texts
        of strangers, all of it is ordinary text.
        """
        raise NotImplementedError

    def with_special_tokens(self, tokens):
        """This tokenizer with special tokens added, after all others: no id changes."""
        raise NotImplementedError

    def decode(self, ids):
        """The text of a sequence of ids. IndexError for an id outside the vocabulary."""
        return self._encoded(ids).decode(self.codec, "replace")

    def stream(self):
        """A decoder of one id at a time: see `Stream`."""
        return Stream(self)

    def _encoded(self, ids):
        """The text of ids, encoded with `codec`."""
        raise NotImplementedError

    def _checked(self, ids):
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        ids = np.fromiter(map(operator.index, ids), np.int64)
        wrong = np.flatnonzero((ids < 0) | (ids >= self.vocab_size))
        if wrong.size:
            i = wrong[0]
            raise IndexError(f"id {ids[i]} at index {i} is outside 0 … {self.vocab_size - 1}")
        return ids

    def settings(self):
        """The settings, plain JSON, from which `tokenizer_from` makes this tokenizer again."""
        raise NotImplementedError

    def save(self, path):
        """Write the tokenizer as JSON, whole or not at all."""
        write_whole(path, json.dumps(self.settings()).encode())

    @classmethod
    def load(cls, path):
        """The tokenizer saved at `path`. ValueError if it is of another class, or damaged."""
        tokenizer = load_tokenizer(path)
        if not isinstance(tokenizer, cls):
            raise ValueError(f"{path} holds a {type(tokenizer).__name__}, not a {cls.__name__}")
        return tokenizer

    def __repr__(self):
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"


# ---- one id per character, or per byte -----------------------------------------------------------


class UnitTokenizer(Tokenizer):
    """A piece is a code unit of `codec`: one table lookup on an array, in both directions.

    `units` is a little-endian array of them, without repeats; special tokens follow them.
    """

    def __init__(self, units, special_tokens=()):
        self.special_tokens = check_special(special_tokens)
        n = len(units)
        super().__init__(
            n + len(self.special_tokens), {t: n + i for i, t in enumerate(self.special_tokens)}
        )
        self._units = units
        # Unit -> id. Units beyond the largest known one share the last entry, unknown like any gap.
        self._ids = np.full(int(units.max()) + 2, -1, np.int32)
        self._ids[units] = np.arange(n)

    def encode_array(self, text, special=True):
        if not (special and self.special_tokens):
            return self._encode_units(text)
        pieces, arrays, start = _splitter(self.special_tokens)(text), [], 0
        for piece, token in zip(pieces[::2], [*pieces[1::2], None]):
            arrays.append(self._encode_units(piece, text, start))
            if token is not None:
                arrays.append(np.array([self.special_ids[token]], self.dtype))
                start += len(piece) + len(token)
        return np.concatenate(arrays)

    def _encode_units(self, piece, text=None, start=0):
        """The ids of a piece of a text that begins at index `start` of it."""
        units = np.frombuffer(piece.encode(self.codec), self._units.dtype)
        ids = self._ids.take(units, mode="clip")
        if (ids < 0).any():
            text = piece if text is None else text
            i = start + int(ids.argmin())
            line, column = text.count("\n", 0, i) + 1, i - text.rfind("\n", 0, i)
            raise ValueError(
                f"{text[i]!r} at index {i} (line {line}, column {column}) is not among the "
                f"{len(self._units)} characters of the vocabulary"
            )
        return ids.astype(self.dtype)

    def _encoded(self, ids):
        ids, n = self._checked(ids), len(self._units)
        if not (ids >= n).any():
            return self._units[ids].tobytes()
        return b"".join(
            self._units[id : id + 1].tobytes() if id < n
            else self.special_tokens[id - n].encode(self.codec)
            for id in ids.tolist()
        )  # fmt: skip

    def _special_settings(self):
        """The special tokens of `settings`: nothing where there are none."""
        return {"special_tokens": self.special_tokens} if self.special_tokens else {}


class CharTokenizer(UnitTokenizer):
    """One id per character, for the characters of `characters`, in that order."""

    type, codec = "char", "utf-32-le"
    SETTINGS, OPTIONAL = {"characters": str}, {"special_tokens": list}

    def __init__(self, characters, special_tokens=()):
        self.characters = "".join(characters)
        if not self.characters or len(set(self.characters)) < len(self.characters):
            raise ValueError("a vocabulary needs at least one character, and each only once")
        super().__init__(np.frombuffer(self.characters.encode(self.codec), "<u4"), special_tokens)

    @classmethod
    def from_text(cls, text):
        """A vocabulary of the characters of a text, sorted. ValueError if the text is empty."""
        if not text:
            raise ValueError("cannot take a vocabulary of characters from an empty text")
        return cls(sorted(set(text)))

    @property
    def vocabulary(self):
        return [piece.encode() for piece in (*self.characters, *self.special_tokens)]

    def with_special_tokens(self, tokens):
        return CharTokenizer(self.characters, [*self.special_tokens, *tokens])

    def settings(self):
        return {"type": self.type, "characters": self.characters, **self._special_settings()}


class ByteTokenizer(UnitTokenizer):
    """One id per byte of the UTF-8 text: 256 ids, and no text is outside the vocabulary.

    A model may produce bytes that are not UTF-8: they decode to U+FFFD, the replacement character.
    """

    type = "byte"
    SETTINGS, OPTIONAL = {}, {"special_tokens": list}

    def __init__(self, special_tokens=()):
        super().__init__(np.arange(256, dtype=np.uint8), special_tokens)

    @property
    def vocabulary(self):
        return [bytes([b]) for b in range(256)] + [t.encode() for t in self.special_tokens]

    def with_special_tokens(self, tokens):
        return ByteTokenizer([*self.special_tokens, *tokens])

    def settings(self):
        return {"type": self.type, **self._special_settings()}


# ---- one id per run of bytes that occurs often ---------------------------------------------------


class BPETokenizer(Tokenizer):
    """Byte-pair encoding on bytes, as in GPT-2. No text is outside the vocabulary.

    `vocab` is the list of tokens by id, each in GPT-2's letters for bytes, and `merges` the pairs
    of them that were learned, in order, a space between: what stands in `vocab.json` and
    `merges.txt`. Tokens like <|endoftext|> or [PAD] that no merge makes are `special_tokens`: they
    are looked for in a text before anything else. ValueError if the two do not fit together.

    Needs the package regex (the extra 'bpe') to encode text; ImportError without it.
    """

    type = "bpe"
    SETTINGS, OPTIONAL = {"vocab": list, "merges": list}, {}

    def __init__(self, vocab, merges):
        self.vocab, self.merges = list(vocab), list(merges)
        ids = {token: id for id, token in enumerate(self.vocab)}
        super().__init__(len(ids))
        if len(ids) < len(self.vocab):
            twice = next(t for t, n in Counter(self.vocab).items() if n > 1)
            raise ValueError(f"the token {twice!r:.60} is twice in the vocabulary")
        missing = [letter for letter in bpe.ALPHABET if letter not in ids]
        if missing:
            raise ValueError(
                f"{len(missing)} of 256 bytes are not in the vocabulary: {missing[0]!r:.60} …"
            )

        made, self._ranks = set(bpe.ALPHABET), {}
        for rank, merge in enumerate(self.merges):
            a, _, b = merge.partition(" ")
            for part in (a, b):
                if part not in made:
                    raise ValueError(
                        f"merge {rank}, {merge!r:.60}: no merge before it makes {part!r:.60}"
                    )
            if a + b not in ids:
                raise ValueError(
                    f"merge {rank}, {merge!r:.60}: {a + b!r:.60} is not in the vocabulary"
                )
            if (ids[a], ids[b]) in self._ranks:
                raise ValueError(f"merge {rank}, {merge!r:.60}, is there twice")
            made.add(a + b)
            self._ranks[ids[a], ids[b]] = rank, ids[a + b]

        self.special_tokens = [token for token in self.vocab if token not in made]
        for token in self.special_tokens:
            if not SPECIAL.fullmatch(token):
                raise ValueError(
                    f"{token!r:.60} is in the vocabulary, but no merge makes it (special tokens "
                    "look like <|this|> or [THIS])"
                )
        self.special_ids = {token: ids[token] for token in self.special_tokens}
        self.vocabulary = [bpe.to_bytes(t) if t in made else t.encode() for t in self.vocab]
        self._byte_ids = [ids[letter] for letter in bpe.LETTERS]
        self._words = _Words(self)

    @classmethod
    def from_text(cls, text, vocab_size, special_tokens=(), min_count=2):
        """Learn `vocab_size` tokens: 256 bytes, then frequent pairs, then the special tokens.

        `text` is a string, or an iterable of them (one file, one chapter …). There will be fewer
        tokens if no pair is left that occurs `min_count` times. ValueError for an empty text, or a
        vocabulary smaller than the bytes and special tokens.
        """
        special_tokens = list(special_tokens)
        size = vocab_size - len(special_tokens)
        if size < 256:
            raise ValueError(
                f"vocab_size must be at least {256 + len(special_tokens)}: 256 bytes and "
                f"{len(special_tokens)} special tokens, got {vocab_size}"
            )
        counts = Counter()
        for part in [text] if isinstance(text, str) else text:
            for piece in _splitter(special_tokens)(part)[::2]:
                counts.update(bpe.words(piece))
        if not counts:
            raise ValueError("cannot learn a vocabulary from an empty text")
        vocab, merges = list(bpe.ALPHABET), []
        counts = {word.encode(): count for word, count in counts.items()}
        for a, b, joined in bpe.learn(counts, size, min_count):
            merges.append(f"{vocab[a]} {vocab[b]}")
            if joined == len(vocab):
                vocab.append(vocab[a] + vocab[b])
        return cls(vocab + special_tokens, merges)

    def encode_array(self, text, special=True):
        """The ids of a text, or of bytes, (T,). With special=False, all of it is ordinary text."""
        if isinstance(text, bytes):  # what is not UTF-8 travels as lone surrogates (PEP 383)
            text = text.decode("utf-8", "surrogateescape")
        else:
            text.encode()  # UnicodeEncodeError for a lone surrogate
        pieces = _splitter(self.special_tokens if special else ())(text)
        ids = []
        for piece, token in zip(pieces[::2], [*pieces[1::2], None]):
            ids += chain.from_iterable(map(self._words.__getitem__, bpe.words(piece)))
            if token is not None:
                ids.append(self.special_ids[token])
        return np.array(ids, self.dtype)

    def with_special_tokens(self, tokens):
        return BPETokenizer([*self.vocab, *check_special(tokens)], self.merges)

    def decode_bytes(self, ids):
        """The bytes of a sequence of ids: `decode` without what is not UTF-8 being replaced."""
        return self._encoded(ids)

    def _encoded(self, ids):
        return b"".join(map(self.vocabulary.__getitem__, self._checked(ids).tolist()))

    def settings(self):
        return {"type": self.type, "vocab": self.vocab, "merges": self.merges}

    def save(self, path):
        """Write one JSON file; or, into a folder, GPT-2's two: `vocab.json` and `merges.txt`."""
        if Path(path).is_dir():
            vocab = {token: id for id, token in enumerate(self.vocab)}
            merges = "".join(f"{line}\n" for line in ["#version: 0.2", *self.merges])
            write_whole(Path(path, "vocab.json"), json.dumps(vocab, ensure_ascii=False).encode())
            write_whole(Path(path, "merges.txt"), merges.encode())
        else:
            super().save(path)


SPECIAL = re.compile(r"<\S+>|\[\S+\]")


def check_special(tokens):
    """Special tokens as a list. ValueError for one that does not look like one, or is twice."""
    tokens = list(tokens)
    for token in tokens:
        if not SPECIAL.fullmatch(token):
            raise ValueError(f"special tokens look like <|this|> or [THIS], got {token!r:.60}")
        if tokens.count(token) > 1:
            raise ValueError(f"the special token {token!r:.60} is there twice")
    return tokens


class _Words(dict):
    """Word -> its ids, found when first asked for. Begins anew when it has grown large."""

    LIMIT = 2**18

    def __init__(self, tokenizer):
        self._byte_ids, self._ranks = tokenizer._byte_ids, tokenizer._ranks

    def __missing__(self, word):
        tokens = [self._byte_ids[byte] for byte in word.encode("utf-8", "surrogateescape")]
        if len(self) >= self.LIMIT:
            self.clear()
        self[word] = ids = bpe.encode(tokens, self._ranks)
        return ids


def _splitter(special_tokens):
    """A function that cuts a text into [text, special token, text, …, text]."""
    if not special_tokens:
        return lambda text: [text]
    longest_first = sorted(special_tokens, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})").split


def _vocab_and_merges(folder):
    """The content of the `vocab.json` and `merges.txt` of a folder."""
    try:
        ids = files.parsed(files.contents(Path(folder, "vocab.json")))
        if not isinstance(ids, dict) or any(type(id) is not int for id in ids.values()):
            raise ValueError("vocab.json is not a number for each token")
        vocab = sorted(ids, key=ids.get)
        if [ids[token] for token in vocab] != list(range(len(vocab))):
            raise ValueError("the ids in vocab.json are not 0, 1, 2, …")
        lines = files.contents(Path(folder, "merges.txt")).decode("utf-8")
        lines = lines.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except FileNotFoundError as error:
        raise ValueError(f"it has no {Path(error.filename).name}") from None
    if lines[0].startswith("#version"):
        del lines[0]
    return vocab, [line for line in lines if line]


# ---- one id at a time ----------------------------------------------------------------------------


class Stream:
    """Decodes ids as they come: `stream(id)` is the text they have completed since the last call.

    A character of several bytes appears with its last one. `flush()` gives what was left hanging.
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder(tokenizer.codec)("replace")

    def __call__(self, id):
        return self._decoder.decode(self._tokenizer._encoded([id]))

    def flush(self):
        return self._decoder.decode(b"", final=True)


# ---- files ---------------------------------------------------------------------------------------

TYPES = {cls.type: cls for cls in (CharTokenizer, ByteTokenizer, BPETokenizer)}


def load_tokenizer(path):
    """The tokenizer saved at `path`, a file; or that of the vocab.json and merges.txt in a folder.

    ValueError if it is damaged.
    """
    try:
        if Path(path).is_dir():
            return BPETokenizer(*_vocab_and_merges(path))
        return tokenizer_from(files.parsed(files.contents(path)))
    except ValueError as error:
        raise ValueError(f"{path} is not a saved tokenizer: {error}") from error


def tokenizer_from(settings):
    """The tokenizer that gave these `settings()`. ValueError if they are not those of one."""
    try:
        if not isinstance(settings, dict):
            raise ValueError("a dict is needed")
        kind = settings.get("type")
        if type(kind) is not str or kind not in TYPES:
            raise ValueError(f"their type must be {', '.join(TYPES)}, got {kind!r:.60}")
        cls = TYPES[kind]
        kinds = {**cls.SETTINGS, **{n: k for n, k in cls.OPTIONAL.items() if n in settings}}
        if settings.keys() != {"type", *kinds}:
            raise ValueError(f"a {kind} tokenizer has {', '.join(['type', *cls.SETTINGS])}")
        for name, wanted in kinds.items():
            found = settings[name]
            if type(found) is not wanted or wanted is list and set(map(type, found)) - {str}:
                raise ValueError(f"its {name} must be {KINDS[wanted]}, got {found!r:.60}")
        return cls(**{name: settings[name] for name in kinds})
    except ValueError as error:
        raise ValueError(
            f"{reprlib.repr(settings)} are not the settings of a tokenizer: {error}"
        ) from error


KINDS = {str: "a string", list: "a list of strings"}
