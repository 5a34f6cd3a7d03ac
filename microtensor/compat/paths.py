"""Import paths that have no file of their own: PyTorch's, and microtensor's older ones.

A row of PATHS says which module an import path stands for. It is the very same module object, and
one that is not loaded yet is loaded when its path is imported, or asked for as an attribute.
"""

import importlib
import importlib.util
import sys
from types import FunctionType

from ..backends.naming import missing

ROOT = __name__.partition(".")[0]

PATHS = {  # below microtensor: an import path, and the module that is found there
    # PyTorch's paths
    "amp": "compat.amp",
    "autograd.functional": "compat.derivatives",
    "cuda": "compat.cuda",
    "distributions": "compat.distributions",
    **{f"distributions.{file}": "compat.distributions" for file in (
        "distribution", "bernoulli", "beta", "categorical", "normal", "uniform", "independent",
        "multivariate_normal", "kl", "relaxed_bernoulli", "wishart",
    )},
    "distributed.distributed_c10d": "distributed",
    "func": "compat.func",
    "hub": "compat.hub",
    "library": "compat.library",
    "linalg": "ops.linalg",
    "nn.modules.utils": "nn.utils",
    "nn.parallel": "distributed.data_parallel",
    "nn.parallel.distributed": "distributed.data_parallel",
    "nn.parameter": "nn.module",
    "nn.utils.spectral_norm": "nn.utils.weight_hooks",
    "nn.utils.weight_norm": "nn.utils.weight_hooks",
    "random": "tensor.random",
    "storage": "compat.storage",
    "testing": "compat.testing",
    "utils.data.distributed": "distributed.sampler",
    "utils.data._utils.collate": "utils.data.collate",
    "utils.data._utils.worker": "utils.data.workers",
    "utils.tensorboard": "compat.tensorboard",
    # microtensor's older paths
    "autocasting": "autograd.autocast",
    "checking": "autograd.gradcheck",
    "errors": "autograd.errors",
    "function": "autograd.function",
    "modes": "autograd.modes",
    "names": "autograd.arguments",
    "array_api": "tensor.array_api",
    **{f"ops.{file}": f"ops.composite.{file}" for file in (
        "arranging", "counting", "distances", "placing",
    )},
    "creation": "tensor.creation",
    "diagnosis": "debug.diagnosis",
    "printing": "tensor.printing",
    "recorded": "debug.recorded",
    "recorder": "debug.recorder",
    "serialization": "files.serialization",
    "torch_file": "files.torch_file",
    "weights": "compat.weights",
}  # fmt: skip
PUBLIC_BY_PATH = f"{ROOT}.compat.", f"{ROOT}.tensor.random"  # also what pickles and files name


def place(path, module):
    """Let `microtensor.<path>` be this module, for import statements and as an attribute.

    An attribute of that name stays: `nn.utils.weight_norm` is a function, too.
    """
    sys.modules[f"{ROOT}.{path}"] = module
    parent, _, last = f"{ROOT}.{path}".rpartition(".")
    vars(sys.modules[parent]).setdefault(last, module)
    if module.__name__.startswith(PUBLIC_BY_PATH) and module.__name__ != f"{ROOT}.{path}":
        _show_as(f"{ROOT}.{path}", module)


def _show_as(path, module):
    """Let a module's classes and functions name the path that users know as their home, and the
    module say what is missing.
    """
    vars(module).setdefault("__getattr__", attribute(path))
    for value in vars(module).values():
        if isinstance(value, (type, FunctionType)) and value.__module__ == module.__name__:
            value.__module__ = path


def place_loaded():
    """Place every module of PATHS that is loaded, where its parent is."""
    for path, real in PATHS.items():
        module, parent = sys.modules.get(f"{ROOT}.{real}"), f"{ROOT}.{path}".rpartition(".")[0]
        if module is not None and parent in sys.modules:
            place(path, module)


def real_name(name):
    """The module that a full import path stands for; None if it is not in PATHS."""
    real = PATHS.get(name.removeprefix(f"{ROOT}.")) if name.startswith(f"{ROOT}.") else None
    return real and f"{ROOT}.{real}"


class Finder:
    """Answers the import of one name with the module of another, the very same object.

    `real_name(name)` says which one, or None for a name that is not answered.
    """

    def __init__(self, real_name, after=place_loaded):
        self.real_name, self.after = real_name, after

    def find_spec(self, name, path=None, target=None):
        if self.real_name(name) is None:
            return None
        return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        """Put the real module in the place of the empty one, which import statements allow."""
        real = importlib.import_module(self.real_name(module.__name__))
        self.after()  # other names of what came with it
        sys.modules[module.__name__] = real


def public_name(module):
    """The full import path under which users know a module that is at home in another package."""
    for path, real in PATHS.items():
        if f"{ROOT}.{real}" == module.__name__ and real.split(".")[0] != path.split(".")[0]:
            return f"{ROOT}.{path}"
    return module.__name__


def attribute(place):
    """A module's `__getattr__`: its submodules of PATHS that are not loaded yet; other names are
    said to be missing.
    """
    refuse = missing(place)

    def __getattr__(name):
        if real_name(f"{place}.{name}"):
            return importlib.import_module(f"{place}.{name}")
        return refuse(name)

    return __getattr__


def install():
    """Place what is loaded, and find the rest from now on, after all real files."""
    place_loaded()
    sys.meta_path.append(Finder(real_name))
