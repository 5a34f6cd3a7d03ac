"""The demo as a person meets it: what it prints, what it leaves behind, what it refuses, Ctrl-C."""

import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import DEMOS, program
from running import called

import microtensor as mt
from models.cli import flags
from models.ladder.minigpt import MiniGPTConfig
from models.training import Record, TrainingConfig, load_checkpoint, reporting

PATH = DEMOS / "train_shakespeare.py"
TEXT = "It is a truth universally acknowledged, that a single man in possession of a good fortune\n"
SMALL = (
    "--context-length 8 --d-model 12 --n-heads 3 --n-layers 2 --batch-size 4 --warmup 3 "
    "--eval-batches 2 --eval-batch-size 8 --length 20"
).split()

demo = program("train_shakespeare")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder to be in, with a text."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT * 30)
    return tmp_path


@pytest.fixture
def run(capfd):
    """Runs the demo in this process: (exit code, standard output, standard error)."""
    return lambda *args: called(demo.main, args, capfd)


def new_run(steps=6, *more, out="out"):
    return ["--data", "text.txt", "--out", out, "--steps", steps, "--eval-every", 3, *SMALL, *more]


def refused(answer, code=2):
    """The one line that a refusal is."""
    got, out, err = answer
    assert got == code and "Traceback" not in out + err
    assert err.startswith("train_shakespeare.py: ") and err.count("\n") == 1, err
    return err


# ---- training ----------------------------------------------------------------------------------


CHECKPOINTS = [
    "best.safetensors", "checkpoint-3.safetensors", "checkpoint-6.safetensors",
    "checkpoint.safetensors",
]  # fmt: skip


