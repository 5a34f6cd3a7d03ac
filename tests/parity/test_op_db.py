"""PyTorch's own sample inputs, which its developers test it with, given to ours and to PyTorch.

Values, shapes, dtypes, and in float64 first and second derivatives are compared, with PyTorch's own
tolerances. The tests take at most two samples of an operation in each dtype;

    python -m tests.parity.test_op_db [name …]

takes all, and prints for each operation how many agree; of the names given also what does not.
"""

import itertools
import math
import sys
import types
import unittest
import warnings
from operator import attrgetter

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")
# PyTorch's tables stand beside its test cases, which want a package that we do not need
sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db
# PyTorch's tables freeze its flags when they are imported; programs of other tests set them.
torch.backends.flags_frozen.__globals__["__allow_nonbracketed_mutation_flag"] = True

# ---- the table -----------------------------------------------------------------------

# Every operation by its name in PyTorch; a file of `ops/` or of `nn/` for each paragraph.
COVERED = """
abs acos acosh add addcdiv addcmul asin asinh atan atan2 atanh ceil clamp clamp_max clamp_min clone
copysign cos cosh deg2rad div erf exp exp2 expm1 float_power floor floor_divide fmax fmin fmod frac
hypot ldexp lerp log log10 log1p log2 logaddexp logaddexp2 logit maximum minimum mul nan_to_num neg
positive pow rad2deg reciprocal remainder round rsqrt rsub sgn sigmoid sign sin sinc sinh sqrt
square sub tan tanh true_divide trunc xlogy erfc
__radd__ __rdiv__ __rmatmul__ __rmod__ __rmul__ __rpow__ __rsub__ __rand__ __ror__ __rxor__

digamma lgamma polygamma

bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor eq ge gt
heaviside isclose isfinite isinf isnan isneginf isposinf isreal le logical_and logical_not
logical_or logical_xor lt ne signbit

all amax amin any argmax argmin count_nonzero cumprod cumsum diff logsumexp mean nanmean nansum prod
std std_mean sum trace var var_mean cumulative_trapezoid logcumsumexp trapezoid trapz

aminmax argsort cummax cummin kthvalue max median min mode msort nanmedian nanquantile quantile sort
topk

broadcast_shapes broadcast_tensors broadcast_to cat chunk contiguous expand expand_as flatten flip
movedim permute repeat reshape reshape_as roll split squeeze stack t T mT tile transpose tril triu
unbind unflatten unsqueeze view view_as

atleast_1d atleast_2d atleast_3d block_diag cartesian_prod column_stack combinations diag diag_embed
diagflat dsplit dstack fliplr flipud hsplit hstack meshgrid ravel repeat_interleave rot90
split_with_sizes tensor_split unfold vsplit vstack

argwhere diagonal gather __getitem__ index_select masked_fill masked_select narrow nonzero scatter
scatter_add scatter_reduce select take_along_dim where
index_add index_copy index_fill index_put masked_scatter put take

bincount bucketize histc histogram isin searchsorted unique unique_consecutive unravel_index

addbmm addmm addmv addr baddbmm bmm cross dot einsum inner kron matmul mm mv outer tensordot vdot
cdist cholesky_solve corrcoef cov dist logdet norm

linalg.cholesky linalg.cross linalg.det linalg.diagonal linalg.eigh linalg.eigvalsh linalg.inv
linalg.lstsq linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.multi_dot linalg.norm
linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.solve_triangular linalg.svd linalg.svdvals
linalg.vander linalg.vecdot linalg.vector_norm

allclose arange empty empty_like equal eye full full_like item linspace new_empty new_full
new_ones new_zeros ones ones_like rand_like randint randn randn_like scalar_tensor tril_indices
triu_indices zeros zeros_like
bool byte char double float int long short

softmax log_softmax nn.functional.gelu nn.functional.silu nn.functional.softplus
nn.functional.scaled_dot_product_attention

nn.functional.celu nn.functional.elu nn.functional.glu nn.functional.hardshrink
nn.functional.hardsigmoid nn.functional.hardswish nn.functional.hardtanh nn.functional.leaky_relu
nn.functional.logsigmoid nn.functional.mish nn.functional.prelu nn.functional.relu
nn.functional.relu6 nn.functional.selu nn.functional.softmin nn.functional.softshrink
nn.functional.softsign nn.functional.tanhshrink nn.functional.threshold

nn.functional.linear nn.functional.bilinear nn.functional.embedding nn.functional.embedding_bag
nn.functional.batch_norm nn.functional.group_norm nn.functional.instance_norm
nn.functional.layer_norm nn.functional.local_response_norm nn.functional.rms_norm
nn.functional.cosine_similarity nn.functional.normalize nn.functional.one_hot nn.functional.pad
nn.functional.pairwise_distance

nn.functional.binary_cross_entropy nn.functional.binary_cross_entropy_with_logits
nn.functional.cosine_embedding_loss nn.functional.cross_entropy nn.functional.gaussian_nll_loss
nn.functional.hinge_embedding_loss nn.functional.huber_loss nn.functional.kl_div
nn.functional.l1_loss nn.functional.margin_ranking_loss nn.functional.mse_loss
nn.functional.multi_margin_loss nn.functional.multilabel_soft_margin_loss nn.functional.nll_loss
nn.functional.poisson_nll_loss nn.functional.smooth_l1_loss nn.functional.soft_margin_loss
nn.functional.triplet_margin_loss

nn.functional.adaptive_avg_pool1d nn.functional.adaptive_avg_pool2d
nn.functional.adaptive_max_pool1d nn.functional.adaptive_max_pool2d nn.functional.avg_pool1d
nn.functional.avg_pool2d nn.functional.conv1d nn.functional.conv2d nn.functional.conv_transpose1d
nn.functional.conv_transpose2d nn.functional.interpolate nn.functional.max_pool1d
nn.functional.max_pool2d nn.functional.pixel_shuffle nn.functional.pixel_unshuffle
nn.functional.unfold
""".split()

