"""Public packages written for PyTorch run unmodified under `as_torch()`: same weights, same losses.

A row names a package of public.txt, builds a small model with it, and says what its loss is: a
function of the torch that the package was imported with and of `ints` and `floats`, which give both
libraries the same numbers. It is trained a few steps with both. A row whose package is not
installed is skipped; `pip install --no-deps -r tests/parity/public.txt` brings them all.
"""

import contextlib
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from microtensor.compat import as_torch

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # the packages' own, and advice that torch gives

PACKAGES = re.findall(r"^(\w+)==", Path(__file__).with_name("public.txt").read_text(), re.M)
PACKAGES.append("transformers")  # which CI installs with all that it needs
ROWS = []
WIDTH, VOCABULARY = 16, 17


def row(package, rtol=1e-9, dtype="float64"):
    """Add a row. A tolerance of float32 is that of models that compute parts in it, always."""

    def add(build):
        mark = pytest.mark.skipif(
            importlib.util.find_spec(package) is None, reason=f"{package} is not installed"
        )
        name = f"{package}-{build.__name__}"
        ROWS.append(pytest.param(build, rtol, dtype, marks=mark, id=name))
        return build

    return add


def next_token(torch, model, x, y):
    """The loss of a language model."""
    return lambda: torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())


# ---- language models -----------------------------------------------------------------


@row("llms_from_scratch")
def gpt(torch, ints, floats):
    from llms_from_scratch.ch04 import GPTModel

    model = GPTModel({
        "vocab_size": VOCABULARY, "context_length": 8, "emb_dim": 12, "n_heads": 3, "n_layers": 2,
        "drop_rate": 0.0, "qkv_bias": True,
    })  # fmt: skip
    return model, next_token(torch, model, ints(2, 8), ints(2, 8))


@row("llms_from_scratch", rtol=1e-6)
def qwen_with_a_cache(torch, ints, floats):
    from llms_from_scratch.kv_cache.generate import generate_text_simple
    from llms_from_scratch.kv_cache.qwen3 import Qwen3Model

    model = Qwen3Model({
        "vocab_size": VOCABULARY, "context_length": 8, "emb_dim": 12, "n_heads": 4, "n_layers": 2,
        "n_kv_groups": 2, "head_dim": 6, "hidden_dim": 20, "qk_norm": True, "rope_base": 1e4,
        "dtype": torch.float64,
    })  # fmt: skip
    prompt, loss = ints(2, 3), next_token(torch, model, ints(2, 8), ints(2, 8))
    return model, loss, lambda: generate_text_simple(model, prompt, 5)


@row("transformers", rtol=1e-6)
def llama(torch, ints, floats):
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=20, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, eos_token_id=None, pad_token_id=0,
        )
    )  # fmt: skip
    x, prompt = ints(2, 8), ints(2, 3)
    return (
        model,
        lambda: model(input_ids=x, labels=x).loss,
        lambda: model.generate(prompt, max_new_tokens=5, do_sample=False),
    )


@row("x_transformers", rtol=1e-6)
def decoder(torch, ints, floats):
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    layers = Decoder(
        dim=WIDTH, depth=2, heads=2, attn_dim_head=32, attn_kv_heads=1, attn_qk_norm=True,
        ff_glu=True, ff_swish=True, rotary_pos_emb=True, use_rmsnorm=True,
    )  # fmt: skip
    model = TransformerWrapper(num_tokens=VOCABULARY, max_seq_len=8, attn_layers=layers)
    model = AutoregressiveWrapper(model)
    x, prompt = ints(2, 8), ints(2, 3)
    return model, lambda: model(x), lambda: model.generate(prompt, 5, temperature=0.0)


@row("mambapy")
def mamba(torch, ints, floats):
    from mambapy.mamba import Mamba, MambaConfig

    model = torch.nn.Sequential(
        torch.nn.Embedding(VOCABULARY, 8), Mamba(MambaConfig(d_model=8, n_layers=2, d_state=4)),
        torch.nn.Linear(8, VOCABULARY),
    )  # fmt: skip
    return model, next_token(torch, model, ints(2, 6), ints(2, 6))


