"""For programs written for PyTorch: what they call and a CPU library need not do, and `as_torch`.

Nothing here is silently ignored: a function says in its docstring what it does not do, a flag can
be read and written and changes nothing, and what is missing raises an error that names it.
"""

import contextlib
import functools
import importlib
import importlib.util
import sys
import types
import warnings

from . import amp, autograd, cuda, nn, ops, optim, utils
from .backends.dtypes import DTYPES
from .creation import as_tensor
from .tensor import Tensor

# ---- functions -----------------------------------------------------------------------


def compile(model=None, *, fullgraph=False, dynamic=None, backend="inductor", mode=None,
            options=None, disable=False):  # fmt: skip
    """The model or function as it is: nothing is compiled. Also a decorator."""
    return (lambda function: function) if model is None else model


def set_float32_matmul_precision(precision):
    """Take "highest", "high" or "medium"; products are computed in full precision always."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            'set_float32_matmul_precision: "highest", "high" or "medium" is needed, got '
            f"{precision!r}"
        )
    _settings["precision"] = precision


def get_float32_matmul_precision():
    """What was last set; "highest" at first."""
    return _settings["precision"]


def use_deterministic_algorithms(mode, *, warn_only=False):
    """Remember the wish: every operation here is deterministic on the CPU anyway."""
    _settings["deterministic"] = bool(mode)


def are_deterministic_algorithms_enabled():
    """What was last wished for."""
    return _settings["deterministic"]


def checkpoint(function, *args, use_reentrant=None, preserve_rng_state=True, **kwargs):
    """function(*args): the activations are kept, not computed again as PyTorch does."""
    return function(*args, **kwargs)


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False):
    """∂func(*inputs)ᵢ/∂inputsⱼ, of the result's shape and then the input's; a tuple for several."""
    xs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if not create_graph:
        xs = tuple(x.detach().clone().requires_grad_() for x in xs)
    with autograd.enable_grad():
        y = func(*xs)
        rows = [
            autograd.grad(
                e, xs, retain_graph=True, create_graph=create_graph, materialize_grads=True
            )
            for e in y.reshape(-1)
        ]
    found = [ops.stack(row).reshape(*y.shape, *x.shape) for row, x in zip(zip(*rows), xs)]
    return found[0] if isinstance(inputs, Tensor) else tuple(found)


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False):
    """∂²func(inputs)/∂inputsᵢ∂inputsⱼ of a function of one tensor whose value is one number."""
    return jacobian(lambda x: jacobian(func, x, create_graph=True), inputs, create_graph)


def t(input):
    """A matrix transposed."""
    return input.t()


def is_nonzero(input):
    """Whether the one element is not 0."""
    return input.is_nonzero()


def svd(input, some=True, compute_uv=True):
    """U, S and V with input = U diag(S) Vᵀ; `linalg.svd` gives Vᵀ."""
    u, s, vh = ops.linalg.svd(input, full_matrices=not some)
    return u, s, vh.mT


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
    """What old programs wrapped tensors in: Variable(x, requires_grad=True) is a tensor that shares
    the memory of x, without its history.
    """


newaxis = None
asarray = as_tensor
_settings = {"precision": "highest", "deterministic": False}

FloatTensor, DoubleTensor, LongTensor, IntTensor, ByteTensor, BoolTensor = (
    functools.partial(Tensor, dtype=DTYPES[name])
    for name in ("float32", "float64", "int64", "int32", "uint8", "bool")
)

# ---- places --------------------------------------------------------------------------


def _place(name, module):
    """Let `microtensor.<name>` be this module, for import statements and as an attribute."""
    path = f"{__package__}.{name}"
    sys.modules[path] = module
    parent, _, last = path.rpartition(".")
    if not hasattr(sys.modules[parent], last):
        setattr(sys.modules[parent], last, module)


def _module(name, doc, **names):
    """A module that holds these names."""
    module = types.ModuleType(f"{__package__}.{name}", doc)
    vars(module).update(names)
    _place(name, module)


def _absent(name):
    """A class that cannot be made, and says what is missing."""

    def refuse(self, *args, **kwargs):
        raise NotImplementedError(f"microtensor has no {name}: it runs as one process")

    return type(name.rpartition(".")[2], (), {"__init__": refuse})


_no = lambda: False  # noqa: E731

_module("backends.cudnn", "Flags: they change nothing.", enabled=True, benchmark=False,
        deterministic=False, allow_tf32=True, is_available=_no, version=lambda: None)  # fmt: skip
_module("backends.cuda", "Flags: they change nothing.", is_built=_no,
        matmul=types.SimpleNamespace(allow_tf32=False))  # fmt: skip
_module("backends.mps", "Apple's GPU, which is not used.", is_available=_no, is_built=_no)
_module("cuda.amp", amp.__doc__, autocast=amp.CudaAutocast, GradScaler=amp.CudaGradScaler)
_module("distributed", "Several processes, which are not there.", is_available=_no,
        is_initialized=_no, **{name: _absent(f"distributed.{name}")
        for name in ("init_process_group", "destroy_process_group", "barrier")})  # fmt: skip
_module("nn.parallel", "Several devices, which are not there.", **{
    name: _absent(f"nn.parallel.{name}") for name in ("DataParallel", "DistributedDataParallel")
})  # fmt: skip
_module("autograd.functional", "Matrices of derivatives.", jacobian=jacobian, hessian=hessian)
_module("autograd.variable", Variable.__doc__, Variable=Variable)
_module("special", "PyTorch's second names for functions of the package.", expit=ops.sigmoid,
        gammaln=ops.lgamma, psi=ops.digamma, **{
    name: getattr(ops, name) for name in ("digamma", "erf", "erfc", "exp2", "expm1", "log1p",
    "log_softmax", "logit", "logsumexp", "polygamma", "round", "sinc", "softmax", "xlogy")
})  # fmt: skip
_module("utils.checkpoint", checkpoint.__doc__, checkpoint=checkpoint)
_module("version", "What was built in.", cuda=None)
nn.DataParallel = nn.parallel.DataParallel
autograd.Variable = Variable

for _name, _home in {
    "utils.data.dataloader": utils.data, "utils.data.dataset": utils.data,
    "utils.data.sampler": utils.data, "nn.parameter": nn.module, "nn.modules": nn,
    **{f"nn.modules.{name}": nn for name in (
        "activation", "batchnorm", "container", "conv", "dropout", "linear", "loss", "module",
        "normalization", "pooling", "rnn", "sparse", "transformer",
    )},
}.items():  # fmt: skip
    _place(_name, _home)


def _say_what_is_missing(module):
    """Let a missing name say where the names are that are there."""

    def missing(name):
        raise AttributeError(
            f"{module.__name__} has no {name!r}; tests/covered.md lists what of PyTorch's is there"
        )

    module.__getattr__ = missing


for _home in (nn, nn.functional, nn.init, nn.utils, optim, optim.lr_scheduler, utils, utils.data,
              ops.linalg, autograd, amp, cuda):  # fmt: skip
    _say_what_is_missing(_home)


# ---- import torch --------------------------------------------------------------------


class _Finder:
    """Answers `import torch.…` with `microtensor.…`, the very same module, imported only now."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] != "torch":
            return None
        if importlib.util.find_spec(_ours(name)) is None:
            raise ModuleNotFoundError(f"microtensor has no {name}", name=name)
        return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        sys.modules[module.__name__] = importlib.import_module(_ours(module.__name__))


