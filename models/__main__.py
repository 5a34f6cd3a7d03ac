"""`python -m models` lists its commands: see `models/cli/commands.py`."""

import sys

from .cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
