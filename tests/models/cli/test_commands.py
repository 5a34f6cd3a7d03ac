"""`python -m models`: every rung trains, goes on, loads, writes, and overwrites nothing unasked."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from places import CLONE

import microtensor as mt
from models.cli import commands
from models.ladder import RUNGS
from models.ladder.ngram import NGram
from models.training import load_checkpoint, reporting
from models.training.counts import load_counts

LEARNING = list(RUNGS)
BY_STEPS = [name for name in RUNGS if name != "ngram"]
SIZES = {
    "tiny_lm": ["--d-hidden", "8"],
    "recurrent": ["--d-model", "8"],
    "tiny_attention": ["--context-length", "16", "--d-model", "8"],
    "tiny_transformer": ["--context-length", "16", "--d-model", "8", "--n-layers", "1"],
    "minigpt": ["--context-length", "16", "--d-model", "8", "--n-layers", "1"],
    "modern_minigpt": ["--context-length", "16", "--d-model", "16", "--n-layers", "1"],
}
WRITE = ["--prompt", "The c", "--length", "8"]
COMMON = (
    "--data --prompt --sample-length --length --steps --eval-every --out --resume --load --seed "
    "--temperature --top-k --top-p --offline --overwrite"
).split()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder to be in, with a text."""
    monkeypatch.chdir(tmp_path)
    text = "The cat sat. The dog ran. The cat ran to the dog, and the dog sat.\n"
    Path("text.txt").write_text(text * 12)
    return tmp_path


@pytest.fixture
def run(capfd):
    """Runs a command in this process: (exit code, standard output, standard error)."""

    def run(*args):
        try:
            code = commands.main(list(map(str, args)))
        except SystemExit as stop:
            code = stop.code
        return code, *capfd.readouterr()

    return run


def train(name, *more):
    small = ["--batch-size", 2, "--eval-batches", 1, "--eval-batch-size", 2]
    small = [] if name == "ngram" else small
    return [name, "--data", "text.txt", "--steps", 3, "--eval-every", 2, *SIZES.get(name, []),
            *small, *WRITE, *more]  # fmt: skip


def refused(answer):
    code, out, err = answer
    assert code == 2 and err.count("\n") == 1 and "Traceback" not in out + err, err
    return err


def kept(name, folder=None):
    return Path(folder or f"runs/{name}", "checkpoint.safetensors")


@pytest.mark.parametrize("name", LEARNING)
def test_a_rung_trains_loads_and_overwrites_nothing_unasked(name, run):
    code, out, err = run(*train(name))
    assert code == 0 and err == "" and f"{kept(name)}" in out
    written = out.partition("─" * 80 + "\n")[2]
    assert written.startswith("The c") and len(written) == 5 + 8 + 1
    assert [path.name for path in Path().iterdir() if path.name != "text.txt"] == ["runs"]
    before = kept(name).read_bytes()

    err = refused(run(*train(name)))
    assert f"runs/{name} holds a trained model: go on with --resume" in err
    assert kept(name).read_bytes() == before
    code, out, _ = run(name, "--load", *WRITE)
    assert code == 0 and out.endswith(written)
    code, out, _ = run("generate", "--out", f"runs/{name}", *WRITE, "--seed", 0)
    assert code == 0 and out == written
    assert run(*train(name, "--overwrite", "--repeats", 2))[0] == 0
    assert kept(name).read_bytes() != before


@pytest.fixture
def press(monkeypatch):
    """Lets someone press Ctrl-C when a step has been shown."""

    def press(at):
        show = reporting.Progress.__call__

        def call(self, record):
            show(self, record)
            if record.step == at:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(reporting.Progress, "__call__", call)

    return press


@pytest.mark.parametrize("name", BY_STEPS)
def test_a_rung_goes_on_exactly_after_ctrl_c(name, run, press):
    assert run(*train(name, "--out", "whole"))[0] == 0
    press(at=1)
    code, out, err = run(*train(name, "--out", "half"))
    assert code == 130 and "finishing this step, then saving" in err
    assert "saved after step 1: half/checkpoint.safetensors" in out
    assert f"to go on:   python -m models {name} --out half --resume" in out
    assert load_checkpoint(kept(name, "half"))["step"] == 1
    code, out, err = run(name, "--resume", "--out", "half", *WRITE)
    assert code == 0 and err == "" and "going on after step 1 of 3" in out
    assert kept(name, "half").read_bytes() == kept(name, "whole").read_bytes()
    other = ["--seed", 5] if name == "bigram" else SIZES[name][:1] + ["9"]
    assert "another configuration" in refused(run(name, "--resume", "--out", "half", *other))


def test_an_ngram_has_nothing_to_go_on_with(run, monkeypatch):
    assert run(*train("ngram"))[0] == 0
    before = kept("ngram").read_bytes()
    code, out, _ = run("ngram", "--resume", *WRITE)
    assert code == 0 and "all is counted" in out and kept("ngram").read_bytes() == before
    assert "n 4, not 2" in refused(run("ngram", "--resume", "--n", 2))
    Path("other.txt").write_text("The cat sat. " * 60)
    assert "another text than other.txt" in refused(run("ngram", "--resume", "--data", "other.txt"))

    def interrupted(self, ids):
        raise KeyboardInterrupt

    monkeypatch.setattr(NGram, "fit", interrupted)
    code, out, _ = run(*train("ngram", "--overwrite"))
    assert code == 130 and "runs/ngram/checkpoint.safetensors is as it was" in out
    code, out, _ = run(*train("ngram", "--out", "new"))
    assert code == 130 and "nothing was kept" in out and not Path("new").exists()