def _ours(name):
    return __package__ + name.removeprefix("torch")


def _loaded(package):
    """What is loaded of a package: {name: module}."""
    return {name: m for name, m in sys.modules.items() if name.split(".")[0] == package}


@contextlib.contextmanager
def as_torch():
    """Let `import torch`, within, find microtensor; afterwards everything is as before.

    Works whether or not PyTorch is installed or was imported already. For lessons and tests: what
    is imported within must not have been imported before, or it keeps the torch that it has. Not
    for several threads that import at a time.
    """
    torchs, finder = _loaded("torch"), _Finder()
    for name in torchs:
        del sys.modules[name]
    for name, module in _loaded(__package__).items():
        sys.modules["torch" + name.removeprefix(__package__)] = module
    sys.meta_path.insert(0, finder)
    try:
        yield sys.modules[__package__]
    finally:
        sys.meta_path.remove(finder)
        for name in _loaded("torch"):
            del sys.modules[name]
        sys.modules.update(torchs)


__all__ = [
    "BoolTensor", "ByteTensor", "DoubleTensor", "FloatTensor", "IntTensor", "LongTensor",
    "asarray", "is_nonzero", "newaxis", "svd", "t",
    "are_deterministic_algorithms_enabled", "compile", "get_float32_matmul_precision",
    "set_float32_matmul_precision", "use_deterministic_algorithms",
]  # fmt: skip
