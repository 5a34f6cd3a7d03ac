"""Layers: linear maps, tables, normalization, dropout."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..autograd import no_grad
from ..tensor.creation import empty, ones, zeros
from ..typing import Device, Dtype, Shape, Tensor
from . import functional as F
from . import init
from .module import Module, Parameter


class Identity(Module):
    """Returns the input unchanged. Arguments of the constructor are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Flatten(Module):
    """The dimensions from start_dim to end_dim made one; the first is kept as the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return ops.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One dimension split into several of the given sizes; one of them may be −1."""

    def __init__(self, dim: int, unflattened_size: Shape) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return ops.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Linear(Module):
    """x weightᵀ + bias: (…, in_features) to (…, out_features).

    Both start uniform in ±1/√in_features.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True,
                 device: Device | None = None, dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return ops.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class NonDynamicallyQuantizableLinear(Linear):
    """`Linear` under PyTorch's name for the last layer of attention."""


class Bilinear(Module):
    """x₁ᵀ weight[o] x₂ + bias for every output o. Both start uniform in ±1/√in1_features."""

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True,
                 device: Device | None = None, dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        shape = out_features, in1_features, in2_features
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class _Table(Module):
    """Base of tables of learned rows: see `functional.embedding`."""

    def _set_up(self, weight, freeze, device, dtype, **settings):
        """Store the settings, and the given weight or a new one."""
        F._not_there(type(self).__name__, sparse=settings["sparse"])
        vars(self).update(settings)
        n, padding_idx = self.num_embeddings, self.padding_idx
        self.padding_idx = None if padding_idx is None else F._row(padding_idx, n)
        if weight is not None:
            self.weight = Parameter(weight, requires_grad=not freeze)
            return
        self.weight = Parameter(empty(n, self.embedding_dim, device=device, dtype=dtype))
        self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, *args: Any, **settings: Any
    ) -> Any:
        """A layer with the given table (n, d), which is trained further unless `freeze`."""
        if embeddings.ndim != 2:
            raise ValueError(f"from_pretrained: a matrix is needed, got {tuple(embeddings.shape)}")
        table = cls(*embeddings.shape, *args, **settings, _weight=embeddings)
        table.weight.requires_grad_(not freeze)
        return table

    def reset_parameters(self) -> None:
        """Draw the rows anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    def extra_repr(self) -> str:
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        for name, usual in self._shown.items():
            if getattr(self, name) != usual:
                parts.append(f"{name}={getattr(self, name)!r}")
        return ", ".join(parts)


class Embedding(_Table):
    """A table of vectors: integers (…) to rows (…, embedding_dim).

    The rows start normal; the row `padding_idx` starts zero and gets no gradient.
    """

    _shown = {"padding_idx": None, "max_norm": None, "norm_type": 2, "scale_grad_by_freq": False}

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
                 max_norm: float | None = None, norm_type: float = 2.0,
                 scale_grad_by_freq: bool = False, sparse: bool = False,
                 _weight: Tensor | None = None, _freeze: bool = False, device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        self._set_up(_weight, _freeze, device, dtype, num_embeddings=num_embeddings,
                     embedding_dim=embedding_dim, padding_idx=padding_idx, max_norm=max_norm,
                     norm_type=norm_type, scale_grad_by_freq=scale_grad_by_freq,
                     sparse=sparse)  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type,
                           self.scale_grad_by_freq)  # fmt: skip


class EmbeddingBag(_Table):
    """The mean, sum or largest of the rows of each bag of indices. The rows start normal."""

    _shown = {"max_norm": None, "norm_type": 2, "scale_grad_by_freq": False, "mode": None,
              "padding_idx": None}  # fmt: skip

    def __init__(self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None,
                 norm_type: float = 2.0, scale_grad_by_freq: bool = False, mode: str = "mean",
                 sparse: bool = False, _weight: Tensor | None = None,
                 include_last_offset: bool = False, padding_idx: int | None = None,
                 device: Device | None = None, dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        self._set_up(_weight, False, device, dtype, num_embeddings=num_embeddings,
                     embedding_dim=embedding_dim, max_norm=max_norm, norm_type=norm_type,
                     scale_grad_by_freq=scale_grad_by_freq, mode=mode, sparse=sparse,
                     include_last_offset=include_last_offset, padding_idx=padding_idx)  # fmt: skip

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq,
            self.mode, False, per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip


class LayerNorm(Module):
    """(x − mean) / √(var + eps) · weight + bias over the last dimensions (arXiv:1607.06450)."""

    def __init__(self, normalized_shape: Shape, eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True, device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape, self.eps = _shape(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        shape, where = self.normalized_shape, {"device": device, "dtype": dtype}
        self.register_parameter(
            "weight", Parameter(ones(shape, **where)) if elementwise_affine else None
        )
        self.register_parameter(
            "bias", Parameter(zeros(shape, **where)) if elementwise_affine and bias else None
        )

    def reset_parameters(self) -> None:
        """Make the weight 1 and the bias 0 again."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class RMSNorm(Module):
    """x / √(mean x² + eps) · weight over the last dimensions (arXiv:1910.07467).

    Without `eps`, the distance from 1 to the next number of the dtype.
    """

    def __init__(self, normalized_shape: Shape, eps: float | None = None,
                 elementwise_affine: bool = True, device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape, self.eps = _shape(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        weight = ones(self.normalized_shape, device=device, dtype=dtype)
        self.register_parameter("weight", Parameter(weight) if elementwise_affine else None)

    def reset_parameters(self) -> None:
        """Make the weight 1 again."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


def _shape(shape):
    return (shape,) if isinstance(shape, int) else tuple(shape)


class Dropout(Module):
    """In training zeros a random share p of the elements, divides the rest by 1 − p (1207.0580)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p lies within 0 … 1, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """`Dropout` of whole channels of (N, C, L) (arXiv:1411.4280)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(Dropout):
    """`Dropout` of whole channels of images (N, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class AlphaDropout(Dropout):
    """`Dropout` that keeps mean 0 and variance 1, for use with `SELU` (arXiv:1706.02515)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


# ---- distances -----------------------------------------------------------------------


class CosineSimilarity(Module):
    __doc__ = F.cosine_similarity.__doc__

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    __doc__ = F.pairwise_distance.__doc__

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
