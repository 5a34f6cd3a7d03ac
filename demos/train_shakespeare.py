"""Train MiniGPT on Shakespeare, watch it go from noise to verse, and let it write.

python demos/train_shakespeare.py                       train from the start
python demos/train_shakespeare.py --resume              go on after Ctrl-C
python demos/train_shakespeare.py --prompt "ROMEO:"     let the trained model write
"""

import sys
from pathlib import Path

from models.cli import flags, program, run
from models.ladder import RUNGS


def shakespeare():
    """The program: MiniGPT on bytes, with samples while it trains."""
    name = Path(__file__).name
    return run.Program(
        RUNGS["minigpt"], name, f"python {sys.argv[0]}", __doc__, "runs/shakespeare",
        tokenizer="byte", prompt_loads=True,
    )  # fmt: skip


def main(argv=None):
    prog = shakespeare()
    return program.run(lambda args: run.execute(prog, args), flags.parser(prog), argv)


if __name__ == "__main__":
    sys.exit(main())
