"""Loaders whose samples are loaded by several processes."""

import contextlib
import faulthandler
import gc
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections import namedtuple

import numpy as np
import pytest

import microtensor as mt
from microtensor.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    get_worker_info,
    workers,
)

FORK = "fork" in multiprocessing.get_all_start_methods()
pytestmark = [
    pytest.mark.skipif(not FORK, reason="data sets inside of functions need fork"),
    # more workers than cores; several threads at a fork, which other tests have left
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def ends():
    """A test that waits for ever fails, and no test leaves a process behind."""

    def give_up(*_):
        raise TimeoutError("the loader hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    gc.collect()  # what pytest.raises keeps of frames
    assert multiprocessing.active_children() == []


def loader(dataset, *args, num_workers=2, **options):
    return DataLoader(
        dataset, *args, num_workers=num_workers, multiprocessing_context="fork", **options
    )


class Samples(Dataset):
    """Samples made by a function of their number."""

    def __init__(self, n, make=lambda i: i):
        self.n, self.make = n, make

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.make(index)


class Stream(IterableDataset):
    """0 … n − 1, of which worker w of k yields w, w + k, w + 2k …"""

    def __init__(self, n, shared=True):
        self.n, self.shared = n, shared

    def __iter__(self):
        info = get_worker_info()
        if info is None or not self.shared:
            return iter(range(self.n))
        return iter(range(info.id, self.n, info.num_workers))


Pair = namedtuple("Pair", "x y")


def same(a, b):
    """Whether two batches are the same bit for bit, and require no grad."""
    assert type(a) is type(b)
    if isinstance(a, mt.Tensor):
        assert a.dtype is b.dtype and a.shape == b.shape and a.device == b.device
        assert not a.requires_grad and a.grad_fn is None
        assert a._as_numpy().tobytes() == b._as_numpy().tobytes()
    elif isinstance(a, dict):
        assert a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b) and all(map(same, a, b))
    else:
        assert a == b
    return True


def nested(i):
    return Pair(mt.tensor([i, i + 0.5]), {"name": f"n{i}", "a": np.float32(i), "b": (i, bytes(i))})


def of_dtype(dtype):
    return lambda i: (mt.arange(6).reshape(2, 3) * i % 3).to(dtype)


SETS = {
    "numbers": Samples(11),
    "floats": Samples(11, lambda i: i / 3),
    "nested": Samples(11, nested),
    "arrays": Samples(5, lambda i: np.full((3, 2), i, np.uint8)),
    "large": Samples(4, lambda i: mt.arange(50000.0) * i),
    "tensors": TensorDataset(mt.arange(10), mt.arange(30.0).reshape(3, 10).t()),
    "subset": Subset(TensorDataset(mt.arange(10)), [9, 2, 5, 3]),
    "empty": Samples(0),
    "no numbers": Samples(3, lambda i: mt.zeros(0, 2)),
    **{
        str(dtype): Samples(5, of_dtype(dtype))
        for dtype in (mt.bfloat16, mt.float16, mt.float64, mt.bool, mt.uint8, mt.int32)
    },
}  # fmt: skip


@pytest.mark.parametrize("dataset", SETS.values(), ids=SETS)
def test_batches_are_those_of_one_process(dataset):
    for options in ({"batch_size": 3}, {"batch_size": None}, {"batch_size": 2, "drop_last": True}):
        alone = list(DataLoader(dataset, **options))
        assert same(list(loader(dataset, num_workers=2, **options)), alone)


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": True, "batch_size": 3},
        {"shuffle": True, "batch_size": None},
        {"sampler": [5, 0, -1], "batch_size": 2},
        {"batch_sampler": [[1], [2, 3, 4], []], "collate_fn": list},
        {"batch_size": 2, "collate_fn": lambda batch: sum(batch)},
        {"batch_size": 2, "prefetch_factor": 1},
        {"batch_size": 2, "prefetch_factor": 7},
        {"batch_size": 4, "persistent_workers": True, "shuffle": True},
    ],
    ids=str,
)
def test_orders_do_not_depend_on_workers(options):
    of_workers = {"prefetch_factor", "persistent_workers"}

    def passes(n, seeded):
        mt.manual_seed(3)
        extra = {key: value for key, value in options.items() if n or key not in of_workers}
        generator = mt.Generator().manual_seed(5) if seeded else None
        made = (loader if n else DataLoader)(
            Samples(11), num_workers=n, generator=generator, **extra
        )
        return [list(made), list(made)], mt.rand(1).item()

    for seeded in (False, True):
        alone, after = passes(0, seeded)
        for n in (1, 3):
            found, then = passes(n, seeded)
            assert same(found[0], alone[0])
            if not options.get("persistent_workers"):  # whose base seed is drawn once
                assert same(found[1], alone[1]) and then == after


