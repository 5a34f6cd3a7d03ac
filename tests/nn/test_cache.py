"""The key/value cache: attention token by token is attention of the whole text."""

import numpy as np
import pytest

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn

B, T, D = 2, 7, 8


def whole(q, k, v):
    """Causal attention of (B, T, H, D) and twice (B, T, G, D): (B, T, H D)."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return y.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("steps", [[1] * T, [T], [3, 1, 1, 2], [1, 6]])
@pytest.mark.parametrize(("H", "G"), [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("dtype", [mt.float32, mt.float64], ids=str)
def test_in_pieces_as_at_once(steps, H, G, dtype, device):
    mt.manual_seed(0)
    q, k, v = (mt.randn(B, T, n, D, dtype=dtype).to(device) for n in (H, G, G))
    cache = nn.KVCache(1, B, G, T, D, like=q)
    parts, start = [], 0
    for n in steps:
        new = slice(start, start + n)
        parts.append(cache.layers[0].attend(q[:, new], k[:, new], v[:, new]))
        start += n
        assert cache.length == start
    ours, exact = mt.cat(parts, 1), whole(q, k, v)
    assert ours.shape == (B, T, H * D) and ours.dtype is dtype
    tolerance = 2e-6 if dtype is mt.float32 else 1e-14
    np.testing.assert_allclose(ours.cpu().numpy(), exact.cpu().numpy(), 0, tolerance)
    np.testing.assert_array_equal(
        cache.layers[0].keys.cpu().numpy(), k.transpose(1, 2).cpu().numpy()
    )


def test_what_a_cache_refuses():
    x = mt.randn(1, 2, 1, D)
    layer = nn.KVCache(3, 1, 1, 3, D, like=x).layers[2]
    with pytest.raises(RuntimeError, match="keeps no graph; use it under no_grad"):
        layer.attend(x.clone().requires_grad_(), x, x)
    assert layer.length == 0 and not layer.keys.any()
    layer.attend(x, x, x)
    with pytest.raises(ValueError, match="4 tokens do not fit room for 3"):
        layer.attend(x, x, x)
    assert layer.length == 2
    with pytest.raises(ValueError, match="it is for 3 texts, got 1"):
        nn.KVCache(1, 3, 1, 3, D, like=x).layers[0].attend(x, x, x)
