"""Files that someone forged: valid otherwise, with the right checksums, and with bad intentions.

While a file is decoded an audit hook listens: whatever event of Python's there is (an import, an
opened file, a command, compiled code, …), decoding must cause none. What comes out is looked at,
down to its exact types.
"""

import contextlib
import io
import json
import math
import os
import random
import struct
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import old_files_net
import pytest
from safetensors.numpy import save as safetensors
from test_torch_file import SIX, archive, called, dictionary, named, number, row, tensor, text

import microtensor as mt
from microtensor import nn, weights
from microtensor.serialization import BLANK, LoadError, _digest, safe_globals

# ---- the canary ----------------------------------------------------------------------

heard, listening = [], [False]
HARMLESS = {"builtins.id"}


def _hook(event, args):
    if listening[0] and event not in HARMLESS:
        heard.append((event, repr(args)[:100]))


@contextlib.contextmanager
def canary():
    """AssertionError if anything but computation happens within."""
    heard.clear()
    listening[0] = True
    try:
        yield
    finally:
        listening[0] = False
    assert heard == []


def load(data, **options):
    """`mt.load` of bytes, under the canary."""
    file = io.BytesIO(data)
    with canary():
        return mt.load(file, **options)


@pytest.fixture(scope="module", autouse=True)
def warm():
    """What is imported late, the safetensors library and the checksums among it, is there."""
    sys.addaudithook(_hook)  # for ever: Python takes none away
    mt.load(io.BytesIO(forged({"$tensor": "x"})))
    mt.load(io.BytesIO(archive(tensor((6,), (1,)), s0=SIX)))
    with pytest.raises(LoadError):
        mt.load(io.BytesIO(b"rubbish"))


def test_the_canary_sings(tmp_path):
    for act in (lambda: open(tmp_path / "f", "w").close(), lambda: eval("1"), lambda: exec("1")):
        with pytest.raises(AssertionError), canary():
            act()


