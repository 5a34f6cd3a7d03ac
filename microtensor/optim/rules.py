"""Update rules, from simple to hard. SGD, Adam and AdamW are kernels: see `backends/kernels.py`.

`foreach`, `fused` and `capturable` choose between implementations in PyTorch; here there is one,
and they are accepted and ignored.
"""

from __future__ import annotations

import math
from typing import Any

from ..autograd import no_grad
from ..backends import backend_of
from ..backends.dtypes import float32, float64, get_default_dtype
from ..ops import maximum, where
from ..tensor import Tensor
from ..tensor.creation import full_like, ones, tensor, zeros_like
from ..typing import ParameterGroups
from .optimizer import Optimizer, is_number, shown

STEPS = 2**53  # more than any training makes, and exact as a float


def count(number):
    """A number of steps as PyTorch keeps it: a tensor of one number, on the CPU."""
    wide = get_default_dtype() is float64
    return tensor(float(number), dtype=float64 if wide else float32)


def counted(state):
    """The number of this step, which is added to state["step"]. (Older files have an int there.)"""
    step = state.get("step")
    if type(step) is not Tensor or step._data.dtype.char not in "fd":
        step = state["step"] = count(step or 0)
    number = int(step._data.item()) + 1
    step._data.fill(number)
    return number


class _Rule(Optimizer):
    """A rule whose options are checked by their names."""

    _options = ""  # their names, in the order in which PyTorch has them

    def __init__(self, params: ParameterGroups, given: Any) -> None:
        super().__init__(params, {name: given[name] for name in self._options.split()})

    def check(self, options: Any) -> None:
        if options.get("differentiable"):
            raise NotImplementedError(
                f"{self._name}: a step is not part of the graph, as differentiable=True would have "
                "it; compute p - lr * grad by operations, and see torch.func.functional_call"
            )
        for name in (
            "lr", "eps", "weight_decay", "momentum", "momentum_decay", "lr_decay",
            "initial_accumulator_value",
        ):  # fmt: skip
            if name in options:
                self.require(options[name] >= 0, name, "at least 0", options[name])
        for name in ("rho", "alpha"):
            if name in options:
                self.require(0 <= options[name] <= 1, name, "within 0 … 1", options[name])
        betas = tuple(options.get("betas", (0, 0)))
        inside = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
        self.require(inside, "betas", "two numbers in [0, 1)", betas)

    def check_state(self, index: int, state: dict[str, Any]) -> None:
        for name in ("step", "eta", "mu", "mu_product"):
            value = state.get(name, 0.0)
            holds = is_number(value) and 0 <= value <= (STEPS if name == "step" else math.inf)
            if not holds or name in ("eta", "mu") and name in state and type(value) is not Tensor:
                raise ValueError(
                    f"{self._name}: the saved {name} of parameter {index} is {shown(value)}"
                )
        for name in self.buffers:
            if name in state and state[name] is None:  # PyTorch's form of "none yet"
                del state[name]
            elif name in state and not isinstance(state[name], Tensor):
                raise ValueError(
                    f"{self._name}: the saved {name} of parameter {index} is {shown(state[name])}"
                )


class SGD(_Rule):
    """Stochastic gradient descent: p ← p − lr·g.

    With momentum, g is replaced by v ← momentum·v + (1 − dampening)·g, and with `nesterov` by
    g + momentum·v (Sutskever et al., 2013). The first v is g. Weight decay adds weight_decay·p to
    g; `maximize` ascends.
    """

    buffers = ("momentum_buffer",)
    _options = "lr momentum dampening weight_decay nesterov maximize foreach differentiable fused"

    def __init__(self, params: ParameterGroups, lr: float = 1e-3, momentum: float = 0,
                 dampening: int = 0, weight_decay: float = 0, nesterov: bool = False, *,
                 maximize: bool = False, foreach: bool | None = None, differentiable: bool = False,
                 fused: bool | None = None) -> None:  # fmt: skip
        super().__init__(params, locals())

    def check(self, options: Any) -> None:
        super().check(options)
        if options["nesterov"]:
            self.require(options["momentum"] > 0, "momentum", "above 0 with nesterov", 0)
            self.require(
                options["dampening"] == 0, "dampening", "0 with nesterov", options["dampening"]
            )

    def update(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any]) -> None:
        velocity = state.get("momentum_buffer")
        array = backend_of(p._data).sgd(
            p._data, grad._data, None if velocity is None else velocity._data, float(group["lr"]),
            group["momentum"], group["dampening"], group["weight_decay"], group["nesterov"],
            group["maximize"],
        )  # fmt: skip
        if velocity is None and array is not None:
            state["momentum_buffer"] = p._wrap(array)


