"""The launcher: a program in several processes, by torchrun's flags.

    python -m microtensor.distributed.run --nproc_per_node 2 program.py …

It has MPI's `mpiexec` start `worker.py` for each rank, which sets RANK, LOCAL_RANK, WORLD_SIZE,
MASTER_ADDR and MASTER_PORT and runs the program. If one rank fails, all end, the traceback of the
first is shown, and the exit code is not 0. Ctrl-C goes to all ranks. `--max_restarts N` starts
all again, up to N times, with TORCHELASTIC_RESTART_COUNT set; the program goes on from its
checkpoint.

Several machines: with `--hostfile FILE` mpiexec reaches them by ssh. Or one launcher on each, with
`--nnodes`, `--node_rank`, `--master_addr` and `--master_port` as for torchrun (MPICH alone): see
`nodes.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from ..backends.installed import how_to_install
from . import nodes, worker
from .transport import named

ABORTED = re.compile(rb"^Abort\(\d+\) on node .*application called MPI_Abort.*\n", re.M)
REPORT = b"=   BAD TERMINATION"  # the second line of it; the first is a row of =
GRACE = 4.0  # seconds that the ranks have to end by themselves after one has failed


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        "python -m microtensor.distributed.run", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip

    def add(name, **options):
        spellings = [f"--{name}", f"--{name.replace('_', '-')}"]
        p.add_argument(*dict.fromkeys(spellings), **options)

    add("nproc_per_node", default="1", help="processes on each machine; auto: one a core (1)")
    add("nnodes", default="1", help="machines, each with a launcher of its own (1)")
    add("node_rank", type=int, default=0, help="which of the machines this is (0)")
    add("master_addr", default="127.0.0.1", help="the address of machine 0 (127.0.0.1)")
    add("master_port", type=int, default=29500, help="a free port of machine 0 (29500)")
    add("hostfile", help="a file of mpiexec's that names machines, reached by ssh")
    add("standalone", action="store_true", help="this machine alone, which is the default")
    add("max_restarts", type=int, default=0, help="how often all may start again (0)")
    add("as_torch", action="store_true", help="let the program's `import torch` find microtensor")
    add("cuda_is_cpu", action="store_true",
        help='let the device names "cuda" and "cuda:N" stand for the CPU of each rank')  # fmt: skip
    add("mpi_args", default="", help="further arguments for mpiexec, in one text")
    for name in ("rdzv_backend", "rdzv_endpoint", "rdzv_id", "rdzv_conf", "log_dir", "role", "tee",
                 "redirects", "monitor_interval", "start_method", "local_addr"):  # fmt: skip
        add(name, help=argparse.SUPPRESS)  # torchrun's, which change nothing here
    p.add_argument("-m", "--module", action="store_true", help="the program is a module's name")
    p.add_argument("program", help="the program")
    p.add_argument("arguments", nargs=argparse.REMAINDER, help="its own arguments")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run a program in several processes; the exit code."""
    p = parser()
    args = p.parse_args(argv)
    try:
        check(args)
        return Job(args).run()
    except (ValueError, OSError) as error:
        print(f"{p.prog}: {error}", file=sys.stderr)
        return 2


