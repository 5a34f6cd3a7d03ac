"""Exchanges of tensors between all processes of a group, in PyTorch's words.

Each is called by every process of the group, in the same order, with tensors of the same shape and
dtype; otherwise all of them get an error that says who called what. Tensors are changed in place,
wherever they are; nothing of it is recorded: **no gradient flows back through an exchange.** With
`async_op=True` a call returns a `Work` at once, and its tensors are not to be touched before
`Work.wait()`. A process that is not in the group does nothing, with a warning.
"""

from __future__ import annotations

import enum
from datetime import timedelta
from typing import Any

import numpy as np

from ..autograd import no_grad, xp
from ..autograd.saved import changed
from ..tensor import Tensor
from ..tensor.creation import from_numpy
from .groups import ProcessGroup, Work, chosen, outside, seconds


class ReduceOp(enum.Enum):
    """The operations by which `all_reduce` and its kin join the numbers of the ranks."""

    SUM, AVG, PRODUCT, MIN, MAX = "SUM", "AVG", "PRODUCT", "MIN", "MAX"
    BAND, BOR, BXOR = "BAND", "BOR", "BXOR"

    def __repr__(self) -> str:
        return f"ReduceOp.{self.name}"


reduce_op = ReduceOp  # PyTorch's older name
ReduceOp.RedOpType = ReduceOp  # type: ignore[attr-defined]  # of its members, for annotations

# ---- tensors as arrays that can be exchanged -----------------------------------------------------


class _Held:
    """A tensor as a contiguous array, `array`, for the group's exchanges, and back again.

    With `op` its numbers are joined with others: those of half precision are float32 until then.
    """

    def __init__(self, call: str, value: Tensor, group: ProcessGroup, op: Any = None) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"{call}: a Tensor is needed, got {type(value).__name__}")
        self.value, self.op = value, op and _operation(call, op, value)
        gpu = group.of_gpu() if value.is_cuda else None
        self.exchange = gpu or group.exchange
        self.array = value._data
        half = op and value.dtype.name in ("float16", "bfloat16")
        if not gpu and (half or type(self.array) is not np.ndarray):
            wide = half or value.dtype.name == "bfloat16"
            self.array = (value.detach().float() if wide else value.detach()).cpu().numpy()
        if op and self.array.dtype == bool:  # any, and all
            self.array = self.array.astype(np.uint8)
            self.op = {"SUM": "MAX", "PRODUCT": "MIN"}.get(self.op, self.op)
        if not self.array.flags.c_contiguous:
            self.array = self.array.copy()

    def write_back(self) -> None:
        """Let the tensor have the numbers that are in the array now."""
        if self.op == "AVG":
            self.array /= self.ranks
        if self.array is self.value._data:
            changed(self.array, "an exchange")
        else:
            with no_grad():
                self.value.detach().copy_(_tensor(self.array, self.value))

    def joined(self, group: ProcessGroup) -> str:
        """The name of the operation; and how many ranks an average is over."""
        self.ranks = len(group.ranks)
        return self.op


def _operation(call, op, value):
    """The name of a ReduceOp. RuntimeError where numbers of this dtype have no such operation."""
    if not isinstance(op, ReduceOp):
        raise TypeError(f"{call}: op is a ReduceOp, got {op!r}")
    real = not value.is_complex()
    whole = real and not value.is_floating_point()
    needs = {
        "AVG": (not whole, "floating numbers"),
        "MIN": (real, "numbers with an order"),
        "MAX": (real, "numbers with an order"),
        **dict.fromkeys(("BAND", "BOR", "BXOR"), (whole, "integers")),
    }  # fmt: skip
    fits, wanted = needs.get(op.name, (True, ""))
    if not fits:
        raise RuntimeError(f"{call}: {op.name} needs {wanted}, got {value.dtype}")
    return op.name


def _tensor(array, like):
    """A tensor of an array, in the dtype and on the device of another."""
    found = from_numpy(array) if isinstance(array, np.ndarray) else like._wrap(array)
    return found.to(device=like.device, dtype=like.dtype)


def _kind(value):
    """Dtype and shape in words, which all ranks compare."""
    return f"{value.dtype.name} {tuple(value.shape)}"


def _rows(call, name, values, group, like):
    """A list of one tensor for each rank, of the shape and dtype of `like`, or ValueError."""
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{call}: {name} is a list of tensors, got {type(values).__name__}")
    if len(values) != len(group.ranks):
        raise ValueError(
            f"{call}: {name} needs a tensor for each of {len(group.ranks)} ranks, got {len(values)}"
        )
    for i, value in enumerate(values):
        if not isinstance(value, Tensor) or _kind(value) != _kind(like):
            kind = _kind(value) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{call}: {name}[{i}] must be {_kind(like)} as the tensor, got {kind}")
    return values