# What is left out, and why: {name or name.variant: (reason, whether a sample is concerned)}.
LEFT_OUT = {
    "linalg.norm.subgradients_at_zero": (
        "the second derivative by singular values at zero is NaN there, zero here",
        lambda sample: sample.args and sample.args[0] in (2, -2, "nuc") and sample.input.ndim == 2,
    ),
    **dict.fromkeys(
        ("linalg.lstsq", "linalg.lstsq.grad_oriented"),
        (
            "even of no residuals PyTorch says that they need a gradient",
            lambda sample: sample.input.requires_grad,
        ),
    ),
    "linalg.pinv.hermitian": (
        "its derivative is that of the triangle that is read, PyTorch's is spread over both",
        lambda sample: sample.input.requires_grad,
    ),
    "cholesky_solve": (
        "PyTorch's derivative has numbers in the triangle that is not read, too",
        lambda sample: sample.args[0].requires_grad,
    ),
    **dict.fromkeys(
        [f"polygamma.polygamma_n_{n}" for n in range(5)],
        (
            "PyTorch's trigamma of float32 loses digits beside the poles",
            lambda sample: sample.input.dtype is torch.float32 and sample.args[0] == 1,
        ),
    ),
    "cov": (
        "weights in another precision than the numbers",
        lambda sample: (
            getattr(sample.kwargs.get("aweights"), "dtype", None) is torch.float32
            and sample.input.dtype is torch.float64
        ),
    ),
    "argsort": (
        "8,000 booleans: PyTorch leaves open in which order equals come",
        lambda sample: sample.input.dtype is torch.bool and sample.input.numel() == 8000,
    ),
    "nn.functional.scaled_dot_product_attention": (
        "dropout is random",
        lambda sample: sample.kwargs.get("dropout_p"),
    ),
    "__rpow__": (
        "whole numbers to negative powers are an error, as for PyTorch's pow with a number",
        lambda sample: not sample.input.is_floating_point() and (sample.input < 0).any(),
    ),
    **dict.fromkeys(
        ("nn.functional.embedding", "nn.functional.embedding_bag"),
        (
            "max_norm, scale_grad_by_freq and sparse gradients are not there",
            lambda sample: sample.kwargs.keys() & {"max_norm", "scale_grad_by_freq", "sparse"},
        ),
    ),
    "nn.functional.batch_norm": (
        "an input without channels",
        lambda sample: sample.input.ndim < 2,
    ),
    "nn.functional.interpolate.area": (
        "volumes",
        lambda sample: sample.input.ndim == 5,
    ),
    **dict.fromkeys(
        ("nn.functional.interpolate.bicubic", "nn.functional.interpolate.trilinear"),
        ("only nearest, linear, bilinear and area are there", lambda sample: True),
    ),
}

