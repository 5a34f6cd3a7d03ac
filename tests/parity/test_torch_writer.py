"""Files of mt.save(…, "x.pt") as PyTorch reads them with its defaults, and back."""

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn
from microtensor.compat import as_torch

torch = pytest.importorskip("torch")

NAMES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x,
        lambda x: x.T,
        lambda x: x[1:, ::2],
        lambda x: x.flip(0),
        lambda x: x[:1].expand(3, 6),
        lambda x: x[2, 1],
        lambda x: x[:0],
    ],
)
def test_tensors(tmp_path, name, cut):
    x = cut((mt.arange(24) % 2).reshape(4, 6).to(getattr(mt, name)))
    mt.save([x, x], tmp_path / "x.pt")
    theirs, same = torch.load(tmp_path / "x.pt", weights_only=True)
    assert theirs.dtype is getattr(torch, name) and theirs is same
    assert theirs.tolist() == x.tolist() and tuple(theirs.shape) == x.shape
    torch.save(theirs, tmp_path / "y.pth")
    assert mt.load(tmp_path / "y.pth").tolist() == x.tolist()


def test_shared_memory_and_gradients(tmp_path):
    x = mt.randn(4, 6)
    value = {
        "x": x,
        "part": x[1:, ::2],
        "g": mt.ones(2, requires_grad=True),
        "p": nn.Parameter(x[0]),
    }
    mt.save(value, tmp_path / "x.pt")
    theirs = torch.load(tmp_path / "x.pt")
    theirs["x"][1, 0] = 99
    assert theirs["part"][0, 0] == 99 and theirs["g"].requires_grad
    assert type(theirs["p"]) is torch.nn.Parameter
    torch.save(
        {"d": torch.device("cuda", 1), "g": theirs["g"], "s": theirs["x"].shape}, tmp_path / "y.pt"
    )
    back = mt.load(tmp_path / "y.pt")
    assert back["d"] == mt.device("cuda:1") and back["g"].requires_grad and back["s"] == (4, 6)


def test_a_model_and_its_optimizer(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with as_torch():
        import torch as ours

        ours.save({"model": model.state_dict(), "epoch": 3}, tmp_path / "x.pt")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    state = torch.load(tmp_path / "x.pt", weights_only=True)
    theirs.load_state_dict(state["model"])
    x = np.random.default_rng(0).standard_normal((5, 3)).astype("f")
    np.testing.assert_allclose(
        theirs.eval()(torch.tensor(x)).detach().numpy(),
        model.eval()(mt.tensor(x)).detach().numpy(),
        rtol=1e-5,
        atol=1e-6,
    )
    assert state["epoch"] == 3
