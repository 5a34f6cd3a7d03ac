"""What a Module is: its attributes, its state, its hooks, what it says of itself."""

import copy
import pickle

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn


class Block(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width, bias=False)
        self.scale = nn.Parameter(mt.ones(1))
        self.register_buffer("mask", mt.ones(width, dtype=mt.int64))
        self.register_buffer("scratch", mt.zeros(width), persistent=False)

    def forward(self, x):
        return x + self.scale * self.linear(self.norm(x))

    def extra_repr(self):
        return "a block"


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def values(module):
    return {k: v.numpy().copy() for k, v in module.state_dict().items()}


# ---- Parameter -----------------------------------------------------------------------


def test_parameter():
    data = mt.ones(2)
    p = nn.Parameter(data)
    assert isinstance(p, mt.Tensor) and p.requires_grad and p.is_leaf
    data[0] = 5
    assert p.tolist() == [5.0, 1.0]  # the memory is shared
    assert type(p * 2) is mt.Tensor and type(p.detach()) is mt.Tensor
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert nn.Parameter(mt.tensor([1]), requires_grad=False).dtype is mt.int64
    assert repr(p).startswith("Parameter([5., 1.]")


@pytest.mark.parametrize("again", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_a_copy_of_a_parameter_is_a_parameter(again):
    p = nn.Parameter(mt.ones(2))
    q = again(p)
    assert type(q) is nn.Parameter and q.requires_grad and q.tolist() == p.tolist()
    with mt.no_grad():
        q += 1
    assert p.tolist() == [1.0, 1.0]
    assert not again(nn.Parameter(mt.ones(2), requires_grad=False)).requires_grad


def test_tied_parameters_stay_tied_in_a_copy():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert again[0].weight is again[1].weight is not model[0].weight
        assert len(list(again.parameters())) == 1
        assert list(again.state_dict()) == ["0.weight", "1.weight"]


# ---- attributes ----------------------------------------------------------------------


def test_names():
    model = Model()
    assert [n for n, _ in model.named_parameters()] == [
        "blocks.0.scale", "blocks.0.norm.weight", "blocks.0.norm.bias", "blocks.0.linear.weight",
        "blocks.1.scale", "blocks.1.norm.weight", "blocks.1.norm.bias", "blocks.1.linear.weight",
        "head.weight", "head.bias",
    ]  # fmt: skip
    assert [n for n, _ in model.named_buffers()] == [
        "blocks.0.mask", "blocks.0.scratch", "blocks.1.mask", "blocks.1.scratch",
    ]  # fmt: skip
    assert [n for n, _ in model.named_children()] == ["blocks", "head"]
    assert len(list(model.modules())) == 9
    assert model.get_submodule("") is model
    assert model.get_submodule("blocks.1.norm") is model.blocks[1].norm
    assert model.get_parameter("head.bias") is model.head.bias
    assert model.get_buffer("blocks.0.mask") is model.blocks[0].mask
    assert {"blocks", "head", "forward"} <= set(dir(model))


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"):
        nn.Linear(2, 2).wieght  # noqa: B018
    assert not hasattr(nn.Linear(2, 2), "wieght")


def test_forgotten_init():
    class Forgetful(nn.Module):
        def __init__(self, first):
            self.first = first

    for first in (nn.Linear(2, 2), nn.Parameter(mt.ones(2))):
        with pytest.raises(AttributeError, match=r"Forgetful.__init__\(\) must call super\(\)"):
            Forgetful(first)
    with pytest.raises(AttributeError, match=r"must call super\(\).__init__\(\)"):
        Forgetful(3)(mt.ones(2))


def test_assigning():
    m = Block()
    with pytest.raises(TypeError, match="'scale' of Block must be a Parameter or None, got Tensor"):
        m.scale = mt.ones(1)
    m.scale = None
    assert "scale" not in m.state_dict() and m.scale is None
    m.scale = nn.Parameter(mt.zeros(1))
    assert list(m.state_dict())[0] == "scale"  # the place was kept
    m.mask = mt.zeros(3, dtype=mt.int64)  # a buffer takes a tensor
    assert m.get_buffer("mask") is m.mask
    with pytest.raises(TypeError, match="'mask' of Block must be a Tensor or None, got list"):
        m.mask = [1, 2]
    with pytest.raises(TypeError, match="'norm' of Block must be a Module or None, got Tensor"):
        m.norm = mt.ones(1)
    m.norm = nn.Identity()
    m.word = "anything"
    m.word = nn.Parameter(mt.ones(1))  # what was ordinary becomes a parameter
    assert "word" not in vars(m) and m.get_parameter("word") is m.word
    m.mask = nn.Parameter(mt.ones(3))  # and so does a buffer
    assert "mask" not in dict(m.named_buffers()) and "mask" in dict(m.named_parameters())
    del m.word, m.norm, m.scratch
    for name in ("word", "norm", "scratch"):
        assert not hasattr(m, name)
    with pytest.raises(AttributeError):
        del m.word


# ---- state ---------------------------------------------------------------------------


def test_state_dict():
    model = Model()
    state = model.state_dict()
    assert "blocks.0.mask" in state and "blocks.0.scratch" not in state
    weight = state["head.weight"]
    assert type(weight) is mt.Tensor and not weight.requires_grad
    weight[0, 0] = 42.0  # the memory is the module's
    assert model.head.weight[0, 0].item() == 42.0
    assert model.state_dict(keep_vars=True)["head.weight"] is model.head.weight
    assert "net.head.bias" in model.state_dict(prefix="net.")


def test_load_state_dict():
    model, other = Model(), Model()
    parameters = list(other.parameters())
    told = other.load_state_dict(model.state_dict())
    assert told == ([], []) and told.missing_keys == [] and told.unexpected_keys == []
    for k, v in values(model).items():
        np.testing.assert_array_equal(values(other)[k], v)
    assert all(p is q for p, q in zip(parameters, other.parameters()))
    assert other.head.weight._data is not model.head.weight._data
    other.load_state_dict({k: v.double() for k, v in model.state_dict().items()})
    assert other.head.weight.dtype is mt.float32


@pytest.mark.parametrize("strict", [True, False])
def test_a_state_that_does_not_fit_changes_nothing(strict):
    model = Model()
    before = values(model)
    state = {k: v + 1 for k, v in model.state_dict().items()}
    del state["blocks.0.scale"]
    state["other"] = mt.ones(2)
    state["head.bias"] = mt.ones(7)
    with pytest.raises(RuntimeError) as error:
        model.load_state_dict(state, strict=strict)
    assert "head.bias is (7,), the module needs (2,)" in str(error.value)
    assert ("missing: blocks.0.scale" in str(error.value)) == strict
    assert ("unexpected: other" in str(error.value)) == strict
    for k, v in values(model).items():
        np.testing.assert_array_equal(before[k], v)


def test_loading_a_part():
    model = Model()
    told = model.load_state_dict({"head.bias": mt.ones(2), "other": mt.ones(1)}, strict=False)
    assert "head.weight" in told.missing_keys and told.unexpected_keys == ["other"]
    assert model.head.bias.tolist() == [1.0, 1.0]


def test_loading_by_assignment():
    model = Model()
    state = {k: v.double() for k, v in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    assert model.head.weight.dtype is mt.float64
    assert model.head.weight._data is state["head.weight"]._data
    assert isinstance(model.head.weight, nn.Parameter) and model.head.weight.requires_grad


def test_loading_between_forward_and_backward_is_noticed():
    layer = nn.Linear(2, 2)
    x = mt.ones(1, 2, requires_grad=True)
    y = layer(x).sum()
    layer.load_state_dict(nn.Linear(2, 2).state_dict())
    with pytest.raises(RuntimeError, match="load_state_dict"):
        y.backward()


# ---- as a whole ----------------------------------------------------------------------


def test_train_and_eval():
    model = Model()
    assert model.training
    assert model.eval() is model and not any(m.training for m in model.modules())
    model.blocks.train()
    assert model.blocks[0].norm.training and not model.head.training


def test_gradients():
    model = Model()
    assert model.requires_grad_(False) is model
    assert not model(mt.ones(1, 3)).requires_grad
    model.requires_grad_()
    model(mt.ones(1, 3)).sum().backward()
    kept = model.head.weight.grad
    model.zero_grad(set_to_none=False)
    assert kept is not None and not model.head.weight.grad.any()
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_apply_visits_the_deepest_first():
    seen = []
    model = Model()
    assert model.apply(lambda m: seen.append(type(m).__name__)) is model
    block = ["LayerNorm", "Linear", "Block"]
    assert seen == [*block, *block, "ModuleList", "Linear", "Model"]


def test_to_another_dtype():
    model = Model()
    parameters = list(model.parameters())
    model(mt.ones(1, 3)).sum().backward()
    assert model.double() is model
    assert all(p is q for p, q in zip(parameters, model.parameters()))
    assert {p.dtype for p in parameters} == {p.grad.dtype for p in parameters} == {mt.float64}
    assert model.blocks[0].mask.dtype is mt.int64  # integers are left alone
    assert model.blocks[0].scratch.dtype is mt.float64
    assert model(mt.ones(1, 3, dtype=mt.float64)).dtype is mt.float64
    for move in (
        lambda: model.half(),
        lambda: model.to(mt.float16),
        lambda: model.to(dtype=mt.half),
    ):
        move()
        assert model.head.weight.dtype is mt.float16
        model.float()
    model.to(mt.ones(1, dtype=mt.float64))
    assert model.head.weight.dtype is mt.float64
    model.to("cpu", mt.float32)
    assert model.head.weight.dtype is mt.float32
    with pytest.raises(TypeError, match="floating-point"):
        model.to(mt.int64)
    with pytest.raises(RuntimeError, match="nowhere"):
        model.to("nowhere")


def test_to_another_device(device):
    model = Model().to(device)
    assert {str(p.device) for p in model.parameters()} == {device}
    assert {str(b.device) for b in model.buffers()} == {device}
    model(mt.ones(1, 3, device=device)).sum().backward()
    assert str(model.head.weight.grad.device) == device
    assert str(model.cpu().head.weight.grad.device) == "cpu"


# ---- hooks ---------------------------------------------------------------------------


def test_forward_hooks():
    layer, x = nn.Linear(2, 2), mt.ones(1, 2)
    plain = layer(x).tolist()
    seen = []
    before = layer.register_forward_pre_hook(lambda m, args: seen.append((m, args)))
    after = layer.register_forward_hook(lambda m, args, out: out * 2)
    assert layer(x).tolist() == [[2 * y for y in plain[0]]]
    assert seen == [(layer, (x,))]
    before.remove(), after.remove()
    assert layer(x).tolist() == plain and len(seen) == 1
    with layer.register_forward_pre_hook(lambda m, args: mt.zeros(1, 2)):  # another argument
        assert layer(x).tolist() == [layer.bias.tolist()]
    order = []
    layer.register_forward_hook(lambda *a: order.append("second"))
    layer.register_forward_hook(lambda *a: order.append("first"), prepend=True)
    layer(x)
    assert order == ["first", "second"]


def test_hooks_with_keyword_arguments():
    class Add(nn.Module):
        def forward(self, x, y=1):
            return x + y

    add = Add()
    add.register_forward_pre_hook(lambda m, args, kwargs: (args, {"y": 10}), with_kwargs=True)
    add.register_forward_hook(lambda m, args, kwargs, out: out + kwargs["y"], with_kwargs=True)
    assert add(mt.ones(1), y=3).item() == 21.0


# ---- containers ----------------------------------------------------------------------


def test_sequential():
    a, b, c = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)
    model = nn.Sequential(a, b, c)
    x = mt.ones(1, 2)
    assert model(x).tolist() == c(b(a(x))).tolist()
    assert model[0] is a and model[-1] is c and list(model[1:]) == [b, c] and len(model) == 3
    model[1] = nn.Tanh()
    del model[0]
    assert [type(m).__name__ for m in model] == ["Tanh", "Linear"]
    assert list(model.state_dict()) == ["1.weight", "1.bias"]
    model.append(nn.ReLU())
    model.insert(0, a)
    assert [n for n, _ in model.named_children()] == ["0", "1", "2", "3"] and model[0] is a
    assert model.pop(0) is a and len(model + nn.Sequential(b)) == 4
    named = nn.Sequential({"up": a, "down": c})
    assert list(named.state_dict()) == ["up.weight", "up.bias", "down.weight", "down.bias"]
    assert named.up is named[0] is a and list(named[1:].state_dict())[0] == "down.weight"
    del named[0]  # what is left is counted anew, as in PyTorch
    assert list(named.state_dict()) == ["0.weight", "0.bias"]
    with pytest.raises(IndexError, match="index 3 is out of range, there are 3"):
        model[3]
    with pytest.raises(TypeError):
        nn.Sequential(a, 3)


def test_module_list():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    layers += [nn.ReLU(), nn.Tanh()]
    assert len(layers) == 3 and [type(m).__name__ for m in layers[1:]] == ["ReLU", "Tanh"]
    layers[0] = nn.Linear(2, 2)
    assert layers.pop().__class__ is nn.Tanh and layers[1] in layers
    layers.insert(0, nn.Sigmoid())
    assert [type(m).__name__ for m in layers] == ["Sigmoid", "Linear", "ReLU"]
    assert list(layers.state_dict()) == ["1.weight", "1.bias"]
    with pytest.raises(NotImplementedError, match="ModuleList"):
        layers(mt.ones(1))


def test_module_dict():
    parts = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ReLU()})
    parts["c"] = nn.Tanh()
    parts.update([("a", nn.Sigmoid())])
    assert list(parts) == list(parts.keys()) == ["a", "b", "c"] and "b" in parts
    assert [type(m).__name__ for m in parts.values()] == ["Sigmoid", "ReLU", "Tanh"]
    del parts["b"]
    assert type(parts.pop("c")) is nn.Tanh and len(parts) == 1
    assert [n for n, _ in parts.items()] == ["a"]
    parts.clear()
    assert not len(parts)
    with pytest.raises(KeyError, match="'items' already"):  # a method has this name
        parts["items"] = nn.ReLU()


