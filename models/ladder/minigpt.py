"""MiniGPT: a small GPT, to be read from top to bottom.

A token looks up a vector, and so does its place in the text. The sum goes through a stack of
blocks. In each, attention lets every token gather from those before it, and a small network
(MLP) then works on each token alone; both add to what came in. What comes out is compared with
every token of the vocabulary: the logits of the token that comes next.

Shapes: B texts, T tokens each, C = d_model channels, H heads of D = C / H channels, V tokens in the
vocabulary.
"""

from dataclasses import dataclass

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn

from .base import Config, LanguageModel, apart, with_loss


@dataclass(frozen=True)
class MiniGPTConfig(Config):
    """The sizes of a MiniGPT. ValueError for sizes that make no model."""

    vocab_size: int = 256
    context_length: int = 64
    d_model: int = 128
    n_heads: int = 4
    n_layers: int = 4
    dropout: float = 0.1  # of attention weights

    def __post_init__(self):
        super().__post_init__()
        self.check_heads()
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")

    @property
    def numbers(self):
        V, T, C = self.vocab_size, self.context_length, self.d_model
        return (2 * V + T + 2) * C + self.n_layers * (12 * C * C + 13 * C)

    @property
    def tables(self):
        T, C = self.context_length, self.d_model
        return T * T // 4 + 2 * self.n_layers * T * C  # a mask of booleans; a cache of one text


class MiniGPT(LanguageModel):
    """A decoder-only transformer, pre-norm, with learned positions (GPT-2 in small)."""

    replays = True

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or MiniGPTConfig()
        T = config.context_length
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(T, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        # True above the diagonal: a token must not see those after it. (T, T)
        self.register_buffer("causal_mask", mt.ones(T, T, dtype=mt.bool).triu(1), persistent=False)

    def forward(self, idx, targets=None, cache=None, segments=None):
        """Logits (B, T, V) for tokens idx (B, T); with targets (B, T), also the mean cross-entropy.

        With a `new_cache`, idx are the tokens after those that the cache has seen. With `segments`
        (B, T) a row holds several texts, which do not see one another (see `apart`). ValueError for
        more tokens than the context holds, IndexError for a token outside the vocabulary.
        """
        return with_loss(self.logits(self.hidden(idx, cache, segments)), targets)

    def hidden(self, idx, cache=None, segments=None):
        """The vectors that the head reads: one for each token, (B, T, C)."""
        self.check(idx, self.config.context_length, cache.length if cache else 0)
        T = idx.shape[1]
        # The cache counts, so that a Replay can follow.
        positions = cache.positions(idx) if cache else mt.arange(T, device=idx.device)
        mask = None if cache else self.causal_mask[:T, :T]  # (T, T)
        if segments is not None:
            positions, mask = apart(segments)  # (B, T), (B, T, T)
            mask = mask.repeat_interleave(self.config.n_heads, 0)  # (B, T, T) -> (B H, T, T)
        x = self.token_embedding(idx) + self.position_embedding(positions)  # (B, T, C) + (T, C)
        for i, block in enumerate(self.blocks):
            x = block(x, mask, cache and cache.layers[i])  # (B, T, C) -> (B, T, C)
        return self.norm(x)

    def logits(self, hidden):
        """The logits (B, T, V) for what `hidden` gives."""
        return self.head(hidden)  # (B, T, C) -> (B, T, V)

    def new_cache(self, batch_size):
        """An empty cache for `batch_size` texts, to be given to `forward`."""
        config, like = self.config, self.head.weight
        D = config.d_model // config.n_heads
        return nn.KVCache(
            config.n_layers, batch_size, config.n_heads, config.context_length, D, like
        )


class Block(nn.Module):
    """Tokens look at one another, then each thinks for itself; both add to what came in."""

    def __init__(self, config):
        super().__init__()
        C = config.d_model
        self.norm_1 = nn.LayerNorm(C)
        self.attention = nn.MultiheadAttention(
            C, config.n_heads, dropout=config.dropout, batch_first=True
        )
        self.norm_2 = nn.LayerNorm(C)
        self.mlp = nn.Sequential(nn.Linear(C, 4 * C), nn.GELU(), nn.Linear(4 * C, C))

    def forward(self, x, mask, cache=None):
        h = self.norm_1(x)
        if cache is None:
            h, _ = self.attention(h, h, h, attn_mask=mask, need_weights=False)
        else:
            h = attend_with_cache(self.attention, h, cache)
        x = x + h  # (B, T, C)
        return x + self.mlp(self.norm_2(x))  # (B, T, C) -> (B, T, 4 C) -> (B, T, C)


def attend_with_cache(attention, x, cache):
    """The output of an nn.MultiheadAttention, with earlier keys and values from a cache."""
    B, T, C = x.shape
    H = attention.num_heads
    qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)  # (B, T, C) -> (B, T, 3 C)
    q, k, v = qkv.reshape(B, T, 3, H, C // H).unbind(2)  # (B, T, H, D) each
    return attention.out_proj(cache.attend(q, k, v))  # (B, T, C)
