"""Names that are not there: classes that say so when they are made."""

from __future__ import annotations

from typing import Any


def absent(name, reason="it runs as one process"):
    """A class that cannot be made, and says what is missing."""

    def refuse(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"microtensor has no {name}: {reason}")

    return type(name.rpartition(".")[2], (), {"__init__": refuse, "is_absent": True})
