"""Going on exactly: in a new process, after being killed at any moment, after damage on the disk.

MICROTENSOR_KILLS=500 pytest tests/models/training/test_resume.py -s -k killed    500 times
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import resumed
from places import CLONE

import microtensor as mt
from models.training import Trainer
from models.training.checkpoints import Checkpoints, best_of, load_checkpoint, load_newest, numbered

PROGRAM = Path(resumed.__file__)
KILLS = int(os.environ.get("MICROTENSOR_KILLS", 4))


def start(*args):
    """A run in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(CLONE)}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *map(str, args)], stdout=subprocess.PIPE, text=True, env=env
    )


def finish(*args):
    with start(*args) as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    return out


# ---- a new process ---------------------------------------------------------------------------


def test_100_steps_equal_50_a_new_process_and_50(tmp_path):
    """Byte for byte: weights, AdamW, schedule, losses and the state of both random streams."""
    whole, half = tmp_path / "whole", tmp_path / "half"
    whole.mkdir(), half.mkdir()
    resumed.train(whole, 100, 100)
    assert "from the start" in finish("trainer", half, 50, 100)
    assert load_checkpoint(half / "checkpoint.safetensors")["step"] == 50
    assert "from the start" not in finish("trainer", half, 100, 100)
    one, other = (f / "checkpoint.safetensors" for f in (whole, half))
    assert one.read_bytes() == other.read_bytes()
    state = load_checkpoint(one)
    assert state["step"] == len(state["losses"]) == 100 and state["config"]["dropout"] == 0.2
    assert set(state["random"]) == {"default", "batches"}


def test_a_loop_of_shuffled_epochs(tmp_path):
    """The same for a loop written by hand: dropout, a DataLoader that shuffles, one cycle."""
    for name in ("whole", "half"):
        (tmp_path / name).mkdir()
    whole = resumed.loop(tmp_path / "whole", 10)
    half = resumed.loop(tmp_path / "half", 5)
    finish("loop", tmp_path / "half", 10)
    assert whole.read_bytes() == half.read_bytes()


# ---- killed ------------------------------------------------------------------------------------


def test_killed_at_any_moment_it_goes_on_from_a_whole_checkpoint(tmp_path):
    """Killed after a random while, or before a random change of the disk, saving at every step.

    What is left is always a whole checkpoint, never an older one than before; and the end is the
    same file as that of a run which nobody disturbed.
    """
    seed = int(os.environ.get("MICROTENSOR_SEED", 0))
    rng, told = random.Random(seed), Counter()
    for name in ("whole", "run"):
        (tmp_path / name).mkdir()
    expected = resumed.train(tmp_path / "whole", 100, 1).checkpoint.read_bytes()
    folder, path = tmp_path / "run", tmp_path / "run" / "checkpoint.safetensors"
    step = 0
    while told["kills"] < KILLS or told["runs to the end"] == 0:
        last = told["kills"] >= KILLS
        by_clock = not last and rng.random() < 0.5
        die = [] if last or by_clock else [rng.randrange(1, 200)]
        with start("trainer", folder, 100, 1, *die) as process:
            if by_clock and process.stdout.readline():
                time.sleep(rng.random() * 0.4)
                process.kill()
            process.communicate()
        if process.returncode == 0:
            assert path.read_bytes() == expected
            assert set(numbered(path)) == {98, 99, 100}
            assert not [name for name in os.listdir(folder) if name.startswith(".")]
            told["runs to the end"] += 1
            for file in folder.iterdir():
                file.unlink()
            step = 0
        else:
            assert process.returncode == -signal.SIGKILL
            told["kills"] += 1
            told["kills while a file was being written"] += any(folder.glob(".*.part"))
            if path.exists():
                before, step = step, load_checkpoint(path)["step"]
                assert step >= before
                load_checkpoint(best_of(path))
            else:
                assert step == 0
    print(", ".join(f"{n} {what}" for what, n in told.items()))


# ---- damaged -----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """Twenty steps, saved at every fifth; three checkpoints kept."""
    t = resumed.trainer(tmp_path, 20, 5)
    for record in t.run():
        if record.step == 20:
            break
    return t.checkpoint


