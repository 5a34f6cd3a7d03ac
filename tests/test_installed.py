"""Messages say what is true for how the package was installed. See installed.py for a wheel."""

from pathlib import Path

import microtensor
from microtensor.backends import installed

PACKAGE = Path(microtensor.__file__).parent


def test_only_one_place_knows_how_extras_are_installed():
    for path in PACKAGE.rglob("*.py"):
        if path != Path(installed.__file__):
            text = path.read_text("utf-8")
            assert "pip install -e" not in text and "pip install microtensor" not in text, path


def test_in_a_clone():
    assert installed.in_clone() and installed.COVERED.is_file()
    assert installed.how_to_install("fast") == 'pip install -e ".[fast]"'


def test_outside_of_a_clone(monkeypatch, tmp_path):
    monkeypatch.setattr(installed, "PACKAGE_FOLDER", tmp_path / "site-packages" / "microtensor")
    assert installed.how_to_install("fast") == 'pip install "microtensor[fast]"'
