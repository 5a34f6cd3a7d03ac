"""`func` and trees of tensors against PyTorch's: a row is written once, for a package `m`."""

from collections import OrderedDict, namedtuple
from importlib import import_module

import numpy as np
import pytest

import microtensor as mt
from microtensor import func as our_func
from microtensor import library as our_library
from microtensor.utils import _pytree as our_trees

torch = pytest.importorskip("torch")
FUNC = {mt: our_func, torch: import_module("torch.func")}
LIBRARY = {mt: our_library, torch: import_module("torch.library")}
TREES = {mt: our_trees, torch: import_module("torch.utils._pytree")}


def x(m, *shape):
    return m.tensor(np.random.default_rng(len(shape)).standard_normal(shape))


def model(m):
    net = m.nn.Sequential(m.nn.Linear(3, 4), m.nn.Tanh(), m.nn.Linear(4, 3)).double()
    with m.no_grad():
        for p in net.parameters():
            p.copy_(x(m, *p.shape))
    return net


def ensemble(m):
    net = model(m)
    both = {name: m.stack([p.detach(), 2 * p.detach()]) for name, p in net.named_parameters()}
    call = FUNC[m].vmap(lambda p, a: FUNC[m].functional_call(net, p, (a,)), in_dims=(0, None))
    return call(both, x(m, 5, 3)), net(x(m, 5, 3))  # the module has its own parameters again


def slope_of_each(m):
    net = model(m)
    params = {name: p.detach() for name, p in net.named_parameters()}

    def loss(params, a):
        return FUNC[m].functional_call(net, params, a).square().sum()

    return FUNC[m].vmap(FUNC[m].grad_and_value(loss), in_dims=(None, 0))(params, x(m, 5, 3))


def tied(m):
    inner = m.nn.Linear(3, 3, bias=False).double()
    net = m.nn.Sequential(inner, inner)
    return FUNC[m].functional_call(net, {"0.weight": x(m, 3, 3)}, x(m, 2, 3))


ROWS = [
    ensemble, slope_of_each, tied,
    lambda m: FUNC[m].grad(FUNC[m].grad(lambda a: (a**3).sum().sin()))(x(m)),
    lambda m: FUNC[m].grad(lambda a, b: (a * b["k"]).sum(), (0, 1))(x(m, 2), {"k": x(m, 2)}),
    lambda m: FUNC[m].grad(lambda a: ((a * a).sum(), {"aux": 2 * a}), has_aux=True)(x(m, 2)),
    lambda m: m.vmap(lambda a, b: (a * b, a.sum()), in_dims=(0, 1), out_dims=(1, 0))(
        x(m, 2, 3), x(m, 3, 2)
    ),
    lambda m: m.vmap(m.vmap(lambda a: a.softmax(-1)))(x(m, 2, 3, 4)),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_functions_of_functions(row):
    found = {m: TREES[m].tree_flatten(row(m))[0] for m in (mt, torch)}
    assert len(found[mt]) == len(found[torch])
    for ours, theirs in zip(found[mt], found[torch]):
        assert ours.requires_grad == theirs.requires_grad
        ours, theirs = ours.detach().numpy(), theirs.detach().numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-14, strict=True)


@pytest.mark.parametrize("m", [mt, torch])
def test_what_does_not_fit_is_an_error(m):
    with pytest.raises(ValueError, match="size"):
        m.vmap(lambda a, b: a + b)(x(m, 2), x(m, 3))
    with pytest.raises(RuntimeError, match="nothing|Missing key"):
        FUNC[m].functional_call(m.nn.Linear(1, 1), {"bias": x(m, 1)}, x(m, 1), strict=True)
    with pytest.raises(RuntimeError, match="has no|Unexpected key"):
        FUNC[m].functional_call(m.nn.Linear(1, 1), {"c": x(m, 1)}, x(m, 1), strict=True)


@pytest.mark.parametrize("m", [mt, torch])
def test_trees(m):
    pair = namedtuple("pair", "a b")
    tree = {"z": [1, (2, None)], "a": pair(3, OrderedDict(k=()))}
    leaves, spec = TREES[m].tree_flatten(tree)
    assert leaves == [1, 2, None, 3] == TREES[m].tree_leaves(tree)
    assert spec.num_leaves == 4
    assert TREES[m].tree_unflatten(leaves, spec) == tree
    twice = TREES[m].tree_map(lambda a, b: (a or 0) + (b or 0), tree, tree)
    assert twice == {"z": [2, (4, 0)], "a": pair(6, OrderedDict(k=()))}
    assert type(twice["a"]) is pair
    with pytest.raises(ValueError, match="4"):
        TREES[m].tree_unflatten([1, 2], spec)


