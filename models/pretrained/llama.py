"""The Llama layout: ModernMiniGPT has that architecture, so it reads and writes such folders.

    model = llama.from_pretrained(folder)
    llama.save_pretrained(model, folder)

Rotary positions turn channel i with channel i + D / 2 in both, so not a number need move. Llamas
with a table of their own for logits, biases, or stretched rotary positions are refused.
"""

from dataclasses import replace

from ..ladder.modern_minigpt import ModernMiniGPT, ModernMiniGPTConfig
from . import published

# What config.json may say that ModernMiniGPT is not, and the values that it may have.
ARCHITECTURE = [
    ("model_type", "llama"),
    ("hidden_act", "silu"),
    ("tie_word_embeddings", True),
    ("attention_bias", False),
    ("mlp_bias", False),
    ("rope_scaling", None),
]
SIZES = {
    "vocab_size": "vocab_size", "max_position_embeddings": "context_length",
    "hidden_size": "d_model", "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads", "num_hidden_layers": "n_layers",
    "intermediate_size": "d_mlp", "rms_norm_eps": "norm_eps", "rope_theta": "rope_theta",
}  # fmt: skip
LONGEST = 2**20  # tokens: the angles of their places are kept in a table
MODULES = {
    "norm_1": "input_layernorm", "norm_2": "post_attention_layernorm",
    "attention.query": "self_attn.q_proj", "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj", "attention.out": "self_attn.o_proj",
    "mlp.gate": "mlp.gate_proj", "mlp.up": "mlp.up_proj", "mlp.down": "mlp.down_proj",
}  # fmt: skip


def from_pretrained(folder, context_length=None):
    """The ModernMiniGPT in a Llama's folder, in evaluation mode: see `published`.

    A `context_length` below the published one makes a smaller cache. ValueError if a file is
    damaged or tells of another architecture, FileNotFoundError if it is missing.
    """
    config = published.read_config(folder)
    rope = config.pop("rope_parameters", None)  # where newer programs keep what follows
    if rope is not None:
        if not isinstance(rope, dict):
            raise ValueError(f"config.json has rope_parameters {rope!r:.80}; an object is needed")
        published.insist(rope, "rope_type", "default")
        config |= {"rope_theta": rope.get("rope_theta", 10_000.0)}
    config.setdefault("num_key_value_heads", config.get("num_attention_heads"))
    # a Llama's own defaults, where they are not ours
    config = {"tie_word_embeddings": False, "rms_norm_eps": 1e-6} | config
    for name, *accepted in ARCHITECTURE:
        published.insist(config, name, *accepted)
    sizes = published.sizes(config, SIZES, ModernMiniGPTConfig)
    published.insist(config, "head_dim", sizes.d_head, None)
    if context_length is not None:
        sizes = replace(sizes, context_length=min(context_length, sizes.context_length))
    if sizes.context_length > LONGEST:
        raise ValueError(f"a context of {sizes.context_length:,} is too long; give context_length")
    tensors = published.read_tensors(folder)
    table, head = tensors.get("model.embed_tokens.weight"), tensors.pop("lm_head.weight", None)
    if head is not None and not (table is not None and head.equal(table)):
        raise ValueError(
            "lm_head.weight is another table than embed_tokens; ModernMiniGPT ties both"
        )
    # rotary_emb.inv_freq was kept by older programs
    tensors = {name: t for name, t in tensors.items() if not name.endswith(".rotary_emb.inv_freq")}
    published.expect(tensors, sizes)
    model = ModernMiniGPT(sizes)
    published.fill(model, tensors, published_names(model))
    return model.eval()


def save_pretrained(model, folder):
    """Write a ModernMiniGPT as a folder that `transformers` and `from_pretrained` read."""
    ours = vars(model.config)
    config = {"architectures": ["LlamaForCausalLM"]}
    config |= {name: accepted[0] for name, *accepted in ARCHITECTURE}
    config |= {theirs: ours[name] for theirs, name in SIZES.items()}
    published.write(folder, config, published.named(model, published_names(model)))


def published_names(model):
    """Our names of the weights -> the published ones."""
    names = {
        "token_embedding.weight": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
    }
    for i, block in enumerate(model.blocks):
        for ours, _ in block.named_parameters():
            module, _, weight = ours.rpartition(".")
            names[f"blocks.{i}.{ours}"] = f"model.layers.{i}.{MODULES[module]}.{weight}"
    return names
