"""One rank of a job: `python worker.py [--as_torch] program.py …`, started by MPI.

Run by its path, before NumPy or microtensor is imported, so that the variables are there in time:
it sets those of torchrun, runs the program as the main one, gives lines of all ranks but 0 their
rank, and shows the traceback of the rank that failed first. Only the standard library is used.
"""

import importlib
import os
import runpy
import signal
import sys
import threading
import time
import traceback

# (rank, size, rank on this machine, ranks on this machine) in the words of each MPI, and of Slurm
NAMES = [
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_TASKS_PER_NODE"),
]  # fmt: skip
THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
FOLDER = "MICROTENSOR_JOB"  # where the ranks of one machine leave notes for the launcher


def started_by_mpi():
    """{name of torchrun's variable: number} if an MPI or Slurm started this process, else {}."""
    for names in NAMES:
        rank, size, local_rank, local_size = (os.environ.get(name, "") for name in names)
        if rank.isdecimal() and size.isdecimal():
            return {
                "RANK": int(rank),
                "WORLD_SIZE": int(size),
                "LOCAL_RANK": int(local_rank) if local_rank.isdecimal() else int(rank),
                "LOCAL_WORLD_SIZE": int(local_size) if local_size.isdecimal() else int(size),
            }
    return {}


def set_variables():
    """Set torchrun's variables, and one thread for BLAS. Returns this process's rank."""
    found = started_by_mpi() or {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    found["GROUP_RANK"] = found["RANK"] // max(1, found["LOCAL_WORLD_SIZE"])
    os.environ.update({name: str(number) for name, number in found.items()})
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    for name in THREADS:
        os.environ.setdefault(name, "1")
    return found["RANK"]


class Prefixed:
    """A text file whose lines begin with a prefix; each is written whole."""

    def __init__(self, file, prefix):
        self.file, self.prefix, self.rest, self.lock = file, prefix, "", threading.RLock()

    def write(self, text):
        with self.lock:
            *lines, self.rest = (self.rest + text).split("\n")
            if lines:
                self.file.write("".join(f"{self.prefix}{line}\n" for line in lines))
                self.file.flush()
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        self.file.flush()

    def close(self):
        if self.rest:
            self.write("\n")

    def isatty(self):
        return False

    def __getattr__(self, name):
        return getattr(self.file, name)


def note(name, text=""):
    """Leave a note, whole, for the launcher. Returns whether it is the first of that name."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return True
    path = os.path.join(folder, name)
    part = f"{path}.{os.getpid()}"
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(text)
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # the folder is another machine's, or gone with the launcher
        return True
    return True


def end_all(code):
    """End every rank of the job, now."""
    sys.stdout.flush()
    sys.stderr.flush()
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi and mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.COMM_WORLD.Abort(code)
    os._exit(code)


def main(argv):
    """Run the program of `argv`; its exit code."""
    rank = set_variables()
    # a line is one write, also where Python is told not to buffer: ranks write into one pipe
    for file in (sys.stdout, sys.stderr):
        file.reconfigure(line_buffering=True, write_through=False)
    if rank:
        sys.stdout, sys.stderr = (Prefixed(f, f"[rank{rank}]: ") for f in (sys.stdout, sys.stderr))
    note(f"process-{rank}", str(os.getpid()))
    os.environ["MICROTENSOR_PARENT"] = str(os.getpid())  # a child of this process is no rank
    code = 0
    try:
        run(argv)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except KeyboardInterrupt:
        if note("interrupted"):
            print("interrupted", file=sys.stderr)
        end_all(128 + signal.SIGINT)
    except BaseException as error:
        tell(error, rank)
        end_all(1)
    for file in (sys.stdout, sys.stderr):
        file.close() if isinstance(file, Prefixed) else file.flush()
    note(f"ended-{rank}", str(code))
    return code


def run(argv):
    """Run a program, or with -m a module, as if it had been started by itself."""
    if argv[:1] == ["--as_torch"]:
        microtensor = importlib.import_module("microtensor")  # not before the variables are set
        with microtensor.compat.as_torch():
            return run(argv[1:])
    if argv[0] == "-m":
        sys.argv = argv[1:]
        sys.path[0] = os.getcwd()
        return runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    sys.argv = argv
    sys.path[0] = os.path.dirname(os.path.abspath(argv[0]))
    return runpy.run_path(argv[0], run_name="__main__")


def tell(error, rank):
    """Show the traceback, from the program's own lines on, if no other rank has shown one.

    The launcher prints it: what a process writes last may be lost when MPI ends all.
    """
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename in (__file__, runpy.__file__, FROZEN):
        frames = frames.tb_next
    lines = traceback.format_exception(type(error), error, frames or error.__traceback__)
    text = "".join([f"rank {rank} failed:\n", *lines])
    if rank:
        text = "".join(f"[rank{rank}]: {line}\n" for line in text.splitlines())
    if not note("failed", text):
        time.sleep(PATIENCE)  # the first one ends all
    elif not os.path.isdir(os.environ.get(FOLDER, "")):
        sys.__stderr__.write(text)


PATIENCE = 3.0
FROZEN = runpy.run_path.__code__.co_filename

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
