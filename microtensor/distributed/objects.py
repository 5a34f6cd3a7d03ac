"""Exchanges of plain values, such as numbers, lists and tensors, as files hold them: no pickle."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ..files.serialization import load, save
from ..tensor.creation import from_numpy
from .collectives import all_gather, broadcast, scatter
from .groups import chosen, outside


def _packed(call, value):
    """A value as bytes. TypeError for what is no plain value and no tensor."""
    file = io.BytesIO()
    try:
        save(value, file)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{call}: plain values and tensors can be exchanged; {error}") from None
    return from_numpy(np.frombuffer(file.getvalue(), np.uint8).copy())


def _unpacked(octets):
    return load(io.BytesIO(octets.numpy().tobytes()))


def _padded(octets, size):
    out = np.zeros(size, np.uint8)
    out[: len(octets)] = octets.numpy()
    return from_numpy(out)


def _sizes(size, group, ranks):
    """The number of bytes that each rank has."""
    sizes = [from_numpy(np.zeros(1, np.int64)) for _ in range(ranks)]
    all_gather(sizes, from_numpy(np.array([size], np.int64)), group)
    return [int(n.item()) for n in sizes]


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Put the value of each process into `object_list`, in the order of ranks."""
    found = chosen("all_gather_object", group)
    if found is None:
        return outside("all_gather_object")
    ranks = len(found.ranks)
    if not isinstance(object_list, list) or len(object_list) != ranks:
        raise ValueError(f"all_gather_object: object_list needs a place for each of {ranks} ranks")
    packed = _packed("all_gather_object", obj)
    sizes = _sizes(len(packed), group, ranks)
    rows = [from_numpy(np.zeros(max(sizes), np.uint8)) for _ in sizes]
    all_gather(rows, _padded(packed, max(sizes)), group)
    object_list[:] = [_unpacked(row[:size]) for row, size in zip(rows, sizes)]
    return None


def gather_object(obj: Any, object_gather_list: list[Any] | None = None, dst: int | None = None,
                  group: Any = None, group_dst: int | None = None) -> None:  # fmt: skip
    """Put the value of each process into `object_gather_list` of rank `dst` (0)."""
    found = chosen("gather_object", group)
    if found is None:
        return outside("gather_object")
    here = found._rank == found.position("gather_object", "dst", dst, group_dst, usual=0)
    everyone: list[Any] = [None] * len(found.ranks)
    all_gather_object(everyone, obj, group)
    if here:
        if object_gather_list is None or len(object_gather_list) != len(everyone):
            raise ValueError(
                f"gather_object: object_gather_list needs a place for each of {len(everyone)} ranks"
            )
        object_gather_list[:] = everyone
    return None


def broadcast_object_list(object_list: list[Any], src: int | None = None, group: Any = None,
                          device: Any = None, group_src: int | None = None) -> None:  # fmt: skip
    """Replace the values of a list by those of rank `src`."""
    found = chosen("broadcast_object_list", group)
    if found is None:
        return outside("broadcast_object_list")
    source = found.position("broadcast_object_list", "src", src, group_src, usual=0)
    here = found._rank == source
    packed = _packed("broadcast_object_list", list(object_list)) if here else None
    size = from_numpy(np.array([len(packed) if here else 0], np.int64))
    broadcast(size, group=group, group_src=source)
    octets = packed if here else from_numpy(np.zeros(int(size.item()), np.uint8))
    broadcast(octets, group=group, group_src=source)
    values = _unpacked(octets)
    if len(values) != len(object_list):
        raise ValueError(
            f"broadcast_object_list: {len(values)} values came for a list of {len(object_list)}"
        )
    object_list[:] = values
    return None


def scatter_object_list(
    scatter_object_output_list: list[Any], scatter_object_input_list: list[Any] | None = None,
    src: int | None = None, group: Any = None, group_src: int | None = None,
) -> None:  # fmt: skip
    """Put into the output list, as its first element, this process's value of rank `src`'s list."""
    call = "scatter_object_list"
    found = chosen(call, group)
    if found is None:
        return outside(call)
    source = found.position(call, "src", src, group_src, usual=0)
    here = found._rank == source
    given = scatter_object_input_list if here else []
    if here and (given is None or len(given) != len(found.ranks)):
        raise ValueError(f"{call}: the source needs a value for each of {len(found.ranks)} ranks")
    packed = [_packed(call, value) for value in given or []]
    sizes = from_numpy(np.array([len(p) for p in packed] or [0] * len(found.ranks), np.int64))
    broadcast(sizes, group=group, group_src=source)
    most = int(sizes.max().item())
    mine = from_numpy(np.zeros(most, np.uint8))
    rows = [_padded(p, most) for p in packed] if here else None
    scatter(mine, rows, group=group, group_src=source)
    scatter_object_output_list[0] = _unpacked(mine[: int(sizes[found._rank].item())])
    return None
