"""Distributions to draw from and to score with, from Bernoulli to MultivariateNormal.

Parameters are tensors or numbers; they and the scored values broadcast. `sample()` is not
differentiated; `rsample()`, where it is there, is, with respect to the parameters.
"""

from __future__ import annotations

import math
import types
from typing import Any

from .. import ops
from ..autograd import no_grad
from ..autograd.calls import public_methods, public_names
from ..autograd.errors import describe
from ..autograd.modes import mode
from ..backends.dtypes import finfo
from ..nn import functional as F
from ..tensor import Tensor, random
from ..tensor.creation import as_tensor, full
from ..tensor.size import Size
from .absent import absent


class _Constraint:
    """A constraint: check(value) is True for each value that is right; `words` name those."""

    def __init__(self, words, check):
        self.words, self.check = words, check

    def __repr__(self):
        return self.words


def _is_positive_definite(x):
    symmetric = ((x - x.mT).abs() <= 1e-6).all(-1).all(-1)
    return symmetric & (ops.linalg.eigvalsh(x) > 0).all(-1)


constraints = types.SimpleNamespace(
    real=_Constraint("numbers", lambda x: x == x),
    positive=_Constraint("above 0", lambda x: x > 0),
    nonnegative=_Constraint("at least 0", lambda x: x >= 0),
    unit_interval=_Constraint("within 0 … 1", lambda x: (x >= 0) & (x <= 1)),
    boolean=_Constraint("0 or 1", lambda x: (x == 0) | (x == 1)),
    real_vector=_Constraint("rows of numbers", lambda x: (x == x).all(-1)),
    positive_definite=_Constraint("symmetric and positive definite", _is_positive_definite),
    lower_cholesky=_Constraint(
        "lower triangular with a diagonal above 0",
        lambda x: (x.tril() == x).all(-1).all(-1) & (x.diagonal(0, -2, -1) > 0).all(-1),
    ),
    simplex=_Constraint(
        "at least 0, each row with a sum of 1",
        lambda x: (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6),
    ),
)


class Distribution:
    """The base of distributions: `sample(shape)` draws, `log_prob(value)`, `entropy()`.

    A draw has the shape `batch_shape`, of distributions side by side, and then `event_shape`.
    """

    _event_dims = 0  # how many dimensions of `mean` are one draw
    _validate_args = True
    arg_constraints = types.MappingProxyType({})  # what the parameters may be
    support = constraints.real  # what a draw may be

    _batch_shape = _event_shape = None  # of a user's own kind

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: Any = None
                 ) -> None:  # fmt: skip
        """For a user's own distribution, which says what shapes it has."""
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args

    @staticmethod
    def set_default_validate_args(value):
        """True if parameters and scored values are looked at where nothing else is said."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args: True or False is needed, got {value!r}")
        Distribution._validate_args = value

    def _validated(self, validate_args, *given):
        """Raise ValueError for a parameter that breaks its constraint, unless told not to look.

        Only those `given` are looked at, all if none are named.
        """
        if validate_args is not None:
            self._validate_args = validate_args
        if not self._validate_args or mode.tape is not None:
            return
        for name in given or self.arg_constraints:
            value, constraint = getattr(self, name), self.arg_constraints[name]
            if not bool(constraint.check(value).all()):
                raise ValueError(
                    f"{type(self).__name__}: {name} must be {constraint.words}, got {value}"
                )

    def _supported(self, value):
        """Raise ValueError for what cannot be a draw, and so has no probability."""
        if not self._validate_args or mode.tape is not None:
            return
        if not isinstance(value, Tensor):
            raise ValueError(f"a value must be a Tensor, got {value!r}")
        ops.broadcast_shapes(tuple(value.shape), (*self.batch_shape, *self.event_shape))
        if not bool(self.support.check(value).all()):
            raise ValueError(f"a value must be {self.support.words}, got {value}")

    @property
    def batch_shape(self) -> Size:
        """Of how many distributions side by side it is."""
        if self._batch_shape is not None:
            return self._batch_shape
        return self.mean.shape[: self.mean.ndim - self._event_dims]

    @property
    def event_shape(self) -> Size:
        """Of one draw of one of them."""
        if self._event_shape is not None:
            return self._event_shape
        return self.mean.shape[self.mean.ndim - self._event_dims :]

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws, of shape sample_shape and then the distribution's, without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def _shape(self, sample_shape):
        return (*sample_shape, *self.mean.shape)


def _tensors(**parameters):
    """Parameters, each a number or a tensor, as tensors of floats and of one shape."""
    for name, value in parameters.items():
        if not isinstance(value, (Tensor, int, float)):
            raise ValueError(f"{name} must be a number or a Tensor, got {value!r}")
    tensors = [as_tensor(v if isinstance(v, Tensor) else float(v)) for v in parameters.values()]
    return ops.broadcast_tensors(*tensors)


def _of_probabilities(probs, logits):
    """The name of the one that is given."""
    if (probs is None) == (logits is None):
        raise ValueError("a distribution needs either probs or logits")
    return "probs" if logits is None else "logits"


def _away_from_0_and_1(probs):
    """Probabilities whose logarithms are finite, as PyTorch takes them."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(eps, 1 - eps)


