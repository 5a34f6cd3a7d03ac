"""A process that holds one library and does what it is told: see turns.py.

worker.py microtensor|torch         reads lines of JSON, and answers each with one
    {"make": [group, name]}         makes the work and does it twice: seconds of the second time
    {"seconds": s}                  does it for s seconds, at least once: the seconds of each
worker.py LIBRARY GROUP NAME TIMES  does it so often and prints the peak of its memory in MiB
"""

import importlib
import json
import resource
import sys
import time
from pathlib import Path

THREADS = 2


def main():
    library = importlib.import_module(sys.argv[1])
    if library.__name__ == "torch":
        library.set_num_threads(THREADS)
    from work import WORK

    if len(sys.argv) > 2:
        group, name, times = sys.argv[2:]
        run = WORK[group][name](library)
        for _ in range(int(times)):
            run()
        print(peak())
        return
    run = None
    for line in sys.stdin:
        order = json.loads(line)
        if "make" in order:
            run = None  # what came before is freed first
            group, name = order["make"]
            run = WORK[group][name](library)
            run()
            answer = once(run)
        else:
            run()  # the caches hold another process' numbers
            end, answer = time.perf_counter() + order["seconds"], []
            while not answer or time.perf_counter() < end:
                answer.append(once(run))
        print(json.dumps(answer), flush=True)


def once(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak():
    """The most memory that this process has held, in MiB."""
    try:  # not getrusage: its figure includes the process that started this one
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
