"""Configurations of `quantize_`: the form that a weight gets."""

from dataclasses import dataclass

import numpy as np

from ..backends.weights import Int4Weight, Int8Weight, StoredWeight


@dataclass(frozen=True)
class Int8WeightOnlyConfig:
    """A byte for each number, and a float32 scale for each row: the largest error of a number is
    1 / 254 of the largest number in its row."""

    def stored(self, numbers: np.ndarray) -> StoredWeight:
        """float32 numbers (m, n) in this form."""
        return Int8Weight.of(numbers)


@dataclass(frozen=True)
class Int4WeightOnlyConfig:
    """Half a byte for each number, and a float32 scale for each `group_size` numbers of a row.

    ValueError unless the group size is a multiple of 32.
    """

    group_size: int = 32

    def __post_init__(self) -> None:
        size = self.group_size
        if type(size) is not int or size < 32 or size % 32:
            raise ValueError(
                f"Int4WeightOnlyConfig: group_size is a multiple of 32, such as 32 or 128, got "
                f"{size!r:.60}"
            )

    def stored(self, numbers: np.ndarray) -> StoredWeight:
        """float32 numbers (m, n) in this form."""
        return Int4Weight.of(numbers, self.group_size)
