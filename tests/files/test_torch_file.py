"""PyTorch's .pt files, built here by hand: what is read, and what a hostile one comes to."""

import io
import math
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from torch_archive import (
    SIX,
    archive,
    called,
    dictionary,
    named,
    number,
    row,
    storage,
    tensor,
    text,
    together,
)

import microtensor as mt
from microtensor import nn
from microtensor.files.serialization import LoadError


@pytest.fixture
def load(tmp_path):
    def load(program, order=b"little", compression=zipfile.ZIP_STORED, s0=SIX, **storages):
        data = archive(program, order, compression, s0=s0, **storages)
        (tmp_path / "f.pt").write_bytes(data)
        return mt.load(tmp_path / "f.pt")

    return load


@pytest.fixture
def refused(load):
    def refused(program, *args, **storages):
        with pytest.raises(LoadError) as told:
            load(program, *args, **storages)
        assert "f.pt cannot be loaded: " in str(told.value)
        return str(told.value).split("loaded: ")[1]

    return refused


# ---- what is read --------------------------------------------------------------------


def test_plain_values(load):
    value = {
        "n": None, "yes": True, "no": False, "i": [0, 255, 65_535, -5, 2**40, -(2**80)],
        "f": (1.5, math.inf), "s": "a\0ü€", "t": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "d": {0: "zero", 1.5: {}, None: []},
    }  # fmt: skip
    for protocol in (2, 3, 4, 5):
        assert load(pickle.dumps(value, protocol)[2:-1]) == value


def test_a_state_dict(load):
    weights = called("collections", "OrderedDict") + b"(" + text("w") + tensor((2, 3), (3, 1))
    program = weights + b"u" + dictionary(_metadata=dictionary(version=number(1))) + b"b"
    state = load(program)
    (name, w), *rest = state.items()
    assert (
        type(state) is OrderedDict
        and name == "w"
        and rest == []
        and type(w) is mt.Tensor
        and not w.requires_grad
    )
    assert w.tolist() == [[0, 1, 2], [3, 4, 5]] and w.dtype is mt.float32
    w += 1


@pytest.mark.parametrize(
    "size, stride, offset, expected",
    [
        ((3, 2), (1, 3), 0, [[0, 3], [1, 4], [2, 5]]),
        ((2,), (2,), 1, [1, 3]),
        ((), (), 5, 5),
        ((2, 3), (0, 1), 3, [[3, 4, 5]] * 2),
        ((2, 0), (1, 1), 0, [[], []]),
        ((3, 1), (2, 999), 1, [[1], [3], [5]]),
    ],
)
def test_strides(load, size, stride, offset, expected):
    assert load(tensor(size, stride, offset)).tolist() == expected


def test_tensors_that_share_memory(load):
    whole, part = load(together(tensor((6,), (1,)), tensor((3,), (2,))))
    whole += 1
    assert part.tolist() == [1, 3, 5]


KINDS = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?",
}  # fmt: skip


@pytest.mark.parametrize("order", [b"little", b"big", None])
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_numbers(load, kind, order):
    values = np.array([0, 1, 1, 100], KINDS[kind])
    data = values.astype(values.dtype.newbyteorder(">" if order == b"big" else "<")).tobytes()
    x = load(tensor((2, 2), (2, 1), 0, kind, length=4), order, s0=data)
    assert x.dtype.name == values.dtype.name and x.numpy().dtype == values.dtype
    assert np.array_equal(x.numpy().ravel(), values)


@pytest.mark.parametrize("order, bend", [(b"little", "<u2"), (b"big", ">u2")])
def test_bfloat16(load, order, bend):
    values = np.array([1.0, -2.5, math.inf, 2.0**-130], np.float32)
    data = (values.view(np.uint32) >> 16).astype(bend).tobytes()
    x = load(tensor((2, 2), (1, 2), 0, "BFloat16Storage", length=4), order, s0=data)
    assert np.array_equal(x.float().numpy(), values.reshape(2, 2).T) and x.dtype is mt.bfloat16


