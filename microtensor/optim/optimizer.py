"""What all optimizers share: groups of parameters, state, and checkpoints."""

import copy
from collections import defaultdict

from ..autograd import changed, enable_grad
from ..tensor import Tensor


class Optimizer:
    """Steps parameters against their gradients.

    `params` holds leaf tensors, or dicts {"params": tensors, option: value …}: groups that have
    options of their own. Each group is a dict in `param_groups`; what the optimizer remembers of
    a parameter is in `state[parameter]`. A subclass writes the update of one parameter
    (`update`), or a `step` of its own as in PyTorch.
    """

    buffers = ()  # the names of state tensors that have their parameter's shape

    def __init__(self, params, defaults):
        self.defaults, self.param_groups, self.state = defaults, [], defaultdict(dict)
        self.check(defaults)
        if isinstance(params, (Tensor, dict)):
            raise TypeError(
                f"{self._name}: a list of tensors or of groups is needed, got one "
                f"{type(params).__name__}; put it into a list"
            )
        params = self._listed(params)
        if not params:
            raise ValueError(f"{self._name}: the list of parameters is empty")
        for group in params if isinstance(params[0], dict) else [{"params": params}]:
            self.add_param_group(group)

    _name = property(lambda self: type(self).__name__)

    def _listed(self, params):
        if isinstance(params, (set, frozenset)):
            raise TypeError(f"{self._name}: a set has no order that a checkpoint could rely on")
        return [params] if isinstance(params, Tensor) else list(params)

    def add_param_group(self, param_group):
        """Add {"params": tensors, option: value …}; options left out have their defaults.

        Raises TypeError for what is not a tensor, ValueError for a tensor that is not a leaf or
        that the optimizer has already.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f'{self._name}: a group is a dict with "params", got {param_group!r}')
        group = {**self.defaults, **param_group, "params": self._listed(param_group["params"])}
        self.check(group)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for i, p in enumerate(group["params"]):
            if not isinstance(p, Tensor):
                raise TypeError(f"{self._name}: parameter {i} is not a Tensor but {p!r}")
            if not (p.is_leaf or p.retains_grad):
                raise ValueError(
                    f"{self._name}: parameter {i}, of shape {tuple(p.shape)}, is the result of "
                    f"{p.grad_fn.name()} and not a leaf; pass the tensors it was computed from"
                )
            if id(p) in known:
                raise ValueError(
                    f"{self._name}: parameter {i}, of shape {tuple(p.shape)}, appears twice"
                )
            known.add(id(p))
        self.param_groups.append(group)

    def check(self, options):
        """Raise ValueError where the options of a group make no sense."""

    def require(self, holds, name, wanted, value):
        """Raise ValueError unless an option holds."""
        if not holds:
            raise ValueError(f"{self._name}: {name} must be {wanted}, got {value}")

    def zero_grad(self, set_to_none=True):
        """Forget the gradients, or fill them with 0."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else p.grad.detach().zero_()

    def step(self, closure=None):
        """Update every parameter that has a gradient.

        `closure`, if given, computes the gradients first; what it returns is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.update(p, p.grad, group, self.state[p])
                    changed(p._data, f"{self._name}.step")
        return loss

    def update(self, p, grad, group, state):
        """Change the parameter `p` in place by the rule of the optimizer."""
        raise NotImplementedError(f"{self._name} defines neither update nor step")

    # ---- checkpoints --------------------------------------------------------------

    def state_dict(self):
        """{"state": …, "param_groups": …} with parameters replaced by their positions.

        The tensors in it are those of the optimizer, not copies.
        """
        params = [p for group in self.param_groups for p in group["params"]]
        index = {p: i for i, p in enumerate(params)}
        return {
            "state": {index.get(p, p): dict(state) for p, state in self.state.items()},
            "param_groups": [
                {**group, "params": [index[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict):
        """Continue from a `state_dict()`, with copies of its tensors on each parameter's device.

        Raises ValueError, and changes nothing, if it is the state of other parameters.
        """
        saved = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in self.param_groups]
        if [len(group["params"]) for group in saved] != sizes:
            raise ValueError(
                f"{self._name}: the saved groups have {[len(g['params']) for g in saved]} "
                f"parameters, those of this optimizer {sizes}"
            )
        groups = [
            {**self.defaults, **copy.deepcopy(theirs), "params": ours["params"]}
            for ours, theirs in zip(self.param_groups, saved)
        ]
        params = {
            i: p
            for ours, theirs in zip(groups, saved)
            for i, p in zip(theirs["params"], ours["params"])
        }
        state = defaultdict(dict)
        for i, values in state_dict["state"].items():
            p = params.get(i)
            state[i if p is None else p] = {k: self._fitted(i, k, v, p) for k, v in values.items()}
        self.param_groups, self.state = groups, state

    def _fitted(self, index, name, value, p):
        """A value of a saved state as a copy that fits the parameter `p`."""
        if p is None or not isinstance(value, Tensor):
            return copy.deepcopy(value)
        if name in self.buffers and value.shape != p.shape:
            raise ValueError(
                f"{self._name}: the saved {name} of parameter {index} has shape "
                f"{tuple(value.shape)}, the parameter {tuple(p.shape)}"
            )
        dtype = p.dtype if name in self.buffers else value.dtype
        return value.detach().to(device=p.device, dtype=dtype, copy=True)

    def __repr__(self):
        lines = [f"{self._name} ("]
        for i, group in enumerate(self.param_groups):
            count = sum(p.numel() for p in group["params"])
            lines.append(f"  group {i}: {len(group['params'])} tensors, {count:,} parameters")
            lines += [f"    {name}: {group[name]}" for name in sorted(set(group) - {"params"})]
        return "\n".join([*lines, ")"])
