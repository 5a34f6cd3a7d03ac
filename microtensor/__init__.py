"""microtensor: a small tensor library with automatic differentiation, in PyTorch's words.

    import microtensor as mt

    x = mt.tensor([1.0, 2.0], requires_grad=True)
    (x**2).sum().backward()
    x.grad  # tensor([2., 4.], shape=(2,), dtype=float32)

dir(mt) lists the public names. Here they are by the file in which they are found:
"""

__version__ = "0.1.0"

from importlib import import_module as _import_module
from math import e, inf, nan, pi
import typing as _typing

# ---- dtypes, devices, memory layouts, threads ----------------------------------------

from .backends.device import device, get_default_device, set_default_device
from .backends.dtypes import (
    bfloat16, bool_ as bool, complex128, complex64, dtype, finfo, float16, float16 as half, float32,
    float32 as float, float64, float64 as double, float8_e4m3fn, float8_e5m2, get_default_dtype,
    iinfo, int16, int16 as short, int32, int32 as int, int64, int64 as long, int8, promote_types,
    set_default_dtype, uint16, uint32, uint64, uint8,
)  # fmt: skip
from .backends.layouts import (
    channels_last, contiguous_format, layout, memory_format, preserve_format, sparse_bsc,
    sparse_bsr, sparse_coo, sparse_csc, sparse_csr, strided,
)  # fmt: skip
from .backends.threads import (
    get_num_interop_threads, get_num_threads, set_num_interop_threads, set_num_threads,
)  # fmt: skip

# ---- derivatives ---------------------------------------------------------------------

from .autograd import (
    enable_grad, grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, op,
    set_grad_enabled, xp,
)  # fmt: skip
from .autograd.gradcheck import gradcheck, gradgradcheck
from .autograd.function import Function

# ---- tensors: from data, filled, ranges, random ---------------------------------------

from .tensor import Size, Tensor, random
from .tensor.creation import (
    allclose, arange, as_tensor, can_cast, empty, empty_like, equal, eye, from_numpy, frombuffer,
    full, full_like, is_complex, is_floating_point, is_tensor, linspace, logspace, numel, ones,
    ones_like, result_type, scalar_tensor, tensor, tril_indices, triu_indices, zeros, zeros_like,
)  # fmt: skip
from .tensor.printing import set_printoptions
from .tensor.random import (
    Generator, bernoulli, default_generator, get_rng_state, initial_seed, manual_seed, multinomial,
    normal, poisson, rand, rand_like, randint, randint_like, randn, randn_like, randperm, seed,
    set_rng_state,
)  # fmt: skip

# ---- operations, each also a method ---------------------------------------------------

