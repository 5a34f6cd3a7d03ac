"""A replay gives, bit for bit, what the function itself gives, or lets the function run."""

import functools
import re

import numpy as np
import pytest
from cases import CASES

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn
from models import GPT2, GPT2Config, MiniGPT, MiniGPTConfig, ModernMiniGPT, ModernMiniGPTConfig

MODELS = {MiniGPT: MiniGPTConfig, GPT2: GPT2Config, ModernMiniGPT: ModernMiniGPTConfig}


class Counted(nn.Module):
    """A module that counts how often its program ran."""

    def __init__(self, body=None):
        super().__init__()
        self.one, self.runs, self.body = nn.Linear(3, 4), 0, body
        self.register_buffer("scale", mt.tensor([2.0]))

    def forward(self, x):
        self.runs += 1
        return self.body(self, x) if self.body else self.one(x).relu() * self.scale + 1


def replayed(body=None):
    """A module and its replay, which ran once."""
    mt.manual_seed(0)
    module = Counted(body)
    replay = nn.Replay(module, module)
    with mt.no_grad():
        replay(mt.randn(2, 3))
    return module, replay


@mt.no_grad()
def assert_same(module, replay, runs, x=None):
    """The replay gives what the module gives; its program ran so many times."""
    x = mt.randn(2, 3) if x is None else x
    before = module.runs
    ours = replay(x)
    assert module.runs - before == runs
    exact = module(x)
    assert ours.dtype is exact.dtype and ours.shape == exact.shape
    np.testing.assert_array_equal(ours.numpy(), exact.numpy())


# ---- models ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_texts_are_the_same(model, batch, monkeypatch):
    """With a prompt of several tokens, until the context is full and beyond."""
    sizes = {"vocab_size": 11, "context_length": 12, "d_model": 16, "n_heads": 4, "n_layers": 2}
    mt.manual_seed(0)
    model = model(MODELS[model](**sizes)).eval()
    idx, texts, runs = mt.randint(11, (batch, 3)), [], []
    forward = type(model).forward
    monkeypatch.setattr(
        type(model), "forward", lambda *args, **kw: runs.append(1) or forward(*args, **kw)
    )
    for model.replays in (True, False):
        options = {"temperature": 0.9, "generator": mt.Generator().manual_seed(1)}
        texts.append([t.tolist() for t in model.generate(idx, 20, **options)])
        runs.append(-1)
    assert texts[0] == texts[1]
    # The prompt, one single token, and the full context for each token after it; or all of them.
    assert runs == [1] * (1 + 1 + 10) + [-1] + [1] * 20 + [-1]


@pytest.mark.parametrize("model", MODELS)
def test_logits_are_the_same(model):
    mt.manual_seed(0)
    sizes = {"vocab_size": 11, "context_length": 30, "d_model": 16, "n_heads": 4, "n_layers": 2}
    model = model(MODELS[model](**sizes)).eval()
    caches = [model.new_cache(2) for _ in range(2)]
    replay = nn.Replay(model, lambda idx: model(idx, cache=caches[0]))
    with mt.no_grad():
        for _ in range(30):
            idx = mt.randint(11, (2, 1))
            a, b = replay(idx), model(idx, cache=caches[1])
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert replay.refused is None and caches[0].length == 30


def test_a_token_out_of_range_is_named():
    model = MiniGPT(MiniGPTConfig(11, 8, 16, 4, 1)).eval()
    cache = model.new_cache(1)
    replay = nn.Replay(model, lambda idx: model(idx, cache=cache))
    with mt.no_grad():
        replay(mt.tensor([[1]]))
        with pytest.raises(IndexError, match=r"embedding: index 11 is out of range.*\(1, 1\)"):
            replay(mt.tensor([[11]]))


# ---- what may change ---------------------------------------------------------------------------


def test_other_inputs():
    module, replay = replayed()
    for _ in range(3):
        assert_same(module, replay, 0)
    assert replay.refused is None


