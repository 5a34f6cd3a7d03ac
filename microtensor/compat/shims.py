"""PyTorch's modules that hold few names, or whose names are found elsewhere here.

A flag can be read and written and changes nothing; what is missing raises an error that names it.
"""

import collections
import contextlib
import functools
import os
import sys
import types
import typing

from .. import autograd, backends, distributed, nn, ops, optim, utils
from ..backends.device import device
from ..backends.naming import missing
from ..distributed.groups import spawn
from ..tensor import Handle, Size, Tensor, random
from . import additions, amp, cuda, func, hub  # noqa: F401  (`nn.modules` shows what is added)
from .absent import absent
from .attention import sdp_kernel
from .functions import (
    WAYS,
    as_it_is,
    checkpoint,
    checkpoint_sequential,
    compile,
    get_device_states,
    set_device_states,
    settings,
)  # fmt: skip
from .old_names import Variable
from .paths import ROOT, attribute, place, place_loaded, public_name

SPOKEN = "2.13.0"  # the PyTorch whose names and behaviour these are

place_loaded()


def _module(name, doc, **names):
    """A module that holds these names."""
    module = types.ModuleType(f"{ROOT}.{name}", doc)
    vars(module).update(names, __getattr__=missing(module.__name__), __path__=[])
    place(name, module)


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
    module = sys.modules[f"{ROOT}.{name}"]
    return module


_flags("backends.cudnn", enabled=True, benchmark=False, benchmark_limit=10, deterministic=False,
       allow_tf32=True, fp32_precision="none").version = _none  # fmt: skip
_flags("backends.mkldnn", enabled=True, deterministic=False, allow_tf32=True,
       fp32_precision="none")  # fmt: skip
