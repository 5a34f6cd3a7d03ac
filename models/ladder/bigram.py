"""Bigram: a table of numbers that learns.

One row of logits for each token: how strongly each token of the vocabulary follows it. The row is
looked up, softmax makes probabilities of it, and that is the whole prediction. It is the counted
table for a context of one token, except that nobody counts. The numbers start at random; the loss
says how surprised the model is by the token that really came; the gradient says how to change each
number so that it would have been a little less surprised. Repeated often enough, this must arrive
where counting arrives at once:

    loss = − mean log p(next | token)   has its minimum at   p(b | a) = count(a b) / count(a)

That is no progress in what it can say, but all the progress in how: whatever can be computed from
numbers can be learned in this way, not only a table. The next rung computes: `tiny_lm.py`.
"""

from dataclasses import dataclass

import numpy as np

from microtensor import nn

from .base import Config, LanguageModel, with_loss


@dataclass(frozen=True)
class BigramConfig(Config):
    """The size of a Bigram: the vocabulary. It looks back on one token."""

    context_length: int = 1

    def __post_init__(self):
        super().__post_init__()
        if self.context_length != 1:
            raise ValueError(f"the context_length of a Bigram is 1, got {self.context_length}")

    @property
    def numbers(self):
        return self.vocab_size**2


class Bigram(LanguageModel):
    """A trained table of logits, one row for each token."""

    slides = True

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or BigramConfig()
        self.table = nn.Embedding(config.vocab_size, config.vocab_size)
        nn.init.zeros_(self.table.weight)  # to begin with, every token is as likely as any other

    def forward(self, idx, targets=None):
        """Logits (B, T, V) for tokens idx (B, T); with targets (B, T), also the mean loss."""
        self.check(idx)
        logits = self.table(idx)  # (B, T) -> (B, T, V)
        return with_loss(logits, targets)


def counted_loss(ids, vocab_size):
    """The least mean loss that any table of pairs can have on a text, in nats: by counting."""
    pairs = np.bincount(
        np.asarray(ids[:-1], np.int64) * vocab_size + ids[1:], minlength=vocab_size**2
    ).reshape(vocab_size, vocab_size)  # (V V,) -> (V, V): how often b came after a
    a, b = pairs.nonzero()
    p = pairs[a, b] / pairs.sum(1)[a]
    return float(-(pairs[a, b] * np.log(p)).sum() / pairs.sum())
