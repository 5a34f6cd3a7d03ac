"""Caches of keys and values, so that generating a token does not compute all earlier ones again.

The key and value of a token do not depend on later tokens, which the causal mask hides from it. So
both are computed once and kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

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


# ---- texts that come and go --------------------------------------------------------------


class BatchCache:
    """A cache whose texts have lengths of their own, for a batch that texts join and leave.

    It takes over the memory of a `KVCache`. Before a call of the model, `rows` says which of its
    texts the tokens belong to that come in; after it, `advance` counts them. A text's numbers are
    the same whatever other texts there are.
    """

    def __init__(self, cache: KVCache) -> None:
        self.lengths = np.zeros(cache.layers[0].keys.shape[0], np.int64)  # of each text
        self.rows = np.zeros(0, np.int64)
        self.room = cache.layers[0].keys.shape[2]
        self.layers = [BatchLayerCache(layer, self) for layer in cache.layers]

    @property
    def length(self) -> int:
        """The number of tokens seen of the longest text among `rows`."""
        return int(self.lengths[self.rows].max(initial=0))

    def select(self, rows: Any) -> None:
        """Let the tokens that come in next belong to these texts, one row of tokens for each."""
        self.rows = np.array(rows, np.int64)

    def advance(self, tokens: int) -> None:
        """Count tokens that came in for each of the selected texts."""
        self.lengths[self.rows] += tokens

    def clear(self, row: int) -> None:
        """Forget a text, whose place another one may take."""
        self.lengths[row] = 0

    def positions(self, idx: Tensor) -> Tensor:
        """The places (B, T), each in its text, of the tokens idx (B, T) that come next."""
        places = idx._wrap(self._positions(idx._data)[0])
        if mode.tape is not None:
            mode.tape.note(self.positions, self._positions, [idx], places)
        return places

    def _positions(self, idx):
        if idx.shape[0] != len(self.rows):
            raise ValueError(
                f"BatchCache: {len(self.rows)} texts were selected, got tokens of {idx.shape[0]}"
            )
        return self.lengths[self.rows][:, None] + np.arange(idx.shape[1]), None


class BatchLayerCache:
    """Keys and values (texts, G, L, D) of one layer of a `BatchCache`."""

    def __init__(self, layer: LayerCache, batch: BatchCache) -> None:
        self.keys, self.values, self.batch = layer.keys, layer.values, batch

    @quiet
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """`LayerCache.attend` for the texts that were selected: (B, T, H D)."""
        if is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
            raise RuntimeError("BatchCache: a cache keeps no graph; use it under no_grad()")
        y = q._wrap(self._attend(q._data, k._data, v._data)[0])
        if mode.tape is not None:
            mode.tape.note(self.attend, self._attend, [q, k, v], y)
        return y

    def _attend(self, q, k, v):
        keys, values, rows = self.keys._data, self.values._data, self.batch.rows
        texts, G, room, D = keys.shape
        B, T, H = q.shape[:3]
        starts = self.batch.lengths[rows]
        fits = q.shape == (B, T, H, D) and k.shape == v.shape == (B, T, G, D)
        if not fits or len(rows) != B or H % G or not q.dtype == k.dtype == v.dtype == keys.dtype:
            raise RuntimeError(
                f"BatchCache: queries ({len(rows)}, T, H, {D}), keys and values ({len(rows)}, T, "
                f"{G}, {D}) of {keys.dtype} are needed, got {describe([q, k, v])}"
            )
        if B and not (rows.min() >= 0 and rows.max() < texts and starts.max() + T <= room):
            raise ValueError(f"BatchCache: {starts.max() + T} tokens do not fit room for {room}")
        scale = 1 / math.sqrt(D)
        return backend_of(q).batch_attention(q, k, v, keys, values, rows, starts, scale), None
