"""Programs written for PyTorch find what they call; what is missing says its name."""

import csv
import hashlib
import importlib
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest

import microtensor as mt
from microtensor.compat import as_torch, weights
from microtensor.utils.tensorboard import SummaryWriter

PROGRAM = """
import torch
import torch.nn as nn
import torch.backends.cudnn as cudnn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.dataloader import DataLoader as Same
from torch.cuda.amp import GradScaler
from torch.utils.tensorboard import SummaryWriter

torch.manual_seed(0)
torch.cuda.manual_seed_all(0)
cudnn.benchmark = False
torch.backends.cuda.matmul.allow_tf32 = True
device = "mps" if torch.backends.mps.is_available() else "cpu"
data = TensorDataset(torch.randn(16, 3), torch.randint(0, 2, (16,)))
model = torch.compile(nn.Sequential(nn.Linear(3, 2)).to(device))
optimizer = torch.optim.RMSprop(model.parameters())
scaler = GradScaler(enabled=False)
for x, y in DataLoader(data, batch_size=8, shuffle=True):
    with torch.autocast(device_type=device, dtype=torch.bfloat16, enabled=False):
        loss = F.cross_entropy(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""


def loaded():
    return {name: m for name, m in sys.modules.items() if name.split(".")[0] == "torch"}


def test_a_program_runs_unmodified():
    before = loaded()
    with as_torch() as m:
        program = {}
        exec(PROGRAM, program)
    assert m is mt is program["torch"]
    assert program["Same"] is mt.utils.data.DataLoader
    assert isinstance(program["loss"], mt.Tensor)
    assert loaded() == before


def test_everything_is_put_back_after_an_error(monkeypatch):
    torch = types.ModuleType("torch")
    monkeypatch.setitem(sys.modules, "torch", torch)
    before, finders = loaded(), list(sys.meta_path)
    with pytest.raises(ZeroDivisionError), as_torch():
        import torch.nn

        assert torch.nn is mt.nn
        raise ZeroDivisionError
    assert loaded() == before
    assert sys.modules["torch"].__name__ == "torch"
    assert sys.meta_path == finders


def test_python_may_end_within():
    """As in a program that has no place for a `with`, and keeps nothing."""
    code = (
        "from microtensor.compat import as_torch; as_torch().__enter__(); import gc; gc.collect();"
    )
    code += "import torch; from torch import nn; print(torch.__name__, nn.Linear(2, 3))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "microtensor Linear(in_features=2, out_features=3, bias=True)" in done.stdout
    assert done.stderr == ""


def test_submodules_are_the_same_modules():
    code = """
        import sys
        import microtensor
        with microtensor.compat.as_torch():
            import torch.utils.tensorboard
            from torch.nn.utils.rnn import pad_sequence
        assert not any(name.startswith("torch") for name in sys.modules)
        assert pad_sequence is microtensor.nn.utils.rnn.pad_sequence
        from microtensor.utils.tensorboard import SummaryWriter
        assert SummaryWriter.__module__ == "microtensor.utils.tensorboard"
        import microtensor.nn.functional as F, microtensor.optim as optim
        from microtensor.utils.data.dataloader import DataLoader
        from microtensor.nn.modules import Module
        assert microtensor.nn.__spec__.name == "microtensor.nn"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


@pytest.mark.parametrize(
    "statement, kind, message",
    [
        ("import torch.onnx; torch.onnx.export(None)", NotImplementedError, "onnx.export"),
        ("import torch.package as p; p.PackageImporter(1)", NotImplementedError, "torch.package"),
        ("from torch.nn import LPPool2d; LPPool2d(2)", NotImplementedError, "LPPool2d"),
        ("import torch; torch.jit.trace", AttributeError, "trace"),
        ("import torch.multiprocessing as mp; mp.Pool(2)", NotImplementedError, "Pool"),
        ("import torch; torch.distributed.rpc.api.RRef(1)", NotImplementedError, "RRef"),
        ("from torch.distributed import nn; nn.all_reduce(1)", NotImplementedError, "nn.all_red"),
        ("import torch; torch.zeros(2, dtype=torch.cfloat)", TypeError, "cfloat"),
        ("import torch; torch.nn.Embedding(2, 2, sparse=True)", NotImplementedError, "sparse"),
        ("import torch; torch.set_float32_matmul_precision('low')", RuntimeError, "'low'"),
    ],
)  # fmt: skip
def test_what_is_missing_says_its_name(statement, kind, message):
    with as_torch(), pytest.raises(kind, match=message):
        exec(statement, {})


