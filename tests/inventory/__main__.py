"""See `tests/inventory/__init__.py`."""

import sys

from . import FILES, PACKAGE, found, written

package = "models" if "models" in sys.argv else PACKAGE
if "--write" in sys.argv:
    FILES[package].write_text(written(found(package)), encoding="utf-8", newline="\n")
else:
    print(written(found(package)), end="")
