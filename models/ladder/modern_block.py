"""Modern block: one text on its way through a block, forward only.

The transformer of the rung below, taken apart: pre-norm, causal attention in several heads, a
residual, the MLP, a residual, and the projection to logits. No training, and no tricks: the numbers
are those of a model that was made a moment ago and knows nothing. What can be seen is how the
shapes change and why:

    python -m models.modern_block --prompt "To be"

`steps` gives each step as a value, its shape in letters, and what it is for; `forward` is the last
of them. Trained, with four such blocks and 867,072 numbers, this is `minigpt.py`.
"""

import math
from dataclasses import dataclass

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn

from .base import LanguageModel, with_loss
from .tiny_transformer import TinyTransformerConfig


@dataclass(frozen=True)
class ModernBlockConfig(TinyTransformerConfig):
    """The sizes of a ModernBlock. ValueError for sizes that make no model."""

    n_layers: int = 1

    @property
    def numbers(self):
        V, T, C = self.vocab_size, self.context_length, self.d_model
        return (2 * V + T + 2) * C + 12 * C * C + 13 * C


class ModernBlock(LanguageModel):
    """Embeddings, one pre-norm block, logits, with every value on the way to be looked at."""

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or ModernBlockConfig()
        if config.n_layers != 1:
            raise ValueError(f"ModernBlock: it is one block, got n_layers {config.n_layers}")
        C = config.d_model
        self.token_embedding = nn.Embedding(config.vocab_size, C)
        self.position_embedding = nn.Embedding(config.context_length, C)
        self.norm_1, self.norm_2, self.norm = nn.LayerNorm(C), nn.LayerNorm(C), nn.LayerNorm(C)
        self.qkv = nn.Linear(C, 3 * C)
        self.out = nn.Linear(C, C)
        self.up, self.down = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)
        self.head = nn.Linear(C, config.vocab_size, bias=False)

    def forward(self, idx, targets=None):
        """Logits (B, T, V) for tokens idx (B, T); with targets (B, T), also the mean loss."""
        *_, (name, logits, shape, why) = self.steps(idx)
        return with_loss(logits, targets)

    def steps(self, idx):
        """The way of tokens idx (B, T): an iterator of (name, value, its shape, what it is for)."""
        # Long because it is the whole block, to be read from top to bottom.
        self.check(idx, self.config.context_length)
        B, T = idx.shape
        C, H = self.config.d_model, self.config.n_heads
        D = C // H
        yield "tokens", idx, "B, T", "the text, as numbers of the vocabulary"

        token = self.token_embedding(idx)
        yield "token embedding", token, "B, T, C", "what each token is: its row of a learned table"
        position = self.position_embedding(mt.arange(T, device=idx.device))
        yield "position embedding", position, "T, C", "where it stands; the same for every text"
        x = token + position
        yield "x", x, "B, T, C", "the sum: the stream that everything below adds to"

        h = self.norm_1(x)
        yield "norm", h, "B, T, C", "each vector at mean 0 and variance 1, before it is used"
        qkv = self.qkv(h)
        yield "query, key, value", qkv, "B, T, 3 C", "three vectors from each, by one matrix"
        qkv = qkv.reshape(B, T, 3, H, D).permute(2, 0, 3, 1, 4)  # -> (3, B, H, T, D)
        q, k, v = qkv.unbind()  # (B, H, T, D)
        yield "query", q, "B, H, T, D", "what each position looks for, in each head"
        yield "key", k, "B, H, T, D", "what it can be found by"
        yield "value", v, "B, H, T, D", "what it has to say"
        scores = q @ k.transpose(2, 3) / math.sqrt(D)
        yield "scores", scores, "B, H, T, T", "each query times each key, by √D: how well they fit"
        later = mt.ones(T, T, dtype=mt.bool, device=idx.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
        yield "masked scores", scores, "B, H, T, T", "−∞ above the diagonal: no look at the future"
        weights = scores.softmax(-1)
        yield "weights", weights, "B, H, T, T", "softmax: shares of attention, each row sums to one"
        y = weights @ v
        yield "answers", y, "B, H, T, D", "the mean of the values, with these weights"
        y = y.transpose(1, 2).reshape(B, T, C)  # (B, H, T, D) -> (B, T, H D = C)
        yield "heads side by side", y, "B, T, C", "what all heads have heard, as one vector"
        y = self.out(y)
        yield "mixed", y, "B, T, C", "a matrix lets the heads' answers meet"
        x = x + y
        yield "x", x, "B, T, C", "residual: the answer is added to what was there"

        h = self.norm_2(x)
        yield "norm", h, "B, T, C", "again, before it is used"
        h = F.gelu(self.up(h))
        yield "hidden", h, "B, T, 4 C", "MLP: each position for itself; many small questions"
        h = self.down(h)
        yield "thought", h, "B, T, C", "and what follows from their answers"
        x = x + h
        yield "x", x, "B, T, C", "residual: added again; a next block would begin here"

        h = self.norm(x)
        yield "norm", h, "B, T, C", "a last time"
        logits = self.head(h)
        yield "logits", logits, "B, T, V", "one number for every token that may come next"


@mt.no_grad()
def walk(model, idx, print=print):
    """Print every step: its name, its shape in letters and in numbers, and what it is for."""
    for number, (name, value, shape, why) in enumerate(model.eval().steps(idx), 1):
        sizes = " × ".join(map(str, value.shape))
        print(f"{number:2} {name:18} {f'({shape}) = {sizes}':30} {why}")
    p = value[0, -1].softmax(-1)  # (V,)
    best, probability = p.argmax().item(), p.max().item()
    print(f"softmax of the last row: token {best} comes next with {probability:.1%}, "
          "as good as any guess, for nothing was learned yet")  # fmt: skip
