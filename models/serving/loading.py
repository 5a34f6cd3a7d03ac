"""Models by name, from whatever a person has: each is read once, and checked before it is served.

A checkpoint of a training, the counts of an n-gram, a quantized file (`python -m models quantize`),
a folder in GPT-2's or Llama's layout, and adapters, which are merged into a copy of their model.
"""

from dataclasses import dataclass
from pathlib import Path

import microtensor as mt
from microtensor.quantization import is_quantized

from .. import files
from ..post_training import lora
from ..pretrained import llama, published
from ..pretrained.gpt2 import GPT2
from ..training import counts, load_newest, small
from ..training.checkpoints import load_checkpoint
from ..training.trainer import model_from


@dataclass(frozen=True)
class ServedModel:
    """A model that answers, its tokenizer, and when its file was made, in seconds since 1970."""

    name: str
    model: object
    tokenizer: object
    created: int


def load_served(path, tell=print, name=None):
    """The model at a path: a file, or a folder. ValueError or FileNotFoundError if there is none.

    In a folder of a training, the newest checkpoint is meant. Its name is that of its folder.
    """
    path = Path(path)
    model, tokenizer = model_at(path, tell)
    if tokenizer is None:
        raise ValueError(f"{path} has no tokenizer that this program reads: vocab.json, merges.txt")
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(f"{path}: the tokenizer has more tokens than the model")
    folder = path if path.is_dir() else path.parent
    name = name or (folder.resolve().name if path.is_dir() or path.stem in USUAL else path.stem)
    return ServedModel(name or path.stem, model.eval(), tokenizer, int(path.stat().st_mtime))


USUAL = "checkpoint", "best", "int8", "int4"  # names of files that say nothing of the model


def load_adapter(path, base, tell=print):
    """The model at `base` with the adapter of a folder, in peft's layout, merged into it."""
    path, served = Path(path), load_served(base, tell)
    for module in served.model.modules():  # a quantized weight cannot take up an adapter
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and is_quantized(parameter):
                numbers = mt.from_numpy(parameter._data.wide().copy())
                setattr(module, name, mt.nn.Parameter(numbers))
    model = lora.remove(lora.load(served.model, path), keep=True)
    name = path.resolve().name
    return ServedModel(name, model.eval(), served.tokenizer, int(path.stat().st_mtime))


def model_at(path, tell=print):
    """The model at a path, and its tokenizer, which a published folder may lack: None.

    ValueError or FileNotFoundError if there is none.
    """
    path = Path(path)
    folder = path.is_dir()
    if folder:
        if (path / "config.json").exists():
            return _published(path)
        path = path / "checkpoint.safetensors"
        if not path.exists():
            raise ValueError(f"{path.parent} has no checkpoint.safetensors and no config.json")
    kind = files.format_of(path)
    if folder and kind != counts.FORMAT:
        return load_newest(path, tell, model_from)
    if kind == counts.FORMAT:
        found = counts.load_counts(path)
        return found.model, found.tokenizer
    if kind == small.FORMAT:
        return small.load_small(path)
    return load_checkpoint(path, model_from)


def _published(folder):
    """The model in a folder of `transformers`, and its tokenizer or None."""
    kind = published.read_config(folder).get("model_type", "gpt2")
    if kind == "llama":
        model = llama.from_pretrained(folder)
        return model, published.read_tokenizer(folder, model.config.vocab_size)
    model = GPT2.from_pretrained(folder)
    return model, model.tokenizer
