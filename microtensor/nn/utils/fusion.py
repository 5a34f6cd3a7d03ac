"""Fuse a convolution and the batch norm after it into one equal convolution."""

from __future__ import annotations

import copy
from typing import Any

from ...nn.module import Module
from ...ops import rsqrt
from ...typing import Tensor
from ..module import Parameter


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Module:
    """A convolution equal to `conv` followed by `bn` in evaluation."""
    if conv.training or bn.training:
        raise AssertionError("fuse_conv_bn_eval: both modules have to be in evaluation: eval()")
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias,
        transpose,
    )  # fmt: skip
    return fused


def fuse_conv_bn_weights(conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor,
                         bn_eps: float, bn_w: Tensor | None, bn_b: Tensor | None,
                         transpose: bool = False) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight w·s and bias (b − mean)·s + shift of the fused layer, s = scale / √(var + eps)."""
    scale = rsqrt(bn_rv + bn_eps)
    scale = scale if bn_w is None else scale * bn_w
    bias = (-bn_rm if conv_b is None else conv_b - bn_rm) * scale
    bias = bias if bn_b is None else bias + bn_b
    channels = (1, -1) if transpose else (-1, 1)  # a transposed convolution's second dimension
    weight = conv_w * scale.reshape(*channels, *(1,) * (conv_w.ndim - 2))
    return (
        Parameter(weight.detach().to(conv_w.dtype), conv_w.requires_grad),
        Parameter(bias.detach().to(conv_w.dtype), conv_w.requires_grad),
    )
