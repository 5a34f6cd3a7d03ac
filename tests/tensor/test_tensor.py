"""Tensors: making them, their dtypes and devices, their way in and out of Python, their looks."""

import copy
import pickle

import numpy as np
import pytest

import microtensor as mt

# ---- making them ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, dtype, shape",
    [
        (1, "int64", ()),
        (2.5, "float32", ()),
        (True, "bool", ()),
        ([], "float32", (0,)),
        ([[1, 2], [3, 4]], "int64", (2, 2)),
        ([1, 2.5], "float32", (2,)),
        ((True, False), "bool", (2,)),
        (range(3), "int64", (3,)),
        (np.float64(1.0), "float64", ()),
        (np.arange(3, dtype=np.int16), "int16", (3,)),
        (np.ones((2, 0), np.float16), "float16", (2, 0)),
        ([np.float64(1.0), 2.0], "float64", (2,)),
    ],
)
def test_what_tensor_makes_of_data(data, dtype, shape):
    x = mt.tensor(data)
    assert (x.dtype.name, tuple(x.shape)) == (dtype, shape)
    assert x.is_leaf and not x.requires_grad


def test_tensors_within_lists_and_tensors():
    x = mt.tensor([mt.tensor(1.0), mt.tensor(2.0, requires_grad=True)])
    assert x.tolist() == [1.0, 2.0] and not x.requires_grad
    y = mt.tensor(x)
    y[0] = 5.0
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("data", ["a", None, [None], 1j, {1: 2}, {1, 2}, 2**70, [1, "a"]])
def test_what_is_no_number(data):
    with pytest.raises(TypeError, match="tensor: numbers are needed"):
        mt.tensor(data)


def test_lists_of_two_lengths():
    with pytest.raises(ValueError, match="one length"):
        mt.tensor([[1, 2], [3]])


def test_dtypes_that_we_do_not_have():
    with pytest.raises(TypeError, match="uint16.*float64"):
        mt.tensor(np.ones(2, np.uint16))
    with pytest.raises(RuntimeError, match="int64"):
        mt.tensor([1, 2], requires_grad=True)


def test_shapes_in_every_form():
    for make in (mt.zeros, mt.ones, mt.empty, mt.rand, mt.randn):
        for x in (make(2, 3), make((2, 3)), make([2, 3]), make(mt.Size([2, 3])), make(size=(2, 3))):
            assert x.shape == (2, 3) and x.dtype is mt.float32
        assert make(()).shape == () and make(0, 3).shape == (0, 3)
        with pytest.raises(RuntimeError, match="negative"):
            make(-1)


def test_filled():
    assert [mt.full((1,), v).dtype.name for v in (1, 1.0, True)] == ["int64", "float32", "bool"]
    assert mt.full((2,), 7, dtype=mt.uint8).tolist() == [7, 7]
    x = mt.ones(2, dtype=mt.int16)
    assert mt.zeros_like(x).dtype is mt.int16
    assert mt.full_like(x, 3, dtype=mt.float64).tolist() == [3.0, 3.0]
    assert x.new_zeros(2).dtype is mt.int16 and x.new_ones((1,), dtype=mt.bool).tolist() == [True]
    assert mt.ones(1, requires_grad=True).requires_grad


def test_ranges():
    assert mt.arange(3).tolist() == [0, 1, 2] and mt.arange(3).dtype is mt.int64
    assert mt.arange(1, 2, 0.25).tolist() == [1.0, 1.25, 1.5, 1.75]
    assert mt.arange(5, 0, -2).tolist() == [5, 3, 1] and mt.arange(0).shape == (0,)
    assert mt.linspace(0, 1, 3).tolist() == [0.0, 0.5, 1.0] and mt.linspace(2, 5, 1).tolist() == [2]
    assert mt.eye(2, 3).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    with pytest.raises(RuntimeError, match="arange: steps of -1 do not lead from 0 to 5"):
        mt.arange(0, 5, -1)


