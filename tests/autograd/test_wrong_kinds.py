"""Arguments of a wrong kind: refused by every function that looks at them, before it runs."""

import inspect

import pytest

import microtensor as mt
import microtensor.nn.functional as F
import microtensor.utils.data as D
from microtensor import nn, optim
from microtensor.autograd.hints import HINTS, Parameters, takes
from microtensor.optim import lr_scheduler as S

x, i, net = mt.ones(2, 3), mt.tensor([0, 1]), nn.Linear(2, 2)
PLACES = {"mt": mt, "ops": mt.ops, "linalg": mt.linalg, "F": F, "Tensor": mt.Tensor}


def _looked_at():
    """(name, function, parameter, what it takes) of all functions that look at their arguments."""
    rows = {}
    for place, names in PLACES.items():
        for name in dir(names):
            function = getattr(names, name)
            if name.startswith("_") or isinstance(function, type):
                continue
            if hasattr(function, "op_name"):
                known = Parameters(function.function, function.input_names)
            elif getattr(function, "strict", False):
                known = Parameters(function.__wrapped__)
            else:
                continue
            for key, wanted in known.items():
                if wanted is not None and key not in getattr(function, "input_names", ()):
                    rows[place, name, key] = function, wanted
    return rows


LOOKED_AT = _looked_at()
STRANGE = object(), "a", {}, (), 1.5, b"a", nn.ReLU, [1, "a"], {1}


@pytest.mark.parametrize("place", PLACES)
def test_each_parameter_refuses_what_its_hint_does_not_allow(place):
    tried = 0
    for (home, name, key), (function, wanted) in LOOKED_AT.items():
        for value in STRANGE:
            looked_at = type(value) not in wanted.types and not wanted.holds(value)
            if home == place and looked_at:
                tried += 1
                args = (x,) if place == "Tensor" and key != "self" else ()
                with pytest.raises(TypeError, match=f"{key} must be .*, got") as raised:
                    function(*args, **{key: value})
                assert "\n" not in str(raised.value) and ": " in str(raised.value), name
    assert tried > 200


@pytest.mark.parametrize("flag", [0, 1, 2, "a", None, mt.tensor(True)], ids=repr)
def test_a_flag_is_true_or_false(flag):
    flags = [row for row in LOOKED_AT.items() if row[1][1].words == "True or False"]
    refused = 0
    for (place, _, key), (function, wanted) in flags:
        if not wanted.holds(flag):
            refused += 1
            with pytest.raises(TypeError, match=f"{key} must be True or False"):
                function(*([x] if place == "Tensor" else []), **{key: flag})
    assert refused > (60 if flag is not None else 30)


def test_hints_of_public_functions_are_known_or_allow_anything():
    def known(hint):
        return takes(inspect.Parameter("v", inspect.Parameter.KEYWORD_ONLY, annotation=hint))

    for hint in HINTS:
        assert known(hint).words and known(f"{hint} | None").holds(None) == (hint != "x")
    assert known("Any") is None and known("Any | None") is None
    assert known("Callable[[Tensor], Tensor] | None").holds(len)
    assert not known("Callable[[Tensor], Tensor] | None").holds(5)
    assert known("bool | None").words == "True or False"
    assert known("Tensor | float").words == "a Tensor or a number"


def test_false_values_are_not_taken_for_the_default():
    for false in ((), {}, "", 0.0):
        for make in (mt.zeros, mt.rand, mt.arange, lambda n, **o: mt.as_tensor([1.0], **o)):
            with pytest.raises((TypeError, RuntimeError), match="device"):
                make(3, device=false)
            with pytest.raises(TypeError, match="dtype"):
                make(3, dtype=false)
        for draw in (x.normal_, x.uniform_, x.random_, lambda **o: mt.randn(2, **o)):
            with pytest.raises(TypeError, match="generator"):
                draw(generator=false)


NUMBER = 1.5
ONLY_TENSORS = [
    "maximum", "minimum", "fmax", "fmin", "atan2", "hypot", "logaddexp", "heaviside",
    "logical_and", "logical_or", "logical_xor", "isclose",
]  # fmt: skip


@pytest.mark.parametrize("name", ONLY_TENSORS)
def test_a_number_is_no_tensor(name):
    for number in (NUMBER, 2, True, None):
        with pytest.raises(TypeError, match=rf"^{name}: .*Tensor"):
            getattr(mt, name)(x, number)


