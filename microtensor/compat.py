"""For programs written for PyTorch: what they call and a CPU library need not do, and `as_torch`.

A function says in its docstring what it does not do, a flag can be read and written and changes
nothing, and what is missing raises an error that names it.
"""

import collections.abc
import contextlib
import enum
import functools
import importlib
import importlib.util
import math
import operator
import os
import re
import sys
import types
import typing
import warnings

from . import amp, autograd, backends, cuda, func, function, hub, nn, ops, optim, random, utils
from .backends.device import device
from .backends.dtypes import TYPES, dtype_of, get_default_dtype, set_default_dtype
from .creation import arange, as_tensor, zeros_like
from .names import PACKAGE, missing, results
from .tensor import Handle, Size, Tensor

# ---- functions -----------------------------------------------------------------------


def compile(model=None, *, fullgraph=False, dynamic=None, backend="inductor", mode=None,
            options=None, disable=False):  # fmt: skip
    """The model or function as it is: nothing is compiled. Also a decorator.

    Its `_orig_mod`, in PyTorch the model that was wrapped, is the model too.
    """
    return (lambda function: function) if model is None else model


nn.Module._orig_mod = property(lambda self: self)


def _as_it_is(function=None, **options):
    """The function or module as it is. Also a decorator with options."""
    return (lambda function: function) if function is None else function


def set_float32_matmul_precision(precision):
    """Take "highest", "high" or "medium"; products are computed in full precision always."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            'set_float32_matmul_precision: "highest", "high" or "medium" is needed, got '
            f"{precision!r}"
        )
    _settings["precision"] = precision


def set_flush_denormal(mode):
    """Whether numbers too small for a full mantissa become 0 from now on: they never do."""
    return False


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


def get_device_states(*args):
    """The numbers of the GPUs that hold these tensors, and their generators' states: none."""
    return [], []


def set_device_states(devices, states):
    """Nothing: one stream of random numbers serves all devices."""


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False):
    """∂func(*inputs)ᵢ/∂inputsⱼ, of the result's shape and then the input's.

    Several results, of which func returns a tuple, give a tuple, and in it several inputs one of
    their own. Zeros where a result does not depend on an input: `strict` raises RuntimeError there.
    """
    xs = _to_differentiate(inputs, create_graph)
    with autograd.enable_grad():
        results = func(*xs)
        found = []
        for y in _several("jacobian", "func's results are", results):
            rows = [
                _derivatives("jacobian", (e,), (None,), xs, create_graph, strict)
                for e in y.reshape(-1)
            ]
            parts = [ops.stack([row[j] for row in rows]) if rows else x for j, x in enumerate(xs)]
            parts = [part.reshape(*y.shape, *x.shape) for part, x in zip(parts, xs)]
            found.append(parts[0] if isinstance(inputs, Tensor) else tuple(parts))
    return tuple(found) if isinstance(results, tuple) else found[0]


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False):
    """∂²func(*inputs)/∂inputsᵢ∂inputsⱼ of a function whose value is one number.

    Several inputs give a tuple of tuples. Zeros and `strict` are as in `jacobian`.
    """

    def number(*xs):
        y = func(*xs)
        if not isinstance(y, Tensor) or y.numel() != 1:
            raise RuntimeError(f"hessian: func returns a tensor of one number, got {_said(y)}")
        return y.reshape(())

    def gradient(*xs):
        return jacobian(number, xs[0] if isinstance(inputs, Tensor) else xs, True, strict)

    return jacobian(gradient, inputs, create_graph, strict)


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """func(*inputs), and vᵀ ∂func/∂inputs; v may be left out where the result is one number.

    Zeros where no result depends on an input: `strict` raises RuntimeError there.
    """
    xs = _to_differentiate(inputs, create_graph)
    with autograd.enable_grad():
        results = func(*xs)
        ys = _several("vjp", "func's results are", results)
        if v is None and (len(ys) != 1 or ys[0].numel() != 1):
            raise RuntimeError(f"vjp: v is needed for more than one number, got {_said(results)}")
        vs = (None,) if v is None else _several("vjp", "v is", v)
        if v is not None and [y.shape for y in ys] != [v.shape for v in vs]:
            raise RuntimeError(f"vjp: v needs the shapes of {_said(results)}, got {_said(v)}")
        found = _derivatives("vjp", ys, vs, xs, create_graph, strict)
    if not create_graph:
        ys = [y.detach() for y in ys]
    return (
        tuple(ys) if isinstance(results, tuple) else ys[0],
        found[0] if isinstance(inputs, Tensor) else tuple(found),
    )


