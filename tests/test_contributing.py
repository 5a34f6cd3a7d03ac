"""The guide for contributors and the changelog say what is there; versions agree."""

import re
import tomllib
from pathlib import Path

import pytest

import microtensor as mt

CLONE = Path(__file__).parents[1]
GUIDE = (CLONE / ".github" / "CONTRIBUTING.md").read_text("utf-8")
PROJECT = tomllib.loads((CLONE / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.mark.parametrize("path", sorted((CLONE / ".github").rglob("*.md")), ids=lambda p: p.stem)
def test_links(path):
    for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8")):
        assert (path.parent / link).exists(), link


def test_every_floor_has_its_row():
    rows = [line.split("|")[1:] for line in GUIDE.splitlines() if line.startswith("| `")]
    named = {place for row in rows for place in re.findall(r"`([\w/]+)/`", row[0])}
    folders = {p.parent.name for p in (CLONE / "microtensor").glob("*/__init__.py")}
    assert {place.split("/")[0] for place in named} == folders | {"models", "demos"}


def test_every_floor_s_tests_are_there():
    names = [str(p.relative_to(CLONE)) for p in (CLONE / "tests").rglob("test_*.py")]
    for line in re.findall(r"`pytest (tests[^`]*)`", GUIDE):
        assert all((CLONE / path).exists() for path in re.findall(r"tests/\S+", line)), line
        for words in re.findall(r'-k "(.*?)"', line):
            for word in words.split(" or "):
                assert any(word in name for name in names), (word, line)


def test_extras_that_are_named_are_there():
    for extras in re.findall(r'pip install -e "\.\[([\w,]+)\]"', GUIDE):
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_versions_agree():
    assert PROJECT["version"] == mt.__version__
    changelog = (CLONE / ".github" / "CHANGELOG.md").read_text("utf-8")
    assert f"\n## {mt.__version__}" in changelog and "\n## Unreleased\n" in changelog