def test_the_canary_sings_for_what_a_file_does_when_it_is_trusted(tmp_path, monkeypatch):
    (tmp_path / "not_imported_yet.py").write_text("class A:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    data = forged({"$object": "not_imported_yet:A", "attributes": {}})
    with pytest.raises(LoadError, match="it asks for not_imported_yet.A"):
        load(data)
    with pytest.raises(AssertionError):
        load(data, weights_only=False)
    assert "exec" in [event for event, _ in heard]


# ---- forging -------------------------------------------------------------------------

ARRAYS = {
    "x": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": np.array([True, False]),
    "bytes": np.arange(8, dtype=np.uint8), "n": np.array(3),
}  # fmt: skip


def forged(structure, arrays=None):
    """A file with this structure and with the right checksum; the structure may be JSON text."""
    if not isinstance(structure, str):
        structure = json.dumps(structure)
    text = f'{{"sha256": "{BLANK}", "structure": {structure}}}'
    data = safetensors(ARRAYS if arrays is None else arrays, {"microtensor": text})
    return data.replace(BLANK.encode(), _digest(data, BLANK).encode(), 1)


def with_header(header, data=b""):
    """A safetensors file with this header."""
    header = header.encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


PLAIN = (type(None), bool, int, float, str, mt.dtype, mt.device, type(Path()), mt.Tensor)


def check_plain(value):
    """AssertionError unless a value consists of tensors and plain values, of exact types."""
    left, seen = [value], set()
    while left:
        value = left.pop()
        kind = type(value)
        if kind in (list, tuple, set) and id(value) not in seen:
            seen.add(id(value))
            left += value
        elif kind in (dict, OrderedDict) and id(value) not in seen:
            seen.add(id(value))
            left += [*value, *value.values()]
        elif kind is nn.Parameter:
            assert set(vars(value)) == {"_data", "_needs_grad"}
        elif kind is np.ndarray or issubclass(kind, np.generic):
            assert kind is np.ndarray or kind.__module__ == "numpy"
            assert value.dtype.kind in "biufcSU"
        else:
            assert kind in (*PLAIN, list, tuple, set, dict, OrderedDict)


# ---- old files -----------------------------------------------------------------------

OLD = Path(__file__).with_name("fixtures") / "files"


def test_an_old_state_dict():
    state = load((OLD / "state_dict.safetensors").read_bytes())
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    assert type(state) is OrderedDict and model.load_state_dict(state)
    assert state["0.weight"].shape == (4, 3)


def test_old_states_of_an_optimizer():
    saved = load((OLD / "optimizer.safetensors").read_bytes())
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    optimizer = mt.optim.AdamW(model.parameters())
    schedule = mt.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=10)
    optimizer.load_state_dict(saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    mt.Generator().set_state(saved["rng"])
    assert optimizer.state_dict()["state"][0]["step"] == 2 and schedule.last_epoch == 2


def test_every_plain_kind_of_an_old_file():
    value = load((OLD / "plain.safetensors").read_bytes())
    check_plain(value)
    assert value["none"] is None and value["yes"] is True and value["int"] == -(2**80)
    assert value["inf"][:2] == [math.inf, -math.inf] and math.isnan(value["inf"][2])
    assert value["text"] == "a\n\0ü€😀\ud800" and value["tuple"] == (1, (2.5, ()))
    assert value["set"] == {1, "b", (2, 3)} and value["list"] == [1, [2, []]]
    assert value["dict"] == {
        1: "one", "1": "text", None: 0, False: "no", 2.5: "half", math.inf: 1
    }  # fmt: skip
    assert value["escaped"] == {"$tensor": "x", "$": {"$tuple": [1]}}
    assert value["ordered"] == OrderedDict({"b": 1, 2: 3}) and value["float"] == 0.1
    x, again, half, mask, empty = value["tensors"]
    assert x is again and x.tolist() == [[0, 1, 2], [3, 4, 5]] and half.dtype is mt.bfloat16
    assert mask.tolist() == [True, False] and empty.shape == (0, 3)
    assert type(value["parameter"]) is nn.Parameter and not value["parameter"].requires_grad
    assert value["parameters"]["weight"].requires_grad
    assert value["array"].tolist() == [[0, 1, 2], [3, 4, 5]] and value["number"] == np.uint32(7)
    assert value["complex"].tolist() == [1 + 2j] and value["strings"].tolist() == ["ab", "ü"]
    assert value["bytes"] == b"x" and value["uint16"].dtype == np.uint16
    assert value["big"].tolist() == [0, 1, 2] and value["path"] == Path("runs/one")
    assert value["dtype"] is mt.float16 and value["device"] == mt.device("cpu")


def test_an_old_checkpoint_of_minigpt():
    from models.training import load_checkpoint, model_from

    check_plain(load((OLD / "minigpt.safetensors").read_bytes()))
    model, tokenizer = model_from(load_checkpoint(OLD / "minigpt.safetensors"))
    assert model(mt.tensor([tokenizer.encode("to b")]))[0].shape[-1] == tokenizer.vocab_size
    assert mt.load(OLD / "weights.safetensors")["half"].dtype is mt.bfloat16


NET = [
    old_files_net.Net, nn.Embedding, nn.Linear, nn.Sequential, nn.ReLU, nn.functional.gelu,
    nn.LayerNorm,
]  # fmt: skip


def test_an_old_module_needs_all_of_its_classes():
    data = (OLD / "module.safetensors").read_bytes()
    with pytest.raises(LoadError) as told:
        load(data)
    line = str(told.value).split("mt.serialization.")[1]
    with eval(line, {"mt": mt, "old_files_net": old_files_net, "safe_globals": safe_globals}):
        assert type(load(data)) is old_files_net.Net
    with safe_globals(NET):
        net = load(data)
        assert mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data)) == []
    assert net(mt.tensor([1])).shape == (1, 5) and net.act is nn.functional.gelu
    assert net.out.weight is net.embedding.weight and net.norm is nn.LayerNorm
    assert type(net.out.weight) is nn.Parameter and not net.training
    for missing in NET:
        with safe_globals([one for one in NET if one is not missing]):
            with pytest.raises(LoadError, match=rf"\.{missing.__name__}\]\)$"):
                load(data)
            (name,) = mt.serialization.get_unsafe_globals_in_checkpoint(OLD / "module.safetensors")
            assert name.endswith(f".{missing.__name__}")


ARGUMENTS = [(), (2,), (2, 2), (4, 2), (2, 2, 2), (4, 2, 2), ([2],), ([nn.ReLU()],)]
ARGUMENTS += [(nn.TransformerEncoderLayer(4, 2), 2), (10, 10, [2, 4])]


def any_modules():
    """One of each kind of module, with the first arguments that it takes."""
    for name in sorted(dir(nn)):
        kind = getattr(nn, name)
        if isinstance(kind, type) and issubclass(kind, nn.Module):
            for arguments in ARGUMENTS:
                with contextlib.suppress(Exception):
                    yield name, kind(*arguments)
                    break


def test_every_module_comes_back_when_its_error_is_heeded():
    """The error of `load` says which line lets it in: that line does."""
    count = 0
    for name, module in any_modules():
        file = io.BytesIO()
        mt.save(module.eval(), file)
        with pytest.raises(LoadError, match="it asks for .*; if you trust it, load it") as told:
            load(file.getvalue())
        with eval(str(told.value).split("load it within ")[1], {"mt": mt}):
            again = load(file.getvalue())
        assert type(again) is type(module) and repr(again) == repr(module), name
        state = module.state_dict()
        assert list(again.state_dict()) == list(state) and again.load_state_dict(state)
        count += 1
    assert count > 100


def test_a_model_of_ours_comes_back_with_its_config():
    from models import MiniGPT, MiniGPTConfig

    model = MiniGPT(MiniGPTConfig(20, 8, 4, 2, 1)).eval()
    file = io.BytesIO()
    mt.save(model, file)
    names = mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(file.getvalue()))
    classes = {type(m) for m in model.modules()} | {MiniGPTConfig}
    with safe_globals(classes):
        again = load(file.getvalue())
    assert len(names) == len(classes) and again.config == model.config
    idx = mt.tensor([[1, 2, 3]])
    assert again(idx)[0].equal(model(idx)[0])


