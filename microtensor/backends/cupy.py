"""The GPU, through CuPy: the portable kernels, and what CuPy has faster."""

from .base import Backend


def open_cuda():
    """The backend of the GPU and its type of arrays. Raises RuntimeError where one is missing."""
    try:
        import cupy
    except ImportError:
        raise RuntimeError(
            'device "cuda" needs CuPy, which is not installed: pip install cupy-cuda12x '
            "(or cupy-cuda13x, to match the driver)"
        ) from None
    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f'device "cuda" needs a GPU and its driver; CuPy is installed but finds none ({error})'
        ) from None
    if not found:
        raise RuntimeError('device "cuda" needs a GPU; CuPy is installed but finds none')
    return CuPyBackend(_namespace(cupy)), cupy.ndarray


class _namespace:
    """CuPy's functions under the array API's names."""

    def __init__(self, cupy):
        self.cupy = cupy
        self.__name__ = "cupy"

    def __getattr__(self, name):
        # CuPy before 14 has some of the functions under NumPy 1's names only
        for candidate in (name, OLD_NAMES.get(name)):
            if candidate and hasattr(self.cupy, candidate):
                setattr(self, name, getattr(self.cupy, candidate))
                return getattr(self, name)
        raise AttributeError(f"CuPy has no function {name!r}")

    def astype(self, x, dtype, copy=True):
        return x.astype(dtype, copy=copy)

    def asarray(self, x, dtype=None, copy=None):
        return self.cupy.array(x, dtype=dtype, copy=bool(copy))

    def matrix_transpose(self, x):
        return x.swapaxes(-1, -2)

    def cumulative_sum(self, x, axis=None, dtype=None):
        return self.cupy.cumsum(x, axis=axis, dtype=dtype)

    def cumulative_prod(self, x, axis=None, dtype=None):
        return self.cupy.cumprod(x, axis=axis, dtype=dtype)

    def argsort(self, x, axis=-1, stable=True):
        return self.cupy.argsort(x, axis=axis, kind="stable")


OLD_NAMES = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atan2": "arctan2", "atanh": "arctanh", "bool": "bool_", "concat": "concatenate",
    "permute_dims": "transpose", "pow": "power",
}  # fmt: skip


class CuPyBackend(Backend):
    """Every kernel for CuPy arrays."""

    def __init__(self, xp):
        self.cupy = xp.cupy
        self.array_types = (self.cupy.ndarray,)
        super().__init__(xp)

    def _as_key(self, native):
        return self.cupy.dtype(native)

    def device(self, array):
        return f"cuda:{array.device.id}"

    def device_count(self):
        return self.cupy.cuda.runtime.getDeviceCount()

    def synchronize(self):
        self.cupy.cuda.get_current_stream().synchronize()

    def asarray(self, data, dtype=None, copy=None):
        return self.cupy.array(data, dtype=dtype and self.native(dtype), copy=bool(copy))

    def to_numpy(self, array):
        return self.cupy.asnumpy(array)

    def cast(self, array, dtype):
        return array.astype(self.native(dtype), copy=False)

    def contiguous(self, array):
        return self.cupy.ascontiguousarray(array)

    def is_contiguous(self, array):
        return array.flags.c_contiguous

    def strides(self, array):
        return tuple(n // array.itemsize for n in array.strides)

    def erf(self, x):
        from cupyx.scipy.special import erf

        return erf(x)

    def get_at(self, x, index):
        return x[index]

    def assign(self, array, index, value):
        array[index] = value

    def put(self, values, shape, index):
        out = self.cupy.zeros(shape, values.dtype)
        self.cupy.add.at(out, index, values)
        return out

    def write(self, array, value, view):
        copy = array.copy()
        copy.reshape(-1)[view(self.cupy.arange(copy.size).reshape(copy.shape))] = value
        return copy

    def set_at(self, array, value, index):
        copy = array.copy()
        copy[index] = value
        return copy

    def put_along_axis(self, values, shape, index, axis):
        out = self.cupy.zeros(shape, values.dtype)
        self.cupy.add.at(out, self._along(index, axis), values)
        return out

    def set_along_axis(self, array, values, index, axis):
        copy = array.copy()
        copy[self._along(index, axis)] = values
        return copy

    def _along(self, index, axis):
        where = list(self.cupy.ogrid[tuple(slice(0, n) for n in index.shape)])
        where[axis] = index
        return tuple(where)

    def einsum(self, equation, *arrays):
        return self.cupy.einsum(equation, *arrays)

    def embedding_backward(self, g, index, rows):
        return self.put(g.reshape(-1, g.shape[-1]), (rows, g.shape[-1]), index.reshape(-1))

    def keep_mask(self, x, p, seed):
        random = self.cupy.random.Generator(self.cupy.random.Philox4x3210(seed))
        return random.random(x.shape, dtype=self.cupy.float32) >= p
