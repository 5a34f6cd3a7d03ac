"""The names of tensors: those of variables, and of what stands in dicts and lists among them."""

import contextlib
import difflib
import inspect
import sys

from ..autograd import TensorBase
from ..nn.module import Module

MOST = 100  # tensors in a list that get names from it


def named(names):
    """{tensor: name} of a mapping from names to tensors, or from tensors to names."""
    found = {}
    for name, tensor in dict(names or {}).items():
        if isinstance(name, TensorBase):
            name, tensor = tensor, name
        if isinstance(tensor, TensorBase) and isinstance(name, str):
            found.setdefault(tensor, name)
    return found


def opened(scope):
    """{name: tensor} of variables, and of the tensors in dicts, lists and tuples among them."""
    found, inside = {}, {}
    for name, value in (scope or {}).items():
        if isinstance(value, TensorBase):
            found[name] = value
        elif isinstance(value, dict):
            inside |= {k: v for k, v in value.items() if isinstance(k, str)}
        elif isinstance(value, list | tuple) and len(value) <= MOST:
            inside |= {f"{name}[{i}]": v for i, v in enumerate(value)}
    return found | {
        name: value
        for name, value in inside.items()
        if isinstance(value, TensorBase) and name not in found
    }


def seen_by(function):
    """The variables of a function that are not its own: globals, closure, defaults; by name."""
    function = inspect.unwrap(getattr(function, "func", function))  # of a partial, too
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    around = getattr(function, "__globals__", {})
    found = {name: around[name] for name in code.co_names if name in around}
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):
        with contextlib.suppress(ValueError):  # a variable that has no value yet
            found[name] = cell.cell_contents
    with contextlib.suppress(TypeError, ValueError):
        parameters = inspect.signature(function).parameters.values()
        found.update((p.name, p.default) for p in parameters if p.default is not p.empty)
    return found


def called(function):
    """(the result of a function, the variables that it sees: its own at its end, and others)."""
    found, others = {}, seen_by(function)

    def look(frame, event, _):
        if event == "return" and frame.f_code is getattr(function, "__code__", None):
            found.update(frame.f_locals)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        output = function()
    finally:
        sys.setprofile(before)
    return output, {**others, **found}


def check_call(caller, output, params, names):
    """Raise TypeError, which says what would be right, for a call of draw or film that is none."""
    if isinstance(output, Module):
        raise TypeError(
            f"{caller}: a model is drawn at work: {caller}(lambda: model(x), params=model), "
            f"got only the {type(output).__name__}"
        )
    if isinstance(params, str):
        raise TypeError(
            f"{caller}: params are a Module or {{name: tensor}}, got {params!r:.40}; a file is "
            f"written by render({caller}(loss), {params!r:.40})"
        )
    for word, given in (("params", params), ("names", names)):
        if given is not None and (isinstance(given, TensorBase) or not _may_be_named(given)):
            needed = f"{word} are a Module or {{name: tensor}}, got {type(given).__name__}"
            if callable(output):
                needed = (
                    f"a function is called without arguments: {caller}(lambda: f(a, b)); {needed}"
                )
            raise TypeError(f"{caller}: {needed}")
    if callable(output) and not isinstance(output, TensorBase):
        try:
            inspect.signature(output).bind()
        except TypeError as error:
            raise TypeError(
                f"{caller}: the function is called without arguments ({error}): "
                f"{caller}(lambda: f(…))"
            ) from None
        except ValueError:  # a function without a signature
            pass


def _may_be_named(given):
    """Whether something is a Module, a mapping, or pairs."""
    if isinstance(given, list | tuple):
        return all(isinstance(pair, tuple) and len(pair) == 2 for pair in given)
    return isinstance(given, Module) or hasattr(given, "keys") or hasattr(given, "__next__")


def nearest(word, known):
    """ "; did you mean …?" for the known word that is most alike, else nothing."""
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]}?" if near else ""
