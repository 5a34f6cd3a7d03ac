"""Recorder: record and plot a training with two lines in its loop.

recorder = mt.Recorder(model, optimizer)    # before the loop
recorder.step(loss)                         # in the loop, after optimizer.step()

recorder.save("run.png")                    # or "run.html": one page, offline
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import TensorBase, is_grad_enabled
from ..backends import backend_of
from ..files.serialization import write_whole
from ..nn.module import Module
from ..optim.optimizer import Optimizer
from ..utils.pages import embedded, from_file, printable

__all__ = ["Recorder"]

BINS = 48  # of a histogram


class Recorder:
    """Loss, gradients, updates and activations of a training, by module.

    The loss is recorded at every `step`; all else at the first and at every `every`-th: the norm of
    each module's gradients, of its update and of its weights, and mean, deviation and share of
    zeros of its output, with histograms. `.grad` is needed: call zero_grad after `step`. With an
    optimizer its learning rate is recorded too; `start` is the number of steps made before.

    Only modules with parameters of their own are recorded. The numbers of the training do not
    change; hooks exist only while a step is recorded, so other steps cost nothing.
    """

    def __init__(
        self, model: Module, optimizer: Optimizer | None = None, every: int = 10, start: int = 0
    ) -> None:
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"Recorder: every is a number of steps, at least 1, got {every!r}")
        self.name, self.optimizer = type(model).__name__, optimizer
        self.every, self.start = every, start
        self.modules, seen = {}, set()  # {path: (module, its own parameters)}, a shared one once
        for path, module in model.named_modules():
            own = [p for p in module.parameters(recurse=False) if p not in seen]
            seen.update(own)
            if own:
                self.modules[path or self.name] = module, own
        if not self.modules:
            raise ValueError(f"Recorder: {self.name} has no parameters to look at")
        self.losses, self.records = [], []
        self._hooks, self._outputs, self._before = [], {}, {}
        self._add_hooks()

    # ---- recording -------------------------------------------------------------------------------

    def step(self, loss: Any) -> None:
        """Record a training step, after the optimizer made it. `loss` is a number or a Tensor."""
        self.losses.append(float(loss))
        if self._before:
            self.records.append(self._record())
        self.close()
        if len(self.losses) % self.every == 0:
            self._add_hooks()

    def close(self) -> None:
        """Remove the hooks. `step` does so too."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._outputs, self._before = [], {}, {}

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _add_hooks(self):
        """Add the hooks that record the next step."""
        for path, (module, own) in self.modules.items():
            self._before[path] = [_numpy(p).copy() for p in own]
            self._hooks.append(module.register_forward_hook(
                lambda module, args, result, path=path: self._record_output(path, result)
            ))  # fmt: skip

    def _record_output(self, path, result):
        result = result[0] if isinstance(result, tuple) and result else result
        if is_grad_enabled() and isinstance(result, TensorBase) and result.is_floating_point():
            self._outputs[path] = _numpy(result).copy()

    def _record(self):
        """Record the data of the step that was made."""
        modules = {}
        for path, (_, own) in self.modules.items():
            after, before = [_numpy(p) for p in own], self._before[path]
            grads = [_numpy(p.grad) for p in own if p.grad is not None]
            modules[path] = {
                "gradient": _norm(grads) if grads else None,
                "update": _norm([a - b for a, b in zip(after, before)]),
                "weight": _norm(before),
                "histograms": {"weights": _histogram(before), "gradients": _histogram(grads)},
            }
            outputs = self._outputs.get(path)
            if outputs is not None and outputs.size:
                values = outputs.astype(np.float64)
                modules[path] |= {
                    "mean": _plain(values.mean()), "std": _plain(values.std()),
                    "zeros": _plain((values == 0).mean()),
                }  # fmt: skip
                modules[path]["histograms"]["activations"] = _histogram([outputs])
        groups = getattr(self.optimizer, "param_groups", ())
        lr = float(groups[0]["lr"]) if groups and "lr" in groups[0] else None
        step, loss = self.start + len(self.losses), self.losses[-1]
        return {"step": step, "loss": loss, "lr": lr, "modules": modules}

    def series(self, name: str) -> Any:
        """(steps, {path: values}) of one number: gradient, update, weight, mean, std, zeros."""
        steps = [r["step"] for r in self.records]
        return steps, {p: [r["modules"][p].get(name) for r in self.records] for p in self.modules}

    # ---- showing ---------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write a picture (.png) or a page that needs no network (.html). Returns the path.

        The picture needs matplotlib. ValueError for another ending, or if nothing was recorded.
        """
        path = Path(path)
        draw = {".png": self._png, ".html": self._html}.get(path.suffix)
        if draw is None:
            raise ValueError(f"Recorder: .png or .html can be written, not {path.name!r}")
        if not self.records:
            raise ValueError("Recorder: nothing has been noted yet: call step(loss) in the loop")
        write_whole(path, draw())
        return path

    def figure(self) -> Any:
        """The picture, as a figure of matplotlib."""
        from .recorded import figure

        return figure(self)

    def _png(self):
        from .recorded import png

        return png(self.figure(), "figure")

    def _html(self):
        about = {
            "name": printable(self.name), "start": self.start,
            "losses": [_plain(x) for x in self.losses], "paths": list(self.modules),
            "shown": [printable(path) for path in self.modules], "records": self.records,
        }  # fmt: skip
        file = Path(__file__).with_name("recorder.html")
        return from_file(file, f"{self.name}, recorded", embedded(about, _plain)).encode()


def _numpy(t):
    return np.asarray(backend_of(t._data).to_numpy(t._data))


def _plain(x):
    """A number rounded to four digits for JSON; None if it is not finite."""
    x = float(x)
    return float(f"{x:.4g}") if np.isfinite(x) else None


def _norm(arrays):
    return _plain(np.sqrt(sum(float((a.astype(np.float64) ** 2).sum()) for a in arrays)))


def _histogram(arrays):
    """{"from", "to", "counts"} of all elements that are finite, None if there is none."""
    values = np.concatenate([a.reshape(-1) for a in arrays]) if arrays else np.zeros(0)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(values.astype(np.float64), BINS, (low, high))
    return {"from": float(f"{low:.4g}"), "to": float(f"{high:.4g}"), "counts": counts.tolist()}
