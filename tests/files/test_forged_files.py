"""Files that someone forged, with the right checksums and with bad intentions: see `forging`."""

import contextlib
import io
import json
import random
import struct

import pytest
from forging import (  # noqa: F401, the fixtures
    ARRAYS,
    LINEAR,
    MODULE,
    RELU,
    SHELL,
    Noted,
    an_object,
    canary,
    check_plain,
    forged,
    heard,
    load,
    noting,
    warm,
    with_header,
)
from torch_archive import SIX, archive, called, dictionary, named, number, tensor, text

import microtensor as mt
from microtensor import nn
from microtensor.compat import weights
from microtensor.files.serialization import LoadError

# ---- the canary ----


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


# ---- what a file could once do -------------------------------------------------------

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
