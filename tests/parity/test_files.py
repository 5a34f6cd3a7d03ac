"""Files that PyTorch writes and reads: safetensors both ways, and what torch.save wrote."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

import microtensor as mt  # noqa: E402
from microtensor.files.serialization import LoadError  # noqa: E402

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


def example(dtype, shape=(3, 4)):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 5
    return x.to(getattr(torch, dtype))


def same(ours, theirs):
    """Whether a tensor, or a structure of plain values and tensors, is the same."""
    if isinstance(theirs, torch.Tensor):
        if theirs.dtype is torch.bfloat16:
            if ours.dtype is not mt.bfloat16:
                return False
            ours, theirs = ours.float(), theirs.float()
        return str(theirs.dtype).split(".")[1] == ours.dtype.name and np.array_equal(
            ours.numpy(), theirs.detach().numpy()
        )
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and ours == theirs


class Model(torch.nn.Module):
    """Weights of many kinds: tied, in half precision, transposed, a buffer."""

    def __init__(self):
        super().__init__()
        self.emb = torch.nn.Embedding(7, 4)
        self.head = torch.nn.Linear(4, 7, bias=False)
        self.head.weight = self.emb.weight
        self.norm = torch.nn.BatchNorm1d(4)
        self.register_buffer("mask", torch.ones(3, 3, dtype=torch.bool).triu())
        self.lower = torch.nn.Parameter(torch.randn(2, 3).bfloat16().t())


@pytest.fixture(params=[2, 3, 4, 5], ids="protocol {}".format)
def through(request, tmp_path):
    def through(obj):
        torch.save(obj, tmp_path / "f.pt", pickle_protocol=request.param)
        return mt.load(tmp_path / "f.pt")

    return through


# ---- safetensors ---------------------------------------------------------------------


def test_safetensors_of_pytorch_load_by_name(tmp_path):
    state = {dtype: example(dtype) for dtype in DTYPES} | {"bf": example("bfloat16")}
    save_file(state, tmp_path / "f", {"format": "pt"})
    ours = mt.load(tmp_path / "f")
    assert set(ours) == set(state) and all(same(ours[k], v) for k, v in state.items())


def test_safetensors_of_ours_load_in_pytorch(tmp_path):
    state = {dtype: example(dtype) for dtype in [*DTYPES, "bfloat16"]}
    wide = {k: v.float() if k == "bfloat16" else v for k, v in state.items()}
    mt.save({k: mt.tensor(v.numpy()).to(k) for k, v in wide.items()}, tmp_path / "f")
    theirs = load_file(tmp_path / "f")
    assert set(theirs) == set(state)
    for k, v in state.items():
        assert theirs[k].dtype is v.dtype and theirs[k].equal(v)


def test_a_trained_module_there_and_back(tmp_path):
    """In float64: a norm of four numbers may lie so close together that float32 rounds it away."""
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4)).double()
    ours = mt.nn.Sequential(mt.nn.Linear(3, 4), mt.nn.LayerNorm(4)).double()
    save_file(theirs.state_dict(), tmp_path / "f")
    ours.load_state_dict(mt.load(tmp_path / "f"))
    x = example("float64", (5, 3))
    y = ours(mt.tensor(x.numpy()))
    np.testing.assert_allclose(y.detach().numpy(), theirs(x).detach().numpy(), atol=1e-11)
    mt.save(ours.state_dict(), tmp_path / "g")
    theirs.load_state_dict(load_file(tmp_path / "g"))


# ---- torch.save ----------------------------------------------------------------------


def test_what_programs_save(through):
    model = Model()
    optimizer = torch.optim.AdamW([model.lower, *model.norm.parameters()], lr=1e-3)
    sum(p.float().square().sum() for p in model.parameters()).backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": {k: v for k, v in schedule.state_dict().items() if not k.startswith("_")},
        "rng": torch.get_rng_state(),
        "model_args": {"n_layer": 2, "dropout": 0.1, "bias": False, "name": None},
        "best_val_loss": torch.tensor(1.5),
        "betas": (0.9, 0.99),
        "shape": [model.lower.shape, model.lower.shape],
    }
    ours = through(checkpoint)
    assert same(ours, checkpoint)
    head, embedding = ours["model"]["head.weight"], ours["model"]["emb.weight"]
    head += 1
    assert same(embedding, model.emb.weight + 1)


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_tensors_of_every_kind_and_shape(through, dtype):
    x = example(dtype)
    views = [x, x.t(), x[1:, ::2], x[0], x[2, 3], x[:0], x.t()[1:3], x[:, :1].expand(3, 5)]
    assert same(through(views), views)
    assert same(through(torch.nn.Parameter(x, requires_grad=False)), x)


@pytest.mark.parametrize("order", ["little", "big"])
def test_the_order_of_bytes(order, tmp_path):
    x = [example(dtype) for dtype in DTYPES]
    options = torch.serialization.LoadEndianness
    torch.serialization.set_default_load_endianness(options.LITTLE)
    torch.save(x, tmp_path / "f.pt")
    if order == "big":  # what a machine of the other order writes
        import zipfile

        with zipfile.ZipFile(tmp_path / "f.pt") as file:
            parts = {name: file.read(name) for name in file.namelist()}
        for i, t in enumerate(x):
            swapped = np.frombuffer(parts[f"f/data/{i}"], t.numpy().dtype).byteswap()
            parts[f"f/data/{i}"] = swapped.tobytes()
        with zipfile.ZipFile(tmp_path / "f.pt", "w") as file:
            for name, data in parts.items():
                file.writestr(name, b"big" if name == "f/byteorder" else data)
    torch.serialization.set_default_load_endianness(None)
    assert same(mt.load(tmp_path / "f.pt"), x)


@pytest.mark.parametrize(
    "obj, name",
    [
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (torch.ones(2, dtype=torch.complex64), "torch.ComplexFloatStorage"),
        (torch.ones(2).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
        (torch.ones(2).to(torch.float8_e4m3fn), "torch._utils._rebuild_tensor_v3"),
        ({"a": [torch.complex64]}, "torch.complex64"),
        (b"bytes", "_codecs.encode"),
        ({1, 2}, "__builtin__.set"),
        (np.float64(1), "numpy._core.multiarray.scalar"),
        (torch.save, "torch.serialization.save"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(obj, name, tmp_path):
    torch.save(obj, tmp_path / "f.pt")
    with pytest.raises(LoadError, match=f"it asks for {name}, which is refused: only tensors"):
        mt.load(tmp_path / "f.pt")


def test_the_format_from_before_1_6(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "f.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(LoadError, match="a bare pickle, as PyTorch wrote before version 1.6"):
        mt.load(tmp_path / "f.pt")


@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_a_compiled_program(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "f.pt")
    with pytest.raises(LoadError, match="it asks for __torch__|compressed"):
        mt.load(tmp_path / "f.pt")
