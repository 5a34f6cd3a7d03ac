"""What is wrong with a model that does not learn, where, and how one can tell.

print(mt.diagnose(model, batch))
print(mt.diagnose(model, batch, optimizer=optimizer, step=train_step, evaluate=evaluate))

Nothing here knows a bug by its looks. Each check is a sentence that holds of every model that is
right, and is put to the test on this one: its docstring is the sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..nn.module import Module
from ..optim.optimizer import Optimizer
from .derivative_checks import SLACK, _derivatives, _sums
from .finding import KINDS, WIDTH, Finding, Report
from .model_checks import (
    _averages,
    _causal,
    _certain,
    _different,
    _number,
    _positive,
    _reached,
    _shifted,
)
from .step_checks import GRADIENTS, _descends, _downhill, _forgetful
from .trial import PATIENCE, STEPS, _as_it_was, _Patient

__all__ = [
    "CHECKS", "GRADIENTS", "KINDS", "PATIENCE", "SLACK", "STEPS", "WIDTH", "Finding", "Report",
    "diagnose",
]  # fmt: skip

CHECKS = (
    _number, _shifted, _averages, _causal, _positive, _derivatives, _sums, _reached, _different,
    _certain, _forgetful, _downhill, _descends,
)  # fmt: skip


def diagnose(model: Module, batch: Any, *, loss: Any = None, optimizer: Optimizer | None = None,
             step: Callable[..., Any] | None = None, evaluate: Any = None) -> Report:  # fmt: skip
    """What is wrong with a model, where, and the evidence: a `Report`.

    `model(*batch)` gives the loss, alone or last of a tuple; a model that takes all but the last of
    the batch is judged by `loss(output, target)`, by default cross-entropy for whole numbers and
    the mean squared error for others. With an `optimizer`, steps of training are judged too:
    `step(*batch)` makes one, by default zero_grad, backward, optimizer.step. `evaluate(*batch)` is
    what measures the loss after training.

    Everything is left as it was: weights, gradients, optimizer, modes and random numbers.
    A small batch is enough, a few texts; float32 and float64 models are judged to their precision.
    """
    batch = batch if isinstance(batch, tuple | list) else (batch,)
    if step is None and optimizer is not None:
        step = "default"
    report = Report(type(model).__name__)
    with _as_it_was(model, optimizer) as restore:
        patient = _Patient(model, tuple(batch), loss, optimizer, step, evaluate, restore)
        for check in CHECKS:
            sentence = check.__doc__.split("\n")[0].rstrip(".")
            patient.findings = report.findings
            restore()
            found = check(patient)
            if found is None:
                report.untested.append(sentence)
            elif found:
                report.findings += found
                if found[0].kind == "nan":
                    break
            else:
                report.held.append(sentence)
    return report
