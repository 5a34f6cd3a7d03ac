"""Saving and loading: what comes back, what is refused, what a damaged file or a full disk does."""

import errno
import io
import json
import math
import os
import random
import resource
import sys
from collections import Counter, OrderedDict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import microtensor as mt
from microtensor.files.serialization import LoadError, write_whole
from microtensor.files.serialization import save_file as save_file_of_ours

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "bfloat16", "float16", "float32",
          "float64"]  # fmt: skip


def same(a, b):
    """Whether two objects are alike in kind and value, tensors and NaN included."""
    if isinstance(a, mt.Tensor) or isinstance(b, mt.Tensor):
        if type(a) is not type(b) or a.dtype is not b.dtype or a.shape != b.shape:
            return False
        a, b = (x.detach().float() if x.dtype is mt.bfloat16 else x for x in (a, b))
        return a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def through(obj, tmp_path):
    mt.save(obj, tmp_path / "file")
    return mt.load(tmp_path / "file")


# ---- what comes back -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 3), (2, 0)])
def test_tensors(dtype, shape, tmp_path):
    x = (mt.rand(shape, generator=mt.Generator().manual_seed(0)) * 10).to(dtype)
    assert same(through(x, tmp_path), x)
    assert same(through({"x": [x]}, tmp_path), {"x": [x]})


def test_devices(device, tmp_path):
    x = mt.arange(6.0).reshape(2, 3)
    loaded = through([x.to(device), x.to(device).t()], tmp_path)
    assert same(loaded, [x, x.t()]) and loaded[0].device.type == "cpu"
    there = mt.load(tmp_path / "file", map_location=device)
    assert [t.device.type for t in there] == [device] * 2 and same(there[1].cpu(), x.t())


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.t(),
        lambda x: x.flip(0),
        lambda x: x[:, 1:3],
        lambda x: x[1],
        lambda x: x[0, 0],
        lambda x: x.permute(1, 0)[::2],
        lambda x: mt.ones(1).expand(4, 5),
        lambda x: mt.from_numpy(np.arange(6)[::-1]),
    ],
)
def test_views(view, tmp_path):
    x = view(mt.arange(12.0).reshape(3, 4))
    assert same(through([x], tmp_path), [x])


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -(2**200), 1.5, -0.0, 5e-324, math.inf, -math.inf, math.nan,
        "", "a\n\0ü€😀", "\ud800", [], {}, (), [[], {}, ()], (1, (2, [3, (None,)])),
        {1: "one", "1": "text", None: 0, False: "no", 2.5: "half"},
        {"$tensor": "x", "$": {"$tuple": [1]}}, {"": {"": ""}}, {math.inf: 1},
    ],
)  # fmt: skip
def test_plain_values(value, tmp_path):
    assert same(through(value, tmp_path), value)
    assert same(through({"x": [value]}, tmp_path), {"x": [value]})


def test_subclasses_come_back_as_the_plain_thing(tmp_path):
    value = {
        "c": Counter("aab"),
        "n": np.float64(0.1),
        "s": mt.zeros(2, 3).shape,
    }
    assert same(
        through(value, tmp_path),
        {"c": {"a": 2, "b": 1}, "n": 0.1, "s": (2, 3)},
    )


def test_a_state_dict_stays_an_ordered_one(tmp_path):
    """`isinstance(checkpoint, OrderedDict)` is how programs tell weights from a checkpoint."""
    for value in (mt.nn.Linear(2, 1).state_dict(), {"o": OrderedDict({2: 1, "$": OrderedDict()})}):
        assert same(through(value, tmp_path), value)


def test_tensors_come_back_without_history_and_can_be_changed(tmp_path):
    w = mt.ones(3, requires_grad=True)
    loaded = through({"leaf": w, "result": w * 2}, tmp_path)
    for t in loaded.values():
        assert type(t) is mt.Tensor and t.requires_grad and t.is_leaf  # as PyTorch's files have it
        with mt.no_grad():
            t += 1
    assert loaded["result"].tolist() == [3, 3, 3]


