"""mt.diagnose: every planted mistake is found, as what it is; what is right is called healthy."""

import copy

import numpy as np
import pytest
from places import program

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn, optim
from microtensor.autograd import engine, hooks, registry
from models.ladder import RUNGS
from models.training import mistakes

SMALL = {
    "tiny_lm": {"context_length": 8},
    "tiny_attention": {"context_length": 12, "d_model": 32},
    "tiny_transformer": {"context_length": 12, "d_model": 32},
    "minigpt": {"context_length": 12, "d_model": 32, "n_layers": 2},
    "modern_minigpt": {"context_length": 12, "d_model": 32, "n_layers": 2, "d_mlp": 64},
}


def texts(letters=40, size=4, length=12):
    text = mt.randint(0, letters, (size, length + 1))
    return text[:, :-1], text[:, 1:]


def classifier():
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))


# ---- what is right -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [n for n, rung in RUNGS.items() if not rung.counts])
def test_every_rung_is_healthy(name, seed):
    mt.manual_seed(seed)
    rung = RUNGS[name]
    model, recipe = rung.build(40, **SMALL.get(name, {})), rung.training()
    kind = {"adamw": optim.AdamW, "sgd": optim.SGD}[recipe.optimizer]
    optimizer = kind(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    report = mt.diagnose(model, texts(), optimizer=optimizer)
    assert report.healthy and not report.untested, report


@pytest.mark.parametrize("seed", range(3))
def test_other_models_are_healthy(seed):
    mt.manual_seed(seed)
    mlp = classifier()
    conv = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * 25, 10),
    )  # fmt: skip
    line = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    for model, batch, optimizer in (
        (mlp, (mt.randn(16, 10), mt.randint(0, 3, (16,))), optim.SGD(mlp.parameters(), lr=0.1)),
        (conv, (mt.randn(8, 1, 12, 12), mt.randint(0, 10, (8,))), optim.Adam(conv.parameters())),
        (line, (mt.randn(16, 4), mt.randn(16, 1)), optim.SGD(line.parameters(), lr=0.05)),
        (copy.deepcopy(line).double(), (mt.randn(16, 4).double(), mt.randn(16, 1).double()), None),
    ):
        report = mt.diagnose(model, batch, optimizer=optimizer)
        assert report.healthy, report


@pytest.mark.parametrize("seed", range(3))
def test_a_training_without_a_mistake_is_healthy_from_start_to_end(seed):
    training = mistakes.Training(seed)
    for _ in range(3):
        report = mistakes.diagnosed(training)
        assert report.healthy and not report.untested, report
        for _ in range(5):
            training.step(*training.batch())


