"""A task of language: speaking as a character of the plays.

    <|system|>You are ROMEO.<|end|><|user|>the line before<|end|><|assistant|>his line<|end|>

No answer is right or wrong here, so a model is judged by perplexity, e to the mean of −log p of the
characters that were really said, for each speaker apart, on speeches held out.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass

import microtensor as mt

from ..generation.sampling import evaluating
from .conversations import padded
from .sft import sft_loss

CUE = 24  # characters of the line before, its last ones


@dataclass(frozen=True)
class Line:
    """A line of a play: its speaker, its words, and the end of the line before it."""

    speaker: str
    cue: str
    text: str

    def prompt(self, speaker=None):
        """The conversation up to the line, or up to what another speaker would say."""
        system = {"role": "system", "content": f"You are {speaker or self.speaker}."}
        return [system, {"role": "user", "content": self.cue}]

    def conversation(self, speaker=None):
        return [*self.prompt(speaker), {"role": "assistant", "content": self.text}]


def lines_of(text, longest=40):
    """The lines of plays in the form of `corpus.speeches`: (to learn from, held out), two lists.

    Of every five speeches of a person, the last is held out. Lines above `longest` are left out.
    """
    learned, held_out, counts, before = [], [], Counter(), ""
    for speech in re.split(r"\n\s*\n", text):
        name, _, spoken = speech.strip().partition(":\n")
        if not spoken or not re.fullmatch(r"[^\n:]{1,30}", name):
            continue
        name = name.upper()
        counts[name] += 1
        part = held_out if counts[name] % 5 == 0 else learned
        for line in filter(None, map(str.strip, spoken.split("\n"))):
            if before and len(line) <= longest and len(name) <= 12:
                part.append(Line(name, before[-CUE:], line))
            before = line
    return learned, held_out


def most_heard(lines, count):
    """The speakers with the most lines."""
    return [name for name, _ in Counter(line.speaker for line in lines).most_common(count)]


@mt.no_grad()
def perplexity(model, examples, batch_size=64):
    """e to the mean of −log p over the assistant's tokens of examples (ids, mask)."""
    total = tokens = 0
    with evaluating(model):
        for start in range(0, len(examples), batch_size):
            batch = padded(examples[start : start + batch_size])
            count = int((batch.targets >= 0).sum())
            total += sft_loss(model, batch).item() * count
            tokens += count
    return math.exp(total / tokens)
