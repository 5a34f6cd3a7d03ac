"""Modules that hold modules or parameters."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .. import backends
from ..tensor import Tensor
from ..typing import Parameters
from ..utils._pytree import tree_map
from .module import Module, Parameter
from .showing import tree


class _List(Module):
    """Base of the containers that number their items: names "0", "1", …"""

    _kind = "_modules"

    @property
    def _items(self):
        return getattr(self, self._kind)

    def _place(self, index):
        try:
            index = operator.index(index)
        except TypeError:
            raise TypeError(f"{type(self).__name__}: {index!r} is not an index") from None
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"{type(self).__name__}: index {index} is out of range, there are {len(self)}"
            )
        return str(index % len(self))

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items.values())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._like(list(self)[index])
        return self._items[self._place(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._put(self._place(index), value)

    def _put(self, name, value):
        setattr(self, name, value)

    def __delitem__(self, index: Any) -> None:
        rest = list(self)
        del rest[index]
        self._refill(rest)

    def __contains__(self, value: Any) -> bool:
        return any(value is held for held in self)

    def __dir__(self):
        return [name for name in super().__dir__() if not name.isdigit()]

    def _refill(self, values):
        for name in list(self._items):
            delattr(self, name)
        for i, value in enumerate(values):
            self._put(str(i), value)

    def append(self, value: Any) -> _List:
        """Add one at the end. Returns the container."""
        self._put(str(len(self)), value)
        return self

    def extend(self, values: Any) -> _List:
        """Add several at the end. Returns the container."""
        for value in list(values):
            self.append(value)
        return self

    def insert(self, index: int, value: Any) -> None:
        """Add one before the place `index`."""
        values = list(self)
        values.insert(index, value)
        self._refill(values)

    def pop(self, index: Any = -1) -> Any:
        """Take one out and return it."""
        value = self[index]
        del self[index]
        return value

    def __iadd__(self, values: Any) -> _List:
        return self.extend(values)

    def __add__(self, values: Any) -> _List:
        return self._like([*self, *values])

    def _like(self, values):
        return type(self)(values)


class Sequential(_List):
    """Modules in sequence: the result of each is the input of the next.

    Takes the modules, or one dictionary of them by name.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = args[0].items() if len(args) == 1 and isinstance(args[0], dict) else None
        for name, module in named if named is not None else enumerate(args):
            self.add_module(str(name), module)

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input

    def _place(self, index):
        return list(self._modules)[int(super()._place(index))]

    def _like(self, modules):
        kept = {id(m): name for name, m in self._modules.items()}
        names = [kept.get(id(m)) for m in modules]
        if None in names or len(set(names)) < len(names):
            return type(self)(*modules)
        return type(self)(dict(zip(names, modules)))


class ModuleList(_List):
    """A list of modules."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end. Returns the list."""
        self.add_module(str(len(self)), module)
        return self

    def __repr__(self) -> str:
        """Equal neighbours are written once: (0-3): 4 x Block(…)"""
        groups = []  # [first, last, repr]
        for i, module in enumerate(self):
            if groups and groups[-1][2] == repr(module):
                groups[-1][1] = i
            else:
                groups.append([i, i, repr(module)])
        lines = [
            (i if i == j else f"{i}-{j}", _Shown(text if i == j else f"{j - i + 1} x {text}"))
            for i, j, text in groups
        ]
        return tree(self._get_name(), "", lines)


class _Shown:
    """An object with a given repr."""

    def __init__(self, text: Any) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class _Parameters(Module):
    """Base of the containers of parameters and other values; tensors become parameters."""

    @property
    def _items(self):
        return {name: getattr(self, name) for name in vars(self).setdefault("_order", {})}

    def _put(self, name, value):
        if isinstance(value, Tensor) and not isinstance(value, Parameter):
            value = Parameter(value)
        setattr(self, name, value)
        vars(self).setdefault("_order", {})[name] = None

    def __delattr__(self, name):
        super().__delattr__(name)
        self._order.pop(name, None)

    def extra_repr(self) -> str:
        """A line for each, as PyTorch shows them."""
        return "\n".join(
            f"  ({name}): "
            + (
                f"Parameter containing: [{p.dtype} of size {'x'.join(map(str, p.shape))}]"
                if isinstance(p, Tensor)
                else f"Object of type: {type(p).__name__}"
            )
            for name, p in self._items.items()
        )


class ParameterList(_Parameters, _List):
    """A list of parameters and other values; tensors that are added become parameters."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        if values is not None:
            self.extend(values)


class _Dict(Module):
    """Base of the containers with named items, in the order in which they were added."""

    _kind = "_modules"

    def __init__(self, values: Any = None) -> None:
        super().__init__()
        if values is not None:
            self.update(values)

    @property
    def _items(self):
        return getattr(self, self._kind)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def keys(self) -> Any:
        return self._items.keys()

    def values(self) -> Any:
        return self._items.values()

    def items(self) -> Any:
        return self._items.items()

    def update(self, values: Any) -> None:
        """Add what a dictionary holds, or (name, value) pairs."""
        for name, value in dict(values).items():
            self[name] = value

    def pop(self, name: str) -> Any:
        """Take one out and return it."""
        value = self[name]
        delattr(self, name)
        return value

    def clear(self) -> None:
        """Take all out."""
        for name in list(self):
            delattr(self, name)


class ModuleDict(_Dict):
    """A dictionary of modules by name, in the order in which they were added."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__(modules)

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)


class ParameterDict(_Parameters, _Dict):
    """A dictionary of parameters and other values; tensors that are added become parameters."""

    def __init__(self, parameters: Parameters | None = None) -> None:
        super().__init__(parameters)

    def __setitem__(self, name: str, value: Any) -> None:
        self._put(str(name), value)


class DataParallel(Module):
    """A wrapper that in PyTorch splits batches among GPUs; here there is at most one.

    The module is its attribute `module`. As in PyTorch, with a GPU the module and its inputs are
    moved there, and without one `device_ids` is ignored.
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        count = backends.gpu_count()
        self.device_ids = list(range(count) if device_ids is None else device_ids) if count else []
        if len(self.device_ids) > 1:
            raise NotImplementedError(
                f"DataParallel over {len(self.device_ids)} GPUs: microtensor uses one; name it "
                "with device_ids=[0]"
            )
        self.module = module.to("cuda") if self.device_ids else module

    def forward(self, *inputs: Any, **options: Any) -> Any:
        if self.device_ids:
            inputs, options = tree_map(
                lambda x: x.to("cuda") if isinstance(x, Tensor) else x, (inputs, options)
            )
        return self.module(*inputs, **options)
