"""PyTorch's .pt files, written and read here; tests/parity reads them with PyTorch."""

import math
import os
from collections import OrderedDict

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn
from microtensor.files.serialization import LoadError

DTYPES = [
    mt.float64,
    mt.float32,
    mt.float16,
    mt.bfloat16,
    mt.int64,
    mt.int32,
    mt.int16,
    mt.int8,
    mt.uint8,
    mt.bool,
]


def through(value, path):
    mt.save(value, path)
    assert path.read_bytes().startswith(b"PK")
    return mt.load(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.pt"


def test_plain_values(path):
    value = {
        "none": None,
        "bools": [True, False],
        "ints": [0, -1, 255, 2**31, -(2**31), 2**63, -(10**40)],
        "floats": (1.5, math.inf, -0.0),
        "text": "ü\0\n",
        "": [],
        3: {},
        None: (),
        2.5: [[[]], ((),)],
        "ordered": OrderedDict(b=1, a=2),
        "dtype": mt.float16,
        "device": mt.device("cpu"),
    }
    again = through(value, path)
    assert again == value and list(again["ordered"]) == ["b", "a"]
    assert math.isnan(through(math.nan, path)) and type(again["ordered"]) is OrderedDict


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "layout", ["whole", "transposed", "strided", "flipped", "expanded", "0-d", "empty"]
)
def test_tensors_of_every_dtype_and_layout(path, dtype, layout):
    x = (mt.arange(24) % 2).reshape(4, 6).to(dtype)
    x = {
        "whole": x,
        "transposed": x.T,
        "strided": x[1:, ::2],
        "flipped": x.flip(0),
        "expanded": x[:1].expand(3, 6),
        "0-d": x[2, 1],
        "empty": x[:0],
    }[layout]
    again = through(x, path)
    assert again.dtype is dtype and again.shape == x.shape and again.tolist() == x.tolist()


def test_shared_memory_stays_shared(path):
    x = mt.randn(4, 6)
    again = through({"whole": x, "part": x[1:, ::2], "turned": x.T, "same": x}, path)
    assert again["same"] is again["whole"]
    again["whole"][1, 0] = 99
    assert again["part"][0, 0] == 99 and again["turned"][0, 1] == 99
    assert path.stat().st_size < 2000  # one storage of 96 bytes


@pytest.mark.parametrize("name", ["file.pt", "file.safetensors"])
def test_requires_grad_is_kept(tmp_path, name):
    x = mt.ones(2, requires_grad=True)
    mt.save({"x": x, "plain": x.detach(), "p": nn.Parameter(mt.ones(2))}, tmp_path / name)
    again = mt.load(tmp_path / name)
    assert again["x"].requires_grad and not again["plain"].requires_grad
    assert type(again["p"]) is nn.Parameter and again["p"].requires_grad


def test_models_and_optimizers_go_on(path):
    mt.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = mt.optim.AdamW(model.parameters())
    model(mt.randn(5, 3)).sum().backward()
    optimizer.step()
    again = through({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    other.load_state_dict(again["model"])
    mt.optim.AdamW(other.parameters()).load_state_dict(again["optimizer"])
    x = mt.randn(2, 3)
    assert (other.eval()(x) == model.eval()(x)).all()


@pytest.mark.parametrize(
    "value, words",
    [
        (nn.Linear(2, 2), "the whole is a Linear"),
        ({"a": [np.ones(2)]}, r"\['a'\]\[0\] is a ndarray"),
        ({"s": {1, 2}}, r"\['s'\] is a set"),
        ({"f": np.float64(1)}, r"\['f'\] is a float64"),
    ],
)
def test_what_pytorch_could_not_read_is_said(path, value, words):
    with pytest.warns(UserWarning, match=words + ".*safetensors file, which PyTorch does not read"):
        mt.save(value, path)
    assert not path.read_bytes().startswith(b"PK")


def test_nothing_is_left_of_what_cannot_be_written(path):
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="in itself"):
        mt.save(loop, path)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("device", ["a", "cpu:0:0", ""])
def test_devices_that_there_are_not(path, device):
    path.write_bytes(forged(device))
    with pytest.raises(LoadError, match="a device that there is not"):
        mt.load(path)


def forged(name):
    from torch_archive import archive, called, text

    return archive(called("torch", "device", text(name)))
