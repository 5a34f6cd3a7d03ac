"""Recurrent networks: RNN, GRU and LSTM over sequences, and their cells for a single step.

The inputs of all times are multiplied with their weights at once; the remaining loop over time, and
its derivative, are in `ops/recurrent.py`.
"""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..autograd.errors import warn
from ..autograd.modes import mode
from ..tensor.creation import arange, empty, zeros
from ..typing import Device, Dtype, Tensor
from . import functional as F
from . import init
from .module import Module, Parameter
from .utils.rnn import PackedSequence, pad_packed_sequence


class _Recurrent(Module):
    """Base of networks and cells: weights for gates·H outputs, and one layer's computation."""

    gates = 1
    state_count = 1  # LSTM has two states, h and c
    proj_size = 0  # LSTM may shrink its h to this size

    def _add_weights(self, suffix, inputs, bias, device, dtype):
        n = self.gates * self.hidden_size
        shapes = {"weight_ih": (n, inputs), "weight_hh": (n, self._sizes()[0])}
        for name in ("bias_ih", "bias_hh"):
            shapes[name] = (n,) if bias else None
        if self.proj_size:
            shapes["weight_hr"] = self.proj_size, self.hidden_size
        for name, shape in shapes.items():
            parameter = Parameter(empty(shape, device=device, dtype=dtype)) if shape else None
            self.register_parameter(name + suffix, parameter)

    def reset_parameters(self) -> None:
        """Draw all weights and biases anew: uniform in ±1/√hidden_size."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0.0
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _sizes(self):
        """The size of each state."""
        return [self.proj_size or self.hidden_size, self.hidden_size][: self.state_count]

    def _layer(self, x, states, suffix="", keep=None, reverse=False):
        """All outputs (T, N, H) of one layer for inputs (T, N, …), and its last states."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        w_in, w, b_in, b = (getattr(self, name + suffix) for name in names)
        if x.shape[-1] != w_in.shape[1]:
            raise RuntimeError(
                f"{type(self).__name__}: inputs of {w_in.shape[1]} features are needed, got shape "
                f"{tuple(x.shape)}"
            )
        if self.proj_size:
            return self._projected(x, states, w_in, w, b_in, b, keep, reverse, suffix)
        return self._run(x, states, w_in, w, b_in, b, keep, reverse)

    def _checked(self, states, shape, like):
        """The given states, checked to have `shape` and their size; zeros without any."""
        shapes = [(*shape, size) for size in self._sizes()]
        if states is None:
            return [zeros(shape, dtype=like.dtype, device=like.device) for shape in shapes]
        states = [states] if self.state_count == 1 else list(states)
        for s, shape in zip(states, shapes):
            if tuple(s.shape) != shape:
                raise RuntimeError(
                    f"{type(self).__name__}: a state of shape {shape} is needed, got "
                    f"{tuple(s.shape)}"
                )
        return states


class _RNN(_Recurrent):
    """The computation of an RNN: hₜ = tanh(W x + b + W′ hₜ₋₁ + b′), or relu."""

    nonlinearity = "tanh"

    def _run(self, x, states, w_in, w, b_in, b, keep, reverse):
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f'the nonlinearity is "tanh" or "relu", got {self.nonlinearity!r}')
        x = ops.linear(x, w_in, _sum(b_in, b))
        y = ops.rnn_(x, *states, w, keep, self.nonlinearity == "relu", reverse)
        return y, [y[0 if reverse else -1]]


class _GRU(_Recurrent):
    """The computation of a GRU: see `ops.recurrent.gru_`."""

    gates = 3

    def _run(self, x, states, w_in, w, b_in, b, keep, reverse):
        y = ops.gru_(ops.linear(x, w_in, b_in), *states, w, b, keep, reverse)
        y = y.type_as(states[0]) if mode.autocast else y  # which casts the states
        return y, [y[0 if reverse else -1]]


