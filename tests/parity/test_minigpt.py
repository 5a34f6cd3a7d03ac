"""MiniGPT beside the same module written in PyTorch: the same weights, batches and losses."""

import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from converted import PROGRAMS, imported  # noqa: E402

import microtensor as mt  # noqa: E402
from models import MiniGPT, MiniGPTConfig  # noqa: E402

torch.set_num_threads(1)  # where others want the cores too, more of them are slower

DTYPES = [("float32", 1e-5), ("float64", 1e-9)]


class TorchBlock(torch.nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.norm_1 = torch.nn.LayerNorm(C)
        self.attention = torch.nn.MultiheadAttention(C, H, batch_first=True)
        self.norm_2 = torch.nn.LayerNorm(C)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(C, 4 * C), torch.nn.GELU(), torch.nn.Linear(4 * C, C)
        )

    def forward(self, x, mask):
        h = self.norm_1(x)
        x = x + self.attention(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.norm_2(x))


class TorchGPT(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.token_embedding = torch.nn.Embedding(c.vocab_size, c.d_model)
        self.position_embedding = torch.nn.Embedding(c.context_length, c.d_model)
        self.blocks = torch.nn.ModuleList(
            TorchBlock(c.d_model, c.n_heads) for _ in range(c.n_layers)
        )
        self.norm = torch.nn.LayerNorm(c.d_model)
        self.head = torch.nn.Linear(c.d_model, c.vocab_size, bias=False)
        mask = torch.ones(c.context_length, c.context_length, dtype=torch.bool).triu(1)
        self.register_buffer("causal_mask", mask, persistent=False)

    def forward(self, idx, targets):
        T = idx.shape[1]
        x = self.token_embedding(idx) + self.position_embedding(torch.arange(T))
        for block in self.blocks:
            x = block(x, self.causal_mask[:T, :T])
        logits = self.head(self.norm(x))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


def losses(lib, model, batches, steps_of):
    """The losses of AdamW steps, with clipping, on the batches."""
    optimizer = steps_of(model)
    out = []
    for x, y in batches:
        _, loss = model(lib.tensor(x), lib.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        lib.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        out.append(loss.item())
    return out


@pytest.mark.parametrize("dtype, steps, tolerance", [("float32", 50, 1e-5), ("float64", 200, 1e-9)])
def test_steps_of_adamw(dtype, steps, tolerance):
    """Rounding grows with every step: float32 is compared for 50 of them, float64 for 200."""
    config = MiniGPTConfig(dropout=0.0)
    torch.manual_seed(0)
    theirs = TorchGPT(config).to(getattr(torch, dtype))
    ours = MiniGPT(config).to(getattr(mt, dtype))
    state = theirs.state_dict()
    assert list(state) == list(ours.state_dict())
    ours.load_state_dict({name: mt.tensor(t.numpy()) for name, t in state.items()})

    # Text-like: a few tokens are frequent, so that there is something to learn.
    random = np.random.default_rng(0)
    text = random.zipf(1.3, 20_000) % 256
    T = config.context_length
    starts = random.integers(0, len(text) - T - 1, (steps, 4))
    windows = text[starts[..., None] + np.arange(T + 1)]
    batches = [(w[:, :-1], w[:, 1:]) for w in windows]

    def adamw(lib):
        return lambda model: lib.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)

    expected = losses(torch, theirs, batches, adamw(torch))
    got = losses(mt, ours, batches, adamw(mt))
    assert expected[-1] < expected[0] - 1
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def test_the_logits_of_a_state_dict_and_back():
    config = MiniGPTConfig(vocab_size=50, context_length=16, d_model=24, n_heads=2, n_layers=2)
    mt.manual_seed(1)
    ours, theirs = MiniGPT(config).eval(), TorchGPT(config).eval()
    theirs.load_state_dict(
        {name: torch.from_numpy(t.numpy()) for name, t in ours.state_dict().items()}
    )
    idx = np.random.default_rng(1).integers(0, 50, (3, 16))
    expected, loss = theirs(torch.tensor(idx), torch.tensor(idx))
    got, our_loss = ours(mt.tensor(idx), mt.tensor(idx))
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), atol=1e-5)
    assert our_loss.item() == pytest.approx(loss.item(), abs=1e-6)


def test_weights_begin_with_the_distributions_of_pytorch():
    ours, theirs = MiniGPT().state_dict(), TorchGPT(MiniGPTConfig()).state_dict()
    for name, t in theirs.items():
        a, b = ours[name].numpy().ravel(), t.numpy().ravel()
        spread = b.std() / np.sqrt(len(b))
        assert abs(a.mean() - b.mean()) <= 6 * spread, name
        # relative error of a standard deviation: at most √(0.5 / n) for normal numbers
        np.testing.assert_allclose(a.std(), b.std(), rtol=6 * np.sqrt(1 / len(b)), err_msg=name)


# ---- the program in one file -------------------------------------------------------------------


def original(name):
    """A program as its author wrote it."""
    spec = importlib.util.spec_from_file_location("original", PROGRAMS / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dtype, tolerance", DTYPES)
def test_the_one_file_gpt_gives_the_same_losses(dtype, tolerance):
    programs = original("mini_gpt.py"), imported("mini_gpt.py")
    assert programs[0].torch is torch and programs[1].torch is mt
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    state, out = None, []
    starts = random.integers(0, 300, (50, 4))
    for program in programs:
        lib = program.torch
        text = np.frombuffer(program.TEXT.encode(), np.uint8).astype(np.int64) % 32
        model = program.GPT(program.Config()).to(getattr(lib, dtype))
        state = state or {name: t.numpy().copy() for name, t in model.state_dict().items()}
        model.load_state_dict({name: lib.tensor(array) for name, array in state.items()})
        optimizer = program.configure_optimizer(model, 3e-3, 0.1)
        windows = text[starts[..., None] + np.arange(33)]
        out.append(
            [
                program.train_step(model, optimizer, lib.tensor(w[:, :-1]), lib.tensor(w[:, 1:]))
                for w in windows
            ]
        )
    assert out[0][-1] < out[0][0] - 1
    np.testing.assert_allclose(out[1], out[0], rtol=0, atol=tolerance)