def test_other_shapes_and_dtypes_run_the_function():
    module, replay = replayed()
    assert_same(module, replay, 1, mt.randn(5, 3))
    assert_same(module, replay, 0, mt.randn(5, 3))
    module.double()
    assert_same(module, replay, 1, mt.randn(5, 3, dtype=mt.float64))


def test_parameters_and_buffers_are_read_anew():
    module, replay = replayed()
    with mt.no_grad():
        module.one.weight.mul_(2)
    assert_same(module, replay, 0)
    for _ in range(2):
        module.one.bias.data = mt.ones(4)  # other memory
        assert_same(module, replay, 0)
        assert_same(module, replay, 0)
    module.load_state_dict({k: v + 1 for k, v in module.state_dict().items()})
    assert_same(module, replay, 0)
    module.one = nn.Linear(3, 4)
    assert_same(module, replay, 1)
    module.register_buffer("scale", mt.tensor([3.0]))
    assert_same(module, replay, 1)


def test_memory_is_not_shared_with_the_caller():
    linear = nn.Linear(3, 3)
    replay, x = nn.Replay(linear, lambda x: linear(x) + x), mt.randn(2, 3)
    with mt.no_grad():
        given = [x.clone(), mt.randn(2, 3), mt.randn(2, 3)]
        values = [replay(x), *map(replay, given[1:])]
        x.zero_()
        values[1].zero_()
        values.append(replay(given[0]))
        assert values[0].equal(linear(given[0]) + given[0]) and values[3].equal(values[0])
        assert values[2].equal(linear(given[2]) + given[2]) and not values[1].any()


def test_hooks_are_heard():
    module, replay = replayed()
    heard = []
    handle = module.one.register_forward_hook(lambda *call: heard.append(call))
    assert_same(module, replay, 1)
    assert_same(module, replay, 1)
    assert len(heard) == 4 and replay.refused == "a hook listens"
    handle.remove()
    assert_same(module, replay, 1)


def test_gradients_and_anomalies_run_the_function():
    module, replay = replayed()
    x = mt.randn(2, 3, requires_grad=True)
    replay(x).sum().backward()
    assert x.grad is not None and module.runs == 2
    module, replay = replayed(lambda m, x: x.exp().log())
    with mt.no_grad(), mt.autograd.detect_anomaly(), pytest.raises(RuntimeError, match="exp.*inf"):
        replay(mt.full((2, 3), 1000.0))


# ---- kernels that write where they wrote before ------------------------------------------------


PLANNED = {
    "linear": lambda m, x: m["linear"](x),
    "linear without bias": lambda m, x: m["bare"](x),
    "a weight turned": lambda m, x: F.linear(x, m["bare"].weight.T),
    "layer norm": lambda m, x: m["layer norm"](x),
    "layer norm without weight": lambda m, x: F.layer_norm(x, (x.shape[-1],)),
    "rms norm": lambda m, x: m["rms norm"](x),
    "gelu": lambda m, x: F.gelu(x),
    "gelu, tanh": lambda m, x: F.gelu(x, approximate="tanh"),
    "add, mul": lambda m, x: (x + m["linear"].bias) * x,
    "of a part": lambda m, x: F.gelu(x[..., ::2]) + m["layer norm"](x)[..., 1::2],
    "one after the other": lambda m, x: x + m["linear"](F.gelu(m["layer norm"](x + x))) * x,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [mt.float32, mt.float64, mt.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1, 160), (160,), (3, 160), (2, 1, 6), (1, 6)])
