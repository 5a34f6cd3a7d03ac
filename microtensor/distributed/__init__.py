"""Several processes that compute together, in the words of torch.distributed: over MPI, or NCCL.

    python -m microtensor.distributed.run --nproc_per_node 2 program.py

starts a program in several processes, which meet in `init_process_group` and exchange tensors by
the functions here; `nn.parallel.DistributedDataParallel` averages the gradients of a model's
copies. Started by itself, a program is a group of one. **No gradient flows back through an
exchange.**
"""

from .collectives import (
    ReduceOp, all_gather, all_gather_into_tensor, all_reduce, all_to_all, barrier, broadcast,
    gather, monitored_barrier, reduce, reduce_op, reduce_scatter, reduce_scatter_tensor, scatter,
)  # fmt: skip
from . import data_parallel, optim, sampler, sync_batch_norm
from .groups import (
    Backend, GroupMember, ProcessGroup, Work, default_pg_timeout, destroy_process_group,
    get_backend, get_global_rank, get_group_rank, get_process_group_ranks, get_rank, get_world_size,
    group, init_process_group, is_available, is_gloo_available, is_initialized, is_mpi_available,
    is_nccl_available, is_torchelastic_launched, new_group,
)  # fmt: skip
from .messages import P2POp, batch_isend_irecv, irecv, isend, recv, send
from .objects import (
    all_gather_object, broadcast_object_list, gather_object, scatter_object_list,
)  # fmt: skip
from .transport import DistBackendError

DistError = RuntimeError

__all__ = [
    "Backend", "DistBackendError", "DistError", "GroupMember", "P2POp", "ProcessGroup", "ReduceOp",
    "Work", "all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce",
    "all_to_all", "barrier", "batch_isend_irecv", "broadcast", "broadcast_object_list",
    "default_pg_timeout", "destroy_process_group", "gather", "gather_object", "get_backend",
    "get_global_rank", "get_group_rank", "get_process_group_ranks", "get_rank", "get_world_size",
    "group", "init_process_group", "irecv", "is_available", "is_gloo_available", "is_initialized",
    "is_mpi_available", "is_nccl_available", "is_torchelastic_launched", "isend",
    "monitored_barrier", "new_group", "recv", "reduce", "reduce_op", "reduce_scatter",
    "reduce_scatter_tensor", "scatter", "scatter_object_list", "send",
]  # fmt: skip