def test_sharing_memory_with_numpy():
    array = np.zeros(3, np.float32)
    for share in (mt.from_numpy, mt.as_tensor):
        share(array)[0] += 1
    assert array.tolist() == [2.0, 0.0, 0.0]
    mt.tensor(array)[1] = 5.0
    assert array[1] == 0
    x = mt.zeros(2)
    x.numpy()[1] = 4.0
    assert x.tolist() == [0.0, 4.0]
    assert mt.as_tensor(x) is x and mt.as_tensor(x, dtype=mt.float64) is not x
    backwards = mt.from_numpy(array[::-1])
    assert backwards.tolist() == [0.0, 0.0, 2.0] and not backwards.is_contiguous()
    with pytest.raises(TypeError, match="list"):
        mt.from_numpy([1, 2])


def test_the_class():
    assert mt.Tensor(2, 3).shape == (2, 3) and mt.Tensor().shape == (0,)
    assert mt.Tensor([1, 2]).dtype is mt.float32 and mt.Tensor(mt.ones(2)).tolist() == [1.0, 1.0]


# ---- dtypes --------------------------------------------------------------------------


def test_promotion():
    i, f, d, b, u = (mt.ones(1, dtype=t) for t in ("int64", "float32", "float64", "bool", "uint8"))
    half, i8, scalar = mt.ones(1, dtype="float16"), mt.ones(1, dtype="int8"), mt.tensor(1.0)
    wide = mt.tensor(1.0, dtype=mt.float64)
    pairs = [(i, f), (f, d), (b, i), (u, i8), (half, i), (i, wide)]
    assert [(a + c).dtype.name for a, c in pairs] == [
        "float32", "float64", "int64", "int16", "float16", "float64"
    ]  # fmt: skip
    assert (f + wide).dtype is mt.float32 and (i + scalar).dtype is mt.float32
    assert (half * 2.5).dtype is mt.float16 and (u + 1).dtype is mt.uint8
    assert (
        (i * 1.5).dtype is mt.float32 and (b + 1).dtype is mt.int64 and (i / 2).dtype is mt.float32
    )
    assert (f > 1).dtype is mt.bool and (f * True).dtype is mt.float32
    assert mt.promote_types(mt.int8, mt.uint8) is mt.int16


def test_numpy_numbers_never_widen_and_arrays_do():
    x = mt.ones(2)
    for number in (np.float64(2), np.float32(2), np.int64(2), np.asarray(2.0)):
        for result in (number * x, x * number, number - x, number / x):
            assert type(result) is mt.Tensor and result.dtype is mt.float32
    assert type(np.ones(2) * x) is mt.Tensor and (np.ones(2) * x).dtype is mt.float64
    assert (np.ones(2) - x).tolist() == [0.0, 0.0] and (x < np.full(2, 3.0)).all()


def test_default_dtype():
    try:
        mt.set_default_dtype(mt.float64)
        assert mt.zeros(1).dtype is mt.tensor(1.0).dtype is (mt.tensor(1) / 2).dtype is mt.float64
    finally:
        mt.set_default_dtype(mt.float32)
    with pytest.raises(TypeError, match="int64"):
        mt.set_default_dtype(mt.int64)


def test_conversions():
    x = mt.tensor([0.0, 1.7, -2.2])
    assert x.int().tolist() == [0, 1, -2] and x.bool().tolist() == [False, True, True]
    kinds = [x.half(), x.float(), x.double(), x.int(), x.long(), x.bool()]
    assert [k.dtype.itemsize for k in kinds] == [2, 4, 8, 4, 8, 1]
    assert x.float() is x and x.type() == "torch.FloatTensor"
    assert x.type(mt.int8).dtype is x.type_as(mt.ones(1, dtype=mt.int8)).dtype is mt.int8


# ---- devices -------------------------------------------------------------------------