@pytest.mark.parametrize("n", [2, 4])
def test_workers_load_at_the_same_time(n):
    """A door that opens only when n processes stand before it at the same time."""
    door = multiprocessing.get_context("fork").Barrier(n)

    def enter(i):
        door.wait(30)
        return os.getpid()

    ids = list(loader(Samples(3 * n, enter), None, num_workers=n))
    assert len(set(ids)) == n and os.getpid() not in ids
    assert ids == 3 * ids[:n]  # batch i is from worker i mod n


def test_batches_are_loaded_ahead():
    """While the first batch is looked at, each worker loads as many as prefetch_factor says."""
    counter = multiprocessing.get_context("fork").Value("i", 0)

    def counted(i):
        with counter.get_lock():
            counter.value += 1
        return np.zeros(1 << 20, np.uint8)  # more than a pipe holds

    batches = iter(loader(Samples(20, counted), None, prefetch_factor=3))
    next(batches)
    while counter.value < 7:  # 3 for each of 2 workers, and the one after the first
        time.sleep(0.01)
    time.sleep(0.1)
    assert counter.value == 7


def test_long_questions_and_long_answers_do_not_wait_for_each_other():
    numbers = np.arange(2 * 10**5).tolist()  # more than pipes hold
    sizes = [len(b) for b in loader(Samples(10, int), batch_sampler=[numbers] * 4, collate_fn=list)]
    assert sizes == [2 * 10**5] * 4


def test_iterable_data_sets():
    def batches(dataset, size, **options):
        return [b if size is None else b.tolist() for b in loader(dataset, size, **options)]

    assert batches(Stream(7), 2) == [[0, 2], [1, 3], [4, 6], [5]]
    assert batches(Stream(7), 2, drop_last=True) == [[0, 2], [1, 3], [4, 6]]
    assert batches(Stream(5), None) == [0, 1, 2, 3, 4]
    assert batches(Stream(3, shared=False), 2) == [[0, 1], [0, 1], [2], [2]]  # each its own copy
    assert batches(Stream(1), 2, num_workers=3) == [[0]]
    twice = loader(Stream(5), 2, persistent_workers=True)
    assert [[b.tolist() for b in twice] for _ in range(3)] == [[[0, 2], [1, 3], [4]]] * 3


def test_more_samples_than_said():
    class Said(Stream):
        def __len__(self):
            return 3

    batches = loader(Said(3, shared=False), None)
    assert len(list(batches)) == 6  # nothing is said where nobody asked
    assert len(batches) == 3
    with pytest.warns(UserWarning, match="was said to be 3, but more .*; each worker") as said:
        list(batches)
    assert len(said) == 1


def drawn(i):
    info = get_worker_info()
    return info.id, info.seed, mt.rand(1).item(), random.random(), np.random.rand()


def seen_by_workers(n=2, **options):
    return list(loader(Samples(2 * n, drawn), None, num_workers=n, collate_fn=list, **options))


def test_seeds():
    first = seen_by_workers(generator=mt.Generator().manual_seed(4))
    assert first == seen_by_workers(generator=mt.Generator().manual_seed(4))
    assert first != seen_by_workers(generator=mt.Generator().manual_seed(5))
    base = first[0][1]
    for w, seed, ours, pythons, numpys in first[:2]:
        assert seed == base + w
        assert ours == mt.rand(1, generator=mt.Generator().manual_seed(seed)).item()
        assert pythons == random.Random(seed).random()
        words = np.random.SeedSequence([w, base & 0xFFFFFFFF, base >> 32, 0]).generate_state(4)
        assert numpys == np.random.RandomState(words).rand()
    assert len({row[2:] for row in map(tuple, first)}) == 4  # all differ
    generator = mt.Generator().manual_seed(4)
    passes = [seen_by_workers(generator=generator) for _ in range(2)]
    assert passes[0] == first != passes[1]


def test_the_parents_numbers_are_its_own():
    mt.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    expected = random.Random(0).random(), np.random.RandomState(0).rand()
    seen_by_workers(generator=mt.Generator().manual_seed(1))
    assert (random.random(), np.random.rand()) == expected
    assert mt.rand(1).equal(mt.rand(1, generator=mt.Generator().manual_seed(0)))