@pytest.mark.parametrize("m", [mt, torch])
def test_trees_of_ones_own(m):
    class Pair:
        def __init__(self, a, b, name):
            self.a, self.b, self.name = a, b, name

    TREES[m].register_pytree_node(
        Pair, lambda p: ([p.a, p.b], p.name), lambda parts, name: Pair(*parts, name)
    )
    leaves, spec = TREES[m].tree_flatten([Pair(1, (2, 3), "x")])
    (again,) = TREES[m].tree_unflatten([4, 5, 6], spec)
    assert leaves == [1, 2, 3] and (again.a, again.b, again.name) == (4, (5, 6), "x")
    with pytest.raises(ValueError, match="already"):
        TREES[m].register_pytree_node(Pair, None, None)


@pytest.mark.parametrize("m", [mt, torch])
def test_operations_of_ones_own(m):
    @LIBRARY[m].custom_op("microtensor_test::cube", mutates_args=())
    def cube(x: m.Tensor, factor: float = 1.0) -> m.Tensor:
        return factor * x**3

    @cube.register_fake
    def _(x, factor=1.0):
        return m.empty_like(x)

    a = x(m, 4).requires_grad_()
    with pytest.raises(RuntimeError, match="register_autograd|autograd formula"):
        cube(a).sum().backward()

    def keep(ctx, inputs, output):
        a, ctx.factor = inputs
        ctx.save_for_backward(a)

    def backward(ctx, g):
        return 3 * ctx.factor * g * ctx.saved_tensors[0] ** 2, None

    LIBRARY[m].register_autograd("microtensor_test::cube", backward, setup_context=keep)
    y = m.ops.microtensor_test.cube(a, factor=2.0)
    y.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), 2 * a.detach().numpy() ** 3)
    np.testing.assert_allclose(a.grad.numpy(), 6 * a.detach().numpy() ** 2)


# ---- autograd.functional -------------------------------------------------------------

BY_HAND = [  # (a function, what it is given)
    (lambda m, a: x(m, 2), lambda a: a),
    (lambda m, a: (a * 2).sum(), lambda a: a),
    (lambda m, a: a.prod() * x(m, 2), lambda a: (a,)),
    (lambda m, a: (a * 2, x(m, 2)), lambda a: a),
    (lambda m, a: (a.exp(),), lambda a: a),
    (lambda m, a, b: (a * 2, b.sum() * a.sum()), lambda a: (a, a[:2])),
    (lambda m, a, b: a.prod() * b.prod() ** 2, lambda a: (a, a[:2])),
    (lambda m, a, b: b.sum().reshape(1) ** 3, lambda a: (a, a[:2])),
    (lambda m, a: a[:0], lambda a: a),
]


def derivatives(m, name, case, strict):
    """What a function of `autograd.functional` gives, as arrays, or the kind of its error."""
    function, given = case
    derive = getattr(import_module(f"{m.__name__}.autograd.functional"), name)

    def nested(value):
        return tuple(map(nested, value)) if isinstance(value, tuple) else value.detach().numpy()

    try:
        return nested(derive(lambda *xs: function(m, *xs), given(x(m, 3)), strict=strict))
    except (RuntimeError, TypeError) as error:
        return type(error).__name__


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", ["jacobian", "hessian", "vjp"])
@pytest.mark.parametrize("case", BY_HAND)
def test_derivatives_by_name(case, name, strict):
    """The same tuples in tuples of the same shapes, or the same kind of error."""
    ours, theirs = (derivatives(m, name, case, strict) for m in (mt, torch))
    forms = [our_trees.tree_map(lambda _: "an array", found) for found in (ours, theirs)]
    assert forms[0] == forms[1]
    for a, b in zip(*map(our_trees.tree_leaves, (ours, theirs)), strict=True):
        if isinstance(b, str):
            assert a == b
        else:
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15, strict=True)


@pytest.mark.parametrize("m", [mt, torch])
def test_nothing_but_a_number_has_slopes_of_zero(m):
    derive = FUNC[m].grad_and_value(lambda a, b: x(m, 2)[0], (0, 1))
    slopes, value = derive(x(m, 3), x(m, 2))
    assert [s.tolist() for s in slopes] == [[0, 0, 0], [0, 0]] and not value.requires_grad
