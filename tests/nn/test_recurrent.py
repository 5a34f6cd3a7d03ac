"""Recurrent networks: cells and sequences agree, padding has no say, errors say what is wrong."""

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn
from microtensor.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
)  # fmt: skip

KINDS = "RNN", "GRU", "LSTM"


@pytest.fixture(autouse=True)
def seed():
    mt.manual_seed(0)


def close(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_is_a_cell_again_and_again(kind):
    net, cell = getattr(nn, kind)(3, 4).double(), getattr(nn, kind + "Cell")(3, 4).double()
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in net.state_dict().items()})
    x = mt.randn(5, 2, 3, dtype=mt.float64)
    y, last = net(x)
    state = None
    for t in range(5):
        state = cell(x[t], state)
        close(y[t], state[0] if kind == "LSTM" else state)
    for a, b in zip(last, state) if kind == "LSTM" else [(last, state)]:
        close(a[0], b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences_are_as_if_alone(kind, bidirectional):
    net = getattr(nn, kind)(3, 4, 2, bidirectional=bidirectional).double()
    parts = [mt.randn(n, 3, dtype=mt.float64) for n in (2, 5, 3)]
    y, last = net(pack_sequence(parts, enforce_sorted=False))
    assert isinstance(y, PackedSequence)
    for i, (part, out) in enumerate(zip(parts, unpack_sequence(y), strict=True)):
        alone, end = net(part)
        close(out, alone)
        for a, b in zip(last, end) if kind == "LSTM" else [(last, end)]:
            close(a[:, i], b)


def test_dropout_acts_between_layers_in_training():
    net = nn.GRU(3, 50, 2, dropout=0.5)
    x = mt.randn(4, 2, 3)
    assert not mt.equal(net(x)[0], net(x)[0])
    net.eval()
    assert mt.equal(net(x)[0], net(x)[0])
    with pytest.warns(UserWarning, match="between layers"):
        nn.LSTM(3, 4, dropout=0.5)


def test_padding_and_packing():
    parts = [mt.arange(n) + 10 * n for n in (1, 3, 2)]
    padded = pad_sequence(parts, batch_first=True, padding_value=-1)
    assert padded.tolist() == [[10, -1, -1], [30, 31, 32], [20, 21, -1]]
    left = pad_sequence(parts, True, padding_side="left")
    assert left.tolist() == [[0, 0, 10], [30, 31, 32], [0, 20, 21]]
    packed = pack_padded_sequence(padded, [1, 3, 2], batch_first=True, enforce_sorted=False)
    assert packed.data.tolist() == [30, 20, 10, 31, 21, 32]
    assert packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.to(mt.float64).data.dtype is mt.float64
    again, lengths = pad_packed_sequence(packed, batch_first=True, total_length=4)
    assert again.tolist() == [[10, 0, 0, 0], [30, 31, 32, 0], [20, 21, 0, 0]]
    assert lengths.tolist() == [1, 3, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays(kind):
    net = getattr(nn, kind)(3, 4, bidirectional=True)
    y, last = net(mt.randn(5, 2, 3))
    y.sum().backward()
    tensors = [y, *(last if kind == "LSTM" else [last]), *(p.grad for p in net.parameters())]
    assert {t.dtype for t in tensors} == {mt.float32}


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: nn.GRU(3, 4)(mt.ones(5, 2, 4)), RuntimeError, "inputs of 3 features"),
        (lambda: nn.GRU(3, 4)(mt.ones(3)), ValueError, "3 dimensions, or 2"),
        (lambda: nn.GRU(3, 4)(mt.ones(0, 2, 3)), RuntimeError, "at least one step"),
        (lambda: nn.GRU(3, 4)(mt.ones(5, 2, 3), mt.ones(1, 3, 4)), RuntimeError, r"\(1, 2, 4\)"),
        (lambda: nn.LSTMCell(3, 4)(mt.ones(1, 2, 3)), ValueError, "LSTMCell: an input"),
        (lambda: nn.RNN(3, 4, nonlinearity="gelu")(mt.ones(2, 3)), ValueError, "'gelu'"),
        (lambda: nn.RNN(3, 0), ValueError, "above 0"),
        (lambda: nn.RNN(0, 3), ValueError, "input_size is above 0, got 0"),
        (lambda: nn.RNN(2, 3, bias=1), TypeError, "bias is of type bool, got 1"),
        (lambda: nn.LSTM(3, 4, proj_size=5), ValueError, "proj_size"),
        (lambda: pad_sequence([]), RuntimeError, "at least one"),
        (lambda: pad_sequence([mt.ones(1)], padding_side="top"), ValueError, "'top'"),
        (lambda: pack_padded_sequence(mt.ones(3, 2), [1, 2]), RuntimeError, "must descend"),
        (lambda: pack_padded_sequence(mt.ones(3, 2), [4, 2]), RuntimeError, "1 … 3"),
        (lambda: pack_padded_sequence(mt.ones(3, 2), [2]), ValueError, "2 lengths"),
        (
            lambda: pad_packed_sequence(pack_sequence([mt.ones(3)]), total_length=2),
            ValueError,
            "total_length",
        ),
    ],
)
def test_errors_say_what_is_wrong(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