def test_what_a_worker_knows():
    dataset = Samples(4, lambda i: None)
    dataset.shard = None

    def init(worker_id):
        info = get_worker_info()
        assert worker_id == info.id and info.dataset is not None and mt.get_num_threads() == 1
        info.dataset.shard = worker_id  # the copy of the worker

    dataset.make = lambda i: (dataset.shard, get_worker_info().num_workers)
    assert list(loader(dataset, None, worker_init_fn=init, collate_fn=tuple)) == [
        (0, 2), (1, 2), (0, 2), (1, 2)
    ]  # fmt: skip
    assert dataset.shard is None and get_worker_info() is None


def test_persistent_workers():
    ids = [[], []]
    for persistent in (False, True):
        batches = loader(
            Samples(4, lambda i: os.getpid()), None, persistent_workers=persistent
        )  # fmt: skip
        ids[persistent] = [list(batches) for _ in range(2)]
        assert len(multiprocessing.active_children()) == 2 * persistent
    assert not set(ids[0][0]) & set(ids[0][1]) and ids[1][0] == ids[1][1]
    first = iter(batches)
    next(first)  # left in the middle: the next pass begins anew
    assert iter(batches) is first and list(batches) == ids[1][0]
    del batches, first
    assert multiprocessing.active_children() == []


# ---- errors --------------------------------------------------------------------------


class TwoArguments(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


class Fails:
    def __init__(self, error):
        self.error = error

    def __call__(self, i):
        if i == 2:
            raise self.error
        return i


class Inner(ValueError):
    pass


def local_class():
    class Local(ValueError):
        pass

    return Local("text")


@pytest.mark.parametrize(
    "error, kind",
    [
        (ValueError("text"), ValueError),
        (KeyError("text"), KeyError),
        (IndexError("text"), IndexError),
        (NotImplementedError("text"), NotImplementedError),
        (FileNotFoundError(2, "text"), FileNotFoundError),
        (Inner("text"), Inner),
        (TwoArguments("text", 1), RuntimeError),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "text"), RuntimeError),
        (local_class(), RuntimeError),
        (StopIteration("text"), StopIteration),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_exception_reaches_the_caller(error, kind):
    batches = iter(loader(Samples(6, Fails(error)), None))
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(kind) as caught:
        next(batches)
    assert type(caught.value) is kind
    told = str(caught.value)
    assert told.startswith("Caught ") and "in DataLoader worker process 0.\nOriginal" in told
    assert type(error).__name__ in told and "text" in told and "raise self.error" in told
    assert "\\n" not in told
    assert list(batches) == [3, 4, 5]  # as in PyTorch, the others can still be had
    del caught


def test_where_it_may_fail():
    def wrong(*_):
        raise ValueError("wrong")

    class Broken(IterableDataset):
        __iter__ = wrong

    for made in (
        loader(Samples(4), collate_fn=wrong),
        loader(Samples(4), worker_init_fn=wrong),
        loader(Broken()),
    ):
        batches = iter(made)
        for _ in range(3):
            with pytest.raises(ValueError, match="worker process .*(\n.*)*wrong$"):
                next(batches)
        del batches
    with pytest.raises(ValueError, match="^wrong$"):  # in this process
        list(loader(Samples(4), sampler=map(wrong, range(3))))


def test_what_cannot_leave_a_worker():
    with pytest.raises((AttributeError, TypeError), match="worker process 0(.*\n)*.*local"):
        list(loader(Samples(2, lambda i: lambda: i), None))
    x = mt.arange(4.0).requires_grad_()
    for made in (loader(TensorDataset(x), 2), loader(Samples(4, lambda i: x[i]), None)):
        with pytest.raises(RuntimeError, match="requires grad by its history cannot leave"):
            list(made)


def crash():
    faulthandler.disable()  # pytest's, which would tell of it at length
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize(
    "end, told",
    [
        (lambda: os._exit(3), "exited unexpectedly with exit code 3"),
        (lambda: os._exit(0), "exited unexpectedly with exit code 0"),
        (lambda: sys.exit(4), "exited unexpectedly with exit code 4"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"by a signal: exit code -9 \(SIGKILL\)"),
        (crash, r"by a signal: exit code -11 \(SIGSEGV\)"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), r"by a signal: exit code -15 \(SIGTERM\)"),
    ],
)
def test_a_dead_worker_is_an_error(end, told):
    check_death(end, told)


@pytest.mark.parametrize("options", [{"persistent_workers": True}, {"in_order": False}], ids=str)
def test_a_dead_worker_is_an_error_in_each_mode(options):
    check_death(lambda: os._exit(3), "exited unexpectedly with exit code 3", **options)