def test_a_folder_that_another_kind_of_model_takes_over(run):
    run(*train("bigram", "--out", "out"))
    assert run(*train("ngram", "--out", "out", "--overwrite"))[0] == 0
    assert [path.name for path in Path("out").glob("*.safetensors")] == ["checkpoint.safetensors"]
    assert "not a checkpoint of a language model" in refused(
        run("bigram", "--load", "--out", "out")
    )
    code, out, _ = run("generate", "--out", "out", "--prompt", "The", "--length", 4)
    assert code == 0 and out.startswith("The")
    assert run(*train("bigram", "--out", "out", "--overwrite"))[0] == 0
    assert run("bigram", "--load", "--out", "out", *WRITE)[0] == 0


@pytest.mark.parametrize("name", LEARNING)
def test_without_a_checkpoint(name, run):
    for flag in ("--load", "--resume"):
        err = refused(run(name, flag, *WRITE))
        assert f"there is no checkpoint at runs/{name}" in err and f"without {flag}" in err
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", LEARNING)
def test_a_model_of_another_kind_is_not_loaded(name, run):
    other = "bigram" if name == "ngram" else "ngram"
    run(*train(other, "--out", "out"))
    before = kept(name, "out").read_bytes()
    for flag in ("--load", "--resume"):
        assert "out/checkpoint.safetensors" in refused(run(name, flag, "--out", "out"))
    assert kept(name, "out").read_bytes() == before


FORGED = {
    "config": lambda state: state["config"].update(n=3),
    "vocabulary": lambda state: state["config"].update(vocab_size=9),
    "unsorted": lambda state: state["keys"][1].data.copy_(state["keys"][1].flip(0)),
    "beyond": lambda state: state["keys"][0].data.add_(1000),
    "negative": lambda state: state["counts"][2].data.neg_(),
    "floats": lambda state: state.update(keys=[k.float() for k in state["keys"]]),
    "fewer": lambda state: state["counts"].pop(),
    "shorter": lambda state: state["counts"].__setitem__(0, state["counts"][0][:-1].clone()),
    "no tokenizer": lambda state: state.pop("tokenizer"),
    "about": lambda state: state["about"].pop("sha256"),
    "repeats": lambda state: state["about"].update(repeats=-1),
}


@pytest.mark.parametrize("what", FORGED)
def test_counts_that_do_not_fit_are_refused(what, run):
    assert run(*train("ngram"))[0] == 0
    state = mt.load(kept("ngram"))
    assert load_counts(kept("ngram")).model.config.n == 4
    FORGED[what](state)
    mt.save(state, kept("ngram"))
    assert "runs/ngram/checkpoint.safetensors" in refused(run("ngram", "--load"))


# ---- the list of commands ----------------------------------------------------------------------


PROGRAMS = "playground", "quantize", "serve"  # which neither train a rung nor continue a text


def test_the_list(run):
    code, out, err = run()
    assert code == 0 and err == "" and run("--help")[1] == out
    names = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    page = (CLONE / "models/README.md").read_text("utf-8")
    ladder = re.findall(r"^\| \[`(\w+)`\]\(ladder/", page, re.MULTILINE)
    assert names == [*ladder, "ladder", "generate", *PROGRAMS] == list(commands.commands())
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", commands.commands())
def test_every_command_has_the_same_flags_and_a_short_help(name, run):
    code, out, err = run(name, "--help")
    assert code == 0 and err == ""
    flags = set(re.findall(r"--[a-z-]+", out))
    assert name in PROGRAMS or set(COMMON) - flags == set()
    assert max(map(len, out.splitlines())) <= 80 and out.count("\n") <= 50


@pytest.mark.parametrize(
    "args, told",
    [
        (["minigtp"], "there is no command 'minigtp'; did you mean minigpt"),
        (["\x1b[2J"], "there is no command '"),
        (["minigpt", "--promt", "x"], "unrecognized arguments: --promt x; did you mean --prompt"),
        (["bigram", "--sample-lenght=3"], "did you mean --sample-length"),
        (["ladder", "--step", "3"], "did you mean --steps"),
        (["lookup_table", "--show"], "did you mean --show-table"),
        (["ladder", "--rungs", "x"], "invalid choice: 'x'"),
    ],
)
def test_unknown_names_are_told_in_one_line_with_the_nearest(args, told, run):
    err = refused(run(*args))
    assert told in err and "\x1b" not in err


def test_a_table_may_be_drawn_from(run):
    code, out, _ = run("lookup_table", "--prompt", "hel", "--temperature", 1, "--length", 4)
    assert code == 0 and re.search('^"hel" → "hel.{4}"$', out, re.M)


def test_it_runs_as_a_module():
    for args in (["models"], ["models", "lookup_table"], ["models.lookup_table"]):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", *args], capture_output=True, cwd=CLONE
        )
        assert done.returncode == 0 and done.stderr == b"" and done.stdout
