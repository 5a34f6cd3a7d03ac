"""Quantized models as files: what a checkpoint holds of a model, and nothing of its training."""

from dataclasses import asdict
from pathlib import Path

import microtensor as mt
from microtensor.quantization import load_quantized

from .. import files
from ..pretrained.fitting import check_size
from ..text.tokenizers import tokenizer_from
from .architectures import architecture
from .schema import check_weights, insist, is_dict, is_settings, made, within

FORMAT = "a quantized microtensor language model, 1"


def save_small(model, tokenizer, about, path):
    """Write a quantized model with its tokenizer, whole or not at all."""
    state = {
        "format": FORMAT,
        "architecture": type(model).__name__,
        "config": asdict(model.config),
        "tokenizer": tokenizer.settings(),
        "about": about,
        "model": model.state_dict(),
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    files.save(state, path)


def load_small(path):
    """The model and the tokenizer that `save_small` wrote, and nothing else.

    ValueError, which names the file, if it is damaged.
    """
    state = files.load(path)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path} is not a quantized language model")
    return within(str(path), _small, state)


def _small(state):
    for key in ("config", "tokenizer", "about"):
        insist(is_settings(state.get(key)), key, state.get(key), "plain values by name")
    weights, name = state.get("model"), state.get("architecture")
    insist(type(name) is str, "architecture", name, "the name of a model's class")
    whole = is_dict(weights) and weights and all(
        type(k) is str and isinstance(t, mt.Tensor) for k, t in weights.items()
    )  # fmt: skip
    insist(whole, "model", weights, "tensors by name")
    model_class, config_class = architecture(name)
    config = made("config", config_class, state["config"])
    tokenizer = within("tokenizer", tokenizer_from, state["tokenizer"])
    size = getattr(config, "vocab_size", tokenizer.vocab_size)
    insist(size >= tokenizer.vocab_size, "vocab_size", size, "as large as its tokenizer's")
    # a byte of int4 holds two numbers: so the weights count twice
    check_size({**weights, **{f"{k}, again": t.clone() for k, t in weights.items()}}, config)
    check_weights(weights)
    model = model_class(config)
    try:
        load_quantized(model, weights)
    except RuntimeError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return model.eval(), tokenizer
