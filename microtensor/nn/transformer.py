"""The Transformer's decoder layer, and the whole of encoder and decoder (arXiv:1706.03762)."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..tensor.creation import full
from ..typing import Device, Dtype, Tensor
from . import functional as F
from . import init
from .attention import (
    MultiheadAttention,
    TransformerEncoder,
    TransformerEncoderLayer,
    _get_activation_fn,
    _get_clones,
)  # fmt: skip
from .layers import Dropout, LayerNorm, Linear
from .module import Module


class TransformerDecoderLayer(Module):
    """Self-attention, attention to `memory`, then two linear maps, each added to its input.

    Each sum is normalized, or with `norm_first` the input of each part. Tensors and masks as in
    MultiheadAttention.
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: Any = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        where = {"device": device, "dtype": dtype}
        for name in ("self_attn", "multihead_attn"):
            heads = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first,
                                       **where)  # fmt: skip
            self.add_module(name, heads)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **where)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **where)
        self.norm_first = norm_first
        for i in (1, 2, 3):
            self.add_module(f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, **where))
        for i in (1, 2, 3):
            self.add_module(f"dropout{i}", Dropout(dropout))
        self.activation = _get_activation_fn(activation)

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None,
                memory_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
                memory_key_padding_mask: Tensor | None = None, tgt_is_causal: bool = False,
                memory_is_causal: bool = False) -> Tensor:  # fmt: skip
        """Like `tgt`, which attends to itself and to `memory`."""
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal
        other = memory_mask, memory_key_padding_mask, memory_is_causal
        x = tgt
        if self.norm_first:
            y = self.norm1(x)
            x = x + self.dropout1(self._attend(self.self_attn, y, y, own))
            x = x + self.dropout2(self._attend(self.multihead_attn, self.norm2(x), memory, other))
            return x + self._ff_block(self.norm3(x))
        x = self.norm1(x + self.dropout1(self._attend(self.self_attn, x, x, own)))
        x = self.norm2(x + self.dropout2(self._attend(self.multihead_attn, x, memory, other)))
        return self.norm3(x + self._ff_block(x))

    def _attend(self, heads, x, memory, masks):
        mask, padding, causal = masks
        return heads(x, memory, memory, padding, False, mask, is_causal=causal)[0]

    def _ff_block(self, x):
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerDecoder(Module):
    """Copies of one decoder layer in sequence, and a final normalization."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _get_clones(decoder_layer, num_layers)
        self.num_layers, self.norm = num_layers, norm

    def forward(self, tgt: Tensor, memory: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Like `tgt`; masks as in TransformerDecoderLayer."""
        for layer in self.layers:
            tgt = layer(tgt, memory, *args, **kwargs)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """Encoder and decoder. Matrices start by Xavier's uniform distribution."""

    def __init__(self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6,
                 num_decoder_layers: int = 6, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: Any = F.relu, custom_encoder: Module | None = None,
                 custom_decoder: Module | None = None, layer_norm_eps: float = 1e-5,
                 batch_first: bool = False, norm_first: bool = False, bias: bool = True,
                 device: Device | None = None, dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        where = {"device": device, "dtype": dtype}
        layer = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
                 norm_first, bias)  # fmt: skip
        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*layer, **where), num_encoder_layers,
            LayerNorm(d_model, layer_norm_eps, bias=bias, **where),
        )  # fmt: skip
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*layer, **where), num_decoder_layers,
            LayerNorm(d_model, layer_norm_eps, bias=bias, **where),
        )  # fmt: skip
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)

    def forward(self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None,
                tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
                src_key_padding_mask: Tensor | None = None,
                tgt_key_padding_mask: Tensor | None = None,
                memory_key_padding_mask: Tensor | None = None, src_is_causal: bool = False,
                tgt_is_causal: bool = False,
                memory_is_causal: bool = False) -> Tensor:  # fmt: skip
        """Like `tgt`, which attends to itself and to the encoder's result for `src`."""
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
            tgt_is_causal, memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(
        sz: int, device: Device | None = None, dtype: Dtype | None = None
    ) -> Tensor:
        """A mask (sz, sz) that is added to scores: 0 on and below the diagonal, −∞ above it."""
        return ops.triu(full((sz, sz), -math.inf, device=device, dtype=dtype), 1)
