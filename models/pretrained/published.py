"""Folders of published models, as `transformers` reads and writes them.

config.json               the sizes
model.safetensors         the weights by name (or in parts, listed in an index; or, as older
                          programs wrote them, in a pytorch_model.bin)
vocab.json, merges.txt    the tokenizer, if it is GPT-2's kind
"""

import json
from pathlib import Path

import microtensor as mt
from microtensor.files.serialization import save_file, write_whole

from .. import files
from ..text.tokenizers import load_tokenizer
from .fitting import check_size

WEIGHTS = "model.safetensors"


def read_config(folder):
    """The dict in config.json. ValueError if it is damaged."""
    return _json(Path(folder, "config.json"))


def insist(config, name, *accepted):
    """ValueError unless a config says for `name`, or does not say, what our model does."""
    value = config.get(name, accepted[0])
    if not any(value == a and type(value) is type(a) for a in accepted):
        wanted = " or ".join(json.dumps(a) for a in accepted)
        raise ValueError(f"config.json has {name} {value!r:.80}; this model knows {wanted} only")


def sizes(config, names, config_class):
    """Our config, of the numbers that config.json has under its own `names`: {theirs: ours}.

    ValueError for numbers that make no model.
    """
    found = {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
    for theirs, ours in names.items():
        kind = config_class.__dataclass_fields__[ours].type
        if kind is float and type(found.get(ours)) is int and abs(found[ours]) < 2**64:
            found[ours] = float(found[ours])
        if ours in found and type(found[ours]) is not kind:
            raise ValueError(f"config.json has {theirs} {found[ours]!r:.80}, which is no number")
    return config_class(**found)


def read_tensors(folder):
    """The weights by name. ValueError for a damaged file, FileNotFoundError if there is none."""
    folder = Path(folder)
    index = folder / f"{WEIGHTS}.index.json"
    if (folder / WEIGHTS).exists() or not index.exists():
        old = folder / "pytorch_model.bin"
        path = old if old.exists() and not (folder / WEIGHTS).exists() else folder / WEIGHTS
        return _tensors(path)
    places = _json(index).get("weight_map")
    if not isinstance(places, dict):
        raise ValueError(f"{index} has no weight_map")
    parts = {}  # the names that each file has
    for name, part in places.items():
        # no path that leads out of the folder, and no name that no file can have
        if type(part) is not str or Path(part).name != part or not part.isprintable():
            raise ValueError(f"{index} names {part!r:.80}, which is no file of the folder")
        parts.setdefault(part, set()).add(name)
    tensors = {}
    for part, names in sorted(parts.items()):
        found = _tensors(folder / part)
        if found.keys() != names:
            other = sorted(found.keys() ^ names)[0]
            raise ValueError(f"{folder / part} and {index.name} do not agree on {other!r:.80}")
        tensors |= found
    return tensors


def read_tokenizer(folder, vocab_size):
    """The tokenizer of a folder, or None if it has none of GPT-2's kind.

    ValueError if it gives ids that are not below `vocab_size`.
    """
    if not (Path(folder, "vocab.json").exists() and Path(folder, "merges.txt").exists()):
        return None
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size > vocab_size:
        raise ValueError(
            f"the tokenizer in {folder} has {tokenizer.vocab_size:,} tokens, the model "
            f"{vocab_size:,}"
        )
    return tokenizer


def expect(tensors, config):
    """ValueError unless the weights are as many as a config's: asked before a model is made."""
    found = sum(t.numel() for t in tensors.values())
    if found != config.numbers:
        raise ValueError(
            f"the weights do not fit the config: there are {found:,} numbers, not "
            f"{config.numbers:,}"
        )
    check_size(tensors, config)


def fill(model, tensors, names):
    """Give each parameter of a model its tensor: `names` has theirs for each of ours.

    `Name.T` is the transposed. ValueError for tensors that are missing, left over, or of another
    shape than config.json promised.
    """
    wanted = {theirs.removesuffix(".T") for theirs in names.values()}
    missing, unknown = sorted(wanted - set(tensors)), sorted(set(tensors) - wanted)
    if missing or unknown:
        what = f"there is no {missing[0]!r}" if missing else f"{unknown[0]!r} has no place in it"
        raise ValueError(
            f"the weights are not those of a {type(model).__name__} of this config: {what} "
            f"({len(missing)} missing, {len(unknown)} left over)"
        )
    state = {}
    for ours, parameter in model.state_dict().items():
        theirs = names[ours]
        tensor = tensors[theirs.removesuffix(".T")]
        if theirs.endswith(".T") and tensor.ndim == 2:
            tensor = tensor.t()
        if tensor.shape != parameter.shape or not tensor.is_floating_point():
            raise ValueError(
                f"the weights do not fit the config: {theirs!r} is {tuple(tensor.shape)} "
                f"{tensor.dtype}, and should be {tuple(parameter.shape)} of floats"
            )
        state[ours] = tensor
    model.load_state_dict(state)


def named(model, names):
    """The parameters of a model under published names."""
    tensors = {}
    for ours, tensor in model.state_dict().items():
        theirs = names[ours]
        tensors[theirs.removesuffix(".T")] = tensor.t() if theirs.endswith(".T") else tensor
    return tensors


def write(folder, config, tensors, tokenizer=None):
    """Write a folder. Each file is written whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS)
    write_whole(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())
    if tokenizer is not None:
        tokenizer.save(folder)


def _json(path):
    value = files.read_json(path)
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}, not an object with names")
    return value


def _tensors(path):
    tensors = files.load(path)
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(t, mt.Tensor) for name, t in tensors.items()
    ):
        raise ValueError(f"{path} is not a file of tensors by name")
    return tensors
