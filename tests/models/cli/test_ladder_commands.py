"""The command lines of the rungs, and demos/ladder.py."""

import importlib.util
import os
import subprocess
import sys

import pytest
from places import CLONE, program

from models import files
from models.cli import command_line, ladder
from models.ladder import RUNGS
from models.text.tokenizers import CharTokenizer

TEXT = "The cat sat. The dog ran. The cat ran to the dog, and the dog sat.\n"
SMALL = {
    "tiny_lm": ["--d-hidden", "8"],
    "recurrent": ["--cell", "lstm", "--d-model", "8"],
    "tiny_attention": ["--context-length", "16", "--d-model", "8", "--show-attention"],
    "tiny_transformer": ["--context-length", "16", "--d-model", "8"],
    "minigpt": ["--context-length", "16", "--d-model", "8", "--n-layers", "1"],
    "modern_minigpt": ["--context-length", "16", "--d-model", "16", "--n-layers", "1"],
}


def is_drawn(path, out, what):
    """A picture is there, or without matplotlib, which only the demos need, that there is none."""
    if importlib.util.find_spec("matplotlib"):
        assert path.read_bytes().startswith(b"\x89PNG") and str(path) in out
    else:
        assert not path.exists() and f"no picture of the {what}: matplotlib is missing" in out


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 12)
    return str(path)


def run(name, *args, text=None, tmp_path=None):
    """The exit code of a rung, trained for two steps on the text."""
    if text:
        args = ["--data", text, "--out", str(tmp_path / name), *SMALL.get(name, []), *args]
        if name != "ngram":
            args += ["--steps", "2"]
    return command_line.main(name, [str(a) for a in args])


@pytest.mark.parametrize("name", RUNGS)
def test_every_rung_trains_and_writes(name, text, tmp_path, capsys):
    code = run(name, "--prompt", "The c", "--sample-length", 20, text=text, tmp_path=tmp_path)
    out = capsys.readouterr().out
    assert code == 0 and f"{len(TEXT) * 12:,} characters" in out and "held-out loss" in out
    written = out.partition("─" * 80 + "\n")[2]
    assert written.startswith("The c") and len(written) == 5 + 20 + 1
    if name == "ngram":
        return
    assert (tmp_path / name / "checkpoint.safetensors").exists()
    is_drawn(tmp_path / name / "loss.png", out, "losses")
    again = ["--out", tmp_path / name, "--load", "--prompt", "The c", "--sample-length", 20]
    assert run(name, *again) == 0  # the kept model writes the same
    assert capsys.readouterr().out.endswith(written)


def test_attention_is_shown(text, tmp_path, capsys):
    run("tiny_attention", "--prompt", "The c", text=text, tmp_path=tmp_path)
    out = capsys.readouterr().out
    lines = out.split("the last of these 5 looks at:\n")[1].splitlines()[:5]
    assert [line.split()[0] for line in lines] == ["T", "h", "e", "␣", "c"]
    weights = [float(line.split()[1].rstrip("%")) for line in lines]
    assert sum(weights) == pytest.approx(100, abs=0.3)
    is_drawn(tmp_path / "tiny_attention" / "attention.png", out, "attention")


def test_the_text_can_be_repeated(tmp_path, capsys):
    short = tmp_path / "short.txt"
    short.write_text(TEXT)
    out = ["--data", short, "--out", tmp_path]
    assert run("ngram", *out, "--repeats", 50) == 0
    assert f"{len(TEXT) * 50:,} characters" in capsys.readouterr().out
    assert run("ngram", *out, "--repeats", 0) == 2
    assert "repeated at least once, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args, complaint",
    [
        (["--prompt", ""], "the prompt is empty"),
        (["--prompt", "The ß"], "'ß' at index 4"),
        (["--prompt", "The cat sat. The dog ran."], "25 tokens, but the model sees 16"),
        (["--temperature", "-1"], "temperature must be 0 (greedy) or a positive number, got -1"),
        (["--top-p", "1.5"], "top_p must be above 0 and at most 1"),
        (["--top-k", "1000"], "top_k must be within 1 … 16"),
        (["--sample-length", "-1"], "must not be negative, got -1"),
        (["--steps", "0"], "steps must be at least 1"),
        (["--lr", "0"], "lr must be a positive number"),
        (["--n-heads", "3"], "8 channels do not go into 3 heads"),
        (["--data", "nowhere.txt"], "there is no text file at nowhere.txt"),
        (["--load"], "train first, without --load"),
        (["--vocabulary", "nowhere.json"], "nowhere.json"),
    ],
)
def test_bad_input_is_told_in_one_line(args, complaint, text, tmp_path, capsys):
    code = command_line.main(
        "tiny_transformer",
        ["--data", text, "--out", str(tmp_path / "out"), *SMALL["tiny_transformer"], *args],
    )
    err = capsys.readouterr().err
    assert code == 2 and complaint in err
    assert err.startswith("models.tiny_transformer: ") and err.count("\n") == 1
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()  # told before training


