"""Within `as_torch()` tensors, sizes, dtypes and named results look as PyTorch's do."""

from pathlib import Path

import pytest

import microtensor as mt
from microtensor.compat import SPOKEN, as_torch

torch = pytest.importorskip("torch")

PRINTED = """
m.finfo(m.float32)
m.finfo(m.bfloat16)
m.finfo(m.float64)
m.iinfo(m.uint8)
m.iinfo(m.int64)
m.ones(2).layout
[type(t) for t in (m.ones(2), m.ones(2).shape, m.device("cpu"), m.float32)]
type(m.nn.Parameter(m.ones(2)))
f"{m.tensor(1.25):.1f} {m.tensor(3):3d} {m.ones(2)}"
m.tensor(3.14159)
m.tensor(7)
m.tensor(True)
m.tensor(float("nan"))
m.tensor(1e-10)
m.tensor(12345.678)
m.tensor([1.0, 2.0])
m.tensor([-1, 200])
m.tensor([True, False])
m.tensor([1, 2], dtype=m.uint8)
m.tensor([1.5], dtype=m.float16)
m.zeros(2, dtype=m.float64)
m.tensor([])
m.tensor([], dtype=m.int64)
m.zeros(0, 3)
m.tensor([0.0, -0.0])
m.tensor([0.5, 1000.0])
m.tensor([0.5, 500.0])
m.tensor([0.5, -0.0001])
m.tensor([1e-5, 1.0])
m.tensor([123456.0, 1.0])
m.tensor([1e9, 1.0])
m.tensor([float("nan"), float("inf"), -1.0])
m.tensor([float("nan"), -float("inf"), -1.5])
m.tensor([[1.5, 2.0], [3.0, 4.0]])
m.tensor([[[1.5, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, -4.0]]])
m.ones(2, 1, 2, 2)
m.arange(30.0)
m.arange(60.0).reshape(3, 20) / 8
m.arange(2000)
m.arange(2000.0).reshape(2, 10, 100)
m.arange(2000.0).reshape(20, 100) / 4
m.zeros(3, 400)
m.zeros(1000)
m.ones(2, requires_grad=True)
m.ones(2, requires_grad=True) * 2
m.ones(29, requires_grad=True) * 2
m.ones(3, 12, requires_grad=True).exp()
m.nn.Parameter(m.ones(2, 2))
[x * y + 1, x - y, x / y, -x, x**2, x.log(), x.sqrt(), x.abs(), x.sum(), x.mean(), x.max()]
[x.view(-1), x.reshape(2, 3), x.T, x.permute(1, 0), x.expand(2, 3, 2), x.clone(), x.double()]
[x[0], x[:, 1], x[0, 1], x[1:], x[:, 1:2], x[m.tensor([0, 1])], x[x > 1], x[None], x[..., 0]]
[x @ y.T, m.mm(x, y.T), m.cat([x, y]), m.stack([x, y]), m.where(x > 0, x, y), x.norm()]
[F.relu(x), F.gelu(x), x.sigmoid(), x.tanh(), F.softmax(x, -1), F.log_softmax(x, -1)]
[F.linear(x, y, m.ones(3)), F.layer_norm(x, (2,)), F.embedding(m.tensor([0, 1]), x)]
[F.cross_entropy(x, m.tensor([0, 1, 1])), x.masked_fill(x > 0, 0.0), x.cumsum(0)]
[x.sum(1), x.sum((0, 1)), x.sum(dim=1, keepdim=True), x.mean(0), x.mean(dim=0), x.prod(1), x.prod()]
[m.arange(n).short() for n in range(9, 20)]
[m.arange(float(n), requires_grad=True) for n in range(5, 20)]
[m.nn.Parameter(m.arange(float(n))[None].double()) for n in range(5, 12)]
m.zeros(3, 4).size()
m.float32
m.max(m.arange(3.0), 0)
m.ones(2, 3).sort()
m.aminmax(m.arange(3))
m.linalg.slogdet(m.eye(2))
""".split("\n")[1:-1]

OPTIONS = [
    {},
    {"precision": 2},
    {"sci_mode": True},
    {"sci_mode": False},
    {"linewidth": 120, "precision": 6},
    {"edgeitems": 1, "threshold": 5},
    {"profile": "full"},
    {"profile": "short"},
]


def printed(m, options):
    try:
        m.set_printoptions(**options)
        x, y = (m.ones(3, 2, requires_grad=True) for _ in range(2))
        names = {"m": m, "x": x, "y": y, "F": m.nn.functional}
        return [str(eval(expression, names)) for expression in PRINTED]
    finally:
        m.set_printoptions(profile="default")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_looks(options):
    with as_torch() as m:
        ours = printed(m, options)
    assert ours == printed(torch, options)
    assert repr(mt.ones(1)) == "tensor([1.], shape=(1,), dtype=float32)"
    assert repr(mt.ones(1).shape) == "microtensor.Size([1])"


def test_version():
    """Programs ask which PyTorch it is; it is compared by its numbers, as PyTorch's is."""
    ours = mt.__version__
    with as_torch() as m:
        assert m.version.__version__ == m.__version__ == SPOKEN
        for version in (m.__version__, torch.__version__):
            assert version >= "2.4" and version > (1, 13) and version < "3" and version != "2.4"
            assert version <= "2.99.1" and {version: 1}[version]
    assert mt.__version__ == ours
    names = Path(__file__).parents[1] / "pytorch_names.txt"
    assert names.read_text(encoding="utf-8").startswith(f"PyTorch {SPOKEN}\n")