def test_parameter_list():
    values = nn.ParameterList([mt.ones(2), nn.Parameter(mt.zeros(3))])
    values.append(mt.ones(1))
    values[0] = mt.zeros(4)
    assert all(isinstance(p, nn.Parameter) for p in values) and len(values) == 3
    assert [k for k, _ in values.named_parameters()] == ["0", "1", "2"]
    assert values[0].shape == (4,) and values[-1].shape == (1,) and len(values[1:]) == 2
    assert "    (1): Parameter containing: [microtensor.float32 of size 3]\n" in repr(values)
    values.append(None)  # a place without a parameter
    assert len(values) == 4 and values[3] is None and len(list(values.parameters())) == 3
    assert "(3): Object of type: NoneType\n)" in repr(values)


# ---- what it says of itself ----------------------------------------------------------


def test_repr():
    assert repr(nn.Linear(3, 2)) == "Linear(in_features=3, out_features=2, bias=True)"
    assert repr(Model()) == (
        "Model(\n"
        "  (blocks): ModuleList(\n"
        "    (0-1): 2 x Block(\n"
        "      a block\n"
        "      (norm): LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)\n"
        "      (linear): Linear(in_features=3, out_features=3, bias=False)\n"
        "    )\n"
        "  )\n"
        "  (head): Linear(in_features=3, out_features=2, bias=True)\n"
        ")"
    )


