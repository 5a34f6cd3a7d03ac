"""Low-rank adapters: a few new numbers beside frozen weights.

    W′ = W + (α / r) B A,        A (r, in),  B (out, r),  B = 0 at the start

Instead of all numbers of a matrix, two narrow ones are trained, whose product has rank r. What an
adapter has learned is a small file of its own, and many of them can share one model. (Hu et al.,
arXiv:2106.09685.)

    lora.add(model, LoRAConfig(r=4))           # only A and B are trained from now on
    lora.save(model, "runs/romeo")             # a folder that peft reads, too
    lora.load(other, "runs/romeo")
    lora.merge(model); lora.unmerge(model)     # W becomes W′; and W, to the last bit

A weight is that of a Linear, or the joined matrix of an nn.MultiheadAttention. Each is parametrized
(`nn.utils.parametrize`), so no model knows of adapters.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import microtensor as mt
from microtensor import nn
from microtensor.files.serialization import write_whole
from microtensor.nn.utils import parametrize

from .. import files

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MATRIX = "weight", "in_proj_weight"  # the parameters that an adapter is for


@dataclass(frozen=True)
class LoRAConfig:
    """The rank, α, and the modules: those whose path is, or ends with, one of the targets.

    Without targets: every Linear of the model's blocks, and the joined matrix of every
    nn.MultiheadAttention (not its out_proj, of which peft 0.21 adds the adapter twice).
    """

    r: int = 4
    alpha: float = 8.0
    targets: tuple = ()

    def __post_init__(self):
        if type(self.r) is not int or self.r < 1:
            raise ValueError(f"LoRA: r must be a positive integer, got {self.r!r:.60}")
        if type(self.alpha) not in (int, float) or not 0 < self.alpha < math.inf:
            raise ValueError(f"LoRA: alpha must be a positive number, got {self.alpha!r:.60}")

    def names(self, path):
        """True if a path is one of the targets."""
        return any(path == t or path.endswith(f".{t}") for t in self.targets)


class LowRank(nn.Module):
    """W + scale B A, or W alone while it is switched off."""

    def __init__(self, weight, r, scale):
        super().__init__()
        out, into = weight.shape
        self.lora_A = nn.Parameter(mt.empty(r, into, dtype=weight.dtype, device=weight.device))
        self.lora_B = nn.Parameter(mt.zeros(out, r, dtype=weight.dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scale = scale
        self.merged = None  # while merged: W as it was

    def forward(self, weight):
        return weight if self.merged is not None else weight + self.delta()

    def delta(self):
        return self.scale * (self.lora_B @ self.lora_A)


def add(model, config=None):
    """Give a model an adapter, in place, and freeze everything else; returns the model.

    ValueError if it has one already, or a target names no module with a matrix.
    """
    config = config or LoRAConfig()
    if adapters(model):
        raise ValueError("the model has an adapter already; lora.remove takes it away")
    places = list(targeted(model, config))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for _, module, name in places:
        low = LowRank(getattr(module, name), config.r, config.alpha / config.r)
        parametrize.register_parametrization(module, name, low)
    model.lora_config = config
    return model


def targeted(model, config):
    """(path, module, name of the matrix) of every module that gets an adapter."""
    found, used = [], set()
    for path, module in model.named_modules():
        name = next((n for n in MATRIX if n in module._parameters), None)
        matrix = name and module._parameters[name]
        if matrix is None or matrix.ndim != 2:
            continue
        if config.targets and config.names(path):
            used |= {t for t in config.targets if path == t or path.endswith(f".{t}")}
            found.append((path, module, name))
        elif not config.targets and "blocks" in path.split(".") and not _is_output(model, path):
            found.append((path, module, name))
    unused = [t for t in config.targets if t not in used]
    if unused or not found:
        paths = [p for p, m in model.named_modules() if any(n in m._parameters for n in MATRIX)]
        raise ValueError(
            f"LoRA: {unused[0] if unused else 'blocks'!r:.80} names no module with a matrix; "
            f"there are {', '.join(paths):.300}"
        )
    return found


def _is_output(model, path):
    """True if a path is that of an nn.MultiheadAttention's out_proj."""
    return isinstance(model.get_submodule(path.rpartition(".")[0]), nn.MultiheadAttention)


def adapters(model):
    """{path of a module and its matrix: LowRank} of a model; empty if it has no adapter."""
    return {
        (path, name): parts[0]
        for path, module in model.named_modules()
        if parametrize.is_parametrized(module)
        for name, parts in module.parametrizations.items()
        if isinstance(parts[0], LowRank)
    }


def parameters(model):
    """The parameters of the adapter: what is trained."""
    return [p for low in _own(model).values() for p in (low.lora_A, low.lora_B)]


def share(model):
    """The numbers of the adapter as a share of those of the model without it."""
    own = sum(p.numel() for p in parameters(model))
    return own / (sum(p.numel() for p in model.parameters()) - own)


def _own(model):
    found = adapters(model)
    if not found:
        raise ValueError("the model has no adapter; lora.add gives it one")
    return found


# ---- merging -----------------------------------------------------------------------------------


@mt.no_grad()
def merge(model):
    """Let every weight be W + scale B A, computed once. ValueError if there is no adapter."""
    for (path, name), low in _own(model).items():
        if low.merged is None:
            weight = model.get_submodule(path).parametrizations[name].original
            before = weight.detach().clone()
            weight.copy_(weight + low.delta())
            low.merged = before
    return model


@mt.no_grad()
def unmerge(model):
    """Let every weight be W beside the adapter again, to the last bit."""
    for (path, name), low in _own(model).items():
        if low.merged is not None:
            model.get_submodule(path).parametrizations[name].original.copy_(low.merged)
            low.merged = None
    return model


