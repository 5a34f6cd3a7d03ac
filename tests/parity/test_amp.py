"""bfloat16, autocast and GradScaler beside PyTorch's on the CPU."""

import contextlib
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import microtensor as mt  # noqa: E402

torch.set_num_threads(1)  # where others want the cores too, more of them are slower

# ---- bfloat16 ------------------------------------------------------------------------


def both(function):
    return function(mt), function(torch)


def name(dtype):
    return str(dtype).split(".")[-1]


def test_numbers_are_rounded_as_pytorch_does():
    bits = np.random.default_rng(0).integers(0, 1 << 32, 20_000, dtype=np.uint32)
    edges = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x00000001, 0x00008000,
                      0x7F800000, 0xFF800000, 0x7FC00000, 0x80000000], np.uint32)  # fmt: skip
    x = np.concatenate([bits, edges]).view(np.float32)
    x = np.where(np.isnan(x), np.float32(np.nan), x)
    ours, theirs = both(lambda m: m.tensor(x).to(m.bfloat16).float())
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    signs = np.signbit([ours.numpy(), theirs.numpy()])[:, ~np.isnan(x)]
    assert np.array_equal(*signs)


def test_dtypes_mix_as_in_pytorch():
    kinds = ["bfloat16", "float16", "float32", "float64", "int64", "bool"]

    def mixed(m):
        tensors = [m.ones(s, dtype=getattr(m, k)) for k in kinds for s in [(2,), ()]]
        found = [name((a * b).dtype) for a in tensors for b in [*tensors, 2, 2.5]]
        types = [name(m.promote_types(getattr(m, a), getattr(m, b))) for a in kinds for b in kinds]
        return found + types

    ours, theirs = both(mixed)
    assert ours == theirs


def test_limits():
    for what in ("bits", "max", "min", "eps", "tiny", "smallest_normal", "resolution"):
        ours, theirs = both(lambda m, what=what: getattr(m.finfo(m.bfloat16), what))
        assert ours == theirs