def test_parameter_containers_hold_anything():
    inner = nn.ParameterList([mt.ones(2), mt.zeros(1)])
    outer = nn.ParameterList([inner, None, mt.ones(3), "text"])
    assert outer[0] is inner and outer[1] is None and outer[3] == "text" and len(outer) == 4
    assert list(outer.state_dict()) == ["2", "0.0", "0.1"] and len(list(outer.parameters())) == 3
    assert "(3): Object of type: str" in repr(outer)
    del outer[0]
    assert outer[1].tolist() == [1, 1, 1] and len(list(outer.parameters())) == 1
    named = nn.ParameterDict({"a": nn.ParameterDict({"b": mt.ones(1)}), "c": 3})
    assert list(named.state_dict()) == ["a.b"] and named.pop("c") == 3 and list(named) == ["a"]
    named.clear()
    assert not list(named.parameters())


def test_states_are_renamed_while_they_are_loaded():
    def rename(state, prefix, *rest):
        for name in [n for n in state if n.startswith(prefix + "old.")]:
            state[name.replace("old.", "")] = state.pop(name)

    net = nn.Sequential(nn.Linear(2, 1, bias=False))
    net[0]._register_load_state_dict_pre_hook(rename)
    seen = []
    handle = net.register_load_state_dict_post_hook(lambda m, keys: seen.append((m, keys)))
    state = {"0.old.weight": mt.ones(1, 2)}
    found = net.load_state_dict(state)
    assert net[0].weight.tolist() == [[1, 1]] and list(state) == ["0.old.weight"]
    assert seen == [(net, found)] and found == ([], [])
    handle.remove()
    net.load_state_dict(state)
    assert len(seen) == 1 and not nn.Linear(1, 1)._before_loading


