"""Folders of published models: what is written is read again, and what is wrong is told."""

import json

import pytest

import microtensor as mt
from models import GPT2, BPETokenizer, GPT2Config, ModernMiniGPT, ModernMiniGPTConfig
from models.generation.sampling import generate, generate_text
from models.pretrained import llama

SIZES = {"vocab_size": 20, "context_length": 12, "d_model": 8, "n_heads": 2, "n_layers": 2}


def write(kind, folder):
    mt.manual_seed(0)
    if kind == "gpt2":
        model = GPT2(GPT2Config(**SIZES)).eval()
        model.save_pretrained(folder)
    else:
        model = ModernMiniGPT(ModernMiniGPTConfig(**SIZES, n_kv_heads=1, d_mlp=12)).eval()
        llama.save_pretrained(model, folder)
    return model


def read(kind, folder):
    return (GPT2 if kind == "gpt2" else llama).from_pretrained(folder)


@pytest.fixture(params=["gpt2", "llama"])
def kind(request):
    return request.param


def test_there_and_back(kind, tmp_path):
    model = write(kind, tmp_path)
    again = read(kind, tmp_path)
    assert again.config == model.config and not again.training
    idx = mt.tensor([[1, 2, 3], [4, 5, 6]])
    assert again(idx).equal(model(idx))
    (tmp_path / "b").mkdir()
    again.save_pretrained(tmp_path / "b") if kind == "gpt2" else llama.save_pretrained(
        again, tmp_path / "b"
    )
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_published_names(tmp_path):
    model = write("gpt2", tmp_path)
    tensors = mt.load(tmp_path / "model.safetensors")
    assert len(tensors) == 4 + 12 * 2 and all(name.startswith("transformer.") for name in tensors)
    first = model.blocks[0]
    assert tensors["transformer.h.0.attn.c_attn.weight"].equal(first.attention.in_proj_weight.t())
    assert tensors["transformer.h.0.mlp.c_proj.weight"].shape == (32, 8)
    assert tensors["transformer.wpe.weight"].shape == (12, 8)
    write("llama", tmp_path)
    assert "model.layers.1.self_attn.k_proj.weight" in mt.load(tmp_path / "model.safetensors")


def test_one_table_for_both_ends():
    model = GPT2(GPT2Config(**SIZES))
    assert model.head.weight is model.token_embedding.weight
    assert sum(p.numel() for p in model.parameters()) == (20 + 12 + 2) * 8 + 2 * (12 * 64 + 13 * 8)


def test_the_smallest_published_one_has_124_million_numbers():
    c = GPT2Config()
    C = c.d_model
    count = (c.vocab_size + c.context_length + 2) * C + c.n_layers * (12 * C * C + 13 * C)
    assert count == 124_439_808


def test_a_cache_changes_no_token(kind, tmp_path):
    model = write(kind, tmp_path)
    idx = mt.tensor([[3, 1, 4], [1, 5, 9]])
    with_cache, without = (
        [t.tolist() for t in generate(model, idx, 15, temperature=0, use_cache=use)]
        for use in (True, False)
    )
    assert with_cache == without  # and the context, of 12, is passed on the way


def test_a_gpt2_learns_a_sentence():
    mt.manual_seed(0)
    model = GPT2(GPT2Config(**SIZES, dropout=0.0, attention_dropout=0.0, residual_dropout=0.0))
    idx = mt.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    optimizer = mt.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        _, loss = model(idx[:, :-1], idx[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    told = [t.item() for t in generate(model, idx[:, :1], 7, temperature=0)]
    assert told == idx[0, 1:].tolist()


def test_the_tokenizer_comes_with_the_model(tmp_path):
    pytest.importorskip("regex")
    tokenizer = BPETokenizer.from_text("to be or not to be", 262)
    model = GPT2(GPT2Config(**{**SIZES, "vocab_size": tokenizer.vocab_size}))
    model.save_pretrained(tmp_path, tokenizer)
    loaded = GPT2.from_pretrained(tmp_path)
    assert loaded.tokenizer.vocab == tokenizer.vocab
    text = "".join(generate_text(loaded, loaded.tokenizer, "to be", 5, temperature=0))
    assert text == "".join(generate_text(model.eval(), tokenizer, "to be", 5, temperature=0))
    assert read("gpt2", tmp_path).tokenizer.merges == tokenizer.merges


# ---- what is wrong is told -----------------------------------------------------------


@pytest.mark.parametrize(
    "change, told",
    [
        ({"model_type": "bert"}, "config.json has model_type 'bert'; this model knows"),
        ({"vocab_size": 21}, "there are 1,\\d+ numbers, not 1,\\d+|there are .* numbers, not"),
        ({"vocab_size": 10**15}, "the weights do not fit the config"),
        ({"n_layer": 10**15, "num_hidden_layers": 10**15}, "the weights do not fit the config"),
        ({"vocab_size": "20"}, "vocab_size '20', which is no number"),
        ({"vocab_size": True}, "vocab_size True, which is no number"),
        ({"vocab_size": -1}, "vocab_size must be a positive integer, got -1"),
        ({"n_head": 3, "num_attention_heads": 3}, "n_heads must divide d_model"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings False"),
        # as many numbers (of a GPT2), in other shapes
        ({"vocab_size": 19, "n_positions": 13}, "should be|numbers, not"),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit(kind, change, told, tmp_path):
    write(kind, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=told):
        read(kind, tmp_path)


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"[" * 100_000, b'"x"', b"\xff"])
def test_a_config_that_is_damaged(kind, data, tmp_path):
    write(kind, tmp_path)
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(ValueError, match="config.json"):
        read(kind, tmp_path)


def test_a_context_of_a_million_millions(tmp_path):
    write("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["max_position_embeddings"] = 10**12
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="a context of 1,000,000,000,000 is too long; give"):
        llama.from_pretrained(tmp_path)
    assert llama.from_pretrained(tmp_path, context_length=5).config.context_length == 5


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda t: t.pop(sorted(t)[0]), "numbers, not"),
        (lambda t: t.update(x=t.pop(sorted(t)[0])), "there is no '.*bias|weight'"),
        (lambda t: t.update(extra=mt.zeros(0)), "'extra' has no place in it"),
        (lambda t: t.update({sorted(t)[0]: t[sorted(t)[0]].reshape(1, -1)}), "should be"),
        (lambda t: t.update({sorted(t)[0]: t[sorted(t)[0]].long()}), "int64, and should be"),
        (lambda t: t.update({"lm_head.weight": mt.zeros(20, 8)}), "lm_head.weight is another"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit(kind, change, told, tmp_path):
    write(kind, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = mt.load(path)
    change(tensors)
    mt.save(tensors, path)
    with pytest.raises(ValueError, match=told):
        read(kind, tmp_path)


def test_files_that_are_missing(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json"):
        read(kind, tmp_path)
    write(kind, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="model.safetensors"):
        read(kind, tmp_path)


def test_an_index_that_leads_out_of_the_folder(kind, tmp_path):
    write(kind, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path.parent / "secret.safetensors")
    index = {"weight_map": {"x": "../secret.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="which is no file of the folder"):
        read(kind, tmp_path)


def test_values_are_in_the_file_only(tmp_path):
    """Another file in its place: not a dict of tensors by name."""
    write("gpt2", tmp_path)
    mt.save({"a": 1}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="is not a file of tensors by name"):
        read("gpt2", tmp_path)
