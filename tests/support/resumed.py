"""Training runs in a process of their own, for test_resume.py.

python tests/support/resumed.py trainer FOLDER STEPS SAVE_EVERY [DIE]
python tests/support/resumed.py loop FOLDER EPOCHS

Each goes on where the folder's checkpoint stands. With DIE, the process kills itself before its
DIE-th call that changes something on the disk.
"""

import builtins
import os
import signal
import sys
from pathlib import Path

import microtensor as mt
from microtensor import nn
from microtensor.utils.data import DataLoader, TensorDataset
from models import CharTokenizer, MiniGPT, MiniGPTConfig
from models.text.data import split
from models.training import Trainer, TrainingConfig, load_newest

TEXT = "It is a truth universally acknowledged, that a single man in possession of " * 30


# ---- MiniGPT and its Trainer: dropout, random windows, warm-up and cosine --------------------


def trainer(folder, steps, save_every, keep=3):
    mt.manual_seed(7)
    tokenizer = CharTokenizer.from_text(TEXT)
    sizes = {"context_length": 8, "d_model": 12, "n_heads": 3, "n_layers": 2, "dropout": 0.2}
    model = MiniGPT(MiniGPTConfig(vocab_size=tokenizer.vocab_size, **sizes))
    config = TrainingConfig(
        steps=100, batch_size=4, warmup=10, eval_every=save_every, eval_batches=1, eval_batch_size=4
    )
    path = Path(folder, "checkpoint.safetensors")
    parts = split(tokenizer.encode_array(TEXT), 8)
    return Trainer(model, tokenizer, *parts, config, path, {"text": "a novel"}, keep)


def train(folder, steps, save_every):
    """Go on to `steps` of the 100, and save there."""
    t = trainer(folder, steps, save_every)
    try:
        t.load_state_dict(load_newest(t.checkpoint))
    except FileNotFoundError:
        print("from the start")
    print("ready", flush=True)
    for record in t.run():
        if record.step == steps:
            t.save()
            break
    return t


# ---- a loop as a person writes it: epochs in shuffled order -----------------------------------


def loop(folder, epochs, batches=10):
    """Ten batches an epoch; saved when `epochs` of 10 are done."""
    path = Path(folder, "loop.safetensors")
    mt.manual_seed(1)
    order = mt.Generator().manual_seed(2)
    x = mt.randn(8 * batches, 5)
    data = TensorDataset(x, x.square().sum(1, keepdim=True))
    loader = DataLoader(data, batch_size=8, shuffle=True, generator=order)
    model = nn.Sequential(nn.Linear(5, 16), nn.Dropout(0.3), nn.GELU(), nn.Linear(16, 1))
    optimizer = mt.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = mt.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=10 * batches)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    start, losses = 0, []
    if path.exists():
        state = mt.load(path)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        order.set_state(state["order"])
        mt.set_rng_state(state["random"])
        start, losses = state["epoch"], state["losses"]
    for _ in range(start, epochs):
        for inputs, targets in loader:
            loss = nn.functional.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"order": order.get_state(), "random": mt.get_rng_state()}
    mt.save(state | {"epoch": epochs, "losses": losses}, path)
    return path


# ---- death -------------------------------------------------------------------------------------


def die_before(call):
    """Kill this process, as from outside, before the `call`-th change of the disk."""
    left = [call]

    def deadly(function, counts=lambda *args: True):
        def call(*args, **kwargs):
            left[0] -= bool(counts(*args))
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in ("fsync", "replace", "link", "unlink"):
        setattr(os, name, deadly(getattr(os, name)))
    builtins.open = deadly(open, lambda path, mode="r", *rest: "x" in mode or "w" in mode)


def main(kind, folder, until, save_every="10", die=None):
    if die:
        die_before(int(die))
    if kind == "loop":
        loop(folder, int(until))
    else:
        train(folder, int(until), int(save_every))


if __name__ == "__main__":
    main(*sys.argv[1:])
