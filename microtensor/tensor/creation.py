"""Create tensors: from data, filled with one number, or as ranges.

Every constructor takes `dtype`, `device` and `requires_grad`, like PyTorch's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..autograd.calls import public_names
from ..autograd.errors import OutOfMemory
from ..autograd.modes import mode
from ..backends import backend_for
from ..backends.dtypes import FLOAT, dtype_of, get_default_dtype, int64
from ..backends.dtypes import result_type as _result_type
from ..ops.composite.shapes import sizes
from ..typing import Device, Dtype, Scalar, Shape, TensorLike, dtype
from .arrays import array_of, constructor, filled
from .tensor import Tensor


@constructor
def tensor(data: Any, *, dtype: Dtype | None = None, device: Device | None = None,
           requires_grad: bool = False) -> Tensor:  # fmt: skip
    """A new tensor that copies `data`: a number, nested lists, an array or a tensor.

    Python floats become float32 (the default dtype), integers int64; arrays keep their dtype.
    """
    return _tensor(data, dtype, device, requires_grad, copy=True)


def as_tensor(data: Any, dtype: Dtype | None = None, device: Device | None = None) -> Tensor:
    """`data` as a tensor, sharing its memory where dtype and device allow it."""
    data = data._as_tensor() if hasattr(data, "_as_tensor") else data  # memory, by its tensor
    if isinstance(data, Tensor):
        return data.to(data.device if device is None else device, dtype or data.dtype)
    return _tensor(data, dtype, device, False, copy=None)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the memory of a NumPy array."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: a NumPy array is needed, got {type(array).__name__}")
    return _tensor(array, None, "cpu", False, copy=None)


def frombuffer(
    buffer: Any, *, dtype: Dtype, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A 1-d tensor that shares the memory of bytes, from byte `offset` on: `count` elements."""
    array = np.frombuffer(buffer, backend_for("cpu").native(dtype_of(dtype)), count, offset)
    out = from_numpy(array)
    return out.requires_grad_() if requires_grad else out


def _tensor(data, dtype, device, requires_grad, copy):
    out = Tensor._wrap(array_of(data, dtype, device, copy))
    out._inference = mode.inference
    return out.requires_grad_() if requires_grad else out


# ---- filled --------------------------------------------------------------------------


