"""Buffer: a tensor that is part of a module's state but not trained."""

from ..tensor.creation import empty


class _Buffers(type):
    def __instancecheck__(cls, instance):
        return getattr(instance, "_is_buffer", False)


class Buffer(metaclass=_Buffers):
    """A tensor that is part of a module's state but not trained: Buffer(data, persistent=True).

    It is a plain tensor that shares the memory of `data`; the module that it is assigned to lists
    it among its buffers, and saves it if it is persistent.
    """

    def __new__(cls, data=None, *, persistent=True):
        data = empty(0) if data is None else data
        out = data.detach().requires_grad_(data.requires_grad)
        out.persistent, out._is_buffer = persistent, True
        return out
