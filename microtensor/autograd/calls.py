"""Wrong calls answered in words: which function was called, what came in, and what would be right.

`public` wraps a function that users call, `public_class` the constructor of a class. Where
PyTorch's is one of C++, which looks at the kinds of its arguments before it runs, so does ours, by
its type hints (`hints`). For all others a right call pays nothing but the call itself; only when an
error comes out are the arguments looked at. An error that this package raises keeps its words and
gets the name of the function that was called, not of one further in. An error of Python's or of
NumPy's is told anew: the first argument that is not what its parameter takes is named. An error of
the caller's own code, which a hook or a data set may raise, passes as it is.
"""

import functools
import inspect
import math
import opcode
import re
import sys
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any, TypeVar

from .arguments import into, own_names
from .errors import LinAlgError, OutOfMemory, describe
from .hints import Parameters, is_array, is_tensor, takes

ROOT = "microtensor"
WRONG = (  # what the body of an operation raises for wrong arguments
    ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, MemoryError, AttributeError,
)  # fmt: skip
NEUTRAL = frozenset(sys.stdlib_module_names) | {"numpy", "numba", "llvmlite", "array_api_strict"}
PASSED = (OSError, StopIteration, RecursionError, Warning, ImportError, EOFError)
_RAISE = opcode.opmap["RAISE_VARARGS"]
_NAME = re.compile(r"([A-Za-z_][\w.]*): ")
names = {"Module.to"}  # what an error may begin with: functions, classes, operations


F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def public(function: F, name: str = "", strict: bool = False, inputs: tuple = ()) -> F:
    """A function whose errors are told in its name, ".step" standing for a method of any class.

    With `strict` its arguments are looked at before it runs, as PyTorch's functions in C++ do. A
    function of tensors, whose `inputs` are named, takes them by all the names that they have.
    """
    name = name or function.__name__
    if getattr(function, "tells", "") == name:
        return function
    names.add(name)
    known = None

    @functools.wraps(function)
    def call(*args, **named):
        nonlocal known
        try:
            if strict:
                if known is None:
                    known = Parameters(function)
                if inputs and named:
                    if "out" in named:
                        return into(named.pop("out"), call(*args, **named), args)
                    named = own_names(named, known, inputs)
                check(known, args, named)
            return function(*args, **named)
        except Exception as error:
            who = (type(args[0]).__name__ + name).rstrip(".") if name[0] == "." and args else name
            raise call_error(who, function, args, named, error)  # noqa: B904  (call_error knows the cause)

    call.tells, call.strict = name, strict
    return call


def check(known, args, named, name=None):
    """Raise TypeError for the first argument that is not what its parameter takes."""
    for value, types in zip(args, known.types):
        if types is not None and type(value) not in types:
            _look(known, args, named, name)
            return
    for key in named:
        wanted = known.get(key)
        if wanted is not None and type(named[key]) not in wanted.types:
            _look(known, args, named, name)
            return


def _look(known, args, named, name):
    for key, value in (*zip(known.names, args), *named.items()):
        wanted = known.get(key)
        if wanted is not None and type(value) not in wanted.types and not wanted.holds(value):
            text = f"{key} must be {wanted.words}, got {describe([value])}"
            raise TypeError(f"{name}: {text}" if name else text)


def known_by_all_names(function: F) -> F:
    """A function of tensors that takes its arguments by all those names."""
    if hasattr(function, "op_name") or isinstance(function, type):  # an operation does so itself
        return function
    code = inspect.unwrap(function).__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return public(function, strict=True, inputs=known[:2])


def public_class(cls):
    """Let a class's constructor, its own or an inherited one, tell errors in the class's name."""
    names.add(cls.__name__)
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if inspect.isfunction(owner.__init__):
        owner.__init__ = public(owner.__init__, ".")


def public_methods(cls, wanted, of_class=True):
    """Let methods tell errors as "Class.method", or, looked at first, by their names alone."""
    for name in wanted.split():
        owner = next(base for base in cls.__mro__ if name in vars(base))
        method = vars(owner)[name]
        method = public(method, f".{name}") if of_class else public(method, name, strict=True)
        setattr(owner, name, method)


def public_names(place, wanted, strict=False):
    """Wrap those of a dict's functions and classes that have one of these names."""
    for name in wanted:
        value = place[name]
        if inspect.isclass(value):
            public_class(value)
        elif callable(value) and not hasattr(value, "op_name"):
            place[name] = public(value, name, strict)


# ---- operators -----------------------------------------------------------------------

ANSWERED = frozenset({str, bytes, bytearray, list, tuple, dict, set, frozenset, complex})


