"""Optimizers and schedules against PyTorch's: the same parameters and rates at every step."""

import itertools
import math
import warnings

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")

SHAPES = [(4, 3), (5,), ()]
TOLERANCE = {"float64": {"rtol": 1e-12, "atol": 1e-12}, "float32": {"rtol": 2e-6, "atol": 2e-6}}


def compare(name, dtype, steps=50, groups=lambda params: params, **options):
    """Train with both libraries on the same gradients and compare all parameters at every step."""
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    ours = [mt.tensor(a, requires_grad=True) for a in starts]
    theirs = [torch.tensor(a, requires_grad=True) for a in starts]
    mine = getattr(mt.optim, name)(groups(ours), **options)
    other = getattr(torch.optim, name)(groups(theirs), **options)
    for _ in range(steps):
        for p, q in zip(ours, theirs):
            g = rng.standard_normal(p.shape).astype(dtype)
            p.grad, q.grad = mt.tensor(g), torch.tensor(g)
        mine.step()
        other.step()
        for p, q in zip(ours, theirs):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), **TOLERANCE[dtype])
    return mine, other


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize(
    "momentum, dampening, nesterov",
    [(0, 0, False), (0.9, 0, False), (0.9, 0.3, False), (0.9, 0, True)],
)
def test_sgd(momentum, dampening, nesterov, weight_decay, maximize, dtype):
    compare(
        "SGD", dtype, lr=0.01, momentum=momentum, dampening=dampening, nesterov=nesterov,
        weight_decay=weight_decay, maximize=maximize,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("amsgrad, maximize", list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize("betas, eps", [((0.9, 0.999), 1e-8), ((0.5, 0.8), 1e-3)])
def test_adam(name, betas, eps, weight_decay, amsgrad, maximize, dtype):
    compare(
        name, dtype, lr=0.01, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
        maximize=maximize,
    )  # fmt: skip


COMPOSED = [
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("RMSprop", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("Adadelta", {"rho": 0.8}),
    ("ASGD", {"lambd": 0.1, "alpha": 0.5, "t0": 20}),
    ("Adamax", {"betas": (0.8, 0.9)}),
    ("NAdam", {"momentum_decay": 0.1}),
    ("RAdam", {"betas": (0.8, 0.9)}),
    ("ASGD", {"t0": 20, "lambd": 0.1}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize("name, options", COMPOSED, ids=str)
def test_composed(name, options, weight_decay, maximize, dtype):
    compare(name, dtype, lr=0.01, weight_decay=weight_decay, maximize=maximize, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("maximize", [False, True])
def test_rprop(maximize, dtype):
    compare("Rprop", dtype, lr=0.01, maximize=maximize, etas=(0.4, 1.5), step_sizes=(1e-3, 0.1))


@pytest.mark.parametrize(
    "name",
    "SGD Adam AdamW Adagrad RMSprop Adadelta Adamax NAdam RAdam ASGD Rprop".split(),
)
def test_defaults(name):
    mine, other = compare(name, "float64")
    theirs = other.param_groups[0]
    assert mine.defaults == {name: theirs[name] for name in mine.defaults}


def test_groups():
    def groups(params):
        return [{"params": params[:1], "weight_decay": 0.5}, {"params": params[1:], "lr": 0.1}]

    compare("AdamW", "float64", groups=groups, lr=0.01)
    compare("SGD", "float64", groups=groups, lr=0.01, momentum=0.5)


@pytest.mark.parametrize(
    "name, options",
    [("SGD", {"momentum": 0.9}), ("AdamW", {"amsgrad": True}), ("Adagrad", {}), ("Adadelta", {}),
     ("RMSprop", {"centered": True, "momentum": 0.9}), ("Adamax", {}), ("NAdam", {}),
     ("RAdam", {}), ("ASGD", {"t0": 0}), ("Rprop", {})],
)  # fmt: skip
def test_a_state_dict_of_pytorchs_loads(name, options):
    mine, other = compare(name, "float64", steps=3, lr=0.01, **options)
    mine.state.clear()

    def converted(value):
        if isinstance(value, torch.Tensor):
            return mt.tensor(value.detach().numpy())
        return {k: converted(v) for k, v in value.items()} if isinstance(value, dict) else value

    theirs = other.state_dict()
    mine.load_state_dict(
        {"state": converted(theirs["state"]), "param_groups": theirs["param_groups"]}
    )
    assert {k: set(v) for k, v in mine.state_dict()["state"].items()} == {
        k: set(v) for k, v in theirs["state"].items()
    }
    other.load_state_dict(theirs)  # which gives all but "step" the parameter's dtype
    for group in (mine.param_groups[0], other.param_groups[0]):
        for p in group["params"]:
            p.grad = (p * 2).detach()
    mine.step()
    other.step()
    for p, q in zip(mine.param_groups[0]["params"], other.param_groups[0]["params"]):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12)


OPTIMIZERS = {  # options that give each all of its state
    "SGD": [{}, {"momentum": 0.9}], "Adam": [{}, {"amsgrad": True}], "AdamW": [{"amsgrad": True}],
    "Adamax": [{}], "NAdam": [{}], "RAdam": [{}], "Adadelta": [{}], "ASGD": [{"t0": 0}],
    "Adagrad": [{"lr_decay": 0.1}], "RMSprop": [{}, {"centered": True, "momentum": 0.9}],
    "Rprop": [{}], "Muon": [{}], "LBFGS": [{"max_iter": 3}, {"max_iter": 4, "history_size": 2}],
}  # fmt: skip


def layout(value):
    """What a state dict is made of: names in their order, types, dtypes and shapes."""
    if isinstance(value, dict):
        return {k: layout(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [layout(v) for v in value]
    if hasattr(value, "dtype"):
        return str(value.dtype).rpartition(".")[2], tuple(value.shape)
    return type(value).__name__, value


@pytest.mark.parametrize(
    "name, options", [(name, options) for name, rows in OPTIMIZERS.items() for options in rows]
)
def test_state_dicts_are_laid_out_alike_and_go_on_in_the_other_library(name, options):
    def as_in(m, value):
        if isinstance(value, dict):
            return {k: as_in(m, v) for k, v in value.items()}
        if isinstance(value, list):
            return [as_in(m, v) for v in value]
        return m.tensor(value.numpy().copy()) if hasattr(value, "dtype") else value

    def made(m, start):
        w = m.tensor(start, requires_grad=True)
        return w, getattr(m.optim, name)([w], **options)

    def steps(w, optimizer, count=2):
        def closure():
            optimizer.zero_grad()
            loss = ((w - 2) ** 4).sum()
            loss.backward()
            return loss

        for _ in range(count):
            closure()
            optimizer.step(closure)
        return w.tolist()

    start = np.array([[1.0, -1.0], [0.5, 0.2]])
    states = []
    for m in (mt, torch):
        w, optimizer = made(m, start)
        here = steps(w, optimizer)
        states.append((optimizer.state_dict(), here))
    (ours, here), (theirs, there) = states
    a, b = layout(ours), layout(theirs)
    if name == "LBFGS":  # in an order of their own; numbers are floats here, 0-d tensors there
        assert set(ours["state"][0]) == set(theirs["state"][0])
        a["state"] = b["state"] = {}
    assert a == b and list(a["state"].get(0, {})) == list(b["state"].get(0, {}))
    ends = []
    for m, state, at in ((mt, theirs, there), (torch, ours, here)):
        w, optimizer = made(m, np.array(at))
        optimizer.load_state_dict(as_in(m, state))
        ends.append(steps(w, optimizer))
    np.testing.assert_allclose(*ends, rtol=2e-3 if name == "Muon" else 1e-6)


@pytest.mark.parametrize("options", [{}, {"lr": 0.3, "history_size": 2}, {"max_eval": 4}], ids=str)
def test_lbfgs(options):
    found = []
    for m in (mt, torch):
        w = m.tensor([-1.2, 1.0, 0.5], dtype=m.float64, requires_grad=True)
        optimizer = m.optim.LBFGS([w], max_iter=7, **options)
        calls = []

        def closure():
            optimizer.zero_grad()  # noqa: B023
            f = (1 - w[0]) ** 2 + 2 * (w[1] - w[0] ** 2) ** 2 + (w[2] * w[0]) ** 2  # noqa: B023
            f.backward()
            calls.append(f.item())  # noqa: B023
            return f

        for _ in range(3):
            optimizer.step(closure)
        found.append([*calls, *w.tolist()])
    np.testing.assert_allclose(*found, rtol=1e-8)


LANDSCAPES = {  # of two parameters
    "valley": lambda a, b: ((1 - a) ** 2 + 100 * (b - a**2) ** 2).sum(),
    "waves": lambda a, b: (a.sin() + (3 * b).cos() + (a * b) ** 2 / 4).sum(),
    "far": lambda a, b: (1e-2 * a**2 + 1e-3 * (b - 9) ** 2 + a * b / 1e3).sum(),
    "logarithm": lambda a, b: (a**2 - (b**2 + 1e-3).log() + b**2).sum(),
}


@pytest.mark.parametrize(
    "options",
    [{}, {"lr": 0.1, "history_size": 3}, {"lr": 5.0, "max_iter": 4}, {"max_eval": 8}],
    ids=str,
)
@pytest.mark.parametrize("name", LANDSCAPES)
def test_lbfgs_with_a_line_search(name, options):
    """Every point that the loss is computed at is PyTorch's."""
    found = []
    for m in (mt, torch):
        a = m.tensor([-1.2, 0.7], dtype=m.float64, requires_grad=True)
        b = m.tensor([1.0, -0.3], dtype=m.float64, requires_grad=True)
        optimizer = m.optim.LBFGS([a, b], line_search_fn="strong_wolfe", **options)
        points = []

        def closure():
            optimizer.zero_grad()  # noqa: B023
            f = LANDSCAPES[name](a, b)  # noqa: B023
            f.backward()
            points.append([*a.tolist(), *b.tolist(), f.item()])  # noqa: B023
            return f

        losses = [optimizer.step(closure).item() for _ in range(3)]
        found.append(np.array([*points, [*losses, *a.tolist()]]))
    assert found[0].shape == found[1].shape
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", [lambda x: -x.sum(), lambda x: (x - 0.3).abs().sum()])
def test_lines_and_kinks(loss):
    """Where no cubic has a minimum the search goes on all the same."""
    x = mt.tensor([1.0, -2.0], dtype=mt.float64, requires_grad=True)
    optimizer = mt.optim.LBFGS([x], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        return value

    before = optimizer.step(closure).item()
    assert math.isfinite(closure().item()) and closure().item() < before


def test_another_line_search():
    with pytest.raises(RuntimeError, match="backtracking"):
        mt.optim.LBFGS([mt.ones(1, requires_grad=True)], line_search_fn="backtracking")


# ---- schedules -----------------------------------------------------------------------

# each is made by s = the module of schedules, o = the optimizer
SCHEDULES = {
    "lambda": lambda s, o: s.LambdaLR(o, [lambda i: 0.95**i, lambda i: 1 / (1 + i)]),
    "step": lambda s, o: s.StepLR(o, 30, 0.3),
    "multistep": lambda s, o: s.MultiStepLR(o, [10, 40, 40, 90], 0.3),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.97),
    "constant": lambda s, o: s.ConstantLR(o, 0.25, 17),
    "constant defaults": lambda s, o: s.ConstantLR(o),
    "linear": lambda s, o: s.LinearLR(o, 0.1, 0.7, 33),
    "linear down": lambda s, o: s.LinearLR(o, 1.0, 0.0, 60),
    "linear defaults": lambda s, o: s.LinearLR(o),
    "polynomial": lambda s, o: s.PolynomialLR(o, 40, 2.0),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda i: 1 - 1 / (i + 9)),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 100, 1e-4),
    "cyclic": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 5, cycle_momentum=False),
    "cyclic, two slopes": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, 5, 3, "triangular2", cycle_momentum=False
    ),
    "cyclic, shrinking": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, 5, mode="exp_range", gamma=0.9, cycle_momentum=False
    ),
    "cyclic, own scale": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, 5, scale_fn=lambda n: 1 / n, cycle_momentum=False
    ),
    "chained": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9)]
    ),
    "warm restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, 2, 1e-4),
    "warm restarts of one length": lambda s, o: s.CosineAnnealingWarmRestarts(o, 13),
    "cosine around again": lambda s, o: s.CosineAnnealingLR(o, 23, 1e-3),
    "one cycle": lambda s, o: s.OneCycleLR(o, [0.1, 0.2], 130),
    "one cycle linear": lambda s, o: s.OneCycleLR(
        o, 0.1, epochs=13, steps_per_epoch=10, pct_start=0.21, anneal_strategy="linear",
        cycle_momentum=False,
    ),
    "one cycle in three phases": lambda s, o: s.OneCycleLR(
        o, 0.1, 130, three_phase=True, pct_start=0.4, div_factor=10, final_div_factor=50,
        base_momentum=[0.8, 0.7], max_momentum=0.9,
    ),
    "warm-up and cosine": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.01, 1, 20), s.CosineAnnealingLR(o, 110, 1e-3)], [20]
    ),
    "four in a row": lambda s, o: s.SequentialLR(
        o,
        [s.ConstantLR(o, 0.5, 7), s.StepLR(o, 9, 0.5), s.LambdaLR(o, lambda i: 1.01**i),
         s.ExponentialLR(o, 0.9)],
        [10, 50, 100],
    ),
}  # fmt: skip


