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
from .optimizer import Optimizer, is_number, shown


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5).

    `step(closure)` moves up to `max_iter` times, and calls `closure`, which computes the loss and
    its gradients, at most `max_eval` times (max_iter·5/4 unless given). It ends early where the
    largest gradient is at most `tolerance_grad`, or loss or parameters change by at most
    `tolerance_change`. The first move of all is scaled by the gradient's size. There is one group.
    A move is `lr` long, or with `line_search_fn="strong_wolfe"` as long as `line_search` finds.
    """

    _opt_called = False

    def __init__(self, params: ParameterGroups, lr: float = 1, max_iter: int = 20,
                 max_eval: int | None = None, tolerance_grad: float = 1e-7,
                 tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
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
        _renamed(state)
        size = sum(p.numel() for p in self.param_groups[0]["params"])
        lists = {name: state.get(name, []) for name in LISTS}
        if not all(type(values) is list for values in lists.values()):
            raise ValueError(f"LBFGS: the saved history is {shown(lists)}")
        directions, steps, factors = lists.values()
        vectors = [state[name] for name in ("d", "prev_flat_grad") if name in state]
        for vector in (*vectors, *directions, *steps):
            if not isinstance(vector, Tensor) or vector.shape != (size,):
                raise ValueError(f"LBFGS: a saved vector is {shown(vector)}, not of {size} numbers")
        numbers = [*factors, *(state[name] for name in ("t", "H_diag") if name in state)]
        if not all(map(is_number, numbers)) or len({*map(len, lists.values())}) > 1:
            raise ValueError(f"LBFGS: the saved history is {shown(lists)}")
        counts = [state.setdefault(name, 0) for name in ("func_evals", "n_iter")]
        if not all(isinstance(n, int) for n in counts):
            raise ValueError(f"LBFGS: the saved counts are {shown(counts)}")
        if HISTORY - state.keys():  # the first move had length 0
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
        group, self._opt_called = self.param_groups[0], True
        state = self.state[group["params"][0]]
        small, lr = group["tolerance_change"], float(group["lr"])

        def evaluate():
            with enable_grad():
                return closure()

        first = evaluate()
        loss, grad, calls = float(first), self._gradient(), 1
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        if state.get("prev_flat_grad", grad).shape != grad.shape:
            raise RuntimeError(
                f"LBFGS: the parameters have {len(grad)} elements, those of its earlier steps "
                f"{len(state['prev_flat_grad'])}: make a new optimizer"
            )
        if grad.abs().max() <= group["tolerance_grad"]:
            state["func_evals"] += calls
            return first
        for i in range(group["max_iter"]):
            state["n_iter"] += 1
            rate = lr * self._remember(state, grad, group["history_size"])
            direction = self._direction(grad, state, group["history_size"])
            state.update(d=direction, t=rate, prev_flat_grad=grad.clone(), prev_loss=loss)
            slope, before, last = float(grad.dot(direction)), loss, i == group["max_iter"] - 1
            if slope > -small:
                break
            if group["line_search_fn"]:
                start = Point(0.0, loss, grad, slope)
                most = group["max_eval"] - calls
                found, count = self._searched(evaluate, direction, start, rate, small, most)
                rate, loss, grad, _ = found
                calls += count
            state["t"], move = rate, rate * direction
            self._move(move)
            if not group["line_search_fn"] and not last:
                loss, grad, calls = float(evaluate()), self._gradient(), calls + 1
            if (
                last
                or calls >= group["max_eval"]
                or grad.abs().max() <= group["tolerance_grad"]
                or move.abs().max() <= small
                or abs(loss - before) < small
            ):
                break
        state["func_evals"] += calls
        return first

    def _remember(self, state, grad, history_size):
        """Add the last step and change of the gradient to the state's lists, the newest last.

        Returns the factor of the rate: the very first step is scaled by the gradient's size.
        """
        if state["n_iter"] == 1:
            state.update(d=None, t=None, old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return min(1.0, 1.0 / float(grad.abs().sum()))
        y, s = grad - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = y.dot(s)
        if curvature > 1e-10 and history_size:
            for name, value in zip(LISTS, (y, s, 1.0 / curvature)):
                state[name] = list(deque([*state[name], value], history_size))
            state["H_diag"] = curvature / y.dot(y)
        return 1.0

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
    def _direction(grad, state, history_size):
        """−H g, with the inverse H of the curvature estimated from steps and changes of g."""
        pairs = list(zip(*(state[name] for name in LISTS)))
        q, weights = -grad, []
        for y, s, factor in reversed(pairs):
            weights.append(s.dot(q) * factor)
            q = q - weights[-1] * y
        q = q * state["H_diag"]
        for (y, s, factor), weight in zip(pairs, reversed(weights)):
            q = q + s * (weight - y.dot(q) * factor)
        if state["n_iter"] > 1:  # PyTorch's place for the weights
            state["al"] = [*reversed(weights), *[None] * (history_size - len(weights))]
        return q


LISTS = "old_dirs", "old_stps", "ro"  # changes of the gradient, steps, 1 / their dot product
HISTORY = {"d", "t", "prev_flat_grad", "H_diag", *LISTS}  # what a second step needs


def _renamed(state):
    """Give the state in an older file PyTorch's names."""
    if "pairs" not in state:
        return
    pairs = [(y, s, 1.0 / y.dot(s)) for s, y in state.pop("pairs")]
    state.update(zip(LISTS, map(list, zip(*pairs) if pairs else ((), (), ()))), H_diag=1)
    if pairs:
        y, s, _ = pairs[-1]
        state["H_diag"] = y.dot(s) / y.dot(y)
    if "step" in state and "grad" in state:
        state.update(d=state.pop("step"), t=1.0, prev_flat_grad=state.pop("grad"))
