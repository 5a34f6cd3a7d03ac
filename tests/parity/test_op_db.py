"""PyTorch's own sample inputs, which its developers test it with, given to ours and to PyTorch.

Values, shapes, dtypes, and in float64 first and second derivatives are compared, with PyTorch's own
tolerances; of elementwise operations also values at infinities, NaN, and numbers of all sizes; and
what PyTorch refuses is refused. The tests take at most two samples of an operation in each dtype;

    python -m tests.parity.test_op_db [name …]

takes all, and prints for each operation how many agree; of the names given also what does not.
"""

import functools
import itertools
import sys
from operator import attrgetter

import pytest

import microtensor as mt

from .samples import (
    BinaryUfuncInfo,
    UnaryUfuncInfo,
    assert_right,
    count,
    error_of,
    flat,
    in_scope,
    op_db,
    ours,
    outcome,
    refused,
    same,
    same_derivatives,
    tensors,
    torch,
)

# ---- the table -----------------------------------------------------------------------

# Every operation by its name in PyTorch; a file of `ops/` or of `nn/` for each paragraph.
COVERED = """
abs acos acosh add addcdiv addcmul asin asinh atan atan2 atanh ceil clamp clamp_max clamp_min clone
copysign cos cosh deg2rad div erf exp exp2 expm1 float_power floor floor_divide fmax fmin fmod frac
hypot ldexp lerp log log10 log1p log2 logaddexp logaddexp2 logit maximum minimum mul nan_to_num neg
positive pow rad2deg reciprocal remainder round rsqrt rsub sgn sigmoid sign sin sinc sinh sqrt
square sub tan tanh true_divide trunc xlogy erfc
__radd__ __rdiv__ __rmatmul__ __rmod__ __rmul__ __rpow__ __rsub__ __rand__ __ror__ __rxor__

digamma erfinv lgamma nextafter polygamma special.polygamma

bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor eq ge gt
heaviside isclose isfinite isinf isnan isneginf isposinf isreal le logical_and logical_not
logical_or logical_xor lt ne signbit

all amax amin any argmax argmin count_nonzero cumprod cumsum diff logsumexp mean nanmean nansum prod
std std_mean sum trace var var_mean cumulative_trapezoid logcumsumexp trapezoid trapz

aminmax argsort cummax cummin kthvalue max median min mode msort nanmedian nanquantile quantile sort
topk

as_strided broadcast_shapes broadcast_tensors broadcast_to cat chunk contiguous expand expand_as
flatten flip movedim permute repeat reshape reshape_as resize_ resize_as_ roll split squeeze stack t
T mH mT tile transpose tril triu unbind unflatten unsqueeze view view_as

atleast_1d atleast_2d atleast_3d block_diag cartesian_prod column_stack combinations diag diag_embed
diagflat dsplit dstack fliplr flipud hsplit hstack meshgrid ravel repeat_interleave rot90
split_with_sizes tensor_split unfold vsplit vstack

argwhere diagonal gather __getitem__ index_select masked_fill masked_select narrow nonzero scatter
scatter_add scatter_reduce select take_along_dim where
index_add index_copy index_fill index_put masked_scatter put take

bincount bucketize histc histogram isin searchsorted unique unique_consecutive unravel_index

addbmm addmm addmv addr baddbmm bmm cross dot einsum inner kron matmul mm mv outer tensordot vdot
cdist cholesky cholesky_solve corrcoef cov dist logdet matrix_exp norm pinverse qr svd
triangular_solve sum_to_size

linalg.cholesky linalg.cross linalg.det linalg.diagonal linalg.eigh linalg.eigvalsh linalg.inv
linalg.lstsq linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.multi_dot linalg.norm
linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.solve_triangular linalg.svd linalg.svdvals
linalg.vander linalg.vecdot linalg.vector_norm

allclose arange empty empty_like equal eye full full_like item linspace logspace new_empty new_full
new_ones new_zeros ones ones_like rand_like randint randint_like randn randn_like scalar_tensor
tril_indices triu_indices zero_ zeros zeros_like
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
nn.functional.pairwise_distance nn.functional.pdist

nn.functional.binary_cross_entropy nn.functional.binary_cross_entropy_with_logits
nn.functional.cosine_embedding_loss nn.functional.cross_entropy nn.functional.ctc_loss
nn.functional.gaussian_nll_loss nn.functional.hinge_embedding_loss nn.functional.huber_loss
nn.functional.kl_div nn.functional.l1_loss nn.functional.margin_ranking_loss nn.functional.mse_loss
nn.functional.multi_margin_loss nn.functional.multilabel_soft_margin_loss nn.functional.nll_loss
nn.functional.poisson_nll_loss nn.functional.smooth_l1_loss nn.functional.soft_margin_loss
nn.functional.triplet_margin_loss

nn.functional.adaptive_avg_pool1d nn.functional.adaptive_avg_pool2d
nn.functional.adaptive_max_pool1d nn.functional.adaptive_max_pool2d nn.functional.avg_pool1d
nn.functional.avg_pool2d nn.functional.conv1d nn.functional.conv2d nn.functional.conv_transpose1d
nn.functional.conv_transpose2d nn.functional.interpolate nn.functional.max_pool1d
nn.functional.grid_sample nn.functional.max_pool2d nn.functional.max_unpool1d
nn.functional.max_unpool2d nn.functional.pixel_shuffle nn.functional.pixel_unshuffle
nn.functional.unfold nn.functional.upsample_bilinear nn.functional.upsample_nearest
""".split()

