"""Module: a function with parameters, made of other modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Self

from ..autograd import no_grad
from ..backends import backend_of
from ..backends.device import device as device_of
from ..backends.dtypes import FLOAT, bfloat16, dtype, float16, float32, float64
from ..tensor import Handle, Tensor
from ..tensor.creation import as_tensor, empty
from ..typing import Device, Dtype, Hook, StateDict
from .buffer import Buffer
from .hooks import Watch as Watch
from .hooks import added, module_error, with_hooks
from .loading import _join, load, parts_of
from .showing import tree

_dtype = dtype


class Parameter(Tensor):
    """A tensor that is trained: a Module that it is assigned to counts it among its parameters.

    Shares the memory of `data`. Results of operations with it are plain tensors.
    """

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        self._data = (empty(0) if data is None else as_tensor(data))._data
        self.requires_grad = requires_grad

    def _copied(self, memo: Any) -> Any:  # alone, as in PyTorch, whatever else shares its memory
        return backend_of(self._data).asarray(self._data, copy=True)


class Module:
    """The base of all neural networks. Define `forward`, call the module.

    Parameters, tensors registered as buffers, and modules that are assigned to attributes belong
    to the module: they are trained, saved, and moved with it.
    """

    training = True
    # replaced in the modules that have hooks
    _before_saving = _after_saving = _before_loading = _after_loading = {}
    revision = 0  # counts additions and removals of parts and hooks of any module

    def __init__(self) -> None:
        for registry in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, registry, {})
        self._non_persistent_buffers_set = set()  # names of the buffers that are not saved
        self._forward_pre_hooks, self._forward_hooks, self._backward_hooks = {}, {}, {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's result: defined by each subclass."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not (self._forward_pre_hooks or self._forward_hooks or self._backward_hooks):
            try:
                return self.forward(*args, **kwargs)
            except Exception as error:
                raise module_error(self, args, kwargs, error)  # noqa: B904
        return with_hooks(self, args, kwargs)

    # ---- attributes ------------------------------------------------------------------

    def __getattr__(self, name):  # called only for what is not an ordinary attribute
        own = self.__dict__
        if "_modules" not in own:
            raise AttributeError(
                f"{self._not_initialized()}, before the attribute {name!r} is used"
            )
        for registry in ("_parameters", "_modules", "_buffers"):
            if name in own[registry]:
                return own[registry][name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name, value):
        if "_modules" not in self.__dict__:
            if isinstance(value, (Parameter, Module)):
                raise AttributeError(f"{self._not_initialized()}, before {name!r} is assigned")
            return object.__setattr__(self, name, value)
        registries = {Parameter: self._parameters, Module: self._modules, Tensor: self._buffers}
        old = next((kind for kind in registries if name in registries[kind]), None)
        new = next((kind for kind in (Parameter, Module) if isinstance(value, kind)), old)
        if new is None and not isinstance(value, Buffer):
            return object.__setattr__(self, name, value)
        if new is None:
            self.__dict__.pop(name, None)
            return self.register_buffer(name, value, value.persistent)
        if new is not old:
            self.__dict__.pop(name, None)
            registries.get(old, {}).pop(name, None)
        return self._register(name, value, new, registries[new], replace=new is not Parameter)

    def __delattr__(self, name):
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                self._non_persistent_buffers_set.discard(name)
                Module.revision += 1
                return
        object.__delattr__(self, name)

    def __dir__(self):
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _not_initialized(self):
        return f"{type(self).__name__}.__init__() must call super().__init__()"

    def _register(self, name, value, kind, registry, replace=False):
        """Add a parameter, buffer or module, or None to keep its place."""
        owner = type(self).__name__
        if not isinstance(name, str):
            raise TypeError(f"{owner}: a name is a str, got {type(name).__name__}")
        if not name or "." in name:
            raise KeyError(f'{owner}: a name is not empty and has no ".", got {name!r}')
        if not replace and name not in registry and hasattr(self, name):
            raise KeyError(f"{owner} has an attribute {name!r} already")
        if value is not None and not isinstance(value, kind):
            raise TypeError(
                f"{name!r} of {owner} must be a {kind.__name__} or None, got {type(value).__name__}"
            )
        registry[name] = value
        Module.revision += 1

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter (or None, to keep its place) under a name."""
        self._register(name, param, Parameter, self._parameters)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is part of the state but not trained; saved only if `persistent`."""
        self._register(name, tensor, Tensor, self._buffers)
        unsaved = self._non_persistent_buffers_set
        (unsaved.discard if persistent else unsaved.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module (or None) under a name."""
        self._register(name, module, Module, self._modules)

    register_module = add_module

    # ---- what belongs to it ----------------------------------------------------------

    def named_modules(self, memo: dict[int, Any] | None = None, prefix: str = "",
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:  # fmt: skip
        """(path, module) for this module and all below it, each once if `remove_duplicate`."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, _join(prefix, name), remove_duplicate)

    def _named(self, kind, prefix, recurse, remove_duplicate):
        """(path, tensor) of a kind, for this module and, if recurse, all below it."""
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        seen = set()
        for path, module in modules if recurse else [(prefix, self)]:
            for name, value in getattr(module, kind).items():
                if value is not None and value not in seen:
                    if remove_duplicate:
                        seen.add(value)
                    yield _join(path, name), value

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
                         ) -> Iterator[tuple[str, Parameter]]:  # fmt: skip
        """(path, parameter) for all parameters; a shared one under its first path only."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:  # fmt: skip
        """(path, buffer) for all buffers; a shared one under its first path only."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) for the modules directly below, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, each once if `remove_duplicate`."""
        return (m for _, m in self.named_modules(remove_duplicate=remove_duplicate))

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, a shared one once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, a shared one once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def children(self) -> Iterator[Module]:
        """The modules directly below."""
        return (module for _, module in self.named_children())

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as "blocks.0.attn". Raises AttributeError if there is none."""
        module = self
        for name in target.split(".") if target else ():
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"{name!r} of {target!r} is not a Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module at a path; with `strict`, only where one is."""
        path, _, name = target.rpartition(".")
        if not target or not isinstance(module, Module):
            raise ValueError(f"set_submodule: a path and a module are needed, got {target!r}")
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            self.get_submodule(target)
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path. Raises AttributeError if there is none."""
        return self._get("_parameters", target, "parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path. Raises AttributeError if there is none."""
        return self._get("_buffers", target, "buffer")

    def _get(self, kind, target, what):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if name not in getattr(module, kind):
            raise AttributeError(f"{type(module).__name__!r} object has no {what} {name!r}")
        return getattr(module, kind)[name]

    # ---- saving and loading ----------------------------------------------------------

    def state_dict(self, *, destination: StateDict | None = None, prefix: str = "",
                   keep_vars: bool = False) -> StateDict:  # fmt: skip
        """{path: tensor} of all parameters and persistent buffers, sharing their memory.

        Modules whose class overrides this or `_save_to_state_dict` are saved by their own method.
        """
        state = OrderedDict() if destination is None else destination
        for hook in list(self._before_saving.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(state, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in list(self._after_saving.values()):
            hook(self, state, prefix, {})
        return state

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        for name, tensor in self._saved():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if self._has_own("get_extra_state"):
            destination[prefix + "_extra_state"] = self.get_extra_state()

    def _saved(self):
        for name, tensor in (*self._parameters.items(), *self._buffers.items()):
            if tensor is None or name in self._non_persistent_buffers_set:
                continue
            parts = getattr(tensor._data, "parts", None)  # of a quantized weight
            yield from parts_of(name, parts) if parts else ((name, tensor),)

    def get_extra_state(self) -> Any:
        """State besides tensors to be saved in `state_dict()`, in classes that define it."""
        raise RuntimeError(f"{self._get_name()} does not define get_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """Restore the state that `get_extra_state` gave."""
        raise RuntimeError(f"{self._get_name()} does not define set_extra_state()")

    def _has_own(self, method):
        return getattr(type(self), method) is not getattr(Module, method)

    def load_state_dict(self, state_dict: StateDict, strict: bool = True,
                        assign: bool = False) -> Any:  # fmt: skip
        """Copy tensors by their path; with `assign`, take them themselves.

        Returns (missing_keys, unexpected_keys). Raises RuntimeError, and changes nothing, if a
        shape differs or, when `strict`, a key is missing or unexpected; it lists them all.
        TypeError if it is no dict.
        """
        return load(self, state_dict, strict, assign)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        """Find missing keys. A subclass may change the dict first: its contents are loaded."""
        for hook in list(self._before_loading.values()):
            hook(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                 error_msgs)  # fmt: skip
        names = [name for name, _ in self._saved()]
        names += ["_extra_state"] * self._has_own("set_extra_state")
        missing_keys += [prefix + name for name in names if prefix + name not in state_dict]

    def _assign(self, path, value):
        path, _, name = path.rpartition(".")
        module = self.get_submodule(path)
        old = module._parameters.get(name)
        if old is not None and not isinstance(value, Parameter):
            value = Parameter(value, requires_grad=old.requires_grad)
        setattr(module, name, value)

    # ---- changing it as a whole ------------------------------------------------------

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call fn on every module below and on this one, the deepest first. Returns the module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set this module and all below it to training, or to evaluation. Returns the module."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: the mode is True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let gradients flow to the parameters, or not. Returns the module."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of the parameters, or fill them with zeros."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = p.grad.detach()
                p.grad.zero_()

    def to(self, *args: Any, device: Device | None = None, dtype: Dtype | None = None,
           non_blocking: bool = False, memory_format: Any = None) -> Self:  # fmt: skip
        """Move parameters and buffers to a device, or give the floating ones another dtype.

        The module itself changes, its Parameter objects stay the same. Returns the module.
        """
        for a in args:
            if isinstance(a, Tensor):
                dtype, device = a.dtype, a.device
            elif isinstance(a, _dtype):
                dtype = a
            elif not isinstance(a, bool):
                device = device_of(a)
        if dtype is not None and dtype.rank != FLOAT:
            raise TypeError(f"Module.to: a floating-point dtype is needed, got {dtype}")
        return self._apply(
            lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None)
        )

    def to_empty(self, *, device: Device, recurse: bool = True) -> Self:
        """Move the module to a device; the values of its parameters are then undefined."""
        return self.to(device=device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Let fn make parameters, gradients and buffers anew: what `to` does, by PyTorch's name."""
        for module in self.children() if recurse else ():
            module._apply(fn)
        with no_grad():
            for p in self._parameters.values():
                if p is not None:
                    p.data = fn(p.data)
                    p.grad = p.grad if p.grad is None else fn(p.grad)
            for name, b in self._buffers.items():
                if b is not None:
                    self._buffers[name] = fn(b)
        return self

    def type(self, dst_type: Dtype) -> Self:
        """Parameters and buffers in a floating-point dtype."""
        return self.to(dst_type)

    def half(self) -> Self:
        return self.to(float16)

    def bfloat16(self) -> Self:
        return self.to(bfloat16)

    def float(self) -> Self:
        return self.to(float32)

    def double(self) -> Self:
        return self.to(float64)

    def cpu(self) -> Self:
        return self.to("cpu")

    def share_memory(self) -> Self:
        """Does nothing, and returns the module: its memory is not shared among processes."""
        return self

    def cuda(self, device: Device | None = None) -> Self:
        return self.to("cuda" if device is None else device_of(device))

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: see `mt.compile`."""

    # ---- hooks -----------------------------------------------------------------------

    def register_forward_pre_hook(self, hook: Hook, *, prepend: bool = False,
                                  with_kwargs: bool = False) -> Handle:  # fmt: skip
        """Call hook(module, args) before forward; what it returns replaces the arguments.

        With `with_kwargs`, hook(module, args, kwargs), which returns both or None.
        """
        return added(Module, self._forward_pre_hooks, hook, prepend, with_kwargs=with_kwargs)

    def register_forward_hook(self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False,
                              always_call: bool = False) -> Handle:  # fmt: skip
        """Call hook(module, args, result) after forward; what it returns replaces the result.

        With `with_kwargs`, hook(module, args, kwargs, result). With `always_call` it is called
        where the call fails, too, with the result that there is: None, if forward failed.
        """
        about = {"with_kwargs": with_kwargs, "always": always_call}
        return added(Module, self._forward_hooks, hook, prepend, **about)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call hook(module, grad_input, grad_output) when the gradients of a call are known.

        Both are tuples, of the positional arguments and of the results, with None for what has no
        gradient. What the hook returns replaces grad_input.
        """
        return added(Module, self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call hook(module, grad_output) before; what it returns replaces grad_output."""
        return added(Module, self._backward_hooks, hook, prepend, before=True)

    def register_state_dict_pre_hook(self, hook: Hook) -> Handle:
        """Call hook(module, prefix, keep_vars) before a `state_dict()` is made."""
        return self._add_hook("_before_saving", hook)

    def register_state_dict_post_hook(self, hook: Hook) -> Handle:
        """Call hook(module, state_dict, prefix, {}) afterwards; it may change the dict."""
        return self._add_hook("_after_saving", hook)

    _register_state_dict_hook = register_state_dict_post_hook  # its older name

    def register_load_state_dict_pre_hook(self, hook: Hook) -> Handle:
        """Call hook(module, state_dict, prefix, {}, strict, missing_keys, unexpected_keys, errors)
        before a state is loaded.

        It gets a copy of the dict, which it may change: to rename the keys under `prefix`, say.
        """
        return self._add_hook("_before_loading", hook)

    def _add_hook(self, registry, hook):
        return Handle(self.__dict__.setdefault(registry, {}), hook)

    def _register_load_state_dict_pre_hook(self, hook, with_module=False):  # its older form
        with_it = hook if with_module else lambda module, *args: hook(*args)
        return self.register_load_state_dict_pre_hook(with_it)

    def register_load_state_dict_post_hook(self, hook: Hook) -> Handle:
        """Call hook(module, (missing_keys, unexpected_keys)) after a state was loaded."""
        return self._add_hook("_after_loading", hook)

    def register_backward_hook(self, hook: Hook) -> Handle:
        """`register_full_backward_hook` by its older name; results may be changed in place here."""
        return added(Module, self._backward_hooks, hook, False, older=True)

    def has_hooks(self) -> bool:
        """True if hooks are registered on its calls."""
        return bool(self._forward_pre_hooks or self._forward_hooks or self._backward_hooks)

    # ---- showing it ------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The settings that repr() shows besides the module's name and its modules."""
        return ""

    def _get_name(self):
        return type(self).__name__

    def __repr__(self) -> str:
        return tree(self._get_name(), self.extra_repr(), self._modules.items())