def test_every_constructor_takes_a_device(device):
    like = mt.ones(2, device=device)
    made = [
        mt.tensor([1.0], device=device), mt.zeros(2, device=device), mt.empty(2, device=device),
        mt.full((2,), 3.0, device=device), mt.arange(2, device=device), mt.eye(2, device=device),
        mt.linspace(0, 1, 2, device=device), mt.rand(2, device=device), mt.randn(2, device=device),
        mt.randint(5, (2,), device=device), mt.randperm(2, device=device),
        mt.as_tensor([1.0, 2.0], device=device), mt.zeros_like(like), mt.rand_like(like),
        like.new_zeros(2), like.new_tensor([1.0]), mt.normal(0.0, 1.0, (2,), device=device),
        mt.bernoulli(like), like.clone(), like * 2, like.detach(), mt.zeros(2).to(device),
    ]  # fmt: skip
    assert {x.device.type for x in made} == {device}
    assert mt.tensor(like).device == like.device
    with mt.device(device):
        assert mt.zeros(1).device.type == device
    assert mt.zeros(1).device.type == "cpu"


def test_default_device():
    try:
        mt.set_default_device("strict")
        assert mt.zeros(1).device == mt.get_default_device() == mt.device("strict")
        assert mt.zeros(1, device="cpu").device == "cpu"
    finally:
        mt.set_default_device(None)
    assert mt.get_default_device() == mt.device("cpu")


def test_to_in_all_its_forms(device):
    x = mt.ones(2)
    there = mt.ones(1, dtype=mt.float64, device=device)
    for moved in (
        x.to(device), x.to(mt.device(device)), x.to(device=device), x.to(device, mt.float32),
        x.to(device=device, dtype="float32"), x.to(device, non_blocking=True),
    ):  # fmt: skip
        assert moved.device.type == device and moved.dtype is mt.float32
        assert (moved is x) == (device == "cpu")
    both = x.to(there)
    assert both.device == there.device and both.dtype is mt.float64
    assert x.to(mt.int8).dtype is x.to("int8").dtype is x.to(dtype=mt.int8).dtype is mt.int8
    assert (
        x.to(float).dtype is mt.float64
        and x.to("cpu") is x
        and x.to(mt.float32, copy=True) is not x
    )
    assert moved.cpu().tolist() == [1.0, 1.0]


def test_gradients_come_back_from_another_device(device):
    x = mt.ones(2, requires_grad=True)
    (x.to(device) * 3).sum().backward()
    assert x.grad.device == "cpu" and x.grad.tolist() == [3.0, 3.0]


def test_names_of_devices():
    assert mt.device("cuda", 1) == mt.device("cuda:1") == mt.device(1) != mt.device("cuda")
    assert (str(mt.device("cuda:1")), mt.device("cuda:1").index) == ("cuda:1", 1)
    for wrong in ("cuda:x", "cuda:-1", "cuda:"):
        with pytest.raises(RuntimeError, match="cpu"):
            mt.device(wrong)
    with pytest.raises(RuntimeError, match="unknown device 'tpu'; there are cpu, cuda"):
        mt.zeros(1, device="tpu")
    with pytest.raises(RuntimeError, match="unknown device 'flaot32'"):
        mt.ones(1).to("flaot32")