def test_parameters_sizes_and_dtypes(load):
    no_hooks = called("collections", "OrderedDict")
    program = together(
        called("torch._utils", "_rebuild_parameter", tensor((2,), (1,)), b"\x88", no_hooks),
        called("torch", "Size", row(2, 3)),
        named("torch", "float16"),
    )
    parameter, size, kind = load(program)
    assert type(parameter) is nn.Parameter and parameter.tolist() == [0, 1]
    assert size == (2, 3) and kind is mt.float16


def test_devices(device, load, tmp_path):
    load(tensor((3, 2), (1, 3)))
    x = mt.load(tmp_path / "f.pt", map_location=device)
    assert x.device.type == device and x.cpu().tolist() == [[0, 3], [1, 4], [2, 5]]


# ---- what is refused, by name --------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os.system, (f"touch {Path.cwd()}/evil",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_function_is_not_called(refused, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = refused(pickle.dumps({"w": Evil()}, protocol)[2:-1])
    assert told.startswith("it asks for posix.system, which is refused: only tensors, dicts")
    assert os.listdir(tmp_path) == ["f.pt"]


@pytest.mark.parametrize(
    "module, name",
    [
        ("builtins", "eval"), ("__builtin__", "set"), ("os", "system"), ("torch", "load"),
        ("torch.storage", "UntypedStorage"), ("torch", "ComplexFloatStorage"),
        ("torch", "cfloat"), ("torch._utils", "_rebuild_sparse_tensor"), ("collections", "deque"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"), ("torch.nn.modules.linear", "Linear"),
        ("numpy._core.multiarray", "scalar"), ("argparse", "Namespace"),
    ],
)  # fmt: skip
def test_what_is_not_of_tensors_is_named(refused, module, name):
    assert f"it asks for {module}.{name}, which is refused" in refused(named(module, name))
    stacked = text(module) + text(name) + b"\x93"
    assert f"it asks for {module}.{name}, which is refused" in refused(stacked)


@pytest.mark.parametrize(
    "program, name",
    [
        (b"ios\nsystem\n", "INST"), (b"(No", "OBJ"), (b"}2", "DUP"),
        (b"c__builtin__\nset\n)\x81", ""), (b"]0", "POP"), (b"\x82\1", "EXT1"),
        (b"P1\n", "PERSID"), (b"\x8f", "EMPTY_SET"), (b"B\1\0\0\0a", "BINBYTES"),
        (b"S'\\x'\n", "STRING"), (b"V\\u1\n", "UNICODE"), (b"L9\n", "LONG"), (b"I9\n", "INT"),
        (b"\x96\1\0\0\0\0\0\0\0a", "BYTEARRAY8"), (b"\x97", "NEXT_BUFFER"),
    ],
)  # fmt: skip
def test_instructions_that_no_file_of_tensors_needs(refused, program, name):
    told = refused(program)
    assert "refused: only tensors" in told and (not name or f"the instruction {name}," in told)


@pytest.mark.parametrize(
    "program, told",
    [
        (named("torch", "FloatStorage"), "it holds a Storage"),
        (named("torch", "Size"), "it holds a function"),
        (storage("FloatStorage", "0", 6), "it holds a ndarray"),
        (b"](" + storage("FloatStorage", "0", 6) + b"e", "it holds a ndarray"),
        (b"}" + row(1, 2) + b"Ns", "a key in it is a tuple"),
        (b"}" + tensor((2,), (1,)) + b"Ns", "a key in it is a Tensor"),
        (b"}\x8a\x0a" + b"\1" * 10 + b"Ns", "a key in it is a int"),
        (b"}" + dictionary(x=b"N") + b"b", "an object with attributes"),
        (tensor((2,), (1,)) + dictionary(_metadata=b"N") + b"b", "an object with attributes"),
        (tensor((2,), (1,), hooks=dictionary(x=b"N")), "has hooks"),
    ],
)
def test_what_does_not_come_out(refused, program, told):
    assert told in refused(program)


# ---- hostile files -------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, stride, offset",
    [
        ((7,), (1,), 0), ((2,), (6,), 0), ((1,), (1,), 6), ((1,), (1,), -1), ((2,), (-1,), 5),
        ((-1,), (1,), 0), ((2**31 - 1,), (1,), 0), ((2, 2**31 - 1), (0, 1), 0),
        ((2**31 - 1,) * 3, (2**31 - 1,) * 3, 0), ((2,), (1, 1), 0), ((), (), 6),
        ((2**31 - 1,) * 3, (0,) * 3, 0), ((1,) * 99, (0,) * 99, 0),
        ((0, 2**31 - 1, 2**31 - 1, 2**31 - 1), (1,) * 4, 0),
    ],
)  # fmt: skip
def test_a_tensor_that_reaches_out_of_its_storage(refused, size, stride, offset):
    refused(tensor(size, stride, offset))


