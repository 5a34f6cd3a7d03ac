"""A small training in one process or several, for test_together.py.

    together.py FOLDER STEPS DROPOUT [DIE]

Goes on where the folder's checkpoint stands. With DIE, the last rank kills itself in that step, the
first time.
"""

import os
import signal
import sys
from pathlib import Path

import microtensor as mt
from models import CharTokenizer, MiniGPT, MiniGPTConfig
from models.text.data import split
from models.training import Trainer, TrainingConfig, load_newest, together

TEXT = "It is a truth universally acknowledged, that a single man in possession of " * 30

folder, steps, dropout, *die = sys.argv[1:]
together.meet()
mt.manual_seed(7)
tokenizer = CharTokenizer.from_text(TEXT)
sizes = {"context_length": 8, "d_model": 12, "n_heads": 3, "n_layers": 2}
model = MiniGPT(MiniGPTConfig(vocab_size=tokenizer.vocab_size, dropout=float(dropout), **sizes))
config = TrainingConfig(
    steps=int(steps), batch_size=7, warmup=10, eval_every=10, eval_batches=3, eval_batch_size=4
)
path = Path(folder, "checkpoint.safetensors")
parts = split(tokenizer.encode_array(TEXT), 8)
trainer = Trainer(model, tokenizer, *parts, config, path)
if path.exists():
    state = load_newest(path)
    state["training"]["steps"] = config.steps
    trainer.load_state_dict(state)
path.parent.mkdir(exist_ok=True)
for record in trainer.run():
    first = not together.restarted()
    if die and record.step == int(die[0]) and first and together.rank() == together.size() - 1:
        os.kill(os.getpid(), signal.SIGKILL)
