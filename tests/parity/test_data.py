"""Loaders beside PyTorch's: the same orders, batches, seeds, errors and lengths.

Each program is run with both libraries and says what it saw. What is drawn differs, as the
generators do; how it hangs together does not.
"""

import gc
import multiprocessing
import os
import pickle
import random
import warnings
from itertools import product

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.skipif(
        "fork" not in multiprocessing.get_all_start_methods(), reason="classes inside of functions"
    ),
    pytest.mark.filterwarnings("ignore"),  # PyTorch's, of cores and of threads at a fork
]
LIBRARIES = mt, torch


@pytest.fixture(autouse=True)
def collected():
    """No iterator of PyTorch's is left for a worker to collect, which it does not bear."""
    yield
    gc.collect()


def plain(value):
    """Tensors as lists, with their dtypes."""
    if isinstance(value, (mt.Tensor, torch.Tensor)):
        return str(value.dtype).rpartition(".")[2], value.tolist(), value.requires_grad
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def outcome(run):
    """What a function returns, or the class of what it raises."""
    try:
        return plain(run())
    except Exception as error:
        return type(error).__name__


def data_sets(m):
    """Data sets of each kind, by name, made with this library."""
    data = m.utils.data

    class Squares(data.Dataset):
        def __len__(self):
            return 7

        def __getitem__(self, i):
            return i, {"square": m.tensor(i * i), "half": i / 2, "text": str(i)}

    class Many(Squares):
        def __getitems__(self, indices):
            return [10 * i for i in indices]

    class Stream(data.IterableDataset):
        def __init__(self, shared, length=None):
            self.shared, self.length = shared, length
            if length is not None:
                self.__class__ = Counted

        def __iter__(self):
            info = data.get_worker_info()
            w, k = (info.id, info.num_workers) if info and self.shared else (0, 1)
            return iter(range(w, 7, k))

    class Counted(Stream):
        def __len__(self):
            return self.length

    class Uneven(data.IterableDataset):
        """Worker 0 has one sample, worker 1 six."""

        def __iter__(self):
            info = data.get_worker_info()
            return iter(range(1 + 5 * (info.id if info else 0)))

    tensors = data.TensorDataset(m.arange(7), m.arange(14.0).reshape(7, 2).to(m.bfloat16))
    return {
        "squares": Squares(), "many": Many(), "tensors": tensors, "array": np.arange(7),
        "subset": data.Subset(tensors, [6, 1, 1, 4]), "concat": Squares() + Squares(),
        "stream": Stream(True), "copies": Stream(False), "counted": Stream(True, 7),
        "uneven": Uneven(),
    }  # fmt: skip


