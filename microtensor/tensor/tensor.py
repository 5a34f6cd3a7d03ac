"""Class Tensor. Its body reads as a table of contents: the operations themselves are in `ops/`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..autograd.calls import as_operator, call_error, public_methods
from ..autograd.in_place import assign
from ..autograd.views import memory_of
from ..backends import backend_for, backend_of
from ..backends.dtypes import dtype as _dtype_type
from ..backends.dtypes import dtype_of, dtype_of_number, get_default_dtype
from ..backends.naming import Shown
from ..ops.composite.shapes import sizes
from ..typing import Dtype, TensorLike
from .conversion import Conversion, read_as
from .description import Description
from .history import History
from .methods import (
    both,
    both_shapes,
    comparable,
    indexed,
    operators,
    reshaping_form,
    resized,
    with_sizes,
)  # fmt: skip
from .size import Size


class Tensor(Description, History, Conversion, metaclass=Shown):
    """An array that remembers how it was computed, so that it can be differentiated.

    Make one with `mt.tensor`, `mt.zeros`, `mt.randn` …
    """

    __array_priority__ = 1000  # array + tensor is a Tensor

    def __init__(self, *data: Any, dtype: Dtype | None = None) -> None:
        """`Tensor(2, 3)` holds zeros of that shape, `Tensor([1, 2])` these numbers, as floats."""
        if len(data) == 1 and isinstance(data[0], Size):
            data = data[0]
        if len(data) == 1 and not isinstance(data[0], int):
            array = np.asarray(data[0]._data if isinstance(data[0], Tensor) else data[0])
        else:
            array = np.zeros(data if data else (0,))
        self._data = backend_for("cpu").asarray(array, dtype=dtype_of(dtype or get_default_dtype()))

    @staticmethod
    def _wrap(array):
        self = _new(Tensor)
        self._data = np.asarray(array) if isinstance(array, np.generic) else array
        return self

    def new(self, *data: Any) -> Tensor:
        """`Tensor(…)` with this tensor's dtype and device: zeros of a shape, or the given data."""
        return Tensor(*data, dtype=self.dtype).to(self.device)

    def _full_like(self, value):
        if isinstance(value, Tensor):
            return value
        return self.new_full(self.shape, value, dtype=dtype_of_number(value))

    # ---- indexing --------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        try:
            for step in ops.in_steps(ops.plain_index(index, self)):
                self = ops.getitem(self, step)
        except Exception as error:
            raise call_error("getitem", indexed, (self, index), {}, error)  # noqa: B904
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        try:
            self._set(index, value)
        except Exception as error:
            raise call_error("setitem", indexed, (self, index, value), {}, error)  # noqa: B904

    def _set(self, index, value):
        *first, last = ops.in_steps(ops.plain_index(index, self))
        for step in first:
            self = ops.getitem(self, step)
        assign(self, "setitem", last, value)

    # ---- operators -------------------------------------------------------------------

    __add__, __radd__, __iadd__ = operators(ops.add, "add")
    __sub__, __rsub__, __isub__ = operators(ops.sub, "sub")
    __mul__, _, __imul__ = operators(ops.mul, "mul")
    __truediv__, __rtruediv__, __itruediv__ = operators(ops.div_, "truediv")
    __rdiv__ = __rtruediv__
    __floordiv__, __rfloordiv__, __ifloordiv__ = operators(ops.floor_divide, "floordiv")
    __mod__, __rmod__, __imod__ = operators(ops.remainder, "mod")
    __pow__, __rpow__, __ipow__ = operators(ops.pow, "pow")
    __matmul__, __rmatmul__, _ = operators(ops.matmul, "matmul")
    __and__, __rand__, __iand__ = operators(ops.bitwise_and, "and")
    __or__, __ror__, __ior__ = operators(ops.bitwise_or, "or")
    __xor__, __rxor__, __ixor__ = operators(ops.bitwise_xor, "xor")
    __lshift__, __rlshift__, __ilshift__ = operators(ops.bitwise_left_shift, "lshift")
    __rshift__, __rrshift__, __irshift__ = operators(ops.bitwise_right_shift, "rshift")
    __lt__, __ge__ = as_operator(ops.lt, "__gt__"), as_operator(ops.ge, "__le__")
    __gt__, __le__ = as_operator(ops.gt, "__lt__"), as_operator(ops.le, "__ge__")
    __neg__, __abs__, __invert__ = ops.neg, ops.abs, ops.bitwise_not

    def __rmul__(self, other: TensorLike) -> Tensor:
        """other · self; a list or string is repeated, as in [0] * n."""
        return NotImplemented if isinstance(other, (list, tuple, str)) else ops.mul(self, other)

    def __pos__(self) -> Tensor:
        return self

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Tensor:
        return ops.eq(self, other) if comparable(other) else NotImplemented

    def __ne__(self, other: object) -> Tensor:
        return ops.ne(self, other) if comparable(other) else NotImplemented

    # ---- elementwise -----------------------------------------------------------------

    add, add_ = both(ops.add)
    sub, sub_ = subtract, subtract_ = both(ops.sub)
    mul, mul_ = multiply, multiply_ = both(ops.mul)
    div, div_ = divide, divide_ = true_divide, true_divide_ = both(ops.div)
    neg, neg_ = negative, negative_ = both(ops.neg)
    pow, pow_ = both(ops.pow)
    abs, abs_ = absolute, absolute_ = both(ops.abs)
    sign, sign_ = sgn, sgn_ = both(ops.sign)
    square, square_ = both(ops.square)
    sqrt, sqrt_ = both(ops.sqrt)
    rsqrt, rsqrt_ = both(ops.rsqrt)
    reciprocal, reciprocal_ = both(ops.reciprocal)
    addcmul, addcmul_ = both(ops.addcmul)
    addcdiv, addcdiv_ = both(ops.addcdiv)
    positive = ops.positive
    float_power, float_power_ = both(ops.float_power)
    ldexp, ldexp_ = both(ops.ldexp)
    hypot, hypot_ = both(ops.hypot)
    maximum = ops.maximum
    minimum = ops.minimum
    fmax = ops.fmax
    fmin = ops.fmin
    clamp, clamp_ = clip, clip_ = both(ops.clamp)
    clamp_min, clamp_min_ = both(ops.clamp_min)
    clamp_max, clamp_max_ = both(ops.clamp_max)
    lerp, lerp_ = both(ops.lerp)
    copysign, copysign_ = both(ops.copysign)
    nan_to_num, nan_to_num_ = both(ops.nan_to_num)
    xlogy, xlogy_ = both(ops.xlogy)
    logit, logit_ = both(ops.logit)
    remainder, remainder_ = both(ops.remainder)
    fmod, fmod_ = both(ops.fmod)
    floor_divide, floor_divide_ = both(ops.floor_divide)
    floor, floor_ = both(ops.floor)
    ceil, ceil_ = both(ops.ceil)
    round, round_ = both(ops.round)
    trunc, trunc_ = fix, fix_ = both(ops.trunc)
    frac, frac_ = both(ops.frac)
    exp, exp_ = both(ops.exp)
    exp2, exp2_ = both(ops.exp2)
    expm1, expm1_ = both(ops.expm1)
    log, log_ = both(ops.log)
    log2, log2_ = both(ops.log2)
    log10, log10_ = both(ops.log10)
    log1p, log1p_ = both(ops.log1p)
    logaddexp = ops.logaddexp
    logaddexp2 = ops.logaddexp2
    sin, sin_ = both(ops.sin)
    cos, cos_ = both(ops.cos)
    tan, tan_ = both(ops.tan)
    asin, asin_ = arcsin, arcsin_ = both(ops.asin)
    acos, acos_ = arccos, arccos_ = both(ops.acos)
    atan, atan_ = arctan, arctan_ = both(ops.atan)
    atan2, atan2_ = arctan2, arctan2_ = both(ops.atan2)
    sinh, sinh_ = both(ops.sinh)
    cosh, cosh_ = both(ops.cosh)
    tanh, tanh_ = both(ops.tanh)
    asinh, asinh_ = arcsinh, arcsinh_ = both(ops.asinh)
    acosh, acosh_ = arccosh, arccosh_ = both(ops.acosh)
    atanh, atanh_ = arctanh, arctanh_ = both(ops.atanh)
    sinc, sinc_ = both(ops.sinc)
    deg2rad, deg2rad_ = both(ops.deg2rad)
    rad2deg, rad2deg_ = both(ops.rad2deg)
    relu, relu_ = both(ops.relu)
    sigmoid, sigmoid_ = both(ops.sigmoid)
    prelu = ops.prelu
    erf, erf_ = both(ops.erf)
    erfc, erfc_ = both(ops.erfc)
    erfinv, erfinv_ = both(ops.erfinv)
    lgamma, lgamma_ = both(ops.lgamma)
    digamma, digamma_ = both(ops.digamma)
    eq, eq_ = both(ops.eq)
    ne, ne_ = not_equal, not_equal_ = both(ops.ne)
    lt, lt_ = less, less_ = both(ops.lt)
    le, le_ = less_equal, less_equal_ = both(ops.le)
    gt, gt_ = greater, greater_ = both(ops.gt)
    ge, ge_ = greater_equal, greater_equal_ = both(ops.ge)
    isnan = ops.isnan
    isinf = ops.isinf
    isfinite = ops.isfinite
    isclose = ops.isclose
    isposinf = ops.isposinf
    isneginf = ops.isneginf
    isreal = ops.isreal
    signbit = ops.signbit
    heaviside, heaviside_ = both(ops.heaviside)
    logical_not, logical_not_ = both(ops.logical_not)
    logical_and, logical_and_ = both(ops.logical_and)
    logical_or, logical_or_ = both(ops.logical_or)
    logical_xor, logical_xor_ = both(ops.logical_xor)
    bitwise_not, bitwise_not_ = both(ops.bitwise_not)
    bitwise_and, bitwise_and_ = both(ops.bitwise_and)
    bitwise_or, bitwise_or_ = both(ops.bitwise_or)
    bitwise_xor, bitwise_xor_ = both(ops.bitwise_xor)
    bitwise_left_shift, bitwise_left_shift_ = both(ops.bitwise_left_shift)
    bitwise_right_shift, bitwise_right_shift_ = both(ops.bitwise_right_shift)
    clone = ops.clone

    # ---- reductions ------------------------------------------------------------------

    sum_to_size = ops.sum_to_size
    sum = ops.sum
    mean = ops.mean
    var = ops.var
    std = ops.std
    prod = ops.prod
    nansum = ops.nansum
    nanmean = ops.nanmean
    diff = ops.diff
    trace = ops.trace
    amax = ops.amax
    amin = ops.amin
    aminmax = ops.aminmax
    argmax = ops.argmax
    argmin = ops.argmin
    max = ops.max
    min = ops.min
    sort = ops.sort
    argsort = ops.argsort
    topk = ops.topk
    msort = ops.msort
    kthvalue = ops.kthvalue
    median = ops.median
    nanmedian = ops.nanmedian
    mode = ops.mode
    quantile = ops.quantile
    nanquantile = ops.nanquantile
    norm = ops.norm
    dist = ops.dist
    logsumexp = ops.logsumexp
    cumsum, cumsum_ = both(ops.cumsum)
    cumprod, cumprod_ = both(ops.cumprod)
    cummax = ops.cummax
    cummin = ops.cummin
    logcumsumexp = ops.logcumsumexp
    any = ops.any
    all = ops.all
    count_nonzero = ops.count_nonzero
    softmax = ops.softmax
    log_softmax = ops.log_softmax

    unique = ops.unique
    unique_consecutive = ops.unique_consecutive
    bincount = ops.bincount
    histc = ops.histc
    histogram = ops.histogram

    # ---- shapes ----------------------------------------------------------------------

    reshape = with_sizes(ops.reshape)
    permute = with_sizes(ops.permute)
    expand = with_sizes(ops.expand)
    flip = with_sizes(ops.flip)
    repeat = with_sizes(ops.repeat)
    tile = with_sizes(ops.tile)
    transpose, transpose_ = swapaxes, swapaxes_ = swapdims, swapdims_ = both_shapes(ops.transpose)
    movedim = moveaxis = ops.movedim
    squeeze, squeeze_ = both_shapes(ops.squeeze)
    unsqueeze, unsqueeze_ = both_shapes(ops.unsqueeze)
    flatten = ops.flatten
    unflatten = ops.unflatten
    split = ops.split
    chunk = ops.chunk
    unbind = ops.unbind
    tensor_split = ops.tensor_split
    split_with_sizes = ops.split_with_sizes
    hsplit = ops.hsplit
    vsplit = ops.vsplit
    dsplit = ops.dsplit
    ravel = ops.ravel
    repeat_interleave = ops.repeat_interleave
    unfold = ops.unfold
    roll = ops.roll
    rot90 = ops.rot90
    fliplr = ops.fliplr
    flipud = ops.flipud
    tril, tril_ = both(ops.tril)
    triu, triu_ = both(ops.triu)
    diagonal = ops.diagonal
    diag = ops.diag
    diag_embed = ops.diag_embed
    diagflat = ops.diagflat
    broadcast_to = with_sizes(ops.broadcast_to)

    def view(self, *shape: Any, dtype: Dtype | None = None) -> Tensor:
        """The same memory under another shape. Raises RuntimeError where that needs a copy.

        A dtype in place of the shape reads the same bytes as numbers of another kind, without a
        gradient.
        """
        if dtype is not None or shape and isinstance(shape[0], _dtype_type):
            return read_as(dtype or shape[0], self)
        out = ops.reshape(self, sizes(shape))
        if memory_of(out._data) is not memory_of(self._data) and out.numel():
            if self._base is not None:
                raise RuntimeError(
                    f"view: shape {tuple(out.shape)} does not fit strides {self.stride()}: "
                    "reshape()"
                )
            # no other tensor shares this memory, which an operation laid out in another order
            self._data = backend_of(self._data).contiguous(self._data)
            out = ops.reshape(self, sizes(shape))
        return out

    def view_as(self, other: Tensor) -> Tensor:
        """The same memory under the shape of another tensor."""
        return self.view(*other.shape)

    def reshape_as(self, other: Tensor) -> Tensor:
        """The elements in the shape of another tensor."""
        return ops.reshape(self, tuple(other.shape))

    def expand_as(self, other: Tensor) -> Tensor:
        """The tensor expanded to the shape of another."""
        return ops.expand(self, tuple(other.shape))

    def t(self) -> Tensor:
        """A matrix transposed."""
        if self.ndim > 2:
            raise RuntimeError(
                f"t: at most two dimensions can be transposed, got {tuple(self.shape)}"
            )
        return ops.transpose(self, 0, 1) if self.ndim == 2 else self

    conj = ops.conj

    @property
    def real(self) -> Tensor:
        """The tensor itself: no tensor here is complex."""
        return ops.real(self)

    @property
    def T(self) -> Tensor:
        """The dimensions in reverse order."""
        return ops.permute(self, tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Tensor:
        """The last two dimensions exchanged."""
        return ops.transpose(self, -2, -1)

    mH = H = mT

    # ---- picking and putting ---------------------------------------------------------

    gather = ops.gather
    scatter, scatter_ = both(ops.scatter)
    scatter_add, scatter_add_ = both(ops.scatter_add)
    scatter_reduce, scatter_reduce_ = both(ops.scatter_reduce)
    select = ops.select
    narrow = ops.narrow
    index_select = ops.index_select
    take_along_dim = ops.take_along_dim
    masked_fill, masked_fill_ = both(ops.masked_fill)
    masked_select = ops.masked_select
    masked_scatter, masked_scatter_ = both(ops.masked_scatter)
    nonzero = ops.nonzero
    argwhere = ops.argwhere
    take = ops.take
    put, put_ = both(ops.put)
    as_strided = ops.as_strided
    index_add, index_add_ = both(ops.index_add)
    index_copy, index_copy_ = both(ops.index_copy)
    index_fill, index_fill_ = both(ops.index_fill)
    index_put, index_put_ = both(ops.index_put)

    def where(self, condition: Tensor, other: Tensor) -> Tensor:
        """This tensor where the condition holds, else `other`."""
        return ops.where(condition, self, other)

    # ---- linear algebra --------------------------------------------------------------

    matmul = ops.matmul
    mm = ops.mm
    bmm = ops.bmm
    mv = ops.mv
    dot = ops.dot
    outer = ger = ops.outer
    vdot = ops.vdot
    inner = ops.inner
    kron = ops.kron
    cross = ops.cross
    addmm, addmm_ = both(ops.addmm)
    addmv, addmv_ = both(ops.addmv)
    addr, addr_ = both(ops.addr)
    addbmm, addbmm_ = both(ops.addbmm)
    baddbmm, baddbmm_ = both(ops.baddbmm)
    logdet = ops.logdet
    cov = ops.cov
    corrcoef = ops.corrcoef
    cholesky = ops.linalg.cholesky
    cholesky_solve = ops.linalg.cholesky_solve
    det = ops.linalg.det
    inverse = ops.linalg.inv
    matrix_exp = ops.linalg.matrix_exp
    matrix_power = ops.linalg.matrix_power
    pinverse = ops.linalg.pinv
    slogdet = ops.linalg.slogdet

    # ---- questions -------------------------------------------------------------------

    def equal(self, other: Tensor) -> bool:
        """True if another tensor has the same shape and the same elements."""
        return self.shape == other.shape and bool((self == other).all())

    def allclose(
        self, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
    ) -> bool:
        """True if |self − other| ≤ atol + rtol·|other| everywhere."""
        return bool(ops.isclose(self, other, rtol, atol, equal_nan).all())

    # ---- in place --------------------------------------------------------------------

    def copy_(self, source: Tensor, non_blocking: bool = False) -> Tensor:
        """Take the elements of `source`, converted and broadcast. Returns the tensor."""
        if source.ndim > self.ndim:
            raise RuntimeError(f"copy_: shape {source.shape} is not broadcast to {self.shape}")
        return assign(self, "copy_", ..., source.to(self.device))

    def fill_(self, value: Any) -> Tensor:
        """Set every element to `value`. Returns the tensor."""
        return assign(self, "fill_", ..., value)

    def fill_diagonal_(self, value: Any) -> Tensor:
        """Set every element of a matrix's diagonal to `value`. Returns the tensor."""
        ops.diagonal(self).fill_(value)
        return self

    def apply_(self, callable: Callable[[Any], Any]) -> Tensor:
        """Replace every element x, a Python number, by callable(x). Returns the tensor."""
        new = [callable(x) for x in self.reshape(-1).tolist()]
        return self.copy_(self.new_tensor(new).reshape(self.shape))

    def zero_(self) -> Tensor:
        """Set every element to 0. Returns the tensor."""
        return assign(self, "zero_", ..., 0)

    if TYPE_CHECKING:  # added by `random` and the PyTorch surface
        bernoulli = multinomial = bernoulli_ = exponential_ = normal_ = random_ = uniform_ = new
        storage = untyped_storage = new

    t_ = reshaping_form("t_", t)
    resize_ = reshaping_form("resize_", resized)
    resize_as_ = reshaping_form("resize_as_", lambda self, other: resized(self, other.shape))


public_methods(Tensor, "size stride to type type_as view view_as reshape_as expand_as new "
               "new_zeros new_ones new_empty new_full new_tensor copy_ fill_ fill_diagonal_ apply_ "
               "equal allclose register_hook register_post_accumulate_grad_hook where "
               "requires_grad_", of_class=False)  # fmt: skip
_new = object.__new__
