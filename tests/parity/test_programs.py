"""Programs written for PyTorch run unmodified under `compat.as_torch()`, with the same numbers.

Each file of `tests/programs` with a function `run(rng)` starts from what a NumPy generator gives,
so that both libraries get the same weights and batches, and returns numbers: losses, gradients,
choices. What it prints is the same, too.
"""

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import pytest

from microtensor.compat import as_torch

torch = pytest.importorskip("torch")

PROGRAMS = sorted(
    path
    for path in (Path(__file__).parents[1] / "programs").glob("*.py")
    if "\ndef run(rng):\n" in path.read_text()
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """PyTorch on one thread, and without calling a C++ compiler."""
    monkeypatch.setattr(torch, "compile", lambda model: model)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def numbers(path, torch, dtype):
    """What the program returns, and prints, computed in this dtype by this torch."""
    program = {"__name__": path.stem}
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(path.read_text(), str(path), "exec"), program)
            found = program["run"](np.random.default_rng(0))
    finally:
        torch.set_default_dtype(before)
    assert program["torch"] is torch
    return np.array(found, dtype=float), printed.getvalue()


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_same_numbers(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's advice on speed
        theirs, told = numbers(path, torch, "float64")
    with as_torch() as mt:
        ours, said = numbers(path, mt, "float64")
    assert len(ours) == len(theirs) > 3
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
    assert said == told