@pytest.mark.parametrize(
    "program",
    [
        b"", b"NN", b"(", b"t", b"e", b"(e", b"s", b"R", b")R", b"b", b"Q", b")Q", b"h\0",
        b"j\0\0\0\0", b"X\xff\xff\xff\xff", b"X\xff\xff\xff\x7f", b"X\1\0\0\0\xff", b"c", b"cos\n",
        b"\x8d" + b"\xff" * 8, b"\x8d" + b"\0" * 6 + b"\1\0", b"\x8b\xff\xff\xff\x7f", b"G", b"J\0",
        b"\x95" + b"\xff" * 8 + b"NN", b"\xff", b"](N", b"}(NNNu", b"NNs", b"N(Ne", b"\x93",
        b"NN\x93",
        row(1, 2) + row(3) + b"R", named("torch", "Size") + b")R", named("torch", "Size") + b"NR",
        called("torch", "Size", number(3)), named("torch", "float32") + b")R",
        called("collections", "OrderedDict", b"N"), called("torch._utils", "_rebuild_tensor_v2"),
        together(text("storage"), named("torch", "float32"), text("0"), text(""), number(6)) + b"Q",
        together(text("storage"), named("torch", "IntStorage"), row(0), text(""), number(6)) + b"Q",
        tensor((6,), (1,), key="1"), tensor((6,), (1,), length=5), tensor((2,), (1,), length=-6),
        tensor((3,), (1,), 0, "DoubleStorage"), tensor((9,), (1,), 0, "BoolStorage", length=24),
        tensor((6,), (1,), hooks=number(1)), tensor((6,), (1,), hooks=tensor((6,), (1,))),
        together(tensor((6,), (1,)), tensor((6,), (1,), kind="IntStorage")),
    ],
)  # fmt: skip
def test_programs_that_make_no_sense(refused, program):
    refused(program)


@pytest.mark.parametrize("key", ["../../secret", "/etc/passwd", "..", "0/../1", "\0", ""])
def test_a_storage_is_looked_for_in_the_file_only(refused, key, tmp_path):
    (tmp_path.parent / "secret").write_bytes(SIX)
    assert "no item named" in refused(tensor((6,), (1,), key=key))