from .ops import (
    abs, acos, acosh, adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_max_pool1d,
    adaptive_max_pool2d, add, addbmm, addcdiv, addcmul, addmm, addmv, addr, all, amax, amin,
    aminmax, any, argmax, argmin, argsort, argwhere, as_strided, asin, asinh, atan, atan2, atanh,
    atleast_1d, atleast_2d, atleast_3d, attention, avg_pool1d, avg_pool2d, baddbmm,
    binary_cross_entropy, bincount, bitwise_and, bitwise_left_shift, bitwise_not, bitwise_or,
    bitwise_right_shift, bitwise_xor, block_diag, bmm, broadcast_tensors, broadcast_to, bucketize,
    cartesian_prod, cast, cat, cdist, ceil, celu, chunk, clamp, clamp_max, clamp_min, clone,
    column_stack, combinations, conj, conv1d, conv2d, conv_transpose1d, conv_transpose2d, copysign,
    corrcoef, cos, cosh, count_nonzero, cov, cross, cross_entropy, cummax, cummin, cumprod, cumsum,
    cumulative_trapezoid, deg2rad, detach, diag, diag_embed, diagflat, diagonal, diff, digamma,
    dist, div, dot, dropout, dsplit, dstack, einsum, elu, embedding, eq, erf, erfc, erfinv, exp,
    exp2, expand, expm1, flatten, flip, fliplr, flipud, float_power, floor, floor_divide, fmax,
    fmin, fmod, frac, gather, ge, gelu, glu, gradient, gt, hardshrink, hardsigmoid, hardswish,
    hardtanh, heaviside, histc, histogram, hsplit, hstack, hypot, index_add, index_copy, index_fill,
    index_put, index_select, inner, isclose, isfinite, isin, isinf, isnan, isneginf, isposinf,
    isreal, kron, kthvalue, ldexp, le, leaky_relu, lerp, lgamma, linear, log, log10, log1p, log2,
    log_softmax, logaddexp, logaddexp2, logcumsumexp, logdet, logical_and, logical_not, logical_or,
    logical_xor, logit, logsigmoid, logsumexp, lt, lu_solve, lu_unpack, masked_fill, masked_scatter,
    masked_select,
    matmul, max, max_pool1d, max_pool2d, maximum, mean, median, meshgrid, min, minimum, mish, mm,
    mode, movedim, msort, mul, mv, nan_to_num, nanmean, nanmedian, nanquantile, nansum, narrow, ne,
    neg, nextafter, nonzero, norm, outer, permute, polygamma, positive, pow, prelu, prod, put,
    quantile, rad2deg, ravel, real, reciprocal, relu, relu6, remainder, repeat, repeat_interleave,
    reshape, return_types, roll, rot90, round, rsqrt, rsub, scatter, scatter_add, scatter_reduce,
    searchsorted, select, selu, sigmoid, sign, signbit, silu, sin, sinc, sinh, softmax, softplus,
    softshrink, softsign, sort, split, split_with_sizes, sqrt, square, squeeze, stack, std,
    std_mean, sub, sum, sum_to_size, take, take_along_dim, tan, tanh, tanhshrink, tensor_split,
    tensordot, threshold, tile, topk, trace, transpose, trapezoid, tril, triu, trunc, unbind,
    unflatten, unfold, unique, unique_consecutive, unravel_index, unsqueeze, vander, var, var_mean,
    vdot, vector_norm, vsplit, vstack, where, xlogy,
)  # fmt: skip
from .ops import (
    abs as absolute, acos as arccos, acosh as arccosh, asin as arcsin, asinh as arcsinh, atan as
    arctan, atan2 as arctan2, atanh as arctanh, clamp as clip, cat as concat, cat as concatenate,
    div as divide, trunc as fix, outer as ger, gt as greater, ge as greater_equal, lt as less, le as
    less_equal, movedim as moveaxis, mul as multiply, neg as negative, ne as not_equal, vstack as
    row_stack, sign as sgn, sub as subtract, transpose as swapaxes, transpose as swapdims, trapezoid
    as trapz, div as true_divide,
)  # fmt: skip
from .ops import (  # not for users, but there since the beginning
    getitem, in_steps, plain_index, put_at, setitem, sizes, unbind_columns, write,
)  # fmt: skip
from .ops.linalg import (
    cholesky, cholesky_solve, det, inv as inverse, matrix_exp, matrix_power, pinv as pinverse,
    slogdet,
)  # fmt: skip

# ---- modules, optimizers, files --------------------------------------------------------

from . import autograd, backends, nn, ops, optim, utils
from .ops import linalg
from .nn.functional import (
    bilinear, cosine_similarity, group_norm, layer_norm, pairwise_distance, pdist, pixel_shuffle,
    pixel_unshuffle, rms_norm,
)  # fmt: skip
from .files.serialization import load, save

# ---- what programs written for PyTorch call besides ------------------------------------

from . import compat
from .compat import amp, cuda
from .compat.amp import autocast, get_autocast_dtype, is_autocast_enabled
from .compat.cuda import OutOfMemoryError
from .compat.functions import _assert, _assert_async
from .compat.functions import (
    abs_, acos_, acosh_, addmv_, arccos_, arccosh_, arcsin_, arcsinh_, arctan_, arctanh_,
    are_deterministic_algorithms_enabled, asarray, asin_, asinh_, atan_, atanh_, broadcast_shapes,
    ceil_, clamp_, clamp_max_, clamp_min_, clip_, compile, cos_, cosh_, deg2rad_, detach_, erf_,
    erfc_, exp2_, exp_, expm1_, fill_, fix_, floor_, frac_, get_float32_matmul_precision,
    index_put_, is_deterministic_algorithms_warn_only_enabled,
    is_nonzero, ldexp_, log10_, log1p_, log2_, log_, logit_, nan_to_num_, neg_,
    negative_, newaxis, norm_except_dim, rad2deg_, reciprocal_, relu_, resize_as_, round_, rsqrt_,
    set_float32_matmul_precision, set_flush_denormal, sigmoid_, sin_, sinc_, sinh_, sqrt_, square_,
    t, tan_, tanh_, trunc_, typename, use_deterministic_algorithms, vmap, xlogy_, zero_,
)  # fmt: skip
from .compat.old_names import (
    BFloat16Tensor, BoolTensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, HalfTensor,
    IntTensor, LongTensor, ShortTensor, qr, set_default_tensor_type, svd, svd_lowrank,
    triangular_solve, inclusive_range as range,
)  # fmt: skip
from .compat.storage import Storage
from .compat.storage import Storage as UntypedStorage

globals().update(compat.FOREACH)  # _foreach_add, … which optimizers call
compat.paths.install()

