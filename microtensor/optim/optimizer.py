"""The base of all optimizers: groups of parameters, state, and checkpoints."""

from __future__ import annotations

import copy
import reprlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

from ..autograd import enable_grad
from ..autograd.errors import warn
from ..autograd.saved import changed
from ..backends.half import HALVES
from ..tensor import Handle, Tensor
from ..typing import ParameterGroups, StateDict

required = type("required", (), {"__repr__": lambda self: "<required parameter>"})()
"""The default of an option that every group must set."""

ParamsT = Iterable[Tensor] | Iterable[dict] | Iterable[tuple[str, Tensor]]  # for annotations


class Optimizer:
    """The base of optimizers, which update parameters by their gradients.

    `params` holds leaf tensors, or dicts {"params": tensors, option: value …}: groups with options
    of their own. Each group is a dict in `param_groups`; the state of a parameter, such as its
    momentum, is in `state[parameter]`. A subclass defines the update of one parameter (`update`),
    or its own `step` as in PyTorch.
    """

    buffers = ()  # the names of state tensors that have their parameter's shape
    _opt_called = False  # whether step() has run: a schedule that steps first warns

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in vars(cls) and "_opt_called" not in vars(cls):
            cls._opt_called = True  # a step of its own does not say so

    def __init__(self, params: ParameterGroups, defaults: dict[str, Any]) -> None:
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

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add {"params": tensors, option: value …}; options left out have their defaults.

        The tensors may be pairs (name, tensor), if those of all groups are. Raises TypeError for
        what is not a tensor, ValueError for a tensor that is not a leaf or that another group has,
        and for a `required` option that is missing.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f'{self._name}: a group is a dict with "params", got {param_group!r}')
        group = param_group  # the caller's own dict, through which it may change options later
        group["params"] = self._listed(group["params"])
        named = {isinstance(p, tuple) for p in group["params"]}
        if True in named and False not in named:
            group["param_names"], group["params"] = map(list, zip(*group["params"]))
        if len(named | {"param_names" in g for g in self.param_groups}) > 1:
            raise ValueError(f"{self._name}: either all parameters have names or none has")
        for name, default in self.defaults.items():
            if group.setdefault(name, default) is required:
                raise ValueError(f"{self._name}: a group must say its {name}")
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
                    f"{self._name}: parameter {i}, of shape {tuple(p.shape)}, is in two groups"
                )
        if len({id(p) for p in group["params"]}) < len(group["params"]):
            warn(f"{self._name}: a group has a parameter twice")
        self.param_groups.append(group)

    def check(self, options: Any) -> None:
        """Raise ValueError for invalid options of a group."""

    def require(self, holds: Any, name: str, wanted: Any, value: Any) -> None:
        """Raise ValueError unless an option holds, which may be a tensor of one element."""
        if isinstance(value, Tensor) and value.numel() != 1:
            raise ValueError(f"{self._name}: {name} is one number, got {tuple(value.shape)}")
        if not holds:
            raise ValueError(f"{self._name}: {name} must be {wanted}, got {value}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, or fill them with 0."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else p.grad.detach().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        `closure`, if given, computes the gradients first; its result is returned.
        """
        loss, self._opt_called = None, True
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                grad = p.grad
                if grad is not None:
                    state = self.state[p]
                    self.check_fit(p, grad, state)
                    if p._data.dtype in HALVES:
                        self._update_half(p, grad, group, state)
                    else:
                        self.update(p, grad, group, state)
                    changed(p._data, f"{self._name}.step")
        return loss

    def check_fit(self, p: Tensor, grad: Tensor, state: dict[str, Any]) -> None:
        """Raise RuntimeError unless gradient and state of p have its shape and dtype.

        They differ if the parameter has changed since (`p.data = …`, `resize_`, `double()`).
        """
        array, other = p._data, grad._data
        shape, dtype = array.shape, array.dtype
        if other.shape != shape or other.dtype is not dtype:
            self._require_fit(p, "grad", grad)
        if not state:
            return
        for name in self.buffers:
            if name in state:
                value = state[name]
                other = value._data if type(value) is Tensor else None
                if other is None or other.shape != shape or other.dtype is not dtype:
                    self._require_fit(p, name, value)

    def _require_fit(self, p, name, value):
        if not isinstance(value, Tensor):
            raise RuntimeError(f"{self._name}: {name} must be a Tensor, got {value!r}")
        if (value.shape, value.dtype) != (p.shape, p.dtype):
            raise RuntimeError(
                f"{self._name}: the parameter has shape {tuple(p.shape)} and {p.dtype}, its {name} "
                f"{tuple(value.shape)} and {value.dtype}: was it changed since? Make a new "
                "optimizer, or give it a fitting gradient and state"
            )

    def _update_half(self, p, grad, group, state):
        """`update` in float32, of what is in half precision; each result is rounded once."""
        kind, halves = p.dtype, {k: v for k, v in state.items() if _is_half(v)}
        state.update({k: v.float() for k, v in halves.items()})
        wide = p.detach().float()
        try:
            self.update(wide, grad.float(), group, state)
        finally:
            for k, v in list(state.items()):
                if k in halves or isinstance(v, Tensor) and v.shape == p.shape and k != "step":
                    state[k] = halves[k].copy_(v) if k in halves else v.to(kind)
        p.detach().copy_(wide)

    def update(self, p: Tensor, grad: Tensor, group: Any, state: dict[str, Any]) -> None:
        """Change the parameter `p` in place by the rule of the optimizer."""
        raise NotImplementedError(f"{self._name} defines neither update nor step")

    # ---- checkpoints --------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """{"state": …, "param_groups": …} with parameters replaced by their positions.

        The tensors are the optimizer's own, not copies.
        """
        index = {}
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(p, len(index))
        return {
            "state": {index.get(p, p): state for p, state in self.state.items() if state},
            "param_groups": [
                {
                    **{option: value for option, value in group.items() if option != "params"},
                    "params": [index[p] for p in group["params"]],  # last, as in PyTorch
                }
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Continue from a `state_dict()`, with copies of its tensors on each parameter's device.

        Raises ValueError, and changes nothing, if it is the state of other parameters, or holds a
        value of another type or that the constructor would refuse; TypeError if it is no dict.
        """
        if not isinstance(state_dict, Mapping):
            kind = type(state_dict).__name__
            raise TypeError(f"{self._name}: load_state_dict needs a dict, got {kind}")
        try:
            loaded = self._loaded(state_dict)
        except NONSENSE as error:
            raise ValueError(
                f"{self._name}: this is not the state of an optimizer ({error!r:.200})"
            ) from error
        self.__setstate__(loaded)

    def _loaded(self, state_dict):
        """The attributes described by a `state_dict()`."""
        saved = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in self.param_groups]
        if [len(group["params"]) for group in saved] != sizes:
            raise ValueError(
                f"{self._name}: the saved groups have {[len(g['params']) for g in saved]} "
                f"parameters, those of this optimizer {sizes}"
            )
        memo = {}
        groups = [
            {**self.defaults, **copy.deepcopy(dict(theirs), memo), "params": ours["params"]}
            for ours, theirs in zip(self.param_groups, saved)
        ]
        for ours, group in zip(self.param_groups, groups):
            if type(self).__module__.partition(".")[0] != "microtensor":
                continue  # a user's own optimizer may have any options
            known = {"initial_lr": 0.0, **ours}
            for name in known.keys() & group.keys() - {"params"}:
                if not alike(known[name], group[name], name in RATES):
                    raise ValueError(
                        f"{self._name}: the saved {name} is {shown(group[name])}, where this "
                        f"optimizer has {shown(known[name])}"
                    )
            self.check(group)
        params = {
            i: p
            for ours, theirs in zip(groups, saved)
            for i, p in zip(theirs["params"], ours["params"])
        }
        state = defaultdict(dict)
        for i, values in state_dict["state"].items():
            p = params.get(i)
            if p is None and isinstance(i, int):
                raise ValueError(
                    f"{self._name}: there is a state of parameter {i:,}, the saved groups have "
                    f"{len(params)} parameters"
                )
            state[i if p is None else p] = fitted = self._fitted(i, None, values, p, memo)
            if p is not None:
                self.check_state(i, fitted)
        return {"state": state, "param_groups": groups}

    def check_state(self, index: int, state: dict[str, Any]) -> None:
        """Raise ValueError for an invalid saved state of parameter number `index`."""

    def __getstate__(self):
        own = dict(vars(self))
        own.pop("step", None)  # the one with hooks
        return own

    def __setstate__(self, state):
        """Restore saved or copied attributes; a subclass adds options that older files lack."""
        self.__dict__.update(state)

    # ---- hooks --------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(optimizer, args, kwargs) before each step; it may return new (args, kwargs).

        Returns a handle whose `remove()` removes the hook.
        """
        return Handle(self._watched()[0], hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(optimizer, args, kwargs) after each step."""
        return Handle(self._watched()[1], hook)

    def _watched(self):
        """(the hooks before `step`, those after); the first call wraps `step` to run them."""
        if "step" not in vars(self):
            before, after, step = {}, {}, self.step

            def watched(*args, **kwargs):
                for hook in list(before.values()):
                    args, kwargs = hook(self, args, kwargs) or (args, kwargs)
                result = step(*args, **kwargs)
                for hook in list(after.values()):
                    hook(self, args, kwargs)
                return result

            self.step = watched
            self.step.hooks = before, after
        return self.step.hooks

    def _fitted(self, index, name, value, p, memo):
        """A copy of a saved value that fits the parameter `p`; `memo` keeps the copies."""
        if p is None or not isinstance(value, (dict, Tensor)):
            return copy.deepcopy(value, memo)
        key = id(value), id(p), name == "step"
        if key in memo:
            return memo[key]
        if isinstance(value, dict):
            made = memo[key] = {}
            made.update({k: self._fitted(index, k, v, p, memo) for k, v in value.items()})
            return made
        if name in self.buffers and value.shape != p.shape:
            raise ValueError(
                f"{self._name}: the saved {name} of parameter {index} has shape "
                f"{tuple(value.shape)}, the parameter {tuple(p.shape)}"
            )
        dtype = p.dtype if name != "step" and p.is_floating_point() else value.dtype
        place = "cpu" if name == "step" else p.device
        memo[key] = value.detach().to(device=place, dtype=dtype, copy=True)
        return memo[key]

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for i, group in enumerate(self.param_groups):
            lines += [""] * (i > 0) + [f"Parameter Group {i}"]
            lines += [f"    {name}: {group[name]}" for name in sorted(set(group) - {"params"})]
        return "\n".join([*lines, ")"])