def as_operator(operation: T, reflected: str) -> T:
    """The form of an operation that is an operator: NotImplemented leaves it to the other side.

    That is so where the other side is no number or array, and its class has the method `reflected`.
    It is the same code as the operation's, so that it takes the same time.
    """
    function: Any = operation
    code = function.__code__
    cells = [CellType(reflected) if variable == "reflected" else cell
             for variable, cell in zip(code.co_freevars, function.__closure__)]  # fmt: skip
    form = FunctionType(code, function.__globals__, function.__name__, None, tuple(cells))
    made: Any = functools.update_wrapper(form, function)
    return made


def has_own(value, method):
    """True if a value that no operation takes has a method of its own, such as __rmul__."""
    own = getattr(type(value), method, None)
    known = own is None or own is getattr(object, method, None) or type(value) in ANSWERED
    return not known and not is_operand(value)


def is_operand(value):
    """True if operations take a value: a number, a tensor or another array."""
    return isinstance(value, (int, float)) or is_array(value)


# ---- errors of operations -------------------------------------------------------------


def op_error(call, args, error, params=None):
    """The error of an operation's body again, saying which operation it was and what came in."""
    if getattr(error, "from_op", False):
        return error
    new = None
    if origin(error) == "python" and not isinstance(error, OverflowError):
        new = _unfit(call, args, params or {}, error)
    if new is None:
        inputs = args if call.variadic else args[: len(call.input_names)]
        kind, reason = _reason(error)
        new = kind(f"{call.op_name}: {reason}; got {describe(inputs)}")
    new.from_op = True
    return new


def _unfit(call, args, params, error):
    """The error for arguments that are not what the operation takes, None for others."""
    if isinstance(error, MemoryError):
        return no_memory(call.op_name, error)
    signature = inspect.signature(call.function)
    try:
        given = dict(signature.bind(*args, **params).arguments)
    except TypeError as unbound:
        return TypeError(f"{call.op_name}: {unbound}; it takes {_shown(call.function)}")
    inputs, of_shapes = set(call.input_names), isinstance(error, ValueError)
    given = {  # an input may be a tensor, and with a ValueError nothing is wrong with a None
        name: value
        for name, value in given.items()
        if not (name in inputs and is_tensor(value) or of_shapes and value is None)
    }
    wrong = culprit(signature, given)
    if wrong:
        return wrong[0](f"{call.op_name}: {wrong[1]}; got {describe(args)}")
    reason = str(error)
    if "numpy boolean" in reason or "ufunc" in reason or "broadcast" in reason:
        return None
    if isinstance(error, IndexError) or type(error).__name__ == "LinAlgError":
        return None
    return explained(call.op_name, call.function, args, params, error)


def _reason(error):
    """(kind, words) of an error that was raised with words of its own, or by NumPy for shapes."""
    kind = next((k for k in (IndexError, TypeError, OverflowError) if isinstance(error, k)),
                RuntimeError)  # fmt: skip
    if type(error).__name__ == "LinAlgError":  # NumPy's, or another array library's
        kind = LinAlgError
    reason = str(error).split("\n")[0]
    if begins := _NAME.match(reason):
        reason = reason[begins.end() :] if begins[1] in names else reason
    if "numpy boolean" in reason:
        kind = RuntimeError
    elif "ufunc" in reason:  # NumPy has no such loop for these dtypes
        kind, reason = NotImplementedError, "it is not there for this dtype"
    if outside := re.match(r"axis (\S+) is out of bounds for array of dimension (\d+)", reason):
        n = max(int(outside[2]), 1)
        reason = (
            f"dimension {outside[1]} is out of range: a tensor of {outside[2]} has {-n} to {n - 1}"
        )
    elif "out of bounds for axis" in reason:
        reason = reason.replace("out of bounds for axis", "out of range for dimension")
    elif "too many indices" in reason:
        reason = "there are more indices than dimensions"
    if "could not be broadcast" in reason:
        reason = "the sizes must be equal or 1, counted from the last dimension"
    return kind, reason


# ---- errors in the name of the call ---------------------------------------------------


def call_error(name, function, args, named, error, kept=()):
    """The error of a call in the name of the function; names in `kept` may stay as they are."""
    whose = origin(error)
    if isinstance(error, PASSED) or whose == "caller":
        return error
    if whose == "ours":
        first = getattr(error, "first", None)
        if first is not None and kept is not names:  # named further in
            new = explained(name, function, args, named, first)
            if not new.vague:
                return new
            if error.vague:
                error.args = new.args
                return error
        return _renamed(name, error, kept)
    return explained(name, function, args, named, error)