def test_float16_does_not_overflow_on_the_way():
    x = (np.random.default_rng(0).normal(size=(4, 64)) * 500).astype(np.float16)

    def normalized(m):
        F = m.nn.functional
        found = []
        for function in (
            lambda t: F.layer_norm(t, (64,), m.ones(64, dtype=m.float16)),
            lambda t: F.rms_norm(t, (64,), m.ones(64, dtype=m.float16)),
            F.gelu,
            lambda t: F.gelu(t, approximate="tanh"),
            lambda t: t.norm(dim=1),
            lambda t: (t / 16).var(1),
            lambda t: t.std(0),
            lambda t: m.linalg.vector_norm(t * 2**-16, 3),
        ):
            t = m.tensor(x).requires_grad_()
            y = function(t)
            (y.float() / 64).square().sum().backward()
            assert t.grad.dtype is y.dtype is m.float16
            found += [y.detach().float().numpy(), t.grad.float().numpy()]
        return found

    for ours, theirs in zip(*both(normalized)):
        np.testing.assert_allclose(ours, theirs, rtol=4e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_precision_is_rounded_once(kind):
    rows = np.random.default_rng(0).normal(size=(2, 8, 32)).astype(np.float32)

    def found(m):
        F, found = m.nn.functional, []
        for function, with_gradient in [
            (lambda x, y: F.silu(x), True),
            (lambda x, y: F.softplus(x, 2.0), True),
            (lambda x, y: F.elu(x), True),
            (lambda x, y: m.lerp(x, y, 0.3), True),
            (lambda x, y: m.lerp(x, y, y), False),  # whose gradient PyTorch rounds at every step
            (lambda x, y: F.logsigmoid(x), False),
            (lambda x, y: F.sigmoid(x), False),
            (lambda x, y: x.abs().rsqrt(), False),
            (lambda x, y: F.rms_norm(x / 256, (32,)), False),  # so small that eps is seen
        ]:
            x, y = (m.tensor(r).to(getattr(m, kind)).requires_grad_() for r in rows)
            value = function(x, y)
            value.sum().backward()
            assert value.dtype is x.grad.dtype is x.dtype
            found += [value, *([x.grad] if with_gradient else [])]
        return [t.detach().float().numpy() for t in found]

    for ours, theirs in zip(*both(found), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2**-7 if kind == "bfloat16" else 2**-10)
        assert (ours == theirs).mean() > 0.97  # float32's own last bit decides now and then


# ---- autocast ------------------------------------------------------------------------

SQUARE = np.random.default_rng(0).uniform(0.1, 1, (3, 3)).astype(np.float32)


def calls(m, cast):
    """Functions that autocast treats in different ways, with inputs that `cast` has touched."""
    F = m.nn.functional
    a = cast(m.tensor(SQUARE))
    b, v = cast(m.tensor(SQUARE.T.copy())), cast(m.tensor(SQUARE[0]))
    batch, image = a[None], cast(m.tensor(SQUARE.reshape(1, 1, 3, 3)))
    classes, full = m.tensor([0, 1, 2]), m.tensor(SQUARE)
    norm = {"weight": m.ones(3), "bias": m.zeros(3)}
    yield from {
        "matmul": lambda: a @ b, "mm": lambda: m.mm(a, b), "bmm": lambda: m.bmm(batch, batch),
        "mv": lambda: m.mv(a, v), "dot": lambda: m.dot(v, v), "outer": lambda: m.outer(v, v),
        "addmm": lambda: m.addmm(a, a, b), "baddbmm": lambda: m.baddbmm(batch, batch, batch),
        "tensordot": lambda: m.tensordot(a, b, 1), "vecdot": lambda: m.linalg.vecdot(a, b),
        "product": lambda: m.einsum("ij,jk->ik", a, b), "angles": lambda: m.einsum("i,j->ij", v, v),
        "sums": lambda: m.einsum("ij->i", a), "linear": lambda: F.linear(a, b, v),
        "conv1d": lambda: F.conv1d(batch, batch), "conv2d": lambda: F.conv2d(image, image),
        "prelu": lambda: F.prelu(a, v[:1]), "bilinear": lambda: F.bilinear(a, b, batch),
        "attention": lambda: F.scaled_dot_product_attention(image, image, image),
        "softmax": lambda: F.softmax(a, -1), "gelu": lambda: F.gelu(a), "exp": lambda: a.exp(),
        "sum": lambda: a.sum(), "var": lambda: a.var(), "cumsum": lambda: a.cumsum(0),
        "prod": lambda: a.prod(), "trace": lambda: m.trace(a),
        "quantile": lambda: m.quantile(v, 0.5),
        "cdist": lambda: m.cdist(a, b), "norm": lambda: a.norm(), "inv": lambda: m.linalg.inv(a),
        "solve": lambda: m.linalg.solve(a, b), "qr": lambda: m.linalg.qr(a)[0],
        "layer_norm": lambda: F.layer_norm(a, (3,), **norm), "cat": lambda: m.cat([a, full]),
        "batch_norm": lambda: F.batch_norm(a, m.zeros(3), m.ones(3), training=True, **norm),
        "group_norm": lambda: F.group_norm(a, 1, **norm), "where": lambda: m.where(a > 0, a, full),
        "embedding": lambda: F.embedding(classes, a), "add": lambda: a + full,
        "cross_entropy": lambda: F.cross_entropy(a, classes), "nll": lambda: F.nll_loss(a, classes),
        "mse": lambda: F.mse_loss(a, b), "l1": lambda: F.l1_loss(a, b),
        "kl": lambda: F.kl_div(a, b, reduction="sum"),
        "huber": lambda: F.huber_loss(a, b), "bce": lambda: F.binary_cross_entropy(a, b),
        "logits": lambda: F.binary_cross_entropy_with_logits(a, b),
        "lstm": lambda: m.nn.LSTM(3, 3)(batch)[0], "rnn": lambda: m.nn.RNN(3, 3)(batch)[0],
        "gru": lambda: m.nn.GRU(3, 3)(batch)[0], "lstm_cell": lambda: m.nn.LSTMCell(3, 3)(a)[0],
        "gru_cell": lambda: m.nn.GRUCell(3, 3)(a),
        "multihead": lambda: m.nn.MultiheadAttention(3, 1)(batch, batch, batch)[0],
        "encoder": lambda: m.nn.TransformerEncoderLayer(3, 1, 4)(batch),
        "masked": lambda: F.scaled_dot_product_attention(batch, batch, batch, full),
    }.items()  # fmt: skip


@pytest.mark.parametrize("given", ["float32", "bfloat16"])
def test_the_dtypes_of_results_are_pytorchs(given):
    def dtype_of(f):
        try:
            return name(f().dtype)
        except RuntimeError as error:  # PyTorch's own LSTM of bfloat16 is not for every processor
            if "could not create a primitive" not in str(error):
                raise
            return None

    def found(m):
        with m.autocast("cpu", dtype=m.bfloat16):
            return {n: dtype_of(f) for n, f in calls(m, lambda x: x.to(getattr(m, given)))}

    ours, theirs = both(found)
    unable = {n for n, dtype in theirs.items() if dtype is None}
    assert unable <= {"lstm"} and None not in ours.values()
    assert {n: d for n, d in ours.items() if n not in unable} == {
        n: d for n, d in theirs.items() if n not in unable
    }


def test_float64_stays():
    def found(m):
        a = m.ones(2, 2, dtype=m.float64)
        with m.autocast("cpu"):
            return name((a @ a).dtype), name(m.nn.functional.mse_loss(a, a + 1).dtype)

    ours, theirs = both(found)
    assert ours == theirs == ("float64", "float64")


def network(m, weights):
    """A small transformer's parameters, and its loss for a batch."""
    F = m.nn.functional
    w = {k: m.tensor(v).requires_grad_() for k, v in weights.items()}

    def loss(ids):
        x = F.embedding(m.tensor(ids[:, :-1]), w["wte"])
        for i in range(2):
            h = F.layer_norm(x, (32,), w[f"{i}.ln1"])
            q, k, v = (p.reshape(8, 16, 4, 8).transpose(1, 2)
                       for p in F.linear(h, w[f"{i}.qkv"]).split(32, -1))  # fmt: skip
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + F.linear(y.transpose(1, 2).reshape(8, 16, 32), w[f"{i}.proj"])
            h = F.layer_norm(x, (32,), w[f"{i}.ln2"])
            x = x + F.linear(F.gelu(F.linear(h, w[f"{i}.up"])), w[f"{i}.down"])
        logits = F.linear(x, w["wte"])
        return F.cross_entropy(logits.reshape(-1, 40), m.tensor(ids[:, 1:]).reshape(-1))

    return list(w.values()), loss


def trained(m, weights, batches, how):
    parameters, loss_of = network(m, weights)
    optimizer = m.optim.AdamW(parameters, lr=1e-3)
    losses = []
    for ids in batches:
        with m.autocast("cpu") if how == "autocast" else contextlib.nullcontext():
            loss = loss_of(ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad.dtype is m.float32 for p in parameters)
    return np.array(losses)


def test_training_is_as_far_from_float32_as_pytorchs():
    r = np.random.default_rng(0)
    shapes = {"wte": (40, 32)}
    for i in range(2):
        shapes |= {f"{i}.qkv": (96, 32), f"{i}.proj": (32, 32), f"{i}.up": (64, 32),
                   f"{i}.down": (32, 64)}  # fmt: skip
    weights = {k: r.normal(0, 0.1, s).astype(np.float32) for k, s in shapes.items()}
    weights |= {f"{i}.ln{j}": np.ones(32, np.float32) for i in range(2) for j in (1, 2)}
    batches = [np.minimum(r.integers(0, 40, (8, 17)), r.integers(0, 40, (8, 17)))
               for _ in range(30)]  # fmt: skip
    exact = trained(torch, weights, batches, "float32")
    theirs = trained(torch, weights, batches, "autocast")
    ours = trained(mt, weights, batches, "autocast")
    far, farther = np.abs(ours - exact), np.abs(theirs - exact)
    assert exact[-1] < exact[0] - 0.1 and farther.max() > 1e-5
    assert far.mean() < 1.5 * farther.mean() and far.max() < 2 * farther.max()
    assert far.mean() > farther.mean() / 2 and np.abs(ours - theirs).max() < 2 * farther.max()


def test_functions_by_hand():
    def seen(m):
        told = []

        class Double(m.autograd.Function):
            @staticmethod
            @m.amp.custom_fwd(device_type="cpu", cast_inputs=m.float32)
            def forward(ctx, x):
                told.append((name(x.dtype), m.is_autocast_enabled("cpu")))
                return x * 2

            @staticmethod
            @m.amp.custom_bwd(device_type="cpu")
            def backward(ctx, g):
                told.append((name(g.dtype), m.is_autocast_enabled("cpu")))
                return g * 2

        class Square(m.autograd.Function):
            @staticmethod
            @m.amp.custom_fwd(device_type="cpu")
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x @ x

            @staticmethod
            @m.amp.custom_bwd(device_type="cpu")
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                told.append((name((x @ x).dtype), m.is_autocast_enabled("cpu")))
                return x

        for function in (Double, Square):
            x = m.ones(2, 2, requires_grad=True)
            with m.autocast("cpu"):
                y = function.apply((x @ x) if function is Double else x * 1)
            y.float().sum().backward()
            told.append((name(y.dtype), name(x.grad.dtype)))
        return told

    ours, theirs = both(seen)
    assert ours == theirs


# ---- GradScaler ----------------------------------------------------------------------


def scaled(m, seed):
    """What a scaler does in a random order of calls, right ones and wrong ones."""
    r, told = random.Random(seed), []
    ps = [m.ones(2, requires_grad=True) for _ in range(2)]
    optimizers = [m.optim.SGD([p], lr=0.125) for p in ps]
    scaler = m.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)

    def backward(slope):
        for o in optimizers:
            o.zero_grad()
        scaler.scale(sum((p * slope).sum() for p in ps)).backward()

    for _ in range(40):
        i, slope = r.randrange(2), r.choice([0.5, 0.5, 0.5, 1.5, float("inf"), float("nan")])
        call = r.choice([
            lambda s=slope: backward(s), lambda s=slope: backward(s),
            lambda i=i: scaler.step(optimizers[i]), lambda i=i: scaler.step(optimizers[i]),
            lambda i=i: scaler.unscale_(optimizers[i]), scaler.update, scaler.update,
            lambda i=i: optimizers[i].zero_grad(), lambda: scaler.update(32.0),
            lambda: scaler.step(optimizers[0], closure=None),
            lambda: scaler.load_state_dict({**scaler.state_dict(), "_growth_tracker": 1}),
            lambda: scaler.load_state_dict({}), lambda: scaler.set_growth_factor(4.0),
        ])  # fmt: skip
        try:
            told.append(repr(call()))
        except (RuntimeError, AssertionError, ValueError) as error:
            told.append(type(error).__name__)
        told += [scaler.state_dict(), scaler.get_scale(), str([p.tolist() for p in ps])]
        told.append([None if p.grad is None else str(p.grad.tolist()) for p in ps])
    return told


