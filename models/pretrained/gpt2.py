"""GPT-2 (Radford et al., 2019), to be read from top to bottom; it reads the published weights.

It is MiniGPT, larger, with what the published model does otherwise: GELU by its tanh formula,
dropout in three places, and one table for both ends, so that the vector that stands for a token is
also what its logit is measured by. Below the model is how its weights are called in published
files, for `GPT2.from_pretrained(folder)` and `save_pretrained(folder)`.

Shapes: B texts, T tokens each, C = d_model channels, H heads of D = C / H channels, V tokens in the
vocabulary.
"""

import math
from dataclasses import dataclass

import microtensor as mt
from microtensor import nn

from ..ladder.base import Config, LanguageModel, with_loss
from ..ladder.minigpt import attend_with_cache
from . import published


@dataclass(frozen=True)
class GPT2Config(Config):
    """The sizes of a GPT2; without arguments, of the smallest published one (124 million numbers).

    ValueError for sizes that make no model.
    """

    vocab_size: int = 50_257
    context_length: int = 1024
    d_model: int = 768
    n_heads: int = 12
    n_layers: int = 12
    norm_eps: float = 1e-5
    dropout: float = 0.1  # of embeddings
    attention_dropout: float = 0.1  # of attention weights
    residual_dropout: float = 0.1  # of what attention and MLP add

    def __post_init__(self):
        super().__post_init__()
        self.check_heads()
        if not 0 < self.norm_eps < math.inf:
            raise ValueError(f"norm_eps must be a positive number, got {self.norm_eps}")
        for name in ("dropout", "attention_dropout", "residual_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 0 and below 1, got {getattr(self, name)}"
                )

    @property
    def numbers(self):
        V, T, C = self.vocab_size, self.context_length, self.d_model
        return (V + T + 2) * C + self.n_layers * (12 * C * C + 13 * C)

    @property
    def tables(self):
        return 2 * self.n_layers * self.context_length * self.d_model  # a cache of one text


class GPT2(LanguageModel):
    """A decoder-only transformer, pre-norm, with learned positions and tied embeddings."""

    replays = True
    tokenizer = None  # set by `from_pretrained`, if the folder has one

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or GPT2Config()
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.context_length, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.head.weight = self.token_embedding.weight
        initialize(self)

    def forward(self, idx, targets=None, cache=None):
        """Logits (B, T, V) for tokens idx (B, T); with targets (B, T), also the mean cross-entropy.

        With a `new_cache`, idx are the tokens after those that the cache has seen. ValueError for
        more tokens than the context holds, IndexError for a token outside the vocabulary.
        """
        self.check(idx, self.config.context_length, cache.length if cache else 0)
        T = idx.shape[1]
        positions = cache.positions(idx) if cache else mt.arange(T, device=idx.device)
        x = self.token_embedding(idx) + self.position_embedding(positions)  # (B, T, C) + (T, C)
        x = self.dropout(x)
        mask = None
        if cache is None:  # (T, T), true above the diagonal: a token must not see those after it
            mask = mt.ones(T, T, dtype=mt.bool, device=idx.device).triu(1)
        for i, block in enumerate(self.blocks):
            x = block(x, mask, cache and cache.layers[i])  # (B, T, C) -> (B, T, C)
        logits = self.head(self.norm(x))  # (B, T, C) -> (B, T, V)
        return with_loss(logits, targets)

    def new_cache(self, batch_size):
        """An empty cache for `batch_size` texts, to be given to `forward`."""
        config, like = self.config, self.head.weight
        D = config.d_model // config.n_heads
        return nn.KVCache(
            config.n_layers, batch_size, config.n_heads, config.context_length, D, like
        )

    @classmethod
    def from_pretrained(cls, folder):
        """The model in a folder of `transformers`, in evaluation mode: see `published`.

        Its tokenizer, if the folder has `vocab.json` and `merges.txt`, is the `tokenizer` of the
        model. ValueError if a file is damaged or tells of another architecture,
        FileNotFoundError if it is missing.
        """
        config = published.read_config(folder)
        for name, *accepted in ARCHITECTURE:
            published.insist(config, name, *accepted)
        sizes = published.sizes(config, SIZES, GPT2Config)
        published.insist(config, "n_inner", None, 4 * sizes.d_model)
        tensors = published.read_tensors(folder)
        tensors = {name.removeprefix("transformer."): t for name, t in tensors.items()}
        head = tensors.pop("lm_head.weight", None)  # some files have the tied table twice
        if head is not None and not ("wte.weight" in tensors and head.equal(tensors["wte.weight"])):
            raise ValueError("lm_head.weight is another table than wte.weight; GPT2 ties the two")
        masks = ".attn.bias", ".attn.masked_bias"  # causal masks, that older programs kept
        tensors = {name: t for name, t in tensors.items() if not name.endswith(masks)}
        published.expect(tensors, sizes)
        model = cls(sizes)
        published.fill(model, tensors, published_names(model))
        model.tokenizer = published.read_tokenizer(folder, sizes.vocab_size)
        return model.eval()

    def save_pretrained(self, folder, tokenizer=None):
        """Write a folder that `transformers` and `from_pretrained` read."""
        ours = vars(self.config)
        config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
        config |= {name: accepted[0] for name, *accepted in ARCHITECTURE}
        config |= {theirs: ours[name] for theirs, name in SIZES.items()} | {"n_inner": None}
        tensors = published.named(self, published_names(self))
        tensors = {f"transformer.{name}": t for name, t in tensors.items()}
        published.write(folder, config, tensors, tokenizer or self.tokenizer)


