"""The numbers of the assistant's training: sizes and steps of each stage."""

from dataclasses import dataclass, fields, replace

from ..ladder.minigpt import MiniGPTConfig
from ..training import TrainingConfig


@dataclass(frozen=True)
class Recipe:
    """The steps and the data of every stage of training. `scaled` makes it shorter or longer."""

    base_steps: int = 700
    sft_steps: int = 300
    lora_steps: int = 350
    character_steps: int = 50
    dpo_steps: int = 20
    reward_steps: int = 120
    weak_steps: int = 400  # at most: it stops when a part of its answers is right
    grpo_steps: int = 150
    sentiment_steps: int = 40
    ppo_steps: int = 40
    examples: int = 12_000  # conversations to learn from
    prompts: int = 500  # that pairs are made from
    held_out: int = 500  # problems that nobody learns from
    d_model: int = 128
    n_layers: int = 3

    def scaled(self, share):
        """The recipe with steps and data multiplied by `share`, at least a few of each.

        ValueError unless it is a positive number.
        """
        if not 0 < share <= 100:
            raise ValueError(f"the scale must be above 0 and at most 100, got {share}")
        least = {"examples": 64, "prompts": 8, "held_out": 30}
        sizes = {"d_model", "n_layers"}
        changed = {
            f.name: max(least.get(f.name, 2), round(getattr(self, f.name) * share))
            for f in fields(self)
            if f.name not in sizes
        }
        if share < 0.1:  # a look at how it works: the model is small, too
            changed |= {"d_model": 32, "n_layers": 2}
        return replace(self, **changed)

    def model(self, vocab_size):
        """The config of the model."""
        return MiniGPTConfig(
            vocab_size=vocab_size, context_length=CONTEXT, d_model=self.d_model, n_heads=4,
            n_layers=self.n_layers, dropout=0.0,
        )  # fmt: skip

    def training(self, steps, seed, **settings):
        """A TrainingConfig of so many steps, evaluated four times."""
        usual = {"warmup": min(20, steps // 10), "eval_every": max(1, steps // 4)}
        return TrainingConfig(steps=steps, seed=seed, **{**usual, **settings})


CONTEXT = 96  # tokens that the model sees at once
WINDOW = 64  # tokens in a window of the base model's text
ANSWER = 16  # tokens of an answer at most, where it is checked
LINE = 40  # tokens of a line that a character says
SPEAKERS = 3  # characters with an adapter of their own
