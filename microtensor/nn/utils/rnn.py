"""Sequences of different lengths in one tensor: padded, or packed without the padding."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from ... import ops
from ...tensor.creation import arange, as_tensor, full
from ...typing import Tensor


class PackedSequence(
    namedtuple("PackedSequence", "data batch_sizes sorted_indices unsorted_indices")
):
    """The elements of several sequences without padding: all first ones, then all second ones, ….

    `batch_sizes[t]` sequences have an element t; they are in the order `sorted_indices`, the
    longest first, and `unsorted_indices` is its inverse (both None: in the given order).
    """

    __slots__ = ()

    def __new__(cls, data, batch_sizes, sorted_indices=None, unsorted_indices=None):
        if unsorted_indices is None and sorted_indices is not None:
            unsorted_indices = ops.argsort(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The sequence with its data on another device or in another dtype."""
        return self._replace(data=self.data.to(*args, **kwargs))


def pad_sequence(sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0,
                 padding_side: str = "right") -> Tensor:  # fmt: skip
    """Tensors (Tᵢ, …) in one (T, N, …), or (N, T, …) with `batch_first`, padded to the longest."""
    if padding_side not in ("left", "right"):
        raise ValueError(f'pad_sequence: padding_side is "left" or "right", got {padding_side!r}')
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("pad_sequence: at least one sequence is needed, got none")
    longest, like = max(len(s) for s in sequences), sequences[0]

    def padded(s):
        rest = full((longest - len(s), *like.shape[1:]), padding_value, dtype=like.dtype,
                    device=like.device)  # fmt: skip
        return ops.cat([s, rest] if padding_side == "right" else [rest, s])

    return ops.stack([padded(s) for s in sequences], 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """The sequences (Tᵢ, …) of a padded tensor, as a list."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(n)] for row, n in zip(rows, lengths, strict=True)]


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded tensor (T, N, …), or (N, T, …) with `batch_first`, as a PackedSequence.

    Pass `enforce_sorted=False` unless the lengths are descending already.
    """
    lengths = as_tensor(lengths, dtype="int64")
    input = input.transpose(0, 1) if batch_first else input
    if lengths.ndim != 1 or len(lengths) != input.shape[1]:
        raise ValueError(
            f"pack_padded_sequence: {input.shape[1]} lengths are needed, got {lengths.tolist()}"
        )
    if bool((lengths <= 0).any()) or bool((lengths > len(input)).any()):
        raise RuntimeError(
            f"pack_padded_sequence: lengths lie within 1 … {len(input)}, got {lengths.tolist()}"
        )
    order = None
    if not enforce_sorted:
        lengths, order = ops.sort(lengths, descending=True, stable=True)
        input = input[:, order]
    elif bool((lengths[1:] > lengths[:-1]).any()):
        raise RuntimeError(
            "pack_padded_sequence: the lengths must descend, or enforce_sorted be False; got "
            f"{lengths.tolist()}"
        )
    there = arange(int(lengths[0]))[:, None] < lengths
    return PackedSequence(input[: len(there)][there], there.sum(1), order)


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False,
                        padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(padded tensor (T, N, …), lengths (N)) of a PackedSequence; (N, T, …) with `batch_first`."""
    data, sizes, _, back = sequence
    longest = len(sizes) if total_length is None else total_length
    if longest < len(sizes):
        raise ValueError(
            f"pad_packed_sequence: total_length {total_length} is less than the longest sequence, "
            f"{len(sizes)}"
        )
    there = arange(int(sizes[0])) < sizes[:, None]
    out = full((longest, there.shape[1], *data.shape[1:]), padding_value, dtype=data.dtype,
               device=data.device)  # fmt: skip
    out[: len(sizes)][there] = data
    lengths = there.sum(0)
    if back is not None:
        out, lengths = out[:, back], lengths[back]
    return (out.transpose(0, 1) if batch_first else out), lengths


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Tensors (Tᵢ, …) as a PackedSequence."""
    lengths = [len(s) for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences (Tᵢ, …) of a PackedSequence, as a list."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences))