def test_a_folder_in_use(text, tmp_path, capsys):
    """Training, counting and drawing write into it, and wait for nobody; loading does not."""
    pytest.importorskip("fcntl")
    folder = tmp_path / "tiny_attention"
    assert run("tiny_attention", text=text, tmp_path=tmp_path) == 0
    assert not (folder / ".lock").exists()
    load = ["--out", folder, "--load", "--prompt", "to"]
    with files.only_here(folder):
        capsys.readouterr()
        for name, args in (
            ("tiny_attention", ["--data", text, "--out", folder]),
            ("bigram", ["--data", text, "--out", folder]),
            ("ngram", ["--data", text, "--out", folder]),
            ("tiny_attention", [*load, "--show-attention"]),
        ):
            assert run(name, *args) == 2
            err = capsys.readouterr().err
            assert f"{folder} is in use: process {os.getpid()}" in err and err.count("\n") == 1
        assert run("tiny_attention", *load) == 0
    assert run("tiny_attention", *load, "--show-attention") == 0


def test_an_unknown_flag_is_told_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main("bigram", ["--d-model", "8"])
    assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_empty_and_short_texts(tmp_path, capsys):
    path = tmp_path / "text.txt"
    for content, complaint in ("", "holds no text"), ("a few words", "is too short"):
        path.write_text(content)
        assert run("bigram", "--data", path, "--out", tmp_path) == 2
        err = capsys.readouterr().err
        assert complaint in err and err.count("\n") == 1


def test_a_vocabulary_that_does_not_match(text, tmp_path, capsys):
    run("bigram", text=text, tmp_path=tmp_path)
    mine, other = tmp_path / "mine.json", tmp_path / "other.json"
    CharTokenizer.from_text(TEXT).save(mine)
    CharTokenizer("abc").save(other)
    load = ["--out", tmp_path / "bigram", "--load", "--vocabulary"]
    assert run("bigram", *load, mine) == 0
    capsys.readouterr()
    assert run("bigram", *load, other) == 2
    assert "does not match the model" in capsys.readouterr().err
    again = ["--vocabulary", other, "--overwrite"]
    assert run("bigram", *again, text=text, tmp_path=tmp_path) == 2
    assert "is not among the 3 characters" in capsys.readouterr().err
    assert run("tiny_lm", "--out", tmp_path / "bigram", "--load") == 2
    assert "holds a Bigram, not a TinyLM" in capsys.readouterr().err


def test_the_table_and_the_walk(capsys):
    assert command_line.lookup_table([]) == 0
    out = capsys.readouterr().out
    assert '"hel" → "hello world"' in out and '"the c" → "the cat sat"' in out
    assert command_line.lookup_table(["--prompt", "qqq", "--show-table"]) == 0
    out = capsys.readouterr().out
    assert '"hel" → "l" 90%   "p" 10%' in out and 'knows nothing after "qqq"' in out
    assert command_line.lookup_table(["--prompt", ""]) == 2
    assert command_line.modern_block(["--prompt", "x" * 65]) == 2
    err = capsys.readouterr().err
    assert "the prompt is empty" in err and "65 tokens" in err and err.count("\n") == 2
    assert command_line.modern_block(["--prompt", "To be"]) == 0
    assert "logits             (B, T, V) = 1 × 5 × 256" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["lookup_table", "tiny_attention"])
def test_it_runs_as_a_module(name):
    """Without a warning of a file that is imported twice."""
    args = ["--help"] if name == "tiny_attention" else []
    command = [sys.executable, "-W", "error", "-m", f"models.{name}", *args]
    done = subprocess.run(command, capture_output=True, cwd=CLONE, check=True)
    assert done.stderr == b"" and done.stdout


# ---- demos/ladder.py ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo():
    return program("ladder")


def test_the_demo_compares_what_it_trained(demo, text, tmp_path, capsys):
    args = ["--data", text, "--steps", "2", "--rungs", "tiny_lm", "ngram", "bigram"]
    assert demo.main([*args, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.split()[:1] in ([n] for n in RUNGS)]
    names, losses = [r[0] for r in rows[:3]], [float(r[3]) for r in rows[:3]]
    assert names == ["ngram", "bigram", "tiny_lm"]  # in the order of the ladder
    assert losses[0] < losses[1]  # counting is done at once; two steps are nothing
    told = "bigram does NOT beat ngram at this budget: "
    assert f"{told}{losses[1]:.3f} against {losses[0]:.3f}" in out
    is_drawn(tmp_path / "ladder.png", out, "table")


def test_the_comparison_has_a_page():
    results = [ladder.Result("a", 1, 1.0, 3.0, "<b>\n"), ladder.Result("b", 1, 1.0, 3.5, "to be")]
    page = ladder.as_page(results, "a & b", b"a picture")
    assert "a &amp; b" in page and "&lt;b&gt;" in page and "b does NOT beat a" in page
    assert "<b>\n" not in page and 'src="data:image/png' in page


def test_the_comparison_says_who_beats_whom():
    results = [
        ladder.Result(name, 1, 1.0, loss, "") for name, loss in zip("abcd", (3, 2.5, 2.5, 2))
    ]
    assert list(ladder.comparison(results)) == [
        "b beats a by 0.500",
        "c does NOT beat b at this budget: 2.500 against 2.500",
        "d beats c by 0.500",
    ]


@pytest.mark.parametrize(
    "args, complaint",
    [(["--steps", "0"], "steps must be at least 1"), (["--data", "nowhere"], "no text file")],
)
def test_the_demo_and_bad_input(demo, args, complaint, capsys, tmp_path):
    assert demo.main([*args, "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("ladder.py: ") and complaint in err and err.count("\n") == 1
