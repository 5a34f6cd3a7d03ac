"""The base class of every model of the ladder.

A language model predicts the next token, appends it, and repeats; everything else is how it learns
to predict. So all of them answer the same two calls: `forward(idx, targets=None)` gives a logit for
every token that may come next, at every position, and with targets the loss; `generate` appends.
"""

from dataclasses import dataclass, fields

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn

from ..generation import sampling
from ..generation.sampling import check_prompt as check_prompt  # the rungs get it from here

LARGEST = 2**64 - 1  # of an integer among the settings


KINDS = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}


def check_kinds(settings):
    """ValueError unless each field of a dataclass has the kind of value that it is declared with.

    A float may be an integer, too; neither is True or False.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        wanted = KINDS.get(field.type)
        if wanted and type(value) is not field.type and (field.type, type(value)) != (float, int):
            raise ValueError(f"{field.name} must be {wanted}, got {value!r:.60}")
        if type(value) is int and abs(value) > LARGEST:
            raise ValueError(f"{field.name} must be below 2**64, got {value!r:.60}")


@dataclass(frozen=True)
class Config:
    """The sizes of a model. ValueError for sizes that make none.

    `context_length` is how many of the last tokens it can look back on.
    """

    vocab_size: int = 256
    context_length: int = 64

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (type(value) is not int or not 1 <= value <= LARGEST):
                raise ValueError(f"{field.name} must be a positive integer, got {value!r:.60}")
        check_kinds(self)

    numbers = None  # how many the parameters of a model of these sizes are
    tables = 0  # how many numbers the model keeps beside them

    def check_heads(self):
        """ValueError unless every head gets as many channels."""
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads must divide d_model: {self.d_model} channels do not go into "
                f"{self.n_heads} heads"
            )


class LanguageModel(nn.Module):
    """A module with a `config`, that answers for tokens (B, T) with logits (B, T, V)."""

    slides = False  # whether it reads texts of any length, its context sliding along
    replays = False  # whether with a cache every single token takes the same operations

    def generate(self, idx, max_new_tokens, temperature=1.0, **options):
        """Continue the prompts idx (B, T), token by token: see `sampling.generate`."""
        return sampling.generate(self, idx, max_new_tokens, temperature, **options)

    def check(self, idx, limit=None, start=0):
        """ValueError unless idx are tokens (B, T), with the `start` before them at most `limit`."""
        name = type(self).__name__
        if idx.ndim != 2:
            raise ValueError(f"{name}: tokens (B, T) are needed, got shape {tuple(idx.shape)}")
        if limit is not None and start + idx.shape[1] > limit:
            raise ValueError(
                f"{name}: {start + idx.shape[1]} tokens do not fit a context of {limit}"
            )


def apart(segments):
    """The mask that keeps texts that share a row from attending to one another, for `segments` (B,
    T): the number of the text that each token is of.

    Gives the places (B, T) of the tokens in their own texts, and the mask (B, T, T), true where a
    token must not look: at later ones, and at those of other texts.
    """
    T = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]  # (B, T, T)
    seen = same & mt.ones(T, T, dtype=mt.bool, device=segments.device).tril()
    return seen.sum(-1) - 1, seen.logical_not()


def with_loss(logits, targets):
    """Logits (B, T, V), or with targets (B, T) the pair of them and their mean cross-entropy."""
    if targets is None:
        return logits
    return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())  # (B T, V), (B T)