@constructor
def full(size: Shape, fill_value: TensorLike, *, dtype: Dtype | None = None,
         device: Device | None = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """A tensor of shape `size` filled with one number."""
    return _full(size_of((size,)), fill_value, dtype, device, requires_grad)


def _full(size, value, dtype, device, requires_grad):
    out = Tensor._wrap(filled(size, value, dtype, device))
    return out.requires_grad_() if requires_grad else out


@constructor
def zeros(*shape: Any, size: Shape | None = None, dtype: Dtype | None = None,
          device: Device | None = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Zeros, as in zeros(2, 3), zeros((2, 3)) or zeros(size=(2, 3))."""
    return _full(size_of(shape, size), 0, dtype or get_default_dtype(), device, requires_grad)


@constructor
def ones(*shape: Any, size: Shape | None = None, dtype: Dtype | None = None,
         device: Device | None = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Ones, as in ones(2, 3)."""
    return _full(size_of(shape, size), 1, dtype or get_default_dtype(), device, requires_grad)


@constructor
def empty(*shape: Any, size: Shape | None = None, dtype: Dtype | None = None,
          device: Device | None = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """A tensor to be filled later. It holds zeros, so that nothing is random."""
    return zeros(*shape, size=size, dtype=dtype, device=device, requires_grad=requires_grad)


def size_of(shape: Any, size: Shape | None = None) -> Shape:
    """The shape meant by `zeros(2, 3)`, `zeros((2, 3))` or `zeros(size=(2, 3))`."""
    size = sizes(shape if size is None else (size,))
    if any(n < 0 for n in size):
        raise RuntimeError(f"a size cannot be negative, got {size}")
    if math.prod(size) >> 60:
        raise OutOfMemory(f"there is not enough memory for {math.prod(size)} numbers, shape {size}")
    return size


@constructor
def full_like(input: Tensor, fill_value: TensorLike, *, dtype: Dtype | None = None,
              device: Device | None = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """A tensor like `input`, filled with one number."""
    device = input.device if device is None else device
    return _full(tuple(input.shape), fill_value, dtype or input.dtype, device, requires_grad)


def zeros_like(input: Tensor, **options: Any) -> Tensor:
    """Zeros like `input`."""
    return full_like(input, 0, **options)


def ones_like(input: Tensor, **options: Any) -> Tensor:
    """Ones like `input`."""
    return full_like(input, 1, **options)


@constructor
def empty_like(input: Tensor, *, dtype: Dtype | None = None, device: Device | None = None,
               requires_grad: bool = False) -> Tensor:  # fmt: skip
    """A tensor like `input`, to be filled later. It holds the elements of `input`: nothing is
    random, and what was made on "meta", which here has memory, keeps its values on the way.
    """
    return tensor(input, dtype=dtype, device=device, requires_grad=requires_grad)


# ---- ranges --------------------------------------------------------------------------


@constructor
def arange(start: TensorLike, end: TensorLike | None = None, step: TensorLike = 1, *,
           dtype: Dtype | None = None, device: Device | None = None,
           requires_grad: bool = False) -> Tensor:  # fmt: skip
    """start, start + step, … up to but without `end`; of one number, from 0 up to it."""
    if end is None:
        start, end = 0, start
    start, end, step = (n.item() if isinstance(n, Tensor) else n for n in (start, end, step))
    if not math.isfinite(start + end + step):
        raise RuntimeError(f"arange: finite numbers are needed, got {start}, {end} and {step}")
    if dtype is not None and dtype_of(dtype).rank != FLOAT:
        start, end, step = int(start), int(end), int(step)
    if step == 0 or (end - start) / step < 0:
        raise RuntimeError(f"arange: steps of {step} do not lead from {start} to {end}")
    if dtype is None:
        dtype = (
            get_default_dtype() if any(isinstance(n, float) for n in (start, end, step)) else int64
        )
    steps = np.arange(
        math.ceil((end - start) / step),
        dtype=np.float64 if dtype_of(dtype).rank == FLOAT else np.int64,
    )
    return _tensor(start + steps * step, dtype, device, requires_grad, None)


def _line(name, start, end, steps, dtype):
    if not hasattr(steps, "__index__"):
        raise TypeError(f"{name}: steps is a whole number, got {steps!r}")
    number = float if dtype is None or dtype_of(dtype).rank == FLOAT else int
    return np.linspace(number(start), number(end), *size_of((steps,)))


@constructor
def linspace(start: TensorLike, end: TensorLike, steps: int, *, dtype: Dtype | None = None,
             device: Device | None = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """`steps` numbers from `start` to `end`, evenly spaced, both included."""
    line = _line("linspace", start, end, steps, dtype)
    return _tensor(line, dtype or get_default_dtype(), device, requires_grad, None)


@constructor
def logspace(start: TensorLike, end: TensorLike, steps: int, base: float = 10.0, *,
             dtype: Dtype | None = None, device: Device | None = None,
             requires_grad: bool = False) -> Tensor:  # fmt: skip
    """`steps` powers of `base`, the exponents evenly spaced from `start` to `end`."""
    line = float(base) ** _line("logspace", start, end, steps, dtype)
    return _tensor(line, dtype or get_default_dtype(), device, requires_grad, None)


def _at_least_0(name, row, offset, col):
    if row < 0 or col < 0:
        raise RuntimeError(f"{name}: a size cannot be negative, got {row} and {col}")
    return row, offset, col


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Dtype = int64, device: Device | None = None
) -> Tensor:
    """The rows and columns (2, n) of the places on and below a diagonal of a (row, col) matrix."""
    places = np.tril_indices(*_at_least_0("tril_indices", row, offset, col))
    return _tensor(np.stack(places), dtype, device, False, None)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Dtype = int64, device: Device | None = None
) -> Tensor:
    """The rows and columns (2, n) of the places on and above a diagonal of a (row, col) matrix."""
    places = np.triu_indices(*_at_least_0("triu_indices", row, offset, col))
    return _tensor(np.stack(places), dtype, device, False, None)


def scalar_tensor(s: Scalar, *, dtype: Dtype | None = None, device: Device | None = None,
                  requires_grad: bool = False) -> Tensor:  # fmt: skip
    """A number as a tensor of no dimensions, of the default dtype unless `dtype` is given."""
    return full((), s, dtype=dtype or get_default_dtype(), device=device,
                requires_grad=requires_grad)  # fmt: skip


@constructor
def eye(n: int, m: int | None = None, *, dtype: Dtype | None = None, device: Device | None = None,
        requires_grad: bool = False) -> Tensor:  # fmt: skip
    """The identity matrix (n, n), or its first m columns."""
    array = np.eye(*size_of((n, n if m is None else m)))
    return _tensor(array, dtype or get_default_dtype(), device, requires_grad, None)


# ---- questions about tensors and dtypes ----------------------------------------------


def is_tensor(value: Any) -> bool:
    """True if `value` is a Tensor."""
    return isinstance(value, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """True if the elements are floating-point numbers."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """True if the elements are complex numbers: always False."""
    return False


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """True if |input − other| ≤ atol + rtol·|other| everywhere."""
    return bool(ops.isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """True if two tensors have the same shape and the same elements."""
    return input.equal(other)


def can_cast(from_: Dtype, to: Dtype) -> bool:
    """True if PyTorch's rules let a result of one dtype be stored in another."""
    return dtype_of(from_).rank <= dtype_of(to).rank


def result_type(*tensors: TensorLike) -> dtype:
    """The dtype of the result of an operation on these tensors and numbers."""
    held = [t for t in tensors if isinstance(t, Tensor)]
    return _result_type(
        [t.dtype for t in held if t.ndim],
        [t.dtype for t in held if not t.ndim],
        [t for t in tensors if not isinstance(t, Tensor)],
    )


__all__ = [
    "allclose", "arange", "as_tensor", "can_cast", "empty", "empty_like", "equal", "eye",
    "from_numpy", "frombuffer", "full", "full_like", "is_complex", "is_floating_point", "is_tensor",
    "linspace", "logspace", "numel", "ones", "ones_like", "result_type", "scalar_tensor", "tensor",
    "tril_indices", "triu_indices", "zeros", "zeros_like",
]  # fmt: skip

public_names(
    globals(),
    "allclose as_tensor can_cast equal from_numpy frombuffer is_floating_point numel ones_like "
    "result_type scalar_tensor tril_indices triu_indices zeros_like".split(),
    strict=True,
)
