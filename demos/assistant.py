"""From base model to assistant: taught to answer, to please, and to be right, stage by stage.

python demos/assistant.py                 all stages, a table, curves, and a talk with each stage
python demos/assistant.py --resume        go on after Ctrl-C
python demos/assistant.py --you-choose    you choose between answers, and it learns your taste
"""

import sys
from pathlib import Path

from models.cli import assistant, program


def main(argv=None):
    return program.run(assistant.execute, assistant.parser(Path(__file__).name, __doc__), argv)


if __name__ == "__main__":
    sys.exit(main())
