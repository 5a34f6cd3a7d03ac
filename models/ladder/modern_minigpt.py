"""Modern MiniGPT: the same idea as MiniGPT with the parts that large models use today.

What is another than in MiniGPT, and why:

- RMSNorm for LayerNorm: only the length of a vector is normalized, which is enough and cheaper.
- Rotary positions: no table of positions is added to the tokens. Instead queries and keys are
  turned by an angle that grows with their place, so that their product tells how far apart they
  are, not where they stand.
- Grouped-query heads: several heads of queries share one head of keys and values. The cache of
  generation shrinks by as much.
- SwiGLU for the MLP: one half of the hidden layer decides how much of the other half passes.
- Tied embeddings: the table that turns tokens into vectors also turns vectors into logits.
- No biases, no dropout.

This is the last rung. What large models add to it is size, text, and time.

Shapes: B texts, T tokens each, C = d_model channels, H heads of queries and G heads of keys and
values, D = C / H channels each, V tokens in the vocabulary.
"""

import math
from dataclasses import dataclass

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn

from .base import Config, LanguageModel, apart, with_loss


@dataclass(frozen=True)
class ModernMiniGPTConfig(Config):
    """The sizes of a ModernMiniGPT. ValueError for sizes that make no model."""

    d_model: int = 128
    n_heads: int = 4
    n_kv_heads: int = 2  # heads of keys and values; the heads of queries share them evenly
    n_layers: int = 4
    d_mlp: int = 344  # about 8/3 of d_model: three matrices then cost what two of 4 d_model cost
    rope_theta: float = 10_000.0  # the slowest pair of channels turns once in about 2π · this many
    norm_eps: float = 1e-5

    def __post_init__(self):
        super().__post_init__()
        if self.d_model % self.n_heads or self.d_model // self.n_heads % 2:
            raise ValueError(
                "n_heads must divide d_model into heads of an even number of channels, which are "
                f"turned in pairs; got {self.d_model} channels for {self.n_heads} heads"
            )
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_kv_heads must divide n_heads: {self.n_heads} heads of queries cannot share "
                f"{self.n_kv_heads} heads of keys and values evenly"
            )
        for name in ("rope_theta", "norm_eps"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a positive number, got {getattr(self, name)}")

    @property
    def numbers(self):
        C, shared = self.d_model, self.n_kv_heads * self.d_head
        block = 2 * C * (C + shared) + 3 * C * self.d_mlp + 2 * C
        return (self.vocab_size + 1) * C + self.n_layers * block

    @property
    def tables(self):
        rows = 1 + 2 * self.n_layers * self.n_kv_heads  # cosines and sines; a cache of one text
        return rows * self.context_length * self.d_head

    @property
    def d_head(self):
        return self.d_model // self.n_heads


class ModernMiniGPT(LanguageModel):
    """A decoder-only transformer with the parts of Llama (arXiv:2302.13971, arXiv:2307.09288)."""

    replays = True

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or ModernMiniGPTConfig()
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.d_model, config.norm_eps)
        # The products with a table of N(0, 1), as logits, would be far too sure at the start.
        nn.init.normal_(self.token_embedding.weight, std=config.d_model**-0.5)
        cos, sin = rotations(config.context_length, config.d_head, config.rope_theta)
        self.register_buffer("cos", cos, persistent=False)  # (context_length, D / 2)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, idx, targets=None, cache=None, segments=None):
        """Logits (B, T, V) for tokens idx (B, T); with targets (B, T), also the mean cross-entropy.

        With a `new_cache`, idx are the tokens after those that the cache has seen. With `segments`
        (B, T) a row holds several texts, which do not see one another (see `apart`). ValueError for
        more tokens than the context holds, IndexError for a token outside the vocabulary.
        """
        return with_loss(self.logits(self.hidden(idx, cache, segments)), targets)

    def hidden(self, idx, cache=None, segments=None):
        """The vectors that the table's tokens are compared with: one for each place, (B, T, C)."""
        self.check(idx, self.config.context_length, cache.length if cache else 0)
        places = cache.positions(idx) if cache else mt.arange(idx.shape[1], device=idx.device)
        visible = None
        if segments is not None:
            places, mask = apart(segments)  # (B, T), (B, T, T)
            visible = mask.logical_not()[:, None]  # (B, 1, T, T)
        cos, sin = F.embedding(places, self.cos), F.embedding(places, self.sin)  # (T, D / 2)
        turn = cos[..., None, :], sin[..., None, :]  # (T, 1, D / 2), or with segments (B, T, 1, …)
        x = self.token_embedding(idx)  # (B, T) -> (B, T, C)
        for i, block in enumerate(self.blocks):
            x = block(x, turn, cache and cache.layers[i], visible)  # (B, T, C) -> (B, T, C)
        return self.norm(x)

    def logits(self, hidden):
        """The logits (B, T, V) for what `hidden` gives."""
        return F.linear(hidden, self.token_embedding.weight)  # (B, T, C) -> (B, T, V)

    def new_cache(self, batch_size):
        """An empty cache for `batch_size` texts, to be given to `forward`."""
        config, like = self.config, self.norm.weight
        return nn.KVCache(
            config.n_layers,
            batch_size,
            config.n_kv_heads,
            config.context_length,
            config.d_head,
            like,
        )


