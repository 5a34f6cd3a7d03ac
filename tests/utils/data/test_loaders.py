"""Data sets, orders and batches."""

from collections import Counter, namedtuple

import numpy as np
import pytest

import microtensor as mt
from microtensor.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)


class Squares(Dataset):
    """Counts how often samples are asked for."""

    def __init__(self, n):
        self.n, self.asked = n, 0

    def __getitem__(self, index):
        if not -self.n <= index < self.n:
            raise IndexError(index)
        self.asked += 1
        return index, float(index**2)

    def __len__(self):
        return self.n


class Lines(IterableDataset):
    def __iter__(self):
        return iter(range(7))


def generator(seed=0):
    return mt.Generator().manual_seed(seed)


def pairs(n=10):
    return TensorDataset(mt.arange(n), mt.arange(2.0 * n).reshape(n, 2))


# ---- data sets -----------------------------------------------------------------------


def test_tensor_dataset():
    data = pairs()
    x, y = data[3]
    assert len(data) == 10 and x.item() == 3 and y.tolist() == [6, 7]
    assert [x.item() for x, _ in data] == list(range(10))
    with pytest.raises(ValueError, match=r"different lengths: \[2, 3\]"):
        TensorDataset(mt.ones(2), mt.ones(3))
    with pytest.raises(ValueError, match="at least one tensor"):
        TensorDataset()


def test_subset_and_concatenation():
    data = Subset(Squares(9), [8, 2]) + Subset(Squares(9), []) + Squares(3)
    assert isinstance(data, ConcatDataset) and len(data) == 5
    assert [data[i][0] for i in range(5)] == [8, 2, 0, 1, 2] == [data[i - 5][0] for i in range(5)]
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"no sample {index} among 5"):
            data[index]
    with pytest.raises(ValueError, match="at least one dataset"):
        ConcatDataset([])
    with pytest.raises(TypeError, match="cannot be added"):
        Lines() + Lines()


def test_random_split():
    first, second = random_split(Squares(10), [7, 3], generator=generator())
    again, _ = random_split(Squares(10), [7, 3], generator=generator())
    assert (len(first), len(second)) == (7, 3)
    assert sorted([*first.indices, *second.indices]) == list(range(10))
    assert first.indices == again.indices != list(range(7))
    assert [len(s) for s in random_split(Squares(10), [0.33, 0.33, 0.34])] == [4, 3, 3]
    assert [len(s) for s in random_split(Squares(1), [1])] == [1]
    assert [len(s) for s in random_split(Squares(0), [0, 0])] == [0, 0]
    for lengths in ([7, 4], [0.5, 0.4], []):
        with pytest.raises(ValueError, match="add up neither to 1 nor to the 10 samples"):
            random_split(Squares(10), lengths)
    with pytest.raises(ValueError, match="negative"):
        random_split(Squares(10), [11, -1])


def test_what_a_subclass_must_define():
    for call in (lambda: Dataset()[0], lambda: iter(IterableDataset()), lambda: iter(Sampler())):
        with pytest.raises(NotImplementedError, match="does not define"):
            call()


# ---- orders --------------------------------------------------------------------------


def test_samplers():
    data = Squares(5)
    assert list(SequentialSampler(data)) == [0, 1, 2, 3, 4]
    assert sorted(RandomSampler(data)) == [0, 1, 2, 3, 4]
    longer = list(RandomSampler(data, num_samples=12, generator=generator()))
    assert (
        sorted(longer[:5]) == sorted(longer[5:10]) == list(range(5)) and len(set(longer[10:])) == 2
    )
    chosen = RandomSampler(data, replacement=True, num_samples=1000, generator=generator())
    assert len(chosen) == 1000 and min(Counter(chosen).values()) > 150
    assert all(type(i) is int for i in [*chosen, *longer])
    endless = RandomSampler(data, replacement=True, num_samples=int(1e10))  # fits in memory
    assert len(endless) == 10**10 and next(iter(endless)) in range(5)
    assert list(BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert [len(BatchSampler(range(n), 2, d)) for n in (4, 5) for d in (False, True)] == [
        2,
        2,
        3,
        2,
    ]
    for size in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="batch_size must be a whole number above 0"):
            BatchSampler(range(5), size, False)
    with pytest.raises(ValueError, match="nothing to choose"):
        RandomSampler(Squares(0))


