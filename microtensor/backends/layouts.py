"""Orders of elements in memory, by the names that programs give them.

Arrays are laid out row by row, and views as NumPy makes them. What a function computes does not
depend on it, so where PyTorch takes `memory_format=`, `layout=` or `pin_memory=`, functions here
take it, too, and lay out their results as they always do.
"""

from .naming import PACKAGE


class memory_format:
    """An order that programs ask for: `mt.preserve_format`, `mt.channels_last`, …"""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"{PACKAGE[0]}.{self.name}"

    def __reduce__(self):
        return self.name  # pickle and copy find the very same object under its name here


layout = memory_format  # of PyTorch's two kinds of names for it
preserve_format, contiguous_format, channels_last, strided = map(
    memory_format, ("preserve_format", "contiguous_format", "channels_last", "strided")
)
# layouts to compare with: no tensor has them here
sparse_coo, sparse_csr, sparse_csc, sparse_bsr, sparse_bsc = (
    memory_format(f"sparse_{kind}") for kind in ("coo", "csr", "csc", "bsr", "bsc")
)
