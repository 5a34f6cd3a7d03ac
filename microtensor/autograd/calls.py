"""Wrong calls answered in words: which function was called, what came in, and what would be right.

`public` wraps a function that users call, `public_class` the constructor of a class. A right call
pays nothing but the call itself; only when an error comes out are the arguments looked at. An
error that this package raises keeps its words and gets the name of the function that was called,
not of one further in. An error of Python's or of NumPy's is told anew: the first argument that is
not what a parameter of its name takes (`TAKES`) is named. An error of the caller's own code, which
a hook or a data set may raise, passes as it is.
"""

import functools
import inspect
import math
import opcode
import operator
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from ..backends.dtypes import dtype_of
from .arguments import into, own_names
from .errors import LinAlgError, OutOfMemory, describe

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


def public(function: F, name: str | None = None) -> F:
    """A function whose errors are told in its name."""
    name = name or function.__name__
    names.add(name)

    @functools.wraps(function)
    def call(*args, **named):
        try:
            return function(*args, **named)
        except Exception as error:
            raise told(name, function, args, named, error)  # noqa: B904  (told knows the cause)

    return call


def known_by_all_names(function: F) -> F:
    """A function of tensors that takes its arguments by all those names."""
    if hasattr(function, "op_name") or isinstance(function, type):  # an operation does so itself
        return function
    code = inspect.unwrap(function).__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    inputs = known[:2]
    if not inputs:
        return public(function)
    name = function.__name__
    names.add(name)

    @functools.wraps(function)
    def call(*args, **named):
        try:
            if "out" in named:
                return into(named.pop("out"), call(*args, **named))
            return function(*args, **(own_names(named, known, inputs) if named else named))
        except Exception as error:
            raise told(name, function, args, named, error)  # noqa: B904

    return call


def public_class(cls):
    """Let a class's constructor, its own or an inherited one, tell errors in the class's name."""
    names.add(cls.__name__)
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    init = owner.__init__
    if not inspect.isfunction(init) or hasattr(init, "tells"):
        return

    @functools.wraps(init)
    def __init__(self, *args, **named):
        try:
            init(self, *args, **named)
        except Exception as error:
            raise told(type(self).__name__, init, (self, *args), named, error)  # noqa: B904

    __init__.tells = True
    owner.__init__ = __init__


def public_methods(cls, wanted, of_class=True):
    """Let methods tell errors as "Class.method", or by their names alone."""
    for name in wanted.split():
        owner = next(base for base in cls.__mro__ if name in vars(base))
        method = vars(owner)[name]
        setattr(owner, name, _method(method, name) if of_class else public(method))


def _method(function, name):
    @functools.wraps(function)
    def call(self, *args, **named):
        try:
            return function(self, *args, **named)
        except Exception as error:
            kind = type(self).__name__
            raise told(f"{kind}.{name}", function, (self, *args), named, error, {kind})  # noqa: B904

    return call


def public_names(place, wanted):
    """Wrap those of a dict's functions and classes that have one of these names."""
    for name in wanted:
        value = place[name]
        if inspect.isclass(value):
            public_class(value)
        elif callable(value) and not hasattr(value, "op_name"):
            place[name] = public(value, name)


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
        if not (name in inputs and _is_tensor(value) or of_shapes and value is None)
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
    if "out of bounds for axis" in reason:
        reason = reason.replace("out of bounds for axis", "out of range for dimension")
    elif "too many indices" in reason:
        reason = "there are more indices than dimensions"
    if "could not be broadcast" in reason:
        reason = "the sizes must be equal or 1, counted from the last dimension"
    return kind, reason


# ---- errors told anew ----------------------------------------------------------------


def told(name, function, args, named, error, kept=()):
    """The error of a call in the name of the function; names in `kept` may stay as they are."""
    whose = origin(error)
    if isinstance(error, PASSED) or whose == "caller":
        return error
    if whose == "ours":
        first = getattr(error, "first", None)
        if first is not None and kept is not names:  # told further in
            new = explained(name, function, args, named, first)
            if not new.vague:
                return new
            if error.vague:
                error.args = new.args
                return error
        return _renamed(name, error, kept)
    return explained(name, function, args, named, error)


def origin(error):
    """Who raised an error: the "caller"'s code, this package ("ours"), or "python" for it."""
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
        if begins[1] == name or begins[1] in kept:
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


# ---- what parameters take, by their names --------------------------------------------


def _is_tensor(value):
    return hasattr(value, "_data")


def _holds_tensors(value):
    return _is_tensor(value) or isinstance(value, (list, tuple)) and any(map(_is_tensor, value))


def _is_array(value):
    return _is_tensor(value) or hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def _is_number(value):
    if isinstance(value, (int, float)):
        return True
    return hasattr(value, "item") and math.prod(getattr(value, "shape", (2,))) == 1


def _is_int(value):
    try:
        operator.index(value)
    except (TypeError, RuntimeError):
        return False
    return not isinstance(value, bool)


def _fits(value, dtype_bits=63):
    return -(2**dtype_bits) <= operator.index(value) < 2**dtype_bits


def _several(holds):
    def check(value):
        return isinstance(value, (list, tuple)) and all(map(holds, value))

    return check


def _one_or_several(holds):
    several = _several(holds)
    return lambda value: holds(value) or several(value)


def _is_dtype(value):
    try:
        return bool(dtype_of(value))
    except WRONG:
        return False


def _is_iterable(value):
    if _is_tensor(value):
        return True
    try:
        iter(value)
    except TypeError:
        return False
    return not isinstance(value, str)


def _is_a(name):
    return lambda value: any(base.__name__ == name for base in type(value).__mro__)