class Adam(_Rule):
    """p ← p − lr·m̂ / (√v̂ + eps), with running means m of g and v of g² (arXiv:1412.6980).

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) undo the bias of means that start at 0. `amsgrad`
    divides by the largest v so far (Reddi et al., 2018). Weight decay adds weight_decay·p to g.
    """

    buffers = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _options = (
        "lr betas eps weight_decay amsgrad maximize foreach capturable differentiable fused "
        "decoupled_weight_decay"
    )
    decoupled = False  # even where the options differ, such as those of a saved Adam

    def __init__(self, params: ParameterGroups, lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None,
                 decoupled_weight_decay: bool = False) -> None:  # fmt: skip
        super().__init__(params, locals())

    def update(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any]) -> None:
        number = counted(state)
        for name in self.buffers if group["amsgrad"] else self.buffers[:2]:
            if name not in state:
                state[name] = p._wrap(backend_of(p._data).xp.zeros_like(p._data))
        top = state["max_exp_avg_sq"]._data if group["amsgrad"] else None
        backend_of(p._data).adam(
            p._data, grad._data, state["exp_avg"]._data, state["exp_avg_sq"]._data, top,
            number, float(group["lr"]), *group["betas"], group["eps"],
            group["weight_decay"], self.decoupled or group["decoupled_weight_decay"],
            group["maximize"],
        )  # fmt: skip


class AdamW(Adam):
    """Adam whose weight decay is not part of the gradient: p ← (1 − lr·weight_decay)·p first.

    Decoupled Weight Decay Regularization, arXiv:1711.05101.
    """

    decoupled = True

    def __init__(self, params: ParameterGroups, lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, capturable: bool = False,
                 differentiable: bool = False, fused: bool | None = None) -> None:  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach,
                         maximize=maximize, capturable=capturable, differentiable=differentiable,
                         fused=fused, decoupled_weight_decay=True)  # fmt: skip


# ---- rules made of operations --------------------------------------------------------


class _Composed(_Rule):
    """A rule that changes p by operations: `rule` gets the gradient, with weight decay added.

    With `decoupled_weight_decay` p decays by itself, as in AdamW. State tensors start 0, those of
    one number (`scalars`, in the default dtype) 1; `t` is the number of the step, from 1.
    """

    scalars = ()

    def update(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any]) -> None:
        with no_grad():
            grad = -grad if group["maximize"] else grad
            if group.get("decoupled_weight_decay"):
                p.mul_(1 - float(group["lr"]) * group["weight_decay"])
            elif group.get("weight_decay"):
                grad = grad + group["weight_decay"] * p
            t = counted(state)
            for name in (*self.scalars, *self.needed(group)):
                if name not in state:
                    state[name] = ones(()) if name in self.scalars else zeros_like(p)
            self.rule(p, grad, group, state, float(group["lr"]), t)

    def needed(self, group: Any) -> Any:
        """The names of the state tensors that a group's options need."""
        return self.buffers


class Rprop(_Composed):
    """p ← p − s · sign g, where each element's step s grows while g keeps its sign, else shrinks.

    s starts at lr, is multiplied by etas[1] or etas[0], and stays within `step_sizes`. Where the
    sign has changed, p stays for one step (Riedmiller and Braun, 1993).
    """

    buffers = ("prev", "step_size")
    _options = "lr etas step_sizes foreach maximize differentiable capturable"

    def __init__(self, params: ParameterGroups, lr: float = 1e-2,
                 etas: tuple[float, float] = (0.5, 1.2), step_sizes: tuple[float, int] = (1e-6, 50),
                 *, capturable: bool = False, foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False) -> None:  # fmt: skip
        super().__init__(params, locals())

    def check(self, options: Any) -> None:
        super().check(options)
        small, large = options["etas"]
        self.require(0 < small < 1 < large, "etas", "below and above 1", options["etas"])
        self.require(len(options["step_sizes"]) == 2, "step_sizes", "two", options["step_sizes"])

    def rule(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any], lr: float,
             t: int) -> Any:  # fmt: skip
        if t == 1:
            state["step_size"].fill_(lr)
        (shrink, grow), size, same = group["etas"], state["step_size"], grad * state["prev"]
        size.copy_(where(same > 0, grow * size, where(same < 0, shrink * size, size)))
        size.clamp_(*group["step_sizes"])
        grad = where(same < 0, 0.0, grad)
        p.sub_(grad.sign() * size)
        state["prev"].copy_(grad)


