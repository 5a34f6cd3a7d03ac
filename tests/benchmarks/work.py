"""What is timed: functions that take a library (microtensor or torch) and make a function to call.

Nothing is imported here but what both need, so that a process holds one library alone.
"""

from dataclasses import make_dataclass
from functools import partial

DEFAULT = {"vocab_size": 256, "context_length": 64, "d_model": 128, "n_heads": 4, "n_layers": 4,
           "dropout": 0.1}  # fmt: skip
LARGER = {**DEFAULT, "context_length": 256, "d_model": 384, "n_heads": 6, "n_layers": 6}
GPT2 = {**DEFAULT, "vocab_size": 50_257, "context_length": 256, "d_model": 768, "n_heads": 12,
        "n_layers": 12}  # fmt: skip


# ---- MiniGPT -------------------------------------------------------------------------


def minigpt(lib, config):
    if lib.__name__ == "torch":
        from torch_minigpt import MiniGPT

        return MiniGPT(make_dataclass("Config", config)(**config))
    from models import MiniGPT, MiniGPTConfig

    return MiniGPT(MiniGPTConfig(**config))


def training(lib, config=DEFAULT, batch=32, need_weights=False, compiled=False):
    """A step of AdamW with clipped gradients; `need_weights` as nn.MultiheadAttention's default."""
    model = minigpt(lib, config)
    for module in model.modules() if need_weights else ():
        if isinstance(module, lib.nn.MultiheadAttention):
            attend = module.forward
            module.forward = lambda *x, attend=attend, need_weights, **how: attend(*x, **how)
    forward = lib.compile(model) if compiled and lib.__name__ == "torch" else model
    optimizer = lib.optim.AdamW(model.parameters(), lr=1e-3)
    shape = (batch, config["context_length"])
    idx, targets = (lib.randint(0, config["vocab_size"], shape) for _ in range(2))

    def step():
        _, loss = forward(idx, targets)
        optimizer.zero_grad()
        loss.backward()
        lib.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def writing(lib, n, batch=1, context=64, use_cache=True):
    """n tokens for each of several texts, the most probable each time."""
    model = minigpt(lib, {**DEFAULT, "context_length": context}).eval()
    start = lib.ones((batch, 1), dtype=lib.int64)
    if lib.__name__ == "torch":
        return lambda: model.generate(start, n, use_cache)
    return lambda: list(model.generate(start, n, temperature=0, use_cache=use_cache))


# ---- small arrays --------------------------------------------------------------------


def small_mlp(lib):
    """A step of SGD of a network 64–64–10 for 32 samples."""
    nn = lib.nn
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = lib.optim.SGD(model.parameters(), lr=0.1)
    x, y = lib.randn(32, 64), lib.randint(0, 10, (32,))

    def step():
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def small_operations(lib):
    x = lib.randn(10).requires_grad_()
    return lambda: (x * x).sum().backward()


def chain(lib):
    x = lib.randn(10).requires_grad_()

    def run():
        y = x
        for _ in range(1000):
            y = y * 1.001
        y.sum().backward()

    return run


# ---- single operations ---------------------------------------------------------------


def operation(lib, function, shape):
    """An operation forward and backward."""
    x = lib.randn(*shape).requires_grad_()
    g = lib.ones_like(function(lib, x).detach())

    def run():
        x.grad = None
        function(lib, x).backward(g)

    return run


def attend(lib, x):
    return lib.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)


def entropy(lib, x):
    return lib.nn.functional.cross_entropy(x, lib.arange(len(x)) % x.shape[1])


OPERATIONS = {
    "gelu (2048, 512)": (lambda lib, x: lib.nn.functional.gelu(x), 2048, 512),
    "softmax (8192, 64)": (lambda lib, x: lib.nn.functional.softmax(x, -1), 8192, 64),
    "layer_norm (2048, 128)": (lambda lib, x: lib.nn.functional.layer_norm(x, (128,)), 2048, 128),
    "matmul (512, 512)": (lambda lib, x: x @ x, 512, 512),
    "exp (1000, 1000)": (lambda lib, x: lib.exp(x), 1000, 1000),
    "sum over rows (1000, 1000)": (lambda lib, x: x.sum(0), 1000, 1000),
    "dropout (8192, 64)": (lambda lib, x: lib.nn.functional.dropout(x, 0.1), 8192, 64),
    "cross_entropy (2048, 256)": (entropy, 2048, 256),
    "attention (32, 4, 64, 32), causal": (attend, 32, 4, 64, 32),
    "attention (1, 4, 1024, 32), causal": (attend, 1, 4, 1024, 32),
}


# ---- data ----------------------------------------------------------------------------


def loading(lib):
    """An epoch of 4,096 samples of 64 numbers with labels, shuffled, in batches of 32."""
    data = lib.utils.data
    dataset = data.TensorDataset(lib.randn(4096, 64), lib.arange(4096))
    loader = data.DataLoader(dataset, batch_size=32, shuffle=True)
    return lambda: list(loader)


# ---- the tables ----------------------------------------------------------------------

WORK = {
    "training": {
        "default MiniGPT, a step": partial(training),
        "the same, need_weights=True": partial(training, need_weights=True),
        "the same without dropout": partial(training, {**DEFAULT, "dropout": 0.0}),
        "larger MiniGPT (256, 384, 6, 6), a step": partial(training, LARGER, 4),
        "GPT-2 small's shape, 1 × 256, a step": partial(training, GPT2, 1),
    },
    "generation": {
        "63 tokens, with a cache": partial(writing, n=63),
        "200 tokens, with a cache": partial(writing, n=200, context=256),
        "200 tokens, without": partial(writing, n=200, context=256, use_cache=False),
        "63 tokens for 8 texts, with a cache": partial(writing, n=63, batch=8),
    },
    "small": {
        "small MLP (32 × 64–64–10), a step": small_mlp,
        "(x * x).sum().backward(), 10 numbers": small_operations,
        "1,000 operations in a chain, and back": chain,
    },
    "operations": {name: partial(operation, function=f, shape=shape)
                   for name, (f, *shape) in OPERATIONS.items()},
    "data": {"4,096 samples of a TensorDataset": loading},
    "compiled": {"default MiniGPT, torch.compile": partial(training, compiled=True)},
}  # fmt: skip

# how a step's time grows: one size at a time, from the default MiniGPT with batch 8
GROWTH = {
    "batch": (8, 16, 32, 64),
    "context_length": (32, 64, 128, 256),
    "d_model": (64, 128, 256, 512),
    "n_layers": (2, 4, 8, 16),
}
WORK["growth"] = {
    f"{name} = {n}": (
        partial(training, DEFAULT, n)
        if name == "batch"
        else partial(training, {**DEFAULT, name: n}, 8)
    )
    for name, sizes in GROWTH.items()
    for n in sizes
}
