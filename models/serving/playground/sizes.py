"""The choices of the playground, and one sentence for each that is not possible."""

import math
import os
from dataclasses import asdict, dataclass

from ...ladder.minigpt import MiniGPTConfig


@dataclass(frozen=True)
class Slider:
    """A number to be chosen, from `low` to `high` in steps."""

    label: str
    low: float
    high: float
    step: float
    usual: float
    about: str


MODEL = {
    "n_layers": Slider("Layers", 1, 8, 1, 2, "blocks, one on top of the other"),
    "n_heads": Slider("Heads", 1, 8, 1, 4, "attention heads in each block"),
    "d_model": Slider("Width", 16, 256, 16, 64, "numbers that stand for a token"),
    "context_length": Slider("Context", 8, 256, 8, 64, "tokens that the model sees at once"),
    "dropout": Slider("Dropout", 0, 0.5, 0.05, 0, "share of attention left out in training"),
}
TEXT = {"vocabulary": Slider("Vocabulary", 272, 2000, 16, 512, "different tokens")}
TRAINING = {
    "lr": Slider("Learning rate", 0.0001, 0.02, 0.0001, 0.004, "how far a step goes"),
    "batch_size": Slider("Batch size", 1, 128, 1, 16, "windows of text in a step"),
}
SAMPLING = {
    "temperature": Slider("Temperature", 0, 2, 0.05, 0.8, "0: always the most probable"),
    "top_k": Slider("Top-k", 0, 100, 1, 0, "only the k most probable; 0: all"),
    "top_p": Slider("Top-p", 0.05, 1, 0.05, 1, "the most probable that sum to p; 1: all"),
    "min_p": Slider("Min-p", 0, 1, 0.05, 0, "at least p times as probable as the first; 0: all"),
}
WHOLE = {*MODEL, *TEXT, "batch_size", "top_k"} - {"dropout"}


def usual(sliders):
    """{name: number} before anybody chose."""
    return {name: number(name, slider.usual) for name, slider in sliders.items()}


def described():
    """The sliders for the page, in groups."""
    groups = {"model": MODEL | TEXT, "training": TRAINING, "sampling": SAMPLING}
    return {
        group: {name: asdict(slider) for name, slider in sliders.items()}
        for group, sliders in groups.items()
    }


def number(name, value):
    return int(value) if name in WHOLE else float(value)


def checked(sliders, chosen, before):
    """`before`, with what was chosen. ValueError for a number that no slider gives."""
    result = dict(before)
    for name, value in chosen.items():
        if name not in sliders:
            raise ValueError(f"There is no setting {name!r:.40}.")
        slider = sliders[name]
        kind = int if name in WHOLE else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
            raise ValueError(f"{slider.label} must be a number, got {value!r:.40}.")
        if not slider.low <= value <= slider.high:
            raise ValueError(
                f"{slider.label} must be within {slider.low:g} … {slider.high:g}, "
                f"got {value!r:.40}."
            )
        result[name] = number(name, value)
    return result


def config(settings, vocab_size):
    """The sizes of a MiniGPT. ValueError if the heads do not divide the width."""
    width, heads = settings["d_model"], settings["n_heads"]
    if width % heads:
        fitting = [n for n in range(1, int(MODEL["n_heads"].high) + 1) if width % n == 0]
        raise ValueError(
            f"{heads} heads cannot share a width of {width} evenly; "
            f"{', '.join(map(str, fitting))} can."
        )
    return MiniGPTConfig(vocab_size, **{name: settings[name] for name in MODEL})


def parts(config):
    """The number of parameters in each part of a MiniGPT: {part: number}."""
    V, T, C = config.vocab_size, config.context_length, config.d_model
    L = config.n_layers
    return {
        "token embedding": V * C,
        "position embedding": T * C,
        "attention": L * (4 * C * C + 4 * C),
        "MLP": L * (8 * C * C + 5 * C),
        "norms": (2 * L + 1) * 2 * C,
        "head": V * C,
    }


def check_memory(config, batch_size):
    """ValueError if a step of training would take more than half of the machine's free memory."""
    T, C, L, V = config.context_length, config.d_model, config.n_layers, config.vocab_size
    token = L * (24 * C + 3 * config.n_heads * T) + 4 * V  # numbers that a step keeps for a token
    needed = 4 * (batch_size * T * token + 4 * config.numbers)
    free = available_memory()
    if needed > free / 2:
        raise ValueError(
            f"These sizes need about {needed / 1e9:.1f} GB for a step, and this machine has "
            f"{free / 1e9:.1f} GB free: choose a smaller batch, a shorter context or fewer layers."
        )


def available_memory():
    """Bytes of memory that are free; 4 GB where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30
