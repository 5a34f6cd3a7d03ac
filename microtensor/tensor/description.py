"""Properties of a tensor: its shape, dtype, device and memory layout."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import TensorBase
from ..backends import backend_of
from ..backends import device as _device_type
from ..backends.dtypes import FLOAT
from ..backends.dtypes import dtype as _dtype_type
from ..backends.layouts import channels_last, strided
from ..ops.shapes import _positive
from ..typing import Device, Dtype, Tensor
from .size import Size


class Description(TensorBase):
    """The part of `Tensor` that describes its shape, dtype, device and memory layout."""

    is_sparse = is_quantized = is_nested = is_mps = is_meta = False
    layout = strided

    @property
    def shape(self) -> Size:
        """The sizes of its dimensions."""
        return Size(self._data.shape)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._data.shape)

    @property
    def dtype(self) -> _dtype_type:
        """The data type of its elements, such as `mt.float32`."""
        return backend_of(self._data).dtype(self._data)

    @property
    def device(self) -> _device_type:
        """The device that holds its elements, such as `mt.device("cpu")`."""
        return _device_type(backend_of(self._data).device(self._data))

    @property
    def is_cuda(self) -> bool:
        """True if it is on a GPU."""
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        """True if it is on the CPU."""
        return self.device.type == "cpu"

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self.itemsize

    def get_device(self) -> int:
        """The number of its GPU; −1 on the CPU."""
        return (self.device.index or 0) if self.is_cuda else -1

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[_positive(dim, self.ndim)]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self._data.shape)

    nelement = numel
    ndimension = dim

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Elements to step over in memory for each dimension."""
        strides = backend_of(self._data).strides(self._data)
        return strides if dim is None else strides[dim]

    def is_floating_point(self) -> bool:
        """True if the elements are floating-point numbers."""
        return self.dtype.rank == FLOAT

    def is_complex(self) -> bool:
        """True if the elements are complex numbers: always False."""
        return False

    def is_nonzero(self) -> bool:
        """True if the one element is not 0."""
        return bool(self)

    def data_ptr(self) -> int:
        """The address of the first element in memory."""
        return self._as_numpy().ctypes.data

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """True if the elements lie in memory in row-major order, without gaps."""
        if memory_format is channels_last:
            return self.ndim == 4 and self.permute(0, 2, 3, 1).is_contiguous()
        return backend_of(self._data).is_contiguous(self._data)

    def to_dense(self, dtype: Dtype | None = None, *, masked_grad: bool | None = None) -> Tensor:
        """The tensor, in another dtype if one is given. No tensor here is sparse."""
        return self if dtype is None else self.to(dtype)

    def is_pinned(self, device: Device | None = None) -> bool:
        """False: memory is never pinned."""
        return False
