"""Files of earlier versions, and the classes that a file may name within `safe_globals`."""

import contextlib
import io
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import old_files_net
import pytest
from forging import (  # noqa: F401, the fixtures
    CALLS,
    LINEAR,
    MODULE,
    an_object,
    check_plain,
    forged,
    load,
    noted,
    noting,
    warm,
)
from places import FIXTURES
from torch_archive import SIX, archive, named, tensor, text

import microtensor as mt
from microtensor import nn
from microtensor.files.serialization import LoadError, safe_globals

# ---- old files -----------------------------------------------------------------------

OLD = FIXTURES / "files"


def test_an_old_state_dict():
    state = load((OLD / "state_dict.safetensors").read_bytes())
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    assert type(state) is OrderedDict and model.load_state_dict(state)
    assert state["0.weight"].shape == (4, 3)


def test_old_states_of_an_optimizer():
    saved = load((OLD / "optimizer.safetensors").read_bytes())
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    optimizer = mt.optim.AdamW(model.parameters())
    schedule = mt.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=10)
    optimizer.load_state_dict(saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    mt.Generator().set_state(saved["rng"])
    assert optimizer.state_dict()["state"][0]["step"] == 2 and schedule.last_epoch == 2


def test_every_plain_kind_of_an_old_file():
    value = load((OLD / "plain.safetensors").read_bytes())
    check_plain(value)
    assert value["none"] is None and value["yes"] is True and value["int"] == -(2**80)
    assert value["inf"][:2] == [math.inf, -math.inf] and math.isnan(value["inf"][2])
    assert value["text"] == "a\n\0ü€😀\ud800" and value["tuple"] == (1, (2.5, ()))
    assert value["set"] == {1, "b", (2, 3)} and value["list"] == [1, [2, []]]
    assert value["dict"] == {
        1: "one", "1": "text", None: 0, False: "no", 2.5: "half", math.inf: 1
    }  # fmt: skip
    assert value["escaped"] == {"$tensor": "x", "$": {"$tuple": [1]}}
    assert value["ordered"] == OrderedDict({"b": 1, 2: 3}) and value["float"] == 0.1
    x, again, half, mask, empty = value["tensors"]
    assert x is again and x.tolist() == [[0, 1, 2], [3, 4, 5]] and half.dtype is mt.bfloat16
    assert mask.tolist() == [True, False] and empty.shape == (0, 3)
    assert type(value["parameter"]) is nn.Parameter and not value["parameter"].requires_grad
    assert value["parameters"]["weight"].requires_grad
    assert value["array"].tolist() == [[0, 1, 2], [3, 4, 5]] and value["number"] == np.uint32(7)
    assert value["complex"].tolist() == [1 + 2j] and value["strings"].tolist() == ["ab", "ü"]
    assert value["bytes"] == b"x" and value["uint16"].dtype == np.uint16
    assert value["big"].tolist() == [0, 1, 2] and value["path"] == Path("runs/one")
    assert value["dtype"] is mt.float16 and value["device"] == mt.device("cpu")


def test_an_old_checkpoint_of_minigpt():
    from models.training import load_checkpoint, model_from

    check_plain(load((OLD / "minigpt.safetensors").read_bytes()))
    model, tokenizer = model_from(load_checkpoint(OLD / "minigpt.safetensors"))
    assert model(mt.tensor([tokenizer.encode("to b")]))[0].shape[-1] == tokenizer.vocab_size
    assert mt.load(OLD / "weights.safetensors")["half"].dtype is mt.bfloat16


NET = [
    old_files_net.Net, nn.Embedding, nn.Linear, nn.Sequential, nn.ReLU, nn.functional.gelu,
    nn.LayerNorm,
]  # fmt: skip


def test_an_old_module_needs_all_of_its_classes():
    data = (OLD / "module.safetensors").read_bytes()
    with pytest.raises(LoadError) as told:
        load(data)
    line = str(told.value).split("mt.serialization.")[1]
    with eval(line, {"mt": mt, "old_files_net": old_files_net, "safe_globals": safe_globals}):
        assert type(load(data)) is old_files_net.Net
    with safe_globals(NET):
        net = load(data)
        assert mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data)) == []
    assert net(mt.tensor([1])).shape == (1, 5) and net.act is nn.functional.gelu
    assert net.out.weight is net.embedding.weight and net.norm is nn.LayerNorm
    assert type(net.out.weight) is nn.Parameter and not net.training
    for missing in NET:
        with safe_globals([one for one in NET if one is not missing]):
            with pytest.raises(LoadError, match=rf"\.{missing.__name__}\]\)$"):
                load(data)
            (name,) = mt.serialization.get_unsafe_globals_in_checkpoint(OLD / "module.safetensors")
            assert name.endswith(f".{missing.__name__}")


