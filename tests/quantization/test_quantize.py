"""Quantized weights: their numbers, that they are read back exactly, and what they refuse."""

import copy
import math

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn
from microtensor.backends import NumPyBackend, backend_for
from microtensor.backends.weights import FEW, FloatWeight, Int4Weight, Int8Weight
from microtensor.quantization import (
    Int4WeightOnlyConfig,
    Int8WeightOnlyConfig,
    is_quantized,
    load_quantized,
    quantize_,
    weight_bytes,
)
from models import GPT2, GPT2Config
from models.ladder import RUNGS

CONFIGS = [Int8WeightOnlyConfig(), Int4WeightOnlyConfig(32), Int4WeightOnlyConfig(64)]
SHAPES = [(1, 1), (5, 3), (33, 70), (13, 129), (64, 128), (24, 344)]


class Mine(nn.Module):
    """A module of somebody's own, which uses a weight in its own ways."""

    def __init__(self):
        super().__init__()
        self.table, self.up = nn.Embedding(30, 40), nn.Linear(40, 50)
        self.norm, self.free = nn.LayerNorm(50), nn.Parameter(mt.randn(50, 40))

    def forward(self, idx, targets=None):
        h = self.norm(self.up(self.table(idx)).relu()) @ self.free
        return h @ self.table.weight.T + (self.up.weight * self.up.weight).sum()


MAKERS = {name: rung for name, rung in RUNGS.items() if not rung.counts}
MAKERS["GPT2"] = MAKERS["mine"] = None


def made(name, seed=0):
    mt.manual_seed(seed)
    if name == "mine":
        return Mine().eval()
    if name == "GPT2":
        sizes = {"context_length": 32, "d_model": 32, "n_heads": 4, "n_layers": 2}
        return GPT2(GPT2Config(vocab_size=65, **sizes)).eval()
    model = MAKERS[name].build(vocab_size=65).eval()
    with mt.no_grad():  # tables that begin with zeros, too
        for p in model.parameters():
            p += 0.02 * mt.randn(*p.shape)
    return model


def idx():
    return mt.randint(0, 30, (2, 7), generator=mt.Generator().manual_seed(1))


# ---- the numbers ---------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_no_number_is_further_off_than_half_a_step(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    step = np.abs(x).max(1, keepdims=True) / 127
    assert (np.abs(Int8Weight.of(x).wide() - x) <= 0.501 * step).all()
    for size in (32, 64):
        found = Int4Weight.of(x, size)
        assert found.group_size == size and found.shape == shape
        for start in range(0, shape[1], size):
            part = x[:, start : start + size]
            step = np.abs(part).max(1, keepdims=True) / 8  # the far end of the other sign is cut
            error = np.abs(found.wide()[:, start : start + size] - part)
            assert (error <= 1.001 * step).all() and (error <= 0.501 * step).mean() > 0.85


@pytest.mark.parametrize("make", [Int8Weight.of, lambda x: Int4Weight.of(x, 32)])
def test_extreme_rows(make):
    x = np.zeros((6, 40), np.float32)
    x[1], x[2, 3], x[3, 0], x[4] = 1e-44, -3e38, 1e-38, 7
    found = make(x).wide()
    assert np.isfinite(found).all() and (found[0] == 0).all() and (found[5] == 0).all()
    np.testing.assert_allclose(found[[2, 4]], x[[2, 4]], rtol=1e-6)
    np.testing.assert_array_equal(make(x).rows(np.array([[4, 2], [0, 4]])), found[[[4, 2], [0, 4]]])