@pytest.mark.parametrize("name", PLANNED)
def test_planned_kernels(name, shape, dtype):
    """Whether the loops are large enough to be compiled or not, and of one row or more."""
    mt.manual_seed(0)
    n = shape[-1]
    module = nn.ModuleDict({
        "linear": nn.Linear(n, n), "bare": nn.Linear(n, n, bias=False),
        "layer norm": nn.LayerNorm(n), "rms norm": nn.RMSNorm(n),
    }).to(dtype)  # fmt: skip
    function = functools.partial(PLANNED[name], module)
    replay = nn.Replay(module, function)
    with mt.no_grad():
        for p in module.parameters():
            p.normal_()
        for _ in range(3):
            x = mt.randn(shape, dtype=dtype)
            assert replay(x).equal(function(x))
    assert replay.refused is None


# ---- what cannot be replayed -------------------------------------------------------------------


def with_autocast(module, x):
    with mt.autocast("cpu", dtype=mt.bfloat16):
        return module(x) @ module.weight


def counted(module):
    module.scale = module.scale + 1
    return module.scale


@pytest.mark.parametrize(
    "body, reason",
    [
        (lambda m, x: F.dropout(x, 0.5), "random numbers are drawn"),
        (lambda m, x: x if x.sum() > 0 else -x, "the elements of a tensor are read"),
        (lambda m, x: x * float(x[0, 0]), "the elements of a tensor are read"),
        (lambda m, x: x * mt.tensor(x.numpy()), "the elements of a tensor are read"),
        (lambda m, x: x.clone().mul_(2), "mul_ changes a tensor in place"),
        (lambda m, x: x * mt.ones(3), r"a tensor of shape \(3,\) is no input"),
        (lambda m, x: x[x > 0], "getitem has an array among its parameters"),
        (lambda m, x: mt.where(x > 0, x, 0.0), "where has an array among its parameters"),
        (lambda m, x: x * np.ones(3, "f"), "an array comes from outside"),
        (lambda m, x: x.detach() * 2, r"a tensor of shape \(2, 3\) is no input"),
        (lambda m, x: (x, x * 2)[0].detach(), "the value is not what an operation gave"),
        (lambda m, x: with_autocast(m.one, x), "gradients, or autocast, are switched on within"),
        (lambda m, x: mt.enable_grad()(m.one)(x), "gradients, or autocast, are switched on within"),
        (lambda m, x: x * counted(m), "a part of a module came or went"),
    ],
)
def test_what_is_refused_runs(body, reason):
    module, replay = replayed(body)
    assert re.search(reason, replay.refused)
    mt.manual_seed(1)
    before = module.runs
    with mt.no_grad():
        replay(mt.randn(2, 3))
    assert module.runs == before + 1


@pytest.mark.parametrize(
    "body",
    [
        lambda m, x: x,
        lambda m, x: x.sum() * 2,
        lambda m, x: x.mean().exp() + x,
        lambda m, x: x.unbind(1)[1] + x.split(1, 1)[0][:, 0],
        lambda m, x: x.max(1).values * x.argmax(1),
        lambda m, x: x * 2 + 1 / x - (x > 0) * 3,
        lambda m, x: (x * 9).long() // 2,
        lambda m, x: x.double() + x,
        lambda m, x: mt.cat([x, x + 1]).reshape(-1, 2).T,
        lambda m, x: F.softmax(x, dim=-1) @ m.one.weight.T,
        lambda m, x: F.scaled_dot_product_attention(x[None], x[None], x[None], is_causal=True),
    ],
)
def test_operations(body):
    module, replay = replayed(body)
    assert replay.refused is None
    for _ in range(2):
        assert_same(module, replay, 0)


def test_a_buffer_that_the_function_sets_anew():
    module, replay = replayed(lambda m, x: x * counted(m))
    with mt.no_grad():
        assert [replay(mt.ones(2, 3))[0, 0].item() for _ in range(3)] == [4.0, 5.0, 6.0]


def test_an_input_that_the_function_changes():
    """The first call is the function's own, on the caller's own tensors."""
    replay = nn.Replay(nn.Linear(1, 1), lambda x, y: x.add_(1) + y)
    with mt.no_grad():
        x = mt.zeros(3)
        assert [replay(x, x).tolist() for _ in range(3)] == [[2.0] * 3, [4.0] * 3, [6.0] * 3]
        assert x.tolist() == [3.0] * 3
        same = nn.Replay(nn.Linear(1, 1), lambda x: mt.add(x, 1, out=x))
        assert same(x) is x and same(x) is x and x.tolist() == [5.0] * 3


