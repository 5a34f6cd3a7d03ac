"""Adapters: what is trained, merging and unmerging, and files in peft's layout."""

import json

import numpy as np
import pytest

import microtensor as mt
from models import MiniGPT, MiniGPTConfig, ModernMiniGPT, ModernMiniGPTConfig
from models.post_training import lora
from models.post_training.lora import LoRAConfig

SIZES = {"vocab_size": 20, "context_length": 16, "d_model": 16, "n_heads": 2, "n_layers": 2}
KINDS = {"minigpt": (MiniGPT, MiniGPTConfig), "modern": (ModernMiniGPT, ModernMiniGPTConfig)}
each_model = pytest.mark.parametrize("name", KINDS)
IDX = mt.tensor([[1, 2, 3, 4, 5]])


def made(name, seed=0):
    mt.manual_seed(seed)
    model, config = KINDS[name]
    return model(config(**SIZES)).eval()


def adapted(name, config=None):
    """A model with an adapter that says something."""
    model = lora.add(made(name), config)
    with mt.no_grad():
        for p in lora.parameters(model):
            p.copy_(p + 0.1 * mt.randn(*p.shape))
    return model


def same(a, b):
    return a.keys() == b.keys() and all(bool((a[k] == b[k]).all()) for k in a)


@each_model
def test_a_new_adapter_changes_nothing_and_is_all_that_learns(name):
    model, plain = made(name), made(name)
    lora.add(model)
    assert (model(IDX) == plain(IDX)).all()
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert trained == {id(p) for p in lora.parameters(model)}
    own = sum(p.numel() for p in lora.parameters(model))
    assert lora.share(model) == own / sum(p.numel() for p in plain.parameters())
    optimizer = mt.optim.AdamW(model.parameters(), lr=0.1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for _ in range(2):  # after the first step B is no longer 0, so A moves, too
        optimizer.zero_grad()
        model(IDX, IDX)[1].backward()
        optimizer.step()
    after = model.state_dict()
    moved = {k for k in before if not (before[k] == after[k]).all()}
    assert moved == {k for k in before if "lora_" in k}


@each_model
def test_merging_and_unmerging_are_exact(name):
    model = adapted(name)
    beside = model(IDX)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for _ in range(3):
        lora.merge(lora.merge(model))  # twice is once
        assert (model(IDX) == beside).all()
        lora.unmerge(lora.unmerge(model))
        assert same(model.state_dict(), before) and (model(IDX) == beside).all()


@each_model
def test_taken_away_it_leaves_the_model_as_it_was_or_merged(name):
    plain, model = made(name), adapted(name)
    beside = model(IDX)
    lora.remove(model)
    assert same(model.state_dict(), plain.state_dict()) and type(model.blocks[0]) is type(
        plain.blocks[0]
    )
    assert all(p.requires_grad for p in model.parameters())
    model = adapted(name)
    lora.remove(model, keep=True)
    assert (model(IDX) == beside).all() and not lora.adapters(model)


@each_model
@pytest.mark.parametrize("merged", [False, True])
def test_files_are_read_back_exactly(name, merged, tmp_path):
    model = adapted(name)
    beside = model(IDX)
    if merged:
        lora.merge(model)
    lora.save(model, tmp_path / "adapter", "base")
    again = lora.load(made(name), tmp_path / "adapter")
    assert (again(IDX) == beside).all() and again.lora_config.r == 4
    settings = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert settings["peft_type"] == "LORA" and settings["base_model_name_or_path"] == "base"
    found = mt.load(tmp_path / "adapter/adapter_model.safetensors")
    assert all(key.startswith("base_model.model.blocks.") for key in found)
    assert all(key.endswith((".lora_A.weight", ".lora_B.weight")) for key in found)


@each_model
def test_with_a_cache_it_writes_what_it_writes_without(name):
    model = adapted(name)
    texts = [[t.tolist() for t in model.generate(IDX, 8, 0, use_cache=c)] for c in (False, True)]
    lora.merge(model)
    texts.append([t.tolist() for t in model.generate(IDX, 8, 0)])
    assert texts[0] == texts[1] == texts[2]


def test_targets():
    model = lora.add(made("minigpt"), LoRAConfig(2, 4, ("mlp.0", "blocks.1.attention")))
    assert [p for p, _ in lora.adapters(model)] == [
        "blocks.0.mlp.0", "blocks.1.attention", "blocks.1.mlp.0",
    ]  # fmt: skip
    model = lora.add(made("minigpt"), LoRAConfig(2, 4, ("attention", "out_proj")))
    assert len(lora.adapters(model)) == 4
    with pytest.raises(ValueError, match="'nothing' names no module with a matrix"):
        lora.add(made("minigpt"), LoRAConfig(2, 4, ("nothing", "mlp.0")))
    with pytest.raises(ValueError, match="has an adapter already"):
        lora.add(model)
    with pytest.raises(ValueError, match="has no adapter"):
        lora.merge(made("minigpt"))


@pytest.mark.parametrize(
    "wrong", [{"r": 0}, {"r": 1.5}, {"r": True}, {"alpha": 0}, {"alpha": float("nan")}]
)
def test_numbers_that_make_no_adapter(wrong):
    with pytest.raises(ValueError, match="LoRA: (r|alpha) must be"):
        LoRAConfig(**wrong)


def edit(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "damage, complaint",
    [
        (lambda f: edit(f, peft_type="IA3"), "not that of a LoRA"),
        (lambda f: edit(f, use_dora=True), "use_dora True is not known"),
        (lambda f: edit(f, bias="all"), "bias 'all' is not known"),
        (lambda f: edit(f, r=5), "is not of shape"),
        (lambda f: edit(f, r="4"), "r must be a positive integer"),
        (lambda f: edit(f, target_modules="all-linear"), "must be a list of names"),
        (lambda f: edit(f, target_modules=["mlp.0"]), "is missing, or not asked for"),
        (lambda f: (f / "adapter_config.json").write_text("[]"), "not that of a LoRA"),
        (lambda f: (f / "adapter_config.json").write_text("{"), "is damaged"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"x"), "adapter_model"),
    ],
)
def test_damaged_folders_are_said_in_one_line_and_change_nothing(damage, complaint, tmp_path):
    lora.save(adapted("minigpt"), tmp_path)
    damage(tmp_path)
    model = made("minigpt")
    with pytest.raises(ValueError, match=complaint) as error:
        lora.load(model, tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    assert not lora.adapters(model) and all(p.requires_grad for p in model.parameters())
    assert same(model.state_dict(), made("minigpt").state_dict())


def test_nothing_is_made_of_a_rank_that_only_the_config_names(tmp_path, monkeypatch):
    lora.save(adapted("minigpt"), tmp_path)
    edit(tmp_path, r=10**9)
    monkeypatch.setattr(lora, "add", None)  # it is not called
    with pytest.raises(ValueError, match="is not of shape .* r is 1000000000 in"):
        lora.load(made("minigpt"), tmp_path)
    for odd in ([], {}, {"a.lora_A.weight": 1}):
        mt.save(odd, tmp_path / lora.WEIGHTS)
        with pytest.raises(ValueError, match="holds no adapter for this model"):
            lora.load(made("minigpt"), tmp_path)


def test_numbers_that_are_none_are_refused(tmp_path):
    model = adapted("minigpt")
    with mt.no_grad():
        lora.parameters(model)[0].fill_(np.nan)
    lora.save(model, tmp_path)
    with pytest.raises(ValueError, match="does not hold finite"):
        lora.load(made("minigpt"), tmp_path)
