"""Distributions to draw from and to score with: Categorical, Bernoulli, Normal, Uniform.

Parameters are tensors or numbers; they and the scored values broadcast. `sample()` is not
differentiated; `rsample()` is, with respect to the parameters.
"""

import math

from . import ops
from .autograd import no_grad
from .creation import as_tensor, full
from .names import missing
from .nn import functional as F
from .random import bernoulli, multinomial, rand, randn

__getattr__ = missing(__name__)


class Distribution:
    """What all have: `sample(shape)` draws that many times, `log_prob(value)`, `entropy()`."""

    def sample(self, sample_shape=()):
        """Draws, of shape sample_shape and then the distribution's, without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def _shape(self, sample_shape):
        return (*sample_shape, *self.mean.shape)


def _of_probabilities(probs, logits):
    if (probs is None) == (logits is None):
        raise ValueError("a distribution needs either probs or logits")


class Categorical(Distribution):
    """One of n classes for each row, by `probs` (which are normalized) or `logits` (…, n)."""

    def __init__(self, probs=None, logits=None, validate_args=None):
        _of_probabilities(probs, logits)
        self.probs = F.softmax(logits, -1) if probs is None else probs / probs.sum(-1, True)
        log = F.log_softmax(logits, -1) if probs is None else self.probs.clamp(1e-38).log()
        self.logits = log

    def sample(self, sample_shape=()):
        rows = self.probs.detach().reshape(-1, self.probs.shape[-1])
        drawn = multinomial(rows, math.prod(sample_shape), replacement=True)
        return drawn.t().reshape(*sample_shape, *self.probs.shape[:-1])

    def log_prob(self, value):
        """The logarithm of the probability of these classes."""
        value = value.long().unsqueeze(-1)
        shape = (*ops.broadcast_shapes(value.shape[:-1], self.logits.shape[:-1]), -1)
        logits = self.logits.expand(*shape[:-1], self.logits.shape[-1])
        return logits.gather(-1, value.expand(*shape[:-1], 1)).squeeze(-1)

    def entropy(self):
        """−Σ p log p, in nats."""
        return -(self.probs * self.logits).sum(-1)


class Bernoulli(Distribution):
    """1 with probability `probs`, or sigmoid(`logits`), else 0."""

    def __init__(self, probs=None, logits=None, validate_args=None):
        _of_probabilities(probs, logits)
        self.logits = ops.logit(as_tensor(probs)) if logits is None else as_tensor(logits)
        self.probs = self.mean = ops.sigmoid(self.logits) if probs is None else as_tensor(probs)

    def sample(self, sample_shape=()):
        return bernoulli(self.probs.detach().expand(self._shape(sample_shape)))

    def log_prob(self, value):
        """The logarithm of the probability of these 0s and 1s."""
        logits, value = ops.broadcast_tensors(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self):
        """−p log p − (1 − p) log(1 − p), in nats."""
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")


class Normal(Distribution):
    """Mean `loc` and standard deviation `scale`."""

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale = ops.broadcast_tensors(as_tensor(loc), as_tensor(scale))
        self.mean, self.stddev, self.variance = self.loc, self.scale, self.scale**2

    def rsample(self, sample_shape=()):
        """loc + scale·ε, with a standard normal ε."""
        noise = randn(self._shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + self.scale * noise

    def log_prob(self, value):
        """−(x − loc)² / 2 scale² − log scale − log √2π"""
        z = (value - self.loc) / self.scale
        return -0.5 * z * z - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def entropy(self):
        """log scale + ½ log 2πe"""
        return self.scale.log() + 0.5 * math.log(2 * math.pi * math.e)


class Uniform(Distribution):
    """Evenly from `low` to `high`."""

    def __init__(self, low, high, validate_args=None):
        self.low, self.high = ops.broadcast_tensors(as_tensor(low), as_tensor(high))
        self.mean = (self.low + self.high) / 2

    def rsample(self, sample_shape=()):
        """low + (high − low)·u, with u within 0 … 1."""
        u = rand(self._shape(sample_shape), dtype=self.mean.dtype)
        return self.low + (self.high - self.low) * u

    def log_prob(self, value):
        """−log(high − low) inside, −∞ outside"""
        inside = (value >= self.low) & (value < self.high)
        outside = full((), -math.inf, dtype=self.mean.dtype)
        return ops.where(inside, -(self.high - self.low).log(), outside)

    def entropy(self):
        """log(high − low)"""
        return (self.high - self.low).log()


def kl_divergence(p, q):
    """∫ p log(p / q) of two Normal or two Categorical distributions, in nats."""
    if type(p) is type(q) is Normal:
        ratio, shift = (p.scale / q.scale) ** 2, ((p.loc - q.loc) / q.scale) ** 2
        return 0.5 * (ratio + shift - 1 - ratio.log())
    if type(p) is type(q) is Categorical:
        return (p.probs * (p.logits - q.logits)).sum(-1)
    raise NotImplementedError(
        f"kl_divergence: of {type(p).__name__} and {type(q).__name__} it is not there"
    )


__all__ = ["Bernoulli", "Categorical", "Distribution", "Normal", "Uniform", "kl_divergence"]
