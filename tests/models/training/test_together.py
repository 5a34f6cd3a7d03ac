"""Training by several processes: the model of one process, exact to resume, whole after a kill."""

from pathlib import Path

import pytest
import ranks

import microtensor as mt
from models.text import data
from models.text.tokenizers import ByteTokenizer
from models.training import load_checkpoint, together

PROGRAM = Path(__file__).with_name("together.py")


def trained(folder, n, steps, dropout, *die, **options):
    ranks.run(n, PROGRAM, folder, steps, dropout, *die, **options)
    return load_checkpoint(folder / "checkpoint.safetensors")


def same(state, other):
    """Whether two trainings have come to the same, to the last bit."""
    return (
        mt.equal(state["losses"], other["losses"])
        and state["validation"] == other["validation"]
        and all(mt.equal(t, other["model"][name]) for name, t in state["model"].items())
        and state["random"].keys() == other["random"].keys()
        and all(mt.equal(t, other["random"][name]) for name, t in state["random"].items())
    )


@ranks.needs_mpi
def test_the_losses_of_one_process(tmp_path):
    """A batch of 7 windows, shared out unevenly among 2 and 3."""
    alone = trained(tmp_path / "1", 1, 100, 0)
    for n in (2, 3):
        found = trained(tmp_path / str(n), n, 100, 0)
        assert (found["losses"] - alone["losses"]).abs().max().item() < 1e-6
        for (step, loss), (other_step, other) in zip(found["validation"], alone["validation"]):
            assert step == other_step and abs(loss - other) < 1e-6


@ranks.needs_mpi
def test_resumed_exactly_also_after_a_kill(tmp_path):
    """With dropout, whose random numbers each rank has of its own."""
    straight = trained(tmp_path / "straight", 2, 40, 0.2)
    trained(tmp_path / "parts", 2, 20, 0.2)
    assert not same(
        straight, trained(tmp_path / "parts", 1, 30, 0.2)
    )  # with another number: goes on
    found = trained(tmp_path / "killed", 2, 40, 0.2, 26, flags=["--max_restarts", "1"])
    assert same(straight, found)


def test_parts_of_a_file_of_tokens(tmp_path):
    path, text = tmp_path / "tokens", "0123456789" * 5
    data.write_tokens(path, ByteTokenizer(), text)
    whole, _ = data.read_tokens(path)
    for n in (1, 2, 3, 7, 50):
        slices = [data.part_of(len(whole), i, n) for i in range(n)]
        assert len({s.stop - s.start for s in slices}) == 1  # equally long
        assert {i for s in slices for i in range(s.start, s.stop)} == set(range(50))
        for i, s in enumerate(slices):
            part, _ = data.read_tokens(path, part=(i, n))
            assert part.tolist() == whole[s].tolist()
    with pytest.raises(ValueError, match="no part 2 of 2"):
        data.read_tokens(path, part=(2, 2))


def test_batches_are_shared_out_evenly(monkeypatch):
    for n in range(1, 6):
        monkeypatch.setattr(together, "size", lambda n=n: n)
        rows = []
        for rank in range(n):
            monkeypatch.setattr(together, "rank", lambda rank=rank: rank)
            own = together.rank_slice(7)
            rows += range(own.start, own.stop)
        assert rows == list(range(7))
    monkeypatch.setattr(together, "size", lambda: 8)
    with pytest.raises(ValueError, match="a batch of 7 cannot be shared out among 8"):
        together.rank_slice(7)
