"""Lookup table: the first rung. A language model without any learning.

A language model predicts the next token, appends it, and repeats. The simplest thing that can do
so is a table: after these three characters, that character, with this probability. Take the last
three characters of the text, look them up, append the likeliest of what is found, look up again.
The table below was written by hand, and it says two things very well:

    python -m models.lookup_table --prompt hel

What it has never been told, it cannot say. Nobody writes such a table for a whole language by hand;
but the numbers in it are only counts of what follows what, and a machine can count: `ngram.py`.
"""

import math
from dataclasses import dataclass

import microtensor as mt

from ..text.tokenizers import CharTokenizer
from .base import Config, LanguageModel, check_prompt, with_loss

CONTEXT = 3  # characters

HAND_WRITTEN = {
    "hel": {"l": 0.9, "p": 0.1},
    "ell": {"o": 0.8, " ": 0.2},
    "llo": {" ": 0.7, "w": 0.3},
    "lo ": {"w": 0.6, "t": 0.4},
    "o w": {"o": 0.9, "e": 0.1},
    " wo": {"r": 0.8, "n": 0.2},
    "wor": {"l": 0.7, "d": 0.3},
    "orl": {"d": 1.0},
    "the": {" ": 0.9, "y": 0.1},
    "he ": {"c": 0.6, "d": 0.4},
    "e c": {"a": 0.7, "o": 0.3},
    " ca": {"t": 0.8, "n": 0.2},
    "cat": {" ": 0.9, "s": 0.1},
    "at ": {"s": 0.8, "o": 0.2},
    "t s": {"a": 0.9, "o": 0.1},
    " sa": {"t": 0.6, "y": 0.4},
}


@dataclass(frozen=True)
class Step:
    """One step of writing: what was looked up, what came next, and how probable it was."""

    context: str
    character: str
    probability: float

    def __str__(self):
        return f'"{self.context}" → "{self.character}" ({self.probability:.0%})'


class LookupTable(LanguageModel):
    """A table {three characters: {next character: probability}}.

    ValueError for a context of another length, or probabilities that do not sum to one.
    """

    slides = True

    def __init__(self, table=None):
        super().__init__()
        self.table = table = HAND_WRITTEN if table is None else table
        for context, row in table.items():
            if len(context) != CONTEXT or any(len(c) != 1 for c in row):
                raise ValueError(
                    f"LookupTable: {CONTEXT} characters and those that may follow are needed, got "
                    f"{context!r}: {row!r}"
                )
            if min(row.values(), default=-1) < 0 or not math.isclose(sum(row.values()), 1):
                raise ValueError(f"LookupTable: the probabilities after {context!r} are {row!r}")
        if not table:
            raise ValueError("LookupTable: the table is empty")
        self.tokenizer = CharTokenizer.from_text("".join(c + "".join(table[c]) for c in table))
        self.config = Config(self.tokenizer.vocab_size, CONTEXT)

    def lookup(self, text):
        """The characters that may follow a text, {character: probability}; None if unknown."""
        return self.table.get(text[-CONTEXT:])

    def write(self, prompt, length):
        """Continue a text greedily: an iterator of `Step`s, `length` of them at most.

        It stops where the table knows no more. ValueError for an empty prompt.
        """
        check_prompt(prompt)
        if length < 0:
            raise ValueError(f"the length of a sample must not be negative, got {length}")
        return self._write(prompt, length)

    def _write(self, text, length):
        for _ in range(length):
            row = self.lookup(text)
            if row is None:
                return
            character = max(row, key=row.get)  # of equal ones, the first
            yield Step(text[-CONTEXT:], character, row[character])
            text += character

    def forward(self, idx, targets=None):
        """Log-probabilities (B, T, V), as every rung gives them; unknown contexts: all alike.

        −∞ stands for what the table holds to be impossible.
        """
        self.check(idx)
        V = self.config.vocab_size
        logits = mt.zeros(*idx.shape, V)  # (B, T, V)
        for b, text in enumerate(idx.tolist()):
            text = self.tokenizer.decode(text)
            for t in range(len(text)):
                if row := self.lookup(text[: t + 1]):
                    p = [row.get(c, 0.0) for c in self.tokenizer.characters]
                    logits[b, t] = mt.tensor(p).log()  # (V,)
                else:
                    logits[b, t] = -math.log(V)
        return with_loss(logits, targets)


def show(table, prompt, length, print=print):
    """Print every step of writing, the text, and why it stopped."""
    text = prompt
    for step in table.write(prompt, length):
        print(f"  {step}")
        text += step.character
    if text == prompt and length:
        known = ", ".join(f'"{context}"' for context in list(table.table)[:4])
        print(
            f'"{prompt}": the table knows nothing after "{prompt[-CONTEXT:]}"; it knows {known} …'
        )
        return
    if table.lookup(text) is None:
        print(f'  "{text[-CONTEXT:]}" is not in the table: the end')
    print(f'"{prompt}" → "{text}"')
