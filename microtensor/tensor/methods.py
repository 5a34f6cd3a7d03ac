"""Make methods of `Tensor` from operations."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..autograd import TensorBase
from ..autograd.arguments import FACTORS, factor_first
from ..autograd.calls import as_operator, call_error, is_operand, names
from ..autograd.in_place import in_place, reshaped_in_place
from ..ops.composite.shapes import sizes
from ..typing import T, Tensor


def both(function: T) -> tuple[T, T]:
    """An operation as two methods: x.exp() and, in place, x.exp_()."""
    forms = function, in_place_form(function)
    name = function.__name__
    return tuple(factor_first(form, *FACTORS[name]) for form in forms) if name in FACTORS else forms


def both_shapes(function: T) -> tuple[T, T]:
    """An operation that rearranges as two methods: x.squeeze() and, in place, x.squeeze_()."""
    return function, reshaping_form(function.__name__ + "_", function)


def in_place_form(function: T, operator: bool = False) -> T:
    """The form of an operation that changes its first input."""
    name = function.__name__.rstrip("_") + "_"

    def method(self, *args: Any, **params: Any) -> Tensor:
        try:
            return in_place(self, name, function, *args, **params)
        except Exception as error:
            if operator and not is_operand(args[0]):
                return NotImplemented  # Python then asks the operator without "="
            raise call_error(name, function, (self, *args), params, error)  # noqa: B904

    names.add(name)

    method.__name__ = name
    method.__doc__ = f"`{name[:-1]}` in place."
    return method


def reshaping_form(name: str, function: T) -> T:
    """The form of an operation that shows the tensor's own memory under another shape."""

    def method(self, *args: Any, **named: Any) -> Tensor:
        form = functools.partial(function, **named) if named else function
        try:
            reshaped_in_place(self, name, form, *args)
        except Exception as error:
            raise call_error(name, function, (self, *args), named, error)  # noqa: B904
        return self

    names.add(name)

    method.__name__ = name
    method.__doc__ = f"`{name[:-1]}` in place."
    return method


def operators(function: T, name: str) -> tuple[T, T, T]:
    """An operation as three operators: x + y, with x on the right as in 1 + x, and x += y.

    The operation must be one of `@op`. What it does not take is left to the other side, if that has
    a method for it.
    """
    left, right = f"__{name}__", f"__r{name}__"
    forwards, backwards = as_operator(function, right), as_operator(function, left)
    in_place = in_place_form(function, operator=True)
    if name in ("add", "and", "or", "xor"):
        return forwards, forwards, in_place
    return forwards, lambda self, other: backwards(other, self), in_place


def with_sizes(function: Callable[..., T]) -> Callable[..., T]:
    """A method that takes sizes or dimensions one by one or as one sequence."""

    # the sizes or dimensions may also be passed by name: expand(size=…), permute(dims=…)
    def method(self, *args: Any, **named: Any) -> T:
        try:
            return function(self, sizes(args or tuple(named.values())))
        except Exception as error:
            raise call_error(function.__name__, function, (self, args), named, error)  # noqa: B904

    method.__name__, method.__doc__ = function.__name__, function.__doc__
    return method


def resized(x: Tensor, *size: Any) -> Tensor:
    """The first elements in another shape, and zeros after them where it holds more."""
    size, flat = sizes(size), x.reshape(-1)
    more = math.prod(size) - len(flat)
    flat = ops.cat([flat, x.new_zeros(more)]) if more > 0 else flat[: math.prod(size)]
    return flat.reshape(size)


def indexed(tensor, index, value=None):
    """The signature of x[index] and x[index] = value, for the errors of wrong indices."""


def comparable(value):
    """True if a tensor can be compared with `value`; else Python tries the other operand."""
    return isinstance(value, (TensorBase, int, float, np.ndarray, np.generic))
