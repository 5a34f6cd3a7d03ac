"""The way in which this package was installed: from a clone, or as a package. Messages need it."""

from pathlib import Path

PACKAGE_FOLDER = Path(__file__).parents[1]
COVERED = PACKAGE_FOLDER / "compat" / "covered.md"  # PyTorch's names: what is there, what is not


def in_clone():
    """True if the package is imported from a clone, to which its extras refer as `.[fast]`."""
    return (PACKAGE_FOLDER.parent / "pyproject.toml").is_file()


def how_to_install(extra):
    """The command that brings the packages of an extra, for messages."""
    return f'pip install -e ".[{extra}]"' if in_clone() else f'pip install "microtensor[{extra}]"'