# ---- batches -------------------------------------------------------------------------


def test_default_collate():
    Point = namedtuple("Point", "x y")
    samples = [
        {
            "tensor": mt.ones(2) * i,
            "array": np.full(3, i, np.float32),
            "scalar": np.int16(i),
            "int": i,
            "float": i / 2,
            "bool": i == 1,
            "text": f"sample {i}",
            "tuple": (i, "t"),
            "list": [[i, i], [0.0]],
            "point": Point(i, mt.tensor(i)),
        }
        for i in range(3)
    ]
    batch = default_collate(samples)
    assert batch["tensor"].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert batch["array"].shape == (3, 3) and batch["array"].dtype is mt.float32
    assert batch["scalar"].tolist() == [0, 1, 2] and batch["scalar"].dtype is mt.int16
    assert batch["int"].dtype is mt.int64 and batch["int"].tolist() == [0, 1, 2]
    assert batch["float"].dtype is mt.float64 and batch["float"].tolist() == [0, 0.5, 1]
    assert batch["bool"].dtype is mt.bool
    assert batch["text"] == ["sample 0", "sample 1", "sample 2"]
    assert batch["tuple"][0].tolist() == [0, 1, 2] and list(batch["tuple"][1]) == ["t"] * 3
    assert batch["list"][0][1].tolist() == [0, 1, 2]
    assert isinstance(batch["point"], Point) and batch["point"].y.tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="not of NoneType; pass a collate_fn"):
        default_collate([None, None])
    with pytest.raises(RuntimeError, match=r"samples of different lengths: \[1, 2\]"):
        default_collate([(1,), (1, 2)])
    with pytest.raises(RuntimeError, match="stack"):
        default_collate([mt.ones(2), mt.ones(3)])


def test_loader():
    batches = list(DataLoader(Squares(5), batch_size=2))
    assert [b[0].tolist() for b in batches] == [[0, 1], [2, 3], [4]]
    assert batches[2][1].tolist() == [16] and type(batches[0]) is list
    loader = DataLoader(Squares(5), 2, drop_last=True)
    assert [b[0].tolist() for b in loader] == [[0, 1], [2, 3]] and len(loader) == 2
    assert len(DataLoader(Squares(5))) == 5 and list(DataLoader(Squares(0), 3)) == []


def test_every_pass_is_in_a_new_order_and_seeds_repeat_it():
    def order(loader):
        return [i for x, _ in loader for i in x.tolist()]

    a, b = (DataLoader(Squares(50), 8, shuffle=True, generator=generator(3)) for _ in range(2))
    first, second = order(a), order(a)
    assert first != second and sorted(first) == sorted(second) == list(range(50))
    assert (order(b), order(b)) == (first, second)
    mt.manual_seed(5)
    c = order(DataLoader(Squares(50), 8, shuffle=True))
    mt.manual_seed(5)
    assert order(DataLoader(Squares(50), 8, shuffle=True)) == c != first


def test_a_batch_is_loaded_when_it_is_asked_for():
    data = Squares(100)
    loader = iter(DataLoader(data, 10))
    next(loader)
    assert data.asked == 10


def test_samplers_of_ones_own():
    data = Squares(6)
    assert [b[0].tolist() for b in DataLoader(data, 2, sampler=[5, 0, -1])] == [[5, 0], [-1]]
    loader = DataLoader(data, batch_sampler=[[1], [2, 3, 4]])
    assert [b[0].tolist() for b in loader] == [[1], [2, 3, 4]] and len(loader) == 2
    assert list(DataLoader(data, 3, collate_fn=sum_of_indices)) == [3, 12]


def sum_of_indices(samples):
    return sum(i for i, _ in samples)


def test_without_batches():
    class Arrays(Dataset):
        def __getitem__(self, index):
            return np.full(2, index), {"name": "x", "n": (np.float32(1), index)}

        def __len__(self):
            return 2

    samples = list(DataLoader(Arrays(), batch_size=None))
    assert len(samples) == len(DataLoader(Arrays(), batch_size=None)) == 2
    assert isinstance(samples[1][0], mt.Tensor) and samples[1][0].tolist() == [1, 1]
    assert samples[1][1]["name"] == "x" and samples[1][1]["n"][1] == 1
    assert samples[1][1]["n"][0].dtype is mt.float32


