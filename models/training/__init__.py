"""Training a language model: the loop, its checkpoints, and what a person sees of it."""

from .memory import check_memory
from .trainer import (
    ARCHITECTURES, NonFiniteLoss, Record, Trainer, TrainingConfig, architecture, differences,
    evaluate, load_checkpoint, load_newest, model_from, register,
)  # fmt: skip
