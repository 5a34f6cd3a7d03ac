"""Tensors that share memory in a file, or are copied together, do so again, as in PyTorch."""

import copy
import io
import json

import numpy as np
import pytest
from forging import forged, load

import microtensor as mt
from microtensor.compat import additions  # noqa: F401  (storage_offset)
from microtensor.files.serialization import LoadError


def through(value):
    file = io.BytesIO()
    mt.save(value, file)
    return mt.load(io.BytesIO(file.getvalue())), file.getvalue()


def views(x):
    """Views of a matrix of (6, 8), and one that is a copy."""
    return {
        "whole": x, "row": x[2], "rows": x[1:5:2], "column": x[:, 3], "transposed": x.t(),
        "expanded": x[0].expand(3, 8), "one": x[5, 7], "copy": x.clone(), "flat": x.view(-1)[3:],
        "parameter": mt.nn.Parameter(x.detach()[4]) if x.is_floating_point() else x[4],
    }  # fmt: skip


def lay(value):
    return {k: (t.stride(), t.data_ptr() - value["whole"].data_ptr()) for k, t in value.items()
            if k != "copy"}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "int64", "bool"])
@pytest.mark.parametrize("again", [lambda value: through(value)[0], copy.deepcopy])
def test_views_share_memory_again(again, dtype):
    x = mt.arange(48).reshape(6, 8).to(getattr(mt, dtype))
    before = views(x)
    if again is copy.deepcopy:
        del before["parameter"]  # which is cloned alone, as in PyTorch
    found = again(before)
    assert all(found[k].equal(t) and found[k].dtype is t.dtype for k, t in before.items())
    if dtype != "bfloat16":
        assert lay(found) == lay(before)
    with mt.no_grad():
        for t in (found["whole"], x):
            t.zero_()
    assert found["copy"].any()
    assert not any(t.any() for k, t in found.items() if k != "copy")
    with pytest.raises(RuntimeError):
        found["expanded"].add_(1)


@pytest.mark.parametrize("seed", range(20))
def test_any_views_keep_what_they_share(seed):
    rng = np.random.default_rng(seed)
    base = mt.tensor(rng.standard_normal((4, 5, 6)))
    tensors = []
    for _ in range(rng.integers(1, 6)):
        t = base.permute(*rng.permutation(3).tolist())
        for axis in range(3):
            start, step = rng.integers(0, 3), rng.integers(1, 3)
            t = t.transpose(0, axis)[int(start) :: int(step)].transpose(0, axis)
        tensors.append(t)
    for again in (lambda value: through(value)[0], copy.deepcopy):
        found = again(tensors)
        for t, other in zip(tensors, found):
            assert other.equal(t) and (len(tensors) == 1 or other.stride() == t.stride())
        for i, t in enumerate(tensors):
            with mt.no_grad():
                t.fill_(i)
                found[i].fill_(i)
            assert all(other.equal(mine) for mine, other in zip(tensors, found))


def test_a_file_has_no_more_than_its_tensors_and_other_programs_read_them(tmp_path):
    from safetensors.numpy import load as plain

    x = mt.randn(1000, 100)
    (row, near, far), data = through([x[0], x[0, 10:20], x[999]])
    assert len(data) < 3000  # not the memory between them
    row.zero_()
    assert not near.any() and far.equal(x[999])
    assert plain(data)["1"].tolist() == x[0, 10:20].tolist()
    column, data = through(x[:, 0])
    assert column.equal(x[:, 0]) and column.stride() == (1,) and len(data) < 6000
    assert b'"memory"' not in through({"a": mt.ones(3), "b": x[3]})[1]


def test_copying_a_parameter_copies_it_alone():
    big = mt.randn(100, 10)
    model = mt.nn.Linear(10, 1)
    model.weight = mt.nn.Parameter(big[:1])
    model.alias = model.weight.data
    other = copy.deepcopy(model)
    with mt.no_grad():
        other.weight.fill_(7.0)
    assert other.alias.equal(big[:1]) and other.weight.untyped_storage().nbytes() == 40


SIX = np.arange(6, dtype=np.float32)
FORGED = {  # what a table of memories may not be
    "no dict": [],
    "another tensor": {"y": [0, 0, [1]]},
    "no list": {"x": 3},
    "two parts": {"x": [0, 0]},
    "strides of another number": {"x": [0, 0, [1, 1]]},
    "a stride below 0": {"x": [0, 5, [-1]]},
    "a start below 0": {"x": [0, -1, [1]]},
    "a float": {"x": [0, 0.0, [1]]},
    "a bool": {"x": [0, False, [1]]},
    "a memory by a list": {"x": [[], 0, [1]]},
    "a start of many digits": {"x": [0, 10**30, [1]]},
    "too large by its start": {"x": [0, 2**40, [1]]},
    "too large by its stride": {"x": [0, 0, [2**40]]},
    "many large ones": {f"x{i}": [i, 2**21, [1]] for i in range(8)},
    "two dtypes": {"x": [0, 0, [1]], "n": [0, 0, [1]]},
    "no elements": {"none": [0, 0, [1]]},
    "bfloat16 and float32": {"x": [0, 0, [1]], "b": [0, 0, [1]]},
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_memories_are_refused(name):
    arrays = {"x": SIX, "n": SIX.astype(np.int32), "none": SIX[:0], "b": SIX.astype(np.uint16)}
    arrays |= {f"x{i}": SIX for i in range(8)}
    data = forged([{"$tensor": name} for name in arrays], arrays, memory=FORGED[name])
    with pytest.raises(LoadError):
        load(data)


def test_a_forged_memory_that_overlaps_gives_numbers_of_the_file():
    table = {"x": [0, 0, [0]], "y": [0, 0, [1]]}
    found = load(
        forged(
            {"x": {"$tensor": "x"}, "y": {"$tensor": "y"}}, {"x": SIX, "y": SIX * 0}, memory=table
        )
    )
    assert found["x"].tolist() == [0] * 6 and json.dumps(found["y"].tolist())