@row("linformer")
def reversible_linear_attention(torch, ints, floats):
    from linformer import LinformerLM

    model = LinformerLM(VOCABULARY, WIDTH, seq_len=8, depth=2, heads=2, k=4, reversible=True)
    return model, next_token(torch, model, ints(2, 8), ints(2, 8))


@row("xlstm")
def both_kinds_of_memory(torch, ints, floats):
    import xlstm

    matrix = xlstm.mLSTMBlockConfig(mlstm=xlstm.mLSTMLayerConfig(num_heads=2))
    scalar = xlstm.sLSTMBlockConfig(
        slstm=xlstm.sLSTMLayerConfig(backend="vanilla", num_heads=2),
        feedforward=xlstm.FeedForwardConfig(act_fn="gelu"),
    )
    model = xlstm.xLSTMLMModel(
        xlstm.xLSTMLMModelConfig(
            matrix, scalar, vocab_size=VOCABULARY, context_length=6, num_blocks=2,
            embedding_dim=WIDTH, slstm_at=[1],
        )
    )  # fmt: skip
    return model, next_token(torch, model, ints(2, 6), ints(2, 6))


@row("bert_pytorch")
def bert(torch, ints, floats):
    from bert_pytorch.model import BERT, BERTLM

    model = BERTLM(BERT(VOCABULARY, hidden=12, n_layers=2, attn_heads=3), VOCABULARY)
    x, segments, follows, y = ints(2, 7), ints(2, 7, below=3), ints(2, below=2), ints(2, 7)
    nll = torch.nn.functional.nll_loss

    def loss():
        next_sentence, tokens = model(x, segments)
        return nll(next_sentence, follows) + nll(tokens.transpose(1, 2), y, ignore_index=0)

    return model, loss


@row("labml_nn")
def feedback_transformer(torch, ints, floats):
    from labml_nn.transformers import feedback
    from labml_nn.transformers.feed_forward import FeedForward

    layer = feedback.FeedbackTransformerLayer(
        d_model=8,
        attn=feedback.FeedbackAttention(2, 8, is_kv_precomputed=True),
        feed_forward=FeedForward(8, 12),
        dropout_prob=0.0,
    )
    model, x = feedback.FeedbackTransformerKV(layer, 2, 8, 2), floats(5, 2, 8)
    return model, lambda: model(x).sin().sum()


@row("labml_nn")
def a_memory_within_a_memory(torch, ints, floats):
    from labml_nn.hypernetworks.hyper_lstm import HyperLSTM

    model, x = HyperLSTM(4, 5, 3, 2, 2), floats(6, 2, 4)
    return model, lambda: model(x)[0].square().mean()


# ---- what such models are made of ----------------------------------------------------


@row("einops")
def axes_by_name(torch, ints, floats):
    from einops import einsum, pack, rearrange, reduce, repeat, unpack
    from einops.layers.torch import EinMix, Rearrange, Reduce

    model = torch.nn.Sequential(
        Rearrange("b (h d) n -> b h n d", h=2),
        EinMix("b h n d -> b h n k", weight_shape="h d k", bias_shape="h k", h=2, d=3, k=4),
        Reduce("b h (n two) k -> b h n k", "max", two=2),
    )
    x, other = floats(2, 6, 4), floats(2, 2, 2, 5)

    def loss():
        y, shapes = pack([model(x), other], "b h n *")
        y, last = unpack(repeat(y, "b ... -> (b 2) ..."), shapes, "b h n *")
        y = einsum(rearrange([y, y], "two b h n k -> b (two h) n k"), last, "b h n k, b i n j -> k")
        return reduce(y.sin(), "k ->", "mean")

    return model, loss


@row("rotary_embedding_torch", rtol=1e-6)
def turned_queries_and_keys(torch, ints, floats):
    from rotary_embedding_torch import RotaryEmbedding

    rotary = RotaryEmbedding(dim=4, use_xpos=True, learned_freq=False)
    model = torch.nn.ModuleList([torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), rotary])
    x = floats(2, 6, 8)

    def loss():
        q, k = rotary.rotate_queries_and_keys(model[0](x)[:, None], model[1](x)[:, None])
        return torch.nn.functional.scaled_dot_product_attention(q, k, k).sin().sum()

    return model, loss