def test_the_names_that_a_file_of_pytorch_asks_for():
    program = together_with_names("os system", "torch._utils _rebuild_tensor_v2", "a.b C")
    names = mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(archive(program)))
    assert names == ["os.system", "a.b.C"]
    stacked = b"]" + text("x") + b"\x94" + text("os") + b"h\0\x93" + b"a"
    names = mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(archive(stacked)))
    assert names == ["os.x"]
    whole = archive(tensor((6,), (1,)), s0=SIX)
    assert mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(whole)) == []


def together_with_names(*names):
    return b"](" + b"".join(named(*name.split()) for name in names) + b"e"


# ---- what a file could once do -------------------------------------------------------

SHELL = "touch pwned"
LINEAR = "microtensor.nn.layers:Linear"
RELU = "microtensor.nn.functional:relu"


def an_object(name, **attributes):
    return {"$object": name, "attributes": attributes}


EXPLOITS = {
    "a function": {"$name": "os:system"},
    "a function of ours": {"$name": RELU},
    "a function of ours that calls": {"$name": "microtensor.nn.modules:Module.apply"},
    "a class": {"$name": "subprocess:Popen"},
    "an object": an_object(LINEAR),
    "an object that deletes": an_object("urllib.request:URLopener", _URLopener__tempfiles=[SHELL]),
    "an object asked for keys": {"$ordered": an_object("collections:UserDict", keys=1)},
    "keys are a function": {"$ordered": an_object(LINEAR, keys={"$name": "os:system"})},
    "attributes are an object": {"$object": LINEAR, "attributes": an_object(LINEAR, keys=1)},
    "attributes of another kind": {"$object": LINEAR, "attributes": {"$ordered": {"a": 1}}},
    "a key is an object": {"$dict": [[an_object(LINEAR), 1]]},
    "a key is a tensor": {"$dict": [[{"$tensor": "x"}, 1]]},
    "a key is a tuple": {"$dict": [[{"$tuple": [1]}, 1]]},
    "an element is an object": {"$set": [an_object(LINEAR)]},
    "an element in a tuple": {"$set": [{"$tuple": [an_object(LINEAR)]}]},
    "waits to be printed": an_object(LINEAR, extra_repr={"$name": "os:getcwd"}),
    "waits to be called": an_object(LINEAR, forward={"$name": "os:system"}),
    "waits for eval()": an_object(LINEAR, modules={"$name": "os:getcwd"}),
    "waits for load_state_dict": {"w": an_object("microtensor.nn.activations:ReLU", _data=1)},
    "a parameter of a class": {
        "$parameter": "os:system", "tensor": "x", "requires_grad": True
    },
    "a parameter of integers": {
        "$parameter": "microtensor.nn.module:Parameter", "tensor": "n", "requires_grad": True
    },
    "a parameter's gradient is an object": {
        "$parameter": "microtensor.nn.module:Parameter", "tensor": "x", "requires_grad": {"a": 1}
    },
    "a parameter of an object": {
        "$parameter": "microtensor.nn.module:Parameter", "tensor": an_object(LINEAR),
        "requires_grad": True,
    },
    "again what never was": {"$again": 0},
    "again from the end": {"$again": -1},
    "again, a bool": [{"$again": False}],
    "two kinds in one": {"$tensor": "x", "$name": "os:system"},
    "a kind that comes second": {"a": 1, "$name": "os:system"},
    "an unknown kind": {"$import": "os"},
    "fields of another kind": {"$tensor": "x", "attributes": {}},
    "a dtype of Python's": {"$dtype": "object"},
    "a device that is a path": {"$device": "../../x"},
    "a path that is no string": {"$path": ["a"]},
    "objects of NumPy": {"$array": "bytes", "dtype": "|O", "shape": [1]},
    "records of NumPy": {"$array": "bytes", "dtype": "i4,i4", "shape": [1]},
    "void of NumPy": {"$array": "bytes", "dtype": "|V8", "shape": [1]},
    "booleans of any bytes": {"$array": "bytes", "dtype": "|b1", "shape": [8]},
    "text of no letters": {"$array": "bytes", "dtype": "<U2", "shape": []},
    "elements of no bytes": {"$array": "bytes", "dtype": "|S0", "shape": [2**40]},
    "more elements than bytes": {"$array": "bytes", "dtype": "<u2", "shape": [2**62, 4]},
    "a negative size": {"$array": "bytes", "dtype": "<u2", "shape": [-1]},
    "a size that is a bool": {"$array": "bytes", "dtype": "<u8", "shape": [True]},
    "a size that is text": {"$array": "bytes", "dtype": "<u8", "shape": "1"},
    "a list of the wrong kind": {"$tuple": {"$tuple": []}},
    "numbers as text": {"$float": "1e9"},
    "a name twice": '{"a": 1, "a": {"$name": "os:system"}}',
    "a number that is none": '{"a": NaN}',
    "a number of many digits": '{"a": ' + "9" * 5000 + "}",
    "a key twice": {"$dict": [[1, 0], [1.0, 0]]},
}  # fmt: skip


