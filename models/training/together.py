"""Training by several processes: each learns from its share of every batch, and rank 0 writes.

One process alone does the same, with nothing to exchange. The batch is the one that a single
process would take, cut into as many parts, so that losses and gradients are those of the whole
batch, up to the order in which float32 numbers are added.
"""

import contextlib
import os

import microtensor as mt
from microtensor import distributed as dist
from microtensor.distributed import worker
from microtensor.distributed.data_parallel import average_gradients, same_tensors, share

from .. import files


def meet():
    """Join the processes that were started together with this one. Returns how many they are."""
    if not dist.is_initialized() and worker.started_by_mpi().get("WORLD_SIZE", 1) > 1:
        dist.init_process_group("mpi")
    return size()


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


def size():
    return dist.get_world_size() if dist.is_initialized() else 1


def restarted():
    """True if the launcher has started all processes again after one had failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


@contextlib.contextmanager
def one_after_the_other():
    """Let rank 0 do first what the others then find done, such as a download."""
    if rank() and size() > 1:
        dist.barrier()
    yield
    if not rank() and size() > 1:
        dist.barrier()


@contextlib.contextmanager
def folder_of_one(folder):
    """Have a folder for these processes alone: rank 0 has its lock (`files.only_here`)."""
    with contextlib.ExitStack() as lock:
        with one_after_the_other():
            if rank() == 0:
                lock.enter_context(files.only_here(folder))
        yield


@contextlib.contextmanager
def quiet_but_for_rank_0():
    """Of several processes one prints."""
    if rank() == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def any_rank(flag):
    """True if the flag is true on some rank."""
    if size() == 1:
        return flag
    told = mt.tensor(float(flag))
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return bool(told.item())


def summed(*numbers):
    """The sums of numbers over all ranks, in float64."""
    if size() == 1:
        return numbers
    totals = mt.tensor(numbers, dtype=mt.float64)
    dist.all_reduce(totals)
    return tuple(totals.tolist())


def own_part(n):
    """The slice of n rows that is this rank's: rows in order, and at most one more than others'.

    ValueError if there are fewer rows than ranks.
    """
    if n < size():
        raise ValueError(f"a batch of {n} cannot be shared out among {size()} processes")
    return slice(n * rank() // size(), n * (rank() + 1) // size())


def begin(model):
    """Let all ranks begin with the model of rank 0. RuntimeError if it is another one elsewhere."""
    if size() > 1:
        same_tensors("training", model, None)
        share([*model.parameters(), *model.buffers()])


def average(parameters):
    """Replace the gradients by their means over all ranks."""
    if size() > 1:
        average_gradients(parameters)


def random_states():
    """The state of each rank's stream of random numbers, by its name in checkpoints."""
    if size() == 1:
        return {"default": mt.get_rng_state()}
    states = [None] * size()
    dist.all_gather_object(states, mt.get_rng_state())
    return {"default" if i == 0 else f"rank {i}": state for i, state in enumerate(states)}


def set_random_state(states, seed):
    """Go on with the random numbers of this rank; a rank that was not there begins a new stream."""
    name = f"rank {rank()}" if rank() else "default"
    if name in states:
        mt.set_rng_state(states[name])
    else:
        mt.manual_seed(seed + 1_000_003 * rank())
