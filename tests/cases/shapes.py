"""Other shapes for the same elements."""

import numpy as np

from .table import case

case("reshape", lambda x: x.reshape(4, 6), (2, 3, 4), shape=(4, -1))
case("reshape", lambda x: x.reshape(()), (1, 1), shape=())
case("reshape", lambda x: x.reshape(3, 0), (0, 3), shape=(3, 0))
case("permute", lambda x: x.transpose(2, 0, 1), (2, 3, 4), dims=(2, 0, -2))
case("permute", lambda x: x, (), dims=())
case("transpose", lambda x: x.swapaxes(0, 2), (2, 3, 4), dim0=0, dim1=-1)
case("movedim", lambda x: np.moveaxis(x, (0, 1), (2, 0)), (2, 3, 4), source=(0, 1),
     destination=(2, 0))  # fmt: skip
case(
    "expand", lambda x: np.broadcast_to(x, (2, 3, 4)), (3, 1), call=lambda m, x: x.expand(2, -1, 4)
)
case("expand", lambda x: np.broadcast_to(x, (0, 3)), (1, 3), call=lambda m, x: x.expand(0, 3))
case("squeeze", lambda x: x.squeeze(), (1, 3, 1))
case("squeeze", lambda x: x.squeeze(0), (1, 3, 1), dim=0)
case("squeeze", lambda x: x.squeeze(0), (1, 3, 1), dim=(0, 1))
case("unsqueeze", lambda x: x[:, None], (3, 4), dim=1)
case("unsqueeze", lambda x: x[..., None], (3, 4), dim=-1)
case("flatten", lambda x: x.reshape(2, 12, 5), (2, 3, 4, 5), start_dim=1, end_dim=2)
case("flatten", lambda x: x.reshape(1), ())
case("unflatten", lambda x: x.reshape(3, 2, 2), (3, 4), dim=1, sizes=(2, -1))
case("cat", lambda a, b: np.concatenate([a, b], 1), (3, 4), (3, 2),
     call=lambda m, *x: m.cat(x, dim=1))  # fmt: skip
case("cat", lambda a, b: a, (3, 4), (0,), call=lambda m, *x: m.cat(x, dim=1) * 1)
case("stack", lambda a, b: np.stack([a, b], -1), (3, 4), (3, 4),
     call=lambda m, *x: m.stack(x, dim=-1))  # fmt: skip
case("split", lambda x: (x[:, :3], x[:, 3:6], x[:, 6:]), (2, 7), split_size_or_sections=3, dim=1)
case("split", lambda x: (x[:1], x[1:1], x[1:]), (4, 2), split_size_or_sections=[1, 0, 3])
case("chunk", lambda x: (x[:, :3], x[:, 3:6], x[:, 6:]), (2, 7), chunks=3, dim=1)
case("unbind", lambda x: tuple(x), (3, 4))
case("unbind", lambda x: tuple(x.T), (3, 4), dim=-1)
case("repeat", lambda x: np.tile(x, (2, 1, 3)), (3, 2), call=lambda m, x: x.repeat(2, 1, 3))
case("tile", lambda x: np.tile(x, 2), (3, 4), dims=(2,), call=lambda m, x: x.tile(2))
case("roll", lambda x: np.roll(x, 5), (3, 4), shifts=5)
case("roll", lambda x: np.roll(x, (1, -2), (0, 1)), (3, 4), shifts=(1, -2), dims=(0, 1))
case("flip", lambda x: x[::-1, :, ::-1], (2, 3, 4), call=lambda m, x: m.flip(x, (0, 2)))
for diagonal in (-1, 0, 2):
    case("tril", lambda x, k=diagonal: np.tril(x, k), (2, 3, 4), diagonal=diagonal)
    case("triu", lambda x, k=diagonal: np.triu(x, k), (2, 3, 4), diagonal=diagonal)
case("broadcast_tensors", np.broadcast_arrays, (3, 1), (4,))