@pytest.mark.skipif(mt.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_says_what_is_missing():
    for ask in (lambda: mt.zeros(1, device="cuda"), lambda: mt.ones(1).cuda()):
        with pytest.raises(RuntimeError, match="pip install cupy|needs a GPU"):
            ask()


# ---- attributes ----------------------------------------------------------------------


def test_data_and_grad():
    p = mt.ones(3, requires_grad=True)
    assert not p.data.requires_grad and p.data.is_leaf
    p.data = mt.zeros(3)
    p.data.add_(2)
    assert p.tolist() == [2.0, 2.0, 2.0] and p.requires_grad
    p.grad = mt.ones(3)
    (p * 2).sum().backward()
    assert p.grad.tolist() == [3.0, 3.0, 3.0]
    p.grad = None
    assert p.grad is None
    with pytest.raises(RuntimeError, match=r"\(3,\).*\(4,\)"):
        p.grad = mt.ones(4)
    with pytest.raises(RuntimeError, match="float64"):
        p.grad = mt.ones(3, dtype=mt.float64)
    with pytest.raises(TypeError, match="ndarray"):
        p.grad = np.ones(3)
    with pytest.raises(TypeError, match="ndarray"):
        p.data = np.ones(3)
    with pytest.raises(AttributeError, match="no attribute 'grda'"):
        p.grda  # noqa: B018


def test_sizes_and_strides():
    x = mt.zeros(2, 3, 4)
    assert x.size() == x.shape == (2, 3, 4) and x.size(-1) == 4 and x.shape.numel() == 24
    assert x.stride() == (12, 4, 1) and x[0].t().stride() == (1, 4)
    assert (x.dim(), x.numel(), x.nelement(), x.element_size(), x.nbytes) == (3, 24, 24, 4, 96)
    assert repr(x.shape) == "microtensor.Size([2, 3, 4])"
    with pytest.raises(RuntimeError, match="reshape"):
        mt.zeros(2, 3).t().view(-1)
    with pytest.raises(IndexError):
        x.size(3)


# ---- into Python ---------------------------------------------------------------------


def test_numbers():
    x = mt.tensor(3.5)
    assert (x.item(), float(x), int(x), round(x).item(), bool(x)) == (3.5, 3.5, 3, 4.0, True)
    assert f"{x:.2f}" == "3.50" and f"{mt.tensor(3):d}" == "3"
    assert [10, 20, 30][mt.tensor(1)] == 20 and list(range(mt.tensor(2))) == [0, 1]
    assert not mt.zeros(1, 1) and mt.tensor([True])
    for fails, kind in [
        (lambda: mt.ones(2).item(), RuntimeError),
        (lambda: float(mt.ones(2)), RuntimeError),
        (lambda: bool(mt.ones(2)), RuntimeError),
        (lambda: bool(mt.ones(0)), RuntimeError),
        (lambda: [1, 2][mt.tensor(1.0)], TypeError),
        (lambda: len(mt.tensor(1)), TypeError),
        (lambda: list(mt.tensor(1)), TypeError),
    ]:
        with pytest.raises(kind):
            fails()


def test_containers():
    x = mt.arange(6).view(2, 3)
    first, second = x
    assert first.tolist() == [0, 1, 2] and len(x) == 2
    assert 3 in x and 9 not in x and mt.tensor(4) in x
    assert len({x: 1, mt.arange(6).view(2, 3): 2}) == 2
    assert x in [mt.ones(1), x][1:] and sorted([mt.tensor(2), mt.tensor(1)])[0].item() == 1
    assert sum(mt.ones(3)).item() == 3 and max(mt.tensor([1.0, 3.0])).item() == 3


def test_comparisons_with_what_is_no_number():
    x = mt.ones(2)
    assert (x == None) is False and (x != None) is True and (x == "a") is False  # noqa: E711
    for other in (None, "a", [1, 2]):
        with pytest.raises(TypeError, match="lt|add"):
            x < other  # noqa: B015
        with pytest.raises(TypeError, match="add"):
            x + other


def test_numpy_sees_a_tensor():
    x = mt.ones(2)
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert np.array(x, dtype=int).tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(mt.ones(2, requires_grad=True))
    for y in (np.sqrt(x), np.maximum(x, x) ** 0.5, np.sqrt(x[1])):  # and gives one back
        assert type(y) is mt.Tensor and y.dtype is mt.float32
    assert np.sqrt(x).tolist() == x.sqrt().tolist() and np.sqrt(x[1]).shape == ()
    with pytest.raises(RuntimeError, match="detach"):
        np.sqrt(x.clone().requires_grad_())
    with pytest.raises(TypeError, match="one number"):
        format(x, ".2f")


def test_copies():
    p = mt.ones(2, requires_grad=True)
    (p * 2).sum().backward()
    for twin in (copy.deepcopy(p), copy.deepcopy([p, p])[0]):
        assert twin.requires_grad and twin.is_leaf and twin.grad.tolist() == [2.0, 2.0]
        assert not np.shares_memory(twin._data, p._data)
        assert not np.shares_memory(twin.grad._data, p.grad._data)
    both = copy.deepcopy([p, p])
    assert both[0] is both[1]
    with pytest.raises(RuntimeError, match="leaves"):
        copy.deepcopy(p * 1)


def test_pickles(device):
    for x in (
        mt.ones(2, requires_grad=True, device=device),
        mt.arange(3, device=device),
        mt.tensor(True, device=device),
    ):
        y = pickle.loads(pickle.dumps(x))
        assert (y.tolist(), y.dtype, y.device, y.requires_grad) == (
            x.tolist(), x.dtype, x.device, x.requires_grad
        )  # fmt: skip


def test_negative_steps_and_empty_tensors():
    x = mt.arange(6).view(2, 3)
    assert x[::-1].tolist() == [[3, 4, 5], [0, 1, 2]] and x[:, ::-2].tolist() == [[2, 0], [5, 3]]
    assert (x[::-1] + x).tolist() == [[3, 5, 7], [3, 5, 7]]
    empty = mt.zeros(0, 3)
    assert empty.sum().item() == 0 and (empty @ mt.ones(3, 2)).shape == (0, 2) and not list(empty)
    assert mt.cat([empty, mt.ones(1, 3)]).shape == (1, 3) and empty[..., None].shape == (0, 3, 1)


def test_bad_indices():
    x = mt.arange(6).view(2, 3)
    for index in (5, (0, 3), (0, 0, 0), 1.0, "a", mt.tensor([1.0]), mt.tensor([2]), [0, -3]):
        with pytest.raises(IndexError):
            x[index]
        with pytest.raises(IndexError):
            x[index] = 1


# ---- looks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, looks",
    [
        (lambda: mt.tensor(3.14159), "tensor(3.1416, dtype=float32)"),
        (lambda: mt.tensor(7), "tensor(7, dtype=int64)"),
        (lambda: mt.tensor([True, False]), "tensor([ True, False], shape=(2,), dtype=bool)"),
        (lambda: mt.zeros(0, 3), "tensor([], shape=(0, 3), dtype=float32)"),
        (
            lambda: mt.tensor([[1.5, -2.0], [0.25, 10.0]]),
            "tensor([[ 1.50, -2.00],\n        [ 0.25, 10.00]], shape=(2, 2), dtype=float32)",
        ),
        (lambda: mt.tensor([1e-8, 1.0]), "tensor([1.e-08, 1.e+00], shape=(2,), dtype=float32)"),
        (
            lambda: mt.tensor([float("nan"), float("inf"), -1.0]),
            "tensor([nan, inf, -1.], shape=(3,), dtype=float32)",
        ),
        (
            lambda: mt.arange(2000),
            "tensor([   0,    1,    2, ..., 1997, 1998, 1999], shape=(2000,), dtype=int64)",
        ),
        (
            lambda: mt.ones(2, requires_grad=True),
            "tensor([1., 1.], shape=(2,), dtype=float32, requires_grad=True)",
        ),
        (
            lambda: mt.ones(2, requires_grad=True).exp(),
            "tensor([2.7183, 2.7183], shape=(2,), dtype=float32, grad_fn=<exp>)",
        ),
        (
            lambda: mt.ones(1, device="strict"),
            "tensor([1.], shape=(1,), dtype=float32, device=strict)",
        ),
    ],
)
def test_looks(make, looks):
    x = make()
    assert repr(x) == str(x) == looks
    assert f"{x}" == (looks if x.ndim else str(x.item()))  # a number, as in PyTorch