def _room(held, group):
    """An array with a row for each rank."""
    array = held.array
    return xp(array).empty((len(group.ranks), *array.shape), dtype=array.dtype)


def _stacked(call, values, group, op=None):
    """A list of tensors as an array with a row for each."""
    rows = [_Held(call, value, group, op) for value in values]
    parts = _room(rows[0], group)
    for i, row in enumerate(rows):
        parts[i, ...] = row.array
    return parts


def _started(call, group, steps, async_op, result=None, timeout=None):
    work = group.start(call, steps, timeout)
    work._result = result
    if async_op:
        return work
    work.wait()
    return None


# ---- collectives ---------------------------------------------------------------------------------


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Wait until every process of the group is here."""
    found = chosen("barrier", group)
    if found is None:
        return outside("barrier")
    return _started("barrier", found, iter(()), async_op)


def monitored_barrier(
    group: Any = None, timeout: timedelta | None = None, wait_all_ranks: bool = False
) -> None:
    """`barrier` with a time-out of its own, whose error names the ranks that did not come."""
    found = chosen("monitored_barrier", group)
    if found is None:
        return outside("monitored_barrier")
    limit = None if timeout is None else seconds(timeout)
    return _started("monitored_barrier", found, iter(()), False, timeout=limit)


def broadcast(tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False,
              group_src: int | None = None) -> Work | None:  # fmt: skip
    """Give every process the tensor of rank `src`, in place of its own."""
    found = chosen("broadcast", group)
    if found is None:
        return outside("broadcast")
    src = found.position("broadcast", "src", src, group_src)
    held = _Held("broadcast", tensor, found)

    def steps():
        yield from held.exchange.broadcast(held.array, src)
        if found._rank != src:
            held.write_back()

    what = f"broadcast of {_kind(tensor)} from rank {found.ranks[src]}"
    return _started(what, found, steps(), async_op, [tensor])


def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None,
               async_op: bool = False) -> Work | None:  # fmt: skip
    """Replace the tensor of every process by the sum (or what `op` is) of all of them."""
    found = chosen("all_reduce", group)
    if found is None:
        return outside("all_reduce")
    held = _Held("all_reduce", tensor, found, op)

    def steps():
        yield from held.exchange.all_reduce(held.array, held.joined(found))
        held.write_back()

    return _started(f"all_reduce({op.name}) of {_kind(tensor)}", found, steps(), async_op, [tensor])


def reduce(tensor: Tensor, dst: int | None = None, op: ReduceOp = ReduceOp.SUM, group: Any = None,
           async_op: bool = False, group_dst: int | None = None) -> Work | None:  # fmt: skip
    """Replace the tensor of rank `dst` by the sum of all; those of the others stay."""
    found = chosen("reduce", group)
    if found is None:
        return outside("reduce")
    dst = found.position("reduce", "dst", dst, group_dst)
    held = _Held("reduce", tensor, found, op)

    def steps():
        yield from held.exchange.reduce(held.array, held.joined(found), dst)
        if found._rank == dst:
            held.write_back()

    what = f"reduce({op.name}) of {_kind(tensor)} to rank {found.ranks[dst]}"
    return _started(what, found, steps(), async_op, [tensor])


def all_gather(tensor_list: list[Tensor], tensor: Tensor, group: Any = None,
               async_op: bool = False) -> Work | None:  # fmt: skip
    """Copy the tensor of each process into `tensor_list`, in the order of ranks."""
    found = chosen("all_gather", group)
    if found is None:
        return outside("all_gather")
    held = _Held("all_gather", tensor, found)
    rows = _rows("all_gather", "tensor_list", tensor_list, found, tensor)
    parts = _room(held, found)

    def steps():
        yield from held.exchange.all_gather(parts, held.array)
        _fill(rows, parts)

    return _started(f"all_gather of {_kind(tensor)}", found, steps(), async_op, tensor_list)


def _fill(rows, parts):
    """Copy an array's rows into tensors."""
    with no_grad():
        for i, value in enumerate(rows):
            value.detach().copy_(_tensor(parts[i, ...], value))


def _whole(call, name, value, part, group):
    """Check a tensor of all ranks' parts, joined along the first dimension or stacked."""
    n, shape = len(group.ranks), tuple(part.shape)
    joined = (n * shape[0], *shape[1:]) if shape else (n,)
    if value.dtype is not part.dtype or tuple(value.shape) not in (joined, (n, *shape)):
        raise ValueError(
            f"{call}: {name} must be {part.dtype.name} of shape {joined} or {(n, *shape)}, for "
            f"parts of {shape}; got {_kind(value)}"
        )