def test_a_buffer_by_assignment():
    net = nn.Module()
    net.kept, net.passing = nn.Buffer(mt.ones(2)), nn.Buffer(mt.zeros(3), persistent=False)
    assert [name for name, _ in net.named_buffers()] == ["kept", "passing"]
    assert list(net.state_dict()) == ["kept"] and not list(net.parameters())
    assert isinstance(net.kept, nn.Buffer) and not isinstance(mt.ones(2), nn.Buffer)
    net.kept = mt.zeros(4)
    assert net.kept.shape == (4,) and list(net.state_dict()) == ["kept"]


def test_data_parallel_is_the_module_itself_one_name_further_down():
    inner = nn.Linear(2, 1)
    module = nn.DataParallel(inner, device_ids=[0])
    where = "cuda" if mt.cuda.is_available() else "cpu"
    assert module.device_ids == [0] * mt.cuda.is_available()
    assert list(module.state_dict()) == ["module.weight", "module.bias"]
    x = mt.rand(3, 2)
    for result in (module(x), module(input=x)):
        assert result.device.type == inner.weight.device.type == where
        assert mt.equal(result, inner(x.to(where)))
    module(x).sum().backward()
    assert inner.bias.grad.tolist() == [3]
    assert not module.eval().module.training


def test_data_parallel_over_several_gpus_is_not_there(monkeypatch):
    monkeypatch.setattr(mt.backends, "gpu_count", lambda: 8)
    with pytest.raises(NotImplementedError, match=r"device_ids=\[0\]"):
        nn.DataParallel(nn.Linear(2, 1))


