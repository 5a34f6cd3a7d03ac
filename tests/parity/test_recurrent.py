"""Recurrent networks, packed sequences, the Transformer, and first values, against PyTorch."""

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")

KINDS = "RNN", "GRU", "LSTM"
LENGTHS = [2, 4, 1]


def array(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape)


def pair(make):
    """The same module of both packages, in float64, with the state of torch's."""
    theirs = make(torch).double()
    ours = make(mt).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    torch_again = make(torch).double()  # and back
    torch_again.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    assert repr(ours) == repr(theirs)
    return {mt: ours, torch: torch_again}


def flat(value):
    if isinstance(value, (tuple, list)):
        return [one for part in value for one in flat(part)]
    return [value] if isinstance(value, (mt.Tensor, torch.Tensor)) else []


def check(call, modules):
    """call(m, module) gives the same with both, and so do the gradients of the parameters."""
    outs = {m: flat(call(m, module)) for m, module in modules.items()}
    for m in modules:
        total = 0
        for i, out in enumerate(outs[m]):
            if out.requires_grad:
                total = total + (out * m.tensor(array(*out.shape, seed=i))).sum()
        total.backward()
    grads = {m: [p.grad for p in module.parameters()] for m, module in modules.items()}
    for kind in (outs, grads):
        assert len(kind[mt]) == len(kind[torch]) > 0
        for ours, theirs in zip(kind[mt], kind[torch]):
            np.testing.assert_allclose(
                ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-11
            )


def states(m, kind, *shape):
    one, two = (m.tensor(array(*shape, seed=seed)) for seed in (1, 2))
    return (one, two) if kind == "LSTM" else one


OPTIONS = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 3, "bias": False, "batch_first": True},
    {"num_layers": 2, "dropout": 0.5, "bidirectional": True},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_sequences(kind, options):
    modules = pair(lambda m: getattr(m.nn, kind)(5, 3, **options))
    for module in modules.values():
        module.eval()
    rows = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    check(lambda m, module: module(m.tensor(array(4, 2, 5))), modules)
    batch = 4 if options.get("batch_first") else 2
    first = (rows, batch, 3)
    check(lambda m, module: module(m.tensor(array(4, 2, 5)), states(m, kind, *first)), modules)
    check(lambda m, module: module(m.tensor(array(4, 5)), states(m, kind, rows, 3)), modules)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [LENGTHS, sorted(LENGTHS)[::-1]], ids=str)
@pytest.mark.parametrize("batch_first", [False, True])
def test_packed_sequences(kind, lengths, batch_first):
    modules = pair(
        lambda m: getattr(m.nn, kind)(5, 3, 2, bidirectional=True, batch_first=batch_first)
    )
    shape = (3, 4, 5) if batch_first else (4, 3, 5)

    def call(m, module):
        tools = m.nn.utils.rnn
        packed = tools.pack_padded_sequence(
            m.tensor(array(*shape)), m.tensor(lengths), batch_first, lengths is not LENGTHS
        )
        out, last = module(packed, states(m, kind, 4, 3, 3))
        padded = tools.pad_packed_sequence(out, batch_first, -1.0, 6)
        return out.data, out.batch_sizes, padded, last, flat(tools.unpack_sequence(out))

    check(call, modules)


def projected_states(m, rows, batch):
    return m.tensor(array(rows, *batch, 2, seed=1)), m.tensor(array(rows, *batch, 3, seed=2))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_projections(options):
    modules = pair(lambda m: m.nn.LSTM(5, 3, proj_size=2, **options))
    for module in modules.values():
        module.eval()
    rows = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    batch = 4 if options.get("batch_first") else 2
    check(lambda m, module: module(m.tensor(array(4, 2, 5))), modules)
    for shape, sizes in (((4, 2, 5), [batch]), ((4, 5), [])):
        given = lambda m: (m.tensor(array(*shape)), projected_states(m, rows, sizes))  # noqa: B023, E731
        check(lambda m, module: module(*given(m)), modules)  # noqa: B023
    weights = [[[tuple(p.shape) for p in layer] for layer in module.all_weights]
               for module in modules.values()]  # fmt: skip
    assert weights[0] == weights[1]
    assert modules[mt]._flat_weights_names == modules[torch]._flat_weights_names


def test_projections_of_packed_sequences():
    modules = pair(lambda m: m.nn.LSTM(5, 3, 2, bidirectional=True, proj_size=2))

    def call(m, module):
        given = m.tensor(array(4, 3, 5)), m.tensor(LENGTHS)
        packed = m.nn.utils.rnn.pack_padded_sequence(*given, enforce_sorted=False)
        out, last = module(packed, projected_states(m, 4, [3]))
        return out.data, last

    check(call, modules)


@pytest.mark.parametrize("kind, size", [("LSTM", 3), ("LSTM", -1), ("GRU", 2)])
def test_projections_that_cannot_be(kind, size):
    for m in (mt, torch):
        with pytest.raises(ValueError, match="proj_size"):
            getattr(m.nn, kind)(5, 3, proj_size=size)


def test_relu_networks():
    check(
        lambda m, module: module(m.tensor(array(4, 2, 5))),
        pair(lambda m: m.nn.RNN(5, 3, 2, nonlinearity="relu")),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 5), (5,)], ids=str)