_module("backends.cuda", "Flags: they change nothing.", is_built=_no, sdp_kernel=sdp_kernel,
        matmul=types.SimpleNamespace(
            allow_tf32=False, allow_fp16_reduced_precision_reduction=True,
            allow_bf16_reduced_precision_reduction=True, fp32_precision="none"),
        **{f"enable_{way}_sdp": functools.partial(settings.__setitem__, way) for way in WAYS},
        **{f"{way}_sdp_enabled": functools.partial(settings.__getitem__, way) for way in WAYS},
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
_module("distributed.nn", "Several processes, which are not there.", **{
    name: absent(f"distributed.nn.{name}") for name in ("all_gather", "all_reduce")
})  # fmt: skip
_module("distributed.tensor", "Tensors on several devices, which are not there.",
        DTensor=absent("distributed.tensor.DTensor"),
        Partial=collections.namedtuple("Partial", "reduce_op", defaults=("sum",)),
        Replicate=collections.namedtuple("Replicate", ()),
        Shard=collections.namedtuple("Shard", "dim"))  # fmt: skip
_module("distributed.rpc", "Several processes, which are not there.")
_module("distributed.rpc.api", "Several processes, which are not there.",
        RRef=absent("distributed.rpc.api.RRef"),
        _require_initialized=lambda function: absent("distributed.rpc"))  # fmt: skip
_module("multiprocessing", "Processes of Python's own, which are not there, but for spawn.",
        cpu_count=os.cpu_count, spawn=spawn,
        **{name: absent(f"multiprocessing.{name}")
        for name in ("Manager", "Pool", "Process", "Queue")})  # fmt: skip
_module("utils.data._utils", "Where PyTorch keeps what makes batches and what loads them.")
_module("jit", "PyTorch's older compiler: functions and modules stay as they are.",
        ScriptModule=type("ScriptModule", (nn.Module,), {}), is_scripting=_no, is_tracing=_no,
        script=as_it_is, script_if_tracing=as_it_is, _script_if_tracing=as_it_is,
        script_method=as_it_is, export=as_it_is, ignore=as_it_is, unused=as_it_is,
        Final=typing.Final, interface=as_it_is, _overload_method=as_it_is)  # fmt: skip
_module("jit.annotations", "What annotations name.", **{
    name: getattr(typing, name) for name in ("Dict", "List", "Optional", "Tuple")
}, **{f"BroadcastingList{n}": list for n in (1, 2, 3)})  # fmt: skip
_module("fft", "Fourier transforms, which are not there.", **{
    name: absent(f"fft.{name}", "complex numbers are left out")
    for name in ("fft", "fft2", "fftn", "ifft", "ifft2", "ifftn", "rfft", "irfft")
})  # fmt: skip
_module("profiler", "Where the time goes, which is not measured here.", **{
    name: absent(f"profiler.{name}", "Python's own profilers see every operation")
    for name in ("ProfilerActivity", "profile", "record_function", "schedule")
})  # fmt: skip
_module("autograd.variable", Variable.__doc__, Variable=Variable)
_module("special", "PyTorch's second names for functions of the package.", expit=ops.sigmoid,
        gammaln=ops.lgamma, psi=ops.digamma, **{
    name: getattr(ops, name) for name in ("digamma", "erf", "erfc", "erfinv", "exp2", "expm1",
    "log1p", "log_softmax", "logit", "logsumexp", "polygamma", "round", "sinc", "softmax", "xlogy")
})  # fmt: skip
_module("utils.checkpoint", checkpoint.__doc__, checkpoint=checkpoint,
        checkpoint_sequential=checkpoint_sequential,
        get_device_states=get_device_states, set_device_states=set_device_states)  # fmt: skip
_module("utils.cpp_extension", "Operations in C++ and CUDA, which are not there.", **{
    name: absent(f"utils.cpp_extension.{name}", "nothing is compiled here")
    for name in ("load", "load_inline", "CppExtension", "CUDAExtension", "BuildExtension")
})  # fmt: skip
_module("utils.hooks", Handle.__doc__, RemovableHandle=Handle)
_module("_dynamo", "PyTorch's compiler, which is not there.", disable=as_it_is, reset=_none,
        allow_in_graph=as_it_is, assume_constant_result=as_it_is,
        is_compiling=_no)  # fmt: skip
_module(
    "_dynamo.utils",
    "PyTorch's compiler, which is not there.",
    is_compile_supported=lambda device_type: False,
)
_module("_dynamo.eval_frame", "PyTorch's compiler, which is not there.",
        OptimizedModule=absent("_dynamo.eval_frame.OptimizedModule"))  # fmt: skip
_module("_dynamo._trace_wrapped_higher_order_op", "PyTorch's compiler, which is not there.",
        TransformGetItemToIndex=contextlib.nullcontext)  # fmt: skip
_module("_inductor", "PyTorch's compiler, which is not there.")
_module("_dynamo.config", "Settings: they change nothing.")
_module("_inductor.config", "Settings: they change nothing.")
_module("compiler", "PyTorch's compiler, which is not there.", compile=compile, reset=_none,
        disable=as_it_is, allow_in_graph=as_it_is, is_compiling=_no, is_dynamo_compiling=_no,
        is_exporting=_no, cudagraph_mark_step_begin=_none)  # fmt: skip
_module(
    "_C",
    "PyTorch's core in C++, which is not there.",
    _log_api_usage_once=lambda name: None,
    _get_tracing_state=_none,
    DispatchKeySet=lambda *keys: frozenset(keys),
    _are_functorch_transforms_active=_no,
)
_module(
    "__config__",
    "How PyTorch was built: nothing of it is here.",
    show=lambda: "",
    parallel_info=lambda: "",
)
_module("backends.cpu", "What the CPU can do.", get_cpu_capability=lambda: "DEFAULT")
_module("onnx", "Files for other programs, which are not there.", is_in_onnx_export=_no,
        register_custom_op_symbolic=lambda symbolic_name, symbolic_fn, opset_version: None,
        export=absent("onnx.export", "safetensors files travel: see save()"))  # fmt: skip
_module("fx", "PyTorch's tracer of modules, which is not there.", wrap=as_it_is,
        Proxy=absent("fx.Proxy", "modules are not traced"))  # fmt: skip
_module("autograd.graph", "What is saved for derivatives, and hooks on it.", Node=autograd.Node,
        **{name: getattr(autograd.packing, name) for name in (
            "disable_saved_tensors_hooks", "save_on_cpu", "saved_tensors_hooks")})  # fmt: skip
UnpackedDualTensor = collections.namedtuple("UnpackedDualTensor", ("primal", "tangent"))
_module(
    "autograd.forward_ad",
    "Derivatives forward, which are not there: no tensor carries one.",
    unpack_dual=lambda tensor, *, level=None: UnpackedDualTensor(tensor, None),
)
_module("nn.attention.flex_attention", "Attention that a compiler makes, which is not there.", **{
    name: absent(f"nn.attention.flex_attention.{name}", "nothing is compiled here")
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
_module("functional", "Functions of the package where PyTorch keeps them, too.", Tensor=Tensor,
        F=nn.functional)  # fmt: skip
sys.modules[f"{ROOT}.functional"].__getattr__ = lambda name: getattr(sys.modules[ROOT], name)
_module("nn.modules", nn.__doc__, **{  # what it has, its files being other files
    name: value for name, value in vars(nn).items()
    if not name.startswith("__") and not isinstance(value, types.ModuleType)
})  # fmt: skip
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


for _home in (distributed, nn, nn.functional, nn.init, nn.module, nn.attention, nn.utils,
              nn.utils.rnn, optim, optim.lr_scheduler, utils, utils.data, ops.linalg, autograd,
              amp, cuda, backends, random):  # fmt: skip
    _home.__getattr__ = attribute(public_name(_home))


def _from_all_of_data(name):
    """A name of utils.data that is asked of one of its files: each was all of utils.data once."""
    if name == "__path__":  # a file is no package
        raise AttributeError(name)
    return getattr(utils.data, name)


for _home in (utils.data.dataloader, utils.data.dataset, utils.data.sampler):
    _home.__getattr__ = _from_all_of_data
