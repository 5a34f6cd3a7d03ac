"""demos/mixed_precision.py: the table, what it says in words, and what it refuses."""

import json
import runpy

import pytest
from places import DEMOS


@pytest.fixture
def main(monkeypatch):
    return runpy.run_path(str(DEMOS / "mixed_precision.py"), run_name="demo")["main"]


def test_the_table_and_what_it_says(main, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("She sells sea shells by the sea shore. " * 30)
    argv = ["--small", "--steps", "3", "--data", str(text), "--json", str(tmp_path / "table.json")]
    assert main(argv) == 0
    said = capsys.readouterr().out
    table = json.loads((tmp_path / "table.json").read_text())
    assert [m["kind"] for m in table] == ["float32", "bfloat16", "float16"]
    full, *halves = table
    for m in halves:
        assert abs(m["loss"] - full["loss"]) < 0.05 and m["seconds"] > 0 and m["megabytes"] > 0
    assert table[2]["scale"] > 1 and full["scale"] == 1
    assert "on a CPU nothing is gained" in said and said.count("times as long") == 2


@pytest.mark.parametrize(
    "argv, words",
    [(["--steps", "0"], "steps must be at least 1"), (["--device", "x"], "unknown device"),
     (["--data", "/none"], "no text file")],
)  # fmt: skip
def test_wrong_arguments_are_one_line(main, capsys, argv, words):
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1, err
