"""Additions of the PyTorch surface to classes and modules of the core, all in this one place."""

import collections.abc
import functools
import math

from .. import autograd, nn, ops, optim
from ..distributed.sync_batch_norm import SyncBatchNorm
from ..tensor import Tensor
from . import storage
from .absent import absent
from .attention import SDPBackend, sdpa_kernel
from .library import load_library
from .old_names import Variable, before_the_underscore, qr, svd, triangular_solve

# ---- Tensor --------------------------------------------------------------------------

Tensor.qr, Tensor.svd, Tensor.triangular_solve = qr, svd, triangular_solve
Tensor.lu, Tensor.lu_solve = ops.composite.lu.lu_method, ops.lu_solve
Tensor.storage, Tensor.untyped_storage = storage.storage, storage.untyped_storage
Tensor.storage_offset = storage.storage_offset

# ---- ops -----------------------------------------------------------------------------

ops.load_library = load_library


def _pin_memory(self: Tensor, device: object = None) -> Tensor:
    """The tensor itself: copies to a GPU wait for their end anyway."""
    return self


Tensor.pin_memory = _pin_memory

# ---- autograd ------------------------------------------------------------------------

autograd.Variable = Variable

# ---- nn ------------------------------------------------------------------------------

nn.Module._orig_mod = property(lambda self: self)  # in PyTorch the model that was compiled
nn.attention.SDPBackend, nn.attention.sdpa_kernel = SDPBackend, sdpa_kernel


def _ntuple(n, x):
    """n times x, or x as a tuple if it holds several already."""
    return tuple(x) if isinstance(x, collections.abc.Iterable) else (x,) * n


vars(nn.utils).update({
    f"_{name}": functools.partial(_ntuple, n)
    for n, name in enumerate(("single", "pair", "triple", "quadruple"), 1)
}, _ntuple=lambda n: functools.partial(_ntuple, n))  # fmt: skip
nn.SyncBatchNorm = SyncBatchNorm  # of a floor above that of nn
nn.module._EXTRA_STATE_KEY_SUFFIX = "_extra_state"  # which no module here has
for _name in ("Conv", "ConvTranspose", "BatchNorm", "InstanceNorm", "MaxPool", "AvgPool",
              "AdaptiveMaxPool", "AdaptiveAvgPool", "Dropout"):  # fmt: skip
    # programs ask of every module whether it is one, to initialise it
    setattr(nn, f"{_name}3d", absent(f"nn.{_name}3d", "three dimensions are left out"))
nn.utils.clip_grad_norm = before_the_underscore(nn.utils.clip_grad_norm_, "torch.nn.utils")
for _name in ("uniform", "normal", "constant", "eye", "xavier_uniform", "xavier_normal",
              "kaiming_uniform", "kaiming_normal", "orthogonal"):  # fmt: skip
    setattr(nn.init, _name, before_the_underscore(getattr(nn.init, _name + "_"), "nn.init"))

# ---- optim ---------------------------------------------------------------------------

vars(optim.optimizer).update(  # what copies of PyTorch's optimizers import
    _use_grad_for_differentiable=autograd.no_grad(), _dispatch_sqrt=math.sqrt,
    _get_value=lambda x: x.item() if isinstance(x, Tensor) else x,
    _default_to_fused_or_foreach=lambda params, differentiable, use_fused=False: (False, False),
    **dict.fromkeys(("_foreach_doc", "_fused_doc", "_maximize_doc", "_capturable_doc",
                     "_differentiable_doc", "_params_doc"), ""),
)  # fmt: skip
