"""Load a state into a module; one error lists all that is missing, unexpected or wrong."""

from collections import OrderedDict, namedtuple
from collections.abc import Mapping

import numpy as np

from ..autograd.in_place import write_array
from ..tensor import Tensor
from ..tensor.creation import as_tensor

TENSORS = (Tensor, np.ndarray, np.generic, bool, int, float)  # what a state may hold as one


class _IncompatibleKeys(namedtuple("_IncompatibleKeys", "missing_keys unexpected_keys")):
    """The missing and the unexpected keys of a `load_state_dict`."""

    def __repr__(self):
        return super().__repr__() if any(self) else "<All keys matched successfully>"


def load(root, state_dict, strict, assign):
    """`Module.load_state_dict` of the module `root`."""
    if not isinstance(state_dict, Mapping):
        kind = type(state_dict).__name__
        raise TypeError(f"load_state_dict: a dict of tensors by name is needed, got {kind}")
    state_dict, missing, unexpected, errors = OrderedDict(state_dict), [], [], []
    for path, module in list(root.named_modules(remove_duplicate=False)):
        prefix, found = path and path + ".", (missing, unexpected, errors)
        module._load_from_state_dict(state_dict, prefix, {}, strict, *found)
    modules = list(root.named_modules(remove_duplicate=False))
    own = {_join(path, name): t for path, module in modules for name, t in module._saved()}
    extra = {
        _join(path, "_extra_state"): module
        for path, module in modules
        if module._has_own("set_extra_state")
    }
    state = {k: v for k, v in state_dict.items() if k not in extra}
    unexpected += [k for k in state if k not in own]
    errors += [
        f"{k} is a {type(v).__name__}, the module needs a tensor"
        for k, v in state.items()
        if k in own and not isinstance(v, TENSORS)
    ]
    state = {k: as_tensor(v) for k, v in state.items() if isinstance(v, TENSORS)}
    for key, value in state.items():
        if value.shape == (1,) and key in own and own[key].shape == ():
            state[key] = value[0]  # before version 0.4 of PyTorch all numbers were vectors of one
    _refuse_unfit(root, own, state, errors, missing if strict else [], unexpected if strict else [])
    for key, tensor in own.items():
        if key in state and assign and not _is_part(root, key):
            root._assign(key, state[key])
        elif key in state:
            value = state[key].detach().to(tensor.device, tensor.dtype)
            write_array(tensor._data, value._data, "load_state_dict")
    for key, module in extra.items():
        if key in state_dict:
            module.set_extra_state(state_dict[key])
    found = _IncompatibleKeys(missing, unexpected)
    for module in root.modules():
        for hook in list(module._after_loading.values()):
            hook(module, found)
    return found


def _refuse_unfit(root, own, state, errors, missing, unexpected):
    """Raise RuntimeError that lists all that is wrong if a state does not fit the module."""
    wrong = [
        f"{k} is {tuple(state[k].shape)}, the module needs {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    lines = [("missing", missing), ("unexpected", unexpected), ("shape differs", wrong),
             ("also", errors)]  # fmt: skip
    if any(_quantized_name(k) for k in unexpected):
        lines.append(("how to", [
            "the state is of a quantized model; microtensor.quantization.load_quantized(model, "
            "state) loads it"
        ]))  # fmt: skip
    elif any(_quantized_name(k) for k in missing):
        lines.append(("how to", [
            "the module is quantized and the state is of floats: load it first, then quantize_()"
        ]))  # fmt: skip
    faults = "".join(f"\n  {what}: {', '.join(found)}" for what, found in lines if found)
    if faults:
        raise RuntimeError(
            f"load_state_dict: the state does not fit {type(root).__name__}:{faults}"
        )


def parts_of(name, parts):
    """(name, tensor) for each array that a quantized weight is made of, sharing its memory."""
    return ((f"{name}.{part}", Tensor._wrap(array)) for part, array in parts.items())


def _quantized_name(key):
    return key.endswith((".int8", ".int4"))


def _is_part(root, key):
    """True if a key is that of a part of a quantized weight, which cannot be assigned alone."""
    path, _, name = key.rpartition(".")
    owner, _, weight = path.rpartition(".")
    try:
        weight = root.get_submodule(owner)._parameters.get(weight)
    except AttributeError:
        return False
    return weight is not None and name in (getattr(weight._data, "parts", None) or ())


def _join(path, name):
    return f"{path}.{name}" if path else name