# ---- what is said of shapes ------------------------------------------------------------


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: nn.Linear(2, 2)(None), "linear: a Tensor .* not NoneType"),
        (lambda: nn.BatchNorm1d(3)(mt.ones(2, 4)), "batch_norm: .* 4 channels"),
        (lambda: nn.BatchNorm1d(3).eval()(mt.ones(2, 4)), "batch_norm: .* 4 channels"),
        (lambda: nn.Conv2d(3, 4, 1)(mt.ones(1, 2, 4, 4)), "takes 3 channels .* has 2"),
        (lambda: nn.ConvTranspose2d(3, 4, 1)(mt.ones(1, 2, 4, 4)), "takes 3 channels .* has 2"),
        (lambda: nn.MSELoss()(mt.ones(2, 3), mt.ones(2, 4)), "mse_loss: the target"),
    ],
)
def test_it_says_what_does_not_fit(call, said):
    with pytest.raises((RuntimeError, TypeError), match=said):
        call()


@pytest.mark.parametrize("loss", "mse_loss l1_loss smooth_l1_loss huber_loss".split())
def test_a_broadcast_target_is_told_of_the_line_that_gave_it(loss):
    with pytest.warns(UserWarning, match=f"{loss}: .* is broadcast") as told:
        getattr(nn.functional, loss)(mt.ones(2, 3), mt.ones(3))
    assert [w.filename for w in told] == [__file__]
