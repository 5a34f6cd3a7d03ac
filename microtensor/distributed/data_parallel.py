"""`nn.parallel`: copies of a model that learn together, one in each process (arXiv:2006.15704)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from .. import ops
from ..autograd import is_grad_enabled, no_grad
from ..nn.containers import DataParallel
from ..nn.module import Module
from ..tensor import Tensor
from ..tensor.creation import zeros, zeros_like
from ..utils._pytree import tree_leaves
from .collectives import ReduceOp, all_reduce, broadcast
from .groups import ProcessGroup, chosen
from .objects import all_gather_object


class DistributedDataParallel(Module):
    """A module with a copy in each process; backward averages the gradients over all of them.

    At the start every process gets the parameters and buffers of rank 0. Each then computes on
    its own share of a batch; when a backward has reached the last parameter, all gradients are
    averaged in one exchange for each dtype, and the same optimizers make the same steps
    everywhere. Gradients are those of the whole batch where the shares are equally large and the
    loss is a mean.

    `find_unused_parameters` looks, after each forward, for parameters that its result does not
    depend on; `static_graph` looks once. Without, one that got no gradient is an error at the
    next forward, which names it. Buffers are those of rank 0 again before each forward
    (`broadcast_buffers`). `device_ids`, `bucket_cap_mb` and what else PyTorch has for GPUs
    changes nothing.
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0,
        broadcast_buffers: bool = True, init_sync: bool = True,
        process_group: ProcessGroup | None = None, bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False, check_reduction: bool = False,
        gradient_as_bucket_view: bool = False, static_graph: bool = False, **others: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter "
                "that requires a gradient."
            )
        self.process_group = chosen("DistributedDataParallel", process_group)
        if self.process_group is None:
            raise RuntimeError("DistributedDataParallel: this process is not in the group")
        self.module, self.device_ids, self.broadcast_buffers = module, device_ids, broadcast_buffers
        self.find_unused_parameters, self.static_graph = find_unused_parameters, static_graph
        self.require_backward_grad_sync = self.require_forward_param_sync = True
        self._learned = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._names = {id(p): name for name, p in self._learned.items()}
        self._waiting: set[int] | None = None  # parameters whose gradients are still to come
        self._unused: set[int] | None = None  # those that the last forward did not use
        if init_sync:
            same_tensors("DistributedDataParallel", module, self.process_group)
            share([*module.parameters(), *module.buffers()], self.process_group)
        for p in self._learned.values():
            p.register_post_accumulate_grad_hook(self._gradient_ready)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        learning = is_grad_enabled() and self.require_backward_grad_sync
        if learning:
            self._check_complete()
        if self.require_forward_param_sync and self.broadcast_buffers:
            share(list(self.module.buffers()), self.process_group)
        result = self.module(*inputs, **options)
        self.require_forward_param_sync = learning
        if learning:
            self._expect(result)
        elif is_grad_enabled():
            self._waiting = None
        return result

    def _expect(self, result):
        """Note the parameters whose gradients the next backward is to bring."""
        self._waiting = set(self._names)
        if self.find_unused_parameters or self.static_graph:
            if self._unused is None or not self.static_graph:
                self._unused = self._waiting - reached(result)
            self._waiting -= self._unused

    def _check_complete(self):
        if self._waiting and len(self._waiting) < len(self._names) - len(self._unused or ()):
            names = [name for key, name in self._names.items() if key in self._waiting]
            raise RuntimeError(
                "Expected to have finished reduction in the prior iteration "
                f"before starting a new one. {len(names)} parameters got no gradient: "
                f"{', '.join(names[:10])}{', …' * (len(names) > 10)}. Pass "
                "find_unused_parameters=True if the loss does not depend on all of them"
            )

    def _gradient_ready(self, parameter):
        """A gradient is there; the last one brings the exchange."""
        if self._waiting is None:
            return
        self._waiting.discard(id(parameter))
        if not self._waiting:
            self._waiting = None
            average_gradients(
                self._learned.values(), self.process_group,
                some_unused=self.find_unused_parameters or self.static_graph,
            )  # fmt: skip

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Let backwards within add to this process's gradients alone: the first one after averages.

        The forward belongs into it, too.
        """
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    @contextlib.contextmanager
    def join(self, divide_by_initial_world_size: bool = True, enable: bool = True,
             throw_on_early_termination: bool = False) -> Iterator[None]:  # fmt: skip
        """Refused, unless `enable=False`: all ranks need equally many batches."""
        if enable:
            raise NotImplementedError(
                "DistributedDataParallel.join: give all ranks equally many batches, as "
                "DistributedSampler does"
            )
        yield


def average_gradients(parameters: Iterable[Tensor], group: ProcessGroup | None = None, *,
                      some_unused: bool = False) -> None:  # fmt: skip
    """Replace the gradients of each process by their means over all of them.

    One flat buffer for each dtype is exchanged. A parameter without a gradient counts as 0, and
    with `some_unused` stays without one if no process has one.
    """
    parameters = list(parameters)
    if some_unused:
        has = zeros(len(parameters))
        for i, p in enumerate(parameters):
            has[i] = p.grad is not None
        all_reduce(has, ReduceOp.MAX, group)
        parameters = [p for p, used in zip(parameters, has.tolist()) if used]
    with no_grad():
        for p in parameters:
            if p.grad is None:
                p.grad = zeros_like(p)
        for grads in alike([p.grad for p in parameters]):
            flat = ops.cat([g.detach().reshape(-1) for g in grads])
            all_reduce(flat, ReduceOp.AVG, group)
            _spread(flat, grads)


@no_grad()
def share(tensors: list[Tensor], group: ProcessGroup | None = None, src: int = 0) -> None:
    """Give every process the tensors of one of the group, in one exchange for each dtype."""
    for some in alike(tensors):
        flat = ops.cat([t.detach().reshape(-1) for t in some])
        broadcast(flat, group=group, group_src=src)
        if chosen("share", group)._rank != src:
            _spread(flat, some)


def alike(tensors):
    """Lists of tensors that have one dtype and device each."""
    lists = {}
    for t in tensors:
        lists.setdefault((t.dtype, str(t.device)), []).append(t)
    return lists.values()


def _spread(flat, tensors):
    """Copy a flat tensor back into those that it was made of."""
    start = 0
    for t in tensors:
        end = start + t.numel()
        t.detach().copy_(flat[start:end].reshape(t.shape))
        start = end


def same_tensors(call: str, module: Module, group: ProcessGroup | None) -> None:
    """RuntimeError, on every rank, unless all have parameters and buffers of the same kinds."""
    found = chosen(call, group)
    mine = [
        [name, t.dtype.name, list(t.shape)]
        for name, t in [*module.named_parameters(), *module.named_buffers()]
    ]
    kinds: list[Any] = [None] * len(found.ranks)
    all_gather_object(kinds, mine, group)
    for rank, theirs in zip(found.ranks, kinds):
        for one, other in zip([*kinds[0], None], [*theirs, None]):
            if one != other:
                raise RuntimeError(
                    f"{call}: the copies differ: rank {found.ranks[0]} has {_described(one)}, "
                    f"rank {rank} has {_described(other)} in that place"
                )


def _described(kind):
    return f"{kind[0]} ({kind[1]} {tuple(kind[2])})" if kind else "nothing more"


def reached(result: Any) -> set[int]:
    """The ids of the leaves to which a backward from a result would bring gradients."""
    tensors = [t for t in tree_leaves(result) if isinstance(t, Tensor) and t.requires_grad]
    waiting = [(t._node or t) for t in tensors]
    seen, leaves = set(), set()
    while waiting:
        source = waiting.pop()
        if isinstance(source, Tensor):
            leaves.add(id(source))
        elif source not in seen:
            seen.add(source)
            waiting += [edge[0] for edge in source.edges if edge is not None]
    return leaves


__all__ = ["DataParallel", "DistributedDataParallel"]
