"""Tiny transformer: attention, then thinking, then attention again.

Two things are added to the rung below. Several heads ask at the same time, each with a part of the
channels, so that one can look for the last vowel and another for the beginning of the line. And
after each question, a small network (MLP) works on what every position has heard, for itself. The
two together are a block; blocks are stacked, and a position of the second block asks positions that
have already heard something.

Each part of a block only adds to what came in (a residual connection), so that the way from the
loss down to the embeddings stays open however many blocks there are. Layer norm before each part
keeps the numbers at one scale.

Everything is written out here: projections, scores, mask, softmax. The next file follows one text
through such a block and says at each step what it is for: `modern_block.py`.
"""

import math
from dataclasses import dataclass

import microtensor as mt
from microtensor import nn

from .base import Config, LanguageModel, with_loss


@dataclass(frozen=True)
class TinyTransformerConfig(Config):
    """The sizes of a TinyTransformer. ValueError for sizes that make no model."""

    d_model: int = 64
    n_heads: int = 4
    n_layers: int = 2

    def __post_init__(self):
        super().__post_init__()
        self.check_heads()

    @property
    def numbers(self):
        V, T, C = self.vocab_size, self.context_length, self.d_model
        return (V + T + 2) * C + self.n_layers * (12 * C * C + 10 * C) + (C + 1) * V


class TinyTransformer(LanguageModel):
    """Token and position embeddings, blocks, logits."""

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or TinyTransformerConfig()
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.context_length, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size)
        for table in self.token_embedding, self.position_embedding:
            # Vectors of length 1: what the blocks add to them then matters from the start.
            nn.init.normal_(table.weight, std=config.d_model**-0.5)

    def forward(self, idx, targets=None):
        """Logits (B, T, V) for tokens idx (B, T); with targets (B, T), also the mean loss.

        ValueError for more tokens than the context holds.
        """
        self.check(idx, self.config.context_length)
        positions = mt.arange(idx.shape[1], device=idx.device)  # (T,)
        x = self.token_embedding(idx) + self.position_embedding(positions)  # (B, T, C) + (T, C)
        for block in self.blocks:
            x = block(x)  # (B, T, C) -> (B, T, C)
        logits = self.head(self.norm(x))  # (B, T, C) -> (B, T, V)
        return with_loss(logits, targets)


class Block(nn.Module):
    """Ask the others, then think; both add to what came in."""

    def __init__(self, config):
        super().__init__()
        C = config.d_model
        self.norm_1, self.norm_2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.attention = Attention(config)
        self.mlp = nn.Sequential(nn.Linear(C, 4 * C), nn.ReLU(), nn.Linear(4 * C, C))

    def forward(self, x):
        x = x + self.attention(self.norm_1(x))  # (B, T, C)
        return x + self.mlp(self.norm_2(x))  # (B, T, C) -> (B, T, 4 C) -> (B, T, C)


class Attention(nn.Module):
    """Causal attention in H heads of D = C / H channels, written out."""

    def __init__(self, config):
        super().__init__()
        C = config.d_model
        self.n_heads = config.n_heads
        self.query = nn.Linear(C, C, bias=False)
        self.key = nn.Linear(C, C, bias=False)
        self.value = nn.Linear(C, C, bias=False)
        self.out = nn.Linear(C, C)

    def forward(self, x):
        B, T, C = x.shape
        heads = (B, T, self.n_heads, C // self.n_heads)
        q = self.query(x).reshape(heads).transpose(1, 2)  # (B, T, H, D) -> (B, H, T, D)
        k = self.key(x).reshape(heads).transpose(1, 2)  # (B, H, T, D)
        v = self.value(x).reshape(heads).transpose(1, 2)  # (B, H, T, D)
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])  # (B, H, T, T): row asks column
        later = mt.ones(T, T, dtype=mt.bool, device=x.device).triu(1)  # true above the diagonal
        weights = scores.masked_fill(later, -math.inf).softmax(-1)  # (B, H, T, T): rows sum to one
        y = weights @ v  # (B, H, T, T) @ (B, H, T, D) -> (B, H, T, D)
        return self.out(y.transpose(1, 2).reshape(B, T, C))  # (B, H, T, D) -> (B, T, H D = C)
