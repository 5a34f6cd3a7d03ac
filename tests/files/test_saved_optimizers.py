"""A module that holds its optimizer and its schedule is saved with them, and trains on."""

import io

import pytest
from forging import forged, load

import microtensor as mt
from microtensor import nn, optim
from microtensor.files.serialization import LoadError

KINDS = "SGD Adam AdamW Adamax NAdam RAdam Adagrad RMSprop Adadelta ASGD Rprop LBFGS Muon".split()


class Learner(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False)
        self.optimizer = kind(self.parameters())
        self.schedule = optim.lr_scheduler.StepLR(self.optimizer, 2)

    def learn(self):
        def closure():
            self.optimizer.zero_grad()
            loss = self.layer(mt.ones(1, 2)).square().sum()
            loss.backward()
            return loss

        closure()
        self.optimizer.step(closure)
        self.schedule.step()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("trusted", [False, True])
def test_a_module_that_holds_its_optimizer(name, trusted, tmp_path):
    kind = getattr(optim, name)
    model = Learner(kind)
    for _ in range(3):
        model.learn()
    mt.save({"optimizer": model.optimizer, "model": model}, tmp_path / "file")
    with mt.serialization.safe_globals([Learner, nn.Linear, kind, optim.lr_scheduler.StepLR]):
        found = mt.load(tmp_path / "file", weights_only=not trusted)
    other = found["model"]
    assert found["optimizer"] is other.optimizer is other.schedule.optimizer
    assert other.optimizer.param_groups[0]["params"][0] is other.layer.weight
    assert type(other.optimizer) is kind and list(other.optimizer.state) == [other.layer.weight]
    for _ in range(2):
        model.learn()
        other.learn()
    assert other.layer.weight.equal(model.layer.weight)
    assert other.schedule.get_last_lr() == model.schedule.get_last_lr()


def test_its_hooks_and_those_that_define_how_they_are_saved():
    class Own(optim.SGD):
        def __getstate__(self):
            return {}

    w = nn.Parameter(mt.ones(2))
    with pytest.raises(TypeError, match="save its state_dict"):
        mt.save(Own([w]), io.BytesIO())
    optimizer, file, seen = optim.SGD([w]), io.BytesIO(), []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    mt.save(optimizer, file)
    mt.load(io.BytesIO(file.getvalue()), weights_only=False).step()
    assert seen == []


W = {"$parameter": "microtensor.nn.module:Parameter", "tensor": "x", "requires_grad": True}
RIGHT = {"defaults": {}, "param_groups": [{"params": [W], "lr": 0.1}], "state": []}
FORGED = {
    "no groups": {"param_groups": {}},
    "a group that is none": {"param_groups": [3]},
    "a group without parameters": {"param_groups": [{"lr": 0.1}]},
    "a parameter that is none": {"param_groups": [{"params": ["w"]}]},
    "a state that is none": {"state": {}},
    "a state of what is no tensor": {"state": [["w", {}]]},
    "a state that is no dict": {"state": [[W, []]]},
    "a part too many": {"state": [[W, {}, {}]]},
    "no defaults": {"defaults": []},
    "called, but no bool": {"_opt_called": 3},
    "a method": {"step": 3},
    "another method": {"update": {"$name": "microtensor.ops.elementwise:add"}},
}


@pytest.mark.parametrize("fault", [None, *FORGED])
def test_forged_optimizers_are_refused(fault):
    attributes = {**RIGHT, **FORGED.get(fault, {})}
    data = forged({"$object": "microtensor.optim.rules:SGD", "attributes": attributes})
    with pytest.raises(LoadError, match="safe_globals"):
        load(data)
    with mt.serialization.safe_globals([optim.SGD, mt.add]):
        if fault is None:
            assert type(load(data)) is optim.SGD
        else:
            with pytest.raises(LoadError):
                load(data)
