"""Names that other packages call, beside PyTorch: LU, `func`, antialias, keys more, Muon."""

import itertools
import warnings

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")
PAIRS = list(itertools.product((False, True), repeat=2))
MODES = list(itertools.product(("bilinear", "bicubic"), (False, True)))
RNG = np.random.default_rng(0)


def agree(call, *arrays, rtol=1e-8):
    """call(library, *tensors) gives the same tensors and derivatives with both."""
    found = []
    for m in (torch, mt):
        xs = [m.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
        results = call(m, *xs)
        results = [results] if hasattr(results, "shape") else list(results)
        floats = [r for r in results if r.requires_grad]
        grads = []
        if floats:
            leaves = [x for x in xs if x.requires_grad]
            total = sum(r.sin().sum() for r in floats)
            grads = m.autograd.grad(total, leaves, allow_unused=True)
        found.append([t.detach().numpy() for t in (*results, *grads) if t is not None])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=rtol, atol=rtol, strict=True)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4), (3, 5), (5, 3), (1, 1), (7, 7)], ids=str)
def test_lu(shape):
    a = RNG.standard_normal(shape)
    agree(lambda m, x: m.linalg.lu(x), a)
    agree(lambda m, x: m.linalg.lu_factor(x), a)
    agree(lambda m, x: m.lu_unpack(*m.linalg.lu_factor(x)), a)
    agree(lambda m, x: x.lu(get_infos=True), a)


@pytest.mark.parametrize("left, adjoint", PAIRS)
def test_lu_solve(left, adjoint):
    a, b = RNG.standard_normal((2, 3, 3)), RNG.standard_normal((2, 3, 3))
    agree(lambda m, x, y: m.linalg.lu_solve(*m.linalg.lu_factor(x), y, left=left,
                                            adjoint=adjoint), a, b)  # fmt: skip


def test_how_it_went():
    a, b = RNG.standard_normal((2, 3, 3)), RNG.standard_normal((2, 3, 2))
    for call in (
        lambda m, x, y: m.linalg.inv_ex(x),
        lambda m, x, y: m.linalg.solve_ex(x, y),
        lambda m, x, y: m.linalg.cholesky_ex(x @ x.mT + m.eye(3, dtype=m.float64)),
    ):
        agree(call, a, b)
    a[1, 2] = a[1, 1]  # singular: its pivot is 0
    for name in ("inv_ex", "cholesky_ex"):
        infos = [getattr(m.linalg, name)(m.tensor(a)).info.tolist() for m in (torch, mt)]
        assert infos[0] == infos[1]
        with pytest.raises(mt.linalg.LinAlgError):
            getattr(mt.linalg, name)(mt.tensor(a), check_errors=True)


@pytest.mark.parametrize("mode, aligned", MODES)
def test_antialias(mode, aligned):
    x = RNG.standard_normal((2, 3, 12, 10))
    for size in ((3, 4), (7, 9), (1, 1), (20, 5), (2, 30)):
        agree(lambda m, x, size=size: m.nn.functional.interpolate(
            x, size, mode=mode, align_corners=aligned, antialias=True), x)  # fmt: skip


@pytest.mark.parametrize("aligned", (False, True))
@pytest.mark.parametrize("padding", ("zeros", "border", "reflection"))
def test_bicubic_grid_sample(padding, aligned):
    x, grid = RNG.standard_normal((2, 3, 6, 5)), RNG.uniform(-1.6, 1.6, (2, 4, 7, 2))
    agree(lambda m, x, g: m.nn.functional.grid_sample(x, g, "bicubic", padding, aligned), x, grid)


@pytest.mark.parametrize("kv, zero", PAIRS)
def test_attention_with_more_keys(kv, zero):
    x, mask = RNG.standard_normal((3, 2, 4)), np.triu(np.ones((3, 3)), 1) > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.nn.MultiheadAttention(4, 2, add_bias_kv=kv, add_zero_attn=zero).double()
    ours = mt.nn.MultiheadAttention(4, 2, add_bias_kv=kv, add_zero_attn=zero).double()
    state = {name: mt.tensor(t.numpy()) for name, t in theirs.state_dict().items()}
    ours.load_state_dict(state)
    agree(lambda m, x, mask: (theirs if m is torch else ours)(x, x, x, attn_mask=mask), x, mask)


def test_jacobians():
    x, y = RNG.standard_normal(3), RNG.standard_normal((2, 3))
    for call in (
        lambda m, x, y: m.func.jacrev(lambda x: x.sin())(x),
        lambda m, x, y: m.func.jacfwd(lambda x, y: (x * y).sum(1), argnums=(0, 1))(x, y),
        lambda m, x, y: m.func.hessian(lambda x: (x**3).sum())(x),
        lambda m, x, y: m.func.jacrev(lambda x: (x**2, x.sum()), has_aux=True)(x),
        lambda m, x, y: m.func.vmap(m.func.hessian(lambda x: (x**3).prod()))(y),
    ):
        agree(call, x, y)


@pytest.mark.parametrize("adjust", (None, "match_rms_adamw"))
def test_muon(adjust):
    for shape in ((5, 3), (3, 5)):
        start = RNG.standard_normal(shape).astype("float32")
        grads = RNG.standard_normal((5, *shape)).astype("float32")
        found = []
        for m in (torch, mt):
            p = m.nn.Parameter(m.tensor(start))
            optimizer = m.optim.Muon([p], lr=0.02, adjust_lr_fn=adjust)
            for g in grads:
                p.grad = m.tensor(g)
                optimizer.step()
            found.append(p.detach().numpy())
        np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)


# ---- lists as indices, and states of one number ---------------------------------------

LISTS = [
    [[0, 1], [1, 2]], [[0, 1]], [0, 1], [slice(0, 2), slice(1, 3)], [None, 0], [..., 0],
    [0, slice(None)],
    [True, False, True], [[True, False, True], [True, False, True, False]], [], [[]], [[], []],
    [(0, 1), (1, 2)], [range(2), range(2)], [np.array([0, 1]), np.array([1, 2])], [0, [1]],
    [[[0, 1]], [[1, 2]]], [np.int64(1), 2], [[0]] * 32, [[0]] * 31, [[0], [1], [2]],
    ([0, 1], [1, 2]), [[1, 2], None, [0]],
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize("index", LISTS, ids=lambda index: str(index)[:40])
def test_a_list_as_an_index(index):
    results = []
    for m in (mt, torch):
        x = m.arange(12).reshape(3, 4)
        try:
            found = x[index].tolist()
            x[index] = -1
            results.append((found, x.tolist()))
        except IndexError:
            results.append(IndexError)
    assert results[0] == results[1]


@pytest.mark.parametrize("kind", ["Parameter", "Buffer"])
@pytest.mark.parametrize("own, saved", [((), (1,)), ((1,), ()), ((), (1, 1)), ((), (2,))])
def test_a_state_of_one_number(kind, own, saved):
    results = []
    for m in (mt, torch):
        module = m.nn.Module()
        module.x = getattr(m.nn, kind)(m.zeros(own))
        try:
            module.load_state_dict({"x": m.full(saved, 3.0)})
            results.append((tuple(module.x.shape), module.x.item()))
        except RuntimeError:
            results.append(RuntimeError)
    assert results[0] == results[1]