def optimizers(kind="SGD"):
    out = []
    for library in (mt, torch):
        groups = [{"params": [library.ones(1)], "lr": lr} for lr in (0.5, 0.02)]
        options = {"momentum": 0.9} if kind == "SGD" else {}
        out.append(getattr(library.optim, kind)(groups, **options))
    return out


def rates(optimizer):
    return [[g["lr"], g.get("momentum", 0), *g.get("betas", ())] for g in optimizer.param_groups]


def agree(mine, other):
    np.testing.assert_allclose(rates(mine), rates(other), rtol=1e-11, atol=1e-15)


@pytest.fixture(autouse=True)
def _quiet():
    """PyTorch warns when a schedule steps and its optimizer does not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*lr_scheduler.step", category=UserWarning)
        yield


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_curves(name, kind):
    mine, other = optimizers(kind)
    ours = SCHEDULES[name](mt.optim.lr_scheduler, mine)
    theirs = SCHEDULES[name](torch.optim.lr_scheduler, other)
    for _ in range(125):
        agree(mine, other)
        np.testing.assert_allclose(ours.get_last_lr(), theirs.get_last_lr(), rtol=1e-11, atol=1e-15)
        assert getattr(ours, "last_epoch", 0) == getattr(theirs, "last_epoch", 0)
        ours.step()
        theirs.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_curves_after_a_checkpoint_in_the_middle(name):
    mine, other = optimizers()
    ours = SCHEDULES[name](mt.optim.lr_scheduler, mine)
    theirs = SCHEDULES[name](torch.optim.lr_scheduler, other)
    for _ in range(45):
        ours.step()
        theirs.step()
    optimizer_state, state = mine.state_dict(), ours.state_dict()
    mine = optimizers()[0]
    ours = SCHEDULES[name](mt.optim.lr_scheduler, mine)
    mine.load_state_dict(optimizer_state)
    ours.load_state_dict(state)
    for _ in range(60):
        agree(mine, other)
        ours.step()
        theirs.step()


def written_by_programs(library):
    """Schedules as programs write them: by the count of steps, from the last rate, on their own."""

    class Inverse(library.optim.lr_scheduler._LRScheduler):
        def __init__(self, optimizer, warmup, last_epoch=-1):
            self.warmup = warmup
            super().__init__(optimizer, last_epoch)

        def get_lr(self):
            if not self._get_lr_called_within_step:
                warnings.warn("use get_last_lr", stacklevel=1)
            count = self._step_count
            scale = min(count**-0.5, count * self.warmup**-1.5)
            return [base * scale for base in self.base_lrs]

    class Chained(library.optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            if self.last_epoch == 0:
                return [group["lr"] for group in self.optimizer.param_groups]
            return [group["lr"] * 0.9 for group in self.optimizer.param_groups]

        def _get_closed_form_lr(self):
            return [base * 0.9**self.last_epoch for base in self.base_lrs]

    class Own(library.optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [base / (2 + self.last_epoch) for base in self.base_lrs]

        def step(self, epoch=None):
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
            for group, lr in zip(self.optimizer.param_groups, self.get_lr()):
                group["lr"] = lr

    def gradual(optimizer):
        return Inverse(optimizer, 20)

    return gradual, Chained, Own


@pytest.mark.parametrize("number", range(3))
def test_schedules_written_by_programs(number):
    mine, other = optimizers()
    ours, theirs = (
        written_by_programs(library)[number](optimizer)
        for library, optimizer in ((mt, mine), (torch, other))
    )
    for i in range(30):
        epoch = (None if i % 5 else i,) if number else ()
        agree(mine, other)
        ours.step(*epoch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's advice on steps to an epoch
            theirs.step(*epoch)


@pytest.mark.parametrize(
    "name",
    ["lambda", "step", "multistep", "exponential", "constant", "linear", "polynomial", "cosine",
     "one cycle"],
)  # fmt: skip
def test_a_schedule_goes_to_an_epoch(name):
    mine, other = optimizers()
    ours = SCHEDULES[name](mt.optim.lr_scheduler, mine)
    theirs = SCHEDULES[name](torch.optim.lr_scheduler, other)
    for epoch in (0, 3, 40, 7):
        ours.step(epoch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.step(epoch)
        agree(mine, other)


def test_schedules_multiply_as_in_pytorch():
    sides = []
    for optimizer, s in zip(optimizers(), (mt.optim.lr_scheduler, torch.optim.lr_scheduler)):
        plateau = s.ReduceLROnPlateau(optimizer, patience=3, factor=0.5)
        sides.append((optimizer, [
            s.LinearLR(optimizer, 0.1, 1.0, 10), s.ExponentialLR(optimizer, 0.95),
            s.CosineAnnealingLR(optimizer, 150), s.MultiStepLR(optimizer, [20, 30]),
        ], plateau))  # fmt: skip
    for i in range(110):
        agree(sides[0][0], sides[1][0])
        for _, schedules, plateau in sides:
            for schedule in schedules:
                schedule.step()
            plateau.step(math.cos(i / 9))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max"},
        {"threshold": 0.2},
        {"threshold_mode": "abs", "threshold": 0.05},
        {"mode": "max", "threshold_mode": "abs", "threshold": 0.05, "cooldown": 4},
        {"cooldown": 3, "patience": 0, "min_lr": [1e-3, 1e-2]},
        {"eps": 1e-2, "patience": 2, "factor": 0.5},
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_plateau(options, sign):
    mine, other = optimizers()
    options = {"patience": 4, **options}
    ours = mt.optim.lr_scheduler.ReduceLROnPlateau(mine, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(other, **options)
    rng = np.random.default_rng(0)
    for i in range(150):
        metric = sign * (1 / (1 + i / 30) + 0.1 * rng.standard_normal())
        ours.step(metric)
        theirs.step(metric)
        assert rates(mine) == rates(other)
        assert (ours.best, ours.num_bad_epochs) == (theirs.best, theirs.num_bad_epochs)
        if i == 70:
            state = ours.state_dict()
            ours = mt.optim.lr_scheduler.ReduceLROnPlateau(mine, **options)
            ours.load_state_dict(state)


# ---- averages of weights ---------------------------------------------------------------


def averages(library, **options):
    """A model with batch norm after some steps, its average, and what that gives for a batch."""
    nn, swa = library.nn, library.optim.swa_utils
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    batches = [library.tensor(rng.standard_normal((8, 3))) for _ in range(4)]
    options = {name: make(swa) if callable(make) else make for name, make in options.items()}
    averaged = swa.AveragedModel(model, **options)
    for batch in batches:
        with library.no_grad():
            for p in model.parameters():
                p.copy_(library.tensor(rng.standard_normal(tuple(p.shape))))
        model(batch)
        averaged.update_parameters(model)
    found = [t.detach().numpy().copy() for t in averaged.state_dict().values()]
    swa.update_bn([(batch, None) for batch in batches], averaged)
    averaged.eval()
    return found, averaged(batches[0]).detach().numpy(), list(averaged.state_dict())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"avg_fn": lambda swa: swa.get_ema_avg_fn(0.9)},
        {"avg_fn": lambda swa: swa.get_swa_avg_fn()},
        {"multi_avg_fn": lambda swa: swa.get_ema_multi_avg_fn(0.9), "use_buffers": True},
        {"multi_avg_fn": lambda swa: swa.get_swa_multi_avg_fn()},
    ],
)
def test_averaged_models(options):
    (ours, y, names), (theirs, z, keys) = averages(mt, **options), averages(torch, **options)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(y, z, rtol=1e-10)
    assert names == keys


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 1, 7])
def test_swalr(epochs, strategy):
    sides = []
    for optimizer, library in zip(optimizers(), (mt, torch)):
        decay = library.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        swa = library.optim.swa_utils.SWALR(
            optimizer, [0.05, 0.01], anneal_epochs=epochs, anneal_strategy=strategy
        )
        sides.append((optimizer, decay, swa))
    for i in range(20):
        agree(sides[0][0], sides[1][0])
        for _, decay, swa in sides:
            (swa if i > 5 else decay).step()
