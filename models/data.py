"""A text as a data set: every window of it, and the same window one token later."""

import numpy as np

import microtensor as mt
from microtensor.utils.data import Dataset


class TextWindows(Dataset):
    """All windows of `length` tokens of an encoded text: item i is (input, target), both (length,).

    The target is the input shifted by one: at every position, the token that comes next. An array
    of positions gives a batch, in one step. `ids` is a 1-d array of integers of any width; it is
    not copied. ValueError for a text too short to hold one window and the token after it.
    """

    def __init__(self, ids, length, device=None):
        ids = np.asarray(ids)
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise ValueError(
                f"a text is a row of integers, got shape {ids.shape} and dtype {ids.dtype}"
            )
        if len(ids) <= length:
            raise ValueError(
                f"a text of {len(ids):,} tokens is too short: a window of {length} and the token "
                f"after it need {length + 1}"
            )
        self.windows = np.lib.stride_tricks.sliding_window_view(ids, length + 1)
        self.device = device

    def __len__(self):
        return len(self.windows)

    def __getitem__(self, i):
        window = self.windows[np.asarray(i)].astype(np.int64)  # (B, length + 1), a copy
        window = mt.from_numpy(window).to(self.device or "cpu")
        return window[..., :-1], window[..., 1:]

    def random_batch(self, size, generator=None):
        """`size` windows from anywhere in the text: inputs and targets (size, length)."""
        return self[mt.randint(len(self), (size,), generator=generator).numpy()]

    def spread(self, batches, size):
        """`batches` batches of `size` windows, evenly over the text, always the same ones.

        A text with fewer windows than that gives each of them once.
        """
        windows = min(batches * size, len(self))
        starts = np.linspace(0, len(self) - 1, windows).round().astype(np.int64)
        for i in range(0, windows, size):
            yield self[starts[i : i + size]]


def split(ids, length, held_out=0.1, device=None):
    """Windows of an encoded text to learn from, and windows of its last share to test with.

    ValueError for a text of which one part cannot hold a window and the token after it.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"the share of the text held out must be between 0 and 1, got {held_out}")
    n = round(len(ids) * (1 - held_out))
    if min(n, len(ids) - n) <= length:
        raise ValueError(
            f"a text of {len(ids):,} tokens is too short: {n:,} to learn from and {len(ids) - n:,} "
            f"held out must each hold a window of {length} and the token after it"
        )
    return TextWindows(ids[:n], length, device), TextWindows(ids[n:], length, device)
