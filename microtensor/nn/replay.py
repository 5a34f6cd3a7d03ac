"""A computation without its program: the operations of one call, done again with other inputs.

A model that writes a text does the same operations for every token. Python finds out each time
which ones: it goes from module to module, looks up parameters, checks shapes. A `Replay` writes the
operations of one call down and does them again without asking: what is left is arithmetic.
"""

from functools import partial
from operator import itemgetter

from ..autograd import TensorBase
from ..backends import backend_of
from ..backends.promotion import promoted
from ..backends.quiet import quiet
from ..errors import op_error
from ..modes import mode
from .module import Module


class Replay:
    """`function` of tensors, made of `module`: called once, then replayed from its operations.

    Only for a function that does the same whatever its inputs hold: every number and every branch
    stays as it was in the first call. Parameters and buffers of the module are read anew each time.

    The function itself runs for inputs of another shape or dtype, after a part or a hook of a
    module came or went, with gradients or autocast, and where something cannot be replayed;
    `refused` says what, or is None. That a module is now trained or evaluated goes unnoticed.
    """

    def __init__(self, module, function):
        self.module, self.function, self.refused = module, function, None
        self._like = self._revision = None

    def __call__(self, *inputs):
        like = [(t._data.shape, t._data.dtype) for t in inputs]
        if mode.watched or mode.recording or mode.autocast:
            return self.function(*inputs)
        if like != self._like or self._revision != Module.revision:
            return self._record(inputs, like)
        return self.function(*inputs) if self.refused else self._replay(inputs)

    @quiet
    def _replay(self, inputs):
        slots = self._slots.copy()
        slots[: len(inputs)] = [t._data for t in inputs]
        for slot, tensor in self._outside.items():
            slots[slot] = tensor._data
        try:
            for call, function, take, give in self._steps:  # noqa: B007 — an error names the call
                slots[give] = function(*take(slots))[0]
        except (ValueError, IndexError, TypeError, RuntimeError) as error:
            raise op_error(call, take(slots), error) from error
        return inputs[0]._wrap(slots[self._end])

    # ---- writing down ----------------------------------------------------------------

    def _record(self, inputs, like):
        self._like = None  # until the function has come to its end
        listening = any(module.has_hooks() for module in self.module.modules())
        self.refused = "a hook listens" if listening else None
        self._slots, self._steps = [], []  # (what was called, its body, slots to take and to give)
        self._outside = {}  # {slot: a parameter or buffer}
        self._place, self._kept = {}, []  # {id of a tensor: its slot}, and the tensors
        self._own = {id(t) for t in (*self.module.parameters(), *self.module.buffers())}
        for t in inputs:
            self._made(t)
        mode.set(tape=self)
        try:
            value = self.function(*inputs)
        finally:
            mode.set(tape=None)
        self._end = self._place.get(id(value))
        if self._end is None:
            self.refuse("the value is not what an operation gave")
        self._place = self._kept = self._own = None
        self._like, self._revision = like, Module.revision
        return value

    def refuse(self, reason):
        """What happens while the function runs cannot be replayed."""
        self.refused = self.refused or reason

    def note(self, call, function, inputs, results):
        """A step: function(*arrays of the inputs)[0] gives the results, a tensor or a tuple."""
        taken = [self._slot(i) for i in inputs]
        # Of one slot a slice, which gives a list, where a number would give the array itself.
        take = itemgetter(*taken) if len(taken) > 1 else itemgetter(slice(taken[0], taken[0] + 1))
        if type(results) is tuple:
            given = [self._made(r) for r in results]
            give = slice(given[0], given[-1] + 1)
        else:
            give = self._made(results)
        self._steps.append((call, function, take, give))

    def operation(self, call, args, params, arrays, results):
        """An operation was called with `args`, its body with `arrays`."""
        n = len(args) if call.variadic else len(call.input_names)
        function, inputs = call.function, list(arrays)
        for i, a in enumerate(args[:n]):
            if isinstance(a, TensorBase):
                inputs[i] = a
                if a._data is not arrays[i]:
                    function = partial(_promoting, call)
        if any(map(_holds_array, (*args[n:], *params.values()))):
            self.refuse(f"{call.op_name} has an array among its parameters")
        if any(not r._data.shape for r in (results if type(results) is tuple else (results,))):
            function = partial(_with_arrays, function)
        self.note(call, partial(function, **params) if params else function, inputs, results)

    def _made(self, tensor):
        """The slot of a new tensor."""
        self._kept.append(tensor)  # so that no other one gets its id
        self._place[id(tensor)] = slot = len(self._slots)
        self._slots.append(None)
        return slot

    def _slot(self, value):
        """The slot where a step finds an input."""
        if not isinstance(value, TensorBase):
            if _holds_array(value):
                self.refuse("an array comes from outside")
            self._slots.append(value)
            return len(self._slots) - 1
        if id(value) not in self._place:
            if id(value) not in self._own:
                self.refuse(
                    f"a tensor of shape {tuple(value.shape)} is no input, no parameter, no buffer "
                    "and nothing that an operation gave"
                )
            self._outside[self._made(value)] = value
        return self._place[id(value)]


def _promoting(call, *arrays, **params):
    """The body of an operation, whose inputs get one dtype first."""
    n = len(arrays) if call.variadic else len(call.input_names)
    return call.function(*promoted(arrays[:n], call.promote), *arrays[n:], **params)


def _with_arrays(function, *arrays, **params):
    """The body of an operation, whose value may be a number where a tensor holds an array."""
    value, _ = function(*arrays, **params)
    if type(value) is tuple:
        return tuple([backend_of(v).array(v) for v in value]), None
    return backend_of(value).array(value), None


def _holds_array(value):
    """Whether a parameter is, or has in it, what may have been computed from the inputs."""
    if isinstance(value, (tuple, list)):
        return any(map(_holds_array, value))
    return isinstance(getattr(value, "shape", None), tuple)