__all__ = [
    # constants
    "e", "inf", "nan", "pi",
    # dtypes, devices, memory layouts, threads
    "bfloat16", "bool", "channels_last", "complex128", "complex64", "contiguous_format", "device",
    "double", "dtype", "finfo", "float", "float16", "float32", "float64", "float8_e4m3fn",
    "float8_e5m2", "get_default_device", "get_default_dtype", "get_num_interop_threads",
    "get_num_threads", "half", "iinfo", "int", "int16", "int32", "int64", "int8", "layout",
    "long", "memory_format", "preserve_format", "promote_types", "set_default_device",
    "set_default_dtype",
    "set_num_interop_threads", "set_num_threads", "short", "sparse_bsc", "sparse_bsr", "sparse_coo",
    "sparse_csc", "sparse_csr", "strided", "uint16", "uint32", "uint64", "uint8",
    # derivatives
    "Function", "enable_grad", "grad", "gradcheck", "gradgradcheck", "inference_mode",
    "is_grad_enabled", "is_inference_mode_enabled", "no_grad", "op", "set_grad_enabled", "xp",
    # tensors: from data, filled, ranges, random
    "Generator", "Size", "Tensor", "allclose", "arange", "as_tensor", "bernoulli", "can_cast",
    "default_generator", "empty", "empty_like", "equal", "eye", "from_numpy", "frombuffer", "full",
    "full_like", "get_rng_state", "initial_seed", "is_complex", "is_floating_point", "is_tensor",
    "linspace", "logspace", "manual_seed", "multinomial", "normal", "numel", "ones", "ones_like",
    "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random",
    "randperm", "result_type", "scalar_tensor", "seed", "set_printoptions", "set_rng_state",
    "tensor", "tril_indices", "triu_indices", "zeros", "zeros_like",
    # operations, each also a method
    "abs", "absolute", "acos", "acosh", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "add", "addbmm", "addcdiv", "addcmul", "addmm",
    "addmv", "addr", "all", "amax", "amin", "aminmax", "any", "arccos", "arccosh", "arcsin",
    "arcsinh", "arctan", "arctan2", "arctanh", "argmax", "argmin", "argsort", "argwhere",
    "as_strided", "asin", "asinh", "atan", "atan2", "atanh", "atleast_1d", "atleast_2d",
    "atleast_3d", "attention", "avg_pool1d", "avg_pool2d", "baddbmm", "binary_cross_entropy",
    "bincount", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "block_diag", "bmm", "broadcast_tensors", "broadcast_to",
    "bucketize", "cartesian_prod", "cast", "cat", "cdist", "ceil", "celu", "cholesky",
    "cholesky_solve", "chunk", "clamp", "clamp_max", "clamp_min", "clip", "clone", "column_stack",
    "combinations", "concat", "concatenate", "conj", "conv1d", "conv2d", "conv_transpose1d",
    "conv_transpose2d", "copysign", "corrcoef", "cos", "cosh", "count_nonzero", "cov", "cross",
    "cross_entropy", "cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid", "deg2rad",
    "det", "detach", "diag", "diag_embed", "diagflat", "diagonal", "diff", "digamma", "dist", "div",
    "divide", "dot", "dropout", "dsplit", "dstack", "einsum", "elu", "embedding", "eq", "erf",
    "erfc", "erfinv", "exp", "exp2", "expand", "expm1", "fix", "flatten", "flip", "fliplr",
    "flipud", "float_power", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "gather",
    "ge", "gelu", "ger", "glu", "gradient", "greater", "greater_equal", "gt", "hardshrink",
    "hardsigmoid", "hardswish", "hardtanh", "heaviside", "histc", "histogram", "hsplit", "hstack",
    "hypot", "index_add", "index_copy", "index_fill", "index_put", "index_select", "inner",
    "inverse", "isclose", "isfinite", "isin", "isinf", "isnan", "isneginf", "isposinf", "isreal",
    "kron", "kthvalue", "ldexp", "le", "leaky_relu", "lerp", "less", "less_equal", "lgamma",
    "linear", "log", "log10", "log1p", "log2", "log_softmax", "logaddexp", "logaddexp2",
    "logcumsumexp", "logdet", "logical_and", "logical_not", "logical_or", "logical_xor", "logit",
    "logsigmoid", "logsumexp", "lt", "lu_solve", "lu_unpack", "masked_fill", "masked_scatter",
    "masked_select", "matmul", "matrix_exp",
    "matrix_power", "max", "max_pool1d", "max_pool2d", "maximum", "mean", "median", "meshgrid",
    "min", "minimum", "mish", "mm", "mode", "moveaxis", "movedim", "msort", "mul", "multiply", "mv",
    "nan_to_num", "nanmean", "nanmedian", "nanquantile", "nansum", "narrow", "ne", "neg",
    "negative", "nextafter", "nonzero", "norm", "not_equal", "outer", "permute", "pinverse",
    "polygamma", "positive", "pow", "prelu", "prod", "put", "quantile", "rad2deg", "ravel", "real",
    "reciprocal", "relu", "relu6", "remainder", "repeat", "repeat_interleave", "reshape",
    "return_types", "roll", "rot90", "round", "row_stack", "rsqrt", "rsub", "scatter",
    "scatter_add", "scatter_reduce", "searchsorted", "select", "selu", "sgn", "sigmoid", "sign",
    "signbit", "silu", "sin", "sinc", "sinh", "slogdet", "softmax", "softplus", "softshrink",
    "softsign", "sort", "split", "split_with_sizes", "sqrt", "square", "squeeze", "stack", "std",
    "std_mean", "sub", "subtract", "sum", "sum_to_size", "swapaxes", "swapdims", "take",
    "take_along_dim", "tan", "tanh", "tanhshrink", "tensor_split", "tensordot", "threshold", "tile",
    "topk", "trace", "transpose", "trapezoid", "trapz", "tril", "triu", "true_divide", "trunc",
    "unbind", "unflatten", "unfold", "unique", "unique_consecutive", "unravel_index", "unsqueeze",
    "vander", "var", "var_mean", "vdot", "vector_norm", "vsplit", "vstack", "where", "xlogy",
    # modules, optimizers, files
    "autograd", "backends", "bilinear", "cosine_similarity", "group_norm", "layer_norm", "linalg",
    "load", "nn", "ops", "optim", "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle",
    "rms_norm", "save", "utils",
    # what programs written for PyTorch call besides
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor",
    "HalfTensor", "IntTensor", "LongTensor", "OutOfMemoryError", "ShortTensor", "Storage",
    "UntypedStorage", "abs_", "acos_", "acosh_", "addmv_", "amp", "arccos_", "arccosh_", "arcsin_",
    "arcsinh_", "arctan_", "arctanh_", "are_deterministic_algorithms_enabled", "asarray", "asin_",
    "asinh_", "atan_", "atanh_", "autocast", "broadcast_shapes", "ceil_", "clamp_", "clamp_max_",
    "clamp_min_", "clip_", "compat", "compile", "cos_", "cosh_", "cuda", "deg2rad_", "detach_",
    "erf_", "erfc_", "exp2_", "exp_", "expm1_", "fill_", "fix_", "floor_", "frac_",
    "get_autocast_dtype", "get_float32_matmul_precision", "index_put_", "is_autocast_enabled",
    "is_deterministic_algorithms_warn_only_enabled",
    "is_nonzero", "ldexp_", "log10_", "log1p_", "log2_", "log_", "logit_", "nan_to_num_", "neg_",
    "negative_", "newaxis", "norm_except_dim", "qr", "rad2deg_", "range", "reciprocal_", "relu_",
    "resize_as_", "round_", "rsqrt_", "set_default_tensor_type", "set_float32_matmul_precision",
    "set_flush_denormal", "sigmoid_", "sin_", "sinc_", "sinh_", "sqrt_", "square_", "svd",
    "svd_lowrank", "t", "tan_", "tanh_", "triangular_solve", "trunc_", "typename",
    "use_deterministic_algorithms", "vmap", "xlogy_", "zero_",
]  # fmt: skip