class Block(nn.Module):
    """Tokens look at one another, then each thinks for itself; both add to what came in."""

    def __init__(self, config):
        super().__init__()
        self.norm_1 = nn.RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config)
        self.norm_2 = nn.RMSNorm(config.d_model, config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x, turn, cache=None, visible=None):
        x = x + self.attention(self.norm_1(x), turn, cache, visible)  # (B, T, C)
        return x + self.mlp(self.norm_2(x))  # (B, T, C)


class Attention(nn.Module):
    """Causal attention with rotary positions; H / G heads of queries share a head of keys."""

    def __init__(self, config):
        super().__init__()
        C, D = config.d_model, config.d_head
        self.d_head = D
        self.query = nn.Linear(C, config.n_heads * D, bias=False)
        self.key = nn.Linear(C, config.n_kv_heads * D, bias=False)
        self.value = nn.Linear(C, config.n_kv_heads * D, bias=False)
        self.out = nn.Linear(C, C, bias=False)

    def forward(self, x, turn, cache=None, visible=None):
        B, T, C = x.shape
        heads = (B, T, -1, self.d_head)
        q = self.query(x).reshape(heads)  # (B, T, C) -> (B, T, H, D)
        k = self.key(x).reshape(heads)  # (B, T, C) -> (B, T, G D) -> (B, T, G, D)
        v = self.value(x).reshape(heads)  # (B, T, C) -> (B, T, G D) -> (B, T, G, D)
        q, k = rotate(q, *turn), rotate(k, *turn)
        if cache is not None:
            return self.out(cache.attend(q, k, v))  # (B, T, C)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # (B, H, T, D), twice (B, G, T, D)
        causal = visible is None  # else a mask (B, 1, T, T) says which keys may be seen
        y = F.scaled_dot_product_attention(q, k, v, visible, 0.0, causal, enable_gqa=True)
        return self.out(y.transpose(1, 2).reshape(B, T, C))  # (B, H, T, D) -> (B, T, C)


class SwiGLU(nn.Module):
    """down(silu(gate x) ⊙ up x) (arXiv:2002.05202)."""

    def __init__(self, config):
        super().__init__()
        self.gate = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.up = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.down = nn.Linear(config.d_mlp, config.d_model, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))  # (B, T, C) -> (B, T, d_mlp) -> …


# ---- rotary positions (arXiv:2104.09864) ---------------------------------------------------------


def rotations(length, d_head, theta=10_000.0):
    """The cosines and sines (length, D / 2) of the angles at each place.

    Channel i is turned together with channel i + D / 2, at place t by t · theta^(−2i / D): the
    first pairs turn fast and tell neighbours apart, the last ones slowly.
    """
    speed = theta ** (-mt.arange(0, d_head, 2, dtype=mt.float64) / d_head)  # (D / 2,)
    angle = mt.arange(length, dtype=mt.float64)[:, None] * speed  # (length, D / 2)
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """Vectors (B, T, H, D), each pair of channels turned by the angle of its place."""
    a, b = x.chunk(2, dim=-1)  # (B, T, H, D / 2): the two coordinates of each pair
    return mt.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)  # (B, T, H, D)
