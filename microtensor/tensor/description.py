"""What a tensor is: its shape, dtype, device and place in memory."""

import math

from ..autograd import TensorBase
from ..backends import backend_of, device
from ..backends.dtypes import FLOAT
from ..backends.layouts import channels_last, strided
from ..ops.shapes import _positive
from .size import Size


class Description(TensorBase):
    """The part of `Tensor` that answers what it is."""

    shape = property(lambda self: Size(self._data.shape))
    ndim = property(lambda self: len(self._data.shape))
    dtype = property(lambda self: backend_of(self._data).dtype(self._data))
    device = property(lambda self: device(backend_of(self._data).device(self._data)))
    is_cuda = property(lambda self: self.device.type == "cuda")
    is_cpu = property(lambda self: self.device.type == "cpu")
    is_sparse = is_quantized = is_nested = is_mps = is_meta = False
    layout = strided
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.numel() * self.itemsize)

    def get_device(self):
        """The number of its GPU; −1 on the CPU."""
        return (self.device.index or 0) if self.is_cuda else -1

    def size(self, dim=None):
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[_positive(dim, self.ndim)]

    def dim(self):
        """The number of dimensions."""
        return self.ndim

    def numel(self):
        """The number of elements."""
        return math.prod(self._data.shape)

    nelement = numel
    ndimension = dim

    def element_size(self):
        """Bytes of one element."""
        return self.itemsize

    def stride(self, dim=None):
        """Elements to step over in memory for each dimension."""
        strides = backend_of(self._data).strides(self._data)
        return strides if dim is None else strides[dim]

    def is_floating_point(self):
        """Whether the elements are floating-point numbers."""
        return self.dtype.rank == FLOAT

    def is_complex(self):
        """Whether the elements are complex numbers, which nothing here is."""
        return False

    def is_nonzero(self):
        """Whether the one element is not 0."""
        return bool(self)

    def data_ptr(self):
        """The address of the first element in memory."""
        return self._as_numpy().ctypes.data

    def is_contiguous(self, memory_format=None):
        """Whether the elements lie in memory in row-major order, without gaps."""
        if memory_format is channels_last:
            return self.ndim == 4 and self.permute(0, 2, 3, 1).is_contiguous()
        return backend_of(self._data).is_contiguous(self._data)

    def to_dense(self, dtype=None, *, masked_grad=None):
        """The tensor, in another dtype if one is given: none is sparse."""
        return self if dtype is None else self.to(dtype)

    def is_pinned(self, device=None):
        """False: memory is the system's, which may move it."""
        return False