def _to_differentiate(inputs, create_graph):
    """Tensors that are the inputs, each for itself; without their history unless it goes on."""
    xs = _several("autograd.functional", "inputs are", inputs)
    if create_graph:
        return [x.view_as(x) for x in xs]
    return [x.detach().clone().requires_grad_() for x in xs]


def _several(name, what, given):
    """A tensor, or a tuple of them, as a tuple."""
    tensors = (given,) if isinstance(given, Tensor) else given
    if not isinstance(tensors, tuple) or not all(isinstance(t, Tensor) for t in tensors):
        raise TypeError(f"{name}: {what} a tensor or a tuple of tensors, got {_said(given)}")
    return tensors


def _said(value):
    """A value in an error: the shape of a tensor, else what it is."""
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(map(_said, value)) or 'nothing'}"
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _derivatives(name, ys, vs, xs, create_graph, strict):
    """Σ vᵀ ∂y/∂x for each x; zeros where no y depends on it, unless that is refused."""
    live = [(y, v) for y, v in zip(ys, vs) if y.requires_grad]
    found = [None] * len(xs)
    if live:
        ys_live, vs = zip(*live)
        found = autograd.grad(
            ys_live, xs, vs, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
    if strict:
        alone = [i for i, g in enumerate(found) if g is None or create_graph > g.requires_grad]
        if alone or len(live) < len(ys):
            what = f"input {alone[0]}" if alone else "the inputs"
            raise RuntimeError(
                f"{name}: a result, or its derivative, does not depend on {what}; without "
                "strict=True zeros are given"
            )
    return [zeros_like(x) if g is None else g for g, x in zip(found, xs)]


def set_default_tensor_type(t):
    """`set_default_dtype`, by a type or its name: FloatTensor, "torch.DoubleTensor"."""
    set_default_dtype(dtype_of(t))


def broadcast_shapes(*shapes):
    """The Size that tensors of these shapes broadcast to."""
    return Size(ops.broadcast_shapes(*shapes))


OutOfMemoryError = cuda.OutOfMemoryError


def t(input):
    """A matrix transposed."""
    return input.t()


def typename(value):
    """The name of a tensor's type, or of another value's."""
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _assert(condition, message):
    """`assert`, as a function."""
    assert condition, message


def is_nonzero(input):
    """Whether the one element is not 0."""
    return input.is_nonzero()


def qr(input, some=True):
    """Q and R with input = Q R: the older form of `linalg.qr`."""
    return ops.linalg.qr(input, "reduced" if some else "complete")


def svd(input, some=True, compute_uv=True):
    """U, S and V with input = U diag(S) Vᵀ; `linalg.svd` gives Vᵀ."""
    u, s, vh = ops.linalg.svd(input, full_matrices=not some)
    return u, s, vh.mT


def svd_lowrank(A, q=6, niter=2, M=None):
    """U, S and V of the q largest singular values of A, or of A − M: exact, not to be iterated."""
    return tuple(part[..., :q] for part in svd(A if M is None else A - M))


triangular_solved = results("triangular_solve", "solution", "cloned_coefficient")


def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False):
    """(X, A) with A X = b, or Aᵀ X = b: the older form of `linalg.solve_triangular`."""
    M, of = (A.mT, not upper) if transpose else (A, upper)
    solution = ops.linalg.solve_triangular(M, b, upper=of, unitriangular=unitriangular)
    return triangular_solved(solution, A.clone())


def norm_except_dim(v, pow=2, dim=0):
    """The `pow`-norms of the slices of v along dim; of all of v for −1."""
    if dim == -1:
        return ops.norm(v, pow)
    return ops.norm(v, pow, [d for d in range(v.ndim) if d != dim % v.ndim], keepdim=True)


Tensor.qr, Tensor.svd, Tensor.triangular_solve = qr, svd, triangular_solve


def inclusive_range(start=0, end=None, step=1, *, dtype=None, device=None, requires_grad=False):
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
    """What old programs wrapped tensors in: Variable(x, requires_grad=True) is a tensor that shares
    the memory of x, without its history.
    """


