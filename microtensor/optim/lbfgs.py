"""LBFGS: Newton's method with the curvature estimated from the last steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..autograd import enable_grad
from ..ops import cat
from ..tensor import Tensor
from ..typing import ParameterGroups
from .line_search import Point, strong_wolfe
from .optimizer import Optimizer, shown


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5).

    `step(closure)` moves up to `max_iter` times, and calls `closure`, which computes the loss and
    its gradients, at most `max_eval` times (max_iter·5/4 unless given). It ends early where the
    largest gradient is at most `tolerance_grad`, or loss or parameters change by at most
    `tolerance_change`. The first move of all is scaled by the gradient's size. There is one group.
    A move is `lr` long, or with `line_search_fn="strong_wolfe"` as long as `line_search` finds.
    """

    def __init__(self, params: ParameterGroups, lr: float = 1, max_iter: int = 20,
                 max_eval: int | None = None, tolerance_grad: float = 1e-7,
                 tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter, "tolerance_grad": tolerance_grad,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        })  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS: all parameters share one group")

    def check(self, options: dict[str, Any]) -> None:
        if options["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(
                'LBFGS: line_search_fn is "strong_wolfe" or None, '
                f"got {options['line_search_fn']!r:.100}"
            )
        self.require(options["lr"] >= 0, "lr", "at least 0", options["lr"])
        for name in ("max_iter", "max_eval", "history_size"):
            holds = isinstance(options[name], int) and 0 <= options[name] <= 10**6
            self.require(holds, name, "an int in 0 … 1,000,000", options[name])

    def check_state(self, index: int, state: dict[str, Any]) -> None:
        size = sum(p.numel() for p in self.param_groups[0]["params"])
        pairs, names = state.setdefault("pairs", []), ("grad", "step")
        vectors = [state[name] for name in names if name in state]
        for vector in (*vectors, *(v for s, y in pairs for v in (s, y))):
            if not isinstance(vector, Tensor) or vector.shape != (size,):
                raise ValueError(f"LBFGS: a saved vector is {shown(vector)}, not of {size} numbers")
        counts = [state.setdefault(name, 0) for name in ("n_iter", "func_evals")]
        if not isinstance(pairs, list) or not all(isinstance(n, int) for n in counts):
            raise ValueError(f"LBFGS: the saved counts are {shown(counts)}")
        if len(vectors) < len(names):  # the first move had length 0
            state["n_iter"] = 0

    def _gradient(self):
        """The gradients of all parameters as one vector, zeros where there is none.

        Raises RuntimeError where one has not its parameter's shape.
        """
        for p in self.param_groups[0]["params"]:
            if p.grad is not None:
                self.check_fit(p, p.grad, {})
        return cat([
            (p.new_zeros(p.numel()) if p.grad is None else p.grad.detach().reshape(-1))
            for p in self.param_groups[0]["params"]
        ])  # fmt: skip

    def _move(self, by):
        """Add parts of one vector to the parameters."""
        start = 0
        for p in self.param_groups[0]["params"]:
            p.detach().add_(by[start : start + p.numel()].view(p.shape))
            start += p.numel()

    def step(self, closure: Callable[[], Any]) -> Any:
        """Move to where `closure()` is smaller. Returns the loss at the start."""
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        small, lr = group["tolerance_change"], float(group["lr"])

        def evaluate():
            with enable_grad():
                return closure()

        first = evaluate()
        loss, grad, calls = float(first), self._gradient(), 1
        if state.get("grad", grad).shape != grad.shape:
            raise RuntimeError(
                f"LBFGS: the parameters have {len(grad)} elements, those of its earlier steps "
                f"{len(state['grad'])}: make a new optimizer"
            )
        if grad.abs().max() <= group["tolerance_grad"]:
            return first
        for i in range(group["max_iter"]):
            state["n_iter"] = state.get("n_iter", 0) + 1
            rate = lr * self._remember(state, grad, group["history_size"])
            direction = self._direction(grad, state["pairs"])
            slope, before, last = float(grad.dot(direction)), loss, i == group["max_iter"] - 1
            if slope > -small:
                break
            if group["line_search_fn"]:
                start = Point(0.0, loss, grad, slope)
                most = group["max_eval"] - calls
                found, count = self._searched(evaluate, direction, start, rate, small, most)
                rate, loss, grad, _ = found
                calls += count
            state["step"] = rate * direction
            self._move(state["step"])
            if not group["line_search_fn"] and not last:
                loss, grad, calls = float(evaluate()), self._gradient(), calls + 1
            if (
                last
                or calls >= group["max_eval"]
                or grad.abs().max() <= group["tolerance_grad"]
                or state["step"].abs().max() <= small
                or abs(loss - before) < small
            ):
                break
        state["func_evals"] = state.get("func_evals", 0) + calls
        return first

    def _remember(self, state, grad, history_size):
        """Add the last step and change of the gradient to the state's pairs, the newest last.

        Returns the factor of the rate: the very first step is scaled by the gradient's size.
        """
        pairs, first = state.setdefault("pairs", []), state["n_iter"] == 1
        if not first:
            y, s = grad - state["grad"], state["step"]
            if y.dot(s) > 1e-10:
                pairs[:] = deque([*pairs, (s, y)], history_size)
        state["grad"] = grad.clone()
        return min(1.0, 1.0 / float(grad.abs().sum())) if first else 1.0

    def _searched(self, evaluate, direction, start, rate, tolerance, most):
        """(the point that a line search finds, its number of calls); parameters are unchanged."""
        params = self.param_groups[0]["params"]
        here = [p.detach().clone() for p in params]

        def at(rate):
            self._move(rate * direction)
            loss, grad = float(evaluate()), self._gradient()
            for p, old in zip(params, here):
                p.detach().copy_(old)
            return Point(rate, loss, grad, float(grad.dot(direction)))

        return strong_wolfe(at, start, rate, float(direction.abs().max()), tolerance, most)

    @staticmethod
    def _direction(grad, pairs):
        """−H g, with the inverse H of the curvature estimated from the pairs (step, change)."""
        q, steps = -grad, []
        for s, y in reversed(pairs):
            weight = s.dot(q) / y.dot(s)
            steps.append(weight)
            q = q - weight * y
        if pairs:
            s, y = pairs[-1]
            q = q * (y.dot(s) / y.dot(y))
        for (s, y), weight in zip(pairs, reversed(steps)):
            q = q + s * (weight - y.dot(q) / y.dot(s))
        return q
