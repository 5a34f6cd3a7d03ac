"""What each rank does in test_ranks.py: every function asserts, with torch or with microtensor.

python tests/distributed/programs.py NAME
"""

import sys

import numpy as np
import torch
import torch.distributed as dist
from torch import nn, optim
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.nn.utils import clip_grad_norm_


def numbers(shape, seed):
    """The same numbers in both libraries."""
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return torch.from_numpy(values)


def model(seed=0):
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(numbers(tuple(p.shape), seed + i))
    return net


def told(tensor):
    return np.asarray(tensor.detach().float()).ravel().tolist()


# ---- each returns numbers that both libraries must agree on ------------------------------------


def collectives(rank, size):
    own, found = numbers((3, 2), rank), []
    for op in (dist.ReduceOp.SUM, dist.ReduceOp.MIN, dist.ReduceOp.MAX, dist.ReduceOp.PRODUCT):
        x = own.clone()
        dist.all_reduce(x, op)
        found += told(x)
    x = own.clone()
    dist.broadcast(x, size - 1)
    found += told(x)
    rows = [torch.zeros(3, 2) for _ in range(size)]
    dist.all_gather(rows, own)
    whole = torch.zeros(3 * size, 2)
    dist.all_gather_into_tensor(whole, own)
    assert told(whole) == told(torch.cat(rows))
    found += told(whole)
    x = torch.zeros(2)
    dist.scatter(x, [torch.full((2,), float(i)) for i in range(size)] if rank == 0 else None, 0)
    assert told(x) == [rank, rank]
    rows = [torch.zeros(3, 2) for _ in range(size)] if rank == 0 else None
    dist.gather(own, rows, 0)
    found += told(torch.cat(rows)) if rank == 0 else []
    x = own.clone()
    dist.reduce(x, 0)
    found += told(x) if rank == 0 else []
    for dtype in (torch.float64, torch.int32, torch.int64, torch.uint8, torch.bool):
        rows = [torch.zeros(3, dtype=dtype) for _ in range(size)]
        dist.all_gather(rows, (torch.arange(3) + rank).to(dtype))
        found += [v for row in rows for v in told(row)]
    return found


def works(rank, size):
    tensors = [torch.full((5,), float(rank + i)) for i in range(3)]
    works = [dist.all_reduce(x, async_op=True) for x in tensors]
    for work in reversed(works):
        work.wait()
    return [v for x in tensors for v in told(x)]


def messages(rank, size):
    if size == 1:
        return []
    if rank == 0:
        dist.send(torch.arange(4.0), 1)
        x = torch.zeros(2, 2)
        assert dist.recv(x) == 1
        return told(x)
    if rank == 1:
        x = torch.zeros(4)
        dist.recv(x, src=0)
        dist.send(x * 2, 0)
        return told(x)
    return []


def objects(rank, size):
    values = [None] * size
    dist.all_gather_object(values, {"rank": rank, "text": "ä" * rank, "row": [1, (2.5, None)]})
    assert [v["rank"] for v in values] == list(range(size)) and values[rank]["text"] == "ä" * rank
    values = [rank, "x"] if rank == 0 else [None, None]
    dist.broadcast_object_list(values, 0)
    assert values == [0, "x"]
    return []


def groups(rank, size):
    group = dist.new_group([size - 1])
    assert (dist.get_rank(group) == 0) is (rank == size - 1)
    both = dist.new_group(list(range(size)))
    x = torch.tensor([float(rank)])
    dist.all_reduce(x, group=both)
    return told(x)


def gradients(rank, size):
    """DDP with clipping, accumulation and AdamW: gradients, then parameters."""
    ddp = DDP(model(seed=rank))
    assert all(name.startswith("module.") for name in ddp.state_dict())
    optimizer, found = optim.AdamW(ddp.parameters(), lr=1e-2), []
    x, y = numbers((12, 4), 100)[rank::size], numbers((12, 3), 101)[rank::size]
    for step in range(3):
        optimizer.zero_grad()
        if step == 1:
            with ddp.no_sync():
                ((ddp(x) - y) ** 2).mean().backward()
        ((ddp(x) - y) ** 2).mean().backward()
        norm = clip_grad_norm_(ddp.parameters(), 0.5)
        found += [norm.item(), *(v for p in ddp.parameters() for v in told(p.grad))]
        optimizer.step()
    return found + [v for p in ddp.parameters() for v in told(p)]


def unused(rank, size):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = model(), model(3), model(9)

        def forward(self, x):
            return self.a(x) + (self.b(x) if rank == 0 else 0)

    two = DDP(Two(), find_unused_parameters=True)
    for _ in range(2):
        two(torch.ones(2, 4)).sum().backward()
    assert all(p.grad is None for p in two.module.c.parameters())
    return [v for p in two.module.b.parameters() for v in told(p.grad)]


def samplers(rank, size):
    sampler_class, found = torch.utils.data.distributed.DistributedSampler, []
    for n, seed, drop_last in ((10, 0, False), (11, 3, True), (3, 2**33 + 1, False), (1, 0, False)):
        sampler = sampler_class(range(n), shuffle=True, seed=seed, drop_last=drop_last)
        for epoch in (0, 1, 7):
            sampler.set_epoch(epoch)
            found += [len(sampler), *sampler]
    return found


PROGRAMS = [collectives, works, messages, objects, groups, gradients, unused, samplers]


def run(names):
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    found = {f.__name__: f(rank, size) for f in PROGRAMS if not names or f.__name__ in names}
    everyone = [None] * size
    dist.all_gather_object(everyone, found)
    dist.destroy_process_group()
    return everyone if rank == 0 else None


if __name__ == "__main__":
    import json

    if (everyone := run(sys.argv[2:])) is not None:
        with open(sys.argv[1], "w", encoding="utf-8") as file:
            json.dump(everyone, file)