def check(args: Any) -> None:
    """ValueError for arguments that start nothing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if args.nproc_per_node in ("auto", "cpu", "gpu"):
        args.nproc_per_node = cores or 1
    if not str(args.nproc_per_node).isdecimal() or int(args.nproc_per_node) < 1:
        raise ValueError(f"--nproc_per_node is a number from 1 on, got {args.nproc_per_node}")
    if not args.nnodes.isdecimal() or int(args.nnodes) < 1:
        raise ValueError(f"--nnodes is a number from 1 on, got {args.nnodes}")
    args.nproc_per_node, args.nnodes = int(args.nproc_per_node), int(args.nnodes)
    if not 0 <= args.node_rank < args.nnodes:
        raise ValueError(f"--node_rank is below {args.nnodes}, got {args.node_rank}")
    if args.max_restarts < 0:
        raise ValueError(f"--max_restarts is a number from 0 on, got {args.max_restarts}")
    if args.rdzv_endpoint:
        address, _, port = args.rdzv_endpoint.partition(":")
        args.master_addr, args.master_port = address, int(port or args.master_port)
    if not args.module and not Path(args.program).is_file():
        raise ValueError(f"there is no program {args.program}")
    if args.nnodes > 1 and args.max_restarts:
        raise ValueError("--max_restarts is for one machine, or for --hostfile")


class Job:
    """The processes of one program, started again where that is asked for."""

    def __init__(self, args: Any) -> None:
        self.args, self.interrupted, self.process = args, 0, None
        self.size = args.nproc_per_node * args.nnodes

    def run(self) -> int:
        """Run it to its end, or to the last restart that is allowed; the exit code."""
        signal.signal(signal.SIGINT, self.pass_on)
        signal.signal(signal.SIGTERM, self.pass_on)
        for attempt in range(self.args.max_restarts + 1):
            with tempfile.TemporaryDirectory(prefix="microtensor-job-") as folder:
                code = self.attempt(Path(folder), attempt)
            if code == 0 or self.interrupted:
                return code
            if attempt < self.args.max_restarts:
                say(f"starting again ({attempt + 1} of {self.args.max_restarts} times)")
        return code

    def pass_on(self, number: int, frame: Any) -> None:
        """Give a signal to all ranks; the launcher waits for their end."""
        self.interrupted += 1
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if self.size == 1 else number)

    # ---- once ----------------------------------------------------------------------------------

    def attempt(self, folder: Path, attempt: int) -> int:
        """Start all ranks and wait for them; the exit code."""
        args = self.args
        environment = {
            **os.environ,
            "MASTER_ADDR": args.master_addr, "MASTER_PORT": str(args.master_port),
            "TORCHELASTIC_RESTART_COUNT": str(attempt),
            "TORCHELASTIC_MAX_RESTARTS": str(args.max_restarts),
            "TORCHELASTIC_RUN_ID": args.rdzv_id or "none",
            worker.FOLDER: str(folder),
        }  # fmt: skip
        for name in worker.THREADS:
            environment.setdefault(name, "1")
        if args.cuda_is_cpu:
            environment["MICROTENSOR_CUDA_IS_CPU"] = str(args.nproc_per_node)
            if attempt == 0:
                say('the device names "cuda" and "cuda:N" stand for the CPU of each rank')
        if args.node_rank:
            command = nodes.join(args)
        else:
            command = [*self.mpiexec(environment), *self.rank_command()]
        self.died, self.shown = {}, False  # {process: exit code}; whether a traceback is shown
        piped = None if self.size == 1 else subprocess.PIPE  # a terminal stays one
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=piped, stderr=piped,
            start_new_session=True,
        )  # fmt: skip
        if args.nnodes > 1 and not args.node_rank:
            nodes.serve(args, self.process)
        streams = {self.process.stdout: sys.stdout, self.process.stderr: sys.stderr}
        relays = [threading.Thread(target=self.relay, args=s) for s in streams.items() if piped]
        for thread in relays:
            thread.start()
        code = self.watch(folder)
        for thread in relays:
            thread.join(GRACE)
        self.show_failure(folder)
        return self.verdict(folder, code)

    def rank_command(self):
        """The command of each rank: `worker.py` and the program."""
        args = self.args
        program = ["-m", args.program] if args.module else [args.program]
        spoken = ["--as_torch"] if args.as_torch else []
        return [sys.executable, worker.__file__, *spoken, *program, *args.arguments]

    def mpiexec(self, environment):
        """The command that starts the ranks, empty for a single one. ValueError without MPI."""
        args = self.args
        if self.size == 1 and not args.hostfile:
            return []
        beside = Path(sys.executable).with_name("mpiexec")
        found = str(beside) if beside.exists() else shutil.which("mpiexec")
        if found is None:
            raise ValueError(f"mpiexec is missing: {how_to_install('distributed')}")
        version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
        command = [found, "-n", str(self.size)]
        if "Open MPI" in version or "OpenRTE" in version:
            environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
            command += ["--map-by", ":OVERSUBSCRIBE"]
            command += ["--hostfile", args.hostfile] if args.hostfile else []
        else:
            command += ["-f", args.hostfile] if args.hostfile else []
        if args.hostfile:
            command += ["-ppn", str(args.nproc_per_node)]
        if args.nnodes > 1:
            command += nodes.manual(args)
        return [*command, *args.mpi_args.split()]

    def watch(self, folder):
        """Wait for the end; if a rank has failed and others stay, end them. mpiexec's exit code."""
        failed_at = None
        while (code := self.process.poll()) is None:
            time.sleep(0.05)
            self.show_failure(folder)
            if failed_at is None and (self.interrupted > 1 or self.lost(folder)):
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() - failed_at > GRACE:
                self.end(folder)
        return code

    def lost(self, folder):
        """True if a rank of this machine has failed, or is gone without having ended."""
        if (folder / "failed").exists():
            return True
        for note in processes(folder):
            rank = note.name.partition("-")[2]
            text = note.read_text()
            if text and not alive(int(text)) and not (folder / f"ended-{rank}").exists():
                return True
        return False

    def end(self, folder):
        """End the processes that this launcher has started, at once."""
        for note in processes(folder):
            if text := note.read_text():
                kill(int(text))
        self.process.kill()

    def relay(self, pipe, out):
        """Pass the ranks' output on; of what MPI reports of an end keep what is in it."""
        report, reporting = b"", False
        while chunk := os.read(pipe.fileno(), 1 << 16):
            report += chunk
            if not reporting:
                start, reporting = report_in(report)
                out.buffer.write(ABORTED.sub(b"", report[:start]))
                out.buffer.flush()
                report = report[start:]
        if found := re.search(rb"PID (\d+) RUNNING.*?EXIT CODE: (\d+)", report, re.S):
            self.died[int(found[1])] = int(found[2])
        else:
            out.buffer.write(report)
            out.buffer.flush()

    def show_failure(self, folder):
        """Print the traceback of the rank that failed first, once."""
        if not self.shown and (folder / "failed").exists():
            self.shown = True
            sys.stderr.write((folder / "failed").read_text(encoding="utf-8"))
            sys.stderr.flush()

    def verdict(self, folder, code):
        """The exit code of the job; one line says which rank ended it, if it has not said so."""
        ranks = {int(n.read_text() or 0): int(n.name[8:]) for n in processes(folder)}
        codes = [int(n.read_text() or 1) for n in processes(folder, "ended")]
        recorded = (folder / "failed").exists() or (folder / "interrupted").exists()
        silent = sorted(r for r in ranks.values() if not (folder / f"ended-{r}").exists())
        if not recorded:
            for pid, number in self.died.items():
                if pid in ranks and 0 < number < 65:
                    name = signal.Signals(number).name
                    say(f"rank {ranks[pid]} was killed by {name}; all ranks end")
                    return 128 + number
            if silent and not self.interrupted:
                are = "is" if len(silent) == 1 else "are"
                say(f"{named(silent)} {are} gone without having ended (exit code {code})")
                return code if code and code > 0 else 1
        if self.interrupted:
            return 130
        return next(
            (c for c in codes if c), 1 if recorded else max(code, 0) if code >= 0 else 128 - code
        )


def report_in(output):
    """The place in some output where MPICH's report of an end begins, or may; True if it does."""
    if (at := output.find(REPORT)) > 0:
        return output.rfind(b"\n", 0, at - 1) + 1, True
    lines = output.split(b"\n")
    for tail in (lines[-2:], lines[-1:]):
        if set(tail[0]) == set(b"=") and all(REPORT.startswith(line) for line in tail[1:]):
            return len(output) - len(b"\n".join(tail)), False
    return len(output), False


def processes(folder, what="process"):
    """The notes in which the ranks of this machine tell their process, or their exit code."""
    return [note for note in folder.glob(f"{what}-*") if note.name.count(".") == 0]


def alive(pid):
    """True if a process runs, and does not only wait to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def say(line):
    print(f"microtensor.distributed.run: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
