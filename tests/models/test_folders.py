"""Files that a person names, and folders that one program at a time writes into."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from places import CLONE

import microtensor as mt
from models import GPT2, files
from models.cli import program
from models.pretrained import llama
from models.text.corpus import load_corpus, read_text, text_pieces
from models.text.data import read_tokens
from models.text.tokenizers import CharTokenizer, load_tokenizer
from models.training.checkpoints import load_checkpoint, load_newest

posix = pytest.mark.skipif(os.name != "posix", reason="FIFOs, devices and flock are POSIX's")


def gpt2(path):
    """The folder whose config.json is `path`."""
    folder = path.parent / "gpt2"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    (folder / "config.json").symlink_to(path)
    return GPT2.from_pretrained(folder)


def weights(path):
    """The folder whose weights are `path`."""
    folder = path.parent / "weights"
    mt.manual_seed(0)
    sizes = {"vocab_size": 5, "n_positions": 4, "n_embd": 4, "n_head": 1, "n_layer": 1}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(sizes))
    (folder / "model.safetensors").unlink(missing_ok=True)
    (folder / "model.safetensors").symlink_to(path)
    return GPT2.from_pretrained(folder)


def merges(path):
    """The tokenizer whose merges are `path`."""
    folder = path.parent / "bpe"
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text("{}")
    (folder / "merges.txt").unlink(missing_ok=True)
    (folder / "merges.txt").symlink_to(path)
    return load_tokenizer(folder)


READERS = [
    read_text, load_corpus, lambda path: list(text_pieces(path)), read_tokens, load_tokenizer,
    CharTokenizer.load, load_checkpoint, load_newest, gpt2, weights, merges, files.read_json,
    files.load,
]  # fmt: skip
OF_ONE_FILE = [reader for reader in READERS if reader not in (gpt2, weights, merges)]


@posix
@pytest.mark.parametrize("what", ["fifo", "/dev/zero", "/dev/tty", "socket", "folder"])
@pytest.mark.parametrize("reader", READERS)
def test_only_ordinary_files_are_read(reader, what, tmp_path, monkeypatch):
    """At once: none of these has an end, or one that comes without another program."""
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    path = Path(what if what.startswith("/dev") else tmp_path / "input")
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("input")
    elif not path.exists():
        pytest.skip(f"there is no {what}")
    if what.startswith("/dev"):
        (tmp_path / "input").symlink_to(path)
    with pytest.raises(ValueError, match="is a (FIFO|device|socket|folder), not|it has no vocab"):
        reader(tmp_path / "input")


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="there is no /proc")
@pytest.mark.parametrize("reader", OF_ONE_FILE)
def test_files_of_proc_have_an_end(reader):
    """They say that they have no bytes, and are taken at their word."""
    with pytest.raises(ValueError, match="/proc/version"):
        reader(Path("/proc/version"))


def test_a_file_that_grows_is_read_up_to_where_it_ended(tmp_path):
    path = tmp_path / "log"
    path.write_text("one two")
    file, size = files.opened(path)
    with file:
        path.write_text("one two three")
        assert file.read(size) == b"one two"


@pytest.mark.parametrize(
    "content, told",
    [
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b'{"b": {"a": 1, "c": 0, "a": 1}}', "the key 'a' is there twice"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"1" * 5000, "4300"),
        (b"\xff\xfe\x00", "damaged"),
        (b'"\xe9"', "damaged"),
        (b"", "damaged"),
    ],
)
def test_json_that_is_refused(content, told, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=told) as error:
        files.read_json(path)
    assert "x.json" in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
def test_json_in_the_encodings_of_its_standard(encoding, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes('{"é": [1, 2.5, "漢"]}'.encode(encoding))
    assert files.read_json(path) == {"é": [1, 2.5, "漢"]}


# ---- names that are not UTF-8 --------------------------------------------------------------------

ODD = os.fsdecode(b"caf\xe9 \x1b[2J.txt")


@pytest.fixture
def odd(tmp_path):
    path = tmp_path / ODD
    try:
        path.write_text("To be, or not to be, that is the question.\n" * 60)
    except OSError:
        pytest.skip("this file system has only names that are UTF-8")
    return path


@posix
def test_a_text_whose_name_is_not_utf8(odd):
    corpus = load_corpus(odd)
    assert corpus.name.encode().startswith("caf�".encode()) and corpus.source.encode()
    assert read_text(odd) == corpus.text


@posix
def test_a_training_on_it_in_a_folder_of_such_a_name(odd):
    """From the start to the picture of the losses; then on from there; then writing."""
    out = os.fsencode(odd.parent / ODD.replace("txt", "out"))
    train = [sys.executable, "demos/train_shakespeare.py", "--out", out]
    small = "--batch-size 2 --context-length 4 --d-model 4 --n-heads 1 --n-layers 1 --length 3"
    first = [b"--data", os.fsencode(odd), *small.split(), "--steps", "1", "--eval-batches", "1"]
    env = {**os.environ, "PYTHONPATH": str(CLONE), "PYTHONIOENCODING": "utf-8:strict"}
    for more in (first, ["--resume", "--steps", "2", "--length", "3"], ["--prompt", "I"]):
        done = subprocess.run([*train, *more], capture_output=True, cwd=CLONE, env=env)
        assert done.returncode == 0 and done.stderr == b"", done.stderr


@posix
def test_what_is_wrong_with_it_is_said_in_one_line(odd, capfd):
    parser = program.Parser("program", "")
    parser.add_argument("data")
    assert program.run(lambda args: load_tokenizer(args.data), parser, [str(odd)]) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "is not a saved tokenizer" in err and "\x1b" not in err


# ---- one program at a time -----------------------------------------------------------------------

HOLD = """
import sys
from models import files
with files.only_here(sys.argv[1]):
    print("here", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """Starts a process that has the folder until its input ends."""
    started = []

    def hold(folder):
        env = {**os.environ, "PYTHONPATH": str(CLONE)}
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "here\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_a_folder_is_one_programs(hold, tmp_path):
    folder = tmp_path / "runs" / "a"
    other = hold(folder)
    told = f"runs/a is in use: process {other.pid} writes its checkpoints there"
    with pytest.raises(files.InUse, match=told), files.only_here(folder):
        pass
    with files.only_here(tmp_path / "runs" / "b"):
        pass
    other.communicate()  # the end of its input, and so its end
    assert other.returncode == 0 and not folder.exists()
    with files.only_here(folder):
        (folder / "kept").touch()
    assert os.listdir(folder) == ["kept"]


@posix
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_whoever_dies_leaves_no_lock(how, hold, tmp_path):
    other = hold(tmp_path)
    other.send_signal(how)
    other.wait()
    assert (tmp_path / files.LOCK).exists() == (how != signal.SIGINT)
    with files.only_here(tmp_path):
        assert (tmp_path / files.LOCK).read_text() == str(os.getpid())
    assert os.listdir(tmp_path) == []


def test_an_error_gives_the_folder_back(tmp_path):
    folder = tmp_path / "x" / "y"
    with pytest.raises(KeyError), files.only_here(folder):
        assert folder.is_dir()
        raise KeyError
    assert os.listdir(tmp_path) == []
    with files.only_here(folder), pytest.raises(files.InUse), files.only_here(folder):
        pass


@posix
def test_many_that_come_and_go_are_never_two_at_once(tmp_path):
    code = """
import os, sys
from models import files
wins = 0
while wins < 20:
    try:
        with files.only_here(sys.argv[1]):
            os.close(os.open(sys.argv[1] + "/one", os.O_CREAT | os.O_EXCL))
            os.unlink(sys.argv[1] + "/one")
            wins += 1
    except files.InUse:
        pass
"""
    env = {**os.environ, "PYTHONPATH": str(CLONE)}
    command = [sys.executable, "-c", code, str(tmp_path / "folder")]
    racers = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE) for _ in range(4)]
    for racer in racers:
        _, err = racer.communicate()
        assert racer.returncode == 0, err
    assert not (tmp_path / "folder" / files.LOCK).exists()


def test_without_locks_a_program_runs_all_the_same(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    with files.only_here(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_llama_folders_are_read_the_same_way(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ValueError, match=r"config\.json is a folder, not a file"):
        llama.from_pretrained(tmp_path)
