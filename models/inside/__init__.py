"""Looking inside a model while it computes, and pages that show what was found."""

from .listening import (
    Heads, Listening, attention, ends_alike, last_logits, last_row, logit_lens, logits_of, replaced,
    saliency, stack_of, without,
)  # fmt: skip