@row("entmax")
def sparse_probabilities(torch, ints, floats):
    from entmax import Entmax15Loss, Sparsemax, entmax_bisect

    model = torch.nn.Sequential(torch.nn.Linear(4, 7), Sparsemax(-1), torch.nn.Linear(7, 9))
    x, y = floats(5, 4), ints(5, below=9)

    def loss():
        scores = model(x)
        return Entmax15Loss()(scores, y) + entmax_bisect(scores, alpha=1.3, dim=-1).square().sum()

    return model, loss


# ---- optimizers, and learning to learn -----------------------------------------------


def classifier(torch, ints, floats):
    """A small one, and its loss."""
    nn = torch.nn
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(9, 6), nn.Tanh(),
                          nn.Linear(6, 4))  # fmt: skip
    x, y = floats(6, 2, 5), ints(6, below=4)
    return model, lambda: nn.functional.cross_entropy(model(x), y)


def after_steps(torch, model, loss, make, state=None):
    """What an optimizer makes of the parameters, with a checkpoint in the middle."""

    def parameters():
        optimizer = make(model.parameters())
        for step in range(4):
            if step == 2:
                state, optimizer = optimizer.state_dict(), make(model.parameters())
                optimizer.load_state_dict(state)
            if hasattr(optimizer, "train"):
                optimizer.train()
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        if hasattr(optimizer, "eval"):
            optimizer.eval()
        return torch.nn.utils.parameters_to_vector(model.parameters()).detach()

    return parameters


@row("torch_optimizer")
def each_of_its_optimizers(torch, ints, floats):
    import torch_optimizer

    model, loss = classifier(torch, ints, floats)
    names = (
        "A2GradExp A2GradInc A2GradUni AccSGD AdaBelief AdaBound AdaMod AdamP AggMo Apollo "
        "DiffGrad LARS Lamb MADGRAD NovoGrad PID QHAdam QHM RAdam Ranger RangerQH RangerVA SGDP "
        "SGDW SWATS Shampoo Yogi"
    ).split()
    kinds = [getattr(torch_optimizer, name) for name in names]
    return model, loss, *(after_steps(torch, model, loss, kind) for kind in kinds)


@row("schedulefree")
def steps_for_all_parameters_at_once(torch, ints, floats):
    import schedulefree

    model, loss = classifier(torch, ints, floats)
    kinds = [
        lambda params, kind=kind, foreach=foreach: kind(params, lr=0.05, foreach=foreach)
        for kind in (
            schedulefree.SGDScheduleFree,
            schedulefree.AdamWScheduleFree,
            schedulefree.RAdamScheduleFree,
        )
        for foreach in (True, False)
    ]
    return model, loss, *(after_steps(torch, model, loss, kind) for kind in kinds)


@row("lion_pytorch")
def signs(torch, ints, floats):
    from lion_pytorch import Lion

    model, loss = classifier(torch, ints, floats)
    return model, loss, after_steps(torch, model, loss, lambda params: Lion(params, lr=1e-2))


@row("prodigyopt")
def no_learning_rate(torch, ints, floats):
    from prodigyopt import Prodigy

    model, loss = classifier(torch, ints, floats)
    return model, loss, after_steps(torch, model, loss, lambda params: Prodigy(params, d0=1e-3))


@row("higher")
def steps_within_the_loss(torch, ints, floats):
    import higher

    nn = torch.nn
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 1))
    inner = torch.optim.Adam(model.parameters(), lr=1e-2, eps=1e-3)
    x, y, held_out, answers = floats(6, 3), floats(6, 1), floats(4, 3), floats(4, 1)

    def loss():
        with higher.innerloop_ctx(model, inner, copy_initial_weights=False) as (learner, steps):
            for _ in range(2):
                steps.step(nn.functional.mse_loss(learner(x), y))
            return nn.functional.mse_loss(learner(held_out), answers)

    return model, loss


# ---- pictures ------------------------------------------------------------------------


@row("torchvision", rtol=1e-7)
def residual_network(torch, ints, floats):
    from torchvision.models import ResNet
    from torchvision.models.resnet import BasicBlock

    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4).eval()
    x, y = floats(4, 3, 48, 48), ints(4, below=4)  # few to be normalized by: not in each step
    loss = lambda: torch.nn.functional.cross_entropy(model(x), y)
    return model, loss, lambda: model.train()(x).detach()