class Block(nn.Module):
    """Tokens look at one another, then each thinks for itself; both add to what came in."""

    def __init__(self, config):
        super().__init__()
        C = config.d_model
        self.norm_1 = nn.LayerNorm(C, config.norm_eps)
        self.attention = nn.MultiheadAttention(
            C, config.n_heads, dropout=config.attention_dropout, batch_first=True
        )
        self.norm_2 = nn.LayerNorm(C, config.norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(C, 4 * C), nn.GELU(approximate="tanh"), nn.Linear(4 * C, C)
        )
        self.dropout = nn.Dropout(config.residual_dropout)

    def forward(self, x, mask, cache=None):
        h = self.norm_1(x)
        if cache is None:
            h, _ = self.attention(h, h, h, attn_mask=mask, need_weights=False)
        else:
            h = attend_with_cache(self.attention, h, cache)
        x = x + self.dropout(h)  # (B, T, C)
        return x + self.dropout(self.mlp(self.norm_2(x)))  # (B, T, C) -> (B, T, 4 C) -> (B, T, C)


def initialize(model):
    """Weights from N(0, 0.02²), less for what adds to the stream; biases 0 (GPT-2, section 2.3)."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif "norm" not in name:
            adds = name.endswith(("out_proj.weight", "mlp.2.weight"))  # twice in every block
            std = 0.02 / math.sqrt(2 * model.config.n_layers) if adds else 0.02
            nn.init.normal_(parameter, std=std)


# ---- the published layout ----------------------------------------------------------------------

# What config.json may say that this model is not: its name there, and the values that it may have.
ARCHITECTURE = [
    ("model_type", "gpt2"),
    ("activation_function", "gelu_new", "gelu_pytorch_tanh"),
    ("tie_word_embeddings", True),
    ("scale_attn_weights", True),
    ("scale_attn_by_inverse_layer_idx", False),
    ("reorder_and_upcast_attn", False, True),  # the same numbers, in another order
    ("add_cross_attention", False),
]
SIZES = {
    "vocab_size": "vocab_size", "n_positions": "context_length", "n_embd": "d_model",
    "n_head": "n_heads", "n_layer": "n_layers", "layer_norm_epsilon": "norm_eps",
    "embd_pdrop": "dropout", "attn_pdrop": "attention_dropout", "resid_pdrop": "residual_dropout",
}  # fmt: skip
MODULES = {
    "norm_1": "ln_1", "norm_2": "ln_2", "attention.in_proj_": "attn.c_attn.",
    "attention.out_proj": "attn.c_proj", "mlp.0": "mlp.c_fc", "mlp.2": "mlp.c_proj",
}  # fmt: skip


def published_names(model):
    """Our names of the weights -> the published ones; ".T" after those that are transposed.

    The published matrices are those of a `Conv1D`: (in, out), where nn.Linear has (out, in).
    """
    names = {
        "token_embedding.weight": "wte.weight", "position_embedding.weight": "wpe.weight",
        "norm.weight": "ln_f.weight", "norm.bias": "ln_f.bias", "head.weight": "wte.weight",
    }  # fmt: skip
    for i, block in enumerate(model.blocks):
        for ours, parameter in block.named_parameters():
            theirs = ours
            for module, name in MODULES.items():
                theirs = theirs.replace(module, name)
            names[f"blocks.{i}.{ours}"] = f"h.{i}.{theirs}" + ".T" * (parameter.ndim == 2)
    return names
