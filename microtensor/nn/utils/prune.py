"""Pruning: some weights are kept at zero, as a parameter is `<name>_orig` times the buffer
`<name>_mask`.

    l1_unstructured(layer, "weight", amount=0.3)

zeroes the smallest 30 %. The product is computed before every forward. If pruned again, `amount`
refers to the elements that are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ... import ops
from ...nn.module import Module
from ...tensor.creation import ones_like, zeros_like
from ...tensor.random import rand, rand_like
from ...typing import Shape, Tensor, TensorOrTensors
from .convert_parameters import parameters_to_vector


class BasePruningMethod:
    """Subclass it with `compute_mask(t, default_mask)`, and call `apply(module, name, …)`.

    `PRUNING_TYPE` says what a method that comes second chooses from: "unstructured", the
    elements that are left; "structured", the slices along its `dim` that are left; "global", all.
    """

    PRUNING_TYPE = "unstructured"

    def __call__(self, module: Module, inputs: TensorOrTensors) -> None:
        object.__setattr__(module, self._tensor_name, self.apply_mask(module))

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """A mask like t, of ones and zeros: default_mask, with more zeros."""
        raise NotImplementedError(f"{type(self).__name__} does not define compute_mask()")

    def apply_mask(self, module: Module) -> Tensor:
        """`<name>_orig · <name>_mask`"""
        mask = getattr(module, self._tensor_name + "_mask")
        orig = getattr(module, self._tensor_name + "_orig")
        return mask.to(orig.dtype) * orig

    def prune(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Tensor:
        """t with zeros where the importance scores, |t| unless given, are lowest."""
        scores = t if importance_scores is None else importance_scores
        mask = ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=mask)

    @classmethod
    def apply(cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None,
              **kwargs: Any) -> BasePruningMethod:  # fmt: skip
        """Prune `module.<name>` and return the method, which is a hook of the module now."""
        method = cls(*args, **kwargs)
        method._tensor_name = name
        old = _method_of(module, name)
        weight = getattr(module, name)
        scores = weight if importance_scores is None else importance_scores
        if scores.shape != weight.shape:
            raise ValueError(
                f"prune: importance_scores of shape {tuple(weight.shape)} are needed, got "
                f"{tuple(scores.shape)}"
            )
        if old is None:
            mask = ones_like(weight).detach()
        else:
            mask = getattr(module, name + "_mask").detach().clone()
            method = PruningContainer(*getattr(old, "_methods", (old,)), method)
        mask = method.compute_mask(scores.detach(), default_mask=mask)
        if old is None:
            del module._parameters[name]
            module.register_parameter(name + "_orig", weight)
        else:
            old._handle.remove()
        module.register_buffer(name + "_mask", mask)
        method(module, None)
        method._handle = module.register_forward_pre_hook(method)
        return method

    def remove(self, module: Module) -> None:
        """Make the pruned tensor an ordinary parameter again."""
        name = self._tensor_name
        weight = self.apply_mask(module)
        orig = module._parameters.pop(name + "_orig")
        orig.data = weight.detach()
        self._handle.remove()
        del module.__dict__[name], module._buffers[name + "_mask"]
        module.register_parameter(name, orig)


class PruningContainer(BasePruningMethod):
    """Methods in sequence, each choosing among the elements that those before left."""

    def __init__(self, *methods: Any) -> None:
        self._methods, self._tensor_name = methods, methods[-1]._tensor_name if methods else None

    def __len__(self) -> int:
        return len(self._methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._methods)

    def __getitem__(self, index: Any) -> BasePruningMethod:
        return self._methods[index]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        last, mask = self._methods[-1], default_mask.clone()
        if last.PRUNING_TYPE == "unstructured":
            left = mask == 1
        elif last.PRUNING_TYPE == "structured":
            dim = last.dim % t.ndim
            kept = mask.sum([d for d in range(t.ndim) if d != dim]) != 0
            left = tuple(kept if d == dim else slice(None) for d in range(t.ndim))
        else:
            left = ...
        mask[left] = last.compute_mask(t[left], default_mask=mask[left]).to(mask.dtype)
        return mask


# ---- methods -------------------------------------------------------------------------


class _Amount(BasePruningMethod):
    """A method with an `amount`: a number of elements or slices, or a share of them."""

    def __init__(self, amount: int | float) -> None:
        if amount < 0 or isinstance(amount, float) and amount > 1:
            raise ValueError(f"prune: the amount is a share or a number, at least 0, got {amount}")
        self.amount = amount

    def count(self, size: Shape) -> int:
        """The number of `size` elements to prune."""
        if isinstance(self.amount, float):
            return round(self.amount * size)
        if self.amount > size:
            raise ValueError(f"prune: {self.amount} of {size} cannot go")
        return self.amount


class _Elements(_Amount):
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        mask, n = default_mask.clone(), self.count(t.numel())
        if n:
            least = ops.topk(self.scores(t).reshape(-1), n, largest=False).indices
            mask.view(-1)[least] = 0
        return mask


class _Slices(_Amount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: int | float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.ndim < 2:
            raise ValueError(f"prune: slices are those of a matrix at least, got {tuple(t.shape)}")
        n, dim = self.count(t.shape[self.dim]), self.dim % t.ndim
        if not n:
            return default_mask
        kept = ops.topk(self.scores(t, dim), t.shape[dim] - n).indices
        mask = zeros_like(t)
        mask[tuple(kept if d == dim else slice(None) for d in range(t.ndim))] = 1
        return mask * default_mask


class Identity(BasePruningMethod):
    """Prunes nothing: a mask of ones."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class RandomUnstructured(_Elements):
    """Prunes random elements."""

    def scores(self, t: Tensor) -> Tensor:
        return rand_like(t)