# What is left out, and why: {name or name.variant: (reason, whether a sample is concerned)}.
LEFT_OUT = {
    **dict.fromkeys(
        [
            *(f"polygamma.polygamma_n_{n}" for n in range(5)),
            "special.polygamma.special_polygamma_n_0",
        ],
        (
            "of float32 PyTorch's trigamma loses digits beside the poles, others are NaN at ∞",
            lambda sample: (
                sample.input.dtype is torch.float32
                and (1 in (*sample.args, sample.kwargs.get("n")) or sample.input.isinf().any())
            ),
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
        ("sparse gradients are not there", lambda sample: sample.kwargs.get("sparse")),
    ),
    "nn.functional.batch_norm": (
        "an input without channels",
        lambda sample: sample.input.ndim < 2,
    ),
    "nn.functional.interpolate.area": (
        "volumes",
        lambda sample: sample.input.ndim == 5,
    ),
    "nn.functional.interpolate.trilinear": ("volumes", lambda sample: True),
    "nn.functional.grid_sample": (
        "volumes, and bicubic between places",
        lambda sample: sample.input.ndim == 5 or sample.kwargs["mode"] == "bicubic",
    ),
    "nn.functional.ctc_loss": (
        "PyTorch's derivative holds that of the log_softmax before it, too",
        lambda sample: sample.input.requires_grad,
    ),
    "matrix_exp": (
        "rounding, which differs by norms of 10,000",
        lambda sample: sample.input.dtype is torch.float32 and sample.input.numel(),
    ),
    "as_strided.partial_views": (
        "from_numpy does not know what lies beside the elements of a view of PyTorch's",
        lambda sample: True,
    ),
    "nextafter": (
        "PyTorch says that it needs a gradient, and has none",
        lambda sample: sample.input.requires_grad,
    ),
}

# What PyTorch refuses and we do not, or with another error: (reason, whether it is such a sample).
REFUSED_OTHERWISE = [
    (
        "a number may stand for either of two tensors",
        lambda op, sample: (
            isinstance(op, BinaryUfuncInfo)
            and sum(isinstance(v, torch.Tensor) for v in (sample.input, *sample.args)) < 2
        ),
    ),
    ("there is no out=, which is a TypeError", lambda op, sample: "out" in sample.kwargs),
    (
        "too few dimensions: a RuntimeError as of all pools",
        lambda op, sample: "adaptive" in op.name and sample.input.ndim == 2,
    ),
]

# Where PyTorch has no second derivative although it says so: it is missing, or NaN.
ONCE = ["nn.functional.scaled_dot_product_attention", "linalg.norm.subgradients_at_zero"]

# What PyTorch itself leaves open: the numbers of random and of empty tensors,
OPEN = "empty empty_like new_empty rand_like randint randint_like randn randn_like".split()
# and where among equals an element stood, of which whole numbers and booleans have many.
TIES = "kthvalue median mode nanmedian sort topk".split()


def least_squares(m, a, b, **how):
    """The solution, and the rest without a derivative: PyTorch wants one of no residuals, too."""
    x, *rest = m.linalg.lstsq(a, b, **how)
    return x, *(r.detach() for r in rest)


def by_triangle(m, b, L, upper=False):
    """Of the triangle that is read: PyTorch's derivative has numbers in the other one, too."""
    return m.cholesky_solve(b, (m.triu if upper else m.tril)(L), upper=upper)


# How both are called where a sample is not written as a program would write it, or where
# derivatives by what is not read are left open.
CALLS = {
    "einsum": lambda m, tensors, equation: m.einsum(equation, *tensors),
    "nn.functional.embedding": lambda m, w, i, **how: m.nn.functional.embedding(i, w, **how),
    "nn.functional.embedding_bag": lambda m, w, i, **how: m.nn.functional.embedding_bag(
        i, w, **how
    ),
    "where": lambda m, x, condition, other: m.where(condition, x, other),
    **dict.fromkeys(("polygamma", "special.polygamma"), lambda m, x, n: m.polygamma(n, x)),
    "zero_": lambda m, x: x.clone().zero_(),
    **dict.fromkeys(("linalg.lstsq", "linalg.lstsq.grad_oriented"), least_squares),
    "linalg.pinv.singular": lambda m, a, b: m.linalg.pinv(a @ b.mT),
    "linalg.pinv.hermitian": lambda m, a, **how: m.linalg.pinv(a + a.mT, **how),
    "cholesky_solve": by_triangle,
}

# ---- running a sample ----------------------------------------------------------------

DTYPES = "float32", "float64", "int64", "bool"


def find(op, m=mt):
    """The function, or method, of this name of a library: of ours, or PyTorch's."""
    name = op.name
    for known in (op.full_name, name):
        if known in CALLS:
            return functools.partial(CALLS[known], m)
    if m is torch:
        return op
    for home in (mt, mt.Tensor):
        try:
            found = attrgetter(name)(home)
        except AttributeError:
            continue
        if isinstance(found, mt.dtype):  # mt.float is one, Tensor.float() is what is meant
            continue
        return found.fget if isinstance(found, property) else found
    raise AttributeError(f"there is no {name}")


def compare(op, sample):
    """Raise an error unless ours does with a sample what PyTorch does."""
    torchs = (sample.input, *sample.args), sample.kwargs
    args, params = ours(torchs)
    expected = find(op, torch)(*torchs[0], **torchs[1])
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
        order = 2 if op.supports_gradgrad and op.full_name not in ONCE else 1
        same_derivatives(out, inputs, expected, torch_inputs, order)


def all_in_scope(sample):
    return all(map(in_scope, flat(((sample.input, sample.args), sample.kwargs))))


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
                if all_in_scope(s) and not concerned(s)
            )
            if most is not None:  # from the first few dozen, not one beside the other
                samples = list(itertools.islice(samples, 8 * most))
                samples = samples[:: max(1, len(samples) // most)][:most]
            for sample in samples:
                yield op, dtype, sample


def references(name):
    """(operation, sample) of an elementwise operation: infinities, NaN, large and small numbers."""
    for op in op_db:
        elementwise = isinstance(op, (UnaryUfuncInfo, BinaryUfuncInfo))
        if op.name == name and elementwise and torch.float32 in op.dtypes:
            _, concerned = LEFT_OUT.get(op.full_name, (None, lambda sample: False))
            for s in op.reference_inputs("cpu", torch.float32):
                fitting = isinstance(s.input, torch.Tensor) and s.input.numel() < 1000
                if fitting and all_in_scope(s) and not concerned(s):
                    yield op, s


def refusals(name):
    """(operation, sample) of a name that PyTorch refuses."""
    for op in op_db:
        if op.name == name and op.error_inputs_func is not None:
            for e in op.error_inputs("cpu"):
                s = e.sample_input
                wanted = not any(concerned(op, s) for _, concerned in REFUSED_OTHERWISE)
                if wanted and all_in_scope(s):
                    yield op, s


def compare_refusal(op, sample):
    """Raise an error unless ours refuses what PyTorch refuses."""
    args, params = (sample.input, *sample.args), sample.kwargs
    expected = error_of(find(op, torch), *args, **params)
    if expected is not None:
        args, params = ours((args, params))
        error = error_of(find(op), *args, **params)
        refused(error, expected)


def results(name, most=None):
    """(what was tried, what is wrong or None) for the samples of a name."""
    torch.manual_seed(0)
    for op, dtype, sample in runs(name, most):
        yield f"{dtype} {sample.summary()}", outcome(compare, op, sample)
    for op, sample in references(name):
        yield f"float32 {sample.summary()}", outcome(compare, op, sample)
    for op, sample in refusals(name):
        yield f"refused: {sample.summary()}", outcome(compare_refusal, op, sample)


@pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore:.*is deprecated:UserWarning")
@pytest.mark.parametrize("name", COVERED)
def test_samples(name):
    assert_right(name, list(results(name, most=2)))


if __name__ == "__main__":
    count(COVERED, results, sys.argv[1:])
