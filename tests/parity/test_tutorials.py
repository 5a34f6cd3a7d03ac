"""What tutorials do with PyTorch beyond operations and modules, done with both."""

import numpy as np
import pytest

import microtensor as mt
from microtensor.compat import as_torch

torch = pytest.importorskip("torch")


def alike(program):
    """What a program of a package `m` gives is the same for both: a list of tensors and numbers."""
    ours, theirs = (
        [getattr(r, "tolist", lambda r=r: r)() for r in program(m)] for m in (mt, torch)
    )
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dim", [0, -1])
def test_a_single_position_of_a_row(dim):
    """As in data_tutorial: a label becomes a row of zeros with a one."""

    def program(m):
        x, at, one = m.arange(5.0), m.tensor(3), m.tensor(2.0)
        x.requires_grad_()
        picked = x.gather(dim, at)
        put = x.scatter(dim, at, one)
        (picked + (put * x).sum()).backward()
        more = m.zeros(5).scatter_(dim, at, value=1).scatter_add_(dim, at, one)
        return (
            picked,
            put,
            x.grad,
            more,
            more.scatter_reduce(dim, at, one * 4, "amax"),
            picked.shape,
        )

    alike(program)


def test_a_vector_jacobian_product():
    def program(m):
        x, w = m.tensor([1.0, 2.0, 3.0]), m.tensor([0.5, -1.0, 2.0])
        vjp = m.autograd.functional.vjp
        y, g = vjp(lambda t: t.exp() * 2, x, v=w)
        assert not y.requires_grad and not g.requires_grad
        z, (a, b) = vjp(lambda s, t: (s * t).sum(), (x, w))
        x.requires_grad_()
        _, first = vjp(lambda t: (t**3).sum(), x, create_graph=True)
        (second,) = m.autograd.grad(first.sum(), x)
        return y, g, z, a, b, second

    alike(program)


def test_gradcheck_takes_its_options():
    for m in (mt, torch):
        x = m.ones(2, dtype=m.float64, requires_grad=True)
        check = m.autograd.gradcheck
        assert check(func=m.exp, inputs=(x,), eps=1e-6, fast_mode=False, nondet_tol=0.0)
        assert m.autograd.gradgradcheck(m.exp, (x,), raise_exception=True, fast_mode=True)


def test_the_graph_walked_to_its_leaves():
    def program(m):
        x = m.ones(2, requires_grad=True)
        node = (x * 2).sum().grad_fn
        while node.next_functions:
            node = node.next_functions[0][0]
        return [node.variable is x, node.name().endswith("AccumulateGrad")]

    alike(program)


@pytest.mark.parametrize("grad", [False, True])
def test_heads_are_merged_by_view(grad):
    """As in scaled_dot_product_attention_tutorial: the result lies in memory as the queries do."""
    numbers = np.random.default_rng(0).normal(size=(2, 5, 36)).astype("float32")

    def program(m):
        x = m.tensor(numbers).requires_grad_(grad)
        q, k, v = (part.view(2, 5, 3, 4).transpose(1, 2) for part in x.chunk(3, -1))
        mask = m.ones(5, 5).tril().bool()
        sdpa = m.nn.functional.scaled_dot_product_attention
        merged = [sdpa(q, k, v), sdpa(q, k, v, is_causal=True), sdpa(q, k, v, attn_mask=mask)]
        merged = [y.transpose(1, 2).view(2, 5, 12).detach() for y in merged]
        return [*merged, sdpa(q.contiguous(), k, v).view(6, 5, 4).detach()]

    alike(program)


def test_an_optimizer_within_backward():
    """As in optimizer_step_in_backward_tutorial: each parameter takes its step when it can."""

    def program(m):
        w, b = (m.tensor(a).requires_grad_() for a in ([[1.0, -2.0], [0.5, 3.0]], [0.1, 0.2]))
        steps = {p: m.optim.Adam([p], lr=0.1, foreach=False) for p in (w, b)}

        def step(p):
            steps[p].step()
            steps[p].zero_grad()

        handles = [p.register_post_accumulate_grad_hook(step) for p in (w, b)]
        losses = []
        for _ in range(3):
            loss = ((m.ones(3, 2) @ w + b) ** 2).sum()
            loss.backward()
            assert w.grad is None and b.grad is None
            losses.append(loss.detach())
        handles[1].remove()
        (w.sum() + b.sum()).backward()
        with pytest.raises(RuntimeError):
            (w * 2).register_post_accumulate_grad_hook(step)
        return [*losses, w.detach(), b.detach(), b.grad]

    alike(program)


