"""Files that are small and would become large, or take long; and what is no file."""

import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from forging import (  # noqa: F401, the fixtures
    check_plain,
    forged,
    load,
    noting,
    warm,
    with_header,
)
from torch_archive import SIX, archive, called, named, number, row, tensor

import microtensor as mt
from microtensor import nn
from microtensor.compat import weights
from microtensor.files.serialization import LoadError

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
    "nothing but empty lists": lambda: archive(b"](" + b"]" * 100_000 + b"e"),
    "nothing but empty dicts": lambda: archive(b"](" + b"}" * 100_000 + b"e"),
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


def test_names_that_are_long_are_refused():
    """1 MB of them made 3 GB: each pair of strings is another name."""
    program = b"](" + b"X" + struct.pack("<I", 10_000) + b"m" * 10_000 + b"q\0"
    program += b"".join(b"h\0" + b"X\2\0\0\0%02d" % i + b"\x93" for i in range(90)) + b"e"
    with pytest.raises(LoadError, match="a name in it has over 1000 characters"):
        mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(archive(program)))


@pytest.mark.parametrize("state", [None, 3, "x", [1], mt.ones(2), {"weight"}])
def test_a_state_is_a_dict(state):
    with pytest.raises(TypeError, match="load_state_dict: a dict of tensors by name is needed"):
        nn.Linear(2, 1).load_state_dict(state)


def test_the_state_of_a_scaler_and_of_a_stream():
    scaler, stream = mt.amp.GradScaler("cpu"), mt.Generator()
    valid = scaler.state_dict()
    for name in valid:
        for value in (None, "x", [1], {}, 10**400):
            with pytest.raises(ValueError, match=f"GradScaler: the saved {name} is"):
                scaler.load_state_dict({**valid, name: value})
    with pytest.raises(TypeError, match="GradScaler: load_state_dict needs a dict, got int"):
        scaler.load_state_dict(3)
    assert scaler.state_dict() == valid
    for state in ("a", None, 3, mt.ones(2), mt.zeros(3, dtype=mt.uint8)):
        with pytest.raises(RuntimeError, match="set_state: this is not the state of a generator"):
            stream.set_state(state)


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