def test_statistics_that_a_module_keeps():
    """BatchNorm changes its buffers: refused, and nothing of the caller's is touched."""
    norm, w, y = nn.BatchNorm1d(3), mt.ones(4, 3, requires_grad=True), mt.randn(4, 3)
    z, replay = (w * y).sum(), nn.Replay(norm, norm)
    with mt.no_grad():
        replay(y), replay(y)
    z.backward()
    assert norm.num_batches_tracked == 2 and w.grad.equal(y) and replay.refused


def test_what_is_no_tensor_or_no_module_is_refused():
    with mt.no_grad(), pytest.raises(TypeError, match="Replay: Tensors are needed, got 3"):
        nn.Replay(nn.Linear(1, 1), lambda x: x)(3)
    with pytest.raises(TypeError, match="Replay: a Module is needed, got function"):
        nn.Replay(lambda x: x, lambda x: x)


def test_a_full_cache_is_named():
    module, cache = nn.Linear(4, 4), nn.KVCache(1, 1, 1, 2, 4, mt.zeros(1))
    replay, x = nn.Replay(module, lambda x: cache.layers[0].attend(module(x), x, x)), mt.ones(4)
    with mt.no_grad():
        for _ in range(2):
            replay(x.view(1, 1, 1, 4))
        with pytest.raises(ValueError, match="KVCache: 3 tokens do not fit room for 2"):
            replay(x.view(1, 1, 1, 4))


def test_another_shape_than_in_the_first_call_is_named():
    """Of what depends on the elements, a Replay knows nothing."""
    replay = nn.Replay(nn.Linear(1, 1), lambda x: x.nonzero() * 2)
    with mt.no_grad():
        for _ in range(2):
            replay(mt.ones(3))
        with pytest.raises(RuntimeError, match=r"nonzero: an earlier call gave shape \(3, 1\)"):
            replay(mt.tensor([1.0, 0.0, 1.0]))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_every_operation(case):
    """The rows of the case table: replayed with the same numbers and with others, or refused."""
    inputs = [mt.tensor(i) if isinstance(i, np.ndarray) else i for i in case.arrays("float32")]
    tensors = [i for i in inputs if isinstance(i, mt.Tensor)]

    def function(*given):
        given = iter(given)
        return case(mt, *[next(given) if isinstance(i, mt.Tensor) else i for i in inputs])[0]

    replay = nn.Replay(nn.Linear(1, 1), function)
    turned = [t.flip(0) if t.ndim and t.dtype.is_floating_point else t for t in tensors]
    with mt.no_grad():
        for given in (tensors, turned, tensors) if tensors else ():
            np.testing.assert_array_equal(replay(*given).numpy(), function(*given).numpy())


def test_a_function_that_failed_is_not_replayed():
    module, replay = replayed(lambda m, x: x @ mt.nn.Parameter(mt.ones(3, 3)))
    replay = nn.Replay(module, lambda x: x.reshape(7))
    for _ in range(2):
        with mt.no_grad(), pytest.raises(RuntimeError, match="reshape"):
            replay(mt.randn(2, 3))
    assert mt.autograd.modes.mode.tape is None


def test_a_function_that_failed_for_other_inputs():
    """What was written down until then is forgotten."""
    linear = nn.Linear(3, 3)

    def function(x):
        return linear(x).relu() if len(x) < 3 else linear(x).tanh().reshape(7)

    replay, x = nn.Replay(linear, function), mt.randn(2, 3)
    with mt.no_grad():
        for _ in range(2):
            assert replay(x).equal(function(x))
            with pytest.raises(RuntimeError, match="reshape"):
                replay(mt.randn(4, 3))
