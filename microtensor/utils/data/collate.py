"""Batches: a list of samples as tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...ops import stack
from ...tensor import Tensor
from ...tensor.creation import as_tensor, tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of samples as one batch: numbers, arrays and tensors stacked along a new first axis.

    In tuples, named tuples, lists and dicts each field is collated by itself (a tuple becomes a
    list, as in PyTorch); strings stay as they are. Python floats become float64. Raises TypeError
    for other types, RuntimeError for samples of different sizes.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(batch)
    if isinstance(first, (np.ndarray, np.generic)):
        return stack([as_tensor(sample) for sample in batch])
    if isinstance(first, float):
        return tensor(batch, dtype="float64")
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError(f"samples of different lengths: {[len(sample) for sample in batch]}")
        fields = [default_collate(field) for field in zip(*batch)]
        return type(first)(*fields) if hasattr(first, "_fields") else fields
    raise TypeError(
        "a batch is made of tensors, arrays, numbers, strings, tuples, lists and dicts, not of "
        f"{type(first).__name__}; pass a collate_fn"
    )


def default_convert(sample: Any) -> Any:
    """A sample with its arrays as tensors, as loaders without batches return it."""
    if isinstance(sample, (np.ndarray, np.generic)):
        return as_tensor(sample)
    if isinstance(sample, Mapping):
        return {key: default_convert(value) for key, value in sample.items()}
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*map(default_convert, sample))
    if isinstance(sample, (list, tuple)):
        return [default_convert(value) for value in sample]
    return sample