@row("torchvision", rtol=1e-5, dtype="float32")
def transforms_of_pictures(torch, ints, floats):
    from torchvision import transforms
    from torchvision.transforms import functional, v2

    old = transforms.Compose([
        transforms.Resize((12, 14)), transforms.CenterCrop(10), transforms.GaussianBlur(3, 1.0),
        transforms.Normalize([0.5] * 3, [0.2] * 3),
    ])  # fmt: skip
    new = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Resize(9), v2.Grayscale(3)])
    picture, whole = floats(3, 20, 24).sigmoid(), ints(3, 20, 24, below=256).to(torch.uint8)
    model = torch.nn.Linear(10, 1)
    return (
        model,
        lambda: model(old(picture)).square().mean(),
        lambda: new(whole),
        lambda: functional.rotate(picture, 30.0),
        lambda: functional.adjust_hue(picture, 0.1),
        lambda: functional.perspective(picture, [[0, 0], [9, 0], [9, 9], [0, 9]],
                                       [[1, 0], [9, 1], [8, 9], [0, 8]]),
    )  # fmt: skip


@row("timm", rtol=1e-6)
def vision_transformer(torch, ints, floats):
    import timm

    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=3)
    x, y = floats(2, 3, 32, 32), ints(2, below=3)
    return model, lambda: torch.nn.functional.cross_entropy(model(x), y)


@row("timm", rtol=1e-6)
def convolutions_of_now(torch, ints, floats):
    import timm

    model = timm.create_model(
        "convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 12, 12), num_classes=3
    )
    x, y = floats(2, 3, 32, 32), ints(2, below=3)
    return model, lambda: torch.nn.functional.cross_entropy(model(x), y)


@row("diffusers", rtol=1e-5)
def denoising_by_ddim(torch, ints, floats):
    from diffusers import DDIMScheduler, UNet2DModel

    model = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=8,
    )  # fmt: skip
    x, noise, when = floats(2, 1, 8, 8), floats(2, 1, 8, 8), torch.tensor([10, 700])
    schedule = DDIMScheduler()

    def loss():
        found = model(schedule.add_noise(x, noise, when), when).sample
        return torch.nn.functional.mse_loss(found, noise)

    def drawn():
        schedule.set_timesteps(3)
        y = noise
        with torch.no_grad():
            for t in schedule.timesteps:
                y = schedule.step(model(y, t).sample, t, y).prev_sample
        return y

    return model, loss, drawn


@row("captum")
def attributions(torch, ints, floats):
    from captum import attr

    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    x, y = floats(2, 1, 6, 6), ints(2, below=3)

    def attributed(kind, *layer, **options):
        return lambda: kind(model, *layer).attribute(x, target=1, **options).detach()

    return (
        model,
        lambda: nn.functional.cross_entropy(model(x), y),
        attributed(attr.IntegratedGradients, n_steps=8),
        attributed(attr.Saliency),
        attributed(attr.DeepLift),
        attributed(attr.LayerGradCam, model[0]),
        attributed(attr.Occlusion, sliding_window_shapes=(1, 2, 2)),
    )


@row("kornia", rtol=1e-6)
def filters_and_colours(torch, ints, floats):
    import kornia

    x = floats(1, 3, 12, 12).sigmoid()
    model = torch.nn.Conv2d(3, 3, 3, padding=1)
    return (
        model,
        lambda: kornia.losses.ssim_loss(
            kornia.filters.gaussian_blur2d(model(x), (3, 3), (1.0, 1.0)), x, 5
        ),
        lambda: kornia.filters.sobel(x),
        lambda: kornia.color.rgb_to_hsv(x),
        lambda: kornia.color.rgb_to_lab(x),
        lambda: kornia.geometry.rotate(x, torch.tensor([30.0])),
        lambda: kornia.morphology.dilation(x, torch.ones(3, 3)),
    )


# ---- graphs, distances, equations, averages --------------------------------------------


@row("torch_geometric")
def convolutions_of_graphs(torch, ints, floats):
    from torch_geometric import nn as graphs
    from torch_geometric.data import Batch, Data

    edges, x = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]]), floats(4, 3)
    both = Batch.from_data_list([Data(x=x, edge_index=edges), Data(x=x + 1, edge_index=edges)])
    model = torch.nn.ModuleList([
        graphs.GCNConv(3, 4), graphs.GATConv(4, 4, heads=2), graphs.SAGEConv(8, 4),
        graphs.GINConv(torch.nn.Linear(4, 3)),
    ])  # fmt: skip

    def loss():
        h = both.x
        for layer in model:
            h = layer(h, both.edge_index).tanh()
        return graphs.global_mean_pool(h, both.batch).square().sum()

    return model, loss