# Where PyTorch has no second derivative although it says so.
ONCE = ["nn.functional.scaled_dot_product_attention"]

# What PyTorch itself leaves open: the numbers of random and of empty tensors,
OPEN = "empty empty_like new_empty rand_like randint randint_like randn randn_like".split()
# and where among equals an element stood, of which whole numbers and booleans have many.
TIES = "kthvalue median mode nanmedian sort topk".split()

# How ours is called where a sample is not written as a program would write it.
CALLS = {
    "einsum": lambda tensors, equation: mt.einsum(equation, *tensors),
    "nn.functional.embedding": lambda w, i, **how: mt.nn.functional.embedding(i, w, **how),
    "nn.functional.embedding_bag": lambda w, i, **how: mt.nn.functional.embedding_bag(i, w, **how),
    "where": lambda x, condition, other: mt.where(condition, x, other),
    "linalg.lstsq.grad_oriented": lambda a, b, driver: mt.linalg.lstsq(a, b, driver=driver)[:2],
    "polygamma": lambda x, n: mt.polygamma(n, x),
    "linalg.pinv.singular": lambda a, b: mt.linalg.pinv(a @ b.mT),
}

# ---- running a sample ----------------------------------------------------------------

DTYPES = "float32", "float64", "int64", "bool"
TOLERANCE = {"float32": (1.3e-5, 1e-5), "float64": (1e-7, 1e-7)}  # PyTorch's for matrix products
KNOWN = {getattr(torch, name): dtype for name, dtype in mt.backends.dtypes.DTYPES.items()}
del KNOWN[torch.float16], KNOWN[torch.bfloat16]
FOREIGN = (torch.memory_format, torch.layout, torch.Generator)


