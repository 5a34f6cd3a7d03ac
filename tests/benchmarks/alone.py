"""A process in which one library alone trains MiniGPT, so that its memory and its start count.

python -m tests.benchmarks.alone microtensor|torch BATCH STEPS CONFIG prints the peak in MiB.
"""

import importlib
import json
import resource
import sys
from pathlib import Path
from types import SimpleNamespace


def training_step(lib, model, batch):
    """A function that does one AdamW step of a MiniGPT with clipped gradients."""
    config = model.config
    optimizer = lib.optim.AdamW(model.parameters(), lr=1e-3)
    shape = (batch, config.context_length)
    idx, targets = (lib.randint(0, config.vocab_size, shape) for _ in range(2))

    def step():
        _, loss = model(idx, targets)
        optimizer.zero_grad()
        loss.backward()
        lib.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def main(library, batch, steps, config):
    lib, config = importlib.import_module(library), json.loads(config)
    if library == "torch":
        from .torch_minigpt import MiniGPT

        model = MiniGPT(SimpleNamespace(**config))
    else:
        from models.ladder.minigpt import MiniGPT, MiniGPTConfig

        model = MiniGPT(MiniGPTConfig(**config))
    step = training_step(lib, model, int(batch))
    for _ in range(int(steps)):
        step()
    print(peak())


def peak():
    """The most memory that this process has held, in MiB."""
    try:  # not getrusage: its figure includes the process that started this one
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
