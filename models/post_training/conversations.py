"""Conversations as batches: prompts masked out of the loss, rows padded or packed.

An example is (ids, mask) of `chat.render`. The target at a place is the next token where that is
the assistant's own, and −100, which no loss counts, everywhere else.

Three mistakes that are easy to make, and that nobody sees in the loss, are errors here: an example
of which nothing is learned; one cut so that its answer is gone or incomplete; and packed examples
that see one another.
"""

from dataclasses import dataclass

import numpy as np

import microtensor as mt

from ..text import chat

IGNORED = -100  # the target that a loss does not count


@dataclass
class Batch:
    """Tokens (B, T), targets (B, T), and the number of the conversation (B, T), or None."""

    idx: mt.Tensor
    targets: mt.Tensor
    segments: mt.Tensor | None = None


def encode(tokenizer, messages, context_length, truncation=False):
    """A conversation as an example (ids, mask), two arrays (T,).

    One that is longer than the context (which holds all tokens but the last) is an error, or with
    `truncation` loses the beginning of its first message, never anything of an answer. ValueError
    if that does not suffice, or if the assistant says nothing.
    """
    ids, mask = map(np.array, chat.render(tokenizer, messages))
    if not mask.any():
        raise ValueError(
            "an example of which nothing is learned: the assistant says nothing in "
            f"{tokenizer.decode(ids)!r:.80}"
        )
    too_many = len(ids) - (context_length + 1)
    if too_many <= 0:
        return ids, mask
    if not truncation:
        raise ValueError(
            f"an example of {len(ids)} tokens does not fit a context of {context_length}: "
            "truncation=True shortens its first message"
        )
    first = 1 + len(tokenizer.encode(messages[0]["content"], special=False))
    if mask[:first].any() or too_many > first - 1:
        raise ValueError(
            f"an example of {len(ids)} tokens cannot be shortened to a context of "
            f"{context_length} without losing more than its first message"
        )
    left = np.r_[0, 1 + too_many : len(ids)]  # who speaks stays
    return ids[left], mask[left]


def padded(examples, padding=0):
    """Examples side by side, as a Batch of as many rows; `padding` fills what is left of them."""
    T = max(len(ids) for ids, _ in examples) - 1
    idx = np.full((len(examples), T), padding, np.int64)
    targets = np.full((len(examples), T), IGNORED, np.int64)
    for row, (ids, mask) in enumerate(examples):
        n = len(ids) - 1
        idx[row, :n] = ids[:-1]
        targets[row, :n] = np.where(mask[1:], ids[1:], IGNORED)
    return Batch(mt.from_numpy(idx), mt.from_numpy(targets))


def packed(examples, length, padding=0):
    """Examples one after the other, in as few rows of `length` as first fit finds, as a Batch.

    Its `segments` keep the conversations apart: 1, 2, … in each row, 0 for the padding.
    ValueError for an example that is longer than a row.
    """
    rows = []  # of examples, each with the room that is left
    for ids, mask in examples:
        n = len(ids) - 1
        if n > length:
            raise ValueError(f"an example of {n} tokens does not fit a row of {length}")
        row = next((row for row in rows if row[0] >= n), None)
        if row is None:
            rows.append(row := [length, []])
        row[0] -= n
        row[1].append((ids, mask))
    idx = np.full((len(rows), length), padding, np.int64)
    targets = np.full((len(rows), length), IGNORED, np.int64)
    segments = np.zeros((len(rows), length), np.int64)
    for r, (_, row) in enumerate(rows):
        start = 0
        for number, (ids, mask) in enumerate(row, 1):
            end = start + len(ids) - 1
            idx[r, start:end] = ids[:-1]
            targets[r, start:end] = np.where(mask[1:], ids[1:], IGNORED)
            segments[r, start:end] = number
            start = end
    return Batch(*map(mt.from_numpy, (idx, targets, segments)))


class Conversations:
    """Examples to learn from, drawn at random, and always the same ones to test with.

    `pack` is the length of a row that holds several, or None for a row each.
    """

    def __init__(self, examples, pack=None, padding=0):
        self.examples, self.pack, self.padding = list(examples), pack, padding
        if not self.examples:
            raise ValueError("there are no conversations to learn from")

    def __len__(self):
        return len(self.examples)

    def batch(self, examples):
        """Some examples as a Batch."""
        if self.pack is None:
            return padded(examples, self.padding)
        return packed(examples, self.pack, self.padding)

    def random_batch(self, size, generator=None):
        """`size` examples, any of them."""
        chosen = mt.randint(len(self), (size,), generator=generator).tolist()
        return self.batch([self.examples[i] for i in chosen])

    def spread(self, batches, size):
        """`batches` batches of `size` examples from the first on, as far as there are so many."""
        for start in range(0, min(batches * size, len(self)), size):
            yield self.batch(self.examples[start : start + size])