ARGUMENTS = [(), (2,), (2, 2), (4, 2), (2, 2, 2), (4, 2, 2), ([2],), ([nn.ReLU()],)]
ARGUMENTS += [(nn.TransformerEncoderLayer(4, 2), 2), (10, 10, [2, 4])]


def any_modules():
    """One of each kind of module, with the first arguments that it takes."""
    for name in sorted(dir(nn)):
        kind = getattr(nn, name)
        if isinstance(kind, type) and issubclass(kind, nn.Module):
            for arguments in ARGUMENTS:
                with contextlib.suppress(Exception):
                    yield name, kind(*arguments)
                    break


def test_every_module_comes_back_when_its_error_is_heeded():
    """The error of `load` says which line lets it in: that line does."""
    count = 0
    for name, module in any_modules():
        file = io.BytesIO()
        mt.save(module.eval(), file)
        with pytest.raises(LoadError, match="it asks for .*; if you trust it, load it") as told:
            load(file.getvalue())
        with eval(str(told.value).split("load it within ")[1], {"mt": mt}):
            again = load(file.getvalue())
        assert type(again) is type(module) and repr(again) == repr(module), name
        state = module.state_dict()
        assert list(again.state_dict()) == list(state) and again.load_state_dict(state)
        count += 1
    assert count > 100


def test_a_model_of_ours_comes_back_with_its_config():
    from models import MiniGPT, MiniGPTConfig

    model = MiniGPT(MiniGPTConfig(20, 8, 4, 2, 1)).eval()
    file = io.BytesIO()
    mt.save(model, file)
    names = mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(file.getvalue()))
    classes = {type(m) for m in model.modules()} | {MiniGPTConfig}
    with safe_globals(classes):
        again = load(file.getvalue())
    assert len(names) == len(classes) and again.config == model.config
    idx = mt.tensor([[1, 2, 3]])
    assert again(idx)[0].equal(model(idx)[0])


def test_the_names_that_a_file_of_pytorch_asks_for():
    program = together_with_names("os system", "torch._utils _rebuild_tensor_v2", "a.b C")
    names = mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(archive(program)))
    assert names == ["os.system", "a.b.C"]
    stacked = b"]" + text("x") + b"\x94" + text("os") + b"h\0\x93" + b"a"
    names = mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(archive(stacked)))
    assert names == ["os.x"]
    many = b"](" + text("x" * 900) + b"\x94" + b"".join(
        b"h\0" + text(f"{i:03}") + b"\x93" for i in range(500)
    ) + b"e"  # fmt: skip
    with pytest.raises(LoadError, match="too many long names"):
        mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(archive(many)))
    whole = archive(tensor((6,), (1,)), s0=SIX)
    assert mt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(whole)) == []


def together_with_names(*names):
    return b"](" + b"".join(named(*name.split()) for name in names) + b"e"


# ---- classes that are named ----------------------------------------------------------


def test_an_object_is_its_attributes(known):
    value = load(
        forged({"a": an_object("m:Noted", x=1, y={"$name": "m:noted"}), "b": {"$again": 0}})
    )
    assert vars(value["a"]) == {"x": 1, "y": noted} and value["a"] is value["b"]


