"""Timing by turns: each contestant is a process with one library, and one computes at a time.

In one process the threads of two libraries spin against each other: each keeps its own awake for a
while after its last product, on the cores that the other needs.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CLONE = HERE.parents[1]
THREADS = 2
SPREAD = 0.08  # more between the turns of one contestant: no ratio
BUSY = 0.10  # of a core that others use: no ratio


@dataclass
class Contestant:
    """A library in a process of its own."""

    name: str
    library: str
    clone: Path = CLONE
    backend: str = ""
    process: subprocess.Popen = field(default=None, repr=False)

    @property
    def environment(self):
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            env[threads] = str(THREADS)
        env.pop("MICROTENSOR_BACKEND", None)
        if self.backend:
            env["MICROTENSOR_BACKEND"] = self.backend
        return {**env, "PYTHONPATH": str(self.clone)}

    def command(self, *arguments):
        return [sys.executable, str(HERE / "worker.py"), self.library, *map(str, arguments)]

    def alone(self, *arguments):
        """What a new process prints that does some work and ends."""
        return subprocess.run(self.command(*arguments), env=self.environment, check=True,
                              stdout=subprocess.PIPE, text=True, cwd=self.clone).stdout  # fmt: skip

    def ask(self, **order):
        if self.process is None:
            self.process = subprocess.Popen(
                self.command(), env=self.environment, text=True, cwd=self.clone,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} ended while it did {order}")
        return json.loads(answer)

    def end(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


def contestants(beside=()):
    """NumPy alone, compiled loops if numba is there, PyTorch if it is there, and other clones."""
    there = lambda module: importlib.util.find_spec(module) is not None
    found = []
    for name, clone in [("", CLONE), *beside]:
        found.append(Contestant(f"{name} NumPy".strip(), "microtensor", clone, "numpy"))
        if there("numba"):
            found.append(Contestant(f"{name} fast".strip(), "microtensor", clone))
    if there("torch"):
        found.append(Contestant("PyTorch", "torch"))
    return found


@dataclass
class Timing:
    """Seconds a call of one contestant: the median of all calls, and how the turns differ."""

    median: float
    spread: float  # between the quartiles of the turns' medians, as a share of the median

    @classmethod
    def of(cls, turns):
        every = [seconds for turn in turns for seconds in turn]
        medians = [statistics.median(turn) for turn in turns]
        low, _, high = statistics.quantiles(medians, n=4)
        return cls(statistics.median(every), (high - low) / statistics.median(medians))


def in_turns(them, group, name, seconds, turns=8):
    """{contestant's name: Timing} of a piece of work, each for about `seconds`, A B C A B C …"""
    for one in them:
        one.ask(make=[group, name])
    taken = {one.name: [] for one in them}
    for _ in range(turns):
        for one in them:
            time.sleep(0.1)  # until the threads of whoever came before are asleep
            taken[one.name].append(one.ask(seconds=seconds / turns))
    return {name: Timing.of(times) for name, times in taken.items()}


def processes_in_turns(them, command, turns=8):
    """{contestant's name: Timing} of whole processes: `command(contestant)` runs one."""
    taken = {one.name: [] for one in them}
    for turn in range(turns + 1):  # the first fills the caches of files
        for one in them:
            start = time.perf_counter()
            command(one)
            if turn:
                taken[one.name].append([time.perf_counter() - start])
    return {name: Timing.of(times) for name, times in taken.items()}


# ---- the machine ---------------------------------------------------------------------


def busy(seconds=0.5):
    """How much of a core other programs use, while this one waits; 0 where it cannot be known."""

    def used():
        fields = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4]  # all but idle and waiting for a disk

    try:
        before = used()
        time.sleep(seconds)
        return (used() - before) / os.sysconf("SC_CLK_TCK") / seconds
    except (OSError, ValueError):
        return 0.0


def machine():
    """A line on the machine, and what of the environment changes how fast NumPy is."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = "unknown CPU"
    said = f"{cpu}, {os.cpu_count()} cores, {THREADS} threads each, Python {sys.version.split()[0]}"
    names = ("OPENBLAS_", "MKL_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    changed = [f"{k}={v}" for k, v in os.environ.items()
               if k.startswith(names) and k != "OPENBLAS_NUM_THREADS"]  # fmt: skip
    return said + (f"; set: {', '.join(changed)}" if changed else "")
