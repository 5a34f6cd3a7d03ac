"""Saved tensors: whether an array that a pullback holds was changed in place since."""

import functools
import inspect
import weakref

from .base import TensorBase, births
from .errors import called_in
from .modes import mode
from .views import _memory


class _Changes(dict):
    """When the memory of an array was last changed in place: {id: (weak reference, number, by)}."""

    newest = 0


_changes = _Changes()

_NEVER = None, 0, ""


def changed(array, by):
    """Tell the engine that the operation `by` changed `array` in place."""
    if mode.tape is not None:
        mode.tape.refuse(f"{by} changes a tensor in place")
    owner = _memory(array)
    key = id(owner)
    ref = _changes.get(key, _NEVER)[0]
    if ref is None or ref() is not owner:
        ref = weakref.ref(owner, lambda _: _changes.pop(key, None))
    _changes.newest = number = next(births)
    _changes[key] = (ref, number, by)


def _saved(value, depth=8):
    """The arrays that a pullback holds: in its closure, in its defaults, in what they contain."""
    if isinstance(value, TensorBase):
        return [value._data]
    if isinstance(getattr(value, "shape", None), tuple):
        return [value]
    if isinstance(value, (tuple, list)):
        parts = value
    elif isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
    elif inspect.isfunction(value):
        cells = [c.cell_contents for c in value.__closure__ or ()]
        parts = (*cells, value.__defaults__, value.__kwdefaults__)
    elif inspect.ismethod(value):
        parts = (value.__func__, vars(value.__self__))
    elif callable(value) and not isinstance(value, type):
        parts = getattr(value, "__dict__", {}).values()
    else:
        return []
    return [found for part in parts if depth for found in _saved(part, depth - 1)]


def _check_saved(node, pullback):
    """Refuse to differentiate with arrays that were changed after the operation had saved them."""
    for array in _saved(pullback):
        owner = _memory(array)
        _, number, by = _changes.get(id(owner), _NEVER)
        if number > node.number:
            names = [
                f"its input {name!r}"
                for name, a in zip(node.op.input_names, node.args)
                if isinstance(a, TensorBase) and _memory(a._data) is owner
            ]
            raise RuntimeError(
                f"backward: {node.name()} needs {names[0] if names else 'its result'}, a tensor of "
                f"shape {tuple(array.shape)} and dtype {array.dtype}, which {by} has since changed "
                f"in place{called_in(node.caller)}; change a copy instead (clone(), or the "
                "operation without the underscore)"
            )