@pytest.mark.parametrize("apart", ["split", "unbind", "chunk"])
def test_each_part_has_a_backward_of_its_own(apart):
    """As in OpenNMT's memory-efficient loss: the parts of a tensor are gone through one by one."""

    def program(m):
        x = m.arange(12.0).reshape(3, 4).requires_grad_()
        parts = getattr(x * 2, apart)(*[{"split": 2, "chunk": 3}.get(apart, 0)])
        with pytest.raises(RuntimeError):  # the product has saved its factors … for one backward
            for part in parts:
                (part**2).sum().backward()
        x.grad = None
        for part in getattr(x, apart)(*[{"split": 2, "chunk": 3}.get(apart, 0)]):
            (part**3).sum().backward()
        return [x.grad]

    alike(program)


def test_modules_look_alike():
    layers = [repr(m.nn.TransformerEncoderLayer(8, 2, 16)) for m in (mt, torch)]
    assert layers[0] == layers[1]
    assert mt.nn.modules.linear.NonDynamicallyQuantizableLinear(2, 3).weight.shape == (3, 2)
    assert mt.nn.modules.normalization.LayerNorm is mt.nn.LayerNorm is mt.nn.modules.LayerNorm
    assert mt.ones(2).layout is mt.strided
    assert mt.functional.einsum is mt.einsum and mt.functional.F is mt.nn.functional


def test_functions_of_ones_own_look_alike():
    def program(m):
        class CubeBackward(m.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g * 2

        return repr(CubeBackward.apply(m.ones(2, requires_grad=True)))

    with as_torch():
        ours = program(mt)
    assert ours == program(torch) == "tensor([2., 2.], grad_fn=<CubeBackwardBackward>)"


def test_hooks_are_found_where_pytorch_has_them():
    def program(m):
        net, seen = m.nn.Linear(1, 1), []
        net.register_forward_hook(lambda *args: seen.append(2))
        net.register_forward_pre_hook(lambda *args: seen.append(1))
        net(m.ones(1))
        assert len(net._forward_hooks) == len(net._forward_pre_hooks) == 1
        assert all(map(callable, net._forward_hooks.values()))
        net._forward_hooks.clear()
        net(m.ones(1))
        return seen

    alike(program)
    assert program(mt) == [1, 2, 1]


def test_types_of_the_gpu():
    """As in the first DCGANs: isinstance(input.data, torch.cuda.FloatTensor)."""
    for m in (mt, torch):
        x = m.ones(2)
        assert isinstance(x, m.FloatTensor) and not isinstance(x, m.cuda.FloatTensor)
        assert not isinstance(x.double(), m.FloatTensor) and not isinstance([], m.cuda.LongTensor)
        assert x.type(m.LongTensor).dtype is m.int64


def test_functions_in_place():
    def program(m):
        out = []
        for name in sorted(mt.compat.INPLACE):
            f, x = getattr(m, name), m.tensor([0.25, 0.5, 0.75])
            more = {
                "addmv_": (m.ones(3, 2), m.ones(2)),
                "fill_": (3,),
                "index_put_": ((m.tensor([1]),), m.tensor([5.0])),
                "ldexp_": (m.tensor([1, 2, 3]),),
                "resize_as_": (m.ones(3),),
                "xlogy_": (m.ones(3) * 2,),
            }.get(name, (0.3,) if name.startswith("cl") else ())
            assert f(x, *more) is x
            out.append(x)
        return out

    with np.errstate(invalid="ignore"):
        alike(program)


def test_clipping_takes_a_way_of_computing():
    def program(m):
        net = m.nn.Sequential(layer := m.nn.Linear(2, 1), layer)
        m.nn.init.ones_(layer.weight)
        layer(m.ones(2)).sum().backward()
        norm = m.nn.utils.clip_grad_norm_(net.parameters(), 1.0, foreach=False)
        m.nn.utils.clip_grad_value_(net.parameters(), 0.5, foreach=True)
        return [norm, layer.weight.grad, len(list(net.modules(remove_duplicate=False)))]

    alike(program)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "LBFGS"])
def test_optimizers_look_alike(name):
    """As print(optimizer) and print(optimizer.state_dict()) in saving_loading_models."""

    def program(m):
        parameter = m.nn.Parameter(m.ones(2))
        optimizer = getattr(m.optim, name)([parameter], lr=0.125)
        groups = optimizer.state_dict()["param_groups"]
        if name != "LBFGS":
            optimizer.add_param_group({"params": [m.nn.Parameter(m.ones(1))], "lr": 1})
        return repr(optimizer), groups if name != "LBFGS" else sorted(groups[0])

    assert program(mt) == program(torch)