def remove(model, keep=False):
    """Take the adapter away: the model is as it was, or with `keep` has what was learned in its
    weights. Everything can be trained again."""
    (merge if keep else unmerge)(model)
    for path, name in _own(model):
        module = model.get_submodule(path)
        parametrize.remove_parametrizations(module, name, leave_parametrized=False)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    del model.lora_config
    return model


# ---- files, in peft's layout -------------------------------------------------------------------

# peft wraps a model as base_model.model, and adapts an nn.MultiheadAttention as a whole: its joined
# matrix under the module's own name, its output under base_layer.out_proj, which must be there.
PREFIX = "base_model.model."


def published(path, model):
    """The name that peft gives to the adapter of the matrix at a path, without A or B."""
    if _is_output(model, path):
        attention, _, last = path.rpartition(".")
        return f"{PREFIX}{attention}.base_layer.{last}"
    return PREFIX + path


def tensors(model):
    """The adapter as tensors by peft's names; zeros for an attention's output that has none."""
    found, paths = {}, {path: low for (path, _), low in _own(model).items()}
    for path, low in paths.items():
        found[f"{published(path, model)}.lora_A.weight"] = low.lora_A.detach()
        found[f"{published(path, model)}.lora_B.weight"] = low.lora_B.detach()
        output = f"{path}.out_proj"
        if isinstance(model.get_submodule(path), nn.MultiheadAttention) and output not in paths:
            width, r = model.get_submodule(path).embed_dim, len(low.lora_A)
            found[f"{published(output, model)}.lora_A.weight"] = mt.zeros(r, width)
            found[f"{published(output, model)}.lora_B.weight"] = mt.zeros(width, r)
    return found


def save(model, folder, base=None):
    """Write the adapter as a folder that peft reads: its config as JSON, and its tensors.

    `base` is kept as the name of the model that it belongs to.
    """
    config, folder = model.lora_config, Path(folder)
    paths = [path for path, _ in _own(model)]
    modules = [path for path in paths if not _is_output(model, path)]
    alone = [p for p in paths if _is_output(model, p) and p.rpartition(".")[0] not in paths]
    if alone:
        raise ValueError(f"peft adapts {alone[0]} only with the whole attention: target that, too")
    settings = {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": base,
        "r": config.r, "lora_alpha": config.alpha, "lora_dropout": 0.0, "bias": "none",
        "target_modules": modules, "fan_in_fan_out": False, "inference_mode": True,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    mt.save(tensors(model), folder / WEIGHTS)
    write_whole(folder / CONFIG, (json.dumps(settings, indent=2) + "\n").encode())


def load(model, folder):
    """Give a model the adapter in a folder of peft's layout; returns the model.

    ValueError, which names the folder, if it is damaged, is not for this model, or asks for what is
    not there (dropout, other methods than LoRA, biases). FileNotFoundError if it is missing.
    """
    folder = Path(folder)
    settings, found = files.read_json(folder / CONFIG), files.load(folder / WEIGHTS)
    try:
        config = _config(settings, model, found)
        add(model, config)
        try:
            _fill(model, found)
        except ValueError:
            remove(model)
            raise
    except ValueError as error:
        raise ValueError(f"{folder} holds no adapter for this model: {error}") from None
    return model


def _config(settings, model, found):
    """A LoRAConfig by the settings of a file, and its tensors by name."""
    if not isinstance(settings, dict) or settings.get("peft_type") != "LORA":
        raise ValueError(f"{CONFIG} is not that of a LoRA")
    usual = {"bias": ("none",), "use_dora": (False, None), "use_rslora": (False, None),
             "fan_in_fan_out": (False, None), "modules_to_save": (None, []),
             "rank_pattern": (None, {}), "alpha_pattern": (None, {})}  # fmt: skip
    for name, known in usual.items():
        if settings.get(name, known[0]) not in known:
            raise ValueError(f"{name} {settings[name]!r:.60} is not known here")
    targets = settings.get("target_modules")
    if not isinstance(targets, list) or not all(isinstance(t, str) for t in targets) or not targets:
        raise ValueError(f"target_modules must be a list of names, got {targets!r:.60}")
    config = LoRAConfig(settings.get("r"), settings.get("lora_alpha"), tuple(targets))
    for path, module in model.named_modules():
        output = f"{path}.out_proj"
        if isinstance(module, nn.MultiheadAttention) and config.names(path):
            B = found.get(f"{published(output, model)}.lora_B.weight") if found else None
            if isinstance(B, mt.Tensor) and bool((B != 0).any()):
                targets = [*targets, output]
    return LoRAConfig(config.r, config.alpha, tuple(targets))


@mt.no_grad()
def _fill(model, found):
    """Copy tensors by peft's names into a new adapter. ValueError unless they are just those."""
    ours = tensors(model)
    if not isinstance(found, dict) or found.keys() != ours.keys():
        names = set(found) ^ set(ours) if isinstance(found, dict) else {"tensors"}
        raise ValueError(f"{sorted(map(str, names))[0]:.120} is missing, or not asked for")
    for name, tensor in ours.items():
        theirs = found[name]
        if not isinstance(theirs, mt.Tensor) or theirs.shape != tensor.shape:
            raise ValueError(f"{name:.120} is not of shape {tuple(tensor.shape)}")
        if not theirs.is_floating_point() or not bool(theirs.isfinite().all()):
            raise ValueError(f"{name:.120} does not hold finite floating-point numbers")
        tensor.copy_(theirs)