TENSOR = "a Tensor", _is_tensor
OPERAND = "a Tensor or a number", lambda v: _is_array(v) or _is_number(v)
TENSORS = "Tensors", lambda v: _is_tensor(v) or _several(_is_tensor)(v)
NUMBER = "a number", _is_number
INT = "a whole number", lambda v: _is_int(v) and _fits(v)
INTS = "a whole number, or several", _one_or_several(INT[1])
SHAPE = "whole numbers", INTS[1]
PAIR = "two numbers", lambda v: isinstance(v, (list, tuple)) and len(v) == 2 and all(
    map(_is_number, v))  # fmt: skip
TEXT = "a str", lambda v: isinstance(v, str)
CALLABLE = "a function", callable
DTYPE = "a dtype", _is_dtype
DEVICE = 'a device, such as "cpu"', lambda v: isinstance(v, (str, int)) or _is_a("device")(v)
GENERATOR = "a Generator", _is_a("Generator")
OPTIMIZER = "an optimizer", _is_a("Optimizer")
PARAMS = (
    "Tensors, or dicts of options, in a list or a generator such as model.parameters()",
    lambda v: _is_iterable(v) and not isinstance(v, (str, bytes)),
)
DATASET = "a data set, which has a length and is indexed", lambda v: hasattr(v, "__len__") or (
    hasattr(v, "__iter__"))  # fmt: skip
SEQUENCE = "a sequence", lambda v: _is_iterable(v) and hasattr(v, "__len__")

TAKES = {
    name: takes
    for names, takes in {
        "x input self tensor target query key mask weight bias attn_mask pos_weight log_probs "
        "input1 input2 mat mat1 "
        "mat2 vec vec1 vec2 batch1 batch2 M A B L src tgt anchor positive negative condition "
        "running_mean running_var hx rows theta grid matrix targets": TENSOR,
        "a b p other exponent value repeats y x1 x2 loc scale low high probs logits concentration0 "
        "concentration1 mean std var covariance_matrix precision_matrix scale_tril": OPERAND,
        "tensors inputs": TENSORS,
        "lr momentum dampening weight_decay eps alpha beta gamma rho momentum_decay lr_decay "
        "initial_accumulator_value q rtol correction atol max_norm clip_value norm_type threshold "
        "label_smoothing margin factor power start_factor end_factor eta_min base_lr max_lr "
        "min_lr pct_start div_factor final_div_factor gain fill_value s start end step base "
        "negative_slope lambd scale_factor tau dropout dropout_p init_scale growth_factor "
        "backoff_factor swa_lr val": NUMBER,
        "n m steps num_samples num_classes in_features out_features in_channels out_channels "
        "groups num_embeddings embedding_dim num_heads embed_dim hidden_size input_size "
        "num_layers proj_size num_groups num_features row col offset k chunks decimals minlength "
        "bins dim0 dim1 diagonal padding_idx ignore_index count growth_interval "
        "in1_features in2_features d_model nhead dim_feedforward num_workers batch_size_ "
        "step_size total_iters T_max T_0 T_mult patience cooldown last_epoch max_iter "
        "history_size blank start_dim end_dim upscale_factor downscale_factor length "
        "seed num_parameters kdim vdim num_encoder_layers num_decoder_layers "
        "step_size_up step_size_down epochs steps_per_epoch total_steps max_eval depth": INT,
        "dim dims kernel_size stride padding dilation output_padding output_size "
        "source destination shifts normalized_shape shape_": INTS,
        "shape size sizes": SHAPE,
        "betas etas step_sizes": PAIR,
        "reduction mode indexing padding_mode nonlinearity anneal_strategy threshold_mode "
        "activation equation rounding_mode": TEXT,
        "hook func function callable fn collate_fn": CALLABLE,
        "dtype dst_type": DTYPE,
        "device": DEVICE,
        "generator": GENERATOR,
        "optimizer": OPTIMIZER,
        "params parameters": PARAMS,
        "dataset data_source": DATASET,
        "indices lengths milestones datasets schedulers weights sampler": SEQUENCE,
    }.items()
    for name in names.split()
}  # fmt: skip


def takes(parameter):
    """(what is right in words, whether a value is): by a parameter's name, or else its default."""
    default = parameter.default
    if parameter.name in TAKES and not isinstance(default, bool):
        wanted = TAKES[parameter.name]
        if wanted is INT and isinstance(default, float):
            return NUMBER
        if wanted is NUMBER and isinstance(default, str):
            return TEXT
        return wanted
    if isinstance(default, bool) or default is None or default is parameter.empty:
        return None
    if isinstance(default, (int, float)):
        return NUMBER
    return TEXT if isinstance(default, str) else None


def culprit(signature, given):
    """(kind of error, words) for the first argument that is not what its parameter takes."""
    for key, value in given.items():
        parameter = signature.parameters[key]
        if value is parameter.default or value is None and parameter.default is None:
            continue
        wanted = takes(parameter)
        if parameter.kind is parameter.VAR_KEYWORD or wanted is None or key == "self":
            continue
        if parameter.kind is parameter.VAR_POSITIONAL and wanted is not TENSORS:
            value = value[0] if len(value) == 1 else value
        if not _holds(wanted[1], value):
            return TypeError, f"{key} must be {wanted[0]}, got {describe([value])}"
    return _out_of_range(given)


def _holds(check, value):
    try:
        return bool(check(value))
    except WRONG:
        return False


def _out_of_range(given):
    """The same for a dimension that no tensor of the call has, and for sizes below 0."""
    dims = [getattr(v, "ndim", 0) for v in given.values() if _is_tensor(v)]
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
