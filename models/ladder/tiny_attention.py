"""Tiny attention: one head, in which the last position asks and the earlier ones answer.

Every token becomes a vector: what it is (token embedding) plus where it stands (position
embedding). From each vector three are made, by three matrices that are learned:

    query q   what this position is looking for
    key k     what this position can be found by
    value v   what it has to say

To predict what comes after the last position, its query is compared with the key of every position
up to itself; softmax makes weights of the products, that sum to one; the answer is the mean of the
values with these weights. It is added to what the last position knew already, and one matrix turns
the sum into logits.

    a = softmax(q · k / √C)        y = Σ aⱼ vⱼ        logits = W (x + y)

Nothing has to be carried through a state: any earlier position is one step away, and all positions
of a text are computed at once, for each is the last one of its own beginning. The weights can be
looked at, and it is plain to see what was asked:

    python -m models.tiny_attention --prompt "First Citi" --show-attention

But one question is asked, once, and nothing is made of the answer. The next rung asks several at a
time, thinks about what it heard, and asks again: `tiny_transformer.py`.
"""

import math
from dataclasses import dataclass

import microtensor as mt
from microtensor import nn

from .base import Config, LanguageModel, with_loss


@dataclass(frozen=True)
class TinyAttentionConfig(Config):
    """The sizes of a TinyAttention. ValueError for sizes that make no model."""

    d_model: int = 128

    @property
    def numbers(self):
        V, T, C = self.vocab_size, self.context_length, self.d_model
        return (V + T) * C + 3 * C * C + (C + 1) * V


class TinyAttention(LanguageModel):
    """One head of causal attention between embeddings and logits (arXiv:1706.03762, in little)."""

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or TinyAttentionConfig()
        C = config.d_model
        self.token_embedding = nn.Embedding(config.vocab_size, C)
        self.position_embedding = nn.Embedding(config.context_length, C)
        self.query = nn.Linear(C, C, bias=False)
        self.key = nn.Linear(C, C, bias=False)
        self.value = nn.Linear(C, C, bias=False)
        self.head = nn.Linear(C, config.vocab_size)

    def forward(self, idx, targets=None):
        """Logits (B, T, V) for tokens idx (B, T); with targets (B, T), also the mean loss.

        ValueError for more tokens than the context holds.
        """
        x = self.embed(idx)  # (B, T) -> (B, T, C)
        y = self.weights(x) @ self.value(x)  # (B, T, T) @ (B, T, C) -> (B, T, C)
        return with_loss(self.head(x + y), targets)  # (B, T, C) -> (B, T, V)

    def embed(self, idx):
        """The sum of each token's embedding and its position's: (B, T) -> (B, T, C)."""
        self.check(idx, self.config.context_length)
        positions = mt.arange(idx.shape[1], device=idx.device)  # (T,)
        return self.token_embedding(idx) + self.position_embedding(positions)

    def weights(self, x):
        """The attention weights of each position (row) on each position up to itself: (B, T, T)."""
        q, k = self.query(x), self.key(x)  # (B, T, C)
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])  # (B, T, T): row asks column
        later = mt.ones_like(scores[0], dtype=mt.bool).triu(1)  # (T, T): true above the diagonal
        return scores.masked_fill(later, -math.inf).softmax(-1)

    @mt.no_grad()
    def attention(self, idx):
        """The weights (B, T) with which the last position of idx (B, T) asks all of them."""
        return self.weights(self.embed(idx))[:, -1]  # (B, T, T) -> (B, T)
