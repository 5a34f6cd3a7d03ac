"""The display of training: a progress bar, and a picture of the losses."""

import sys
import time
from collections import deque

import numpy as np

from microtensor.debug.recorded import png
from microtensor.files.serialization import write_whole
from microtensor.utils import pages


def printable(text):
    """A text with its control characters, which could upset a terminal, made visible as �."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


class Progress:
    """Shows a `Record` after each step: a bar in a terminal, else a line now and then.

    The bar needs tqdm. `tokens` is the number of tokens in a step, or None where steps differ;
    `start` the step so far.
    """

    def __init__(self, steps, tokens, start=0, file=None):
        self.steps, self.tokens, self.start = steps, tokens, start
        self.file = file or sys.stdout
        self.began, self.step, self.validation = None, start, None
        self.losses, self.seconds = [], deque(maxlen=50)
        self.bar = self._bar() if self.file.isatty() else None

    def _bar(self):
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        layout = "{n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}"
        return tqdm(total=self.steps, initial=self.start, file=self.file, bar_format=layout,
                    dynamic_ncols=True, smoothing=0)  # fmt: skip

    def __call__(self, record):
        """Show where training stands."""
        if self.began is None:  # counted from the first record on
            self.began, self.start = time.perf_counter(), record.step
        if record.step > self.step:
            self.losses.append(record.loss)
            self.seconds.append(record.seconds)
        if record.validation is not None:
            self.validation = record.validation
        if self.bar is not None:
            figures = self._figures(record, self.losses[-1:]) + self._left(record.step)
            self.bar.set_postfix_str(figures, refresh=False)
            self.bar.update(record.step - self.step)
        elif record.validation is not None or record.step % max(1, self.steps // 20) == 0:
            figures = self._figures(record, self.losses)
            self.write(f"step {record.step:,}/{self.steps:,}: {figures}{self._left(record.step)}")
            self.losses = []
        self.step = record.step

    def _figures(self, record, losses):
        parts = []
        if losses:
            parts.append(f"loss {sum(losses) / len(losses):.3f}")
        if self.bar is not None and self.validation or record.validation is not None:
            parts.append(f"validation {self.validation:.3f}")
        parts.append(f"lr {record.lr:.1e}")
        if self.seconds and self.tokens:
            rate = self.tokens * len(self.seconds) / sum(self.seconds)
            parts.append(f"{rate:,.0f} tokens/s")
        return ", ".join(parts)

    def _left(self, step):
        """The time left, at the pace so far."""
        if not self.start < step < self.steps:
            return ""
        pace = (time.perf_counter() - self.began) / (step - self.start)
        return f", {clock(pace * (self.steps - step))} left"

    def write(self, text):
        """Print text, above the bar if there is one."""
        if self.bar is not None:
            self.bar.write(text, file=self.file)
        else:
            print(text, file=self.file, flush=True)

    def close(self):
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()


def clock(seconds):
    """Seconds as 1:23 or 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def draw_losses(losses, validation, path, title=""):
    """Write a picture of the losses of each step and of `validation`, [[step, loss], …], as PNG.

    Needs matplotlib (ImportError).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(losses) + 1), losses, color="#b9cbe0", linewidth=0.8, label="each batch")
    if losses:
        axes.plot(*smoothed(losses), color="#2f6db5", label="average of batches")
    steps, values = zip(*validation)
    axes.plot(steps, values, "o-", color="#d1495b", markersize=4, label="held-out text")
    axes.annotate(f"{values[-1]:.3f}", (steps[-1], values[-1]), xytext=(7, 0), va="center",
                  textcoords="offset points", color="#d1495b")  # fmt: skip
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.set_title(pages.figure_text(title))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    write_whole(path, png(figure), follow=False)


def smoothed(losses):
    """(steps, means): losses averaged over a fiftieth of the steps, at least ten, around each."""
    n = min(len(losses), max(10, len(losses) // 50))
    means = np.convolve(losses, np.full(n, 1 / n), "valid")
    return np.arange(len(means)) + (n + 1) / 2, means
