"""The file of an n-gram: what it has counted, its tokenizer, and what it was counted from.

As of every file, nothing in it is believed: what is used later has its kind and fits together.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import microtensor as mt

from .. import files
from ..ladder.ngram import NGram, NGramConfig
from ..text.tokenizers import tokenizer_from
from .checkpoints import best_of, numbered
from .schema import insist, is_settings, made, within

FORMAT = "a microtensor n-gram, 1"
KINDS = {
    "data": (str, type(None)), "tokenizer": (str,), "held_out": (float,), "text": (str,),
    "sha256": (str,),
}  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """A model that has counted, its tokenizer, and plain values that say what it counted."""

    model: NGram
    tokenizer: object
    about: dict


def save_counts(model, tokenizer, about, path):
    """Write what an n-gram has counted, whole or not at all; checkpoints of other models go."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    state = {
        "format": FORMAT,
        "config": asdict(model.config),
        "tokenizer": tokenizer.settings(),
        "about": about,
        "keys": [mt.from_numpy(keys) for keys in model.keys],
        "counts": [mt.from_numpy(counts.astype(np.int64)) for counts in model.counts],
    }
    files.save(state, path)
    for other in (*numbered(path).values(), best_of(path)):
        other.unlink(missing_ok=True)


def is_counts(path):
    """True if there is the file of an n-gram."""
    return files.format_of(path) == FORMAT


def load_counts(path):
    """The `Counts` that `save_counts` wrote. ValueError, which names the file, if it is no such."""
    state = files.load(path)
    if not isinstance(state, dict) or type(state.get("format")) is not str:
        raise ValueError(f"{path} is not what an n-gram has counted")
    if state["format"] != FORMAT:
        found = state.get("architecture")
        what = f"a {found:.60}" if type(found) is str else "another kind of file"
        raise ValueError(f"{path} holds {what}, not an NGram")
    return within(str(path), _counts, state)


def _counts(state):
    for key in ("config", "tokenizer", "about"):
        insist(is_settings(state.get(key)), key, state.get(key), "plain values by name")
    config = made("config", NGramConfig, state["config"])
    tokenizer, about = within("tokenizer", tokenizer_from, state["tokenizer"]), state["about"]
    size, V = tokenizer.vocab_size, config.vocab_size
    insist(size == V, "vocab_size", V, f"that of its tokenizer, {size}")
    for name, kinds in KINDS.items():
        insist(type(about.get(name, 0)) in kinds, f"about: {name}", about.get(name), "what it was")
    repeats = about.get("repeats", 1)
    insist(type(repeats) is int and 1 <= repeats < 2**20, "repeats", repeats, "a number of times")
    model, rows = NGram(config), 1
    for name in ("keys", "counts"):
        tensors = state.get(name)
        whole = type(tensors) is list and len(tensors) == config.n and all(map(_is_row, tensors))
        insist(whole, name, tensors, f"a list of {config.n} rows of whole numbers")
        setattr(model, name, [tensor.numpy() for tensor in tensors])
    for keys, counts in zip(model.keys, model.counts):
        fits = (
            len(keys) == len(counts)
            and counts.min() > 0
            and (keys[1:] > keys[:-1]).all()
            and keys[0] >= 0
            and keys[-1] < rows * V
        )
        insist(fits, "keys", mt.from_numpy(keys), "the rows of the text in their order")
        rows = len(keys)
    return Counts(model, tokenizer, about)


def _is_row(tensor):
    is_row = isinstance(tensor, mt.Tensor) and tensor.dtype is mt.int64 and tensor.ndim == 1
    return is_row and len(tensor) > 0