def damage(path, how=0):
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[len(data) // 2 :]
    elif how == "empty":
        data.clear()
    else:
        data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "empty", "one bit"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(run, how):
    told = []
    best_of(run).unlink()
    best_of(run).write_bytes(numbered(run)[10].read_bytes())
    assert load_newest(run, told.append)["step"] == 20 and told == []
    damage(run, how)
    assert load_newest(run, told.append)["step"] == 15
    assert len(told) == 1 and str(run) in told[0]
    assert told[0].endswith("; checkpoint-15.safetensors is used, of step 15")
    damage(run.with_name("checkpoint-15.safetensors"), how)
    assert load_newest(run, told.append)["step"] == 10
    damage(run.with_name("checkpoint-10.safetensors"), how)
    assert load_newest(run, told.append)["step"] == 10
    assert told[-1].endswith("; best.safetensors is used, of step 10")
    damage(best_of(run), how)
    with pytest.raises(ValueError, match="checkpoint.safetensors cannot be loaded"):
        load_newest(run, told.append)


def test_after_damage_the_end_is_the_same(run, tmp_path):
    whole = resumed.trainer(tmp_path / "whole", 100, 5)
    (tmp_path / "whole").mkdir()
    list(whole.run())
    damage(run)
    t = resumed.train(tmp_path, 100, 5)
    assert t.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert set(numbered(run)) == {90, 95, 100}


def test_a_checkpoint_that_is_gone(run):
    told = []
    run.unlink()
    assert load_newest(run, told.append)["step"] == 20
    assert told == [f"{run} is missing; checkpoint-20.safetensors is used, of step 20"]
    for path in run.parent.iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError):
        load_newest(run)


# ---- which are kept ----------------------------------------------------------------------------


def state(step):
    """A checkpoint of that step, of a model that has learned nothing."""
    whole = resumed.trainer(".", 100, 5).state_dict()
    return {**whole, "step": step, "losses": mt.zeros(step, dtype=mt.float64)}


def test_the_newest_and_the_best_are_kept(tmp_path):
    path = tmp_path / "run.safetensors"
    checkpoints = Checkpoints(path, keep=2)
    for step, best in [(0, True), (5, True), (10, False), (15, False)]:
        checkpoints.save(state(step), best)
        assert load_checkpoint(path)["step"] == step
    assert {p.name for p in tmp_path.iterdir()} == {
        "run.safetensors", "run-10.safetensors", "run-15.safetensors", "best.safetensors",
    }  # fmt: skip
    assert load_checkpoint(tmp_path / "best.safetensors")["step"] == 5
    assert path.stat().st_ino == numbered(path)[15].stat().st_ino  # one file, two names


def test_one_is_enough(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run.safetensors", keep=1)
    for step in (1, 2, 2, 3):
        checkpoints.save(state(step), False)
    assert {p.name for p in tmp_path.iterdir()} == {"run.safetensors", "run-3.safetensors"}
    with pytest.raises(ValueError, match="keep must be at least 1"):
        Checkpoints(tmp_path / "run.safetensors", keep=0)


def test_those_of_another_run_make_way(tmp_path):
    path = tmp_path / "run.safetensors"
    for step in (10, 20):
        (tmp_path / f"run-{step}.safetensors").write_bytes(b"old")
    best_of(path).write_bytes(b"old")
    (tmp_path / "run-notes.txt").write_bytes(b"not ours")
    (tmp_path / ".0123456789abcdef.part").write_bytes(b"left by a killed program")
    Checkpoints(path).save(state(0), False)
    assert {p.name for p in tmp_path.iterdir()} == {
        "run.safetensors", "run-0.safetensors", "run-notes.txt",
    }  # fmt: skip


def test_after_falling_back_later_ones_are_not_kept(tmp_path):
    path = tmp_path / "run.safetensors"
    checkpoints = Checkpoints(path, keep=2)
    for step in (10, 20, 30):
        checkpoints.save(state(step), False)
    again = Checkpoints(path, keep=2)  # 30 is damaged, say: on from 20, stopped at 23
    again.go_on()
    again.save(state(23), False)
    assert set(numbered(path)) == {20, 23}


def test_where_there_are_no_links(tmp_path, monkeypatch):
    def refused(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    checkpoints = Checkpoints(tmp_path / "run.safetensors")
    checkpoints.save(state(3), True)
    for name in ("run", "run-3", "best"):
        assert load_checkpoint(tmp_path / f"{name}.safetensors")["step"] == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_the_best_is_that_of_the_lowest_loss(tmp_path):
    t = resumed.trainer(tmp_path, 100, 5)
    losses = iter([3.0, 2.0, 2.5, 1.5, 1.5])
    t.examine = lambda: examined(t, next(losses))
    kept = []
    for record in t.run():
        if record.step % 5 == 0:
            kept.append(load_checkpoint(best_of(t.checkpoint))["step"])
        if record.step == 20:
            break
    assert kept == [0, 5, 5, 15, 15]
    t.train_step()
    Trainer.save(t)  # at a step without an exam
    assert load_checkpoint(best_of(t.checkpoint))["step"] == 15


def examined(trainer, loss):
    trainer.validation.append([trainer.step, loss])
    trainer.save()