def test_print_options():
    x = mt.tensor([1 / 3, 2 / 3])
    try:
        mt.set_printoptions(precision=2)
        assert repr(x).startswith("tensor([0.33, 0.67]")
        with pytest.raises(TypeError, match="digits"):
            mt.set_printoptions(digits=2)
    finally:
        mt.set_printoptions(precision=4)


def test_a_part_of_a_shape_is_a_shape():
    shape = mt.zeros(2, 3, 4).shape
    assert shape[1:].numel() == 12 and shape[-1] == 4
    for made in (shape[:-1], shape + (5,), (5,) + shape, shape * 2, 2 * shape):
        assert type(made) is mt.Size
    assert shape + (5,) == (2, 3, 4, 5) and (5,) + shape == (5, 2, 3, 4)


def test_resized():
    x = mt.arange(6.0)
    y = x.resize_(2, 2)
    assert y is x and x.tolist() == [[0, 1], [2, 3]]
    x[0, 0] = 5
    assert x.resize_((3, 2)).tolist() == [[5, 1], [2, 3], [0, 0]]
    assert mt.zeros(1).resize_as_(x).copy_(x).tolist() == x.tolist()
    with pytest.raises(RuntimeError, match="resize_"):
        mt.ones(2, requires_grad=True).resize_(1)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: mt.tensor([1, None]), "got None"),
        (lambda: mt.tensor([[1.0], ["a"]]), "got 'a'"),
        (lambda: mt.tensor("abc"), "got 'abc'"),
        (lambda: mt.ones(3) @ 3, "matmul: both need at least one dimension"),
        (lambda: 3 @ mt.ones(3), "matmul: both need at least one dimension"),
        (lambda: mt.ones(3).view(2, -1), r"3 elements do not fit shape \(2, -1\)"),
        (lambda: mt.ones(3).reshape(-1, -1), "only one size may be"),
        (lambda: mt.fmax(mt.ones(3), 2.0), "fmax: a Tensor .* not float"),
        (lambda: mt.copysign(2.0, mt.ones(3)), "copysign: a Tensor .* not float"),
        (lambda: mt.add(mt.arange(3), 1, alpha=0.5), "alpha must be an integer"),
        (lambda: mt.arange(3).sub_(mt.arange(3), alpha=0.5), "alpha must be an integer"),
        (lambda: mt.arange(3).round(decimals=-2), "decimals=-2 is for floating"),
        (lambda: mt.linalg.ldl_factor, "^microtensor.linalg has no 'ldl_factor'"),
    ],
)
def test_it_says_what_is_wrong(call, said):
    with pytest.raises((RuntimeError, TypeError, AttributeError), match=said):
        call()


