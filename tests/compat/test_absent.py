"""Names of PyTorch's that are not there import, and raise with their name when they are used."""

import importlib.metadata
import importlib.util
import subprocess
import sys

import pytest

import microtensor as mt
from microtensor.compat import absent, as_torch

PROGRAM = """
import dataclasses
from abc import ABC
from typing import Optional

import torch
import torch.package
import torch.distributed.checkpoint.state_dict as state_dict
from torch import nn, sparse
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
from torch.nn import LPPool2d
from torch.onnx import symbolic_opset11 as opset
from torch.onnx.symbolic_helper import parse_args

class Pool(nn.Module, LPPool2d):
    pass

class Strategy(FullyShardedDataParallel, ABC):
    def __init__(self):
        pass

@dataclasses.dataclass
class Options:
    strategy: ShardingStrategy | None = ShardingStrategy.FULL_SHARD
    pool: Optional[torch.SymInt] = None
    by_name: "dict[str, torch.Generator | LPPool2d]" = None
    several: LPPool2d[int] = None

@torch.jit.trace
def traced(x):
    return x

@parse_args("v", "i")
def symbolic(g, x=1):
    return x

TABLE = {torch.stft: symbolic, torch.Tensor.to_sparse: traced}
"""
USES = {
    "LPPool2d(2)": "torch.nn.LPPool2d",
    "Pool()": "torch.nn.LPPool2d",
    "Strategy()": "torch.distributed.fsdp.FullyShardedDataParallel",
    "traced(1)": "torch.jit.trace",
    "symbolic(1, 2)": "torch.onnx.symbolic_helper.parse_args",
    "state_dict.get_state_dict(None)": "torch.distributed.checkpoint.state_dict.get_state_dict",
    "Options().strategy == 3": "torch.distributed.fsdp.ShardingStrategy.FULL_SHARD",
    "bool(torch.stft)": "torch.stft",
    "torch.stft[0]": "torch.stft",
    "torch.stft + 1": "torch.stft",
    "len(sparse.mm)": "torch.sparse.mm",
    "list(opset.squeeze)": "torch.onnx.symbolic_opset11.squeeze",
    "torch.ops.torchvision.nms(1)": "torch.ops.torchvision.nms",
}


@pytest.fixture(scope="module")
def program():
    with as_torch():
        names = {}
        exec(PROGRAM, names)
    return names


@pytest.mark.parametrize("use, name", USES.items())
def test_what_is_used_says_its_name(program, use, name):
    with as_torch(), pytest.raises(NotImplementedError, match=f"microtensor has no {name}"):
        eval(use, program)


def test_nothing_is_an_instance(program):
    pool = program["LPPool2d"]
    assert not isinstance(3, pool) and isinstance(3, (pool, int)) and isinstance(3, pool | int)
    assert not isinstance(mt.ones(1), pool | None) and not issubclass(int, pool)
    assert pool == pool and pool in [int, pool] and hash(pool) == hash(pool)
    assert "LPPool2d" in repr(pool)


QUESTIONS = """
import importlib.util
import torch

assert not hasattr(torch, "hamming_window") and getattr(torch, "stft", 5) == 5
assert not hasattr(torch.nn, "LPPool1d") and not hasattr(torch.Tensor, "to_sparse_coo")
assert importlib.util.find_spec("torch.masked") is None
caught = []
try:
    from torch.nn import LPPool1d
except ImportError:
    caught.append(1)
try:
    import torch.masked
except (ImportError, RuntimeError):
    caught.append(2)
try:
    torch.hamming_window
except AttributeError:
    caught.append(3)
try:
    window = torch.hamming_window
except Exception:
    caught.append(4)
try:
    from torch.masked import masked_tensor
except:
    caught.append(5)
try:
    from torch.nn import LPPool1d as kept
finally:
    caught.append(6)
"""


def test_questions_are_answered_with_the_truth():
    with as_torch():
        names = {}
        exec(QUESTIONS, names)
    assert names["caught"] == [1, 2, 3, 4, 5, 6]
    assert names["kept"].is_absent


@pytest.mark.parametrize(
    "statement",
    ["import torch.nope", "from torch import nope", "from torch.nn import Conv9d",
     "import torch._six", "import torch; torch.nope(1)", "import torch; torch.nn.Nope(2)",
     "import torch.package.nope", "from torch.package import nope",
     "import torch; torch.Tensor.nope()"],
)  # fmt: skip
def test_what_pytorch_lacks_is_missing(statement):
    with as_torch(), pytest.raises((ImportError, AttributeError), match="nope|Conv9d|_six|Nope"):
        exec(statement, {})


def test_nothing_of_it_is_left_behind():
    code = """
from microtensor.compat import as_torch
import microtensor, sys
with as_torch():
    exec(PROGRAM, {})
assert not hasattr(microtensor, "package") and not hasattr(microtensor.distributed, "fsdp")
assert not [name for name in sys.modules if name.startswith("torch")]
try:
    microtensor.nn.LPPool2d
except AttributeError:
    print("none")
"""
    code = f"PROGRAM = {PROGRAM!r}\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "none\n", done.stderr


def test_pytorch_is_an_installed_package():
    with as_torch():
        assert importlib.metadata.version("torch") == "2.13.0"


def test_the_names_are_those_of_one_version():
    names = absent.pytorchs_names()
    assert {"stft", "Tensor", "nn"} & names["torch"] == {"stft", "Tensor"}
    assert names["torch._C"] is None and "torch.nn.functional" in names


def test_extensions_in_c_are_not_to_be_had():
    with pytest.raises(OSError, match="load_library"):
        mt.ops.load_library("extension.so")


def test_classes_of_nodes_have_pytorchs_names():
    x = mt.ones(2, 2, requires_grad=True)
    with as_torch():
        mean = (x @ x).mean()
        assert type(mean.grad_fn).__name__ == mean.grad_fn.name() == "MeanBackward0"
        assert type(mean.grad_fn.next_functions[0][0]).__name__ == "MmBackward0"
        mean.backward()
    assert x.grad.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert x.mean().grad_fn.name() == "mean"


@pytest.mark.parametrize(
    "name",
    ["torch.nn.parallel.scatter_gather", "torch.distributions.lkj_cholesky", "torch.func.no"],
)
def test_modules_below_one_that_is_a_single_file_here(name):
    """They import if PyTorch has them; others are not there, as in PyTorch."""
    with as_torch():
        if name.endswith(".no"):
            with pytest.raises(ModuleNotFoundError):
                exec(f"import {name}")
            return
        spaces = {}
        exec(f"import {name} as m", spaces)
        assert spaces["m"].is_absent and not hasattr(spaces["m"], "no_such_name")