def origin(error):
    """The origin of an error: the "caller"'s code, this package ("ours"), or "python" for it."""
    trace = error.__traceback__.tb_next
    if trace is None:  # the call itself: arguments that the function does not have
        return "python"
    while True:
        place = trace.tb_frame.f_globals.get("__name__", "").partition(".")[0]
        if place != ROOT and place not in NEUTRAL:
            return "caller"
        if trace.tb_next is None:
            code = trace.tb_frame.f_code.co_code
            raised = place == ROOT and code[trace.tb_lasti] == _RAISE
            return "ours" if raised else "python"
        trace = trace.tb_next


def _renamed(name, error, kept):
    if not error.args or not isinstance(error.args[0], str):
        return error
    text = error.args[0]
    begins = _NAME.match(text)
    if begins and begins[1] in names:
        if begins[1] in (name, name.partition(".")[0]) or begins[1] in kept:
            return error
        text = text[begins.end() :]
    error.args = (f"{name}: {text}", *error.args[1:])
    return error


def explained(name, function, args, named, error):
    """A new error for one in Python's or NumPy's words: which argument is wrong, or all of them."""
    new = _explained(name, function, args, named, error)
    new.__cause__ = new.first = error
    return new


def _explained(name, function, args, named, error):
    if isinstance(error, MemoryError):
        return no_memory(name, error)
    try:
        signature = inspect.signature(function)
        given = signature.bind(*args, **named).arguments
    except (TypeError, ValueError) as unbound:
        return _clear(TypeError, f"{name}: {unbound}; it takes {_shown(function)}")
    wrong = culprit(signature, given)
    if wrong:
        return _clear(wrong[0], f"{name}: {wrong[1]}")
    came = ", ".join(
        f"{key} {describe([value])}" for key, value in given.items() if key not in ("self", "_")
    )
    text = f"{name}: these arguments do not go together, got {came or 'none'}; it takes "
    return _clear(_kind(error, given), text + _shown(function), vague=True)


def _clear(kind, text, vague=False):
    new = kind(text)
    new.vague = vague
    return new


def no_memory(name, error):
    shape, kind = getattr(error, "shape", None), getattr(error, "dtype", None)
    if shape is None:
        return _clear(OutOfMemory, f"{name}: there is not enough memory")
    size = math.prod(shape) * kind.itemsize
    return _clear(
        OutOfMemory,
        f"{name}: there is not enough memory for {size} bytes: shape {tuple(shape)}, {kind}",
    )


def _shown(function):
    shown = [str(p).split(":")[0] for p in inspect.signature(function).parameters.values()]
    return "(" + ", ".join(n for n in shown if n != "self") + ")"


def _kind(error, given):
    """PyTorch's kind of an error that Python or NumPy raised."""
    if isinstance(error, (TypeError, AttributeError)):
        return TypeError
    for kind in (IndexError, KeyError, NotImplementedError):
        if isinstance(error, kind):
            return kind
    if isinstance(error, ValueError) and not any(map(_holds_tensors, given.values())):
        return ValueError
    return RuntimeError


# ---- which argument is wrong -----------------------------------------------------------


def _holds_tensors(value):
    return is_tensor(value) or isinstance(value, (list, tuple)) and any(map(is_tensor, value))


def culprit(signature, given):
    """(kind of error, words) for the first argument that is not what its parameter takes."""
    for key, value in given.items():
        parameter = signature.parameters[key]
        wanted = takes(parameter)
        if parameter.kind is parameter.VAR_KEYWORD or wanted is None:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            value = value[0] if len(value) == 1 else value
        if value is not parameter.default and not wanted.holds(value):
            return TypeError, f"{key} must be {wanted.words}, got {describe([value])}"
    return _out_of_range(given)


def _out_of_range(given):
    """The same for a dimension that no tensor of the call has, and for sizes below 0."""
    dims = [getattr(v, "ndim", 0) for v in given.values() if is_tensor(v)]
    for key in ("dim", "dims", "dim0", "dim1"):
        if dims and key in given and given[key] is not None:
            several = given[key] if isinstance(given[key], (list, tuple)) else [given[key]]
            room = max(dims[0], 1)
            wrong = [d for d in several if not isinstance(d, int) or not -room <= d < room]
            if wrong:
                return IndexError, (
                    f"dimension {wrong[0]} is out of range: a tensor of {dims[0]} has "
                    f"{-room} to {room - 1}"
                )
            if len({d % room for d in several}) < len(several):
                return RuntimeError, f"{key} has a dimension twice, got {tuple(several)}"
    return None
