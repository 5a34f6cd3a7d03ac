"""Random tensors, drawn from one stream of numbers on every device: NumPy's PCG64."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd import TensorBase, no_grad
from ..autograd.calls import public_names
from ..autograd.in_place import in_place
from ..autograd.modes import mode
from ..backends import backend_for
from ..backends.device import get_default_device
from ..backends.dtypes import bfloat16, dtype_of, float16, float64, get_default_dtype, int64
from ..ops.composite.shapes import sizes
from ..typing import Device, Dtype, Shape
from .creation import constructor, size_of
from .tensor import Tensor


class Generator:
    """A stream of random numbers with its own state."""

    def __init__(self, device: Device = "cpu") -> None:
        self.device = device
        self._seed = self._numbers = None

    @property
    def numbers(self) -> np.random.Generator:
        """NumPy's generator, made when it is first used, so that np.random is imported then."""
        if mode.tape is not None:
            mode.tape.refuse("random numbers are drawn")
        if self._numbers is None:
            self.seed()
        return self._numbers

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream again at `seed`. Returns the generator."""
        self._seed = int(seed)
        self._numbers = np.random.Generator(np.random.PCG64(self._seed % 2**64))
        return self

    def seed(self) -> int:
        """Start the stream at an unpredictable seed, and return the seed."""
        return self.manual_seed(int(np.random.SeedSequence().entropy % 2**63)).initial_seed()

    def initial_seed(self) -> int:
        """The seed that the stream started with."""
        return self._seed if self._numbers is not None else self.seed()

    def get_state(self) -> Tensor:
        """The state of the stream, as a tensor of bytes."""
        numbers = self.numbers.bit_generator.state
        state = json.dumps([self._seed, numbers]).encode()
        return Tensor._wrap(np.frombuffer(state, np.uint8).copy())

    def set_state(self, state: Any) -> Generator:
        """Continue a stream where `get_state` found it. Returns the generator."""
        try:
            seed, numbers = json.loads(bytes(state.cpu().numpy()))
            self.numbers.bit_generator.state = numbers
        except (
            ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError,
        ) as error:  # fmt: skip
            raise RuntimeError(
                f"set_state: this is not the state of a generator: {error}"
            ) from None
        self._seed = seed
        return self


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Start the default stream of random numbers at `seed`. Returns its generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default stream at an unpredictable seed, and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default stream started with."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default stream, as a tensor of bytes."""
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    """Continue the default stream where `get_rng_state` found it."""
    default_generator.set_state(state)


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True) -> Iterator[None]:
    """A context after which the default stream continues as if nothing was drawn within it."""
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)


def draw_seed(generator: Generator | None = None) -> int:
    """A seed for one kernel (a dropout mask), drawn from a stream."""
    return int((generator or default_generator).numbers.integers(1 << 63))


def _draw(generator, draw, dtype, device, requires_grad=False):
    """A tensor of what `draw` takes from the stream."""
    numbers = (generator or default_generator).numbers
    out = Tensor._wrap(
        backend_for(device or get_default_device()).asarray(draw(numbers), dtype=dtype_of(dtype))
    )
    return out.requires_grad_() if requires_grad else out


def _fractions(numbers, shape, dtype):
    """Numbers from [0, 1) with as many bits as the dtype has, so that none is rounded up to 1."""
    bits = {float16: 11, bfloat16: 8}.get(dtype)
    if bits:
        return numbers.integers(1 << bits, size=shape) / (1 << bits)
    return numbers.random(shape, np.float64 if dtype is float64 else np.float32)


