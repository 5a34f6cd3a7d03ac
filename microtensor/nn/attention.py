"""Multi-head attention and the Transformer's encoder layer (arXiv:1706.03762)."""

from __future__ import annotations

import copy
import math
from typing import Any

from .. import ops
from ..autograd.calls import public
from ..tensor.creation import empty, zeros
from ..typing import Device, Dtype, Tensor
from . import functional as F
from . import init
from .containers import ModuleList
from .layers import Dropout, LayerNorm, Linear, NonDynamicallyQuantizableLinear
from .module import Module, Parameter


class MultiheadAttention(Module):
    """Attention of queries to keys and values, in several heads of size embed_dim / num_heads.

    Tensors are (T, N, E), or (N, T, E) with `batch_first`, or (T, E). Key and value may have other
    widths, `kdim` and `vdim`. `dropout` is the share of attention weights dropped in training.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
                 add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
                 vdim: int | None = None, batch_first: bool = False, device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: num_heads must divide embed_dim, and both be above 0; "
                f"got {num_heads} heads for {embed_dim}"
            )
        if add_bias_kv or add_zero_attn:
            raise NotImplementedError(
                "MultiheadAttention: add_bias_kv and add_zero_attn are not there"
            )
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout, self.batch_first = dropout, batch_first

        def weight(*shape):
            return Parameter(empty(*shape, device=device, dtype=dtype))

        one = self.kdim == self.vdim == embed_dim  # the three input weights fit in one matrix
        self.register_parameter("in_proj_weight", weight(3 * embed_dim, embed_dim) if one else None)
        for name, width in ("q", embed_dim), ("k", self.kdim), ("v", self.vdim):
            self.register_parameter(
                f"{name}_proj_weight", None if one else weight(embed_dim, width)
            )
        self.register_parameter("in_proj_bias", weight(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, device, dtype)
        self._reset_parameters()

    def _reset_parameters(self):
        for p in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if p is not None:
                init.xavier_uniform_(p)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                key_padding_mask: Tensor | None = None, need_weights: bool = True,
                attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """The result, like `query`, and the weights (N, L, S), or None unless `need_weights`.

        Masks are true where a key may NOT be seen, or floating and added to the scores:
        `key_padding_mask` (N, S), `attn_mask` (L, S) or (N·heads, L, S). `is_causal` promises that
        `attn_mask` is the causal mask, which is then not read. The weights are averaged over the
        heads, or (N, heads, L, S) without `average_attn_weights`.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("MultiheadAttention: is_causal needs attn_mask, the causal mask")
        alike = query is key and key is value
        batched = query.ndim == 3
        if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
            raise RuntimeError(
                "MultiheadAttention: query, key and value all need 3 dimensions, or 2 without a "
                f"batch; got {tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
            )
        query, key, value = (self._batch(x, batched) for x in (query, key, value))
        if not batched and key_padding_mask is not None:
            key_padding_mask = key_padding_mask[None]
        inputs = self.in_proj_weight
        if inputs is None:
            inputs = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        q, k, v = _heads(query, key, value, alike, self.num_heads, inputs, self.in_proj_bias)
        p = self.dropout if self.training else 0.0
        out, weights = _attended(q, k, v, attn_mask, key_padding_mask, p, need_weights,
                                 average_attn_weights, is_causal)  # fmt: skip
        out = self._unbatch(self.out_proj(out), batched)
        return out, weights if batched or weights is None else weights[0]

    def _batch(self, x, batched):
        """x as (N, T, E)."""
        if not batched:
            return x[None]
        return x if self.batch_first else ops.transpose(x, 0, 1)

    def _unbatch(self, x, batched):
        """Undo `_batch`."""
        if not batched:
            return x[0]
        return x if self.batch_first else ops.transpose(x, 0, 1)


