"""Programs that their authors wrote for PyTorch run here with nothing but the imports changed."""

import re

import numpy as np
from converted import imported


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