def _ntuple(n, x):
    """n times x, or x as a tuple if it holds several already."""
    return tuple(x) if isinstance(x, collections.abc.Iterable) else (x,) * n


def _before_the_underscore(function, place):
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


def _for_each(name):
    """The function of lists of tensors that applies one operation to each of them."""
    operation = getattr(Tensor, name, None) or getattr(ops, name.removesuffix("_"))

    def apply(tensors, *others, **options):
        """What the operation gives for each tensor; others are lists as well, or serve all."""
        lists = [o if isinstance(o, (list, tuple)) else [o] * len(tensors) for o in others]
        results = tuple(operation(*row, **options) for row in zip(tensors, *lists, strict=True))
        if name.endswith("_") and not hasattr(Tensor, name):
            return tuple(t.copy_(result) for t, result in zip(tensors, results))
        return results

    apply.__name__ = f"_foreach_{name}"
    return apply


# what optimizers call that step all parameters at once: _foreach_add(tensors, 1) …
FOREACH = {
    f"_foreach_{name}{end}": _for_each(name + end)
    for name in (
        "abs add addcdiv addcmul clamp_max clamp_min div exp lerp log maximum minimum mul neg pow "
        "reciprocal sign sqrt sub"
    ).split()
    for end in ("", "_")
} | {f"_foreach_{name}": _for_each(name) for name in ("copy_", "norm", "zero_")}

INPLACE = {  # the methods in place that are functions, too
    f"{name}_": getattr(Tensor, f"{name}_")
    for name in (
        "abs acos acosh addmv arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh "
        "ceil clamp clamp_max clamp_min clip cos cosh deg2rad detach erf erfc exp exp2 expm1 fill "
        "fix floor frac index_put ldexp log log10 log1p log2 logit nan_to_num neg negative "
        "rad2deg reciprocal relu resize_as round rsqrt sigmoid sin sinc sinh sqrt square tan tanh "
        "trunc xlogy zero"
    ).split()
}

SPOKEN = "2.13.0"  # the PyTorch whose names and behaviour these are
newaxis = None
vmap = func.vmap
asarray = as_tensor
_WAYS = "flash", "mem_efficient", "math", "cudnn"  # of computing attention
_settings = {"precision": "highest", "deterministic": False, **dict.fromkeys(_WAYS, True)}


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
    vars(module).update(names, __getattr__=missing(module.__name__), __path__=[])
    _place(name, module)


def _absent(name, reason="it runs as one process"):
    """A class that cannot be made, and says what is missing."""

    def refuse(self, *args, **kwargs):
        raise NotImplementedError(f"microtensor has no {name}: {reason}")

    return type(name.rpartition(".")[2], (), {"__init__": refuse, "is_absent": True})


_no, _yes = (lambda: False), (lambda: True)
_none = lambda: None  # noqa: E731


def _flags(name, /, is_available=_no, **flags):
    """A module of flags, which change nothing, and `flags()`, which sets some for a while."""

    @contextlib.contextmanager
    def for_a_while(**values):
        if not values.keys() <= flags.keys():
            raise TypeError(f"{name}.flags: {sorted(flags)} are known, got {sorted(values)}")
        before = {flag: getattr(module, flag) for flag in values}
        vars(module).update(values)
        try:
            yield
        finally:
            vars(module).update(before)

    _module(name, "Flags: they change nothing.", flags=for_a_while, is_available=is_available,
            **flags)  # fmt: skip
    module = sys.modules[f"{__package__}.{name}"]
    return module


class SDPBackend(enum.Enum):
    """PyTorch's ways of computing attention. Here there is one, with the same result."""

    ERROR, MATH, FLASH_ATTENTION, EFFICIENT_ATTENTION, CUDNN_ATTENTION, OVERRIDEABLE = range(-1, 5)


@contextlib.contextmanager
def sdpa_kernel(backends, set_priority=False):
    """Nothing: `scaled_dot_product_attention` is computed in one way."""
    for kind in [backends] if isinstance(backends, SDPBackend) else backends:
        if not isinstance(kind, SDPBackend):
            raise TypeError(f"sdpa_kernel: members of SDPBackend are needed, got {kind!r}")
    yield


@contextlib.contextmanager
def sdp_kernel(enable_flash=True, enable_math=True, enable_mem_efficient=True, enable_cudnn=True):
    """Nothing: the older form of `sdpa_kernel`."""
    yield


