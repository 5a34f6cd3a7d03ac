"""Names of places: `device("cpu")`, `device("cuda")`, `device("cuda", 1)`."""

import os

from .naming import Shown
from .restoring import Restoring

TYPES = set(  # which PyTorch knows, and those of backends that were registered
    "cpu cuda ipu xpu mkldnn opengl opencl ideep hip ve fpga maia xla lazy vulkan mps meta hpu "
    "mtia privateuseone".split()
)

# How many devices named "cuda" stand for the CPU: for programs that ask for one GPU a process and
# are to run without (`python -m microtensor.distributed.run --cuda_is_cpu`). 0: none, as ever.
CUDA_IS_CPU = int(os.environ.get("MICROTENSOR_CUDA_IS_CPU") or 0)

_default, _restoring = {"device": None}, Restoring()


class device(metaclass=Shown):
    """A place where arrays live. `type` is "cpu" or "cuda", `index` a number or None."""

    __slots__ = ("type", "index")

    def __new__(cls, where="cpu", index=None):
        if isinstance(where, device):
            return where
        if isinstance(where, int):
            where, index = "cuda", where
        if not isinstance(where, str):
            raise TypeError(f'device: a device is a name such as "cpu" or "cuda:0", got {where!r}')
        kind, colon, number = where.partition(":")
        if colon and not number.isdecimal() or colon and index is not None:
            raise RuntimeError(
                f'device: a device is a name such as "cpu" or "cuda:0", got {where!r}'
            )
        index = int(number) if colon else index
        if CUDA_IS_CPU and kind == "cuda":
            kind, index = "cpu", None
        if kind not in TYPES:
            raise RuntimeError(f"device: unknown device {kind!r}; there are cpu, cuda")
        if index is not None and (type(index) is not int or not 0 <= index < 128):
            raise RuntimeError(f"device: the index is a whole number from 0 to 127, got {index!r}")
        self = super().__new__(cls)
        self.type, self.index = kind, index
        return self

    def __eq__(self, other):
        if isinstance(other, str):
            other = device(other)
        if not isinstance(other, device):
            return NotImplemented
        return (self.type, self.index) == (other.type, other.index)

    def __hash__(self):
        return hash((self.type, self.index))

    def __str__(self):
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self):
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __reduce__(self):
        return (device, (self.type, self.index))

    def __enter__(self):
        _restoring._enter(_default, {"device": self})
        return self

    __exit__ = _restoring.__exit__


def get_default_device():
    """The device of new tensors: "cpu" unless set."""
    return _default["device"] or device("cpu")


def set_default_device(where):
    """Make `where` the device of new tensors; None means the CPU again."""
    _default["device"] = None if where is None else device(where)