def test_an_archive_with_paths_that_lead_out(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("../../outside/data.pkl", b"\x80\x02" + tensor((6,), (1,)) + b".")
        file.writestr("../../outside/data/0", SIX)
    (tmp_path / "f.pt").write_bytes(data.getvalue())
    assert mt.load(tmp_path / "f.pt").tolist() == [0, 1, 2, 3, 4, 5]
    assert os.listdir(tmp_path) == ["f.pt"] and not (tmp_path.parent.parent / "outside").exists()


def measured(function):
    """The most memory that Python took meanwhile, in bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_is_not_unpacked(refused):
    bomb = tensor((2,), (1,), length=2**22)
    answer = []
    taken = measured(
        lambda: answer.append(refused(bomb, b"little", zipfile.ZIP_DEFLATED, s0=bytes(2**24)))
    )
    assert "it is compressed or encrypted" in answer[0]
    assert taken < 4 * 2**24  # to write it; the file itself is small


def test_sizes_that_lie(tmp_path):
    """A directory that claims 4 GB for a file of 24 bytes."""
    data = archive(tensor((6,), (1,)), s0=SIX)
    entry = data.rindex(b"PK\1\2")
    lying = bytearray(data)
    lying[entry + 20 : entry + 28] = struct.pack("<II", 2**32 - 2, 2**32 - 2)
    (tmp_path / "f.pt").write_bytes(lying)

    def load():
        with pytest.raises(LoadError, match="the files in it are larger than the whole"):
            mt.load(tmp_path / "f.pt")

    assert measured(load) < 2**20


def test_deep_nesting(load):
    depth = 100_000
    value = load(b"]" * depth + b"a" * (depth - 1))
    for _ in range(depth - 1):
        (value,) = value
    value = load(b")" + b"\x85" * depth)
    while value:
        (value,) = value


def in_itself(kind):
    value = []
    value.append({"list": value, "tuple": (value,), "dict": {"a": value}}[kind])
    return value


def twice_each(make):
    value = make(1, 2)
    for _ in range(30):
        value = make(value, value)
    return value


SMALL_BECAUSE_SHARED = {  # to whoever prints, copies or saves it, it is endless or 10^9 long
    "a list in itself": lambda: in_itself("list"),
    "a list in a tuple in itself": lambda: in_itself("tuple"),
    "a list in a dict in itself": lambda: {"state": in_itself("dict")},
    "lists": lambda: twice_each(lambda a, b: [a, b]),
    "tuples": lambda: twice_each(lambda a, b: (a, b)),
    "dicts": lambda: twice_each(lambda a, b: {"a": a, "b": b}),
    "all of them": lambda: twice_each(lambda a, b: [(a, {0: b})]),
    "a long list": lambda: [list(range(10_000))] * 10_000,
    "a long string": lambda: ["x" * 50_000] * 20_000,
    "a long key": lambda: [dict.fromkeys(each) for each in [["x" * 50_000]] * 20_000],
    "a long tuple of numbers of many digits": lambda: [(2**14_000,) * 100] * 3000,
}


@pytest.mark.parametrize("make", SMALL_BECAUSE_SHARED.values(), ids=SMALL_BECAUSE_SHARED)
def test_what_is_small_only_because_it_is_shared_is_refused(make, refused):
    assert "is in itself, or in so many places" in refused(pickle.dumps(make(), 4)[2:-1])


def test_a_list_in_some_places_is_one_list(load):
    shared = ["name", 1]
    first, second = load(pickle.dumps([shared, {"a": shared}])[2:-1])
    assert first == shared and second["a"] is first


def test_lists_of_lists_in_the_place_of_something_else(refused):
    """A list of ten lists of ten lists …: 10^40 leaves, of 40 lists."""
    laughs = b"((" + number(1) * 10 + b"t" + b"q\0" + b"(" + b"h\0" * 10 + b"t"
    for level in range(1, 40):
        laughs += b"q" + bytes([level]) + b"(" + (b"h" + bytes([level])) * 10 + b"t"
    laughs += b"t"
    for place in (
        laughs,
        laughs + b"X\0\0\0\0\x93",
        together(text("storage"), named("torch", "FloatStorage"), laughs, text(""), b"N") + b"Q",
        named("torch._utils", "_rebuild_tensor_v2")
        + together(storage("FloatStorage", "0", 6), number(0), laughs, laughs)
        + b"R",
        b"}" + laughs + b"Ns",
    ):
        refused(place)


def test_every_truncation_and_every_flipped_bit_is_answered(tmp_path):
    data = archive(
        dictionary(w=tensor((2, 3), (3, 1)), b=tensor((2,), (1,), 0, "LongStorage", "1", 2)),
        s0=SIX, s1=bytes(16),
    )  # fmt: skip
    path = tmp_path / "f.pt"
    whole, loaded, refused = len(data), 0, 0
    for i in range(whole):
        for damaged in (data[:i], data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :]):
            path.write_bytes(damaged)
            try:
                mt.load(path)
            except LoadError:
                refused += 1
            else:
                loaded += 1  # a date, say: nothing that is read
    assert refused > 1.5 * whole and loaded + refused == 2 * whole


# ---- other archives, other pickles ---------------------------------------------------


def test_a_zip_of_another_kind(tmp_path):
    with zipfile.ZipFile(tmp_path / "f", "w") as file:
        file.writestr("word/document.xml", "<xml/>")
    with pytest.raises(
        LoadError, match="zip archive, but not one of PyTorch's: it has no data.pkl"
    ):
        mt.load(tmp_path / "f")


def test_a_bare_pickle(tmp_path):
    for protocol in (2, 4):
        (tmp_path / "f").write_bytes(pickle.dumps({"w": Evil()}, protocol))
        with pytest.raises(LoadError, match="a bare pickle, as PyTorch wrote before version 1.6"):
            mt.load(tmp_path / "f")
