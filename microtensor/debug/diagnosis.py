"""diagnose: find what is wrong with a model that does not learn, where, and the evidence.

print(mt.diagnose(model, batch))
print(mt.diagnose(model, batch, optimizer=optimizer, step=train_step, evaluate=evaluate))

Each check tests, on the given model, a sentence that holds for every correct model. The docstring
of the check is the sentence.
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
from .trial import PATIENCE, STEPS, Trial, restoring

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
    """Test a model for mistakes; the `Report` says what is wrong, where, and the evidence.

    `model(*batch)` returns the loss, alone or last of a tuple; the loss of a model that takes all
    but the last of the batch is `loss(output, target)`, by default cross-entropy for integer
    targets and the mean squared error for others. With an `optimizer`, training steps are tested
    too: `step(*batch)` makes one, by default zero_grad, backward, optimizer.step.
    `evaluate(*batch)` measures the loss after training.

    Everything is restored: weights, gradients, optimizer, modes and random numbers. A small batch,
    a few texts, is enough; float32 and float64 models are tested to their precision.
    """
    batch = batch if isinstance(batch, tuple | list) else (batch,)
    if step is None and optimizer is not None:
        step = "default"
    report = Report(type(model).__name__)
    with restoring(model, optimizer) as restore:
        trial = Trial(model, tuple(batch), loss, optimizer, step, evaluate, restore)
        for check in CHECKS:
            sentence = check.__doc__.split("\n")[0].rstrip(".")
            trial.findings = report.findings
            restore()
            found = check(trial)
            if found is None:
                report.untested.append(sentence)
            elif found:
                report.findings += found
                if found[0].kind == "nan":
                    break
            else:
                report.held.append(sentence)
    return report
