"""Hooks on saved tensors: what a node saves is packed when it is recorded, and unpacked to be used.

What an operation saves are the arrays in the closures of its pullbacks. Under a hook they are taken
out of the closures, and put back into copies of them each time the pullbacks run.
"""

from types import CellType, FunctionType

from .base import TensorBase, looked_at
from .modes import Switch, enable_grad, mode
from .saved import NEVER, changes, check_inference, forms
from .views import memory_of


class saved_tensors_hooks(Switch):
    """Give each tensor that is saved for a derivative to `pack_hook`; `unpack_hook` gives it back.

    Of operations these are the arrays in the closures of pullbacks, and what `save_for_backward`
    keeps. Arrays that a pullback holds in objects of other kinds stay as they are.
    """

    def __new__(cls, *args, **kwargs):
        return super(Switch, cls).__new__(cls)

    def __init__(self, pack_hook, unpack_hook) -> None:
        self.modes = {"packing": (pack_hook, unpack_hook)}

    def __enter__(self) -> None:
        if mode.packing_refused is not None:
            raise RuntimeError(mode.packing_refused)
        looked_at.append(True)
        super().__enter__()


class save_on_cpu(saved_tensors_hooks):
    """Keep what is saved for derivatives in the memory of the CPU."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(
            lambda t: (t.device, t.detach().to("cpu")), lambda kept: kept[1].to(kept[0])
        )


class disable_saved_tensors_hooks(Switch):
    """Let `saved_tensors_hooks` raise RuntimeError with this message."""

    def __init__(self, error_message: str) -> None:
        self.modes = {"packing_refused": error_message}


class Packed:
    """A tensor that a hook has packed."""

    __slots__ = ("kept", "unpack")

    def __init__(self, tensor):
        pack, self.unpack = mode.packing
        before = changes.newest
        self.kept = pack(tensor)
        if changes.get(id(memory_of(tensor._data)), NEVER)[1] > before:
            raise RuntimeError("saved_tensors_hooks: pack_hook must not change its tensor in place")

    def tensor(self):
        """What the hook gives back."""
        tensor = self.unpack(self.kept)
        if not isinstance(tensor, TensorBase):
            raise TypeError(
                f"saved_tensors_hooks: unpack_hook returns a Tensor, got {type(tensor).__name__}"
            )
        return tensor


class PackedPullback:
    """A pullback whose saved arrays are packed. It runs on them, or the operation's body anew."""

    __slots__ = ("args", "edges", "index", "op", "params", "template")

    def __init__(self, node, index, template, args):
        self.op, self.params, self.edges = node.op, node.params, node.edges
        self.index, self.template, self.args = index, template, args

    def __call__(self, g):
        if not any(isinstance(one, TensorBase) for one in (g if type(g) is tuple else (g,))):
            return _mapped(self.template, _Place, lambda place: place.packed.tensor()._data)(g)
        args = list(self.args)  # differentiated again: the body runs on tensors
        for i, a in enumerate(args):
            if isinstance(a, Packed):
                args[i] = a.tensor()._alias(self.edges[i])
        with enable_grad():
            pulls = self.op.compute(*args, **self.params)[1]
        return (pulls if self.index is None else pulls[self.index])(g)


class _Place:
    """Where in a closure a packed array was."""

    def __init__(self, packed):
        self.packed = packed


def look_at(node, wrap):
    """Do with a new node what inference_mode and saved_tensors_hooks ask for."""
    check_inference(node)
    if mode.packing is not None:
        pack(node, wrap)


def pack(node, wrap):
    """Let a new node keep what the hook makes of the arrays that its pullbacks save."""
    inputs = {id(a._data): i for i, a in enumerate(node.args) if isinstance(a, TensorBase)}
    args, found = list(node.args), False

    def packed(array):
        nonlocal found
        found, i = True, inputs.get(id(array))
        place = _Place(Packed(wrap(array) if i is None else node.args[i]))
        if i is not None and i < len(node.edges):
            args[i] = place.packed
        return place

    pulls = node.pullback
    if callable(pulls):
        templates = [(None, _mapped(pulls, _is_array, packed))]
    else:
        templates = [(i, pull and edge and _mapped(pull, _is_array, packed))
                     for i, (pull, edge) in enumerate(zip(pulls, node.edges))]  # fmt: skip
    if not found:
        return
    node._forms = forms(node)
    made = tuple(t and PackedPullback(node, i, t, args) for i, t in templates)
    node.pullback = made[0] if callable(pulls) else made
    node.args = ()  # what is not packed is held by the pullbacks


def _is_array(value):
    return isinstance(getattr(value, "shape", None), tuple) and not isinstance(value, TensorBase)


def _mapped(value, wanted, function, depth=8):
    """A value with function(part) in place of each part that is wanted, within closures, too."""
    if isinstance(value, wanted) if isinstance(wanted, type) else wanted(value):
        return function(value)
    if not depth or type(value) not in (FunctionType, tuple, list):
        return value
    if type(value) is not FunctionType:
        return type(value)(_mapped(part, wanted, function, depth - 1) for part in value)
    cells = []
    for cell in value.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # a variable that has no value yet
            cells.append(cell)
            continue
        new = _mapped(content, wanted, function, depth - 1)
        cells.append(cell if new is content else CellType(new))
    defaults = value.__defaults__ and _mapped(value.__defaults__, wanted, function, depth - 1)
    return FunctionType(value.__code__, value.__globals__, value.__name__, defaults, tuple(cells))
