"""Collectives, DDP's gradients and samplers beside PyTorch's with gloo, in 2 and 3 processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranks

pytest.importorskip("torch")
PROGRAMS = Path(__file__).parents[1] / "distributed" / "programs.py"
NAMES = "collectives works messages groups gradients unused samplers".split()


def by_pytorch(out, n):
    """What PyTorch's processes found, one started for each rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    jobs = [
        subprocess.Popen(
            [sys.executable, PROGRAMS, out, *NAMES],
            env={**os.environ, **where, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(n)
    ]
    assert [job.wait(120) for job in jobs] == [0] * n
    return json.loads(out.read_text())


@ranks.needs_mpi
@pytest.mark.parametrize("n", [2, 3])
def test_the_numbers_are_pytorchs(tmp_path, n):
    theirs = by_pytorch(tmp_path / "theirs.json", n)
    ranks.run(n, PROGRAMS, tmp_path / "ours.json", *NAMES, flags=["--as_torch"])
    ours = json.loads((tmp_path / "ours.json").read_text())
    for rank in range(n):
        for name in NAMES:
            exact = name in ("samplers", "works", "messages", "groups")
            tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 2e-5, "atol": 2e-6}
            np.testing.assert_allclose(
                ours[rank][name], theirs[rank][name], **tolerance, err_msg=f"{name}, rank {rank}"
            )
