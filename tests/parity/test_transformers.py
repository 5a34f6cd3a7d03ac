"""GPT-2 and Llama beside the package `transformers`: the same folders, logits and tokens."""

import json
import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")
os.environ["HF_HUB_OFFLINE"] = "1"  # small models with random weights: nothing is downloaded
transformers = pytest.importorskip("transformers")

import microtensor as mt  # noqa: E402
from models import GPT2, BPETokenizer  # noqa: E402
from models.generation import sampling  # noqa: E402
from models.pretrained import llama, published  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def gpt2(**sizes):
    config = {"vocab_size": 300, "n_positions": 64, "n_embd": 48, "n_layer": 3, "n_head": 4}
    config = transformers.GPT2Config(
        **config | {"bos_token_id": None, "eos_token_id": None} | sizes
    )
    return scattered(transformers.GPT2LMHeadModel(config))


def a_llama(**sizes):
    config = {
        "vocab_size": 300, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    return scattered(transformers.LlamaForCausalLM(transformers.LlamaConfig(**config | sizes)))


@torch.no_grad()
def scattered(model):
    """Every weight off its start: biases not 0, norms not 1, logits far apart."""
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        p += torch.randn(p.shape, generator=generator) * 0.3
    return model.eval()


def loads(theirs, folder):
    theirs.save_pretrained(folder)
    return (GPT2 if theirs.config.model_type == "gpt2" else llama).from_pretrained(folder)


IDX = np.random.default_rng(0).integers(0, 300, (2, 14))


def same_logits(ours, theirs, tolerance=1e-4):
    idx = IDX % theirs.config.vocab_size
    with torch.no_grad(), mt.no_grad():
        a, b = ours(mt.tensor(idx)).numpy(), theirs(torch.tensor(idx)).logits.numpy()
    assert b.std() > 0.3
    np.testing.assert_allclose(a, b, atol=tolerance, rtol=0)


def same_tokens(ours, theirs, n=50):
    """The same greedy tokens, ours with a cache and without; not always the same one."""
    for row in IDX:
        expected = theirs.generate(
            torch.tensor(row[None]), do_sample=False, max_new_tokens=n, min_new_tokens=n,
            attention_mask=torch.ones(1, len(row)), pad_token_id=0,
        )[0, len(row) :].tolist()  # fmt: skip
        assert len(set(expected)) > 5
        for use_cache in (True, False):
            got = sampling.generate(
                ours, mt.tensor(row[None]), n, temperature=0, use_cache=use_cache
            )
            assert [token.item() for token in got] == expected


MODELS = [gpt2, a_llama]


@pytest.mark.parametrize("make", MODELS)
def test_the_same_logits_and_the_same_fifty_tokens(make, tmp_path):
    theirs = make()
    ours = loads(theirs, tmp_path)
    same_logits(ours, theirs)
    same_tokens(ours, theirs)


@pytest.mark.parametrize(
    "make, sizes",
    [
        (gpt2, {"n_layer": 1, "n_head": 1, "layer_norm_epsilon": 1e-2, "vocab_size": 257}),
        (gpt2, {"n_inner": 192, "reorder_and_upcast_attn": True}),
        (a_llama, {"num_key_value_heads": 1, "rms_norm_eps": 1e-2}),
        (a_llama, {"num_key_value_heads": 4,
                   "rope_parameters": {"rope_type": "default", "rope_theta": 9.0}}),
    ],
)  # fmt: skip
def test_other_sizes(make, sizes, tmp_path):
    theirs = make(**sizes)
    same_logits(loads(theirs, tmp_path), theirs)


@pytest.mark.parametrize("make", MODELS)
def test_there_and_back(make, tmp_path):
    theirs = make()
    ours = loads(theirs, tmp_path / "a")
    if make is gpt2:
        ours.save_pretrained(tmp_path / "b")
    else:
        llama.save_pretrained(ours, tmp_path / "b")
    again, report = type(theirs).from_pretrained(tmp_path / "b", output_loading_info=True)
    assert not any(report.values()), report
    same_logits(ours, again.eval())
    for (name, p), q in zip(theirs.named_parameters(), again.parameters(), strict=True):
        assert p.equal(q), name
    one, other = (set(mt.load(tmp_path / x / "model.safetensors")) for x in "ab")
    assert one == other


def test_training_gives_the_same_loss_and_gradients(tmp_path):
    theirs = gpt2()
    ours = loads(theirs, tmp_path)
    idx = torch.tensor(IDX)
    loss = torch.nn.functional.cross_entropy(
        theirs(idx[:, :-1]).logits.flatten(0, 1), idx[:, 1:].flatten()
    )
    loss.backward()
    _, our_loss = ours(mt.tensor(IDX[:, :-1]), mt.tensor(IDX[:, 1:]))
    our_loss.backward()
    assert our_loss.item() == pytest.approx(loss.item(), abs=1e-5)
    expected = theirs.transformer.wte.weight.grad.numpy()
    np.testing.assert_allclose(ours.head.weight.grad.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("prefix", ["", "transformer."])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_the_files_that_programs_have_written(prefix, file, tmp_path):
    """With the prefix or without, with the head and the causal masks, in the older format."""
    theirs = gpt2()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    state = theirs.transformer.state_dict()
    for i in range(3):
        state[f"h.{i}.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
        state[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    state = {prefix + name: t for name, t in state.items()}
    state["lm_head.weight"] = theirs.lm_head.weight.detach().clone()
    if file.endswith("bin"):
        torch.save(state, tmp_path / file)
    else:
        import safetensors.torch

        safetensors.torch.save_file(state, tmp_path / file)
    same_logits(GPT2.from_pretrained(tmp_path), theirs)


@pytest.mark.parametrize("make", MODELS)
def test_weights_in_parts(make, tmp_path):
    theirs = make()
    theirs.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    module = GPT2 if make is gpt2 else llama
    same_logits(module.from_pretrained(tmp_path), theirs)


def test_the_tokenizer(tmp_path):
    """A GPT-2 folder with a vocabulary: the same ids, and a text goes in and comes out."""
    text = "It is a truth universally acknowledged, that a single man in possession of\n\tit's 12€"
    ours = BPETokenizer.from_text(text * 3, 299, ["<|endoftext|>"])
    model = gpt2(vocab_size=ours.vocab_size)
    model.save_pretrained(tmp_path)
    ours.save(tmp_path)
    theirs = transformers.GPT2Tokenizer(
        vocab={token: id for id, token in enumerate(ours.vocab)},
        merges=[tuple(m.split(" ")) for m in ours.merges],
    )
    loaded = GPT2.from_pretrained(tmp_path)
    for sample in (text, "a  single\n\n man<|endoftext|>It is", "naïve 😀"):
        assert loaded.tokenizer.encode(sample) == theirs(sample)["input_ids"]
    prompt = "It is a truth"
    ids = model.generate(
        torch.tensor([theirs(prompt)["input_ids"]]), do_sample=False, max_new_tokens=20,
        min_new_tokens=20, pad_token_id=0,
    )  # fmt: skip
    pieces = sampling.generate_text(loaded, loaded.tokenizer, prompt, 20, temperature=0)
    assert prompt + "".join(pieces) == ours.decode(ids[0].tolist())


@pytest.mark.parametrize(
    "make, sizes, told",
    [
        (gpt2, {"activation_function": "relu"}, "activation_function 'relu'; .* \"gelu_new\""),
        (gpt2, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx True"),
        (gpt2, {"n_inner": 100}, "n_inner 100; this model knows null or 192 only"),
        (gpt2, {"tie_word_embeddings": False}, "tie_word_embeddings False"),
        (a_llama, {"tie_word_embeddings": False}, "tie_word_embeddings False"),
        (a_llama, {"attention_bias": True}, "attention_bias True"),
        (a_llama, {"head_dim": 10}, "head_dim 10; this model knows 12 or null only"),
        (a_llama, {"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        (a_llama, {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
         "rope_type 'linear'"),
    ],
)  # fmt: skip
def test_what_another_architecture_is_refused_for(make, sizes, told, tmp_path):
    theirs = make(**sizes)
    with pytest.raises(ValueError, match=told):
        loads(theirs, tmp_path)


def test_a_folder_of_another_model(tmp_path):
    a_llama().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model_type 'llama'; this model knows \"gpt2\" only"):
        GPT2.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert published.read_config(tmp_path) == config
