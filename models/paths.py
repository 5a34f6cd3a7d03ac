"""The places of everything in `models`: the file of each class, and older import paths.

`models` had its files side by side before it had rooms. Their import paths stand for the modules in
the rooms, by the mechanism of `microtensor.compat.paths`: the very same module object.
"""

import importlib
import sys

from microtensor.compat.paths import Finder

MODELS = {  # class -> its module below models, which is imported when it is asked for
    "LookupTable": "ladder.lookup_table",
    "NGram": "ladder.ngram",
    "Bigram": "ladder.bigram",
    "TinyLM": "ladder.tiny_lm",
    "Recurrent": "ladder.recurrent",
    "TinyAttention": "ladder.tiny_attention",
    "TinyTransformer": "ladder.tiny_transformer",
    "ModernBlock": "ladder.modern_block",
    "MiniGPT": "ladder.minigpt",
    "ModernMiniGPT": "ladder.modern_minigpt",
    "GPT2": "pretrained.gpt2",
}
ROOMS = {  # files that were loose before, by the room they are in now
    "generation": ("sampling",),
    "text": ("bpe", "corpus", "data", "tokenizers", "word2vec"),
    "ladder": (
        "lookup_table", "ngram", "bigram", "tiny_lm", "recurrent", "tiny_attention",
        "tiny_transformer", "modern_block", "minigpt", "modern_minigpt", "training_config",
    ),
    "pretrained": ("fitting", "gpt2", "llama", "published"),
    "training": ("architectures", "checkpoints", "mistakes", "reporting", "schema"),
    "inside": ("embedding_view", "token_view"),
    "cli": ("command_line", "program", "showing"),
}  # fmt: skip
PATHS = {file: f"{room}.{file}" for room, files in ROOMS.items() for file in files}
PATHS["language_model"] = "ladder.base"
ROOT = __name__.partition(".")[0]


def real_name(name):
    """The module that an older import path stands for; None if it is none."""
    root, _, path = name.partition(".")
    return f"{ROOT}.{PATHS[path]}" if root == ROOT and path in PATHS else None


def place_loaded():
    """Let the older paths of modules that are loaded be theirs."""
    for path, real in PATHS.items():
        if module := sys.modules.get(f"{ROOT}.{real}"):
            sys.modules[f"{ROOT}.{path}"] = module
            vars(sys.modules[ROOT]).setdefault(path, module)


def attribute(name):
    """The value of `models.name`: a class, its config, or a module by its older path."""
    if (model := name.removesuffix("Config")) in MODELS:
        return getattr(importlib.import_module(f"{ROOT}.{MODELS[model]}"), name)
    if name in PATHS:
        return importlib.import_module(f"{ROOT}.{name}")
    raise AttributeError(f"module {ROOT!r} has no attribute {name!r}")


class Older(Finder):
    """Answers the import of older paths, and `python -m` with those that were commands."""

    def find_spec(self, name, path=None, target=None):
        spec = super().find_spec(name, path, target)
        if spec:
            spec.origin = __file__
        return spec

    def get_code(self, name):
        """`python -m models.minigpt` is `python -m models minigpt`."""
        command = name.rpartition(".")[2]
        main = f"from {ROOT}.cli.commands import main"
        text = f"import sys\n{main}\nsys.exit(main([{command!r}, *sys.argv[1:]]))"
        return compile(text, __file__, "exec")


def install():
    """Find older import paths from now on, after all real files."""
    sys.meta_path.append(Older(real_name, place_loaded))