class _LSTM(_Recurrent):
    """The computation of an LSTM: see `ops.recurrent.lstm_`."""

    gates = 4
    state_count = 2

    def _run(self, x, states, w_in, w, b_in, b, keep, reverse):
        y, c = ops.lstm_(ops.linear(x, w_in, _sum(b_in, b)), *states, w, keep, reverse)
        return y, [y[0 if reverse else -1], c]

    def _projected(self, x, states, w_in, w, b_in, b, keep, reverse, suffix):
        """hₜ = R rₜ (arXiv:1402.1128): as W h = (W R) r, it is an LSTM of r with the weight W R.

        The initial h, which is not R times an r, is added to the first input as W h.
        """
        h, c = states
        r = getattr(self, "weight_hr" + suffix)
        x = ops.linear(x, w_in, _sum(b_in, b))
        begins = arange(len(x), device=x.device)[:, None, None] == (len(x) - 1 if reverse else 0)
        if keep is not None and reverse:  # each sequence begins at its own last step
            begins = keep & ~ops.cat([keep[1:], keep[:1] & False])
        x = x + ops.where(begins, h @ w.T, 0.0)
        y, c = ops.lstm_(x, h.new_zeros(c.shape), c, w @ r, keep, reverse)
        y = y @ r.T
        return y, [y[0 if reverse else -1], c]


def _sum(a, b):
    return None if a is None else a + b


# ---- over sequences ------------------------------------------------------------------


class RNNBase(_Recurrent):
    """A stack of recurrent layers, in both directions if bidirectional.

    input (T, N, input_size), or (N, T, input_size) with `batch_first`, or (T, input_size), or a
    PackedSequence. Returns the outputs of the last layer, (…, hidden_size), with the two directions
    concatenated, and the last states (layers·directions, N, hidden_size). States start at zero
    unless given. `dropout` is the share dropped between layers in training. An LSTM with
    `proj_size` projects its outputs, and its state h, to that size.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 proj_size: int = 0, device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        for what, value in {**sizes, "bias": bias, "batch_first": batch_first}.items():
            kind = int if what in sizes else bool
            if not isinstance(value, kind):
                raise TypeError(f"{name}: {what} is of type {kind.__name__}, got {value!r}")
            if what in sizes and value <= 0:
                raise ValueError(f"{name}: {what} is above 0, got {value}")
        if proj_size and (self.state_count == 1 or not 0 < proj_size < hidden_size):
            raise ValueError(f"{name}: an LSTM's proj_size is below hidden_size, got {proj_size}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout lies within 0 … 1, got {dropout}")
        if dropout and num_layers == 1:
            warn(f"{name}: dropout acts between layers, and there is one")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.proj_size = bias, batch_first, proj_size
        self.dropout, self.bidirectional = float(dropout), bidirectional
        self._directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            for end in self._directions:
                inputs = self._sizes()[0] * len(self._directions) if layer else input_size
                self._add_weights(f"_l{layer}{end}", inputs, bias, device, dtype)
        self.reset_parameters()

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction."""
        ends = [f"_l{i}{end}" for i in range(self.num_layers) for end in self._directions]
        named = self._parameters.items()
        return [[p for n, p in named if p is not None and n.split("_", 2)[2] == e[1:]]
                for e in ends]  # fmt: skip

    @property
    def _flat_weights_names(self):  # used by programs that initialise them one by one
        return [name for name, p in self._parameters.items() if p is not None]

    def flatten_parameters(self) -> None:
        """Does nothing: in PyTorch it arranges the weights for a GPU library."""

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """(outputs, last states); for an LSTM the states are a pair (h, c), given and returned."""
        packed = isinstance(input, PackedSequence)
        x, keep = input, None
        if packed:
            x, lengths = pad_packed_sequence(input)
            keep = (arange(len(x))[:, None] < lengths)[..., None]
        elif x.ndim not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: an input of 3 dimensions, or 2 without a batch, is "
                f"needed, got shape {tuple(x.shape)}"
            )
        batched = packed or x.ndim == 3
        if not batched:
            x = x[:, None]
            hx = _each(hx, lambda h: h[:, None])
        elif self.batch_first and not packed:
            x = x.transpose(0, 1)
        if not len(x):
            raise RuntimeError(f"{type(self).__name__}: a sequence of at least one step is needed")
        y, last = self._through_layers(x, hx, keep)
        if not batched:
            y, last = y[:, 0], [s[:, 0] for s in last]
        elif packed:
            if input.sorted_indices is not None:
                y, keep = y[:, input.sorted_indices], keep[:, input.sorted_indices]
            y = input._replace(data=y[keep[..., 0]])
        elif self.batch_first:
            y = y.transpose(0, 1)
        return y, last[0] if self.state_count == 1 else tuple(last)

    def _through_layers(self, x, hx, keep):
        shape = self.num_layers * len(self._directions), x.shape[1]
        states = [ops.unbind(s) for s in self._checked(hx, shape, x)]
        last = []
        for layer in range(self.num_layers):
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            directions = []
            for end in self._directions:
                first = [s[len(last)] for s in states]
                y, final = self._layer(x, first, f"_l{layer}{end}", keep, end == "_reverse")
                directions.append(y)
                last.append(final)
            x = directions[0] if len(directions) == 1 else ops.cat(directions, -1)
        return x, [ops.stack(s) for s in zip(*last)]

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        shown = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False,
                 "dropout": 0.0, "bidirectional": False}  # fmt: skip
        for name, usual in shown.items():
            if getattr(self, name) != usual:
                parts.append(f"{name}={getattr(self, name)}")
        return ", ".join(parts)