def all_gather_into_tensor(output_tensor: Tensor, input_tensor: Tensor, group: Any = None,
                           async_op: bool = False) -> Work | None:  # fmt: skip
    """Join the tensors of all processes in `output_tensor`, of shape (W n, …) or (W, n, …)."""
    call = "all_gather_into_tensor"
    found = chosen(call, group)
    if found is None:
        return outside(call)
    _whole(call, "output_tensor", output_tensor, input_tensor, found)
    rows = list(output_tensor.detach().view(len(found.ranks), *input_tensor.shape).unbind())
    return all_gather(rows, input_tensor, group, async_op)


def gather(tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int | None = None,
           group: Any = None, async_op: bool = False,
           group_dst: int | None = None) -> Work | None:  # fmt: skip
    """Copy the tensor of each process into `gather_list` of rank `dst` (0)."""
    found = chosen("gather", group)
    if found is None:
        return outside("gather")
    dst = found.position("gather", "dst", dst, group_dst, usual=0)
    held = _Held("gather", tensor, found)
    if found._rank == dst:
        _rows("gather", "gather_list", gather_list, found, tensor)
    elif gather_list:
        raise ValueError(
            f"gather: gather_list is for rank {found.ranks[dst]} alone, the destination"
        )
    parts = _room(held, found) if found._rank == dst else None

    def steps():
        yield from held.exchange.gather(parts, held.array, dst)
        if found._rank == dst:
            _fill(gather_list, parts)

    what = f"gather of {_kind(tensor)} to rank {found.ranks[dst]}"
    return _started(what, found, steps(), async_op, gather_list)


def scatter(tensor: Tensor, scatter_list: list[Tensor] | None = None, src: int | None = None,
            group: Any = None, async_op: bool = False,
            group_src: int | None = None) -> Work | None:  # fmt: skip
    """Give each process its tensor of the `scatter_list` of rank `src` (0)."""
    found = chosen("scatter", group)
    if found is None:
        return outside("scatter")
    src = found.position("scatter", "src", src, group_src, usual=0)
    held, parts = _Held("scatter", tensor, found), None
    if found._rank == src:
        parts = _stacked(
            "scatter", _rows("scatter", "scatter_list", scatter_list, found, tensor), found
        )
    elif scatter_list:
        raise ValueError(f"scatter: scatter_list is for rank {found.ranks[src]} alone, the source")

    def steps():
        yield from held.exchange.scatter(held.array, parts, src)
        held.write_back()

    what = f"scatter of {_kind(tensor)} from rank {found.ranks[src]}"
    return _started(what, found, steps(), async_op, [tensor])


def reduce_scatter(output: Tensor, input_list: list[Tensor], op: ReduceOp = ReduceOp.SUM,
                   group: Any = None, async_op: bool = False) -> Work | None:  # fmt: skip
    """Sum the lists of all processes, tensor by tensor; rank i gets the i-th sum in `output`."""
    found = chosen("reduce_scatter", group)
    if found is None:
        return outside("reduce_scatter")
    held = _Held("reduce_scatter", output, found, op)
    rows = _rows("reduce_scatter", "input_list", input_list, found, output)
    parts = _stacked("reduce_scatter", rows, found, op)

    def steps():
        yield from held.exchange.reduce_scatter(held.array, parts, held.joined(found))
        held.write_back()

    what = f"reduce_scatter({op.name}) of {_kind(output)}"
    return _started(what, found, steps(), async_op, [output])


def reduce_scatter_tensor(output: Tensor, input: Tensor, op: ReduceOp = ReduceOp.SUM,
                          group: Any = None, async_op: bool = False) -> Work | None:  # fmt: skip
    """`reduce_scatter` of a tensor of shape (W n, …) or (W, n, …)."""
    call = "reduce_scatter_tensor"
    found = chosen(call, group)
    if found is None:
        return outside(call)
    _whole(call, "input", input, output, found)
    rows = list(input.detach().reshape(len(found.ranks), *output.shape).unbind())
    return reduce_scatter(output, rows, op, group, async_op)


def all_to_all(output_tensor_list: list[Tensor], input_tensor_list: list[Tensor],
               group: Any = None, async_op: bool = False) -> Work | None:  # fmt: skip
    """Give rank i the i-th tensor of the list; all tensors have one shape."""
    found = chosen("all_to_all", group)
    if found is None:
        return outside("all_to_all")
    first = output_tensor_list[0] if output_tensor_list else None
    rows = _rows("all_to_all", "output_tensor_list", output_tensor_list, found, first)
    given = _rows("all_to_all", "input_tensor_list", input_tensor_list, found, first)
    held = _Held("all_to_all", first, found)
    parts, out = _stacked("all_to_all", given, found), _room(held, found)

    def steps():
        yield from held.exchange.all_to_all(out, parts)
        _fill(rows, out)

    return _started(f"all_to_all of {_kind(first)}", found, steps(), async_op, output_tensor_list)