def test_flags_read_and_write():
    assert mt.get_float32_matmul_precision() == "highest"
    mt.set_float32_matmul_precision("high")
    assert mt.get_float32_matmul_precision() == "high"
    mt.set_float32_matmul_precision("highest")
    mt.use_deterministic_algorithms(True)
    assert mt.are_deterministic_algorithms_enabled()
    mt.use_deterministic_algorithms(False)
    assert not mt.backends.cudnn.is_available()
    assert not mt.distributed.is_initialized()
    assert not mt.cuda.is_bf16_supported()


def test_compile_gives_back_what_it_gets():
    model = mt.nn.Linear(2, 2)
    assert mt.compile(model, mode="max-autotune") is model
    model.compile()

    @mt.compile(fullgraph=True)
    def double(x):
        return 2 * x

    assert double(3) == 6


def test_seeding_the_gpu_leaves_the_stream_alone():
    mt.manual_seed(1)
    a = mt.rand(3)
    mt.manual_seed(1)
    mt.cuda.manual_seed_all(5)
    assert mt.equal(mt.rand(3), a)


def test_variables_of_old_programs():
    with as_torch():
        program = {}
        exec("import torch; from torch.autograd import Variable, grad", program)
    Variable, data = program["Variable"], mt.ones(2)
    assert Variable is mt.autograd.Variable is mt.autograd.variable.Variable
    x = Variable(data, requires_grad=True)
    assert program["grad"](x.sum(), x)[0].tolist() == [1.0, 1.0]
    assert not data.requires_grad and x.data_ptr() == data.data_ptr()
    assert Variable(x * 2).is_leaf and not Variable(x).requires_grad
    assert type(x) is mt.Tensor and isinstance(x, Variable) and not isinstance(3, Variable)
    assert isinstance(mt.nn.Parameter(data), Variable)
    with pytest.warns(UserWarning, match="volatile"):
        Variable(data, volatile=True)
    with pytest.raises(TypeError, match="int"):
        Variable(3)


def test_typed_tensors():
    assert mt.LongTensor([1, 2]).dtype is mt.int64
    assert mt.FloatTensor(2, 3).shape == (2, 3)
    assert mt.BoolTensor([0, 1]).tolist() == [False, True]
    assert isinstance(None, mt.LongTensor | None)
    mt.set_default_tensor_type("torch.DoubleTensor")
    try:
        assert mt.zeros(1).dtype is mt.float64
    finally:
        mt.set_default_tensor_type(mt.FloatTensor)
    with pytest.raises(TypeError, match="torch.WideTensor"):
        mt.ones(1).type("torch.WideTensor")


def test_storage_is_the_memory_that_views_share():
    x = mt.arange(6.0).reshape(2, 3)
    x.T[1:].storage()[4] = -1.0
    assert x[1, 1] == -1 and x.storage().data_ptr() == x.T[0].storage().data_ptr() == x.data_ptr()


def test_a_module_made_without_memory_gets_it():
    with mt.device("meta"):
        model = mt.compile(mt.nn.Linear(2, 1))
    assert model.to_empty(device="cpu") is model is model._orig_mod
    for p in model.parameters():
        mt.nn.init.ones_(p)
    assert model(mt.ones(2)).item() == 3 and list(model.state_dict()) == ["weight", "bias"]


def test_a_compiler_is_asked_for_and_nothing_happens():
    program = """
import torch
import torch._inductor.config as config
from torch.distributed.optim import ZeroRedundancyOptimizer

if hasattr(config, "coordinate_descent_tuning"):
    config.coordinate_descent_tuning = True
torch._dynamo.config.suppress_errors = True
torch._dynamo.reset()

@torch.compiler.disable
def f(x):
    return x if torch.compiler.is_compiling() else -x

@torch._dynamo.disable()
def g(x):
    return f(x)

found = g(torch.ones(1)).item()
"""
    names = {}
    try:
        with as_torch():
            exec(program, names)
    finally:
        del mt._dynamo.config.suppress_errors
    assert names["found"] == -1
    with pytest.raises(ValueError, match="has not been initialized"):
        names["ZeroRedundancyOptimizer"]([], optimizer_class=mt.optim.AdamW)
    with pytest.raises(ValueError, match="has not been initialized"):
        mt.distributed.get_rank()


