"""Optimizers whose state is shared out among the processes (ZeRO, stage 1: arXiv:1910.02054)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import enable_grad
from ..optim.optimizer import Optimizer
from ..tensor import Tensor
from ..typing import ParameterGroups, StateDict
from .data_parallel import share
from .groups import ProcessGroup, chosen
from .objects import all_gather_object


class ZeroRedundancyOptimizer(Optimizer):
    """An `optimizer_class` for each process's share of the parameters, whose state it alone has.

    The gradients are the same everywhere already (`DistributedDataParallel`); each process steps
    its share and tells the others the outcome. Parameters go, the largest first, to the process
    that has least. `consolidate_state_dict` collects the whole state on one rank, for
    `state_dict` to save.
    """

    def __init__(self, params: ParameterGroups, optimizer_class: Callable[..., Optimizer],
                 process_group: ProcessGroup | None = None, parameters_as_bucket_view: bool = False,
                 overlap_with_ddp: bool = False, **defaults: Any) -> None:  # fmt: skip
        if overlap_with_ddp:
            raise NotImplementedError("ZeroRedundancyOptimizer: overlap_with_ddp is not built")
        self.process_group = chosen("ZeroRedundancyOptimizer", process_group)
        self._optimizer_class, self._options, self.optim = optimizer_class, defaults, None
        self._whole: StateDict | None = None
        super().__init__(params, defaults)
        self._share_out()

    def _share_out(self):
        """Make the optimizer of this process's share."""
        ranks, here = len(self.process_group.ranks), self.process_group._rank
        sizes, self._owner = [0] * ranks, {}
        parameters = [p for group in self.param_groups for p in group["params"]]
        for p in sorted(parameters, key=lambda p: -p.numel()):
            owner = sizes.index(min(sizes))
            sizes[owner] += p.numel()
            self._owner[p] = owner
        groups = [
            {**group, "params": [p for p in group["params"] if self._owner[p] == here]}
            for group in self.param_groups
        ]
        state = self.optim.state if self.optim else {}
        self.optim = self._optimizer_class(groups, **self._options)
        self.optim.state.update(state)
        for group, own in zip(self.param_groups, self.optim.param_groups):
            for option, value in own.items():
                group.setdefault(option, value)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        if self.optim is not None:
            self._share_out()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update this process's share, and take over the others' updates of theirs."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._pass_options_on()
        self.optim.step()
        for rank in range(len(self.process_group.ranks)):
            theirs = [
                p for group in self.param_groups for p in group["params"] if self._owner[p] == rank
            ]
            share(theirs, self.process_group, rank)
        return loss

    def _pass_options_on(self):
        """Let the options, which schedules change, be those of the share's optimizer."""
        for group, own in zip(self.param_groups, self.optim.param_groups):
            own.update({name: value for name, value in group.items() if name != "params"})

    # ---- checkpoints -------------------------------------------------------------------------

    def _numbers(self) -> dict[Tensor, int]:
        numbers: dict[Tensor, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                numbers.setdefault(p, len(numbers))
        return numbers

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Collect the whole state on rank `to`; every process calls it, before `state_dict`."""
        numbers = self._numbers()
        mine = {numbers[p]: dict(state) for p, state in self.optim.state.items() if state}
        shares: list[Any] = [None] * len(self.process_group.ranks)
        all_gather_object(shares, mine, self.process_group)
        self._whole = None
        if self.process_group.ranks[self.process_group._rank] == to:
            state = {number: values for part in shares for number, values in part.items()}
            self._whole = {"state": dict(sorted(state.items()))}

    def state_dict(self) -> StateDict:
        """The whole state, after `consolidate_state_dict` on the rank that it was collected on."""
        if self._whole is None:
            raise RuntimeError(
                "ZeroRedundancyOptimizer: the state is shared out: call "
                "consolidate_state_dict(to=rank) on all ranks, then state_dict() on that one"
            )
        return {**super().state_dict(), **self._whole}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Go on from the whole state: each process keeps its share of it."""
        super().load_state_dict(state_dict)
        here = self.process_group._rank
        self.optim.state.clear()
        self.optim.state.update({p: s for p, s in self.state.items() if self._owner[p] == here})
        self.state.clear()
        self._pass_options_on()
