"""Checkpoints on the disk: the newest, some before it, and the best.

    runs/shakespeare/
      checkpoint.safetensors         the newest, to go on with
      checkpoint-3000.safetensors    the same file under the number of its step
      checkpoint-2750.safetensors    the one before: should the newest be damaged, this is next
      best.safetensors               the one with the lowest loss on the held-out text

A file appears whole, under its number; the other names are then moved to it. So whenever the
program is killed, or the power fails, `checkpoint.safetensors` is a whole checkpoint. Programs hold
the folder's lock while they write into it (`files.only_here`).

What is read is not believed. Only an ordinary file is read (`files`); `microtensor.load` makes
tensors and plain values of it; all that is used later has its kind and fits together (`schema`);
and no model is made that is larger than the file (`fitting`). Whatever fails is a ValueError that
names the file, and the checkpoint before it is taken.
"""

import os
import re
from pathlib import Path

import microtensor as mt
from microtensor.files.serialization import write_whole

from .. import files
from .schema import check_checkpoint, is_checkpoint


def load_checkpoint(path, use=lambda state: state):
    """The checkpoint that a `Trainer` saved at `path`, or the result of `use` on it.

    ValueError, which names the file, if it is something else, damaged, or of no `use`.
    """
    state = files.load(path)
    if not is_checkpoint(state):
        raise ValueError(f"{path} is not a checkpoint of a language model")
    try:
        check_checkpoint(state)
        return use(state)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is a checkpoint that cannot be used: {error}") from error


def load_newest(path, tell=print, use=lambda state: state):
    """The checkpoint at `path`; should it be damaged or gone, the one before it that is whole.

    `tell` is told, in one line, when that happens. Returns what `use` makes of the state, or the
    state. Raises what is wrong with the newest, ValueError or FileNotFoundError, if there is none
    before it either.
    """
    path, problem = Path(path), None
    for candidate in (path, *reversed(numbered(path).values()), best_of(path)):
        try:
            step, found = load_checkpoint(candidate, lambda state: (state["step"], use(state)))
        except (ValueError, FileNotFoundError) as error:
            problem = problem or error
            continue
        if problem:
            reason = f"{path} is missing" if isinstance(problem, FileNotFoundError) else problem
            tell(f"{reason}; {candidate.name} is used, of step {step:,}")
        return found
    raise problem


class Checkpoints:
    """Saves the checkpoints of one run: the newest is at `path`, the `keep` newest are kept."""

    def __init__(self, path, keep=2):
        if keep < 1:
            raise ValueError(f"keep must be at least 1, the newest checkpoint, got {keep}")
        self.path, self.keep = Path(path), keep
        self.started = False  # whether there are checkpoints of this run

    def go_on(self):
        """The checkpoints that are there are those of this run."""
        self.started = True
        remove_remains(self.path.parent)

    def save(self, state, best):
        """Write a checkpoint, whole or not at all; `best` says whether none was better."""
        if not self.started:  # those of another run in this folder
            remove_remains(self.path.parent)
            for old in (*numbered(self.path).values(), best_of(self.path)):
                old.unlink(missing_ok=True)
        file = self.path.with_name(f"{self.path.stem}-{state['step']}{self.path.suffix}")
        if file.is_symlink():  # the folder may be a stranger's, and lead anywhere
            file.unlink()
        mt.save(state, file)
        if best:
            name_too(file, best_of(self.path))
        name_too(file, self.path)
        self.started = True
        earlier = [other for step, other in numbered(self.path).items() if step <= state["step"]]
        for other in set(numbered(self.path).values()) - set(earlier[-self.keep :]):
            other.unlink()


def best_of(path):
    return path.with_name(f"best{path.suffix}")


def numbered(path):
    """The checkpoints beside `path` that have the number of a step, by that number."""
    name = re.compile(re.escape(path.stem) + r"-(\d+)" + re.escape(path.suffix))
    found = {int(m[1]): p for p in path.parent.glob("*") if (m := name.fullmatch(p.name))}
    return dict(sorted(found.items()))


def name_too(file, name):
    """Let `name` be that file, too, at once: a link, or a copy where there are no links."""
    part = name.with_name(f".{name.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(file, part)
        os.replace(part, name)
    except OSError:
        write_whole(name, file.read_bytes(), follow=False)
    part.unlink(missing_ok=True)  # it is left where `name` was this file already


def remove_remains(folder):
    """Remove what a killed program has left of files that it was writing."""
    for part in Path(folder).glob(".*.part"):
        part.unlink(missing_ok=True)