def check_death(end, told, **options):
    def sample(i):
        if i == 5:
            end()
        return i

    made = loader(Samples(8, sample), None, **options)
    batches, found = iter(made), []
    with pytest.raises(RuntimeError, match=rf"DataLoader worker [01] \(pid \d+\).* {told}"):
        found.extend(batches)
    assert multiprocessing.active_children() == []  # the others have ended, too
    assert list(batches) == []
    made.dataset.make = int
    assert sorted(made) == list(range(8))


def test_a_worker_dies_at_its_start_or_while_nobody_looks():
    with pytest.raises(RuntimeError, match="DataLoader worker 0 .*exit code 7"):
        list(loader(Samples(8), worker_init_fn=lambda w: os._exit(7)))
    batches = iter(loader(Samples(9), prefetch_factor=1))
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="DataLoader worker . .*SIGKILL"):
        list(batches)


def test_timeout():
    batches = iter(loader(Samples(4, lambda i: time.sleep(60 * (i == 1))), None, timeout=0.2))
    next(batches)
    children = multiprocessing.active_children()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="timed out after 0.2 seconds"):
            next(batches)
    children[0].kill(), children[1].kill()  # the sleeper would be given time to end


def test_in_any_order():
    door = multiprocessing.get_context("fork").Event()

    def sample(i):
        if i == 0:
            door.wait(30)
        return i

    batches = iter(loader(Samples(6, sample), None, in_order=False))
    first = [next(batches) for _ in range(3)]
    door.set()
    assert first == [1, 3, 4] and sorted(batches) == [0, 2, 5]


# ---- no process is left behind ---------------------------------------------------------


def test_workers_end():
    def children():
        return len(multiprocessing.active_children())

    made = loader(Samples(100, lambda i: np.zeros(1 << 19)), None)
    for _ in made:
        assert children() == 2
        break
    assert children() == 0
    with pytest.raises(ZeroDivisionError):
        for _ in made:
            1 / 0  # noqa: B018
    assert children() == 0
    with contextlib.suppress(ZeroDivisionError):
        list(loader(Samples(4, lambda i: 1 / 0)))
    assert children() == 0
    batches = iter(made)
    next(batches)
    del made
    assert children() == 2
    del batches
    assert children() == 0
    both = zip(loader(Samples(3), None), loader(Samples(4), None))
    assert list(both) == [(0, 0), (1, 1), (2, 2)]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # a zombie waits for whoever inherited it
        return file.read().rpartition(")")[2].split()[0] != "Z"


def program(body, **options):
    """A program that iterates over a loader of two workers, prints their ids, and does `body`."""
    text = f"""
    import multiprocessing, os, signal, sys, time
    from microtensor.utils.data import DataLoader, Dataset

    class Slow(Dataset):
        def __len__(self):
            return 1000
        def __getitem__(self, index):
            time.sleep(0.01)
            return index

    loader = DataLoader(Slow(), 4, num_workers=2, collate_fn=lambda batch: sum(batch), {options})
    batches = iter(loader)
    next(batches)
    def show():
        print(*[p.pid for p in multiprocessing.active_children()], flush=True)
    def loop():
        show()
        for _ in batches:
            pass
    """
    text = textwrap.dedent(text).replace("{}", "") + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "body, send, code",
    [
        ("show()", None, 0),  # the end of the program, with the pass in the middle
        ("show(); sys.exit(3)", None, 3),
        ("show(); 1 / 0", None, 1),
        ("loop()", signal.SIGINT, -signal.SIGINT),  # Ctrl-C
        ("loop()", signal.SIGTERM, -signal.SIGTERM),
        ("loop()", signal.SIGKILL, -signal.SIGKILL),
        (
            "try:\n    loop()\nexcept KeyboardInterrupt:\n    del batches\n"
            "assert multiprocessing.active_children() == []",
            signal.SIGINT,
            0,
        ),
    ],
)
def test_workers_end_with_the_program(body, send, code):
    started = program(body)
    pids = [int(pid) for pid in started.stdout.readline().split()]
    assert len(pids) == 2
    if send is signal.SIGINT:
        os.killpg(started.pid, send)  # a terminal's Ctrl-C goes to all of them
    elif send:
        started.send_signal(send)
    errors = started.communicate(timeout=30)[1]
    assert started.returncode == code
    assert errors.count("Traceback") == (code in (1, -signal.SIGINT))
    assert errors.count("KeyboardInterrupt") == (code == -signal.SIGINT)
    while any(map(alive, pids)):
        time.sleep(0.05)


