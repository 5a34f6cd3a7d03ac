"""Names that older programs use: `Variable`, `FloatTensor`, `qr` with older arguments, `range`."""

from __future__ import annotations

import functools
import warnings
from typing import Any

from .. import ops
from ..autograd.arguments import results
from ..autograd.calls import public
from ..backends.dtypes import TYPES, dtype_of, get_default_dtype, set_default_dtype
from ..tensor import Tensor
from ..tensor.creation import arange
from ..typing import Device, Dtype
from . import cuda


def set_default_tensor_type(t: Any) -> None:
    """`set_default_dtype`, by a type or its name: FloatTensor, "torch.DoubleTensor"."""
    set_default_dtype(dtype_of(t))


def qr(input: Tensor, some: bool = True) -> Any:
    """Q and R with input = Q R: the older form of `linalg.qr`."""
    return ops.linalg.qr(input, "reduced" if some else "complete")


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """U, S and V with input = U diag(S) Vᵀ; `linalg.svd` gives Vᵀ."""
    u, s, vh = ops.linalg.svd(input, full_matrices=not some)
    return u, s, vh.mT


def svd_lowrank(A: Tensor, q: int = 6, niter: int = 2, M: Any = None) -> Any:
    """U, S and V of the q largest singular values of A, or of A − M: exact, not to be iterated."""
    return tuple(part[..., :q] for part in svd(A if M is None else A - M))


triangular_solved = results("triangular_solve", "solution", "cloned_coefficient")


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """(X, A) with A X = b, or Aᵀ X = b: the older form of `linalg.solve_triangular`."""
    M, of = (A.mT, not upper) if transpose else (A, upper)
    solution = ops.linalg.solve_triangular(M, b, upper=of, unitriangular=unitriangular)
    return triangular_solved(solution, A.clone())


@functools.partial(public, name="range", strict=True)
def inclusive_range(start: float = 0, end: float | None = None, step: float = 1, *,
                    dtype: Dtype | None = None, device: Device | None = None,
                    requires_grad: bool = False) -> Tensor:  # fmt: skip
    """start, start + step, … up to `end`, which is among them, as floats: `torch.range`, old."""
    if end is None:
        raise TypeError("range: an end is needed")
    warnings.warn("torch.range is deprecated; use torch.arange, without the end", stacklevel=2)
    dtype = get_default_dtype() if dtype is None else dtype
    count = int((end - start) / step) + 1
    line = arange(0, count, dtype=dtype, device=device) * step + start
    return line.to(dtype).requires_grad_(requires_grad)


class _Variables(type):
    """Every tensor is a Variable, and calling the class gives a tensor."""

    def __instancecheck__(cls, value):
        return isinstance(value, Tensor)

    def __call__(cls, data=None, requires_grad=False, volatile=None):
        data = Tensor() if data is None else data
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable: a Tensor is needed, got {type(data).__name__}")
        if volatile is not None:
            warnings.warn("Variable: volatile does nothing; use torch.no_grad()", stacklevel=2)
        return data.detach().requires_grad_(requires_grad)


class Variable(metaclass=_Variables):
    """The wrapper of tensors in old programs: Variable(x, requires_grad=True) is a tensor that
    shares the memory of x, without its history.
    """


def before_the_underscore(function, place):
    """A function that changes its input by the name that it had before names told so."""
    new = function.__name__

    @functools.wraps(function)
    def call(*args, **named):
        warnings.warn(
            f"`{place}.{new[:-1]}` is now deprecated in favor of `{place}.{new}`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **named)

    return call


class _OfOneDtype(type):
    """FloatTensor(2, 3) is a tensor of that dtype, and each such tensor is a FloatTensor; and
    cuda.FloatTensor likewise on the GPU.
    """

    def __call__(cls, *data, device=None):
        return Tensor(*data, dtype=cls.dtype).to(device=device or cls.where)

    def __instancecheck__(cls, value):
        alike = isinstance(value, Tensor) and value.dtype is cls.dtype
        return alike and value.device.type == cls.where


for _name, _dtype in TYPES.items():
    globals()[_name] = _OfOneDtype(_name, (), {"dtype": _dtype, "where": "cpu"})
    setattr(cuda, _name, _OfOneDtype(_name, (), {"dtype": _dtype, "where": "cuda"}))

__all__ = [
    *TYPES, "qr", "set_default_tensor_type", "svd", "svd_lowrank", "triangular_solve",
]  # fmt: skip
