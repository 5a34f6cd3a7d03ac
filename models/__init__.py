"""Language models on microtensor, with what they need: tokenizers, text, sampling, training."""

from .corpus import load_corpus
from .tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer

MODELS = {  # class -> its file, which is imported when it is asked for
    "LookupTable": "lookup_table",
    "NGram": "ngram",
    "Bigram": "bigram",
    "TinyLM": "tiny_lm",
    "Recurrent": "recurrent",
    "TinyAttention": "tiny_attention",
    "TinyTransformer": "tiny_transformer",
    "ModernBlock": "modern_block",
    "MiniGPT": "minigpt",
    "ModernMiniGPT": "modern_minigpt",
    "GPT2": "gpt2",
}


def __getattr__(name):
    if (model := name.removesuffix("Config")) in MODELS:
        from importlib import import_module

        return getattr(import_module(f".{MODELS[model]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