def test_scalars_are_written(tmp_path):
    with SummaryWriter(tmp_path / "log") as writer:
        writer.add_scalar("loss", mt.tensor(0.5), 3, walltime=1)
        writer.add_scalars("acc", {"a": 1, "b": 2}, 4, walltime=2)
    with (tmp_path / "log" / "scalars.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["tag", "step", "value", "time"],
        ["loss", "3", "0.5", "1.000"],
        ["acc/a", "4", "1.0", "2.000"],
        ["acc/b", "4", "2.0", "2.000"],
    ]


def test_texts_are_written_and_pictures_said_to_be_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = SummaryWriter(comment="again")
    writer.add_text("note", "two\nlines", walltime=1)
    with pytest.warns(UserWarning, match="what add_image is given is not kept"):
        writer.add_image("digits", mt.zeros(1, 2, 2), 0)
    writer.add_image("digits", mt.zeros(1, 2, 2), 1)  # said once
    writer.close()
    writer.add_text("note", "more", 7, walltime=2)
    writer.close()
    with open("runs/again/texts.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [["note", "", "two\nlines", "1.000"], ["note", "7", "more", "2.000"]]
    with pytest.raises(AttributeError, match="has no 'other'"):
        writer.other()


# ---- flags, and names of older programs ----------------------------------------------


def test_flags_for_a_while():
    flags = mt.backends.cudnn
    assert flags.enabled and not flags.benchmark
    with flags.flags(enabled=False, benchmark=True):
        assert flags.benchmark and not flags.enabled
    assert flags.enabled and not flags.benchmark
    with pytest.raises(TypeError, match="fast"), mt.backends.mkldnn.flags(fast=True):
        pass
    assert mt.backends.mkldnn.is_available() in (True, False)
    assert mt.backends.openmp.is_available() and not mt.backends.mps.is_available()
    assert mt.cuda.is_available() or mt.accelerator.current_accelerator() is None


def test_ways_of_computing_attention_change_nothing():
    code = """
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel
        q = torch.randn(2, 3, 4)
        a = torch.nn.functional.scaled_dot_product_attention(q, q, q)
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
            b = torch.nn.functional.scaled_dot_product_attention(q, q, q)
        with torch.backends.cuda.sdp_kernel(enable_flash=False):
            assert torch.equal(a, b)
        torch.backends.cuda.enable_flash_sdp(False)
        assert not torch.backends.cuda.flash_sdp_enabled()
        torch.backends.cuda.enable_flash_sdp(True)
    """
    with as_torch():
        exec(textwrap.dedent(code), {})
    with pytest.raises(TypeError, match="flash"), mt.nn.attention.sdpa_kernel(["flash"]):
        pass


def test_names_of_older_programs():
    weight = mt.zeros(3, 4)
    with pytest.warns(FutureWarning, match="xavier_uniform_"):
        assert mt.nn.init.xavier_uniform(weight, gain=2.0) is weight
    assert weight.abs().max() > 0
    weight.requires_grad_().sum().backward()
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        assert mt.nn.utils.clip_grad_norm([weight], 1.0).item() == pytest.approx(12**0.5)
    with as_torch():
        from torch.nn.modules.utils import _ntuple, _pair
    assert _pair(3) == (3, 3) and _pair([1, 2]) == (1, 2) and _ntuple(3)("a") == ("a",)


def test_older_functions():
    with pytest.warns(UserWarning, match="arange"):
        line = mt.range(1, 3)
    assert (line.tolist(), line.dtype) == ([1.0, 2.0, 3.0], mt.float32)
    with pytest.warns(UserWarning):
        assert mt.range(0, 2.7, 0.5, dtype=mt.float64).tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    x = mt.tensor([[3.0, 0.0], [4.0, 5.0]])
    q, r = x.qr()
    u, s, v = x.svd()
    assert (q @ r).allclose(x, atol=1e-5) and (u * s @ v.T).allclose(x, atol=1e-5)
    assert x.as_strided((3, 2), (1, 1)).tolist() == [[3.0, 0.0], [0.0, 4.0], [4.0, 5.0]]
    with pytest.raises(mt.linalg.LinAlgError, match="inv"):
        mt.linalg.inv(mt.zeros(2, 2))
    assert issubclass(mt.linalg.LinAlgError, RuntimeError)


PLACES = """. .nn .nn.functional .nn.attention .nn.utils.rnn .nn.utils .optim .utils.data .linalg
.special .backends .backends.cudnn .distributions .random .autograd.functional .amp .cuda .hub
.func .testing .library""".split()


@pytest.mark.parametrize("path", PLACES)
def test_a_missing_name_says_where_the_others_are(path):
    public = f"microtensor{path}".rstrip(".")
    place = importlib.import_module(public)
    with pytest.raises(AttributeError, match=f"^{public} has no 'fourier'.*covered.md") as error:
        _ = place.fourier
    assert Path(str(error.value).rpartition(": ")[2]).is_file()
    assert not hasattr(place, "fourier")
    assert getattr(place, "fourier", 3) == 3


# ---- what packages call --------------------------------------------------------------


def test_the_older_compiler_gives_back_what_it_gets():
    @mt.jit.script
    def double(x):
        return 2 * x

    class Model(mt.jit.ScriptModule):
        @mt.jit.script_method
        def forward(self, x):
            return double(x)

    assert Model()(mt.ones(1)) == 2 and not mt.jit.is_scripting()
    assert isinstance(Model(), mt.jit.ScriptModule)
    assert not isinstance(mt.nn.Linear(1, 1), mt.jit.ScriptModule)
    assert mt.jit.ignore(drop=True)(double) is double


def test_safetensors_are_ours_within(tmp_path):
    import safetensors.numpy

    with as_torch():
        program = {}
        exec(
            "import safetensors.torch, torch\n"
            "from safetensors import safe_open\n"
            "from safetensors.torch import load_file, save_file",
            program,
        )
        assert program["load_file"] is safetensors.torch.load_file is weights.load_file
        program["save_file"]({"w": mt.ones(2, 3), "n": mt.arange(4)}, tmp_path / "f")
        assert {k: v.tolist() for k, v in safetensors.torch.load_file(tmp_path / "f").items()} == {
            "w": [[1, 1, 1], [1, 1, 1]], "n": [0, 1, 2, 3]
        }  # fmt: skip
    assert safetensors.numpy.load_file(tmp_path / "f")["w"].shape == (2, 3)
    assert "safetensors.torch" not in sys.modules or safetensors.torch is not mt.weights
    assert mt.equal(weights.load(weights.save({"w": mt.ones(2)}))["w"], mt.ones(2))


def test_a_model_with_shared_weights_is_saved_once(tmp_path):
    def model():
        net = mt.nn.Sequential(mt.nn.Embedding(5, 3), mt.nn.Linear(3, 5, bias=False))
        net[1].weight = net[0].weight
        return net

    one, two = model(), model()
    weights.save_model(one, tmp_path / "f")
    assert set(weights.load_file(tmp_path / "f")) == {"0.weight"}
    assert weights.load_model(two, tmp_path / "f") == (set(), [])
    assert mt.equal(one[1].weight, two[1].weight)
    with pytest.raises(RuntimeError, match=r"missing \['1.bias', '1.weight'\]"):
        weights.load_model(
            mt.nn.Sequential(mt.nn.Embedding(5, 3), mt.nn.Linear(3, 5)), tmp_path / "f"
        )


def test_a_file_as_memory(tmp_path):
    (tmp_path / "f").write_bytes(np.arange(4, dtype=np.int32).tobytes())
    storage = mt.UntypedStorage.from_file(str(tmp_path / "f"), nbytes=16)
    assert storage.nbytes() == len(storage) == 16 and storage[4] == 1
    x = mt.asarray(storage[4:12], dtype=mt.uint8).view(mt.int32)
    assert x.tolist() == [1, 2]
    assert weights.storage_ptr(x[1:]) == weights.storage_ptr(x)
    assert weights.storage_size(x[1:]) == 16 and x[1:].storage().tolist() == [0, 1, 2, 3]


def test_dtypes_that_no_tensor_has():
    x = mt.ones(2)
    assert x.dtype not in (mt.complex64, mt.uint16, mt.float8_e4m3fn)
    assert mt.complex64.is_complex and mt.finfo(mt.float8_e4m3fn).max == 448
    for call in (lambda: x.to(mt.complex64), lambda: mt.zeros(2, dtype=mt.uint16)):
        with pytest.raises(TypeError, match="is not a dtype of microtensor"):
            call()


def test_the_memory_of_bytes():
    data = bytearray(np.arange(4, dtype=np.float32).tobytes())
    x = mt.frombuffer(data, dtype=mt.float32, count=2, offset=4)
    x += 1
    assert x.tolist() == [2, 3] and np.frombuffer(data, np.float32).tolist() == [0, 2, 3, 3]


def test_what_is_not_compiled_says_so():
    with pytest.raises(NotImplementedError, match="cpp_extension.load: nothing is compiled"):
        mt.utils.cpp_extension.load("wkv", sources=["wkv.cu"])
    assert mt.utils.checkpoint.get_device_states(mt.ones(1)) == ([], [])


def test_what_hand_written_functions_ask_of_autocast():
    class Double(mt.autograd.Function):
        @staticmethod
        @mt.cuda.amp.custom_fwd
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        @mt.amp.custom_bwd(device_type="cuda")
        def backward(ctx, g):
            return 2 * g

    x = mt.ones(2, requires_grad=True)
    Double.apply(x).sum().backward()
    assert x.grad.tolist() == [2, 2]
    assert not mt.is_autocast_enabled() and not mt.is_autocast_enabled("cpu")


def test_published_weights_are_loaded_once(tmp_path):
    weights = tmp_path / "net.safetensors"
    mt.save({"w": mt.ones(2)}, weights)
    kept = weights.rename(
        tmp_path / f"net-{hashlib.sha256(weights.read_bytes()).hexdigest()[:8]}.pt"
    )
    with as_torch():
        import torch.utils.model_zoo as model_zoo
        from torch.hub import load_state_dict_from_url
    address, cache = kept.as_uri(), tmp_path / "cache"
    assert load_state_dict_from_url(address, cache, check_hash=True)["w"].tolist() == [1, 1]
    kept.unlink()
    assert model_zoo.load_url(address, cache)["w"].tolist() == [1, 1]
    mt.save({}, tmp_path / "net-00000000.pt")
    with pytest.raises(RuntimeError, match="not a file of hash 00000000"):
        load_state_dict_from_url((tmp_path / "net-00000000.pt").as_uri(), cache, check_hash=True)
    for there in cache.iterdir():  # what is there already is looked at, too
        there.write_bytes(there.read_bytes()[:-1] + b"x")
    with pytest.raises(RuntimeError, match="is not a file of hash"):
        load_state_dict_from_url(address, cache, check_hash=True)


def test_the_folder_of_published_weights_is_pytorchs(monkeypatch):
    monkeypatch.setenv("TORCH_HOME", "/somewhere")
    assert mt.hub.get_dir() == "/somewhere/hub"


def test_parts_of_nn_hold_what_they_keep_to_themselves():
    with as_torch():
        from torch.nn.modules.batchnorm import BatchNorm2d, _BatchNorm
        from torch.nn.modules.conv import _ConvNd
        from torch.nn.modules.instancenorm import _InstanceNorm
    assert isinstance(mt.nn.BatchNorm1d(2), _BatchNorm) and BatchNorm2d is mt.nn.BatchNorm2d
    assert isinstance(mt.nn.Conv2d(1, 1, 1), _ConvNd)
    assert isinstance(mt.nn.InstanceNorm1d(2), _InstanceNorm)


def test_small_functions_of_pytorchs():
    assert not isinstance(mt.nn.ReLU(), mt.jit.ScriptModule)
    assert mt.typename(3) == "int" and mt.typename(mt.nn.ReLU()).endswith(".ReLU")
    mt._assert(True, "fine")
    with pytest.raises(AssertionError, match="wrong"):
        mt._assert(False, "wrong")


def test_programs_may_ask_for_what_is_left_out():
    modules = [mt.nn.Linear(2, 2), mt.nn.Conv2d(1, 1, 1)]
    kinds = mt.nn.Conv1d, mt.nn.Conv2d, mt.nn.Conv3d, mt.nn.BatchNorm3d, mt.nn.SyncBatchNorm
    assert [isinstance(m, kinds) for m in modules] == [False, True]
    with pytest.raises(NotImplementedError, match="nn.Conv3d: three dimensions"):
        mt.nn.Conv3d(1, 1, 1)


def test_the_largest_singular_values():
    a = mt.randn(2, 5, 3, dtype=mt.float64)
    u, s, v = mt.svd_lowrank(a, q=3)
    assert mt.allclose(u @ mt.diag_embed(s) @ v.mT, a) and u.shape == (2, 5, 3)
    u, s, v = mt.svd_lowrank(a, q=2, M=a.mean(-1, keepdim=True))
    assert (u.shape, s.shape, v.shape) == ((2, 5, 2), (2, 2), (2, 3, 2))


def test_programs_may_import_what_is_left_out():
    assert mt.set_flush_denormal(True) is False
    assert mt.set_num_interop_threads(2) is None and mt.get_num_interop_threads() == 1
    with pytest.raises(RuntimeError, match="set_num_interop_threads: a positive integer"):
        mt.set_num_interop_threads(0)
    assert mt.OutOfMemoryError is mt.cuda.OutOfMemoryError
    with as_torch():
        from torch.distributions import Kumaraswamy, Normal, Wishart
        from torch.fft import rfft
        from torch.nn.common_types import _size_2_t, _size_any_t  # noqa: F401
        from torch.nn.utils.stateless import functional_call  # noqa: F401
    with pytest.raises(NotImplementedError, match="fft.rfft: complex numbers"):
        rfft(mt.ones(4))
    with pytest.raises(NotImplementedError, match="distributions.Wishart"):
        Wishart(3, mt.eye(2))
    with pytest.raises(NotImplementedError, match="Kumaraswamy: it is left out"):
        Kumaraswamy(1.0, 2.0)
    assert Normal is mt.distributions.Normal


def test_older_names_that_packages_ask_for():
    layer, seen = mt.nn.Linear(2, 1), []
    layer.register_backward_hook(lambda module, before, after: seen.append(after[0].shape))
    layer(mt.ones(3, 2)).sum().backward()
    assert seen == [(3, 1)]
    x = mt.ones(2, 2)
    assert x[0]._is_view() and not x._is_view()
    assert x.to_dense() is x and x.to_dense(mt.float64).dtype is mt.float64


@pytest.mark.parametrize("home", ["torch.amp", "torch.cuda.amp"])
def test_the_files_of_amp_have_names(home):
    with as_torch():
        amp = importlib.import_module(home)
        for name, kind in (("grad_scaler", "GradScaler"), ("autocast_mode", "autocast")):
            module = importlib.import_module(f"{home}.{name}")
            assert getattr(module, kind) is getattr(amp, kind)


def test_what_stands_among_the_modules_is_the_attribute():
    for name, module in list(sys.modules.items()):
        if name.startswith("microtensor.distributed"):
            place, _, last = name.rpartition(".")
            assert getattr(sys.modules[place], last) is module, name


def test_threads_without_the_package_that_sets_them(monkeypatch):
    from microtensor.backends import threads

    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert mt.get_num_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert mt.get_num_threads() == os.cpu_count()
    threads._cannot.cache_clear()
    with pytest.warns(UserWarning, match=r"nothing is set .*\[fast\]") as told:
        mt.set_num_threads(1)
        mt.set_num_threads(1)
    assert [w.filename for w in told] == [__file__]
    with pytest.raises(RuntimeError, match="a positive integer"):
        mt.set_num_threads(0)


def test_samples_of_pytorch_need_it():
    """Started as a program, in one line."""
    code = (
        "import runpy, sys; sys.modules['torch'] = None; "
        "runpy.run_module('tests.parity.test_op_db', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "PyTorch" in done.stderr
