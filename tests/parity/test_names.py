"""The names by which coverage is counted are those of the PyTorch that is installed."""

import covered
import pytest

torch = pytest.importorskip("torch")


def test_the_stored_names_are_pytorchs():
    version, names = covered.stored()
    if torch.__version__.split("+")[0] != version:
        pytest.skip(f"the names are those of PyTorch {version}, here is {torch.__version__}")
    assert names == covered.pytorchs(torch), "run: python tests/covered.py --names"