def flat(value):
    """What is in nested lists, tuples and dicts, one after the other."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        return [one for part in value for one in flat(part)]
    return [value]


def in_scope(value):
    """Whether we have what a sample is made of: no complex numbers, half precision, layouts."""
    if isinstance(value, torch.Tensor):
        return value.layout is torch.strided and value.dtype in KNOWN
    return value in KNOWN if isinstance(value, torch.dtype) else not isinstance(
        value, (*FOREIGN, complex)
    )  # fmt: skip


def ours(value):
    """A sample of PyTorch's as one of ours."""
    if isinstance(value, torch.Tensor):
        return mt.from_numpy(value.detach().numpy()).requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return KNOWN[value]
    if isinstance(value, torch.device):
        return mt.device(value.type)
    if isinstance(value, dict):
        return {k: ours(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(map(ours, value)) if isinstance(value, tuple) else list(map(ours, value))
    return value


def find(op):
    """Our function, or method, of this name."""
    name = op.name
    for known in (op.full_name, name):
        if known in CALLS:
            return CALLS[known]
    for home in (mt, mt.Tensor):
        try:
            found = attrgetter(name)(home)
        except AttributeError:
            continue
        if isinstance(found, mt.dtype):  # mt.float is one, Tensor.float() is what is meant
            continue
        return found.fget if isinstance(found, property) else found
    raise AttributeError(f"there is no {name}")


def same(got, expected, what=""):
    """Type, shape, dtype and elements are equal; what is no tensor is equal too."""
    if isinstance(expected, (list, tuple)):
        assert isinstance(got, (list, tuple)) and len(got) == len(expected), f"{what}{got!r}"
        for g, e in zip(got, expected):
            same(g, e, what)
    elif isinstance(expected, torch.Tensor):
        about = tuple(expected.shape), str(expected.dtype).removeprefix("torch.")
        assert (tuple(got.shape), got.dtype.name) == about, f"{what}{got!r}, not {expected!r}"
        rtol, atol = TOLERANCE.get(about[1], (0, 0))
        np.testing.assert_allclose(
            got.detach().numpy(), expected.numpy(force=True), rtol, atol, err_msg=what
        )
    else:
        assert got == KNOWN.get(expected, expected), f"{what}{got!r}, not {expected!r}"


def tensors(value, m):
    """The tensors that gradients flow to."""
    return [t for t in flat(value) if isinstance(t, m.Tensor) and t.requires_grad]


def derivatives(m, out, inputs):
    """The derivatives of the results, weighed one by one, made ready to be differentiated again."""
    out = tensors(out, m)
    weights = [cosines(m, o) for o in out]
    grads = out and m.autograd.grad(out, inputs, weights, create_graph=True, allow_unused=True)
    return [
        m.zeros_like(i) if g is None else g for g, i in zip(grads or [None] * len(inputs), inputs)
    ]


def cosines(m, like):
    """Weights that are not all alike."""
    array = np.cos(np.arange(math.prod(like.shape))).reshape(tuple(like.shape))
    return m.from_numpy(array)


def same_derivatives(out, inputs, expected, torchs, order):
    """The derivatives of the first orders agree."""
    for n in range(1, order + 1):
        out, expected = derivatives(mt, out, inputs), derivatives(torch, expected, torchs)
        same(out, expected, f"derivative of order {n}: ")


def compare(op, sample):
    """Raise an error unless ours does with a sample what PyTorch does."""
    torchs = (sample.input, *sample.args), sample.kwargs
    args, params = ours(torchs)
    expected = op(*torchs[0], **torchs[1])
    out = find(op)(*args, **params)
    if op.name in OPEN:
        out, expected = mt.zeros_like(out), torch.zeros_like(expected)
    if op.name in TIES and isinstance(out, tuple) and not sample.input.is_floating_point():
        out, expected = out[0], expected[0]
    out, expected = map(sample.output_process_fn_grad, (out, expected))
    same(out, expected)
    inputs, torch_inputs = tensors((args, params), mt), tensors(torchs, torch)
    if torch_inputs:
        assert [t.requires_grad for t in flat(out)] == [t.requires_grad for t in flat(expected)]
        order = 2 if op.supports_gradgrad and op.name not in ONCE else 1
        same_derivatives(out, inputs, expected, torch_inputs, order)


def runs(name, most=None):
    """(operation, dtype, sample) for the samples of a name, at most so many of each dtype."""
    for op in op_db:
        if op.name != name:
            continue
        _, concerned = LEFT_OUT.get(op.full_name, (None, lambda sample: False))
        for dtype in DTYPES:
            if getattr(torch, dtype) not in op.dtypes:
                continue
            grad = dtype == "float64" and op.supports_autograd
            samples = (
                s
                for s in op.sample_inputs("cpu", getattr(torch, dtype), requires_grad=grad)
                if all(map(in_scope, flat(((s.input, s.args), s.kwargs)))) and not concerned(s)
            )
            if most is not None:  # from the first few dozen, not one beside the other
                samples = list(itertools.islice(samples, 8 * most))
                samples = samples[:: max(1, len(samples) // most)][:most]
            for sample in samples:
                yield op, dtype, sample


def results(name, most=None):
    """(dtype, sample, None or what is wrong) for the samples of a name."""
    torch.manual_seed(0)
    for op, dtype, sample in runs(name, most):
        try:
            compare(op, sample)
        except Exception as error:
            yield dtype, sample, f"{type(error).__name__}: {error}".strip()
        else:
            yield dtype, sample, None


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@pytest.mark.parametrize("name", COVERED)
def test_samples(name):
    found = list(results(name, most=2))
    wrong = [f"{dtype} {sample.summary()}\n{error}" for dtype, sample, error in found if error]
    assert found, f"{name} has no samples"
    assert not wrong, f"{len(wrong)} of {len(found)}, the first of them:\n{wrong[0]}"


def main(names):
    warnings.filterwarnings("ignore", module="torch")
    total = [0, 0]
    for name in names or COVERED:
        found = list(results(name))
        good = sum(error is None for *_, error in found)
        total = [total[0] + good, total[1] + len(found)]
        print(f"{name:45}{good:6} / {len(found)}")
        if names:
            for dtype, sample, error in found:
                if error:
                    print(f"\n{dtype} {sample.summary()}\n{error[:600]}")
    print(f"{len(names or COVERED)} operations{total[0]:30} / {total[1]}")


if __name__ == "__main__":
    main(sys.argv[1:])
