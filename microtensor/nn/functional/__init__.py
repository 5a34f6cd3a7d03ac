"""The functions behind the layers: PyTorch's names, arguments and defaults, one family a file.

The fused functions are operations of `ops/`; here their arguments are checked and reshaped.
"""

from types import FunctionType as _FunctionType

from ...autograd.autocast import autocasting as _autocasting
from ...autograd.calls import public_names as _public_names
from ...ops.composite.convolution import _each
from ..resampling import (
    affine_grid, grid_sample, interpolate, max_unpool1d, max_unpool2d, upsample, upsample_bilinear,
    upsample_nearest,
)  # fmt: skip
from .activations import (
    celu, celu_, elu, elu_, gelu, glu, gumbel_softmax, hardshrink, hardsigmoid, hardswish, hardtanh,
    hardtanh_, leaky_relu, leaky_relu_, log_softmax, logsigmoid, mish, prelu, relu, relu6, relu_,
    rrelu, rrelu_, selu, selu_, sigmoid, silu, softmax, softmin, softplus, softshrink, softsign,
    tanh, tanhshrink, threshold, threshold_,
)  # fmt: skip
from .arguments import _not_there, _row
from .attention import scaled_dot_product_attention
from .ctc import ctc_loss
from .distances import cosine_similarity, normalize, one_hot, pairwise_distance, pdist
from .images import (
    adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_max_pool1d, adaptive_max_pool2d, avg_pool1d,
    avg_pool2d, conv1d, conv2d, conv_transpose1d, conv_transpose2d, fold, max_pool1d, max_pool2d,
    pad, pixel_shuffle, pixel_unshuffle, unfold,
)  # fmt: skip
from .layers import (
    alpha_dropout, bilinear, dropout, dropout1d, dropout2d, embedding, embedding_bag, linear,
)  # fmt: skip
from .losses import (
    binary_cross_entropy, binary_cross_entropy_with_logits, cosine_embedding_loss, cross_entropy,
    gaussian_nll_loss, hinge_embedding_loss, huber_loss, kl_div, l1_loss, margin_ranking_loss,
    mse_loss, multi_margin_loss, multilabel_soft_margin_loss, nll_loss, poisson_nll_loss,
    smooth_l1_loss, soft_margin_loss, triplet_margin_loss, triplet_margin_with_distance_loss,
)  # fmt: skip
from .normalization import (
    batch_norm, group_norm, instance_norm, layer_norm, local_response_norm, rms_norm,
)  # fmt: skip

for _value in list(globals().values()):  # files and pickles name functions by this module
    if isinstance(_value, _FunctionType) and _value.__module__.startswith(f"{__name__}."):
        _value.__module__ = __name__
_PLACES = __name__, "microtensor.nn.resampling", "functools"  # the last: functions with arguments
_public_names(
    globals(),
    [
        name
        for name, value in globals().items()
        if not name.startswith("_") and getattr(value, "__module__", None) in _PLACES
    ],
)
_autocasting(globals())

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "affine_grid", "alpha_dropout", "avg_pool1d", "avg_pool2d", "batch_norm", "bilinear",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu", "celu_", "conv1d",
    "conv2d", "conv_transpose1d", "conv_transpose2d", "cosine_embedding_loss",
    "cosine_similarity", "cross_entropy", "ctc_loss", "dropout", "dropout1d", "dropout2d",
    "elu", "elu_", "embedding", "embedding_bag", "fold", "gaussian_nll_loss", "gelu", "glu",
    "grid_sample", "group_norm", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "hardtanh_", "hinge_embedding_loss", "huber_loss", "instance_norm",
    "interpolate", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "leaky_relu_", "linear",
    "local_response_norm", "log_softmax", "logsigmoid", "margin_ranking_loss", "max_pool1d",
    "max_pool2d", "max_unpool1d", "max_unpool2d", "mish", "mse_loss", "multi_margin_loss",
    "multilabel_soft_margin_loss", "nll_loss", "normalize", "one_hot", "pad",
    "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss",
    "prelu", "relu", "relu6", "relu_", "rms_norm", "rrelu", "rrelu_",
    "scaled_dot_product_attention", "selu", "selu_", "sigmoid", "silu", "smooth_l1_loss",
    "soft_margin_loss", "softmax", "softmin", "softplus", "softshrink", "softsign", "tanh",
    "tanhshrink", "threshold", "threshold_", "triplet_margin_loss",
    "triplet_margin_with_distance_loss", "unfold", "upsample", "upsample_bilinear",
    "upsample_nearest",
]  # fmt: skip