OPTIONS = [
    {}, {"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None},
    {"batch_size": 2, "collate_fn": lambda batch: ("batch", len(batch))},
    {"sampler": [5, 0, 3], "batch_size": 2}, {"batch_sampler": [[0, 1], [6], [2, 3, 4]]},
    {"batch_size": 2, "shuffle": False},
]  # fmt: skip
PERSISTENT = {"num_workers": 2, "persistent_workers": True, "prefetch_factor": 3}
WITH_WORKERS = "squares", "stream", "copies", "uneven"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_batches(options):
    rows = [(name, {}, 2) for name in data_sets(mt)]
    rows += [(name, {"num_workers": 2, "prefetch_factor": 1}, 1) for name in WITH_WORKERS]
    rows += [
        ("stream", {"num_workers": 1}, 1),
        ("tensors", PERSISTENT, 2),
        ("stream", PERSISTENT, 2),
    ]
    for row in rows:
        ours, theirs = (passes(m, options, *row) for m in LIBRARIES)
        assert ours == theirs, row
        assert type(ours) is list or ours in ("ValueError", "TypeError", "IndexError")
    assert len(rows) == 17


def passes(m, options, name, workers, n):
    """n passes of a loader, and its length."""

    def run():
        loader = m.utils.data.DataLoader(data_sets(m)[name], **options, **workers)
        return [*(list(loader) for _ in range(n)), outcome(lambda: len(loader))]

    return outcome(run)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_what_a_pass_draws(n):
    """Orders by seed are the same for any number of workers, and passes differ."""
    found = []
    for m in LIBRARIES:

        def orders(m, n, persistent=False):
            m.manual_seed(1)
            loader = m.utils.data.DataLoader(
                range(20), None, shuffle=True, num_workers=n, persistent_workers=persistent
            )
            return [list(loader), list(loader)], m.rand(1).item()

        (first, second), after = orders(m, n)
        assert sorted(first) == sorted(second) == list(range(20)) and first != second
        found.append([orders(m, 0) == ([first, second], after), len(set(map(type, first)))])
        generator = m.Generator()
        generator.manual_seed(3)
        state = m.get_rng_state()
        loader = m.utils.data.DataLoader(range(4), None, num_workers=n, generator=generator)
        before = generator.get_state()
        list(loader)
        found[-1] += [
            bool((m.get_rng_state() == state).all()),
            bool((generator.get_state() == before).all()),
        ]
    assert found[0] == found[1] == [True, 1, True, False]


def test_seeds_of_workers():
    """Each worker's seed is base_seed + its id, and NumPy's and Python's numbers follow from it."""
    found = []
    for m in LIBRARIES:
        data = m.utils.data

        class Drawn(data.Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, i, m=m):
                info = m.utils.data.get_worker_info()
                first = m.rand(1).item()
                assert m.initial_seed() == info.seed and m.get_num_threads() == 1
                m.manual_seed(info.seed)
                assert i >= 2 or first == m.rand(1).item()
                return info.id, info.num_workers, info.seed, random.random(), np.random.rand()

        rows = list(data.DataLoader(Drawn(), None, num_workers=2, collate_fn=list))
        base = rows[0][2]
        halves = base & 0xFFFFFFFF, base >> 32
        for w, _, seed, pythons, numpys in rows[:2]:
            words = np.random.SeedSequence([w, *halves, 0]).generate_state(4)
            assert numpys == np.random.RandomState(words).rand()
            assert pythons == random.Random(seed).random()
        found.append([(w, k, seed - base) for w, k, seed, *_ in rows])
        assert 0 <= base < 2**63
    assert found[0] == found[1] == [(0, 2, 0), (1, 2, 1)] * 2


class Twofold(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


ERRORS = [
    ValueError("said"), TypeError("said"), KeyError("said"), IndexError("said"), OSError("said"),
    RuntimeError("said"), ZeroDivisionError("said"), Twofold("said", 1), AssertionError("said"),
    UnicodeDecodeError("utf-8", b"", 0, 1, "said"), StopIteration("said"),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_from_a_worker(error):
    """What carries an exception out of a worker raises the same kind, with the same words."""
    found = []
    for kind in (mt.utils.data.workers.ExceptionWrapper, torch._utils.ExceptionWrapper):
        try:
            raise error.with_traceback(None)
        except Exception:
            carried = pickle.loads(pickle.dumps(kind(where="in DataLoader worker process 5")))
        try:
            carried.reraise()
        except Exception as raised:
            found.append((type(raised), str(raised), raised.args == (str(raised),)))
    assert found[0] == found[1]
    assert found[0][1].startswith(f"Caught {type(error).__name__} in DataLoader worker process 5.")


@pytest.mark.parametrize("where", ["dataset", "collate_fn", "worker_init_fn", "iter", "sampler"])
def test_errors(where):
    """Without workers: PyTorch waits 5 s for each of its own after an error."""
    for error in ERRORS:
        assert seen(mt, error, where) == seen(torch, error, where)


def seen(m, error, where):
    """What comes of a loader that meets an error, in order: batches, and the error."""
    data = m.utils.data

    def fail(*_):
        raise error

    class Fails(data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return fail() if i == 2 and where == "dataset" else i

    class Stream(data.IterableDataset):
        __iter__ = fail

    def run():
        options = {where: fail} if where in ("collate_fn", "worker_init_fn") else {}
        if where == "sampler":
            options["sampler"] = (fail() if i else i for i in range(3))
        dataset = Stream() if where == "iter" else Fails()
        for batch in data.DataLoader(dataset, **options):
            events.append(batch.tolist())

    events = []
    try:
        run()
    except Exception as raised:
        return events, type(raised), str(raised)
    return events


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": -1}, {"timeout": -1}, {"prefetch_factor": 2}, {"persistent_workers": True},
        {"prefetch_factor": -1, "num_workers": 1}, {"multiprocessing_context": "fork"},
        {"multiprocessing_context": "thread", "num_workers": 1},
        {"multiprocessing_context": 3, "num_workers": 1}, {"batch_size": 0}, {"batch_size": -1},
        {"sampler": [0], "shuffle": True}, {"batch_sampler": [[0]], "batch_size": 2},
        {"batch_sampler": [[0]], "drop_last": True}, {"batch_size": None, "drop_last": True},
        {"batch_size": 2.5}, {"num_workers": 1, "timeout": 3}, {"pin_memory_device": "cpu"},
    ],
    ids=str,
)  # fmt: skip
def test_options(options):
    def kind(m):
        return outcome(lambda: len(m.utils.data.DataLoader(range(4), **options)))

    assert kind(mt) == kind(torch)


def settable(loader, name):
    return outcome(lambda: setattr(loader, name, getattr(loader, name)))


def test_attributes():
    """Which attributes a loader has, what they are, and which of them can be set."""
    names = (
        "dataset batch_size num_workers pin_memory drop_last timeout sampler batch_sampler "
        "pin_memory_device prefetch_factor generator collate_fn persistent_workers "
        "worker_init_fn multiprocessing_context in_order"
    ).split()
    for options, n in product(({}, {"batch_size": None}, {"batch_size": 3}), (0, 2)):
        loaders = [m.utils.data.DataLoader(range(4), num_workers=n, **options) for m in LIBRARIES]
        for name in names:
            a, b = (getattr(loader, name) for loader in loaders)
            assert a == b or type(a).__name__ == type(b).__name__, name
            assert settable(loaders[0], name) == settable(loaders[1], name), name


def test_a_dead_worker():
    for m in LIBRARIES:

        class Ends(m.utils.data.Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, i):
                return os._exit(3) if i == 1 else i

        with pytest.raises(RuntimeError, match="DataLoader worker .*exit code 3|exited unexpected"):
            list(m.utils.data.DataLoader(Ends(), None, num_workers=2))


def test_more_samples_than_said():
    told = []
    for m in LIBRARIES:

        class Said(m.utils.data.IterableDataset):
            def __len__(self):
                return 2

            def __iter__(self):
                return iter(range(3))

        for n in (0, 2):
            loader = m.utils.data.DataLoader(Said(), None, num_workers=n)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                list(loader)
                before = any("Length of" in str(w.message).capitalize() for w in said)
                length = len(loader)
                list(loader)
            after = [w for w in said if "length of" in str(w.message).lower()]
            told.append((before, length, {w.category for w in after}))
    assert told[:2] == told[2:] == [(False, 2, {UserWarning})] * 2