def _each(states, change):
    """`change` applied to the states: one, a pair of them, or None."""
    if states is None:
        return None
    return tuple(map(change, states)) if isinstance(states, (tuple, list)) else change(states)


class RNN(RNNBase, _RNN):
    __doc__ = RNNBase.__doc__

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1,
                 nonlinearity: str = "tanh", bias: bool = True, batch_first: bool = False,
                 dropout: float = 0.0, bidirectional: bool = False, device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, 0, device, dtype)  # fmt: skip
        self.nonlinearity = nonlinearity


class GRU(RNNBase, _GRU):
    __doc__ = RNNBase.__doc__


class LSTM(RNNBase, _LSTM):
    __doc__ = RNNBase.__doc__


# ---- one step ------------------------------------------------------------------------


class RNNCellBase(_Recurrent):
    """One step: input (N, input_size) or (input_size), state (…, hidden_size), zero unless given.

    Returns the next state; an LSTM's is a pair (h, c).
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True,
                 device: Device | None = None, dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self._add_weights("", input_size, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """The next state."""
        batched = input.ndim == 2
        for x in (input, *(hx if isinstance(hx, (tuple, list)) else [hx] * (hx is not None))):
            if x.ndim not in (1, 2):
                raise ValueError(
                    f"{type(self).__name__}: an input (N, {self.input_size}) or "
                    f"({self.input_size}), and states like it, are needed, got {tuple(x.shape)}"
                )
        if not batched:
            input, hx = input[None], _each(hx, lambda h: h[None])
        states = self._checked(hx, (len(input),), input)
        new = self._layer(input[None], states)[1]
        states = [s.type_as(states[0]) for s in new] if mode.autocast else new
        states = states if batched else [s[0] for s in states]
        return states[0] if self.state_count == 1 else tuple(states)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase, _RNN):
    __doc__ = RNNCellBase.__doc__

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True,
                 nonlinearity: str = "tanh", device: Device | None = None,
                 dtype: Dtype | None = None) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity


class GRUCell(RNNCellBase, _GRU):
    __doc__ = RNNCellBase.__doc__


class LSTMCell(RNNCellBase, _LSTM):
    __doc__ = RNNCellBase.__doc__
