"""LBFGS: Newton's method with a curvature that is read off the last steps."""

from collections import deque

from ..autograd import changed, enable_grad
from ..ops import cat
from .optimizer import Optimizer


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5).

    `step(closure)` moves up to `max_iter` times, and calls `closure`, which computes the loss and
    its gradients, at most `max_eval` times (max_iter·5/4 unless given). It ends early where the
    largest gradient is at most `tolerance_grad`, or loss or parameters change by at most
    `tolerance_change`. The first move of all is scaled by the gradient's size. There is one group.
    """

    def __init__(self, params, lr=1, max_iter=20, max_eval=None, tolerance_grad=1e-7,
                 tolerance_change=1e-9, history_size=100, line_search_fn=None):  # fmt: skip
        if line_search_fn is not None:
            raise NotImplementedError(
                f"LBFGS: line_search_fn={line_search_fn!r} is missing; None moves by lr"
            )
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter, "tolerance_grad": tolerance_grad,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": None,
        })  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS: all parameters share one group")

    def _gradient(self):
        """The gradients of all parameters as one vector, zeros where there is none."""
        return cat([
            (p.new_zeros(p.numel()) if p.grad is None else p.grad.detach().reshape(-1))
            for p in self.param_groups[0]["params"]
        ])  # fmt: skip

    def _move(self, by):
        """Add parts of one vector to the parameters."""
        start = 0
        for p in self.param_groups[0]["params"]:
            p.data.add_(by[start : start + p.numel()].view(p.shape))
            changed(p._data, "LBFGS.step")
            start += p.numel()

    def step(self, closure):
        """Move to where `closure()` is smaller. Returns the loss at the start."""
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        small, lr = group["tolerance_change"], float(group["lr"])

        def evaluate():
            with enable_grad():
                return closure()

        first = evaluate()
        loss, grad, calls = float(first), self._gradient(), 1
        pairs = state.setdefault("pairs", [])  # (step, change of the gradient), the newest last
        if grad.abs().max() <= group["tolerance_grad"]:
            return first
        for i in range(group["max_iter"]):
            count = state["n_iter"] = state.get("n_iter", 0) + 1
            if count > 1:
                y, s = grad - state["grad"], state["step"]
                if y.dot(s) > 1e-10:
                    pairs[:] = deque([*pairs, (s, y)], group["history_size"])
            direction = self._direction(grad, pairs)
            state["grad"] = grad.clone()
            rate = lr * min(1.0, 1.0 / float(grad.abs().sum())) if count == 1 else lr
            if grad.dot(direction) > -small:
                break
            state["step"] = rate * direction
            self._move(state["step"])
            if i == group["max_iter"] - 1:
                break
            before, loss = loss, float(evaluate())
            grad, calls = self._gradient(), calls + 1
            if (
                calls >= group["max_eval"]
                or grad.abs().max() <= group["tolerance_grad"]
                or state["step"].abs().max() <= small
                or abs(loss - before) < small
            ):
                break
        return first

    @staticmethod
    def _direction(grad, pairs):
        """−H g, with the inverse H of the curvature that the pairs (step, change) tell."""
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