def test_iterable_datasets():
    assert [b.tolist() for b in DataLoader(Lines(), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [b.tolist() for b in DataLoader(Lines(), 3, drop_last=True)] == [[0, 1, 2], [3, 4, 5]]
    assert list(DataLoader(Lines(), None)) == list(range(7))
    with pytest.raises(TypeError, match="len"):
        len(DataLoader(Lines(), 3))

    class Counted(Lines):
        def __len__(self):
            return 7

    assert len(DataLoader(Counted(), 3)) == 3 and len(DataLoader(Counted(), None)) == 7
    with pytest.raises(ValueError, match="its own order"):
        DataLoader(Lines(), shuffle=True)


def test_workers_are_accepted():
    loader = DataLoader(
        Squares(4), 2, num_workers=2, pin_memory=True, persistent_workers=True, prefetch_factor=2
    )
    assert [b[0].tolist() for b in loader] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="num_workers cannot be negative"):
        DataLoader(Squares(4), num_workers=-1)


class Slow(TensorDataset):
    """A TensorDataset that a loader must ask for sample after sample."""


@pytest.mark.parametrize(
    "wrap", [lambda d: d, lambda d: Subset(Subset(d, range(9, 1, -1)), [0, 3, 5])]
)
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 2, -1], [np.int64(1), np.int64(0)]])
def test_the_fast_path_gives_what_the_slow_one_gives(wrap, order):
    tensors = (
        mt.arange(10),
        mt.arange(40.0).reshape(4, 10).t(),
        mt.arange(10) % 2 == 0,
        mt.randn(10, 0, 2),
    )
    fast = DataLoader(wrap(TensorDataset(*tensors)), 2, sampler=order)
    slow = DataLoader(wrap(Slow(*tensors)), 2, sampler=order)
    compared = 0
    for a, b in zip(fast, slow, strict=True):
        assert type(a) is type(b) is list
        for x, y in zip(a, b, strict=True):
            assert x.dtype is y.dtype and x.shape == y.shape and x.equal(y)
            compared += 1
    assert compared >= 4


def test_the_fast_path_copies_differentiates_and_checks_its_indices():
    x = mt.arange(4.0).requires_grad_()
    (batch,) = next(iter(DataLoader(TensorDataset(x), 3)))
    (batch * mt.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [1, 2, 3, 0]
    data = mt.zeros(4)
    (batch,) = next(iter(DataLoader(TensorDataset(data), 4)))
    batch += 1
    assert data.tolist() == [0] * 4
    for dataset in (TensorDataset(data), Slow(data)):
        with pytest.raises(IndexError):
            list(DataLoader(dataset, 2, sampler=[0, 4]))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shuffle": True, "sampler": [0]}, "sampler and shuffle both"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler makes the batches"),
        ({"batch_sampler": [[0]], "shuffle": True}, "batch_sampler makes the batches"),
        ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler makes the batches"),
        ({"batch_size": None, "drop_last": True}, "drop_last needs a batch_size"),
        ({"batch_size": 0}, "batch_size must be a whole number above 0, got 0"),
    ],
)
def test_orders_that_contradict_each_other(options, message):
    with pytest.raises(ValueError) as told:
        DataLoader(Squares(4), **options)
    assert message in str(told.value)


def test_the_kind_of_samples_may_be_annotated():
    class Squares(Dataset[int]):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return index**2

    assert [x.item() for x in DataLoader[int](Squares())] == [0, 1, 4]
    assert issubclass(Squares, Dataset) and Sampler[int].__origin__ is Sampler


def test_a_data_set_may_give_a_batch_at_once():
    class Tens(Dataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            raise AssertionError("one by one")

        def __getitems__(self, indices):
            return [10 * i for i in indices]

    assert [b.tolist() for b in DataLoader(Tens(), 2)] == [[0, 10], [20, 30], [40]]


def test_a_loader_may_index_with_whole_batches():
    class Whole(DataLoader):
        _auto_collation = False

        @property
        def _index_sampler(self):
            return self.batch_sampler

    loader = Whole(np.arange(5) * 10, 2, collate_fn=lambda batch: batch)
    assert [b.tolist() for b in loader] == [[0, 10], [20, 30], [40]]