@row("geomloss", rtol=1e-7)
def distance_of_samples(torch, ints, floats):
    from geomloss import SamplesLoss

    model, x, y = torch.nn.Linear(2, 2), floats(6, 2), floats(5, 2)
    near = SamplesLoss("sinkhorn", p=2, blur=0.05, backend="tensorized")
    smooth = SamplesLoss("gaussian", blur=0.5, backend="tensorized")
    return model, lambda: near(model(x), y) + smooth(model(x), y)


@row("torch_ema")
def averages_of_parameters(torch, ints, floats):
    from ema_pytorch import EMA
    from torch_ema import ExponentialMovingAverage

    model, loss = classifier(torch, ints, floats)
    averages = []

    def step():
        if not averages:  # which copy the parameters, as both libraries have them by now
            averages.append(ExponentialMovingAverage(model.parameters(), 0.9))
            averages.append(EMA(model, beta=0.9, update_every=1, update_after_step=0))
        for average in averages:
            average.update()
        return loss()

    def averaged():
        first, second = averages
        with first.average_parameters():
            one = loss().detach()
        return one + second(floats(1, 2, 5)).sum().detach()

    return torch.nn.ModuleList([model]), step, averaged


@row("numpy", rtol=1e-8)  # no package: as such networks are written
def network_informed_by_physics(torch, ints, floats):
    nn, grad = torch.nn, torch.autograd.grad
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    points = floats(20, 2).sigmoid().requires_grad_()

    def loss():  # Burgers' equation: u_t + u u_x = ν u_xx
        u = model(points)
        du = grad(u, points, torch.ones_like(u), create_graph=True)[0]
        ut, ux = du[:, 0:1], du[:, 1:2]
        uxx = grad(ux, points, torch.ones_like(ux), create_graph=True)[0][:, 1:2]
        start = model(torch.cat([torch.zeros(5, 1), torch.linspace(-1, 1, 5)[:, None]], 1))
        return (ut + u * ux - 0.01 * uxx).square().mean() + start.square().mean()

    return model, loss


# ---- the test ------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def one_thread():
    """PyTorch on one thread: these models are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@contextlib.contextmanager
def imported_anew():
    """Within, the packages are imported with the torch of now; afterwards they are forgotten."""

    def taken():
        names = [name for name in sys.modules if name.split(".")[0] in PACKAGES]
        return {name: sys.modules.pop(name) for name in names}

    before = taken()
    try:
        yield
    finally:
        taken()
        sys.modules.update(before)


def trained(torch, build, dtype, state=None):
    """(state before, what it says of itself, numbers): gradients, losses, what is then written."""
    rng = np.random.default_rng(0)

    def ints(*shape, below=VOCABULARY):
        return torch.tensor(
            rng.integers(1, below, shape) if below > 2 else rng.integers(0, 2, shape)
        )

    def floats(*shape):
        return torch.tensor(rng.standard_normal(shape).astype(dtype))

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        model, loss, *then = build(torch, ints, floats)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # the two libraries draw other numbers
        if state is not None:
            model.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
        state = {name: t.numpy().copy() for name, t in model.state_dict().items()}
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-4)
        numbers = []
        for step in range(4):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            if not step:
                numbers += [p.grad.numpy().copy() for p in model.parameters() if p.grad is not None]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            numbers.append(value.detach().numpy())
        model.eval()
        numbers += [write().numpy() for write in then]
    finally:
        torch.set_default_dtype(before)
    return state, str(model), numbers


@pytest.mark.parametrize("build, rtol, dtype", ROWS)
def test_same_losses(build, rtol, dtype):
    with imported_anew():
        state, told, theirs = trained(torch, build, dtype)
    with as_torch() as mt, imported_anew():
        again, said, ours = trained(mt, build, dtype, state)
    assert list(again) == list(state) and said == told
    assert len(ours) == len(theirs) >= 4
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, strict=True)