class Adagrad(_Composed):
    """p ← p − lr / (1 + (t − 1) lr_decay) · g / (√Σ g² + eps)  (Duchi et al., 2011)"""

    buffers = ("sum",)
    _options = (
        "lr lr_decay eps weight_decay initial_accumulator_value foreach maximize "
        "differentiable fused"
    )

    def __init__(self, params: ParameterGroups, lr: float = 1e-2, lr_decay: int = 0,
                 weight_decay: float = 0, initial_accumulator_value: int = 0, eps: float = 1e-10,
                 foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, fused: bool | None = None) -> None:  # fmt: skip
        super().__init__(params, locals())

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            start = full_like(p.detach(), group["initial_accumulator_value"])
            self.state[p] = {"step": count(0), "sum": start}

    def rule(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any], lr: float,
             t: int) -> Any:  # fmt: skip
        state["sum"].add_(grad * grad)
        lr = lr / (1 + (t - 1) * group["lr_decay"])
        p.sub_(lr * grad / (state["sum"].sqrt() + group["eps"]))


class RMSprop(_Composed):
    """p ← p − lr · g / (√v + eps), with a running mean v of g²  (Hinton, lecture 6e, 2012).

    `centered` takes the square of g's running mean from v; `momentum` adds up what p moves by.
    """

    buffers = ("square_avg", "momentum_buffer", "grad_avg")
    _options = (
        "lr momentum alpha eps centered weight_decay capturable foreach maximize differentiable"
    )

    def __init__(self, params: ParameterGroups, lr: float = 1e-2, alpha: float = 0.99,
                 eps: float = 1e-8, weight_decay: float = 0, momentum: float = 0,
                 centered: bool = False, capturable: bool = False, foreach: bool | None = None,
                 maximize: bool = False, differentiable: bool = False) -> None:  # fmt: skip
        super().__init__(params, locals())

    def needed(self, group: Any) -> Any:
        return [
            n for n, on in zip(self.buffers, (True, group["momentum"], group["centered"])) if on
        ]

    def rule(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any], lr: float,
             t: int) -> Any:  # fmt: skip
        v = state["square_avg"].lerp_(grad * grad, 1 - group["alpha"])
        if group["centered"]:
            v = v - state["grad_avg"].lerp_(grad, 1 - group["alpha"]).square()
        move = grad / (v.sqrt() + group["eps"])
        if group["momentum"]:
            move = state["momentum_buffer"].mul_(group["momentum"]).add_(move)
        p.sub_(lr * move)


class Adadelta(_Composed):
    """p ← p − lr · d, d = g √(u + eps) / √(v + eps), with running means v of g² and u of d².

    arXiv:1212.5701
    """

    buffers = ("square_avg", "acc_delta")
    _options = "lr rho eps weight_decay maximize capturable foreach differentiable"

    def __init__(self, params: ParameterGroups, lr: float = 1.0, rho: float = 0.9,
                 eps: float = 1e-6, weight_decay: float = 0, foreach: bool | None = None, *,
                 capturable: bool = False, maximize: bool = False,
                 differentiable: bool = False) -> None:  # fmt: skip
        super().__init__(params, locals())

    def rule(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any], lr: float,
             t: int) -> Any:  # fmt: skip
        v = state["square_avg"].lerp_(grad * grad, 1 - group["rho"])
        u = state["acc_delta"]
        move = grad * (u + group["eps"]).sqrt() / (v + group["eps"]).sqrt()
        u.lerp_(move * move, 1 - group["rho"])
        p.sub_(lr * move)


