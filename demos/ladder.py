"""The ladder: every model of the story learns from the same text, with the same budget.

python demos/ladder.py                         a table; drawn, and with the samples, in runs/ladder
python demos/ladder.py --steps 2000            with four times the budget
python demos/ladder.py --rungs bigram tiny_lm  some of them

The budget is a number of windows of text: steps × 32 windows × 64 characters. The n-gram, which
counts, reads the text once. Held-out loss is the mean of −log p(next character) on the last tenth
of the text, in nats; all models are asked about the same windows of it.
"""

import sys

from models.cli import ladder


def main(argv=None):
    return ladder.main(argv, "ladder.py", __doc__)


if __name__ == "__main__":
    sys.exit(main())
