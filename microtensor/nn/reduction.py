"""`reduction`, which says whether a loss returns all losses, their mean or their sum, and the older
arguments for it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

from ..autograd.errors import warn
from ..typing import T


def old_reduction(
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> str:
    """The `reduction` that the two older arguments mean: "none", "sum" or "mean".

    `reduction` itself is returned without them, and ignored with either of them.
    """
    if size_average is None and reduce is None:
        return reduction
    said = "none" if reduce is False else "sum" if size_average is False else "mean"
    warn(f"size_average and reduce args will be deprecated, please use reduction='{said}' instead.")
    return said


def takes_old_reduction(function: Callable[..., T]) -> Callable[..., T]:
    """Let a loss, or its constructor, take `size_average` and `reduce`, also by position.

    They have PyTorch's positions: the first at the `*`, the second before `reduction`.
    """
    signature, own = inspect.signature(function), []
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and "size_average" not in own:
            own.append("size_average")
        own += ["reduce", p.name] if p.name == "reduction" else [p.name]
    plain = own.index("size_average")  # so many are positional anyway

    @functools.wraps(function)
    def call(*args, **named):
        if len(args) > plain:
            if len(args) > len(own):
                raise TypeError(
                    f"{function.__name__}: at most {len(own)} arguments, got {len(args)}"
                )
            named = {**dict(zip(own[plain:], args[plain:])), **named}
            args = args[:plain]
        if "size_average" in named or "reduce" in named:
            named["reduction"] = old_reduction(
                named.pop("size_average", None),
                named.pop("reduce", None),
                named.get("reduction", "mean"),
            )
        if named.get("reduction") == "elementwise_mean":
            warn("reduction='elementwise_mean' is old: use 'mean'")
            named["reduction"] = "mean"
        return function(*args, **named)

    parameters = [
        signature.parameters.get(
            name, inspect.Parameter(name, _ANYWHERE, default=None, annotation="bool | None")
        )
        for name in own
    ]
    call.__signature__ = signature.replace(
        parameters=[p.replace(kind=_ANYWHERE) for p in parameters]
    )
    return call


_ANYWHERE = inspect.Parameter.POSITIONAL_OR_KEYWORD