nn.attention.SDPBackend, nn.attention.sdpa_kernel = SDPBackend, sdpa_kernel

_flags("backends.cudnn", enabled=True, benchmark=False, benchmark_limit=10, deterministic=False,
       allow_tf32=True, fp32_precision="none").version = _none  # fmt: skip
_flags("backends.mkldnn", enabled=True, deterministic=False, allow_tf32=True,
       fp32_precision="none")  # fmt: skip
_module("backends.cuda", "Flags: they change nothing.", is_built=_no, sdp_kernel=sdp_kernel,
        matmul=types.SimpleNamespace(
            allow_tf32=False, allow_fp16_reduced_precision_reduction=True,
            allow_bf16_reduced_precision_reduction=True, fp32_precision="none"),
        **{f"enable_{way}_sdp": functools.partial(_settings.__setitem__, way) for way in _WAYS},
        **{f"{way}_sdp_enabled": functools.partial(_settings.__getitem__, way) for way in _WAYS},
        )  # fmt: skip
_module("backends.mps", "Apple's GPU, which is not used.", is_available=_no, is_built=_no)
_module("backends.mkl", "Intel's library; BLAS is NumPy's own.", is_available=_no)
_module("backends.openmp", "Threads: see `set_num_threads`.", is_available=_yes)
_module("xpu", "Intel's GPU, which is not used.", is_available=_no, device_count=lambda: 0)
_module("accelerator", "Other devices in general: here CUDA's.", is_available=cuda.is_available,
        device_count=cuda.device_count,
        current_accelerator=lambda check_available=False: (
            device("cuda") if cuda.is_available() else None))  # fmt: skip
_module("cuda.amp", amp.__doc__, **amp.CUDA)
for _home, _names in (("cuda.amp", amp.CUDA), ("amp", vars(amp))):
    for _name, _kind in (("grad_scaler", "GradScaler"), ("autocast_mode", "autocast")):
        _module(f"{_home}.{_name}", amp.__doc__, **{_kind: _names[_kind]})
_module("cpu", "What may be asked of the CPU.", is_available=_yes)
_module("cpu.amp", amp.__doc__, **amp.CPU)
_module("distributed", "Several processes, which are not there.", is_available=_no,
        is_initialized=_no, **{name: _absent(f"distributed.{name}") for name in (
            "init_process_group", "destroy_process_group", "barrier", "get_rank", "get_world_size",
            "all_reduce", "all_gather", "all_gather_object", "broadcast", "broadcast_object_list",
            "gather", "new_group", "reduce", "reduce_scatter", "scatter", "ProcessGroup",
            "ReduceOp",
        )})  # fmt: skip
_module("distributed.nn", "Several processes, which are not there.", **{
    name: _absent(f"distributed.nn.{name}") for name in ("all_gather", "all_reduce")
})  # fmt: skip
_module("distributed.tensor", "Tensors on several devices, which are not there.",
        DTensor=_absent("distributed.tensor.DTensor"))  # fmt: skip
_module("distributed.optim", "Optimizers of several processes, which are not there.",
        ZeroRedundancyOptimizer=_absent("distributed.optim.ZeroRedundancyOptimizer"))  # fmt: skip
_module("distributed.rpc", "Several processes, which are not there.")
_module("distributed.rpc.api", "Several processes, which are not there.",
        RRef=_absent("distributed.rpc.api.RRef"))  # fmt: skip
_module("multiprocessing", "Several processes, which are not there.", cpu_count=os.cpu_count,
        **{name: _absent(f"multiprocessing.{name}")
        for name in ("Manager", "Pool", "Process", "Queue", "spawn")})  # fmt: skip
_module("utils.data.distributed", "Several processes, which are not there.",
        DistributedSampler=_absent("utils.data.distributed.DistributedSampler"))  # fmt: skip
_module("jit", "PyTorch's older compiler: functions and modules stay as they are.",
        ScriptModule=type("ScriptModule", (nn.Module,), {}), is_scripting=_no, is_tracing=_no,
        script=_as_it_is,
        script_method=_as_it_is, export=_as_it_is, ignore=_as_it_is, unused=_as_it_is,
        Final=typing.Final, interface=_as_it_is, _overload_method=_as_it_is)  # fmt: skip