class ASGD(_Composed):
    """p ← (1 − lambd·η) p − η·g, and `ax`, the mean of p since step t0 (Polyak and Juditsky, 1992).

    The next step's η is lr / (1 + lambd·lr·t)^alpha, that of the first lr.
    """

    buffers, scalars = ("ax",), ("eta", "mu")
    _options = "lr lambd alpha t0 weight_decay foreach maximize differentiable capturable"

    def __init__(self, params: ParameterGroups, lr: float = 1e-2, lambd: float = 1e-4,
                 alpha: float = 0.75, t0: float = 1e6, weight_decay: float = 0,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
                 capturable: bool = False) -> None:  # fmt: skip
        super().__init__(params, locals())

    def rule(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any], lr: float,
             t: int) -> Any:  # fmt: skip
        eta, mu = state["eta"], state["mu"]
        if t == 1:
            eta.fill_(lr)
        p.mul_(1 - group["lambd"] * eta.item()).sub_(eta.item() * grad)
        state["ax"].lerp_(p, mu.item())
        eta.fill_(lr / (1 + group["lambd"] * lr * t) ** group["alpha"])
        mu.fill_(1 / max(1, t - group["t0"]))


class Adamax(_Composed):
    """Adam with v the largest |g| so far, decayed by β₂: p ← p − lr · m̂ / v  (1412.6980).

    v ← max(β₂ v, |g| + eps)
    """

    buffers = ("exp_avg", "exp_inf")
    _options = "lr betas eps weight_decay foreach maximize differentiable capturable"

    def __init__(self, params: ParameterGroups, lr: float = 2e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:  # fmt: skip
        super().__init__(params, locals())

    def rule(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any], lr: float,
             t: int) -> Any:  # fmt: skip
        (b1, b2), v = group["betas"], state["exp_inf"]
        m = state["exp_avg"].lerp_(grad, 1 - b1)
        v.copy_(maximum(b2 * v, grad.abs() + group["eps"]))
        p.sub_(lr / (1 - b1**t) * m / v)


class NAdam(_Composed):
    """Adam with Nesterov's look-ahead: p moves by the momentum of the next step.

    β₁ becomes μₜ = β₁ (1 − 0.96^(t·momentum_decay) / 2)  (Dozat, 2016).
    """

    buffers, scalars = ("exp_avg", "exp_avg_sq"), ("mu_product",)
    _options = (
        "lr betas eps weight_decay momentum_decay decoupled_weight_decay maximize foreach "
        "capturable differentiable"
    )

    def __init__(self, params: ParameterGroups, lr: float = 2e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False,
                 differentiable: bool = False) -> None:  # fmt: skip
        super().__init__(params, locals())

    def rule(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any], lr: float,
             t: int) -> Any:  # fmt: skip
        b1, b2 = group["betas"]
        now, after = (b1 * (1 - 0.5 * 0.96 ** (u * group["momentum_decay"])) for u in (t, t + 1))
        product = float(state["mu_product"].mul_(now))
        m = state["exp_avg"].lerp_(grad, 1 - b1)
        v = state["exp_avg_sq"].lerp_(grad * grad, 1 - b2)
        root = (v / (1 - b2**t)).sqrt() + group["eps"]
        ahead = (1 - now) / (1 - product) * grad + after / (1 - product * after) * m
        p.sub_(lr * ahead / root)


class RAdam(_Composed):
    """Adam that corrects for the variance of 1/√v̂, and omits v̂ while it is unknown (1908.03265)."""

    buffers = ("exp_avg", "exp_avg_sq")
    _options = (
        "lr betas eps weight_decay maximize foreach capturable decoupled_weight_decay "
        "differentiable"
    )

    def __init__(self, params: ParameterGroups, lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, decoupled_weight_decay: bool = False, *,
                 foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
                 differentiable: bool = False) -> None:  # fmt: skip
        super().__init__(params, locals())

    def rule(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any], lr: float,
             t: int) -> Any:  # fmt: skip
        b1, b2 = group["betas"]
        m = state["exp_avg"].lerp_(grad, 1 - b1) / (1 - b1**t)
        v = state["exp_avg_sq"].lerp_(grad * grad, 1 - b2)
        longest = 2 / (1 - b2) - 1  # of a running mean of v, in steps; and how long it is now
        length = longest - 2 * t * b2**t / (1 - b2**t)
        if length > 5:
            scale = (length - 4) * (length - 2) * longest
            scale /= (longest - 4) * (longest - 2) * length
            m = m * math.sqrt(scale * (1 - b2**t)) / (v.sqrt() + group["eps"])
        p.sub_(lr * m)
