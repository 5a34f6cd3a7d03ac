"""Collectives, DDP, ZeRO, SyncBatchNorm and samplers in 1, 2 and 3 processes."""

import json
from pathlib import Path

import numpy as np
import pytest
import ranks

import microtensor as mt
from microtensor import distributed as dist

PROGRAMS = Path(__file__).with_name("programs.py")


def numbers(tmp_path, n, *names):
    out = tmp_path / f"{n}.json"
    ranks.run(n, PROGRAMS, out, *names, flags=["--as_torch"])
    return json.loads(out.read_text())


def test_one_process_is_a_group_of_one():
    assert not dist.is_initialized() and dist.is_available()
    with pytest.raises(ValueError, match="has not been initialized"):
        dist.get_rank()
    dist.init_process_group("gloo")
    try:
        with pytest.raises(ValueError, match="twice"):
            dist.init_process_group()
        assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 1, "gloo")
        x = mt.tensor([1.0, 2.0])
        assert dist.all_reduce(x) is None and x.tolist() == [1, 2]
        assert dist.all_reduce(x, async_op=True).wait()
        rows = [mt.zeros(2)]
        dist.all_gather(rows, x)
        assert rows[0].tolist() == [1, 2]
        values = [None]
        dist.all_gather_object(values, {"a": (1, x)})
        assert values[0]["a"][0] == 1 and values[0]["a"][1].tolist() == [1, 2]
        with pytest.raises(TypeError, match="plain values"):
            dist.all_gather_object(values, object())
        with pytest.raises(RuntimeError, match="AVG needs floating"):
            dist.all_reduce(mt.tensor([1]), dist.ReduceOp.AVG)
        with pytest.raises(ValueError, match="each of 1 ranks, got 2"):
            dist.all_gather([x, x], x)
        with pytest.raises(ValueError, match="src 1 is not in the group"):
            dist.broadcast(x, 1)
    finally:
        dist.destroy_process_group()
    assert not dist.is_initialized()


def test_what_cannot_be_started_says_how():
    with pytest.raises(ValueError, match="nproc_per_node 2"):
        dist.init_process_group(world_size=2, rank=0)
    with pytest.raises(ValueError, match="backends are mpi, gloo, nccl"):
        dist.init_process_group("tcp")
    with pytest.raises(RuntimeError, match="nproc_per_node 3"):
        mt.multiprocessing.spawn(print, nprocs=3)


def test_mpi_missing_is_one_clear_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mpi4py", None)
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(RuntimeError, match=r"mpi4py is not installed: pip install .*distributed"):
        dist.init_process_group(world_size=2)


@ranks.needs_mpi
@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_rank_computes_what_numpy_does(tmp_path, n):
    """The programs assert; here the reductions are done again, and DDP in one process."""
    everyone = numbers(tmp_path, n)
    own = [np.random.default_rng(r).standard_normal((3, 2)).astype(np.float32) for r in range(n)]
    for rank, found in enumerate(everyone):
        reduced = np.array(found["collectives"][:24]).reshape(4, 3, 2)
        for got, join in zip(reduced, (np.sum, np.min, np.max, np.prod)):
            np.testing.assert_allclose(got, join(own, axis=0), rtol=1e-6)
        assert found["works"] == [v for i in range(3) for v in [sum(range(n)) + n * i] * 5]
        assert found["gradients"] == everyone[0]["gradients"], rank
    if n > 1:
        alone = numbers(tmp_path, 1, "gradients")[0]["gradients"]
        np.testing.assert_allclose(everyone[0]["gradients"], alone, rtol=2e-4, atol=2e-6)


