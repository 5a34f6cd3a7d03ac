"""`utils.data.distributed`: which samples are whose."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np

from ..utils.data.sampler import Sampler
from .groups import get_rank, get_world_size


class DistributedSampler(Sampler[int]):
    """The numbers of one process's samples: every W-th of an order that all processes share.

    The order is PyTorch's for the same `seed` and epoch; `set_epoch` before each epoch gives a
    new one. All ranks get equally many: the first samples are repeated at the end, or with
    `drop_last` the last ones left out.
    """

    def __init__(self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None,
                 shuffle: bool = True, seed: int = 0, drop_last: bool = False) -> None:  # fmt: skip
        num_replicas = get_world_size() if num_replicas is None else num_replicas
        rank = get_rank() if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.epoch, self.shuffle, self.seed, self.drop_last = 0, shuffle, seed, drop_last
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else -(-n // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order = shuffled(n, self.seed + self.epoch) if self.shuffle else list(range(n))
        if self.total_size > n:
            order = (order * -(-self.total_size // max(n, 1)))[: self.total_size]
        return iter(order[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order: that of an epoch, from 0 on."""
        self.epoch = epoch


def shuffled(n: int, seed: int) -> list[int]:
    """PyTorch's `randperm(n)` after `manual_seed(seed)`: Fisher-Yates with the Mersenne Twister."""
    random = np.random.MT19937()
    random._legacy_seeding(seed & 0xFFFFFFFF)
    order = list(range(n))
    if n > 1:
        places = (random.random_raw(n - 1) % np.arange(n, 1, -1, dtype=np.uint64)).tolist()
        for i, place in enumerate(places):
            order[i], order[i + place] = order[i + place], order[i]
    return order


__all__ = ["DistributedSampler"]
