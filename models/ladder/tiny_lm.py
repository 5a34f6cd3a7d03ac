"""Tiny LM: a network that looks at the last few characters at once (Bengio et al., 2003).

Each token has a vector of a few numbers that are learned: its embedding. Tokens that are used alike
come to have vectors that are alike, and what the network learns for one holds for the other: the
generalisation that no table has. The embeddings of the last n tokens are put side by side, a hidden
layer with tanh looks for patterns in them, and a last layer turns the patterns into logits.

    e = [E[x₁], E[x₂], …, E[xₙ]]        h = tanh(W e + b)        logits = U h + c

Position matters only by slot: the columns of W that meet the first token of the window are others
than those that meet the second. Shift a text by one and every token meets other weights, so what is
learned in one slot must be learned in every other again; and what is further back than n tokens
does not exist. It learns by plain gradient descent (SGD): every number a small step down the slope.

A longer window needs a larger W. The next rung reads one token at a time, however many there are,
and keeps what it needs in a memory: `recurrent.py`.
"""

from dataclasses import dataclass

import microtensor as mt
from microtensor import nn

from .base import Config, LanguageModel, with_loss


@dataclass(frozen=True)
class TinyLMConfig(Config):
    """The sizes of a TinyLM, whose window is context_length tokens. ValueError for wrong ones."""

    context_length: int = 8
    d_embedding: int = 16
    d_hidden: int = 256

    @property
    def numbers(self):
        V, n, E, H = self.vocab_size, self.context_length, self.d_embedding, self.d_hidden
        return (V + 1) * E + (n * E + 1) * H + (H + 1) * V


class TinyLM(LanguageModel):
    """Embeddings of a fixed window side by side, one tanh layer, logits (Bengio et al., 2003)."""

    slides = True

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or TinyLMConfig()
        V, n, E = config.vocab_size, config.context_length, config.d_embedding
        self.embedding = nn.Embedding(V + 1, E)  # the last row stands for "before the text"
        self.hidden = nn.Linear(n * E, config.d_hidden)
        self.head = nn.Linear(config.d_hidden, V)

    def forward(self, idx, targets=None):
        """Logits (B, T, V) for tokens idx (B, T); with targets (B, T), also the mean loss.

        The window slides over the text, so T may be any length.
        """
        self.check(idx)
        B, T = idx.shape
        V, n = self.config.vocab_size, self.config.context_length
        if idx.numel() and int(idx.max()) >= V:  # V itself would be "before the text"
            raise IndexError(f"TinyLM: token {int(idx.max())} is outside 0 … {V - 1}")
        before = mt.full((B, n - 1), V, dtype=idx.dtype, device=idx.device)
        idx = mt.cat([before, idx], dim=1)  # (B, n - 1 + T)
        slots = mt.arange(T, device=idx.device)[:, None] + mt.arange(n, device=idx.device)  # (T, n)
        e = self.embedding(idx[:, slots])  # (B, T, n) -> (B, T, n, E)
        h = self.hidden(e.flatten(2)).tanh()  # (B, T, n E) -> (B, T, d_hidden)
        return with_loss(self.head(h), targets)  # (B, T, d_hidden) -> (B, T, V)