@pytest.mark.parametrize("backend", [backend_for("cpu"), NumPyBackend()], ids=["at work", "numpy"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [Int8Weight.of, lambda x: Int4Weight.of(x, 32), FloatWeight])
def test_products_and_that_each_row_is_computed_as_if_it_were_alone(backend, shape, kind):
    random = np.random.default_rng(0)
    weight = kind(random.standard_normal(shape).astype(np.float32))
    for bias in (None, random.standard_normal(shape[0]).astype(np.float32)):
        for rows in range(FEW + 2):
            x = random.standard_normal((rows, shape[1])).astype(np.float32)
            y = np.full((rows, shape[0]), np.nan, np.float32)
            backend.stored_linear(x, weight, bias, y)
            wanted = x.astype(np.float64) @ weight.wide().T + (0 if bias is None else bias)
            np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)
            for i in range(rows if rows <= FEW else 0):
                alone = np.empty((1, shape[0]), np.float32)
                backend.stored_linear(x[i : i + 1].copy(), weight, bias, alone)
                np.testing.assert_array_equal(alone[0], y[i])


# ---- models --------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_any_model_is_saved_and_read_back_exactly(name, config, tmp_path):
    model = made(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    size, float_logits = weight_bytes(model), model(idx())
    quantize_(model, config)
    logits = model(idx())
    most = 0.03 if config == CONFIGS[0] else 0.4  # of random weights; trained ones bear more
    assert 0 < (logits - float_logits).std() < most * float_logits.std()
    assert weight_bytes(model) < size
    for key, value in model.state_dict().items():  # what is not a matrix of a layer is as it was
        if key in before:
            assert value.equal(before[key]), key
    mt.save(model.state_dict(), tmp_path / "small.safetensors")
    state = mt.load(tmp_path / "small.safetensors")
    assert all(type(value) is mt.Tensor for value in state.values())
    other = made(name, seed=1)
    assert load_quantized(other, state) == ([], [])
    assert other(idx()).equal(logits)
    twin = copy.deepcopy(other)
    twin.load_state_dict(state)
    assert twin(idx()).equal(logits) and repr(twin) == repr(model)


@pytest.mark.parametrize("name", ["minigpt", "modern_minigpt", "GPT2"])
@pytest.mark.parametrize("config", CONFIGS[:2], ids=str)
def test_texts_are_the_same_with_a_cache_and_without(name, config):
    model = made(name)
    quantize_(model, config)
    texts = [
        [int(t) for t in model.generate(idx()[:1], 20, temperature=0, use_cache=cached)]
        for cached in (True, False)
    ]
    assert texts[0] == texts[1]
    replay = nn.Replay(model, model)
    for _ in range(3):
        assert replay(idx()).equal(model(idx())) and replay.refused is None


def test_only_what_the_filter_names_changes():
    model, seen = made("minigpt"), []
    before = {key: value.clone() for key, value in model.state_dict().items()}

    def named(module, path):
        seen.append(path)
        return path in ("blocks.1.mlp.0", "head")

    quantize_(model, Int8WeightOnlyConfig(), named)
    after = model.state_dict()
    changed = {key for key in before if key not in after}
    assert changed == {"blocks.1.mlp.0.weight", "head.weight"}
    assert all(after[key].equal(before[key]) for key in before.keys() - changed)
    assert {"token_embedding", "blocks.0.attention", "blocks.0.attention.out_proj"} <= set(seen)
    assert "norm" not in seen and "" not in seen  # they have nothing to quantize


def test_bytes_are_a_quarter_and_a_share_of_scales():
    for config, most in zip(CONFIGS, (0.263, 0.165, 0.15)):
        model = made("minigpt")
        size = weight_bytes(model)
        quantize_(model, config)
        assert weight_bytes(model) <= most * size


def test_a_weight_that_is_shared_stays_shared():
    model = made("GPT2")
    quantize_(model, Int8WeightOnlyConfig())
    assert model.head.weight is model.token_embedding.weight
    state = {key: value.clone() for key, value in model.state_dict().items()}
    other = made("GPT2", seed=1)
    load_quantized(other, state)
    assert other.head.weight is other.token_embedding.weight
    assert other(idx()).equal(model(idx()))


def test_quantized_again_it_is_made_of_its_numbers():
    model = made("mine")
    quantize_(model, Int8WeightOnlyConfig())
    numbers = model.up.weight.clone()
    quantize_(model, Int8WeightOnlyConfig())
    assert (model.up.weight - numbers).abs().max() < 1e-6
    quantize_(model, Int4WeightOnlyConfig())
    assert type(model.up.weight._data) is Int4Weight


def test_in_another_dtype_it_is_a_tensor_of_floats_again():
    model = made("mine")
    quantize_(model, Int8WeightOnlyConfig())
    logits = model(idx())
    model.double()
    assert not is_quantized(model.up.weight) and "up.weight" in model.state_dict()
    assert mt.allclose(model(idx()), logits.double(), atol=1e-3)


# ---- what is refused -----------------------------------------------------------------


def test_a_state_of_the_other_kind_is_refused_with_the_right_way():
    floats, small = made("mine"), made("mine")
    quantize_(small, Int8WeightOnlyConfig())
    with pytest.raises(RuntimeError, match=r"quantization\.load_quantized\(model, state\)"):
        floats.load_state_dict(small.state_dict())
    with pytest.raises(RuntimeError, match=r"load it first, then quantize_\(\)"):
        small.load_state_dict(floats.state_dict())
    before = floats(idx())
    for change in (
        lambda s: s.pop("up.weight.scale"),
        lambda s: s.update({"up.weight.scale": mt.zeros(3)}),
        lambda s: s.update({"up.weight.int8": mt.zeros(50, 40)}),
        lambda s: s.update({"up.weight.int8": s["up.weight.int8"][:, :20]}),
        lambda s: s.update({"up.weight.int4": s.pop("up.weight.int8")}),
        lambda s: s.update({"norm.bias": mt.zeros(3)}),
    ):
        state = small.state_dict()
        change(state)
        with pytest.raises(RuntimeError, match="up.weight|norm.bias"):
            load_quantized(floats, state)
        assert floats(idx()).equal(before) and not is_quantized(floats.table.weight)


def test_it_is_not_trained_and_not_changed_in_place():
    model = made("mine")
    quantize_(model, Int8WeightOnlyConfig())
    weight = model.up.weight
    assert weight.requires_grad is False and not weight.equal(mt.zeros(50, 40))
    for train in (weight.requires_grad_, model.requires_grad_):
        with pytest.raises(RuntimeError, match="not trained: .*quantize afterwards"):
            train()
    before = weight.clone()
    for change in (
        lambda: weight.add_(1), lambda: weight.__setitem__(0, 1.0), lambda: nn.init.zeros_(weight),
        lambda: weight.copy_(before), lambda: weight.data.mul_(2),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="cannot be changed in place"):
            change()
    assert weight.equal(before)
    x = mt.randn(3, 40, requires_grad=True)
    model.up(x).sum().backward()
    assert mt.allclose(x.grad, weight.sum(0).expand(3, 40), atol=1e-5)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: quantize_(3, CONFIGS[0]), TypeError, "a Module is needed, got int"),
        (lambda: quantize_(made("mine"), "int8"), TypeError, "config must be Int8WeightOnlyConfig"),
        (lambda: quantize_(made("mine"), CONFIGS[0], "up"), TypeError, "filter_fn must be a func"),
        (lambda: quantize_(made("mine").double(), CONFIGS[0]), TypeError, r"model\.float\(\)"),
        (lambda: Int4WeightOnlyConfig(20), ValueError, "multiple of 32, such as 32 or 128, got 20"),
        (lambda: Int4WeightOnlyConfig(32.0), ValueError, "multiple of 32"),
    ],
)
def test_wrong_calls(call, error, words):
    with pytest.raises(error, match=words) as raised:
        call()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_nothing_changes_if_a_number_is_not_finite(wrong):
    model = made("mine")
    with mt.no_grad():
        model.up.weight[3, 4] = wrong
    with pytest.raises(ValueError, match="up.weight has numbers that are not finite"):
        quantize_(model, Int8WeightOnlyConfig())
    assert not is_quantized(model.table.weight)
