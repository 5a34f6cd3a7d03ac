"""demos/README.md: every name is in its place, every concept and every demo is there."""

import re

import pytest
from places import DEMOS, program

README = (DEMOS / "README.md").read_text(encoding="utf-8")
CONCEPTS = """token, vocabulary, embedding, position, context window, parameter, logits, softmax,
cross-entropy, gradient, backpropagation, optimizer, attention, query, key, value, head, residual,
layer norm, feed-forward, depth, pre-training, inference, sampling"""

dictionary = program("dictionary")


def test_every_concept_has_its_name_and_its_place():
    table = README.partition("## The dictionary")[2]
    rows = dict(re.findall(r"^\| ([a-z].*?) \| .* \| (.*) \|$", table, re.M))
    del rows["name"]  # the head
    concepts = {name for row in rows for name in row.split(", ")}
    assert set(re.split(r",\s+", CONCEPTS)) - concepts == set()
    for row, places in rows.items():
        assert dictionary.LINK.search(places), row


@pytest.mark.parametrize("name, path", [link[:2] for link in dictionary.LINK.findall(README)])
def test_every_name_is_there(name, path):
    line = dictionary.line_of(DEMOS / path, name)
    code = (DEMOS / path).read_text(encoding="utf-8").split("\n")
    assert re.search(rf"\b{name.split('.')[-1]}\b", code[line - 1])


def test_every_line_and_every_demo_is_as_it_is_now():
    assert dictionary.renewed(README) == README, "run: python demos/dictionary.py"


def test_the_command_says_what_is_out_of_date_and_mends_it(tmp_path, monkeypatch, capsys):
    old = re.sub(r"#L\d+", "#L1", README)
    copy = tmp_path / "README.md"
    copy.write_text(old, encoding="utf-8")
    monkeypatch.setattr(dictionary, "README", copy)
    assert dictionary.main(["--check"]) == 1 and copy.read_text(encoding="utf-8") == old
    assert dictionary.main([]) == 0
    assert dictionary.main(["--check"]) == 0
    copy.write_text("[`MiniGPT.tail`](../models/ladder/minigpt.py#L3)", encoding="utf-8")
    assert dictionary.main([]) == 2
    assert capsys.readouterr().err == "dictionary.py: minigpt.py has no MiniGPT.tail\n"


def test_names_of_every_kind(tmp_path):
    file = tmp_path / "some.py"
    file.write_text(
        "A, B = 1, 2\n"
        "class C(object):\n"
        "    field: int = 3\n"
        "    def f(self):\n"
        "        self.own = 4\n"
        '        self.register_buffer("mask", None)\n'
        "def f(): ...\n"
    )
    lines = {"B": 1, "C": 2, "C.field": 3, "C.f": 4, "C.own": 5, "C.mask": 6, "f": 7}
    assert {name: dictionary.line_of(file, name) for name in lines} == lines
    for name in ("C.g", "D", "int"):
        with pytest.raises(LookupError, match=f"some.py has no {name}"):
            dictionary.line_of(file, name)