class L1Unstructured(_Elements):
    """Prunes the elements of least |t|."""

    def scores(self, t: Tensor) -> Tensor:
        return ops.abs(t)


class RandomStructured(_Slices):
    """Prunes random slices along `dim`."""

    def scores(self, t: Tensor, dim: int) -> Tensor:
        return rand(t.shape[dim])


class LnStructured(_Slices):
    """Prunes the slices along `dim` of least n-norm."""

    def __init__(self, amount: int | float, n: float, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def scores(self, t: Tensor, dim: int) -> Tensor:
        return ops.norm(t, self.n, [d for d in range(t.ndim) if d != dim])


class CustomFromMask(BasePruningMethod):
    """Prunes by a given mask."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * self.mask.to(default_mask.dtype)


# ---- as functions --------------------------------------------------------------------


def identity(module: Module, name: str) -> Module:
    """Give `module.<name>` a mask of ones. Returns the module."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: int | float) -> Module:
    """Zero random elements of `module.<name>`: a number, or a share. Returns the module."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: int | float, importance_scores: Tensor | None = None
) -> Module:
    """Zero the elements of least absolute value, or score. Returns the module."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: int | float, dim: int) -> Module:
    """Zero random slices along `dim`. Returns the module."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: Module, name: str, amount: int | float, n: float, dim: int,
                  importance_scores: Tensor | None = None) -> Module:  # fmt: skip
    """Zero the slices along `dim` of least n-norm. Returns the module."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Zero the elements where the mask is 0. Returns the module."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(parameters: Iterable[tuple[Module, str]], pruning_method: Any,
                        importance_scores: Mapping[tuple[Module, str], Tensor] | None = None,
                        **kwargs: Any) -> None:  # fmt: skip
    """Prune several (module, name) as one vector: the lowest scores of all of them."""
    parameters, scores = list(parameters), importance_scores or {}
    if pruning_method.PRUNING_TYPE != "unstructured":
        raise TypeError("global_unstructured: a method for single elements is needed")
    weights = [getattr(module, name) for module, name in parameters]
    vector = parameters_to_vector(
        [scores.get(key, weight) for key, weight in zip(parameters, weights)]
    ).detach()
    masks = [
        getattr(module, name + "_mask", ones_like(weight).detach())
        for (module, name), weight in zip(parameters, weights)
    ]
    method = pruning_method(**kwargs)
    method._tensor_name = "all of them"
    mask = PruningContainer(method).compute_mask(vector, parameters_to_vector(masks))
    start = 0
    for (module, name), weight in zip(parameters, weights):
        part = mask[start : start + weight.numel()].reshape(weight.shape)
        custom_from_mask(module, name, part)
        start += weight.numel()


def remove(module: Module, name: str) -> None:
    """Make a pruned parameter an ordinary one, which keeps its zeros. Returns the module."""
    method = _method_of(module, name)
    if method is None:
        raise ValueError(f"prune.remove: {name!r} of {module} is not pruned")
    method.remove(module)
    return module


def is_pruned(module: Module) -> bool:
    """True if any parameter of the module, or of one below it, is pruned."""
    return any(
        isinstance(hook, BasePruningMethod)
        for part in module.modules()
        for hook in part._forward_pre_hooks.values()
    )


def _method_of(module, name):
    """The method that prunes `module.<name>`, or None."""
    hooks = module._forward_pre_hooks.values()
    mine = (h for h in hooks if isinstance(h, BasePruningMethod) and h._tensor_name == name)
    return next(mine, None)
