"""Attention of queries to keys and values."""

from __future__ import annotations

import math
from typing import Any

from ... import ops
from ...backends.dtypes import bool_
from ...tensor.random import draw_seed
from ...typing import Tensor

# ---- attention -----------------------------------------------------------------------


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Any,
                                 attn_mask: Tensor | None = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: Tensor | float | None = None,
                                 enable_gqa: bool = False) -> Tensor:  # fmt: skip
    """softmax(query keyᵀ·scale + mask) value (arXiv:1706.03762).

    query (…, L, E), key (…, S, E), value (…, S, V) give (…, L, V). A boolean mask (…, L, S) is
    true where a query attends to a key, a floating one is added. `is_causal` lets query i attend to
    keys 0 … i. `scale` is 1/√E unless given. With `enable_gqa` groups of query heads share a head
    of key and value. A query whose keys are all masked gets zeros.
    """
    name = "scaled_dot_product_attention"
    if is_causal and attn_mask is not None:
        raise RuntimeError(f"{name}: is_causal is a mask already; leave attn_mask out")
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"{name}: dropout_p lies within 0 … 1, got {dropout_p}")
    if min(query.ndim, key.ndim, value.ndim) < 2 or not (
        query.shape[-1] == key.shape[-1] and key.shape[-2] == value.shape[-2]
    ):
        raise RuntimeError(
            f"{name}: query (…, L, E), key (…, S, E) and value (…, S, V) are needed, got "
            f"{tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
        )
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            f"{name}: query, key and value need one dtype, got {query.dtype}, {key.dtype} and "
            f"{value.dtype}"
        )
    if attn_mask is not None and attn_mask.dtype not in (query.dtype, bool_):
        raise RuntimeError(f"{name}: the mask is bool or {query.dtype}, got {attn_mask.dtype}")
    if enable_gqa:
        key, value = (_heads_shared(name, x, query.shape[-3]) for x in (key, value))
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    if dropout_p == 1:  # everything is dropped
        return 0.0 * ops.attention(query, key, value, attn_mask, is_causal, scale, 0.0, None)
    seed = draw_seed() if dropout_p else None
    return ops.attention(query, key, value, attn_mask, is_causal, scale, dropout_p, seed)


def _heads_shared(name, x, heads):
    """Keys or values (…, H, S, E) with each head repeated to match the number of query heads."""
    if heads % x.shape[-3]:
        raise RuntimeError(
            f"{name}: {heads} query heads cannot share {x.shape[-3]} heads of key and value evenly"
        )
    *batch, few, length, width = x.shape
    wide = ops.expand(x[..., None, :, :], (*batch, few, heads // few, length, width))
    return ops.reshape(wide, (*batch, heads, length, width))
