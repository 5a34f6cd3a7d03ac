"""A writer of numbers and texts for programs that log to TensorBoard: to CSV files instead."""

from __future__ import annotations

import csv
import functools
import time
import warnings
from pathlib import Path
from typing import Any


class SummaryWriter:
    """Appends rows (tag, step, value, seconds since 1970) to `log_dir/scalars.csv`.

    Texts go to `texts.csv`. TensorBoard itself does not read them. Images, histograms, graphs and
    whatever else `add_…` takes are not kept, and a warning says so. Without `log_dir` it is "runs",
    or runs/comment.
    """

    def __init__(self, log_dir: str | None = None, comment: str = "", purge_step: int | None = None,
                 max_queue: int = 10, flush_secs: int = 120,
                 filename_suffix: str = "") -> None:  # fmt: skip
        self.log_dir = str(Path("runs", comment) if log_dir is None else log_dir)
        self._files, self._left_out = {}, set()
        self._table("scalars")

    def _table(self, name):
        """The writer of rows to a file, which is opened when it is first asked for."""
        if name not in self._files:
            path = Path(self.log_dir, f"{name}.csv")
            path.parent.mkdir(parents=True, exist_ok=True)
            new = not path.exists()
            file = path.open("a", newline="", encoding="utf-8")
            self._files[name] = file, csv.writer(file)
            if new:
                self._files[name][1].writerow(["tag", "step", "value", "time"])
        return self._files[name][1]

    def _add(self, table, tag, value, step, walltime):
        now = time.time() if walltime is None else walltime
        self._table(table).writerow([tag, step, value, f"{now:.3f}"])

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None,
                   walltime: Any = None, new_style: bool = False,
                   double_precision: bool = False) -> None:  # fmt: skip
        """One number under a tag."""
        self._add("scalars", tag, float(scalar_value), global_step, walltime)

    def add_text(
        self, tag: str, text_string: Any, global_step: int | None = None, walltime: Any = None
    ) -> None:
        """One text under a tag."""
        self._add("texts", tag, text_string, global_step, walltime)

    def add_scalars(self, main_tag: str, tag_scalar_dict: Any, global_step: int | None = None,
                    walltime: Any = None) -> None:  # fmt: skip
        """Several numbers, under main_tag/name."""
        for name, value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{name}", value, global_step, walltime)

    def flush(self) -> None:
        """Write what is still in memory."""
        for file, _ in self._files.values():
            file.flush()

    def close(self) -> None:
        """Write everything and close the files; what is added later opens them again."""
        for file, _ in self._files.values():
            file.close()
        self._files = {}

    def __getattr__(self, name):
        if not name.startswith("add_"):
            raise AttributeError(f"SummaryWriter has no {name!r}")
        return functools.partial(self._leave_out, name)

    def _leave_out(self, name, tag="", *args, **kwargs):
        if name not in self._left_out:
            self._left_out.add(name)
            warnings.warn(f"SummaryWriter: what {name} is given is not kept", stacklevel=2)

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
