"""The ladder: every rung that learns, with the recipe it is trained by.

lookup_table → ngram → bigram → tiny_lm → recurrent → tiny_attention → tiny_transformer →
modern_block → minigpt → modern_minigpt

Each is one file of this folder, to be read from top to bottom, and each begins where the one before
ends. `lookup_table` was written by hand and `modern_block` only shows its steps; the others learn,
and are here, so that one trainer, one command line and one table (demos/ladder.py) serve them all.
"""

import math
from dataclasses import dataclass, field

from .bigram import Bigram, BigramConfig
from .minigpt import MiniGPT, MiniGPTConfig
from .modern_minigpt import ModernMiniGPT, ModernMiniGPTConfig
from .ngram import NGram, NGramConfig
from .recurrent import Recurrent, RecurrentConfig
from .tiny_attention import TinyAttention, TinyAttentionConfig
from .tiny_lm import TinyLM, TinyLMConfig
from .tiny_transformer import TinyTransformer, TinyTransformerConfig
from .training_config import TrainingConfig

WINDOW = 64  # tokens in a window of text, for models that read texts of any length


@dataclass(frozen=True)
class Rung:
    """A model of the ladder: its file, what a person may choose, and how it is trained."""

    name: str
    model: type
    config: type
    sizes: tuple = ()  # fields of the config
    recipe: dict = field(default_factory=dict)  # what differs from TrainingConfig's own

    @property
    def counts(self):
        """True if it learns by counting, in one pass and without a gradient."""
        return self.model is NGram

    def build(self, vocab_size, **sizes):
        """A new model."""
        return self.model(self.config(vocab_size=vocab_size, **sizes))

    def training(self, **settings):
        """A TrainingConfig by this recipe, and `settings`, which count more."""
        recipe = {**self.recipe, **settings}
        if "steps" in settings and "warmup" not in settings:
            usual = recipe.get("warmup", TrainingConfig.warmup)
            recipe["warmup"] = min(usual, settings["steps"] // 10)
        return TrainingConfig(**recipe)


def window(model):
    """The number of tokens in a model's window of training text."""
    return WINDOW if getattr(model, "slides", False) else model.config.context_length


TRANSFORMER = ("context_length", "d_model", "n_heads", "n_layers")

RUNGS = {
    rung.name: rung
    for rung in (
        Rung("ngram", NGram, NGramConfig, ("n",)),
        Rung("bigram", Bigram, BigramConfig, (), {"steps": 1000, "lr": 0.1, "warmup": 0}),
        Rung(
            "tiny_lm", TinyLM, TinyLMConfig, ("context_length", "d_embedding", "d_hidden"),
            {"steps": 1000, "optimizer": "sgd", "lr": 2.0, "warmup": 0, "weight_decay": 0.0,
             "clip": math.inf},
        ),
        Rung(
            "recurrent", Recurrent, RecurrentConfig, ("cell", "d_model", "n_layers"),
            {"steps": 1000, "lr": 4e-3},
        ),
        Rung(
            "tiny_attention", TinyAttention, TinyAttentionConfig, ("context_length", "d_model"),
            {"steps": 1000, "lr": 4e-3},
        ),
        Rung(
            "tiny_transformer", TinyTransformer, TinyTransformerConfig, TRANSFORMER,
            {"steps": 1000, "lr": 4e-3},
        ),
        Rung("minigpt", MiniGPT, MiniGPTConfig, (*TRANSFORMER, "dropout")),
        Rung(
            "modern_minigpt", ModernMiniGPT, ModernMiniGPTConfig,
            (*TRANSFORMER, "n_kv_heads", "d_mlp", "rope_theta"),
        ),
    )
}  # fmt: skip
