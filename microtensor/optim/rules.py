"""Update rules, from simple to hard. Each update is one kernel, in place: see `backends/base.py`.

`foreach` and `fused` choose between implementations in PyTorch; here the one there is is fused, and
they are taken for the sake of programs that pass them.
"""

from ..backends import backend_of
from .optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent: p ← p − lr·g.

    With momentum, v ← momentum·v + (1 − dampening)·g takes the place of g, and with `nesterov`
    g + momentum·v does (Sutskever et al., 2013). The first v is g. Weight decay adds
    weight_decay·p to g; `maximize` ascends.
    """

    buffers = ("momentum_buffer",)

    def __init__(self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *,
                 maximize=False, foreach=None, fused=None):  # fmt: skip
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        })  # fmt: skip

    def check(self, options):
        for name in ("lr", "momentum", "weight_decay"):
            self.require(options[name] >= 0, name, "at least 0", options[name])
        if options["nesterov"]:
            self.require(options["momentum"] > 0, "momentum", "above 0 with nesterov", 0)
            self.require(
                options["dampening"] == 0, "dampening", "0 with nesterov", options["dampening"]
            )

    def update(self, p, grad, group, state):
        velocity = state.get("momentum_buffer")
        array = backend_of(p._data).sgd(
            p._data, grad._data, None if velocity is None else velocity._data, float(group["lr"]),
            group["momentum"], group["dampening"], group["weight_decay"], group["nesterov"],
            group["maximize"],
        )  # fmt: skip
        if velocity is None and array is not None:
            state["momentum_buffer"] = p._wrap(array)


class Adam(Optimizer):
    """p ← p − lr·m̂ / (√v̂ + eps), with running means m of g and v of g² (arXiv:1412.6980).

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) undo the bias of means that start at 0. `amsgrad`
    divides by the largest v so far (Reddi et al., 2018). Weight decay adds weight_decay·p to g.
    """

    buffers = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    decoupled = False

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0,
                 amsgrad=False, *, maximize=False, foreach=None, fused=None):  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize,
        })  # fmt: skip

    def check(self, options):
        for name in ("lr", "eps", "weight_decay"):
            self.require(options[name] >= 0, name, "at least 0", options[name])
        betas = tuple(options["betas"])
        inside = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
        self.require(inside, "betas", "two numbers in [0, 1)", betas)

    def update(self, p, grad, group, state):
        for name in self.buffers if group["amsgrad"] else self.buffers[:2]:
            if name not in state:
                state[name] = p._wrap(backend_of(p._data).xp.zeros_like(p._data))
        state["step"] = int(state.get("step", 0)) + 1
        top = state["max_exp_avg_sq"]._data if group["amsgrad"] else None
        backend_of(p._data).adam(
            p._data, grad._data, state["exp_avg"]._data, state["exp_avg_sq"]._data, top,
            state["step"], float(group["lr"]), *group["betas"], group["eps"],
            group["weight_decay"], self.decoupled, group["maximize"],
        )  # fmt: skip


class AdamW(Adam):
    """Adam whose weight decay is not part of the gradient: p ← (1 − lr·weight_decay)·p first.

    Decoupled Weight Decay Regularization, arXiv:1711.05101.
    """

    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2,
                 amsgrad=False, *, maximize=False, foreach=None, fused=None):  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
