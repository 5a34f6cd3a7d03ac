"""Caches of keys and values, so that generating a token does not compute all earlier ones again.

The key and value of a token do not depend on later tokens, which the causal mask hides from it. So
both are computed once and kept.
"""

from __future__ import annotations

import math

from ..autograd import is_grad_enabled
from ..autograd.errors import describe
from ..autograd.modes import mode
from ..backends import backend_of, quiet
from ..typing import Tensor


class KVCache:
    """Room for the keys and values of `length` tokens in each of `layers` attention layers.

    `heads` are those of the keys; dtype and device are those of the tensor `like`.
    """

    def __init__(
        self, layers: int, batch_size: int, heads: int, length: int, head_dim: int, like: Tensor
    ) -> None:
        shape = (batch_size, heads, length, head_dim)
        self.layers = [
            LayerCache(like.new_zeros(shape), like.new_zeros(shape)) for _ in range(layers)
        ]

    @property
    def length(self) -> int:
        """The number of tokens stored."""
        return self.layers[0].length

    def positions(self, idx: Tensor) -> Tensor:
        """The positions (T,) in the text of the next tokens idx (B, T)."""
        places = idx._wrap(self._positions(idx._data)[0])
        if mode.tape is not None:
            mode.tape.note(self.positions, self._positions, [idx], places)
        return places

    def _positions(self, idx):  # like the body of an operation, for a Replay: (array, None)
        places = backend_of(idx).count_along(idx, 1)
        return places + self.length, None


class LayerCache:
    """Keys and values (B, G, L, D) of one layer, of which the first `length` tokens are filled.

    G is the number of key heads, each of which several query heads may share.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values, self.length = keys, values, 0

    @quiet
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store k and v (B, T, G, D) of T new tokens; return the attention of q (B, T, H, D) to all
        stored tokens: (B, T, H D).

        A token attends to itself and all before it; H / G query heads share a key head. For
        inference only: RuntimeError if a gradient is needed, ValueError if the cache is full.
        """
        if is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
            raise RuntimeError(
                "KVCache: a cache keeps no graph; use it under no_grad(), or compute without it"
            )
        y = q._wrap(self._attend(q._data, k._data, v._data)[0])
        if mode.tape is not None:
            mode.tape.note(self.attend, self._attend, [q, k, v], y)
        return y

    def _attend(self, q, k, v):
        start, keys, values = self.length, self.keys._data, self.values._data
        texts, heads, room, size = shape = keys.shape
        new = k.shape
        if new[0] != texts:
            raise ValueError(f"KVCache: it is for {texts} texts, got {new[0]}")
        end, queries, dtype = start + new[1], q.shape, keys.dtype
        if (
            new[2:] != (heads, size)
            or new != v.shape
            or queries != new  # one query head for each key head, or several
            and (queries[::3] != new[::3] or queries[1] != new[1] or queries[2] % heads)
            or shape != values.shape
            or not (q.dtype is k.dtype is v.dtype is values.dtype is dtype)
            and len({q.dtype, k.dtype, v.dtype, values.dtype, dtype}) > 1
        ):
            raise RuntimeError(
                f"KVCache: queries ({texts}, T, H, {size}), keys and values ({texts}, T, {heads}, "
                f"{size}) of {keys.dtype} are needed, H a multiple of {heads}; got "
                f"{describe([q, k, v])}"
            )
        if not 0 <= start <= end <= room:
            raise ValueError(f"KVCache: {end} tokens do not fit room for {room}")
        scale = 1 / math.sqrt(size)
        found = backend_of(q).cached_attention(q, k, v, keys, values, start, scale)
        self.length = end
        return found
