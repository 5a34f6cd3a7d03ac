"""Finding and Report: the results of `diagnose`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

WIDTH = 100  # columns of a terminal
KINDS = {
    "nan": "the loss is not a number",
    "targets": "the targets are not the next tokens",
    "mask": "no causal mask: a token sees what comes after it",
    "softmax": "a softmax over the wrong dimension",
    "sign": "a wrong sign",
    "broadcast": "broadcasting is not undone in backward",
    "derivative": "a wrong derivative",
    "accumulate": "a gradient replaces another where they should add",
    "missing": "no gradient arrives",
    "alike": "weights that are all alike, and stay so",
    "dropout": "evaluation depends on chance",
    "zero_grad": "old gradients are still there: zero_grad is missing",
    "lr": "the learning rate is too high",
}


@dataclass(frozen=True)
class Finding:
    """One mistake: its kind (a key of KINDS), its place, and the evidence."""

    kind: str
    where: str
    evidence: str

    def __str__(self):
        return f"{KINDS[self.kind]}\n" + _pair("where", self.where) + _pair("seen", self.evidence)


@dataclass
class Report:
    """The findings of `diagnose`, and the sentences that were tested or could not be."""

    model: str
    findings: list = field(default_factory=list)
    held: list = field(default_factory=list)
    untested: list = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """True if no mistake was found."""
        return not self.findings

    @property
    def kinds(self) -> list[str]:
        """The kinds of the findings: {"mask"}."""
        return {f.kind for f in self.findings}

    def __iter__(self) -> Iterator[Any]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __str__(self) -> str:
        n = len(self.findings)
        text = "healthy" if not n else f"{n} thing{'s' if n > 1 else ''} wrong"
        lines = [f"{self.model}: {text}", ""]
        lines += [f"{i}. {finding}" for i, finding in enumerate(self.findings, 1)]
        lines += [f"  ✓ {sentence}" for sentence in self.held]
        lines += [f"  – {sentence} (not tested)" for sentence in self.untested]
        return "\n".join(lines)

    __repr__ = __str__


def _pair(name, text):
    """A name and its text, wrapped in a column: "   where  blocks.0.attention"."""
    start = f"   {name:5}  "
    return textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * 10) + "\n"
