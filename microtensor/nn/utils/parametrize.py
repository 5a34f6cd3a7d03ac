"""A tensor of a module computed from others whenever it is read: PyTorch's parametrizations.

    register_parametrization(layer, "weight", Symmetric())

`layer.weight` is then `Symmetric()(layer.parametrizations.weight.original)`, and the original is
trained.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from ...autograd import no_grad
from ...nn.module import Module
from ...tensor import Tensor
from ..containers import ModuleDict, ModuleList
from ..module import Parameter

_cache = None  # {(module, name): tensor} within cached()


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """A context in which each parametrized tensor is computed once."""
    global _cache
    outermost = _cache is None
    _cache = {} if outermost else _cache
    try:
        yield
    finally:
        if outermost:
            _cache = None


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, the first applied first, and the original.

    Where the last of their `right_inverse`s gives several tensors they are original0, original1 …
    """

    def __init__(self, modules: Any, original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        new = self._undone(original)
        self.is_tensor = isinstance(new, Tensor)
        if self.is_tensor:  # the same object, which an optimizer may hold
            original.data = new.data
            named = {"original": original}
        else:
            trained = isinstance(original, Parameter)
            named = {
                f"original{i}": Parameter(part, original.requires_grad) if trained else part
                for i, part in enumerate(new)
            }
        for name, value in named.items():
            trained = isinstance(value, Parameter)
            (self.register_parameter if trained else self.register_buffer)(name, value)
        if not unsafe:
            self._check(original)

    @no_grad()
    def _undone(self, value):
        """The originals that give `value`, by the `right_inverse`s of the parametrizations."""
        for module in reversed(list(self)):
            with contextlib.suppress(NotImplementedError):
                if hasattr(module, "right_inverse"):
                    value = module.right_inverse(value)
        return value

    @no_grad()
    def _check(self, original):
        value = self()
        if not isinstance(value, Tensor) or (value.shape, value.dtype) != (
            original.shape, original.dtype,
        ):  # fmt: skip
            got = f"{value.shape}, {value.dtype}" if isinstance(value, Tensor) else type(value)
            raise ValueError(
                f"register_parametrization: {type(self[-1]).__name__} must keep shape and dtype, "
                f"{original.shape}, {original.dtype}, but gives {got}; unsafe=True allows it"
            )

    def _originals(self):
        named = {**self._parameters, **self._buffers}
        return [value for name, value in named.items() if name.startswith("original")]

    @no_grad()
    def right_inverse(self, value: Any) -> None:
        """Set the originals such that the tensor becomes `value`."""
        for module in reversed(list(self)):
            if not hasattr(module, "right_inverse"):
                raise RuntimeError(
                    f"a tensor with the parametrization {type(module).__name__} can be assigned "
                    "only if that has a method right_inverse"
                )
            value = module.right_inverse(value)
        for old, new in zip(self._originals(), [value] if self.is_tensor else value):
            old.data = new.data

    def forward(self) -> Tensor:
        first, *others = self
        value = first(*self._originals())
        for module in others:
            value = module(value)
        return value


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let `module.<tensor_name>` be parametrization(original); returns the module.

    The parametrization is a Module. It may have `right_inverse`, which gives the original for a
    value, or several tensors. Of several parametrizations each takes the result of the one before.
    Raises ValueError where shape or dtype would change, unless `unsafe`.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        parts = module.parametrizations[tensor_name]
        value = getattr(module, tensor_name)
        parts.append(parametrization)
        if not unsafe:
            parts._check(value)
        return module
    registry = next((r for r in (module._parameters, module._buffers) if tensor_name in r), None)
    if registry is None or registry[tensor_name] is None:
        raise ValueError(
            f"register_parametrization: {module} has no parameter, buffer or parametrized tensor "
            f"{tensor_name!r}"
        )
    parts = ParametrizationList([parametrization], registry[tensor_name], unsafe)
    del registry[tensor_name]
    if not is_parametrized(module):
        kind = type(module)
        module.__class__ = type(
            f"Parametrized{kind.__name__}", (kind,),
            {"__module__": __name__, "__getstate__": _refuse_pickle, "__deepcopy__": _copied},
        )  # fmt: skip
        module.parametrizations = ModuleDict()
    setattr(type(module), tensor_name, property(_read(tensor_name), _written(tensor_name)))
    module.parametrizations[tensor_name] = parts
    return module


def _refuse_pickle(module):
    raise RuntimeError(
        "a parametrized module cannot be pickled, since its class is made on the spot; save its "
        "state_dict()"
    )


def _copied(module, memo):
    """A deep copy, with the same class."""
    copy = memo[id(module)] = object.__new__(type(module))
    vars(copy).update(deepcopy(vars(module), memo))
    return copy


def _read(name):
    def read(module):
        if _cache is None:
            return module.parametrizations[name]()
        if (module, name) not in _cache:
            _cache[module, name] = module.parametrizations[name]()
        return _cache[module, name]

    return read


def _written(name):
    return lambda module, value: module.parametrizations[name].right_inverse(value)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """True if the module has any parametrized tensor, or the one named."""
    tensors = module._modules.get("parametrizations")
    if not isinstance(tensors, ModuleDict):
        return False
    return bool(len(tensors)) if tensor_name is None else tensor_name in tensors


def type_before_parametrizations(module: Module) -> type[Module]:
    """The class of the module without its parametrizations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make `module.<tensor_name>` an ordinary parameter or buffer again; returns the module.

    It keeps its value, or with `leave_parametrized=False` becomes the original.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"remove_parametrizations: {tensor_name!r} of {module} has none")
    parts = module.parametrizations[tensor_name]
    if not leave_parametrized and not parts.is_tensor:
        raise ValueError(
            f"remove_parametrizations: {tensor_name!r} has several originals; it can only be left "
            "as it is"
        )
    first = parts._originals()[0]
    kept = first if parts.is_tensor else type(first)(first.detach().clone())
    if leave_parametrized:
        kept.data = getattr(module, tensor_name).detach()
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    if isinstance(kept, Parameter):
        module.register_parameter(tensor_name, kept)
    else:
        module.register_buffer(tensor_name, kept)
    return module
