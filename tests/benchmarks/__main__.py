"""Timings, side by side with PyTorch where it is installed:  python -m tests.benchmarks [NAME …]

Each library has a process of its own, and one computes at a time, in turns (see turns.py). A ratio
is PyTorch's median time divided by microtensor's: above 1, microtensor is faster. There is none
where another program uses the machine, or where the turns of one library differ much.

training, generation, small, operations, data     what programs do
start, import, memory                             whole processes
growth                                            how a step's time grows with each size
profile, products, hand, drawing                  microtensor by itself
quantization                                      a token of GPT-2, float32, int8 and int4
compiled                                          beside torch.compile (minutes)
"""

import argparse
import contextlib
import datetime
import json
import math
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

from . import turns
from .work import GROWTH, WORK

STEP = "default MiniGPT, a step"
LARGER = "larger MiniGPT (256, 384, 6, 6), a step"
ON_REQUEST = {"compiled"}
INSIDE = ("profile", "products", "hand", "drawing", "quantization")


class Table:
    """Rows of times or sizes, with ratios to PyTorch's; as text, or for Markdown."""

    def __init__(self, them, markdown):
        self.names, self.markdown, self.rows = [one.name for one in them], markdown, []
        self.ours = [name for name in self.names if name != "PyTorch"]

    def head(self, title):
        columns = [*self.names, *(f"PyTorch ÷ {n}" for n in self.ours if "PyTorch" in self.names)]
        if self.markdown:
            print(f"\n| {title} | " + " | ".join(columns) + " |\n|" + " --- |" * (len(columns) + 1))
        else:
            print(f"\n{title:44}" + "".join(f"{c:>19}" for c in columns))

    def row(self, name, values, spreads=None, unit=None, why_not=""):
        """One row: {contestant: value}, their spreads, and why there is no ratio, if so."""
        scale, unit = (
            (1, unit) if unit else (1e3, "ms") if min(values.values()) > 1e-3 else (1e6, "µs")
        )
        cells = []
        for n in self.names:
            cell = f"{values[n] * scale:.{0 if unit == 'MB' else 2}f} {unit}"
            cells.append(cell + (f" ±{spreads[n] / 2:.0%}" if spreads else ""))
        unsteady = [n for n in self.names if spreads and spreads[n] > turns.SPREAD]
        for n in self.ours if "PyTorch" in self.names else ():
            bad = why_not or ("unsteady" if {n, "PyTorch"} & set(unsteady) else "")
            cells.append(bad or f"{values['PyTorch'] / values[n]:.2f}")
        if self.markdown:
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        else:
            print(f"{name:44}" + "".join(f"{c:>19}" for c in cells), flush=True)
        self.rows.append({"name": name, "unit": unit, "values": values, "spreads": spreads,
                          "no ratio": why_not or unsteady})  # fmt: skip

    def timings(self, name, measure):
        """The row of what `measure()` gives, if the machine has been idle before and after."""
        others = turns.busy()
        taken = measure()
        others = max(others, turns.busy())
        why_not = f"{others:.0%} busy" if others > turns.BUSY else ""
        self.row(name, {n: t.median for n, t in taken.items()},
                 {n: t.spread for n, t in taken.items()}, why_not=why_not)  # fmt: skip
        return taken


# ---- the tables ----------------------------------------------------------------------


def time_work(group, table, them, seconds):
    """Pieces of work: the median seconds of a call."""
    for name in WORK[group]:
        table.timings(name, lambda name=name: turns.in_turns(them, group, name, seconds))


def time_start(table, them, seconds):
    """From the start of a process to the end of its first training step."""
    work = lambda one: one.alone("training", STEP, 1)
    table.timings("start and first step", lambda: turns.processes_in_turns(them, work))


def time_import(table, them, seconds):
    """A new process that imports the library and ends."""

    def start(one):
        command = [sys.executable, "-c", f"import {one.library}"]
        subprocess.run(command, check=True, env=one.environment, cwd=one.clone)

    table.timings("import", lambda: turns.processes_in_turns(them, start))


def measure_memory(table, them, seconds):
    """The peak memory of a process that takes three training steps."""
    for name in (STEP, LARGER):
        table.row(name, {one.name: int(one.alone("training", name, 3)) for one in them}, unit="MB")


def time_growth(table, them, seconds):
    """A step of MiniGPT, one size changed at a time, and the exponent of its growth."""
    for size, numbers in GROWTH.items():
        taken = [
            table.timings(f"{size} = {n}", lambda name=f"{size} = {n}": turns.in_turns(
                them, "growth", name, seconds))
            for n in numbers
        ]  # fmt: skip
        said = []
        for one in them:
            slope = exponent(numbers, [t[one.name].median for t in taken])
            said.append(f"{one.name} {size}^{slope:.2f}")
        print(("\n" if table.markdown else "") + "time grows with " + ", ".join(said))


def exponent(sizes, times):
    """The slope of a straight line through the logarithms."""
    return statistics.linear_regression([*map(math.log, sizes)], [*map(math.log, times)]).slope


TABLES = {
    **{group: partial(time_work, group) for group in WORK if group != "growth"},
    "start": time_start, "import": time_import, "memory": measure_memory, "growth": time_growth,
}  # fmt: skip
TITLES = {"training": "training", "generation": "greedy text", "small": "small arrays",
          "operations": "forward and backward", "data": "an epoch of a DataLoader",
          "start": "a new process", "import": "a new process", "memory": "peak memory",
          "growth": "a step of MiniGPT, batch 8", "compiled": "beside torch.compile"}  # fmt: skip


def beside(text):
    name, _, path = text.partition("=")
    if not (Path(path) / "microtensor").is_dir():
        raise argparse.ArgumentTypeError(f"NAME=FOLDER of another clone is needed, got {text!r}")
    return name, Path(path).resolve()


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    names = [*TABLES, *INSIDE]
    parser.add_argument("names", nargs="*", help="of those above; without one, all but compiled")
    parser.add_argument("--seconds", type=float, default=4, help="for each line and library")
    parser.add_argument("--beside", type=beside, action="append", default=[], metavar="NAME=FOLDER",
                        help="another clone, to be timed with this one")  # fmt: skip
    parser.add_argument("--without-torch", action="store_true", help="microtensor alone")
    parser.add_argument("--markdown", action="store_true", help="as tables for the README")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    args = parser.parse_args()
    wrong = set(args.names) - set(names)
    if wrong:
        parser.error(f"{', '.join(sorted(wrong))}: not among {', '.join(names)}")
    them = turns.contestants(args.beside)
    if args.without_torch:
        them = [one for one in them if one.library != "torch"]
    print(
        f"{datetime.date.today()}, {turns.machine()}; medians, ± half of what the turns differ by"
    )
    with contextlib.ExitStack() as stack:
        for one in them:
            stack.callback(one.end)
        table = Table(them, args.markdown)
        for name in args.names or [n for n in names if n not in ON_REQUEST]:
            if name in INSIDE:
                print(flush=True)
                command = [sys.executable, "-m", "tests.benchmarks.inside", name, str(args.seconds)]
                subprocess.run(command, check=True, env=them[-1].environment, cwd=turns.CLONE)
            else:
                table.head(TITLES[name])
                TABLES[name](table, them, args.seconds)
    if args.json:
        args.json.write_text(json.dumps(table.rows, indent=1), "utf-8")


if __name__ == "__main__":
    main()