def _is_half(value):
    return isinstance(value, Tensor) and value._data.dtype in HALVES


# ---- checks of loaded values ---------------------------------------------------------

NONSENSE = (TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""The errors of using a loaded value as a type that it does not have."""


def is_number(value):
    """True if a value is a number of at most 64 bits, or a tensor of one."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, Real) and not (isinstance(value, int) and value.bit_length() > 64)


RATES = "lr", "initial_lr", "base_lrs", "_last_lr"  # numbers, or tensors that keep their place


def alike(ours, theirs, tensors=False):
    """True if a loaded value has the type of the one that it replaces.

    Lists may have another length; their elements are then compared with our first. A number may be
    a tensor if ours is one, or with `tensors`.
    """
    if isinstance(ours, (list, tuple)):
        if not isinstance(theirs, (list, tuple)):
            return False
        pattern = ours if len(ours) == len(theirs) else [*ours[:1], 0.0][:1] * len(theirs)
        return all(alike(*pair, tensors) for pair in zip(pattern, theirs))
    if ours is required:
        return True
    if ours is None or callable(ours) and not isinstance(ours, Tensor):
        return theirs is None or isinstance(theirs, (bool, str)) or callable(theirs)
    if is_number(ours) and not isinstance(ours, bool):
        fits = tensors or isinstance(ours, Tensor) or not isinstance(theirs, Tensor)
        return is_number(theirs) and fits
    return isinstance(theirs, type(ours))


def shown(value):
    """A short text for a value of a file."""
    try:
        return f"{reprlib.repr(value):.100}"
    except ValueError:  # a number of thousands of digits
        return f"a {type(value).__name__}"
