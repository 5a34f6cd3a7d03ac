"""Linear layers, tables of rows, and dropout."""

from __future__ import annotations

import itertools
import math
import reprlib

import numpy as np

from ... import ops
from ...autograd import no_grad
from ...autograd.errors import one_dtype
from ...backends.dtypes import int64
from ...ops.composite.counting import _host, _there
from ...tensor.creation import arange, tensor
from ...tensor.random import draw_seed, rand_like
from ...typing import Tensor
from .arguments import _changed, _not_there, _row

# ---- layers --------------------------------------------------------------------------


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input weightᵀ + bias: (…, n) with weight (m, n) and bias (m) gives (…, m).

    A weight (n) gives (…); a bias of another shape is broadcast.
    """
    if len(weight._data.shape) == 1:
        y = ops.matmul(input, weight)
    elif bias is None or len(bias._data.shape) == 1:
        return ops.linear(input, weight, bias)
    else:
        y = ops.linear(input, weight, None)
    return y if bias is None else y + bias


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None,
              max_norm: float | None = None, norm_type: float = 2.0,
              scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:  # fmt: skip
    """The rows of weight (n, d) at integer indices of any shape: (…, d).

    The row `padding_idx` gets no gradient. Rows whose `norm_type`-norm is above `max_norm` are
    first shortened to it, in the weight itself. `scale_grad_by_freq` divides the gradient of a row
    by the number of times it occurs in `input`. Raises IndexError for an index outside 0 … n − 1.
    """
    _not_there("embedding", sparse=sparse)
    if padding_idx is not None:
        padding_idx = _row(padding_idx, weight.shape[0])
    if max_norm is not None:
        _shorten(weight, ops.unique(input), max_norm, norm_type)
    return ops.embedding(weight, input, padding_idx, scale_grad_by_freq)


@no_grad()
def _shorten(weight, index, max_norm, norm_type):
    """Scale the rows of weight at an index in place, so that no norm is above max_norm."""
    rows = ops.embedding(weight, index)
    norms = ops.norm(rows, norm_type, 1, True)
    weight[index] = rows * ops.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero a random share p of the elements of input, divide the rest by 1 − p (1207.0580)."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p lies within 0 … 1, got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        return _changed(ops.mul, input, inplace, 0.0)
    return _changed(ops.dropout, input, inplace, p, draw_seed())


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels of (N, C, L) or (C, L) (arXiv:1411.4280)."""
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: an input (N, C, L) or (C, L) is needed, got shape {tuple(input.shape)}"
        )
    if input.ndim == 3:
        return _channel_dropout("dropout1d", input, p, training, inplace)
    keep = dropout(input.new_ones(len(input), 1), p, training)
    return _changed(ops.mul, input, inplace, keep)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels of images (N, C, H, W).

    As in PyTorch any input from (N, C) on will do, and (C, H, W) counts as (N, C, L).
    """
    return _channel_dropout("dropout2d", input, p, training, inplace)


def _channel_dropout(name, input, p, training, inplace):
    if input.ndim < 2:
        raise RuntimeError(f"{name}: an input (N, C, …) is needed, got shape {tuple(input.shape)}")
    keep = dropout(input.new_ones(input.shape[:2] + (1,) * (input.ndim - 2)), p, training)
    return _changed(ops.mul, input, inplace, keep)


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`dropout` that keeps mean 0 and variance 1, for use with `selu` (arXiv:1706.02515)."""
    if not 0 <= p <= 1:
        raise ValueError(f"alpha_dropout: p lies within 0 … 1, got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        return _changed(ops.mul, input, inplace, 0.0)
    low = -1.7580993408473766  # the limit of selu for x → −∞
    keep = (rand_like(input) >= p).to(input.dtype)
    scale = 1 / math.sqrt((1 - p) * (1 + p * low**2))
    shift = ((1 - keep) - p) * (low * scale)
    return _changed(lambda x: x * (keep * scale) + shift, input, inplace)


def embedding_bag(input: Tensor, weight: Tensor, offsets: Tensor | None = None,
                  max_norm: float | None = None, norm_type: float = 2,
                  scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
                  per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
                  padding_idx: int | None = None) -> Tensor:  # fmt: skip
    """The sum, mean or largest of the rows of weight for each bag of indices.

    `input` (N, L) holds N bags of L; a row of indices is cut into bags that begin at `offsets`.
    `per_sample_weights`, like `input`, weighs the rows of a sum. Rows `padding_idx` are left out.
    With `include_last_offset` the last offset is the end of the last bag. For other arguments see
    `embedding`.
    """
    _not_there("embedding_bag", sparse=sparse)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f'embedding_bag: the mode is "sum", "mean" or "max", got {mode!r}')
    if scale_grad_by_freq and mode == "max":
        raise ValueError("embedding_bag: scale_grad_by_freq goes with a sum or a mean")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(f'embedding_bag: weights go with the mode "sum", not {mode!r}')
    if input.ndim == 1 and offsets is None or input.ndim == 2 and offsets is not None:
        raise ValueError("embedding_bag: offsets go with a row of indices, not with a matrix")
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: the weights need the shape of the indices, {tuple(input.shape)}, got "
            f"{tuple(per_sample_weights.shape)}"
        )
    lengths = _lengths_of_bags(input, offsets, include_last_offset)
    rows = embedding(input.reshape(-1), weight, padding_idx, max_norm, norm_type,
                     scale_grad_by_freq)  # fmt: skip
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    bag = ops.repeat_interleave(arange(len(lengths)), lengths)  # of each row
    if padding_idx is not None:
        counts = input.reshape(-1) != _row(padding_idx, len(weight))
        rows, bag = rows[counts], bag[counts]
    sizes = ops.bincount(bag, minlength=len(lengths))
    if mode == "max":
        return _largest_of_bags(rows, sizes)
    total = ops.index_add(rows.new_zeros(len(lengths), weight.shape[1]), 0, bag, rows)
    return total if mode == "sum" else total / ops.clamp(sizes, 1)[:, None].to(rows.dtype)