@pytest.mark.parametrize("seed", range(30))
def test_a_scaler_does_what_pytorchs_does(seed):
    ours, theirs = both(lambda m: scaled(m, seed))
    assert ours == theirs


def test_what_a_scaler_takes_and_gives():
    def found(m):
        told = []
        scaler = m.amp.GradScaler("cpu", init_scale=8.0)
        x = m.ones(2)
        told.append(scaler.get_scale())
        both = scaler.scale([x, (x, x)])
        told += [type(both).__name__, type(both[1]).__name__, both[1][0].tolist()]
        told += [list(scaler.scale(t for t in (x, x)))[1].tolist()]
        low = scaler.scale(x.to(m.bfloat16).sum())
        told += [name(low.dtype), scaler.scale(x.to(m.bfloat16)).dtype is m.bfloat16]
        for call in (
            lambda: scaler.scale(3),
            lambda: m.amp.GradScaler("cpu", growth_factor=1.0),
            lambda: m.amp.GradScaler("cpu", backoff_factor=1.0),
            lambda: m.amp.GradScaler("cpu").update(),
            lambda: m.amp.GradScaler("cpu").step(m.optim.SGD([x.requires_grad_()])),
        ):
            with pytest.raises((AssertionError, ValueError)) as error:
                call()
            told.append(error.type.__name__)
        half = m.ones(2, dtype=m.float16, requires_grad=True)
        optimizer = m.optim.SGD([half])
        scaler.scale(half.sum()).backward()
        with pytest.raises(ValueError, match="(?i)float16|FP16"):
            scaler.unscale_(optimizer)
        off = m.amp.GradScaler("cpu", enabled=False)
        told += [off.scale(5), off.get_scale(), off.state_dict(), off.is_enabled(), off.update()]
        return told

    ours, theirs = both(found)
    assert ours == theirs