# ---- what is loaded when it is asked for: drawing needs graphviz -----------------------

if _typing.TYPE_CHECKING:
    from . import debug as debug, graph as graph, quantization as quantization, typing as typing
    from .compat import (
        distributions as distributions, func as func, hub as hub, library as library,
        storage as storage, testing as testing, weights as weights,
    )  # fmt: skip
    from .debug.diagnosis import diagnose as diagnose
    from .debug.recorder import Recorder as Recorder
    from .graph.explain import explain as explain

    _shim: _typing.Any = None
    accelerator = compiler = cpu = fft = fx = jit = multiprocessing = onnx = _shim
    profiler = special = types = version = xpu = _shim

_LATE = {"explain": "graph.explain", "diagnose": "debug.diagnosis", "Recorder": "debug.recorder"}
_MODULES = """accelerator compiler cpu debug distributed distributions fft func functional fx graph
hub jit library multiprocessing onnx profiler quantization special storage testing types version
weights xpu""".split()


if not _typing.TYPE_CHECKING:  # which would take any name to be there

    def __getattr__(name):
        if name in _LATE:
            return getattr(_import_module(f".{_LATE[name]}", __name__), name)
        if name in _MODULES:
            return _import_module(f".{name}", __name__)
        return compat.paths.attribute(__name__)(name)


def __dir__():
    return sorted([*__all__, *_LATE, *_MODULES, *(n for n in globals() if n.startswith("__"))])


def _grouped():
    """The public names by the file in which they are found, for help(mt)."""
    groups = {}
    for name in __all__:
        home = getattr(globals()[name], "__module__", "constants and modules")
        groups.setdefault(home.removeprefix(f"{__name__}."), []).append(name)
    return "".join(f"\n    {home}: {', '.join(groups[home])}" for home in groups)


__doc__ += _grouped()