def _lengths_of_bags(input, offsets, include_last_offset):
    """The number of indices in each bag."""
    if input.ndim == 2:
        return tensor([input.shape[1]] * len(input), dtype=int64)
    n, ends = input.numel(), offsets.tolist()
    if ends and ends[0] != 0 or ends != sorted(ends) or ends[-1:] > [n]:
        raise RuntimeError(
            f"embedding_bag: the offsets begin with 0, rise, and are at most {n}, got "
            f"{reprlib.repr(ends)}"
        )
    ends = ends if include_last_offset else [*ends, n]
    return tensor([b - a for a, b in itertools.pairwise(ends)], dtype=int64)


def _largest_of_bags(rows, sizes):
    """The largest of each column in consecutive bags of these sizes, the first of equals; or 0."""
    line, n = _host(rows.detach()), _host(sizes)
    some = np.flatnonzero(n)
    out = rows.new_zeros(len(n), rows.shape[1])
    if not len(some):
        return out + rows.sum()
    starts = (np.cumsum(n) - n)[some]
    best = np.repeat(np.maximum.reduceat(line, starts, 0), n[some], 0)
    place = np.where((line == best) | (line != line), np.arange(len(line))[:, None], len(line))
    first = np.minimum.reduceat(place, starts, 0)
    return ops.index_copy(out, 0, _there(some, rows), ops.gather(rows, 0, _there(first, rows)))


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x₁ᵀ weight[o] x₂ + bias for every output o: (…, n), (…, m), (out, n, m) to (…, out)."""
    one_dtype("bilinear", input1, input2, weight, bias)
    y = ops.einsum("...n,onm,...m->...o", input1, weight, input2)
    return y if bias is None else y + bias
