"""The README's code runs from top to bottom, and prints what it says."""

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_blocks_run_in_order_and_print_their_comments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, said = {}, []
    for block in BLOCKS:
        if block.startswith("@op(promote"):
            continue  # a quotation, see below
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(block, "README.md", "exec"), namespace)
        comments = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
        for line, comment in zip(out.getvalue().splitlines(), comments):
            said.append((line, comment))
    assert len(said) == len(re.findall(r"^print\(.*\)  # ", TEXT, re.MULTILINE)) >= 5
    for line, comment in said:
        assert comment == line or comment.startswith(line + ":")
    assert float(namespace["loss"].item()) < 0.1
    assert (tmp_path / "circle.safetensors").exists()
    assert list(tmp_path.glob("circle.svg*")), "the picture, or its DOT text"
    assert (tmp_path / "film.html").exists() and (tmp_path / "film.gif").exists()
    assert len(list((tmp_path / "film").glob("*.svg"))) == len(namespace["film"])


def test_the_quotation_is_the_source():
    quotes = [b for b in BLOCKS if b.startswith("@op(promote")]
    source = README.parent / "microtensor" / "ops" / "elementwise.py"
    assert len(quotes) == 1 and quotes[0] in source.read_text(encoding="utf-8")


def test_its_files_are_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (README.parent / link).exists(), link
