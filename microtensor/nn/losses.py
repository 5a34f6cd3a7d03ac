"""Losses as modules; the formulas are in `functional`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..typing import Tensor
from . import functional as F
from .layers import PairwiseDistance
from .module import Module
from .reduction import old_reduction, takes_old_reduction


class _Loss(Module):
    """A loss of input and target whose `reduction` is "mean", "sum" or "none"."""

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        """`size_average` and `reduce` are the older arguments for `reduction`."""
        super().__init__()
        self.reduction = old_reduction(size_average, reduce, reduction)


class _WeightedLoss(_Loss):
    """A loss that weighs classes or elements."""

    def __init__(self, weight: Tensor | None = None, size_average: bool | None = None,
                 reduce: bool | None = None, reduction: str = "mean") -> None:  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class CrossEntropyLoss(_WeightedLoss):
    __doc__ = F.cross_entropy.__doc__

    @takes_old_reduction
    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100,
                 reduction: str = "mean", label_smoothing: float = 0.0) -> None:  # fmt: skip
        super().__init__(weight, reduction=reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_WeightedLoss):
    __doc__ = F.nll_loss.__doc__

    @takes_old_reduction
    def __init__(
        self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class MSELoss(_Loss):
    __doc__ = F.mse_loss.__doc__

    @takes_old_reduction
    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    __doc__ = F.l1_loss.__doc__

    @takes_old_reduction
    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    __doc__ = F.smooth_l1_loss.__doc__

    @takes_old_reduction
    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    __doc__ = F.huber_loss.__doc__

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_WeightedLoss):
    __doc__ = F.binary_cross_entropy.__doc__

    @takes_old_reduction
    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean") -> None:
        super().__init__(weight, reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    __doc__ = F.binary_cross_entropy_with_logits.__doc__

    @takes_old_reduction
    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean",
                 pos_weight: Tensor | None = None) -> None:  # fmt: skip
        super().__init__(weight, reduction=reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    __doc__ = F.kl_div.__doc__

    @takes_old_reduction
    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class _Set(_Loss):
    """A loss whose function takes the settings of the constructor by name."""

    def __init__(self, reduction: str = "mean", **settings: Any) -> None:
        super().__init__(reduction=reduction)
        vars(self).update(settings)
        self._settings = *settings, "reduction"

    def forward(self, *inputs: Any) -> Tensor:
        return self.function(*inputs, **{name: getattr(self, name) for name in self._settings})


class SoftMarginLoss(_Set):
    __doc__ = F.soft_margin_loss.__doc__
    function = staticmethod(F.soft_margin_loss)

    @takes_old_reduction
    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class MarginRankingLoss(_Set):
    __doc__ = F.margin_ranking_loss.__doc__
    function = staticmethod(F.margin_ranking_loss)

    @takes_old_reduction
    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction, margin=margin)


class HingeEmbeddingLoss(_Set):
    __doc__ = F.hinge_embedding_loss.__doc__
    function = staticmethod(F.hinge_embedding_loss)

    @takes_old_reduction
    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction, margin=margin)


class CosineEmbeddingLoss(_Set):
    __doc__ = F.cosine_embedding_loss.__doc__
    function = staticmethod(F.cosine_embedding_loss)

    @takes_old_reduction
    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction, margin=margin)


class TripletMarginLoss(_Set):
    __doc__ = F.triplet_margin_loss.__doc__
    function = staticmethod(F.triplet_margin_loss)

    @takes_old_reduction
    def __init__(self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
                 *, reduction: str = "mean") -> None:  # fmt: skip
        super().__init__(reduction, margin=margin, p=p, eps=eps, swap=swap)


class TripletMarginWithDistanceLoss(_Set):
    __doc__ = F.triplet_margin_with_distance_loss.__doc__
    function = staticmethod(F.triplet_margin_with_distance_loss)

    def __init__(self, *, distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
                 margin: float = 1.0, swap: bool = False,
                 reduction: str = "mean") -> None:  # fmt: skip
        super().__init__(reduction, margin=margin, swap=swap)
        self.distance_function = (
            PairwiseDistance() if distance_function is None else distance_function
        )
        self._settings = *self._settings, "distance_function"


class MultiMarginLoss(_Set):
    __doc__ = F.multi_margin_loss.__doc__
    function = staticmethod(F.multi_margin_loss)

    @takes_old_reduction
    def __init__(self, p: float = 1, margin: float = 1.0, weight: Tensor | None = None, *,
                 reduction: str = "mean") -> None:  # fmt: skip
        super().__init__(reduction, p=p, margin=margin)
        self.register_buffer("weight", weight)
        self._settings = *self._settings, "weight"


class MultiLabelSoftMarginLoss(_Set):
    __doc__ = F.multilabel_soft_margin_loss.__doc__
    function = staticmethod(F.multilabel_soft_margin_loss)

    @takes_old_reduction
    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)
        self._settings = *self._settings, "weight"


class PoissonNLLLoss(_Set):
    __doc__ = F.poisson_nll_loss.__doc__
    function = staticmethod(F.poisson_nll_loss)

    @takes_old_reduction
    def __init__(self, log_input: bool = True, full: bool = False, *, eps: float = 1e-8,
                 reduction: str = "mean") -> None:  # fmt: skip
        super().__init__(reduction, log_input=log_input, full=full, eps=eps)


class CTCLoss(_Set):
    __doc__ = F.ctc_loss.__doc__
    function = staticmethod(F.ctc_loss)

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction, blank=blank, zero_infinity=zero_infinity)


class GaussianNLLLoss(_Set):
    __doc__ = F.gaussian_nll_loss.__doc__
    function = staticmethod(F.gaussian_nll_loss)

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction, full=full, eps=eps)