def test_a_fraction_of_whole_numbers_is_added_to_others():
    assert mt.add(mt.arange(3), 1.0, alpha=0.5).tolist() == [0.5, 1.5, 2.5]
    assert mt.add(mt.ones(2), mt.arange(2), alpha=0.5).tolist() == [1.0, 1.5]


class Described:
    def __init__(self, **interface):
        self.__array_interface__ = {"version": 3, **interface}


@pytest.mark.parametrize("make", [mt.tensor, mt.as_tensor, lambda d: mt.tensor([d, d])])
def test_memory_that_is_only_described_is_not_believed(make):
    numbers = np.arange(4, dtype="f4")
    good = Described(shape=(2, 2), typestr="<f4", data=numbers.tobytes())
    assert make(good).tolist()[-1] in ([2.0, 3.0], [[0.0, 1.0], [2.0, 3.0]])
    wrong = {"shape": (10**6,)}, {"strides": (10**9,)}, {"offset": -(10**9)}, {"shape": (-4,)}
    for change in (*wrong, {"data": (numbers.ctypes.data, False)}, {"data": None}):
        described = {"shape": (4,), "typestr": "<f4", "data": numbers.tobytes()} | change
        with pytest.raises((TypeError, ValueError), match="tensor: "):
            make(Described(**described))


def test_pictures_of_pillow_are_taken():
    image = pytest.importorskip("PIL.Image").new("RGB", (3, 2), (1, 2, 3))
    assert mt.tensor(image).tolist() == [[[1, 2, 3]] * 3] * 2
