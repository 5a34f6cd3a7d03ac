"""The models that a checkpoint may hold: those of this package, and those that were registered."""

from importlib import import_module

from ..paths import MODELS

ARCHITECTURES = {}  # models that are not in this package: class name -> (class, its config)
WITHOUT_WEIGHTS = "LookupTable", "NGram"  # which no checkpoint holds


def register(model_class, config_class):
    """Let `model_from` make a model of your own: `model_class(config_class(**settings))`."""
    ARCHITECTURES[model_class.__name__] = model_class, config_class


def architecture(name):
    """A class of models and that of its config, by name. ValueError if there is none."""
    if name in MODELS and name not in WITHOUT_WEIGHTS:
        module = import_module(f"models.{MODELS[name]}")
        return getattr(module, name), getattr(module, f"{name}Config")
    if name not in ARCHITECTURES:
        raise ValueError(
            f"the checkpoint holds a {name!r:.80}, which is not among {', '.join(MODELS)}; "
            "models.training.register makes it known"
        )
    return ARCHITECTURES[name]
