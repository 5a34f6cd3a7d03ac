"""A computation without its program: the operations of one call, done again with other inputs.

A model that writes a text does the same operations for every token. Python finds out each time
which ones: it goes from module to module, looks up parameters, checks shapes. A `Replay` writes the
operations of one call down and does them again without asking: what is left is arithmetic.
"""

from functools import partial
from operator import attrgetter, is_

from ..autograd import TensorBase
from ..backends import backend_of
from ..backends.promotion import promoted
from ..backends.quiet import quiet
from ..errors import describe, op_error
from ..modes import mode
from .module import Module


class Replay:
    """`function` of tensors, made of `module`: called once, then replayed from its operations.

    Only for a function that does the same whatever its inputs hold: every number, every branch and
    every shape stays as it was in the first call, and so does what the function keeps besides. The
    memory of that call is written again, so it is for one thread at a time; the value is the
    caller's own.

    The function itself runs for inputs of another shape or dtype, after a part, a hook or the
    memory of a parameter came or went, with gradients or autocast, and where something cannot be
    replayed; `refused` says what, or is None. That a module is now trained or evaluated goes
    unnoticed.
    """

    def __init__(self, module, function):
        if not isinstance(module, Module):
            raise TypeError(f"Replay: a Module is needed, got {type(module).__name__}")
        self.module, self.function, self.refused = module, function, None
        self._like = self._revision = None
        self._outside = self._memories = ()

    def __call__(self, *inputs):
        if mode.watched or mode.recording or mode.autocast:
            return self.function(*inputs)
        try:
            like = [(t._data.shape, t._data.dtype) for t in inputs]
        except AttributeError:
            raise TypeError(f"Replay: Tensors are needed, got {describe(inputs)}") from None
        if (
            like != self._like
            or self._revision != Module.revision
            or not all(map(is_, map(_memory, self._outside), self._memories))
        ):
            return self._record(inputs, like)
        return self.function(*inputs) if self.refused else self._replay(inputs)

    @quiet
    def _replay(self, inputs):
        for own, given in zip(self._inputs, inputs):
            own._data[...] = given._data
        try:
            for run, call, arrays in self._steps:  # noqa: B007 — an error names the call
                run()
        except (ValueError, IndexError, TypeError, RuntimeError) as error:
            if not hasattr(call, "op_name"):  # a cache's, which says so itself
                raise
            raise op_error(call, arrays, error) from error
        return _copy(self._value)

    # ---- writing down ----------------------------------------------------------------

    def _record(self, inputs, like):
        self._like = None  # until the function has come to its end
        self._inputs = [_copy(t) for t in inputs]
        self._steps = []  # (what computes it anew, what was called, with which arrays)
        self._made = {id(t): t for t in self._inputs}  # also kept, so that no other gets its id
        modules = list(self.module.modules())
        self._own = {
            id(t): t for m in modules for t in (*m._parameters.values(), *m._buffers.values())
        }
        self._outside, self._memories = [], []  # parameters and buffers, and their arrays
        self.refused = "a hook listens" if any(m.has_hooks() for m in modules) else None
        self._changed, self._revision = False, Module.revision
        mode.set(tape=self)
        try:
            self._value = value = self.function(*self._inputs)
        finally:
            mode.set(tape=None)
            if self._changed:
                for given, own in zip(inputs, self._inputs):
                    given.copy_(own)
        if id(value) not in self._made:
            self.refuse("the value is not what an operation gave")
        if self._revision != Module.revision:
            self.refuse("a part of a module came or went")
        self._made = self._own = None
        self._like, self._revision = like, Module.revision
        return value if self.refused else _copy(value)

    def refuse(self, reason):
        """What happens while the function runs cannot be replayed."""
        self.refused = self.refused or reason

    def changed(self, by):
        """A tensor was changed in place, by the operation of this name."""
        self.refuse(f"{by} changes a tensor in place")
        self._changed = True

    def note(self, call, function, inputs, results, plan=None):
        """A step: function(*arrays of the inputs)[0] gives the results, a tensor or a tuple.

        `plan()`, if there is one, writes them anew where they are.
        """
        arrays = [self._array(i) for i in inputs]
        results = results if type(results) is tuple else (results,)
        self._made.update((id(r), r) for r in results)
        values = [r._data for r in results]
        if not all(_shows(v, arrays) for v in values):
            self._steps.append((plan or partial(_again, function, arrays, values), call, arrays))

    def operation(self, call, args, params, arrays, results):
        """An operation was called with `args`, its body with `arrays`."""
        n = len(args) if call.variadic else len(call.input_names)
        function, inputs, plan = call.function, list(arrays), None
        for i, a in enumerate(args[:n]):
            if isinstance(a, TensorBase):
                inputs[i] = a
                if a._data is not arrays[i]:
                    function = partial(_promoting, call)
        if any(map(_holds_array, (*args[n:], *params.values()))):
            self.refuse(f"{call.op_name} has an array among its parameters")
        if mode.recording or mode.autocast:
            self.refuse("gradients, or autocast, are switched on within")
        if function is call.function and type(results) is not tuple:
            value = results._data
            plan = backend_of(value).planned(call.op_name, arrays[:n], value, arrays[n:], params)
        self.note(call, partial(function, **params) if params else function, inputs, results, plan)

    def _array(self, value):
        """The memory where a step finds an input."""
        if not isinstance(value, TensorBase):
            if _holds_array(value):
                self.refuse("an array comes from outside")
            return value
        if id(value) in self._own:
            self._outside.append(value)
            self._memories.append(value._data)
        elif id(value) not in self._made:
            self.refuse(
                f"a tensor of shape {tuple(value.shape)} is no input, no parameter, no buffer "
                "and nothing that an operation gave"
            )
        return value._data


_memory = attrgetter("_data")


def _again(function, arrays, values):
    """Compute values of an operation anew, and write them where they were."""
    news, _ = function(*arrays)
    for value, new in zip(values, news if type(news) is tuple else (news,)):
        if new.shape != value.shape:
            raise RuntimeError(f"the first call gave shape {value.shape}, this one {new.shape}")
        value[...] = new


def _promoting(call, *arrays, **params):
    """The body of an operation, whose inputs get one dtype first."""
    n = len(arrays) if call.variadic else len(call.input_names)
    return call.function(*promoted(arrays[:n], call.promote), *arrays[n:], **params)


def _shows(value, arrays):
    """Whether an array is a view of one of others, and so changes with it."""
    if getattr(value, "base", None) is None:
        return False
    memory = backend_of(value).memory
    owner = memory(value)
    return any(memory(a) is owner for a in arrays if hasattr(a, "dtype"))


def _copy(tensor):
    """The same elements in memory of their own."""
    return tensor._wrap(backend_of(tensor._data).asarray(tensor._data, copy=True))


def _holds_array(value):
    """Whether a parameter is, or has in it, what may have been computed from the inputs."""
    if isinstance(value, (tuple, list)):
        return any(map(_holds_array, value))
    return isinstance(getattr(value, "shape", None), tuple)
