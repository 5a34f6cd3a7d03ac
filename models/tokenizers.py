"""Text to integer ids and back.

A tokenizer cuts text into *units* and numbers them. Here a unit is a code unit of a Unicode
encoding: a byte of UTF-8 (`ByteTokenizer`) or a whole character, in UTF-32 (`CharTokenizer`).
Both directions are then one table lookup on an array, and both tokenizers are the same few lines.
"""

import codecs
import json
import operator
from pathlib import Path

import numpy as np

from microtensor.serialization import write_whole

DTYPES = np.uint8, np.uint16, np.int32


class Tokenizer:
    """Ids 0 … vocab_size - 1 for the code units `units`, a little-endian array without repeats."""

    def __init__(self, units):
        self._units = units
        self.vocab_size = len(units)
        self.dtype = next(d for d in DTYPES if self.vocab_size - 1 <= np.iinfo(d).max)
        # Unit -> id. Units beyond the largest known one share the last entry, unknown like any gap.
        self._ids = np.full(int(units.max()) + 2, -1, np.int32)
        self._ids[units] = np.arange(len(units))

    def encode(self, text):
        """The ids of a text, as a list. ValueError for a character outside the vocabulary."""
        return self.encode_array(text).tolist()

    def encode_array(self, text):
        """The ids of a text, (T,), in the smallest of uint8, uint16, int32 that holds them all."""
        units = np.frombuffer(text.encode(self.codec), self._units.dtype)
        ids = self._ids.take(units, mode="clip")
        if (ids < 0).any():
            i = int(ids.argmin())
            line, column = text.count("\n", 0, i) + 1, i - text.rfind("\n", 0, i)
            raise ValueError(
                f"{text[i]!r} at index {i} (line {line}, column {column}) is not among the "
                f"{self.vocab_size} characters of the vocabulary"
            )
        return ids.astype(self.dtype)

    def decode(self, ids):
        """The text of a sequence of ids. IndexError for an id outside the vocabulary."""
        return self._encoded(ids).decode(self.codec, "replace")

    def stream(self):
        """A decoder of one id at a time: see `Stream`."""
        return Stream(self)

    def _encoded(self, ids):
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        ids = np.fromiter(map(operator.index, ids), np.int64)
        wrong = np.flatnonzero((ids < 0) | (ids >= self.vocab_size))
        if wrong.size:
            i = wrong[0]
            raise IndexError(f"id {ids[i]} at index {i} is outside 0 … {self.vocab_size - 1}")
        return self._units[ids].tobytes()

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


class CharTokenizer(Tokenizer):
    """One id per character, for the characters of `characters`, in that order."""

    type, codec = "char", "utf-32-le"

    def __init__(self, characters):
        self.characters = "".join(characters)
        if not self.characters or len(set(self.characters)) < len(self.characters):
            raise ValueError("a vocabulary needs at least one character, and each only once")
        super().__init__(np.frombuffer(self.characters.encode(self.codec), "<u4"))

    @classmethod
    def from_text(cls, text):
        """A vocabulary of the characters of a text, sorted. ValueError if the text is empty."""
        if not text:
            raise ValueError("cannot take a vocabulary of characters from an empty text")
        return cls(sorted(set(text)))

    def settings(self):
        """What `tokenizer_from` needs to make this tokenizer again: plain JSON values."""
        return {"type": self.type, "characters": self.characters}


class ByteTokenizer(Tokenizer):
    """One id per byte of the UTF-8 text: 256 ids, and no text is outside the vocabulary.

    A model may produce bytes that are not UTF-8: they decode to U+FFFD, the replacement character.
    """

    type, codec = "byte", "utf-8"

    def __init__(self):
        super().__init__(np.arange(256, dtype=np.uint8))

    def settings(self):
        """What `tokenizer_from` needs to make this tokenizer again: plain JSON values."""
        return {"type": self.type}


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


TYPES = {cls.type: cls for cls in (CharTokenizer, ByteTokenizer)}


def load_tokenizer(path):
    """The tokenizer saved at `path`, of the class its "type" names. ValueError if damaged."""
    try:
        return tokenizer_from(json.loads(Path(path).read_bytes()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a saved tokenizer: {error}") from error


def tokenizer_from(settings):
    """The tokenizer that gave these `settings()`. ValueError if they are not those of one."""
    try:
        settings = dict(settings)
        return TYPES[settings.pop("type")](**settings)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{settings!r:.80} are not the settings of a tokenizer: {error!r}"
        ) from error
