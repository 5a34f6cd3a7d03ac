"""Saved tensors: whether an array that a pullback holds was changed in place since.

PyTorch counts versions of each tensor. Here a change in place gets a sequence number, from the same
counter as the nodes: what was changed after the node was recorded cannot be used by its pullbacks.
"""

import functools
import inspect
import weakref
from types import FunctionType

from ..backends import backend_of_type
from ..backends.dtypes import dtype
from ..backends.promotion import promoted
from .base import TensorBase, sequence
from .errors import called_in
from .modes import mode
from .views import memory_of


class _Changes(dict):
    """{id of the array that owns memory: (weak reference, sequence number, by what, count)}"""

    newest = 0  # the sequence number of the last change in place


changes = _Changes()
NEVER = None, 0, "", 0
OF_VIEWS = {"linear"}  # saves a view of the weight in PyTorch, so that new `data` changes nothing


def changed(array, by):
    """Note that the operation `by` has changed `array` in place."""
    if mode.tape is not None:
        mode.tape.refuse(f"{by} changes a tensor in place")
    owner = memory_of(array)
    key = id(owner)
    ref, _, _, count = changes.get(key, NEVER)
    if ref is None or ref() is not owner:
        count = 0
        ref = weakref.ref(owner, functools.partial(changes.pop, key))  # no signal gets in between
    changes.newest = number = next(sequence)
    changes[key] = (ref, number, by, count + 1)


def version(array):
    """How often the memory of an array was changed in place, as far as that was noted."""
    return changes.get(id(memory_of(array)), NEVER)[3]


def replace(tensor, array):
    """tensor.data = array. Pullbacks that saved what the tensor was use what it is now."""
    number = next(sequence)
    earlier = [note for note in tensor._replaced if note[1]() is not None]
    old = tensor._data
    tensor._replaced = (*earlier, (number, weakref.ref(memory_of(old)), tuple(old.shape)))
    tensor._data, changes.newest = array, number


def check_inference(node):
    """Raise RuntimeError if a new node saves a tensor that was made under inference_mode."""
    made = [a for a in node.args if isinstance(a, TensorBase) and a._inference]
    if made:
        saved = [memory_of(array) for array in arrays_in(_used(node))]
        for a in made:
            if any(memory_of(a._data) is memory for memory in saved):
                raise RuntimeError(
                    f"{node.name()}: a tensor made under inference_mode() cannot be saved for the "
                    "derivative; clone() it first, or make it under no_grad()"
                )


def _used(node):
    """The pullbacks of a node that a gradient can need."""
    used = node.pullback
    if callable(used):
        return used
    return [pull for pull, edge in zip(used, node.edges) if edge is not None]


def _with_new_data(node):
    """Let a node's pullbacks use the new `data` of inputs that were given some since."""
    given = [a for a in node.args if isinstance(a, TensorBase) and a._replaced]
    if not given or node.op.op_name in OF_VIEWS:
        return
    owners = [memory_of(array) for array in arrays_in(_used(node))]
    for a in given:
        for when, ref, shape in a._replaced:
            if when > node.number and any(ref() is owner for owner in owners):
                if tuple(a._data.shape) != shape:
                    raise RuntimeError(
                        f"backward: {node.name()} needs an input of shape {shape}, whose data has "
                        f"since been replaced by some of shape {tuple(a._data.shape)}"
                    )
                inputs = [getattr(a, "_data", a) for a in node.args[: len(node.edges)]]
                if node.op.promote:
                    inputs = promoted(inputs, node.op.promote)
                rest = node.args[len(node.edges) :]
                node.pullback = node.op.compute(*inputs, *rest, **node.params)[1]
                return


def check_saved(node, create_graph):
    """Raise RuntimeError if a pullback of the node would use an array that was changed since."""
    node.args = tuple(_args_before_reshapes(node))
    _with_new_data(node)
    given = {id(memory_of(a._data)): a._replaced[-1][0]
             for a in node.args if isinstance(a, TensorBase) and a._replaced}  # fmt: skip
    saved = arrays_in(_used(node))
    if create_graph and saved:  # the body runs again, on the inputs
        saved += arrays_in(node.args)
    for array in saved:
        check_array(node, array, given.get(id(memory_of(array)), 0))


