"""No compiled loop reads or writes outside its arrays, whatever it is called with.

Every array that a loop gets here lies in the middle of memory that is watched: what is read from
around it makes NaN of the result, what is written there is found afterwards.
"""

import itertools
import threading

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import typeof, types
from numba.core.dispatcher import Dispatcher

from microtensor.backends import numba_kernels, numba_weights
from microtensor.backends.preconditions import _needs, terms

f32 = np.float32
REFUSALS = (RuntimeError, IndexError, TypeError)
MARGIN = 512  # elements before and after each array

SIZES = {"n": 5, "k": 7, "m": 4, "h": 3, "r": 1, "c": 3, "d": 5, "e": 4, "rows": 9}
SIZES |= {"B": 2, "G": 2, "H": 4, "D": 3, "L": 6, "S": 4}
OTHER_SIZES = {  # where a letter means something else
    "rms_norm_backward": {"b": 2},
    "linear": {"m": 6},
    "sgd": {"m": 5},
    "embedding_backward": {"d": 3},
    "batch_attention": {"B": 5, "R": 7, "L": 7},  # as many as the positions that are tried
    "int8_linear": {"r": 6},
    "float_linear": {"r": 6, "n": 21},
    "int4_linear": {"r": 6, "n": 64, "h": 32, "g": 2},
}
NUMBERS = {  # the other arguments of each loop, in their order
    "gelu": {"a": f32(0.3), "height": f32(0.4)},
    "gelu_backward": {"a": f32(0.3), "height": f32(0.4)},
    "gelu_tanh": {"a": f32(1.6), "b": f32(0.04)},
    "gelu_tanh_backward": {"a": f32(1.6), "b": f32(0.04)},
    "dropout": {"threshold": np.uint32(1 << 30), "scale": f32(1.3), "seed": np.uint32(5)},
    "dropout_backward": {"scale": f32(1.3)},
    **dict.fromkeys(
        ("layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward"), {"eps": 1e-5}
    ),
    "attention_weights": {"causal": False, "scale": f32(0.3), "p": 0.1, "seed": np.uint32(5)},
    "attention_scores_backward": {"p": 0.1},
    **dict.fromkeys(("cached_attention", "batch_attention"), {"scale": 0.3}),
    "sgd": {
        **dict.fromkeys(("lr", "momentum", "fresh", "decay"), f32(0.1)),
        "nesterov": True,
        "sign": f32(1),
    },
    "adam": dict.fromkeys("sign decay mixed_decay beta1 beta2 rate root eps".split(), f32(0.5)),
}

LOOPS = {
    name: loop
    for name, loop in (*vars(numba_kernels).items(), *vars(numba_weights).items())
    if isinstance(loop, Dispatcher) and not name.startswith("_")
}


def rule_of(loop):
    """What a loop demands of its arrays: the text that it gives to `needs`."""
    name = loop.py_func.__name__
    texts = [c for c in loop.py_func.__code__.co_consts if isinstance(c, str)]
    rules = [t for t in texts if t.startswith(name + ": ") and " -> " in t]
    assert len(rules) == 1, f"{name} does not say what it needs"
    return rules[0]


def shown(values):
    """An array of these values in the middle of watched memory, which it is a view of."""
    around = {"f": np.nan, "b": True}.get(values.dtype.kind, 77)
    memory = np.full(values.size + 2 * MARGIN, around, values.dtype)
    view = memory[MARGIN : MARGIN + values.size].reshape(values.shape)
    view[...] = values
    return view


def untouched(array):
    """Whether the memory around an array made by `shown` is as it was."""
    memory = array
    while memory.base is not None:
        memory = memory.base
    around = np.concatenate([memory[:MARGIN], memory[len(memory) - MARGIN :]])
    return bool(np.isnan(around).all() if memory.dtype.kind == "f" else (around == around[0]).all())


def good(name):
    """Arguments that a loop takes, by name, and the names of those that are written to."""
    loop, random = LOOPS[name], np.random.default_rng(0)
    sizes = SIZES | OTHER_SIZES.get(name, {})
    given, outs = dict(NUMBERS.get(name, {})), []
    for argument, _, letters, flat, kind, out in terms(rule_of(loop)):
        shape = tuple(int(s) if s.isdigit() else sizes[s] for s in letters)
        values = abs(random.standard_normal(shape, dtype=f32)) + f32(0.1)
        if kind == "integers":
            values = random.integers(0, sizes.get("k", 5), shape)
        elif kind in ("int8", "uint8"):
            values = random.integers(0, 100, shape).astype(kind)
        elif kind == "booleans":
            values = values > 0.5
        given[argument] = shown(values[None] if flat else values)
        outs += [argument] * out
    names = loop.py_func.__code__.co_varnames[: loop.py_func.__code__.co_argcount]
    assert set(names) == set(given), f"{name}: the table has other arguments than the loop"
    return {n: given[n] for n in names}, outs


def attempt(name, given, outs):
    """Call a loop. True where it gave a result, which then has no NaN; False where it refused."""
    arrays = [a for a in given.values() if isinstance(a, np.ndarray) and a.dtype != object]
    try:
        LOOPS[name](*given.values())
        done = True
    except REFUSALS as error:
        assert str(error) and "\n" not in str(error)
        done = False
    assert all(map(untouched, arrays)), f"{name} wrote outside an array"
    if done:
        for out in outs:
            assert not np.isnan(np.asarray(given[out], np.float64)).any(), f"{name} read outside"
    return done


