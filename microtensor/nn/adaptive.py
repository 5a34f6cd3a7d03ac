"""A softmax over many classes that costs less for the frequent ones (arXiv:1609.04309)."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..typing import Device, Dtype, Tensor
from . import functional as F
from .containers import ModuleList, Sequential
from .layers import Linear
from .module import Module

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """ln P of each target (N) for input (N, in_features), and minus their mean.

    Classes are sorted, the most frequent first. The head has an output for each class
    below cutoffs[0] and one for each cluster; the classes cutoffs[i] … cutoffs[i + 1] − 1 of a
    cluster are told apart by a tail with in_features // div_valueⁱ⁺¹ features.
    """

    def __init__(self, in_features: int, n_classes: int, cutoffs: Sequence[int],
                 div_value: float = 4.0, head_bias: bool = False, device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        cutoffs = list(cutoffs)
        rising = all(a < b for a, b in zip([0, *cutoffs], [*cutoffs, n_classes]))
        if not cutoffs or not rising or any(int(c) != c for c in cutoffs):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: cutoffs are integers that rise from above 0 to below "
                f"n_classes, {n_classes}; got {cutoffs}"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = cutoffs[0], len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        where = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, head_bias, **where)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(self._clusters(), 1):
            width = int(in_features // div_value**i)
            self.tail.append(
                Sequential(
                    Linear(in_features, width, False, **where),
                    Linear(width, high - low, False, **where),
                )
            )

    def _clusters(self):
        """(first class, the one after the last) of each cluster."""
        return zip(self.cutoffs[:-1], self.cutoffs[1:])

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> Any:
        """(output, loss)."""
        if target.ndim == 0 and input.ndim == 1:
            output = self(input[None], target[None]).output[0]
            return _ASMoutput(output, -output)
        if target.ndim != 1 or input.ndim != 2 or len(input) != len(target):
            raise RuntimeError(
                "AdaptiveLogSoftmaxWithLoss: input (N, in_features) goes with targets (N); got "
                f"{tuple(input.shape)} and {tuple(target.shape)}"
            )
        if len(target) and not 0 <= int(target.min()) <= int(target.max()) < self.n_classes:
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: targets lie within 0 … {self.n_classes - 1}"
            )
        head = F.log_softmax(self.head(input), 1)
        column = target
        for i, (low, high) in enumerate(self._clusters()):
            column = ops.where((target >= low) & (target < high), self.shortlist_size + i, column)
        output = ops.gather(head, 1, column[:, None])[:, 0]
        for tail, (low, high) in zip(self.tail, self._clusters()):
            rows = ops.nonzero((target >= low) & (target < high))[:, 0]
            if len(rows):
                inside = F.log_softmax(tail(input[rows]), 1)
                own = ops.gather(inside, 1, (target[rows] - low)[:, None])[:, 0]
                output = ops.index_add(output, 0, rows, own)
        return _ASMoutput(output, -output.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """ln P of every class: (N, n_classes)."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail, self.shortlist_size):
            parts.append(F.log_softmax(tail(input), 1) + head[:, i : i + 1])
        return ops.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The likeliest class of each row: (N)."""
        return ops.argmax(self.log_prob(input), 1)