def check_array(node, array, since=0):
    """Raise RuntimeError if an array was changed after a node was recorded that needs it."""
    if changes.newest > node.number:
        owner = memory_of(array)
        _, number, by, _ = changes.get(id(owner), NEVER)
        if number > max(node.number, since):
            inputs = [
                f"its input {name!r}"
                for name, a in zip(node.op.input_names, node.args or ())
                if isinstance(a, TensorBase) and memory_of(a._data) is owner
            ]
            raise RuntimeError(
                f"backward: {node.name()} needs {inputs[0] if inputs else 'its result'}, a tensor "
                f"of shape {tuple(array.shape)} and dtype {array.dtype}, which {by} has since "
                f"changed in place{called_in(node.caller)}; change a copy instead (clone(), or the "
                "operation without the underscore)"
            )


def _args_before_reshapes(node):
    """The arguments of a node; an input that was reshaped in place since, in its former shape."""
    for i, a in enumerate(node.args):
        reshapes = a._reshapes if isinstance(a, TensorBase) else ()
        array = next((array for until, _, array in reshapes if node.number < until), None)
        if array is not None and i < len(node.edges):
            a = a._alias(node.edges[i])
            a._data = array
        yield a


class Form:
    """The shape and dtype of an array that is not held any more."""

    __slots__ = ("shape", "dtype", "backend")

    def __init__(self, shape, dtype, kind):
        self.shape, self.dtype, self.backend = shape, dtype, backend_of_type(kind)


def forms(node):
    """What makes the Form of each input that has an edge, in tuples: most are never asked for."""
    found = []
    for edge, a in zip(node.edges, node.args):
        array = a._data if edge else None
        found.append(edge and (array.shape, array.dtype, type(array)))
    return found


def without_saved(node):
    """The pullbacks of a node, if they can run again when what they saved is gone; else None.

    Those hold only sizes, names and the like, in their closures and defaults. Of a number among the
    inputs PyTorch saves a tensor. An object that is called says so itself, by `saves = False`, or
    has a method `without_saved`.
    """
    pullback = node.pullback
    for pull in pullback if type(pullback) is tuple else (pullback,):
        if type(pull) is not FunctionType:
            if hasattr(pull, "without_saved"):
                return pull.without_saved()
            if pull is not None and _saves((pull,), ()):
                return None
        elif pull.__closure__ is not None or pull.__defaults__ is not None:
            # first what one look tells, since every node that is freed is asked
            plain, told = PLAIN if len(node.edges) == 1 else NO_NUMBERS, pull.__defaults__ is None
            try:
                for cell in pull.__closure__ or ():
                    part = cell.cell_contents
                    kind = type(part)
                    if kind in _saved:
                        return None
                    if kind not in plain:
                        if kind in NUMBERS and any(part is a for a in node.args):
                            return None
                        told = told and kind is tuple and plain.issuperset(map(type, part))
            except ValueError:  # a variable that has no value yet
                told = False
            if not told and _saves(_held(pull), _numbers(node)):
                return None
    return pullback


def _numbers(node):
    """The numbers among the inputs, where a tensor is among them, too."""
    return [a for a in node.args if type(a) in NUMBERS] if len(node.edges) > 1 else ()


PLAIN = frozenset({type(None), bool, int, float, str, slice, type(...), dtype})
NUMBERS = frozenset({int, float})
NO_NUMBERS = PLAIN - NUMBERS
_saved = set()  # types of what was found to be saved, mostly arrays: so the next is found at once


def _saves(parts, numbers, depth=8):
    for part in parts:
        if type(part) in _saved:
            return True
    for part in parts:
        kind = type(part)
        if kind is FunctionType or kind is tuple or kind is list:
            inner = _held(part) if kind is FunctionType else part
            if not depth or _saves(inner, numbers, depth - 1):
                return True
        elif kind not in PLAIN and getattr(kind, "saves", True):
            _saved.add(kind)
            return True
        elif numbers and any(part is n for n in numbers):
            return True
    return False


def _held(function):
    """The values that a function holds in its closure and its defaults."""
    cells = function.__closure__
    try:
        parts = [cell.cell_contents for cell in cells] if cells else []
    except ValueError:  # a variable that has no value yet
        parts = [_content(cell) for cell in cells]
    return [*parts, *function.__defaults__] if function.__defaults__ else parts


def _content(cell):
    """The value of a closure's variable; None if it has none yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def arrays_in(value, depth=8):
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
        cells = map(_content, value.__closure__ or ())
        parts = (*cells, value.__defaults__, value.__kwdefaults__)
    elif inspect.ismethod(value):
        parts = (value.__func__, vars(value.__self__))
    elif callable(value) and not isinstance(value, type):
        parts = getattr(value, "__dict__", {}).values()
    else:
        return []
    return [found for part in parts if depth for found in arrays_in(part, depth - 1)]
