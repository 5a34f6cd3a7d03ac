"""See `tests/inventory/__init__.py`."""

import sys

from . import NAMES, found, written

if "--write" in sys.argv:
    NAMES.write_text(written(found()), encoding="utf-8", newline="\n")
else:
    print(written(found()), end="")