@constructor
def rand(*shape: Any, size: Shape | None = None, generator: Generator | None = None,
         dtype: Dtype | None = None, device: Device | None = None,
         requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Numbers from the uniform distribution over [0, 1)."""
    size, dtype = size_of(shape, size), dtype_of(dtype or get_default_dtype())
    return _draw(generator, lambda r: _fractions(r, size, dtype), dtype, device, requires_grad)


@constructor
def randn(*shape: Any, size: Shape | None = None, generator: Generator | None = None,
          dtype: Dtype | None = None, device: Device | None = None,
          requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Numbers from the normal distribution with mean 0 and variance 1."""
    size, dtype = size_of(shape, size), dtype_of(dtype or get_default_dtype())
    return _draw(generator, lambda r: _normal(r, size, dtype), dtype, device, requires_grad)


@constructor
def randint(low: int | None = None, high: Any = None, size: Shape | None = None, *,
            generator: Generator | None = None, dtype: Dtype | None = None,
            device: Device | None = None) -> Tensor:  # fmt: skip
    """Integers from low (0 if only one bound is given) up to but without high."""
    if size is None:
        high, size = None, high
    if high is None:
        low, high = None, low
    low = 0 if low is None else low
    if low >= high:
        raise RuntimeError(f"randint: there is no integer from {low} up to but without {high}")
    return _draw(generator, lambda r: r.integers(low, high, sizes((size,))), dtype or int64, device)


@constructor
def randperm(n: int, *, generator: Generator | None = None, dtype: Dtype | None = None,
             device: Device | None = None) -> Tensor:  # fmt: skip
    """The integers 0 … n − 1 in random order."""
    if n < 0:
        raise RuntimeError(f"randperm: n must be at least 0, got {n}")
    return _draw(generator, lambda r: r.permutation(n), dtype or int64, device)


def rand_like(input: Tensor, **options: Any) -> Tensor:
    """`rand` like another tensor."""
    return rand(*input.shape, **{"dtype": input.dtype, "device": input.device, **options})


def randn_like(input: Tensor, **options: Any) -> Tensor:
    """`randn` like another tensor."""
    return randn(*input.shape, **{"dtype": input.dtype, "device": input.device, **options})


def randint_like(input: Tensor, low: int = 0, high: int | None = None, **options: Any) -> Tensor:
    """`randint` like another tensor, in its dtype."""
    if high is None:
        low, high = 0, low
    where = {"dtype": input.dtype, "device": input.device}
    return randint(low, high, tuple(input.shape), **{**where, **options})


def normal(mean: Tensor | float = 0.0, std: Tensor | float = 1.0, size: Shape | None = None, *,
           generator: Generator | None = None, dtype: Dtype | None = None,
           device: Device | None = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Numbers from normal distributions; mean and std may be tensors."""
    if size is None:
        like = mean if isinstance(mean, Tensor) else std
        size = np.broadcast_shapes(getattr(mean, "shape", ()), getattr(std, "shape", ()))
        dtype, device = dtype or like.dtype, device or like.device
    _at_least_0("normal", "std", std)
    out = mean + std * randn(*sizes((size,)), generator=generator, dtype=dtype, device=device)
    return out.requires_grad_() if requires_grad else out


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """1 with the probability that `input` states for each element (or p), else 0."""
    p = input if p is None else p
    _probability("bernoulli", p)
    with no_grad():
        return (rand_like(input, dtype=_drawn(input), generator=generator) < p).to(input.dtype)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts from Poisson distributions; `input` holds the rate for each element."""
    if bool((input < 0).any()):
        raise RuntimeError("poisson: rates are at least 0")
    rates = input._as_numpy()
    return _draw(generator, lambda r: r.poisson(rates), input.dtype, input.device)


def _drawn(input):
    return input.dtype if input.is_floating_point() else get_default_dtype()


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *,
                generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Positions (…, num_samples) drawn with the weights in each row of `input` (…, n).

    Raises RuntimeError for weights that are negative, not finite or all 0, or for more samples
    than there are positive weights without replacement.
    """
    if num_samples < 1:
        raise RuntimeError(f"multinomial: at least one sample is needed, got {num_samples}")
    if input.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: one row or a matrix is needed, got {tuple(input.shape)}")
    weights = np.atleast_2d(input._as_numpy()).astype(np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any() or (weights.sum(-1) <= 0).any():
        raise RuntimeError("multinomial: weights are finite, at least 0, and not all 0")
    if not replacement and num_samples > (weights > 0).sum(-1).min(initial=num_samples):
        raise RuntimeError(
            f"multinomial: {num_samples} samples without replacement, but fewer positive weights"
        )

    def choose(r):
        if replacement or num_samples == 1:
            total = np.cumsum(weights, -1)
            spots = r.random((len(weights), num_samples)) * total[:, -1:]
            found = [np.searchsorted(t, s, side="right") for t, s in zip(total, spots)]
            last = [np.searchsorted(t, t[-1:]) for t in total]  # rounding must not go beyond it
            return np.minimum(found, last).reshape(len(weights), num_samples)
        # the k smallest of exponential numbers with rates w are a draw without replacement
        with np.errstate(divide="ignore", invalid="ignore"):
            race = r.exponential(size=weights.shape) / weights
        return np.argsort(race, -1)[:, :num_samples]

    out = _draw(generator, choose, int64, input.device)
    return out if input.ndim == 2 else out[0]


# ---- in place ------------------------------------------------------------------------


def _filled(name, draw):
    """A method that fills a tensor with what `draw(numbers, shape, dtype, …)` takes."""

    def method(
        self: Tensor, *args: Any, generator: Generator | None = None, **params: Any
    ) -> Tensor:
        numbers, dtype = (generator or default_generator).numbers, self.dtype

        def drawn(x):
            values = draw(numbers, tuple(x.shape), dtype, *args, **params)
            return Tensor._wrap(backend_for(self.device).asarray(values, dtype=dtype))

        return in_place(self, name, drawn)

    method.__name__ = name
    method.__doc__ = draw.__doc__
    setattr(Tensor, name, method)


def _normal(numbers, shape, dtype, mean=0.0, std=1.0):
    """Fill with numbers from the normal distribution. Returns the tensor."""
    _at_least_0("normal_", "std", std)
    return mean + std * numbers.standard_normal(
        shape, np.float64 if dtype is float64 else np.float32
    )


def _uniform(numbers, shape, dtype, low=0.0, to=1.0):
    """Fill from the uniform distribution over [low, to). Returns the tensor."""
    _at_least_0("uniform_", "to − from", to - low)
    return low + (to - low) * _fractions(numbers, shape, dtype)


def _bernoulli(numbers, shape, dtype, p=0.5):
    """Fill with 1 with probability p, else 0. Returns the tensor."""
    _probability("bernoulli_", p)
    return numbers.random(shape) < (p._as_numpy() if isinstance(p, TensorBase) else p)


def _random(numbers, shape, dtype, low=0, high=None):
    """Fill with integers from low (0 for one bound) up to but without high. Returns the tensor."""
    if high is None:  # as many as the dtype can tell apart
        bits = {"bool": 1, "bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}
        low, high = 0, low or 1 << bits.get(dtype.name, 8 * dtype.itemsize - dtype.is_signed)
    return numbers.integers(low, high, shape)


def _exponential(numbers, shape, dtype, lambd=1.0):
    """Fill with numbers from the exponential distribution of rate lambd. Returns the tensor."""
    return numbers.exponential(1 / lambd, shape)


def _at_least_0(name, what, value):
    if bool((value < 0).any() if isinstance(value, Tensor) else value < 0):
        raise RuntimeError(f"{name}: {what} must be at least 0, got {value}")


def _probability(name, p):
    if bool(((p < 0) | (p > 1)).any() if isinstance(p, Tensor) else not 0 <= p <= 1):
        raise RuntimeError(f"{name}: probabilities lie within 0 … 1, got {p}")


for _function in (_normal, _uniform, _bernoulli, _random, _exponential):
    _filled(_function.__name__[1:] + "_", _function)

public_names(
    globals(),
    "Generator bernoulli manual_seed multinomial normal poisson rand_like randint_like randn_like "
    "set_rng_state".split(),
)
Tensor.multinomial = multinomial
Tensor.bernoulli = bernoulli

__all__ = [
    "Generator", "bernoulli", "default_generator", "get_rng_state", "initial_seed", "manual_seed",
    "multinomial", "normal", "poisson", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm", "seed", "set_rng_state",
]  # fmt: skip
