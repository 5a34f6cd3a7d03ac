"""mt.Recorder: what it notes is what happened, and what happens is what would have happened."""

import json
import re

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn, optim


def trained(every=None, steps=7, hooked=None):
    """The losses and weights of a small training, recorded or not."""
    mt.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.2), nn.LayerNorm(16), nn.Linear(16, 3)
    )
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    recorder = mt.Recorder(model, optimizer, every=every) if every else None
    losses = []
    for i in range(steps):
        x, y = mt.randn(8, 6), mt.randint(0, 3, (8,))
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        before = [p.detach().numpy().copy() for p in model.parameters()]
        optimizer.step()
        if hooked is not None:
            hooked.append(sum(len(m._forward_hooks) for m in model.modules()))
        if recorder:
            recorder.step(loss)
        losses.append(loss.item())
        if i == 0:
            first = x, before, [p.grad.numpy().copy() for p in model.parameters()], [
                p.detach().numpy().copy() for p in model.parameters()
            ]  # fmt: skip
    return recorder, model, losses, first


def test_training_is_the_same_to_the_last_bit():
    _, plain, losses, _ = trained()
    for every in 1, 3:
        _, model, recorded, _ = trained(every)
        assert recorded == losses
        for p, q in zip(plain.parameters(), model.parameters()):
            assert np.array_equal(p.detach().numpy(), q.detach().numpy()) and np.array_equal(
                p.grad.numpy(), q.grad.numpy()
            )


def test_what_is_noted_is_what_happened():
    recorder, model, losses, (x, before, grads, after) = trained(3)
    assert recorder.losses == losses
    assert [r["step"] for r in recorder.records] == [1, 4, 7]
    assert list(recorder.modules) == ["0", "3", "4"]  # those with parameters
    noted = recorder.records[0]["modules"]["0"]

    def norm(*arrays):
        return float(np.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in arrays)))

    assert noted["gradient"] == pytest.approx(norm(*grads[:2]), rel=1e-3)
    assert noted["weight"] == pytest.approx(norm(*before[:2]), rel=1e-3)
    assert noted["update"] == pytest.approx(
        norm(*(a - b for a, b in zip(after[:2], before[:2]))), rel=1e-3
    )
    given = x.numpy() @ before[0].T + before[1]
    assert noted["mean"] == pytest.approx(given.mean(), abs=1e-3)
    assert noted["std"] == pytest.approx(given.std(), rel=1e-3)
    assert noted["zeros"] == 0
    for kind, size in ("weights", 6 * 16 + 16), ("gradients", 112), ("activations", 8 * 16):
        assert sum(noted["histograms"][kind]["counts"]) == size
    assert recorder.records[0]["lr"] == 0.01
    steps, series = recorder.series("gradient")
    assert steps == [1, 4, 7] and len(series["4"]) == 3


def test_hooks_are_there_only_while_a_step_is_recorded():
    hooks = []
    recorder, model, _, _ = trained(3, steps=5, hooked=hooks)
    assert hooks == [3, 0, 0, 3, 0]
    with recorder:
        recorder._add_hooks()
    assert not any(m._forward_hooks for m in model.modules())


def test_evaluation_is_not_taken_for_training():
    recorder, model, _, _ = trained(1, steps=1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, y = mt.ones(4, 6), mt.zeros(4, dtype=mt.int64)
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    with mt.no_grad():
        model(1000 * x)
    recorder.step(1.0)
    assert recorder.records[-1]["modules"]["0"]["std"] < 10


def test_shared_parameters_losses_that_are_no_numbers_and_lost_gradients():
    mt.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    recorder = mt.Recorder(model, every=1, start=100)
    assert [len(own) for _, own in recorder.modules.values()] == [2, 1]
    recorder.step(float("nan"))
    assert recorder.records[0]["modules"]["0"]["gradient"] is None
    assert recorder.records[0]["lr"] is None and recorder.records[0]["step"] == 101


def test_it_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")  # of the extra demos
    recorder, *_ = trained(2)
    for name in "run.png", "run.html":
        assert recorder.save(tmp_path / name).stat().st_size > 10_000
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_holds_every_number_and_needs_no_network(tmp_path):
    recorder, _, losses, _ = trained(2)
    recorder.losses[3] = float("nan")
    page = recorder.save(tmp_path / "run.html").read_text("utf-8")
    assert not re.search("https?:", page) and "%data%" not in page
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    about = json.loads(found.group(1), parse_constant=pytest.fail)  # NaN is not JSON
    assert about["losses"][3] is None and about["losses"][0] == pytest.approx(losses[0], rel=1e-3)
    assert about["paths"] == ["0", "3", "4"] and len(about["records"]) == 4


def test_what_cannot_be(tmp_path):
    model = nn.Linear(2, 2)
    recorder = mt.Recorder(model)
    with pytest.raises(ValueError, match="nothing has been noted"):
        recorder.save(tmp_path / "run.html")
    with pytest.raises(ValueError, match=r"\.png or \.html"):
        recorder.save(tmp_path / "run.pdf")
    with pytest.raises(ValueError, match="every"):
        mt.Recorder(model, every=0)
    with pytest.raises(ValueError, match="no parameters"):
        mt.Recorder(nn.ReLU())