def other_sizes(array):
    """The array too short, too long and empty along each axis, and with its axes exchanged."""
    for axis, n in enumerate(array.shape):
        for m in {0, 1, n - 1, n + 1, 3 * n} - {n, -1}:
            yield shown(np.resize(array, (*array.shape[:axis], m, *array.shape[axis + 1 :])))
    for order in itertools.permutations(range(array.ndim)):
        if order != tuple(range(array.ndim)):
            yield shown(np.ascontiguousarray(array.transpose(order)))


def other_types(array):
    """The array with another number of dimensions, of another dtype, and what is no array."""
    other = array.astype(f32 if array.dtype.kind != "f" else np.float64)
    return [array[None], array.astype(np.complex64), other, array[..., 0], None]


def free_axes(name, argument):
    """The axes whose size no other array of the loop shares."""
    found = terms(rule_of(LOOPS[name]))
    letters = [letter for term in found for letter in term[2]]
    own = next(term[2] for term in found if term[0] == argument)
    return {i for i, letter in enumerate(own) if letters.count(letter) == 1}


def in_any_shape(name):
    """The arguments of a loop of which the number of elements alone matters."""
    return {term[0] for term in terms(rule_of(LOOPS[name])) if term[3]}


def test_every_loop_says_what_it_needs_and_is_called_here():
    assert LOOPS.keys() >= NUMBERS.keys() and len(LOOPS) >= 27
    for name in LOOPS:
        given, outs = good(name)
        assert outs and attempt(name, given, outs), f"{name} refuses what is right"


@pytest.mark.parametrize("name", LOOPS)
def test_arrays_of_other_sizes_are_refused(name):
    for argument, array in good(name)[0].items():
        if not isinstance(array, np.ndarray):
            continue
        flat = argument in in_any_shape(name)
        for wrong in other_sizes(array):
            given, outs = good(name)
            given[argument] = wrong
            if attempt(name, given, outs) and not (flat and wrong.size == array.size):
                pairs = enumerate(zip(wrong.shape, array.shape, strict=True))
                differ = {axis for axis, (n, m) in pairs if n != m}
                assert differ <= free_axes(name, argument), f"{argument} {wrong.shape} was taken"


@pytest.mark.parametrize("name", LOOPS)
def test_arrays_of_other_types_are_refused(name):
    rule = types.StringLiteral(rule_of(LOOPS[name]))
    found = terms(rule.literal_value)
    for i, (argument, optional, _, flat, _, out) in enumerate(found):
        arrays = [good(name)[0][term[0]] for term in found]
        wrongs = other_types(arrays[i])
        if out:
            fixed = arrays[i].copy()
            fixed.flags.writeable = False
            wrongs.append(fixed)
        for wrong in wrongs:
            right = optional and wrong is None
            if right or flat and wrong is not None and wrong.dtype == f32:
                continue
            arrays[i] = wrong
            with pytest.raises(TypeError, match=f"{name}: .* must come in, got {argument} as"):
                _needs(rule, *map(typeof, arrays))  # what the compiler asks before all else
        given, outs = good(name)
        given[argument] = shown(wrongs[2])
        assert not attempt(name, given, outs)


@pytest.mark.parametrize("name", LOOPS)
def test_arrays_with_gaps_give_the_same_result(name):
    if "[" in rule_of(LOOPS[name]):
        pytest.skip("it takes arrays in row-major order alone")
    (given, outs), (gaps, _) = good(name), good(name)
    for argument, array in gaps.items():
        if isinstance(array, np.ndarray):
            wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            gaps[argument] = wide[..., ::2]
            gaps[argument][...] = array
    LOOPS[name](*given.values())
    LOOPS[name](*gaps.values())
    for out in outs:
        np.testing.assert_allclose(gaps[out], given[out], rtol=1e-5, atol=1e-6)


INDICES = [
    (name, argument)
    for name, loop in LOOPS.items()
    for argument, _, _, _, kind, _ in terms(rule_of(loop))
    if kind == "integers"
]


@pytest.mark.parametrize("name, argument", INDICES)
@pytest.mark.parametrize("dtype", "uint8 int32 int64 uint64".split())
def test_positions_outside_are_refused(name, argument, dtype):
    """Wherever they stand and however far they point; those within are taken in every dtype."""
    given, outs = good(name)
    n = given["out"].shape[0] if name == "embedding_backward" else SIZES["k"]
    given[argument] = shown(given[argument].astype(dtype) % n)
    assert attempt(name, given, outs)
    info = np.iinfo(dtype)
    wrong = {n, n + 1, info.max, info.max - 1, info.min, -1, -n, -n - 1, -(2**40), 2**31 - 1, 2**40}
    for value in sorted(w for w in wrong if info.min <= w <= info.max and not 0 <= w < n):
        for place in (0, 2, -1):
            given, outs = good(name)
            index = given[argument].astype(dtype) % n
            index[place] = value
            given[argument] = shown(index)
            assert not attempt(name, given, outs)


@pytest.mark.parametrize("name, argument", INDICES)
def test_positions_that_another_thread_changes_are_never_used(name, argument):
    """The loops release the interpreter's lock: between a check and its use there is no time."""
    stop, calls, refused = threading.Event(), 3000, 0
    given, outs = good(name)
    index = given[argument]

    def change():
        while not stop.is_set():
            index[...] = 10**12
            index[...] = 0

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(calls):
            refused += not attempt(name, given, outs)
    finally:
        stop.set()
        thread.join()
    assert 0 <= refused <= calls