def test_what_a_run_says_and_leaves_behind(run):
    code, out, err = run(*new_run())
    assert code == 0 and err == ""
    assert "text: text.txt, 2,700 characters\n" in out
    assert "model: 10,032 parameters; folder: out\n" in out
    number = r"\d\.\d{3}"
    assert re.search(rf"^step 0/6: validation {number}, lr 6.7e-04$", out, re.M)
    rest = r"lr 2.0e-03, [\d,]+ tokens/s, \d:\d\d left"
    assert re.search(rf"^step 3/6: loss {number}, validation {number}, {rest}$", out, re.M)
    assert re.search(rf"^step 5/6: loss {number}, lr", out, re.M)
    assert re.findall("^── what it writes after step (.) ─+$", out, re.M) == ["0", "3", "6"]
    assert "saved after step 6: out/checkpoint.safetensors" in out
    if importlib.util.find_spec("matplotlib"):  # which only the demos need
        assert "picture of the losses: out/loss.png" in out
        assert sorted(os.listdir("out")) == sorted([*CHECKPOINTS, "loss.png"])
        assert Path("out/loss.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert "matplotlib is missing" in out and sorted(os.listdir("out")) == CHECKPOINTS


def test_without_flags_it_is_the_recipe_of_the_readme():
    args = flags.parser(demo.shakespeare()).parse_args([])
    assert flags.given(args, [*demo.shakespeare().rung.sizes, *flags.TRAINING]) == {}
    config, model = demo.shakespeare().training(), MiniGPTConfig()
    assert config == TrainingConfig()
    assert (config.steps, config.batch_size, config.lr, config.warmup) == (3000, 32, 2e-3, 100)
    assert (config.weight_decay, config.clip, config.final_lr) == (0.01, 1.0, 0.1)
    assert (config.eval_batches, config.eval_batch_size) == (40, 64)
    assert (model.vocab_size, model.context_length, model.dropout) == (256, 64, 0.1)


def test_each_hyperparameter_is_a_flag(run):
    flags = {"dropout": 0.2, "lr": 0.003, "final_lr": 0.5, "weight_decay": 0.02, "clip": 0.7,
             "n_layers": 1, "d_model": 6, "n_heads": 2, "context_length": 7, "seed": 3}  # fmt: skip
    flat = [x for name, v in flags.items() for x in ("--" + name.replace("_", "-"), v)]
    assert run(*new_run(1), "--tokenizer", "char", "--held-out", 0.2, *flat)[0] == 0
    state = load_checkpoint("out/checkpoint.safetensors")
    found = {**state["config"], **state["training"], **state["about"]}
    assert flags == {name: found[name] for name in flags}
    assert state["config"]["vocab_size"] == len(set(TEXT))
    assert (found["held_out"], found["tokenizer"], found["text"]) == (0.2, "char", "text.txt")


def test_the_same_seed_trains_the_same_model(run):
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        assert run(*new_run(2, "--seed", seed, out=name))[0] == 0
    a, b, c = (Path(n, "checkpoint.safetensors").read_bytes() for n in "abc")
    assert a == b != c


def test_a_picture_is_not_worth_a_failure(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, _ = run(*new_run(1))
    assert code == 0 and "matplotlib is missing (pip install matplotlib)" in out


def test_help_reads_well(run):
    code, out, _ = run("--help")
    assert code == 0
    for text in ("--resume", "--prompt TEXT", "--top-k N", "(0.002)", "(3000)", "--device"):
        assert text in out
    for name in [*demo.shakespeare().rung.sizes, *flags.TRAINING]:
        assert f"--{name.replace('_', '-')} " in out


# ---- going on ----------------------------------------------------------------------------------


def test_resume_with_more_steps(run):
    run(*new_run(3))
    code, out, _ = run("--resume", "--out", "out", "--steps", 6, "--length", 5)
    assert code == 0 and "going on after step 3 of 6" in out
    assert "step 6/6: loss" in out and "step 3/6" not in out
    code, out, _ = run("--resume", "--out", "out")
    assert code == 0 and "saved after step 6" in out and "loss 5" not in out


def test_a_damaged_checkpoint_gives_way_to_the_one_before(run):
    run(*new_run(6))
    whole = Path("out/checkpoint.safetensors").read_bytes()
    with open("out/checkpoint.safetensors", "r+b") as file:  # and so its other name
        file.truncate(5000)
    code, out, err = run("--out", "out", "--prompt", "I", "--length", 5)
    assert code == 0 and out.startswith("I") and err.count("\n") == 1
    assert "checkpoint.safetensors cannot be loaded" in err
    assert "; checkpoint-3.safetensors is used, of step 3" in err
    code, out, err = run("--resume", "--out", "out", "--length", 5)
    assert code == 0 and err == ""
    told = "out/checkpoint.safetensors cannot be loaded: it is not a safetensors file (.*)"
    assert re.search(rf"^{told}; checkpoint-3.safetensors is used, of step 3$", out, re.M)
    assert "going on after step 3 of 6" in out
    assert Path("out/checkpoint.safetensors").read_bytes() == whole


def test_how_many_are_kept_and_the_best(run):
    run(*new_run(12), "--keep", 3)
    kept = {name for name in os.listdir("out") if name.startswith("checkpoint-")}
    assert kept == {f"checkpoint-{n}.safetensors" for n in (6, 9, 12)}
    best = load_checkpoint("out/best.safetensors")
    history = load_checkpoint("out/checkpoint.safetensors")["validation"]
    assert best["validation"][-1] == min(history, key=lambda entry: entry[1])
    write = ["--out", "out", "--prompt", "It is", "--temperature", 0, "--best"]
    code, out, err = run(*write)
    assert code == 0 and err == "" and out.startswith("It is")
    Path("out/best.safetensors").unlink()
    assert "there is no checkpoint at out/best.safetensors" in refused(run(*write))


def start(*args):
    """The demo in a process of its own."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(PATH.parent.parent)}
    return subprocess.Popen(
        [sys.executable, "-W", "error::RuntimeWarning", str(PATH), *map(str, args)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip


@pytest.fixture
def press(monkeypatch):
    """Lets someone press Ctrl-C, once or more often, when a step has been shown."""

    def press(at, times=1):
        show = reporting.Progress.__call__

        def call(self, record):
            show(self, record)
            for _ in range(times if record.step == at else 0):
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(reporting.Progress, "__call__", call)

    return press


def test_after_ctrl_c_a_new_process_continues_exactly(run, press):
    assert run(*new_run(20, out="whole"))[0] == 0
    press(at=8)  # where nothing would be saved otherwise
    code, out, err = run(*new_run(20, out="half"))
    assert code == 130
    assert err == "\nfinishing this step, then saving (Ctrl-C again: leave at once)\n"
    assert "saved after step 8: half/checkpoint.safetensors" in out
    assert re.search(r"^to go on: +python .* --out half --resume$", out, re.M)

    with start("--resume", "--out", "half", "--length", 20) as rest:
        out, err = rest.communicate()
    assert rest.returncode == 0 and err == "" and "going on after step 8 of 20" in out
    one, other = (Path(n, "checkpoint.safetensors").read_bytes() for n in ("whole", "half"))
    assert one == other


def test_ctrl_c_from_outside():
    with start(*new_run(1_000_000, "--eval-every", 5)) as process:
        for line in process.stdout:
            if line.startswith("step 5/"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate()
    assert process.returncode == 130 and "Traceback" not in err
    step = load_checkpoint("out/checkpoint.safetensors")["step"]
    assert step >= 5 and f"saved after step {step:,}: " in out


def test_a_second_ctrl_c_does_not_wait(run, press):
    before = signal.getsignal(signal.SIGINT)
    press(at=2, times=2)
    code, out, _ = run(*new_run(6))
    assert code == 130 and "saved after" not in out
    assert load_checkpoint("out/checkpoint.safetensors")["step"] == 0
    assert signal.getsignal(signal.SIGINT) is before


def until(process, line):
    """Read what a process says up to a line that begins so."""
    for said in process.stdout:
        if said.startswith(line):
            return
    raise AssertionError(process.stderr.read())


def test_two_in_one_folder(run):
    """The second is told which folder is in use; killed, the first leaves no lock."""
    pytest.importorskip("fcntl")
    with start(*new_run(1_000_000)) as first:
        until(first, "step 3/")
        for more in (["--overwrite"], ["--resume", "--length", 5]):
            answer = (
                run(*new_run(6), *more) if "--overwrite" in more else run("--out", "out", *more)
            )
            assert f"out is in use: process {first.pid} writes" in refused(answer)
        code, out, _ = run("--out", "out", "--prompt", "I", "--length", 3)
        assert code == 0 and out.startswith("I")  # reading needs no lock
        first.kill()
    assert Path("out/.lock").exists()
    step = load_checkpoint("out/checkpoint.safetensors")["step"]
    with start("--resume", "--out", "out", "--length", 5) as again:
        until(again, "going on after step")
        again.send_signal(signal.SIGINT)
        again.communicate()
    assert again.returncode == 130
    assert load_checkpoint("out/checkpoint.safetensors")["step"] >= step
    assert not [name for name in os.listdir("out") if name.startswith(".")]
    assert run(*new_run(2), "--overwrite")[0] == 0


def test_two_that_start_together():
    pytest.importorskip("fcntl")
    racers = [start(*new_run(1_000_000)) for _ in range(2)]
    while not (ended := [p for p in racers if p.poll() is not None]):
        time.sleep(0.05)
    (loser,), (winner,) = ended, [p for p in racers if p not in ended]
    assert loser.returncode == 2 and f"in use: process {winner.pid}" in loser.communicate()[1]
    until(winner, "step 3/")
    winner.send_signal(signal.SIGINT)
    _, err = winner.communicate()
    assert winner.returncode == 130 and "Traceback" not in err


def test_what_is_refused_leaves_no_folder(run):
    refused(run(*new_run(0, out="a/b/c")))
    assert os.listdir(".") == ["text.txt"]


def test_a_folder_in_use_is_not_overwritten_unawares(run):
    run(*new_run(2))
    before = Path("out/checkpoint.safetensors").read_bytes()
    err = refused(run(*new_run(2, "--seed", 9)))
    assert "go on with --resume, start over with --overwrite" in err
    assert Path("out/checkpoint.safetensors").read_bytes() == before
    assert run(*new_run(2, "--seed", 9, "--overwrite"))[0] == 0
    assert Path("out/checkpoint.safetensors").read_bytes() != before


# ---- writing -----------------------------------------------------------------------------------


def test_a_prompt_is_continued_without_training(run):
    run(*new_run(3), "--tokenizer", "char")
    before = Path("out/checkpoint.safetensors").read_bytes()
    write = ["--out", "out", "--prompt", "It is", "--length", 30]
    code, out, err = run(*write, "--temperature", 0)
    assert code == 0 and err == "" and out.startswith("It is") and out.endswith("\n")
    assert len(out) == len("It is") + 30 + 1
    assert run(*write, "--temperature", 0)[1] == out
    seeded = [run(*write, "--seed", 4, "--top-k", 9, "--top-p", 0.9)[1] for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert Path("out/checkpoint.safetensors").read_bytes() == before


def test_byte_pairs(run):
    assert run(*new_run(3), "--tokenizer", "bpe", "--vocab-size", 270)[0] == 0
    assert load_checkpoint(Path("out/checkpoint.safetensors"))["config"]["vocab_size"] == 270
    assert run("--out", "out", "--resume", "--steps", 4)[0] == 0
    assert run("--out", "out", "--prompt", "é 漢", "--length", 3)[1].startswith("é 漢")
    assert "vocab_size 270, not 9" in refused(run("--out", "out", "--resume", "--vocab-size", 9))
    few = refused(run(*new_run(out="new"), "--tokenizer", "bpe", "--vocab-size", 9))
    assert "vocab_size must be at least 256" in few
    assert "for --tokenizer bpe alone" in refused(run(*new_run(out="new"), "--vocab-size", 300))


def test_control_characters_do_not_reach_the_terminal():
    assert reporting.printable("a\x1b[2J\a\r\n\té\x9b") == "a�[2J��\n�é�"


# ---- what it refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more, complaint",
    [
        (["--n-heads", "5"], "12 channels do not go into 5 heads"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["--stepz", "5"], "unrecognized arguments: --stepz 5"),
        (["--lr", "-1"], "lr must be a positive number, got -1.0"),
        (["--dropout", "1.5"], "dropout must be at least 0 and below 1"),
        (["--held-out", "1"], "must be between 0 and 1, got 1.0"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--device", "cpu:x"], "a device is a name such as"),
        (["--data", "none.txt"], "there is no text file at none.txt"),
        (["--data", "."], "is a folder, not a text file"),
        (["--data", "empty.txt"], "empty.txt holds no text"),
        (["--data", "latin.txt"], "latin.txt is not UTF-8: byte 0xe9 at offset 1"),
        (["--data", "short.txt"], "a text of 26 tokens is too short: 23 to learn from and 3 held"),
        (["--out", "text.txt/out"], "text.txt/out"),
        (["--temperature", "-1"], "temperature must be 0 (greedy) or a positive number, got -1.0"),
        (["--top-k", "0"], "top_k must be at least 1, got 0"),
        (["--top-k", "257"], "top_k must be within 1 … 256"),
        (["--top-p", "0"], "top_p must be above 0 and at most 1, got 0.0"),
        (["--keep", "0"], "keep must be at least 1, got 0"),
        (["--length", "0"], "length must be at least 1, got 0"),
        (["--resume"], "there is no checkpoint at out/checkpoint.safetensors"),
        (["--prompt", "It"], "there is no checkpoint at out/checkpoint.safetensors"),
    ],
)
def test_bad_input_is_answered_in_one_line(run, more, complaint):
    Path("empty.txt").write_text(" \n")
    Path("latin.txt").write_bytes(b"d\xe9j\xe0 vu")
    Path("short.txt").write_text("abcdefghijklmnopqrstuvwxyz")
    assert complaint in refused(run(*new_run(2), *more))
    assert not Path("out/checkpoint.safetensors").exists()


@pytest.mark.skipif(mt.cuda.is_available(), reason="here is a GPU")
def test_cuda_without_a_gpu_says_what_is_missing(run):
    assert re.search("CuPy|GPU", refused(run(*new_run(2), "--device", "cuda")))


@pytest.mark.parametrize(
    "more, complaint",
    [
        (["--prompt", ""], "the prompt is empty"),
        (["--prompt", "It is €5"], "'€' at index 6 (line 1, column 7) is not among the 25 char"),
        (["--prompt", "It", "--top-k", "26"], "top_k must be within 1 … 25"),
        (["--prompt", "It", "--temperature", "nan"], "temperature must be"),
        (["--resume", "--d-model", "24"], "another configuration: d_model 12, not 24"),
        (
            ["--resume", "--tokenizer", "byte"],
            "another configuration: tokenizer 'char', not 'byte'",
        ),
        (["--resume", "--lr", "0.1", "--seed", "3"], "lr 0.002, not 0.1, seed 0, not 3"),
        (["--resume", "--data", "other.txt"], "was trained on another text than other.txt"),
    ],
)
def test_a_checkpoint_does_not_do_everything(run, more, complaint):
    assert len(set(TEXT)) == 25
    run(*new_run(2), "--tokenizer", "char")
    Path("other.txt").write_text(TEXT * 29)
    before = Path("out/checkpoint.safetensors").read_bytes()
    assert complaint in refused(run("--out", "out", *more))
    assert Path("out/checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 a zip file"])
@pytest.mark.parametrize("action", [["--resume"], ["--prompt", "It"]])
def test_a_file_that_is_no_checkpoint(run, data, action):
    Path("out").mkdir()
    Path("out/checkpoint.safetensors").write_bytes(data)
    assert "checkpoint.safetensors" in refused(run("--out", "out", *action))


def test_a_disk_that_is_full_stops_with_the_old_checkpoint(run, monkeypatch):
    run(*new_run(2))
    before = Path("out/checkpoint.safetensors").read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = run("--resume", "--out", "out", "--steps", 4)
    err = refused(answer, code=1)
    assert "out/checkpoint-3.safetensors" in err and "No space left on device" in err
    assert "no picture of the losses" in answer[1]
    assert Path("out/checkpoint.safetensors").read_bytes() == before
    assert not [name for name in os.listdir("out") if name.startswith(".")]


def test_training_that_diverges_says_at_which_step(run):
    err = refused(run(*new_run(30, "--lr", "1e30", "--clip", "inf", "--eval-every", 1)), code=1)
    found = re.search(r"at step (\d+) is (nan|inf); the checkpoint of step (\d+) is kept", err)
    assert found and int(found[3]) == int(found[1]) - 1
    assert load_checkpoint("out/checkpoint.safetensors")["step"] == int(found[3])


# ---- the progress bar --------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def records(n):
    yield Record(0, None, 5.5, 1e-3, 0.0)
    for step in range(1, n + 1):
        yield Record(step, 5 / step, 1.25 if step == n else None, 1e-3, 0.5)


def test_a_terminal_has_a_bar():
    pytest.importorskip("tqdm")
    file = Terminal()
    progress = reporting.Progress(4, tokens=100, file=file)
    for record in records(4):
        progress(record)
        if record.validation:
            progress.write("a sample")
    progress.close()
    last = file.getvalue().rstrip().split("\r")[-1]
    assert last.startswith("4/4 |") and "validation 1.250" in last and "200 tokens/s" in last
    assert file.getvalue().count("a sample\n") == 2


def test_without_tqdm_a_terminal_has_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    file = Terminal()
    progress = reporting.Progress(40, tokens=100, file=file)
    for record in records(40):
        progress(record)
    progress.close()
    lines = file.getvalue().splitlines()
    assert lines[0] == "step 0/40: validation 5.500, lr 1.0e-03"
    assert lines[1].startswith("step 2/40: loss 3.750, lr 1.0e-03, 200 tokens/s, ")
    assert len(lines) == 21 and "validation 1.250" in lines[-1] and "left" not in lines[-1]


@pytest.mark.parametrize(
    "seconds, text", [(0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3725, "1:02:05")]
)
def test_times_are_told_as_on_a_clock(seconds, text):
    assert reporting.clock(seconds) == text