_module("jit.annotations", "What annotations name.", **{
    name: getattr(typing, name) for name in ("Dict", "List", "Optional", "Tuple")
})  # fmt: skip
_module("fft", "Fourier transforms, which are not there.", **{
    name: _absent(f"fft.{name}", "complex numbers are left out")
    for name in ("fft", "fft2", "fftn", "ifft", "ifft2", "ifftn", "rfft", "irfft")
})  # fmt: skip
_module("profiler", "Where the time goes, which is not measured here.", **{
    name: _absent(f"profiler.{name}", "Python's own profilers see every operation")
    for name in ("ProfilerActivity", "profile", "record_function", "schedule")
})  # fmt: skip
_module("nn.parallel", "Several devices, which are not there.", DataParallel=nn.DataParallel,
        DistributedDataParallel=_absent("nn.parallel.DistributedDataParallel"))  # fmt: skip
_module("autograd.functional", "Matrices of derivatives.", jacobian=jacobian, hessian=hessian,
        vjp=vjp)  # fmt: skip
_module("autograd.variable", Variable.__doc__, Variable=Variable)
_module("autograd.function", function.__doc__, Function=function.Function,
        FunctionCtx=function.Context, once_differentiable=function.once_differentiable)  # fmt: skip
_module("special", "PyTorch's second names for functions of the package.", expit=ops.sigmoid,
        gammaln=ops.lgamma, psi=ops.digamma, **{
    name: getattr(ops, name) for name in ("digamma", "erf", "erfc", "erfinv", "exp2", "expm1",
    "log1p", "log_softmax", "logit", "logsumexp", "polygamma", "round", "sinc", "softmax", "xlogy")
})  # fmt: skip
_module("utils.checkpoint", checkpoint.__doc__, checkpoint=checkpoint,
        get_device_states=get_device_states, set_device_states=set_device_states)  # fmt: skip
_module("utils.cpp_extension", "Operations in C++ and CUDA, which are not there.", **{
    name: _absent(f"utils.cpp_extension.{name}", "nothing is compiled here")
    for name in ("load", "load_inline", "CppExtension", "CUDAExtension", "BuildExtension")
})  # fmt: skip
_module("utils.hooks", Handle.__doc__, RemovableHandle=Handle)
_module("_dynamo", "PyTorch's compiler, which is not there.", disable=_as_it_is, reset=_none,
        allow_in_graph=_as_it_is, assume_constant_result=_as_it_is,
        is_compiling=_no)  # fmt: skip
_module("_dynamo.eval_frame", "PyTorch's compiler, which is not there.",
        OptimizedModule=_absent("_dynamo.eval_frame.OptimizedModule"))  # fmt: skip
_module("_dynamo._trace_wrapped_higher_order_op", "PyTorch's compiler, which is not there.",
        TransformGetItemToIndex=contextlib.nullcontext)  # fmt: skip
_module("_inductor", "PyTorch's compiler, which is not there.")
_module("_dynamo.config", "Settings: they change nothing.")
_module("_inductor.config", "Settings: they change nothing.")
_module("compiler", "PyTorch's compiler, which is not there.", compile=compile, reset=_none,
        disable=_as_it_is, allow_in_graph=_as_it_is, is_compiling=_no, is_dynamo_compiling=_no,
        is_exporting=_no, cudagraph_mark_step_begin=_none)  # fmt: skip
_module("_C", "PyTorch's core in C++, which is not there.", _log_api_usage_once=lambda name: None)
_module("onnx", "Files for other programs, which are not there.", is_in_onnx_export=_no,
        export=_absent("onnx.export", "safetensors files travel: see save()"))  # fmt: skip
_module("fx", "PyTorch's tracer of modules, which is not there.", wrap=_as_it_is,
        Proxy=_absent("fx.Proxy", "modules are not traced"))  # fmt: skip
_module("autograd.graph", "What is saved for derivatives: it is on the CPU anyway.",
        save_on_cpu=lambda pin_memory=False: contextlib.nullcontext())  # fmt: skip
_module("nn.attention.flex_attention", "Attention that a compiler makes, which is not there.", **{
    name: _absent(f"nn.attention.flex_attention.{name}", "nothing is compiled here")
    for name in ("BlockMask", "create_block_mask", "create_mask", "flex_attention", "AuxRequest")
}, _DEFAULT_SPARSE_BLOCK_SIZE=128)  # fmt: skip
_module("types", "What annotations name.", Number=int | float | bool, _size=Size | list | tuple,
        Device=device | str | int | None)  # fmt: skip
