"""The text that the playground learns from, as tokens."""

from dataclasses import dataclass

from ...text.data import split
from ...text.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer

KINDS = {"char": "characters", "byte": "bytes", "bpe": "frequent runs (BPE)"}
TOKENIZERS = {"char": CharTokenizer, "byte": ByteTokenizer, "bpe": BPETokenizer}
LONGEST = 20_000_000  # characters of a text


@dataclass
class Data:
    """A text, its tokenizer, and windows to learn from and to test with."""

    name: str
    text: str
    kind: str
    tokenizer: object
    ids: object  # (tokens,)
    vocabulary: int | None = None  # as many tokens as BPE was to learn; it may find fewer

    def windows(self, length):
        """(to learn from, to test with). ValueError, a sentence, for a text that is too short."""
        n, least = len(self.ids), 2 * length + 4
        if n < least:
            raise ValueError(
                f"The text has {n:,} tokens, and a context of {length} needs at least {least:,}: "
                "choose a shorter context or a longer text."
            )
        return split(self.ids, length, held_out=max(0.1, (length + 2) / n))

    def with_tokens_of(self, tokenizer):
        """The same text in another model's tokens. ValueError if that model does not know it."""
        kind = next((k for k, t in TOKENIZERS.items() if isinstance(tokenizer, t)), self.kind)
        try:
            ids = tokenizer.encode_array(self.text)
        except ValueError as error:
            raise ValueError(f"The model was trained on another text than this: {error}") from None
        vocabulary = tokenizer.vocab_size if kind == "bpe" else None
        return Data(self.name, self.text, kind, tokenizer, ids, vocabulary)

    def with_vocabulary(self, number):
        """The same text in so many tokens, if it is BPE that makes them."""
        if self.vocabulary in (None, number):
            return self
        return data(self.name, self.text, self.kind, number)

    def about(self):
        """The description of it on the page."""
        return {
            "name": self.name,
            "kind": self.kind,
            "characters": len(self.text),
            "tokens": len(self.ids),
            "vocab_size": self.tokenizer.vocab_size,
            "vocabulary": self.vocabulary,
            "beginning": self.text[:120],
            "first": self.text.lstrip().split("\n")[0][:14],
        }


def data(name, text, kind="char", vocabulary=512):
    """The data of a text, with so many tokens of BPE. ValueError, a sentence, if it is unfit."""
    if kind not in KINDS:
        raise ValueError(f"Tokens are one of {', '.join(KINDS)}, not {kind!r:.40}.")
    if not text.strip():
        raise ValueError("The text is empty; give some lines to learn from.")
    if len(text) > LONGEST:
        raise ValueError(f"The text has {len(text):,} characters; at most {LONGEST:,} are taken.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"The text has no valid character at position {error.start:,}.") from None
    if kind == "char":
        tokenizer = CharTokenizer.from_text(text)
        if tokenizer.vocab_size > 5000:
            raise ValueError(
                f"The text has {tokenizer.vocab_size:,} different characters; use bytes or BPE."
            )
    elif kind == "byte":
        tokenizer = ByteTokenizer()
    else:
        tokenizer = BPETokenizer.from_text(text, vocabulary)
    vocabulary = vocabulary if kind == "bpe" else None
    return Data(name, text, kind, tokenizer, tokenizer.encode_array(text), vocabulary)


def shown(tokenizer, ids):
    """[{id, text}] of tokens; bytes that are no whole character are "�"."""
    return [{"id": int(i), "text": tokenizer.decode([int(i)])} for i in ids]
