"""Convert tensors to Python numbers, NumPy arrays or text, or to another dtype or device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import ops
from ..autograd import TensorBase, op
from ..autograd.modes import mode
from ..backends import backend_for, backend_of
from ..backends import device as _device_type
from ..backends.dtypes import DTYPES, FLOAT, TYPES, bfloat16, dtype_of, get_default_dtype
from ..ops.composite.shapes import sizes
from ..typing import Bool, Device, Dtype, Float, Int, Scalar, Shape, Tensor, TensorLike
from .arrays import array_of, constructor, filled
from .printing import show


class Conversion(TensorBase):
    """The part of `Tensor` that converts it to other types, dtypes and devices."""

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The elements as an array that shares memory; not of a GPU, bfloat16 or a recorded one.

        With `force` also of a recorded one, without its history, and of a GPU, copied.
        """
        if force:
            return self.detach().cpu().numpy()
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; use detach().numpy()")
        if self.device.type == "cuda":
            raise TypeError(f"numpy: this tensor is on {self.device}; use cpu().numpy()")
        if self.dtype is bfloat16:
            raise TypeError("numpy: NumPy has no bfloat16; use float().numpy()")
        return self._as_numpy()

    def _as_numpy(self):
        if mode.tape is not None:
            mode.tape.refuse("the elements of a tensor are read")
        return backend_of(self._data).to_numpy(self._data)

    def __array__(self, dtype: Dtype | None = None, copy: Bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_wrap__(self, array, context=None, return_scalar=False):
        """Wrap the result of a NumPy function of a tensor, such as np.sqrt(x), as a tensor."""
        return self._wrap(np.asarray(array))

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._as_numpy().tolist()

    def item(self) -> Scalar:
        """The one element as a Python number. Raises RuntimeError if there are more."""
        if self.numel() != 1:
            raise RuntimeError(
                f"item: only a tensor of one element is a number, got shape {tuple(self.shape)}"
            )
        return self._as_numpy().item()

    def __bool__(self) -> Bool:
        if self.numel() != 1:
            raise RuntimeError(
                f"the truth of a tensor of {self.numel()} elements is ambiguous; use any() or all()"
            )
        return bool(self.item())

    def __index__(self) -> Int:
        if self.dtype.rank == FLOAT:
            raise TypeError(f"only integer tensors can be an index, this one is {self.dtype}")
        if self.numel() != 1:
            raise TypeError(f"only one number can be an index, this one has {self.numel()}")
        return int(self.item())

    def __len__(self) -> Int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(ops.unbind(self))

    def __contains__(self, value: Any) -> Bool:
        return bool((self == value).any())

    def __deepcopy__(self, memo):
        if self.grad_fn is not None:
            raise RuntimeError("only leaves can be deep-copied; use clone() or detach()")
        copy = _new(type(self))
        memo[id(self)] = copy
        copy.__dict__.update(self.__dict__)
        copy._data = self._copied(memo)
        copy._base = copy._view_steps = copy._hooks = copy._post_accumulate_hooks = None
        copy.grad = None if self.grad is None else self.grad.clone()
        return copy

    def _copied(self, memo):
        return backend_of(self._data).copied(self._data, memo)

    def __reduce_ex__(self, protocol):
        return (
            _rebuild,
            (type(self), self._as_numpy(), str(self.device), self._needs_grad, self.dtype),
        )

    def __repr__(self) -> str:
        return show(self)

    def __format__(self, spec: str) -> str:
        if spec and self.numel() != 1:
            raise TypeError(f"format: {spec!r} is for one number, got shape {tuple(self.shape)}")
        return format(self.item(), spec) if spec or not self.ndim else str(self)

    def __round__(self, digits: Int = 0) -> Tensor:
        return ops.round(self, digits)

    def __float__(self) -> Float:
        return float(self.item())

    def __int__(self) -> Int:
        return int(self.item())

    # ---- to another dtype or device --------------------------------------------------

    def to(self, *args: Any, dtype: Dtype | None = None, device: Device | None = None,
           copy: Bool = False, non_blocking: Bool = False,
           memory_format: Any = None) -> Tensor:  # fmt: skip
        """The tensor with another dtype, on another device, or like another tensor."""
        for a in args:
            if isinstance(a, TensorBase):
                dtype, device = a.dtype, a.device
            elif isinstance(a, _device_type) or isinstance(a, str) and not _is_dtype_name(a):
                device = a
            elif not isinstance(a, bool):
                dtype = a
        out = self
        if (
            device is not None
            and backend_for(device) is not backend_of(self._data)
            and _device_type(device).type != self.device.type  # bfloat16 has a backend of its own
        ):
            out = transfer(out, str(_device_type(device)))
        if dtype is not None and dtype_of(dtype) is not out.dtype:
            out = ops.cast(out, dtype_of(dtype))
        return out.clone() if copy and out is self else out

    def type(self, dtype: Any = None) -> Any:
        """The tensor in another dtype; without one, PyTorch's name for it: torch.FloatTensor …

        The class Tensor stands for the default dtype.
        """
        if dtype is None:
            return f"torch.{next(name for name, kind in TYPES.items() if kind is self.dtype)}"
        if isinstance(dtype, type) and issubclass(dtype, TensorBase):
            return self.to(get_default_dtype())
        return self.to(getattr(dtype, "where", None), dtype_of(dtype))

    def cpu(self) -> Tensor:
        """The tensor on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Device | None = None) -> Tensor:
        """The tensor on the GPU."""
        return self.to("cuda" if device is None else _device_type(device))

    def contiguous(self, memory_format: Any = None) -> Tensor:
        """The tensor in one block of memory, in row-major order."""
        return self if self.is_contiguous() else ops.contiguous_(self)

    def type_as(self, other: Tensor) -> Tensor:
        """The tensor in the dtype of another."""
        return self.to(other.dtype)

    def bool(self) -> Tensor:
        return self.to("bool")

    def byte(self) -> Tensor:
        return self.to("uint8")

    def char(self) -> Tensor:
        return self.to("int8")

    def short(self) -> Tensor:
        return self.to("int16")

    def int(self) -> Tensor:
        return self.to("int32")

    def long(self) -> Tensor:
        return self.to("int64")

    def half(self) -> Tensor:
        return self.to("float16")

    def bfloat16(self) -> Tensor:
        return self.to("bfloat16")

    def float(self) -> Tensor:
        return self.to("float32")

    def double(self) -> Tensor:
        return self.to("float64")

    # ---- new tensors of this dtype and device ----------------------------------------

    @constructor
    def new_full(self, size: Shape, fill_value: TensorLike, *, dtype: Dtype | None = None,
                 device: Device | None = None,
                 requires_grad: Bool = False) -> Tensor:  # fmt: skip
        """`fill_value` in shape `size`, with this tensor's dtype and device unless given."""
        device = self.device if device is None else device
        array = filled(sizes((size,)), fill_value, dtype or self.dtype, device)
        out = self._wrap(array)
        return out.requires_grad_() if requires_grad else out

    def new_zeros(self, *size: Any, **options: Any) -> Tensor:
        """Zeros of shape `size`, with this tensor's dtype and device unless others are given."""
        return self.new_full(sizes(size), 0, **options)

    def new_ones(self, *size: Any, **options: Any) -> Tensor:
        """Ones of shape `size`, with this tensor's dtype and device unless others are given."""
        return self.new_full(sizes(size), 1, **options)

    def new_empty(self, *size: Any, **options: Any) -> Tensor:
        """`new_zeros`."""
        return self.new_full(sizes(size), 0, **options)

    @constructor
    def new_tensor(self, data: Any, *, dtype: Dtype | None = None, device: Device | None = None,
                   requires_grad: Bool = False) -> Tensor:  # fmt: skip
        """`data` with this tensor's dtype and device unless others are given."""
        device = self.device if device is None else device
        out = self._wrap(array_of(data, dtype or self.dtype, device))
        return out.requires_grad_() if requires_grad else out


_new = object.__new__


def _is_dtype_name(name):
    return name.removeprefix("microtensor.").removeprefix("torch.") in DTYPES


@op
def transfer(x, /, where):
    """x on another device.    ∂x = g, on x's device"""
    here = "cpu" if isinstance(x, TensorBase) else backend_of(x).device(x)
    if isinstance(x, TensorBase):
        return transfer(x, where), lambda g: transfer(g, str(x.device))
    return _moved(x, where), lambda g: _moved(g, here)


def read_as(kind: Dtype, x: Tensor) -> Tensor:
    """The bytes of x as elements of another dtype."""
    if kind is x.dtype:
        return x.view_as(x)
    old, new = x.itemsize, kind.itemsize
    if old != new and (not x.ndim or x.shape[-1] * old % new or x.stride(-1) != 1):
        raise RuntimeError(
            f"view: the last dimension of shape {tuple(x.shape)}, strides {x.stride()} and dtype "
            f"{x.dtype.name} cannot be read as {kind.name}: clone() it, of a fitting size"
        )
    return x._wrap(backend_of(x._data).read_as(x._data, kind))


def _moved(array, where):
    here = backend_of(array)
    return backend_for(where).asarray(here.to_numpy(array), dtype=here.dtype(array), copy=True)


def _rebuild(kind, array, where, requires_grad, dtype=None):
    """Rebuild a tensor from the data that pickle and copy store."""
    self = _new(kind)
    self._data = backend_for(where).asarray(array, dtype=dtype)
    self._needs_grad = requires_grad
    return self