_module("nn.utils.stateless", "Where `func.functional_call` was at first.",
        functional_call=func.functional_call)  # fmt: skip
_module("nn.common_types", "What annotations name.", T=typing.TypeVar("T"), **{
    f"_size_{n}_t": int | tuple[(int,) * n] for n in (1, 2, 3, 4, 5, 6)
}, _size_any_t=int | tuple[int, ...])  # fmt: skip
_module("utils.model_zoo", hub.__doc__, load_url=hub.load_state_dict_from_url)
_module("version", "The PyTorch that is spoken.", cuda=None, hip=None, __version__=SPOKEN)
vars(nn.utils).update({
    f"_{name}": functools.partial(_ntuple, n)
    for n, name in enumerate(("single", "pair", "triple", "quadruple"), 1)
}, _ntuple=lambda n: functools.partial(_ntuple, n))  # fmt: skip
_module("functional", "Functions of the package where PyTorch keeps them, too.", Tensor=Tensor,
        F=nn.functional)  # fmt: skip
sys.modules[f"{__package__}.functional"].__getattr__ = lambda name: getattr(
    sys.modules[__package__], name
)
vars(optim.optimizer).update(  # what copies of PyTorch's optimizers import
    _use_grad_for_differentiable=autograd.no_grad(), _dispatch_sqrt=math.sqrt,
    _get_value=lambda x: x.item() if isinstance(x, Tensor) else x,
    _default_to_fused_or_foreach=lambda params, differentiable, use_fused=False: (False, False),
    **dict.fromkeys(("_foreach_doc", "_fused_doc", "_maximize_doc", "_capturable_doc",
                     "_differentiable_doc", "_params_doc"), ""),
)  # fmt: skip
nn.SyncBatchNorm = _absent("nn.SyncBatchNorm")
for _name in ("CUDAGraph", "Stream", "StreamContext", "graph"):
    setattr(cuda, _name, _absent(f"cuda.{_name}", "operations run one after the other"))
cuda.is_current_stream_capturing = _no
nn.module._EXTRA_STATE_KEY_SUFFIX = "_extra_state"  # which no module here has
for _name in ("Conv", "ConvTranspose", "BatchNorm", "InstanceNorm", "MaxPool", "AvgPool",
              "AdaptiveMaxPool", "AdaptiveAvgPool", "Dropout"):  # fmt: skip
    # programs ask of every module whether it is one, to initialise it
    setattr(nn, f"{_name}3d", _absent(f"nn.{_name}3d", "three dimensions are left out"))
autograd.Variable = Variable
nn.utils.clip_grad_norm = _before_the_underscore(nn.utils.clip_grad_norm_, "torch.nn.utils")
for _name in ("uniform", "normal", "constant", "eye", "xavier_uniform", "xavier_normal",
              "kaiming_uniform", "kaiming_normal", "orthogonal"):  # fmt: skip
    setattr(nn.init, _name, _before_the_underscore(getattr(nn.init, _name + "_"), "nn.init"))

_module("nn.modules", nn.__doc__, **{  # what it has, its files being other files
    name: value for name, value in vars(nn).items()
    if not name.startswith("__") and not isinstance(value, types.ModuleType)
})  # fmt: skip
_module("utils.data._utils", "Where PyTorch keeps what makes batches and what loads them.")
for _name, _home in {
    "utils.data._utils.collate": utils.data.collate,
    "utils.data._utils.worker": utils.data.workers, "nn.parameter": nn.module,
    "nn.modules.utils": nn.utils, "linalg": ops.linalg,
    "nn.utils.weight_norm": nn.utils.weight_hooks, "nn.utils.spectral_norm": nn.utils.weight_hooks,
}.items():  # fmt: skip
    _place(_name, _home)

for _name, _home in {  # parts of nn.modules: all of nn, and what a file of it keeps to itself
    "activation": nn.activations, "adaptive": nn.adaptive, "batchnorm": nn.normalization,
    "container": nn.containers, "conv": nn.convolution, "distance": nn.layers,
    "dropout": nn.layers, "flatten": nn.layers,
    "fold": nn.convolution, "instancenorm": nn.normalization, "linear": nn.layers,
    "loss": nn.losses, "module": nn.module, "normalization": nn.normalization,
    "padding": nn.convolution, "pixelshuffle": nn.convolution, "pooling": nn.convolution,
    "rnn": nn.recurrent, "sparse": nn.layers, "transformer": nn.transformer,
    "upsampling": nn.convolution,
}.items():  # fmt: skip
    _names = {**vars(_home), **vars(nn)}
    _module(
        f"nn.modules.{_name}",
        _home.__doc__,
        **{name: value for name, value in _names.items() if not name.startswith("__")},
    )


