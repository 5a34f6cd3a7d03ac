"""Training by several processes, measured; and a small model of how far it carries.

python -m tests.benchmarks.distributed                                  all of it, by turns
python -m tests.benchmarks.distributed LIBRARY BATCH STEPS OPTIMIZER    what each rank runs
"""

import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

NETWORKS = {  # bytes and seconds, as commonly published: line rate, and latency of a small message
    "shared memory": None,  # as measured here
    "1 Gb Ethernet": (0.118e9, 50e-6),
    "10 Gb Ethernet": (1.18e9, 20e-6),
    "25 Gb Ethernet": (2.9e9, 10e-6),
    "InfiniBand HDR": (24e9, 1.5e-6),
}
PARAMETERS = 867_072  # of the default MiniGPT, which measured the steps


# ---- what is measured ----------------------------------------------------------------------------


def main(library, batch, steps, optimizer):
    """A rank: it trains, and rank 0 prints medians of a step and of an exchange, in seconds."""
    if library == "torch":
        import torch as lib
        import torch.distributed as dist
        from torch.distributed.optim import ZeroRedundancyOptimizer
        from torch.nn.parallel import DistributedDataParallel

        from .torch_minigpt import MiniGPT

        lib.set_num_threads(1)
        config = SimpleNamespace(
            vocab_size=256, context_length=64, d_model=128, n_heads=4, n_layers=4, dropout=0.1
        )
    else:
        import microtensor as lib
        from microtensor import distributed as dist
        from microtensor.distributed.optim import ZeroRedundancyOptimizer
        from microtensor.nn.parallel import DistributedDataParallel
        from models.ladder.minigpt import MiniGPT, MiniGPTConfig

        config = MiniGPTConfig()
    from .worker import peak

    dist.init_process_group("gloo")
    size, batch = dist.get_world_size(), int(batch)
    model = MiniGPT(config)
    ddp = DistributedDataParallel(model) if size > 1 else model
    if optimizer == "zero":
        adam = ZeroRedundancyOptimizer(model.parameters(), lib.optim.AdamW, lr=1e-3)
    else:
        adam = lib.optim.AdamW(model.parameters(), lr=1e-3)
    shape = (batch // size, config.context_length)
    idx, targets = (lib.randint(0, config.vocab_size, shape) for _ in range(2))

    def step():
        _, loss = ddp(idx, targets)
        adam.zero_grad()
        loss.backward()
        lib.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()

    gradients, one = lib.zeros(PARAMETERS), lib.zeros(1)
    found = {
        "step": median(step, int(steps)),
        "exchange": median(lambda: dist.all_reduce(gradients), 40),
        "latency": median(lambda: dist.all_reduce(one), 200),
        "memory": float(peak()),
    }
    inner = getattr(adam, "optim", adam)
    found["state"] = sum(t.numel() * 4 for s in inner.state.values()
                         for t in s.values() if hasattr(t, "numel")) / 2**20  # fmt: skip
    if dist.get_rank() == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


def median(run, times):
    times = max(times, 3)
    run(), run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measured(library, n, batch=32, steps=20, optimizer="adam"):
    """What rank 0 of n processes found."""
    program = ["-m", "tests.benchmarks.distributed", library, str(batch), str(steps), optimizer]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if library == "microtensor":
        launcher = [sys.executable, "-m", "microtensor.distributed.run", "--nproc_per_node"]
        done = subprocess.run(
            [*launcher, str(n), *program], check=True, capture_output=True, text=True,
            env={**os.environ, **threads},
        )  # fmt: skip
        lines = done.stdout
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        where = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        jobs = [
            subprocess.Popen(
                [sys.executable, *program], stdout=subprocess.PIPE, text=True,
                env={**os.environ, **threads, **where, "RANK": str(rank)},
            )
            for rank in range(n)
        ]  # fmt: skip
        lines = [job.communicate()[0] for job in jobs][0]
    return json.loads(next(line for line in lines.splitlines() if line.startswith("{")))


# ---- what is computed ----------------------------------------------------------------------------


class Model:
    """The time of a step: what one process computes, and what n exchange.

    computing = (fixed + each · batch / n) · parameters / those measured. The exchange is a ring's:
    2 (n − 1) messages of 1/n of the bytes (Patarasuk and Yuan, 2009).
    """

    def __init__(self, at_32, at_16, exchange, latency):
        self.each = max(at_32 - at_16, 1e-9) / 16
        self.fixed = max(at_32 - 32 * self.each, 0)
        self.bandwidth = 4 * PARAMETERS / max(exchange - latency, 1e-9)  # of two, in shared memory
        self.latency = latency / 2

    def computing(self, batch, parameters=PARAMETERS):
        return (self.fixed + self.each * batch) * parameters / PARAMETERS

    def exchange(self, n, parameters=PARAMETERS, network=None):
        bandwidth, latency = network or (self.bandwidth, self.latency)
        return 2 * (n - 1) * (latency + 4 * parameters / n / bandwidth)

    def step(self, n, batch, parameters=PARAMETERS, network=None):
        """Seconds for a step of `batch` windows, shared out among n."""
        return self.computing(batch / n, parameters) + self.exchange(n, parameters, network)

    def half(self, batch, parameters=PARAMETERS, network=None):
        """The number of ranks from which on the exchange is half of a step; None up to 4,096."""
        for n in range(2, min(batch, 4096) + 1):
            if self.exchange(n, parameters, network) > self.computing(batch / n, parameters):
                return n
        return None


def bench(seconds=6):
    """Everything, by turns, in about 20 times `seconds`, beside PyTorch if it is installed."""
    torch = importlib.util.find_spec("torch")
    steps, rounds = max(5, int(seconds * 4)), 3
    libraries = ["microtensor", *(["torch"] if torch else [])]
    found = {}
    for _ in range(rounds):
        for library in libraries:
            for n, batch in ((1, 32), (2, 32), (1, 16)):
                found.setdefault((library, n, batch), []).append(measured(library, n, batch, steps))
    best = {
        key: {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        for key, runs in found.items()
    }
    for library in libraries:
        one, two = best[library, 1, 32], best[library, 2, 32]
        print(
            f"{library:12} 1 process {1 / one['step']:6.2f} steps/s, 2 processes "
            f"{1 / two['step']:6.2f} ({one['step'] / two['step']:.2f} times); exchange "
            f"{two['exchange'] * 1e3:.2f} ms ({two['exchange'] / two['step']:.1%} of a step), of "
            f"one number {two['latency'] * 1e6:.0f} µs"
        )
    for optimizer in ("adam", "zero"):
        run = measured("microtensor", 2, 32, 5, optimizer)
        print(f"{optimizer}: state {run['state']:.1f} MiB a rank, peak {run['memory']:.0f} MiB")
    model = Model(
        best["microtensor", 1, 32]["step"], best["microtensor", 1, 16]["step"],
        best["microtensor", 2, 32]["exchange"], best["microtensor", 2, 32]["latency"],
    )  # fmt: skip
    show(model, {n: measured("microtensor", n, 32, steps)["step"] for n in (1, 2, 4)})


def show(model, runs):
    """Print the model beside what was measured, and how far it says that this carries."""
    cores = os.cpu_count() or 1
    for n, found in runs.items():
        told = model.step(n, 32) if n <= cores else model.step(n, 32) * n / cores
        print(f"{n} processes, batch 32: {told * 1e3:.1f} ms by the model, {found * 1e3:.1f} ms")
    print("ranks from which on the exchange is half of a step (batch 512; by parameters)")
    sizes = PARAMETERS, 10_000_000, 124_000_000
    for name, network in NETWORKS.items():
        halves = [model.half(512, size, network) for size in sizes]
        row = ", ".join(f"{size / 1e6:.1f} M: {n or 'none'}" for size, n in zip(sizes, halves))
        print(f"  {name:16} {row}")


if __name__ == "__main__":
    main(*sys.argv[1:]) if sys.argv[1:] else bench()