@public
def multi_head_attention_forward(query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int,
                                 num_heads: int, in_proj_weight: Tensor | None,
                                 in_proj_bias: Tensor | None, bias_k: Tensor | None,
                                 bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float,
                                 out_proj_weight: Tensor, out_proj_bias: Tensor | None,
                                 training: bool = True, key_padding_mask: Tensor | None = None,
                                 need_weights: bool = True, attn_mask: Tensor | None = None,
                                 use_separate_proj_weight: bool = False,
                                 q_proj_weight: Tensor | None = None,
                                 k_proj_weight: Tensor | None = None,
                                 v_proj_weight: Tensor | None = None,
                                 static_k: Tensor | None = None, static_v: Tensor | None = None,
                                 average_attn_weights: bool = True, is_causal: bool = False,
                                 ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """`MultiheadAttention` of (T, N, E) or (T, E), with the weights as arguments."""
    name = "multi_head_attention_forward"
    F._not_there(name, bias_k=bias_k is not None, bias_v=bias_v is not None, static_k=static_k is
                 not None, static_v=static_v is not None, add_zero_attn=add_zero_attn)  # fmt: skip
    if query.shape[-1] != embed_dim_to_check or embed_dim_to_check % num_heads:
        raise RuntimeError(
            f"{name}: {num_heads} heads and a width of {embed_dim_to_check} are told, got a query "
            f"{tuple(query.shape)}"
        )
    alike, batched = query is key and key is value, query.ndim == 3
    query, key, value = (
        ops.transpose(x, 0, 1) if batched else x[None] for x in (query, key, value)
    )
    if not batched and key_padding_mask is not None:
        key_padding_mask = key_padding_mask[None]
    inputs = in_proj_weight
    if use_separate_proj_weight:
        inputs = q_proj_weight, k_proj_weight, v_proj_weight
    q, k, v = _heads(query, key, value, alike, num_heads, inputs, in_proj_bias)
    p = dropout_p if training else 0.0
    out, weights = _attended(q, k, v, attn_mask, key_padding_mask, p, need_weights,
                             average_attn_weights, is_causal)  # fmt: skip
    out = ops.linear(out, out_proj_weight, out_proj_bias)
    if batched:
        return ops.transpose(out, 0, 1), weights
    return out[0], weights if weights is None else weights[0]


def _heads(query, key, value, alike, heads, weights, bias):
    """Queries, keys and values (N, T, E) of each head: (N, H, T, D).

    `weights` is one matrix (3 E, E), or three.
    """
    one = not isinstance(weights, tuple)
    n, t, width = query.shape
    if alike and one:
        x = ops.linear(query, weights, bias)  # (N, T, 3 E)
        x = ops.reshape(x, (n, t, 3, heads, width // heads))
        return ops.unbind(ops.permute(x, (2, 0, 3, 1, 4)))
    weights = ops.chunk(weights, 3) if one else weights
    biases = [None] * 3 if bias is None else ops.chunk(bias, 3)
    out = []
    for x, weight, bias in zip((query, key, value), weights, biases):
        n, t, _ = x.shape
        x = ops.reshape(ops.linear(x, weight, bias), (n, t, heads, width // heads))
        out.append(ops.transpose(x, 1, 2))
    return out


def _attended(q, k, v, attn_mask, key_padding_mask, p, need_weights, average, is_causal):
    """The heads' results, concatenated (N, L, E), and the attention weights, if needed."""
    n, heads, length, width = q.shape
    causal = is_causal and key_padding_mask is None and not need_weights
    shape = n, heads, length, k.shape[2]
    mask = None if causal else _merged(attn_mask, key_padding_mask, shape, q.dtype)
    weights = None
    if need_weights:
        scores = (q * (1 / math.sqrt(width))) @ ops.transpose(k, -2, -1)
        if mask is not None:
            scores = scores + _added(mask, scores.dtype)
        weights = F.dropout(F.softmax(scores, -1), p)
        out = weights @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v, mask, p, causal)
    # (N, H, L, D) -> (N, L, E)
    out = ops.reshape(ops.transpose(out, 1, 2), (n, length, heads * width))
    if weights is not None and average:
        weights = weights.mean(1)
    return out, weights


def _merged(attn_mask, key_padding_mask, shape, dtype):
    """Both masks as one for scores (N, H, L, S): boolean (true to attend), or added to them."""
    n, heads, length, keys = shape
    masks = []
    if attn_mask is not None:
        allowed = {(length, keys): (length, keys), (n * heads, length, keys): shape}
        masks.append(_shaped("attn_mask", attn_mask, allowed))
    if key_padding_mask is not None:
        masks.append(_shaped("key_padding_mask", key_padding_mask, {(n, keys): (n, 1, 1, keys)}))
    if not masks:
        return None
    if all(m.dtype.name == "bool" for m in masks):
        return ~(masks[0] | masks[1]) if len(masks) == 2 else ~masks[0]
    masks = [_added(~m if m.dtype.name == "bool" else m, dtype) for m in masks]
    return masks[0] + masks[1] if len(masks) == 2 else masks[0]


def _shaped(name, mask, shapes):
    """A mask reshaped to broadcast with the scores. RuntimeError if its shape does not fit."""
    if tuple(mask.shape) not in shapes:
        raise RuntimeError(
            f"MultiheadAttention: {name} must have the shape {' or '.join(map(str, shapes))}, "
            f"got {tuple(mask.shape)}"
        )
    if mask.dtype.name != "bool" and not mask.is_floating_point():
        raise RuntimeError(
            f"MultiheadAttention: {name} must be boolean or floating, got {mask.dtype}"
        )
    return ops.reshape(mask, shapes[tuple(mask.shape)])


def _added(mask, dtype):
    """A mask that is added to scores: for a boolean one, 0 where it is true and else −∞."""
    if mask.is_floating_point():
        return mask.to(dtype)
    return zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -math.inf)


def _get_activation_fn(activation):  # programs import the two from PyTorch by these names
    if callable(activation):
        return activation
    if activation not in ("relu", "gelu"):
        raise RuntimeError(f'activation is "relu", "gelu" or a function, got {activation!r}')
    return getattr(F, activation)


def _get_clones(module, N):
    return ModuleList([copy.deepcopy(module) for _ in range(N)])


class TransformerEncoderLayer(Module):
    """Self-attention, then two linear maps, each added to its input and normalized.

    `norm_first` normalizes the input of each part instead of the sum. `activation` is "relu",
    "gelu" or a function. Tensors as in MultiheadAttention.
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: Any = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        where = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, **where
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, **where)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **where)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **where)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **where)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = _get_activation_fn(activation)

    def forward(self, src: Tensor, src_mask: Tensor | None = None,
                src_key_padding_mask: Tensor | None = None,
                is_causal: bool = False) -> Tensor:  # fmt: skip
        """Like `src`; the masks as in MultiheadAttention."""
        x, masks = src, (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = x + self._sa_block(self.norm1(x), *masks)
            return x + self._ff_block(self.norm2(x))
        x = self.norm1(x + self._sa_block(x, *masks))
        return self.norm2(x + self._ff_block(x))

    def _sa_block(self, x, attn_mask, key_padding_mask, is_causal):
        x, _ = self.self_attn(x, x, x, key_padding_mask, False, attn_mask, is_causal=is_causal)
        return self.dropout1(x)

    def _ff_block(self, x):
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerEncoder(Module):
    """Copies of one encoder layer in sequence, and a final normalization.

    `enable_nested_tensor` and `mask_check` change nothing: they choose a faster path in PyTorch.
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None,
                 enable_nested_tensor: bool = True, mask_check: bool = True) -> None:  # fmt: skip
        super().__init__()
        self.layers = _get_clones(encoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm

    def forward(self, src: Tensor, mask: Tensor | None = None,
                src_key_padding_mask: Tensor | None = None,
                is_causal: bool = False) -> Tensor:  # fmt: skip
        """Like `src`; the masks as in MultiheadAttention."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)