for _home in (nn, nn.functional, nn.init, nn.module, nn.attention, nn.utils, nn.utils.rnn, optim,
              optim.lr_scheduler, utils, utils.data, ops.linalg, autograd, amp, cuda, backends,
              random):  # fmt: skip
    _home.__getattr__ = missing(_home.__name__.replace(".ops.", "."))


def _from_all_of_data(name):
    """A name of utils.data that is asked of one of its files: each was all of utils.data once."""
    if name == "__path__":  # a file is no package
        raise AttributeError(name)
    return getattr(utils.data, name)


for _home in (utils.data.dataloader, utils.data.dataset, utils.data.sampler):
    _home.__getattr__ = _from_all_of_data


# ---- import torch --------------------------------------------------------------------


class _Finder:
    """Answers `import torch.…` with `microtensor.…`, the very same module, imported only now."""

    def find_spec(self, name, path=None, target=None):
        if not _answered(name):
            return None
        if importlib.util.find_spec(_ours(name)) is None:
            raise ModuleNotFoundError(f"microtensor has no {name}", name=name)
        return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        found = importlib.import_module(_ours(module.__name__))
        _give()  # what else came with it
        sys.modules[module.__name__] = found


def _answered(name):
    return name.split(".")[0] == "torch" or name == "safetensors.torch"


def _ours(name):
    if name == "safetensors.torch":
        return f"{__package__}.weights"
    return __package__ + name.removeprefix("torch")


def _give():
    """Let what is loaded of microtensor stand in sys.modules as PyTorch's."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == __package__:
            sys.modules["torch" + name.removeprefix(__package__)] = module


def _taken():
    """Take what is loaded of PyTorch out of sys.modules: {name: module}."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if _answered(name)}


class _Version(str):
    """A version that is compared by its numbers, also with a tuple of them, as PyTorch's is."""

    __hash__ = str.__hash__


def _numbers(version):
    parts = re.findall(r"\d+", version.split("+")[0]) if isinstance(version, str) else version
    return [int(n) for n in parts] + [0] * (4 - len(parts))


def _comparing(name):
    compare = getattr(operator, name)
    return lambda self, other: compare(_numbers(self), _numbers(other))


for _name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
    setattr(_Version, _name, _comparing(_name))


class as_torch:
    """Let `import torch`, within, find microtensor; afterwards everything is as before.

    Works whether or not PyTorch is installed or was imported already. For lessons and tests: what
    is imported within must not have been imported before, or it keeps the torch that it has. Not
    for several threads that import at a time. `safetensors.torch` is `microtensor.weights`.
    `__version__` is then that of the PyTorch that is spoken, and tensors look as PyTorch's do.
    """

    def __enter__(self):
        package = sys.modules[__package__]
        self.torchs, self.finder = _taken(), _Finder()
        _give()
        sys.meta_path.insert(0, self.finder)
        self.before = PACKAGE[0], package.__version__
        PACKAGE[0], package.__version__ = "torch", _Version(SPOKEN)
        return package

    def __exit__(self, *exception):
        PACKAGE[0], sys.modules[__package__].__version__ = self.before
        sys.meta_path.remove(self.finder)
        _taken()
        sys.modules.update(self.torchs)
        if "safetensors.torch" in self.torchs:  # an attribute, too, of a package of its own
            sys.modules["safetensors"].torch = self.torchs["safetensors.torch"]


__all__ = [
    *TYPES, "OutOfMemoryError", "_assert", "asarray", "broadcast_shapes", "is_nonzero", "newaxis",
    "norm_except_dim", "qr", "set_default_tensor_type", "set_flush_denormal", "svd", "svd_lowrank",
    "t", "triangular_solve", "typename", "vmap",
    "are_deterministic_algorithms_enabled", "compile", "get_float32_matmul_precision",
    "set_float32_matmul_precision", "use_deterministic_algorithms",
]  # fmt: skip
