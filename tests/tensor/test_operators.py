"""Operators leave to the other side what no operation takes; functions refuse it."""

import operator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import microtensor as mt

BINARY = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
COMPARED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
FUNCTIONS = {"add": mt.add, "sub": mt.sub, "mul": mt.mul, "truediv": mt.div, "pow": mt.pow,
             "matmul": mt.matmul, "lt": mt.lt, "eq": mt.eq, "and": mt.bitwise_and}  # fmt: skip


class Other:
    """Says which of its methods was called."""


class Mute:
    """Has the methods of `Other`, and no answer."""


for _name in BINARY:
    setattr(Other, f"__r{_name}__", lambda self, other, name=_name: f"r{name}")
    setattr(Mute, f"__r{_name}__", lambda self, other: NotImplemented)
for _name in COMPARED:
    setattr(Other, f"__{_name}__", lambda self, other, name=_name: name)


def apply(name, x, y):
    function = getattr(operator, f"{name}_" if name in ("and", "or") else name)
    return function(x, y)


def tensors():
    return mt.tensor([3.0, 4.0]), mt.tensor([3, 4]), mt.tensor(2.0, requires_grad=True)


@pytest.mark.parametrize("name", BINARY)
def test_the_other_side_answers(name):
    for x in tensors():
        assert apply(name, x, Other()) == f"r{name}"
        assert apply(f"i{name}", x, Other()) == f"r{name}"
        for unknown in (Mute(), object(), None, {}, *([] if name == "mod" else ["text"])):
            for form in (name, f"i{name}"):
                with pytest.raises(TypeError):
                    apply(form, x, unknown)
            with pytest.raises(TypeError):
                apply(name, unknown, x)


@pytest.mark.parametrize("name", COMPARED)
def test_the_other_side_is_compared(name):
    for x in tensors():
        assert apply(name, x, Other()) == COMPARED[name]
        assert apply(name, Other(), x) == name
        if name in ("eq", "ne"):
            assert apply(name, x, object()) is (name == "ne")
        else:
            with pytest.raises(TypeError):
                apply(name, x, object())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_refuse_what_operators_leave_to_others(name):
    for x in tensors()[:2]:
        with pytest.raises(TypeError, match="a Tensor or a number"):
            FUNCTIONS[name](x, Other())


def test_numbers_of_other_kinds():
    x = mt.tensor([3.0, 4.0])
    for number in (np.float32(0.5), np.float64(0.5), np.int64(2), np.int8(2), np.array(2.0)):
        for name in ("add", "sub", "mul", "truediv", "pow", "floordiv", "mod", "lt", "eq"):
            found, expected = apply(name, x, number), apply(name, x, number.item())
            assert found.tolist() == expected.tolist() and found.dtype is expected.dtype
    assert (x ** Fraction(1, 2)).tolist() == (x**0.5).tolist()  # by the Fraction's own method
    assert (Fraction(1, 2) ** x).tolist() == (0.5**x).tolist()
    for number in (Fraction(1, 2), Decimal("0.5")):
        for name in ("add", "mul", "truediv"):
            with pytest.raises(TypeError):
                apply(name, x, number)


def test_an_operator_is_the_operation_for_all_else():
    x, w = mt.tensor([3.0, 4.0], requires_grad=True), mt.tensor([1.0, 2.0], requires_grad=True)
    y = x * w
    assert y.grad_fn.op is mt.mul and type(x).__mul__.__doc__ == mt.mul.__doc__
    with mt.autocast("cpu", dtype=mt.bfloat16):  # which gives operations other bodies
        assert (x @ w).dtype is mt.bfloat16
    y.sum().backward()
    assert (x.grad.tolist(), w.grad.tolist()) == ([1.0, 2.0], [3.0, 4.0])