def test_cells(kind, bias, shape):
    modules = pair(lambda m: getattr(m.nn, kind + "Cell")(5, 3, bias))
    check(lambda m, cell: cell(m.tensor(array(*shape))), modules)
    first = (*shape[:-1], 3)
    check(lambda m, cell: cell(m.tensor(array(*shape)), states(m, kind, *first)), modules)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(batch_first, side):
    def call(m):
        parts = [m.tensor(array(n, 2, seed=n)) for n in LENGTHS]
        padded = m.nn.utils.rnn.pad_sequence(parts, batch_first, -1.0, side)
        whole = m.nn.utils.rnn.pad_sequence(parts, batch_first)
        lengths = m.tensor(LENGTHS)
        return padded, *m.nn.utils.rnn.unpad_sequence(whole, lengths, batch_first)

    for ours, theirs in zip(call(mt), call(torch), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


# ---- the Transformer -----------------------------------------------------------------


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")
def test_transformer(norm_first, batch_first):
    modules = pair(
        lambda m: m.nn.Transformer(
            8, 2, 2, 1, 16, 0.0, "gelu", norm_first=norm_first, batch_first=batch_first
        )
    )
    padding = np.array([[False] * 3, [False, False, True], [False] * 3])[: 3 if batch_first else 2]

    def call(m, module):
        source, target = m.tensor(array(3, 3, 8)), m.tensor(array(3, 3, 8, seed=1))
        if not batch_first:
            source, target = source[:, :2], target[:, :2]
        mask = m.nn.Transformer.generate_square_subsequent_mask(3).double()
        return module(source, target, tgt_mask=mask, src_key_padding_mask=m.tensor(padding))

    check(call, modules)


def test_parameters_as_a_vector():
    modules = pair(lambda m: m.nn.GRU(3, 2))
    vectors = {m: m.nn.utils.parameters_to_vector(net.parameters()) for m, net in modules.items()}
    np.testing.assert_array_equal(*(v.detach().numpy() for v in vectors.values()))
    for m, net in modules.items():
        m.nn.utils.vector_to_parameters(2 * vectors[m].detach(), net.parameters())
    ours, theirs = ([p.detach().numpy() for p in net.parameters()] for net in modules.values())
    for a, b in zip(ours, theirs):
        np.testing.assert_array_equal(a, b)


# ---- first values --------------------------------------------------------------------

FIRST_VALUES = {
    "Conv1d": lambda nn: nn.Conv1d(20, 60, 5, groups=2),
    "Conv2d": lambda nn: nn.Conv2d(20, 40, 3),
    "ConvTranspose1d": lambda nn: nn.ConvTranspose1d(40, 30, 5),
    "ConvTranspose2d": lambda nn: nn.ConvTranspose2d(40, 30, 3),
    "RNN": lambda nn: nn.RNN(50, 60),
    "GRU": lambda nn: nn.GRU(30, 50, bidirectional=True),
    "LSTM": lambda nn: nn.LSTM(30, 40, 2),
    "LSTMCell": lambda nn: nn.LSTMCell(40, 40),
    "GRUCell": lambda nn: nn.GRUCell(40, 40),
    "RNNCell": lambda nn: nn.RNNCell(60, 60),
    "Bilinear": lambda nn: nn.Bilinear(12, 14, 30),
    "EmbeddingBag": lambda nn: nn.EmbeddingBag(80, 50),
    "Embedding": lambda nn: nn.Embedding(80, 50, padding_idx=1),
    "Linear": lambda nn: nn.Linear(60, 70),
    "PReLU": lambda nn: nn.PReLU(9, 0.3),
    "BatchNorm1d": lambda nn: nn.BatchNorm1d(9),
    "GroupNorm": lambda nn: nn.GroupNorm(3, 9),
    "InstanceNorm2d": lambda nn: nn.InstanceNorm2d(9, affine=True),
    "LayerNorm": lambda nn: nn.LayerNorm(9),
    "MultiheadAttention": lambda nn: nn.MultiheadAttention(48, 4),
    "TransformerDecoderLayer": lambda nn: nn.TransformerDecoderLayer(32, 4, 60),
    "Transformer": lambda nn: nn.Transformer(32, 4, 1, 1, 50),
}


@pytest.mark.parametrize("name", FIRST_VALUES)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")
def test_first_values(name):
    """Two samples of one distribution: Kolmogorov and Smirnov's distance stays small."""
    mt.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = (dict(FIRST_VALUES[name](m.nn).named_parameters()) for m in (mt, torch))
    assert {k: tuple(v.shape) for k, v in ours.items()} == {
        k: tuple(v.shape) for k, v in theirs.items()
    }
    for key, p in ours.items():
        a, b = (np.sort(v.detach().numpy().ravel()) for v in (p, theirs[key]))
        if a.std() == 0 or b.std() == 0:
            np.testing.assert_array_equal(a, b)
            continue
        everything = np.concatenate([a, b])
        below = [np.searchsorted(v, everything, "right") / len(v) for v in (a, b)]
        distance = np.abs(below[0] - below[1]).max()
        assert distance < 2.2 * np.sqrt(2 / len(a)), key  # chance: below 1 in 5,000
        assert abs(np.abs(a).max() / np.abs(b).max() - 1) < 0.5, key
