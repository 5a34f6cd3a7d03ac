"""Programs that their authors wrote for PyTorch run here with nothing but the imports changed."""

import re
from pathlib import Path
from types import ModuleType

import numpy as np

PROGRAMS = Path(__file__).parent / "programs"


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


def test_only_the_imports_are_changed():
    assert imported("mini_gpt.py").torch.__name__ == "microtensor"


def test_mini_gpt_learns_its_text():
    program = imported("mini_gpt.py")
    losses, text = program.main()
    alphabet = len(set(program.TEXT))
    assert abs(losses[0] - np.log(alphabet)) < 0.2  # at first, every letter is as likely
    assert np.mean(losses[-10:]) < 0.2
    words = set(re.findall(r"\w+", program.TEXT))
    written = re.findall(r"\w+", text)[1:-1]  # the first and the last may be cut
    assert len(text) == 101 and sum(w in words for w in written) >= 0.8 * len(written)