def test_other_ways_to_train_are_healthy():
    """zero_grad at the end of a step; clipping; a batch in two parts; a loss of one's own."""
    mt.manual_seed(0)
    model = classifier()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = mt.randn(16, 10), mt.randint(0, 3, (16,))

    def at_the_end(x, y):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    def in_parts(x, y):
        optimizer.zero_grad()
        for half in (slice(0, 8), slice(8, 16)):
            (F.cross_entropy(model(x[half]), y[half]) / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    def at_every_second_call(x, y):
        (F.cross_entropy(model(x), y) / 2).backward()
        calls.append(1)
        if len(calls) % 2 == 0:
            at_the_end(x, y)

    def warming_up(x, y):
        optimizer.param_groups[0]["lr"] = 0.1 * len(calls)
        calls.append(1)
        in_parts(x, y)

    calls = []
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    for step in at_the_end, in_parts, at_every_second_call, warming_up:
        calls.clear()
        report = mt.diagnose(model, (x, y), loss=smooth, optimizer=optimizer, step=step)
        assert report.healthy, report


def test_unusual_models_are_healthy():
    """Words that are masked, not followed; residuals that start at zero; tied weights; losses."""
    mt.manual_seed(0)
    config = mistakes.TinyTransformerConfig(40, 12, d_model=32, n_heads=2, n_layers=2)
    model = mistakes.TinyTransformer(config)
    model.head.weight = model.token_embedding.weight
    for block in model.blocks:
        nn.init.zeros_(block.mlp[-1].weight)
    assert mt.diagnose(model, texts()).healthy
    encoder = nn.Sequential(nn.Embedding(40, 8), Mixed(12), nn.Linear(8, 40))
    idx, _ = texts()
    hidden = mt.rand(*idx.shape) < 0.15
    batch = idx.masked_fill(hidden, 0), idx.masked_fill(~hidden, -100)
    assert mt.diagnose(encoder, batch).healthy
    x, y, target = mt.randn(16, 10), mt.randint(0, 3, (16,)), mt.randn(16, 3)
    weighted = nn.CrossEntropyLoss(weight=mt.tensor([0.1, 1.0, 5.0]))
    cosine = lambda a, b: -F.cosine_similarity(a, b).mean()
    for loss, right in (weighted, y), (cosine, target), (F.l1_loss, target):
        report = mt.diagnose(classifier(), (x, right), loss=loss)
        assert report.healthy, report


class Mixed(nn.Module):
    """Each token sees all others."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(mt.randn(n, n))

    def forward(self, x):
        return x + self.weight.softmax(-1) @ x


# ---- what is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", mistakes.MISTAKES)
def test_a_planted_mistake_is_found_as_what_it_is(name, seed):
    training = mistakes.MISTAKES[name](seed)
    with training.planted():
        report = mistakes.diagnosed(training)
    assert report.kinds == {training.kind}, report
    for line in str(report).splitlines():
        assert len(line) <= 100


PLACES = {
    "sign": "my_relu in blocks.0.mlp.1",
    "mask": "blocks.0.attention",
    "softmax": "matmul in blocks.0.attention",
    "accumulate": "the result of",
    "broadcast": "add",
    "dropout": "evaluate",
    "uphill": "the update",
    "learning_rate": "lr = 0.3",
    "zeros": "token_embedding.weight",
    "targets": "the batch",
    "zero_grad": "the training step",
}


@pytest.mark.parametrize("name", PLACES)
def test_where_it_is(name):
    training = mistakes.MISTAKES[name]()
    with training.planted():
        assert next(iter(mistakes.diagnosed(training))).where.startswith(PLACES[name])


def test_the_engine_is_as_it_was_after_a_planted_mistake():
    before = engine._add, engine.unbroadcast, dict(registry)
    for kind in mistakes.MISTAKES.values():
        training = kind()
        with training.planted():
            training.step(*training.batch())
    assert (engine._add, engine.unbroadcast, dict(registry)) == before


def test_a_gradient_that_is_not_summed_at_all():
    mt.manual_seed(0)
    model = nn.Sequential(Scale(5), nn.Linear(5, 2))
    with mistakes.replaced("unbroadcast", lambda g, like: g):
        report = mt.diagnose(model, (mt.randn(6, 5), mt.randint(0, 2, (6,))))
    assert report.kinds == {"broadcast"}
    assert "(6, 5)" in report.findings[0].evidence


class Scale(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(mt.randn(n))

    def forward(self, x):
        return x * self.weight


def test_gradients_that_do_not_add_up_in_grad():
    mt.manual_seed(0)
    model = classifier()

    def assign(tensor, slots, index):
        tensor._grad = hooks.as_own_tensor(tensor, slots, index)

    with mistakes.replaced("accumulate", assign, hooks):
        report = mt.diagnose(model, (mt.randn(6, 10), mt.randint(0, 3, (6,))))
    assert report.kinds == {"accumulate"} and ".grad" in report.findings[0].where


def test_signs_of_the_loss():
    mt.manual_seed(0)
    model = classifier()
    batch = mt.randn(6, 10), mt.randint(0, 3, (6,))
    report = mt.diagnose(model, batch, loss=lambda x, y: -F.cross_entropy(x, y))
    assert report.kinds == {"sign"} and report.findings[0].where == "the loss"

    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        (-F.cross_entropy(model(x), y)).backward()
        optimizer.step()

    report = mt.diagnose(model, batch, optimizer=optimizer, step=step)
    assert report.kinds == {"sign"} and report.findings[0].where == "the loss of the step"


def test_a_distance_with_a_wrong_sign():
    mt.manual_seed(0)
    batch = mt.randn(6, 10), mt.randn(6, 3)
    report = mt.diagnose(classifier(), batch, loss=lambda x, y: -((x - y) ** 2).mean())
    assert report.kinds == {"sign"} and "is the target" in report.findings[0].evidence


def test_probabilities_over_the_batch():
    mt.manual_seed(0)
    model, batch = nn.Sequential(nn.Linear(10, 3), nn.Softmax(0)), mt.randn(6, 10)
    loss = lambda p, y: F.nll_loss(p.log(), y)
    report = mt.diagnose(model, (batch, mt.randint(0, 3, (6,))), loss=loss)
    assert report.kinds == {"softmax"} and report.findings[0].where == "the output"


def test_weights_that_are_all_one_number():
    mt.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 3))
    for p in model.parameters():
        nn.init.constant_(p, 0.1)
    report = mt.diagnose(model, (mt.randn(6, 10), mt.randint(0, 3, (6,))))
    assert report.kinds == {"alike"}


@pytest.mark.parametrize("early", [True, False])
def test_a_step_that_moves_nothing(early):
    """zero_grad between backward and step; an optimizer of another model."""
    mt.manual_seed(0)
    model = classifier()
    optimizer = optim.Adam((model if early else classifier()).parameters())

    def step(x, y):
        F.cross_entropy(model(x), y).backward()
        (optimizer if early else model).zero_grad()
        optimizer.step()

    batch = mt.randn(6, 10), mt.randint(0, 3, (6,))
    report = mt.diagnose(model, batch, optimizer=optimizer, step=step)
    assert report.kinds == {"missing"} and "no parameter moves" in report.findings[0].evidence


def test_softmax_of_the_loss_over_the_batch():
    mt.manual_seed(0)
    loss = lambda x, y: F.nll_loss(x.log_softmax(0), y)
    report = mt.diagnose(classifier(), (mt.randn(6, 10), mt.randint(0, 3, (6,))), loss=loss)
    assert report.kinds == {"softmax"} and report.findings[0].where == "the loss"


def test_dropout_that_never_ends():
    mt.manual_seed(0)
    model = classifier()
    model[2] = mistakes.Function(lambda x: F.dropout(x, 0.1))  # training=True is the default
    report = mt.diagnose(model, (mt.randn(6, 10), mt.randint(0, 3, (6,))))
    assert report.kinds == {"dropout"} and report.findings[0].where == "2"


def test_a_mask_that_is_off_by_one():
    training = mistakes.Mask()
    for block in training.model.blocks:
        block.attention = OffByOne(block.attention.right)
    report = mistakes.diagnosed(training)
    assert report.kinds == {"mask"}


class OffByOne(mistakes.Attention):
    later = 2


def test_targets_that_were_shifted_the_wrong_way():
    mt.manual_seed(0)
    idx, targets = texts()
    model = RUNGS["tiny_transformer"].build(40, **SMALL["tiny_transformer"])
    for batch in (targets, idx), (idx, idx), (idx[:, :-1], targets[:, 1:]):
        assert mt.diagnose(model, batch).kinds == {"targets"}


def test_a_parameter_without_a_gradient_and_one_that_is_not_a_number():
    mt.manual_seed(0)
    model = classifier()
    model.forgotten = nn.Linear(2, 2)
    batch = mt.randn(6, 10), mt.randint(0, 3, (6,))
    model.forward = lambda x: model[3](model[2](model[1](model[0](x))))
    report = mt.diagnose(model, batch)
    assert report.kinds == {"missing"} and "forgotten.weight" in report.findings[0].where
    with mt.no_grad():
        model[0].weight[0, 0] = float("nan")
    report = mt.diagnose(model, batch)
    assert report.kinds == {"nan"} and report.findings[0].where == "0.weight"
    model = nn.Sequential(nn.Linear(10, 3), mistakes.Function(lambda x: x.abs().neg().log()))
    report = mt.diagnose(model, batch)
    assert report.kinds == {"nan"} and report.findings[0].where.startswith("log in 1 (test_diag")


# ---- the patient ---------------------------------------------------------------------------------


def test_everything_is_left_as_it_was():
    training = mistakes.Training()
    training.model.blocks[0].eval()
    training.step(*training.batch())
    idx, targets = training.batch(8)

    def state():
        model, optimizer = training.model, training.optimizer
        kept = [
            *(p.numpy().copy() for p in model.state_dict().values()),
            *(p.grad.numpy().copy() for p in model.parameters()),
            *(t.numpy().copy() for s in optimizer.state.values() for t in s.values()
              if isinstance(t, mt.Tensor)),
            mt.get_rng_state().numpy().copy(),
        ]  # fmt: skip
        modes = [m.training for m in model.modules()]
        options = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
        return kept, modes, options, [p.requires_grad for p in model.parameters()]

    before = state()
    mt.diagnose(training.model, (idx, targets), optimizer=training.optimizer, step=training.step)
    after = state()
    assert before[1:] == after[1:] and len(before[0]) == len(after[0])
    assert all(np.array_equal(a, b) for a, b in zip(before[0], after[0]))


def test_what_cannot_be_judged_is_said_in_one_line():
    model = classifier().requires_grad_(False)
    with pytest.raises(RuntimeError, match="does not depend on a parameter"):
        mt.diagnose(model, (mt.randn(6, 10), mt.randint(0, 3, (6,))))
    with pytest.raises(ValueError, match="give the batch its targets"):
        mt.diagnose(classifier(), mt.randn(6, 10))


def test_a_trained_model_is_healthy():
    mt.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    x = mt.randn(64, 2)
    y = (x[:, 0] > 0).long()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    report = mt.diagnose(model, (x, y), optimizer=optimizer)
    assert report.healthy, report


# ---- the lab -------------------------------------------------------------------------------------


def test_the_lab_shows_what_a_mistake_does_and_finds_it(tmp_path, capsys):
    pytest.importorskip("matplotlib")  # of the extra demos
    assert program("mistakes").main(["mask", "--steps", "3", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "healthy" in told and "loss, step 3" in told and "no causal mask" in told
    assert (tmp_path / "mistakes.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("argv", [["nonsense"], ["--steps", "0"]])
def test_the_lab_refuses_in_one_line(argv, capsys):
    assert program("mistakes").main(argv) == 2
    assert capsys.readouterr().err.count("\n") == 1
