"""Every lesson runs, all that it claims is true, and it leaves its picture."""

import runpy
import sys

import pytest
from places import DEMOS

matplotlib = pytest.importorskip(
    "matplotlib", reason="the lessons draw with matplotlib: the extra demos"
)

FOLDER = DEMOS / "lessons"
LESSONS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a lesson as a person would, into a folder of its own."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def run(path, *options):
        sys.modules.pop("_page", None)  # it reads the command line when it is imported
        monkeypatch.setattr(sys, "argv", [str(path), "--out", str(tmp_path / "out"), *options])
        try:
            with matplotlib.rc_context():
                runpy.run_path(str(path), run_name="__main__")
        finally:
            sys.modules.pop("_page", None)
        return tmp_path / "out"

    return run


def test_they_are_numbered_from_one():
    assert [int(p.name[:2]) for p in LESSONS] == list(range(1, len(LESSONS) + 1))
    assert len(LESSONS) >= 15


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_lesson(path, run, capsys):
    out = run(path)
    said = capsys.readouterr().out
    assert said.count("✓") >= 2, "it checks what it claims"
    assert max(map(len, said.splitlines())) <= 100
    picture = (out / f"{path.stem}.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
    assert f"{path.stem}.png" in said
    if "animate(" in path.read_text(encoding="utf-8"):
        assert (out / f"{path.stem}.gif").read_bytes().startswith(b"GIF89a")


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_it_is_short_and_in_the_index(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80
    assert f"({path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_a_false_claim_stops_the_lesson(run, tmp_path):
    lesson = tmp_path / "wrong.py"
    lesson.write_text("from _page import check\ncheck('one is two', 1 == 2)\n")
    with pytest.raises(SystemExit, match="one is two: not so"):
        run(lesson)


def test_a_folder_that_cannot_be_written_is_said_in_one_line(run, tmp_path):
    (tmp_path / "out").write_text("a file stands here")
    with pytest.raises(SystemExit, match="out: .*(exists|directory)"):
        run(LESSONS[2])