def test_a_tensor_that_occurs_twice_is_one_again(tmp_path):
    x = mt.ones(3)
    loaded = through({"a": x, "b": {"c": [x, x.clone()]}, "d": x.detach()}, tmp_path)
    assert loaded["a"] is loaded["b"]["c"][0] is loaded["d"]
    assert loaded["a"] is not loaded["b"]["c"][1]
    # and stands in the file under both names, for other readers
    assert sorted(load_file(tmp_path / "file")) == ["a", "b.c.0", "b.c.1", "d"]


def test_a_whole_checkpoint(tmp_path):
    model = mt.nn.Sequential(mt.nn.Linear(3, 4), mt.nn.LayerNorm(4), mt.nn.Linear(4, 2))
    optimizer = mt.optim.AdamW(model.parameters())
    schedule = mt.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    generator = mt.Generator().manual_seed(3)
    for _ in range(2):
        optimizer.zero_grad()
        model(mt.randn(5, 3, generator=generator)).square().sum().backward()
        optimizer.step()
        schedule.step()
    saved = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "rng": generator.get_state(),
        "step": 2,
    }
    loaded = through(saved, tmp_path)
    expected = mt.randn(5, 3, generator=generator)
    assert same(loaded["optimizer"], saved["optimizer"]) and loaded["schedule"] == saved["schedule"]
    assert list(loaded["model"]) == list(saved["model"])
    again = mt.nn.Sequential(mt.nn.Linear(3, 4), mt.nn.LayerNorm(4), mt.nn.Linear(4, 2))
    again.load_state_dict(loaded["model"])
    assert again(expected).equal(model(expected))
    other = mt.Generator()
    other.set_state(loaded["rng"])
    assert mt.randn(5, 3, generator=other).equal(expected)


plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=5)
)
keys = st.text(st.characters(codec=None), max_size=3) | st.sampled_from(
    ["$tensor", "$dict", "__metadata__", "a", "a.b", "b", "0", "tensor"]
) | st.integers(-2, 3)  # fmt: skip
tensors = st.builds(
    lambda shape, dtype, seed: (mt.randn(shape, generator=mt.Generator().manual_seed(seed)) * 5).to(
        dtype
    ),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.sampled_from(DTYPES),
    st.integers(0, 9),
)
objects = st.recursive(
    plain | tensors,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)
quick = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(objects)
def test_any_structure_comes_back(tmp_path, obj):
    assert same(through(obj, tmp_path), obj)


# ---- files of others, and files for others -------------------------------------------


def test_a_dict_of_tensors_is_an_ordinary_safetensors_file(tmp_path):
    state = {"wte.weight": mt.randn(3, 2), "b": mt.arange(3), "h.0.scale": mt.tensor(2.0)}
    mt.save(state, tmp_path / "file")
    arrays = load_file(tmp_path / "file")
    assert set(arrays) == set(state)
    for name, t in state.items():
        assert np.array_equal(arrays[name], t.numpy()) and arrays[name].dtype == t.numpy().dtype


def test_nested_tensors_have_the_names_of_their_paths(tmp_path):
    x = mt.ones(1)
    mt.save(
        {"model": {"w": x + 1}, "state": {0: [x]}, "model.w": x + 2, "__metadata__": x + 3},
        tmp_path / "f",
    )
    names = {"model.w": 2, "state.0.0": 1, "model.w_2": 3, "__metadata___2": 4}
    assert {k: v.item() for k, v in load_file(tmp_path / "f").items()} == names
    mt.save(x, tmp_path / "f")
    assert list(load_file(tmp_path / "f")) == ["tensor"]


def test_the_structure_is_json_that_anyone_can_read(tmp_path):
    mt.save({"step": 3, "betas": (0.9, 0.99), "w": mt.ones(2)}, tmp_path / "f")
    with safe_open(tmp_path / "f", "numpy") as file:
        structure = json.loads(file.metadata()["microtensor"])["structure"]
    assert structure == {"step": 3, "betas": {"$tuple": [0.9, 0.99]}, "w": {"$tensor": "w"}}