@pytest.mark.parametrize("name", ["pow", "fmod", "eq", "copysign", "xlogy", "add", "mul", "where"])
def test_none_is_no_operand(name):
    args = (x > 0, x, None) if name == "where" else (x, None)
    with pytest.raises(TypeError, match=f"^{name}: .*None"):
        getattr(mt, name)(*args)


sgd = optim.SGD(net.parameters(), lr=0.1)
nan = float("nan")
REFUSED = [
    (TypeError, lambda: mt.cat(x)),
    (TypeError, lambda: mt.stack(x)),
    (TypeError, lambda: x.softmax(None)),
    (TypeError, lambda: mt.randint(0, 2.5, (2,))),
    (TypeError, lambda: mt.is_nonzero(5)),
    (TypeError, lambda: mt.promote_types("a", mt.int64)),
    (TypeError, lambda: mt.func.grad("a")),
    (TypeError, lambda: mt.func.vmap("a")),
    (TypeError, lambda: mt.Generator().manual_seed(2.5)),
    (RuntimeError, lambda: mt.Generator("a")),
    (RuntimeError, lambda: mt.device("a")),
    (RuntimeError, lambda: mt.device("cpu", -1)),
    (RuntimeError, lambda: mt.device("cpu", 1.5)),
    (RuntimeError, lambda: mt.set_default_device("a")),
    (RuntimeError, lambda: x.normal_(0.0, nan)),
    (RuntimeError, lambda: x.uniform_(0.0, nan)),
    (RuntimeError, lambda: x.exponential_(0.0)),
    (RuntimeError, lambda: x.random_(5, 5)),
    (RuntimeError, lambda: mt.normal(x, nan)),
    (RuntimeError, lambda: mt.bernoulli(x * nan)),
    (NotImplementedError, lambda: i.normal_()),
    (RuntimeError, lambda: mt.tril_indices(-1, 2)),
    (RuntimeError, lambda: mt.bincount(i, minlength=-1)),
    (RuntimeError, lambda: mt.cdist(x, x, nan)),
    (RuntimeError, lambda: mt.polygamma(10**12, x)),
    (RuntimeError, lambda: mt.tensor_split(x, 10**12)),
    (TypeError, lambda: mt.matrix_power(mt.eye(2), nan)),
    (RuntimeError, lambda: mt.matrix_power(mt.eye(2), 10**30)),
    (TypeError, lambda: F.dropout(x, 0.5, 1)),
    (ValueError, lambda: nn.Conv2d(3, 4, 2, padding="a")),
    (ValueError, lambda: nn.RNN(3, 4, nonlinearity="a")),
    (ValueError, lambda: optim.Adagrad(net.parameters(), initial_accumulator_value=-1)),
    (ValueError, lambda: optim.Adagrad(net.parameters(), initial_accumulator_value=nan)),
    (ValueError, lambda: S.OneCycleLR(sgd, 0.1, total_steps=1.5)),
    (TypeError, lambda: S.MultiplicativeLR(sgd, "a")),
    (TypeError, lambda: S.LambdaLR(sgd, 5)),
    (TypeError, lambda: D.TensorDataset("ab")),
    (TypeError, lambda: D.random_split([1, 2], [1, 1], ())),
    (TypeError, lambda: nn.utils.clip_grad_norm_(net.parameters(), 1.0, norm_type="a")),
    (TypeError, lambda: nn.utils.clip_grad_value_(net.parameters(), "a")),
    (TypeError, lambda: mt.set_printoptions(precision="a")),
]


@pytest.mark.parametrize("row", range(len(REFUSED)))
def test_refused_as_by_pytorch(row):
    kind, call = REFUSED[row]
    with pytest.raises(kind, match=r"^[A-Za-z_][\w.]*: ") as raised:
        call()
    assert "\n" not in str(raised.value)


def test_a_default_is_what_its_hint_allows():
    for (place, name, key), (function, wanted) in LOOKED_AT.items():
        inner = getattr(function, "function", None) or function.__wrapped__
        default = inspect.signature(inner).parameters[key].default
        fits = default is inspect.Parameter.empty or wanted.holds(default)
        assert fits, f"{place}.{name}: {key}={default!r}, which must be {wanted.words}"
