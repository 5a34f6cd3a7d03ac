"""A writer of scalars for programs that log to TensorBoard: it writes a CSV file instead."""

import csv
import time
from pathlib import Path


class SummaryWriter:
    """Appends rows (tag, step, value, seconds since 1970) to `log_dir/scalars.csv`.

    TensorBoard itself does not read it. Images, histograms and graphs are not there.
    """

    def __init__(self, log_dir="runs", **options):
        self.log_dir = str(log_dir)
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        path = Path(log_dir) / "scalars.csv"
        new = not path.exists()
        self._file = path.open("a", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        if new:
            self._rows.writerow(["tag", "step", "value", "time"])

    def add_scalar(self, tag, scalar_value, global_step=None, walltime=None):
        """One number under a tag."""
        now = time.time() if walltime is None else walltime
        self._rows.writerow([tag, global_step, float(scalar_value), f"{now:.3f}"])

    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None, walltime=None):
        """Several numbers, under main_tag/name."""
        for name, value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{name}", value, global_step, walltime)

    def flush(self):
        """Write what is still in memory."""
        self._file.flush()

    def close(self):
        """Write everything and close the file."""
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
