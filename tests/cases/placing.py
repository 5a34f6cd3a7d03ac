"""Putting elements at places of a flat or one dimension."""

import numpy as np

from .table import INDEX, MASK, ONCE, case, put_array, replaced

case("take", lambda x, i: x.ravel()[i], (3, 4), INDEX)
case("as_strided", lambda x: x.ravel()[[[1, 3, 5], [3, 5, 7]]], (3, 4),
     call=lambda m, x: m.as_strided(x.contiguous(), (2, 3), (2, 2), 1))  # fmt: skip
case("put", lambda x, i, v: replaced(x, np.unravel_index(i, x.shape), v), (3, 4), ONCE[0], (3,))
case("put", lambda x, i, v: x + put_array(v, x.size, i).reshape(x.shape), (3, 4), INDEX[0], (4,),
     call=lambda m, x, i, v: x.put(i, v, accumulate=True))  # fmt: skip
case("index_put", lambda x, i, v: replaced(x, i, v), (3, 4), ONCE[0, :2], (2, 4),
     call=lambda m, x, i, v: x.index_put((i,), v))  # fmt: skip
case("index_put", lambda x, i, v: x + put_array(v, x.shape, i), (4, 3), INDEX[0], (4, 3),
     call=lambda m, x, i, v: x.index_put((i,), v, accumulate=True))  # fmt: skip
case("index_add", lambda x, i, v: x + 3 * put_array(v, x.shape, (slice(None), i)), (2, 4), INDEX[0],
     (2, 4), call=lambda m, x, i, v: x.index_add(1, i, v, alpha=3))  # fmt: skip
case("index_copy", lambda x, i, v: replaced(x, (slice(None), i), v), (2, 4), ONCE[0], (2, 3),
     call=lambda m, x, i, v: x.index_copy(1, i, v))  # fmt: skip
case("index_fill", lambda x, i, v: replaced(x, (slice(None), i), v), (2, 4), INDEX[0], (),
     call=lambda m, x, i, v: x.index_fill(1, i, v))  # fmt: skip
case("masked_scatter", lambda x, m, v: replaced(x, m, v[:8]), (3, 4), MASK, (10,))
