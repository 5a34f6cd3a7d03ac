"""Tensors as a kind of array, so that pullbacks, run on tensors, can be differentiated in turn."""

from .. import ops
from ..backends import Backend, backend_of, register
from . import array_api
from .tensor import Tensor


class TensorBackend(Backend):
    """Tensors as a kind of array: the portable kernels, made of differentiable operations."""

    xp = array_api

    def dtype(self, array):
        return array.dtype

    def native(self, dtype):
        return dtype

    def device(self, array):
        return str(array.device)

    def to_numpy(self, array):
        return array._as_numpy()

    def cast(self, array, dtype):
        return array.to(dtype)

    def asarray(self, data, dtype=None, copy=None):
        return array_api.asarray(data, dtype=dtype, copy=copy)

    def keep_mask(self, x, p, seed):
        return Tensor._wrap(backend_of(x._data).keep_mask(x._data, p, seed))

    erf, sigmoid = staticmethod(ops.erf), staticmethod(ops.sigmoid)
    put, get_at = staticmethod(ops.put_at), staticmethod(ops.getitem)
    embedding, diagonal = staticmethod(ops.embedding), staticmethod(ops.diagonal_)

    def count_along(self, x, axis=-1):
        return Tensor._wrap(backend_of(x._data).count_along(x._data, axis))

    def set_at(self, array, value, index):
        return ops.setitem(array, value, index)

    def write(self, array, value, view):
        return ops.write(array, value, view)

    def set_along_axis(self, array, values, index, axis):
        return ops.scatter_(array, index, values, axis)

    def put_along_axis(self, values, shape, index, axis):
        return ops.scatter_add_(values.new_zeros(shape), index, values, axis)

    def embedding_backward(self, g, index, rows):
        return ops.put_at(
            g, (rows, g.shape[-1]), index._data if isinstance(index, Tensor) else index
        )

    def multiply_along_axis(self, array, values, index, axis):
        return ops.scatter_multiply_(array, index, values, axis)

    def unfold(self, x, dim, size, step):
        return ops.unfold(x, dim, size, step)

    def unfold_backward(self, g, shape, dim, size, step):
        return ops.fold_windows_(g, shape, dim, size, step)

    def einsum(self, equation, *tensors):
        return ops.einsum_(*tensors, equation=equation)


register(TensorBackend(), None, Tensor)