@ranks.needs_mpi
def test_dtypes_zero_and_sync_batch_norm(tmp_path):
    program = ranks.write(tmp_path, """
        import microtensor as mt
        from microtensor import distributed as dist, nn
        from microtensor.distributed.optim import ZeroRedundancyOptimizer

        dist.init_process_group()
        rank, size = dist.get_rank(), dist.get_world_size()
        for dtype in (mt.float16, mt.bfloat16, mt.float64, mt.int8, mt.int64, mt.uint8):
            x = (mt.arange(6).reshape(2, 3) + rank).to(dtype)
            y = x.t()  # not contiguous
            dist.all_reduce(y)
            assert x.tolist() == (mt.arange(6).reshape(2, 3) * 2 + 1).tolist(), dtype
        x = mt.tensor([rank == 0, False])
        dist.all_reduce(x)
        assert x.tolist() == [True, False]
        x = mt.tensor([1.0 + rank])
        dist.all_reduce(x, dist.ReduceOp.AVG)
        assert x.item() == 1.5
        x = mt.zeros(2)
        dist.reduce_scatter_tensor(x, mt.arange(4.0))
        assert x.tolist() == [4 * rank, 4 * rank + 2]
        rows = [mt.zeros(1), mt.zeros(1)]
        dist.all_to_all(rows, [mt.tensor([10.0 * rank]), mt.tensor([10.0 * rank + 1])])
        assert [r.item() for r in rows] == [rank, 10 + rank]

        # SyncBatchNorm is BatchNorm over both halves, of different size
        whole = mt.arange(30.0).reshape(5, 3, 2).sin()
        mine = (whole[:2] if rank == 0 else whole[2:]).clone().requires_grad_()
        norm, sync = nn.BatchNorm1d(3), nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(3))
        part = sync(mine)
        whole.requires_grad_()
        full = norm(whole)
        weights = mt.arange(30.0).reshape(5, 3, 2)
        (full * weights).sum().backward()
        rows = slice(0, 2) if rank == 0 else slice(2, 5)
        (part * weights[rows]).sum().backward()
        assert mt.allclose(part, full[rows], atol=1e-5)
        assert mt.allclose(mine.grad, whole.grad[rows], rtol=1e-4, atol=1e-4)
        assert mt.allclose(sync.running_mean, norm.running_mean)
        assert mt.allclose(sync.running_var, norm.running_var)

        # ZeRO steps as AdamW does; each rank has a share of the state
        mt.manual_seed(0)
        nets = [nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)) for _ in range(2)]
        nets[1].load_state_dict(nets[0].state_dict())
        plain = mt.optim.AdamW(nets[0].parameters(), lr=0.1)
        zero = ZeroRedundancyOptimizer(nets[1].parameters(), mt.optim.AdamW, lr=0.1)
        for step in range(4):
            for net, optimizer in zip(nets, (plain, zero)):
                optimizer.zero_grad()
                (net(mt.ones(2, 3)) ** 2).sum().backward()
                optimizer.step()
            if step == 1:
                zero.consolidate_state_dict(0)
                saved = [zero.state_dict() if rank == 0 else None]
                dist.broadcast_object_list(saved)
                assert len(saved[0]["state"]) == 4
                zero = ZeroRedundancyOptimizer(nets[1].parameters(), mt.optim.AdamW, lr=0.5)
                zero.load_state_dict(saved[0])
        assert all(mt.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters()))
        assert 0 < len(zero.optim.state) < 4
        """)  # fmt: skip
    ranks.run(2, program)


@ranks.needs_mpi
def test_errors_name_ranks_and_what_they_called(tmp_path):
    """Each is caught on every rank; then all go on together."""
    program = ranks.write(tmp_path, """
        import time
        from datetime import timedelta
        import microtensor as mt
        from microtensor import distributed as dist, nn
        from microtensor.nn.parallel import DistributedDataParallel as DDP

        dist.init_process_group()
        rank = dist.get_rank()

        def error(call):
            try:
                call()
            except Exception as error:
                return f"{type(error).__name__}: {error}"

        x = mt.ones(2)
        said = error(lambda: dist.all_reduce(x) if rank == 0 else dist.broadcast(x, 0))
        for part in ("rank 0 called all_reduce(SUM) of float32 (2,)", "rank 1 called broadcast"):
            assert part in said, said
        said = error(lambda: dist.all_reduce(mt.ones(2 + rank)))
        assert "rank 1 called all_reduce(SUM) of float32 (3,)" in said, said
        said = error(lambda: DDP(nn.Linear(2, 3 + rank)))
        assert "weight (float32 (3, 2))" in said and "weight (float32 (4, 2))" in said, said

        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

            def forward(self, x):
                return self.a(x)

        two = DDP(Two())
        two(mt.ones(1, 2)).sum().backward()
        said = error(lambda: two(mt.ones(1, 2)))
        assert "b.weight, b.bias" in said, said
        said = error(lambda: DDP(nn.ReLU()))
        assert "doesn't have any parameter" in said, said
        assert error(lambda: dist.send(x, rank)).startswith("ValueError")
        if rank == 0:
            dist.send(mt.ones(3), 1)
        else:
            assert "rank 0 sent 3 elements of float32" in error(lambda: dist.recv(mt.ones(2), 0))
            time.sleep(1.5)
        if rank == 0:
            said = error(lambda: dist.monitored_barrier(timeout=timedelta(seconds=0.5)))
            assert "monitored_barrier: waited for more than 0.5 s for rank 1" in said, said
        print("done")
        import os; os._exit(0) if rank else None
        """)  # fmt: skip
    done = ranks.run(2, program, code=None)
    assert "done" in done.stdout.splitlines(), done.stdout + done.stderr
