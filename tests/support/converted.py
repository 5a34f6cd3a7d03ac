"""The programs of `tests/programs`, which import torch, with that import changed."""

import re
from types import ModuleType

from places import CLONE

PROGRAMS = CLONE / "tests" / "programs"


def imported(name):
    """A program as a module, with `import torch` meaning microtensor."""
    source = (PROGRAMS / name).read_text()
    lines = source.split("\n")
    for i, line in enumerate(lines):
        if re.match(r"import torch\b", line):
            lines[i] = line.replace("torch", "microtensor", 1)
            if line == "import torch":
                lines[i] += " as torch"
    module = ModuleType(name.removesuffix(".py"))
    exec(compile("\n".join(lines), str(PROGRAMS / name), "exec"), module.__dict__)
    return module