def test_the_same_object_gives_the_same_bytes(tmp_path):
    obj = {"b": mt.arange(3), "a": [mt.ones(2, 2), 1.5]}
    mt.save(obj, tmp_path / "a")
    mt.save(mt.load(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tensors_for_other_programs(device, tmp_path):
    tensors = {"x": mt.arange(6.0).reshape(2, 3).t().to(device), "n": mt.tensor(3)}
    save_file_of_ours(tensors, tmp_path / "f")
    with safe_open(tmp_path / "f", "numpy") as file:
        assert file.metadata() == {"format": "pt"} and set(file.keys()) == {"x", "n"}
        assert file.get_tensor("x").tolist() == [[0, 3], [1, 4], [2, 5]]
    assert same(mt.load(tmp_path / "f")["n"], mt.tensor(3))


def test_open_files(tmp_path):
    file = io.BytesIO()
    mt.save([1, mt.ones(2)], file)
    file.seek(0)
    assert same(mt.load(file), [1, mt.ones(2)])
    with pytest.raises(LoadError, match="^the file cannot be loaded"):
        mt.load(io.BytesIO(b"rubbish"))
    with open(tmp_path / "f", "wb") as file:
        mt.save({"a": 1}, file)
    with open(tmp_path / "f", "rb") as file:
        assert mt.load(file) == {"a": 1}


@pytest.mark.parametrize("start", [b"PK", b"\x80\x02"])
def test_a_header_as_long_as_the_mark_of_another_format(start, tmp_path):
    """The first bytes say how long the header is: 19,280 begins like a zip, 640 like a pickle."""
    save_file({"x": np.ones(2)}, tmp_path / "f")
    data = (tmp_path / "f").read_bytes()
    length = int.from_bytes(start, "little")
    header = data[8:-16].ljust(length)
    (tmp_path / "f").write_bytes(length.to_bytes(8, "little") + header + data[-16:])
    assert mt.load(tmp_path / "f")["x"].tolist() == [1, 1]


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_file_of_another_program_is_a_dict_of_tensors(metadata, tmp_path):
    arrays = {
        "x": np.arange(6.0).reshape(2, 3),
        "m": np.array(True),
        "e": np.zeros((0, 2), np.int8),
    }
    save_file(arrays, tmp_path / "f", metadata)
    loaded = mt.load(tmp_path / "f")
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert same(loaded[name], mt.tensor(array))
    loaded["x"] += 1


def foreign(path, kind, shape, data):
    """A safetensors file by hand."""
    header = json.dumps(
        {"x": {"dtype": kind, "shape": shape, "data_offsets": [0, len(data)]}}
    ).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_bfloat16_of_other_programs(tmp_path):
    values = np.array([0.0, -0.0, 1.0, -2.5, math.inf, 2.0**-130], np.float32)
    foreign(
        tmp_path / "f", "BF16", [2, 3], (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    )
    x = mt.load(tmp_path / "f")["x"]
    assert same(x, mt.tensor(values.reshape(2, 3), dtype=mt.bfloat16))
    foreign(tmp_path / "f", "BF16", [], b"\x80\x3f")
    assert same(mt.load(tmp_path / "f")["x"], mt.tensor(1.0, dtype=mt.bfloat16))


@pytest.mark.parametrize("kind, size", [("U16", 2), ("U64", 8), ("F8_E4M3", 1), ("C64", 8)])
def test_a_dtype_that_we_lack(kind, size, tmp_path):
    foreign(tmp_path / "f", kind, [3], bytes(3 * size))
    with pytest.raises(
        LoadError, match=f"f cannot be loaded: tensor 'x' has dtype {kind}; microtensor has"
    ):
        mt.load(tmp_path / "f")


def test_a_bool_is_0_or_1(tmp_path):
    foreign(tmp_path / "f", "BOOL", [3], b"\1\0\2")
    with pytest.raises(LoadError, match="tensor 'x' has booleans that are neither 0 nor 1"):
        mt.load(tmp_path / "f")


# ---- objects -------------------------------------------------------------------------


class Config:
    def __init__(self, **options):
        vars(self).update(options)


def twice(x):
    return x * 2


class Tied(mt.nn.Module):
    """A model with whatever one may have among its attributes."""

    def __init__(self):
        super().__init__()
        nn = mt.nn
        self.embedding, self.out = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.out.weight = self.embedding.weight
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, 0.1, mt.nn.functional.gelu)
        self.act = nn.ReLU()
        self.net = nn.Sequential(nn.Linear(4, 4), self.act, nn.LSTM(4, 4), self.act)
        self.frozen = nn.Parameter(mt.ones(2), requires_grad=False)
        self.register_buffer("mask", mt.ones(3, dtype=mt.bool), persistent=False)
        self.kind, self.where, self.table = mt.float16, mt.device("cpu"), np.arange(3.0)
        self.config, self.f, self.seen = Config(a=[1, 2.5]), twice, {"b", "a"}
        self.config.model, self.none, self.numbers = [self], None, {1: np.int64(3)}

    def forward(self, x):
        return self.out(self.f(self.act(self.layer(self.embedding(x)))))


def test_a_whole_module(tmp_path):
    model = Tied().eval()
    mt.save({"model": model, "args": model.config}, tmp_path / "f")
    again = mt.load(tmp_path / "f", weights_only=False)["model"]
    assert type(again) is Tied and repr(again) == repr(model) and not again.training
    assert same(dict(again.state_dict()), dict(model.state_dict()))
    assert again.out.weight is again.embedding.weight and again.net[1] is again.net[3] is again.act
    assert not again.frozen.requires_grad and again.out.weight.requires_grad
    assert again.mask.all() and "mask" not in again.state_dict()
    assert (again.kind, again.where, again.f) == (mt.float16, mt.device("cpu"), twice)
    assert (
        again.config.a == [1, 2.5] and again.config.model[0] is again and again.seen == {"a", "b"}
    )
    assert again.table.tolist() == [0, 1, 2] and type(again.numbers[1]) is np.int64
    x = mt.tensor([[0, 1, 2]])
    assert same(again(x).detach(), model(x).detach())
    mt.optim.SGD(again.parameters(), 0.1)  # they are parameters
    for first, then in zip(model.parameters(), again.parameters(), strict=True):
        assert type(then) is mt.nn.Parameter and first.requires_grad is then.requires_grad


def test_what_else_is_in_checkpoints(tmp_path):
    """The states of other generators, names, paths: all as they were."""
    arrays = [
        np.arange(6.0).reshape(2, 3),
        np.array([1 + 2j]),
        np.array(["ab", "ü"]),
        np.array(b"x"),
    ]
    value = {
        "python": random.getstate(),
        "numpy": np.random.RandomState(0).get_state(),
        "arrays": arrays,
        "empty": np.zeros((0, 3), np.uint16),
        "number": np.uint32(7),
        "out": tmp_path / "runs",
        "seen": {3, 1},
    }
    again = through(value, tmp_path)
    assert again["python"] == value["python"] and again["seen"] == {1, 3}
    assert again["out"] == tmp_path / "runs"
    numbers = np.random.RandomState(1)
    numbers.set_state(again["numpy"])
    assert numbers.rand() == np.random.RandomState(0).rand()
    for one, other in zip([*arrays, value["empty"]], [*again["arrays"], again["empty"]]):
        np.testing.assert_array_equal(other, one)
        assert other.dtype == one.dtype and other.shape == one.shape
    assert again["number"] == 7 and type(again["number"]) is np.uint32


def test_whose_classes_a_file_may_name(tmp_path):
    from microtensor.files.serialization import safe_globals

    mt.save(mt.nn.Sequential(mt.nn.Linear(2, 2), mt.nn.ReLU()), tmp_path / "own")
    with pytest.raises(LoadError) as told:
        mt.load(tmp_path / "own")
    line = "safe_globals([mt.nn.Sequential, mt.nn.Linear, mt.nn.ReLU])"
    assert str(told.value).endswith(f"if you trust it, load it within mt.serialization.{line}")
    with eval(f"mt.serialization.{line}", {"mt": mt}):
        assert repr(mt.load(tmp_path / "own")).startswith("Sequential(")
    mt.save({"c": Config(a=1)}, tmp_path / "f")
    with pytest.raises(LoadError, match="it asks for .*Config; if you trust it"):
        mt.load(tmp_path / "f")
    with safe_globals([Config]):
        assert mt.load(tmp_path / "f")["c"].a == 1
    with pytest.raises(LoadError, match="it asks for"):
        mt.load(tmp_path / "f")


def test_a_class_of_a_module_that_is_not_imported_yet(tmp_path, monkeypatch):
    (tmp_path / "a_model_of_ones_own.py").write_text("class Config:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import a_model_of_ones_own

    mt.save(a_model_of_ones_own.Config(), tmp_path / "f")
    del sys.modules["a_model_of_ones_own"]
    with pytest.raises(LoadError, match="it asks for a_model_of_ones_own.Config; if you"):
        mt.load(tmp_path / "f")
    assert "a_model_of_ones_own" not in sys.modules
    assert type(mt.load(tmp_path / "f", weights_only=False)).__name__ == "Config"


@pytest.mark.parametrize(
    "structure",
    [
        {"$name": "os:system"},
        {"$name": "posix:system"},
        {"$name": "builtins:eval"},
        {"$name": "microtensor.nn.init:math.sqrt"},
        {"$name": "microtensor.nn.module:Parameter.__init__.__globals__"},
        {"$name": "microtensor.serialization:write_whole"},
        {"$object": "subprocess:Popen", "attributes": {}},
        {"$object": "microtensor.nn.functional:relu", "attributes": {}},
        {"$object": "microtensor.nn.layers:Linear", "attributes": []},
        {"$object": "microtensor.nn.layers:Linear", "attributes": {"$dict": [[1, 2]]}},
        {"$object": "nowhere:Nothing", "attributes": {}},
        {"$object": 3},
        {"$again": 0},
        {"$parameter": "microtensor.nn.module:Parameter", "tensor": "x", "requires_grad": True},
        {"$array": "x"},
        {"$array": "x", "dtype": "O", "shape": [1]},
        {"$path": 1},
        {"$dtype": "complex64"},
        {"$set": [[1]]},
    ],
    ids=repr,
)
def test_names_that_are_refused(structure, tmp_path, monkeypatch):
    encoded = "microtensor.serialization._encoded"
    monkeypatch.setattr(encoded, lambda *_: structure)
    mt.save(None, tmp_path / "f")
    with pytest.raises(LoadError, match="f cannot be loaded: it "):
        mt.load(tmp_path / "f")


# ---- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    "obj, message",
    [
        ({"a": [0, {"b": b"bytes"}]}, "a value at 'a.1.b' is a bytes; tensors, None, bools"),
        ({"x": {b"bytes"}}, "a value at 'x.0' is a bytes"),
        (1 + 2j, "a value at the top is a complex"),
        ({"x": np.array([None])}, "a value at 'x' is a ndarray; arrays of numbers, booleans"),
        ({"x": np.zeros(1, "i4,f4")}, "a value at 'x' is a ndarray; arrays of numbers"),
        ({"f": lambda x: x}, "a value at 'f' is a function"),
        ({"f": "".join}, "a value at 'f' is a builtin_function_or_method"),
        ({"m": mt.nn.Linear(1, 1).forward}, "a value at 'm' is a method"),
        ({"m": np}, "a value at 'm' is a module"),
        ({"o": object()}, "a value at 'o' is a object"),
        ({"o": io.BytesIO()}, "a value at 'o' is a BytesIO"),
        ({"a": {(1, 2): 3}}, "a key at 'a' is a tuple; keys are strings, numbers, bools or None"),
        ({mt.ones(1): 3}, "a key at the top is a Tensor"),
    ],
)
def test_what_cannot_be_saved(obj, message, tmp_path):
    with pytest.raises(TypeError) as told:
        mt.save(obj, tmp_path / "f")
    assert str(told.value).startswith(f"save: {message}")
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_nobody_finds_again(tmp_path):
    class Local(mt.nn.Module):
        pass

    with pytest.raises(TypeError, match="a value at the top is a Local; save its state_dict()"):
        mt.save(Local(), tmp_path / "f")


def test_an_object_that_contains_itself(tmp_path):
    endless = [1]
    endless.append({"again": endless})
    with pytest.raises(TypeError, match="contains itself, or is nested too deeply"):
        mt.save(endless, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_no_reader_would_take(tmp_path, monkeypatch):
    monkeypatch.setattr("microtensor.serialization.TEXT_LIMIT", 1000)
    with pytest.raises(TypeError, match="values that are not tensors; make tensors of them"):
        mt.save({"n": list(range(1000))}, tmp_path / "f")
    mt.save({"n": mt.arange(1000)}, tmp_path / "f")


def test_a_number_too_long_for_json(tmp_path):
    with pytest.raises(TypeError, match="digits"):
        mt.save({"n": 10**10_000}, tmp_path / "f")


# ---- damage --------------------------------------------------------------------------

CHECKPOINT = {
    "model": {"w": mt.arange(6.0).reshape(2, 3), "mask": mt.tensor([True, False])},
    "optimizer": {"state": {0: {"step": 7}}, "betas": (0.9, 0.99)},
    "name": "run",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "f"
    mt.save(CHECKPOINT, path)
    return path.read_bytes()


def refused(path, data):
    path.write_bytes(data)
    with pytest.raises(LoadError) as told:
        mt.load(path)
    assert str(told.value).startswith(f"{path} cannot be loaded: ")
    return str(told.value)


def test_every_truncation_is_noticed(whole, tmp_path):
    for n in range(len(whole)):
        refused(tmp_path / "f", whole[:n])
    refused(tmp_path / "f", whole + b"\0")


def test_a_flipped_bit_in_any_byte_is_noticed(whole, tmp_path):
    for i in range(len(whole)):
        flipped = whole[i] ^ 1 << i % 8
        refused(tmp_path / "f", whole[:i] + bytes([flipped]) + whole[i + 1 :])


@quick
@given(st.data())
def test_any_damage_is_noticed(whole, tmp_path, data):
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start, min(len(whole), start + 40)))
    damaged = whole[:start] + data.draw(st.binary(max_size=40)) + whole[end:]
    if damaged != whole:
        refused(tmp_path / "f", damaged)


@quick
@given(st.binary(max_size=300), st.booleans())
def test_rubbish_is_refused(tmp_path, data, framed):
    if framed:  # with a header of the right length
        data = len(data).to_bytes(8, "little") + data
    refused(tmp_path / "f", data)


@pytest.mark.parametrize(
    "structure",
    [
        '{"$tensor": "nowhere"}', '{"$tensor": []}', '{"$tuple": 3}', '{"$dict": [[[], 1]]}',
        '{"$dict": [1]}', '{"$float": "x"}', '{"$float": null}', "[" * 9**5 + "]" * 9**5, "{", "",
    ],
)  # fmt: skip
def test_a_forged_structure_is_refused(structure, tmp_path):
    """With a checksum that is right."""
    from microtensor.files.serialization import BLANK, _digest

    text = f'{{"sha256": "{BLANK}", "structure": {structure}}}'
    save_file({"x": np.ones(2)}, tmp_path / "f", {"microtensor": text})
    data = (tmp_path / "f").read_bytes()
    told = refused(tmp_path / "f", data.replace(BLANK.encode(), _digest(data, BLANK).encode(), 1))
    assert "its structure makes no sense" in told


@pytest.mark.parametrize("seal", ["null", '""', '"abc"', "3", "[]", '{"a": 1}'])
def test_a_forged_checksum_is_refused(seal, tmp_path):
    save_file(
        {"x": np.ones(2)}, tmp_path / "f", {"microtensor": f'{{"sha256": {seal}, "structure": 1}}'}
    )
    assert "damaged" in refused(tmp_path / "f", (tmp_path / "f").read_bytes())


def test_something_else_altogether(tmp_path):
    assert "not a safetensors file" in refused(tmp_path / "f", b"First Citizen: Before we proceed")
    assert "not a safetensors file" in refused(tmp_path / "f", b"")
    assert "it is damaged: File is not a zip file" in refused(tmp_path / "f", b"PK\3\4rest")
    assert "a bare pickle" in refused(tmp_path / "f", b"\x80\x02}q\x00.")
    with pytest.raises(FileNotFoundError, match="missing"):
        mt.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        mt.load(tmp_path)
    with pytest.raises(RuntimeError, match="unknown device"):
        mt.load(tmp_path / "f", map_location="moon")


# ---- whole or not at all -------------------------------------------------------------


@pytest.fixture
def old(tmp_path):
    """A folder with a file that must survive."""
    path = tmp_path / "checkpoint"
    mt.save({"step": 1}, path)
    yield path
    assert mt.load(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "f"
    for step in range(3):
        mt.save({"step": step, "x": mt.ones(1000 - step)}, path)
        assert mt.load(path)["step"] == step
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_disk_that_fills_up(old):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot be written") as told:
            mt.save(mt.zeros(100_000), old)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert told.value.errno == errno.EFBIG and told.value.filename == str(old)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_at_the_last_moment(step, old, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="No space left on device") as told:
            mt.save(mt.zeros(10), old)
    assert told.value.errno == errno.ENOSPC and told.value.filename == str(old)


def test_an_interrupt_leaves_nothing_behind(old, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            mt.save(mt.zeros(10), old)


def test_a_folder_that_cannot_be_written(old):
    root = os.geteuid() == 0
    old.parent.chmod(0o555)
    try:
        if root:  # may write anywhere, so become someone who may not
            os.seteuid(65534)
        with pytest.raises(PermissionError, match="cannot be written") as told:
            mt.save(mt.zeros(10), old)
    finally:
        if root:
            os.seteuid(0)
        old.parent.chmod(0o755)
    assert told.value.filename == str(old)


def test_places_that_are_no_files(old, tmp_path):
    with pytest.raises(FileNotFoundError) as told:
        mt.save(1, tmp_path / "no" / "such" / "folder")
    assert told.value.filename == str(tmp_path / "no" / "such" / "folder")
    with pytest.raises(NotADirectoryError):
        mt.save(1, old / "below a file")
    for place in (tmp_path, "/dev/null"):
        with pytest.raises(OSError, match="not an ordinary file"):
            mt.save(1, place)


def test_links_permissions_and_long_names(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    mt.save(1, link)
    assert link.is_symlink() and mt.load(real) == 1
    before = os.umask(0o027)
    try:
        mt.save(1, str(tmp_path / ("x" * 255)))
    finally:
        os.umask(before)
    assert (tmp_path / ("x" * 255)).stat().st_mode & 0o777 == 0o640


def test_write_whole(tmp_path):
    write_whole(tmp_path / "f", b"abc")
    write_whole(tmp_path / "f", b"de")
    assert (tmp_path / "f").read_bytes() == b"de"


def test_where_to_may_be_a_function_or_a_dict(tmp_path):
    """As PyTorch's programs say that what a GPU wrote is wanted on the CPU."""
    mt.save({"w": mt.arange(3)}, tmp_path / "w")
    for place in (lambda storage, loc: storage, lambda storage, loc: None, {"cuda:0": "cpu"}):
        assert mt.load(tmp_path / "w", map_location=place)["w"].tolist() == [0, 1, 2]
    asked = []
    mt.load(tmp_path / "w", map_location=lambda storage, loc: asked.append((storage.shape, loc)))
    assert asked == [((3,), "cpu")]
    with pytest.raises(RuntimeError, match="cuda"):
        mt.load(tmp_path / "w", map_location={"cpu": "cuda"})