class Categorical(Distribution):
    """One of n classes for each row, by `probs` (which are normalized) or `logits` (…, n)."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = property(
        lambda self: _Constraint(
            f"a class, 0 … {self.probs.shape[-1] - 1}",
            lambda x: (x >= 0) & (x < self.probs.shape[-1]) & (x == x.long()),
        )
    )

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: Any = None
    ) -> None:
        name = _of_probabilities(probs, logits)
        given = logits if probs is None else probs
        if not isinstance(given, Tensor) or not given.ndim:
            raise ValueError(f"{name} must be a Tensor of at least one dimension, got {given!r}")
        self.probs = F.softmax(logits, -1) if probs is None else probs / probs.sum(-1, True)
        log = F.log_softmax(logits, -1) if probs is None else _away_from_0_and_1(self.probs).log()
        self.logits = log
        self.mode = self.probs.argmax(-1)
        self.mean = full(self.mode.shape, math.nan)  # classes have none
        self._validated(validate_args, name)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        rows = self.probs.detach().reshape(-1, self.probs.shape[-1])
        drawn = random.multinomial(rows, math.prod(sample_shape), replacement=True)
        return drawn.t().reshape(*sample_shape, *self.probs.shape[:-1])

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of these classes."""
        self._supported(value)
        value = value.long().unsqueeze(-1)
        shape = (*ops.broadcast_shapes(value.shape[:-1], self.logits.shape[:-1]), -1)
        logits = self.logits.expand(*shape[:-1], self.logits.shape[-1])
        return logits.gather(-1, value.expand(*shape[:-1], 1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """−Σ p log p, in nats."""
        return -(self.probs * self.logits).sum(-1)


class Bernoulli(Distribution):
    """1 with probability `probs`, or sigmoid(`logits`), else 0."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: Any = None
    ) -> None:
        name = _of_probabilities(probs, logits)
        if logits is None:
            (self.probs,) = _tensors(probs=probs)
            self.logits = ops.logit(_away_from_0_and_1(self.probs))
        else:
            (self.logits,) = _tensors(logits=logits)
            self.probs = ops.sigmoid(self.logits)
        self.mean, self.variance = self.probs, self.probs * (1 - self.probs)
        self._validated(validate_args, name)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return random.bernoulli(self.probs.detach().expand(self._shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of these 0s and 1s."""
        self._supported(value)
        logits, value = ops.broadcast_tensors(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        """−p log p − (1 − p) log(1 − p), in nats."""
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")


class Normal(Distribution):
    """Mean `loc` and standard deviation `scale`."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}

    def __init__(
        self, loc: Tensor | float, scale: Tensor | float, validate_args: Any = None
    ) -> None:
        self.loc, self.scale = _tensors(loc=loc, scale=scale)
        self.mean = self.mode = self.loc
        self.stddev, self.variance = self.scale, self.scale**2
        self._validated(validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """loc + scale·ε, with a standard normal ε."""
        noise = random.randn(self._shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + self.scale * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """−(x − loc)² / 2 scale² − log scale − log √2π"""
        self._supported(value)
        z = (value - self.loc) / self.scale
        return -0.5 * z * z - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of this value or less, ½ (1 + erf(z / √2))."""
        self._supported(value)
        return 0.5 * (1 + ops.erf((value - self.loc) / (self.scale * math.sqrt(2))))

    def icdf(self, value: Tensor) -> Tensor:
        """The number that `cdf` gives this value for."""
        return self.loc + self.scale * ops.erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Tensor:
        """log scale + ½ log 2πe"""
        return self.scale.log() + 0.5 * math.log(2 * math.pi * math.e)


class Uniform(Distribution):
    """Evenly from `low` to `high`."""

    arg_constraints = {"low": constraints.real, "high": constraints.real}

    def __init__(self, low: Any, high: Any, validate_args: Any = None) -> None:
        self.low, self.high = _tensors(low=low, high=high)
        self.mean = (self.low + self.high) / 2
        self._validated(validate_args)
        if self._validate_args and mode.tape is None and not bool((self.low < self.high).all()):
            raise ValueError(f"Uniform: low must be below high, got {low!r} and {high!r}")

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """low + (high − low)·u, with u within 0 … 1."""
        u = random.rand(self._shape(sample_shape), dtype=self.mean.dtype)
        return self.low + (self.high - self.low) * u

    def log_prob(self, value: Tensor) -> Tensor:
        """−log(high − low) inside, −∞ outside"""
        self._supported(value)
        inside = (value >= self.low) & (value < self.high)
        outside = full((), -math.inf, dtype=self.mean.dtype)
        return ops.where(inside, -(self.high - self.low).log(), outside)

    def entropy(self) -> Tensor:
        """log(high − low)"""
        return (self.high - self.low).log()


class Beta(Distribution):
    """Shares of a whole, within 0 … 1: density xᵃ⁻¹ (1 − x)ᵇ⁻¹ / B(a, b).

    a is `concentration1` and b `concentration0`, both above 0.
    """

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval

    def __init__(self, concentration1: Tensor | float, concentration0: Tensor | float,
                 validate_args: Any = None) -> None:  # fmt: skip
        a, b = _tensors(concentration1=concentration1, concentration0=concentration0)
        a, b = (c if c.is_floating_point() else c.float() for c in (a, b))
        self.concentration1, self.concentration0, total = a, b, a + b
        self.mean, self.variance = a / total, a * b / (total**2 * (total + 1))
        self._validated(validate_args)

    @property
    def mode(self) -> Tensor:
        """The place of the largest density; 1 if both are below 1, where both ends have it."""
        a, b = self.concentration1, self.concentration0
        up, down = (a - 1).clamp(min=0), (b - 1).clamp(min=0)
        return ops.where((a < 1) & (b < 1), 1.0, up / (up + down))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        raise NotImplementedError("Beta.rsample: draws are not differentiated; use sample()")

    def sample(self, sample_shape: Any = ()) -> Tensor:
        a, b = (c.detach().cpu().numpy() for c in (self.concentration1, self.concentration0))
        shape, like = self._shape(sample_shape), self.mean
        return random._draw(None, lambda r: r.beta(a, b, shape), like.dtype, like.device)

    def _log_of_whole(self):
        """ln B(a, b)"""
        a, b = self.concentration1, self.concentration0
        return a.lgamma() + b.lgamma() - (a + b).lgamma()

    def log_prob(self, value: Tensor) -> Tensor:
        """(a − 1) ln x + (b − 1) ln(1 − x) − ln B(a, b)"""
        self._supported(value)
        a, b = self.concentration1, self.concentration0
        return ops.xlogy(a - 1, value) + ops.xlogy(b - 1, 1 - value) - self._log_of_whole()

    def entropy(self) -> Tensor:
        """ln B(a, b) − (a − 1) ψ(a) − (b − 1) ψ(b) + (a + b − 2) ψ(a + b)"""
        a, b = self.concentration1, self.concentration0
        apart = (a - 1) * a.digamma() + (b - 1) * b.digamma()
        return self._log_of_whole() - apart + (a + b - 2) * (a + b).digamma()


class MultivariateNormal(Distribution):
    """Mean `loc` (…, n), and a covariance matrix or its Cholesky factor `scale_tril` (…, n, n)."""

    _event_dims = 1

    arg_constraints = {
        "loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }  # fmt: skip
    support = constraints.real_vector

    def __init__(self, loc: Tensor | float, covariance_matrix: Tensor | None = None,
                 precision_matrix: Tensor | None = None, scale_tril: Tensor | None = None,
                 validate_args: Any = None) -> None:  # fmt: skip
        if [covariance_matrix, precision_matrix, scale_tril].count(None) != 2:
            raise ValueError(
                "MultivariateNormal: one of covariance_matrix, precision_matrix and scale_tril "
                "is needed"
            )
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix,
                 "scale_tril": scale_tril}  # fmt: skip
        (name,) = (n for n, matrix in given.items() if matrix is not None)
        if not isinstance(loc, Tensor) or not loc.ndim:
            raise ValueError(f"loc must be a Tensor of at least one dimension, got {loc!r}")
        matrix, n = given[name], loc.shape[-1]
        if not isinstance(matrix, Tensor) or matrix.shape[-2:] != (n, n):
            raise ValueError(f"{name} must be a Tensor (…, {n}, {n}), got {describe([matrix])}")
        self.loc = loc
        setattr(self, name, matrix)
        self._validated(validate_args, "loc", name)
        if precision_matrix is not None:
            covariance_matrix = ops.linalg.inv(precision_matrix)
        if scale_tril is None:
            scale_tril = ops.linalg.cholesky(covariance_matrix)
        shape = ops.broadcast_shapes(loc.shape, scale_tril.shape[:-1])
        self.loc = self.mean = self.mode = loc.expand(shape)
        self.scale_tril = scale_tril.expand(*shape, shape[-1])
        self.covariance_matrix = self.scale_tril @ self.scale_tril.mT
        self.variance = (self.scale_tril**2).sum(-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """loc + L ε, with a standard normal ε."""
        noise = random.randn(self._shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    def _log_of_det(self):
        return self.scale_tril.diagonal(0, -2, -1).log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """−½ |L⁻¹ (x − loc)|² − log det L − n log √2π"""
        self._supported(value)
        away = ops.linalg.solve_triangular(
            self.scale_tril, (value - self.loc).unsqueeze(-1), upper=False
        )
        n = self.loc.shape[-1]
        return -0.5 * (away**2).sum((-2, -1)) - self._log_of_det() - n * math.log(2 * math.pi) / 2

    def entropy(self) -> Tensor:
        """log det L + n/2 log 2πe"""
        return self._log_of_det() + 0.5 * self.loc.shape[-1] * math.log(2 * math.pi * math.e)


class Independent(Distribution):
    """Another distribution, the last `reinterpreted_batch_ndims` dimensions of which are one."""

    def __init__(self, base_distribution: Distribution, reinterpreted_batch_ndims: int,
                 validate_args: Any = None) -> None:  # fmt: skip
        room = len(base_distribution.batch_shape)
        if not isinstance(reinterpreted_batch_ndims, int) or reinterpreted_batch_ndims > room:
            raise ValueError(
                f"reinterpreted_batch_ndims must be a whole number, at most {room}, got "
                f"{reinterpreted_batch_ndims!r}"
            )
        self.base_dist, self._dims = base_distribution, reinterpreted_batch_ndims
        self._event_dims = base_distribution._event_dims + reinterpreted_batch_ndims

    mean = property(lambda self: self.base_dist.mean)
    variance = property(lambda self: self.base_dist.variance)

    def _sum(self, x):
        return x.sum(tuple(range(-self._dims, 0))) if self._dims else x

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """The sum of the base's over those dimensions."""
        return self._sum(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        """The sum of the base's over those dimensions."""
        return self._sum(self.base_dist.entropy())


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """∫ p log(p / q) of two distributions of one kind, in nats."""
    if type(p) is type(q) is Normal:
        ratio, shift = (p.scale / q.scale) ** 2, ((p.loc - q.loc) / q.scale) ** 2
        return 0.5 * (ratio + shift - 1 - ratio.log())
    if type(p) is type(q) is Categorical:
        return (p.probs * (p.logits - q.logits)).sum(-1)
    if type(p) is type(q) is Bernoulli:
        return p.probs * (p.logits - q.logits) + F.softplus(q.logits) - F.softplus(p.logits)
    if type(p) is type(q) is Independent and p._dims == q._dims:
        return p._sum(kl_divergence(p.base_dist, q.base_dist))
    raise NotImplementedError(
        f"kl_divergence: of {type(p).__name__} and {type(q).__name__} it is not there"
    )


for _name in (
    "Binomial", "Cauchy", "Chi2", "ContinuousBernoulli", "Dirichlet", "Exponential", "Gamma",
    "Geometric", "Gumbel", "HalfNormal", "Kumaraswamy", "Laplace", "LogNormal",
    "LowRankMultivariateNormal", "MixtureSameFamily", "Multinomial", "NegativeBinomial",
    "OneHotCategorical", "OneHotCategoricalStraightThrough", "Poisson", "RelaxedBernoulli",
    "RelaxedOneHotCategorical", "StudentT", "TransformedDistribution", "VonMises", "Weibull",
    "Wishart",
):  # fmt: skip
    globals()[_name] = absent(f"distributions.{_name}", "it is left out")

__all__ = [
    "Bernoulli", "Beta", "Categorical", "Distribution", "Independent", "MultivariateNormal",
    "Normal", "Uniform", "kl_divergence",
]  # fmt: skip

public_names(globals(), __all__)
for _kind in map(globals().get, __all__[:-1]):
    public_methods(
        _kind,
        " ".join(
            name for name in ("sample", "rsample", "log_prob", "cdf", "icdf") if name in vars(_kind)
        ),
    )