@pytest.mark.parametrize("structure", EXPLOITS.values(), ids=EXPLOITS)
def test_what_a_file_could_once_do(structure, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in (structure, None):
        if place is None:  # deeper within
            inner = structure if isinstance(structure, str) else json.dumps(structure)
            place = f'{{"model": [{{"$tuple": [{inner}]}}]}}'
        with pytest.raises(LoadError, match="^the file cannot be loaded: it "):
            load(forged(place))
    assert list(tmp_path.iterdir()) == []


def test_weights_only_is_the_default_of_everything_that_loads(tmp_path):
    data = forged({"format": "a microtensor language model, 1", "model": an_object(LINEAR)})
    (tmp_path / "f").write_bytes(data)
    from models.training import load_checkpoint

    for read in (mt.load, load_checkpoint, lambda path: mt.load(path, weights_only=None)):
        with pytest.raises(LoadError, match="it asks for mt.nn.Linear; if you trust it"):
            read(tmp_path / "f")


# ---- classes that are named ----------------------------------------------------------

CALLS = []


def noted(*args, **kwargs):
    CALLS.append(args)
    raise RuntimeError("called")


SPECIAL = """init call hash eq repr str iter len bool setattr delattr format index int float array
    get set delete set_name enter exit contains getitem setitem next add radd lt gt fspath bytes
    instancecheck subclasscheck prepare missing reversed length_hint array_interface
    init_subclass class_getitem dir""".split()
Noted = type(
    "Noted", (), {**{f"__{name}__": noted for name in SPECIAL}, "keys": noted, "items": noted,
                  "shadow": property(noted), "limit": 5}
)  # fmt: skip
SAFE = [(Noted, "m:Noted"), (noted, "m:noted"), nn.Linear, nn.Sequential, nn.functional.relu]


@pytest.fixture
def known():
    """Classes and functions that a file may name, which note whenever they are called."""
    CALLS.clear()
    with safe_globals(SAFE):
        yield
    assert CALLS == []


def test_an_object_is_its_attributes(known):
    value = load(
        forged({"a": an_object("m:Noted", x=1, y={"$name": "m:noted"}), "b": {"$again": 0}})
    )
    assert vars(value["a"]) == {"x": 1, "y": noted} and value["a"] is value["b"]


@pytest.mark.parametrize(
    "structure",
    [
        an_object("m:Noted", keys=1), an_object("m:Noted", shadow=1),
        an_object("m:Noted", __class__=1), an_object("m:Noted", __dict__={}),
        an_object("m:Noted", __doc__="x"),
        an_object("m:Noted", __call__=1), an_object("m:Noted", __unknown__=1),
        an_object("m:Noted", limit={"$name": "m:noted"}),
        an_object("m:Noted", limit=an_object("m:Noted")), an_object("m:noted"),
        {"$object": "m:Noted", "attributes": {"$dict": [[1, 1]]}},
        {"$object": "m:Noted", "attributes": an_object("m:Noted")},
        {"$ordered": an_object("m:Noted")}, {"$ordered": {"$object": "m:Noted", "attributes": {}}},
        {"$set": [an_object("m:Noted")]}, {"$set": [{"$tuple": [1, an_object("m:Noted")]}]},
        {"$set": [{"$name": "m:noted"}]}, {"$dict": [[an_object("m:Noted"), 1]]},
        {"$parameter": "m:Noted", "tensor": "x", "requires_grad": True},
        {"$parameter": "m:noted", "tensor": "x", "requires_grad": True},
        {"$tensor": an_object("m:Noted")}, {"$path": an_object("m:Noted")},
        {"$name": "m:noted.__globals__"}, {"$name": "m:Noted.keys"}, {"$name": "m"},
        an_object(LINEAR), an_object(LINEAR, forward={"$name": "m:noted"}),
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_named_class_does_not_allow(structure, known):
    with pytest.raises(LoadError):
        load(forged(structure))


def test_a_default_of_the_class_may_be_another_number(known):
    assert load(forged(an_object("m:Noted", limit=7))).limit == 7


MODULE = {
    "_parameters": {}, "_buffers": {}, "_modules": {}, "_non_persistent_buffers_set": {"$set": []},
    "_forward_pre_hooks": {}, "_forward_hooks": {}, "_backward_hooks": {}, "training": False,
}  # fmt: skip


def test_a_module_by_hand(known):
    value = load(forged(an_object(LINEAR, **MODULE, in_features=1)))
    assert type(value) is nn.Linear and vars(value)["in_features"] == 1


@pytest.mark.parametrize(
    "attributes",
    [
        {"_modules": {"a": an_object("m:Noted")}}, {"_modules": {"a": 1}}, {"_modules": []},
        {"_modules": {"$dict": [[1, None]]}}, {"_modules": {"$ordered": {}}},
        {"_parameters": {"w": {"$tensor": "x"}}}, {"_parameters": an_object("m:Noted")},
        {"_buffers": {"w": "x"}}, {"_buffers": {"w": {"$name": "m:noted"}}},
        {"_non_persistent_buffers_set": []}, {"_non_persistent_buffers_set": {"$set": [1]}},
        {"_forward_hooks": {"$dict": [[1, {"$name": "m:noted"}]]}}, {"_backward_hooks": 1},
        {"_forward_pre_hooks": {"a": {"$name": "m:noted"}}}, {"forward": {"$name": "m:noted"}},
        {"_after_loading": {"a": {"$name": "m:noted"}}}, {"training": {"$name": "m:noted"}},
        {"state_dict": 1}, {"_has_own": 1}, {"revision": {"$name": "m:noted"}}, {"__call__": 1},
        {"_orig_mod": 1}, {"__getattr__": {"$name": "m:noted"}}, {"extra_repr": "x"},
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_module_is_not(attributes, known):
    with pytest.raises(LoadError, match="it gives a Linear"):
        load(forged(an_object(LINEAR, **{**MODULE, **attributes})))


def trap(name, value=noted):
    return type("Trap", (), {f"__{name}__": value})


class Slotted:
    __slots__ = ("a",)


class Meta(type):
    def __call__(cls, *args):
        noted()


TRAPS = {
    **{
        name: trap(name)
        for name in ("del", "new", "reduce", "reduce_ex", "getstate", "setstate", "getnewargs",
                     "getnewargs_ex", "getattr", "getattribute", "copy", "deepcopy")
    },
    "class": trap("class", property(noted)), "dict": trap("dict", property(noted)),
    "slots": Slotted, "a metaclass": Meta("Trap", (), {}), "a dict": type("Trap", (dict,), {}),
    "an int": type("Trap", (int,), {}), "an error": type("Trap", (Exception,), {}),
    "below it": type("Below", (trap("setstate"),), {}), "an optimizer": mt.optim.SGD,
    "a module": type("Trap", (nn.Linear,), {"__getattr__": noted}), "Path": type(Path()),
    "a tensor": mt.Tensor, "a dtype": mt.dtype, "a tuple": tuple, "an array": np.ndarray,
    "a type": type, "a function": type(noted),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRAPS.values(), ids=TRAPS)
def test_classes_that_have_a_say_in_how_they_are_made(kind):
    CALLS.clear()
    with safe_globals([(kind, "m.Trap")]), pytest.raises(LoadError):
        value = load(forged(an_object("m:Trap", x=1)))
        if kind is mt.Tensor:  # has no array then: its own kind is {"$tensor": …}
            raise LoadError(f"{vars(value)}")
    assert CALLS == []


def test_whose_names_are_safe():
    with pytest.raises(TypeError, match="safe_globals: a class or function is needed, got 'os'"):
        mt.serialization.add_safe_globals(["os"])
    before = mt.serialization.get_safe_globals()
    with pytest.raises(ZeroDivisionError), safe_globals([noted]):
        assert mt.serialization.get_safe_globals() == [*before, noted]
        raise ZeroDivisionError
    assert mt.serialization.get_safe_globals() == before
    mt.serialization.add_safe_globals([Slotted])
    mt.serialization.clear_safe_globals()
    assert mt.serialization.get_safe_globals() == []


# ---- thousands of forged files -------------------------------------------------------

NAMES = [
    "os:system", "posix:system", "builtins:eval", "builtins:getattr", "subprocess:Popen", RELU,
    LINEAR, "microtensor.nn.module:Module", "microtensor.nn.module:Parameter", "m:Noted", "m:noted",
    "microtensor.nn.containers:Sequential", "microtensor.serialization:save", "operator:attrgetter",
    "functools:partial", "urllib.request:URLopener", "collections:OrderedDict", "", ":", "a:b.c:d",
]  # fmt: skip
FIELDS = ["keys", "forward", "_data", "__class__", "__dict__", "_modules", "x", "extra_repr", "$a"]


def any_structure(rng, depth=4, names=NAMES):
    """JSON that is a structure of a file, or all but one."""
    deeper = lambda: any_structure(rng, depth - 1, names)  # noqa: E731
    leaf = [
        None, True, 0, -1, 2**61 - 1, 2**200, 1e308, "", "x", "bytes", "a\0", [], {},
        {"$tensor": rng.choice([*ARRAYS, "y"])}, {"$float": rng.choice(["nan", "inf", "1"])},
        {"$array": rng.choice([*ARRAYS, "y"])}, {"$dtype": rng.choice(["int8", "object"])},
        {"$array": "bytes", "dtype": rng.choice(["<u2", "|O", "<U1", "|S4", "<c8", ">i4", "<M8"]),
         "shape": rng.choice([[4], [2], [1], [], [0, 2**62], [-1], [2**63], "4", None])},
        {"$path": rng.choice(["a", "/etc/passwd", "\0", 3])}, {"$again": rng.randrange(-2, 3)},
        {"$device": rng.choice(["cpu", "cuda:0", "cuda:99999999999", "moon", "/", 1])},
        {"$name": rng.choice(names)},
        {"$parameter": rng.choice(names), "tensor": rng.choice([*ARRAYS, 1]),
         "requires_grad": rng.choice([True, False, 1])},
    ]  # fmt: skip
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(leaf)
    match rng.randrange(10):
        case 0:
            return [deeper() for _ in range(rng.randrange(4))]
        case 1:
            return {rng.choice(FIELDS[:-1]): deeper() for _ in range(rng.randrange(4))}
        case 2:
            return {"$dict": [[deeper(), deeper()] for _ in range(rng.randrange(3))]}
        case 3:
            return {"$dict": [[rng.choice([1, "a", None, 2.5]), deeper()]]}
        case 4:
            attributes = {rng.choice(FIELDS): deeper() for _ in range(rng.randrange(3))}
            return an_object(rng.choice(names), **{**rng.choice([{}, MODULE]), **attributes})
        case 5:
            return {"$object": rng.choice(names), "attributes": deeper()}
        case 6:
            return {rng.choice(["$ordered", "$tuple", "$set", "$list", "$tensor"]): deeper()}
        case 7:
            return {"$tuple": [deeper() for _ in range(rng.randrange(3))]}
        case 8:
            return {"$set": [rng.choice(leaf) for _ in range(rng.randrange(3))]}
        case _:
            return {"$ordered": {rng.choice("abc"): deeper()}}


@pytest.mark.parametrize("seed", range(4))
def test_forged_structures(seed):
    rng, answers = random.Random(f"structures {seed}"), {True: 0, False: 0}
    for _ in range(1000):
        data = forged(any_structure(rng))
        try:
            check_plain(load(data))
            answers[True] += 1
        except LoadError as error:
            assert len(str(error)) < 10_000
            answers[False] += 1
    assert min(answers.values()) > 100


@pytest.mark.parametrize("seed", range(3))
def test_forged_structures_where_classes_are_named(seed, known):
    rng, made = random.Random(f"objects {seed}"), 0
    names = ["m:Noted", "m:Noted", "m:Noted", "m:noted", LINEAR, RELU]
    for _ in range(1000):
        data = forged(any_structure(rng, names=names))
        with contextlib.suppress(LoadError):
            made += type(load(data)) in (Noted, nn.Linear)
    assert made > 10


def any_header(rng):
    """The header of a safetensors file, or all but one."""
    numbers = [0, 1, 2, 3, 6, 8, 24, -1, 2**31, 2**62, 2**64 - 1, 2**64, 1.0, "1", None, True, []]
    entries = []
    for name in rng.sample(["a", "b", "a", "", "__metadata__", "\\u0000", "../x"], 3):
        shape = [rng.choice(numbers) for _ in range(rng.randrange(4))]
        start = rng.choice([0, 0, 2, *numbers])
        offsets = [start, rng.choice([start, 8, *numbers])]
        kind = rng.choice(["F32", "U8", "BF16", "BOOL", "I64", "F8_E5M2", "U16", "C64", "?"])
        if rng.random() < 0.8:  # one that could be
            kind, shape, offsets = "F32", [1, 2], [0, 8]
        entry = {"dtype": kind, "shape": shape, "data_offsets": offsets}
        if rng.random() < 0.1:
            entry[rng.choice([*entry, "x"])] = rng.choice(numbers)
        entries.append(f'"{name}": {json.dumps(entry)}')
    if rng.random() < 0.7:
        entries = entries[:1]
    if rng.random() < 0.3:
        text = rng.choice(['{"sha256": 1}', '{"sha256": "", "structure": 1}', "x", "[]", "{"])
        mark = {rng.choice(["microtensor", "format", "x"]): rng.choice([text, "pt", 1, None])}
        entries.append(f'"__metadata__": {json.dumps(rng.choice([mark, None, [], {}, "x"]))}')
    return "{" + ", ".join(entries) + "}"


@pytest.mark.parametrize("read", [load, weights.load], ids=["load", "weights.load"])
def test_forged_headers(read):
    rng, answers = random.Random("headers"), {True: 0, False: 0}
    for _ in range(2000):
        data = with_header(any_header(rng), bytes([0, 1] * 4)[: rng.choice([0, 8, 8, 8])])
        try:
            check_plain(read(data))
            answers[True] += 1
        except LoadError:
            answers[False] += 1
    assert min(answers.values()) > 100


ASKED_FOR = [
    "os system", "builtins eval", "torch._utils _rebuild_tensor_v2", "collections OrderedDict",
    "torch Size", "torch float32", "torch.nn Linear", "torch FloatStorage",
    "torch._utils _rebuild_parameter",
]  # fmt: skip


def any_program(rng, depth=3):
    """A pickle of a value, or all but one."""
    deeper = lambda: any_program(rng, depth - 1)  # noqa: E731
    name = rng.choice(ASKED_FOR).split()
    sizes = [rng.choice([0, 1, 2, 3, 6, 7, -1, 2**31 - 1]) for _ in range(rng.randrange(3))]
    steps = [rng.choice([0, 1, 2, 3, -1, 2**31 - 1]) for _ in sizes]
    leaf = [
        b"N", b"\x88", number(7), text("x"), b")", b"]", b"}", named(*name), b"h\0", b"q\0h\0",
        tensor((2, 3), (3, 1)), tensor(sizes, steps, rng.choice([0, 1, -1])),
        b"\x8a\xff" + b"\x7f" * 255, b"\x8b" + struct.pack("<i", 1000) + b"\1" * 1000,
        tensor((2,), (1,), 0, rng.choice(["LongStorage", "BoolStorage"]), rng.choice("01")),
        called(*name), called(*name, number(1)), called(*name, b")", b"N"), b"2", b"0", b"R", b"b",
    ]  # fmt: skip
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(leaf)
    match rng.randrange(8):
        case 0:
            return b"](" + b"".join(deeper() for _ in range(rng.randrange(4))) + b"e"
        case 1:
            return dictionary(a=deeper(), b=deeper())
        case 2:
            return b"}" + deeper() + deeper() + b"s"
        case 3:
            return b"(" + b"".join(deeper() for _ in range(rng.randrange(4))) + b"t"
        case 4:
            return called(*name, *(deeper() for _ in range(rng.randrange(4))))
        case 5:
            return called("collections", "OrderedDict") + dictionary(_metadata=deeper()) + b"b"
        case 6:
            return deeper() + b"q\0"
        case _:
            return text(name[0]) + text(name[1]) + b"\x93" + deeper() + b"\x85R"


@pytest.mark.parametrize("seed", range(3))
def test_forged_programs(seed):
    rng, answers = random.Random(f"programs {seed}"), {True: 0, False: 0}
    for _ in range(1000):
        data = archive(any_program(rng), s0=SIX, s1=bytes(16))
        try:
            check_plain(load(data))
            answers[True] += 1
        except LoadError as error:
            assert len(str(error)) < 1000
            answers[False] += 1
        with canary(), contextlib.suppress(LoadError):
            mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    assert min(answers.values()) > 100


# ---- bombs ---------------------------------------------------------------------------


def measured(data):
    """(what came out or the LoadError, the most memory that Python took for each byte)."""
    tracemalloc.start()
    try:
        try:
            value = load(data)
        except LoadError as error:
            value = error
        return value, (tracemalloc.get_traced_memory()[1] - 2**20) / len(data)
    finally:
        tracemalloc.stop()


def long_integer(n):
    return b"\x8b" + struct.pack("<i", n) + b"\1" * n


def big(n=100_000):
    return {"x": np.zeros(n, np.uint8), "big": np.zeros(n, np.uint8)}


MERSENNE = 2**61 - 1
BOMBS = {
    "an array again and again": lambda: forged([{"$array": "x"}] * 20_000, big()),
    "an array of another kind again": lambda: forged(
        [{"$array": "x", "dtype": "<u2", "shape": [50_000]}] * 20_000, big()
    ),
    "a set of one hash": lambda: forged({"$set": [MERSENNE * i for i in range(10_000)]}),
    "tuples of one hash": lambda: forged(
        {"$set": [{"$tuple": [MERSENNE * i]} for i in range(10_000)]}
    ),
    "keys of one hash": lambda: forged({"$dict": [[MERSENNE * i, 0] for i in range(10_000)]}),
    "deep lists": lambda: forged("[" * 50_000 + "]" * 50_000),
    "deep tuples": lambda: forged('{"$tuple": [' * 5000 + "]}" * 5000),
    "deep objects": lambda: forged('{"a": ' * 50_000 + "1" + "}" * 50_000),
    "a number of many digits": lambda: forged("9" * 1_000_000),
    "an exponent of many digits": lambda: forged("1e" + "9" * 1_000_000 + "x"),
    "a shape of nothing": lambda: with_header(
        '{"a": {"dtype": "U8", "shape": [0, 9223372036854775807], "data_offsets": [0, 0]}}'
    ),
    "a shape of many sizes": lambda: with_header(
        f'{{"a": {{"dtype": "U8", "shape": {[1] * 100_000}, "data_offsets": [0, 1]}}}}', b"a"
    ),
    "many digits in PyTorch's": lambda: archive(
        b"](" + long_integer(1000) * 2 + long_integer(10**5)
    ),
    "sizes of many digits": lambda: archive(
        called("torch._utils", "_rebuild_tensor_v2", storage_of_six(), number(0),
               together_of(long_integer(1500) * 60), together_of(long_integer(1500) * 60),
               b"\x89", b"N"), s0=SIX
    ),
    "sizes without end": lambda: archive(tensor((1,) * 2000, (1,) * 2000), s0=SIX),
    "an expanded tensor": lambda: archive(tensor((10**6, 10**6), (0, 0)), s0=SIX),
    "windows": lambda: archive(tensor((5000, 5000), (1, 1), length=10_000), s0=bytes(40_000)),
    "many expanded tensors": lambda: archive(
        b"](" + tensor((10**6,), (0,)) * 200 + b"e", s0=SIX
    ),
    "nothing of many sizes": lambda: archive(tensor((0, 2**31 - 1, 2**31 - 1), (1, 1, 1)), s0=SIX),
    "a tensor in five bytes": lambda: archive(
        b"](" + named("torch._utils", "_rebuild_tensor_v2") + b"q\1"
        + together_of(storage_of_six() + number(0) + row(6) + row(1) + b"\x89N") + b"q\2R"
        + b"h\1h\2R" * 20_000 + b"e", s0=SIX
    ),
    "a tensor of a tensor that is expanded": lambda: archive(
        called("torch._utils", "_rebuild_tensor", tensor((10**6,), (0,)), number(0), row(10**6),
               row(1)), s0=SIX
    ),
    "a parameter of a storage": lambda: archive(
        called("torch._utils", "_rebuild_parameter", storage_of_six(), b"\x88", b"}"), s0=SIX
    ),
    "many strides each time": lambda: archive(
        row(*range(20_000)) + b"q\1" + tensor((1,), (1,)).replace(row(1), b"h\1"), s0=SIX
    ),
    "the same file twice": lambda: two_files_of_one_name(),
    "an order of bytes that is long": lambda: archive(tensor((6,), (1,)), bytes(10**6), s0=SIX),
}  # fmt: skip


def storage_of_six():
    return tensor((6,), (1,)).split(b"Q")[0].split(b"(", 1)[1] + b"Q"


def together_of(values):
    return b"(" + values + b"t"


def two_files_of_one_name():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file, pytest.warns(UserWarning, match="Duplicate name"):
        for data in (tensor((6,), (1,)), tensor((1,), (1,))):
            file.writestr("a/data.pkl", b"\x80\2" + data + b".")
            file.writestr("a/data/0", SIX)
    return out.getvalue()


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused(make):
    answer, factor = measured(make())
    assert isinstance(answer, LoadError) and factor < 100


SHARED = {
    "a tensor again and again": lambda: forged([{"$tensor": "x"}] * 20_000, big()),
    "a parameter again": lambda: forged(
        [{"$parameter": "microtensor.nn.module:Parameter", "tensor": "w", "requires_grad": True}]
        + [{"$again": 0}] * 20_000, {"w": np.zeros(10_000)},
    ),
    "numbers": lambda: forged(list(range(10_000))),
    "lists": lambda: forged([[]] * 10_000),
    "objects": lambda: forged([{}] * 10_000),
    "keys with the same last bits": lambda: forged(
        {"$dict": [[i << 30, 0] for i in range(10_000)]}
    ),
    "lists of PyTorch's": lambda: archive(b"](" + b"]\x94" * 30_000 + b"e"),
    "views of one storage": lambda: archive(
        b"](" + tensor((100_000,), (1,), length=100_000) * 1000 + b"e", s0=bytes(400_000)
    ),
    "an expanded tensor": lambda: archive(tensor((1000, 1000), (0, 0)), s0=SIX),
}  # fmt: skip


@pytest.mark.parametrize("make", SHARED.values(), ids=SHARED)
def test_what_is_much_for_its_size_is_in_proportion(make):
    value, factor = measured(make())
    check_plain(value)
    assert factor < 100


def test_tensors_that_share_memory_become_no_more_than_some_copies():
    """On another device each of them is a copy, and so where a function makes one."""
    data = archive(b"](" + tensor((100_000,), (1,), length=100_000) * 100 + b"e", s0=bytes(400_000))
    assert len(load(data)) == 100
    with pytest.raises(LoadError, match="its tensors show the same memory again and again"):
        load(data, map_location=lambda tensor, place: tensor.clone())


# ---- files that are none -------------------------------------------------------------


def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        for read in (mt.load, weights.load_file):
            with pytest.raises(OSError, match="cannot be read: not an ordinary file"):
                read(path)
    with pytest.raises(TypeError, match="load: a file of bytes is needed, its read.. gave str"):
        mt.load(io.StringIO("x"))


def test_a_state_that_was_forged():
    """What is in the place of a tensor, of a method or of the optimizer is refused."""
    model = nn.Linear(2, 1)
    for value in ([[1.0, 1.0]], "x", None, {"a": 1}):
        with pytest.raises(RuntimeError, match="weight is a .*, the module needs a tensor"):
            model.load_state_dict({"weight": value, "bias": mt.ones(1)})
    optimizer = mt.optim.SGD(model.parameters(), 0.1)
    schedule = mt.optim.lr_scheduler.StepLR(optimizer, 3)
    for name in ("step", "optimizer", "get_lr", "__class__"):
        with pytest.raises(ValueError, match=f"StepLR: the state of no schedule has '{name}'"):
            schedule.load_state_dict({**schedule.state_dict(), name: 1})
    assert type(schedule) is mt.optim.lr_scheduler.StepLR and schedule.optimizer is optimizer
