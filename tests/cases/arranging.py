"""Other arrangements of elements."""

import numpy as np

from .table import INDEX, case

for name in ("conj", "real"):
    case(name, lambda x: x, (3, 4), shares=True)
case("ravel", np.ravel, (3, 4), shares=True)
case("broadcast_to", lambda x: np.broadcast_to(x, (2, 3, 4)), (3, 1), size=(2, 3, 4), shares=True)
case("atleast_1d", np.atleast_1d, (), shares=True)
case("atleast_2d", np.atleast_2d, (3,), shares=True)
case("atleast_3d", np.atleast_3d, (3, 4), shares=True)
for name in ("hstack", "vstack", "dstack", "column_stack"):
    for shape in ((3,), (3, 2)):
        case(name, lambda *x, n=name: getattr(np, n)(x), shape, shape,
             call=lambda m, *x, n=name: getattr(m, n)(x))  # fmt: skip
case("block_diag", lambda a, b: np.block([[a, np.zeros((2, 1))], [np.zeros((3, 3)), b]]),
     (2, 3), (3, 1))  # fmt: skip
case("split_with_sizes", lambda x: (x[:, :1], x[:, 1:]), (3, 4), split_sizes=(1, 3), dim=1)
case("tensor_split", lambda x: np.array_split(x, 3), (7, 2),
     call=lambda m, x: m.tensor_split(x, 3))  # fmt: skip
case("tensor_split", lambda x: np.array_split(x, (1, 5), 1), (2, 7),
     call=lambda m, x: m.tensor_split(x, (1, 5), dim=1))  # fmt: skip
for name in ("hsplit", "vsplit", "dsplit"):
    case(name, lambda x, n=name: getattr(np, n)(x, 2), (2, 4, 6),
         call=lambda m, x, n=name: getattr(m, n)(x, 2))  # fmt: skip
case("meshgrid", lambda *x: np.meshgrid(*x, indexing="ij"), (2,), (3,), indexing="ij")
case("meshgrid", lambda *x: np.meshgrid(*x, indexing="xy"), (2,), (3,), indexing="xy")
case("cartesian_prod", lambda a, b: np.stack([np.repeat(a, 3), np.tile(b, 2)], 1), (2,), (3,))
case("combinations", lambda x: np.stack([x[[0, 0, 1]], x[[1, 2, 2]]], 1), (3,))
case("fliplr", np.fliplr, (3, 4))
case("flipud", np.flipud, (3, 4))
for k in range(4):
    case("rot90", lambda x, k=k: np.rot90(x, k, (2, 0)), (2, 3, 4), k=k, dims=(2, 0))
case("repeat_interleave", lambda x: np.repeat(x, 2), (2, 3), repeats=2)
case("repeat_interleave", lambda x, r: np.repeat(x, r, 1), (2, 4), INDEX[0],
     call=lambda m, x, r: m.repeat_interleave(x, r, dim=1))  # fmt: skip
case("diag", np.diag, (3, 4))
case("diag", lambda x: np.diag(x, -1), (3,), diagonal=-1)
case("diag_embed", lambda x: np.stack([np.diag(r, 1) for r in x]), (2, 3), offset=1)
case("diagflat", np.diagflat, (2, 3))