@pytest.mark.parametrize(
    "structure",
    [
        an_object("m:Noted", keys=1), an_object("m:Noted", shadow=1),
        an_object("m:Noted", __class__=1), an_object("m:Noted", __dict__={}),
        an_object("m:Noted", __doc__="x"),
        an_object("m:Noted", __call__=1), an_object("m:Noted", __unknown__=1),
        an_object("m:Noted", limit={"$name": "m:noted"}),
        an_object("m:Noted", limit=an_object("m:Noted")), an_object("m:noted"),
        {"$object": "m:Noted", "attributes": {"$dict": [[1, 1]]}},
        {"$object": "m:Noted", "attributes": an_object("m:Noted")},
        {"$ordered": an_object("m:Noted")}, {"$ordered": {"$object": "m:Noted", "attributes": {}}},
        {"$set": [an_object("m:Noted")]}, {"$set": [{"$tuple": [1, an_object("m:Noted")]}]},
        {"$set": [{"$name": "m:noted"}]}, {"$dict": [[an_object("m:Noted"), 1]]},
        {"$parameter": "m:Noted", "tensor": "x", "requires_grad": True},
        {"$parameter": "m:noted", "tensor": "x", "requires_grad": True},
        {"$tensor": an_object("m:Noted")}, {"$path": an_object("m:Noted")},
        {"$name": "m:noted.__globals__"}, {"$name": "m:Noted.keys"}, {"$name": "m"},
        an_object(LINEAR), an_object(LINEAR, forward={"$name": "m:noted"}),
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_named_class_does_not_allow(structure, known):
    with pytest.raises(LoadError):
        load(forged(structure))


def test_a_default_of_the_class_may_be_another_number(known):
    assert load(forged(an_object("m:Noted", limit=7))).limit == 7


def test_a_module_by_hand(known):
    value = load(forged(an_object(LINEAR, **MODULE, in_features=1)))
    assert type(value) is nn.Linear and vars(value)["in_features"] == 1


def containers(*parts):
    """A Sequential of each of these, where a number means the object that is read as that."""
    again = [{"$again": part} if type(part) is int else part for part in parts]
    return an_object(
        "microtensor.nn.containers:Sequential",
        **{**MODULE, "_modules": {str(i): part for i, part in enumerate(again)}},
    )


def shared(depth):
    """Modules that hold the one before twice: 2**depth ways lead to the innermost."""
    value = containers()
    for i in range(depth):
        value = containers(value, depth - i)
    return value


def test_modules_are_shared_within_bounds_and_never_in_themselves(known):
    with safe_globals([nn.Sequential, nn.Linear]):
        for depth in (1, 4):
            model = load(forged(shared(depth)))
            assert len(list(model.modules())) == depth + 1
            repr(model.eval())
        twice = load(forged(containers(containers(), 1, 1, 1)))
        assert twice[0] is twice[3]
        for depth in (20, 100):
            with pytest.raises(LoadError, match="in one another in too many places"):
                load(forged(shared(depth)))
        for odd in (
            containers(0),
            containers(containers(0)),
            containers(containers(), containers(2, 0)),
        ):
            with pytest.raises(LoadError, match="a module that is in itself"):
                load(forged(odd))


@pytest.mark.parametrize(
    "attributes",
    [
        {"_modules": {"a": an_object("m:Noted")}}, {"_modules": {"a": 1}}, {"_modules": []},
        {"_modules": {"$dict": [[1, None]]}}, {"_modules": {"$ordered": {}}},
        {"_parameters": {"w": {"$tensor": "x"}}}, {"_parameters": an_object("m:Noted")},
        {"_buffers": {"w": "x"}}, {"_buffers": {"w": {"$name": "m:noted"}}},
        {"_non_persistent_buffers_set": []}, {"_non_persistent_buffers_set": {"$set": [1]}},
        {"_forward_hooks": {"$dict": [[1, {"$name": "m:noted"}]]}}, {"_backward_hooks": 1},
        {"_forward_pre_hooks": {"a": {"$name": "m:noted"}}}, {"forward": {"$name": "m:noted"}},
        {"_after_loading": {"a": {"$name": "m:noted"}}}, {"training": {"$name": "m:noted"}},
        {"state_dict": 1}, {"_has_own": 1}, {"revision": {"$name": "m:noted"}}, {"__call__": 1},
        {"_orig_mod": 1}, {"__getattr__": {"$name": "m:noted"}}, {"extra_repr": "x"},
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_module_is_not(attributes, known):
    with pytest.raises(LoadError, match="it gives a Linear"):
        load(forged(an_object(LINEAR, **{**MODULE, **attributes})))


def trap(name, value=noted):
    return type("Trap", (), {f"__{name}__": value})


class Slotted:
    __slots__ = ("a",)


class Meta(type):
    def __call__(cls, *args):
        noted()


TRAPS = {
    **{
        name: trap(name)
        for name in ("del", "new", "reduce", "reduce_ex", "getstate", "setstate", "getnewargs",
                     "getnewargs_ex", "getattr", "getattribute", "copy", "deepcopy")
    },
    "class": trap("class", property(noted)), "dict": trap("dict", property(noted)),
    "slots": Slotted, "a metaclass": Meta("Trap", (), {}), "a dict": type("Trap", (dict,), {}),
    "an int": type("Trap", (int,), {}), "an error": type("Trap", (Exception,), {}),
    "below it": type("Below", (trap("setstate"),), {}), "an optimizer": mt.optim.SGD,
    "a module": type("Trap", (nn.Linear,), {"__getattr__": noted}), "Path": type(Path()),
    "a tensor": mt.Tensor, "a dtype": mt.dtype, "a tuple": tuple, "an array": np.ndarray,
    "a type": type, "a function": type(noted),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRAPS.values(), ids=TRAPS)
def test_classes_that_have_a_say_in_how_they_are_made(kind):
    CALLS.clear()
    with safe_globals([(kind, "m.Trap")]), pytest.raises(LoadError):
        load(forged(an_object("m:Trap", x=1)))
    assert CALLS == []


def test_whose_names_are_safe():
    with pytest.raises(TypeError, match="safe_globals: a class or function is needed, got 'os'"):
        mt.serialization.add_safe_globals(["os"])
    before = mt.serialization.get_safe_globals()
    with pytest.raises(ZeroDivisionError), safe_globals([noted]):
        assert mt.serialization.get_safe_globals() == [*before, noted]
        raise ZeroDivisionError
    assert mt.serialization.get_safe_globals() == before
    mt.serialization.add_safe_globals([Slotted])
    mt.serialization.clear_safe_globals()
    assert mt.serialization.get_safe_globals() == []