def test_a_handler_of_the_parents_is_not_the_workers(capfd):
    """A program that saves its state at SIGTERM does not save it once for each worker."""
    before = signal.signal(signal.SIGTERM, lambda *_: os.write(2, b"saved"))
    try:
        batches = iter(loader(Samples(4, lambda i: time.sleep(60 * i)), None))
        next(batches)
        for child in multiprocessing.active_children():
            child.terminate()
            child.join()
        del batches
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "saved" not in capfd.readouterr().err


# ---- how workers start -----------------------------------------------------------------


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_start_methods(method):
    data = TensorDataset(mt.arange(6), mt.rand(6, 2, dtype=mt.bfloat16))
    context = multiprocessing.get_context(method)
    for how in (method, context):
        made = DataLoader(data, 2, num_workers=1, multiprocessing_context=how)
        assert made.multiprocessing_context is context
    assert same(list(made), list(DataLoader(data, 2)))


def test_what_cannot_be_pickled_says_so():
    made = DataLoader(Samples(4), num_workers=2, multiprocessing_context="spawn")
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)) as caught:
        iter(made)
    assert "'spawn' pickles the data set, collate_fn" in caught.value.__notes__[0]


class Refusing(type(multiprocessing.get_context("spawn"))):
    """A platform without processes."""

    def Process(self, **options):
        raise OSError("not here")


def test_where_no_process_can_be_started():
    made = DataLoader(Samples(5), 2, True, num_workers=2, multiprocessing_context=Refusing())
    mt.manual_seed(1)
    with pytest.warns(UserWarning, match=r"no process can be started here \(not here\)"):
        found = list(made)
    mt.manual_seed(1)
    assert same(list(made), found)  # without another warning
    mt.manual_seed(1)
    assert same(list(DataLoader(Samples(5), 2, True)), found)


def test_no_files_are_left_open():
    def descriptors():
        return len(os.listdir("/dev/fd"))

    list(loader(Samples(4)))
    before = descriptors()
    for _ in range(3):
        list(loader(Samples(4)))
        next(iter(loader(Samples(40))))
    assert descriptors() == before


# ---- options ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, kind, told",
    [
        ({"num_workers": -1}, ValueError, "num_workers cannot be negative, got -1"),
        ({"timeout": -1}, ValueError, "timeout cannot be negative, got -1"),
        ({"timeout": 1}, ValueError, "timeout needs num_workers above 0"),
        ({"prefetch_factor": 2}, ValueError, "prefetch_factor needs num_workers"),
        ({"prefetch_factor": -1, "num_workers": 1}, ValueError, "at least 1, got -1"),
        ({"prefetch_factor": 0, "num_workers": 1}, ValueError, "at least 1, got 0"),
        ({"persistent_workers": True}, ValueError, "persistent_workers needs num_workers"),
        ({"multiprocessing_context": "spawn"}, ValueError, "needs num_workers above 0"),
        ({"multiprocessing_context": "thread", "num_workers": 1}, ValueError, "got 'thread'"),
        ({"multiprocessing_context": 3, "num_workers": 1}, TypeError, "got int"),
    ],
)
def test_options_that_make_no_sense(options, kind, told):
    with pytest.raises(kind, match=told):
        DataLoader(Samples(4), **options)


def test_what_is_fixed():
    made = DataLoader(Samples(4), 2)
    for name in ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset"):
        with pytest.raises(ValueError, match=f"{name} is set by the constructor only"):
            setattr(made, name, None)
    made.collate_fn = list
    assert list(made) == [[0, 1], [2, 3]] and made.batch_size == 2


def test_more_workers_than_cores():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DataLoader(Samples(4), num_workers=cores)
        with pytest.raises(UserWarning, match=f"will create {cores + 1} worker processes"):
            DataLoader(Samples(4), num_workers=cores + 1)


def test_threads_in_the_parent_do_not_matter_to_products():
    """After products by BLAS and the compiled loops in this process, workers compute as well."""
    x = mt.randn(200, 200)
    expected = mt.nn.functional.gelu(x @ x)
    found = list(loader(Samples(4, lambda i: mt.nn.functional.gelu(x @ x)), None))
    assert all(mt.allclose(y, expected, atol=1e-4) for y in found) and len(found) == 4


def test_the_parent_listens_to_no_worker_of_another_loader():
    assert workers.get_worker_info is get_worker_info
    inner = Samples(2, lambda i: list(DataLoader(Samples(2), None)))
    assert list(loader(inner, None)) == [[0, 1]] * 2