def test_decoupled_weight_decay_is_an_option():
    def program(m):
        p = m.nn.Parameter(m.tensor([1.0, 2.0]))
        for optimizer in (
            m.optim.Adam([p], weight_decay=0.5, decoupled_weight_decay=True, capturable=False),
            m.optim.AdamW([p], weight_decay=0.5, differentiable=False),
        ):
            p.grad = m.tensor([0.5, -0.5])
            optimizer.step()
            fresh = m.optim.AdamW([p])
            state = m.optim.Adam([p]).state_dict()
            fresh.load_state_dict(state)
            fresh.step()
        return [p]

    alike(program)
    with pytest.raises(NotImplementedError, match="differentiable"):
        mt.optim.SGD([mt.nn.Parameter(mt.ones(1))], differentiable=True)


def test_modules_say_what_is_saved():
    """Frozen batch norms, states besides tensors, and hooks around states, as public models do."""

    def program(m):
        class Frozen(m.nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("scale", m.ones(2))
                self.name = "frozen"

            def _load_from_state_dict(self, state_dict, prefix, *args):
                state_dict.pop(prefix + "num_batches_tracked", None)
                if prefix + "gamma" in state_dict:
                    state_dict[prefix + "scale"] = state_dict.pop(prefix + "gamma")
                super()._load_from_state_dict(state_dict, prefix, *args)

            def _save_to_state_dict(self, destination, prefix, keep_vars):
                super()._save_to_state_dict(destination, prefix, keep_vars)
                destination[prefix + "more"] = m.zeros(1)

        class Named(m.nn.Linear):
            def get_extra_state(self):
                return {"name": self.name}

            def set_extra_state(self, state):
                self.name = state["name"]

        class Renamed(m.nn.Linear):
            def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
                return super().state_dict(
                    *args, destination=destination, prefix=prefix + "inner.", keep_vars=keep_vars
                )

        net, seen = m.nn.Sequential(Frozen(), Named(1, 1), Renamed(1, 1)), []
        net[1].name = "first"
        for p in net.parameters():
            m.nn.init.ones_(p)
        net.register_state_dict_pre_hook(lambda module, prefix, keep: seen.append((prefix, keep)))
        net[1].register_state_dict_post_hook(
            lambda module, state, prefix, local: state.pop(prefix + "bias") and None
        )
        state = net.state_dict()
        seen += list(state)
        seen += [state["1._extra_state"]["name"], list(net[2].state_dict())]

        state = {"0.gamma": m.ones(2) * 3, "0.num_batches_tracked": m.tensor(4)}
        state |= {"1._extra_state": {"name": "second"}, "2.weight": m.ones(1, 1), "no": m.ones(1)}
        seen += [list(keys) for keys in net.load_state_dict(state, strict=False)]
        seen += [net[0].scale.tolist(), net[1].name]
        with pytest.raises(RuntimeError, match="extra_state"):
            net[1].load_state_dict({"weight": m.ones(1, 1), "bias": m.ones(1)})
        net.set_submodule("1", m.nn.Identity())
        return [*map(repr, seen), repr(net[1])]

    ours, theirs = program(mt), program(torch)
    assert ours == theirs


def test_gradients_before_a_module():
    def program(m):
        net, seen = m.nn.Linear(2, 1), []
        m.nn.init.ones_(net.weight)
        net.register_full_backward_hook(lambda module, inner, outer: seen.extend([inner, outer]))
        handle = net.register_full_backward_pre_hook(lambda module, outer: (outer[0] * 2,))
        x = m.ones(1, 2).requires_grad_()
        net(x).sum().backward()
        handle.remove()
        net(x).sum().backward()
        return [x.grad, net.weight.grad, *(grads[0] for grads in seen)]

    alike(program)


SCHEDULES = {
    "LinearLR": {"total_iters": 5},
    "StepLR": {"step_size": 1},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 5},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "LambdaLR": {"lr_lambda": lambda epoch: 0.9**epoch},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 10},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 0.2, "cycle_momentum": False},
    "ReduceLROnPlateau": {"patience": 0},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_rate_that_is_a_tensor_stays_one(name):
    """As in compiling_optimizer_lr_scheduler."""

    def program(m):
        p = m.nn.Parameter(m.ones(2))
        optimizer = m.optim.Adam([p], lr=(rate := m.tensor(0.01)))
        schedule = getattr(m.optim.lr_scheduler, name)(optimizer, **SCHEDULES[name])
        rates = []
        for _ in range(4):
            p.sum().backward()
            optimizer.step()
            schedule.step(*[1.0] * (name == "ReduceLROnPlateau"))
            assert optimizer.param_groups[0]["lr"] is rate
            rates += [rate.clone(), *schedule.get_last_lr()]
        return [p, *rates]

    alike(program)
