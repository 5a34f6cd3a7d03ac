"""The launcher: variables, output, failures that end all ranks, Ctrl-C, restarts."""

import signal
import subprocess
import time

import pytest
import ranks

from microtensor.distributed import run

FAILING = """
    import os, sys, time
    import microtensor as mt
    from microtensor import distributed as dist

    dist.init_process_group()
    rank, x = dist.get_rank(), mt.ones(2)
    dist.barrier()
    if rank == 1:
        if sys.argv[1] == "raise": raise KeyError("lost")
        if sys.argv[1] == "exit": sys.exit(0)
        if sys.argv[1] == "gone": os._exit(0)
        if sys.argv[1] == "kill": os.kill(os.getpid(), 9)
    if sys.argv[1] == "mismatch": x = mt.ones(2 + rank)
    while True:
        dist.all_reduce(x)
        time.sleep(0.01)
"""


def test_one_process_needs_no_mpi(tmp_path):
    program = ranks.write(tmp_path, """
        import os, sys
        print(os.environ["RANK"], os.environ["WORLD_SIZE"], sys.argv[1:], "numpy" in sys.modules)
        """)  # fmt: skip
    assert ranks.run(1, program, "--steps", 3).stdout == "0 1 ['--steps', '3'] False\n"


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--nproc_per_node", "0"], "a number from 1 on"),
        (["--nnodes", "2", "--node_rank", "2"], "below 2"),
        (["--max_restarts", "-1"], "from 0 on"),
    ],
)
def test_wrong_flags_are_one_line(tmp_path, capsys, flags, said):
    assert run.main([*flags, str(ranks.write(tmp_path, ""))]) == 2
    assert run.main([str(tmp_path / "none.py")]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert said in first and "there is no program" in second


def test_what_mpi_reports_is_told_from_what_programs_print():
    bar = b"=" * 80
    whole = b"text\n\n" + bar + b"\n" + run.REPORT + b" OF ONE"
    for end in range(1, len(whole) + 1):
        start, there = run.report_in(whole[:end])
        assert start == min(end, 6) and there is (end >= whole.index(run.REPORT) + len(run.REPORT))
    for text in (b"a\n" + bar + b"\nTitle", b"x = 1\n", b"a ==="):
        assert run.report_in(text) == (len(text), False)


@ranks.needs_mpi
def test_variables_and_prefixes(tmp_path):
    program = ranks.write(tmp_path, """
        import os, sys
        names = "RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT OMP_NUM_THREADS".split()
        print(*(os.environ[n] for n in names), "numpy" in sys.modules)
        """)  # fmt: skip
    flags = ["--standalone", "--master_port=1234"]
    lines = ranks.run(2, program, flags=flags).stdout.splitlines()
    assert sorted(lines) == [
        "0 0 2 127.0.0.1 1234 1 False",
        "[rank1]: 1 1 2 127.0.0.1 1234 1 False",
    ]


@ranks.needs_mpi
def test_lines_of_several_ranks_stay_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    program = ranks.write(tmp_path, """
        for i in range(500):
            print("line", i, "of", "many")
        """)  # fmt: skip
    lines = ranks.run(3, program).stdout.splitlines()
    prefixes = ("", "[rank1]: ", "[rank2]: ")
    assert sorted(lines) == sorted(f"{p}line {i} of many" for p in prefixes for i in range(500))


@ranks.needs_mpi
@pytest.mark.parametrize(
    "how, said",
    [
        ("raise", "[rank1]: KeyError: 'lost'"),
        ("exit", "rank 1 has ended its program"),
        ("gone", "gone without having ended"),
        ("kill", "rank 1 was killed by SIGKILL"),
        ("mismatch", "rank 1 called all_reduce(SUM) of float32 (3,)"),
    ],
)
def test_a_rank_that_fails_ends_all_with_one_traceback(tmp_path, how, said):
    done = ranks.run(2, ranks.write(tmp_path, FAILING), how, code=None, timeout=40)
    assert done.returncode not in (0, None)
    assert said in done.stderr, done.stderr
    assert done.stderr.count("Traceback") == (how not in ("gone", "kill"))
    assert "BAD TERMINATION" not in done.stdout + done.stderr


@ranks.needs_mpi
def test_ctrl_c_reaches_all(tmp_path):
    program = ranks.write(tmp_path, """
        import time
        from microtensor import distributed as dist
        dist.init_process_group()
        try:
            dist.barrier()
            print("ready", flush=True)
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            print("stopped")
            time.sleep(1)
        """)  # fmt: skip
    job = subprocess.Popen(
        ranks.command(2, program), env=ranks.environment(), stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    seen = {job.stdout.readline() for _ in range(2)}
    time.sleep(0.1)
    job.send_signal(signal.SIGINT)
    out, _ = job.communicate(timeout=20)
    assert seen == {"ready\n", "[rank1]: ready\n"}
    assert {"stopped", "[rank1]: stopped"} <= set(out.splitlines())
    assert job.returncode == 130


@ranks.needs_mpi
def test_all_start_again_as_often_as_allowed(tmp_path):
    program = ranks.write(tmp_path, """
        import os
        from microtensor import distributed as dist
        dist.init_process_group()
        count = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        dist.barrier()
        if dist.get_rank() == 0 and count < 1:
            raise ValueError("the first time")
        dist.barrier()
        print("done", count)
        """)  # fmt: skip
    done = ranks.run(2, program, flags=["--max_restarts", "1"])
    assert "done 1" in done.stdout.splitlines() and "the first time" in done.stderr
    assert ranks.run(2, program, code=1).returncode == 1
